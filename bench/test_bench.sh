#!/bin/sh
# Tests the benchmark as a program: its numbers are not looked at, only that there are all of them.
# usage: test_bench.sh DIRECTORY-OF-THE-BENCH
set -eu

bench_directory=$1
here=$(cd "$(dirname "$0")" && pwd)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

fail() {
    echo "FAILED: $*" >&2
    exit 1
}

"$bench_directory/memarena-bench" --quick --csv "$scratch/bench.csv" >"$scratch/out" 2>&1 || fail "$(cat "$scratch/out")"
grep -E "gone|left out: its process|ran out" "$scratch/out" && fail "a peer did not play to the end"
cases=$("$bench_directory/memarena-bench" --help | sed -n '/--only/,/--rounds/p' | grep -o '[a-z]*-*[a-z0-9]*' | sort -u)
for case in one-8 one-16 one-64 one-128 one-mixed shared-8 shared-mixed crowd handoff bulk request trees latency-8 \
    latency-mixed heap cold held fill reset reset-lanes life same-address; do
    echo "$cases" | grep -qx -e "$case" || fail "--help does not name $case"
    grep -q "^$case," "$scratch/bench.csv" || fail "no row of $case"
done
rows=$(grep -c '^one-8,.*,allocate,' "$scratch/bench.csv")
peers=$("$bench_directory/memarena-bench" --list | wc -l)
[ "$rows" -ge $((peers - 2)) ] || fail "$rows rows for $peers peers"
awk -F, '/^one-8,limit loop,1,allocate/ && $9 != 1 { exit 1 }' "$scratch/bench.csv" || fail "the limit is not its own unit"

for wrong in --rounds "--rounds 0" "--only" "--nonsense"; do
    # shellcheck disable=SC2086
    "$bench_directory/memarena-bench" $wrong >"$scratch/out" 2>"$scratch/err" && fail "exit 0 after $wrong"
    [ -s "$scratch/err" ] || fail "no word after $wrong"
done
"$bench_directory/memarena-bench" --only nothing --quick >"$scratch/out" 2>&1 && fail "exit 0 without a case"

command -v python3 >/dev/null || { echo "no python3: the report is not tested"; exit 0; }
"$here/report.py" "$scratch" "$scratch/page" || fail "the report"
grep -q '^| memarena |' "$scratch/page/report.md" || fail "no row of memarena in the report"
if command -v gnuplot >/dev/null; then
    for chart in "$scratch"/page/*.svg; do
        python3 -c 'import sys, xml.dom.minidom as m; m.parse(sys.argv[1])' "$chart" || fail "$chart is no SVG"
    done
    grep -o '([a-z]*\.svg)' "$scratch/page/report.md" | tr -d '()' | while read -r chart; do
        [ -s "$scratch/page/$chart" ] || fail "no $chart"
    done
fi
mkdir "$scratch/empty"
"$here/report.py" "$scratch/empty" >"$scratch/out" 2>&1 && fail "a report of nothing"
"$here/report.py" >"$scratch/out" 2>&1 && fail "a report without arguments"
echo "$rows rows of one-8, $(wc -l <"$scratch/bench.csv") in all"
