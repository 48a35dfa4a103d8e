"""memarena in gdb, of a live process or a core:

    (gdb) source memarena-gdb.py
    (gdb) print arena             what an arena or a scope holds, in a line
    (gdb) memarena arena          the same with lanes and sources of an arena, extents of a scope

The library must have debug information (-g); the program itself need not. Numbers are those of memarena_stats: this file
reads the structures as src/arena/account.c, src/generation/close.c and src/scope/extent.c do. A process that was stopped in the middle of a call
may show that call half done.
"""
import gdb
import gdb.printing

LANES = 64  # MA_LANES
LANE_BYTES = 128
BASE_MOVING = 1  # MA_BASE_MOVING
GRAIN_BITS = 3
WORD_OFFSET_BITS = 44  # of a library whose pools do not say
STACK_TAG_BITS = 10
NO_TYPES = "no debug information of the library here; build it with -g"


class Problem(Exception):
    """What is said instead of an answer, in a line."""


def number(value):
    return int(value)


def bits(word):
    return [i for i in range(64) if word >> i & 1]


def library_type(name):
    try:
        return gdb.lookup_type(name)
    except gdb.error:
        raise Problem(NO_TYPES) from None


def at(name, address):
    """The library's structure of that name at an address."""
    return gdb.Value(address).cast(library_type(name).pointer()).dereference()


def count(many, one):
    return "%d %s%s" % (many, one, "" if many == 1 else "s")


def tag_age(word, tag_shift, generation):
    """As ma_word_age: 0 the word is of this generation, above it is older, below newer."""
    tag_bits = 64 - tag_shift
    distance = (generation - (word >> tag_shift)) & ((1 << tag_bits) - 1)
    return distance - (1 << tag_bits) if distance >> (tag_bits - 1) else distance


def class_units(size_class):
    return size_class + 1 if size_class < 3 else (4 + (size_class - 3 & 3)) << (size_class - 3 >> 2)


class Arena:
    def __init__(self, address):
        self.address = address
        self.it = at("ma_arena", address)
        self.pool = self.it["pool"]
        self.extents = self.it["extents"]
        self.generation = number(self.pool["generation"])
        self.shard_count = number(self.pool["shard_count"])
        named = [field.name for field in self.pool.type.fields()]
        self.offset_bits = number(self.pool["offset_bits"]) if "offset_bits" in named else WORD_OFFSET_BITS
        self.name = self.it["name"].string(errors="replace")
        self.capacity = number(self.it["capacity"])

    def title(self):
        return "%#x arena%s" % (self.address, ' "%s"' % self.name if self.name else "")

    # ---- Lanes

    def lanes(self):
        """Those that have been used: (number, lane), lanes of CPUs from LANES on."""
        if self.it["has_lanes"]:
            first = number(self.pool["sources"]) - LANES * LANE_BYTES
            for i in bits(number(self.it["lanes_used"])):
                yield i, at("ma_lane", first + i * LANE_BYTES)
        first = number(self.it["cpus"]["first"])
        for i in range(number(self.it["cpus_used"])):
            yield LANES + i, at("ma_lane", first + i * LANE_BYTES)

    def handed_out(self, lane):
        if number(lane["generation"]) != self.generation:
            return 0
        base, width = number(lane["base"]), 8 * lane["base"].type.sizeof
        if base == BASE_MOVING:
            return number(lane["settled"])
        return (base + number(lane["tlab"]["cursor_"])) & ((1 << width) - 1)

    # ---- Sources

    def word_offset(self, word, start):
        if tag_age(word, self.offset_bits, self.generation) != 0:
            return start
        return (word & ((1 << self.offset_bits) - 1)) << GRAIN_BITS

    def sources(self):
        """(number, begin, claimed up to, end)"""
        shard_bytes = number(self.pool["shard_bytes"])
        for i in range(self.shard_count + 1):
            begin = i * shard_bytes
            end = begin + shard_bytes if i < self.shard_count else number(self.pool["capacity"])
            yield i, begin, self.word_offset(number(self.pool["sources"][i]["word"]), begin), end

    # ---- Extents and scopes

    def caches(self):
        """(is of a lane, cache), the one shared by threads without a lane first."""
        yield False, self.extents["caches"][LANES if self.it["has_lanes"] else 0]
        for i in bits(number(self.it["scope_lanes"])):
            yield True, self.extents["caches"][i]

    def open_scopes(self):
        return sum(number(cache["opened"]) - number(cache["ended"]) for _, cache in self.caches())

    def free_extent_bytes(self):
        units = 0
        for of_lane, cache in self.caches():
            if not of_lane or number(cache["generation"]) != self.generation:
                continue
            units += number(cache["ready"]) != 0
            low, high = cache["counts"].type.range()
            units += sum(class_units(i) * number(cache["counts"][i]) for i in range(low, high + 1))
        for i in range(number(self.extents["class_count"]) * number(self.extents["stripes"])):
            head = number(self.extents["stacks"][i])
            index = head & number(self.extents["index_mask"])
            if index and tag_age(head, 64 - STACK_TAG_BITS, self.generation) == 0:
                link = self.extents["links"][index - 1]
                units += (number(link["next_and_units"]) >> 32) + number(link["units_below"])
        return units << number(self.extents["unit_shift"])

    # ---- Accounts

    def allocated(self):
        """As ma_account_allocated."""
        total = sum(self.handed_out(lane) for _, lane in self.lanes())
        for i in range(self.shard_count + 1):
            total += self.word_offset(number(self.pool["sources"][i]["direct"]), 0)
        total -= self.free_extent_bytes()
        mask = ((1 << self.offset_bits) - 1) << GRAIN_BITS
        total &= mask & ((1 << 8 * self.it["capacity"].type.sizeof) - 1)
        return min(total, number(self.pool["capacity"]))

    def summary(self):
        return "%s: %d of %d bytes handed out, generation %d, %s, %s" % (
            self.title(), self.allocated(), self.capacity, self.generation,
            count(sum(1 for _ in self.lanes()), "lane") + " in use", count(self.open_scopes(), "open scope"))

    def report(self):
        yield self.summary()
        yield "  free extents: %d bytes" % self.free_extent_bytes()
        if str(self.it["watch"]) != "MA_WATCH_NONE":
            yield "  watched: %s" % self.it["watch"]
        yield "  lane         generation  cursor              limit                   left    handed out      tails"
        for i, lane in self.lanes():
            name = str(i) if i < LANES else "CPU %d" % (i - LANES)
            generation = number(lane["generation"])
            if generation != self.generation:
                yield "  %-8s %14d  not used in this generation" % (name, generation)
                continue
            cursor, limit = number(lane["tlab"]["cursor_"]), number(lane["limit"])
            end = number(lane["tlab"]["end_"])
            yield "  %-8s %14d  %#-18x  %#-18x %9d  %12d  %9d%s" % (
                name, generation, cursor, limit, max(limit - cursor, 0), self.handed_out(lane),
                number(lane["tail_bytes"]), "" if end == limit or i >= LANES else "  (emptied)")
        yield "  source     claimed            of  at"
        for i, begin, tip, end in self.sources():
            if tip != begin:
                name = "frontier" if i == self.shard_count else "%d" % i
                base, spread = number(self.pool["base"]), number(self.it["spread"])
                yield "  %-8s %9d  %12d  %#x" % (name, tip - begin, end - begin, base + begin * spread)


