# How the fuzzer is built; read with `.`. It needs $source, the root of the tree.
#
# No build system: each compiler brings its own instrumentation, and the library is a dozen files.

flags="-std=c11 -O2 -g -D_GNU_SOURCE -fno-omit-frame-pointer"
sanitize="-fsanitize=address,undefined -fno-sanitize-recover=all"

# build PROGRAM COMPILER OPTION...: with the compiler's own main.
build() {
    program=$1
    shift
    "$@" $flags -I"$source/include" "$source/tests/fuzz/ops.c" "$source"/src/*/*.c -o "$program" -pthread
}

# build_replay PROGRAM COMPILER OPTION...: with a main that plays files again.
build_replay() {
    program=$1
    shift
    build "$program" "$@" "$source/tests/fuzz/replay.c"
}

# can_fuzz COMPILER SCRATCH: whether it makes programs with libFuzzer's main.
can_fuzz() {
    echo '#include <stddef.h>
#include <stdint.h>
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) { return data && size > SIZE_MAX / 2; }' >"$2/empty.c"
    command -v "$1" >/dev/null 2>&1 && "$1" -fsanitize=fuzzer "$2/empty.c" -o "$2/empty" >"$2/output" 2>&1
}
