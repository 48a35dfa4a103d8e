/* fork while other threads allocate, defer and reset: the child, alone with copies of the arenas, allocates, resets and
 * fills them as if nothing had happened; the parent goes on. */
#include "lanes.h"

#include "children.h"
#include "yield.h"

#include <errno.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define ARENAS 2u
#define ALLOCATORS 2u
#define CAPACITY ((size_t)2 << 20)
#define CALLS_MAX 64u
#define CALL_BYTES (2 * sizeof(void *) + 8)

static struct {
    memarena *arenas[ARENAS];
    bool enough;
} race;

static bool is_racing(void)
{
    return !__atomic_load_n(&race.enough, __ATOMIC_ACQUIRE);
}

static void ignore(void *argument)
{
    (void)argument;
}

static void *allocate_and_defer(void *argument)
{
    unsigned long long random = test_seed((unsigned long long)(uintptr_t)argument);
    while (is_racing()) {
        memarena *arena = race.arenas[test_random(&random) % ARENAS];
        size_t size = test_random(&random) % 32 ? test_between(&random, 0, 3000) : test_between(&random, 0, CAPACITY);
        (void)memarena_alloc_aligned(arena, size, 8);
        if (test_random(&random) % 16 == 0) (void)memarena_defer(arena, ignore, NULL);
    }
    return NULL;
}

static void *reset_often(void *argument)
{
    unsigned long long random = test_seed((unsigned long long)(uintptr_t)argument);
    while (is_racing()) {
        if (!memarena_reset(race.arenas[test_random(&random) % ARENAS])) CHECK_EQ(errno, EBUSY);
        if (test_random(&random) % 4 == 0) (void)test_give_way();
    }
    return NULL;
}

/* ---- The child: one thread, and no library call that another thread may have been inside of --------------------- */

static unsigned ran[CALLS_MAX];

static void count_run(void *argument)
{
    ++*(unsigned *)argument;
}

static void defer_some(memarena *arena)
{
    memset(ran, 0, sizeof ran);
    for (unsigned i = 0; i < CALLS_MAX; i++) CHECK(memarena_defer(arena, count_run, &ran[i]));
}

static void check_ran(void)
{
    for (unsigned i = 0; i < CALLS_MAX; i++) CHECK_EQ(ran[i], 1);
}

/* Where blocks of 512 bytes lie, in the order of their addresses. */
static bool taken[CAPACITY / 8];

static size_t fill_without_overlap(memarena *arena, unsigned long long *random)
{
    uintptr_t base = 0;
    size_t sum = 0;
    memset(taken, 0, sizeof taken);
    for (size_t cap = 30000; cap >= 8;) {
        size_t size = test_rounded(test_between(random, 1, cap));
        uintptr_t block = (uintptr_t)memarena_alloc_aligned(arena, size, 8);
        if (!block) {
            cap = size > 16 ? size / 2 : size - 8;
            continue;
        }
        sum += size;
        if (test_watched(arena)) continue;
        if (!base)
            base = ma_pool_base(&ma_arena_of(arena)->pool, memarena_generation(arena)); /* (a cut reset is over) */
        CHECK(block >= base && block + size <= base + CAPACITY);
        for (uintptr_t grain = (block - base) / 8; grain < (block + size - base) / 8; grain++) {
            CHECK(!taken[grain]);
            taken[grain] = true;
        }
    }
    return sum;
}

static void live_as_child(unsigned number)
{
    unsigned long long random = test_seed(number);
    for (unsigned i = 0; i < ARENAS; i++) {
        memarena *arena = race.arenas[i];
        if (number % 2) CHECK(fill_without_overlap(arena, &random) <= CAPACITY); /* what is left of it */
        uint64_t generation = memarena_generation(arena);
        CHECK(memarena_reset(arena));
        /* A reset of the parent's that fork cut in two is finished first. */
        uint64_t ended = memarena_generation(arena) - generation;
        CHECK(ended == 1 || ended == 2);
        defer_some(arena);
        CHECK_EQ(memarena_allocated_bytes(arena), CALLS_MAX * CALL_BYTES);
        CHECK_EQ(fill_without_overlap(arena, &random), CAPACITY - CALLS_MAX * CALL_BYTES);
        CHECK_EQ(memarena_allocated_bytes(arena), CAPACITY);
        CHECK(memarena_reset(arena));
        check_ran();
        CHECK_EQ(fill_without_overlap(arena, &random), CAPACITY);
        memarena_destroy(arena);
    }
    memarena *another = test_create(CAPACITY);
    CHECK(another != NULL);
    CHECK_EQ(fill_without_overlap(another, &random), CAPACITY);
    memarena_destroy(another);
}

