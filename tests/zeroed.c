/* Large blocks that are asked for zeroed are zero whatever was in their memory before, and are not written where that is
 * certain. */
#include "threads.h"
#include "yield.h"

#include <string.h>

#define KIB ((size_t)1 << 10)
#define MIB ((size_t)1 << 20)

static void check_zero(const char *block, size_t size)
{
    CHECK(block != NULL);
    for (size_t i = 0; i < size; i++)
        if (block[i] != 0) CHECK(block[i] == 0);
}

static void memory_that_was_never_used_is_not_written(void)
{
    memarena *arena = memarena_create(256 * MIB);
    CHECK(arena != NULL);
    CHECK(memarena_zalloc(arena, 40 * MIB) != NULL);
    CHECK(memarena_calloc(arena, 10, 2 * MIB) != NULL);
    CHECK(memarena_new_array(arena, int64_t, 65 * KIB / 8) != NULL);
    CHECK(memarena_zalloc(arena, 100 * MIB) != NULL); /* over several sources */
    CHECK_EQ(memarena_resident_bytes(arena), 0);
    CHECK(memarena_reset(arena));
    CHECK(memarena_zalloc(arena, 30 * MIB) != NULL); /* it may have been written to */
    CHECK(memarena_resident_bytes(arena) >= 30 * MIB);
    memarena_destroy(arena);
}

/* Each way by which memory is used before, and then a zeroed block in it. */
static void whatever_used_it_before(void)
{
    for (int way = 0; way < 9; way++) {
        memarena *arena = memarena_create(8 * MIB), *scope;
        CHECK(arena != NULL);
        size_t size = 8 * MIB;
        char *block = NULL;
        if (way == 0) block = memarena_alloc_aligned(arena, size, 8); /* a run over all sources */
        if (way == 1) block = memarena_alloc(arena, size = MIB);
        if (way == 2) block = memarena_realloc(arena, memarena_alloc(arena, 100 * KIB), 100 * KIB, size = MIB);
        if (way == 3) { /* grown at the tip of a source, and shrunk again */
            block = memarena_realloc(arena, memset(memarena_alloc(arena, 100 * KIB), 255, 100 * KIB), 100 * KIB, MIB);
            memset(block, 255, MIB);
            block = memarena_realloc(arena, block, MIB, size = 200 * KIB);
        }
        while (way == 4 && (block = memarena_alloc(arena, 64)) != NULL) memset(block, 255, 64);
        scope = way >= 5 && way < 8 ? memarena_scope(arena) : NULL;
        for (int i = 0; scope && i < 40; i++) memset(memarena_alloc(scope, 70 * KIB), 255, 70 * KIB);
        if (way == 6) memarena_destroy(scope), scope = NULL;
        if (way == 7) CHECK(memarena_reset(scope) && memarena_zalloc(scope, 100 * KIB) != NULL);
        if (way == 8) /* in a TLAB whose rest goes back before a large block */
            for (int i = 0; i < 200; i++) memset(memarena_alloc(arena, 1000), 255, 1000);
        if (block) memset(block, 255, size);
        for (int n = 0; n < 2; n++) {
            for (size_t most = 8 * MIB; most > 65 * KIB; most /= 2) {
                char *zeroed = memarena_zalloc(arena, most);
                if (zeroed) check_zero(zeroed, most), memset(zeroed, 255, most);
            }
            if (scope) memarena_destroy(scope), scope = NULL;
            CHECK(memarena_reset(arena));
        }
        memarena_destroy(arena);
    }
}

/* The rest of a TLAB of 256 KiB, in a shard, when large blocks no longer find room in the frontier. */
static void what_was_filled_from_a_tlab(void)
{
    memarena *arena = memarena_create_with(&(memarena_options){.capacity = 64 * MIB, .tlab_bytes = MIB});
    CHECK(arena != NULL);
    for (int generation = 0; generation < 3; generation++) {
        for (int i = 0; i < (generation ? 280 : 490); i++) memset(memarena_alloc(arena, 1000), 255, 1000);
        CHECK(memarena_alloc_aligned(arena, 32 * MIB, 8) != NULL);
        check_zero(memarena_zalloc(arena, 100 * KIB), 100 * KIB);
        CHECK(memarena_reset(arena));
    }
    memarena_destroy(arena);
}

