#!/bin/sh
# What a server keeps in memory after a spike: memarena-spike in each way, in turns, each turn a process of its own.
# Leaves spike.md, which it also prints, spike.csv and, where gnuplot is, spike.svg in RESULTS.
#
# usage: spike.sh [--quick] [--turns N] PROGRAM RESULTS
#   --quick    a smoke run; its numbers mean little
#   --turns N  processes for each way, instead of 9
# environment: MIMALLOC, JEMALLOC (the libraries to preload; default: those that the loader knows)
# exit: 0 done; 1 a run failed; 2 wrong usage
set -eu

refuse() {
    echo "spike.sh: $*; usage: spike.sh [--quick] [--turns N] PROGRAM RESULTS" >&2
    exit 2
}

command="$0 $*" turns=9 small='' touched=512
while [ $# -gt 0 ]; do
    case $1 in
    --quick) small=--small turns=1 touched=16 ;;
    --turns)
        [ $# -gt 1 ] || refuse "$1 takes a value"
        turns=$2
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

# preload NAME PATH: adds it to the ways, or says why not. (The loader only warns of one that it cannot take.)
preload() {
    if [ -z "$2" ]; then
        echo "$1 is skipped: lib$1.so is not installed" >&2
    elif grep -q -e __asan_init -e __tsan_init "$program"; then
        echo "$1 is skipped: the program has a sanitizer that brings a malloc of its own" >&2
    elif [ -n "$(LD_PRELOAD=$2 "$program" --origin x 2>&1 >/dev/null)" ]; then
        echo "$1 is skipped: $2 cannot be preloaded" >&2
    else
        ways="$ways $1=$2"
    fi
}

ways="keep fixed auto malloc"
preload mimalloc "${MIMALLOC-$(find_library libmimalloc)}"
preload jemalloc "${JEMALLOC-$(find_library libjemalloc)}"

# turn,way,request,mib,ns
turn=1
while [ "$turn" -le "$turns" ]; do
    for way in $ways; do
        library='' how=$way
        case $way in
        *=*) library=${way#*=} way=${way%%=*} how=malloc ;;
        esac
        # shellcheck disable=SC2086
        LD_PRELOAD=$library "$program" $small "$how" >"$scratch/run"
        sed "s/^/$turn,$way,/" "$scratch/run"
    done
    turn=$((turn + 1))
done >"$scratch/turns"

# The first touch, the median of the turns by the time of the first write.
for way in plain huge prefault; do
    turn=1
    while [ "$turn" -le "$turns" ]; do
        "$program" --touch $way $touched || echo "$way is skipped" >&2
        turn=$((turn + 1))
    done | sort -t, -k4,4n >"$scratch/touched"
    count=$(wc -l <"$scratch/touched")
    [ "$count" -eq 0 ] || sed -n "$(((count + 1) / 2))p" "$scratch/touched"
done >"$scratch/touch"

# shellcheck disable=SC2086
"$program" --origin $command >"$scratch/origin"
cp "$scratch/origin" "$results/spike.csv"
{
    echo "# Memory after a spike"
    echo
    echo "Made by \`make bench-spike\`; [bench/README.md](../../bench/README.md#spike) says what is measured and how."
    echo "A server's requests take 2 MiB in small blocks each and give all back; ten of them, 40 to 49, take 128 MiB. In memory, in MiB,"
    echo "at the end of a request, more than before the first; and how long it takes to give a request's blocks back: one reset, or"
    echo "\`free\` of each (median of the requests of 2 MiB; the longest of all, the median of the turns)."
    echo
    echo "\`$(sed 's/^# //; s/; command:.*//' "$scratch/origin")\`"
    echo
    awk -F, -v csv="$results/spike.csv" -v curve="$scratch/curve" '
        function median(values, count,    i, j, held) { # sorts; the lower one of two
            for (i = 2; i <= count; i++) {
                held = values[i]
                for (j = i - 1; j > 0 && values[j] > held; j--) values[j + 1] = values[j]
                values[j + 1] = held
            }
            return values[int((count + 1) / 2)]
        }
        function memory(way, request,    t, list) {
            for (t = 1; t <= turns; t++) list[t] = mib[t, way, request]
            return median(list, turns)
        }
        function time(ns) { return ns < 1e3 ? sprintf("%.0f ns", ns) : ns < 1e6 ? sprintf("%.3g us", ns / 1e3) : sprintf("%.3g ms", ns / 1e6) }
        BEGIN {
            title["keep"] = "arena, keeps all (default)"; title["fixed"] = "arena, `retain_bytes` 4 MiB"
            title["auto"] = "arena, `MEMARENA_RETAIN_AUTO`"; title["malloc"] = "glibc malloc"
        }
        {
            if (!($2 in seen)) { seen[$2] = 1; order[++names] = $2 }
            mib[$1, $2, $3] = $4; ns[$1, $2, $3] = $5; turns = $1; if ($3 > last) last = $3
        }
        END {
            print "way,request,mib,median_ns" >>csv
            print "| way | before | spike | request 60 | request 100 | at the end | to give back | x default | longest |"
            print "|---|---:|---:|---:|---:|---:|---:|---:|---:|"
            for (n = 1; n <= names; n++) {
                way = order[n]
                for (r = 0; r <= last; r++) {
                    split("", list)
                    for (t = 1; t <= turns; t++) list[t] = ns[t, way, r]
                    at = memory(way, r)
                    printf "%s,%d,%.2f,%.0f\n", way, r, at, median(list, turns) >>csv
                    printf "%d %.2f\n", r, at >>(curve "." way)
                }
                split("", list); split("", longest); count = 0
                for (t = 1; t <= turns; t++) {
                    longest[t] = 0
                    for (r = 0; r <= last; r++) {
                        if (ns[t, way, r] > longest[t]) longest[t] = ns[t, way, r]
                        if (r >= 10 && (r < 40 || r >= 50)) list[++count] = ns[t, way, r]
                    }
                }
                middle = median(list, count)
                if (n == 1) unit = middle
                printf "| %s | %.1f | %.1f | %.1f | %.1f | %.1f | %s | %.3g | %s |\n", way in title ? title[way] : way,
                    memory(way, 39), memory(way, 49), memory(way, 60), memory(way, 100), memory(way, last), time(middle),
                    middle / unit, time(median(longest, turns))
            }
        }' "$scratch/turns"
    if [ -x "$(command -v gnuplot)" ]; then
        echo
        echo "![In memory, request by request](spike.svg)"
    fi
    echo
    echo "## The first touch"
    echo
    echo "An arena of $touched MiB: to create it, to write one byte to each 4 KiB of it for the first and for the second time, and what is in"
    echo "memory after creation and after one byte in each MiB was written."
    echo
    awk -F, '
        BEGIN {
            print "| flags | create | first write, each 4 KiB | second | MiB, created | MiB, sparse |"
            print "|---|---:|---:|---:|---:|---:|"
            title["plain"] = "none"; title["huge"] = "`MEMARENA_HUGE_PAGES`"; title["prefault"] = "`MEMARENA_PREFAULT`"
        }
        { printf "| %s | %s ms | %.0f ns | %.0f ns | %d | %d |\n", title[$1], $3, $4, $5, $6, $7 }' "$scratch/touch"
} >"$scratch/page"

if [ -x "$(command -v gnuplot)" ]; then
    {
        cat <<'END'
set terminal svg size 820,480 noenhanced font 'sans,12' background '#ffffff'
set title "In memory after each request, the spike at 40 to 49"
set xlabel "request"
set ylabel "MiB"
set logscale y
set yrange [1:200]
set border 3 lc rgb '#555555'
set tics nomirror
set grid lc rgb '#e0e0e0'
set key outside right
END
        printf "set output '%s'\nplot " "$results/spike.svg"
        color=0 separator=''
        for way in $ways; do
            way=${way%%=*}
            color=$((color + 1))
            rgb=$(echo '#7f8c8d #2c3e50 #c0392b #2980b9 #27ae60 #8e44ad' | cut -d' ' -f$color)
            title=$way
            [ "$way" != malloc ] || title='glibc'
            printf "%s'%s.%s' with lines lw 2 lc rgb '%s' title '%s'" "$separator" "$scratch/curve" "$way" "$rgb" "$title"
            separator=', '
        done
        echo
    } | gnuplot
fi
cat "$scratch/page"
mv "$scratch/page" "$results/spike.md"
