#!/bin/sh
# The programs of docs/BINDINGS.md do what they say, where their languages are installed.
# usage: bindings.sh DOCUMENT SHARED-LIBRARY
set -eu
here=$(cd "$(dirname "$0")" && pwd)
. "$here/shell.sh"
document=$1 library=$2
directory=$(dirname "$library")

block() { # block LANGUAGE
    awk -v start="^\`\`\`$1\$" '$0 ~ start { inside = 1; next } /^```$/ { inside = 0 } inside' "$document"
}

says() { # says WHAT COMMAND...: prints what is expected
    what=$1
    shift
    "$@" >"$scratch/said" 2>"$scratch/output" || { complain "$what runs" "$scratch/output"; return; }
    if diff "$scratch/expected" "$scratch/said" >"$scratch/output"; then
        echo "  $what"
    else
        complain "$what says what it should" "$scratch/output"
    fi
}

tried=0
if command -v python3 >/dev/null 2>&1; then
    tried=1
    block python >"$scratch/binding.py"
    printf 'in the arena 16\n0\nno 2097152 bytes left in the arena\n' >"$scratch/expected"
    says "Python" env "LIBMEMARENA=$library" python3 "$scratch/binding.py"
fi
if command -v rustc >/dev/null 2>&1 && rustc --version >/dev/null 2>&1; then
    tried=1
    block rust >"$scratch/binding.rs"
    printf '32000\n0\n' >"$scratch/expected"
    attempt "rustc" rustc --edition 2021 -D warnings -O -L "$directory" -o "$scratch/binding" "$scratch/binding.rs"
    says "Rust" env "LD_LIBRARY_PATH=$directory" "$scratch/binding"
fi
[ $tried = 1 ] || skip "neither Python nor Rust is here"
finish
