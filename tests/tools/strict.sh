#!/bin/sh
# Each source of the library compiles on its own as strict C11, every warning an error.
# usage: strict.sh COMPILER PROJECT
set -eu
here=$(cd "$(dirname "$0")" && pwd)
. "$here/shell.sh"
compiler=$1 project=$2
need "$compiler"

for source in "$project"/src/*/*.c; do
    if "$compiler" -std=c11 -Wall -Wextra -Wpedantic -Wconversion -Wshadow -Werror -I"$project/include" -fsyntax-only \
        "$source" >"$scratch/output" 2>&1; then
        echo "  ${source##*/src/}"
    else
        complain "${source##*/src/}" "$scratch/output"
    fi
done
finish
