#!/bin/sh
# The headers compile without a warning: alone, with all of its calls used, and around every standard header. And the
# compiler checks the arguments of memarena_printf.
# usage: header.sh c|c++ COMPILER INCLUDE-DIRECTORY
set -eu
here=$(cd "$(dirname "$0")" && pwd)
. "$here/shell.sh"
language=$1 compiler=$2 include=$3

need "$compiler"
warnings="-Wall -Wextra -Wpedantic -Wconversion -Wshadow -Werror"
case $language in
c)
    standards="c11 c17"
    next=c2x
    use=use.c
    ;;
c++)
    standards="c++11 c++14 c++17 c++20"
    next=c++2b
    warnings="$warnings -Wold-style-cast"
    use=other.cpp
    ;;
*) fail "no such language: $language" ;;
esac

c_headers="assert complex ctype errno fenv float inttypes iso646 limits locale math setjmp signal stdalign stdarg
    stdatomic stdbool stddef stdint stdio stdlib stdnoreturn string tgmath threads time uchar wchar wctype"
cpp11_headers="algorithm array atomic bitset cassert ccomplex cctype cerrno cfenv cfloat chrono cinttypes ciso646
    climits clocale cmath codecvt complex condition_variable csetjmp csignal cstdalign cstdarg cstdbool cstddef cstdint
    cstdio cstdlib cstring ctgmath ctime cuchar cwchar cwctype deque exception forward_list fstream functional future
    initializer_list iomanip ios iosfwd iostream istream iterator limits list locale map memory mutex new numeric
    ostream queue random ratio regex scoped_allocator set sstream stack stdexcept streambuf string
    system_error thread tuple type_traits typeindex typeinfo unordered_map unordered_set utility valarray vector"
cpp20_headers="any barrier bit charconv compare concepts coroutine execution filesystem format latch memory_resource
    numbers optional ranges semaphore shared_mutex source_location span stop_token string_view syncstream variant
    version"
cpp23_headers="expected flat_map flat_set generator mdspan print spanstream stacktrace stdfloat"

headers_of() {
    case $1 in
    c++11) echo $cpp11_headers ;;
    c++20) echo $cpp11_headers $cpp20_headers ;;
    c++2b) echo $cpp11_headers $cpp20_headers $cpp23_headers ;;
    *) for name in $c_headers; do echo "$name.h"; done ;;
    esac
}

# Includes each of the names that the compiler has.
include_each() {
    for name in "$@"; do printf '#if __has_include(<%s>)\n#include <%s>\n#endif\n' "$name" "$name"; done
}

nothing='int main(void) { return 0; }'
[ "$language" = c ] || nothing='int main() { return 0; }'

# Not every compiler knows the next one.
if echo "$nothing" | "$compiler" -std=$next -x "$language" -fsyntax-only - 2>"$scratch/output"; then
    standards="$standards $next"
else
    echo "  (without $next: $(head -1 "$scratch/output"))"
fi

last=${standards##* }

printf '#include <memarena.h>\n%s\n' "$nothing" >"$scratch/alone"
printf '#include <%s>\n' memarena/look.h memarena.h memarena/look.h memarena.h >"$scratch/twice"
echo "$nothing" >>"$scratch/twice"
for standard in $standards; do
    compile="$compiler -std=$standard $warnings -I$include"
    for level in -O0 -O2; do
        attempt "alone: -std=$standard $level" $compile $level -x "$language" -c "$scratch/alone" -o "$scratch/o"
        attempt "every call: -std=$standard $level" $compile $level -c "$here/header/$use" -o "$scratch/o"
    done
    attempt "twice, with memarena/look.h: -std=$standard" $compile -x "$language" -fsyntax-only "$scratch/twice"
    attempt "every call of memarena/look.h: -std=$standard" $compile -x "$language" -fsyntax-only "$here/consumer/look.c"
    case $standard in
    c++17 | c++20 | c++2b)
        printf '#include <memarena.hpp>\n#include <memarena.hpp>\n%s\n' "$nothing" >"$scratch/hpp"
        attempt "memarena.hpp: -std=$standard" $compile -O2 -x c++ -c "$scratch/hpp" -o "$scratch/o"
        ;;
    esac
    # Slow in C++: the first and the last tell enough.
    [ "$language" = c ] || [ "$standard" = c++11 ] || [ "$standard" = "$last" ] || continue
    include_each $(headers_of "$standard") >"$scratch/everything"
    { echo '#include <memarena.h>'; cat "$scratch/everything"; echo "$nothing"; } >"$scratch/before"
    { cat "$scratch/everything"; echo '#include <memarena.h>'; echo "$nothing"; } >"$scratch/after"
    # (Some headers are deprecated, and say so by #warning.)
    attempt "before every standard header: -std=$standard" $compile -Wno-cpp -x "$language" -fsyntax-only "$scratch/before"
    attempt "after every standard header: -std=$standard" $compile -Wno-cpp -x "$language" -fsyntax-only "$scratch/after"
done

# The arguments are checked against the format, in the oldest and the newest standard.
calls() { # calls CALL: a function that makes it
    printf '#include <memarena.h>\nchar *text(memarena *arena, va_list args);\n'
    printf 'char *text(memarena *arena, va_list args)\n{\n    (void)args;\n    return %s;\n}\n' "$1"
}

for standard in ${standards%% *} "$last"; do
    compile="$compiler -std=$standard -Wformat -Werror=format -I$include -x $language -fsyntax-only"
    for right in '"%d %s", 1, "two"' '"%zu %lf", sizeof(int), 0.5' '"three"'; do
        calls "memarena_printf(arena, $right)" >"$scratch/right"
        attempt "right: $right -std=$standard" $compile "$scratch/right"
    done
    calls 'memarena_vprintf(arena, "%d", args)' >"$scratch/right"
    attempt "right: vprintf -std=$standard" $compile "$scratch/right"
    for wrong in 'printf(arena, "%d", "one")' 'printf(arena, "%s", 1)' 'printf(arena, "%d %d", 1)' 'printf(arena, "%d", 1L)' \
        'vprintf(arena, "%", args)'; do
        calls "memarena_$wrong" >"$scratch/wrong"
        if $compile "$scratch/wrong" >"$scratch/output" 2>&1 || ! grep -q 'error:.*format' "$scratch/output"; then
            complain "not refused for its format: $wrong -std=$standard" "$scratch/output"
        else
            echo "  refused: $wrong -std=$standard"
        fi
    done
done
finish
