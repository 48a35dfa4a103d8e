#!/bin/sh
# Do the detectors still detect? Each bug below is planted in a copy of the library, one at a time, and a test must then
# go red. Without a bug each of these tests is green: the suite runs them as race_steps_2 and so on.
#
# usage: planted.sh COMPILER PROJECT
set -eu
here=$(cd "$(dirname "$0")" && pwd)
. "$here/shell.sh"
compiler=$1 project=$2
need "$compiler" sed

copy=$scratch/copy
flags="-std=c11 -O1 -w -D_GNU_SOURCE -DMA_SHARDS=2 -DMA_TAG_BITS=4 -DMA_EXTENT_STRIPES=2 -I$copy/include -I$copy/src -pthread"
mkdir "$copy"
cp -R "$project/include" "$project/src" "$project/tests" "$copy"

# build DIRECTORY [FILE...]: objects of these sources, or of all
build() {
    directory=$1
    shift
    [ $# != 0 ] || set -- $(cd "$copy" && ls src/*/*.c)
    for source in "$@"; do
        # shellcheck disable=SC2086
        "$compiler" $flags -c "$copy/$source" -o "$directory/$(echo "$source" | tr / _).o" || return 1
    done
}

# link_test TEST OUTPUT OBJECT...: the test itself is compiled once with the same flags, unless a header has a bug.
link_test() {
    name=$1 output=$2
    shift 2
    wrap=
    case $name in
    race_*steps) wrap=-Wl,--wrap=sched_yield,--wrap=ma_os_thread_self ;;
    second_looks | shadow) wrap=-Wl,--wrap=ma_os_nap ;;
    limits) wrap=-Wl,--wrap=ma_os_nap,--wrap=sched_yield,--wrap=ma_rseq_fence,--wrap=ma_os_watch_faults,--wrap=ma_os_say ;;
    map_name) wrap=-Wl,--wrap=prctl ;;
    trap) wrap=-Wl,--wrap=mmap ;;
    esac
    [ "$name" != race_steps ] || wrap=$wrap,--wrap=ma_os_watch_thread,--wrap=mincore,--wrap=madvise,--wrap=ma_os_nap
    object=$scratch/tests/$name.o
    [ -n "$changed" ] || object=$output.o
    # shellcheck disable=SC2086
    { [ -f "$object" ] || "$compiler" $flags -c "$copy/tests/$name.c" -o "$object"; } &&
        "$compiler" "$object" "$@" $wrap -pthread -o "$output"
}

run_test() { # run_test PROGRAM: 0 green, else red; some bugs make a test go on for ever
    within 40 "$1" >"$scratch/output" 2>&1 || {
        status=$?
        [ $status != 137 ] || echo "not true: it comes to an end" >>"$scratch/output"
        return $status
    }
}

# Three schedules in ten find each of them, or nearly: what is not found is looked for in more.
MEMARENA_TEST_SCALE=0.3
export MEMARENA_TEST_SCALE

# tests_have FLAG...: the tests are compiled with these, too
tests_have() {
    flags="$flags $*"
    rm -rf "$scratch/tests"
    mkdir "$scratch/tests"
}

# from_now_on FLAG...: the library and the tests are compiled with these, too
from_now_on() {
    tests_have "$@"
    rm -rf "$scratch/sound"
    mkdir "$scratch/sound"
    build "$scratch/sound" || fail "the library does not build with $*"
}

# One in so many, others with another seed; make audit plants them all.
one_in=${MEMARENA_PLANTED_ONE_IN:-6} number=0

