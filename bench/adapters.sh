#!/bin/sh
# What libraries gain from an arena: each job of memarena-bench-adapters in five ways, in turns, each turn a process of
# its own. Leaves adapters.md, which it also prints, and adapters.csv in RESULTS.
#
# usage: adapters.sh [--quick] [--turns N] [--only JOB] PROGRAM RESULTS
#   --quick     a smoke run of seconds; its numbers mean little
#   --turns N   processes for each job and way, instead of 7
#   --only JOB  jobs whose name begins so
# environment: MIMALLOC, JEMALLOC (the libraries to preload; default: those that the loader knows)
# exit: 0 done; 1 a job failed, or there is none; 2 wrong usage
set -eu

refuse() {
    echo "adapters.sh: $*; usage: adapters.sh [--quick] [--turns N] [--only JOB] PROGRAM RESULTS" >&2
    exit 2
}

command="$0 $*" turns=7 quick='' only=''
while [ $# -gt 0 ]; do
    case $1 in
    --quick) quick="--rounds 1" turns=1 ;;
    --turns | --only)
        [ $# -gt 1 ] || refuse "$1 takes a value"
        [ "$1" = --only ] && only=$2 || turns=$2
        shift
        ;;
    -*) refuse "no option $1" ;;
    *) break ;;
    esac
    shift
