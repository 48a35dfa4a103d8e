/* Actors, one at a time: each makes its calls on a stack of its own and stops before the shared access that the
 * director names. So every interleaving with a few preemptions can be played, thousands in a second, and a failure
 * repeats.
 *
 * For the memarena_yield_* builds, whose hook this is; the inline bump has no hook and is one step. The actors are
 * fibers of one thread. To the library they are threads: all that it knows of a thread is its lane's offset and whether
 * it may lease, which change hands with the stage. */
#ifndef STEPS_H
#define STEPS_H

#include "threads.h"

#include <memarena.h>

#include "arena/arena.h"

#include <limits.h>
#include <stdbool.h>
#include <ucontext.h>

#define STEPS_ALL UINT_MAX
/* An actor that needs more for one act waits for another, which is stopped: no call may do that. */
#define STEPS_ENDLESS 100000u
#define STEPS_STACK ((size_t)64 << 10)

typedef struct actor {
    ucontext_t context;
    char *stack;
    uintptr_t lane_offset;
    ma_lane_thread lane_thread;
    void (*act)(void);
    unsigned left;  /* accesses until it stops */
    unsigned taken; /* accesses in this act */
    bool finished;
} actor;

static ucontext_t director;
static actor *on_stage; /* NULL: the director himself */

void test_yield(void);

static void actor_stops(actor *self)
{
    self->lane_offset = memarena_lane_offset_;
    self->lane_thread = ma_lane_thread_;
    CHECK_EQ(swapcontext(&self->context, &director), 0);
}

void test_yield(void)
{
    actor *self = on_stage;
    if (!self) return;
    while (self->left == 0) actor_stops(self);
    if (self->left != STEPS_ALL) self->left--;
    if (self->taken++ == STEPS_ENDLESS) CHECK(self->taken <= STEPS_ENDLESS); /* (not each time: it counts) */
}

static void actor_lives(void)
{
    actor *self = on_stage;
    for (;;) {
        self->act();
        self->finished = true;
        actor_stops(self);
    }
}

static void actors_enter(actor *actors, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        actor *self = &actors[i];
        CHECK_EQ(getcontext(&self->context), 0);
        self->stack = malloc(STEPS_STACK);
        CHECK(self->stack != NULL);
        self->context.uc_stack.ss_sp = self->stack;
        self->context.uc_stack.ss_size = STEPS_STACK;
        self->finished = true;
        makecontext(&self->context, actor_lives, 0);
    }
}

static void actors_leave(actor *actors, unsigned count)
{
    for (unsigned i = 0; i < count; i++) free(actors[i].stack);
}

/* Goes on for `steps` accesses; true: the act is finished. */
static bool actor_go(actor *self, unsigned steps)
{
    if (self->finished) return true;
    uintptr_t directors_own = memarena_lane_offset_;
    ma_lane_thread directors_thread = ma_lane_thread_;
    self->left = steps;
    on_stage = self;
    memarena_lane_offset_ = self->lane_offset;
    ma_lane_thread_ = self->lane_thread;
    CHECK_EQ(swapcontext(&director, &self->context), 0);
    on_stage = NULL;
    memarena_lane_offset_ = directors_own;
    ma_lane_thread_ = directors_thread;
    return self->finished;
}

static bool actor_begin(actor *self, void (*act)(void), unsigned steps)
{
    self->act = act;
    self->finished = false;
    self->taken = 0;
    return actor_go(self, steps);
}

static void actor_do(actor *self, void (*act)(void))
{
    CHECK(actor_begin(self, act, STEPS_ALL));
}

/* One schedule in so many, others for another MEMARENA_TEST_SEED; more or fewer as MEMARENA_TEST_SCALE says, and all of
 * them from 8 on. */
static bool is_played(unsigned one_in)
{
    static unsigned long long random, scale;
    if (random == 0) random = test_seed(0), scale = (unsigned long long)test_scaled(64);
    return scale >= 8 * 64 || test_random(&random) % (one_in * 64u) < scale;
}

#endif
