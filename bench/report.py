#!/usr/bin/env python3
"""Turns the CSV of a run into a page: tables, charts, and what memarena does not win.

usage: report.py RESULTS [PAGE-DIRECTORY]
RESULTS holds bench.csv and perhaps instructions.csv; report.md and, where gnuplot is, the charts (SVG) go to
PAGE-DIRECTORY, or to RESULTS.
"""
import csv
import math
import os
import shutil
import subprocess
import sys

OURS = "memarena"
LIMIT = "limit loop"
FAMILY = (
    OURS,
    "memarena, per CPU",
    "memarena, a scope each",
    "memarena, mark and rewind",
    "memarena, huge pages",
    "memarena, burst",
    "memarena, bursts of 16",
    "memarena, burst in a scope",
    "memarena, burst per CPU",
)
GLIBC = "glibc malloc"
COLORS = {"ours": "#c0392b", "other": "#7f8c8d", "limit": "#2c3e50"}


class Run:
    """The rows of bench.csv, and the line that says where they come from."""

    def __init__(self, directory):
        self.directory = directory
        path = os.path.join(directory, "bench.csv")
        with open(path, encoding="utf-8") as file:
            self.origin = file.readline().lstrip("# ").strip()
            self.rows = list(csv.DictReader(file))
        for row in self.rows:
            row["threads"] = int(row["threads"])
            for name in ("median", "p10", "p90", "x_limit", "x_glibc"):
                row[name] = float(row[name]) if row[name] else None
        self.instructions = {}
        path = os.path.join(directory, "instructions.csv")
        if os.path.exists(path):
            with open(path, encoding="utf-8") as file:
                file.readline()
                for row in csv.DictReader(file):
                    self.instructions[row["peer"], row["kind"]] = float(row["instructions_per_block"])

    def text(self, name):
        path = os.path.join(self.directory, name)
        if not os.path.exists(path):
            return ""
        with open(path, encoding="utf-8") as file:
            return file.read().strip()

    def select(self, case, measure=None, threads=None):
        return [
            r
            for r in self.rows
            if r["case"] == case
            and (measure is None or r["measure"] == measure)
            and (threads is None or r["threads"] == threads)
        ]

    def one(self, case, peer, measure, threads=1):
        found = [r for r in self.select(case, measure, threads) if r["peer"] == peer]
        return found[0] if found else None

    def threads_of(self, case):
        return sorted({r["threads"] for r in self.rows if r["case"] == case})

    def peers_of(self, case, threads=None):
        return list(dict.fromkeys(r["peer"] for r in self.select(case, threads=threads)))


def short(value):
    """Three digits that matter."""
    if value is None:
        return ""
    if value == 0:
        return "0"
    if value < 0.001:
        return "<0.001"
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:.{digits}f}"


def table(heads, lines):
    yield "| " + " | ".join(heads) + " |"
    yield "|" + "---|" + "---:|" * (len(heads) - 1)
    for line in lines:
        yield "| " + " | ".join(line) + " |"
    yield ""


# ---- Tables ---------------------------------------------------------------------------------------------------------

BLOCKS = [
    ("one-8", "8", "One thread, 8 bytes"),
    ("one-16", "16", "One thread, 16 bytes"),
    ("one-64", "64", "One thread, 64 bytes"),
    ("one-128", "128", "One thread, 128 bytes"),
    ("one-mixed", "mixed", "One thread, 16 to 256 bytes"),
    ("bulk", None, "One thread, 256 MB of blocks of 16 to 256 bytes, then the release of all"),
    ("shared-8", None, "Threads, 8 bytes"),
    ("shared-mixed", None, "Threads, 16 to 256 bytes"),
    ("handoff", None, "Made by all CPUs, given back by one thread"),
]


def block_table(run, case, kind, threads):
    heads = ["ns a block", "allocate", "p10 to p90", "x limit", "give back", "both", "x limit", "glibc's both are"]
    counted = kind is not None and any(key[1] == kind for key in run.instructions)
    if counted:
        heads.append("instructions")
    lines = []
    for peer in run.peers_of(case, threads):
        take, give, both = (run.one(case, peer, m, threads) for m in ("allocate", "release", "both"))
        line = [
            peer,
            short(take["median"]),
            f"{short(take['p10'])} to {short(take['p90'])}",
            short(take["x_limit"]),
            short(give["median"]),
            short(both["median"]),
            short(both["x_limit"]),
            short(both["x_glibc"]) + " x" if both["x_glibc"] else "",
        ]
        if counted:
            line.append(short(run.instructions.get((peer, kind))))
        lines.append(line)
    return table(heads, lines)


