/* defer against reset: each deferred call that was accepted runs exactly once, by the end of the arena, and while it
 * runs its generation stands. */
#include "threads.h"
#include "yield.h"

#include <errno.h>
#include <sched.h>

#define DEFERRERS 3u
#define RESETTERS_MAX 2u
#define CAPACITY ((size_t)256 << 10)
#ifdef MA_TAG_BITS /* with yields */
#define CALLS 20000
#else
#define CALLS 150000
#endif

typedef struct deferred {
    uint64_t begun, ended; /* calls; more than 1 is an error */
    bool accepted;
} deferred;

static struct {
    memarena *arena;
    pthread_barrier_t barrier;
    unsigned deferring;
    long calls; /* of each thread */
    bool watched;
} race;

typedef struct member {
    pthread_t thread;
    unsigned long long random;
    deferred *deferred;
    long refused;
} member;

static void run_deferred(void *argument)
{
    deferred *self = argument;
    uint64_t generation = memarena_generation(race.arena);
    CHECK_EQ(__atomic_fetch_add(&self->begun, 1, __ATOMIC_RELAXED), 0);
    if ((uintptr_t)self / sizeof *self % 64 == 0) sched_yield();
    CHECK_EQ(memarena_generation(race.arena), generation); /* the blocks are still alive */
    CHECK_EQ(__atomic_fetch_add(&self->ended, 1, __ATOMIC_RELAXED), 0);
}

static void *run_deferrer(void *argument)
{
    member *self = argument;
    test_meet(&race.barrier);
    for (long i = 0; i < race.calls; i++) {
        if (!race.watched && test_random(&self->random) % 4 == 0) /* (see watch.c on blocks that race resets) */
            (void)memarena_alloc_aligned(race.arena, test_between(&self->random, 8, 3000), 8);
        deferred *call = &self->deferred[i];
        bool accepted = memarena_defer(race.arena, run_deferred, call);
        __atomic_store_n(&call->accepted, accepted, __ATOMIC_RELAXED);
        self->refused += !accepted;
        if (!accepted || i % 32 == 0) (void)test_give_way();
    }
    (void)__atomic_fetch_sub(&race.deferring, 1, __ATOMIC_ACQ_REL);
    return NULL;
}

static void *run_resetter(void *argument)
{
    member *self = argument;
    test_meet(&race.barrier);
    while (__atomic_load_n(&race.deferring, __ATOMIC_ACQUIRE)) {
        if (!memarena_reset(race.arena)) CHECK_EQ(errno, EBUSY);
        for (size_t yields = test_between(&self->random, 0, 4); yields > 0; yields--) (void)test_give_way();
    }
    return NULL;
}

static void run_race(unsigned resetters, long calls)
{
    member members[DEFERRERS + RESETTERS_MAX] = {0};
    race.arena = test_create(CAPACITY);
    CHECK(race.arena != NULL);
    race.watched = test_watched(race.arena);
    race.deferring = DEFERRERS;
    race.calls = calls;
    deferred first = {.accepted = memarena_defer(race.arena, run_deferred, &first)};
    CHECK_EQ(pthread_barrier_init(&race.barrier, NULL, DEFERRERS + resetters), 0);
    for (unsigned i = 0; i < DEFERRERS + resetters; i++) {
        members[i].random = test_seed(i + 200 * resetters);
        members[i].deferred = calloc((size_t)calls, sizeof *members[i].deferred);
        CHECK(members[i].deferred != NULL);
        members[i].thread = test_start(i < DEFERRERS ? run_deferrer : run_resetter, &members[i]);
    }
    long refused = 0, accepted = 0;
    for (unsigned i = 0; i < DEFERRERS + resetters; i++) test_join(members[i].thread);
    uint64_t generations = memarena_generation(race.arena);
    memarena_destroy(race.arena);
    CHECK_EQ(first.ended, first.accepted);
    for (unsigned i = 0; i < DEFERRERS + resetters; i++) {
        for (long call = 0; i < DEFERRERS && call < calls; call++) {
            const deferred *one = &members[i].deferred[call];
            CHECK_EQ(one->begun, one->accepted);
            CHECK_EQ(one->ended, one->accepted);
            accepted += one->accepted;
        }
        refused += members[i].refused;
        free(members[i].deferred);
    }
    CHECK_EQ(accepted + refused, calls * (long)DEFERRERS);
    CHECK(accepted > 0);
    printf("    %ld calls deferred, %ld refused, %llu generations\n", accepted, refused,
           (unsigned long long)generations);
    CHECK_EQ(pthread_barrier_destroy(&race.barrier), 0);
}

static void one_thread_resets_while_others_defer(void)
{
    run_race(1, test_scaled(CALLS));
}

static void two_threads_reset_while_others_defer(void)
{
    run_race(2, test_scaled(CALLS));
}

static struct {
    memarena *arena;
    bool is_over;
    unsigned long accepted, run;
} endless;

static void count_run(void *counter)
{
    (void)__atomic_fetch_add((unsigned long *)counter, 1, __ATOMIC_RELAXED);
}

static void *defer_without_a_pause(void *argument)
{
    unsigned long accepted = 0;
    while (!__atomic_load_n(&endless.is_over, __ATOMIC_ACQUIRE))
        accepted += memarena_defer(endless.arena, count_run, &endless.run);
    (void)__atomic_fetch_add(&endless.accepted, accepted, __ATOMIC_ACQ_REL);
    return argument;
}

/* They let it through. */
static void a_reset_ends_while_others_defer_without_a_pause(void)
{
    pthread_t threads[DEFERRERS];
    endless.arena = test_create((size_t)64 << 20);
    for (unsigned i = 0; i < DEFERRERS; i++) threads[i] = test_start(defer_without_a_pause, NULL);
    for (long left = test_scaled(300); left > 0;) {
        while (memarena_allocated_bytes(endless.arena) < 10000) sched_yield();
        if (memarena_reset(endless.arena))
            left--;
        else
            CHECK_EQ(errno, EBUSY);
    }
    __atomic_store_n(&endless.is_over, true, __ATOMIC_RELEASE);
    for (unsigned i = 0; i < DEFERRERS; i++) test_join(threads[i]);
    memarena_destroy(endless.arena);
    CHECK(endless.accepted > 0);
    CHECK_EQ(endless.run, endless.accepted);
}

int main(void)
{
    RUN(a_reset_ends_while_others_defer_without_a_pause);
    RUN(one_thread_resets_while_others_defer);
    RUN(two_threads_reset_while_others_defer);
    return test_done();
}
