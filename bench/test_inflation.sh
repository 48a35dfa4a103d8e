#!/bin/sh
# Each library that was found has its rows, and the ratios say what the documentation says: JSON suits an arena, sessions and
# databases do not, and less so the longer they live.
# usage: test_inflation.sh PROGRAM HAVE_LIBRARY...
set -eu

program=$1
shift
rows=$("$program")
echo "$rows"

fail() {
    echo "FAILED: $*" >&2
    exit 1
}

# ratios LIBRARY: what the arena holds over what is live at most, a line for each row
ratios() {
    echo "$rows" | awk -F'|' -v library="$1" 'index($2, " " library ":") == 1 { print $7 + 0 }'
}

for have in "$@"; do
    case $have in
    HAVE_CJSON) library=cJSON ;;
    HAVE_JANSSON) library=jansson ;;
    HAVE_NGHTTP2) library=nghttp2 ;;
    HAVE_SQLITE3) library=SQLite ;;
    *) fail "no such library: $have" ;;
    esac
    case $library in
    cJSON | jansson) right='$1 < 1 || $1 > 2 { exit 1 }' ;;
    *) right='NR > 1 && $1 <= before { exit 1 } { before = $1 } END { if (before < 20) exit 1 }' ;;
    esac
    [ "$(ratios $library | wc -l)" -ge 2 ] || fail "no rows of $library"
    ratios $library | awk "$right" || fail "$library: $(ratios $library | tr '\n' ' ')"
done