/* ---- Random mixes -------------------------------------------------------------------------------------------------------- */

#define THREADS 3u

static struct {
    memarena *arena;
    pthread_barrier_t barrier;
} mix;

static char *take_some(memarena *from, unsigned long long *random)
{
    size_t size = test_between(random, 1, test_random(random) % 2 ? 300 * KIB : 2000), count = 1;
    char *block = NULL;
    switch (test_random(random) % 6) {
    case 0:
        block = memarena_zalloc(from, size);
        break;
    case 1:
        block = memarena_calloc(from, count = test_between(random, 1, 9), size);
        break;
    case 2:
        block = memarena_new_array(from, char, size);
        break;
    default:
        block = memarena_alloc(from, size);
        if (block) memset(block, 255, size);
        if (block && test_random(random) % 3 == 0) {
            size_t now = test_between(random, 1, 400 * KIB);
            block = memarena_realloc(from, block, size, now);
            if (block) memset(block, 255, now);
        }
        return block;
    }
    if (block) check_zero(block, size * count), memset(block, 255, size * count);
    return block;
}

static void use_scope(unsigned long long *random)
{
    memarena *scope = memarena_scope(mix.arena);
    if (!scope) return;
    (void)take_some(scope, random);
    memarena_position mark = memarena_mark(scope);
    for (int i = 0; i < 4; i++) (void)take_some(scope, random);
    if (test_random(random) % 2) (void)memarena_rewind(scope, mark);
    (void)take_some(scope, random);
    memarena_destroy(scope);
}

static void *use(void *number)
{
    unsigned long long random = test_seed((uintptr_t)number);
    for (long round = 0; round < test_scaled(60) / TEST_SLOWER + 1; round++) {
        for (int i = 0; i < 25; i++) {
            unsigned what = (unsigned)(test_random(&random) % 20);
            if (what == 0)
                (void)memarena_trim(mix.arena, test_between(&random, 0, 4 * MIB));
            else if (what < 4)
                use_scope(&random);
            else
                (void)take_some(mix.arena, &random);
        }
        pthread_barrier_wait(&mix.barrier); /* resets come after the last use of blocks */
        if (number == NULL) CHECK(memarena_reset(mix.arena));
        pthread_barrier_wait(&mix.barrier);
    }
    return NULL;
}

static void a_mix(memarena_options options)
{
    mix.arena = memarena_create_with(&options);
    if (!mix.arena) return; /* the system cannot move pages */
    pthread_t others[THREADS];
    CHECK_EQ(pthread_barrier_init(&mix.barrier, NULL, THREADS), 0);
    for (uintptr_t i = 1; i < THREADS; i++) others[i] = test_start(use, (void *)i);
    (void)use(NULL);
    for (unsigned i = 1; i < THREADS; i++) test_join(others[i]);
    CHECK_EQ(pthread_barrier_destroy(&mix.barrier), 0);
    memarena_destroy(mix.arena);
}

static void in_any_mix_zeroed_blocks_are_zero(void)
{
    static char buffer[16 * MIB];
    for (size_t capacity = 4 * MIB; capacity <= 64 * MIB; capacity *= 4) {
        a_mix((memarena_options){.capacity = capacity});
        a_mix((memarena_options){.capacity = capacity, .flags = test_traps()});
        a_mix((memarena_options){.capacity = capacity, .flags = MEMARENA_PER_CPU, .tlab_bytes = MIB});
        a_mix((memarena_options){.capacity = capacity, .retain_bytes = MIB});
    }
    memset(buffer, 255, sizeof buffer);
    a_mix((memarena_options){.capacity = sizeof buffer, .buffer = buffer});
    a_mix((memarena_options){.capacity = 512 * KIB}); /* without shards */
}

int main(void)
{
    memarena *arena = memarena_create(MIB);
    memarena_stats stats;
    memarena_get_stats(arena, &stats, sizeof stats);
    memarena_destroy(arena);
    if (!stats.watched) RUN(memory_that_was_never_used_is_not_written);
    RUN(whatever_used_it_before);
    RUN(what_was_filled_from_a_tlab);
    RUN(in_any_mix_zeroed_blocks_are_zero);
    return test_done();
}
