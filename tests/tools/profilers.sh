#!/bin/sh
# Valgrind's profilers see the program as it is: only memcheck makes an arena a watched one.
# usage: profilers.sh COMPILER INCLUDE-DIRECTORY LIBRARY
set -eu
here=$(cd "$(dirname "$0")" && pwd)
. "$here/shell.sh"
compiler=$1 include=$2 library=$3

need "$compiler" valgrind
"$compiler" -std=c11 -O2 -g -I"$include" "$here/profiled.c" "$library" -Wl,-rpath,"$(dirname "$library")" -pthread \
    -o "$scratch/profiled"
"$scratch/profiled" >"$scratch/alone" 2>&1 || skip "it does not run here: $(tail -n 1 "$scratch/alone")"

# under TOOL OPTION...: what the program prints under that tool, in $scratch/output
under() {
    valgrind -q --tool="$@" "$scratch/profiled" >"$scratch/output" 2>"$scratch/errors" ||
        complain "it does not run under $1" "$scratch/errors"
}

for tool in none cachegrind callgrind massif dhat lackey helgrind drd; do
    case $tool in
    cachegrind | callgrind | massif | dhat) file=--$tool-out-file=$scratch/profile ;;
    *) file=--log-file=$scratch/profile ;;
    esac
    under $tool "$file"
    cmp -s "$scratch/alone" "$scratch/output" && echo "  $tool" || complain "under $tool it is another program" "$scratch/output"
done
under memcheck
grep -q 'system: watched 1' "$scratch/output" || complain "memcheck does not watch" "$scratch/output"

# Of the address space, too: what was mapped at most, in bytes.
valgrind -q --tool=massif --pages-as-heap=yes --massif-out-file="$scratch/pages" "$scratch/profiled" >"$scratch/output" 2>&1
most=$(sed -n 's/^mem_heap_B=//p' "$scratch/pages" | sort -n | tail -n 1)
[ "${most:-0}" -gt 67108864 ] && [ "$most" -lt 150000000 ] || complain "massif counts ${most:-no} bytes of 64 MiB" "$scratch/output"
finish
