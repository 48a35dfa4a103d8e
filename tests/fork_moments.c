/* A fork where the thread that forks, or another one, is in the middle of something: in on_oom, in a deferred call, in a reset that
 * a handler has interrupted; with all lanes taken. However the child is made, it goes on as its parent does. */
#include "lanes.h"

#include "children.h"

#include <errno.h>
#include <semaphore.h>
#include <string.h>

#define MIB ((size_t)1 << 20)
#define THREADS 70u /* more than there are lanes */

static void (*at_access)(void);

void test_yield(void);
void test_yield(void)
{
    if (at_access) at_access();
}

static memarena *arena;
static test_way way;
static bool is_child;
static pid_t child;

/* In the parent it waits for the child, so that both go on one after the other. */
static void fork_here(void)
{
    child = test_make_child(way);
    is_child = child == 0;
    if (child > 0) CHECK_EQ(test_status_of(child), 0);
}

static void in_all_ways(void (*play)(void))
{
    for (way = 0; way < WAYS; way++) {
        is_child = false;
        play();
        if (is_child) _exit(0);
    }
}

static void count_run(void *runs)
{
    ++*(unsigned *)runs;
}

static void check_reset(void)
{
    uint64_t generation = memarena_generation(arena);
    CHECK(memarena_reset(arena));
    CHECK_EQ(memarena_generation(arena), generation + 1);
}

/* ---- In on_oom ----------------------------------------------------------------------------------------------------- */

static unsigned asked;

/* In the child a reset makes room; a scope that is open stays so. */
static bool fork_for_room(void *scope, memarena *handle, size_t size)
{
    CHECK(size > 0 && handle != NULL);
    if (asked++) return false;
    fork_here();
    if (!is_child) return false;
    if (*(memarena **)scope) {
        CHECK(!memarena_reset(arena) && errno == EBUSY);
        return false;
    }
    check_reset();
    return true;
}

enum { ALLOC, SCOPE, DEFER, ALLOC_IN_SCOPE, REQUESTS };
static int request;

static void request_in_a_full_arena(void)
{
    memarena *scope = NULL, *opened = NULL;
    unsigned runs = 0;
    bool given = false;
    arena =
        memarena_create_with(&(memarena_options){.capacity = MIB, .on_oom = fork_for_room, .on_oom_context = &scope});
    CHECK(arena != NULL);
    if (request == ALLOC_IN_SCOPE) CHECK((scope = memarena_scope(arena)) != NULL);
    asked = 1;
    (void)test_fill(arena, 4096, NULL, 1);
    asked = 0;
    if (request == ALLOC) given = memarena_alloc(arena, 100) != NULL;
    if (request == SCOPE) given = (opened = memarena_scope(arena)) != NULL;
    if (request == DEFER) given = memarena_defer(arena, count_run, &runs);
    if (request == ALLOC_IN_SCOPE) given = memarena_alloc(scope, 5000) != NULL;
    CHECK_EQ(given, is_child && request != ALLOC_IN_SCOPE);
    memarena_destroy(scope);
    memarena_destroy(opened);
    check_reset();
    CHECK_EQ(runs, given && request == DEFER);
    test_check_whole(arena, 4096);
    memarena_destroy(arena);
}

static void on_oom_may_fork(void)
{
    for (request = 0; request < REQUESTS; request++) in_all_ways(request_in_a_full_arena);
}

/* ---- In a deferred call ---------------------------------------------------------------------------------------------- */

static char *text;
static unsigned forking_runs, others_runs, late_runs;

static void look_at_the_text(void *unused)
{
    (void)unused;
    others_runs++;
    CHECK(strcmp(text, "alive") == 0);
}

static void fork_in_the_call(void *unused)
{
    (void)unused;
    forking_runs++;
    fork_here();
    CHECK(!memarena_reset(arena) && errno == EBUSY);
    for (int i = 0; i < 1000; i++) memset(memarena_alloc(arena, 64), 'x', 64);
    CHECK(memarena_defer(arena, count_run, &late_runs));
}

