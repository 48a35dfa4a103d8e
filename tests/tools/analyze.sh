#!/bin/sh
# Static analysis of the sources finds nothing.
# usage: analyze.sh cppcheck|gcc|clang-tidy SOURCE-DIRECTORY
set -eu
here=$(cd "$(dirname "$0")" && pwd)
. "$here/shell.sh"
tool=$1 source=$2

need "$tool"
cd "$source"
set -- src/*/*.c
[ -f "$1" ] || fail "no sources in $source"

# Left out, since each has only this to say here: names that the system reserves (_GNU_SOURCE, __rseq_offset), functions
# whose arguments could be confused, strerror and the like (no such call), memcpy (wants memcpy_s), an assertion that two
# macros are equal, a va_list that is a parameter (taken for uninitialised).
checks='-*,bugprone-*,clang-analyzer-*,concurrency-*,cert-*,misc-*'
for check in bugprone-reserved-identifier cert-dcl37-c cert-dcl51-cpp bugprone-easily-swappable-parameters \
    concurrency-mt-unsafe clang-analyzer-security.insecureAPI.DeprecatedOrUnsafeBufferHandling \
    misc-redundant-expression clang-analyzer-valist.Uninitialized; do
    checks="$checks,-$check"
done

# analyze FILE...: prints what is found.
analyze() {
    case $tool in
    cppcheck)
        # It does not know `asm inline`.
        cppcheck -D__inline__= --quiet --std=c11 --language=c --enable=warning,performance,portability --inline-suppr \
            --template='{file}:{line}: {severity}: {message} [{id}]' -D__GNUC__=12 -D__x86_64__=1 -D__LP64__=1 "$@"
        ;;
    clang-tidy)
        clang-tidy --quiet "-checks=$checks" "$@" -- -std=c11 -D_DEFAULT_SOURCE -Iinclude -Isrc 2>&1 |
            grep -v 'warnings\{0,1\} generated' || true
        ;;
    gcc) gcc $known -std=c11 -D_DEFAULT_SOURCE -O2 -Wall -Wextra -fanalyzer -c -o "$scratch/o" "$@" ;;
    esac
}

if [ "$tool" = gcc ] && ! echo 'int x;' | gcc -fanalyzer -x c -c - -o "$scratch/o" 2>"$scratch/output"; then
    skip "this gcc has no -fanalyzer"
fi
# knows WARNING WHAT: whether this gcc sees it in the program on stdin, where it is not; then it is left out.
known=
knows() {
    [ "$tool" = gcc ] && ! gcc -O2 -fanalyzer -Werror -x c -c -o "$scratch/o" - 2>"$scratch/output" || return 0
    known="$known -Wno-analyzer-$1"
    echo "  without $2, which this gcc sees where there is none"
}
# gcc 16: of any local variable that is copied in a length known only when it runs, and of any element of an array in a
# structure that is loaded atomically.
knows use-of-uninitialized-value "use of uninitialised values" <<'END'
#include <string.h>
struct pair { long a, b; };
void copy(struct pair *to, size_t bytes, long value)
{
    struct pair from = {value, value};
    memcpy(to, &from, bytes < sizeof from ? bytes : sizeof from);
}
END
knows out-of-bounds "access out of bounds" <<'END'
struct { long first, seen[2]; } all;
long look(void)
{
    long *seen = all.seen;
    return __atomic_load_n(&seen[1], __ATOMIC_RELAXED);
}
END
for file in "$@"; do
    analyze "$file" >"$scratch/output" 2>&1 || echo "$tool: exit $?" >>"$scratch/output"
    [ ! -s "$scratch/output" ] || complain "$file" "$scratch/output"
done
echo "  $# files"
finish
