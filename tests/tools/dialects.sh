#!/bin/sh
# memarena.hpp compiles without a warning and works without RTTI, without exceptions, without <memory_resource> and with
# another standard library; both headers are quiet with far more warnings than their own and stand behind macros that others
# have; and memarena.h's inline functions link where GNU's old rules for `inline` hold.
# usage: dialects.sh COMPILER C++-COMPILER INCLUDE-DIRECTORY STATIC-LIBRARY
set -eu
here=$(cd "$(dirname "$0")" && pwd)
. "$here/shell.sh"
compiler=$1 cxx=$2 include=$3 library=$4

need "$compiler" "$cxx"
warnings="-Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wsign-conversion -Wcast-align -Wcast-qual -Wundef -Wwrite-strings
    -Wpointer-arith -Wfloat-equal -Wvla -Wredundant-decls -Wnull-dereference -Werror"
c_warnings="-Wstrict-prototypes -Wmissing-prototypes"
cxx_warnings="-Wold-style-cast -Wzero-as-null-pointer-constant -Wnon-virtual-dtor -Woverloaded-virtual -Wextra-semi -Weffc++"
if "$compiler" --version | grep -q clang; then
    # All that clang has, but what asks for C++98 (which it does of C, too), for less padding, for documentation of ours.
    c_warnings="-Weverything -Wno-padded -Wno-reserved-identifier -Wno-declaration-after-statement -Wno-unknown-warning-option
        -Wno-unsafe-buffer-usage -Wno-c++98-compat -Wno-pre-c11-compat"
    cxx_warnings="-Weverything -Wno-padded -Wno-reserved-identifier -Wno-unknown-warning-option -Wno-unsafe-buffer-usage
        -Wno-c++98-compat -Wno-c++98-compat-pedantic"
else
    cxx_warnings="$cxx_warnings -Wuseless-cast -Wsuggest-override"
fi

# Uses of all that is inline, or a template, without a warning of their own.
cat >"$scratch/use.c" <<'END'
#include <memarena.h>
struct point { int x, y; };
#ifdef __cplusplus
#define NOTHING nullptr
#else
#define NOTHING NULL
#endif
int use(memarena *arena);
int use(memarena *arena)
{
    struct point *p = memarena_new(arena, struct point), *q = memarena_new_value(arena, struct point, 1, 2);
    int *row = memarena_new_array(arena, int, 7);
    char *text = memarena_printf(arena, "%d", 1);
    return (p && q && row && text ? p->x + q->y + row[0] + text[0] : 0) + (memarena_alloc(arena, 8) != NOTHING) +
           (memarena_alloc_aligned(arena, 8, 64) != NOTHING) + (memarena_zalloc(arena, 8) != NOTHING);
}
END
cat >"$scratch/use.cc" <<'END'
#include <memarena.hpp>
#include <map>
#include <string>
#include <vector>
struct point { int x, y; point(int a, int b) : x(a), y(b) {} point() : x(0), y(0) {} ~point() { x = 0; } };
int use();
int use()
{
    marena::arena arena;
    marena::scope outer(arena), scope(outer), other(std::move(outer));
    marena::rewinder back(scope);
    std::map<int, int, std::less<>, marena::allocator<std::pair<const int, int>>> index(scope.get());
    index[3] = 4;
#if MEMARENA_HAS_MEMORY_RESOURCE
    std::pmr::vector<std::pmr::string> words(scope.resource());
    words.emplace_back("a word that is longer than the string");
#endif
    return scope.make<point>(1, 2)->x + *scope.make_array<int>(3) + other.make_array<point>(2)->y;
}
END

# Names that others have as macros, in lower case or short, and what would follow from a use of one.
names="check fail verify require expect assert small near far interface new likely unlikely noinline always_inline
    noreturn unused packed weak visibility printf tls_model warn_unused_result hot cold pure deprecated error warn info
    debug trace log ok test major minor None Status Bool True False Success Always IN OUT ON OFF OPTIONAL emit slots
    signals foreach I U L N B F bit word unix linux align aligned barrier container_of array_size countof"
{
    for name in complex inttypes stdio stdlib string errno; do echo "#include <$name.h>"; done
    echo '#ifdef __cplusplus'
    for name in map string vector memory system_error utility new cstdlib; do echo "#include <$name>"; done
    printf '#if __cplusplus >= 201703L && __has_include(<memory_resource>)\n#include <memory_resource>\n#endif\n#endif\n'
    printf '#define min(a, b) )others have this macro(\n#define max(a, b) )others have this macro(\n'
    for name in $names; do printf '#undef %s\n#define %s )others have this macro(\n' "$name" "$name"; done
} >"$scratch/macros.h"

for standard in c11 gnu11 c17 gnu2x; do
    attempt "memarena.h, many warnings: -std=$standard" \
        "$compiler" -std=$standard $warnings $c_warnings -O2 "-I$include" -c "$scratch/use.c" -o "$scratch/o"
