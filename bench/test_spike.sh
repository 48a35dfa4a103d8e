#!/bin/sh
# Tests memarena-spike and spike.sh as programs: what stays in memory after a spike, and that all numbers are there. No time
# is looked at.
# usage: test_spike.sh PROGRAM
set -eu

program=$1
here=$(cd "$(dirname "$0")" && pwd)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

fail() {
    echo "FAILED: $*" >&2
    [ ! -s "$scratch/err" ] || sed 's/^/    /' "$scratch/err" >&2
    exit 1
}

# Wrong usage is told in one line, with exit status 2.
refused() {
    status=0
    "$@" >"$scratch/out" 2>"$scratch/err" || status=$?
    [ $status -eq 2 ] || fail "exit $status after: $*"
    [ "$(wc -l <"$scratch/out") $(wc -l <"$scratch/err")" = "0 1" ] || fail "not one line after: $*"
}

# 0.125 MiB for a request, 8 MiB in the spike; a sanitizer's own memory comes on top.
for way in keep fixed auto malloc; do
    "$program" --small $way >"$scratch/out" 2>"$scratch/err" || fail "$way"
    awk -F, -v way=$way '
        NF != 3 || $1 != NR - 1 || $3 !~ /^[0-9]+$/ { exit bad = 1 }
        { mib[$1] = $2 }
        END {
            if (bad || NR != 200) exit 1
            before = mib[39]; held = mib[60]; last = mib[199]
            if (way == "keep") exit !(held - before > 7 && last - before > 7)
            if (way == "fixed") exit !(held - before < 2 && last - before < 2)
            if (way == "auto") exit !(held - before > 7 && last - before < 2)
        }' "$scratch/out" || sanitized=$(grep -c -e __asan_init -e __tsan_init "$program" || true)
    [ "${sanitized-1}" -ne 0 ] || fail "$way prints $(cat "$scratch/out")"
done
for way in plain huge prefault; do
    "$program" --touch $way 8 >"$scratch/out" 2>"$scratch/err" || { [ $way = huge ] && continue; fail "--touch $way"; }
    grep -qxE "$way,8,[0-9.]+,[0-9.]+,[0-9.]+,[0-9]+,[0-9]+" "$scratch/out" || fail "--touch $way prints $(cat "$scratch/out")"
done

refused "$program"
refused "$program" nothing
refused "$program" keep more
refused "$program" --small
refused "$program" --touch plain
refused "$program" --touch plain 0
refused "$program" --touch plain 3x
refused "$program" --touch nothing 8
script=$here/spike.sh
refused "$script"
refused "$script" "$program"
refused "$script" "$scratch/nothing" "$scratch/results"
refused "$script" --turns 0 "$program" "$scratch/results"
refused "$script" --turns
refused "$script" --nonsense "$program" "$scratch/results"

MIMALLOC=$scratch/none.so JEMALLOC='' "$script" --quick "$program" "$scratch/results" >"$scratch/out" 2>"$scratch/err" ||
    fail "$script"
grep -qE "^mimalloc is skipped: ($scratch/none.so cannot be preloaded|.*sanitizer)" "$scratch/err" || fail "mimalloc is not skipped"
grep -q '^jemalloc is skipped: libjemalloc.so is not installed' "$scratch/err" || fail "jemalloc is not skipped"
cmp -s "$scratch/out" "$scratch/results/spike.md" || fail "what is printed is not the page"
head -n 1 "$scratch/results/spike.csv" | grep -q '^# machine: .*; command: .*spike.sh --quick' || fail "the CSV does not say where it is from"
[ "$(grep -cE '^(keep|fixed|auto|malloc),[0-9]+,-?[0-9.]+,[0-9]+$' "$scratch/results/spike.csv")" -eq 800 ] || fail "rows are missing"
[ "$(grep -cE '^\| (arena, [^|]+|glibc malloc) (\| -?[0-9.]+ ){5}\| [0-9.]+ [num]s \| [0-9.e+]+ \| [0-9.]+ [num]s \|$' "$scratch/out")" -eq 4 ] ||
    fail "the table: $(cat "$scratch/out")"
[ -z "$(command -v gnuplot)" ] || grep -q '</svg>' "$scratch/results/spike.svg" || fail "no curve"

# Medians of turns, from a program whose numbers are known: in memory 1, 3, 2; to give back 100, 300, 200 by way and turn.
cat >"$scratch/known" <<'END'
#!/bin/sh
case $1 in
--origin) echo '# machine: known; command: none' ;;
--touch) echo "$2,8,1.00,7.0,2.0,0,1" ;;
*)
    echo "$1" >>"${0%/*}/calls"
    case $1,$(grep -cx "$1" "${0%/*}/calls") in
    keep,1) n=1 ;; keep,2) n=3 ;; keep,3) n=2 ;; *) n=4 ;;
    esac
    awk -v n=$n 'BEGIN { for (r = 0; r < 200; r++) printf "%d,%d,%d\n", r, n, r == 45 ? 5000 * n : 100 * n }'
    ;;
esac
END
chmod +x "$scratch/known"
MIMALLOC='' JEMALLOC='' "$script" --turns 3 "$scratch/known" "$scratch/known-page" >"$scratch/out" 2>"$scratch/err" ||
    fail "the known program"
grep -qxF '| arena, keeps all (default) | 2.0 | 2.0 | 2.0 | 2.0 | 2.0 | 200 ns | 1 | 10 us |' "$scratch/out" || fail "known: $(cat "$scratch/out")"
grep -qxF '| glibc malloc | 4.0 | 4.0 | 4.0 | 4.0 | 4.0 | 400 ns | 2 | 20 us |' "$scratch/out" || fail "known: $(cat "$scratch/out")"
grep -qxF 'keep,199,2.00,200' "$scratch/known-page/spike.csv" || fail "the CSV of known numbers"

# A run that fails ends it, and leaves the old page.
cat >"$scratch/broken" <<'END'
#!/bin/sh
[ "$1" = --origin ]
END
chmod +x "$scratch/broken"
MIMALLOC='' JEMALLOC='' "$script" "$scratch/broken" "$scratch/known-page" >"$scratch/out" 2>&1 && fail "exit 0 after a failure"
grep -q 'keeps all' "$scratch/known-page/spike.md" || fail "the page of a run that failed"
echo "ok"
