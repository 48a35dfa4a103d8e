/* The tag in the shared words wraps: no word may come back to life, and none may look as if it were of the future.
 *
 * Once by starting just below the wrap, once by running over it; with the narrow tags of the yield builds thousands of
 * times, and with words that sleep for any number of generations in between. */
#include "internals.h"
#include "test.h"
#ifdef WITH_YIELD
#include "yield.h"
#endif

#define MIB ((size_t)1 << 20)
#define TAGS ((uint64_t)1 << MA_TAG_BITS_LEAST)

static bool is_watched(const memarena *arena)
{
    return ma_arena_of(arena)->watch != MA_WATCH_NONE;
}

/* `narrow`: with the narrowest tag, as if it were the largest there is; that of a small one would not wrap in years. */
static memarena *create(size_t capacity, bool narrow)
{
    memarena *handle = memarena_create(capacity);
    CHECK(handle);
    if (narrow) ma_arena_of(handle)->pool.offset_bits = MA_OFFSET_BITS_MOST;
    return handle;
}

static uint64_t tags_of(const memarena *arena)
{
    return (uint64_t)1 << (64 - ma_arena_of(arena)->pool.offset_bits);
}

/* A state that `generation` - 1 resets could have left: every word of the arena is of that generation. */
static void go_to_generation(memarena *handle, uint64_t generation)
{
    ma_arena *arena = ma_arena_of(handle);
    ma_pool *pool = &arena->pool;
    pool->generation = generation;
    for (unsigned source = 0; source <= pool->shard_count; source++) {
        pool->sources[source].word = ma_word_make(pool->offset_bits, generation, ma_source_begin(pool, source));
        pool->sources[source].direct = ma_word_make(pool->offset_bits, generation, 0);
    }
    arena->deferred = ma_deferred_start(generation);
    CHECK_EQ(memarena_generation(handle), generation);
    CHECK_EQ(memarena_allocated_bytes(handle), 0);
}

/* Takes all there is, small blocks and large, and checks that it was all: the count is then the same each time. */
static void check_fills(memarena *arena)
{
    size_t taken = 0, capacity = memarena_capacity(arena);
    CHECK_EQ(memarena_allocated_bytes(arena), 0);
    for (; memarena_alloc_aligned(arena, 6000, 8); taken += 6000) continue;
    for (; memarena_alloc_aligned(arena, 200, 8); taken += 200) continue;
    for (; memarena_alloc_aligned(arena, 8, 8); taken += 8) continue;
    CHECK_EQ(taken, capacity);
    CHECK_EQ(memarena_allocated_bytes(arena), capacity);
}

static void count_call(void *context)
{
    ++*(unsigned *)context;
}

static void check_defers(memarena *arena, unsigned count)
{
    unsigned calls = 0;
    for (unsigned i = 0; i < count; i++) CHECK(memarena_defer(arena, count_call, &calls));
    memarena_reset(arena);
    CHECK_EQ(calls, count);
}

static void every_generation_around_a_wrap_is_whole(void)
{
    static const size_t capacities[] = {4096, 100000, MIB, 2 * MIB + 64};
    for (unsigned i = 0; i < 2 * sizeof capacities / sizeof *capacities; i++) {
        for (unsigned kind = 0; kind < 3; kind++) {
            memarena *arena = create(capacities[i / 2], i % 2);
            const uint64_t tags = tags_of(arena);
            const uint64_t starts[] = {9 * tags - 20, 9 * tags - tags / 2 - 20, ((uint64_t)1 << 62) - 20};
            go_to_generation(arena, starts[kind]);
            for (uint64_t n = 0; n < 40; n++) {
                CHECK_EQ(memarena_generation(arena), starts[kind] + n);
                check_fills(arena);
                memarena_reset(arena);
            }
            memarena_destroy(arena);
        }
    }
}

static void a_block_of_all_the_capacity_is_there_in_every_generation_around_a_wrap(void)
{
    for (unsigned narrow = 0; narrow < 2; narrow++) {
        memarena *arena = create(MIB, narrow);
        go_to_generation(arena, 9 * tags_of(arena) - 100);
        for (int n = 0; n < 200; n++) {
            CHECK(memarena_alloc_aligned(arena, MIB, 8));
            CHECK(!memarena_alloc_aligned(arena, 8, 8));
            memarena_reset(arena);
        }
        memarena_destroy(arena);
    }
}

