#!/bin/sh
# What the libraries export, and what they need of others. (The versions of the symbols: versions.sh.)
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
nm -D --defined-only "$shared" | awk '$2 != "A" { sub(/@.*/, ""); print $3 }' | sort >"$scratch/shared"
same "the shared library exports what symbols.txt lists" "$scratch/expected" "$scratch/shared"

nm -g --defined-only "$static" | awk 'NF == 3 { print $3 }' | sort >"$scratch/static"
grep '^memarena_' "$scratch/static" >"$scratch/public" || true
same "the static library exports the same" "$scratch/expected" "$scratch/public"
# (_.stapsdt.base is the weak, hidden one that <sys/sdt.h> makes for the probes; DW.ref. the compiler's way to its unwinder.)
grep -v -E '^((memarena|ma)_|_\.stapsdt\.base$|DW\.ref\.)' "$scratch/static" >"$scratch/foreign" || true
: >"$scratch/nothing"
same "its other symbols begin with ma_" "$scratch/nothing" "$scratch/foreign"

sed -n 's/^ \(memarena_.*\)@.*/\1/p' "$here/../../debian/libmemarena0.symbols" >"$scratch/debian"
sort "$here/symbols.txt" >"$scratch/expected"
same "debian/libmemarena0.symbols lists the same" "$scratch/expected" "$scratch/debian"

readelf -d "$shared" >"$scratch/dynamic"
sed -n 's/.*(SONAME).*\[\(.*\)\]/\1/p' "$scratch/dynamic" >"$scratch/soname"
echo libmemarena.so.0 >"$scratch/expected"
same "its SONAME" "$scratch/expected" "$scratch/soname"
sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p' "$scratch/dynamic" >"$scratch/needed"
# The compiler's unwinder, without which glibc ends no thread either: for what is left by an exception (platform/unwind.h).
grep -v '^libgcc_s\.so\.1$' "$scratch/needed" >"$scratch/found" || true
mv "$scratch/found" "$scratch/needed"
echo libc.so.6 >"$scratch/expected"
same "it needs libc and the compiler's runtime, nothing else" "$scratch/expected" "$scratch/needed"
grep -E 'TEXTREL|RPATH|RUNPATH' "$scratch/dynamic" >"$scratch/found" || true
same "it has no text relocations and no search path" "$scratch/nothing" "$scratch/found"
readelf -lW "$shared" | grep -E 'GNU_STACK.*RWE' >"$scratch/found" || true
same "its stack is not executable" "$scratch/nothing" "$scratch/found"

# Nothing here aborts or takes memory from malloc, and nothing prints but what is asked to: memarena_explain_faults,
# memarena_report, memarena_write_map and memarena_write_page, which need memory for the picture.
nm -A --undefined-only "$static" | sed -n 's/.*:\([a-z_]*\.c\)\.[^:]*: *[Uw] /\1 /p' |
    grep -E ' _*(malloc|calloc|realloc|free|abort|_*exit|raise|.*printf(_chk)?|fputs|fputc|fwrite|puts|perror|write|assert.*)$' |
    grep -v -E 'vsnprintf|^(report|map)\.c vfprintf$|^map\.c (calloc|free)$|^os_posix\.c (write|raise)$' >"$scratch/found" || true
same "only what is asked to prints, nothing aborts or allocates" "$scratch/nothing" "$scratch/found"
finish