def plain_table(run, case, threads, unit, with_limit=True):
    measures = list(dict.fromkeys(r["measure"] for r in run.select(case, threads=threads)))
    heads = [unit]
    for measure in measures:
        heads.append(measure)
        if with_limit:
            heads.append("x limit")
    lines = []
    for peer in run.peers_of(case, threads):
        line = [peer]
        for measure in measures:
            row = run.one(case, peer, measure, threads)
            line.append(short(row["median"]))
            if with_limit:
                line.append(short(row["x_limit"]))
        lines.append(line)
    return table(heads, lines)


def thread_table(run, case, measure, unit):
    """A column for each number of threads."""
    threads = run.threads_of(case)
    lines = []
    for peer in run.peers_of(case):
        rows = [run.one(case, peer, measure, n) for n in threads]
        lines.append([peer] + [short(r["median"]) if r else "" for r in rows])
    return table([unit] + [f"{n} threads" if n > 1 else "1 thread" for n in threads], lines)


def own_table(run, case):
    lines = [
        [
            r["peer"],
            str(r["threads"]),
            short(r["median"]),
            f"{short(r['p10'])} to {short(r['p90'])}" if r["measure"] == "time" else "",
            r["unit"],
        ]
        for r in run.select(case)
    ]
    return table(["", "threads", "middle", "p10 to p90", "unit"], lines)


# ---- What is not won ------------------------------------------------------------------------------------------------

WHY = {
    "one": "An allocator of one owner keeps its cursor at a fixed address, without finding the thread's own first, and "
    "leaves out the bookkeeping that sharing needs.",
    "shared": "As with one thread: those marked `own` do not share.",
    "crowd": "Where a lane is left to few threads, the blocks of many come from per-CPU TLABs, by a call.",
    "bulk": "The release of a cursor is one store; a reset closes a generation.",
    "handoff": "As above: each owner here has an arena of its own, so nothing is shared while the blocks are made.",
    "request": "A scope is opened and closed in a shared arena; an arena that belongs to one thread only moves its "
    "cursor back.",
    "trees": "Most of a node's time is the memory it lies in.",
    "latency": "The tail beyond the block itself: a refill in a thousand blocks or fewer, and the clock's own noise.",
    "heap": "A scope beside a crowd costs what a scope costs; nothing depends on the crowd.",
    "cold": "The kernel's zeroing of pages decides; who has asked for them before does not pay here.",
    "held": "A page more or less: what is resident depends on how blocks of several threads share pages.",
}


def not_won(run):
    """Every peer that beats the best of ours in the measure of a case that counts most."""
    counts = {"allocate", "both", "request", "tree", "p50", "p99", "p99.9", "p99.99", "touch", "resident"}
    groups = {}
    for row in run.rows:
        if row["measure"] in counts or row["measure"].endswith("mean"):
            groups.setdefault((row["case"], row["threads"], row["measure"]), []).append(row)
    lines = []
    for (case, threads, measure), rows in groups.items():
        ours = [r["median"] for r in rows if r["peer"] in FAMILY]
        others = [r for r in rows if r["peer"] not in FAMILY and r["peer"] != LIMIT]
        if not ours:
            continue
        best = min(ours)
        ahead = sorted((r for r in others if r["median"] < 0.97 * best), key=lambda r: r["median"])
        if ahead:
            lines.append(
                [
                    case,
                    str(threads),
                    measure,
                    short(best),
                    "; ".join(f"{r['peer']} {short(r['median'])}" for r in ahead[:4])
                    + (f"; {len(ahead) - 4} more" if len(ahead) > 4 else ""),
                ]
            )
    yield from table(["case", "threads", "measure", "our best", "ahead by more than 3 %"], lines)
    for family in dict.fromkeys(case for case, *_ in lines):
        why = WHY.get(family.split("-")[0])
        if why:
            yield f"- **{family}**: {why}"
    yield ""


