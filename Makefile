# A thin front for CMake: everything it does can be typed.
BUILD ?= build
RELEASE := $(BUILD)/release

.PHONY: all amalgamation dist test fuzz demo httpd ingest lua map cross coverage audit bench bench-report bench-adapters bench-spike format format-check install clean

all: $(RELEASE)/build.ninja
	cmake --build $(RELEASE)

$(RELEASE)/build.ninja:
	@tools/setup build
	cmake -S . -B $(RELEASE) -G Ninja -DCMAKE_BUILD_TYPE=Release

# The suite in every build that this machine can make: release, asan and tsan (both with ubsan), clang, 32 bits.
test:
	@tools/setup test
	tests/run_all.sh $(BUILD)

# Random sequences of calls, under libFuzzer and AFL++, each with and without sanitizers, for so many seconds each.
SECONDS_EACH ?= 60
fuzz:
	@tools/setup fuzz
	SECONDS_EACH=$(SECONDS_EACH) tests/fuzz/run.sh $(BUILD)/fuzz

# The index of all identifiers below DIR, on the arena and on the allocators that you would otherwise use.
DIR ?= /usr/include
demo:
	@tools/setup demo
	@$(MAKE) --no-print-directory all
	examples/index/compare.sh $(RELEASE)/examples/index/memarena-index $(DIR)

# A server with a scope for each request, until Ctrl-C.
PORT ?= 8080
httpd:
	@tools/setup httpd
	@cmake -S . -B $(RELEASE) -G Ninja -DCMAKE_BUILD_TYPE=Release >/dev/null
	@cmake --build $(RELEASE) --target memarena-httpd
	@echo "try: curl -d '{\"items\":[{\"name\":\"tea\",\"price\":2.5,\"count\":4}]}' localhost:$(PORT)/totals"
	@$(RELEASE)/examples/httpd/memarena-httpd -p $(PORT)

# JSON lines parsed by some threads and added up by another, on scopes of an arena and on other allocators.
ingest:
	@tools/setup ingest
	@cmake -S . -B $(RELEASE) -G Ninja -DCMAKE_BUILD_TYPE=Release >/dev/null
	@cmake --build $(RELEASE) --target memarena-ingest
	examples/ingest/compare.sh $(RELEASE)/examples/ingest/memarena-ingest

# A Lua state for each request, in a scope and on other allocators.
lua:
	@tools/setup lua
	@cmake -S . -B $(RELEASE) -G Ninja -DCMAKE_BUILD_TYPE=Release >/dev/null
	@cmake --build $(RELEASE) --target memarena-lua
	examples/lua-request/compare.sh $(RELEASE)/examples/lua-request/memarena-lua

# A picture of an arena at work, and its numbers.
map:
	@$(MAKE) --no-print-directory all
	$(RELEASE)/examples/map/memarena-map map.html

# The library as two files to copy: memarena.c and memarena.h.
amalgamation:
	tools/amalgamate $(BUILD)/amalgamation

# The sources as $(BUILD)/memarena-VERSION.tar.xz.
dist:
	@tools/dist $(BUILD)

# What takes too long for every change: see tests/audit.sh for its parts and how to make it longer or shorter.
audit:
	@tools/setup audit
	tests/audit.sh $(BUILD)

# Which lines and branches of the library the suite runs through.
coverage:
	@tools/setup coverage
	tests/coverage.sh $(BUILD)

# The main tests on other processors, under qemu-user.
cross:
	@tools/setup cross
	tests/cross.sh $(BUILD)

# Beside the allocators that you would otherwise use: tables, and raw CSV in $(BUILD)/bench-results. Ten minutes.
bench:
	@tools/setup bench
	@cmake -S . -B $(RELEASE) -G Ninja -DCMAKE_BUILD_TYPE=Release >/dev/null
	@cmake --build $(RELEASE)
	bench/run.sh $(RELEASE)/bench $(BUILD)/bench-results

# The same, and a page with charts: PAGE/report.md, beside the CSV that it was made from.
PAGE ?= docs/bench
bench-report: bench
	@mkdir -p $(PAGE)
	cp $(BUILD)/bench-results/*.csv $(BUILD)/bench-results/index.txt $(PAGE)
	bench/report.py $(PAGE)

# What other libraries gain from an arena: PAGE/adapters.md and its CSV. Three minutes.
bench-adapters:
	@tools/setup bench
	@cmake -S . -B $(RELEASE) -G Ninja -DCMAKE_BUILD_TYPE=Release >/dev/null
	@cmake --build $(RELEASE) --target memarena-bench-adapters
	bench/adapters.sh $(RELEASE)/bench/adapters/memarena-bench-adapters $(PAGE)

# What stays in memory after a spike: PAGE/spike.md, its CSV and its curve. A minute.
bench-spike:
	@tools/setup bench
	@cmake -S . -B $(RELEASE) -G Ninja -DCMAKE_BUILD_TYPE=Release >/dev/null
	@cmake --build $(RELEASE) --target memarena-spike
	bench/spike.sh $(RELEASE)/bench/memarena-spike $(PAGE)

FORMATTED = $(shell git ls-files --cached --others --exclude-standard '*.c' '*.h' '*.cc' '*.hpp')
format:
	@tools/setup format
	clang-format -i $(FORMATTED)

format-check:
	@tools/setup format
	clang-format --dry-run -Werror $(FORMATTED)

PREFIX ?= /usr/local
install: $(RELEASE)/build.ninja
	cmake --build $(RELEASE) --target memarena_static memarena_shared
	cmake --install $(RELEASE) --prefix $(PREFIX)

clean:
	rm -rf $(BUILD)
