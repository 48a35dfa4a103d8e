/* The last block is resized in place, and gives its bytes back when it is shrunk, also where threads share a TLAB: per CPU,
 * before and after the thread has a lane, and in threads beyond the last lane. */
#include "threads.h"

#include <string.h>

#define MIB ((size_t)1 << 20)
#define ROUNDS 1000
#define THREADS_WITH_LANES 64

/* How many of the last blocks stay where they are; each is accounted for to the byte. */
static int resize_in_place(memarena *arena, size_t old_size, size_t new_size)
{
    int in_place = 0;
    for (int i = 0; i < ROUNDS; i++) {
        char *block = memarena_alloc_aligned(arena, old_size, 8);
        CHECK(block);
        memset(block, i, old_size);
        size_t before = memarena_allocated_bytes(arena);
        char *now = memarena_realloc(arena, block, old_size, new_size);
        size_t grown = memarena_allocated_bytes(arena) - before;
        CHECK(now && now[0] == (char)i && now[(old_size < new_size ? old_size : new_size) - 1] == (char)i);
        in_place += now == block && grown == test_rounded(new_size) - test_rounded(old_size);
    }
    return in_place;
}

static void resize_all_ways(memarena *arena)
{
    static const size_t sizes[] = {8, 64, 128, 1000, 4096, 20000};
    for (size_t i = 0; i + 1 < sizeof sizes / sizeof *sizes; i++) {
        /* But where the TLAB ends, which smaller ones do more often, and where the thread is moved just then. */
        CHECK(resize_in_place(arena, sizes[i], sizes[i + 1]) > ROUNDS * 2 / 3);
        CHECK(resize_in_place(arena, sizes[i + 1], sizes[i]) > ROUNDS * 9 / 10);
        CHECK(memarena_reset(arena));
    }
}

static memarena *create(unsigned flags)
{
    memarena *arena = memarena_create_with(&(memarena_options){.capacity = 256 * MIB, .flags = flags});
    CHECK(arena);
    return arena;
}

static void per_cpu_before_and_after_the_thread_has_a_lane(void)
{
    memarena *arena = create(MEMARENA_PER_CPU);
    for (int scope = 0; scope < 2; scope++) {
        if (scope) memarena_destroy(memarena_scope(arena));
        resize_all_ways(arena);
    }
    memarena_destroy(arena);
}

static pthread_barrier_t started, done;

static void *take_a_lane(void *arena)
{
    CHECK(memarena_alloc(arena, 8));
    test_meet(&started);
    test_meet(&done);
    return NULL;
}

static void *resize(void *arena)
{
    CHECK(memarena_reset(arena));
    resize_all_ways(arena);
    return NULL;
}

static void in_a_thread_beyond_the_last_lane(void)
{
    memarena *arena = create(0);
    pthread_t threads[THREADS_WITH_LANES];
    CHECK(!pthread_barrier_init(&started, NULL, THREADS_WITH_LANES + 1));
    CHECK(!pthread_barrier_init(&done, NULL, THREADS_WITH_LANES + 1));
    for (int i = 0; i < THREADS_WITH_LANES; i++) threads[i] = test_start(take_a_lane, arena);
    test_meet(&started);
    test_join(test_start(resize, arena));
    test_meet(&done);
    for (int i = 0; i < THREADS_WITH_LANES; i++) test_join(threads[i]);
    memarena_destroy(arena);
}

/* No TLABs at all. */
static void in_an_arena_without_lanes(void)
{
    static _Alignas(8) char buffer[4096];
    memarena *arenas[] = {memarena_create(4096),
                          memarena_create_with(&(memarena_options){.buffer = buffer, .capacity = sizeof buffer})};
    for (int i = 0; i < 2; i++) {
        char *block = memarena_alloc_aligned(arenas[i], 8, 8);
        for (size_t size = 8; size <= 1024; size *= 2) {
            CHECK(memarena_realloc(arenas[i], block, size, size * 2) == block);
            CHECK_EQ(memarena_allocated_bytes(arenas[i]), size * 2);
        }
        CHECK(memarena_realloc(arenas[i], block, 2048, 24) == block);
        CHECK_EQ(memarena_allocated_bytes(arenas[i]), 24);
        memarena_destroy(arenas[i]);
    }
}

int main(void)
{
    RUN(per_cpu_before_and_after_the_thread_has_a_lane);
    RUN(in_a_thread_beyond_the_last_lane);
    RUN(in_an_arena_without_lanes);
    return test_done();
}