# ---- The tables of the original -------------------------------------------------------------------------------------


def original(run):
    yield "The design goes back to an arena in Go, whose author published two tables: contention (wall time divided by"
    yield "the blocks of all workers) and pressure (values and slices beside ten million live objects under Go's"
    yield "collector, against the Go heap). These have their shape. Here the language is C, and the heap that is collected"
    yield "is Boehm's; no ratio between those figures and these means anything."
    yield ""
    heads = ["workers, 8-byte blocks", "memarena: ns a block, wall", "memarena, per CPU", "mutex around one cursor"]
    lines = []
    for threads in run.threads_of("crowd"):
        rows = [
            run.one("crowd", peer, "wall", threads) for peer in (OURS, "memarena, per CPU", "mutex around one cursor")
        ]
        lines.append([str(threads)] + [short(r["median"]) if r else "" for r in rows])
    yield from table(heads, lines)
    lines = []
    for size, what in (("8", "an integer"), ("128", "16 integers"), ("64", "64 bytes")):
        ours, collected = (run.one("heap", p, size + " mean") for p in ("memarena, a scope each", "Boehm GC"))
        if ours and collected:
            lines.append(
                [
                    what,
                    short(ours["median"]),
                    short(collected["median"]),
                    short(collected["median"] / ours["median"]) + " x",
                ]
            )
    yield from table(["mean ns a block beside ten million live ones", "memarena, a scope", "Boehm GC", "ratio"], lines)
    collection = run.one("heap", "Boehm GC", "collection")
    reset = [r for r in run.select("reset") if r["peer"].startswith("64 GiB after 1 MiB")]
    if collection and reset:
        yield (
            f"A forced collection with all of them alive takes Boehm's collector {collection['median'] / 1e6:.0f} ms; and"
            f" few of them fall into these turns; a reset of a 64 GiB arena takes {reset[0]['median']:.0f} ns."
        )
        yield ""


# ---- Scaling --------------------------------------------------------------------------------------------------------

TLAB = 65536
CPUS = (1, 2, 4, 8, 16, 32, 64, 128)


def scaling(run):
    """Assumptions, then for each number of CPUs: ns a block on each CPU, for memarena at best and at worst, and for one
    cursor moved by an atomic addition. None without the points that it starts from."""
    ours1, ours2 = (run.one("shared-8", OURS, "allocate", n) for n in (1, 2))
    add1, add2 = (run.one("shared-8", "fetch_add on one cursor", "allocate", n) for n in (1, 2))
    if not (ours1 and ours2 and add1 and add2):
        return None
    block = ours1["median"]
    transfer = add2["median"] / 2  # two CPUs: in the time of one block each, the line moves twice
    refills = 8 / TLAB
    points = []
    for cpus in CPUS:
        best = (
            block + refills * (transfer if cpus > 1 else 0) * 2
        )  # 55 of 64 shards have a home lane, none more than two
        worst = block + refills * transfer * cpus * (cpus > 1)  # all refill from one word, each waiting for all others
        add = add1["median"] if cpus == 1 else transfer * cpus
        points.append((cpus, best, worst, add))
    return {"block": block, "transfer": transfer, "points": points, "two": (ours2["median"], add2["median"])}


def scaling_text(run):
    model = scaling(run)
    if not model:
        yield "Not without the case `shared-8` for one and two threads."
        return
    yield "A model, for CPUs that this machine has not. Its assumptions:"
    yield ""
    yield f"- a block takes {short(model['block'])} ns on its CPU as long as its TLAB lasts (measured: `shared-8`, one thread);"
    yield (
        f"- a word that several CPUs write moves in {short(model['transfer'])} ns from one to the next (measured: half the"
        " time of `fetch_add on one cursor` with two threads);"
    )
    yield f"- a TLAB of {TLAB // 1024} KiB of 8-byte blocks is refilled every {TLAB // 8} blocks, by one write to one shared word;"
    yield "- at best that word has two users (64 lanes meet 55 of 64 shards, none more than twice); at worst, when all shards"
    yield "  but one are spent, all refill from the same word and wait for each other;"
    yield "- memory bandwidth and the sharing of caches are left out: they meet every allocator alike."
    yield ""
    yield from table(
        [
            "CPUs",
            "memarena at best, ns a block",
            "at worst",
            "fetch_add on one cursor",
            "blocks in a microsecond, all CPUs, at worst",
            "fetch_add's",
        ],
        [
            [str(n), short(best), short(worst), short(add), short(1000 * n / worst), short(1000 * n / add)]
            for n, best, worst, add in model["points"]
        ],
    )
    predicted = model["points"][1]
    yield (
        f"The point that can be checked here, two CPUs: predicted {short(predicted[1])} to {short(predicted[2])} ns, measured"
        f" {short(model['two'][0])}. With more CPUs than lanes (64) the threads beyond use per-CPU TLABs: add the"
        " difference between the rows `memarena` and `memarena, per CPU`."
    )


