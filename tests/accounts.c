/* The accounts of one thread are exact after every call, and the statistics agree with them. */
#include "internals.h"
#include "test.h"

#include <pthread.h>

#define KIB ((size_t)1 << 10)
#define MIB ((size_t)1 << 20)

static unsigned char memory[2 * MIB];

static size_t rounded(size_t size)
{
    return size ? (size + 7) & ~(size_t)7 : 8;
}

static void ignore(void *context)
{
    (void)context;
}

/* ---- Random calls against a model ------------------------------------------------------------------------------- */

typedef struct arena_model {
    memarena *arena;
    unsigned long long random;
    size_t allocated; /* what the accounts must say */
    uint64_t generation, failed;
    memarena_stats before;
    char *last; /* the newest block, if nothing but realloc has touched it since */
    size_t last_size;
} arena_model;

static void check_stats(arena_model *model)
{
    memarena_stats stats;
    memarena_get_stats(model->arena, &stats, sizeof stats);
    size_t capacity = memarena_capacity(model->arena);
    CHECK_EQ(stats.capacity_bytes, capacity);
    CHECK_EQ(stats.allocated_bytes, model->allocated);
    CHECK_EQ(stats.generation, model->generation);
    CHECK_EQ(stats.failed_requests, model->failed);
    CHECK(stats.allocated_bytes + stats.tlab_bytes + stats.tail_bytes <= capacity);
    CHECK(stats.tlab_bytes <= capacity / 8);
    size_t parts = stats.allocated_bytes + stats.tlab_bytes + stats.tail_bytes + stats.free_extent_bytes;
    CHECK(stats.watched ? stats.claimed_bytes >= parts : stats.claimed_bytes == parts);
    CHECK(stats.peak_bytes >= model->before.peak_bytes && stats.peak_bytes >= stats.claimed_bytes);
    CHECK(stats.claimed_bytes <= capacity && stats.largest_free_bytes <= capacity - stats.claimed_bytes);
    CHECK(stats.refills >= model->before.refills && stats.probes >= model->before.probes);
    CHECK(stats.direct_blocks >= model->before.direct_blocks);
    CHECK_EQ(stats.lanes, ma_arena_of(model->arena)->has_lanes && model->before.lanes);
    model->before = stats;
}

/* A call is over: it has added from `least` to `most` bytes, or nothing where it was refused. */
static void settle(arena_model *model, const void *block, size_t least, size_t most)
{
    size_t now = memarena_allocated_bytes(model->arena), added = now - model->allocated;
    CHECK(now <= memarena_capacity(model->arena));
    if (!block) {
        CHECK_EQ(added, 0);
        model->failed++;
    } else {
        CHECK(now >= model->allocated);
        CHECK(added >= least && added <= most);
    }
    model->allocated = now;
    memarena_stats stats;
    memarena_get_stats(model->arena, &stats, sizeof stats);
    model->before.lanes = stats.lanes;
    if (ma_arena_of(model->arena)->has_lanes) CHECK_EQ(stats.lanes, 1);
    check_stats(model);
}

static size_t random_size(arena_model *model)
{
    unsigned long long random = test_random(&model->random);
    size_t range = random % 64 == 0 ? memarena_capacity(model->arena) / 3 + 1 : random % 64 < 8 ? 5000 : 100;
    return (size_t)(random >> 8) % range;
}

static void allocate(arena_model *model)
{
    size_t size = random_size(model);
    unsigned long long random = test_random(&model->random);
    size_t alignment = random % 4 ? 8 : (size_t)1 << (random >> 8) % 12;
    char *block = memarena_alloc_aligned(model->arena, size, alignment);
    settle(model, block, rounded(size), rounded(size) + (alignment > 8 ? alignment - 8 : 0));
    if (block) model->last = block, model->last_size = size;
}