done
attempt "memarena.h behind macros" "$compiler" "-I$include" -include "$scratch/macros.h" -c "$scratch/use.c" -o "$scratch/o"
for standard in c++11 gnu++14 c++17 c++20 c++2b; do
    attempt "memarena.h, many warnings: -std=$standard" \
        "$cxx" -std=$standard $warnings $cxx_warnings -O2 "-I$include" -x c++ -c "$scratch/use.c" -o "$scratch/o"
    attempt "memarena.h without RTTI and exceptions: -std=$standard" \
        "$cxx" -std=$standard -fno-rtti -fno-exceptions "-I$include" -x c++ -c "$scratch/use.c" -o "$scratch/o"
    attempt "memarena.h behind macros: -std=$standard" "$cxx" -std=$standard "-I$include" -include "$scratch/macros.h" \
        -x c++ -c "$scratch/use.c" -o "$scratch/o"
done

run() { # run WHAT OPTION...: the program of dialects/use.cc works
    program=$1
    shift
    attempt "memarena.hpp $program: compiles" "$cxx" "$@" -Wall -Wextra -Werror -D_GNU_SOURCE "-I$include" \
        "$here/dialects/use.cc" "$library" -pthread -o "$scratch/use"
    attempt "memarena.hpp $program: works" "$scratch/use"
}

mkdir "$scratch/hidden" # a <memory_resource> that is not there: __has_include is what asks
sed 's/__has_include(<memory_resource>)/0/' "$include/memarena.hpp" >"$scratch/hidden/memarena.hpp"
for standard in c++17 c++20 c++2b; do
    attempt "memarena.hpp, many warnings: -std=$standard" \
        "$cxx" -std=$standard $warnings $cxx_warnings -O2 "-I$include" -c "$scratch/use.cc" -o "$scratch/o"
    attempt "memarena.hpp behind macros: -std=$standard" \
        "$cxx" -std=$standard "-I$include" -include "$scratch/macros.h" -c "$scratch/use.cc" -o "$scratch/o"
done
for standard in c++17 c++2b; do
    run "as it is: -std=$standard" -std=$standard
    run "without RTTI: -std=$standard" -std=$standard -fno-rtti
    run "without exceptions: -std=$standard" -std=$standard -fno-exceptions
    run "without RTTI and exceptions: -std=$standard" -std=$standard -O2 -fno-rtti -fno-exceptions
    run "without <memory_resource>: -std=$standard" -std=$standard "-I$scratch/hidden"
    run "where the C++ library checks: -std=$standard" -std=$standard -D_GLIBCXX_DEBUG -D_GLIBCXX_ASSERTIONS
done
echo '#include <vector>' >"$scratch/vector.cc"
if "$cxx" -stdlib=libc++ -std=c++17 -fsyntax-only "$scratch/vector.cc" 2>"$scratch/output"; then
    for standard in c++17 c++2b; do
        run "with libc++: -std=$standard" -std=$standard -stdlib=libc++
        run "with libc++, without RTTI and exceptions: -std=$standard" -std=$standard -stdlib=libc++ -fno-rtti -fno-exceptions
    done
else
    echo "  (without libc++: $(head -1 "$scratch/output"))"
fi

# Both kinds in one program: each fails as it says.
cat >"$scratch/throws.cc" <<'END'
#include <memarena.hpp>
int *bare(memarena *arena);
int main()
{
    marena::arena arena(4096);
    int *none = bare(arena);
    try {
        (void)marena::make_array<int>(arena, 2000);
    } catch (const std::bad_alloc &) {
        return none ? 1 : 0;
    }
    return 1;
}
END
printf '#include <memarena.hpp>\nint *bare(memarena *);\nint *bare(memarena *arena) { return marena::make_array<int>(arena, 2000); }\n' \
    >"$scratch/bare.cc"
"$cxx" -std=c++17 -O0 "-I$include" -c "$scratch/throws.cc" -o "$scratch/throws.o"
"$cxx" -std=c++17 -O0 -fno-exceptions "-I$include" -c "$scratch/bare.cc" -o "$scratch/bare.o"
for order in "throws bare" "bare throws"; do
    first=${order% *} second=${order#* }
    "$cxx" "$scratch/$first.o" "$scratch/$second.o" "$library" -pthread -o "$scratch/mixed"
    attempt "with and without exceptions in one program: $order" "$scratch/mixed"
done

# One definition of each inline function in a program of several files.
sed 's/use(/again(/' "$scratch/use.c" >"$scratch/again.c"
for file in use again; do
    "$compiler" -O0 -fgnu89-inline "-I$include" -c "$scratch/$file.c" -o "$scratch/$file.o"
done
printf 'struct memarena;\nint use(struct memarena *);\nint main(void) { return use != 0 ? 0 : 1; }\n' >"$scratch/main.c"
attempt "memarena.h with -fgnu89-inline in two files" \
    "$compiler" "$scratch/main.c" "$scratch/use.o" "$scratch/again.o" "$library" -pthread -o "$scratch/linked"
finish