# ---- Charts ---------------------------------------------------------------------------------------------------------


def gnuplot(path, title, commands, data, size="820,480"):
    script = [
        f"set terminal svg size {size} noenhanced font 'sans,12' background '#ffffff'",
        f"set output '{path}'",
        f'set title "{title}"',
        "set border 3 lc rgb '#555555'",
        "set tics nomirror",
        "set grid lc rgb '#e0e0e0'",
    ]
    for name, lines in data.items():
        script += [f"${name} << EOD", *lines, "EOD"]
    subprocess.run(["gnuplot"], input="\n".join(script + commands) + "\n", text=True, check=True)


def kind_of(peer):
    return "ours" if peer in FAMILY else "limit" if peer == LIMIT else "other"


def bars(path, title, unit, rows, log=False):
    """One bar for each (peer, value), the shortest at the top, with its value behind it."""
    rows = sorted(rows, key=lambda r: -r[1])
    most = max(value for _, value in rows)
    data = {kind: [] for kind in COLORS}
    labels = []
    for i, (peer, value) in enumerate(rows):
        data[kind_of(peer)].append(f"{value} {i}")
        data.setdefault("text", []).append(f'{value} {i} "{short(value)}"')
        labels.append(f'"{peer}" {i}')
    low = 0
    if log:
        low = 0.6 * min(value for _, value in rows)
    plots = [
        f"${k} using (({low}+$1)/2.0):2:(($1-{low})/2.0):(0.36) with boxxyerrorbars fs solid lc rgb '{COLORS[k]}' notitle"
        for k in COLORS
        if data[k]
    ]
    if log:
        plots = [
            f"${k} using 1:2:({low}):1:($2-0.36):($2+0.36) with boxxyerrorbars fs solid lc rgb '{COLORS[k]}' notitle"
            for k in COLORS
            if data[k]
        ]
    plots.append("$text using 1:2:3 with labels left offset 0.5,0 font ',10' notitle")
    commands = [
        f"set xlabel '{unit}'",
        f"set ytics ({', '.join(labels)}) font ',10'",
        f"set yrange [-0.7:{len(rows) - 0.3}]",
        "unset grid",
        "set grid xtics lc rgb '#e0e0e0'",
    ]
    if log:
        commands += ["set logscale x", f"set xrange [{low}:{most * 2}]"]
    else:
        commands += [f"set xrange [0:{most * 1.12}]"]
    gnuplot(
        path,
        title,
        commands + ["plot " + ", ".join(plots)],
        {k: v for k, v in data.items() if v},
        f"820,{110 + 22 * len(rows)}",
    )


def lines(path, title, xlabel, ylabel, series, xtics=None, logs="xy", key="outside right"):
    """Lines with points; `series`: name -> [(x, y)]."""
    data, plots = {}, []
    palette = [
        "#c0392b",
        "#e67e22",
        "#f1c40f",
        "#27ae60",
        "#16a085",
        "#2980b9",
        "#8e44ad",
        "#7f8c8d",
        "#34495e",
        "#d35400",
        "#95a5a6",
        "#1abc9c",
        "#9b59b6",
        "#2c3e50",
    ]
    for i, (name, points) in enumerate(series.items()):
        data[f"s{i}"] = [f"{x} {y}" for x, y in points]
        width = 3 if name in FAMILY else 1.5
        plots.append(
            f"$s{i} using 1:2 with linespoints lw {width} pt {i % 13 + 1} ps 0.6 lc rgb '{palette[i % len(palette)]}'"
            f' title "{name}"'
        )
    commands = [f"set xlabel '{xlabel}'", f"set ylabel '{ylabel}'", f"set key {key} font ',10'"]
    commands += [f"set logscale {axis}" + (" 2" if axis == "x" else "") for axis in logs]
    if xtics:
        commands.append(f"set xtics ({xtics})")
    gnuplot(path, title, commands + ["plot " + ", ".join(plots)], data, "900,520")


