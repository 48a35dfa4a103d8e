#!/bin/sh
# What the libraries export, and what they need of others.
# usage: symbols.sh SHARED-LIBRARY STATIC-LIBRARY
set -eu
here=$(cd "$(dirname "$0")" && pwd)
. "$here/shell.sh"
shared=$1 static=$2
export LC_ALL=C

need nm readelf

same() { # same WHAT EXPECTED-FILE ACTUAL-FILE
    if diff "$2" "$3" >"$scratch/difference"; then
        echo "  $1"
    else
        complain "$1 (< expected, > found)" "$scratch/difference"
    fi
}

sort "$here/symbols.txt" >"$scratch/expected"
nm -D --defined-only "$shared" | awk '{ print $3 }' | sort >"$scratch/shared"
same "the shared library exports what symbols.txt lists" "$scratch/expected" "$scratch/shared"

nm -g --defined-only "$static" | awk 'NF == 3 { print $3 }' | sort >"$scratch/static"
grep '^memarena_' "$scratch/static" >"$scratch/public" || true
same "the static library exports the same" "$scratch/expected" "$scratch/public"
# (_.stapsdt.base is the weak, hidden one that <sys/sdt.h> makes for the probes.)
grep -v -E '^((memarena|ma)_|_\.stapsdt\.base$)' "$scratch/static" >"$scratch/foreign" || true
: >"$scratch/nothing"
same "its other symbols begin with ma_" "$scratch/nothing" "$scratch/foreign"

readelf -d "$shared" >"$scratch/dynamic"
sed -n 's/.*(SONAME).*\[\(.*\)\]/\1/p' "$scratch/dynamic" >"$scratch/soname"
echo libmemarena.so.0 >"$scratch/expected"
same "its SONAME" "$scratch/expected" "$scratch/soname"
sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p' "$scratch/dynamic" >"$scratch/needed"
echo libc.so.6 >"$scratch/expected"
same "it needs libc and nothing else" "$scratch/expected" "$scratch/needed"
grep -E 'TEXTREL|RPATH|RUNPATH' "$scratch/dynamic" >"$scratch/found" || true
same "it has no text relocations and no search path" "$scratch/nothing" "$scratch/found"
readelf -lW "$shared" | grep -E 'GNU_STACK.*RWE' >"$scratch/found" || true
same "its stack is not executable" "$scratch/nothing" "$scratch/found"

# Nothing here prints, aborts or takes memory from malloc.
nm -D --undefined-only "$shared" | awk '{ print $NF }' | sed 's/@.*//' |
    grep -E '^(malloc|calloc|realloc|free|abort|exit|_exit|raise|.*printf|fputs|puts|perror|write|__assert.*)$' |
    grep -v 'vsnprintf' >"$scratch/found" || true
same "it calls nothing that prints, aborts or allocates" "$scratch/nothing" "$scratch/found"
finish