# bug WHAT FILE TEST SED-SCRIPT
bug() {
    what=$1 file=$2 name=$3 script=$4
    number=$((number + 1))
    [ $(((number + ${MEMARENA_TEST_SEED:-0}) % one_in)) = 0 ] || return 0
    cp "$project/$file" "$scratch/original"
    sed -E "$script" "$scratch/original" >"$copy/$file"
    if cmp -s "$scratch/original" "$copy/$file"; then
        echo "$script" >"$scratch/output"
        complain "$what: there is nothing in $file to plant it in" "$scratch/output"
        return 0
    fi
    rm -rf "$scratch/bugged"
    cp -R "$scratch/sound" "$scratch/bugged"
    case $file in
    *.c) changed=$file ;;
    *) changed= ;;
    esac
    # shellcheck disable=SC2086
    if ! build "$scratch/bugged" $changed >"$scratch/output" 2>&1 ||
        ! link_test "$name" "$scratch/bugged/test" "$scratch"/bugged/*.o >"$scratch/output" 2>&1; then
        complain "$what: does not compile" "$scratch/output"
    elif run_test "$scratch/bugged/test" && (MEMARENA_TEST_SCALE=1 && run_test "$scratch/bugged/test"); then
        complain "$what: $name does not notice" "$scratch/output"
    else
        echo "  $what: $name says: $(sed -n 's/.*not true: //p; s/^weak: //p' "$scratch/output" | head -n 1)"
    fi
    cp "$scratch/original" "$copy/$file"
}

# lost WHAT FILE TEST LINE [FUNCTION]: this line, as a pattern, is left out; in FUNCTION only.
lost() {
    bug "$1" "$2" "$3" "${5:+/^[a-z_].*[ *]$5\(/,/^\}/}s@^ *$4.*@@"
}

from_now_on -DMA_YIELD_HOOK=test_yield
tests_have -DWITH_YIELD
echo "void test_yield(void); void __attribute__((weak)) test_yield(void) {}" >"$scratch/hook.c" # of tests that have none
"$compiler" -c "$scratch/hook.c" -o "$scratch/sound/hook.o" || fail "an empty hook does not build"
bug "an offset that carries into the tag" src/shard/pool.c pool \
    's/ma_word_wrap\(pool->offset_bits, sum\)/sum/'

bug "a block out of a free extent without slack for its alignment" src/arena/alloc.c last_resort \
    's/slack = alignment > unit \? alignment : 0;/slack = 0 * unit;/'

# A second look that is left out, a store instead of a swap.
bug "the number of a dead thread inherited by a store" src/base/lease.c second_looks \
    's/if \(ma_swap_acq_rel\(&shared->lessees\[index\], &lessee, (ma_next_lessee.*)\)\) /ma_store_release(\&shared->lessees[index], \1);/'
bug "the last free number leased by a store" src/base/lease.c second_looks \
    's/if \(!ma_swap_acq_rel\(&shared->leased, &taken, (.*)\)\) continue;/ma_store_release(\&shared->leased, \1);/'
bug "a lease that does not look whether a handler has leased" src/base/lease.c second_looks \
    's/memarena_lane_offset_ == 0 \? (take_number.*) : MA_LANES/\1/'
lost "a lease during which a handler leases" src/base/lease.c second_looks 'self->may_not_lease = true;'
bug "a process numbered by two threads" src/platform/process.c second_looks \
    's/ && ma_swap_acq_rel\(at, &number, MA_PROCESS_BEGINS\)//'
bug "a TLAB published without a second look at the generation" src/lane/tlab.c second_looks \
    '/^static bool publish/,/^}/s/if \(ma_load_acquire\(&arena->pool\.generation\) != generation\) return false;//'
bug "a CPU lane exchanged in a generation that is over" src/lane/cpu.c second_looks \
    '/^static ma_claim exchange/,/^}/s/^    if \(ma_load_acquire\(&arena->pool.generation\) != request->generation\) return MA_MOVED;//'
bug "CPU lanes counted by a store" src/base/lease.c second_looks \
    's/while \((used <= number) && !ma_swap_acq_rel\(&arena->cpus_used, &used, (.*)\)\) continue;/if (\1) ma_store_release(\&arena->cpus_used, \2);/'
bug "a sample reported without a last look at the round" src/lane/sample.c second_looks \
    's/ && ma_load_acquire\(&arena->sampling.round\) == now->round//'
lost "a change of samples that does not say so" src/lane/sample.c second_looks '\(void\)ma_exchange_seq_cst\(&sampling->round, CHANGING'
lost "two threads that change samples at once" src/feature/sampling.c second_looks 'if \(!become_changer\('
bug "a window opened by a reset that comes late" src/generation/step.c second_looks \
    '/^static bool lock/,/^}/s/if \(ma_load_acquire\(&arena->pool.generation\) == generation\) return true;/return true;/'
bug "a call deferred in a generation that is over" src/generation/close.c second_looks \
    's/ma_pin_begin\(arena, &pin, MA_PIN_DEFER\) == generation/ma_pin_begin(arena, \&pin, MA_PIN_DEFER) != 0/'
bug "a generation ended while another thread runs its calls" src/generation/close.c second_looks \
    's/if \(head & BUSY\) return ma_fail\(EBUSY\);//'
bug "a thread that says it runs the calls of another" src/generation/close.c second_looks \
    's/!ma_swap_address_seq_cst\(&arena->runner, 0, (ma_os_thread_self\(\))\)/(ma_store_release(\&arena->runner, \1), false)/'
bug "a request refused without a look whether a run has ended" src/supply/supply.c second_looks \
    's/return now == runs;/return true;/'
bug "a run ended by a store" src/shard/pool.c second_looks \
    's/while \(!ma_swap_acq_rel\(&pool->runs, &runs, ended\)\);/while (ma_store_release(\&pool->runs, ended), false);/'
bug "the peak noted by a store" src/shard/pool.c second_looks \
    's/while \((offset > begin \+ most) && !ma_swap_acq_rel\(peak, &most, (.*)\)\) continue;/if (\1) ma_store_release(peak, \2);/'
bug "what was touched noted by a store" src/feature/trim.c second_looks \
    's/while \((before < bytes) && !ma_swap_acq_rel\(most, &before, bytes\)\) continue;/if (\1) ma_store_release(most, bytes);/'
bug "a window of resets that ends by a store" src/feature/trim.c second_looks \
    's/while \(!ma_swap_acq_rel\(&needed\[0\], &last, 0\)\) continue;/ma_store_release(\&needed[0], 0);/'
lost "memory said to be forbidden before the one before has forbidden it" src/supply/watch.c shadow \
    'wait_for_mark\(arena, begin\);'
lost "a block handed out in memory that is about to be forbidden" src/supply/watch.c shadow 'wait_for_mark\(arena, end\);'
bug "memory forbidden by two threads" src/supply/watch.c shadow \
    's/if \(!ma_swap_acq_rel\(&arena->watch_claimed, &begin, step\)\) continue;/ma_store_release(\&arena->watch_claimed, step);/'

# What is announced and not taken back, by its thread or in a child of fork; a lost decrement.
lost "a thread that stays the runner when another call came" src/generation/close.c second_looks \
    'ma_store_release\(&arena->runner, 0\);' become_runner
lost "a thread that stays the runner when its reset is refused" src/generation/step.c limits \
    'ma_store_release\(&arena->runner, 0\);' ma_step_stop_running
lost "a pin that stays in the list" src/generation/close.c second_looks 'ma_store_release\(&ma_lane_thread_.pins, pin->outer\);'
lost "a scope that was refused, and counts as open" src/scope/scope.c limits 'ma_scope_count\(root, true\);' open_new
lost "a run that never ends when scopes are trimmed" src/feature/trim.c limits 'ma_pool_end_run\(pool\);' trim_extents
lost "a run that never ends when nothing is left to borrow" src/shard/pool.c second_looks 'ma_pool_end_run\(pool\);' \
    ma_pool_borrow
lost "copies that never leave a lane" src/base/lease.c second_looks 'ma_count\(&shared->copies\[index\], \(uint32_t\)-1\);'
lost "a copy that uses a lane without being counted" src/base/lease.c second_looks 'ma_count\(&shared->copies\[index\], 1\);'
lost "a lane given back while another copy uses it" src/base/lease.c second_looks \
    'if \(ma_load_relaxed\(&shared->copies\[index\]\) != 0\) return;'
lost "taken tails that still count as tails" src/lane/cpu.c limits 'ma_count\(&lane->tail_bytes, -\(uintptr_t\)request->size\);'
lost "cached extents that count when they are taken" src/scope/extent.c limits 'cache->units -= extent->units;'
bug "of a thread's pins one in a child" src/generation/fork.c second_looks 's/sum \+= /sum = /'
lost "pins of other arenas in a child" src/generation/fork.c second_looks 'if \(pin->arena != arena\) continue;'
lost "a child whose threads do not know what is pinned" src/generation/fork.c second_looks \
    'for \(ma_pin .*ma_fork_check\(pin->arena\);' after_fork
lost "runs of lost threads" src/generation/fork.c second_looks '\(void\)ma_and_release\(&arena->pool.runs, ' repair
bug "a CPU lane taken from the thread that forked" src/lane/cpu.c second_looks \
    's/!ma_fork_has_lost\(&lane->holder, survivor\)/ma_load_acquire(\&lane->holder) == 0/'
bug "a CPU lane that a lost thread was the first to hold" src/lane/cpu.c second_looks \
    '/^void ma_cpu_repair/,/^}/s/cpu < arena->cpus.count/cpu < ma_load_acquire(\&arena->cpus_used)/'
bug "what a lost thread was about to leave behind in a CPU lane is bumped, too" src/lane/cpu.c second_looks \
    's/^        ma_lane_abandon\(lane\);//'
bug "deferred calls taken from the thread that forked" src/generation/step.c second_looks \
    's/ma_fork_has_lost\(&arena->runner, survivor\)/ma_load_acquire(\&arena->runner) != 0/'
lost "a child with the number of its parent" src/platform/process.c second_looks \
    'ma_store_relaxed\(&shared->last_number, number\);'
lost "the lane of the thread that forked given to others" src/platform/process.c second_looks \
    'if \(ma_load_relaxed\(&shared->threads\[index\]\) == self\) lost &='
lost "lanes of lost threads" src/platform/process.c second_looks '\(void\)ma_and_release\(&shared->leased, ~lost\);'

# Limits: one too many, one too few.
bug "a reset with calls run that gives up after 16 yields" src/generation/close.c limits 's/has_run \? NAPS : 0/0/'
bug "a reset that yields 15 times" src/generation/close.c limits 's/\+\+\*patience > YIELDS/++*patience >= YIELDS/'
bug "a reset that waits for a trim" src/generation/close.c limits 's/pins < MA_PIN_TRIM/pins <= MA_PIN_TRIM/'
bug "a reset that does not see one pin" src/generation/close.c second_looks 's/return pins != 0;/return pins > 1;/'
bug "a call that waits for the reset in which it runs" src/generation/close.c limits 's/== ma_os_thread_self\(\)\) return;/== 1) return;/'
bug "a sample in a block before the chosen byte" src/lane/sample.c limits 's/next <= \*at\)/next < *at)/'
lost "a sample for which CPU lanes stay open" src/feature/sampling.c limits 'ma_cpu_close_all\(arena\);'
bug "one free extent too many in a cache" src/scope/extent.c limits \
    's/cache->units \+ extent.units < cache->units_max/cache->units + extent.units <= cache->units_max/'
bug "a ready scope in a cache that may have none" src/scope/scope.c limits \
    's/cache->units < cache->units_max/cache->units <= cache->units_max/'
bug "half of the extents without a number" src/scope/extent.c scopes 's/UINT64_MAX >> __builtin_clzll\(units \| 1\)/& >> 1/'
bug "marks with the numbers of another thread" src/scope/mark.c limits 's/last % MARK_IDS == 0/last == 0/'
lost "what lies behind a block in a tail" src/lane/cpu.c limits 'ma_lane_remember_tail\(lane, next - base, end - next\);'
lost "what lies before a block in a tail" src/lane/cpu.c limits 'ma_lane_remember_tail\(lane, begin - base, start - begin\);'
bug "what a CPU may be bumping taken without a barrier" src/lane/cpu.c limits 's/if \(closed && lane->generation/if (lane->generation/'
bug "a barrier that is not registered" src/platform/rseq_linux.c limits 's/errno == EPERM/false/'
bug "a generation 0 that was reset" src/generation/trap.c limits 's/back < now\)/back <= now)/'
bug "the last window without an explanation" src/generation/trap.c limits 's/window <= arena->pool.window_mask/window < arena->pool.window_mask/'
bug "sixty-three arenas with a name" src/generation/trap.c limits 's/i < NAMED_MAX; i\+\+\) \{/i + 1 < NAMED_MAX; i++) {/'
bug "a number for a process that is being numbered" src/platform/process.h limits \
    's/number > MA_PROCESS_BEGINS, 1/number >= MA_PROCESS_BEGINS, 1/'
bug "a run that ends without having begun" src/shard/pool.c second_looks 's/\(runs & MA_RUNS_MASK \? MA_RUN_BEGINS : 0\)/MA_RUN_BEGINS/'
bug "a run that needs one source too many" src/shard/pool.c pool \
    's/ma_source_begin\(pool, next\) < span->end; next/ma_source_begin(pool, next) <= span->end; next/'
bug "a run rolled back but for its last source" src/shard/pool.c interrupted_claims \
    's/(roll_back\(pool, generation, span->begin, span->source, source)\)/\1 - 1)/'
bug "a reference to what lies behind the arena" src/feature/reference.c references 's/distance - 1 >= distances/distance - 1 > distances/'
bug "owned addresses without the last window" src/arena/account.c trap 's/\(arena->pool.window_mask \+ 1\)/arena->pool.window_mask/'
bug "a byte too many that may be used" src/supply/watch.c shadow 's/\*block, \*block \+ size\)/*block, *block + size + 1)/'
lost "a nap that can be cancelled" src/platform/os_posix.c limits '\(void\)pthread_setcancelstate\(PTHREAD_CANCEL_DISABLE, &before\);'
bug "a name one byte too long for the system" src/platform/os_posix.c map_name 's/length < NAME_BYTES - 1/length < NAME_BYTES/'
bug "a text that just does not fit at the tip" src/arena/strings.c room 's/\(size_t\)length < taken\)/(size_t)length <= taken)/'
bug "a claim that is not counted" src/shard/pool.c claimed 's/^            count_claimed\(pool, request->generation, end \+ extra - begin\);//'
bug "a run that is not counted" src/shard/pool.c claimed 's/^        if \(found\) count_claimed\(.*//'
bug "what went back still counted as claimed" src/shard/pool.c claimed 's/^    count_claimed\(pool, generation, to - from\);//'
bug "claims of lost threads not counted in a child" src/generation/fork.c claimed 's/^    ma_pool_repair\(&arena->pool\);//'
bug "a sum of claims that is never refreshed" src/shard/pool.c claimed 's/^    if \(pool->shard_count && source == 0\) refresh_word.*//'
bug "a kept extent taken for that of one block" src/scope/keep.c keep 's/extent->beside = MA_EXTENT_KEPT;/(void)extent;/'
bug "a mark that ends behind a call that was undone" src/scope/scope.c undefer \
    's/^        if \(scope->marks && scope->marks->deferred == \(uintptr_t\)first\) break;//'
