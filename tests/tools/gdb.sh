#!/bin/sh
# tools/gdb/memarena-gdb.py shows of arenas and scopes what the library says of them: in a live process, and in a core.
# usage: gdb.sh COMPILER SOURCE-DIRECTORY STATIC-LIBRARY
set -eu
here=$(cd "$(dirname "$0")" && pwd)
. "$here/shell.sh"
compiler=$1 source=$2 library=$3
export LC_ALL=C

need gdb strip "$compiler"
gdb -nx -batch -ex 'python import gdb.printing' >"$scratch/output" 2>&1
[ ! -s "$scratch/output" ] || skip "this gdb has no Python"

cd "$source"
"$compiler" -std=c11 -D_GNU_SOURCE -O2 -g -Iinclude tests/tools/inspected.c src/*/*.c -pthread -o "$scratch/inspected" ||
    fail "it does not compile"

# look GDB-ARGUMENT...: into $scratch/output
look() {
    gdb -nx -batch -iex "set debuginfod enabled off" -ex "set pagination off" -ex "set print address on" \
        -ex "source $source/tools/gdb/memarena-gdb.py" "$@" >"$scratch/output" 2>&1 || true
}

# A variable, with a word before it that finds the line again.
handles="shared scope below small per_cpu ended"
{
    for handle in $handles; do
        printf 'echo %s:\\n\noutput %s\necho \\n\n' $handle $handle
    done
    printf 'echo none:\\n\noutput (memarena *)0\necho \\n\n'
    printf 'echo bad:\\n\noutput (memarena *)16\necho \\n\n'
    printf 'echo other:\\n\noutput (memarena *)&buffer[64 * 64]\necho \\n\n'
    for handle in shared scope small per_cpu; do
        printf 'echo report_%s:\\n\nmemarena %s\n' $handle $handle
    done
} >"$scratch/commands"

shown() { # shown NAME: the line after "NAME:"
    sed -n "/^$1:\$/{n;p;}" "$scratch/output"
}

said() { # said NAME WORD: what the program said that this was
    sed -n "s/^$1 .*[ ]$2=\([0-9]*\).*/\1/p" "$scratch/said"
}

address() {
    sed -n "s/^$1 \(0x[0-9a-f]*\) .*/\1/p" "$scratch/said"
}

many() { # many COUNT WHAT
    [ "$1" = 1 ] && echo "1 $2" || echo "$1 ${2}s"
}

equal() { # equal WHAT EXPECTED FOUND
    [ -n "$2" ] && [ "$2" = "$3" ] && { echo "  $1: $2"; return 0; }
    printf 'expected: %s\nfound:    %s\n' "$2" "$3" >"$scratch/difference"
    complain "$1" "$scratch/difference"
}

arena() { # arena NAME: the line for it, from what the program said
    printf '%s arena%s: %s of %s bytes handed out, generation %s, %s in use, %s\n' "$(address $1)" "${2:+ \"$2\"}" \
        "$(said $1 allocated)" "$(said $1 capacity)" "$(said $1 generation)" "$(many "$(said $1 lanes)" lane)" \
        "$(many "$(said $1 scopes)" "open scope")"
}

scope() { # scope NAME PARENT
    printf '%s scope of %s arena "shared [1]"%s: %s bytes handed out, %s held, generation %s, %s in it\n' "$(address $1)" \
        "$(address shared)" "${2:+, in scope $2}" "$(said $1 allocated)" "$(said $1 held)" "$(said $1 generation)" \
        "$(many "$(said $1 scopes)" "open scope")"
}

# report NAME: what the command `memarena` said of it
report() {
    sed -n "/^report_$1:\$/,/^report_/{/^report_/d;p;}" "$scratch/output"
}

lanes_listed() {
    awk '/^  source/ { on = 0 } on { n++ } /^  lane/ { on = 1 } END { print n + 0 }' "$scratch/report"
}

