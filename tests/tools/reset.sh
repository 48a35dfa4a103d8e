#!/bin/sh
# A reset in constant time, by its instructions: they are as many whatever was allocated and however large the arena is, and
# grow by so many at most for each lane that was used, of which there are 64, whatever the number of threads.
# usage: reset.sh COMPILER MOST-FOR-A-LANE INCLUDE-DIRECTORY LIBRARY
set -eu
here=$(cd "$(dirname "$0")" && pwd)
. "$here/shell.sh"
compiler=$1 most=$2 include=$3 library=$4

need "$compiler" valgrind
case $(uname -m) in
x86_64 | amd64) ;;
*) skip "the bounds are those of x86-64" ;;
esac

"$compiler" -std=c11 -D_GNU_SOURCE -O2 -g -I"$include" "$here/reset.c" "$library" -pthread -o "$scratch/reset"

# count CAPACITY-MIB THREADS SCOPES KIB BLOCK: the instructions, in $count, and the lanes that were used, in $lanes.
count() {
    valgrind --tool=callgrind --callgrind-out-file=/dev/null --collect-atstart=no --toggle-collect=counted_reset \
        "$scratch/reset" "$@" >"$scratch/output" 2>&1 || { cat "$scratch/output" >&2; fail "callgrind on reset $*"; }
    count=$(sed -n 's/.*Collected *: *\([0-9][0-9]*\).*/\1/p' "$scratch/output")
    lanes=$(sed -n 's/^lanes //p' "$scratch/output")
    [ "${count:-0}" -gt 50 ] || fail "callgrind counted nothing in a reset"
    echo "  $count instructions: $1 MiB, threads: $2 ($lanes lanes), scopes: $3, $4 KiB in blocks of $5 bytes"
}

# between LEAST MOST: the last count
between() {
    [ "$count" -ge "$1" ] && [ "$count" -le "$2" ] ||
        complain "a reset takes $count instructions there, not $1 to $2" "$scratch/output"
}

count 1 1 0 0 100
alone=$count
for used in "1 1 0 900 100" "64 1 0 61440 1000" "1024 1 0 262144 1000000"; do
    # shellcheck disable=SC2086
    count $used
    between $((alone * 9 / 10)) $((alone * 11 / 10))
done
count 64 1 10000 0 100
between "$alone" $((alone * 11 / 10 + 5 * most)) # the scopes of a lane are counted, and four stacks brought up to date

count 64 64 0 0 100
[ "$lanes" = 64 ] || complain "64 threads have $lanes lanes" "$scratch/output"
between "$alone" $((alone + 63 * most))
crowd=$count
count 64 300 0 0 100
between $((crowd * 9 / 10)) $((crowd * 11 / 10))
count 64 300 1 0 100
between "$crowd" $((crowd + 69 * most)) # likewise
finish
