/* A thread that can have no lane, because the system will not tell the library of its end: it claims each block on its
 * own, from the same shards, under the same promises. */
#include "internals.h"
#include "test.h"

#include <errno.h>
#include <pthread.h>

#define KIB ((size_t)1 << 10)
#define MIB ((size_t)1 << 20)

/* Linked with --wrap: the library calls ours. */
int __real_pthread_setspecific(pthread_key_t key, const void *value);
int __wrap_pthread_setspecific(pthread_key_t key, const void *value);

static bool refuse; /* a sanitizer in the same program has keys, too */

int __wrap_pthread_setspecific(pthread_key_t key, const void *value)
{
    return refuse ? ENOMEM : __real_pthread_setspecific(key, value);
}

static memarena *create(size_t capacity)
{
    memarena *arena = memarena_create(capacity);
    CHECK(arena);
    return arena;
}

static bool is_watched(const memarena *arena)
{
    return ma_arena_of(arena)->watch != MA_WATCH_NONE;
}

static size_t rounded(size_t size)
{
    return size ? (size + 7) & ~(size_t)7 : 8;
}

static void no_lane_is_leased(void)
{
    memarena *arena = create(64 * MIB);
    for (size_t size = 1; size < 100000; size *= 3) CHECK(memarena_zalloc(arena, size));
    memarena_stats stats;
    memarena_get_stats(arena, &stats, sizeof stats);
    CHECK_EQ(stats.lanes, 0);
    if (stats.per_cpu) { /* small blocks come from the TLABs of CPUs */
        CHECK(stats.cpu_lanes > 0 && stats.refills > 0 && stats.direct_blocks < 11);
    } else {
        CHECK_EQ(stats.refills, 0);
        CHECK_EQ(stats.tlab_bytes, 0);
        if (!stats.watched) CHECK_EQ(stats.direct_blocks, 11);
    }
    memarena_destroy(arena);
}

static void each_block_is_counted(void)
{
    memarena *arena = create(8 * MIB);
    unsigned long long random = 3;
    size_t before = 0;
    for (int i = 0; i < 30000; i++) {
        size_t size = (size_t)test_random(&random) % (i % 50 == 0 ? 200000 : 300);
        size_t alignment = i % 3 ? 8 : (size_t)1 << test_random(&random) % 10;
        unsigned char *block = memarena_alloc_aligned(arena, size, alignment);
        size_t now = memarena_allocated_bytes(arena), added = now - before;
        if (block) {
            CHECK_EQ((uintptr_t)block % alignment, 0);
            CHECK(added >= rounded(size) && added <= rounded(size) + (alignment > 8 ? alignment - 8 : 0));
            memset(block, 1, size);
        } else {
            CHECK_EQ(added, 0);
        }
        before = now;
        if (!block && i % 4 == 0) {
            memarena_reset(arena);
            before = 0;
            CHECK_EQ(memarena_allocated_bytes(arena), 0);
        }
    }
    memarena_destroy(arena);
}

static size_t fill(memarena *arena, size_t size)
{
    size_t count = 0, sum = 0;
    for (; memarena_alloc_aligned(arena, size, 8); sum += rounded(size)) count++;
    for (; memarena_alloc_aligned(arena, 8, 8); sum += 8) count++;
    CHECK_EQ(sum, memarena_capacity(arena));
    CHECK_EQ(memarena_allocated_bytes(arena), sum);
    return count;
}

static void a_thread_without_a_lane_fills_the_arena(void)
{
    static const size_t capacities[] = {4 * KIB, 64 * KIB, MIB - 8, MIB, 3 * MIB + 24};
    static const size_t sizes[] = {8, 24, 100, 1000, 5000, 70000};
    for (size_t i = 0; i < sizeof capacities / sizeof *capacities; i++) {
        memarena *arena = create(capacities[i]);
        for (size_t j = 0; j < sizeof sizes / sizeof *sizes; j++) {
            size_t count = fill(arena, sizes[j]);
            memarena_reset(arena);
            CHECK_EQ(fill(arena, sizes[j]), count);
            memarena_reset(arena);
        }
        CHECK(memarena_alloc_aligned(arena, capacities[i], 8));
        memarena_destroy(arena);
    }
}

