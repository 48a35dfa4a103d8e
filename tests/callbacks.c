/* The user's functions run while nothing is announced or held: `on_oom`, the callback of memarena_sample and a deferred call may
 * wait for other threads that make any call on the same arena, and may end their thread.
 *
 * In each of them, in each call that leads there, another thread makes every call, and is waited for. A call that could not end
 * would be a dead lock, which uses CPU time until SIGXCPU ends the program. */
#include "threads.h"

#include <string.h>

#define CAPACITY ((size_t)1 << 20)

#ifndef TEST_FLAGS
#define TEST_FLAGS 0
#endif

static memarena *arena, *scope;
static bool reset_is_free; /* nothing in the calls under way is known to refuse it */
static bool is_in_use;     /* a block that the call under way has taken and will write to: a reset would drop it */
static unsigned called;
static _Thread_local bool is_another; /* that thread runs into callbacks, too, and does nothing there */

static void nothing(void *unused)
{
    (void)unused;
}

static void count_sample(void *context, memarena *where, void *block, size_t size, size_t weight)
{
    (void)context, (void)where, (void)block, (void)size, (void)weight;
}

/* Every call on the arena, by a thread of its own. */
static void *make_every_call(void *unused)
{
    memarena_stats stats;
    is_another = true;
    memarena *own = memarena_scope(arena);
    (void)memarena_alloc(arena, 100);
    (void)memarena_alloc(arena, CAPACITY / 4);
    if (own) (void)memarena_strdup(own, "a text");
    memarena_destroy(own);
    (void)memarena_defer(arena, nothing, NULL);
    memarena_get_stats(arena, &stats, sizeof stats);
    (void)memarena_trim(arena, 0);
    CHECK(memarena_sample(arena, 0, count_sample, NULL));
    if (is_in_use) return unused;
    errno = 0;
    bool done = memarena_reset(arena);
    CHECK(done || errno == EBUSY);
    if (reset_is_free) CHECK(done);
    return unused;
}

static void let_another_thread_make_every_call(void)
{
    if (is_another) return;
    called++;
    test_join(test_start(make_every_call, NULL));
}

/* ---- The callbacks ------------------------------------------------------------------------------------------------- */

static bool on_oom(void *context, memarena *where, size_t size)
{
    (void)context, (void)where, (void)size;
    let_another_thread_make_every_call();
    return false;
}

static void on_sample(void *context, memarena *where, void *block, size_t size, size_t weight)
{
    count_sample(context, where, block, size, weight);
    let_another_thread_make_every_call();
}

static void deferred(void *unused)
{
    (void)unused;
    let_another_thread_make_every_call();
}

static bool on_oom_ends_the_thread(void *context, memarena *where, size_t size)
{
    (void)context, (void)where, (void)size;
    called++;
    pthread_exit(NULL);
}

static void sample_ends_the_thread(void *context, memarena *where, void *block, size_t size, size_t weight)
{
    count_sample(context, where, block, size, weight);
    called++;
    pthread_exit(NULL);
}

static void deferred_ends_the_thread(void *unused)
{
    (void)unused;
    called++;
    pthread_exit(NULL);
}

/* ---- The calls that lead to them ------------------------------------------------------------------------------------- */

static memarena *where(bool in_scope)
{
    return in_scope ? scope : arena;
}

static void call_alloc(bool in_scope)
{
    (void)memarena_alloc_aligned(where(in_scope), 64, 8);
}

static void call_large(bool in_scope)
{
    (void)memarena_alloc(where(in_scope), CAPACITY / 2);
}

static void call_calloc(bool in_scope)
{
    (void)memarena_calloc(where(in_scope), 3, 30);
}

static void call_realloc(bool in_scope)
{
    static char text[8];
    (void)memarena_realloc(where(in_scope), text, sizeof text, 100);
}

static void call_printf(bool in_scope)
{
    (void)memarena_printf(where(in_scope), "%d", 4711);
}

static void call_strndup(bool in_scope)
{
    (void)memarena_strndup(where(in_scope), "a text", 4);
}

