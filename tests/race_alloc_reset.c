/* allocate against reset: threads allocate while others reset as fast as they can, and no two blocks of one generation
 * overlap.
 *
 * A block that raced a reset belongs to either generation, so only blocks whose call no reset overlapped are compared:
 * the resetters count what they begin and what they have ended. Nothing is written to the blocks, since a block that
 * raced may be dead; reallocation starts from blocks of size 0, of which nothing is copied. */
#include "resets.h"
#include "threads.h"
#include "yield.h"

#include <sched.h>

#define ALLOCATORS 3u
#define RESETTERS_MAX 2u
#define CAPACITY ((size_t)1 << 20)
#ifdef MA_TAG_BITS /* with yields */
#define CALLS_PER_EPISODE 1200
#else
#define CALLS_PER_EPISODE 10000
#endif

typedef enum sizes { SIZES_SMALL, SIZES_MIXED, SIZES_RUNS, SIZES_KINDS } sizes;

static struct {
    memarena *arena;
    pthread_barrier_t barrier;
    long episodes;
    unsigned resetters;
    unsigned allocating; /* threads that have not finished this episode */
    unsigned calls;      /* of allocators, in this episode */
    test_resets resets;
} race;

typedef struct member {
    pthread_t thread;
    unsigned number;
    unsigned long long random;
    test_log log;
} member;

static size_t choose(unsigned long long *random, sizes kind)
{
    if (kind == SIZES_SMALL) return test_between(random, 8, 600);
    if (kind == SIZES_RUNS) return test_between(random, CAPACITY / 100, CAPACITY * 6 / 10);
    return test_random(random) % 16 ? test_between(random, 8, 2000) : test_between(random, 8, 40000);
}

/* Each episode has one kind of sizes, or all of them. */
static void allocate(member *self, sizes kind)
{
    uint64_t generation = test_quiet(&race.resets);
    size_t size = choose(&self->random, kind), another = 0;
    unsigned action = (unsigned)(test_random(&self->random) % 8);
    void *block, *first = NULL;
    if (action == 0) { /* grow */
        first = memarena_alloc_aligned(race.arena, 0, 8);
        block = first ? memarena_realloc(race.arena, first, 0, size) : NULL;
        if (block != first) another = 8; /* the old one stays as it was */
    } else if (action == 1) {            /* shrink, in place or not at all */
        block = memarena_alloc_aligned(race.arena, size, 8);
        size = test_between(&self->random, 0, size);
        if (block) block = memarena_realloc(race.arena, block, size + 1, size);
    } else if (action == 3) { /* take it back, unless it has died; a live one of somebody else's must stay */
        block = memarena_alloc_aligned(race.arena, size, 8);
        if (block && memarena_drop_last(race.arena, block, size)) block = NULL;
    } else {
        block = action == 2 ? memarena_alloc(race.arena, size) : memarena_alloc_aligned(race.arena, size, 8);
    }
    if (!generation) return;
    uint64_t arenas_own = memarena_generation(race.arena);
    if (!test_still_quiet(&race.resets, generation)) return;
    CHECK_EQ(arenas_own, generation);
    if (block) test_record(&self->log, generation, block, size);
    if (first && another) test_record(&self->log, generation, first, another);
}

static void *run_allocator(void *argument)
{
    member *self = argument;
    for (long episode = 0; episode < race.episodes; episode++) {
        test_meet(&race.barrier);
        sizes kind = (sizes)(episode % (SIZES_KINDS + 1));
        for (int call = 0; call < CALLS_PER_EPISODE; call++) {
            allocate(self, kind < SIZES_KINDS ? kind : (sizes)(test_random(&self->random) % SIZES_KINDS));
            (void)__atomic_fetch_add(&race.calls, 1, __ATOMIC_RELAXED);
        }
        (void)__atomic_fetch_sub(&race.allocating, 1, __ATOMIC_ACQ_REL);
        test_meet(&race.barrier);
    }
    return NULL;
}

static bool is_racing(void)
{
    return __atomic_load_n(&race.allocating, __ATOMIC_ACQUIRE) != 0;
}

/* Waits while the others make some calls: none, a few, or enough to fill the arena. */
static void wait_for_calls(unsigned long long *random)
{
    unsigned from = __atomic_load_n(&race.calls, __ATOMIC_RELAXED);
    unsigned calls = (unsigned)test_between(random, 0, (size_t)2 << test_between(random, 0, 10));
    while (is_racing() && __atomic_load_n(&race.calls, __ATOMIC_RELAXED) - from < calls) sched_yield();
}

static void *run_resetter(void *argument)
{
    member *self = argument;
    for (long episode = 0; episode < race.episodes; episode++) {
        test_meet(&race.barrier);
        while (is_racing()) {
            size_t resets = test_between(&self->random, 1, (size_t)2 << test_between(&self->random, 0, 8));
            while (resets-- > 0 && is_racing()) test_reset(&race.resets, race.arena);
            wait_for_calls(&self->random);
        }
        test_meet(&race.barrier);
    }
    return NULL;
}

static void run_race(unsigned resetters, long episodes)
{
    member members[ALLOCATORS + RESETTERS_MAX] = {0};
    test_log all = {0};
    size_t compared = 0;
    race.arena = test_create(CAPACITY);
    CHECK(race.arena != NULL);
    race.resets.begun = race.resets.ended = 0;
    race.episodes = episodes;
    race.resetters = resetters;
    CHECK_EQ(pthread_barrier_init(&race.barrier, NULL, ALLOCATORS + resetters + 1), 0);
    for (unsigned i = 0; i < ALLOCATORS + resetters; i++) {
        members[i].number = i;
        members[i].random = test_seed(i + 100 * resetters);
        members[i].thread = test_start(i < ALLOCATORS ? run_allocator : run_resetter, &members[i]);
    }
    for (long episode = 0; episode < episodes; episode++) {
        race.allocating = ALLOCATORS;
        __atomic_store_n(&test_yield_chance, 16 << episode % 4, __ATOMIC_RELAXED);
        test_meet(&race.barrier);
        test_meet(&race.barrier);
        all.count = 0;
        for (unsigned i = 0; i < ALLOCATORS; i++) {
            test_append(&all, &members[i].log);
            members[i].log.count = 0;
        }
        (void)test_check_blocks(race.arena, &all);
        compared += all.count;
        __atomic_store_n(&test_yield_chance, 0, __ATOMIC_RELAXED); /* nobody else is here */
        test_check_whole(race.arena, 4096);
        race.resets.begun += 2; /* those of test_check_whole */
        race.resets.ended += 2;
        CHECK_EQ(memarena_generation(race.arena), race.resets.begun + 1);
    }
    for (unsigned i = 0; i < ALLOCATORS + resetters; i++) {
        test_join(members[i].thread);
        test_forget(&members[i].log);
    }
    CHECK(compared > 0);
    printf("    %zu blocks compared, %llu resets\n", compared, (unsigned long long)race.resets.ended);
    test_forget(&all);
    CHECK_EQ(pthread_barrier_destroy(&race.barrier), 0);
    memarena_destroy(race.arena);
}

static void one_thread_resets_while_others_allocate(void)
{
    run_race(1, test_scaled(60));
}

static void two_threads_reset_while_others_allocate(void)
{
    run_race(2, test_scaled(60));
}

int main(void)
{
    RUN(one_thread_resets_while_others_allocate);
    RUN(two_threads_reset_while_others_allocate);
    return test_done();
}