bug "a limit that is not looked at when it is charged" src/scope/limit.c tenants 's/if \(charged > tenant->limit \|\| .*\) return false;//'
bug "a charge that another one overwrites" src/scope/limit.c tenants \
    's/while \(!ma_swap_acq_rel\(&tenant->charged, &charged, charged \+ bytes\)\);/while (ma_store_relaxed(\&tenant->charged, charged + bytes), false);/'
bug "a refused charge that stays" src/scope/limit.c tenants 's/^    for \(; first != tenant;.*//'
bug "spare extents that never go back" src/scope/round.c keep 's/^        if \(extent->stamp == stamp\) \{/        if (false) {/'
bug "spare extents in the way of their scope" src/scope/round.c scope_model 's/if \(!taken && scope->spare\)/if (false)/'
bug "a text that just does not fit" src/arena/strings.c room 's/\(size_t\)length < sizeof first_try/(size_t)length <= sizeof first_try/'
bug "a TLAB that ends with the arena, and is not in the picture" src/arena/snapshot.c map \
    's/limit - base <= arena->pool.capacity/limit - base < arena->pool.capacity/'

# Bursts: what other calls, other threads and callbacks must leave alone.
bug "a lane that a burst holds, and that plain calls refill" src/lane/tlab.c burst \
    's/held \? MA_NO_ROOM : ma_lane_take/ma_lane_take/; s/if \(held\) return ma_claim_block/if (false) return ma_claim_block/'
