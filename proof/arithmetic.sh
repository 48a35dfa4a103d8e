#!/bin/sh
# The arithmetic of sizes, offsets and alignments holds for all values; broken on purpose, each proof fails.
# usage: arithmetic.sh
set -eu
here=$(cd "$(dirname "$0")" && pwd)
. "$here/../tests/tools/shell.sh"

# z3 may belong to another python than the first one in PATH.
for python in /usr/bin/python3 python3 none; do
    if "$python" -c 'import z3' 2>/dev/null; then break; fi
done
[ "$python" != none ] || skip "z3 for Python (python3-z3) is not installed"
PYTHONDONTWRITEBYTECODE=1 "$python" "$here/arithmetic.py" "$here/.."
