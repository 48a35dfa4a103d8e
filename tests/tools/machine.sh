#!/bin/sh
# The library on a machine with aarch64, emulated whole by qemu, with Debian's kernel: what qemu-user has not, restartable
# sequences foremost.
# usage: machine.sh PROJECT
set -eu
here=$(cd "$(dirname "$0")" && pwd)
. "$here/shell.sh"
project=$1
compiler=aarch64-linux-gnu-gcc
need $compiler qemu-system-aarch64 cpio gzip apt-get dpkg-deb

# The kernel, by an apt of its own that knows only arm64.
mkdir -p "$scratch/state/lists/partial" "$scratch/cache/archives/partial" "$scratch/disk/tests"
chmod 755 "$scratch"
arm64() {
    tool=$1
    shift
    "$tool" -o APT::Architecture=arm64 -o APT::Architectures=arm64 -o Dir::State="$scratch/state" \
        -o Dir::State::status=/dev/null -o Dir::Cache="$scratch/cache" -o APT::Sandbox::User="$(id -un)" "$@"
}
cd "$scratch"
arm64 apt-get -qq update >output 2>&1 || skip "no list of arm64's packages: $(tail -n 1 output)"
kernel=$(arm64 apt-cache depends linux-image-cloud-arm64 | sed -n 's/.*Depends: //p' | head -n 1)
arm64 apt-get -qq download "${kernel:-linux-image-cloud-arm64}" >output 2>&1 || skip "no kernel: $(tail -n 1 output)"
dpkg-deb -x linux-image*.deb kernel

cd "$project"
build() { # build NAME FILE... FLAG...: a static program
    program=$1
    shift
    # shellcheck disable=SC2086
    $compiler -static -std=c11 -D_GNU_SOURCE -O2 -Wall -Wextra -Wpedantic -Wconversion -Wshadow -Werror -Iinclude -Isrc "$@" \
        -pthread -o "$scratch/disk/$program" >"$scratch/output" 2>&1 || complain "$program does not compile" "$scratch/output"
}
for source in src/*/*.c; do
    $compiler -std=c11 -O2 -Iinclude -c "$source" -o "$scratch/$(basename "$source" .c).o"
done
build init tests/tools/machine_init.c
build tests/rseq_aborts tests/rseq_aborts.c "$scratch"/*.o
for name in per_cpu same_addresses fill many_threads thread_exit fork signals zeroed scope_model; do
    build tests/$name tests/$name.c "$scratch"/*.o
done
build tests/trap tests/trap.c "$scratch"/*.o -Wl,--wrap=mmap
build tests/trim tests/trim.c "$scratch"/*.o -Wl,--wrap=madvise,--wrap=mincore,--wrap=ma_os_nap
build tests/retain tests/retain.c "$scratch"/*.o -Wl,--wrap=madvise
for name in race_alloc_alloc race_alloc_reset race_defer_reset race_scopes race_stats thread_exit fork destroy \
    scope_hand_over race_strings; do
    build tests/${name}_per_cpu tests/$name.c "$scratch"/*.o -DTEST_FLAGS=MEMARENA_PER_CPU
done

(cd "$scratch/disk" && find . | cpio -o -H newc --quiet | gzip -1) >"$scratch/initrd"
within 7200 qemu-system-aarch64 -machine virt -cpu cortex-a72 -smp 2 -m 2048 -nographic -no-reboot \
    -kernel "$scratch"/kernel/boot/vmlinuz-* -initrd "$scratch/initrd" -append "console=ttyAMA0 quiet panic=-1" \
    >"$scratch/console" 2>&1 </dev/null || true
tr -d '\r' <"$scratch/console" >"$scratch/said"
for program in "$scratch/disk/tests"/*; do
    name=$(basename "$program")
    # What it said, up to its end or that of the machine.
    awk -v name="$name" '{ said = said $0 "\n" } /^ended: / { if ($2 == name) exit; said = "" } END { printf "%s", said }' \
        "$scratch/said" >"$scratch/output"
    if grep -q "^ended: $name 0$" "$scratch/output"; then echo "  $name"; else complain "$name" "$scratch/output"; fi
done
grep -q '^restartable sequences: yes' "$scratch/said" || fail "there were no restartable sequences"
sed -n '/aborts in/s/^ */  /p' "$scratch/said"
finish
