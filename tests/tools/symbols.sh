#!/bin/sh
# What the two libraries export, and what they need of others. (The versions of the symbols: versions.sh.)
# usage: symbols.sh PROJECT SHARED-LIBRARY STATIC-LIBRARY SHARED-LOOK STATIC-LOOK
set -eu
here=$(cd "$(dirname "$0")" && pwd)
. "$here/shell.sh"
project=$1 shared=$2 static=$3 look_shared=$4 look_static=$5
export LC_ALL=C

need cc nm readelf

same() { # same WHAT EXPECTED-FILE ACTUAL-FILE
    if diff "$2" "$3" >"$scratch/difference"; then
        echo "  $1"
    else
        complain "$1 (< expected, > found)" "$scratch/difference"
    fi
}
: >"$scratch/nothing"

# library NAME SHARED STATIC LIST NEEDED...: exports what LIST has, and needs these libraries
library() {
    name=$1 so=$2 ar=$3 list=$4
    shift 4
    sort "$here/$list" >"$scratch/$name"
    nm -D --defined-only "$so" | awk '$2 != "A" { sub(/@.*/, ""); print $3 }' | sort >"$scratch/shared"
    same "$name: the shared library exports what $list lists" "$scratch/$name" "$scratch/shared"

    nm -g --defined-only "$ar" | awk 'NF == 3 { print $3 }' | sort >"$scratch/static"
    grep '^memarena_' "$scratch/static" >"$scratch/public" || true
    same "$name: the static library exports the same" "$scratch/$name" "$scratch/public"
    # (_.stapsdt.base is the weak, hidden one that <sys/sdt.h> makes for the probes; DW.ref. the compiler's way to its unwinder.)
    grep -v -E '^((memarena|ma)_|_\.stapsdt\.base$|DW\.ref\.)' "$scratch/static" >"$scratch/foreign" || true
    same "$name: its other symbols begin with ma_" "$scratch/nothing" "$scratch/foreign"

    sed -n 's/^ \(memarena_.*\)@.*/\1/p' "$project/debian/lib${name}0.symbols" >"$scratch/debian"
    same "debian/lib${name}0.symbols lists the same" "$scratch/$name" "$scratch/debian"

    readelf -d "$so" >"$scratch/dynamic"
    sed -n 's/.*(SONAME).*\[\(.*\)\]/\1/p' "$scratch/dynamic" >"$scratch/soname"
    echo "lib$name.so.0" >"$scratch/expected"
    same "$name: its SONAME" "$scratch/expected" "$scratch/soname"
    # The compiler's unwinder, without which glibc ends no thread either: for what is left by an exception (platform/unwind.h).
    sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p' "$scratch/dynamic" | grep -v '^libgcc_s\.so\.1$' | sort >"$scratch/needed" || true
    printf '%s\n' "$@" >"$scratch/expected"
    same "$name: it needs $* and the compiler's runtime, nothing else" "$scratch/expected" "$scratch/needed"
    grep -E 'TEXTREL|RPATH|RUNPATH' "$scratch/dynamic" | grep -v "\[$(dirname "$shared"):*\]" >"$scratch/found" || true
    same "$name: it has no text relocations and no search path" "$scratch/nothing" "$scratch/found"
    readelf -lW "$so" | grep -E 'GNU_STACK.*RWE' >"$scratch/found" || true
    same "$name: its stack is not executable" "$scratch/nothing" "$scratch/found"
}
library memarena "$shared" "$static" symbols.txt libc.so.6
library memarena-look "$look_shared" "$look_static" symbols_look.txt libc.so.6 libmemarena.so.0

# memarena_look stands on the public calls: no name that ends in _, no internal header.
nm --undefined-only "$look_static" | awk '$2 ~ /^(memarena|ma)_/ { print $2 }' | sort -u >"$scratch/used"
[ -s "$scratch/used" ] || fail "nm shows no call of memarena in $look_static"
sort -m "$scratch/memarena" "$scratch/memarena-look" | grep -v '_$' | comm -13 - "$scratch/used" >"$scratch/found"
same "memarena_look uses public calls only" "$scratch/nothing" "$scratch/found"
grep -h '^# *include "' "$project"/src/look/* | grep -v -E '"(\.\./\.\./include/memarena(/look)?\.h|\.\./text/print\.h|os\.h)"' \
    >"$scratch/found" || true
same "it includes no header of the library's own" "$scratch/nothing" "$scratch/found"

# parts PROGRAM: what of memarena_look is in it, by names and by texts
parts() {
    nm "$1" | awk '{ print $NF }' | sort -u | comm -12 "$scratch/memarena-look" -
    grep -a -o -E '<svg |# HELP memarena' "$1" | sort -u
}
cc -std=gnu11 -O2 -I"$project/include" "$here/consumer/app.c" "$look_static" "$static" -pthread -o "$scratch/app" >"$scratch/output" 2>&1 ||
    { cat "$scratch/output" >&2; fail "no program can be linked"; }
parts "$scratch/app" >"$scratch/found" || true
same "a program that does not look has no part of memarena_look" "$scratch/nothing" "$scratch/found"
cc -std=gnu11 -O2 -I"$project/include" "$here/consumer/look.c" "$look_static" "$static" -pthread -o "$scratch/look" >"$scratch/output" 2>&1 ||
    { cat "$scratch/output" >&2; fail "no program that looks can be linked"; }
parts "$scratch/look" | grep -q 'svg' || complain "one that looks has" /dev/null

# Nothing here aborts or takes memory from malloc, and nothing prints but what is asked to: memarena_explain_faults and
# memarena_report; of memarena_look the pictures, which need memory.
nm -A --undefined-only "$static" "$look_static" | sed -n 's/.*:\([a-z_]*\.c\)\.[^:]*: *[Uw] /\1 /p' |
    grep -E ' _*(malloc|calloc|realloc|free|abort|_*exit|raise|.*printf(_chk)?|fputs|fputc|fwrite|puts|perror|write|assert.*)$' |
    grep -v -E 'vsnprintf|^(report|map)\.c vfprintf$|^map\.c (calloc|free)$|^os_posix\.c (write|raise)$' >"$scratch/found" || true
same "only what is asked to prints, nothing aborts or allocates" "$scratch/nothing" "$scratch/found"
finish
