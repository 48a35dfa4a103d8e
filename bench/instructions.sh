#!/bin/sh
# Instructions for one block, by difference: the loop over 2N blocks less the loop over N, divided by N. Refills are in
# it, as they are in a program; start-up and the first touch of memory cancel.
#
# usage: instructions.sh DIRECTORY-OF-THE-BENCH [CSV-FILE]
#
# With hardware counters, perf counts the real program; where there are none (on most virtual machines), callgrind does.
# Without either tool it says so and exits with 77.
set -eu

bench_directory=${1:?usage: instructions.sh DIRECTORY-OF-THE-BENCH [CSV-FILE]}
csv=${2:-}
blocks=200000
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

has_perf() {
    command -v perf >/dev/null 2>&1 && perf stat -x, -e instructions:u true 2>"$work/perf" &&
        grep -q '^[0-9][0-9]*,' "$work/perf"
}

# count_TOOL PROGRAM KIND BLOCKS: prints the instructions, or nothing where the peer cannot be counted
count_perf() { # a CPU with two kinds of cores gives one line for each kind
    perf stat -x, -o "$work/perf" -e instructions:u "$1" loop 1 "$2" "$3" 2>/dev/null || return 0
    awk -F, '/^[0-9]/ { sum += $1 } END { printf "%.0f\n", sum }' "$work/perf"
}

count_callgrind() { # only what runs inside the loop's function, and what that calls
    valgrind --tool=callgrind --callgrind-out-file=/dev/null --collect-atstart=no --toggle-collect='loop_*' \
        "$1" loop 1 "$2" "$3" 2>"$work/callgrind" || return 0
    sed -n 's/.*Collected *: *\([0-9][0-9]*\).*/\1/p' "$work/callgrind"
}

if has_perf; then
    tool=perf
elif command -v valgrind >/dev/null 2>&1; then
    tool=callgrind
else
    echo "instructions.sh: neither hardware counters nor valgrind" >&2
    exit 77
fi

echo
echo "instructions: for one block, its test, its store and the loop, counted with $tool"
[ -z "$csv" ] || {
    echo "# instructions for one block, counted with $tool over $blocks blocks; date: $(date -u +%Y-%m-%dT%H:%M:%SZ)"
    echo "peer,kind,instructions_per_block"
} >"$csv"

"$bench_directory/memarena-bench" --list >"$work/peers"
tab=$(printf '\t')
while IFS=$tab read -r file title; do
    program=$bench_directory/peers/$file kinds=8
    case $file in
    memarena-peer-limit | memarena-peer-memarena) kinds="8 16 64 128 mixed" ;;
    memarena-peer-memarena-per-cpu*) [ $tool = perf ] || continue ;; # Valgrind has no restartable sequences
    esac
    for kind in $kinds; do
        once=$(count_$tool "$program" "$kind" $blocks)
        twice=$(count_$tool "$program" "$kind" $((2 * blocks)))
        if [ -z "$once" ] || [ -z "$twice" ]; then
            echo "  ($title cannot be counted)"
            continue
        fi
        each=$(awk "BEGIN { printf \"%.2f\", ($twice - $once) / $blocks }")
        printf '  %-28s %-6s %8s\n' "$title" "$kind" "$each"
        [ -z "$csv" ] || printf '"%s",%s,%s\n' "$title" "$kind" "$each" >>"$csv"
    done
done <"$work/peers"
