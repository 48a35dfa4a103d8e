#!/bin/sh
# Programs of C, of C++ and of both link with the library and run. At -O0 they call the exported twins of the inline
# functions, each unit its own.
# usage: link.sh C-COMPILER C++-COMPILER INCLUDE-DIRECTORY LIBRARY
set -eu
here=$(cd "$(dirname "$0")" && pwd)
. "$here/shell.sh"
cc=$1 cxx=$2 include=$3 library=$4

need "$cc" "$cxx"
link="$library -Wl,-rpath,$(dirname "$library") -pthread"

# The C unit has main and calls the C++ one.
both_languages() {
    "$cc" -std=c11 "$1" -I"$include" -c "$here/header/use.c" -o "$scratch/use.o" &&
        "$cxx" "-std=$2" "$1" -DWITH_USE_C -I"$include" -c "$here/header/other.cpp" -o "$scratch/other.o" &&
        "$cxx" "$scratch/use.o" "$scratch/other.o" $link -o "$scratch/program" && "$scratch/program"
}

only_c() {
    echo '#include <memarena.h>
int other_unit(memarena *arena);
int other_unit(memarena *arena) { return !memarena_alloc(arena, 8) || !memarena_zalloc(arena, 100000); }' \
        >"$scratch/unit.c"
    "$cc" -std=c11 "$1" -I"$include" "$here/header/use.c" "$scratch/unit.c" $link -o "$scratch/program" &&
        "$scratch/program"
}

only_cpp() {
    "$cxx" "-std=$2" "$1" -I"$include" "$here/header/other.cpp" $link -o "$scratch/program" && "$scratch/program"
}

for level in -O0 -O2; do attempt "C: $level" only_c $level; done
attempt "C and C++: -O0 -std=c++11" both_languages -O0 c++11
attempt "C and C++: -O2 -std=c++20" both_languages -O2 c++20
attempt "C++: -O2 -std=c++11" only_cpp -O2 c++11
attempt "C++: -O1 -std=c++14" only_cpp -O1 c++14
attempt "C++: -O1 -std=c++17" only_cpp -O1 c++17
attempt "C++: -O0 -std=c++20" only_cpp -O0 c++20
finish
