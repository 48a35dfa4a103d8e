# A thin front for CMake: everything it does can be typed.
BUILD ?= build
RELEASE := $(BUILD)/release

.PHONY: all test demo bench format format-check install clean

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
