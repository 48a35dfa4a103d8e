#!/bin/sh
# Programs that were built with an older library run with this one: abidiff compares the exported functions and the types
# that they reach with abi/memarena-*.abi and with the last release (the highest git tag v*), diff the constants and the
# inline code that programs have inside with abi/memarena-*.inline. What to do about a difference: abi/README.md.
# memarena_look has functions only, those of abi/memarena-look-*.abi.
# usage: abi.sh PROJECT            compares
#        abi.sh PROJECT --renew    writes the three files in abi/ anew
set -eu
here=$(cd "$(dirname "$0")" && pwd)
. "$here/shell.sh"
project=$(cd "$1" && pwd)
renew="sh tests/tools/abi.sh . --renew"
unset CFLAGS LDFLAGS MAKEFLAGS GIT_DIR 2>/dev/null || true

need abidw abidiff cmake gcc make
[ "$(gcc -dumpmachine | cut -d- -f1)" = x86_64 ] || skip "the files in abi/ are for x86-64"

# dump SOURCES NAME: NAME/memarena.abi, NAME/memarena-look.abi (but of a release that had no such library) and NAME/memarena.inline of
# the libraries made from SOURCES, without places.
dump() {
    cmake -S "$1" -B "$2" -G "Unix Makefiles" -DCMAKE_BUILD_TYPE=RelWithDebInfo -DCMAKE_C_COMPILER=gcc \
        "-DCMAKE_C_FLAGS=-ffile-prefix-map=$1/=" -DMEMARENA_BUILD_TESTS=OFF -DMEMARENA_BUILD_EXAMPLES=OFF \
        -DMEMARENA_BUILD_BENCH=OFF -DMEMARENA_WERROR=OFF >"$2.log" 2>&1 &&
        cmake --build "$2" >>"$2.log" 2>&1 ||
        { cat "$2.log" >&2; fail "the library in $1 does not build"; }
    for name in memarena memarena-look; do
        [ -f "$2/lib$name.so" ] || continue
        abidw --headers-dir "$1/include" --drop-private-types --exported-interfaces-only --drop-undefined-syms \
            --no-corpus-path --no-comp-dir-path --no-show-locs --no-elf-needed --type-id-style hash "$2/lib$name.so" >"$2/$name.abi" ||
            fail "abidw of lib$name.so in $1"
    done
    gcc -w -fpreprocessed -dD -E -P "$1/include/memarena.h" |
        awk '/^#define MEMARENA_[A-Z_]+ [0-9]+u?$/ && !/VERSION/ || inside; /^struct memarena \{/ { inside = 1; print }' \
            >"$2/memarena.inline"
}

# compare WHAT OLD NEW OPTION...: of abidiff's exit status 1 and 2 are its own failure, 4 a change, 8 one that breaks.
compare() {
    what=$1 old=$2 new=$3 status=0
    shift 3
    abidiff --suppressions "$project/abi/foreign.abignore" "$@" "$old" "$new" >"$scratch/report" 2>&1 || status=$?
    if [ $status = 0 ]; then
        echo "  the exported interface is that of $what"
    elif [ $((status & 3)) != 0 ]; then
        complain "abidiff, exit $status" "$scratch/report"
    elif [ $((status & 8)) != 0 ]; then
        complain "programs built with $what break" "$scratch/report"
    else
        complain "the exported interface is not that of $what" "$scratch/report"
    fi
}

soname() {
    sed -n "1s/.* soname='\([^']*\)'.*/\1/p" "$1"
}

dump "$project" "$scratch/now"
[ -s "$scratch/now/memarena-look.abi" ] || fail "no libmemarena-look.so is built"
grep -q 'cursor_' "$scratch/now/memarena.inline" || fail "no inline code is found in memarena.h"

if [ "${2:-}" = --renew ]; then
    version=$(sed -n 's/^project(memarena VERSION \([0-9]*\.[0-9]*\).*/\1/p' "$project/CMakeLists.txt")
    for name in memarena.abi memarena-look.abi memarena.inline; do
        cp "$scratch/now/$name" "$project/abi/${name%.*}-$version.${name##*.}"
        echo "abi/${name%.*}-$version.${name##*.} is renewed"
    done
    exit 0
fi

newest() { # newest NAME KIND: the file in abi/ of the highest version
    printf '%s\n' "$project"/abi/"$1"-[0-9]*."$2" | sort -V | tail -n 1
}
for name in memarena memarena-look; do
    kept=$(newest $name abi)
    if [ -s "$kept" ]; then
        compare "abi/${kept##*/}" "$kept" "$scratch/now/$name.abi"
    else
        complain "there is no abi/$name-*.abi" /dev/null
    fi
done
kept=$(newest memarena inline)
if diff "$kept" "$scratch/now/memarena.inline" >"$scratch/report"; then
    echo "  constants and inline code are those of abi/${kept##*/}"
else
    complain "constants or inline code are not those of abi/${kept##*/}" "$scratch/report"
fi

# The last release, if its tag is here. Calls may have come since.
tag=$(git -C "$project" tag --list 'v[0-9]*' 2>/dev/null | sort -V | tail -n 1) || tag=
if [ -z "$tag" ]; then
    echo "  no release to compare with: no tag v* is here"
else
    mkdir "$scratch/release"
    git -C "$project" archive "$tag" | tar -C "$scratch/release" -xf - || fail "git archive $tag"
    dump "$scratch/release" "$scratch/old"
    for name in memarena memarena-look; do
        old=$scratch/old/$name.abi
        if [ ! -f "$old" ]; then
            echo "  $tag has no lib$name.so"
        elif [ "$(soname "$old")" = "$(soname "$scratch/now/$name.abi")" ]; then
            compare "$tag" "$old" "$scratch/now/$name.abi" --no-added-syms --suppressions "$project/abi/compatible.abignore"
        else
            echo "  $tag has another SONAME: its programs never meet lib$name.so of now"
        fi
    done
fi
[ "$failures" = 0 ] || fail "$failures of the above; if it is meant, follow abi/README.md and run: $renew"
