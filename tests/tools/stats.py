#!/usr/bin/env python3
"""The texts of memarena_stats_json and memarena_stats_prometheus are what their formats ask for.

usage: stats.py TEST-PROGRAM (tests/stats.c)
"""
import json
import re
import subprocess
import sys


def printed(what):
    return subprocess.run([sys.argv[1], what], check=True, stdout=subprocess.PIPE).stdout.decode("ascii")


arena, scope = (json.loads(line) for line in printed("--json").splitlines())
assert arena["arena"] == scope["arena"] == 'first "\\', arena["arena"]
assert (arena["kind"], scope["kind"]) == ("arena", "scope")
assert arena["capacity_bytes"] == 64 << 20 and arena["open_scopes"] == 1
assert arena["allocated_bytes"] > 1 << 20 > scope["held_bytes"] > scope["allocated_bytes"] >= 5000
assert sum(arena["free_bytes_by_size"]) == arena["free_extent_bytes"] and len(arena["free_bytes_by_size"]) == 24

# https://prometheus.io/docs/instrumenting/exposition_formats/: HELP and TYPE of a metric, then all of its samples.
SAMPLE = re.compile(r'([a-zA-Z_:][a-zA-Z0-9_:]*)\{arena="((?:[^"\\\n]|\\["\\n])*)"\} ([0-9]+)\Z')
seen, metric, kind, arenas = set(), None, None, []
text = printed("--prometheus")
assert text.endswith("\n")
for line in text.splitlines() + ["# HELP end"]:
    if line.startswith("# HELP "):
        assert metric is None or arenas == [r'first \"\\', "second"], (metric, arenas)
        metric, arenas, kind = line.split()[2], [], None
        assert metric not in seen
        seen.add(metric)
    elif line.startswith("# TYPE "):
        assert line.split()[2] == metric and not arenas
        kind = line.split()[3]
        assert (kind == "counter") == metric.endswith("_total") and kind in ("counter", "gauge")
    else:
        sample = SAMPLE.match(line)
        assert sample and sample[1] == metric and kind, line
        arenas.append(sample[2])
names = {name[9:].removesuffix("_total") for name in seen if name != "end"}
assert names == set(arena) - {"arena", "kind", "free_bytes_by_size"}, names ^ set(arena)
print(len(names), "numbers in both")
