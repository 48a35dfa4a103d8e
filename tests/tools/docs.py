#!/usr/bin/env python3
"""Every code block of the documents is compiled and run, and what it is said to print it prints.

usage: docs.py SOURCE-DIRECTORY BUILD-DIRECTORY STATIC-LIBRARY DOCUMENT...
       docs.py --self-test SOURCE-DIRECTORY BUILD-DIRECTORY STATIC-LIBRARY

A block is fenced by ``` at the beginning of a line. Each document has a directory of its own in which its blocks are
run in order; SOURCE-DIRECTORY is `memarena` there. What is done with a block says its language:

    c, c++         A whole program, with a main. Built with -std=c11 or -std=c++17, all warnings errors, and the static
                   libraries (libmemarena-look.a beside STATIC-LIBRARY); it must exit with 0.
    sh             All of it is run by one `sh -eu`, which must exit with 0.
    console        Lines that begin with "$ " are commands, each run by a sh of its own; what stands below one is what
                   it prints. Each must exit with 0.
    text           Needs one of the comments below.
    cmake, make    Needs `file`.
    another        Needs `run by` or `not run`.

More is said by HTML comments, each in a line of its own, directly above the block:

    <!-- file: NAME -->     The block is saved under this name, for the commands and programs below it, one of which must
                            name it. (A program is run besides; other C needs no main then.)
    <!-- output -->         The block is all that the block before printed.
    <!-- prints: TEXT -->   The last line that this block prints is TEXT.
    <!-- exits: N -->       The program, or the last command of the block, exits with N.
    <!-- in: FILE -->       A fragment of C: FILE, of the source tree, includes it as "block.inc" and is the program.
    <!-- needs: TOOL... -->    Skipped where one of these commands is missing. (Of pkg-config it need not be said.)
    <!-- uses: MODULE... -->    Built with what pkg-config says of these; skipped where it does not know one.
    <!-- run by: SCRIPT -->     A test of the source tree, which names this document, runs it.
    <!-- not run: WHY -->       Nothing is done. (With `file`, a program is built nevertheless.)

In expected output "..." stands for anything within a line, and a line "..." for any number of lines. Programs write to
a terminal, so that stdout and stderr are together and in order.

The commands of README.md start from the source tree alone. Those of the other documents find the library installed,
as the README says. `sudo` and `ldconfig` do nothing of their own, and PREFIX is below the document's directory.

What is not as said above, be it a comment that is not known, is a failure: no block is left out by mistake.
Exit status: 0 all blocks are right, 1 one is not, 77 all were skipped.
"""
import os
import re
import resource
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time

WARNINGS = "-Wall -Wextra -Wpedantic -Wconversion -Wshadow -Werror".split()
PROGRAMS = {"c": ("cc", "-std=c11", ".c"), "c++": ("c++", "-std=c++17", ".cc")}
KEYS = {"file", "output", "prints", "exits", "in", "needs", "uses", "run by", "not run"}
HAS_MAIN = re.compile(r"^int main\(", re.M)
NAMELESS = {"Makefile": "make", "CMakeLists.txt": "cmake"}  # what stands for these in a command
CPU_LIMIT_S = 250  # of a process; a busy machine may take as long as it likes, but for ever
LIMIT_S = 3000


def limit():
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_LIMIT_S, CPU_LIMIT_S))


class Wrong(Exception):
    pass


class Skipped(Exception):
    pass


class Block:
    def __init__(self, line, language, comments):
        self.line, self.language, self.comments = line, language, comments
        self.lines = []

    @property
    def text(self):
        return "".join(line + "\n" for line in self.lines)

    def words(self, key):
        return self.comments.get(key, "").split()


def parse(text):
    """The blocks of a document."""
    blocks, comments, inside, blank = [], {}, None, True
    for number, line in enumerate(text.split("\n"), 1):
        if inside:
            if line.startswith("```"):
                inside = None
            else:
                inside.lines.append(line)
            continue
        comment = re.fullmatch(r"<!-- ([a-z ]+?)(?:: *(.*?))? -->", line)
        if line.startswith("```"):
            inside = Block(number, line[3:].strip(), comments)
            blocks.append(inside)
            comments, blank = {}, True
            continue
        if re.match(r"\s+(```|~~~)|~~~", line):
            raise Wrong(f"line {number}: a block is fenced by ``` at the beginning of a line")
        if re.match(r"( {4}|\t)\s*\S", line) and blank:
            raise Wrong(f"line {number}: an indented block; fence it, so that it is run")
        if comment and comment[1] in KEYS:
            comments[comment[1]] = comment[2] or ""
        elif comments:
            raise Wrong(f"line {number}: no block follows the comment above it")
        elif comment:
            raise Wrong(f"line {number}: a comment that is not known: {comment[1]}")
        blank = not line.strip()
    if inside:
        raise Wrong(f"line {inside.line}: a block without an end")
    if comments:
        raise Wrong("no block follows the last comment")
    return blocks