static void reset_whose_call_forks(void)
{
    forking_runs = others_runs = late_runs = 0;
    CHECK((arena = memarena_create(MIB)) != NULL && (text = memarena_strdup(arena, "alive")) != NULL);
    CHECK(memarena_defer(arena, look_at_the_text, NULL) && memarena_defer(arena, fork_in_the_call, NULL));
    check_reset();
    CHECK(forking_runs == 1 && others_runs == 1 && late_runs == 1);
    test_check_whole(arena, 4096);
    memarena_destroy(arena);
}

static void a_deferred_call_may_fork(void)
{
    in_all_ways(reset_whose_call_forks);
}

/* ---- While another thread runs deferred calls ------------------------------------------------------------------------- */

static sem_t is_in_call, may_go_on;

static void wait_for(sem_t *event)
{
    while (sem_wait(event) != 0) CHECK_EQ(errno, EINTR);
}

static void wait_in_the_call(void *unused)
{
    (void)unused;
    forking_runs++;
    CHECK_EQ(sem_post(&is_in_call), 0);
    wait_for(&may_go_on);
}

static void *reset_it(void *unused)
{
    CHECK(memarena_reset(arena));
    return unused;
}

static bool by_destroy;

static void fork_while_calls_run(void)
{
    unsigned runs = 0;
    forking_runs = 0;
    CHECK((arena = memarena_create(MIB)) != NULL && !sem_init(&is_in_call, 0, 0) && !sem_init(&may_go_on, 0, 0));
    for (int i = 0; i < 2; i++) CHECK(memarena_defer(arena, count_run, &runs));
    CHECK(memarena_defer(arena, wait_in_the_call, NULL)); /* runs first */
    pthread_t resetter = test_start(reset_it, NULL);
    wait_for(&is_in_call);
    fork_here();
    if (!is_child) {
        CHECK_EQ(sem_post(&may_go_on), 0);
        test_join(resetter);
    } else if (!by_destroy) {
        check_reset();
        CHECK(runs == 2);
        test_check_whole(arena, 4096);
    }
    memarena_destroy(arena);
    CHECK(runs == 2 && forking_runs == 1);
}

static void calls_of_a_reset_that_is_lost_run_in_the_child(void)
{
    by_destroy = false;
    in_all_ways(fork_while_calls_run);
    by_destroy = true;
    in_all_ways(fork_while_calls_run);
}

/* ---- A handler that leases the thread's lane in the middle of a reset -------------------------------------------------- */

static memarena *the_handlers;
static unsigned left;

static void allocate_as_a_handler(void)
{
    if (left != 0 && --left == 0) CHECK(memarena_alloc_aligned(the_handlers, 8, 8) != NULL);
}

static void *reset_and_fork(void *steps)
{
    left = *(unsigned *)steps;
    at_access = allocate_as_a_handler;
    CHECK(memarena_reset(arena));
    at_access = NULL;
    *(unsigned *)steps = left;
    way = *(unsigned *)steps % WAYS;
    pid_t one = test_make_child(way);
    if (one > 0) {
        CHECK_EQ(test_status_of(one), 0);
        return NULL;
    }
    for (int i = 0; i < 1000; i++) CHECK(memarena_alloc_aligned(arena, 8, 8) != NULL);
    CHECK(test_watched(arena) || test_stats(arena).lanes > 0);
    _exit(0);
}

static void a_handler_that_leases_in_a_reset_leaves_the_child_its_lanes(void)
{
    const unsigned flags[] = {0, test_traps()};
    the_handlers = memarena_create(MIB);
    CHECK(the_handlers != NULL);
    for (int i = 0; i < 2; i++) {
        arena = memarena_create_with(&(memarena_options){.capacity = MIB, .flags = flags[i]});
        CHECK(arena != NULL);
        for (unsigned steps = 1, more = 0; more == 0; steps++) {
            more = steps;
            test_join(test_start(reset_and_fork, &more));
        }
        memarena_destroy(arena);
    }
    memarena_destroy(the_handlers);
}

/* ---- Many threads --------------------------------------------------------------------------------------------------- */

static pthread_barrier_t all_are_here, all_may_go;

