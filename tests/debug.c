/* The debug build: each misuse, in a process of its own, ends it with a line that says what it was. */
#include "test.h"
#include "threads.h"

#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static memarena *arena, *scope;

static void set_up(void)
{
    memarena_options options = {.capacity = (size_t)1 << 20, .name = "requests"};
    CHECK((arena = memarena_create_with(&options)) != NULL);
    CHECK((scope = memarena_scope(arena)) != NULL);
}

/* Runs the misuse in a child, and returns what it printed before it aborted. */
static const char *what_is_said_of(void (*misuse)(void))
{
    static char said[4096];
    int out[2], status;
    CHECK(!pipe(out));
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        (void)dup2(out[1], STDERR_FILENO);
        test_limit_cpu(60);
        set_up();
        misuse();
        _exit(0);
    }
    (void)close(out[1]);
    size_t length = 0;
    for (ssize_t got; (got = read(out[0], said + length, sizeof said - 1 - length)) > 0;) length += (size_t)got;
    said[length] = 0;
    (void)close(out[0]);
    CHECK(waitpid(child, &status, 0) == child);
    bool has_aborted = WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
    if (!has_aborted) printf("status %#x, said: %s\n", (unsigned)status, said);
    (void)fflush(stdout);
    CHECK(has_aborted);
    return said;
}

static void check_said(void (*misuse)(void), const char *expected)
{
    const char *said = what_is_said_of(misuse);
    bool is_expected = strncmp(said, "memarena: ", 10) == 0 && strstr(said, expected);
    if (!is_expected) printf("said: %s\nnot:  %s\n", said, expected);
    (void)fflush(stdout);
    CHECK(is_expected);
    CHECK(strstr(said, expected) < strchr(said, '\n')); /* in one line; two threads may say it both */
}

static void destroy_the_arena_first(void)
{
    memarena_destroy(arena);
}

static void end_the_parent_first(void)
{
    CHECK(memarena_scope(scope) != NULL);
    memarena_destroy(scope);
}

static void end_it(void *unused)
{
    (void)unused;
    memarena_destroy(scope);
}

static void end_it_in_a_deferred_call(void)
{
    CHECK(memarena_defer(scope, end_it, NULL));
    CHECK(memarena_reset(scope));
}

static void end_it_twice(void)
{
    memarena_destroy(scope);
    memarena_destroy(scope);
}

static void allocate_after_the_end(void)
{
    memarena_destroy(scope);
    (void)memarena_alloc(scope, 8);
}

static void open_in_an_ended_one(void)
{
    memarena_destroy(scope);
    (void)memarena_scope(scope);
}

static void pass_something_else(void)
{
    static uint64_t block[64];
    (void)memarena_alloc((memarena *)(void *)block, 8);
}

/* ---- A child of vfork: it shares its parent's memory, which waits for it ------------------------------------------------ */

static void allocate_again(void)
{
    (void)memarena_alloc(arena, 8);
}

static void open_another(void)
{
    (void)memarena_scope(arena);
}

static void allocate_in_the_scope_again(void)
{
    (void)memarena_alloc(scope, 8);
}

static void zero_much(void)
{
    (void)memarena_calloc(arena, 1, 100000);
}

static void (*volatile in_vfork)(void);

static void vfork_and_use(void)
{
    int status = 0;
    CHECK(memarena_alloc(arena, 8) != NULL);
    pid_t child = vfork();
    if (child == 0) {
        in_vfork();
        _exit(0);
    }
    CHECK(waitpid(child, &status, 0) == child);
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT) abort();
}

static void vfork_and_use_per_cpu(void)
{
    arena = memarena_create_with(
        &(memarena_options){.capacity = (size_t)1 << 20, .name = "requests", .flags = MEMARENA_PER_CPU});
    vfork_and_use();
}