static void the_newest_block_is_resized_in_place(void)
{
    memarena *arena = create(8 * MIB);
    for (size_t size = 8; size < 20000; size = size * 2 + 8) {
        char *block = memarena_alloc_aligned(arena, size, 8);
        CHECK(block);
        memset(block, 7, size);
        CHECK(memarena_realloc(arena, block, size, size + 800) == block);
        CHECK_EQ(memarena_allocated_bytes(arena), size + 800);
        CHECK(memarena_realloc(arena, block, size + 800, 8) == block);
        CHECK_EQ(memarena_allocated_bytes(arena), 8);
        CHECK(block[0] == 7 && block[7] == 7);
        memarena_reset(arena);
    }
    memarena_destroy(arena);
}

/* A run is counted where it starts, and grows where it ends. */
static void accounts_hold_when_a_long_block_grows(void)
{
    memarena *arena = create(4 * MIB);
    for (int generation = 0; generation < 3; generation++) {
        char *block = memarena_alloc_aligned(arena, 3 * MIB, 8);
        CHECK(block);
        if (memarena_realloc(arena, block, 3 * MIB, 3 * MIB + 800) == block)
            CHECK_EQ(memarena_allocated_bytes(arena), 3 * MIB + 800);
        while (memarena_alloc_aligned(arena, 8, 8)) continue;
        CHECK_EQ(memarena_allocated_bytes(arena), 4 * MIB);
        memarena_reset(arena);
        CHECK_EQ(memarena_allocated_bytes(arena), 0);
    }
    memarena_destroy(arena);
}

/* An account that sleeps until its tag comes round must not count again. */
static void accounts_sleep_through_all_tags(void)
{
    memarena *arena = create(MIB);
    ma_arena_of(arena)->pool.offset_bits = MA_OFFSET_BITS_MOST; /* all tags of its own width would take years */
    uint64_t tags = (uint64_t)1 << MA_TAG_BITS_LEAST;
    (void)fill(arena, 1000);
    for (uint64_t n = 0; n < tags + 100 && !is_watched(arena); n++) {
        memarena_reset(arena);
        if (memarena_allocated_bytes(arena)) CHECK(false && "nothing is allocated");
    }
    memarena_reset(arena);
    (void)fill(arena, 1000);
    memarena_destroy(arena);
}

static void count_call(void *counter)
{
    ++*(int *)counter;
}

static void deferred_calls_need_no_lane(void)
{
    memarena *arena = create(MIB);
    CHECK(memarena_defer(arena, free, malloc(10)));
    memarena_reset(arena);
    CHECK(memarena_defer(arena, free, malloc(10)));
    memarena_destroy(arena);
}

/* What each of them gives back must serve the next: there is no lane to keep it in. */
static void scopes_need_no_lane(void)
{
    memarena *arena = create(MIB);
    int calls = 0;
    for (int generation = 0; generation < 3; generation++) {
        char *kept = memarena_alloc_aligned(arena, 100, 8);
        CHECK(kept);
        memset(kept, 1, 100);
        for (int round = 0; round < 3000; round++) {
            memarena *outer = memarena_scope(arena), *inner = outer ? memarena_scope(outer) : NULL;
            CHECK(inner);
            char *small = memarena_alloc(inner, 100), *large = memarena_alloc(inner, 20000);
            CHECK(small && large);
            memset(small, 2, 100);
            memset(large, 3, 20000);
            memarena_position mark = memarena_mark(outer);
            CHECK(memarena_defer(outer, count_call, &calls));
            CHECK(memarena_alloc(outer, 5000));
            CHECK(memarena_rewind(outer, mark));
            CHECK_EQ(calls, 1);
            calls = 0;
            if (round % 3 == 0) CHECK(!memarena_reset(arena) && errno == EBUSY);
            CHECK(small[99] == 2 && large[0] == 3 && large[19999] == 3);
            memarena_destroy(inner);
            memarena_destroy(outer);
        }
        CHECK(kept[0] == 1 && kept[99] == 1);
        memarena_stats stats;
        memarena_get_stats(arena, &stats, sizeof stats);
        CHECK_EQ(stats.open_scopes, 0);
        CHECK_EQ(stats.lanes, 0);
        CHECK(memarena_reset(arena));
    }
    (void)fill(arena, 1000); /* nothing is missing */
    memarena_destroy(arena);
}

int main(void)
{
    refuse = true;
    RUN(no_lane_is_leased);
    RUN(each_block_is_counted);
    RUN(a_thread_without_a_lane_fills_the_arena);
    RUN(the_newest_block_is_resized_in_place);
    RUN(accounts_hold_when_a_long_block_grows);
    RUN(accounts_sleep_through_all_tags);
    RUN(deferred_calls_need_no_lane);
    RUN(scopes_need_no_lane);
    refuse = false;
    return test_done();
}