def compare(expected, printed):
    """Whether this is what was expected; there, "..." stands for anything."""
    expected, printed = expected.rstrip("\n").split("\n"), printed.rstrip("\n")
    pattern = ""
    for line in expected:
        pattern += r"(?:.*\n)*?" if line == "..." else ".*".join(map(re.escape, line.split("..."))) + "\n"
    if not re.fullmatch(pattern, printed + "\n"):
        raise Wrong("expected:\n" + "\n".join(expected) + "\nprinted:\n" + printed)


class Document:
    def __init__(self, source, build, library, name, text, directory):
        self.source, self.build, self.library = source, build, library
        self.name, self.text, self.directory = name, text, directory
        self.done = self.skipped = 0
        self.saved = {}  # by `file`: name and text
        self.printed = None  # by the last block that was run; None: it was skipped
        self.installed = name == "README.md"
        self.still = ["setarch", "-R"] if subprocess.run(["setarch", "-R", "true"], capture_output=True).returncode == 0 else []
        os.symlink(source, os.path.join(directory, "memarena"))
        self.environment = self.make_environment()

    def path(self, *names):
        return os.path.join(self.directory, *names)

    def make_environment(self):
        os.mkdir(self.path(".bin"))
        for name, what in (("sudo", 'exec "$@"'), ("ldconfig", ":")):
            with open(self.path(".bin", name), "w") as file:
                file.write(f"#!/bin/sh\n{what}\n")
            os.chmod(file.name, 0o755)
        left_out = ("MAKE", "MFLAGS", "DESTDIR", "CFLAGS", "CPPFLAGS", "LDFLAGS", "CMAKE", "BUILD_SHARED_LIBS", "NINJA")
        environment = {key: value for key, value in os.environ.items() if not key.startswith(left_out)}
        prefix = self.path(".prefix")
        environment.update(
            PATH=self.path(".bin") + ":" + os.environ["PATH"],
            PREFIX=prefix,
            BUILD=self.path(".build"),
            LD_LIBRARY_PATH=f"{prefix}/lib:{prefix}/lib64",
            PKG_CONFIG_PATH=f"{prefix}/lib/pkgconfig:{prefix}/lib64/pkgconfig:" + os.environ.get("PKG_CONFIG_PATH", ""),
            CMAKE_PREFIX_PATH=prefix,
            ASAN_OPTIONS="color=never:detect_leaks=0",
            LC_ALL="C",
            TERM="dumb",
        )
        return environment

    def install(self):
        """What the reader of any document but the README has done before."""
        if not self.installed:
            command = ["cmake", "--install", self.build, "--prefix", self.path(".prefix")]
            result = subprocess.run(command, capture_output=True, text=True)
            if result.returncode != 0:
                raise Wrong("cmake --install: " + result.stdout + result.stderr)
            for directory, names, _ in os.walk(self.path(".prefix")):
                if "pkgconfig" in names:  # lib, lib64, lib/x86_64-linux-gnu
                    self.environment["LD_LIBRARY_PATH"] = directory
                    self.environment["PKG_CONFIG_PATH"] = directory + "/pkgconfig:" + os.environ.get("PKG_CONFIG_PATH", "")
        self.installed = True

    def run(self, command):
        """Runs it in the document's directory at a terminal: its exit status as a shell counts, and what it printed."""
        ours, its = os.openpty()
        process = subprocess.Popen(
            self.still + command,
            cwd=self.directory,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=its,
            stderr=its,
            start_new_session=True,
            preexec_fn=limit,
        )
        os.close(its)
        printed, end = b"", time.monotonic() + LIMIT_S
        try:
            while select.select([ours], [], [], max(0, end - time.monotonic()))[0]:
                try:
                    data = os.read(ours, 65536)
                except OSError:  # EIO: everybody has closed it
                    break
                if not data:
                    break
                printed += data
            else:
                os.killpg(process.pid, signal.SIGKILL)
                printed += b"\n(stopped: it took too long)\n"
        finally:
            os.close(ours)
        status = process.wait()
        return 128 - status if status < 0 else status, printed.decode(errors="replace").replace("\r\n", "\n")

    def check_run(self, command, status):
        got, printed = self.run(command)
        if got != status:
            raise Wrong(f"exit {got}: {' '.join(command)}\n{printed}")
        return printed

    def flags(self, block):
        """Of the libraries that it uses."""
        modules = block.words("uses")
        if not modules:
            return []
        self.tools(["pkg-config"])
        result = subprocess.run(["pkg-config", "--cflags", "--libs"] + modules, capture_output=True, text=True)
        if result.returncode != 0:
            raise Skipped("not installed: " + " ".join(modules))
        return result.stdout.split()

    def tools(self, names):
        for name in names:
            if not shutil.which(name):
                raise Skipped(f"{name} is not installed")

    def program(self, block, status):
        """Builds and runs it; status None: only builds it."""
        compiler, standard, suffix = PROGRAMS[block.language]
        self.tools([compiler])
        flags = self.flags(block)
        name = block.comments.get("file") or f"block-{block.line}{suffix}"
        source = self.path(name)
        if "in" in block.comments:
            source = os.path.join(self.source, block.comments["in"])
            if not os.path.isfile(source):
                raise Wrong(f"no such file: {block.comments['in']}")
            name = "block.inc"
        elif not HAS_MAIN.search(block.text):
            raise Wrong("a fragment: say what it is `in`")
        with open(self.path(name), "w") as file:
            file.write(block.text)
        include, program = os.path.join(self.source, "include"), f"./.block-{block.line}"
        build = [compiler, standard, "-O2", *WARNINGS, "-I" + include, "-I" + self.directory, source]
        build += [os.path.join(os.path.dirname(self.library), "libmemarena-look.a"), self.library]
        self.check_run(build + ["-pthread", "-o", program] + flags, 0)
        return None if status is None else self.check_run([program], status)

    def console(self, block, status):
        self.install()
        commands = []
        for line in block.lines:
            if line.startswith("$ "):
                commands.append([line[2:], ""])
            elif not commands:
                raise Wrong("it does not begin with a command")
            elif commands[-1][0].endswith("\\") and not commands[-1][1]:
                commands[-1][0] += "\n" + line
            else:
                commands[-1][1] += line + "\n"
        everything = ""
        for i, (command, expected) in enumerate(commands):
            printed = self.check_run(["sh", "-c", command], status if i == len(commands) - 1 else 0)
            compare(expected, printed)
            everything += printed
        return everything

    def check(self, block):
        """Does what the block and its comments say; True: it was run."""
        comments = block.comments
        is_program = block.language in PROGRAMS and ("file" not in comments or HAS_MAIN.search(block.text))
        if "not run" in comments:
            if not comments["not run"]:
                raise Wrong("not run, and it does not say why")
            if "file" in comments and is_program:
                self.program(block, None)
            return False
        if "run by" in comments:
            script = os.path.join(self.source, comments["run by"])
            if not os.path.isfile(script) or self.name not in open(script).read():
                raise Wrong(f"{comments['run by']} does not name {self.name}")
            return False
        self.tools(block.words("needs"))
        if block.language in ("sh", "console"):
            used = [text for name, text in self.saved.items() if NAMELESS.get(name, name) in block.text]
            if any("pkg-config" in text for text in [block.text] + used):
                self.tools(["pkg-config"])
        status = int(comments.get("exits") or 0)
        if "file" in comments:
            with open(self.path(comments["file"]), "w") as file:
                file.write(block.text)
            self.saved[comments["file"]] = block.text
        if "output" in comments:
            if block.language != "text":
                raise Wrong("output is `text`")
            if self.printed is None:
                raise Skipped("so was what prints it")
            if self.printed == "":
                raise Wrong("what stands above it prints nothing")
            compare(block.text, self.printed)
            return True
        self.printed = None
        if is_program:
            self.printed = self.program(block, status)
        elif block.language == "sh":
            self.install()
            self.printed = self.check_run(["sh", "-euc", block.text], status)
        elif block.language == "console":
            self.printed = self.console(block, status)
        elif "file" not in comments:
            raise Wrong(f"nothing is known about a block of {block.language or 'no language'}: see tests/tools/docs.py")
        if "prints" in comments and self.printed is not None:
            compare(comments["prints"], self.printed.rstrip("\n").split("\n")[-1])
        return True

    def check_all(self):
        """Goes through all blocks; the failures."""
        try:
            blocks = parse(self.text)
        except Wrong as wrong:
            return [f"{self.name}: {wrong}"]
        failures = []
        for i, block in enumerate(blocks):
            where = f"{self.name}:{block.line}"
            try:
                name = block.comments.get("file")
                if name and not any(NAMELESS.get(name, name) in other.text for other in blocks[i + 1 :]):
                    raise Wrong(f"{name} is not used")
                self.done += self.check(block)
            except Skipped as why:
                print(f"  {where}: skipped: {why}")
                self.skipped += 1
            except Wrong as wrong:
                failures.append(f"{where}: {wrong}")
        return failures


