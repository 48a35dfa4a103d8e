/* Lanes: where they lie, and who gets one. */
#include "lanes.h"
#include "yield.h"

static void check_places(const memarena *handle)
{
    const ma_arena *arena = ma_arena_of(handle);
    CHECK(arena->has_lanes);
    CHECK((uintptr_t)arena & (uintptr_t)1 << MEMARENA_LANES_BIT_);
    for (unsigned i = 0; i < MA_LANES; i++) CHECK((uintptr_t)ma_arena_lane(arena, i) % 128 == 0);
    for (unsigned i = 1; i < MA_LANES; i++)
        CHECK((uintptr_t)ma_arena_lane(arena, i) - (uintptr_t)ma_arena_lane(arena, i - 1) >= 128);
    for (unsigned i = 0; i <= arena->pool.shard_count; i++) CHECK((uintptr_t)&arena->pool.sources[i] % 128 == 0);
    uintptr_t lanes_end = (uintptr_t)ma_arena_lane(arena, MA_LANES);
    uintptr_t sources_end = (uintptr_t)&arena->pool.sources[arena->pool.shard_count + 1];
    CHECK((uintptr_t)arena + sizeof *arena <= (uintptr_t)ma_arena_lane(arena, 0));
    CHECK(lanes_end <= (uintptr_t)arena->pool.sources);
    CHECK(sources_end <= arena->pool.base);
}

static void no_two_lanes_or_sources_share_a_pair_of_cache_lines(void)
{
    for (size_t capacity = (size_t)64 << 10; capacity <= (size_t)256 << 20; capacity = capacity * 3 + 4711) {
        memarena *arena = memarena_create(capacity);
        CHECK(arena != NULL);
        check_places(arena);
        memarena_destroy(arena);
    }
}

static void nor_do_they_in_a_buffer_of_any_alignment(void)
{
    static _Alignas(256) char buffer[((size_t)256 << 10) + 256];
    for (size_t shift = 0; shift < 256; shift++) {
        memarena_options options = {.buffer = buffer + shift, .capacity = sizeof buffer - 256};
        memarena *arena = memarena_create_with(&options);
        CHECK(arena != NULL);
        check_places(arena);
        CHECK((uintptr_t)arena >= (uintptr_t)buffer + shift);
        memarena_destroy(arena);
    }
}

static void sixty_four_threads_get_sixty_four_lanes(void)
{
    CHECK_EQ(test_lane(), LANE_NONE); /* this one has not allocated yet */
    CHECK_EQ(test_free_lanes(), MA_LANES);
    CHECK_EQ(test_free_lanes(), MA_LANES);
}

/* ---- The 65th --------------------------------------------------------------------------------------------------- */

static memarena *arena;
static pthread_barrier_t all_have, may_go;

static void *hold_a_lane(void *argument)
{
    (void)argument;
    CHECK(memarena_alloc_aligned(arena, 8, 8) != NULL);
    CHECK(test_lane() != LANE_NONE);
    test_meet(&all_have);
    test_meet(&may_go);
    return NULL;
}

static void *work_without_a_lane(void *argument)
{
    test_log *log = argument;
    for (size_t size = 8; size < 100000; size *= 2) {
        void *block = memarena_alloc_aligned(arena, size, 8);
        CHECK(block != NULL);
        test_record(log, 1, block, size);
    }
    CHECK_EQ(test_lane(), LANE_NONE);
    CHECK(memarena_defer(arena, free, malloc(1)));
    return NULL;
}

static void the_sixty_fifth_works_without(void)
{
    pthread_t holders[MA_LANES];
    test_log log = {0};
    memarena_stats stats;
    arena = memarena_create((size_t)4 << 20);
    CHECK(arena != NULL);
    CHECK_EQ(pthread_barrier_init(&all_have, NULL, MA_LANES + 1), 0);
    CHECK_EQ(pthread_barrier_init(&may_go, NULL, MA_LANES + 1), 0);
    for (unsigned i = 0; i < MA_LANES; i++) holders[i] = test_start(hold_a_lane, NULL);
    test_meet(&all_have);
    test_join(test_start(work_without_a_lane, &log));
    size_t sum = test_check_blocks(arena, &log);
    size_t all = memarena_allocated_bytes(arena),
           least = sum + MA_LANES * 8 + 16; /* and padding, of one grain at most */
    CHECK(all >= least && all <= least + 8);
    memarena_get_stats(arena, &stats, sizeof stats);
    CHECK_EQ(stats.lanes, MA_LANES);
    CHECK(memarena_reset(arena)); /* by a thread without a lane */
    test_join(test_start(work_without_a_lane, &log));
    test_meet(&may_go);
    for (unsigned i = 0; i < MA_LANES; i++) test_join(holders[i]);
    CHECK_EQ(test_free_lanes(), MA_LANES);
    test_check_whole(arena, 4096);
    test_forget(&log);
    memarena_destroy(arena);
}

int main(void)
{
    arena = memarena_create((size_t)1 << 20);
    CHECK(arena != NULL);
    bool watched = test_watched(arena);
    memarena_destroy(arena);
    if (watched) SKIP("a watched arena has no lanes");
    RUN(no_two_lanes_or_sources_share_a_pair_of_cache_lines);
    RUN(nor_do_they_in_a_buffer_of_any_alignment);
    RUN(sixty_four_threads_get_sixty_four_lanes);
    RUN(the_sixty_fifth_works_without);
    return test_done();
}
