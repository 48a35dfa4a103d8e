/* memarena_claimed_bytes: what has been taken of the arena, at any time with three loads. */
#include "internals.h"
#include "kinds.h"
#include "yield.h"

#include <sched.h>
#include <sys/wait.h>
#include <unistd.h>

/* Nobody is in the middle of a claim: the figure is the sum over all words, and above what was handed out. */
static void check_exact(const memarena *arena)
{
    const ma_pool *pool = &ma_arena_of(arena)->pool;
    size_t claimed = memarena_claimed_bytes(arena);
    CHECK_EQ(claimed, ma_pool_claimed(pool, memarena_generation(arena)));
    CHECK_EQ(claimed, test_stats(arena).claimed_bytes);
    CHECK(claimed >= memarena_allocated_bytes(arena) && claimed <= memarena_capacity(arena));
}

static void some_calls(memarena *arena, unsigned long long *random)
{
    size_t size = test_random(random) % 16 ? test_between(random, 0, 300) : test_between(random, 0, 60000);
    char *block = memarena_alloc_aligned(arena, size, (size_t)8 << test_random(random) % 4);
    if (!block) return;
    switch (test_random(random) % 4) {
    case 0:
        (void)memarena_drop_last(arena, block, size);
        break;
    case 1:
        (void)memarena_realloc(arena, block, size, size / 2);
        break;
    case 2:
        (void)memarena_realloc(arena, block, size, size * 2);
        break;
    default:
        break;
    }
}

static void the_figure_is_what_the_words_say(void)
{
    for (int kind = 0; kind < SCOPE; kind++) {
        memarena *arena = kinds_create(kind);
        unsigned long long random = test_seed((unsigned long long)kind);
        CHECK_EQ(memarena_claimed_bytes(arena), 0);
        for (int round = 0; round < 100; round++) { /* so that all words are refreshed, some twice */
            for (long i = test_scaled(300); i > 0; i--) some_calls(arena, &random);
            check_exact(arena);
            if (round % 10 == 0) (void)test_fill(arena, memarena_capacity(arena) / 2, NULL, 1);
            if (round % 20 == 0) {
                memarena *scope = memarena_scope(arena);
                if (scope) (void)memarena_alloc(scope, 5000);
                memarena_destroy(scope);
            }
            if (round % 7 == 0) (void)memarena_trim(arena, 0);
            check_exact(arena);
            CHECK(memarena_reset(arena));
            CHECK_EQ(memarena_claimed_bytes(arena), 0);
            check_exact(arena);
        }
        kinds_destroy();
    }
}

static void a_block_shows_at_once(void)
{
    for (int kind = 0; kind < SCOPE; kind++) {
        memarena *arena = kinds_create(kind);
        for (int i = 0; i < 3; i++) {
            CHECK(memarena_alloc(arena, 1) && memarena_claimed_bytes(arena) >= 8);
            /* Over many sources; a CPU's lane may be at home in the middle of them. */
            size_t before = memarena_claimed_bytes(arena), capacity = memarena_capacity(arena),
                   large = kind == PER_CPU ? capacity / 2 : capacity / 4 * 3;
            char *block = memarena_alloc_aligned(arena, large, 8);
            CHECK(block);
            CHECK(memarena_claimed_bytes(arena) >= large && memarena_claimed_bytes(arena) >= before);
            if (memarena_drop_last(arena, block, large)) CHECK(memarena_claimed_bytes(arena) < large);
            CHECK(memarena_reset(arena));
        }
        kinds_destroy();
    }
}

static void of_a_scope_it_is_what_the_scope_holds(void)
{
    for (int kind = SCOPE; kind < KINDS; kind++) {
        memarena *scope = kinds_create(kind);
        CHECK_EQ(memarena_claimed_bytes(scope), KIB);
        for (size_t size = 8; size < 30000; size *= 2) {
            CHECK(memarena_alloc(scope, size));
            CHECK_EQ(memarena_claimed_bytes(scope), test_stats(scope).held_bytes);
            CHECK(memarena_claimed_bytes(scope) >= memarena_allocated_bytes(scope));
        }
        CHECK(memarena_claimed_bytes(kinds_root) >= memarena_claimed_bytes(scope));
        kinds_destroy();
    }
}