bug "a lane that is let go by the next generation" src/lane/tlab.c burst 's/held \? memarena_held_ : 0/0/'
lost "a burst that goes on with the cursor of a generation that is over" src/lane/tlab.c burst \
    'lane->burst = MA_BURST_KEPT;'
lost "a lessee that takes another one's burst for its own" src/base/lease.c burst 'ma_count\(&shared->leases\[index\], 1\);'
lost "a lane that stays held when its lessee has ended" src/lane/tlab.c burst 'ma_lane_abandon\(lane\);' ma_burst_holds
lost "a burst that lets go at its first slow block" src/arena/burst.c burst \
    'ma_store_relaxed\(&held->range->cursor_, memarena_held_\);' find_block
lost "a burst that goes on during a callback" src/arena/burst.c burst 'ma_store_relaxed\(&held->range->end_, 0\);' keep_cursor
lost "a callback that takes the cursor away from the call that waits" src/arena/burst.c burst \
    'if \(stays_kept\) keep_cursor\(held, cursor\);'
bug "a run begun during a callback" src/arena/burst.c burst 's/ && !is_called_back\(\)\)$/)/'
bug "the rest of a run that counts as handed out" src/arena/burst.c burst 's/ma_count\(&lane->base, 0 - rest\);/(void)rest;/'
lost "a run that ends when the burst has" src/arena/burst.c burst 'end_run\(held.root, ma_lane_leased\(held.root\), cursor\);'
bug "a run that is bumped by plain calls when the burst has ended" include/memarena.h burst \
    's/cursor - 1 < end && \(end & 1\) == 0/cursor - 1 < end/'
