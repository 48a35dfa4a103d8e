/* The library's patience with a run that another thread is claiming, or with a source that a trim has borrowed, ends after some
 * yields and naps (MA_YIELDS in alloc.c): that thread may have been stopped. On a busy machine it has only lost its processor.
 *
 * A nap is meant to let it get on. In a test that is linked with --wrap=ma_os_nap a nap lasts until some run has ended, so that
 * what counts is how often others have got on meanwhile, not how long that took. The includer says whose runs: race.arena. */
#ifndef PATIENCE_H
#define PATIENCE_H

#include "test.h"

#include "internals.h"

#include <sched.h>

void __wrap_ma_os_nap(uint32_t nanoseconds);

void __wrap_ma_os_nap(uint32_t nanoseconds)
{
    (void)nanoseconds;
    if (!race.arena) return; /* nobody else is there */
    uint64_t *runs = &ma_arena_of(race.arena)->pool.runs, before = ma_load_acquire(runs);
    do {
        (void)sched_yield();
    } while (before & MA_RUNS_MASK && ma_load_acquire(runs) == before);
}

#endif
