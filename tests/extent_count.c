/* A thread is stopped in the middle of taking a free extent, at each of its accesses, while others take and give that extent and
 * its successor two million times: its swap must not succeed on a list that only looks as it was. */
#include "threads.h"

#include <semaphore.h>
#include <string.h>

#define SIZE 6000        /* with its head six units: more than a lane keeps to itself */
#define ROUNDS (1 << 20) /* each takes the extent and gives it back: what 20 bits count came round in half of them */

static sem_t stopped, go_on;
static _Thread_local unsigned long left;
static memarena *arena;
static unsigned long steps;

void test_yield(void);
void test_yield(void)
{
    if (left == 0 || --left != 0) return;
    CHECK(sem_post(&stopped) == 0 && sem_wait(&go_on) == 0);
}

static memarena *open_one(char **block)
{
    memarena *scope = memarena_scope(arena);
    CHECK(scope != NULL);
    *block = memarena_alloc(scope, SIZE);
    CHECK(*block != NULL);
    return scope;
}

/* Takes one with a stop. Its result: whether it has stopped. */
static void *take_one(void *block)
{
    static char is_true;
    memarena_destroy(memarena_scope(arena)); /* a lane, and a scope that is ready */
    memarena *scope = memarena_scope(arena);
    CHECK(scope != NULL);
    left = steps;
    *(char **)block = memarena_alloc(scope, SIZE);
    bool has_stopped = left == 0;
    left = 0;
    if (!has_stopped) CHECK(sem_post(&stopped) == 0);
    return has_stopped ? &is_true : NULL;
}

/* Whether the call has so many accesses. */
static bool stop_after(unsigned long accesses)
{
    char *first, *second, *third, *fourth, *now, *of_thread = NULL, *last;
    steps = accesses;
    CHECK((arena = memarena_create((size_t)64 << 20)) != NULL);
    CHECK(sem_init(&stopped, 0, 0) == 0 && sem_init(&go_on, 0, 0) == 0);
    memarena *c = open_one(&third), *b = open_one(&second), *a = open_one(&first), *d = open_one(&fourth);
    memarena_destroy(c), memarena_destroy(b), memarena_destroy(a); /* the stack: a, b, c */
    pthread_t thread = test_start(take_one, &of_thread);
    CHECK(sem_wait(&stopped) == 0);
    a = open_one(&first), b = open_one(&second);                            /* and b stays ours */
    memarena_destroy(d), memarena_destroy(a);                               /* the stack: a, d, c */
    for (long i = 0; i < ROUNDS - 2; i++) memarena_destroy(open_one(&now)); /* a comes and goes: 2^20 were taken */
    CHECK(sem_post(&go_on) == 0);
    void *has_stopped;
    CHECK(pthread_join(thread, &has_stopped) == 0);
    memarena *e = open_one(&last);
    CHECK(last != second && last != of_thread && of_thread != second);
    memarena_destroy(e), memarena_destroy(b);
    memarena_destroy(arena);
    return has_stopped != NULL;
}

static void no_extent_has_two_owners_however_long_a_thread_sleeps(void)
{
    unsigned long accesses = 1;
    while (stop_after(accesses)) accesses++;
    CHECK(accesses > 5);
    printf("    %lu accesses\n", accesses - 1);
}

int main(void)
{
    memarena *probe = memarena_create(1 << 20);
    CHECK(probe != NULL);
    if (test_watched(probe)) SKIP("a watched arena takes no free extents back so often");
    memarena_destroy(probe);
    RUN(no_extent_has_two_owners_however_long_a_thread_sleeps);
    return test_done();
}
