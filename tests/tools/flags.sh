#!/bin/sh
# The project is built with a user's own flags: the library, and tests of each kind, which then pass.
# usage: flags.sh SOURCE-DIRECTORY COMPILER FLAG...
set -eu
here=$(cd "$(dirname "$0")" && pwd)
. "$here/shell.sh"
source=$1 compiler=$2
shift 2
flags=$*
case $compiler in
*clang*) cxx=clang++ ;;
*) cxx=g++ ;;
esac
case $flags in
*-fsanitize=*) cxx_flags= ;; # asked for in C only
*) cxx_flags=$flags ;;
esac

need cmake ninja "$compiler"
still=
if setarch -R true 2>/dev/null; then still="setarch -R"; fi
echo 'int main(void) { return 0; }' >"$scratch/empty.c"
"$compiler" $flags "$scratch/empty.c" -o "$scratch/empty" >"$scratch/output" 2>&1 || skip "$compiler cannot link with $flags"
$still "$scratch/empty" || skip "programs built with $compiler $flags do not start here"

# No build type of CMake's: its flags would come behind the user's.
attempt "cmake, with $flags" cmake -S "$source" -B "$scratch/build" -G Ninja -DCMAKE_BUILD_TYPE=Own "-DCMAKE_C_COMPILER=$compiler" \
    "-DCMAKE_CXX_COMPILER=$cxx" "-DCMAKE_C_FLAGS=$flags" "-DCMAKE_CXX_FLAGS=$cxx_flags" \
    -DMEMARENA_BUILD_BENCH=OFF -DMEMARENA_BUILD_EXAMPLES=OFF
[ "$failures" = 0 ] || finish
cmake --build "$scratch/build" --target help | sed -n 's/^\(test_[a-z_0-9]*\): .*/\1/p' >"$scratch/targets"
case $flags in
*-fsanitize=thread*) grep -q '^test_race_steps' "$scratch/targets" && complain "no test brings its own ThreadSanitizer" "$scratch/targets" ;;
esac
attempt "it is built" cmake --build "$scratch/build" -j 2 --target memarena_static memarena_shared test_scopes \
    test_race_alloc_reset $(grep -x test_cpp "$scratch/targets")
[ "$failures" = 0 ] || finish
MEMARENA_TEST_SCALE=0.1 $still ctest --test-dir "$scratch/build" -R '^(scopes|race_alloc_reset|cpp)$' \
    >"$scratch/output" 2>&1 || complain "its tests pass" "$scratch/output"
finish