static void *have_a_lane(void *unused)
{
    CHECK(memarena_alloc_aligned(arena, 8, 8) != NULL);
    test_meet(&all_are_here);
    test_meet(&all_may_go);
    return unused;
}

static void *create_an_arena(void *unused)
{
    memarena *another = memarena_create(MIB);
    CHECK(another && memarena_alloc_aligned(another, 8, 8));
    memarena_destroy(another);
    return unused;
}

static bool others_come_first;

/* All lanes are free but the one of the thread that forked. Its own TLAB stays its own. */
static void live_with_many_threads(void)
{
    unsigned lane = test_lane();
    if (others_come_first) test_join(test_start(create_an_arena, NULL));
    char *before = memarena_alloc_aligned(arena, 8, 8);
    unsigned mine = test_lane();
    CHECK(lane == LANE_NONE || mine == lane);
    if (!test_watched(arena)) CHECK_EQ(test_free_lanes(), MA_LANES - 1);
    CHECK_EQ(test_lane(), mine);
    pthread_t threads[THREADS];
    CHECK(!pthread_barrier_init(&all_are_here, NULL, THREADS + 1));
    CHECK(!pthread_barrier_init(&all_may_go, NULL, THREADS + 1));
    for (unsigned i = 0; i < THREADS; i++) threads[i] = test_start(have_a_lane, NULL);
    test_meet(&all_are_here);
    for (int i = 0; i < 1000; i++) {
        char *block = memarena_alloc_aligned(arena, 8, 8);
        CHECK(block && block != before);
    }
    test_meet(&all_may_go);
    for (unsigned i = 0; i < THREADS; i++) test_join(threads[i]);
    check_reset();
    test_check_whole(arena, 4096);
}

static void *fork_and_live(void *unused)
{
    CHECK(memarena_alloc_aligned(arena, 8, 8) != NULL);
    for (test_way each = 0; each < WAYS; each++) {
        pid_t one = test_make_child(each);
        if (one == 0) {
            live_with_many_threads();
            _exit(0);
        }
        CHECK_EQ(test_status_of(one), 0);
    }
    return unused;
}

static void a_child_has_as_many_threads_as_it_likes(void)
{
    if (TEST_TSAN) return; /* which does not follow a child of several threads that starts some */
    CHECK((arena = memarena_create(4 * MIB)) != NULL);
    others_come_first = false;
    test_join(test_start(fork_and_live, NULL));
    others_come_first = true;
    test_join(test_start(fork_and_live, NULL));
    memarena_destroy(arena);
}

/* With a lane, and as the last of more threads than there are lanes. */
static void the_parent_has_many_threads(void)
{
    if (TEST_TSAN) return;
    others_come_first = false;
    for (int has_lane = 1; has_lane >= 0; has_lane--) {
        pthread_t threads[THREADS], forks;
        CHECK((arena = memarena_create(4 * MIB)) != NULL);
        CHECK(!pthread_barrier_init(&all_are_here, NULL, THREADS + 1));
        CHECK(!pthread_barrier_init(&all_may_go, NULL, THREADS + 1));
        if (has_lane) CHECK(memarena_alloc_aligned(arena, 8, 8) != NULL);
        for (unsigned i = 0; i < THREADS; i++) threads[i] = test_start(have_a_lane, NULL);
        test_meet(&all_are_here);
        if (has_lane)
            (void)fork_and_live(NULL);
        else
            forks = test_start(fork_and_live, NULL), test_join(forks);
        test_meet(&all_may_go);
        for (unsigned i = 0; i < THREADS; i++) test_join(threads[i]);
        memarena_destroy(arena);
    }
}

int main(void)
{
    RUN(a_handler_that_leases_in_a_reset_leaves_the_child_its_lanes);
    RUN(a_child_has_as_many_threads_as_it_likes);
    RUN(on_oom_may_fork);
    RUN(a_deferred_call_may_fork);
    RUN(calls_of_a_reset_that_is_lost_run_in_the_child);
    RUN(the_parent_has_many_threads);
    return test_done();
}