bug "a run published in a generation that is over" src/arena/burst.c burst \
    's/if \(!stands \|\| is_sampled \|\| ma_reset_is_near\(head, generation\)\) ma/if (false) ma/'
bug "a held lane that counts as if it were used up to its mark" src/base/lease.h burst \
    's/return cursor & 1 \? ma_load_acquire\(&lane->limit\) : cursor;/return cursor;/'
bug "a scope rewound under a burst" src/scope/mark.c burst '/^static bool rewind_to/,/^}/s/ \|\| ma_scope_is_held\(scope\)//'
bug "a scope reset under a burst" src/scope/scope.c burst '/^static bool reset/,/^}/s/ma_scope_is_held\(scope\) \|\| //'
lost "a scope that bumps what a burst holds" src/scope/block.c burst 'if \(ma_scope_is_held\(scope\)\) return alloc_beside'

bug "a block beside a burst that has an extent for itself" src/scope/block.c burst 's/ && scope->newest->beside == MA_EXTENT_OWN//'
lost "blocks beside a burst in an extent that was given back" src/scope/round.c burst \
    'if \(extent == scope->beside\) scope->beside = NULL;'
bug "a mark that does not see what lies beside a burst" src/scope/mark.c burst 's/ && mark->settled == ma_scope_sum\(scope\)//'

