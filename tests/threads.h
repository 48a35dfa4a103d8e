/* What the concurrency tests share: how much to do, threads that start together, and blocks that may not overlap.
 *
 * MEMARENA_TEST_SCALE (a number, 1 by default) multiplies the rounds of every test; MEMARENA_TEST_SEED changes the
 * random choices. Sanitizers that slow a test down divide the rounds. */
#ifndef THREADS_H
#define THREADS_H

#include "test.h"

#include <memarena.h>

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#ifdef __linux__
#include <sys/mman.h>
#endif

#ifndef __has_feature
#define __has_feature(feature) 0
#endif
#if (defined(__SANITIZE_THREAD__) || __has_feature(thread_sanitizer)) && !defined(TEST_INSTRUMENTED)
#define TEST_TSAN 1
#define TEST_ASAN 0
#define TEST_SLOWER 8
#elif defined(__SANITIZE_ADDRESS__) || __has_feature(address_sanitizer)
#define TEST_TSAN 0
#define TEST_ASAN 1
#define TEST_SLOWER 3
#else
#define TEST_TSAN 0
#define TEST_ASAN 0
#define TEST_SLOWER 1
#endif

static inline long test_scaled(long count)
{
    const char *text = getenv("MEMARENA_TEST_SCALE");
    double scale = text ? strtod(text, NULL) : 1, scaled = (double)count * scale / TEST_SLOWER;
    return scaled < 1 ? 1 : (long)scaled;
}

/* A state for test_random, different for each `number`. */
static inline unsigned long long test_seed(unsigned long long number)
{
    const char *text = getenv("MEMARENA_TEST_SEED");
    unsigned long long state = (number + 1) * 0x9E3779B97F4A7C15u ^ (text ? strtoull(text, NULL, 0) << 32 : 0);
    if (state == 0) state = 1;
    for (int i = 0; i < 8; i++) (void)test_random(&state);
    return state;
}

/* At least `least`, below `limit`. */
static inline size_t test_between(unsigned long long *state, size_t least, size_t limit)
{
    return least + (size_t)(test_random(state) % (limit - least));
}

/* An arena with the flags that this build of the test is for; TEST_SAMPLE: and sampled every so many bytes. */
#ifndef TEST_FLAGS
#define TEST_FLAGS 0
#endif
/* The flag where the system can move pages, else 0. */
static inline unsigned test_traps(void)
{
    memarena *arena = memarena_create_with(&(memarena_options){.capacity = 4096, .flags = MEMARENA_TRAP_STALE});
    bool refused = !arena && errno == EINVAL;
    memarena_destroy(arena);
#if defined(__linux__) && defined(MREMAP_DONTUNMAP)
    void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    void *moved = mremap(page, 4096, 4096, MREMAP_MAYMOVE | MREMAP_DONTUNMAP, NULL);
    CHECK_EQ(refused, moved == MAP_FAILED); /* so a library that refuses what can be done skips no test */
    if (moved != MAP_FAILED) CHECK_EQ(munmap(moved, 4096), 0);
    CHECK_EQ(munmap(page, 4096), 0);
#endif
    return refused ? 0 : MEMARENA_TRAP_STALE;
}

#ifndef TEST_SAMPLE
#define TEST_SAMPLE 0
#endif
static inline void test_sampled(void *arena, memarena *handle, void *block, size_t size, size_t weight)
{
    CHECK(memarena_owns(arena, block) && memarena_owns(handle, block) && size <= memarena_capacity(arena) &&
          weight > 0);
}

static inline memarena *test_create(size_t capacity)
{
    if (TEST_FLAGS & MEMARENA_TRAP_STALE && !test_traps()) SKIP("this system cannot move pages");
    memarena *arena = memarena_create_with(&(memarena_options){.capacity = capacity, .flags = TEST_FLAGS});
    if (arena && TEST_SAMPLE) CHECK(memarena_sample(arena, TEST_SAMPLE, test_sampled, arena));
    return arena;
}

/* ---- Threads ---------------------------------------------------------------------------------------------------- */

/* Small stacks, so that hundreds of threads fit a 32-bit address space. */
static inline pthread_t test_start(void *(*run)(void *), void *argument)
{
    pthread_attr_t attributes;
    pthread_t thread;
    CHECK_EQ(pthread_attr_init(&attributes), 0);
    CHECK_EQ(pthread_attr_setstacksize(&attributes, (size_t)256 << 10), 0);
    CHECK_EQ(pthread_create(&thread, &attributes, run, argument), 0);
    CHECK_EQ(pthread_attr_destroy(&attributes), 0);
    return thread;
}

