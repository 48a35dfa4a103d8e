#!/bin/sh
# Instructions for one block, by difference: the loop over 2N blocks less the loop over N, divided by N. Refills are in
# it, as they are in a program; start-up and the first touch of memory cancel.
#
# usage: instructions.sh DIRECTORY-OF-THE-BENCH [CSV-FILE]
#
# With hardware counters, perf counts the real program; where there are none (on most virtual machines), callgrind
# counts memarena-bench-unwatched, whose library does not notice Valgrind. Without either it says so and exits with 77.
set -eu

bench_directory=${1:?usage: instructions.sh DIRECTORY-OF-THE-BENCH [CSV-FILE]}
csv=${2:-}
blocks=1000000
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

has_perf() {
    command -v perf >/dev/null 2>&1 && perf stat -x, -e instructions:u true 2>"$work/perf" &&
        grep -q '^[0-9][0-9]*,' "$work/perf"
}

# count_TOOL VARIANT BLOCKS: prints the instructions
count_perf() { # a CPU with two kinds of cores gives one line for each kind
    perf stat -x, -o "$work/perf" -e instructions:u "$bench_directory/memarena-bench" --loop "$1" "$2"
    awk -F, '/^[0-9]/ { sum += $1 } END { printf "%.0f\n", sum }' "$work/perf"
}

count_callgrind() { # only what runs inside the loop's function, and what that calls
    valgrind --tool=callgrind --callgrind-out-file=/dev/null --collect-atstart=no --toggle-collect='loop_*' \
        "$bench_directory/memarena-bench-unwatched" --loop "$1" "$2" 2>"$work/callgrind" ||
        { cat "$work/callgrind" >&2; return 1; }
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
    echo "variant,instructions_per_block"
} >"$csv"
for variant in limit_8 memarena_new_value limit_16 memarena_alloc_16 limit_64 memarena_alloc_64 \
    limit_mixed memarena_alloc_mixed; do
    once=$(count_$tool $variant $blocks)
    twice=$(count_$tool $variant $((2 * blocks)))
    each=$(awk "BEGIN { printf \"%.2f\", ($twice - $once) / $blocks }")
    printf '  %-34s %7s\n' $variant "$each"
    [ -z "$csv" ] || echo "$variant,$each" >>"$csv"
done
