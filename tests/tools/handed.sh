#!/bin/sh
# Tools that look for races report none in what threads hand to each other through an arena, and those of the program, with the
# library as it is always built.
# usage: handed.sh tsan|helgrind|drd COMPILER INCLUDE-DIRECTORY LIBRARY
set -eu
here=$(cd "$(dirname "$0")" && pwd)
. "$here/shell.sh"
tool=$1 compiler=$2 include=$3 library=$4

need "$compiler"
flags= still=
if setarch -R true 2>/dev/null; then still="setarch -R"; fi
case $tool in
tsan)
    flags=-fsanitize=thread
    echo 'int main(void) { return 0; }' | "$compiler" $flags -x c -o "$scratch/empty" - >"$scratch/output" 2>&1 ||
        skip "$compiler cannot link with $flags"
    $still "$scratch/empty" || skip "programs built with $compiler $flags do not start here"
    ;;
*) need valgrind ;;
esac
"$compiler" -std=c11 -D_GNU_SOURCE -O1 -g -Wall -Wextra -Werror $flags -I"$include" "$here/handed.c" "$library" \
    -Wl,-rpath,"$(dirname "$library")" -pthread -o "$scratch/handed"

run() { # run ACT: its exit status in $status, 66 for a race; what is said in $scratch/output
    status=0
    case $tool in
    tsan) within 120 env TSAN_OPTIONS=exitcode=66 $still "$scratch/handed" "$1" ;;
    *) within 120 env MEMARENA_TEST_SCALE=0.03 valgrind -q --tool="$tool" --error-exitcode=66 "$scratch/handed" "$1" ;;
    esac >"$scratch/output" 2>&1 || status=$?
}

for group in clean race; do
    "$scratch/handed" --list $group >"$scratch/acts"
    [ -s "$scratch/acts" ] || fail "no act in group $group"
    while read -r act; do
        run "$act"
        echo "  $act: exit $status"
        case $group-$status in
        clean-0 | clean-77 | race-66) ;;
        *) complain "$act: exit $status" "$scratch/output" ;;
        esac
    done <"$scratch/acts"
done
finish