static inline void test_join(pthread_t thread)
{
    CHECK_EQ(pthread_join(thread, NULL), 0);
}

static inline void test_meet(pthread_barrier_t *barrier)
{
    int outcome = pthread_barrier_wait(barrier);
    CHECK(outcome == 0 || outcome == PTHREAD_BARRIER_SERIAL_THREAD);
}

/* ---- Blocks ----------------------------------------------------------------------------------------------------- */

static inline size_t test_rounded(size_t size)
{
    return size == 0 ? 8 : (size + 7) & ~(size_t)7;
}

typedef struct test_block {
    uint64_t generation;
    uintptr_t begin, end;
} test_block;

typedef struct test_log {
    test_block *blocks;
    size_t count, room;
} test_log;

static inline void test_record(test_log *log, uint64_t generation, const void *block, size_t size)
{
    if (log->count == log->room) {
        log->room = log->room ? log->room * 2 : 1024;
        log->blocks = realloc(log->blocks, log->room * sizeof *log->blocks);
        CHECK(log->blocks != NULL);
    }
    uintptr_t begin = (uintptr_t)block;
    log->blocks[log->count++] = (test_block){generation, begin, begin + test_rounded(size)};
}

static inline void test_append(test_log *log, const test_log *more)
{
    for (size_t i = 0; i < more->count; i++)
        test_record(log, more->blocks[i].generation, (void *)more->blocks[i].begin,
                    more->blocks[i].end - more->blocks[i].begin);
}

static inline void test_forget(test_log *log)
{
    free(log->blocks);
    *log = (test_log){0};
}

static inline int test_compare_blocks(const void *left, const void *right)
{
    const test_block *a = left, *b = right;
    if (a->generation != b->generation) return a->generation < b->generation ? -1 : 1;
    return a->begin < b->begin ? -1 : a->begin > b->begin;
}

/* All blocks lie in the arena at multiples of 8, and those of one generation do not overlap. Sorts the log; returns the
 * sum of their bytes. */
static inline size_t test_check_blocks(const memarena *arena, test_log *log)
{
    size_t sum = 0;
    if (log->count) qsort(log->blocks, log->count, sizeof *log->blocks, test_compare_blocks);
    for (size_t i = 0; i < log->count; i++) {
        const test_block *block = &log->blocks[i], *next = i + 1 < log->count ? block + 1 : NULL;
        CHECK(block->begin % 8 == 0 && block->begin < block->end);
        CHECK(memarena_owns(arena, (void *)block->begin) && memarena_owns(arena, (void *)(block->end - 1)));
        if (next && next->generation == block->generation && next->begin < block->end) {
            fprintf(stderr, "generation %llu: [%#llx, %#llx) overlaps [%#llx, %#llx)\n",
                    (unsigned long long)block->generation, (unsigned long long)block->begin,
                    (unsigned long long)block->end, (unsigned long long)next->begin, (unsigned long long)next->end);
            CHECK(next->begin >= block->end);
        }
        sum += block->end - block->begin;
    }
    return sum;
}

/* Fills what is left of the arena with blocks of `size` bytes, then smaller ones down to 8. Returns their bytes. */
static inline size_t test_fill(memarena *arena, size_t size, test_log *log, uint64_t generation)
{
    size_t sum = 0;
    for (; size >= 8; size = size / 2 & ~(size_t)7) {
        void *block;
        while ((block = memarena_alloc_aligned(arena, size, 8)) != NULL) {
            if (log) test_record(log, generation, block, size);
            sum += size;
        }
    }
    return sum;
}

/* With nobody else around, a reset makes the arena whole: one thread fills it to the last 8 bytes. */
static inline void test_check_whole(memarena *arena, size_t block_size)
{
    test_log log = {0};
    CHECK(memarena_reset(arena));
    CHECK_EQ(memarena_allocated_bytes(arena), 0);
    size_t capacity = memarena_capacity(arena) & ~(size_t)7;
    CHECK_EQ(test_fill(arena, block_size, &log, 1), capacity);
    CHECK_EQ(memarena_allocated_bytes(arena), capacity);
    CHECK_EQ(test_check_blocks(arena, &log), capacity);
    test_forget(&log);
    CHECK(memarena_reset(arena));
}

static inline memarena_stats test_stats(const memarena *arena)
{
    memarena_stats stats;
    memarena_get_stats(arena, &stats, sizeof stats);
    return stats;
}

static inline bool test_watched(const memarena *arena)
{
    return test_stats(arena).watched != 0;
}

#endif
