/* The inline road: what a block costs, and what the typed macros give. */
#include <memarena.h>

#include "test.h"

struct point {
    int32_t x, y, z;
};

typedef int32_t triple[3];

struct line {
    _Alignas(64) char bytes[192];
};

struct page {
    _Alignas(4096) char bytes[4096];
};

static bool is_watched(const memarena *arena)
{
    memarena_stats stats;
    memarena_get_stats(arena, &stats, sizeof stats);
    return stats.watched;
}

static bool is_all(const void *bytes, size_t size, unsigned char value)
{
    const unsigned char *byte = bytes;
    for (size_t i = 0; i < size; i++)
        if (byte[i] != value) return false;
    return true;
}

/* Leaves no byte of the arena zero, and starts the next generation. */
static void soil_and_reset(memarena *arena)
{
    size_t size = memarena_capacity(arena);
    for (; size >= 8; size /= 2)
        for (void *block; (block = memarena_alloc_aligned(arena, size, 8)) != NULL;) memset(block, 0xEE, size);
    CHECK(memarena_allocated_bytes(arena) + 8 > memarena_capacity(arena));
    memarena_reset(arena);
}

static void blocks_lie_side_by_side(void)
{
    memarena *arena = memarena_create((size_t)4 << 20);
    CHECK(arena);
    size_t taken = 0;
    for (size_t size = 1; size <= 64; size++) {
        size_t bytes = (size + 7) & ~(size_t)7;
        char *last = memarena_alloc_aligned(arena, size, 8);
        taken += bytes;
        for (int i = 0; i < 1000; i++, taken += bytes) {
            char *block = memarena_alloc_aligned(arena, size, 8);
            CHECK(block);
            if (!is_watched(arena)) CHECK_EQ(block - last, bytes);
            last = block;
        }
    }
    CHECK_EQ(memarena_allocated_bytes(arena), taken);
    memarena_destroy(arena);
}

static void a_type_takes_its_own_alignment_and_no_more(void)
{
    memarena *arena = memarena_create((size_t)1 << 20);
    CHECK(arena);
    for (size_t i = 1; i <= 1000; i++) {
        CHECK(memarena_new(
            arena, struct { char bytes[24]; }));
        CHECK_EQ(memarena_allocated_bytes(arena), 24 * i);
    }
    for (size_t i = 1; i <= 1000; i++) {
        CHECK(memarena_new(arena, char));
        CHECK_EQ(memarena_allocated_bytes(arena), 24000 + 8 * i);
    }
    memarena_destroy(arena);
}

static void eight_million_integers_take_sixty_four_million_bytes(void)
{
    enum { COUNT = 8000000 };
    memarena *arena = memarena_create((size_t)COUNT * 8);
    int64_t **all = malloc(COUNT * sizeof *all);
    CHECK(arena && all);
    for (int generation = 0; generation < 2; generation++) {
        for (size_t i = 0; i < COUNT; i++) {
            all[i] = memarena_new_value(arena, int64_t, (int64_t)i * 3);
            if (!all[i]) CHECK(false && "room for all of them");
        }
        CHECK_EQ(memarena_allocated_bytes(arena), 64000000);
        CHECK(!memarena_new_value(arena, int64_t, 1));
        CHECK_EQ(memarena_allocated_bytes(arena), 64000000);
        size_t wrong = 0;
        for (size_t i = 0; i < COUNT; i++) wrong += *all[i] != (int64_t)i * 3;
        CHECK_EQ(wrong, 0);
        memarena_reset(arena);
    }
    free(all);
    memarena_destroy(arena);
}

static void a_new_value_is_what_it_was_given(void)
{
    memarena *arena = memarena_create((size_t)1 << 20);
    CHECK(arena);
    soil_and_reset(arena);
    const int *number = memarena_new_value(arena, int, 42);
    const char *letter = memarena_new_value(arena, char, 'x');
    const double *real = memarena_new_value(arena, double, 0.5);
    const struct point *point = memarena_new_value(arena, struct point, .z = 3, .x = 1);
    triple *three = memarena_new_value(arena, triple, 7, 8, 9);
    const struct line *line = memarena_new_value(arena, struct line, "line");
    CHECK(number && letter && real && point && three && line);
    CHECK_EQ(*number, 42);
    CHECK_EQ(*letter, 'x');
    CHECK(*real > 0.4 && *real < 0.6);
    CHECK(point->x == 1 && point->y == 0 && point->z == 3);
    CHECK((*three)[0] == 7 && (*three)[1] == 8 && (*three)[2] == 9);
    CHECK(strcmp(line->bytes, "line") == 0 && is_all(line->bytes + 4, sizeof line->bytes - 4, 0));
    memarena_destroy(arena);
}

static void new_is_zero_after_a_dirty_generation(void)
{
    memarena *arena = memarena_create((size_t)1 << 20);
    CHECK(arena);
    for (int generation = 0; generation < 3; generation++) {
        soil_and_reset(arena);
        for (int i = 0; i < 100; i++) {
            CHECK(is_all(memarena_new(arena, char), 1, 0));
            CHECK(is_all(memarena_new(arena, struct point), sizeof(struct point), 0));
            CHECK(is_all(memarena_new(arena, triple), sizeof(triple), 0));
            CHECK(is_all(memarena_new(arena, struct line), sizeof(struct line), 0));
            CHECK(is_all(memarena_new(arena, struct page), sizeof(struct page), 0));
        }
    }
    memarena_destroy(arena);
}

