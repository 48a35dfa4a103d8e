#!/bin/sh
# The library and its main tests with another libc.
# usage: musl.sh PROJECT
set -eu
here=$(cd "$(dirname "$0")" && pwd)
. "$here/shell.sh"
project=$1
need musl-gcc

cd "$project"
for source in src/*/*.c; do
    musl-gcc -std=c11 -O2 -Wall -Wextra -Wpedantic -Wconversion -Wshadow -Werror -Iinclude -c "$source" \
        -o "$scratch/$(echo "$source" | tr / _).o"
done
for name in model fastpath fill overflow align realloc strings options accounts defer many_arenas scopes scope_model lanes \
    many_threads threads_come_and_go race_alloc_alloc race_alloc_reset race_large race_scopes thread_exit fork signals \
    per_cpu same_addresses destroy scope_hand_over race_strings; do
    musl-gcc -std=gnu11 -O2 -D_GNU_SOURCE -Iinclude -Isrc "tests/$name.c" "$scratch"/*.o -pthread -o "$scratch/$name" \
        >"$scratch/output" 2>&1 || { complain "$name does not compile" "$scratch/output"; continue; }
    status=0
    within 120 env MEMARENA_TEST_SCALE=0.2 "$scratch/$name" >"$scratch/output" 2>&1 || status=$?
    case $status in
    0) echo "  $name" ;;
    77) echo "  $name: $(tail -n 1 "$scratch/output")" ;;
    *) complain "$name: exit $status" "$scratch/output" ;;
    esac
done
finish
