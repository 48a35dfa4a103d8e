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

# The sequence inline in C++ functions of which each unit has a copy, or one unit another one: one is kept, all of it.
sequences_in_copies() {
    printf '#include <memarena.h>\ntemplate <typename T> __attribute__((noinline)) T *make(memarena *arena) { return memarena_new(arena, T); }\n' \
        >"$scratch/make.hpp"
    printf '#include "make.hpp"\nlong *one(memarena *arena) { return memarena_alloc(arena, 8) ? make<long>(arena) : nullptr; }\n' >"$scratch/one.cpp"
    printf '#include "make.hpp"\nlong *one(memarena *);\nint main() {\n    memarena_options options = {};\n' >"$scratch/two.cpp"
    printf '    options.flags = MEMARENA_PER_CPU;\n    memarena *arena = memarena_create_with(&options);\n' >>"$scratch/two.cpp"
    printf '    return !(one(arena) && make<long>(arena) && memarena_alloc(arena, 8));\n}\n' >>"$scratch/two.cpp"
    for second in "" -DMEMARENA_INLINE_PER_CPU; do
        "$cxx" -std=c++11 "$1" -DMEMARENA_INLINE_PER_CPU -I"$include" -c "$scratch/one.cpp" -o "$scratch/one.o" &&
            "$cxx" -std=c++11 "$1" $second -I"$include" -c "$scratch/two.cpp" -o "$scratch/two.o" || return 1
        for order in "$scratch/one.o $scratch/two.o" "$scratch/two.o $scratch/one.o"; do
            "$cxx" $order $link -o "$scratch/program" && "$scratch/program" || return 1
        done
    done
}

for level in -O0 -O2; do attempt "C: $level" only_c $level; done
for level in -O0 -O2; do attempt "sequences in copies: $level" sequences_in_copies $level; done
attempt "C and C++: -O0 -std=c++11" both_languages -O0 c++11
attempt "C and C++: -O2 -std=c++20" both_languages -O2 c++20
attempt "C++: -O2 -std=c++11" only_cpp -O2 c++11
attempt "C++: -O1 -std=c++14" only_cpp -O1 c++14
attempt "C++: -O1 -std=c++17" only_cpp -O1 c++17
attempt "C++: -O0 -std=c++20" only_cpp -O0 c++20
finish