static void new_array_is_zero_after_a_dirty_generation(void)
{
    memarena *arena = memarena_create((size_t)4 << 20);
    CHECK(arena);
    static const size_t counts[] = {1, 2, 3, 7, 100, 1000, 5461, 5462, 20000};
    for (int generation = 0; generation < 3; generation++) {
        soil_and_reset(arena);
        for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
            size_t count = counts[i];
            CHECK(is_all(memarena_new_array(arena, char, count), count, 0));
            CHECK(is_all(memarena_new_array(arena, struct point, count), count * sizeof(struct point), 0));
            CHECK(is_all(memarena_new_array(arena, triple, count), count * sizeof(triple), 0));
            CHECK(is_all(memarena_new_array(arena, int64_t, count), count * sizeof(int64_t), 0));
        }
    }
    memarena_destroy(arena);
}

static void zalloc_and_calloc_are_zero_after_a_dirty_generation(void)
{
    memarena *arena = memarena_create((size_t)1 << 20);
    CHECK(arena);
    static const size_t sizes[] = {1, 7, 8, 9, 15, 16, 17, 100, 255, 1000, 4097, 65535, 65536, 65537, 150001};
    for (int generation = 0; generation < 3; generation++) {
        soil_and_reset(arena);
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
            CHECK(is_all(memarena_zalloc(arena, sizes[i]), sizes[i], 0));
            CHECK(is_all(memarena_calloc(arena, 1, sizes[i]), sizes[i], 0));
        }
        for (size_t count = 0; count < 60; count++) CHECK(is_all(memarena_calloc(arena, count, 13), count * 13, 0));
    }
    memarena_destroy(arena);
}

static void types_with_a_large_alignment_get_it(void)
{
    memarena *arena = memarena_create((size_t)4 << 20);
    CHECK(arena);
    for (size_t i = 0; i < 200; i++) {
        CHECK(memarena_new(arena, char));
        CHECK_EQ((uintptr_t)memarena_new(arena, struct line) % 64, 0);
        CHECK_EQ((uintptr_t)memarena_new_array(arena, struct line, 1 + i % 3) % 64, 0);
        CHECK_EQ((uintptr_t)memarena_new_value(arena, struct line, "") % 64, 0);
        CHECK_EQ((uintptr_t)memarena_new(arena, struct page) % 4096, 0);
    }
    memarena_destroy(arena);
}

static void an_array_of_nothing_is_a_block(void)
{
    memarena *arena = memarena_create((size_t)1 << 20);
    CHECK(arena);
    size_t none = strlen("");
    int *first = memarena_new_array(arena, int, none), *second = memarena_new_array(arena, int, none);
    struct page *third = memarena_new_array(arena, struct page, none);
    CHECK(first && second && third && first != second);
    CHECK(memarena_owns(arena, first) && memarena_owns(arena, second) && memarena_owns(arena, third));
    CHECK_EQ((uintptr_t)third % 4096, 0);
    memarena_destroy(arena);
}

/* 64 KiB is the most that the inline code takes on; the blocks around it must not differ. */
static void blocks_around_the_largest_inline_size_do_not_overlap(void)
{
    enum { COUNT = 33 };
    memarena_options options = {.capacity = (size_t)64 << 20, .tlab_bytes = (size_t)1 << 20};
    memarena *arena = memarena_create_with(&options);
    CHECK(arena);
    unsigned char *blocks[COUNT];
    for (size_t i = 0; i < COUNT; i++) {
        size_t size = 65536 - 16 + i;
        blocks[i] = memarena_alloc(arena, size);
        CHECK(blocks[i]);
        memset(blocks[i], (int)i + 1, size);
    }
    for (size_t i = 0; i < COUNT; i++) CHECK(is_all(blocks[i], 65536 - 16 + i, (unsigned char)(i + 1)));
    memarena_destroy(arena);
}

static void every_inline_function_is_exported_too(void)
{
    void *(*volatile alloc)(memarena *, size_t) = memarena_alloc;
    void *(*volatile alloc_aligned)(memarena *, size_t, size_t) = memarena_alloc_aligned;
    void *(*volatile zalloc)(memarena *, size_t) = memarena_zalloc;
    memarena *arena = memarena_create((size_t)1 << 20);
    CHECK(arena);
    soil_and_reset(arena);
    for (size_t size = 0; size < 200; size++) {
        size_t before = memarena_allocated_bytes(arena), bytes = size ? (size + 7) & ~(size_t)7 : 8;
        void *block = alloc_aligned(arena, size, 8);
        CHECK(block);
        CHECK_EQ(memarena_allocated_bytes(arena) - before, bytes);
        memset(block, 1, size);
        CHECK_EQ((uintptr_t)alloc(arena, size) % test_alignment(size), 0);
        CHECK(is_all(zalloc(arena, size), size, 0));
    }
    memarena_destroy(arena);
}

int main(void)
{
    RUN(blocks_lie_side_by_side);
    RUN(a_type_takes_its_own_alignment_and_no_more);
    RUN(eight_million_integers_take_sixty_four_million_bytes);
    RUN(a_new_value_is_what_it_was_given);
    RUN(new_is_zero_after_a_dirty_generation);
    RUN(new_array_is_zero_after_a_dirty_generation);
    RUN(zalloc_and_calloc_are_zero_after_a_dirty_generation);
    RUN(types_with_a_large_alignment_get_it);
    RUN(an_array_of_nothing_is_a_block);
    RUN(blocks_around_the_largest_inline_size_do_not_overlap);
    RUN(every_inline_function_is_exported_too);
    return test_done();
}