static void a_child_of_vfork_has_no_arena(void)
{
    const char *said = "(requests) is used in a child of vfork, whose memory is its parent's";
    void (*const uses[])(void) = {allocate_again, open_another, allocate_in_the_scope_again, zero_much};
    if (TEST_TSAN) return; /* which makes a fork of it */
    for (size_t i = 0; i < sizeof uses / sizeof *uses; i++) {
        in_vfork = uses[i];
        check_said(vfork_and_use, said);
    }
    in_vfork = allocate_again;
    check_said(vfork_and_use_per_cpu, said);
}

static bool two_mark;

static void *allocate_and_go_back(void *once) /* NULL: for ever */
{
    do {
        memarena_position mark = memarena_mark(scope);
        if (!two_mark) (void)memarena_alloc(scope, 8);
        (void)memarena_rewind(scope, mark);
    } while (!once);
    return NULL;
}

static void *only_allocate(void *once)
{
    do {
        if (!memarena_alloc(scope, 8)) (void)memarena_reset(scope);
    } while (!once);
    return NULL;
}

/* Ends when both are inside at the same moment, which the debug build sees sooner or later; the limit of CPU time
 * would end them else. */
static void allocate_in_two_threads(void)
{
    (void)test_start(only_allocate, NULL);
    (void)only_allocate(NULL);
}

static void allocate_and_rewind_in_two_threads(void)
{
    (void)test_start(allocate_and_go_back, NULL);
    (void)only_allocate(NULL);
}

static void mark_in_two_threads(void)
{
    two_mark = true;
    (void)test_start(allocate_and_go_back, NULL);
    (void)allocate_and_go_back(NULL);
}

static void open_scopes_hold_their_parents(void)
{
    check_said(destroy_the_arena_first, "(requests) is destroyed while 1 of its scopes are open; end them first");
    check_said(end_the_parent_first, "is ended while 1 scopes in it are open; end them first");
    check_said(end_it_in_a_deferred_call, "is ended by one of its own deferred calls");
}

static void an_ended_scope_is_no_scope(void)
{
    set_up();
    memarena_stats stats;
    memarena_get_stats(arena, &stats, sizeof stats);
    memarena_destroy(scope);
    memarena_destroy(arena);
    if (stats.watched) return; /* the sanitizer reports a use of dead memory before we look */
    check_said(end_it_twice, "is not an arena or an open scope: it was ended before");
    check_said(allocate_after_the_end, "is not an arena or an open scope: it was ended before");
    check_said(open_in_an_ended_one, "is not an arena or an open scope: it was ended before");
    check_said(pass_something_else, "is not an arena or an open scope");
}

static void two_threads_in_one_scope_are_seen(void)
{
    if (TEST_TSAN) return; /* which reports the race itself */
    check_said(allocate_in_two_threads, "is used by two threads at once");
    check_said(allocate_and_rewind_in_two_threads, "is used by two threads at once");
    check_said(mark_in_two_threads, "is used by two threads at once");
}

/* What is allowed stays allowed: a deferred call uses its scope, a scope moves between threads. */
static void *use_the_scope(void *unused)
{
    (void)unused;
    CHECK(memarena_alloc(scope, 100) != NULL);
    CHECK(memarena_rewind(scope, memarena_mark(scope)));
    return NULL;
}

static void allocate_in_the_scope(void *unused)
{
    (void)unused;
    CHECK(memarena_alloc(scope, 100) != NULL);
}

static void right_use_is_not_complained_about(void)
{
    set_up();
    for (int i = 0; i < 100; i++) {
        pthread_t thread = test_start(use_the_scope, NULL);
        CHECK(!pthread_join(thread, NULL));
        (void)use_the_scope(NULL);
    }
    CHECK(memarena_defer(scope, allocate_in_the_scope, NULL));
    CHECK(memarena_reset(scope));
    memarena_destroy(scope);
    memarena_destroy(arena);
}

int main(void)
{
    RUN(open_scopes_hold_their_parents);
    RUN(an_ended_scope_is_no_scope);
    RUN(two_threads_in_one_scope_are_seen);
    RUN(a_child_of_vfork_has_no_arena);
    RUN(right_use_is_not_complained_about);
    return test_done();
}
