#!/bin/sh
# usage: test_map.sh MEMARENA-MAP CASE
set -eu
program=$1 case=$2
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cd "$scratch"

fails() { # fails STATUS COMMAND...: and says why in one line, then perhaps the usage
    expected=$1 status=0
    shift
    "$@" >out 2>err || status=$?
    [ "$status" = "$expected" ] || { echo "exit $status, expected $expected: $*"; cat err; exit 1; }
    grep -q '^memarena-map: ' err || { echo "no reason given: $*"; cat err; exit 1; }
}

test_a_page_has_the_picture_and_the_numbers() {
    "$program" -j 3 -c 16 page.html
    python3 - page.html <<'PYTHON'
import html.parser, json, re, sys, xml.etree.ElementTree as tree
text = open(sys.argv[1], encoding="ascii").read()
svg = tree.fromstring(re.search(r"<svg.*</svg>", text, re.S)[0])
colours = {rect.get("fill") for rect in svg.iter("{http://www.w3.org/2000/svg}rect")}
assert len([c for c in colours if c.endswith("60%,45%)")]) >= 3, colours  # a lane each
assert "#777" in colours and "#fff" in colours  # the frontier; given back
assert any(c.endswith("70%,85%)") for c in colours)  # TLABs
stats = json.loads(re.search(r"id='stats'>(.*?)</script>", text)[1])
assert stats["capacity_bytes"] == 16 << 20 and stats["open_scopes"] == 3 and stats["arena"] == "requests"
parts = sum(stats[part + "_bytes"] for part in ("allocated", "tlab", "tail", "free_extent"))
assert stats["claimed_bytes"] == parts, (stats["claimed_bytes"], parts)
report = re.search(r"<pre id='report'>(.*?)</pre>", text, re.S)[1]
assert re.search(r"allocated +%d " % stats["allocated_bytes"], report)
class Balanced(html.parser.HTMLParser):
    stack = []
    def handle_starttag(self, tag, attributes):
        if tag != "meta": self.stack.append(tag)
    def handle_endtag(self, tag):
        assert self.stack.pop() == tag
balanced = Balanced()
balanced.feed(text)
assert not balanced.stack
PYTHON
}

test_a_picture_alone_is_svg() {
    "$program" picture.svg
    python3 -c 'import xml.etree.ElementTree as tree; assert tree.parse("picture.svg").getroot().tag.endswith("}svg")'
    [ "$(wc -c <picture.svg)" -lt 200000 ]
}

test_a_full_arena_is_drawn() {
    "$program" -c 1 -j 20 full.svg
}

# Rendered by a browser: the colours of the first lane and of what several have taken are there to be seen.
test_a_browser_shows_it() {
    command -v chromium >/dev/null || { echo "skipped: no chromium"; exit 77; }
    "$program" page.html
    chromium --headless --no-sandbox --disable-gpu --user-data-dir="$scratch/profile" --window-size=1600,800 \
        --screenshot="$scratch/page.png" "file://$scratch/page.html" >log 2>&1 || { cat log; exit 1; }
    python3 - page.png <<'PYTHON'
import struct, sys, zlib
data, at, packed = open(sys.argv[1], "rb").read(), 8, b""
while at < len(data):
    length, kind = struct.unpack(">I4s", data[at:at + 8])
    body = data[at + 8:at + 8 + length]
    if kind == b"IHDR": width, height, depth, colour = struct.unpack(">IIBB", body[:10])
    if kind == b"IDAT": packed += body
    at += length + 12
assert (depth, colour) in ((8, 2), (8, 6)), (depth, colour)
size = 3 if colour == 2 else 4
raw, line, before, seen = zlib.decompress(packed), width * size, bytearray(width * size), {}
for y in range(height):
    filter, row = raw[y * (line + 1)], bytearray(raw[y * (line + 1) + 1:(y + 1) * (line + 1)])
    for i in range(line):
        a, b, c = row[i - size] if i >= size else 0, before[i], before[i - size] if i >= size else 0
        p = a + b - c
        near = min((abs(p - a), 0, a), (abs(p - b), 1, b), (abs(p - c), 2, c))[2]
        row[i] = row[i] + (0, a, b, (a + b) // 2, near)[filter] & 255
    for i in range(0, line, size):
        pixel = tuple(row[i:i + 3])
        seen[pixel] = seen.get(pixel, 0) + 1
    before = row
assert seen.get((0x77, 0x77, 0x77), 0) > 500, "nothing taken by several"
assert seen.get((0xf2, 0xf2, 0xf2), 0) > 50000, "nothing free"
assert seen.get((184, 46, 46), 0) > 500, "nothing of lane 0"  # hsl(0, 60%, 45%)
PYTHON
}

test_help_is_exit_0() {
    "$program" --help >out
    grep -q '^usage: ' out
    "$program" --help >/dev/full 2>/dev/null && exit 1
    return 0
}

test_wrong_usage_is_exit_2() {
    fails 2 "$program"
    fails 2 "$program" a.html b.html
    fails 2 "$program" a.png
    fails 2 "$program" -x a.html
    fails 2 "$program" -j
    fails 2 "$program" -j 0 a.html
    fails 2 "$program" -j 65 a.html
    fails 2 "$program" -c 1x a.html
    [ ! -e a.html ]
}

test_what_cannot_be_written_is_exit_1() {
    fails 1 "$program" missing/a.html
    ln -s /dev/full full.html
    fails 1 "$program" full.html
    ln -s /dev/full full.svg
    fails 1 "$program" full.svg
}

test_"$case"
