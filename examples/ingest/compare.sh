#!/bin/sh
# Compares allocators on memarena-ingest, each run a process of its own: the arena; and several mallocs, with a batch
# freed by the thread that has added it up, or, in lines "own", by the one that has parsed it. The runs are interleaved,
# so that a slow minute of the machine strikes all alike, and each is represented by its run of median total time.
#
# usage: compare.sh MEMARENA_INGEST [FILE]      without FILE, records that the program makes up
# environment: ROUNDS (default 5), THREADS (parsers, default: all CPUs), RECORDS (made up, default 200000)
# exit: 0 all checksums are equal; 1 they differ, or a run failed; 2 wrong usage
set -u

if [ $# -lt 1 ] || [ $# -gt 2 ] || [ ! -x "$1" ]; then
    echo "usage: compare.sh MEMARENA_INGEST [FILE]" >&2
    exit 2
fi
program=$1
here=$(cd "$(dirname "$0")" && pwd)
rounds=${ROUNDS:-5}
threads=${THREADS:-$(getconf _NPROCESSORS_ONLN)}

scratch=$(mktemp -d) || exit 1
trap 'rm -rf "$scratch"' EXIT
trap 'exit 1' HUP INT TERM
. "$here/../mallocs.sh"

# run NAME ALLOCATOR [LIBRARY]: one run, one line "NAME,<csv>" in the results. What lines it left out, the first run
# has said.
run() {
    name=$1 allocator=$2 library=${3:-}
    messages=$scratch/messages
    if ! line=$(LD_PRELOAD=$library "$program" -j "$threads" -a "$allocator" --csv "$file" 2>"$messages"); then
        cat "$messages" >&2
        echo "compare.sh: the run on $name failed" >&2
        exit 1
    fi
    echo "$name,$line" >>"$scratch/results"
}

if [ $# = 2 ]; then
    file=$2
else
    file=$scratch/records
    "$program" --generate "${RECORDS:-200000}" >"$file" || exit 1
fi
find_mallocs

# Once without counting: fills the page cache, so that the first allocator does not pay for the disk.
"$program" -j "$threads" --csv "$file" >/dev/null || exit 1

round=1
while [ "$round" -le "$rounds" ]; do
    run memarena arena
    for entry in malloc= $mallocs; do
        run "${entry%%=*}" malloc "${entry#*=}"
        run "${entry%%=*} own" malloc-own "${entry#*=}"
    done
    round=$((round + 1))
done

echo "$(wc -l <"$file") lines, $(wc -c <"$file") bytes, $threads parser threads, median of $rounds rounds by total time"
# name, allocator, threads, records, rejected, services, parse, aggregate, release, total, cpu, peak,
# checksum
median_lines 10 <"$scratch/results" | awk -F, '
    BEGIN {
        format = "%-14s %8s %11s %9s %8s %8s %12s %9s %8s\n"
        printf format, "allocator", "parse s", "aggregate s", "release s", "CPU s", "total s", "records/s", "peak MiB",
            "x arena"
    }
    NR == 1 { arena = $10 }
    {
        printf format, $1, sprintf("%.3f", $7), sprintf("%.3f", $8), sprintf("%.4f", $9), sprintf("%.3f", $11),
            sprintf("%.3f", $10), sprintf("%d", $4 / $10), sprintf("%.1f", $12 / 1024), sprintf("%.2f", $10 / arena)
    }'
if ! one_value 13 <"$scratch/results"; then
    echo "compare.sh: the checksums differ: $(cut -d, -f13 "$scratch/results" | sort -u | xargs)" >&2
    exit 1
fi
echo "checksum   $(head -n 1 "$scratch/results" | cut -d, -f13), the same in every run"
