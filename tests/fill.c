/* A single thread fills an arena to its last 8 bytes, whatever the sizes of the blocks and of the arena, and again
 * after a reset. Every block is checked against a map of the arena, one byte per grain, for lying inside and alone. */
#include "grain_map.h"

#include <errno.h>

#define KIB ((size_t)1 << 10)
#define MIB ((size_t)1 << 20)
#define COUNT_OF(array) (sizeof(array) / sizeof *(array))

static const size_t capacities[] = {64,      72,  4 * KIB, 16 * KIB - 8, 16 * KIB, 64 * KIB,
                                    MIB - 8, MIB, MIB + 8, 3 * MIB + 24, 64 * MIB};
static const size_t block_sizes[] = {8, 16, 24, 40, 100, 1000, 5000, 9000, 70000};

/* ---- Filling --------------------------------------------------------------------------------------------------- */

typedef struct size_plan {
    size_t fixed;              /* 0: random ones */
    unsigned long long random; /* seed */
    size_t capacity;
} size_plan;

static size_t next_size(size_plan *sizes)
{
    if (sizes->fixed) return sizes->fixed;
    unsigned long long random = test_random(&sizes->random);
    size_t range = random % 16 == 0 ? sizes->capacity / 8 + 1 : random % 16 < 4 ? 3000 : 64;
    return 1 + (size_t)(random >> 8) % range;
}

/* Takes one block, enters it, and touches its ends; false when there is no room. */
static bool take(grain_map *map, size_t size, size_t *sum)
{
    size_t bytes = (size + 7) & ~(size_t)7;
    char *block = memarena_alloc_aligned(map->arena, size, 8);
    if (!block) return false;
    map_add(map, block, bytes);
    block[0] = 1;
    block[size - 1] = 1;
    *sum += bytes;
    return true;
}

/* Blocks of these sizes until one is refused, then of 8 bytes until one is. Returns how many there were. */
static size_t fill(grain_map *map, size_plan sizes)
{
    size_t count = 0, sum = 0;
    map_clear(map);
    CHECK_EQ(memarena_allocated_bytes(map->arena), 0);
    while (take(map, next_size(&sizes), &sum)) count++;
    CHECK_EQ(memarena_allocated_bytes(map->arena), sum);
    while (take(map, 8, &sum)) count++;
    CHECK_EQ(memarena_allocated_bytes(map->arena), sum);
    CHECK_EQ(sum, memarena_capacity(map->arena));
    return count;
}

static void fill_twice(grain_map *map, size_plan sizes)
{
    size_t before = fill(map, sizes);
    memarena_reset(map->arena);
    CHECK_EQ(fill(map, sizes), before);
    memarena_reset(map->arena);
}

static void fill_with_all_sizes(memarena *arena)
{
    grain_map map = map_make(arena);
    size_t capacity = memarena_capacity(arena);
    bool slow = ma_arena_of(arena)->watch != MA_WATCH_NONE && capacity > 8 * MIB;
    for (size_t i = slow ? 5 : 0; i < COUNT_OF(block_sizes); i++)
        if (block_sizes[i] <= capacity) fill_twice(&map, (size_plan){.fixed = block_sizes[i]});
    for (unsigned seed = 1; seed <= (capacity > 8 * MIB ? 2 : 20); seed++)
        fill_twice(&map, (size_plan){.random = seed * 0x9E3779B97F4A7C15u, .capacity = capacity});
    free(map.taken);
}

static void a_thread_fills_memory_from_the_os(void)
{
    for (size_t i = 0; i < COUNT_OF(capacities); i++) {
        memarena *arena = memarena_create(capacities[i]);
        CHECK(arena);
        CHECK_EQ(memarena_capacity(arena), capacities[i]);
        fill_with_all_sizes(arena);
        memarena_destroy(arena);
    }
}

static void a_thread_fills_a_buffer(void)
{
    for (size_t i = 0; i < COUNT_OF(capacities); i++) {
        size_t size = capacities[i] + KIB;
        char *buffer = malloc(size);
        memarena *arena = memarena_create_with(&(memarena_options){.buffer = buffer, .capacity = size});
        CHECK(arena);
        fill_with_all_sizes(arena);
        memarena_destroy(arena);
        free(buffer);
    }
}

static void a_thread_fills_an_arena_of_any_size(void)
{
    for (size_t capacity = 1; capacity < 40000; capacity += capacity < 200 ? 1 : 997) {
        memarena *arena = memarena_create(capacity);
        CHECK(arena);
        grain_map map = map_make(arena);
        fill_twice(&map, (size_plan){.fixed = 8});
        fill_twice(&map, (size_plan){.random = capacity, .capacity = capacity});
        free(map.taken);
        memarena_destroy(arena);
    }
}

static void the_largest_tlab_makes_no_difference(void)
{
    for (size_t tlab_bytes = 64; tlab_bytes <= 16 * MIB; tlab_bytes *= 4) {
        memarena *arena = memarena_create_with(&(memarena_options){.capacity = 5 * MIB, .tlab_bytes = tlab_bytes});
        CHECK(arena);
        grain_map map = map_make(arena);
        fill_twice(&map, (size_plan){.fixed = 40});
        fill_twice(&map, (size_plan){.fixed = 1000});
        fill_twice(&map, (size_plan){.random = 77, .capacity = 5 * MIB});
        free(map.taken);
        memarena_destroy(arena);
    }
}

/* ---- One block ------------------------------------------------------------------------------------------------- */

