#!/bin/sh
# The library on other processors, under qemu-user: big and little ends, 32 and 64 bits, weak memory order, no restartable
# sequences. One line for each processor, and one at the end that sums up, as run_all.sh has.
#
# usage: cross.sh BUILD-ROOT [PROCESSOR...]     PROCESSOR: i386 aarch64 armhf riscv64 s390x ppc64le
#
# A processor for which there is no compiler or emulator here counts as one skipped.
set -u
root=${1:?usage: cross.sh BUILD-ROOT [PROCESSOR...]}
shift
[ $# -ge 1 ] || set -- i386 aarch64 armhf riscv64 s390x ppc64le
source=$(cd "$(dirname "$0")/.." && pwd)
# Without those that measure address space or ask for a terabyte, where qemu's own counts.
tests="model fill align realloc strings accounts defer scopes per_cpu race_alloc_alloc race_alloc_reset race_defer_reset
    race_scopes many_threads"
passed=0 failed=0 skipped=0
# qemu is slow, and its threads share few CPUs.
export MEMARENA_TEST_SCALE="${MEMARENA_TEST_SCALE:-0.1}"

# choose PROCESSOR: sets the compiler, its flags and the emulator; false if one of them is not here
choose() {
    flags=''
    case $1 in
    i386) compiler=gcc qemu=i386 flags='-m32 -isystem /usr/include/x86_64-linux-gnu' ;;
    aarch64) compiler=aarch64-linux-gnu-gcc qemu=aarch64 ;;
    armhf) compiler=arm-linux-gnueabihf-gcc qemu=arm ;;
    riscv64) compiler=riscv64-linux-gnu-gcc qemu=riscv64 ;;
    s390x) compiler=s390x-linux-gnu-gcc qemu=s390x ;;
    ppc64le) compiler=powerpc64le-linux-gnu-gcc qemu=ppc64le ;;
    *) echo "cross.sh: unknown processor $1" >&2; exit 2 ;;
    esac
    emulator=$(command -v "qemu-$qemu-static" || command -v "qemu-$qemu") || return 1
    command -v "$compiler" >/dev/null || return 1
    echo 'int main(void) { return 0; }' >"$here/probe.c"
    # shellcheck disable=SC2086 # a list of flags
    $compiler $flags -static "$here/probe.c" -o "$here/probe" 2>/dev/null && "$emulator" "$here/probe"
}

for processor; do
    here=$root/cross/$processor
    mkdir -p "$here"
    if ! choose "$processor"; then
        echo "$processor: skipped: no compiler or no qemu-user for it"
        skipped=$((skipped + 1))
        continue
    fi
    good=0 bad=0
    for test in $tests; do
        # shellcheck disable=SC2086
        if ! $compiler $flags -std=c11 -D_GNU_SOURCE -O2 -Wall -Wextra -Wpedantic -Wconversion -Wshadow -Werror -static \
            -I"$source/include" -I"$source/src" "$source/tests/$test.c" "$source"/src/*/*.c -pthread -ldl \
            -o "$here/$test" >"$here/$test.log" 2>&1; then
            echo "$processor: $test does not build: $here/$test.log"
            bad=$((bad + 1))
            continue
        fi
        (ulimit -t 3000 && exec "$emulator" "$here/$test") >"$here/$test.log" 2>&1
        case $? in
        0 | 77) good=$((good + 1)) ;;
        *)
            bad=$((bad + 1))
            echo "$processor: $test failed: $here/$test.log"
            tail -n 3 "$here/$test.log"
            ;;
        esac
    done
    echo "$processor: $good passed, $bad failed"
    passed=$((passed + good)) failed=$((failed + bad))
done
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" = 0 ] && [ "$passed" != 0 ]
