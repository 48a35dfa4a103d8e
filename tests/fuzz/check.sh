#!/bin/sh
# The fuzzer finds what is there, and nothing else.
# usage: check.sh runs SOURCE-DIRECTORY COUNT    so many inputs under libFuzzer: no finding
#        check.sh bugs SOURCE-DIRECTORY          each of some planted bugs is found by playing the corpus again
set -eu
here=$(cd "$(dirname "$0")" && pwd)
. "$here/../tools/shell.sh"
what=$1 source=$2
. "$here/build.sh"

if [ "$what" = runs ]; then
    can_fuzz clang "$scratch" || skip "clang's fuzzer library is not installed"
    build "$scratch/fuzz" clang -fsanitize=fuzzer
    mkdir "$scratch/new" # the first folder receives what is new
    attempt "$3 inputs" "$scratch/fuzz" -runs="$3" -seed=1 -max_len=400 -timeout=3600 -artifact_prefix="$scratch/" \
        "$scratch/new" "$here/corpus"
    finish
    exit 0
fi

compiler=${CC:-cc}
need "$compiler"
original=$source
source=$scratch/copy
flags="-std=c11 -O0 -D_GNU_SOURCE"

copy() {
    rm -rf "$source"
    mkdir -p "$source/tests"
    cp -R "$original/include" "$original/src" "$source"
    cp -R "$original/tests/fuzz" "$original/tests/test.h" "$original/tests/scope_accounts.h" "$source/tests"
}

# expect OUTCOME NAME: of playing the corpus.
expect() {
    build_replay "$scratch/replay" "$compiler" >"$scratch/output" 2>&1 || fail "$2 does not compile"
    status=0
    within 60 "$scratch/replay" "$original/tests/fuzz/corpus" >"$scratch/output" 2>&1 || status=$?
    case $1-$status in
    passes-0) echo "  $2" ;;
    passes-*) complain "$2" "$scratch/output" ;;
    fails-0) complain "$2: not found" "$scratch/output" ;;
    *) echo "  $2: $(grep -E -m 1 'not true|the input was' "$scratch/output" | sed 's|.*/||')" ;;
    esac
}

# plant NAME FILE SED-SCRIPT: the script must change the file, and the corpus must find it.
plant() {
    copy
    sed "$3" "$original/$2" >"$source/$2"
    if cmp -s "$original/$2" "$source/$2"; then
        complain "$1: the line to change is not there" "$scratch/output"
    else
        expect fails "$1"
    fi
}

: >"$scratch/output"
copy
expect passes "the library as it is"
plant "the fast path goes 8 bytes too far" include/memarena.h \
    's/if (MEMARENA_LIKELY_(next <= __atomic_load/if (MEMARENA_LIKELY_(next - 8 * (lane->end_ != 0) <= __atomic_load/'
plant "the fast path drops the slack of an alignment" include/memarena.h \
    's/^            block = (block + slack) & ~slack;/            block = block \& ~slack;/'
plant "calloc does not zero" src/arena/alloc.c 's/return block \&\& !fresh ? memset(block, 0, bytes) : block;/return block;/'
plant "calloc does not see an overflow" src/arena/alloc.c 's/return ma_retry_or_fail(handle, SIZE_MAX, alignment);/(void)alignment;/'
plant "realloc copies one byte too few" src/arena/resize.c 's/memcpy(copy, block, old_size)/memcpy(copy, block, old_size - (old_size > 0))/'
plant "realloc grows in place over its neighbour" src/scope/block.c 's/position + bytes == ma_load_relaxed(&scope->tlab.cursor_) ? position : 0/position/'
plant "a large block is claimed 8 bytes too short" src/shard/pool.c 's/uint64_t end = block + request->size;/uint64_t end = block + request->size - 8 * (request->size > 9000);/'
plant "the last 8 bytes of a source are not used" src/shard/pool.c \
    's/request->size > limit - block/request->size >= limit - block/;s/request->size > pool->capacity - block/request->size >= pool->capacity - block/'
plant "a reset does not run what was deferred" src/generation/close.c 's/^    fn(call->arg);/    if (0) fn(call->arg);/'
plant "a scope's calls run twice" src/scope/scope.c 's/^        if (call.fn) call.fn(call.arg);/        if (call.fn) call.fn(call.arg), call.fn(call.arg);/'
plant "the end of a scope forgets an extent" src/scope/round.c 's/ma_extent_give(scope->root, scope->root_generation, span);/if (extent->units != 2) &/'
plant "a rewind leaves the cursor" src/scope/mark.c 's/^        ma_store_relaxed(&scope->tlab.cursor_, mark->cursor);//'
plant "strndup forgets the terminator" src/arena/strings.c "s/copy\[length\] = '.0';/(void)0;/"
plant "on_oom is not asked" src/supply/supply.c 's/if (!arena->on_oom || /if (1 || /'
plant "a full arena counts what it refused" src/supply/supply.c 's/ma_store_relaxed(&arena->last_failed_bytes, size);/ma_store_relaxed(\&arena->last_failed_bytes, size + 1);/'
finish
