#!/bin/sh
# Compares allocators on one real program: memarena-index on the arena and on several mallocs, each run a process of
# its own. The runs are interleaved, so that a slow minute of the machine strikes all alike, and each allocator is
# represented by its run of median total time.
#
# usage: compare.sh MEMARENA_INDEX [DIR]
# environment: ROUNDS (default 3), THREADS (default: all CPUs)
# exit: 0 all checksums are equal; 1 they differ, or a run failed; 2 wrong usage
set -u

if [ $# -lt 1 ] || [ $# -gt 2 ] || [ ! -x "$1" ]; then
    echo "usage: compare.sh MEMARENA_INDEX [DIR]" >&2
    exit 2
fi
program=$1
here=$(cd "$(dirname "$0")" && pwd)
directory=${2:-/usr/include}
rounds=${ROUNDS:-3}
threads=${THREADS:-$(getconf _NPROCESSORS_ONLN)}

scratch=$(mktemp -d) || exit 1
trap 'rm -rf "$scratch"' EXIT
trap 'exit 1' HUP INT TERM
. "$here/../mallocs.sh"

# run NAME ALLOCATOR [LIBRARY]: one run, one line "NAME,<csv>" in the results. Its messages are shown when it fails;
# what it could not read, the first run has said.
run() {
    name=$1 allocator=$2 library=${3:-}
    messages=$scratch/messages
    if ! line=$(LD_PRELOAD=$library "$program" -j "$threads" -a "$allocator" --csv "$directory" 2>"$messages"); then
        cat "$messages" >&2
        echo "compare.sh: the run on $name failed" >&2
        exit 1
    fi
    echo "$name,$line" >>"$scratch/results"
}

find_mallocs

# Once without counting: fills the page cache, so that the first allocator does not pay for the disk.
"$program" -j "$threads" --csv "$directory" >/dev/null || exit 1

round=1
while [ "$round" -le "$rounds" ]; do
    run memarena arena
    run malloc malloc
    for entry in $mallocs; do
        run "${entry%%=*}" malloc "${entry#*=}"
    done
    round=$((round + 1))
done

echo "$directory, $threads threads, median of $rounds rounds by total time"
awk -F, '
    # name, allocator, threads, files, unreadable, identifiers, occurrences, blocks, bytes, walk, build, release, peak,
    # checksum
    !($1 in runs) { order[++names] = $1 }
    {
        run = ++runs[$1]
        total[$1, run] = $11 + $12
        line[$1, run] = $0
        if (!($14 in sums)) sum_list = sum_list " " $14
        sums[$14] = 1
    }
    function median_run(name,    i, j, faster, slower, best) {
        for (i = 1; i <= runs[name]; i++) {
            faster = 0
            for (j = 1; j <= runs[name]; j++)
                if (total[name, j] < total[name, i] || (total[name, j] == total[name, i] && j < i)) faster++
            if (faster == int((runs[name] - 1) / 2)) best = i
        }
        return best
    }
    END {
        format = "%-10s %9s %9s %9s %9s %10s %12s %9s\n"
        printf format, "allocator", "build s", "release s", "total s", "peak MiB", "blocks", "bytes", "x arena"
        for (n = 1; n <= names; n++) {
            run = median_run(order[n])
            split(line[order[n], run], field, ",")
            sum = total[order[n], run]
            if (n == 1) arena_total = sum
            printf format, order[n], sprintf("%.3f", field[11]), sprintf("%.3f", field[12]), sprintf("%.3f", sum),
                sprintf("%.1f", field[13] / 1024), field[8], field[9], sprintf("%.2f", sum / arena_total)
        }
        if (split(sum_list, unused, " ") != 1) {
            print "compare.sh: the checksums differ:" sum_list > "/dev/stderr"
            exit 1
        }
        print "checksum  " sum_list ", the same in every run"
    }' "$scratch/results"
