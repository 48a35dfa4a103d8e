#!/bin/sh
# Other people's projects find the library, each in its own way.
# usage: install.sh find_package|pkg-config|subdirectory|fetch-content|meson|one-command|two-files SOURCE-DIRECTORY BUILD-DIRECTORY
set -eu
here=$(cd "$(dirname "$0")" && pwd)
. "$here/shell.sh"
way=$1 source=$2 build=$3

need cmake cc
unset DESTDIR BUILD_SHARED_LIBS 2>/dev/null || true
generator="Unix Makefiles"
if command -v ninja >/dev/null 2>&1; then
    generator=Ninja
else
    need make
fi
prefix=$scratch/prefix
version=$(sed -n 's/^project(memarena VERSION \([0-9.]*\).*/\1/p' "$source/CMakeLists.txt")
app=$here/consumer/app.c look=$here/consumer/look.c

install_library() {
    cmake --install "$build" --prefix "$prefix" >"$scratch/output" || { cat "$scratch/output" >&2; fail "cmake --install"; }
}

# consumer_build NAME OPTION...: builds and tests the consumer's project in $scratch/NAME.
consumer_build() {
    name=$1
    shift
    cmake -S "$here/consumer" -B "$scratch/$name" -G "$generator" "$@" && cmake --build "$scratch/$name" &&
        ctest --test-dir "$scratch/$name" --output-on-failure
}

needs_shared() {
    readelf -d "$1" | grep -q 'NEEDED.*libmemarena\.so\.0'
}

looks_shared() {
    readelf -d "$1" | grep -q 'NEEDED.*libmemarena-look\.so\.0'
}

is_static() {
    [ -f "$1" ] && ! needs_shared "$1" && ! looks_shared "$1"
}

empty() {
    [ ! -s "$1" ] || { cat "$1"; return 1; }
}

equal_files() {
    diff "$1" "$2"
}

same_directory() {
    echo "$1 and $2"
    [ "$(cd "$1" && pwd -P)" = "$(cd "$2" && pwd -P)" ]
}

case $way in
find_package)
    need readelf
    install_library
    (cd "$prefix" && find . ! -type d) | sed 's|^\./lib[^/]*/\([a-z0-9_]*-[a-z0-9_-]*/\)\{0,1\}|lib/|; s|^\./||' |
        sed 's/Targets-[a-z]*\.cmake/Targets-BUILDTYPE.cmake/' | LC_ALL=C sort >"$scratch/installed"
    LC_ALL=C sort >"$scratch/expected" <<EOF
include/memarena.h
include/memarena.hpp
$(cd "$source/include" && printf 'include/%s\n' memarena/adapters/*.h memarena/*.h)
lib/cmake/memarena/memarenaConfig.cmake
lib/cmake/memarena/memarenaConfigVersion.cmake
lib/cmake/memarena/memarenaTargets-BUILDTYPE.cmake
lib/cmake/memarena/memarenaTargets.cmake
$(for name in memarena memarena-look; do
    printf 'lib/%s\n' lib$name.a lib$name.so lib$name.so.0 "lib$name.so.$version" pkgconfig/$name.pc
done | LC_ALL=C sort)
share/memarena/bpftrace/refills.bt
share/memarena/bpftrace/resets.bt
share/memarena/gdb/memarena-gdb.py
$(cd "$source/man" && printf 'share/man/%s\n' man3/*.3)
EOF
    attempt "what is installed" equal_files "$scratch/expected" "$scratch/installed"
    { grep -rl -F -e "$source" -e "$build" "$prefix/include" "$prefix"/lib*/cmake "$prefix"/lib*/*/cmake \
        "$prefix"/lib*/pkgconfig 2>/dev/null || true; } >"$scratch/traces"
    attempt "it does not name the directory that it was built in" empty "$scratch/traces"
    mv "$prefix" "$scratch/moved"
    attempt "find_package, after the installation was moved" consumer_build package "-DCMAKE_PREFIX_PATH=$scratch/moved"
    attempt "memarena::shared needs the shared library" needs_shared "$scratch/package/app_shared"
    attempt "memarena::static does not" is_static "$scratch/package/app_static"
    attempt "memarena::look_shared needs the shared library" looks_shared "$scratch/package/app_look_shared"
    attempt "memarena::look_static does not" is_static "$scratch/package/app_look_static"
    grep -e '-W' "$scratch/package/compile_commands.json" >"$scratch/flags" || true
    attempt "no warning flags come with it" empty "$scratch/flags"
    ;;
