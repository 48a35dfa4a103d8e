/* memarena_realloc_aligned: in place or moved, watched or not, a block lies at its alignment and keeps its bytes. */
#include "kinds.h"

#include <errno.h>
#include <string.h>

static bool is_filled(const unsigned char *at, size_t value, size_t size)
{
    while (size > 0)
        if (at[--size] != (unsigned char)value) return false;
    return true;
}

static const size_t sizes[] = {0, 1, 8, 24, 40, 100, 333, 1000};
#define SIZES (sizeof sizes / sizeof *sizes)

static void check_step(memarena *arena, size_t from, size_t to, size_t alignment, bool at_tip)
{
    char *block = memarena_realloc_aligned(arena, NULL, 0, from, alignment);
    if (!block) return; /* a small arena is full */
    CHECK((uintptr_t)block % alignment == 0);
    memset(block, 7, from);
    if (!at_tip && !memarena_alloc_aligned(arena, 8, 8)) return;
    char *now = memarena_realloc_aligned(arena, block, from, to, alignment);
    if (!now) return;
    CHECK((uintptr_t)now % alignment == 0);
    CHECK(is_filled((unsigned char *)now, 7, from < to ? from : to));
    memset(now, 8, to);
    CHECK(to > from || now == block);
}

static void a_block_keeps_its_alignment(void)
{
    for (int kind = 0; kind < KINDS; kind++) {
        memarena *arena = kinds_create(kind);
        for (size_t alignment = 1; alignment <= 4096; alignment *= 2)
            for (size_t i = 0; i < SIZES * SIZES * 2; i++)
                check_step(arena, sizes[i % SIZES], sizes[i / SIZES % SIZES], alignment, i / SIZES / SIZES);
        kinds_destroy();
    }
}

static void at_the_tip_it_stays(void)
{
    memarena *arena = memarena_create(16 * MIB);
    char *block = memarena_alloc_aligned(arena, 64, 64);
    CHECK(memarena_realloc_aligned(arena, block, 64, 640, 64) == block);
    CHECK(memarena_realloc_aligned(arena, block, 640, 8, 64) == block);
    memarena_destroy(arena);
}

static void a_block_that_does_not_lie_there_moves(void)
{
    for (int kind = 1; kind < KINDS; kind++) {
        memarena *arena = kinds_create(kind);
        unsigned char *block = memarena_alloc_aligned(arena, 512, 512);
        CHECK(memarena_realloc(arena, block, 512, 8) == block && block);
        block = memarena_alloc_aligned(arena, 100, 8);
        CHECK(block);
        memset(block, 5, 100);
        if ((uintptr_t)block % 512 != 0) {
            unsigned char *now = memarena_realloc_aligned(arena, block, 100, 60, 512);
            CHECK(now && now != block && (uintptr_t)now % 512 == 0 && is_filled(now, 5, 60));
        }
        kinds_destroy();
    }
}

static void what_is_no_power_of_two_changes_nothing(void)
{
    for (int kind = 0; kind < KINDS; kind++) {
        memarena *arena = kinds_create(kind);
        unsigned char *block = memarena_alloc_aligned(arena, 100, 8);
        memset(block, 5, 100);
        size_t before = memarena_allocated_bytes(arena);
        for (size_t alignment = 0; alignment < 100; alignment++) {
            if (alignment && (alignment & (alignment - 1)) == 0) continue;
            errno = 0;
            CHECK(!memarena_realloc_aligned(arena, block, 100, 50, alignment) && errno == EINVAL);
            CHECK(!memarena_realloc_aligned(arena, block, 100, 200, alignment));
            CHECK(!memarena_realloc_aligned(arena, NULL, 0, 200, alignment));
        }
        CHECK_EQ(memarena_allocated_bytes(arena), before);
        CHECK(is_filled(block, 5, 100));
        kinds_destroy();
    }
}

static void what_has_no_room_stays(void)
{
    for (int kind = 0; kind < KINDS; kind++) {
        memarena *arena = kinds_create(kind);
        unsigned char *block = memarena_alloc_aligned(arena, 64, 64);
        memset(block, 5, 64);
        size_t before = memarena_allocated_bytes(arena);
        errno = 0;
        CHECK(!memarena_realloc_aligned(arena, block, 64, memarena_capacity(arena) + 1, 64) && errno == ENOMEM);
        CHECK(!memarena_realloc_aligned(arena, block, 64, SIZE_MAX, 64));
        CHECK(!memarena_realloc_aligned(arena, block, 64, 65, SIZE_MAX / 2 + 1));
        CHECK(is_filled(block, 5, 64));
        CHECK_EQ(memarena_allocated_bytes(arena), before);
        kinds_destroy();
    }
}

int main(void)
{
    RUN(a_block_keeps_its_alignment);
    RUN(at_the_tip_it_stays);
    RUN(a_block_that_does_not_lie_there_moves);
    RUN(what_is_no_power_of_two_changes_nothing);
    RUN(what_has_no_room_stays);
    return test_done();
}