# A fork at any access (tests/fork_steps.c), and in the middle of something.
from_now_on -DMA_YIELDS=2
bug "a child that does not know that it is one" src/platform/os_posix.c fork_moments \
    's/madvise\(memory, bytes, MADV_WIPEONFORK\) == 0/memory \&\& bytes/'
bug "the runner of deferred calls is lost, and stays" src/generation/step.c fork_moments \
    's/^    if \(ma_fork_has_lost\(&arena->runner, survivor\)\) .*$//'
bug "the runner of deferred calls forks, and is taken for a lost one" src/generation/step.c fork_moments \
    's/ma_fork_has_lost\(&arena->runner, survivor\)/ma_load_acquire(\&arena->runner) != 0/'
bug "the first thread of a child that no handler has seen is not known" src/platform/os_posix.c fork_moments \
    's/return syscall\(SYS_gettid\) == getpid\(\);/return false;/'
bug "a pin that does not say in which process it was counted" src/generation/close.c fork_steps \
    's/ma_pin_same_process\(before, counted\)/true/'
bug "the holder of a CPU lane forks, and is taken for a lost one" src/lane/cpu.c fork_steps \
    's/!ma_fork_has_lost\(&lane->holder, survivor\)/ma_load_acquire(\&lane->holder) == 0/'
bug "a reset that empties the lanes after it has closed the generation" src/generation/close.c fork_steps \
    '/^static attempt close_generation/,/^}/{
        /^    ma_lane_empty_all\(arena\);/d
        s/^    return done \? DONE : CHANGED;/    if (done) ma_lane_empty_all(arena);\n&/
    }'
bug "a call that waits for a lost thread" src/generation/close.c fork_steps \
    's/^        \(void\)ma_fork_check\(arena\); \/\*.*$//'

