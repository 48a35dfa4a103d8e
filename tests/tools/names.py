#!/usr/bin/env python3
"""JSON, Prometheus' text, SVG, HTML and the report are well-formed, and show the name, whatever an arena's name is.

usage: names.py PROGRAM (names.c)
"""
import html.parser
import json
import random
import re
import subprocess
import sys
from xml.dom import minidom

TEXTS = ("json", "prometheus", "svg", "html", "report")


def shown(name):
    """What is to be seen of a name: its first 31 bytes, with a question mark for each byte of what nobody can show."""
    text, raw = "", name[:31]
    while raw:
        length, character = 1, "?"
        for bytes_of_it in (1, 2, 3, 4):
            try:
                decoded = raw[:bytes_of_it].decode("utf-8")
            except UnicodeDecodeError:
                continue
            code = ord(decoded[0])
            if not (code < 0x20 or 0x7F <= code < 0xA0 or code & 0xFFFE == 0xFFFE):
                length, character = bytes_of_it, decoded
            break
        text, raw = text + character, raw[length:]
    return text


class Page(html.parser.HTMLParser):
    """The tags of a page, and the text of some."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.tags, self.texts, self.open = [], {}, None
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.open = tag
        self.tags.append((tag, sorted(name for name, _ in attributes)))

    def handle_startendtag(self, tag, attributes):
        self.open = None  # the picture's parts, of which there are as many as the arena's memory asks for

    def handle_endtag(self, tag):
        self.tags.append("/" + tag)
        self.open = None

    def handle_data(self, data):
        if self.open:
            self.texts.setdefault(self.open, data)

    def handle_comment(self, data):
        raise AssertionError("a comment: %r" % data)


def check(name, texts, structure):
    said = shown(name)
    is_named = bool(name)
    known = json.loads(texts["json"])
    assert not is_named or known["arena"] == said, (known["arena"], said)
    label = said.replace("\\", "\\\\").replace('"', '\\"')
    lines = texts["prometheus"].split("\n")
    assert lines.pop() == ""
    for line in lines:
        if not line.startswith("# "):
            found = re.fullmatch(r'memarena_[a-z_]+\{arena="((?:[^"\\]|\\["\\n])*)"\} [0-9]+', line)
            assert found and (not is_named or found[1] == label), line
    picture = minidom.parseString(texts["svg"].encode("utf-8"))
    title = picture.getElementsByTagName("text")[0]
    assert len(title.childNodes) == 1 and (not is_named or title.firstChild.data.startswith(said + ": ")), title.toxml()
    page = Page(texts["html"])
    assert structure is None or page.tags == structure, "the page has other tags"
    assert not is_named or page.texts["title"] == "memarena: " + said, page.texts["title"]
    assert not is_named or json.loads(page.texts["script"])["arena"] == said
    assert not is_named or any(line.startswith("memarena %s at " % said) for line in texts["report"].split("\n"))
    return page.tags


random.seed(20)
NAMES = [
    b"plain", b"", b'a"b\\c\nd\te\rf', b"</text><script>alert(1)</script>", b"</title></pre><b>", b"\x01\x02\x1f\x7f \xc2\x80\xc2\x9f",
    b"\xff\xfe\x80\xbf\xc0\xaf\xc1\xbf", b"\xe0\x80\x80\xed\xa0\x80\xed\xbf\xbf\xf0\x80\x80\x80", b"\xf4\x90\x80\x80\xf5\x80\x80\x80\xf8\x88",
    b"\xe0\x9f\xbf\xf0\x8f\xbf\x8f\xf8\x90\x80\x80\xfc\x80\x80\x80", b"\xef\xbf\xbe\xef\xbf\xbf\xf0\x9f\xbf\xbe \xef\xbf\xbd", "Größe π 漢字 🜲".encode(), b"x" * 30 + "é".encode(),
    b"x" * 29 + "漢".encode(), b"x" * 28 + "🜲".encode(), b"{}},\"x\":1", b"]]>&amp;<!--", b"--><![CDATA[", b"<?xml?>", b"name\\", b"&#0;&lt;'",
    "\u2028\u202e\ufeff\u0085".encode(), b"%s%n%d",
]
TROUBLE = [b"<", b">", b"&", b'"', b"'", b"\\", b"]]>", b"\xc3", b"\xe2\x82", b"\xf0\x9f\x9c", b"\x80", b"\xed\xa0\x80", b"-", b"\n", "ß".encode(), b"a"]
for _ in range(150):
    NAMES.append(bytes(random.randrange(1, 256) for _ in range(random.randrange(1, 40))))
    NAMES.append(b"".join(random.choice(TROUBLE) for _ in range(random.randrange(1, 20))))

out = subprocess.run([sys.argv[1]], input=b"".join(name + b"\0" for name in NAMES), check=True, stdout=subprocess.PIPE).stdout
pieces = out.split(b"\0")
assert pieces.pop() == b"" and len(pieces) == 2 * len(TEXTS) * len(NAMES), len(pieces)
structure = [None, None]
for number, name in enumerate(NAMES):
    for scope in (0, 1):
        at = (2 * number + scope) * len(TEXTS)
        try:
            texts = {kind: pieces[at + i].decode("utf-8") for i, kind in enumerate(TEXTS)}
            structure[scope] = check(name, texts, structure[scope])
        except Exception as error:
            sys.exit("%r (%s): %s: %s" % (name, "scope" if scope else "arena", type(error).__name__, error))
print(len(NAMES), "names")
