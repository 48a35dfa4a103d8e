/* What tests of threads' lanes need to know of them. */
#ifndef LANES_H
#define LANES_H

#include "threads.h"

#include "internals.h"

#define LANE_NONE MA_LANES

/* Of this thread. */
static inline unsigned test_lane(void)
{
    uintptr_t offset = memarena_lane_offset_;
    if (offset == 0) return LANE_NONE;
    CHECK((offset - MA_LANES_OFFSET) % MA_LANE_BYTES == 0);
    CHECK((offset - MA_LANES_OFFSET) / MA_LANE_BYTES < MA_LANES);
    return (unsigned)((offset - MA_LANES_OFFSET) / MA_LANE_BYTES);
}

typedef struct test_lessee {
    memarena *arena;
    pthread_barrier_t *all_have;
    pthread_t thread;
    unsigned lane;
} test_lessee;

static void *test_lease(void *argument)
{
    test_lessee *self = argument;
    CHECK(memarena_alloc_aligned(self->arena, 8, 8) != NULL);
    self->lane = test_lane();
    test_meet(self->all_have);
    return NULL;
}

/* How many of 65 threads at once get a lane, each one of its own. 64 when all lanes are free, less one for each thread
 * elsewhere, this one included, that has one. */
static inline unsigned test_free_lanes(void)
{
    memarena *arena = memarena_create((size_t)4 << 20);
    test_lessee lessees[MA_LANES + 1];
    pthread_barrier_t all_have;
    bool seen[MA_LANES] = {false};
    unsigned leased = 0;
    CHECK(arena != NULL);
    CHECK_EQ(pthread_barrier_init(&all_have, NULL, MA_LANES + 1), 0);
    for (unsigned i = 0; i <= MA_LANES; i++) {
        lessees[i] = (test_lessee){.arena = arena, .all_have = &all_have};
        lessees[i].thread = test_start(test_lease, &lessees[i]);
    }
    for (unsigned i = 0; i <= MA_LANES; i++) {
        test_join(lessees[i].thread);
        if (lessees[i].lane == LANE_NONE) continue;
        CHECK(!seen[lessees[i].lane]);
        seen[lessees[i].lane] = true;
        leased++;
    }
    CHECK_EQ(pthread_barrier_destroy(&all_have), 0);
    memarena_destroy(arena);
    return leased;
}

#endif
