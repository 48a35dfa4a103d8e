#!/bin/sh
# The system calls of the library, counted: a handful at creation, none for blocks, none at all in a caller's buffer.
# usage: syscalls.sh PROGRAM
set -eu
here=$(cd "$(dirname "$0")" && pwd)
. "$here/shell.sh"
program=$1

need strace
strace -o "$scratch/trace" true 2>"$scratch/output" || skip "strace may not trace here: $(head -1 "$scratch/output")"

"$program" --list >"$scratch/cases"
[ -s "$scratch/cases" ] || fail "no cases"
while read -r name least most; do
    strace -f -o "$scratch/trace" "$program" "$name" || fail "$name: exit $?"
    [ "$(grep -c 'getppid()' "$scratch/trace")" = 2 ] || fail "$name: no two marks"
    sed -n '/getppid()/,/getppid()/p' "$scratch/trace" | grep -v 'getppid()' >"$scratch/calls" || true
    calls=$(wc -l <"$scratch/calls")
    echo "  $name: $((calls)) system calls"
    [ "$calls" -ge "$least" ] && [ "$calls" -le "$most" ] || complain "$name: $least to $most allowed" "$scratch/calls"
done <"$scratch/cases"
finish
