#!/bin/sh
# Every symbol of the shared library carries the version of src/memarena.map, whatever compiler and linker made it, and
# programs ask for that version.
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

# Of what is visible only memarena_* gets out.
echo 'int memarena_x, ma_x, x;' >"$scratch/visible.c"
$cc $flags -shared -fPIC "$scratch/visible.c" -Wl,--version-script="$project/src/memarena.map" -o "$scratch/visible.so"
versions "$scratch/visible.so" >"$scratch/found"
echo memarena_x@@MEMARENA_0.1 >"$scratch/expected"
attempt "other names are local" same "$scratch/expected" "$scratch/found"

library=$scratch/build/libmemarena.so
configure() {
    cmake -S "$project" -B "$scratch/build" -G "Unix Makefiles" -DCMAKE_BUILD_TYPE=Release -DMEMARENA_WERROR=OFF \
        "-DCMAKE_C_COMPILER=$cc" "-DCMAKE_C_FLAGS=$flags" -DMEMARENA_BUILD_TESTS=OFF \
        -DMEMARENA_BUILD_EXAMPLES=OFF -DMEMARENA_BUILD_BENCH=OFF
}
attempt "the library is configured" configure
attempt "it is built" cmake --build "$scratch/build" --target memarena_shared
[ -f "$library" ] || fail "there is no $library"

sed 's/$/@@MEMARENA_0.1/' "$here/symbols.txt" | sort >"$scratch/expected"
versions "$library" >"$scratch/found"
attempt "every symbol has its version" same "$scratch/expected" "$scratch/found"

attempt "a program is linked" $cc $flags -I"$project/include" "$here/consumer/app.c" "$library" \
    -Wl,-rpath,"$scratch/build" -pthread -o "$scratch/app"
attempt "it runs" "$scratch/app"
readelf -VW "$scratch/app" | sed -n 's/.*Name: \(MEMARENA[^ ]*\).*/\1/p' >"$scratch/found"
echo MEMARENA_0.1 >"$scratch/expected"
attempt "it asks for the version" same "$scratch/expected" "$scratch/found"
finish
