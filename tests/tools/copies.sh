#!/bin/sh
# Several copies of the library in one process are one register of lanes: copies/copies.c, built in each mix.
# usage: copies.sh PART PROJECT STATIC-LIBRARY SHARED-LIBRARY
# PART: mixes | "linkers COMPILER" | partitions | circle | fork | damaged | narrow | static | musl | processors
set -eu
here=$(cd "$(dirname "$0")" && pwd)
. "$here/shell.sh"
part=$1 project=$2 static=$3 shared=$4
need gcc ld objcopy strip

cd "$scratch"
flags="-std=gnu11 -D_GNU_SOURCE -O2 -Wall -Wextra -Werror -I$project/include -I$project/tests"
linked="$shared -Wl,-rpath,$(dirname "$shared")"
unseen=-Wl,--exclude-libs,ALL
emulator=''

# amalgamation OBJECT COMPILER FLAG...: a copy of the library in one object
amalgamation() {
    object=$1
    shift
    [ -f source/memarena.c ] || "$project/tools/amalgamate" source >/dev/null
    "$@" -O2 -fPIC -c source/memarena.c -o "$object"
}

# sides COMPILER FLAG...: copies.o, the program without a copy; and a side of each name
sides() {
    # shellcheck disable=SC2086 # a list of flags
    "$@" $flags -c "$here/copies/copies.c" -o copies.o
    for name in host second plugin; do
        # shellcheck disable=SC2086
        "$@" $flags -fPIC -DSIDE=side_$name -c "$here/copies/side.c" -o side_$name.o
    done
}

# one_object OBJECT NAME LIBRARY [PREFIX [FLAG]]: a side and its copy, of which nothing can be seen but side_NAME. PREFIX: of the
# tools, FLAG: of ld
one_object() {
    # shellcheck disable=SC2086
    "${4:-}ld" ${5:-} -r --force-group-allocation --whole-archive "side_$2.o" "$3" -o "$1"
    "${4:-}objcopy" --keep-global-symbol="side_$2" "$1"
}

# run PROGRAM MODE SIDE...
run() {
    program=$1
    shift
    # shellcheck disable=SC2086
    attempt "$program $*" within 200 $emulator "./$program" "$@"
}

# Hosts and plug-ins of all kinds, by gcc and the usual linker.
make_all() {
    sides gcc
    amalgamation copy.o gcc -fvisibility=hidden
    amalgamation debug.o gcc -DMEMARENA_DEBUG
    one_object host.o host "$static"
    one_object second.o second copy.o
    one_object plugin.o plugin "$static"
    gcc copies.o -pthread -o none
    gcc copies.o side_host.o "$static" -pthread -o static
    gcc copies.o side_host.o "$static" -pthread -rdynamic -o exporting
    # shellcheck disable=SC2086
    gcc copies.o side_host.o $linked -pthread -o shared
    gcc copies.o side_host.o copy.o -pthread -o amalgamated
    gcc copies.o host.o second.o -pthread -o two
    gcc copies.o side_host.o debug.o -pthread -o debugging
    gcc -shared side_plugin.o "$static" $unseen -o hidden.so
    gcc -shared side_plugin.o "$static" -Wl,-Bsymbolic -o symbolic.so
    gcc -shared side_plugin.o "$static" -o exported.so
    # shellcheck disable=SC2086
    gcc -shared side_plugin.o $linked -o shared.so
    gcc -shared side_plugin.o copy.o -o amalgamated.so
    gcc -shared plugin.o -o object.so
    gcc -shared side_plugin.o debug.o -Wl,-Bsymbolic -o debug.so
    cp hidden.so stripped.so
    strip --strip-all stripped.so
}

