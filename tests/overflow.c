/* Sizes, counts and alignments at the end of their range: refused with the right errno, and a refusal consumes nothing.
 */
#include <memarena.h>

#include "test.h"

#include <errno.h>

#define COUNT_OF(array) (sizeof(array) / sizeof *(array))
#define ADDRESS_BITS (sizeof(size_t) * 8)

static unsigned char buffer[64 << 10];

/* Arenas of each kind: with shards, with lanes only, with neither, in a buffer with and without lanes. */
enum { KINDS = 5 };

static memarena *create(int kind)
{
    static unsigned char large_buffer[2 << 20];
    memarena_options options = {.capacity = (size_t)8 << 20};
    if (kind == 1) options.capacity = (size_t)64 << 10;
    if (kind == 2) options.capacity = 4096;
    if (kind == 3) options.buffer = large_buffer, options.capacity = sizeof large_buffer;
    if (kind == 4) options.buffer = buffer, options.capacity = sizeof buffer;
    memarena *arena = memarena_create_with(&options);
    CHECK(arena);
    return arena;
}

static size_t size_near_the_end(size_t i)
{
    static const size_t below_the_end[] = {
        0,   1,   2,    6,    7,    8,    9,    14,   15,    16,    17,    30,    31,     62,     63,      64,      65,
        127, 128, 4094, 4095, 4096, 4097, 8191, 8192, 65534, 65535, 65536, 65537, 131071, 131072, 1 << 20, 16 << 20};
    static const size_t others[] = {SIZE_MAX / 2 + 1, SIZE_MAX / 2,     SIZE_MAX / 2 - 7, SIZE_MAX / 3,
                                    SIZE_MAX / 3 + 1, SIZE_MAX / 3 + 8, SIZE_MAX / 4 * 3, SIZE_MAX / 8 + 1};
    if (i < COUNT_OF(below_the_end)) return SIZE_MAX - below_the_end[i];
    i -= COUNT_OF(below_the_end);
    return i < COUNT_OF(others) ? others[i] : 0;
}

/* The block is refused for this reason, and the arena is as it was. */
#define CHECK_REFUSED(arena, call, reason) \
    do { \
        size_t allocated_before_ = memarena_allocated_bytes(arena); \
        errno = 0; \
        CHECK((call) == NULL); \
        CHECK_EQ(errno, (reason)); \
        CHECK_EQ(memarena_allocated_bytes(arena), allocated_before_); \
    } while (0)

/* Whatever was refused before: what the accounts leave can still be had, to the last 8 bytes, and a reset leaves all.
 */
static void check_whole(memarena *arena)
{
    size_t capacity = memarena_capacity(arena) & ~(size_t)7;
    for (size_t size = capacity; size >= 8; size = size / 2 & ~(size_t)7)
        while (memarena_alloc_aligned(arena, size, 8)) continue;
    CHECK_EQ(memarena_allocated_bytes(arena), capacity);
    memarena_reset(arena);
    CHECK(memarena_alloc_aligned(arena, capacity, 8));
}

/* The inline code, where the alignment is a constant. */
static void *alloc_at_constant(memarena *arena, size_t size, unsigned bit)
{
#define AT(n) \
    case n: \
        return memarena_alloc_aligned(arena, size, (size_t)1 << n);
    switch (bit) {
        AT(0)
        AT(1)
        AT(2)
        AT(3)
        AT(4)
        AT(5)
        AT(6)
        AT(7) AT(8) AT(9) AT(10) AT(11) AT(12) AT(13) AT(14) AT(15) AT(16) AT(17) AT(18) AT(19) AT(20) AT(30) AT(31)
    }
#undef AT
    return memarena_alloc_aligned(arena, size, (size_t)1 << bit);
}