static void allocate_for_any_type(arena_model *model)
{
    size_t size = random_size(model);
    char *block =
        test_random(&model->random) % 2 ? memarena_alloc(model->arena, size) : memarena_zalloc(model->arena, size);
    settle(model, block, rounded(size), rounded(size) + test_alignment(size) - 8);
    if (block) model->last = block, model->last_size = size;
}

static void copy_text(arena_model *model)
{
    static const char text[] = "a text of which a random part is copied, as long as sixty-odd characters";
    size_t length = (size_t)test_random(&model->random) % sizeof text;
    char *copy = memarena_strndup(model->arena, text, length);
    settle(model, copy, rounded(length + 1), rounded(length + 1));
    model->last = NULL;
}

static void defer(arena_model *model)
{
    bool done = memarena_defer(model->arena, ignore, NULL);
    size_t bytes = 2 * sizeof(void *) + sizeof(uint64_t); /* 24 on 64 bits */
    settle(model, done ? model : NULL, bytes, bytes);
    model->last = NULL;
}

/* The newest block: resized where it is, or moved, or cut. */
static void resize(arena_model *model)
{
    if (!model->last) return;
    size_t old = model->last_size, size = random_size(model), before = model->allocated;
    char *block = memarena_realloc(model->arena, model->last, old, size);
    size_t now = memarena_allocated_bytes(model->arena);
    if (!block) {
        settle(model, NULL, 0, 0);
    } else if (block != model->last) {
        settle(model, block, rounded(size), rounded(size) + test_alignment(size) - 8);
        model->last = block, model->last_size = size;
    } else {
        CHECK_EQ(now, before - rounded(old) + rounded(size));
        model->allocated = now;
        model->last_size = size;
        check_stats(model);
    }
}

static void reset(arena_model *model)
{
    memarena_reset(model->arena);
    model->generation++;
    model->allocated = 0;
    model->last = NULL;
    CHECK_EQ(memarena_allocated_bytes(model->arena), 0);
    CHECK_EQ(memarena_generation(model->arena), model->generation);
    check_stats(model);
}

static void run_calls(memarena *arena, unsigned calls, unsigned long long seed)
{
    CHECK(arena);
    arena_model model = {.arena = arena, .random = seed, .generation = 1};
    CHECK_EQ(memarena_generation(arena), 1);
    check_stats(&model);
    while (calls-- > 0) {
        unsigned long long random = test_random(&model.random);
        if (random % 1009 == 0 || (model.allocated + 64 > memarena_capacity(arena) && random % 20 == 0))
            reset(&model);
        else if (random % 16 < 9)
            allocate(&model);
        else if (random % 16 < 11)
            allocate_for_any_type(&model);
        else if (random % 16 < 12)
            copy_text(&model);
        else if (random % 16 < 13)
            defer(&model);
        else
            resize(&model);
    }
    memarena_destroy(arena);
}

static void every_call_counts_exactly_in_memory_from_the_os(void)
{
    static const size_t capacities[] = {64, 1001, 4 * KIB, 16 * KIB, 100 * KIB, MIB - 8, MIB, 5 * MIB + 16, 64 * MIB};
    for (size_t i = 0; i < sizeof capacities / sizeof *capacities; i++)
        run_calls(memarena_create(capacities[i]), 30000, 1234567 + i);
}

static void every_call_counts_exactly_in_a_buffer(void)
{
    static const size_t capacities[] = {KIB, 4 * KIB + 3, 100 * KIB, 150 * KIB, MIB, 2 * MIB - 64};
    for (size_t i = 0; i < sizeof capacities / sizeof *capacities; i++)
        run_calls(memarena_create_with(&(memarena_options){.buffer = memory + 7 * i, .capacity = capacities[i]}), 30000,
                  987654321 + i);
}

static void every_call_counts_exactly_whatever_the_tlab(void)
{
    for (size_t tlab_bytes = 64; tlab_bytes <= 4 * MIB; tlab_bytes *= 8)
        run_calls(memarena_create_with(&(memarena_options){.capacity = 8 * MIB, .tlab_bytes = tlab_bytes}), 30000,
                  tlab_bytes + 1);
}

