/* Alignment: of blocks, and of the library's own parts, in memory from the OS and in a buffer wherever it starts. */
#include "internals.h"
#include "test.h"

#include <errno.h>

#define MIB ((size_t)1 << 20)
#define COUNT_OF(array) (sizeof(array) / sizeof *(array))

/* The inline code, where the alignment is a constant, and the slow road for the same. */
static void *alloc_at(memarena *arena, size_t size, unsigned bit, bool constant)
{
#define AT(n) \
    case n: \
        return memarena_alloc_aligned(arena, size, (size_t)1 << n);
    if (constant) {
        switch (bit) {
            AT(0)
            AT(1)
            AT(2)
            AT(3)
            AT(4)
            AT(5) AT(6) AT(7) AT(8) AT(9) AT(10) AT(11) AT(12) AT(13) AT(14) AT(15) AT(16) AT(17) AT(18) AT(19) AT(20)
        }
    }
#undef AT
    return memarena_alloc_aligned(arena, size, (size_t)1 << bit);
}

/* Some constant sizes: the inline code is a different one where the size is a multiple of the alignment. */
static void *alloc_constant_size(memarena *arena, unsigned bit)
{
#define AT(n) \
    case n: \
        return memarena_alloc_aligned(arena, (size_t)1 << n, (size_t)1 << n);
    switch (bit) {
        AT(0)
        AT(1)
        AT(2)
        AT(3)
        AT(4)
        AT(5)
        AT(6)
        AT(7)
        AT(8)
        AT(9)
        AT(10)
        AT(11)
        AT(12)
        AT(13) AT(14) AT(15) AT(16) default : return memarena_alloc_aligned(arena, (size_t)1 << 16, (size_t)1 << 16);
    }
#undef AT
}

/* ---- Blocks that know themselves -------------------------------------------------------------------------------- */

typedef struct kept_blocks {
    struct {
        unsigned char *at;
        size_t size;
    } all[4096];
    size_t count;
} kept_blocks;

static kept_blocks kept;

static unsigned char stamp_of(size_t index)
{
    return (unsigned char)(index % 251 + 1);
}

static void keep(const memarena *arena, void *block, size_t size, size_t alignment)
{
    CHECK(block);
    CHECK_EQ((uintptr_t)block % alignment, 0);
    CHECK(memarena_owns(arena, block) && (size == 0 || memarena_owns(arena, (char *)block + size - 1)));
    memset(block, stamp_of(kept.count), size);
    CHECK(kept.count < COUNT_OF(kept.all));
    kept.all[kept.count].at = block;
    kept.all[kept.count++].size = size;
}

/* Nobody has written into anybody else's. */
static void check_kept(void)
{
    size_t wrong = 0;
    for (size_t i = 0; i < kept.count; i++)
        for (size_t byte = 0; byte < kept.all[i].size; byte++) wrong += kept.all[i].at[byte] != stamp_of(i);
    CHECK_EQ(wrong, 0);
    kept.count = 0;
}

/* ---- Blocks ----------------------------------------------------------------------------------------------------- */

static const size_t sizes[] = {0, 1, 7, 8, 9, 24, 64, 100, 1000, 5000};

static void take_at_every_alignment(memarena *arena, unsigned most)
{
    for (size_t i = 0; i < COUNT_OF(sizes); i++) {
        for (unsigned bit = 0; bit <= most; bit++) {
            keep(arena, alloc_at(arena, sizes[i], bit, true), sizes[i], (size_t)1 << bit);
            keep(arena, alloc_at(arena, sizes[i], bit, false), sizes[i], (size_t)1 << bit);
        }
        for (unsigned bit = most + 1; bit-- > 0;)
            keep(arena, alloc_at(arena, sizes[i], bit, bit % 2), sizes[i], (size_t)1 << bit);
    }
    check_kept();
    memarena_reset(arena);
}

static void every_power_of_two_up_to_a_mebibyte_is_an_alignment(void)
{
    memarena *arena = memarena_create(256 * MIB);
    CHECK(arena);
    for (int generation = 0; generation < 3; generation++) take_at_every_alignment(arena, 20);
    memarena_destroy(arena);
}

static void sizes_that_are_multiples_of_their_alignment_are_aligned_too(void)
{
    memarena *arena = memarena_create(64 * MIB);
    CHECK(arena);
    for (int round = 0; round < 8; round++) {
        for (unsigned bit = 0; bit <= 16; bit++) {
            keep(arena, memarena_alloc_aligned(arena, 8, 8), 8, 8);
            keep(arena, alloc_constant_size(arena, bit), (size_t)1 << bit, (size_t)1 << bit);
        }
    }
    check_kept();
    memarena_destroy(arena);
}

