#!/bin/sh
# Tests memarena-bench-adapters and adapters.sh as programs: each job does what it should in each way, and all numbers
# are there. No time is looked at.
# usage: test_adapters.sh PROGRAM
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

"$program" --list >"$scratch/list" 2>"$scratch/err" || fail "--list"
jobs=$(cut -f1 "$scratch/list")
[ -n "$jobs" ] || { echo "skipped: none of the libraries is here"; exit 77; }
[ "$(awk -F'\t' 'NF != 2 || $2 == ""' "$scratch/list" | wc -l)" -eq 0 ] || fail "a job that says nothing of its work"

# The program itself compares what a job made with what it should have made.
for job in $jobs; do
    for how in malloc arena arena-free; do
        "$program" --rounds 1 "$job" $how >"$scratch/out" 2>"$scratch/err" || fail "$job $how"
        grep -qxE "$job,$how,[0-9]+\.[0-9],[1-9][0-9]*" "$scratch/out" || fail "$job $how prints $(cat "$scratch/out")"
    done
    # A hook that is not called counts nothing, or nothing is in the scope; what is there is what was asked for, but for
    # alignment and a prefix of 16 bytes. A tenth, as Lua's tables differ between two states.
    "$program" --bytes "$job" >"$scratch/out" 2>"$scratch/err" || fail "--bytes $job"
    "$program" --held "$job" >>"$scratch/out" 2>"$scratch/err" || fail "--held $job"
    awk -F, -v job="$job" '
        NR == 1 { ok = NF == 4 && $1 == job && $2 > 0 && $4 > 0 && $3 >= $4; blocks = $2; asked = $3; most = $4 }
        NR == 2 { ok = ok && NF == 2 && $1 == job && $2 >= 0.9 * most && $2 <= 1.1 * asked + 32 * blocks }
        job ~ /^zlib/ { ok = ok && asked == most && asked <= $NF } # nothing grows, nothing is freed before the end
        END { exit !(ok && NR == 2) }' "$scratch/out" || fail "--bytes and --held $job print $(cat "$scratch/out")"
done

some=$(echo "$jobs" | head -n 1)
"$program" --help >"$scratch/out" 2>"$scratch/err" || fail "--help"
grep -q '^usage' "$scratch/out" || fail "--help does not tell the usage"
refused "$program"
refused "$program" "$some"
refused "$program" "$some" somewhere
refused "$program" nothing malloc
refused "$program" "$some" malloc more
refused "$program" --rounds 0 "$some" malloc
refused "$program" --rounds -1 "$some" malloc
refused "$program" --rounds 3x "$some" malloc
refused "$program" --rounds 1
refused "$program" --bytes
refused "$program" --bytes nothing
refused "$program" --held
refused "$program" --held nothing
refused "$program" --nonsense
script=$here/adapters.sh
refused "$script"
refused "$script" "$program"
refused "$script" "$scratch/nothing" "$scratch/results"
refused "$script" --turns 0 "$program" "$scratch/results"
refused "$script" --turns
refused "$script" --nonsense "$program" "$scratch/results"

# All jobs, without the other mallocs: each is named, and its column is empty.
MIMALLOC=$scratch/none.so JEMALLOC='' "$script" --quick "$program" "$scratch/results" >"$scratch/out" 2>"$scratch/err" ||
    fail "$script"
grep -qE "^mimalloc is skipped: ($scratch/none.so cannot be preloaded|.*sanitizer)" "$scratch/err" || fail "mimalloc is not skipped"
grep -q '^jemalloc is skipped: libjemalloc.so is not installed' "$scratch/err" || fail "jemalloc is not skipped"
cmp -s "$scratch/out" "$scratch/results/adapters.md" || fail "what is printed is not the page"
csv=$scratch/results/adapters.csv
head -n 1 "$csv" | grep -q '^# machine: .*; command: .*adapters.sh --quick' || fail "the CSV does not say where it is from"
for job in $jobs; do
    grep -qE "^\| $job \| [^|]+ \| [1-9][0-9.]* [um]s \| - \| - \| [0-9.]+ \| [0-9.]+ \| [1-9][0-9.]+ \| [0-9.]+ \|$" "$scratch/out" ||
        fail "no row of $job in the table"
    for how in malloc arena-free arena; do
        grep -qE "^$job,$how,([0-9.]+,){4}[1-9][0-9]*,[0-9.]*,[0-9.]*$" "$csv" || fail "no row of $job,$how in the CSV"
    done
