#!/bin/sh
# Each source of the library compiles on its own as strict C11, every warning an error, and as C17 and C23, each with another optimisation.
# usage: strict.sh COMPILER PROJECT
set -eu
here=$(cd "$(dirname "$0")" && pwd)
. "$here/shell.sh"
compiler=$1 project=$2
need "$compiler"

for source in "$project"/src/*/*.c; do
    for level in "-std=c11 -O0" "-std=c17 -O3" "-std=c2x -Os"; do
        if "$compiler" $level -Wall -Wextra -Wpedantic -Wconversion -Wshadow -Werror -I"$project/include" \
            -c "$source" -o "$scratch/o" >"$scratch/output" 2>&1; then
            echo "  ${source##*/src/} $level"
        else
            complain "${source##*/src/} $level" "$scratch/output"
        fi
    done
done
finish
