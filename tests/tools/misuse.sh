#!/bin/sh
# Sanitizers report misuse of an arena, and nothing else, with the library as it is always built.
# usage: misuse.sh asan|memcheck COMPILER INCLUDE-DIRECTORY LIBRARY misuse|uninitialised|clean
set -eu
here=$(cd "$(dirname "$0")" && pwd)
. "$here/shell.sh"
tool=$1 compiler=$2 include=$3 library=$4 group=$5

need "$compiler"
case $tool in
asan) flags=-fsanitize=address ;;
memcheck)
    need valgrind
    flags=
    ;;
*) fail "no such tool: $tool" ;;
esac
if ! echo 'int main(void) { return 0; }' | "$compiler" $flags -x c -o "$scratch/empty" - >"$scratch/output" 2>&1; then
    skip "$compiler cannot link with $flags"
fi
# Address sanitizers of that time cannot start where the kernel scatters mappings too widely.
still=
if setarch -R true 2>/dev/null; then still="setarch -R"; fi
$still "$scratch/empty" || skip "programs built with $compiler $flags do not start here"

"$compiler" -std=c11 -D_GNU_SOURCE -O1 -g -Wall -Wextra -Werror $flags -I"$include" "$here/misuse.c" "$library" \
    -Wl,-rpath,"$(dirname "$library")" -pthread -o "$scratch/misuse"

"$scratch/misuse" --list "$group" >"$scratch/probes"
[ -s "$scratch/probes" ] || fail "no probe in group $group"
case $tool in
asan) ASAN_OPTIONS=detect_leaks=0 $still "$scratch/misuse" --group "$group" ;;
memcheck) valgrind -q --error-exitcode=9 "$scratch/misuse" --group "$group" ;;
esac >"$scratch/all" 2>&1 || fail "the probes could not be run: $(tail -3 "$scratch/all")"

# What one probe printed, in $scratch/output, and its exit status, in $status.
look_at() {
    awk -v name="$1" '/^== probe / { wanted = ($3 == name); next } wanted && NF' "$scratch/all" >"$scratch/output"
    status=$(sed -n 's/^== exit //p' "$scratch/output")
    sed '/^== exit /d' "$scratch/output" >"$scratch/said"
    mv "$scratch/said" "$scratch/output"
}

said() {
    grep -q -E "$1" "$scratch/output"
}

# The report that a probe of misuse must cause.
report() {
    case $tool-$1 in
    asan-use_after_destroy) echo 'AddressSanitizer: (use-after-poison|SEGV)' ;; # the memory is not mapped any more
    asan-*) echo 'AddressSanitizer: use-after-poison' ;;
    memcheck-*_is_undefined) echo 'depends on uninitialised value' ;;
    memcheck-*) echo 'Invalid (read|write)' ;;
    esac
}

while read -r probe; do
    look_at "$probe"
    echo "  $probe: exit ${status:=unknown}"
    if [ "$group" = clean ]; then
        [ "$status" = 0 ] && [ ! -s "$scratch/output" ] || complain "$probe was reported (exit $status)" "$scratch/output"
    else
        [ "$status" != 0 ] && said '^touching$' && said "$(report "$probe")" ||
            complain "$probe was not reported (exit $status)" "$scratch/output"
    fi
done <"$scratch/probes"
finish
