// The C++ half: every call and macro, with types that only C++ has. Alone it is a program, with use.c its other unit.
#include <memarena.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>

extern "C" int other_unit(memarena *arena);

namespace
{

struct point {
    int x, y;
    double weight;
};

struct nested {
    point at;
    int counts[3];
};

struct no_default {
    explicit no_default(int start) : value(start)
    {
    }
    int value;
};

class owner // can be moved, not copied
{
  public:
    explicit owner(int start) : value(new int(start))
    {
    }
    owner(owner &&other) : value(other.value)
    {
        other.value = nullptr;
    }
    owner(const owner &) = delete;
    owner &operator=(const owner &) = delete;
    ~owner()
    {
        delete value;
    }
    int *value;
};

struct text {
    text(const char *start) : length(std::strlen(start))
    {
    }
    std::size_t length;
};

struct alignas(128) aligned {
    char bytes[128];
};

enum class color { red, green };

void must(bool condition, const char *what)
{
    if (condition) return;
    std::fprintf(stderr, "other.cpp: %s\n", what);
    std::exit(1);
}

void count(void *counter)
{
    ++*static_cast<int *>(counter);
}

void aggregates(memarena *arena)
{
    point *p = memarena_new_value(arena, point, 1, 2, 0.5);
    must(p && p->x == 1 && p->y == 2, "an aggregate");
    nested *n = memarena_new_value(arena, nested, {1, 2, 0.5}, {3, 4, 5});
    must(n && n->at.y == 2 && n->counts[2] == 5, "a nested aggregate");
    nested *part = memarena_new_value(arena, nested, {1, 2, 0.5}, {});
    must(part && part->counts[2] == 0, "an aggregate with zeroes");
    int *k = memarena_new_value(arena, int, 42);
    must(k && *k == 42, "an int");
    std::int64_t *wide = memarena_new_value(arena, std::int64_t, 42);
    must(wide && *wide == 42, "an int64_t");
    const color *c = memarena_new_value(arena, color, color::green);
    must(c && *c == color::green, "an enum");
    const char **text = memarena_new_value(arena, const char *, "text");
    must(text && (*text)[0] == 't', "a pointer");
    no_default *constructed = memarena_new_value(arena, no_default, no_default(9));
    must(constructed && constructed->value == 9, "a type without a default constructor");
    int variable = 8;
    int *copied = memarena_new_value(arena, int, variable);
    must(copied && *copied == 8, "a copied int");
#if __cplusplus >= 202002L
    point *named = memarena_new_value(arena, point, .x = 4, .y = 3, .weight = 1);
    must(named && named->x == 4, "an aggregate with names");
#endif
}

void owners(memarena *arena)
{
    owner *moved = memarena_new_value(arena, owner, owner(6));
    must(moved && *moved->value == 6, "a type that can only be moved");
    moved->~owner();
    text *converted = memarena_new_value(arena, text, "text");
    must(converted && converted->length == 4, "a type with a converting constructor");
}

void blocks(memarena *arena, std::size_t size, std::size_t alignment)
{
    point *zero = memarena_new(arena, point);
    must(zero && zero->x == 0, "memarena_new");
    must(reinterpret_cast<std::uintptr_t>(memarena_new(arena, aligned)) % 128 == 0, "memarena_new of an aligned type");
    int *array = memarena_new_array(arena, int, 10);
    must(array && array[9] == 0, "memarena_new_array");
    const volatile std::size_t too_many = SIZE_MAX; // volatile: compilers warn of a product that they see overflow
    must(!memarena_new_array(arena, point, too_many), "memarena_new_array that overflows");
    must(memarena_alloc(arena, size) && memarena_alloc(arena, 16), "memarena_alloc");
    must(memarena_alloc_aligned(arena, size, alignment) && memarena_alloc_aligned(arena, 8, 8),
         "memarena_alloc_aligned");
    must(memarena_zalloc(arena, size) && memarena_zalloc(arena, 24), "memarena_zalloc");
    must(memarena_calloc(arena, size, 2) != nullptr, "memarena_calloc");
    void *block = memarena_realloc(arena, nullptr, 0, 10);
    must(block && memarena_realloc(arena, block, 10, size), "memarena_realloc");
    must(memarena_owns(arena, block), "memarena_owns");
    must(memarena_memdup(arena, "abc", 4) != nullptr, "memarena_memdup");
    must(memarena_strdup(arena, "abc") && memarena_strndup(arena, "abc", 1), "memarena_strdup");
    const char *text = memarena_printf(arena, "%d", 1);
    must(text && text[0] == '1', "memarena_printf");
}

} // namespace

int other_unit(memarena *arena)
{
    aggregates(arena);
    owners(arena);
    blocks(arena, 40, 16);
    return 0;
}

#ifndef WITH_USE_C
int main()
{
    int calls = 0;
    memarena_options options = memarena_options();
    options.capacity = std::size_t{1} << 24;
    memarena *arena = memarena_create_with(&options);
    must(arena != nullptr, "memarena_create_with");
    must(memarena_defer(arena, count, &calls), "memarena_defer");
    must(other_unit(arena) == 0, "other_unit");
    memarena_stats stats;
    memarena_get_stats(arena, &stats, sizeof stats);
    must(stats.allocated_bytes == memarena_allocated_bytes(arena), "memarena_allocated_bytes");
    must(stats.capacity_bytes == memarena_capacity(arena), "memarena_capacity");
    must(memarena_reset(arena) && memarena_generation(arena) == 2, "memarena_reset");
    memarena_destroy(arena);
    must(calls == 1, "the deferred call ran");
    std::puts("used");
    return 0;
}
#endif