/* ---- Where blocks lie is what the accounts say ------------------------------------------------------------------- */

/* Without lanes blocks follow each other, so the accounts, padding included, are where the last one ends. */
static void padding_counts_where_blocks_follow_each_other(void)
{
    for (size_t shift = 0; shift < 64; shift += 3) {
        memarena *arena = memarena_create_with(&(memarena_options){.buffer = memory + shift, .capacity = 100 * KIB});
        CHECK(arena);
        uintptr_t begin = ma_arena_of(arena)->pool.base;
        unsigned long long random = 42 + shift;
        for (int generation = 0; generation < 3; generation++) {
            for (;;) {
                size_t size = (size_t)test_random(&random) % 200, alignment = (size_t)1 << test_random(&random) % 11;
                char *block = memarena_alloc_aligned(arena, size, alignment);
                if (!block) break;
                CHECK_EQ(memarena_allocated_bytes(arena), (uintptr_t)block + rounded(size) - begin);
            }
            memarena_reset(arena);
        }
        memarena_destroy(arena);
    }
}

static void a_single_thread_walks_the_arena_without_a_gap(void)
{
    memarena *arena = memarena_create(8 * MIB);
    CHECK(arena);
    memarena_stats stats;
    memarena_get_stats(arena, &stats, sizeof stats);
    uintptr_t begin = ma_arena_of(arena)->pool.base;
    unsigned long long random = 99;
    for (int generation = 0; generation < 2 && !stats.watched; generation++) {
        for (;;) {
            size_t size = (size_t)test_random(&random) % 500, alignment = (size_t)1 << test_random(&random) % 7;
            char *block = memarena_alloc_aligned(arena, size, alignment);
            if (!block) break;
            CHECK_EQ(memarena_allocated_bytes(arena), (uintptr_t)block + rounded(size) - begin);
        }
        CHECK(memarena_allocated_bytes(arena) > 8 * MIB - 600);
        memarena_reset(arena);
    }
    memarena_destroy(arena);
}

/* ---- A neighbour in the way ---------------------------------------------------------------------------------------- */

typedef struct neighbour {
    memarena *arena;
    bool stops; /* at its first block in the first shard, right behind our TLAB */
    size_t taken;
} neighbour;

static void *take_from_behind(void *context)
{
    neighbour *self = context;
    const ma_pool *pool = &ma_arena_of(self->arena)->pool;
    for (char *block; (block = memarena_alloc_aligned(self->arena, 8, 8)) != NULL;) {
        self->taken += 8;
        if (self->stops && (uintptr_t)block - pool->base < pool->shard_bytes) break;
    }
    return NULL;
}

/* Our TLAB is the first KiB of the arena; then another thread takes all the rest, or all but the shards next to it. */
static memarena *create_beside_a_neighbour(bool stops)
{
    neighbour other = {.arena = memarena_create(MIB), .stops = stops};
    pthread_t thread;
    CHECK(other.arena);
    CHECK(memarena_alloc_aligned(other.arena, 300, 8) && memarena_alloc_aligned(other.arena, 300, 8));
    CHECK_EQ(pthread_create(&thread, NULL, take_from_behind, &other), 0);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    CHECK_EQ(memarena_allocated_bytes(other.arena), 2 * 304 + other.taken);
    return other.arena;
}

static void a_refusal_leaves_the_tlab_that_cannot_be_given_back(void)
{
    memarena *arena = create_beside_a_neighbour(false);
    if (ma_arena_of(arena)->has_lanes) {
        CHECK_EQ(memarena_allocated_bytes(arena), MIB - 416);
        CHECK(!memarena_alloc_aligned(arena, 500, 8));
        CHECK(!memarena_alloc_aligned(arena, 5000, 8));
        for (size_t left = 416; left > 0; left -= 8) CHECK(memarena_alloc_aligned(arena, 8, 8));
        CHECK_EQ(memarena_allocated_bytes(arena), MIB);
        CHECK(!memarena_alloc_aligned(arena, 8, 8));
    }
    memarena_destroy(arena);
}

