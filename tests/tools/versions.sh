#!/bin/sh
# Every symbol of the shared libraries carries the version of src/memarena.map or src/look/look.map, whatever compiler and
# linker made it, and programs ask for that version.
# usage: versions.sh PROJECT COMPILER [FLAG...]
set -eu
here=$(cd "$(dirname "$0")" && pwd)
. "$here/shell.sh"
project=$1 cc=$2
shift 2
flags=$*
export LC_ALL=C

need cmake "$cc" nm readelf make
echo 'int main(void) { return 0; }' >"$scratch/empty.c"
$cc $flags "$scratch/empty.c" -o "$scratch/empty" >"$scratch/output" 2>&1 && "$scratch/empty" ||
    skip "no $cc $flags here that makes programs"
# A script that cannot be wrong: ours, if it were, must not look like a linker that knows none.
echo '{ local: *; };' >"$scratch/any.map"
$cc $flags -shared -Wl,--version-script="$scratch/any.map" "$scratch/empty.c" -o "$scratch/empty.so" \
    >"$scratch/output" 2>&1 || skip "the linker of $cc $flags knows no version scripts"

versions() { # versions LIBRARY: its symbols as NAME@@VERSION
    nm -D --defined-only --with-symbol-versions "$1" | awk '$2 != "A" { print $3 }' | sort
}

same() { # same EXPECTED-FILE ACTUAL-FILE
    diff "$1" "$2"
}

configure() {
    cmake -S "$project" -B "$scratch/build" -G "Unix Makefiles" -DCMAKE_BUILD_TYPE=Release -DMEMARENA_WERROR=OFF \
        "-DCMAKE_C_COMPILER=$cc" "-DCMAKE_C_FLAGS=$flags" -DMEMARENA_BUILD_TESTS=OFF \
        -DMEMARENA_BUILD_EXAMPLES=OFF -DMEMARENA_BUILD_BENCH=OFF
}
attempt "the library is configured" configure
attempt "it is built" cmake --build "$scratch/build" --target memarena_look_shared

# check NAME MAP LIST VERSION PROGRAM [LIBRARY...]: of libNAME.so, and of a program that uses it and these
check() {
    name=$1 map=$2 list=$3 version=$4 program=$5 library=$scratch/build/lib$1.so
    shift 5
    [ -f "$library" ] || fail "there is no $library"
    # Of what is visible only memarena_* gets out.
    echo 'int memarena_x, ma_x, x;' >"$scratch/visible.c"
    $cc $flags -shared -fPIC "$scratch/visible.c" -Wl,--version-script="$project/$map" -o "$scratch/visible.so"
    versions "$scratch/visible.so" >"$scratch/found"
    echo "memarena_x@@$version" >"$scratch/expected"
    attempt "$name: other names are local" same "$scratch/expected" "$scratch/found"

    sed "s/\$/@@$version/" "$here/$list" | sort >"$scratch/expected"
    versions "$library" >"$scratch/found"
    attempt "$name: every symbol has its version" same "$scratch/expected" "$scratch/found"

    attempt "$name: a program is linked" $cc $flags -I"$project/include" "$here/consumer/$program" "$library" "$@" \
        -Wl,-rpath,"$scratch/build" -pthread -o "$scratch/app"
    attempt "$name: it runs" "$scratch/app"
    readelf -VW "$scratch/app" | sed -n 's/.*Name: \(MEMARENA[^ ]*\).*/\1/p' >"$scratch/found"
    attempt "$name: it asks for the version" grep -qx "$version" "$scratch/found"
}
check memarena src/memarena.map symbols.txt MEMARENA_0.1 app.c
check memarena-look src/look/look.map symbols_look.txt MEMARENA_LOOK_0.2 look.c "$scratch/build/libmemarena.so"
finish