/* Nor does anything come back when the tags have come round, where they are narrow. */
static void generations_without_a_claim_have_claimed_nothing(void)
{
    memarena *arena = memarena_create(64 * MIB);
    CHECK(arena);
    for (int use = 0; use < 3; use++) {
        CHECK(memarena_alloc(arena, 5000) && memarena_claimed_bytes(arena) >= 5000);
        for (int round = 0; round < 1200; round++) {
            CHECK(memarena_reset(arena));
            CHECK_EQ(memarena_claimed_bytes(arena), 0);
        }
    }
    memarena_destroy(arena);
}

/* ---- Threads ----------------------------------------------------------------------------------------------------- */

#define THREADS 4u

static struct {
    memarena *arena;
    bool resets;
    unsigned working;
} race;

static void *work(void *number)
{
    unsigned long long random = test_seed((uintptr_t)number);
    for (long i = test_scaled(30000); i > 0; i--) {
        some_calls(race.arena, &random);
        if (race.resets && i % 512 == 0) (void)memarena_reset(race.arena);
    }
    (void)__atomic_fetch_sub(&race.working, 1, __ATOMIC_RELEASE);
    return NULL;
}

/* Each thread is in the middle of one claim at most, of so much. */
#define MOST_IN_THE_MAKING (THREADS * 2 * 60000 * 2)

static void *look(void *unused)
{
    size_t before = 0;
    while (__atomic_load_n(&race.working, __ATOMIC_ACQUIRE)) {
        size_t claimed = memarena_claimed_bytes(race.arena);
        CHECK(claimed <= memarena_capacity(race.arena));
        CHECK(race.resets ||
              claimed + MOST_IN_THE_MAKING >= before); /* it is never torn, and not of another generation */
        before = claimed;
        sched_yield();
    }
    return unused;
}

static void threads_claim_and_it_is_exact_when_they_are_done(void)
{
    for (unsigned i = 0; i < 4; i++) {
        pthread_t threads[THREADS], looker;
        race.arena =
            memarena_create_with(&(memarena_options){.capacity = 512 * MIB, .flags = i & 1 ? MEMARENA_PER_CPU : 0});
        CHECK(race.arena);
        race.resets = i >= 2 && !test_watched(race.arena);
        race.working = THREADS;
        for (size_t n = 0; n < THREADS; n++) threads[n] = test_start(work, (void *)n);
        looker = test_start(look, NULL);
        for (size_t n = 0; n < THREADS; n++) test_join(threads[n]);
        test_join(looker);
        check_exact(race.arena);
        CHECK(memarena_reset(race.arena));
        CHECK_EQ(memarena_claimed_bytes(race.arena), 0);
        memarena_destroy(race.arena);
    }
}

/* A thread that a fork has lost between its claim and the count: as if that had been stopped there. */
static void a_child_of_fork_counts_what_lost_threads_have_claimed(void)
{
    memarena *arena = memarena_create(64 * MIB);
    CHECK(arena && memarena_alloc(arena, 8));
    ma_pool *pool = &ma_arena_of(arena)->pool;
    if (pool->shard_count == 0) {
        memarena_destroy(arena);
        return;
    }
    uint64_t *claimed = &pool->sources[pool->shard_count - 1].claimed, whole = *claimed;
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        *claimed -= 64;
        CHECK(memarena_alloc(arena, 100000));
        CHECK(pool->shard_count && *claimed != whole);
        check_exact(arena);
        _exit(0);
    }
    int status = 0;
    CHECK(waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    memarena_destroy(arena);
}

int main(void)
{
    RUN(the_figure_is_what_the_words_say);
    RUN(a_block_shows_at_once);
    RUN(of_a_scope_it_is_what_the_scope_holds);
    RUN(generations_without_a_claim_have_claimed_nothing);
    RUN(threads_claim_and_it_is_exact_when_they_are_done);
    RUN(a_child_of_fork_counts_what_lost_threads_have_claimed);
    return test_done();
}
