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

link_test() { # link_test TEST OUTPUT OBJECT...
    name=$1 output=$2
    shift 2
    wrap=
    case $name in
    *steps) wrap=-Wl,--wrap=sched_yield ;;
    esac
    [ "$name" != race_steps ] || wrap=$wrap,--wrap=ma_os_watch_thread,--wrap=mincore,--wrap=madvise,--wrap=ma_os_nap
    # shellcheck disable=SC2086
    "$compiler" $flags -c "$copy/tests/$name.c" -o "$output.o" && "$compiler" "$output.o" "$@" $wrap -pthread -o "$output"
}

run_test() { # run_test PROGRAM: 0 green, else red; some bugs make a test go on for ever
    timeout 120 "$1" >"$scratch/output" 2>&1 || {
        status=$?
        [ $status != 124 ] || echo "not true: it comes to an end" >>"$scratch/output"
        return $status
    }
}

# Three schedules in ten find each of them, or nearly: what is not found is looked for in more.
MEMARENA_TEST_SCALE=0.3
export MEMARENA_TEST_SCALE

# from_now_on FLAG...: the library and the tests are compiled with these, too
from_now_on() {
    flags="$flags $*"
    rm -rf "$scratch/sound"
    mkdir "$scratch/sound"
    build "$scratch/sound" || fail "the library does not build with $*"
}

# bug WHAT FILE TEST SED-SCRIPT
bug() {
    what=$1 file=$2 name=$3 script=$4
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

from_now_on -DMA_YIELD_HOOK=test_yield
flags="$flags -DWITH_YIELD"
bug "an offset that carries into the tag" src/shard/pool.c pool \
    's/ma_word_wrap\(pool->offset_bits, sum\)/sum/'

bug "a block out of a free extent without slack for its alignment" src/arena/alloc.c last_resort \
    's/slack = alignment > unit \? alignment : 0;/slack = 0 * unit;/'

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
bug "an extent pushed twice" src/arena/extent.c race_scope_steps \
    's/^        push_shared\(arena, generation, size_class, extent\);/&push_shared(arena, generation, size_class, extent);/'
bug "a stack that does not count its changes" src/arena/extent.c race_scope_steps \
    's/\(head >> COUNT_SHIFT\) \+ 1/(head >> COUNT_SHIFT)/'
bug "pages given back as they were seen free, not as they were borrowed" src/arena/trim.c race_steps \
    's/^            if \(begin < floor\) begin = floor;$//'
bug "pages given back that nobody has borrowed" src/shard/pool.c race_steps \
    '/^bool ma_pool_borrow/,/^}/s/if \(!ma_swap_acq_rel\(field, &word, ma_word_make\(pool->offset_bits, generation, end\)\)\) continue;/(void)end;/'
bug "an end published before the cursor" src/arena/alloc.c race_steps \
    's/ma_store_release\(&lane->tlab\.end_, 0\)/ma_store_release(\&lane->tlab.end_, limit)/'
bug "a TLAB published without a second look at the generation" src/arena/alloc.c race_steps \
    '/^static bool publish/,/^}/s/if \(ma_load_seq_cst\(&arena->pool\.generation\).*\) return false;//'
bug "a TLAB published by a store" src/arena/alloc.c race_steps \
    '/^static bool publish/,/^}/s/if \(!ma_swap_address_seq_cst\(.*\)\) return false;/ma_store_release(\&lane->tlab.end_, ma_sample_end(at, lane->limit));/'
bug "a reset that leaves the lanes as they are" src/arena/reset.c race_steps \
    's/^    ma_reset_empty_lanes\(arena\);//'
bug "a lane leased by a plain store" src/arena/lane.c race_steps \
    's/if \(!ma_swap_acq_rel\(&ma_lane_leased_, &taken, (.*)\)\) continue;/ma_store_release(\&ma_lane_leased_, \1);/'
bug "a scope opened without a look at the reset" src/arena/scope.c race_scope_steps \
    's/= ma_reset_hold_off\(root\)/= ma_load_acquire(\&root->pool.generation)/'
bug "a reset that counts the opened before the ended" src/arena/reset.c race_scope_steps \
    's/ended = sum_opened\(arena, true\);/ended = sum_opened(arena, false);/; s/return sum_opened\(arena, false\) - ended;/return ended - sum_opened(arena, true);/'

# The memory orders, under the model of C11 (tests/weak.h).
flags="$flags -DSTEPS_WEAK"
bug "a TLAB published with an acquire load of the generation" src/arena/alloc.c race_steps \
    '/^static bool publish/,/^}/s/ma_load_seq_cst\(&arena->pool\.generation\)/ma_load_acquire(\&arena->pool.generation)/'
bug "a scope opened with an acquire load of the reset" src/arena/arena.h race_scope_steps \
    's/= ma_load_seq_cst\(&arena->deferred\)/= ma_load_acquire(\&arena->deferred)/'
bug "a generation that moves outside of the single order" src/arena/reset.c race_steps \
    's/ma_swap_seq_cst\(&arena->pool\.generation/ma_swap_acq_rel(\&arena->pool.generation/'
bug "a word that is read by a relaxed load" src/shard/pool.c race_steps \
    '/^static ma_claim claim_from/,/^}/s/word = ma_load_acquire\(field\)/word = ma_load_relaxed(field)/'
bug "an extent that is popped after a relaxed load" src/arena/extent.c race_scope_steps \
    's/head = ma_load_acquire\(stack\); \/\* \[extent-1\]/head = ma_load_relaxed(stack); \/* [extent-1]/'
finish
