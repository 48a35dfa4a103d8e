/* To let another thread of the test come in between, now and then.
 *
 * On a busy machine sched_yield lets strangers come in, each for milliseconds, and a test that yields at each access would take
 * hours. What a yield means is a chance for the others; so one that took long, when others had theirs, stands for the next ones. */
#ifndef GIVE_WAY_H
#define GIVE_WAY_H

#include <sched.h>
#include <stdbool.h>
#include <time.h>

static inline bool test_give_way(void)
{
    static __thread long long left; /* yields that need not be made */
    struct timespec before, after;
    if (left > 0) return left--, false;
    (void)clock_gettime(CLOCK_MONOTONIC, &before);
    (void)sched_yield();
    (void)clock_gettime(CLOCK_MONOTONIC, &after);
    long long took = (long long)(after.tv_sec - before.tv_sec) * 1000000000 + after.tv_nsec - before.tv_nsec;
    if (took > 100000) left = took / 8000;
    return true;
}

#endif