def values(run, case, measure, threads=1, key="median"):
    return [(r["peer"], r[key]) for r in run.select(case, measure, threads) if r[key]]


def draw(run, directory):
    """Draws what the run has; the names of the files and what they show."""
    drawn = []

    def chart(name, text, function, *arguments, **options):
        if not arguments[-1]:
            return
        function(os.path.join(directory, name), text, *arguments, **options)
        drawn.append((name, text))

    chart(
        "small.svg",
        "8-byte blocks, one thread: times the limit loop",
        bars,
        "times the limit loop (log)",
        values(run, "one-8", "allocate", key="x_limit"),
        log=True,
    )
    chart(
        "bulk.svg",
        "256 MB of blocks of 16 to 256 bytes: allocate and give back",
        bars,
        "ns a block (log)",
        values(run, "bulk", "both"),
        log=True,
    )
    chart(
        "request.svg",
        "A request: ten blocks of 64 bytes and their end",
        bars,
        "ns a request (log)",
        values(run, "request", "request"),
        log=True,
    )
    chart(
        "heap.svg",
        "New blocks of 16 to 256 bytes beside 10 million live ones",
        bars,
        "mean ns a block (log)",
        values(run, "heap", "mixed mean"),
        log=True,
    )
    chart(
        "trees.svg",
        "A binary tree of depth 18: built, walked, released",
        bars,
        "ns a node",
        values(run, "trees", "tree"),
    )
    chart("cold.svg", "A fresh process writes 64 MiB of blocks", bars, "ns a block", values(run, "cold", "touch"))

    threads = run.threads_of("crowd")
    series = {}
    for peer in run.peers_of("crowd"):
        points = [
            (r["threads"], r["median"]) for r in run.select("crowd", "allocate") if r["peer"] == peer and r["median"]
        ]
        if points:
            series[peer] = points
    chart(
        "crowd.svg",
        "Threads on one allocator, 8-byte blocks",
        lines,
        "threads",
        "ns of a CPU for a block",
        series,
        xtics=", ".join(str(n) for n in threads),
    )
    points = ("p50", "p99", "p99.9", "p99.99")
    series = {}
    for peer in run.peers_of("latency-mixed"):
        series[peer] = [(i, run.one("latency-mixed", peer, p)["median"]) for i, p in enumerate(points)]
    shown = {
        p: s
        for p, s in series.items()
        if p in FAMILY
        or p in (LIMIT, GLIBC, "mimalloc", "jemalloc", "tcmalloc", "APR pool, own", "protobuf Arena", "Boehm GC")
    }
    chart(
        "latency.svg",
        "Single blocks of 16 to 256 bytes, the clock included",
        lines,
        "percentile",
        "ns",
        shown,
        xtics=", ".join(f"'{p}' {i}" for i, p in enumerate(points)),
        logs="y",
    )
    model = scaling(run)
    if model:
        series = {
            "memarena at best (model)": [(n, n / b) for n, b, _, _ in model["points"]],
            "memarena at worst (model)": [(n, n / w) for n, _, w, _ in model["points"]],
            "fetch_add on one cursor (model)": [(n, n / a) for n, _, _, a in model["points"]],
            "memarena (measured)": [(1, 1 / model["block"]), (2, 2 / model["two"][0])],
            "fetch_add (measured)": [(1, 1 / model["points"][0][3]), (2, 2 / model["two"][1])],
        }
        chart(
            "scaling.svg",
            "8-byte blocks: a model from measured points",
            lines,
            "CPUs",
            "blocks in a nanosecond, all CPUs",
            series,
            xtics=", ".join(str(n) for n in CPUS),
            key="top left",
        )
    return drawn