/* So blocks of 8 bytes lie side by side. */
static void the_usual_calls_align_for_any_object_of_that_size(void)
{
    memarena *arena = memarena_create(8 * MIB);
    CHECK(arena);
    char bytes[100] = "";
    for (size_t size = 0; size < 100; size++) {
        size_t most = test_alignment(size);
        keep(arena, memarena_alloc_aligned(arena, 8, 8), 8, 8);
        keep(arena, memarena_alloc(arena, size), size, most);
        keep(arena, memarena_alloc_aligned(arena, 8, 8), 8, 8);
        keep(arena, memarena_zalloc(arena, size), size, most);
        keep(arena, memarena_alloc_aligned(arena, 8, 8), 8, 8);
        keep(arena, memarena_calloc(arena, size, 3), size * 3, test_alignment(size * 3));
        keep(arena, memarena_alloc_aligned(arena, 8, 8), 8, 8);
        keep(arena, memarena_memdup(arena, bytes, size), size, most);
        keep(arena, memarena_alloc_aligned(arena, 8, 8), 8, 8);
        keep(arena, memarena_realloc(arena, NULL, 0, size), size, most);
        void *old = memarena_alloc_aligned(arena, 8, 8);
        keep(arena, memarena_alloc_aligned(arena, 8, 8), 8, 8);
        keep(arena, memarena_realloc(arena, old, 8, 9 + size), 9 + size, test_alignment(9 + size));
    }
    check_kept();
    memarena_destroy(arena);
}

/* What each call takes for a block of `size` bytes where the next free byte lies at an odd multiple of 8: no padding, unless
 * an object of that size could be in need of it. On all roads: inline with a constant size, and not, and the slow one. */
static void take_all_ways(memarena *arena, size_t size)
{
    size_t before = memarena_allocated_bytes(arena), now, pads = test_alignment(size) > 8 ? 8 : 0;
    char bytes[16] = "";
    for (int way = 0; way < 7; way++, before = now) {
        CHECK(memarena_alloc_aligned(arena, 16, 16) && memarena_alloc_aligned(arena, 8, 8));
        before = memarena_allocated_bytes(arena);
        void *block = way == 0   ? memarena_alloc(arena, size)
                      : way == 1 ? memarena_zalloc(arena, size)
                      : way == 2 ? memarena_calloc(arena, 1, size)
                      : way == 3 ? memarena_memdup(arena, bytes, size)
                      : way == 4 ? memarena_alloc_any_slow_(arena, size)
                      : way == 5 ? memarena_realloc(arena, NULL, 0, size)
                      : size < 9 ? memarena_alloc(arena, 8)
                      : pads     ? memarena_alloc(arena, 16)
                                 : memarena_alloc(arena, 15);
        CHECK(block);
        now = memarena_allocated_bytes(arena);
        CHECK_EQ(now - before, (size < 9 ? 8 : 16) + pads);
    }
}

static void small_blocks_take_no_padding(void)
{
    static const unsigned flags[] = {0, MEMARENA_PER_CPU};
    for (int kind = 0; kind < 4; kind++) { /* by lane, per CPU, without either, a scope */
        for (size_t size = 0; size <= 16; size++) {
            memarena_options options = {.capacity = kind == 2 ? 8192 : 8 * MIB, .flags = flags[kind == 1]};
            memarena *root = memarena_create_with(&options), *arena = kind == 3 ? memarena_scope(root) : root;
            CHECK(arena);
            take_all_ways(arena, size);
            if (arena != root) memarena_destroy(arena);
            memarena_destroy(root);
        }
    }
}

static void large_blocks_are_aligned_like_small_ones(void)
{
    memarena *arena = memarena_create(512 * MIB);
    CHECK(arena);
    for (unsigned bit = 0; bit <= 20; bit++) {
        for (size_t size = 70000; size < 2 * MIB; size = size * 5 + 8) {
            keep(arena, memarena_alloc_aligned(arena, 8, 8), 8, 8);
            keep(arena, alloc_at(arena, size, bit, bit % 2), size, (size_t)1 << bit);
        }
    }
    check_kept();
    memarena_destroy(arena);
}

static void alignments_in_any_order_keep_blocks_apart(void)
{
    memarena *arena = memarena_create(64 * MIB);
    CHECK(arena);
    unsigned long long random = 20240229;
    for (int generation = 0; generation < 20; generation++) {
        for (int i = 0; i < 500; i++) {
            unsigned long long choice = test_random(&random);
            unsigned bit = (unsigned)(choice % 8 == 0 ? choice >> 8 & 15 : choice >> 8 & 7);
            size_t size = (size_t)(choice >> 16) % (choice % 16 == 1 ? 20000 : 200);
            keep(arena, alloc_at(arena, size, bit, choice >> 40 & 1), size, (size_t)1 << bit);
        }
        check_kept();
        memarena_reset(arena);
    }
    memarena_destroy(arena);
}

