#!/bin/sh
# Compares allocators on memarena-lua, each run a process of its own: a state in a scope; and several mallocs, with Lua's
# garbage collector on, as usual, or, in lines "no gc", off as in a scope. The runs are interleaved, so that a slow minute
# of the machine strikes all alike, and each is represented by its run of median CPU time: the program has one thread.
#
# usage: compare.sh MEMARENA_LUA [SCRIPT FILE]      without them, the default script and orders that the program makes up
# environment: ROUNDS (default 5), REQUESTS (made up, default 20000)
# exit: 0 all checksums are equal; 1 they differ, or a run failed; 2 wrong usage
set -u

if [ $# -ne 1 ] && [ $# -ne 3 ] || [ ! -x "$1" ]; then
    echo "usage: compare.sh MEMARENA_LUA [SCRIPT FILE]" >&2
    exit 2
fi
program=$1
shift
here=$(cd "$(dirname "$0")" && pwd)
rounds=${ROUNDS:-5}

scratch=$(mktemp -d) || exit 1
trap 'rm -rf "$scratch"' EXIT
trap 'exit 1' HUP INT TERM
. "$here/../mallocs.sh"

# run NAME ALLOCATOR COLLECTOR LIBRARY ARGUMENT...: one run, one line "NAME,<csv>" in the results.
run() {
    name=$1 allocator=$2 collector=$3 library=$4
    shift 4
    if ! line=$(LD_PRELOAD=$library "$program" -a "$allocator" -g "$collector" --csv "$@"); then
        echo "compare.sh: the run on $name failed" >&2
        exit 1
    fi
    echo "$name,$line" >>"$scratch/results"
}

if [ $# = 2 ]; then set -- -s "$1" "$2"; else set -- --requests "${REQUESTS:-20000}"; fi
find_mallocs

round=1
while [ "$round" -le "$rounds" ]; do
    run memarena arena off "" "$@"
    for entry in malloc= $mallocs; do
        run "${entry%%=*}" malloc on "${entry#*=}" "$@"
        run "${entry%%=*} no gc" malloc off "${entry#*=}" "$@"
    done
    round=$((round + 1))
done

# name, allocator, collector, requests, errors, bytes, release, total, cpu, peak, checksum
median_lines 9 <"$scratch/results" | awk -F, -v rounds="$rounds" '
    BEGIN { format = "%-16s %9s %9s %9s %14s %9s %8s\n" }
    NR == 1 {
        print $4 " requests, " $5 " answered by an error, median of " rounds " rounds by CPU time"
        printf format, "allocator", "release s", "total s", "CPU s", "CPU us/request", "peak MiB", "x arena"
        arena = $9
    }
    {
        printf format, $1, sprintf("%.4f", $7), sprintf("%.3f", $8), sprintf("%.3f", $9),
            sprintf("%.1f", $4 > 0 ? $9 / $4 * 1e6 : 0), sprintf("%.1f", $10 / 1024), sprintf("%.2f", arena > 0 ? $9 / arena : 0)
    }'
if ! one_value 11 <"$scratch/results"; then
    echo "compare.sh: the checksums differ: $(cut -d, -f11 "$scratch/results" | sort -u | xargs)" >&2
    exit 1
fi
echo "checksum   $(head -n 1 "$scratch/results" | cut -d, -f11), the same in every run"
