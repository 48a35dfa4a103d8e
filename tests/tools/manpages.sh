#!/bin/sh
# The manual pages are those that tools/manpages makes of the header as it is, and such as a formatter likes.
# usage: manpages.sh SOURCE-DIRECTORY
set -eu
here=$(cd "$(dirname "$0")" && pwd)
. "$here/shell.sh"
source=$1
export LC_ALL=C

need python3 diff
attempt "tools/manpages" "$source/tools/manpages" "$scratch/man3"
attempt "man/man3 is what it makes (or run: tools/manpages man/man3)" diff -r "$source/man/man3" "$scratch/man3"

cat "$here/symbols.txt" "$here/symbols_look.txt" | grep -E '^memarena_.*[a-z]$' | grep -v '^memarena_bump' >"$scratch/calls"
for call in $(cat "$scratch/calls") memarena_new memarena_new_value memarena_new_array; do
    [ -s "$source/man/man3/$call.3" ] || { echo "$call" >"$scratch/output"; complain "a page for each call" "$scratch/output"; }
done
echo "  a page for each of $(wc -l <"$scratch/calls") calls"

need mandoc
cd "$source/man"
for page in man3/*.3; do
    case $(head -n 1 "$page") in
    .so*) [ -s "$(sed 's/^\.so //' "$page")" ] || complain "$page leads somewhere" "$page" ;;
    *) mandoc -T lint -W warning "$page" >"$scratch/output" 2>&1 || complain "$page" "$scratch/output" ;;
    esac
done
echo "  mandoc has no complaints"
finish