static void what_must_be_left_behind_is_counted(void)
{
    memarena *arena = create_beside_a_neighbour(true);
    if (ma_arena_of(arena)->has_lanes) {
        memarena_stats stats;
        CHECK(memarena_alloc_aligned(arena, 500, 8));
        memarena_get_stats(arena, &stats, sizeof stats);
        CHECK_EQ(stats.tail_bytes, 416);
        CHECK(stats.allocated_bytes + stats.tlab_bytes + stats.tail_bytes <= MIB);
        while (memarena_alloc_aligned(arena, 8, 8)) continue;
        memarena_get_stats(arena, &stats, sizeof stats); /* what is missing is in the other thread's TLAB */
        CHECK_EQ(stats.tail_bytes, 416);
        CHECK_EQ(stats.allocated_bytes + stats.tlab_bytes + stats.tail_bytes, MIB);
        memarena_reset(arena);
        CHECK(memarena_alloc_aligned(arena, 8, 8));
        memarena_get_stats(arena, &stats, sizeof stats);
        CHECK_EQ(stats.tail_bytes, 0);
    }
    memarena_destroy(arena);
}

/* ---- The rest of the statistics -----------------------------------------------------------------------------------
 */

/* Where an aligned address lies just before the end of the TLAB, the block starts in what is left of it and ends in
 * what is claimed behind it; that must not be more than another place for the block and a TLAB. */
static void a_large_alignment_does_not_make_a_tlab_hold_more_than_its_share(void)
{
    size_t capacity = MIB, alignment = MIB / 4, size = 400;
    for (size_t shift = 0; shift < 8 * KIB; shift += 200) {
        memarena *arena = memarena_create_with(&(memarena_options){.buffer = memory + shift, .capacity = capacity});
        CHECK(arena);
        memarena_stats stats;
        for (int generation = 0; generation < 2; generation++) {
            memarena_reset(arena);
            uintptr_t block = (uintptr_t)memarena_alloc_aligned(arena, 8, 8);
            CHECK(block);
            uintptr_t stop = (block + alignment) & ~(uintptr_t)(alignment - 1);
            while (block + 8 < stop && block) block = (uintptr_t)memarena_alloc_aligned(arena, 8, 8);
            CHECK(block);
            CHECK_EQ((uintptr_t)memarena_alloc_aligned(arena, size, alignment), stop);
            memarena_get_stats(arena, &stats, sizeof stats);
            CHECK(stats.tlab_bytes <= capacity / 8);
        }
        memarena_destroy(arena);
    }
}

static void generations_count_from_one(void)
{
    memarena *arena = memarena_create(MIB);
    CHECK(arena);
    for (uint64_t generation = 1; generation < 5000; generation++) {
        CHECK_EQ(memarena_generation(arena), generation);
        if (generation % 3 == 0) CHECK(memarena_alloc(arena, 100));
        CHECK(memarena_reset(arena));
    }
    memarena_destroy(arena);
}

static void old_and_new_programs_get_as_much_of_the_statistics_as_they_know(void)
{
    memarena *arena = memarena_create(MIB);
    CHECK(arena);
    CHECK(memarena_alloc(arena, 100) && !memarena_alloc(arena, 2 * MIB));
    memarena_stats whole;
    memarena_get_stats(arena, &whole, sizeof whole);
    CHECK_EQ(whole.last_failed_bytes, 2 * MIB);
    unsigned char bytes[sizeof whole + 100];
    for (size_t size = 0; size <= sizeof whole + 64; size++) {
        memset(bytes, 0xEE, sizeof bytes);
        memarena_get_stats(arena, (memarena_stats *)(void *)bytes, size);
        size_t known = size < sizeof whole ? size : sizeof whole;
        if (known >= sizeof whole.size) whole.size = known;
        CHECK(known < sizeof whole.size || memcmp(bytes, &whole, known) == 0);
        for (size_t byte = known; byte < size; byte++) CHECK_EQ(bytes[byte], 0);
        for (size_t byte = size; byte < sizeof bytes; byte++) CHECK_EQ(bytes[byte], 0xEE);
    }
    memarena_destroy(arena);
}

