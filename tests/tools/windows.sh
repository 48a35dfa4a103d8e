#!/bin/sh
# The library on Windows: built by mingw-w64, its main tests run by wine.
# usage: windows.sh PROJECT
set -eu
here=$(cd "$(dirname "$0")" && pwd)
. "$here/shell.sh"
project=$1
compiler=x86_64-w64-mingw32-gcc-posix # the one that has POSIX threads
need $compiler wine cmake ninja
export WINEPREFIX="$scratch/wine" WINEDEBUG=-all
trap 'wineserver -k 2>/dev/null; rm -rf "$scratch"' EXIT

cd "$project"
attempt "the library is built and installed" sh -c "
    cmake -S . -B '$scratch/build' -G Ninja -DCMAKE_SYSTEM_NAME=Windows -DCMAKE_C_COMPILER=$compiler \
        -DCMAKE_BUILD_TYPE=Release -DMEMARENA_BUILD_TESTS=OFF -DMEMARENA_BUILD_BENCH=OFF -DMEMARENA_BUILD_EXAMPLES=OFF &&
    cmake --build '$scratch/build' && cmake --install '$scratch/build' --prefix '$scratch/installed'"
attempt "the amalgamation compiles" sh -c "
    tools/amalgamate '$scratch/amalgamation' &&
    $compiler -O2 -Wall -Wextra -Werror -c '$scratch/amalgamation/memarena.c' -o '$scratch/memarena.o' &&
    $compiler -O2 -Wall -Wextra -Werror -c '$scratch/amalgamation/memarena_look.c' -o '$scratch/memarena_look.o'"
attempt "wine has begun" wine cmd /c ver
attempt "a program that looks is linked" $compiler -D__USE_MINGW_ANSI_STDIO=1 -I"$scratch/installed/include" "$here/consumer/look.c" \
    -L"$scratch/installed/lib" -lmemarena-look -lmemarena -static -o "$scratch/look.exe"
attempt "it runs" wine "$scratch/look.exe"
# Without those that need a call of POSIX's that mingw-w64 has not, and thread_exit: 256 rounds of destructors there.
for name in accounts align defer fastpath fill lanes many_threads model overflow pool race_alloc_alloc race_alloc_reset \
    race_defer_reset race_large race_scopes race_stats realloc references same_addresses sample scope_model scopes steady_scopes \
    strings tag_width wrap zeroed scope_hand_over race_strings windows; do
    # The switch is for the tests' own printf.
    $compiler -std=c11 -O2 -Wall -Wextra -Wconversion -Wshadow -Werror -D__USE_MINGW_ANSI_STDIO=1 -I"$scratch/installed/include" -Isrc \
        "tests/$name.c" -L"$scratch/installed/lib" -lmemarena -static -o "$scratch/$name.exe" >"$scratch/output" 2>&1 ||
        { complain "$name does not compile" "$scratch/output"; continue; }
    status=0
    within 120 env MEMARENA_TEST_SCALE=0.2 wine "$scratch/$name.exe" >"$scratch/output" 2>&1 || status=$?
    if [ $status = 0 ]; then echo "  $name"; else complain "$name: exit $status" "$scratch/output"; fi
done
finish