class Scope:
    def __init__(self, address):
        self.address = address
        self.it = at("ma_scope", address)
        self.root = Arena(number(self.it["root"]))

    def allocated(self):
        """As ma_scope_allocated."""
        total = sum(number(value) for value in (self.it["base"], self.it["tlab"]["cursor_"]))
        return total & ((1 << 8 * self.it["base"].type.sizeof) - 1)

    def summary(self):
        parent = number(self.it["parent"])
        return "%#x scope of %s%s: %d bytes handed out, %d held, generation %d, %s in it" % (
            self.address, self.root.title(), ", in scope %#x" % parent if parent else "", self.allocated(),
            number(self.it["held"]), number(self.it["generation"]),
            count(number(self.it["children"]), "open scope"))

    def report(self):
        yield self.summary()
        yield "  extent                  bytes"
        extent, shift = number(self.it["newest"]), number(self.root.extents["unit_shift"])
        bumped, seen = number(self.it["bumped"]), set()
        while extent and extent not in seen:
            seen.add(extent)
            it = at("ma_extent", extent)
            note = ""
            if extent == bumped:
                left = number(self.it["limit"]) - number(self.it["tlab"]["cursor_"])
                note = "  (being bumped, %d left)" % left
            yield "  %#-18x %10d%s" % (extent >> shift << shift, number(it["units"]) << shift, note)
            extent = number(it["older"])


def of_handle(address):
    """The arena or scope at an address."""
    try:
        kind = str(at("ma_arena", address)["kind"])
        if kind in ("MA_KIND_ARENA", "MA_KIND_PER_CPU"):
            return Arena(address)
        if kind == "MA_KIND_SCOPE":
            return Scope(address)
    except gdb.MemoryError:
        raise Problem("no memory of this process") from None
    raise Problem("an ended scope" if kind == "MA_KIND_ENDED" else "not an arena or a scope")


class Handle:
    """Pretty-prints a pointer to an arena or a scope."""

    def __init__(self, value):
        self.address = number(value)

    def to_string(self):
        if self.address == 0:
            return "0x0"
        try:
            return of_handle(self.address).summary()
        except (Problem, gdb.error) as problem:
            return "%#x (%s)" % (self.address, problem)


class Printer(gdb.printing.PrettyPrinter):
    def __call__(self, value):
        kind = value.type.strip_typedefs()
        if kind.code != gdb.TYPE_CODE_PTR:
            return None
        return Handle(value) if kind.target().strip_typedefs().tag in ("memarena", "ma_arena", "ma_scope") else None


class Command(gdb.Command):
    """Shows what an arena or a scope of memarena holds.
Usage: memarena EXPRESSION

EXPRESSION is a `memarena *`. Of an arena: its lanes and what is claimed of its sources. Of a scope: its extents."""

    def __init__(self):
        super().__init__("memarena", gdb.COMMAND_DATA, gdb.COMPLETE_EXPRESSION)

    def invoke(self, argument, from_tty):
        if not argument:
            raise gdb.GdbError("usage: memarena EXPRESSION")
        try:
            address = number(gdb.parse_and_eval(argument).cast(gdb.lookup_type("unsigned long")))
            for line in of_handle(address).report():
                print(line)
        except (Problem, gdb.error) as problem:
            raise gdb.GdbError("%s: %s" % (argument, problem)) from None


gdb.printing.register_pretty_printer(None, Printer("memarena"), replace=True)
Command()