static void sizes_near_the_end_are_refused_at_every_alignment(void)
{
    for (int kind = 0; kind < KINDS; kind++) {
        memarena *arena = create(kind);
        for (int with_tlab = 0; with_tlab < 2; with_tlab++) {
            for (size_t i = 0, size; (size = size_near_the_end(i)) != 0; i++) {
                for (unsigned bit = 0; bit < ADDRESS_BITS; bit++) {
                    CHECK_REFUSED(arena, memarena_alloc_aligned(arena, size, (size_t)1 << bit), ENOMEM);
                    CHECK_REFUSED(arena, alloc_at_constant(arena, size, bit), ENOMEM);
                }
                CHECK_REFUSED(arena, memarena_alloc(arena, size), ENOMEM);
                CHECK_REFUSED(arena, memarena_zalloc(arena, size), ENOMEM);
                CHECK_REFUSED(arena, memarena_calloc(arena, 1, size), ENOMEM);
                CHECK_REFUSED(arena, memarena_calloc(arena, size, 1), ENOMEM);
                CHECK_REFUSED(arena, memarena_memdup(arena, "", size), ENOMEM);
                CHECK_REFUSED(arena, memarena_realloc(arena, NULL, 0, size), ENOMEM);
            }
            CHECK(memarena_alloc_aligned(arena, 24, 8));
        }
        check_whole(arena);
        memarena_destroy(arena);
    }
}

static void sizes_just_above_the_capacity_are_refused_at_every_alignment(void)
{
    for (int kind = 0; kind < KINDS; kind++) {
        memarena *arena = create(kind);
        for (size_t more = 1; more < 100; more += more < 20 ? 1 : 13)
            for (unsigned bit = 0; bit < ADDRESS_BITS; bit++)
                CHECK_REFUSED(arena, memarena_alloc_aligned(arena, memarena_capacity(arena) + more, (size_t)1 << bit),
                              ENOMEM);
        check_whole(arena);
        memarena_destroy(arena);
    }
}

static void products_that_overflow_are_refused(void)
{
    size_t half = SIZE_MAX / 2 + 1, root = (size_t)1 << ADDRESS_BITS / 2;
    const size_t pairs[][2] = {{SIZE_MAX, 2},          {2, SIZE_MAX},         {half, 2},     {2, half},
                               {SIZE_MAX / 8 + 1, 8},  {8, SIZE_MAX / 8 + 1}, {root, root},  {root + 1, root + 1},
                               {SIZE_MAX / 3 + 1, 3},  {SIZE_MAX, SIZE_MAX},  {half + 4, 2}, {root, root + 1},
                               {SIZE_MAX / 24 + 2, 24}};
    for (int kind = 0; kind < KINDS; kind++) {
        memarena *arena = create(kind);
        for (size_t i = 0; i < COUNT_OF(pairs); i++)
            CHECK_REFUSED(arena, memarena_calloc(arena, pairs[i][0], pairs[i][1]), ENOMEM);
        check_whole(arena);
        memarena_destroy(arena);
    }
}

static void arrays_that_overflow_are_refused(void)
{
    struct bytes24 {
        char bytes[24];
    };
    struct wide {
        _Alignas(256) char bytes[1024];
    };
    for (int kind = 0; kind < KINDS; kind++) {
        memarena *arena = create(kind);
        for (volatile size_t more = 1; more < 70;
             more = more + 1) { /* volatile: gcc would warn of what we are about to do */
            CHECK_REFUSED(arena, memarena_new_array(arena, int64_t, SIZE_MAX / 8 + more), ENOMEM);
            CHECK_REFUSED(arena, memarena_new_array(arena, struct bytes24, SIZE_MAX / 24 + more), ENOMEM);
            CHECK_REFUSED(arena, memarena_new_array(arena, struct wide, SIZE_MAX / 1024 + more), ENOMEM);
            CHECK_REFUSED(arena, memarena_new_array(arena, char, SIZE_MAX - more + 1), ENOMEM);
            CHECK_REFUSED(arena, memarena_new_array(arena, int64_t, SIZE_MAX / 8 - more + 1), ENOMEM);
        }
        check_whole(arena);
        memarena_destroy(arena);
    }
}