pkg-config)
    need pkg-config readelf
    install_library
    file=$(find "$prefix" -name memarena.pc)
    [ -n "$file" ] || fail "no memarena.pc is installed"
    library=$(dirname "$(dirname "$file")")
    export PKG_CONFIG_PATH="$library/pkgconfig"
    flags=$(pkg-config --cflags --libs memarena)
    static_flags=$(pkg-config --static --cflags --libs memarena)
    attempt "memarena.pc names the prefix given to cmake --install" same_directory \
        "$(pkg-config --variable=includedir memarena)" "$prefix/include"
    # The program needs -pthread for its own threads; the library's users need nothing but what pkg-config says.
    attempt "one line of cc, shared" cc "$app" $flags -pthread -o "$scratch/shared"
    attempt "it runs" env "LD_LIBRARY_PATH=$library" "$scratch/shared"
    attempt "it needs the shared library" needs_shared "$scratch/shared"
    attempt "one line of cc, static" cc -static "$app" $static_flags -o "$scratch/static"
    attempt "it runs" "$scratch/static"
    look_flags=$(pkg-config --cflags --libs memarena-look)
    attempt "one line of cc with memarena-look, shared" cc "$look" $look_flags -o "$scratch/look"
    attempt "it runs" env "LD_LIBRARY_PATH=$library" "$scratch/look"
    attempt "it needs both shared libraries" sh -c "readelf -d '$scratch/look' | grep -c 'NEEDED.*libmemarena' | grep -qx 2"
    if command -v c++ >/dev/null 2>&1; then
        attempt "one line of c++" c++ -x c++ "$look" -x none $look_flags -o "$scratch/look_cc"
        attempt "it runs" env "LD_LIBRARY_PATH=$library" "$scratch/look_cc"
    fi
    attempt "one line of cc with memarena-look, static" cc -static "$look" $(pkg-config --static --cflags --libs memarena-look) -o "$scratch/look"
    attempt "it runs" "$scratch/look"
    for module in memarena memarena-look; do
        [ "$(pkg-config --modversion $module)" = "$version" ] || fail "pkg-config --modversion $module"
    done
    ;;
subdirectory)
    need readelf
    for shared in OFF ON; do
        attempt "add_subdirectory, BUILD_SHARED_LIBS=$shared" consumer_build sub_$shared "-DMEMARENA_SOURCE=$source" \
            -DBUILD_SHARED_LIBS=$shared "-DCMAKE_INSTALL_PREFIX=$prefix"
        (cd "$scratch/sub_$shared" && find . -name '*.o' ! -path '*/app_*') |
            grep -v '/memarena/CMakeFiles/memarena\(_look\)\{0,1\}_objects\.dir/' >"$scratch/objects" || true
        attempt "only the library is built" empty "$scratch/objects"
        ctest --test-dir "$scratch/sub_$shared" -N | sed -n 's/^Total Tests: //p' >"$scratch/tests"
        attempt "the tests are the consumer's" grep -qxE '9|6' "$scratch/tests"
        grep -e '-W[a-z]' "$scratch/sub_$shared/compile_commands.json" | grep 'consumer/app\.c' >"$scratch/flags" || true
        attempt "no warning flags leak" empty "$scratch/flags"
        grep -e '-Werror' "$scratch/sub_$shared/compile_commands.json" >"$scratch/flags" || true
        attempt "no warning of a newer compiler stops the build" empty "$scratch/flags"
        grep '^CMAKE_BUILD_TYPE:[A-Z]*=..*' "$scratch/sub_$shared/CMakeCache.txt" >"$scratch/flags" || true
        attempt "the build type is left to the consumer" empty "$scratch/flags"
        attempt "cmake --install of the consumer" cmake --install "$scratch/sub_$shared"
        find "$prefix" -type f >"$scratch/installed" 2>/dev/null || true
        attempt "it installs nothing of the library" empty "$scratch/installed"
        attempt "memarena::shared needs the shared library" needs_shared "$scratch/sub_$shared/app_shared"
        attempt "memarena::static does not" is_static "$scratch/sub_$shared/app_static"
        attempt "memarena::look_shared needs the shared library" looks_shared "$scratch/sub_$shared/app_look_shared"
        attempt "memarena::look_static does not" is_static "$scratch/sub_$shared/app_look_static"
    done
    attempt "memarena::memarena is static without BUILD_SHARED_LIBS" is_static "$scratch/sub_OFF/app_memarena"
    attempt "memarena::memarena is shared with it" needs_shared "$scratch/sub_ON/app_memarena"
    attempt "memarena::look is static without BUILD_SHARED_LIBS" is_static "$scratch/sub_OFF/app_look"
    attempt "memarena::look is shared with it" looks_shared "$scratch/sub_ON/app_look"
    attempt "who does not look needs no memarena_look" sh -c "! readelf -d '$scratch/sub_ON/app_memarena' | grep -q look"
    ;;