static void live_as_parent_of_another(unsigned number)
{
    pid_t child = test_make_child(BY_FORK);
    if (child == 0) {
        live_as_child(number);
        _exit(0);
    }
    int status = 0;
    CHECK_EQ(waitpid(child, &status, 0), child);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    live_as_child(number + 1);
}

/* In the narrow builds each child yields at every access of its fills. */
#define FORKS (MA_SHARDS < 64 ? 40 : 120)

/* ---- The parent ------------------------------------------------------------------------------------------------- */

static void wait_for(pid_t child)
{
    int status = test_status_of(child);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        fprintf(stderr, "the child's status is %#x\n", (unsigned)status);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void fork_many(long forks)
{
    pthread_t threads[ALLOCATORS + 1];
    race.enough = false;
    for (unsigned i = 0; i < ARENAS; i++) {
        race.arenas[i] = test_create(CAPACITY);
        CHECK(race.arenas[i] != NULL);
    }
    for (unsigned i = 0; i <= ALLOCATORS; i++)
        threads[i] = test_start(i < ALLOCATORS ? allocate_and_defer : reset_often, (void *)(uintptr_t)(i + 1));
    for (long i = 0; i < forks; i++) {
        pid_t child = test_make_child(BY_FORK);
        if (child == 0) {
            (i % 8 == 7 ? live_as_parent_of_another : live_as_child)((unsigned)i);
            _exit(0);
        }
        wait_for(child);
    }
    __atomic_store_n(&race.enough, true, __ATOMIC_RELEASE);
    for (unsigned i = 0; i <= ALLOCATORS; i++) test_join(threads[i]);
    for (unsigned i = 0; i < ARENAS; i++) {
        test_check_whole(race.arenas[i], 4096);
        memarena_destroy(race.arenas[i]);
    }
}

static void a_thread_without_a_lane_forks(void)
{
    CHECK_EQ(test_lane(), LANE_NONE);
    fork_many(test_scaled(FORKS));
}

static void a_thread_with_a_lane_forks(void)
{
    memarena *arena = test_create(CAPACITY);
    CHECK(arena != NULL && memarena_alloc_aligned(arena, 8, 8) != NULL);
    fork_many(test_scaled(FORKS));
    memarena_destroy(arena);
}

static void *fork_in_a_thread(void *argument)
{
    memarena *arena = argument;
    CHECK(memarena_alloc_aligned(arena, 8, 8) != NULL);
    pid_t child = test_make_child(BY_FORK);
    if (child == 0) {
        /* The lanes of the threads that are gone are free; this thread's own, if it has one, is not. */
        bool watched = test_watched(arena);
        unsigned mine = test_lane();
        if (!TEST_TSAN && !watched) CHECK_EQ(test_free_lanes(), MA_LANES - (mine != LANE_NONE));
        CHECK_EQ(test_lane(), mine);
        memarena_stats before = test_stats(arena);
        if (before.per_cpu == 2 && !watched) {
            for (int n = 0; n < 20000; n++) CHECK(memarena_alloc_aligned(arena, 8, 8) != NULL);
            CHECK_EQ(test_stats(arena).direct_blocks, before.direct_blocks); /* the CPUs' lanes are free as well */
        }
        _exit(0);
    }
    wait_for(child);
    return NULL;
}

static void a_child_may_start_threads(void)
{
    memarena *arena = test_create(CAPACITY);
    CHECK(arena != NULL);
    for (long i = 0; i < test_scaled(8); i++) {
        pthread_t thread = test_start(fork_in_a_thread, arena), other = test_start(fork_in_a_thread, arena);
        test_join(thread);
        test_join(other);
    }
    memarena_destroy(arena);
}

/* Under a sanitizer: a thread that the fork has lost had begun to forbid the rest of the arena. */
static void a_child_does_not_wait_for_a_mark_that_nobody_moves(void)
{
    memarena *arena = test_create(CAPACITY);
    CHECK(arena != NULL);
    ma_arena *root = ma_arena_of(arena);
    uint64_t claimed = root->watch_claimed;
    if (test_watched(arena)) {
        root->watch_claimed = CAPACITY;
        pid_t child = test_make_child(BY_FORK);
        if (child == 0) {
            CHECK(memarena_alloc_aligned(arena, 24, 8) != NULL);
            CHECK_EQ(root->watch_mark, CAPACITY);
            _exit(0);
        }
        root->watch_claimed = claimed;
        wait_for(child);
    }
    memarena_destroy(arena);
}

#define RESETTERS 3

static unsigned long resets;

static void *reset_many_times(void *arena)
{
    for (long i = test_scaled(2000); i > 0; i--)
        if (memarena_reset(arena)) (void)__atomic_fetch_add(&resets, 1, __ATOMIC_RELAXED);
    return NULL;
}

/* As a fork finds it that comes between the two steps of a reset: the lanes are empty, the generation is closed, and goes on. */
static pid_t fork_between_the_steps_of_a_reset(memarena *handle)
{
    ma_arena *arena = ma_arena_of(handle);
    uint64_t generation = memarena_generation(handle), head = arena->deferred;
    if (ma_traps(arena)) CHECK(ma_trap_prepare(arena, generation));
    ma_lane_empty_all(arena);
    arena->deferred = ma_deferred_start(generation + 1);
    pid_t child = test_make_child(BY_FORK);
    if (child != 0) arena->deferred = head;
    return child;
}

/* Anybody there may take the second step of a reset, also where others wait for it; and nobody takes it twice. */
static void threads_reset_in_a_child_whose_fork_cut_a_reset(void)
{
    memarena *arena = test_create(CAPACITY);
    CHECK(arena != NULL && memarena_reset(arena));
    pid_t child = fork_between_the_steps_of_a_reset(arena);
    if (child == 0) {
        pthread_t threads[RESETTERS];
        for (int i = 0; i < RESETTERS; i++) threads[i] = test_start(reset_many_times, arena);
        for (int i = 0; i < RESETTERS; i++) test_join(threads[i]);
        CHECK_EQ(memarena_generation(arena), 3 + resets);
        _exit(0);
    }
    wait_for(child);
    memarena_destroy(arena);
}

/* There its first step was taken: the blocks of the child belong to the generation that has begun, from the first one on,
 * or the second step, in whichever call, would give their memory out again. */
static void no_block_goes_past_a_reset_that_a_fork_cut(void)
{
    memarena *arena = test_create(CAPACITY);
    CHECK(arena != NULL && memarena_alloc_aligned(arena, 8, 8) != NULL);
    uint64_t generation = memarena_generation(arena);
    pid_t child = fork_between_the_steps_of_a_reset(arena);
    if (child == 0) {
        unsigned long long random = test_seed(7);
        CHECK(memarena_alloc_aligned(arena, 24, 8) != NULL);
        CHECK_EQ(memarena_generation(arena), generation + 1);
        CHECK_EQ(fill_without_overlap(arena, &random), CAPACITY - 24);
        _exit(0);
    }
    wait_for(child);
    memarena_destroy(arena);
}

int main(void)
{
    RUN(a_thread_without_a_lane_forks);
    RUN(a_child_may_start_threads);
    RUN(a_child_does_not_wait_for_a_mark_that_nobody_moves);
    RUN(a_thread_with_a_lane_forks);
    RUN(threads_reset_in_a_child_whose_fork_cut_a_reset);
    RUN(no_block_goes_past_a_reset_that_a_fork_cut);
    return test_done();
}
