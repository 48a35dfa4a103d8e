#!/bin/sh
# Fuzzes with every engine that is installed: libFuzzer and AFL++, each with and without sanitizers.
# usage: [SECONDS_EACH=60] run.sh FOLDER
#
# FOLDER receives the programs, what the engines find new, and the inputs that failed. Exit status 1: there are such, and
# how to play them again is said; or no engine is installed.
set -eu

[ $# = 1 ] || { echo "usage: run.sh FOLDER" >&2; exit 2; }
source=$(cd "$(dirname "$0")/../.." && pwd)
mkdir -p "$1"
folder=$(cd "$1" && pwd)
seconds=${SECONDS_EACH:-60}
corpus=$source/tests/fuzz/corpus
ran=0 findings=0
. "$source/tests/fuzz/build.sh"

build_replay "$folder/replay" "${CC:-cc}"

# tell ENGINE FILE...: those files that exist have failed.
tell() {
    engine=$1 told=0
    shift
    for file in "$@"; do
        [ -f "$file" ] || continue
        findings=$((findings + 1)) told=$((told + 1))
        [ "$told" -le 3 ] || continue
        echo "FAILED: $engine: $file"
        echo "    to see the calls: $folder/replay -v $file"
        [ ! -x "$folder/replay-asan" ] || echo "    under sanitizers: $folder/replay-asan -v $file"
    done
    [ "$told" -le 3 ] || echo "    and $((told - 3)) more in the same folder"
}

run_libfuzzer() { # run_libfuzzer NAME OPTION...
    name=$1
    shift
    if ! can_fuzz clang "$folder"; then
        echo "$name: skipped: clang's fuzzer library is not installed"
        return 0
    fi
    build "$folder/$name" clang -fsanitize=fuzzer "$@"
    mkdir -p "$folder/$name-new"
    echo "$name: $seconds s"
    status=0
    "$folder/$name" -max_total_time="$seconds" -max_len=1024 -timeout=20 -artifact_prefix="$folder/$name-" \
        "$folder/$name-new" "$corpus" >"$folder/$name.log" 2>&1 || status=$?
    ran=$((ran + 1))
    tail -n 1 "$folder/$name.log"
    if [ "$status" != 0 ]; then
        grep -E 'not true|runtime error|ERROR' "$folder/$name.log" || true
        tell "$name" "$folder/$name-crash-"* "$folder/$name-timeout-"* "$folder/$name-oom-"* "$folder/$name-leak-"*
        [ "$findings" != 0 ] || { echo "FAILED: $name: exit $status, see $folder/$name.log"; findings=1; }
    fi
}

run_afl() { # run_afl NAME
    name=$1
    if ! command -v afl-fuzz >/dev/null 2>&1 || ! command -v afl-clang-fast >/dev/null 2>&1; then
        echo "$name: skipped: AFL++ is not installed"
        return 0
    fi
    with=
    case $name in *-asan) with="AFL_USE_ASAN=1 AFL_USE_UBSAN=1" ;; esac
    if ! build "$folder/$name" env AFL_QUIET=1 $with afl-clang-fast -fsanitize=fuzzer >"$folder/$name.log" 2>&1; then
        echo "$name: skipped: afl-clang-fast does not build it, see $folder/$name.log"
        return 0
    fi
    rm -rf "$folder/$name-out"
    echo "$name: $seconds s"
    status=0
    AFL_SKIP_CPUFREQ=1 AFL_I_DONT_CARE_ABOUT_MISSING_CRASHES=1 AFL_NO_UI=1 AFL_NO_AFFINITY=1 \
        afl-fuzz -m none -t 5000 -V "$seconds" -i "$corpus" -o "$folder/$name-out" -- "$folder/$name" \
        >"$folder/$name.log" 2>&1 || status=$?
    ran=$((ran + 1))
    if [ ! -f "$folder/$name-out/default/fuzzer_stats" ]; then
        echo "FAILED: $name: exit $status, see $folder/$name.log"
        findings=$((findings + 1))
        return 0
    fi
    grep -E '^(execs_done|execs_per_sec|saved_crashes|saved_hangs)' "$folder/$name-out/default/fuzzer_stats"
    tell "$name" "$folder/$name-out/default/crashes/id"* "$folder/$name-out/default/hangs/id"*
}

if command -v clang >/dev/null 2>&1; then build_replay "$folder/replay-asan" clang $sanitize 2>/dev/null || true; fi
run_libfuzzer libfuzzer
run_libfuzzer libfuzzer-asan $sanitize
run_afl afl
run_afl afl-asan

echo "$ran engines ran, $findings findings"
[ "$ran" != 0 ] && [ "$findings" = 0 ]
