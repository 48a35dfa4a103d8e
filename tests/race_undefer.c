/* undefer against defer, reset and each other: each call that was accepted either runs or was undone, by one thread, and exactly once. */
#include "threads.h"
#include "yield.h"

#include <errno.h>
#include <sched.h>

#define DEFERRERS 3u
#define CAPACITY ((size_t)256 << 10)
#ifdef MA_TAG_BITS /* with yields */
#define CALLS 2000
#else
#define CALLS 80000
#endif

typedef struct deferred {
    uint64_t runs, undone, accepted;
} deferred;

typedef struct member {
    pthread_t thread;
    unsigned long long random;
    deferred *calls;
    long newest; /* deferred so far */
} member;

static struct {
    memarena *arena;
    pthread_barrier_t barrier;
    unsigned deferring;
    long calls;
    member members[DEFERRERS];
} race;

static void run(void *argument)
{
    deferred *self = argument;
    uint64_t generation = memarena_generation(race.arena);
    (void)__atomic_fetch_add(&self->runs, 1, __ATOMIC_RELAXED);
    if ((uintptr_t)self / sizeof *self % 64 == 0) sched_yield();
    CHECK_EQ(memarena_generation(race.arena), generation);
}

/* One of the newest, of its own or of another thread: all of them want the same ones. */
static void undo_one(member *self)
{
    member *whose = &race.members[test_random(&self->random) % DEFERRERS];
    long newest = __atomic_load_n(&whose->newest, __ATOMIC_ACQUIRE);
    size_t back = test_between(&self->random, 0, 4);
    if (newest <= (long)back) return;
    deferred *call = &whose->calls[newest - 1 - (long)back];
    if (memarena_undefer(race.arena, run, call)) (void)__atomic_fetch_add(&call->undone, 1, __ATOMIC_RELAXED);
}

static void *run_deferrer(void *argument)
{
    member *self = argument;
    test_meet(&race.barrier);
    for (long i = 0; i < race.calls; i++) {
        self->calls[i].accepted = memarena_defer(race.arena, run, &self->calls[i]);
        __atomic_store_n(&self->newest, i + 1, __ATOMIC_RELEASE);
        if (!self->calls[i].accepted || i % 32 == 0) sched_yield();
        undo_one(self);
    }
    (void)__atomic_fetch_sub(&race.deferring, 1, __ATOMIC_ACQ_REL);
    return NULL;
}

static void *run_resetter(void *unused)
{
    unsigned long long random = test_seed(77);
    test_meet(&race.barrier);
    while (__atomic_load_n(&race.deferring, __ATOMIC_ACQUIRE)) {
        if (!memarena_reset(race.arena)) CHECK_EQ(errno, EBUSY);
        for (size_t yields = test_between(&random, 0, 4); yields > 0; yields--) sched_yield();
    }
    return unused;
}

static void run_race(unsigned resetters, long calls)
{
    pthread_t threads[2];
    unsigned long long ran = 0, undone = 0;
    race.arena = test_create(CAPACITY);
    CHECK(race.arena != NULL);
    race.deferring = DEFERRERS;
    race.calls = calls;
    CHECK_EQ(pthread_barrier_init(&race.barrier, NULL, DEFERRERS + resetters), 0);
    for (unsigned i = 0; i < DEFERRERS; i++) {
        race.members[i] = (member){.random = test_seed(i), .calls = calloc((size_t)calls, sizeof(deferred))};
        CHECK(race.members[i].calls != NULL);
    }
    for (unsigned i = 0; i < DEFERRERS; i++) race.members[i].thread = test_start(run_deferrer, &race.members[i]);
    for (unsigned i = 0; i < resetters; i++) threads[i] = test_start(run_resetter, NULL);
    for (unsigned i = 0; i < DEFERRERS; i++) test_join(race.members[i].thread);
    for (unsigned i = 0; i < resetters; i++) test_join(threads[i]);
    uint64_t generations = memarena_generation(race.arena);
    memarena_destroy(race.arena);
    for (unsigned i = 0; i < DEFERRERS; i++) {
        for (long call = 0; call < calls; call++) {
            const deferred *one = &race.members[i].calls[call];
            CHECK(one->runs <= 1 && one->undone <= 1);
            CHECK_EQ(one->runs + one->undone, one->accepted);
            ran += one->runs, undone += one->undone;
        }
        free(race.members[i].calls);
    }
    printf("    %llu calls run, %llu undone, %llu generations\n", ran, undone, (unsigned long long)generations);
    CHECK(undone > 0);
    CHECK_EQ(pthread_barrier_destroy(&race.barrier), 0);
}

static void calls_are_undone_while_a_thread_resets(void)
{
    run_race(1, test_scaled(CALLS));
}

static void calls_are_undone_while_two_threads_reset(void)
{
    run_race(2, test_scaled(CALLS));
}

static void calls_are_undone_and_the_rest_runs_at_the_end(void)
{
    run_race(0, test_scaled(2000));
}

int main(void)
{
    RUN(calls_are_undone_while_a_thread_resets);
    RUN(calls_are_undone_while_two_threads_reset);
    RUN(calls_are_undone_and_the_rest_runs_at_the_end);
    return test_done();
}
