#!/bin/sh
# The whole benchmark, as `make bench` runs it: prints the tables and leaves raw CSV.
#
# usage: run.sh DIRECTORY-OF-THE-BENCH [DIRECTORY-FOR-RESULTS [options of memarena-bench...]]
set -eu

bench_directory=${1:?usage: run.sh DIRECTORY-OF-THE-BENCH [DIRECTORY-FOR-RESULTS [options...]]}
results=${2:-bench-results}
[ $# -lt 2 ] && shift || shift 2
here=$(dirname "$0")

mkdir -p "$results"
"$bench_directory/memarena-bench" --csv "$results/bench.csv" "$@"
"$here/instructions.sh" "$bench_directory" "$results/instructions.csv" || {
    [ $? -eq 77 ] || exit 1
}
index=$bench_directory/../examples/index/memarena-index
if [ -x "$index" ]; then
    echo
    "$here/../examples/index/compare.sh" "$index" >"$results/index.txt" || { cat "$results/index.txt" >&2; exit 1; }
    cat "$results/index.txt"
fi
echo
echo "Raw numbers: $results/bench.csv, $results/instructions.csv, $results/index.txt"