def check_document(source, build, library, name, text):
    with tempfile.TemporaryDirectory() as directory:
        document = Document(source, build, library, name, text, directory)
        return document, document.check_all()


MAIN = '```c\n#include <stdio.h>\nint main(void)\n{\n    puts("tea 7");\n}\n```\n'
PLANTED = (  # a document, and what must be said of it; None: nothing
    (MAIN, None),
    (MAIN + "<!-- output -->\n```text\ntea 7\n```\n", None),
    (MAIN + "<!-- output -->\n```text\nt... 7\n...\n```\n", None),
    (MAIN + "<!-- output -->\n```text\ntea 8\n```\n", "expected:\ntea 8"),
    (MAIN + "<!-- output -->\n```text\ntea 7\ntea 7\n```\n", "printed:\ntea 7"),
    (MAIN + "```text\ntea 7\n```\n", "nothing is known about a block of text"),
    (MAIN.replace("puts", "putz"), "exit 1: cc"),
    (MAIN.replace("}", "    int unused;\n}"), "unused"),
    (MAIN.replace("}", "    return 3;\n}"), "exit 3"),
    ("<!-- exits: 3 -->\n" + MAIN.replace("}", "    return 3;\n}"), None),
    ("<!-- exits: 139 -->\n" + MAIN.replace("}", "    return *(volatile int *)0;\n}"), None),
    ("<!-- prints: tea 7 -->\n" + MAIN, None),
    ("<!-- prints: tea -->\n" + MAIN, "expected:\ntea"),
    (MAIN.replace("main", "other"), "a fragment"),
    ("<!-- file: a.c -->\n" + MAIN, "a.c is not used"),
    ("<!-- file: a.c -->\n" + MAIN + "```console\n$ cc a.c -o a\n$ ./a\ntea 7\n```\n", None),
    ("<!-- file: a.c -->\n" + MAIN + "```console\n$ cc a.c -o a\n$ ./a\ntea\n```\n", "printed:\ntea 7"),
    ("```console\n$ false\n$ true\n```\n", "exit 1: sh -c false"),
    ("<!-- exits: 1 -->\n```console\n$ true\n$ false\n```\n", None),
    ("```console\ntrue\n```\n", "does not begin with a command"),
    ("```sh\nfalse\ntrue\n```\n", "exit 1"),
    ("```\na | b\n```\n", "a block of no language"),
    ("```cmake\nproject(a)\n```\n", "a block of cmake"),
    ("<!-- not run: a picture -->\n```\na | b\n```\n", None),
    ("<!-- not run -->\n```\na | b\n```\n", "does not say why"),
    ("<!-- file: a.c -->\n<!-- not run: why not -->\n" + MAIN.replace("puts", "putz") + "```sh\n: a.c\n```\n", "exit 1: cc"),
    ("<!-- run by: tests/tools/install.sh -->\n```python\n1\n```\n", "does not name"),
    ("<!-- in: tests/none.c -->\n```c\nint a;\n```\n", "no such file"),
    ("<!-- skip -->\n```c\nint a;\n```\n", "not known: skip"),
    ("<!-- not run: a picture -->\n\n```\na\n```\n", "no block follows"),
    ("Text:\n\n    make\n", "an indented block"),
    ("- a\n  ```sh\n  false\n  ```\n", "at the beginning of a line"),
    ("```sh\ntrue\n", "without an end"),
    ("<!-- needs: no-such-tool -->\n```sh\nfalse\n```\n", None),
    ("<!-- uses: no-such-library -->\n" + MAIN, None),
)