/* Asks an arena without blocks for one of `size` bytes: there is room for it exactly when it fits the capacity. */
static void ask_for_one(memarena *arena, size_t size)
{
    size_t room = memarena_capacity(arena) & ~(size_t)7;
    errno = 0;
    char *block = memarena_alloc_aligned(arena, size, 8);
    CHECK_EQ(block != NULL, size <= room);
    if (block) {
        CHECK(memarena_owns(arena, block) && memarena_owns(arena, block + size - 1));
        block[0] = block[size - 1] = 1;
        CHECK_EQ(memarena_allocated_bytes(arena), (size + 7) & ~(size_t)7);
        CHECK(size + 8 <= room || !memarena_alloc_aligned(arena, 8, 8));
    } else {
        CHECK_EQ(errno, ENOMEM);
        CHECK_EQ(memarena_allocated_bytes(arena), 0);
    }
}

static void ask_around_the_capacity(memarena *arena)
{
    size_t capacity = memarena_capacity(arena);
    for (size_t size = capacity > 16 ? capacity - 16 : 1; size <= capacity + 16; size++) {
        ask_for_one(arena, size);
        memarena_reset(arena);
    }
}

static void one_block_may_take_all(void)
{
    for (size_t i = 0; i < COUNT_OF(capacities); i++) {
        for (size_t odd = 0; odd < 9; odd++) {
            memarena *arena = memarena_create(capacities[i] + odd);
            CHECK(arena);
            ask_around_the_capacity(arena);
            memarena_destroy(arena);
        }
        for (int more = -8; more <= 8; more++) { /* each in an arena that has had no generation before */
            memarena *arena = memarena_create(capacities[i]);
            CHECK(arena);
            ask_for_one(arena, capacities[i] + (size_t)more);
            memarena_destroy(arena);
        }
    }
}

static void one_block_may_take_all_of_a_buffer(void)
{
    char *buffer = malloc(4 * MIB + 16);
    for (size_t size = 2 * KIB; size <= 4 * MIB; size *= 2) {
        for (size_t odd = 0; odd < 16; odd += 5) {
            memarena_options options = {.buffer = buffer + odd, .capacity = size - odd % 3};
            memarena *arena = memarena_create_with(&options);
            CHECK(arena);
            ask_around_the_capacity(arena);
            memarena_destroy(arena);
        }
    }
    free(buffer);
}

static void one_block_may_take_more_than_four_gigabytes(void)
{
    if (sizeof(size_t) < 8) return;
    memarena *arena = memarena_create((size_t)(UINT64_C(9) << 30));
    if (!arena) return; /* a machine that does not reserve so much */
    memarena_stats stats;
    memarena_get_stats(arena, &stats, sizeof stats);
    if (!stats.watched) { /* the shadow of such a block is real memory */
        ask_for_one(arena, (size_t)(UINT64_C(9) << 30) - 8);
        memarena_reset(arena);
        ask_for_one(arena, (size_t)(UINT64_C(5) << 30) + 8);
    }
    memarena_destroy(arena);
}

static void a_block_may_take_all_that_small_ones_have_left(void)
{
    static const size_t counts[] = {1, 2, 10, 100, 1000, 1023, 1024, 1025, 20000, 70000, 120000};
    for (size_t i = 0; i < COUNT_OF(capacities); i++) {
        for (size_t j = 0; j < COUNT_OF(counts) && counts[j] * 8 < capacities[i]; j++) {
            memarena *arena = memarena_create(capacities[i]);
            CHECK(arena);
            for (int generation = 0; generation < 2; generation++) {
                for (size_t k = 0; k < counts[j]; k++) CHECK(memarena_alloc_aligned(arena, 8, 8));
                size_t rest = capacities[i] - counts[j] * 8;
                if (rest > 8) CHECK(!memarena_alloc_aligned(arena, rest + 8, 8));
                char *block = memarena_alloc_aligned(arena, rest, 8);
                CHECK(block);
                block[0] = block[rest - 1] = 1;
                CHECK_EQ(memarena_allocated_bytes(arena), capacities[i]);
                CHECK(!memarena_alloc_aligned(arena, 1, 1));
                memarena_reset(arena);
            }
            memarena_destroy(arena);
        }
    }
}

/* A refusal must not spoil what smaller requests would find. */
static void a_refused_block_leaves_room_for_smaller_ones(void)
{
    for (size_t i = 0; i < COUNT_OF(capacities); i++) {
        memarena *arena = memarena_create(capacities[i]);
        CHECK(arena);
        size_t left = capacities[i];
        for (size_t size = capacities[i]; size >= 8; size = size / 2 & ~(size_t)7) {
            CHECK(!memarena_alloc_aligned(arena, left + 8, 8));
            CHECK(memarena_alloc_aligned(arena, size < left ? size : left, 8));
            left -= size < left ? size : left;
            CHECK_EQ(memarena_allocated_bytes(arena), capacities[i] - left);
            if (left == 0) break;
            memarena_reset(arena);
            left = capacities[i];
        }
        memarena_destroy(arena);
    }
}

int main(void)
{
    RUN(a_thread_fills_memory_from_the_os);
    RUN(a_thread_fills_a_buffer);
    RUN(a_thread_fills_an_arena_of_any_size);
    RUN(the_largest_tlab_makes_no_difference);
    RUN(one_block_may_take_all);
    RUN(one_block_may_take_all_of_a_buffer);
    RUN(one_block_may_take_more_than_four_gigabytes);
    RUN(a_block_may_take_all_that_small_ones_have_left);
    RUN(a_refused_block_leaves_room_for_smaller_ones);
    return test_done();
}