static void refills_and_direct_blocks_are_counted(void)
{
    memarena *arena = memarena_create(64 * MIB);
    CHECK(arena);
    memarena_stats stats;
    memarena_get_stats(arena, &stats, sizeof stats);
    if (!stats.watched) {
        CHECK_EQ(stats.lanes, 0);
        CHECK_EQ(stats.refills, 0);
        CHECK(memarena_alloc(arena, 8));
        memarena_get_stats(arena, &stats, sizeof stats);
        CHECK_EQ(stats.lanes, 1);
        CHECK_EQ(stats.refills, 1);
        CHECK_EQ(stats.direct_blocks, 0);
        for (uint64_t blocks = 1; blocks < 20; blocks++) {
            CHECK(memarena_alloc(arena, MIB));
            memarena_get_stats(arena, &stats, sizeof stats);
            CHECK_EQ(stats.direct_blocks, blocks);
        }
        CHECK_EQ(stats.refills, 1);
        memarena_reset(arena);                                          /* counts go on */
        for (int i = 0; i < 40; i++) CHECK(memarena_alloc(arena, MIB)); /* the frontier ends on the way */
        memarena_get_stats(arena, &stats, sizeof stats);
        CHECK_EQ(stats.direct_blocks, 59);
        CHECK(stats.probes > 0);
    }
    memarena_destroy(arena);
}

static void an_arena_owns_its_blocks_and_nothing_else(void)
{
    static const size_t capacities[] = {64, 4 * KIB, 100 * KIB, MIB, 3 * MIB + 8};
    for (size_t i = 0; i < sizeof capacities / sizeof *capacities; i++) {
        memarena *arena = memarena_create(capacities[i]), *other = memarena_create(MIB);
        CHECK(arena && other);
        CHECK(!memarena_owns(arena, NULL) && !memarena_owns(arena, arena) && !memarena_owns(arena, &arena));
        char *block = memarena_alloc_aligned(arena, capacities[i], 8), *foreign = memarena_alloc(other, 8);
        CHECK(block && foreign);
        CHECK(memarena_owns(arena, block) && memarena_owns(arena, block + capacities[i] - 1));
        CHECK(!memarena_owns(arena, block - 1)); /* it is all there is, so it starts where the arena does */
        CHECK(!memarena_owns(arena, foreign) && !memarena_owns(other, block));
        size_t spread = ma_arena_of(arena)->spread;
        CHECK(memarena_owns(arena, block + spread * capacities[i] - 1));
        CHECK(!memarena_owns(arena, block + spread * capacities[i]));
        memarena_reset(arena);
        CHECK(memarena_owns(arena, block)); /* live or dead */
        memarena_destroy(arena);
        memarena_destroy(other);
    }
}

int main(void)
{
    RUN(every_call_counts_exactly_in_memory_from_the_os);
    RUN(every_call_counts_exactly_in_a_buffer);
    RUN(every_call_counts_exactly_whatever_the_tlab);
    RUN(padding_counts_where_blocks_follow_each_other);
    RUN(a_single_thread_walks_the_arena_without_a_gap);
    RUN(a_refusal_leaves_the_tlab_that_cannot_be_given_back);
    RUN(what_must_be_left_behind_is_counted);
    RUN(generations_count_from_one);
    RUN(old_and_new_programs_get_as_much_of_the_statistics_as_they_know);
    RUN(refills_and_direct_blocks_are_counted);
    RUN(an_arena_owns_its_blocks_and_nothing_else);
    RUN(a_large_alignment_does_not_make_a_tlab_hold_more_than_its_share);
    return test_done();
}