# Sums of columns that must agree with the summary.
check_reports() {
    report shared >"$scratch/report"
    equal "$1: its lanes are listed" "$(said shared lanes)" "$(lanes_listed)"
    handed_out=$(awk '/^  lane/ { on = 1; next } /^  source/ { on = 0 } on { sum += $6 } END { printf "%d", sum }' "$scratch/report")
    equal "$1: they have handed out all but the free extents" "$(said shared allocated)" \
        "$((handed_out - $(said shared free)))"
    equal "$1: free extents" "  free extents: $(said shared free) bytes" "$(grep 'free extents' "$scratch/report")"
    claimed=$(awk '/^  source/ { on = 1; next } on { sum += $2 } END { printf "%d", sum }' "$scratch/report")
    left=$(awk '/^  lane/ { on = 1; next } /^  source/ { on = 0 } on { sum += $5 + $7 } END { printf "%d", sum }' "$scratch/report")
    equal "$1: what is claimed is handed out, left in TLABs or behind them" $((handed_out + left)) "$claimed"
    report per_cpu >"$scratch/report"
    equal "$1: those of CPUs, too" "$(said per_cpu lanes)" "$(lanes_listed)"
    report small >"$scratch/report"
    equal "$1: a source without lanes" "  frontier $(printf %9d "$(said small allocated)")" \
        "$(sed -n 's/^\(  frontier  *[0-9]*\).*/\1/p' "$scratch/report")"
    report scope >"$scratch/report"
    extents=$(awk '/^  0x/ { sum += $2 } END { printf "%d", sum }' "$scratch/report")
    equal "$1: the extents of the scope are what it holds" "$(said scope held)" "$extents"
}

check_all() { # check_all HOW
    equal "$1: shared" "$(arena shared "shared [1]")" "$(shown shared)"
    equal "$1: per CPU" "$(arena per_cpu "per CPU")" "$(shown per_cpu)"
    equal "$1: in a buffer" "$(arena small "")" "$(shown small)"
    equal "$1: scope" "$(scope scope "")" "$(shown scope)"
    equal "$1: scope in a scope" "$(scope below "$(address scope)")" "$(shown below)"
    equal "$1: ended scope" "$(shown ended | sed 's/ .*//') (an ended scope)" "$(shown ended)"
    equal "$1: NULL" 0x0 "$(shown none)"
    equal "$1: no memory" "0x10 (no memory of this process)" "$(shown bad)"
    equal "$1: something else" "$(shown other | sed 's/ .*//') (not an arena or a scope)" "$(shown other)"
    check_reports "$1"
}

# ---- Live, and a core of the same moment
look -ex "break look_here" -ex run -ex up -ex down -x "$scratch/commands" -ex "generate-core-file $scratch/core" \
    "$scratch/inspected"
if grep -q -i -e "couldn't.*ptrace" -e 'ptrace: ' -e 'Operation not permitted' "$scratch/output"; then
    skip "gdb may not run programs here"
fi
grep -E '^[a-z_]+ 0x[0-9a-f]+ allocated=' "$scratch/output" >"$scratch/said" || {
    cat "$scratch/output" >&2
    fail "the program did not come so far"
}
check_all live
look -x "$scratch/commands" "$scratch/inspected" "$scratch/core"
check_all core

# ---- Without debug information of the library: one line that says so
strip --strip-debug -o "$scratch/bare.a" "$library"
"$compiler" -std=c11 -D_GNU_SOURCE -O2 -g -Iinclude tests/tools/inspected.c "$scratch/bare.a" -pthread -o "$scratch/bare" ||
    fail "it does not link"
line="no debug information of the library here; build it with -g"
look -ex "break look_here" -ex run -ex "echo shared:\\n" -ex "output shared" -ex "echo \\n" -ex "memarena shared" \
    "$scratch/bare"
equal "without debug information" "($line)" "$(shown shared | sed 's/^0x[0-9a-f]* //')"
equal "and the command" "shared: $line" "$(grep '^shared: ' "$scratch/output")"
finish