static void call_defer(bool in_scope)
{
    (void)memarena_defer(where(in_scope), nothing, NULL);
}

static void call_scope(bool in_scope)
{
    memarena_destroy(memarena_scope(where(in_scope)));
}

static void call_reset(bool in_scope)
{
    (void)memarena_reset(where(in_scope));
}

typedef void call(bool in_scope);
static call *const calls[] = {call_alloc,  call_large,   call_calloc, call_realloc,
                              call_printf, call_strndup, call_defer,  call_scope};
#define CALLS (sizeof calls / sizeof *calls)

static void create(bool in_scope, bool (*handler)(void *, memarena *, size_t))
{
    memarena_options options = {.capacity = CAPACITY, .flags = TEST_FLAGS, .on_oom = handler};
    CHECK((arena = memarena_create_with(&options)) != NULL);
    scope = in_scope ? memarena_scope(arena) : NULL;
    CHECK(!in_scope || scope != NULL);
    called = 0;
}

/* So that nothing fits, not even in what a scope has left. */
static void fill(bool in_scope)
{
    for (size_t size = CAPACITY; size >= 8; size /= 2)
        while (memarena_alloc_aligned(where(in_scope), size, 8)) continue;
    called = 0;
}

static void destroy(void)
{
    memarena_destroy(scope);
    CHECK(memarena_reset(arena)); /* whatever was left, nothing is held */
    CHECK(memarena_alloc_aligned(arena, CAPACITY, 8) != NULL);
    memarena_destroy(arena);
}

/* ---- They may wait ----------------------------------------------------------------------------------------------------- */

static bool is_filling;

static void create_full(bool in_scope, bool (*handler)(void *, memarena *, size_t))
{
    is_filling = true;
    create(in_scope, handler);
    fill(in_scope);
    is_filling = false;
}

static bool on_oom_once_full(void *context, memarena *at, size_t size)
{
    return !is_filling && on_oom(context, at, size);
}

static void in_on_oom_others_may_make_every_call(void)
{
    for (unsigned i = 0; i < 2 * CALLS; i++) {
        bool in_scope = i % 2;
        create_full(in_scope, on_oom_once_full);
        reset_is_free = !in_scope;
        calls[i / 2](in_scope);
        CHECK(called >= 1);
        destroy();
    }
}

static void in_a_sample_others_may_make_every_call(void)
{
    for (unsigned i = 0; i < 2 * CALLS; i++) {
        bool in_scope = i % 2;
        if (calls[i / 2] == call_scope) continue; /* is not sampled */
        create(in_scope, NULL);
        CHECK(memarena_sample(arena, 1, on_sample, NULL));
        if (in_scope) CHECK(memarena_reset(scope)); /* it follows */
        reset_is_free = !in_scope;
        is_in_use = calls[i / 2] == call_calloc || calls[i / 2] == call_realloc || calls[i / 2] == call_printf ||
                    calls[i / 2] == call_strndup;
        calls[i / 2](in_scope);
        is_in_use = false;
        CHECK(called >= 1);
        destroy();
    }
}

/* Where a reset runs calls another reset is refused. */
static void in_a_deferred_call_others_may_make_every_call(void)
{
    for (int in_scope = 0; in_scope < 2; in_scope++) {
        create(in_scope, NULL);
        CHECK(memarena_defer(where(in_scope), deferred, NULL));
        reset_is_free = false;
        call_reset(in_scope);
        CHECK_EQ(called, 1);
        if (in_scope) {
            memarena_position mark = memarena_mark(scope);
            CHECK(memarena_defer(scope, deferred, NULL));
            CHECK(memarena_rewind(scope, mark));
            CHECK_EQ(called, 2);
            CHECK(memarena_defer(scope, deferred, NULL));
        }
        destroy();
        CHECK_EQ(called, in_scope ? 3 : 1);
    }
}

/* ---- They may end their thread --------------------------------------------------------------------------------------- */

typedef struct job {
    call *make;
    bool in_scope;
} job;

