/* Far more living threads than lanes on one arena: the surplus works without, and what TLABs hold back is bounded by the
 * arena, not by the number of threads. */
#include "threads.h"
#include "yield.h"

#define THREADS 300u
#define CAPACITY ((size_t)32 << 20)

typedef enum sizes { SIZES_MIXED, SIZES_WITH_TAILS, SIZES_KINDS } sizes;

static struct {
    memarena *arena;
    pthread_barrier_t barrier;
    sizes kind;
    long growths;
} team;

typedef struct member {
    pthread_t thread;
    unsigned number;
    test_log log;
} member;

static size_t choose(unsigned long long *random, unsigned number)
{
    if (team.kind == SIZES_MIXED) return test_between(random, 8, test_random(random) % 8 ? 1000 : 20000);
    return number % 2 ? 1824 : 7288; /* leave nearly 1/8 of a common lane's TLAB, of a favoured one's */
}

static void *fill(void *argument)
{
    member *self = argument;
    unsigned long long random = test_seed(self->number);
    test_meet(&team.barrier); /* all live at once */
    for (;;) {
        size_t size = choose(&random, self->number);
        void *block = memarena_alloc_aligned(team.arena, size, 8);
        if (!block) break;
        test_record(&self->log, 1, block, size);
    }
    (void)test_fill(team.arena, 4096, &self->log, 1);
    test_meet(&team.barrier);
    return NULL;
}

static void *take_one_and_wait(void *argument)
{
    member *self = argument;
    void *block = memarena_alloc_aligned(team.arena, 8, 8);
    CHECK(block != NULL);
    test_record(&self->log, 1, block, 8);
    test_meet(&team.barrier);
    test_meet(&team.barrier);
    return NULL;
}

static void check_held_back(void)
{
    memarena_stats stats;
    size_t capacity = memarena_capacity(team.arena);
    memarena_get_stats(team.arena, &stats, sizeof stats);
    CHECK(stats.lanes <= 64);
    CHECK(stats.allocated_bytes <= capacity);
    printf("    held back: 1/%.0f of the arena\n", (double)capacity / ((double)(capacity - stats.allocated_bytes) + 1));
    CHECK(capacity - stats.allocated_bytes <= capacity / 8);
}

/* With what `all` has already; forgets it. */
static void join_and_check(member *members, test_log *all)
{
    for (unsigned i = 0; i < THREADS; i++) {
        test_join(members[i].thread);
        test_append(all, &members[i].log);
        test_forget(&members[i].log);
    }
    CHECK_EQ(test_check_blocks(team.arena, all), memarena_allocated_bytes(team.arena));
    test_forget(all);
}

static void run_team(void *(*run)(void *), test_log *more)
{
    static member members[THREADS];
    CHECK_EQ(pthread_barrier_init(&team.barrier, NULL, THREADS + 1), 0);
    for (unsigned i = 0; i < THREADS; i++) {
        members[i] = (member){.number = i};
        members[i].thread = test_start(run, &members[i]);
    }
    test_meet(&team.barrier);
    if (more) (void)test_fill(team.arena, 4096, more, 1);
    test_meet(&team.barrier);
    test_log all = {0};
    if (more) test_append(&all, more);
    join_and_check(members, &all);
    check_held_back();
    CHECK_EQ(pthread_barrier_destroy(&team.barrier), 0);
    CHECK(memarena_reset(team.arena));
}

static void three_hundred_threads_fill_an_arena_without_overlap(void)
{
    team.kind = SIZES_MIXED;
    run_team(fill, NULL);
}

static void sizes_that_leave_tails_waste_no_more_than_an_eighth(void)
{
    team.kind = SIZES_WITH_TAILS;
    run_team(fill, NULL);
}

static void idle_threads_hold_back_no_more_than_an_eighth(void)
{
    test_log log = {0};
    run_team(take_one_and_wait, &log);
    test_forget(&log);
}

/* ---- TLABs as large as they may become ---------------------------------------------------------------------------- */

#define GROWTHS_LEAST 3 /* two are enough for those with a lane */

/* One thread alone would fill the arena before the next one begins: so each takes its share. */
static void take_share(void)
{
    size_t capacity = memarena_capacity(team.arena), size = capacity / 2048 / 8; /* what fits the least lane's TLAB */
    for (size_t taken = 0; taken < capacity / THREADS; taken += size)
        if (!memarena_alloc_aligned(team.arena, size, 8)) return;
}

static void *grow_and_wait(void *argument)
{
    for (long i = 0; i < team.growths; i++) {
        test_meet(&team.barrier);
        take_share();
        test_meet(&team.barrier);
    }
    test_meet(&team.barrier);
    return take_one_and_wait(argument);
}

static void hold_back(size_t capacity, unsigned flags)
{
    static member members[THREADS];
    test_log all = {0};
    memarena_options options = {.capacity = capacity, .flags = flags, .tlab_bytes = (size_t)64 << 20};
    team.arena = memarena_create_with(&options);
    CHECK(team.arena != NULL);
    CHECK_EQ(pthread_barrier_init(&team.barrier, NULL, THREADS + 1), 0);
    for (unsigned i = 0; i < THREADS; i++) {
        members[i] = (member){.number = i};
        members[i].thread = test_start(grow_and_wait, &members[i]);
    }
    for (long i = 0; i < team.growths; i++) {
        test_meet(&team.barrier);
        test_meet(&team.barrier);
        CHECK(memarena_reset(team.arena));
    }
    test_meet(&team.barrier);
    test_meet(&team.barrier); /* from here on the others are idle */
    memarena_stats stats = test_stats(team.arena);
    printf("    %zu MiB, flags %u: %zu bytes in the TLABs of %u lanes and %u CPUs\n", capacity >> 20, flags,
           stats.tlab_bytes, stats.lanes, stats.cpu_lanes);
    if (!stats.watched && flags == 0) CHECK(stats.tlab_bytes >= capacity / 20); /* so they have grown */
    size_t got = test_fill(team.arena, 4096, &all, 1);
    CHECK(capacity - THREADS * 8 - got <= capacity / 8);
    check_held_back();
    test_meet(&team.barrier);
    join_and_check(members, &all);
    CHECK_EQ(pthread_barrier_destroy(&team.barrier), 0);
    memarena_destroy(team.arena);
}

static void idle_threads_whose_tlabs_have_grown_hold_back_no_more_than_an_eighth(void)
{
    static const size_t mib[] = {1, 4, 64};
    team.growths = test_scaled(12);
    if (team.growths < GROWTHS_LEAST) team.growths = GROWTHS_LEAST;
    for (size_t i = 0; i < sizeof mib / sizeof *mib; i++) {
        hold_back(mib[i] << 20, 0);
        hold_back(mib[i] << 20, MEMARENA_PER_CPU);
    }
}

int main(void)
{
    team.arena = test_create(CAPACITY);
    CHECK(team.arena != NULL);
    RUN(three_hundred_threads_fill_an_arena_without_overlap);
    RUN(sizes_that_leave_tails_waste_no_more_than_an_eighth);
    RUN(idle_threads_hold_back_no_more_than_an_eighth);
    RUN(three_hundred_threads_fill_an_arena_without_overlap); /* with full-grown TLABs */
    RUN(idle_threads_hold_back_no_more_than_an_eighth);
    test_check_whole(team.arena, 4096);
    memarena_destroy(team.arena);
    RUN(idle_threads_whose_tlabs_have_grown_hold_back_no_more_than_an_eighth);
    return test_done();
}
