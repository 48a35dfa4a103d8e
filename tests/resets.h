/* Which generation a block surely belongs to while others reset: one whose call no reset overlapped. So resets are counted, when they
 * begin and when they have ended. */
#ifndef RESETS_H
#define RESETS_H

#include "test.h"

#include <memarena.h>

typedef struct test_resets {
    uint64_t begun, ended;
} test_resets;

/* A moment before which all resets have ended; its number is that of the generation, or 0 when there is none now. */
static inline uint64_t test_quiet(const test_resets *resets)
{
    uint64_t begun = __atomic_load_n(&resets->begun, __ATOMIC_SEQ_CST);
    return __atomic_load_n(&resets->ended, __ATOMIC_SEQ_CST) == begun ? 1 + begun : 0;
}

/* Whether no reset has begun since that moment. */
static inline bool test_still_quiet(const test_resets *resets, uint64_t generation)
{
    return generation && __atomic_load_n(&resets->begun, __ATOMIC_SEQ_CST) + 1 == generation;
}

static inline void test_reset(test_resets *resets, memarena *arena)
{
    (void)__atomic_fetch_add(&resets->begun, 1, __ATOMIC_SEQ_CST);
    CHECK(memarena_reset(arena));
    (void)__atomic_fetch_add(&resets->ended, 1, __ATOMIC_SEQ_CST);
}

#endif