static void a_realloc_that_is_refused_leaves_the_block(void)
{
    static const size_t sizes[] = {8, 100, 1000, 3000};
    for (int kind = 0; kind < KINDS; kind++) {
        memarena *arena = create(kind);
        for (size_t i = 0; i < COUNT_OF(sizes); i++) {
            unsigned char *block = memarena_alloc(arena, sizes[i]);
            if (!block) continue;
            memset(block, 0x5A, sizes[i]);
            for (int tip = 1; tip >= 0; tip--) {
                for (size_t j = 0, size; (size = size_near_the_end(j)) != 0; j++)
                    CHECK_REFUSED(arena, memarena_realloc(arena, block, sizes[i], size), ENOMEM);
                CHECK_REFUSED(arena, memarena_realloc(arena, block, sizes[i], memarena_capacity(arena) + 1), ENOMEM);
                for (size_t byte = 0; byte < sizes[i]; byte++) CHECK_EQ(block[byte], 0x5A);
                if (tip) CHECK(memarena_alloc(arena, 8) || kind == 2);
            }
        }
        check_whole(arena);
        memarena_destroy(arena);
    }
}

static void a_string_is_bounded_by_its_end_not_by_the_maximum(void)
{
    memarena *arena = create(0);
    for (size_t i = 0, max; (max = size_near_the_end(i)) != 0; i++) {
        char *copy = memarena_strndup(arena, "seven", max);
        CHECK(copy && strcmp(copy, "seven") == 0);
    }
    memarena_destroy(arena);
}

static void what_is_not_a_power_of_two_is_no_alignment(void)
{
    static const size_t variable[] = {0,
                                      3,
                                      5,
                                      6,
                                      7,
                                      9,
                                      10,
                                      12,
                                      15,
                                      17,
                                      24,
                                      48,
                                      96,
                                      4095,
                                      4097,
                                      65535,
                                      65537,
                                      (1 << 20) + 8,
                                      SIZE_MAX,
                                      SIZE_MAX - 1,
                                      SIZE_MAX / 2,
                                      SIZE_MAX / 2 + 2,
                                      SIZE_MAX - 7};
    void *(*volatile exported)(memarena *, size_t, size_t) = memarena_alloc_aligned;
    for (int kind = 0; kind < KINDS; kind++) {
        memarena *arena = create(kind);
        for (int with_tlab = 0; with_tlab < 2; with_tlab++) {
            for (size_t i = 0; i < COUNT_OF(variable); i++) {
                volatile size_t alignment = variable[i];
                CHECK_REFUSED(arena, memarena_alloc_aligned(arena, 0, alignment), EINVAL);
                CHECK_REFUSED(arena, memarena_alloc_aligned(arena, 8, alignment), EINVAL);
                CHECK_REFUSED(arena, memarena_alloc_aligned(arena, 3000, alignment), EINVAL);
                CHECK_REFUSED(arena, memarena_alloc_aligned(arena, SIZE_MAX, alignment), EINVAL);
                CHECK_REFUSED(arena, exported(arena, 8, alignment), EINVAL);
            }
#define CONSTANT(alignment) \
    CHECK_REFUSED(arena, memarena_alloc_aligned(arena, 8, alignment), EINVAL); \
    CHECK_REFUSED(arena, memarena_alloc_aligned(arena, 0, alignment), EINVAL); \
    CHECK_REFUSED(arena, memarena_alloc_aligned(arena, (size_t)100000, alignment), EINVAL)
            CONSTANT(0);
            CONSTANT(3);
            CONSTANT(6);
            CONSTANT(12);
            CONSTANT(24);
            CONSTANT(65535);
            CONSTANT(65537);
            CONSTANT(SIZE_MAX);
            CONSTANT(SIZE_MAX - 1);
#undef CONSTANT
            CHECK(memarena_alloc_aligned(arena, 24, 8));
        }
        memarena_stats stats;
        memarena_get_stats(arena, &stats, sizeof stats);
        CHECK_EQ(stats.failed_requests, 0); /* those are for want of memory */
        check_whole(arena);
        memarena_destroy(arena);
    }
}