# One access at a time (tests/steps.h).
flags=${flags%-DMA_YIELD_HOOK*}
from_now_on -fsanitize=thread -U__SANITIZE_THREAD__ -DMA_YIELDS=2
"$compiler" -std=c11 -O1 -c "$copy/tests/weak.c" -o "$scratch/sound/weak.o" || fail "weak.c does not build"
bug "a refill by a plain store" src/shard/pool.c race_steps \
    's/if \(ma_swap_acq_rel\(field, &word, claimed\)\) \{/ma_store_release(field, claimed); {/'
# With these a second line goes, the one that gives nothing out from a newer word: each alone keeps blocks apart.
bug "a claim that compares the generation before it reads the word" src/shard/pool.c race_steps \
    '/^static ma_claim claim_from/,/^}/{
        s/ma_source_tip\(pool, source, word, request->generation\)/ma_word_offset(pool->offset_bits, word, request->generation, ma_source_begin(pool, source))/
        s/^    uint64_t word = ma_load_acquire\(field\);/    bool now = ma_load_acquire(\&pool->generation) == request->generation;\n&/
        s/if \(ma_load_acquire\(&pool->generation\) != request->generation\)/if (!now)/
    }'
bug "a claim that compares the generation only once" src/shard/pool.c race_steps \
    '/^static ma_claim claim_from/,/^}/{
        s/ma_source_tip\(pool, source, word, request->generation\)/ma_word_offset(pool->offset_bits, word, request->generation, ma_source_begin(pool, source))/
        s/^    for \(;;\) \{/    if (ma_load_acquire(\&pool->generation) != request->generation) return MA_MOVED;\n&/
        s/^        if \(ma_load_acquire\(&pool->generation\) != request->generation\) return MA_MOVED;//
    }'
bug "a tag compared for equality, not for newer, by a reset that comes late" src/shard/pool.c race_steps \
    '/^static void refresh_word/,/^}/{
        s/uint64_t \*field, uint64_t start\)/uint64_t *field, uint64_t start, uint64_t generation)/
        s/word = ma_load_acquire\(field\), generation;/word = ma_load_acquire(field);/
        s/generation = ma_load_acquire\(&pool->generation\);//
        s/<= 0\) return/== 0) return/
    }
    s/(refresh_word\(pool, .*)\);/\1, generation);/'
bug "a reset that forgets a word" src/shard/pool.c race_steps \
    's/^(    refresh_word\(pool, &pool->sources\[source\]\.word.*)$/    if (source != 1)\n\1/'
bug "a reset that forgets every word" src/shard/pool.c race_steps \
    '/^    refresh_word\(pool, &pool->sources\[source\]\.word/d'
bug "an extent pushed twice" src/scope/extent.c race_scope_steps \
    's/^        push_shared\(arena, generation, size_class, extent\);/&push_shared(arena, generation, size_class, extent);/'
bug "a stack that does not count its changes" src/scope/extent.c race_scope_steps \
    's/\(taken \|\| age\(head, generation\) != 0 \? mask \+ 1 : 0\)/0/'
bug "pages given back as they were seen free, not as they were borrowed" src/feature/trim.c race_steps \
    's/^            if \(begin < floor\) begin = floor;$//'
bug "pages given back that nobody has borrowed" src/shard/pool.c race_steps \
    '/^bool ma_pool_borrow/,/^}/s/if \(!ma_swap_acq_rel\(field, &word, ma_word_make\(pool->offset_bits, generation, end\)\)\) continue;/(void)end;/'
bug "an end published before the cursor" src/lane/tlab.c race_steps \
    's/ma_store_release\(&lane->tlab\.end_, 0\)/ma_store_release(\&lane->tlab.end_, limit)/'
bug "a TLAB published by a store" src/lane/tlab.c race_steps \
    '/^static bool publish/,/^}/s/!ma_swap_address_seq_cst\((&lane->tlab.end_), MA_END_ARMED, (.*)\)\)$/(ma_store_release(\1, \2), false))/'
bug "a reset that leaves the lanes as they are" src/generation/close.c race_steps \
    's/^    ma_lane_empty_all\(arena\);//'
bug "a lane leased by a plain store" src/base/lease.c race_steps \
    's/if \(!ma_swap_acq_rel\(&shared->leased, &taken, (.*)\)\) continue;/ma_store_release(\&shared->leased, \1);/'
bug "a scope opened without a look at the reset" src/scope/scope.c race_scope_steps \
    's/= ma_hold_off\(root\)/= ma_load_acquire(\&root->pool.generation)/'