mixes() {
    make_all
    for host in none static exporting shared amalgamated two debugging; do
        for plugin in hidden symbolic exported shared amalgamated object debug stripped; do
            [ $host$plugin = noneshared ] || run $host mix ./$plugin.so
        done
        run $host mix ./hidden.so ./exported.so ./shared.so ./amalgamated.so ./object.so
        run $host mix global:./exported.so global:./symbolic.so ./amalgamated.so
        run $host mix deep:./exported.so deep:./shared.so deep:./hidden.so
        run $host mix ./hidden.so new:./exported.so new:./shared.so
    done
    run two mix
    # With the library at another place than the program's own: the loader is the program then.
    loader=$(sed -n 's/.*\(\/lib[^ ]*ld-linux[^]]*\)].*/\1/p' <<END
$(readelf -lW static)
END
    )
    [ ! -x "$loader" ] || attempt "under $loader" "$loader" ./static mix ./hidden.so
}

# link_all COMPILER FLAG...: a host and plug-ins by this linker, with copy.o
link_all() {
    rm -f linked ./*.so
    if "$@" copies.o side_host.o copy.o -pthread -o linked >output 2>&1 &&
        "$@" -shared side_plugin.o copy.o -Wl,--version-script=only_side.map -Wl,--strip-all -o one.so >output 2>&1; then
        attempt "$*" within 100 ./linked mix ./one.so
    else
        complain "$* does not link" output
    fi
}

linkers() { # linkers COMPILER
    echo '{ global: side_*; local: *; };' >only_side.map
    need "$1"
    sides "$1"
    # (<sys/sdt.h> and gold do not agree about sections that are collected.)
    amalgamation copy.o "$1" -ffunction-sections -fdata-sections -DMEMARENA_NO_PROBES
    for linker in bfd gold lld; do
        command -v ld.$linker >/dev/null || { echo "  ld.$linker is not installed"; continue; }
        link_all "$1" -fuse-ld=$linker -Wl,--gc-sections
        [ $linker = bfd ] || link_all "$1" -fuse-ld=$linker -Wl,--icf=all
    done
    amalgamation copy.o "$1" -flto
    # With the linker's plug-in for that compiler, or where the linker is the compiler's own.
    for linker in bfd gold lld; do
        case $1-$linker in
        gcc-bfd | gcc-gold | clang-lld) ! command -v ld.$linker >/dev/null || link_all "$1" -flto -fuse-ld=$linker ;;
        esac
    done
}

# Single sources in link-time optimisation, each function in a partition of its own.
partitions() {
    sides gcc
    for source in "$project"/src/*/*.c; do
        gcc -O2 -fPIC -flto -I"$project/include" -c "$source" -o "lto_$(basename "$source" .c).o"
    done
    gcc -flto=2 -flto-partition=max copies.o side_host.o lto_*.o -pthread -o linked
    gcc -flto=2 -flto-partition=max -shared side_plugin.o lto_*.o -Wl,-Bsymbolic -o one.so
    run linked mix ./one.so
}

circle() {
    make_all
    for host in none static exporting shared two; do
        run $host circle 500 ./hidden.so ./amalgamated.so ./exported.so
    done
    run static circle 500 ./stripped.so ./amalgamated.so
    run exporting circle 100 global:./exported.so deep:./symbolic.so
}

fork() {
    make_all
    run none fork ./hidden.so ./amalgamated.so
    run static fork ./hidden.so ./shared.so
    run exporting fork ./exported.so
    run two fork ./object.so
    run static fork new:./hidden.so
    run static fork child:new:./hidden.so
}

damaged() {
    make_all
    # shellcheck disable=SC2086
    gcc $flags "$here/copies/damage.c" -o damage
    number=0
    while ./damage hidden.so damaged.so $number; do
        within 60 ./static few ./damaged.so ./object.so >output 2>&1 || complain "damage $number: exit $?" output
        within 60 ./none few ./damaged.so ./object.so >output 2>&1 || complain "damage $number, no host: exit $?" output
        number=$((number + 1))
    done
    [ $number -ge 200 ] || fail "only $number kinds of damage"
    echo "  $number kinds of damage"
    for section in .note .note.memarena; do
        objcopy --remove-section=$section hidden.so removed.so
        cp removed.so removed_too.so
        attempt "without $section" within 60 ./static few ./removed.so ./object.so
        attempt "without $section, nobody else" within 60 ./none few ./removed.so ./removed_too.so
    done
}

