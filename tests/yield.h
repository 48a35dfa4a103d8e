/* The hook of the memarena_yield_* builds: at each shared access of the library, give way now and then.
 *
 * test_yield_chance is in 1/256: 0 never, 256 always. Some of the times a yield, some a short spin, which moves the
 * other core's timing rather than this one's. */
#ifndef YIELD_H
#define YIELD_H

#include "give_way.h"
#include "test.h"

void test_yield(void);

static int test_yield_chance = 32;

void test_yield(void)
{
    static __thread unsigned long long state;
    if (state == 0) state = (unsigned long long)(size_t)&state | 1;
    unsigned long long random = test_random(&state);
    if ((int)(random & 255) >= __atomic_load_n(&test_yield_chance, __ATOMIC_RELAXED)) return;
    if (!(random & 256) || !test_give_way())
        for (volatile unsigned spin = (unsigned)(random >> 16 & 127); spin > 0; spin--) continue;
}

#endif
