#!/bin/sh
# Compares what memarena-httpd costs on the arena and on several mallocs, under the load of the test, each run a process
# of its own. The runs are interleaved, so that a slow minute of the machine strikes all alike; each column is a median.
#
# usage: compare.sh MEMARENA_HTTPD
# environment: ROUNDS (default 5), SECONDS_EACH (default 4), THREADS (default: all CPUs)
# exit: 0 all answers were right; 1 one was wrong, or a run failed; 2 wrong usage
set -u

if [ $# -ne 1 ] || [ ! -x "$1" ]; then
    echo "usage: compare.sh MEMARENA_HTTPD" >&2
    exit 2
fi
program=$1
here=$(cd "$(dirname "$0")" && pwd)
rounds=${ROUNDS:-5}
seconds=${SECONDS_EACH:-4}
threads=${THREADS:-$(getconf _NPROCESSORS_ONLN)}

scratch=$(mktemp -d) || exit 1
server=
trap '[ -z "$server" ] || kill "$server"; rm -rf "$scratch"' EXIT
trap 'exit 1' HUP INT TERM
. "$here/../mallocs.sh"
command -v wrk >/dev/null || { echo "compare.sh: needs wrk" >&2; exit 1; }

die() {
    echo "compare.sh: $*" >&2
    exit 1
}

# Seconds of CPU that the server has used, user and system.
cpu_seconds() {
    sed 's/.*) //' "/proc/$server/stat" | awk -v ticks="$(getconf CLK_TCK)" '{ print ($12 + $13) / ticks }'
}

# load SECONDS [small]: what wrk's script says; see load.lua
load() {
    duration=$1
    shift
    wrk -t 2 -c 16 -d "${duration}s" -s "$here/load.lua" "http://127.0.0.1:$port" -- "$@" | sed -n 's/^load: //p'
}

# measure LOAD: prints ",requests per second,CPU us per request"; nothing when an answer was wrong
measure() {
    before=$(cpu_seconds)
    said=$(load "$seconds" "$1")
    after=$(cpu_seconds)
    case $said in *" unchecked=0 wrong=0 socket_errors=0 "*) ;; *) echo "$said" >&2; return ;; esac
    echo "$said" | sed 's/[a-z_]*=//g' | awk -v before="$before" -v after="$after" '{
        printf ",%d,%.2f", $6, (after - before) * 1e6 / $1 }'
}

# run NAME LIBRARY OPTION...: one line in the results: NAME, as `measure` of the small load, of all, resident KiB
run() {
    name=$1 library=$2
    shift 2
    LD_PRELOAD=$library "$program" -p 0 -j "$threads" -l 512K "$@" >"$scratch/out" 2>"$scratch/err" &
    server=$!
    sleep 1
    port=$(sed -n 's/.*127\.0\.0\.1:\([0-9]*\),.*/\1/p' "$scratch/out")
    [ -n "$port" ] || die "no server on $name: $(cat "$scratch/err")"
    load 1 all >/dev/null # connections, caches
    small=$(measure small)
    all=$(measure all)
    if [ -z "$small" ] || [ -z "$all" ]; then die "wrong answers on $name"; fi
    resident=$(sed -n 's/^VmRSS:[^0-9]*\([0-9]*\) kB/\1/p' "/proc/$server/status")
    kill "$server"
    wait "$server" || die "the server on $name did not end well: $(cat "$scratch/err")"
    server=
    echo "$name$small$all,$resident" >>"$scratch/results"
}

find_mallocs

round=1
while [ "$round" -le "$rounds" ]; do
    run memarena ""
    run malloc "" --malloc
    for entry in $mallocs; do
        run "${entry%%=*}" "${entry#*=}" --malloc
    done
    round=$((round + 1))
done

echo "$threads threads, 16 connections, median of $rounds rounds of $seconds s"
awk -F, '
    !($1 in runs) { order[++names] = $1 }
    { run = ++runs[$1]; for (column = 2; column <= 6; column++) value[$1, column, run] = $column }
    function median(name, column,    i, j, below) {
        for (i = 1; i <= runs[name]; i++) {
            below = 0
            for (j = 1; j <= runs[name]; j++)
                below += value[name, column, j] < value[name, column, i] || \
                    (value[name, column, j] == value[name, column, i] && j < i)
            if (below == int((runs[name] - 1) / 2)) return value[name, column, i]
        }
    }
    END {
        print "            small requests            the load of the test"
        print "allocator   per second  CPU us each   per second  CPU us each   resident MiB"
        for (n = 1; n <= names; n++)
            printf "%-10s %11d %12.1f %12d %12.1f %14.1f\n", order[n], median(order[n], 2), median(order[n], 3),
                median(order[n], 4), median(order[n], 5), median(order[n], 6) / 1024
    }' "$scratch/results"
