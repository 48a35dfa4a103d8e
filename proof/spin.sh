#!/bin/sh
# The models hold, and every planted bug is found.
# usage: spin.sh [--long]
#
# One line for each run: what, states, seconds. A run that should hold must have seen all states; a line of a model that
# no such run reaches is a failure, too.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
. "$here/../tests/tools/shell.sh"
compiler=${CC:-cc}
need spin "$compiler"
long=false
[ "${1:-}" != --long ] || long=true

# search MODEL CHECK FLAG...: CHECK is safety, loops (no cycle at all: each call and each reset ends), or loops-only (as
# loops, with assertions off). Leaves what pan says in $scratch/output.
search() {
    model=$1 check=$2
    shift 2
    (
        cd "$scratch"
        rm -f pan pan.* ./*.trail
        cp "$here/$model.pml" .
        spin -a "$@" "$model.pml" >spin.log 2>&1 || { cat spin.log; exit 1; }
        case $check in
        safety) define=-DSAFETY options= ;;
        loops) define=-DNP options=-l ;;
        loops-only) define=-DNP options="-l -A" ;;
        esac
        "$compiler" -O1 -w "$define" -DMEMLIM=6000 -o pan pan.c
        ./pan -m100000 $options
    ) >"$scratch/output" 2>&1 || echo "exit $?" >>"$scratch/output"
}

# say WHAT FLAG...: the line of a run.
say() {
    what=$1
    shift
    states=$(sed -n 's/^ *\([0-9.e+]*\) states, stored.*/\1/p' "$scratch/output")
    seconds=$(sed -n 's/^pan: elapsed time \([0-9.e+-]*\) seconds/\1/p' "$scratch/output")
    printf '  %-44s %10s states %6s s  %s\n' "$what" "${states:-?}" "${seconds:-?}" "$*"
}

complete() {
    grep -q 'errors: 0$' "$scratch/output" && grep -q 'states, stored' "$scratch/output" &&
        ! grep -Eq 'max search depth too small|out of memory|MEMLIM|not completed|^exit' "$scratch/output"
}

# holds WHAT MODEL CHECK FLAG...
holds() {
    what=$1
    shift
    search "$@"
    model=$1 check=$2
    shift 2
    say "$what" "$@"
    complete || complain "$what" "$scratch/output"
    [ "$check" = safety ] || return 0
    grep -o "$model.pml:[0-9]*, state.*" "$scratch/output" | sed 's/, state.*//' | sort -u >>"$scratch/unreached.$model"
    echo >>"$scratch/runs.$model"
}

# finds WHAT MESSAGE MODEL CHECK FLAG...: a planted bug, and what pan should say of it.
finds() {
    what=$1 message=$2
    shift 2
    search "$@"
    shift 2
    say "$what" "$@"
    grep -Eq "^pan:1: ($message)" "$scratch/output" || complain "not found: $what" "$scratch/output"
}

echo "hold:"
direct="-DLANES=0"
holds "two lanes, then one fills the arena" arena safety -DRESETS=1 -DFILL=1
holds "a lane, a thread without, two resets" arena safety -DLANES=1 -DRESETS=2 -DBLOCKS_0=1
holds "two threads without lanes" arena safety $direct -DRESETS=2
holds "the tag wraps" arena safety -DTAG_BITS=2 -DFIRST=3 -DLANES=1 -DRESETS=2 -DBLOCKS_0=1 -DAWAKE=2
holds "a shard and the frontier" arena safety -DSOURCES=2 -DGRAINS=2 -DRESETS=1 -DFILL=1
holds "the same, two resets" arena safety -DSOURCES=2 -DGRAINS=2 -DLANES=1 -DRESETS=2 -DBLOCKS_0=1
holds "blocks of one and two grains" arena safety -DSIZE_MAX=2 -DGRAINS=4 -DRESETS=0 -DFILL=1
holds "an owner vanishes in the slow road" arena safety -DLOST=1 -DRESETS=0 -DFILL=1
holds "two resets at once" arena safety -DRESETTERS=2 -DRESETS=2 $direct -DBLOCKS=1
asleep="-DTAG_BITS=2 $direct -DBLOCKS_0=1 -DGRAINS=2 -DRESETS=4"
holds "a claimant sleeps, but not through all tags" arena safety $asleep -DBLOCKS=3 -DAWAKE=2
holds "a fork cuts a reset" arena safety -DCUT=1 -DRESETS=1 -DBLOCKS=2 -DBLOCKS_0=1
holds "no call and no reset goes on forever" arena loops -DRESETS=1 -DBLOCKS_0=1
holds "nor without lanes" arena loops $direct -DRESETS=2 -DBLOCKS_0=1
holds "extents: one holder, a plain block" extents safety
holds "extents: two holders" extents safety -DHOLDERS=2 -DOPERATIONS=3
holds "extents: the tag wraps" extents safety -DHOLDERS=2 -DOPERATIONS=2 -DRESETS=4
holds "extents: no take goes on forever" extents loops -DHOLDERS=2 -DOPERATIONS=2
if $long; then
    holds "two lanes, two blocks each, two resets" arena safety -DRESETS=2
    holds "blocks of two sizes and a reset" arena safety -DSIZE_MAX=2 -DRESETS=1 -DBLOCKS_0=1
    holds "an owner vanishes, and a reset" arena safety -DLOST=1 -DRESETS=1 -DBLOCKS=1
    holds "one thread allocates, seven resets" arena safety -DSOURCES=2 -DGRAINS=2 $direct -DRESETS=7 -DBLOCKS=1
    holds "a claimant sleeps through all tags: no overlap" arena safety $asleep -DBLOCKS=4 -DONLY_BLOCKS=1
    holds "two holders, four operations" extents safety -DHOLDERS=2 -DOPERATIONS=4 -DPLAINS=0 -DRESETS=2
fi

for model in arena extents; do
    runs=$(($(wc -l <"$scratch/runs.$model")))
    sort "$scratch/unreached.$model" | uniq -c | sed -n "s/^ *$runs \(.*\)/\1/p" >"$scratch/never"
    [ ! -s "$scratch/never" ] || complain "lines of the model that no run reaches" "$scratch/never"
done

echo "planted, and found:"
assertion="assertion violated"
finds "a refill stores instead of swapping" "$assertion" arena safety -DBUG_STORE -DRESETS=1
finds "no look at the generation after the word" "$assertion" arena safety -DBUG_EQUAL -DRESETS=2
finds "a late refresh moves a word back" "$assertion" arena safety -DBUG_REFRESH -DRESETTERS=2 -DRESETS=2 $direct
finds "the offset runs into the tag" "$assertion" arena safety -DBUG_CARRY -DFIRST=2 -DGRAINS=4 -DRESETS=0 -DBLOCKS=3
finds "no word is refreshed" "$assertion" arena safety -DNO_REFRESH -DRESETS=2
finds "a shard half the tags old, taken for newer" "non-progress cycle" arena loops-only -DBUG_LOOP -DNO_REFRESH \
    -DTAG_BITS=2 -DRESETS=2 $direct -DBLOCKS=1
finds "lanes are not emptied" "$assertion" arena safety -DBUG_NOT_EMPTIED -DRESETS=1
finds "a TLAB is published without a look at the reset" "$assertion" arena safety -DBUG_NO_LOOK -DRESETS=1
finds "lanes are emptied after the generation, and a fork comes between" "$assertion" arena safety -DBUG_EMPTIED_LATE -DCUT=1 -DRESETS=1
finds "a TLAB is published without ARMED" "$assertion" arena safety -DBUG_NO_ARM -DRESETS=1
finds "the end is published before the cursor" "$assertion" arena safety -DBUG_END_FIRST -DLOST=1 -DRESETS=1 \
    -DSIZE_MAX=2
finds "an extent is pushed twice" "$assertion" extents safety -DBUG_TWICE
finds "the head of a stack does not count changes" "$assertion" extents safety -DBUG_NO_COUNT
finds "no stack is refreshed" "$assertion" extents safety -DNO_REFRESH -DRESETS=4

echo "known limit (see README.md), and found:"
finds "a claimant sleeps through all tags" "$assertion" arena safety $asleep -DBLOCKS=3
finish