static void huge_alignments_give_an_aligned_block_or_none(void)
{
    for (int kind = 0; kind < KINDS; kind++) {
        memarena *arena = create(kind);
        for (int from_tlab = 0; from_tlab < 2; from_tlab++) {
            for (unsigned bit = 0; bit < ADDRESS_BITS; bit++) {
                for (size_t size = 0; size <= 3000; size += 1000) {
                    size_t alignment = (size_t)1 << bit, before = memarena_allocated_bytes(arena);
                    errno = 0;
                    char *block = memarena_alloc_aligned(arena, size, alignment);
                    if (block) {
                        CHECK_EQ((uintptr_t)block % alignment, 0);
                        CHECK(memarena_owns(arena, block));
                        CHECK(size == 0 || memarena_owns(arena, block + size - 1));
                        memset(block, 1, size);
                    } else {
                        CHECK_EQ(errno, ENOMEM);
                        CHECK_EQ(memarena_allocated_bytes(arena), before);
                    }
                    memarena_reset(arena);
                    if (from_tlab) CHECK(memarena_alloc_aligned(arena, 8, 8));
                }
            }
        }
        check_whole(arena);
        memarena_destroy(arena);
    }
}

static void an_alignment_of_a_terabyte_can_be_had(void)
{
    if (ADDRESS_BITS < 64) return;
    size_t terabyte = (size_t)(UINT64_C(1) << 40);
    memarena *arena = memarena_create(4 * terabyte);
    if (!arena) return; /* a machine that does not reserve so much */
    memarena_stats stats;
    memarena_get_stats(arena, &stats, sizeof stats);
    if (!stats.watched) { /* the shadow of such a gap is real memory */
        char *block = memarena_alloc_aligned(arena, 1000, terabyte);
        CHECK(block && memarena_owns(arena, block));
        CHECK_EQ((uintptr_t)block % terabyte, 0);
        block[0] = block[999] = 1;
        CHECK(memarena_alloc_aligned(arena, 1000, terabyte / 2));
    }
    memarena_destroy(arena);
}

static void blocks_of_size_zero_are_distinct(void)
{
    for (int kind = 0; kind < KINDS; kind++) {
        memarena *arena = create(kind);
        size_t none = strlen("");
        for (int i = 0; i < 20; i++) {
            const void *blocks[] = {memarena_alloc(arena, 0),
                                    memarena_alloc(arena, none),
                                    memarena_alloc_aligned(arena, 0, 1),
                                    memarena_alloc_aligned(arena, none, 8),
                                    memarena_alloc_aligned(arena, 8, 8),
                                    memarena_zalloc(arena, 0),
                                    memarena_calloc(arena, 0, 7),
                                    memarena_calloc(arena, 7, 0),
                                    memarena_calloc(arena, SIZE_MAX, 0),
                                    memarena_memdup(arena, NULL, none),
                                    memarena_new_array(arena, int, none),
                                    memarena_realloc(arena, NULL, 0, 0),
                                    memarena_alloc(arena, 1)};
            for (size_t j = 0; j < COUNT_OF(blocks); j++) {
                CHECK(blocks[j] && memarena_owns(arena, blocks[j]));
                for (size_t k = 0; k < j; k++) CHECK(blocks[j] != blocks[k]);
            }
        }
        memarena_reset(arena);
        CHECK(memarena_alloc_aligned(arena, 0, 8));
        CHECK_EQ(memarena_allocated_bytes(arena), 8);
        memarena_destroy(arena);
    }
}

int main(void)
{
    RUN(sizes_near_the_end_are_refused_at_every_alignment);
    RUN(sizes_just_above_the_capacity_are_refused_at_every_alignment);
    RUN(products_that_overflow_are_refused);
    RUN(arrays_that_overflow_are_refused);
    RUN(a_realloc_that_is_refused_leaves_the_block);
    RUN(a_string_is_bounded_by_its_end_not_by_the_maximum);
    RUN(what_is_not_a_power_of_two_is_no_alignment);
    RUN(huge_alignments_give_an_aligned_block_or_none);
    RUN(an_alignment_of_a_terabyte_can_be_had);
    RUN(blocks_of_size_zero_are_distinct);
    return test_done();
}
