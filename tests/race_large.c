/* Large blocks against each other and against small ones: runs over many sources do not overlap, what a run gave back is
 * whole again, and a NULL is never false.
 *
 * Nothing is freed within a generation, so what is free in the end was free all the time, but for runs that were being
 * claimed and were given back. A request that was refused must therefore be larger than every gap that is left in the
 * end. */
#include "threads.h"
#include "yield.h"

#define CAPACITY ((size_t)4 << 20)
#define LARGE_THREADS 4u
#define SMALL_THREADS 2u
#define REQUESTS 8

static struct {
    memarena *arena;
    pthread_barrier_t barrier;
    long rounds;
} race;

#include "patience.h"

typedef struct member {
    pthread_t thread;
    unsigned long long random;
    test_log log;
    size_t least_refused;
} member;

static void take_large(member *self)
{
    size_t capacity = memarena_capacity(race.arena);
    self->least_refused = SIZE_MAX;
    for (int i = 0; i < REQUESTS; i++) {
        size_t size = test_between(&self->random, capacity / 10, capacity * 6 / 10) & ~(size_t)7;
        void *block = memarena_alloc_aligned(race.arena, size, 8);
        if (block)
            test_record(&self->log, 1, block, size);
        else if (size < self->least_refused)
            self->least_refused = size;
    }
}

static void take_small(member *self)
{
    for (int i = 0; i < 40 * REQUESTS; i++) {
        size_t size = test_between(&self->random, 1, 3000);
        void *block = memarena_alloc_aligned(race.arena, size, 8);
        if (block) test_record(&self->log, 1, block, size);
    }
}

static void run(member *self, void (*take)(member *))
{
    for (long round = 0; round < race.rounds; round++) {
        test_meet(&race.barrier);
        self->log.count = 0;
        take(self);
        test_meet(&race.barrier);
    }
}

static void *run_large(void *argument)
{
    run(argument, take_large);
    return NULL;
}

static void *run_small(void *argument)
{
    run(argument, take_small);
    return NULL;
}

/* The largest gap between the blocks, which are sorted. */
static size_t largest_gap(uintptr_t base, size_t capacity, const test_log *log)
{
    size_t gap = 0;
    uintptr_t end = base;
    for (size_t i = 0; i <= log->count; i++) {
        uintptr_t next = i < log->count ? log->blocks[i].begin : base + capacity;
        if (next - end > gap) gap = next - end;
        if (i < log->count) end = log->blocks[i].end;
    }
    return gap;
}

static uintptr_t whole_arena(void)
{
    void *block = memarena_alloc_aligned(race.arena, memarena_capacity(race.arena), 8);
    CHECK(block != NULL);
    CHECK_EQ(memarena_allocated_bytes(race.arena), memarena_capacity(race.arena));
    CHECK(memarena_alloc_aligned(race.arena, 8, 8) == NULL);
    CHECK(memarena_reset(race.arena));
    return (uintptr_t)block;
}

static void check_gaps(uintptr_t base, const test_log *all, size_t least_refused)
{
    size_t gap = largest_gap(base, memarena_capacity(race.arena), all);
    if (least_refused <= gap) fprintf(stderr, "%zu bytes refused beside a gap of %zu\n", least_refused, gap);
    CHECK(least_refused > gap);
    if (gap == 0) return;
    CHECK(memarena_alloc_aligned(race.arena, gap + 8, 8) == NULL);
    CHECK(memarena_alloc_aligned(race.arena, gap, 8) != NULL);
}

static void run_race(unsigned large, unsigned small, long rounds)
{
    member members[LARGE_THREADS + SMALL_THREADS] = {0};
    test_log all = {0};
    size_t granted = 0, refusals = 0;
    race.arena = test_create(CAPACITY);
    CHECK(race.arena != NULL);
    race.rounds = rounds;
    bool watched = test_watched(race.arena);
    uintptr_t base = whole_arena();
    CHECK_EQ(pthread_barrier_init(&race.barrier, NULL, large + small + 1), 0);
    for (unsigned i = 0; i < large + small; i++) {
        members[i].random = test_seed(i + 300);
        members[i].thread = test_start(i < large ? run_large : run_small, &members[i]);
    }
    for (long round = 0; round < rounds; round++) {
        size_t least_refused = SIZE_MAX;
        test_meet(&race.barrier);
        test_meet(&race.barrier);
        all.count = 0;
        for (unsigned i = 0; i < large + small; i++) {
            test_append(&all, &members[i].log);
            if (i < large && members[i].least_refused < least_refused) least_refused = members[i].least_refused;
        }
        granted += all.count;
        refusals += least_refused < SIZE_MAX;
        size_t sum = test_check_blocks(race.arena, &all);
        CHECK_EQ(memarena_allocated_bytes(race.arena), sum);
        if (small == 0 && !watched) check_gaps(base, &all, least_refused); /* (watched blocks lie apart) */
        CHECK(memarena_reset(race.arena));
        CHECK_EQ(whole_arena(), base);
    }
    for (unsigned i = 0; i < large + small; i++) {
        test_join(members[i].thread);
        test_forget(&members[i].log);
    }
    CHECK(granted > 0 && refusals > 0);
    test_forget(&all);
    CHECK_EQ(pthread_barrier_destroy(&race.barrier), 0);
    memarena_destroy(race.arena);
}

static void two_threads_claim_runs_without_overlap_or_false_null(void)
{
    run_race(2, 0, test_scaled(2000));
}

static void four_threads_claim_runs_without_overlap_or_false_null(void)
{
    run_race(4, 0, test_scaled(2000));
}

static void runs_and_small_blocks_do_not_overlap(void)
{
    run_race(2, 2, test_scaled(500));
}

int main(void)
{
    RUN(two_threads_claim_runs_without_overlap_or_false_null);
    RUN(four_threads_claim_runs_without_overlap_or_false_null);
    RUN(runs_and_small_blocks_do_not_overlap);
    return test_done();
}
