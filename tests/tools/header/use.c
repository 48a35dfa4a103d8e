/* A C program that uses every call and macro of the header. Alone it must compile without a warning; with other.cpp it
 * makes one program of two languages. */
#include <memarena.h>

#include <stdio.h>
#include <stdlib.h>

int other_unit(memarena *arena); /* in other.cpp */

struct point {
    int x, y;
    double weight;
};

struct aligned {
    _Alignas(64) char bytes[64];
};

static void must(bool condition, const char *what)
{
    if (condition) return;
    fprintf(stderr, "use.c: %s\n", what);
    exit(1);
}

static void nothing(void *unused)
{
    (void)unused;
}

static void typed(memarena *arena)
{
    struct point *zero = memarena_new(arena, struct point);
    must(zero && zero->x == 0 && zero->y == 0, "memarena_new");
    struct point *p = memarena_new_value(arena, struct point, 1, 2, 0.5);
    must(p && p->x == 1 && p->y == 2, "memarena_new_value");
    struct point *named = memarena_new_value(arena, struct point, .y = 3, .x = 4, .weight = 1);
    must(named && named->x == 4, "memarena_new_value with names");
    int64_t *number = memarena_new_value(arena, int64_t, 42);
    must(number && *number == 42, "memarena_new_value of a number");
    const char **texts = memarena_new_array(arena, const char *, 3);
    must(texts && !texts[2], "memarena_new_array");
    int *values = memarena_new_value(arena, int, 7);
    must(values && *values == 7, "memarena_new_value of an int");
    must((uintptr_t)memarena_new(arena, struct aligned) % 64 == 0, "memarena_new of an aligned type");
}

static void untyped(memarena *arena, size_t size, size_t alignment)
{
    must(memarena_alloc(arena, size) && memarena_alloc(arena, 16), "memarena_alloc");
    must(memarena_alloc_aligned(arena, size, alignment) && memarena_alloc_aligned(arena, 8, 8),
         "memarena_alloc_aligned");
    must(memarena_zalloc(arena, size) && memarena_zalloc(arena, 24), "memarena_zalloc");
    must(memarena_calloc(arena, size, 2), "memarena_calloc");
    const volatile size_t too_many = SIZE_MAX; /* volatile: compilers warn of a product that they see overflow */
    must(!memarena_new_array(arena, struct point, too_many), "memarena_new_array that overflows");
    void *block = memarena_realloc(arena, NULL, 0, 10);
    must(block && memarena_realloc(arena, block, 10, size), "memarena_realloc");
    must(memarena_owns(arena, block), "memarena_owns");
    block = memarena_realloc_aligned(arena, NULL, 0, size, 64);
    must(block && (uintptr_t)memarena_realloc_aligned(arena, block, size, 2 * size, 64) % 64 == 0,
         "memarena_realloc_aligned");
    void *base = NULL;
    size_t bytes = 0;
    must(memarena_range(arena, &base, &bytes) && bytes >= memarena_capacity(arena), "memarena_range");
    must(memarena_claimed_bytes(arena) > memarena_room(arena), "memarena_claimed_bytes, memarena_room");
    must(memarena_drop_last(arena, memarena_alloc(arena, size), size), "memarena_drop_last");
}

static void texts(memarena *arena)
{
    char *copy = memarena_memdup(arena, "abc", 4);
    must(copy && copy[2] == 'c', "memarena_memdup");
    must(memarena_strdup(arena, copy) && memarena_strndup(arena, copy, 1), "memarena_strdup");
    char *text = memarena_printf(arena, "%d %s", 1, copy);
    must(text && strcmp(text, "1 abc") == 0, "memarena_printf");
}

static void looks(memarena *arena)
{
    memarena_stats stats;
    memarena_get_stats(arena, &stats, sizeof stats);
    must(stats.allocated_bytes == memarena_allocated_bytes(arena), "memarena_allocated_bytes");
    must(stats.capacity_bytes == memarena_capacity(arena), "memarena_capacity");
    must(stats.generation == memarena_generation(arena), "memarena_generation");
}

static void scopes(memarena *arena)
{
    memarena_scoped(outer, arena);
    must(outer && memarena_defer(outer, nothing, NULL) && memarena_undefer(outer, nothing, NULL), "memarena_undefer");
    memarena_scoped(inner, outer);
    memarena_scope_options options = {0};
    options.limit_bytes = 4096;
    memarena *tenant = memarena_scope_with(outer, &options);
    must(tenant && !memarena_alloc(tenant, 4096), "memarena_scope_with");
    memarena_destroy(tenant);
    must(inner && memarena_keep(inner), "memarena_keep");
    inner = NULL;
}

int main(void)
{
    memarena_options options = {.capacity = (size_t)1 << 24, .name = "use"};
    memarena *arena = memarena_create_with(&options);
    must(arena != NULL, "memarena_create_with");
    typed(arena);
    untyped(arena, 40, 16);
    texts(arena);
    looks(arena);
    scopes(arena);
    must(memarena_defer(arena, nothing, NULL), "memarena_defer");
    must(other_unit(arena) == 0, "the other unit");
    must(memarena_reset(arena), "memarena_reset");
    memarena_destroy(arena);
    memarena_destroy(memarena_create(0));
    puts("used");
    return 0;
}
