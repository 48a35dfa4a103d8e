#!/bin/sh
# What takes too long for every change: all schedules, many seeds, every mutant of a sample, other processors, hours of
# fuzzing and soaking if you have them. One line for each part; the last line, alone, sums up:
#     N passed, N failed, N skipped
#
# usage: audit.sh BUILD-ROOT [PART...]     PART: tools schedules races soak model arithmetic fuzz coverage mutants orders musl cross
#                                                machine windows abi debian debians
#
# AUDIT_SECONDS (60): how long the soak and each fuzzer run. AUDIT_ONE_IN (20): one mutant in so many.
# AUDIT_SEEDS (4): how often the races run, each time with another seed. AUDIT_SCALE (8): how many schedules are played, 8 for all
# of them (an hour), 1 for what `make test` in full does. Logs: BUILD-ROOT/audit.
set -eu

[ $# -ge 1 ] || { echo "usage: audit.sh BUILD-ROOT [PART...]" >&2; exit 2; }
source=$(cd "$(dirname "$0")/.." && pwd)
mkdir -p "$1/audit"
root=$(cd "$1" && pwd)
shift
[ $# -ge 1 ] || set -- tools schedules races soak model arithmetic fuzz coverage mutants orders musl cross machine windows abi debian debians
seconds=${AUDIT_SECONDS:-60} one_in=${AUDIT_ONE_IN:-20} seeds=${AUDIT_SEEDS:-4}
passed=0 failed=0 skipped=0
release=$root/release

cmake -S "$source" -B "$release" -DCMAKE_BUILD_TYPE=Release >"$root/audit/build.log" 2>&1 &&
    cmake --build "$release" --parallel 2 >>"$root/audit/build.log" 2>&1 ||
    { tail -n 30 "$root/audit/build.log"; exit 1; }

# part NAME COMMAND...: counts it by its exit status, 77 for skipped, and shows its last line.
part() {
    name=$1
    shift
    began=$(date +%s) status=0
    "$@" >"$root/audit/$name.log" 2>&1 || status=$?
    took=$(($(date +%s) - began))
    case $status in
    0) passed=$((passed + 1)) verdict=passed ;;
    77) skipped=$((skipped + 1)) verdict=skipped ;;
    *) failed=$((failed + 1)) verdict=FAILED ;;
    esac
    echo "$name: $verdict in $took s: $(tail -n 1 "$root/audit/$name.log")"
}

on_cpus() { # on_cpus CPUS COMMAND...
    cpus=$1
    shift
    if command -v taskset >/dev/null; then taskset -c "$cpus" "$@"; else "$@"; fi
}

# Tests with tools, those that take long as well, and all planted bugs.
tools() {
    cmake -S "$source" -B "$release" -DMEMARENA_TEST_LONG=ON && cmake --build "$release" --parallel 2 &&
        MEMARENA_PLANTED_ONE_IN=1 ctest --test-dir "$release" -L tools --output-on-failure || return 1
    cmake -S "$source" -B "$release" -DMEMARENA_TEST_LONG=OFF
}

# Schedules with up to three preemptions of each two calls, with two of each three; a fork at each access.
schedules() {
    cmake -S "$source" -B "$release" -DMEMARENA_TEST_LONG=ON && cmake --build "$release" --parallel 2 || return 1
    cmake -S "$source" -B "$release" -DMEMARENA_TEST_LONG=OFF
    for program in "$release"/tests/test_race*steps* "$release"/tests/test_fork_steps*; do
        echo "== $program"
        MEMARENA_TEST_SCALE="${AUDIT_SCALE:-8}" "$program" || return 1
    done
}

# All tests in threads and out of them, with other seeds, on one CPU and on two.
races() {
    for seed in $(seq 1 "$seeds"); do
        for cpus in 0 0,1; do
            MEMARENA_TEST_SEED=$seed on_cpus $cpus ctest --test-dir "$release" -LE '^(steps|soak|tools|demo)$' \
                --output-on-failure || return 1
        done
    done
}

soak() {
    for program in soak soak_yield_1 soak_yield_2 soak_yield_64; do
        on_cpus 0 "$release/tests/test_$program" $((seconds / 2 + 1)) || return 1
        "$release/tests/test_$program" $((seconds / 2 + 1)) || return 1
    done
}

for name in "$@"; do
    case $name in
    tools | schedules | races | soak) part "$name" "$name" ;;
    model) part model sh "$source/proof/spin.sh" --long ;;
    arithmetic) part arithmetic sh "$source/proof/arithmetic.sh" ;;
    fuzz) part fuzz env SECONDS_EACH="$seconds" sh "$source/tests/fuzz/run.sh" "$root/fuzz" ;;
    coverage) part coverage "$source/tests/coverage.sh" "$root" ;;
    mutants) part mutants "$source/tools/mutate" --one-in "$one_in" --jobs 2 ;;
    orders) part orders "$source/tools/mutate" --orders --jobs 2 --results "$root/mutate/orders.csv" ;;
    musl) part musl sh "$source/tests/tools/musl.sh" "$source" ;;
    cross) part cross "$source/tests/cross.sh" "$root" ;;
    machine) part machine sh "$source/tests/tools/machine.sh" "$source" ;;
    windows) part windows sh "$source/tests/tools/windows.sh" "$source" ;;
    abi) part abi sh "$source/tests/tools/abi.sh" "$source" ;;
    debian) part debian sh "$source/tests/tools/debian.sh" "$source" ;;
    debians) part debians sh "$source/tests/debians.sh" "$root" ;;
    *) echo "audit.sh: no part is called $name" >&2; exit 2 ;;
    esac
done
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" = 0 ]
