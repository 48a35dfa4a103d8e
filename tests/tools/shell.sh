# What the test scripts here share; read with `.`, after `set -eu`.
#
# Exit status: 0 passed, 1 failed, 77 skipped, with a line that names what is missing.
#
# What hangs is ended by the CPU time that it uses, not by a clock: each program that a script runs has 1200 seconds.

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
trap 'exit 1' HUP INT TERM
failures=0
ulimit -S -t 1200

need() { # need TOOL...
    for needed in "$@"; do
        command -v "$needed" >/dev/null 2>&1 || skip "$needed is not installed"
    done
}

skip() {
    echo "skipped: $*"
    exit 77
}

fail() {
    echo "FAILED: $*" >&2
    exit 1
}

# within SECONDS COMMAND...: which dies (exit 137) when one process of it has used so much CPU time
within() {
    (ulimit -t "$1" && shift && exec "$@")
}

# complain WHAT FILE: counts a failure, shows the beginning of the file and goes on.
complain() {
    echo "FAILED: $1" >&2
    sed -n '1,40s/^/    /p' "$2" >&2
    failures=$((failures + 1))
}

# attempt WHAT COMMAND...: runs it; what it prints is shown only if it fails.
attempt() {
    what=$1
    shift
    if "$@" >"$scratch/output" 2>&1; then
        echo "  $what"
    else
        echo "exit $?: $*" >>"$scratch/output"
        complain "$what" "$scratch/output"
    fi
}

# The last line of a script.
finish() {
    [ "$failures" = 0 ] || fail "$failures of the above"
}