# two_in_one PREFIX FLAG-OF-LD COMPILER FLAG...: both copies are in one program, and in libraries that it is linked with
two_in_one() {
    prefix=$1 ld_flag=$2
    shift 2
    sides "$@"
    amalgamation copy.o "$@"
    one_object host.o host copy.o "$prefix" "$ld_flag"
    one_object second.o second copy.o "$prefix" "$ld_flag"
}

narrow() {
    echo 'int main(void) { return 0; }' >probe.c
    set -- gcc -m32 -isystem /usr/include/x86_64-linux-gnu
    "$@" probe.c -o probe 2>/dev/null && ./probe || skip "no 32-bit programs here"
    two_in_one "" -melf_i386 "$@"
    "$@" copies.o host.o second.o -pthread -o two
    "$@" copies.o side_host.o copy.o -pthread -o one
    "$@" -shared side_plugin.o copy.o -Wl,-Bsymbolic -o plugin.so
    for mode in mix fork; do
        run two $mode ./plugin.so
        run one $mode ./plugin.so
    done
    cp plugin.so other.so
    run one circle 200 ./plugin.so ./other.so
    run one mix new:./plugin.so
}

static() {
    two_in_one "" "" gcc
    gcc -shared side_plugin.o copy.o -Wl,-Bsymbolic -o plugin.so
    gcc -static copies.o host.o second.o -pthread -o static 2>/dev/null
    gcc -static-pie copies.o host.o second.o -pthread -o static_pie 2>/dev/null
    gcc -no-pie copies.o host.o second.o -pthread -o fixed
    for program in static static_pie fixed; do
        run $program mix
        run $program fork
    done
    # The C library that the plug-in brings is not the program's.
    gcc -static copies.o side_host.o copy.o -pthread -o opening 2>/dev/null
    run opening mix alone:./plugin.so
    # A program that is linked with the libraries of two others.
    gcc -shared side_second.o copy.o -Wl,-Bsymbolic -o libsecond.so
    gcc copies.o side_host.o copy.o ./libsecond.so -pthread -o needing
    run needing mix
}

musl() {
    need musl-gcc
    two_in_one "" "" musl-gcc
    musl-gcc copies.o host.o second.o -pthread -o dynamic
    musl-gcc -static copies.o host.o second.o -pthread -o static
    musl-gcc -shared side_second.o copy.o -Wl,-Bsymbolic -o libsecond.so
    musl-gcc copies.o side_host.o copy.o ./libsecond.so -pthread -o needing
    for program in dynamic static needing; do
        run $program mix
        run $program fork
    done
}

# Under qemu-user, where there is a compiler: as tests/cross.sh.
processors() {
    done_here=0
    for processor in aarch64:aarch64-linux-gnu arm:arm-linux-gnueabihf riscv64:riscv64-linux-gnu s390x:s390x-linux-gnu \
        ppc64le:powerpc64le-linux-gnu; do
        triple=${processor#*:} qemu=qemu-${processor%%:*}
        emulator=$(command -v "$qemu-static" || command -v "$qemu") || continue
        command -v "$triple-gcc" >/dev/null || continue
        emulator="$emulator -L /usr/$triple"
        two_in_one "$triple-" "" "$triple-gcc"
        for kind in -static -static-pie -pie -no-pie; do
            "$triple-gcc" $kind copies.o host.o second.o -pthread -o "$processor$kind" 2>/dev/null || {
                echo "  $processor: no $kind here"
                continue
            }
            run "$processor$kind" mix
        done
        "$triple-gcc" -shared side_second.o copy.o -Wl,-Bsymbolic -o libsecond.so
        "$triple-gcc" copies.o side_host.o copy.o ./libsecond.so -pthread -Wl,-rpath,"$scratch" -o "$processor-needing"
        run "$processor-needing" mix
        done_here=$((done_here + 1))
    done
    [ $done_here -gt 0 ] || skip "no cross compiler with its qemu-user is here"
}

# shellcheck disable=SC2086 # with its compiler
$part
finish