done
case $turns in
*[!0-9]* | '' | 0*) refuse "--turns takes a positive number, not '$turns'" ;;
esac
[ $# = 2 ] || refuse "a program and a directory are needed"
program=$1 results=$2
[ -x "$program" ] || refuse "'$program' is no program"
mkdir -p "$results"

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
trap 'exit 1' HUP INT TERM

# The path of a shared library; nothing if it is not installed.
find_library() {
    PATH=$PATH:/sbin:/usr/sbin ldconfig -p 2>/dev/null | awk -v name="$1" 'index($1, name ".so") == 1 { print $NF; exit }'
}

# Whether the loader takes it. It only warns when it does not, and the run would quietly be another one of glibc.
can_preload() {
    [ -z "$(LD_PRELOAD=$1 "$program" --help 2>&1 >/dev/null)" ]
}

# Whether a sanitizer has brought a malloc of its own.
has_malloc() {
    grep -q -e __asan_init -e __tsan_init "$program"
}

# preload NAME PATH: adds it to the ways, or says why not.
preload() {
    if [ -z "$2" ]; then
        echo "$1 is skipped: lib$1.so is not installed" >&2
    elif has_malloc; then
        echo "$1 is skipped: the program has a sanitizer that brings a malloc of its own" >&2
    elif ! can_preload "$2"; then
        echo "$1 is skipped: $2 cannot be preloaded" >&2
    else
        ways="$ways $1=$2"
    fi
}

ways=malloc
preload mimalloc "${MIMALLOC-$(find_library libmimalloc)}"
preload jemalloc "${JEMALLOC-$(find_library libjemalloc)}"
ways="$ways arena-free arena"

"$program" --list >"$scratch/jobs"
awk -F'\t' -v only="$only" 'index($1, only) == 1' "$scratch/jobs" >"$scratch/chosen"
[ -s "$scratch/chosen" ] || { echo "adapters.sh: no job begins with '$only'" >&2; exit 1; }

# One line for each turn: turn,name,way,ns,jobs; and one with the bytes: 0,name,asked,most,held.
measure() {
    "$program" --bytes "$1" >"$scratch/line"
    "$program" --held "$1" >>"$scratch/line"
    awk -F, -v OFS=, 'NR == 1 { asked = $3; most = $4 } NR == 2 { print 0, $1, asked, most, $2 }' "$scratch/line"
    turn=1
    while [ "$turn" -le "$turns" ]; do
        for way in $ways; do
            library='' how=$way
            case $way in
            *=*) library=${way#*=} way=${way%%=*} how=malloc ;;
            esac
            # shellcheck disable=SC2086
            LD_PRELOAD=$library "$program" $quick "$1" "$how" >"$scratch/line"
            awk -F, -v OFS=, -v turn="$turn" -v way="$way" '{ print turn, $1, way, $3, $4 }' "$scratch/line"
        done
        turn=$((turn + 1))
    done
}

while read -r job _; do
    echo "$job" >&2
    measure "$job"
done <"$scratch/chosen" >"$scratch/turns"

# shellcheck disable=SC2086
"$program" --origin $command >"$scratch/origin"
cp "$scratch/origin" "$results/adapters.csv"
{
    echo "# What libraries gain from an arena"
    echo
    echo "Made by \`make bench-adapters\`; [bench/README.md](../../bench/README.md#adapters) says what is measured and how."
    echo "One job takes so long with glibc's malloc; the others, beside it, take so many times as long: less is better."
    echo "\`arena, cleaned up\`: the job is in a scope, but the library frees as always; \`arena\`: it does not."
    echo "\`asked / most\`: all bytes that a job asks for, by the most that it has at once; \`held / most\`: what its scope holds"
    echo "at the end, by the same. An arena pays so many times the memory; malloc pays for its headers and gaps, too."
    echo
    echo "\`$(sed 's/^# //; s/; command:.*//' "$scratch/origin")\`"
    echo
    awk -F, -v csv="$results/adapters.csv" '
        function median(values, count,    i, j, held) { # of a copy that is sorted here; the lower one of two
            for (i = 2; i <= count; i++) {
                held = values[i]
                for (j = i - 1; j > 0 && values[j] > held; j--) values[j + 1] = values[j]
                values[j + 1] = held
            }
            return values[int((count + 1) / 2)]
        }
        function short(value) { return sprintf(value < 9.995 ? "%.2f" : "%.0f", value) }
        function time(ns) { return ns < 1e6 ? sprintf("%.3g us", ns / 1e3) : sprintf("%.3g ms", ns / 1e6) }
        function one(name, way,    i, count, ns, ratio) {
            for (i = 1; (i, name, way) in taken; i++) {
                ns[i] = taken[i, name, way]
                ratio[i] = ns[i] / taken[i, name, "malloc"]
            }
            if ((count = i - 1) == 0) return "-"
            ratio[0] = median(ratio, count)
            ns[0] = median(ns, count)
            printf "%s,%s,%.1f,%.1f,%.1f,%.4g,%d,%s\n", name, way, ns[0], ns[1], ns[count], ratio[0], jobs[name, way],
                way == "arena" ? sprintf("%.3f,%.3f", asked[name], held[name]) : "," >>csv
            return way == "malloc" ? time(ns[0]) : short(ratio[0])
        }
        BEGIN {
            print "job,way,median_ns,lowest_ns,highest_ns,x_glibc,jobs,asked_over_most,held_over_most" >>csv
            print "| job | what one does | glibc malloc | mimalloc | jemalloc | arena, cleaned up | arena | asked / most | held / most |"
            print "|---|---|---:|---:|---:|---:|---:|---:|---:|"
        }
        FILENAME == ARGV[1] { split($0, field, "\t"); work[field[1]] = field[2]; next }
        $1 == 0 { order[++names] = $2; asked[$2] = $3 / $4; held[$2] = $5 / $4; next }
        { taken[$1, $2, $3] = $4; jobs[$2, $3] += $5 }
        END {
            for (n = 1; n <= names; n++) {
                name = order[n]
                printf "| %s | %s | %s", name, work[name], one(name, "malloc")
                split("mimalloc jemalloc arena-free arena", others, " ")
                for (k = 1; k <= 4; k++) printf " | %s", one(name, others[k])
                printf " | %s | %s |\n", short(asked[name]), short(held[name])
            }
        }' "$scratch/chosen" "$scratch/turns"
} >"$scratch/page"
mv "$scratch/page" "$results/adapters.md"
cat "$results/adapters.md"
