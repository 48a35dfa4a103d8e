# What the tests of the examples share. A script sets program and name, reads this with `.`, defines functions test_* and
# ends with: run_cases "$@"
#
# exit: 0 passed, 1 failed, 77 the one case asked for cannot be tried here

# What hangs is ended by the CPU time that it uses: each program has 600 seconds.
ulimit -S -t 600

scratch=$(mktemp -d) || exit 1
trap 'chmod -R u+rwx "$scratch"; rm -rf "$scratch"' EXIT
trap 'exit 1' HUP INT TERM

fail() {
    echo "FAILED: $*" >&2
    exit 1
}

skip() {
    echo "skipped: $*"
    exit 77
}

same() { # same WHAT EXPECTED ACTUAL
    [ "$2" = "$3" ] || fail "$1
expected: $2
actual:   $3"
}

# run STATUS ARGUMENT...: runs the program, expects the exit status; output in $scratch/out and $scratch/err.
run() {
    expected=$1
    shift
    "$program" "$@" >"$scratch/out" 2>"$scratch/err"
    status=$?
    [ "$status" = "$expected" ] || fail "exit $status instead of $expected: $name $*
$(cat "$scratch/err")"
}

lines_of() {
    awk 'END { print NR }' "$scratch/$1"
}

# run_cases [CASE...]: without a CASE, every function called test_*
run_cases() {
    if [ $# = 0 ]; then
        # shellcheck disable=SC2046 # a list of names
        set -- $(sed -n 's/^test_\([a-z_0-9]*\)() {$/\1/p' "$0")
    fi
    worst=0
    for case_name in "$@"; do
        rm -rf "${scratch:?}"/*
        ("test_$case_name")
        result=$?
        if [ $result = 0 ]; then
            echo "passed: $case_name"
        elif [ $result != 77 ] || [ $# = 1 ]; then
            worst=$result
        fi
    done
    exit $worst
}