# ---- The page -------------------------------------------------------------------------------------------------------


def page(run, charts):
    yield "# Measured"
    yield ""
    yield "Made by `make bench-report`; [bench/README.md](../../bench/README.md) says what is measured and how. All peers of a"
    yield "table took turns in one run. `x limit`: times the limit loop of the same rounds. Raw numbers: `bench.csv`,"
    yield "`instructions.csv`."
    yield ""
    yield "`" + run.origin.split("; command:")[0] + "`"
    yield ""
    for name, text in charts:
        yield f"![{text}]({name})"
    yield ""
    yield "## Where memarena does not win"
    yield ""
    yield from not_won(run)
    for case, kind, title in BLOCKS:
        for threads in run.threads_of(case):
            several = threads > 1 or case.startswith("shared")
            yield f"## {title}" + (f": {threads}" if several else "") + f" (`{case}`)"
            yield ""
            yield from block_table(run, case, kind, threads)
    if run.select("crowd"):
        yield "## Many threads on one allocator (`crowd`): ns of a CPU for an 8-byte block"
        yield ""
        yield from thread_table(run, "crowd", "allocate", "allocate")
        yield from thread_table(run, "crowd", "both", "allocate and give back")
    for case, title, unit in (
        ("request", "A request: ten blocks of 64 bytes, and their end", "ns a request"),
        ("trees", "A binary tree of depth 18", "ns a node"),
        ("latency-8", "Single blocks of 8 bytes, the clock included", "ns"),
        ("latency-mixed", "Single blocks of 16 to 256 bytes, the clock included", "ns"),
        ("cold", "A fresh process writes 64 MiB of blocks of 16 to 256 bytes", "ns a block"),
    ):
        for threads in run.threads_of(case):
            yield f"## {title}" + (f": {threads} threads" if threads > 1 else "") + f" (`{case}`)"
            yield ""
            yield from plain_table(run, case, threads, unit)
    for case, title, unit in (("heap", "New blocks beside ten million live ones, with holes", "ns a block"),):
        if run.select(case):
            yield f"## {title} (`{case}`)"
            yield ""
            yield from plain_table(run, case, 1, unit, with_limit=False)
    for case, measure, title, unit in (
        (
            "held",
            "resident",
            "Memory that a hundred blocks of 64 bytes in each thread make "
            "resident (`held`): bytes a thread, 6400 of them the blocks",
            "bytes a thread",
        ),
        ("fill", "given out", "How much of an arena its threads get (`fill`)", "percent"),
    ):
        if run.select(case):
            yield f"## {title}"
            yield ""
            yield from thread_table(run, case, measure, unit)
    for case, title in (
        ("reset", "One reset, by capacity"),
        ("reset-lanes", "One reset, by lanes in use"),
        ("life", "Create and destroy"),
        ("same-address", "The same memory after a reset"),
    ):
        if run.select(case):
            yield f"## {title} (`{case}`)"
            yield ""
            yield from own_table(run, case)
    index = run.text("index.txt")
    if index:
        yield "## A program: the index of all identifiers below /usr/include (`make demo`)"
        yield ""
        yield "<!-- not run: what make demo printed, index.txt -->"
        yield "```text"
        yield index
        yield "```"
        yield ""
    yield "## The tables of the original"
    yield ""
    yield from original(run)
    yield "## More CPUs than here"
    yield ""
    yield from scaling_text(run)


def main():
    if len(sys.argv) not in (2, 3) or sys.argv[1].startswith("-"):
        print(__doc__.strip(), file=sys.stderr)
        sys.exit(2)
    results, directory = sys.argv[1], sys.argv[-1]
    try:
        run = Run(results)
    except (OSError, KeyError, ValueError) as error:
        sys.exit(f"report.py: no results in {results}: {error}; make them with `make bench`")
    os.makedirs(directory, exist_ok=True)
    charts = []
    if shutil.which("gnuplot"):
        charts = draw(run, directory)
    else:
        print("report.py: no charts, gnuplot is missing", file=sys.stderr)
    with open(os.path.join(directory, "report.md"), "w", encoding="utf-8") as file:
        file.writelines(line + "\n" for line in page(run, charts))
    print(f"{directory}/report.md and {len(charts)} charts")


main()
