# A thin front for CMake: everything it does can be typed.
BUILD ?= build
RELEASE := $(BUILD)/release

.PHONY: all test demo httpd cross bench format format-check install clean

all: $(RELEASE)/build.ninja
	cmake --build $(RELEASE)

$(RELEASE)/build.ninja:
	@tools/setup build
	cmake -S . -B $(RELEASE) -G Ninja -DCMAKE_BUILD_TYPE=Release

# The suite in every build that this machine can make: release, asan, ubsan, tsan, clang, 32 bits.
test:
	@tools/setup test
	tests/run_all.sh $(BUILD)

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

# The main tests on other processors, under qemu-user.
cross:
	@tools/setup cross
	tests/cross.sh $(BUILD)

bench:
	@tools/setup bench
	@$(MAKE) --no-print-directory all
	bench/run.sh $(RELEASE)/bench $(BUILD)/bench-results

FORMATTED = $(shell git ls-files --cached --others --exclude-standard '*.c' '*.h')
format:
	@tools/setup format
	clang-format -i $(FORMATTED)

format-check:
	@tools/setup format
	clang-format --dry-run -Werror $(FORMATTED)

PREFIX ?= /usr/local
install: all
	cmake --install $(RELEASE) --prefix $(PREFIX)

clean:
	rm -rf $(BUILD)