def self_test(source, build, library):
    failures = []
    for text, expected in PLANTED:
        _, found = check_document(source, build, library, "README.md", text)
        if expected is None and found or expected is not None and not (len(found) == 1 and expected in found[0]):
            failures.append(f"{expected!r} was expected of:\n{text}\nand this was said: {found}")
    print(f"  {len(PLANTED)} documents")
    return failures


def main():
    if len(sys.argv) < 5:
        print(__doc__.strip(), file=sys.stderr)
        sys.exit(2)
    try:
        os.close(os.openpty()[0])
    except OSError as error:
        print(f"skipped: no terminal can be made here: {error}")
        sys.exit(77)
    done = skipped = 0
    if sys.argv[1] == "--self-test":
        failures = self_test(*map(os.path.abspath, sys.argv[2:5]))
        done = 1
    else:
        source, build, library = map(os.path.abspath, sys.argv[1:4])
        failures = []
        for name in sys.argv[4:]:
            with open(os.path.join(source, name)) as file:
                document, wrong = check_document(source, build, library, name, file.read())
            print(f"  {name}: {document.done} blocks, {document.skipped} skipped")
            failures += wrong
            done, skipped = done + document.done, skipped + document.skipped
    for failure in failures:
        print("FAILED: " + failure, file=sys.stderr)
    sys.exit(1 if failures else 77 if skipped and not done else 0)


if __name__ == "__main__":
    main()
