#!/bin/sh
# Every C file is formatted as .clang-format says; with -i it is made so.
# usage: format.sh SOURCE-DIRECTORY [-i]
set -eu
here=$(cd "$(dirname "$0")" && pwd)
. "$here/shell.sh"
source=$1 mend=${2:-}
version=14 # others break lines differently

formatter=clang-format-$version
if ! command -v "$formatter" >/dev/null 2>&1; then
    formatter=clang-format
    need "$formatter"
    "$formatter" --version | grep -q "version $version\." || skip "clang-format $version is not installed"
fi

cd "$source"
for directory in include src tests bench examples; do
    [ ! -d "$directory" ] || find "$directory" \( -name '*.[ch]' -o -name '*.cc' -o -name '*.hpp' \) -type f
done | sort >"$scratch/files"
[ -s "$scratch/files" ] || fail "no C files in $source"
while read -r file; do
    [ -z "$mend" ] || "$formatter" --style=file -i "$file"
    "$formatter" --style=file --dry-run -Werror "$file" >"$scratch/output" 2>&1 || complain "$file" "$scratch/output"
done <"$scratch/files"
echo "  $(($(wc -l <"$scratch/files"))) files"
finish
