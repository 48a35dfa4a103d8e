#!/bin/sh
# CMake's own switch for tests is obeyed, and the project's wins where it is set.
# usage: build_testing.sh SOURCE-DIRECTORY
set -eu
here=$(cd "$(dirname "$0")" && pwd)
. "$here/shell.sh"
source=$1

need cmake cc

# tests LEAST MOST OPTION...: how many tests there are with these options, in a build directory that had others before
tests() {
    least=$1 most=$2
    shift 2
    cmake -S "$source" -B "$scratch/build" -DMEMARENA_BUILD_BENCH=OFF -DMEMARENA_BUILD_EXAMPLES=OFF "$@" >"$scratch/output" 2>&1 ||
        complain "cmake $*" "$scratch/output"
    count=$(ctest --test-dir "$scratch/build" -N 2>/dev/null | sed -n 's/^Total Tests: //p')
    echo "  $*: ${count:=0} tests"
    [ "$count" -ge "$least" ] && [ "$count" -le "$most" ] || complain "$* has $count tests" "$scratch/output"
    rm -f "$scratch/build/CTestTestfile.cmake"
}

tests 0 0 -DBUILD_TESTING=OFF
tests 100 1000 -DBUILD_TESTING=ON
tests 0 0 -DBUILD_TESTING=OFF
tests 100 1000 -DMEMARENA_BUILD_TESTS=ON
tests 0 0 -DBUILD_TESTING=ON -DMEMARENA_BUILD_TESTS=OFF
tests 100 1000 -UBUILD_TESTING -UMEMARENA_BUILD_TESTS
finish