fetch-content)
    attempt "FetchContent" consumer_build fetched "-DMEMARENA_FETCHED=$source"
    (cd "$scratch/fetched" && find . -name '*.o' ! -path '*/app_*') | grep -v '/memarena\(_look\)\{0,1\}_objects\.dir/' >"$scratch/objects" || true
    attempt "only the library is built" empty "$scratch/objects"
    ctest --test-dir "$scratch/fetched" -N | sed -n 's/^Total Tests: //p' >"$scratch/tests"
    attempt "the tests are the consumer's" grep -qxE '9|6' "$scratch/tests"
    ;;
meson)
    need meson pkg-config ninja
    install_library
    export PKG_CONFIG_PATH="$(dirname "$(find "$prefix" -name memarena.pc)")"
    attempt "meson setup" meson setup "$scratch/meson" "$here/consumer"
    attempt "meson compile" meson compile -C "$scratch/meson"
    attempt "meson test" env "LD_LIBRARY_PATH=$(dirname "$PKG_CONFIG_PATH")" meson test -C "$scratch/meson"
    ;;
one-command)
    cd "$source"
    attempt "cc app.c src/*/*.c -Iinclude -pthread" cc "$app" src/*/*.c -Iinclude -pthread -o "$scratch/app"
    attempt "it runs" "$scratch/app"
    for command in "gcc -O2 -flto" "gcc -std=c11 -D_DEFAULT_SOURCE" "gcc -O1 -static" "clang -O2 -DNDEBUG" "musl-gcc -O2"; do
        if command -v "${command%% *}" >/dev/null 2>&1; then
            attempt "$command" $command "$app" src/*/*.c -Iinclude -pthread -o "$scratch/app"
            attempt "it runs" "$scratch/app"
        fi
    done
    ;;
two-files)
    two=$scratch/two
    attempt "tools/amalgamate" "$source/tools/amalgamate" "$two"
    for name in memarena memarena_look; do
        grep -n '^# *include "' "$two/$name.c" | grep -v "\"$name.h\"" >"$scratch/includes" || true
        attempt "$name.c includes nothing but $name.h" empty "$scratch/includes"
    done
    sed 's|<memarena/look.h>|"memarena_look.h"|' "$look" >"$two/look.c"
    cat >"$two/version.cc" <<EOF
#include "memarena.h"
#include <cstdio>
int main() { std::printf("%s\n%d.%d.%d\n", memarena_version(), MEMARENA_VERSION_MAJOR, MEMARENA_VERSION_MINOR, MEMARENA_VERSION_PATCH); }
EOF
    printf '%s\n' "$version" "$version" >"$scratch/version"
    cd "$two"
    for compiler in gcc clang musl-gcc; do
        command -v $compiler >/dev/null 2>&1 || continue
        attempt "$compiler -O2 -c memarena.c memarena_look.c" $compiler -std=c11 -O2 -Wall -Wextra -Wpedantic -Wconversion -Wshadow -Werror \
            -c memarena.c memarena_look.c
        attempt "a C program" $compiler -I"$two" "$app" memarena.o -pthread -o app
        attempt "it runs" ./app
        attempt "one that looks" $compiler look.c memarena_look.o memarena.o -pthread -o look
        attempt "it runs" ./look
        [ $compiler != musl-gcc ] || continue
        if command -v g++ >/dev/null 2>&1; then
            attempt "a C++ program" g++ -I"$two" version.cc memarena.o -pthread -o version
            ./version >"$scratch/said" || fail "it does not run"
            attempt "library, header and CMake agree on the version" equal_files "$scratch/version" "$scratch/said"
        fi
    done
    ;;
*) fail "no such way: $way" ;;
esac
finish
