#!/bin/sh
# Each adapter whose library is here compiles without a warning: alone and twice, in C and in C++.
# usage: adapters.sh c|c++ COMPILER INCLUDE-DIRECTORY
set -eu
here=$(cd "$(dirname "$0")" && pwd)
. "$here/shell.sh"
language=$1 compiler=$2 include=$3

need "$compiler"
warnings="-Wall -Wextra -Wpedantic -Wconversion -Wshadow -Werror"
case $language in
c) standards="c11 c17" ;;
c++)
    standards="c++11 c++20"
    warnings="$warnings -Wold-style-cast"
    ;;
*) fail "no such language: $language" ;;
esac

# What pcre2.h and uthash.h want to be told first, and where Debian puts headers that are not in /usr/include itself.
options="-DPCRE2_CODE_UNIT_WIDTH=8 -DMEMARENA_UTHASH_ARENA=arena"
for directory in lua5.4 freetype2 libxml2; do options="$options -isystem /usr/include/$directory"; done

cd "$include"
checked=0
for header in memarena/adapters/*.h; do
    printf '#include <%s>\n#include <%s>\n' "$header" "$header" >"$scratch/unit"
    # A library's header that is missing is not the adapter's fault; one of ours is.
    if ! "$compiler" $options -I. -x "$language" -E "$scratch/unit" >/dev/null 2>"$scratch/output"; then
        if grep -q "error: '\{0,1\}memarena" "$scratch/output" || ! grep -q 'No such file\|file not found' "$scratch/output"; then
            complain "$header" "$scratch/output"
        else
            echo "  $header: its library is not installed"
        fi
        continue
    fi
    checked=$((checked + 1))
    for standard in $standards; do
        attempt "$header: -std=$standard" "$compiler" "-std=$standard" $warnings $options -I. -x "$language" \
            -c "$scratch/unit" -o "$scratch/o"
    done
done
[ "$checked" -gt 0 ] || fail "no adapter in $include"
finish