static void *make_one(void *of_job)
{
    job *now = of_job;
    now->make(now->in_scope);
    return now; /* it came back */
}

/* Runs the call in a thread that a callback ends. */
static void make_and_end(call *make, bool in_scope)
{
    job now = {.make = make, .in_scope = in_scope};
    void *result = &now;
    pthread_t thread = test_start(make_one, &now);
    CHECK(pthread_join(thread, &result) == 0 && result == NULL);
    CHECK(called >= 1);
}

static bool on_oom_once_full_ends(void *context, memarena *at, size_t size)
{
    return !is_filling && on_oom_ends_the_thread(context, at, size);
}

static void a_thread_that_ends_in_on_oom_leaves_the_arena_usable(void)
{
    for (unsigned i = 0; i < 2 * CALLS; i++) {
        bool in_scope = i % 2;
        create_full(in_scope, on_oom_once_full_ends);
        make_and_end(calls[i / 2], in_scope);
        is_filling = true;
        CHECK(!memarena_alloc_aligned(arena, CAPACITY, 8));
        destroy();
    }
}

static void a_thread_that_ends_in_a_sample_leaves_the_arena_usable(void)
{
    for (unsigned i = 0; i < 2 * CALLS; i++) {
        bool in_scope = i % 2;
        if (calls[i / 2] == call_scope) continue;
        create(in_scope, NULL);
        CHECK(memarena_sample(arena, 1, sample_ends_the_thread, NULL));
        if (in_scope) CHECK(memarena_reset(scope));
        make_and_end(calls[i / 2], in_scope);
        CHECK(memarena_sample(arena, 0, NULL, NULL));
        destroy();
    }
}

/* That call has run; the next reset goes on with the others. */
static void a_thread_that_ends_in_a_deferred_call_leaves_the_others_deferred(void)
{
    static unsigned ran;
    for (int in_scope = 0; in_scope < 2; in_scope++) {
        create(in_scope, NULL);
        (void)memarena_alloc(arena, 8);
        for (int i = 0; i < 3; i++) CHECK(memarena_defer(where(in_scope), deferred_ends_the_thread, &ran));
        make_and_end(call_reset, in_scope);
        CHECK_EQ(called, 1);
        uint64_t generation = memarena_generation(where(in_scope));
        make_and_end(call_reset, in_scope);
        make_and_end(call_reset, in_scope);
        CHECK_EQ(called, 3);
        CHECK_EQ(memarena_generation(where(in_scope)), generation);
        CHECK(memarena_reset(where(in_scope)));
        CHECK_EQ(memarena_generation(where(in_scope)), generation + 1);
        CHECK_EQ(called, 3);
        destroy();
    }
}

/* The same by pthread_cancel, which is heard in a cancellation point of the user's function. */
static void cancelled(void *unused)
{
    (void)unused;
    called++;
    CHECK(pthread_cancel(pthread_self()) == 0);
    pthread_testcancel();
}

static void a_thread_that_is_cancelled_in_a_deferred_call_leaves_the_arena_usable(void)
{
    create(false, NULL);
    CHECK(memarena_defer(arena, nothing, NULL) && memarena_defer(arena, cancelled, NULL));
    job now = {.make = call_reset};
    void *result = NULL;
    CHECK(pthread_join(test_start(make_one, &now), &result) == 0 && result == PTHREAD_CANCELED);
    destroy();
}

int main(void)
{
    RUN(in_on_oom_others_may_make_every_call);
    RUN(in_a_sample_others_may_make_every_call);
    RUN(in_a_deferred_call_others_may_make_every_call);
    RUN(a_thread_that_ends_in_on_oom_leaves_the_arena_usable);
    RUN(a_thread_that_ends_in_a_sample_leaves_the_arena_usable);
    RUN(a_thread_that_ends_in_a_deferred_call_leaves_the_others_deferred);
    RUN(a_thread_that_is_cancelled_in_a_deferred_call_leaves_the_arena_usable);
    return test_done();
}