static void buffers_may_start_anywhere(void)
{
    char *memory = malloc(160 * 1024 + 128);
    CHECK(memory);
    for (size_t shift = 0; shift < 128; shift++) {
        for (size_t size = 4096; size <= 160 * 1024; size = size == 4096 ? 20000 : size * 8) {
            memarena_options options = {.buffer = memory + shift, .capacity = size};
            memarena *arena = memarena_create_with(&options);
            CHECK(arena);
            unsigned most = size == 4096 ? 9 : size == 20000 ? 12 : 14;
            for (unsigned bit = 0; bit <= most; bit++) {
                keep(arena, alloc_at(arena, 1 + bit, bit, false), 1 + bit, (size_t)1 << bit);
                keep(arena, memarena_alloc(arena, 1), 1, 8);
            }
            check_kept();
            memarena_reset(arena);
            for (unsigned bit = most + 1; bit-- > 0;)
                keep(arena, alloc_at(arena, 1 + bit, bit, true), 1 + bit, (size_t)1 << bit);
            check_kept();
            memarena_destroy(arena);
        }
    }
    free(memory);
}

static void large_buffers_hold_large_alignments(void)
{
    char *memory = malloc(4 * MIB + 128);
    CHECK(memory);
    for (size_t shift = 0; shift < 128; shift += 13) {
        for (unsigned bit = 0; bit <= 20; bit++) {
            memarena_options options = {.buffer = memory + shift, .capacity = 4 * MIB};
            memarena *arena = memarena_create_with(&options);
            CHECK(arena);
            keep(arena, alloc_at(arena, 300, bit, false), 300, (size_t)1 << bit);
            keep(arena, alloc_at(arena, 300, bit, true), 300, (size_t)1 << bit);
            check_kept();
            memarena_destroy(arena);
        }
    }
    free(memory);
}

/* ---- The library's own parts --------------------------------------------------------------------------------------
 */

/* Two threads share no cache line through them: each source and each lane has a pair of lines for itself. */
static void check_parts(const memarena *handle)
{
    const ma_arena *arena = ma_arena_of(handle);
    CHECK_EQ((uintptr_t)arena >> MEMARENA_LANES_BIT_ & 1, arena->has_lanes);
    CHECK_EQ((uintptr_t)arena->pool.sources % 128, 0);
    CHECK_EQ(sizeof(ma_source) % 128, 0);
    CHECK_EQ(arena->pool.base % 8, 0);
    if (!arena->has_lanes) return;
    for (unsigned lane = 0; lane < MA_LANES; lane++) {
        uintptr_t begin = (uintptr_t)ma_arena_lane(arena, lane);
        CHECK_EQ(begin % 128, 0);
        CHECK(begin >= (uintptr_t)arena + sizeof *arena && begin + sizeof(ma_lane) <= (uintptr_t)arena->pool.sources);
    }
    CHECK((uintptr_t)(arena->pool.sources + MA_SHARDS + 1) <= arena->pool.base);
}

static void lanes_and_sources_share_no_cache_line(void)
{
    for (size_t capacity = 1000; capacity < 256 * MIB; capacity *= 3) {
        memarena *arena = memarena_create(capacity);
        CHECK(arena);
        check_parts(arena);
        memarena_destroy(arena);
    }
    char *memory = malloc(2 * MIB + 128);
    CHECK(memory);
    for (size_t shift = 0; shift < 128; shift++) {
        for (size_t size = 2048; size <= 2 * MIB; size *= 4) {
            memarena_options options = {.buffer = memory + shift, .capacity = size};
            memarena *arena = memarena_create_with(&options);
            CHECK(arena);
            check_parts(arena);
            memarena_destroy(arena);
        }
    }
    free(memory);
}

int main(void)
{
    RUN(every_power_of_two_up_to_a_mebibyte_is_an_alignment);
    RUN(sizes_that_are_multiples_of_their_alignment_are_aligned_too);
    RUN(the_usual_calls_align_for_any_object_of_that_size);
    RUN(small_blocks_take_no_padding);
    RUN(large_blocks_are_aligned_like_small_ones);
    RUN(alignments_in_any_order_keep_blocks_apart);
    RUN(buffers_may_start_anywhere);
    RUN(large_buffers_hold_large_alignments);
    RUN(lanes_and_sources_share_no_cache_line);
    return test_done();
}