done
[ "$(grep -c 'malloc,' "$csv")" -eq "$(echo "$jobs" | wc -l)" ] || fail "rows of a malloc that was skipped"

# One job, with those that are here, in two turns.
"$script" --quick --turns 2 --only "$some" "$program" "$scratch/one" >"$scratch/out" 2>"$scratch/err" || fail "--only"
for name in mimalloc jemalloc; do
    skipped=$(grep -c "^$name is skipped" "$scratch/err" || true)
    [ "$(grep -c "^$some,$name," "$scratch/one/adapters.csv" || true)" -eq $((1 - skipped)) ] || fail "$name"
done

# Medians of turns, and of the ratios of each turn: from a program whose times are known.
cat >"$scratch/known" <<'END'
#!/bin/sh
case $1 in
--list) printf 'job\twork\n' ;;
--bytes) echo job,1,30,20 ;;
--held) echo job,40 ;;
--origin) echo '# machine: known; command: none' ;;
job)
    echo $2 >>"${0%/*}/calls"
    set -- "$2" $(grep -cx "$2" "${0%/*}/calls")
    case $1,$2 in
    malloc,1) ns=30000 ;; malloc,2) ns=10000 ;; malloc,3) ns=20000 ;;
    arena,1) ns=3000 ;; arena,2) ns=4000 ;; arena,3) ns=5000 ;;
    *) ns=20000 ;;
    esac
    echo job,$1,$ns.0,7
    ;;
esac
END
chmod +x "$scratch/known"
MIMALLOC='' JEMALLOC='' "$script" --turns 3 "$scratch/known" "$scratch/known-page" >"$scratch/out" 2>"$scratch/err" ||
    fail "the known program"
for row in 'job,malloc,20000.0,10000.0,30000.0,1,21,,' 'job,arena-free,20000.0,20000.0,20000.0,1,21,,' \
    'job,arena,4000.0,3000.0,5000.0,0.25,21,1.500,2.000'; do
    grep -qxF "$row" "$scratch/known-page/adapters.csv" || fail "no $row in $(cat "$scratch/known-page/adapters.csv")"
done
grep -qxF '| job | work | 20 us | - | - | 1.00 | 0.25 | 1.50 | 2.00 |' "$scratch/out" || fail "the table of known times"
[ "$(tr '\n' ' ' <"$scratch/calls")" = "$(printf '%.0smalloc arena-free arena ' 1 2 3)" ] ||
    fail "the ways do not take turns: $(tr '\n' ' ' <"$scratch/calls")"

# A job that fails ends it, and leaves the old page.
cat >"$scratch/broken" <<'END'
#!/bin/sh
[ "$1" = --list ] && { printf 'job\twork\n'; exit 0; }
[ "$1" = --bytes ] && { echo job,1,1,1; exit 0; }
[ "$1" = --held ] && { echo job,1; exit 0; }
[ "$1" != --rounds ] || exit 1
END
chmod +x "$scratch/broken"
cp -r "$scratch/one" "$scratch/kept"
"$script" --quick "$scratch/broken" "$scratch/one" >"$scratch/out" 2>&1 && fail "exit 0 after a job that failed"
cmp -s "$scratch/one/adapters.md" "$scratch/kept/adapters.md" || fail "a page of a run that failed"
"$script" --quick --only nothing "$program" "$scratch/one" >"$scratch/out" 2>&1 && fail "exit 0 without a job"
: >"$scratch/err"
echo "$(echo "$jobs" | wc -l) jobs in 3 ways"