static void deferred_calls_run_once_in_every_generation_around_a_wrap(void)
{
    /* The list of calls has a tag of its own, at the top of its word. */
    const uint64_t starts[] = {9 * TAGS - 20, ((uint64_t)1 << (64 - MA_DEFERRED_TAG_SHIFT)) - 100,
                               ((uint64_t)1 << 62) - 100};
    for (size_t i = 0; i < sizeof starts / sizeof *starts; i++) {
        memarena *arena = create(MIB, true);
        go_to_generation(arena, starts[i]);
        for (unsigned n = 0; n < 200; n++) check_defers(arena, n % 7);
        memarena_destroy(arena);
    }
}

/* All words are left spent, then sleep for `generations` resets, in which at most one small block is taken. */
static void sleep_for(memarena *arena, uint64_t generations, bool with_blocks)
{
    for (uint64_t n = 0; n < generations; n++) {
        memarena_reset(arena);
        if (with_blocks) CHECK(memarena_alloc_aligned(arena, 8, 8));
        if (with_blocks) CHECK_EQ(memarena_allocated_bytes(arena), 8);
    }
    memarena_reset(arena);
}

static void words_may_sleep_for_any_number_of_generations(void)
{
    memarena *arena = create(MIB, true);
    const uint64_t most = TAGS > 1000 ? 100 : 2 * TAGS + 5;
    for (uint64_t generations = 0; generations<most; generations += most> 100 ? 7 : 1) {
        for (int with_blocks = 0; with_blocks < 2; with_blocks++) {
            check_fills(arena);
            sleep_for(arena, generations, with_blocks);
        }
    }
    check_fills(arena);
    memarena_destroy(arena);
}

/* Those at which a word that nobody refreshed would be of this generation again, or be neither old nor new. */
static void words_may_sleep_for_whole_and_half_tag_spaces(void)
{
    memarena *arena = create(MIB, true);
    const uint64_t naps[] = {TAGS - 1, TAGS - 2, TAGS / 2 - 1, TAGS / 2, TAGS / 2 + 1, 2 * TAGS - 1};
    size_t count = is_watched(arena) && TAGS > 1000 ? 1 : sizeof naps / sizeof *naps;
    for (size_t i = 0; i < count; i++) {
        check_fills(arena);
        sleep_for(arena, naps[i], false);
        check_fills(arena);
        memarena_reset(arena);
        check_defers(arena, 3);
        sleep_for(arena, naps[i], false);
        check_defers(arena, 2);
    }
    memarena_destroy(arena);
}

static void thousands_of_resets_leave_the_arena_whole(void)
{
    memarena *arena = memarena_create(MIB + 8);
    CHECK(arena);
    unsigned long long random = 7;
    for (uint64_t generation = 1; generation < 3000; generation++) {
        CHECK_EQ(memarena_generation(arena), generation);
        unsigned long long choice = test_random(&random) % 64;
        if (choice == 0)
            check_fills(arena);
        else if (choice == 1)
            CHECK(memarena_alloc_aligned(arena, MIB + 8, 8));
        else if (choice < 20)
            for (unsigned long long n = 0; n < choice; n++) CHECK(memarena_alloc(arena, 1000));
        else if (choice < 30)
            CHECK(memarena_alloc(arena, 100000));
        memarena_reset(arena);
    }
    check_fills(arena);
    memarena_destroy(arena);
}

int main(void)
{
#ifdef WITH_YIELD
    __atomic_store_n(&test_yield_chance, 0, __ATOMIC_RELAXED); /* one thread: only the narrow tag is wanted here */
#endif
    RUN(every_generation_around_a_wrap_is_whole);
    RUN(a_block_of_all_the_capacity_is_there_in_every_generation_around_a_wrap);
    RUN(deferred_calls_run_once_in_every_generation_around_a_wrap);
    RUN(words_may_sleep_for_any_number_of_generations);
    RUN(words_may_sleep_for_whole_and_half_tag_spaces);
    RUN(thousands_of_resets_leave_the_arena_whole);
    return test_done();
}
