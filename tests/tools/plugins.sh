#!/bin/sh
# Plug-ins that bring the library are loaded at run time: with glibc so many at least, as it is built; with musl as it is built
# with MEMARENA_DLOPEN, and without that none.
# usage: plugins.sh glibc LEAST SOURCE-DIRECTORY LIBRARY | plugins.sh musl SOURCE-DIRECTORY
set -eu
here=$(cd "$(dirname "$0")" && pwd)
. "$here/shell.sh"
libc=$1
shift

case $libc in
glibc)
    least=$1 source=$2 library=$3
    need cc
    cc -O2 "$here/plugins.c" -ldl -o "$scratch/plugins"
    cc -O2 -fPIC -shared -I"$source/include" "$here/plugin.c" -Wl,-Bsymbolic,--exclude-libs,ALL "$library" -pthread -o "$scratch/plugin.so"
    for i in $(seq 1 200); do cp "$scratch/plugin.so" "$scratch/plugin$i.so"; done
    "$scratch/plugins" plugin "$scratch"/plugin[1-9]*.so >"$scratch/output" 2>&1 || [ $? = 1 ] || complain "a plug-in failed" "$scratch/output"
    count=$(sed -n 's/^\([0-9]*\).*/\1/p' "$scratch/output")
    echo "  $(sed "s|$scratch/||" "$scratch/output")"
    [ "${count:-0}" -ge "$least" ] || complain "only ${count:-no} plug-ins are loaded" "$scratch/output"
    ;;
musl)
    source=$1
    need musl-gcc cmake pkg-config
    musl-gcc -O2 "$here/plugins.c" -o "$scratch/plugins"
    build() { # build NAME OPTION...: the library as CMake installs it, and a plug-in linked with it as pkg-config says
        name=$1
        shift
        cmake -S "$source" -B "$scratch/$name.build" -DCMAKE_C_COMPILER=musl-gcc -DCMAKE_BUILD_TYPE=Release -DMEMARENA_PROBES=OFF \
            -DMEMARENA_BUILD_TESTS=OFF -DMEMARENA_BUILD_BENCH=OFF -DMEMARENA_BUILD_EXAMPLES=OFF -DCMAKE_INSTALL_LIBDIR=lib "$@" &&
            cmake --build "$scratch/$name.build" && cmake --install "$scratch/$name.build" --prefix "$scratch/$name.prefix" &&
            ln -s "$scratch/$name.prefix/lib" "$scratch/$name" &&
            musl-gcc -O2 -fPIC -shared "$here/plugin.c" $(PKG_CONFIG_PATH="$scratch/$name/pkgconfig" pkg-config --cflags --libs memarena) \
                -Wl,-rpath,"$scratch/$name" -o "$scratch/$name/plugin.so"
    }
    attempt "built with MEMARENA_DLOPEN" build with -DMEMARENA_DLOPEN=ON
    attempt "the library is loaded" "$scratch/plugins" memarena_create "$scratch/with/libmemarena.so"
    attempt "and a plug-in that is linked with it" "$scratch/plugins" plugin "$scratch/with/plugin.so"
    attempt "built without" build without
    if "$scratch/plugins" memarena_create "$scratch/without/libmemarena.so" >"$scratch/output" 2>&1; then
        complain "it is loaded without MEMARENA_DLOPEN, which is not needed then" "$scratch/output"
    fi
    echo "  without MEMARENA_DLOPEN: $(sed 's|.*: ||' "$scratch/output")"
    # What is linked as usual may leave the definition out.
    musl-gcc -O2 -I"$source/include" -Dplugin=main "$here/plugin.c" "$scratch/with/libmemarena.so" \
        -Wl,-rpath,"$scratch/with" -o "$scratch/program"
    status=0
    "$scratch/program" >"$scratch/output" 2>&1 || status=$?
    [ "$status" = 42 ] || complain "a program without the definition: exit $status" "$scratch/output"
    ;;
*) fail "no such libc: $libc" ;;
esac
finish
