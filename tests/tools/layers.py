#!/usr/bin/env python3
"""The layers of src/: no include and no call points up, and no files call each other in a circle.

usage: layers.py PROJECT LIBRARY.a     exit: 0 sound, 1 not, 77 without nm

A layer is a directory. Includes are read from the sources, calls from the symbols of the objects in the static library."""

import collections, os, re, shutil, subprocess, sys

LAYERS = ["platform", "shard", "base", "supply", "lane", "generation", "scope", "feature", "arena", "text"]


def height(path):
    return LAYERS.index(path.split("/")[0])


def sources(root):
    for layer in sorted(os.listdir(root)):
        if os.path.isdir(os.path.join(root, layer)):
            for name in sorted(os.listdir(os.path.join(root, layer))):
                if name.endswith((".c", ".h")): yield layer + "/" + name


def includes(root, path):
    for line in open(os.path.join(root, path), encoding="utf-8"):
        found = re.match(r'# *include "([^"]+)"', line)
        if found:
            name = os.path.normpath(os.path.join(os.path.dirname(path), found.group(1)))
            if not name.startswith(".."): yield name


def calls(root, library):
    """{file: {file that it calls: symbols}}. An object goes by its source's name, which is unique."""
    names = {}
    for path in sources(root):
        if path.endswith(".c"):
            base = os.path.basename(path)
            if base in names: raise SystemExit(f"FAILED: {path} and {names[base]} have the same name")
            names[base] = path
    defined, needed = {}, collections.defaultdict(set)
    for line in subprocess.run(["nm", "-A", library], capture_output=True, text=True, check=True).stdout.splitlines():
        found = re.match(r".*:([^:]+\.c)\.\w+:\s*[0-9a-f]* +(\w) (\S+)", line)
        if not found or found.group(1) not in names: continue
        path, kind, symbol = names[found.group(1)], found.group(2), found.group(3)
        if kind == "U": needed[path].add(symbol)
        elif kind.isupper(): defined[symbol] = path
    graph = collections.defaultdict(lambda: collections.defaultdict(list))
    for path, symbols in needed.items():
        for symbol in sorted(symbols):
            if defined.get(symbol, path) != path: graph[path][defined[symbol]].append(symbol)
    return graph


def circle(graph):
    """The files of one circle, or None."""
    done, way = set(), []

    def visit(path):
        if path in way: return way[way.index(path):] + [path]
        if path in done: return None
        way.append(path)
        for other in graph.get(path, {}):
            found = visit(other)
            if found: return found
        way.pop()
        done.add(path)
        return None

    for path in list(graph):
        found = visit(path)
        if found: return found
    return None


def main():
    root, library = os.path.join(sys.argv[1], "src"), sys.argv[2]
    if not shutil.which("nm"):
        print("skipped: no nm")
        return 77
    faults = []
    for path in sources(root):
        for other in includes(root, path):
            if height(other) > height(path): faults.append(f"{path} includes {other}, of a higher layer")
    graph = calls(root, library)
    if not graph: faults.append(f"{library} has no calls between files")
    for path, others in graph.items():
        for other, symbols in others.items():
            if height(other) > height(path): faults.append(f"{path} calls {', '.join(symbols)} of {other}, a higher layer")
    found = circle(graph)
    if found: faults.append("files that call each other: " + " -> ".join(found))
    for fault in faults: print("FAILED:", fault)
    print(f"{len(list(sources(root)))} files in {len(LAYERS)} layers, {sum(map(len, graph.values()))} calls between files")
    return 1 if faults else 0


sys.exit(main())