bug "a reset that counts the opened before the ended" src/generation/close.c race_scope_steps \
    's/ended = sum_opened\(arena, true\);/ended = sum_opened(arena, false);/; s/return sum_opened\(arena, false\) - ended;/return ended - sum_opened(arena, true);/'

bug "a scope that counts as ended before its calls have joined the arena's" src/scope/keep.c race_scope_steps \
    '/^bool memarena_keep/,/^}/{
        s/^    ma_scope_count\(root, true\);.*//
        s/^    bool kept = keep\(scope\);/    ma_scope_count(root, true);\n&/
    }'
lost "a kept scope that holds the generation open for ever" src/scope/keep.c race_scope_steps 'ma_scope_count\(root, true\);' \
    memarena_keep
bug "calls of a kept scope that join the arena's by a store" src/generation/close.c race_scope_steps \
    '/^void ma_defer_join/,/^}/s/while \(!ma_swap_acq_rel\(&arena->deferred, &head, pushed\)\);/while (ma_store_release(\&arena->deferred, pushed), false);/'
tests_have -DSTEPS_DEFER
bug "a call that runs although it was undone" src/generation/close.c race_steps \
    '/^static void run_newest/,/^}/s/ma_exchange_seq_cst\(&call->fn, NULL\)/ma_load_acquire(\&call->fn)/; s/^    if \(!fn\) return;/    if (!fn) return; ma_store_release(\&call->fn, NULL);/'
bug "a call undone by a store" src/generation/close.c race_steps \
    's/if \(ma_exchange_seq_cst\(&call->fn, NULL\)\) return true;/{ ma_store_release(\&call->fn, NULL); return true; }/'
bug "a call undone in a generation that may end" src/generation/close.c race_steps \
    '/^bool ma_defer_take/,/^}/{
        s/^    \(void\)ma_pin_begin\(arena, &pin, MA_PIN_DEFER\);//
        s/^    ma_pin_end\(&pin\);//
        s/^    ma_pin pin;//
    }'

# The memory orders, under the model of C11 (tests/weak.h).
flags=${flags% -DSTEPS_DEFER}
tests_have -DSTEPS_WEAK
bug "a TLAB published with an acquire load of the head" src/lane/tlab.c race_steps \
    '/^static bool publish/,/^}/s/ma_load_seq_cst\(&arena->deferred\)/ma_load_acquire(\&arena->deferred)/'
bug "a scope opened with an acquire load of the reset" src/base/head.h race_scope_steps \
    's/= ma_load_seq_cst\(&arena->deferred\)/= ma_load_acquire(\&arena->deferred)/'
bug "a reset that says it is near outside of the single order" src/generation/close.c race_steps \
    's/ma_swap_seq_cst\(&arena->deferred, &head, closing\)/ma_swap_acq_rel(\&arena->deferred, \&head, closing)/'
bug "a word that is read by a relaxed load" src/shard/pool.c race_steps \
    '/^static ma_claim claim_from/,/^}/s/word = ma_load_acquire\(field\)/word = ma_load_relaxed(field)/'
bug "an extent that is popped after a relaxed load" src/scope/extent.c race_scope_steps \
    's/head = ma_load_acquire\(stack\); \/\* \[extent-1\]/head = ma_load_relaxed(stack); \/* [extent-1]/'
bug "a scope that is counted as opened by a store" src/scope/scope.c race_scope_steps \
    's/\(void\)ma_exchange_seq_cst\(&counts->opened, (.*)\);/ma_store_release(\&counts->opened, \1);/'
bug "a pin counted outside of the single order" src/generation/close.c race_steps \
    '/^uint64_t ma_pin_begin/,/^}/s/ma_swap_seq_cst\(&arena->pins/ma_swap_acq_rel(\&arena->pins/'
bug "used lanes that a reset reads by a relaxed load" src/lane/tlab.c race_steps \
    '/^void ma_lane_empty_all/,/^}/s/ma_load_seq_cst\(&arena->lanes_used\)/ma_load_relaxed(\&arena->lanes_used)/'
bug "a lane given back by a relaxed store" src/base/lease.c race_steps \
    's/\(void\)ma_and_release\(&shared->leased, (.*)\);/(void)__atomic_fetch_and(\&shared->leased, \1, __ATOMIC_RELAXED);/'
finish
