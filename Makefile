# A thin front for CMake: everything it does can be typed. `make help` prints the first line of each comment here.
BUILD ?= build
RELEASE := $(BUILD)/release

.PHONY: all help amalgamation dist check test fuzz demo httpd ingest lua map cross coverage audit bench bench-report \
    bench-adapters bench-spike format format-check install uninstall clean

# Configured each time, since a package may have come; with Ninja where it is and nothing else was begun with.
configure = CMAKE_GENERATOR=$$(command -v ninja >/dev/null && echo Ninja || echo Unix Makefiles) \
    cmake -S . -B $(RELEASE) -DCMAKE_BUILD_TYPE=Release >/dev/null
build = $(configure) && cmake --build $(RELEASE) --parallel $$(getconf _NPROCESSORS_ONLN)

# Everything, built: library, tests, examples, benchmarks.
all:
	@tools/setup build
	@$(build)

# What you can type.
help:
	@awk '/^# / { if (!text) text = substr($$0, 3); gsub(/[$$][(]BUILD[)]/, "$(BUILD)", text) } /^$$/ { text = "" } \
	    /^[a-z-]+:/ { sub(/:.*/, ""); printf "make %-15s %s\n", $$0, text }' Makefile

# A change, tested in a minute: a part of the suite, in the release build only.
check:
	@tools/setup check
	tests/run_all.sh $(BUILD) check

# The suite: release, sanitizers, clang, 32 bits. Ten minutes.
test:
	@tools/setup test
	tests/run_all.sh $(BUILD)

# Random sequences of calls, under libFuzzer and AFL++, for SECONDS_EACH=60.
# Each with and without sanitizers.
SECONDS_EACH ?= 60
fuzz:
	@tools/setup fuzz
	SECONDS_EACH=$(SECONDS_EACH) tests/fuzz/run.sh $(BUILD)/fuzz

# All identifiers below DIR=/usr/include, on the arena and on other allocators.
DIR ?= /usr/include
demo:
	@tools/setup demo
	@$(build) --target memarena-index
	@examples/index/compare.sh $(RELEASE)/examples/index/memarena-index $(DIR)

# An HTTP server with a scope for each request, at PORT=8080.
PORT ?= 8080
httpd:
	@tools/setup httpd
	@$(build) --target memarena-httpd
	@echo "try: curl -d '{\"items\":[{\"name\":\"tea\",\"price\":2.5,\"count\":4}]}' localhost:$(PORT)/totals"
	@$(RELEASE)/examples/httpd/memarena-httpd -p $(PORT)

# JSON lines from threads to a thread, on the arena and on other allocators.
ingest:
	@tools/setup ingest
	@$(build) --target memarena-ingest
	@examples/ingest/compare.sh $(RELEASE)/examples/ingest/memarena-ingest

# A Lua state for each request, in a scope and on other allocators.
lua:
	@tools/setup lua
	@$(build) --target memarena-lua
	@examples/lua-request/compare.sh $(RELEASE)/examples/lua-request/memarena-lua

# A picture of an arena at work, and its numbers: $(BUILD)/map.html.
map:
	@tools/setup map
	@$(build) --target memarena-map
	@$(RELEASE)/examples/map/memarena-map $(BUILD)/map.html
	@echo "$(abspath $(BUILD))/map.html: open it in a browser"

# The two libraries as pairs of files to copy: memarena.c and .h.
amalgamation:
	tools/amalgamate $(BUILD)/amalgamation

# The sources as $(BUILD)/memarena-VERSION.tar.xz.
dist:
	@tools/dist $(BUILD)

# What takes too long for every change: see tests/audit.sh.
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

# Tables beside other allocators, and CSV in $(BUILD)/bench-results. Ten minutes.
bench:
	@tools/setup bench
	@$(build)
	bench/run.sh $(RELEASE)/bench $(BUILD)/bench-results

# The same, and a page with charts: report.md in PAGE=docs/bench.
PAGE ?= docs/bench
bench-report: bench
	@mkdir -p $(PAGE)
	cp $(BUILD)/bench-results/*.csv $(BUILD)/bench-results/index.txt $(PAGE)
	bench/report.py $(PAGE)

# What other libraries gain from an arena: adapters.md in PAGE. Three minutes.
bench-adapters:
	@tools/setup bench
	@$(build) --target memarena-bench-adapters
	bench/adapters.sh $(RELEASE)/bench/adapters/memarena-bench-adapters $(PAGE)

# What stays in memory after a spike: spike.md in PAGE. A minute.
bench-spike:
	@tools/setup bench
	@$(build) --target memarena-spike
	bench/spike.sh $(RELEASE)/bench/memarena-spike $(PAGE)

# The sources, formatted anew by clang-format 14.
format:
	@tools/setup format
	@sh tests/tools/format.sh . -i

# Whether the sources are formatted.
format-check:
	@tools/setup format
	@sh tests/tools/format.sh .

# The library, below PREFIX=/usr/local; brings no packages.
PREFIX ?= /usr/local
install:
	@tools/setup --say build
	@$(build) --target memarena_static memarena_shared memarena_look_static memarena_look_shared
	cmake --install $(RELEASE) --prefix $(PREFIX)

# What the last `make install` from here has installed, removed.
uninstall:
	@cat $(RELEASE)/install_manifest.txt >/dev/null
	@{ cat $(RELEASE)/install_manifest.txt; echo; } | while read -r file; do \
	    rm -f "$(DESTDIR)$$file"; directory=$${file%/*}; \
	    while [ "$${directory#*/memarena}" != "$$directory" ]; do \
	        rmdir "$(DESTDIR)$$directory" 2>/dev/null; directory=$${directory%/*}; done; done
	@rm $(RELEASE)/install_manifest.txt

# Everything that was built, removed.
clean:
	rm -rf $(BUILD)
