#!/bin/sh
# Which lines and branches of the library the suite runs through, at least 95 and 90 of a hundred.
#
# usage: coverage.sh BUILD-ROOT
#
# Built without optimisation, once as it is and once with AddressSanitizer, since an arena that is watched takes other
# roads; without the tests that need other tools. BUILD-ROOT/coverage/index.html shows each line. Exit: 0 enough, 1 too
# little or red tests.
set -eu

[ $# = 1 ] || { echo "usage: coverage.sh BUILD-ROOT" >&2; exit 2; }
source=$(cd "$(dirname "$0")/.." && pwd)
mkdir -p "$1/coverage"
directory=$(cd "$1/coverage" && pwd)
command -v gcovr >/dev/null || { echo "coverage.sh: gcovr is not installed: run tools/setup coverage" >&2; exit 1; }

# Children of fork, and programs that abort on purpose, tell what they ran through before they end. (This includes headers ahead
# of the sources' own wishes for them, so it has to wish for all.)
cat >"$directory/tell.h" <<'END'
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <stdlib.h>
#include <unistd.h>
void __gcov_dump(void);
#define _exit(status) (__gcov_dump(), _exit(status))
#define abort() (__gcov_dump(), abort())
END

run() { # run NAME FLAGS CTEST-OPTION...: builds and tests
    build=$directory/$1 flags=$2
    shift 2
    rm -rf "$build" # what an older build knew of lines would count as not run
    mkdir -p "$build"
    if ! cmake -S "$source" -B "$build" -DCMAKE_BUILD_TYPE=None -DMEMARENA_BUILD_BENCH=OFF -DMEMARENA_BUILD_EXAMPLES=OFF \
        "-DCMAKE_C_FLAGS=-O0 -g --coverage -fprofile-update=atomic -include $directory/tell.h" $flags >"$build.log" 2>&1 ||
        ! cmake --build "$build" --parallel 2 >>"$build.log" 2>&1; then
        tail -n 50 "$build.log"
        exit 1
    fi
    MEMARENA_TEST_SCALE=${MEMARENA_TEST_SCALE:-0.2} ctest --test-dir "$build" -j 2 --output-on-failure "$@" \
        >"$build.tests.log" 2>&1 || { tail -n 50 "$build.tests.log"; exit 1; }
    grep 'tests passed' "$build.tests.log"
}

# (The checks of UndefinedBehaviorSanitizer would count as branches; and what is instrumented for the memory model is not run.)
run plain "-DMEMARENA_HAS_UBSAN=OFF -DMEMARENA_HAS_TSAN=OFF" -LE "^(tools|soak|steps)$"
run watched -DMEMARENA_SANITIZE=address -LE '^(tools|soak|steps|threads)$'
# Counted atomically, since gcovr drops what follows a count that threads tore below zero; and so without the schedules, which
# would take hours. Branches are those of src/: each inlined copy of the header's functions has its own, most of which its
# constants decide.
cd "$directory"
count() {
    gcovr --root "$source" --filter "$source/src/" --exclude-unreachable-branches --exclude-throw-branches \
        --gcov-ignore-parse-errors "$@" plain watched 2>>gcovr.log
}
status=0
count --filter "$source/include/" --html-details index.html --print-summary --fail-under-line 95 >lines.txt || status=1
count --print-summary --fail-under-branch 90 >branches.txt || status=1
grep '^lines' lines.txt
grep '^branches' branches.txt
[ $status = 0 ] || echo "FAILED: too little is run through; see $directory/index.html" >&2
exit $status
