#!/bin/sh
# The fast path in instructions: so many at most for a block, the loop and a store included, and no locked one among
# them. Counted by the difference of N and 2 N blocks, so that start-up cancels; refills count, as in a program.
# usage: instructions.sh COMPILER MOST INCLUDE-DIRECTORY LIBRARY
set -eu
here=$(cd "$(dirname "$0")" && pwd)
. "$here/shell.sh"
compiler=$1 most=$2 include=$3 library=$4
blocks=200000

need "$compiler" valgrind objdump
case $(uname -m) in
x86_64 | amd64) ;;
*) skip "the bounds are those of x86-64" ;;
esac

"$compiler" -std=c11 -O2 -g -I"$include" "$here/instructions.c" "$library" \
    -Wl,-rpath,"$(dirname "$library")" -pthread -o "$scratch/instructions"

count() { # count LOOP BLOCKS
    valgrind --tool=callgrind --callgrind-out-file=/dev/null --collect-atstart=no "--toggle-collect=$1" \
        "$scratch/instructions" "$1" "$2" >"$scratch/output" 2>&1 || { cat "$scratch/output" >&2; return 1; }
    sed -n 's/.*Collected *: *\([0-9][0-9]*\).*/\1/p' "$scratch/output"
}

for loop in loop_new_value loop_alloc_8 loop_alloc_any loop_alloc_16 loop_alloc_64; do
    once=$(count $loop $blocks) || fail "callgrind on $loop"
    twice=$(count $loop $((2 * blocks))) || fail "callgrind on $loop"
    [ "${once:-0}" -gt "$blocks" ] || fail "callgrind counted nothing in $loop"
    each=$(((twice - once) * 100 / blocks))
    echo "  $loop: $((each / 100)).$(printf %02d $((each % 100))) instructions for a block"
    objdump -d --no-show-raw-insn "$scratch/instructions" |
        sed -n "/<$loop>:/,/^\$/p" >"$scratch/$loop"
    [ "$(wc -l <"$scratch/$loop")" -gt 8 ] || fail "objdump does not show $loop"
    case $loop in
    loop_new_value) typed=$each allowed=$most ;;
    loop_alloc_8) allowed=$most
        [ "$each" = "$typed" ] || complain "$loop takes another number of instructions than loop_new_value" "$scratch/$loop" ;;
    loop_alloc_any) allowed=$((most + 11)) ;; # three make the size
    *) allowed=$most ;;
    esac
    [ "$each" -le "$((allowed * 100))" ] || complain "$loop takes more than $allowed instructions for a block" "$scratch/$loop"
    if grep -E '[[:space:]](lock|xchg .*\(|mfence|sfence|lfence)' "$scratch/$loop" >"$scratch/output"; then
        complain "$loop has a locked instruction" "$scratch/$loop"
    fi
done
finish
