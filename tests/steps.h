/* Actors, one at a time: each makes its calls on a stack of its own and stops before the shared access that the
 * director names. So every interleaving with a few preemptions can be played, thousands in a second, and a failure
 * repeats.
 *
 * For the memarena_yield_* builds, whose hook this is; the inline bump has no hook and is one step (but in the
 * memarena_weak_* builds, where weak.c calls the hook before each atomic access). The actors are
 * fibers of one thread. To the library they are threads: all that it knows of a thread is its lane's offset and whether
 * it may lease, which change hands with the stage. */
#ifndef STEPS_H
#define STEPS_H

#include "threads.h"

#include <memarena.h>

#include "arena/arena.h"

#ifdef STEPS_WEAK
#include "weak.h"
#define STEPS_KNOW(call) (call)
#define STEPS_SEEN_AT_ONCE false
#define STEPS_RARER 32u /* there are more accesses to stop at */
#else
#define STEPS_KNOW(call) ((void)0)
#define STEPS_SEEN_AT_ONCE true /* what one actor has done the others know */
#define STEPS_RARER (TEST_SAMPLE ? 8u : 1u)
#endif

#include <limits.h>
#include <stdbool.h>
#include <ucontext.h>

#define STEPS_ALL UINT_MAX
/* An actor that needs more for one act waits for another, which is stopped: no call may do that. */
#define STEPS_ENDLESS 100000u
#define STEPS_STACK ((size_t)64 << 10)

typedef struct actor {
    unsigned number; /* from 1 */
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

/* (Not inlined: getcontext returns twice, or so compilers believe.) */
__attribute__((noinline)) static void actor_enters(actor *self)
{
    CHECK_EQ(getcontext(&self->context), 0);
    self->stack = malloc(STEPS_STACK);
    CHECK(self->stack != NULL);
    self->context.uc_stack.ss_sp = self->stack;
    self->context.uc_stack.ss_size = STEPS_STACK;
    self->finished = true;
    makecontext(&self->context, actor_lives, 0);
}

static void actors_enter(actor *actors, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        actors[i].number = i + 1;
        actor_enters(&actors[i]);
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
    STEPS_KNOW(weak_thread = self->number);
    memarena_lane_offset_ = self->lane_offset;
    ma_lane_thread_ = self->lane_thread;
    CHECK_EQ(swapcontext(&director, &self->context), 0);
    on_stage = NULL;
    STEPS_KNOW(weak_thread = 0);
    memarena_lane_offset_ = directors_own;
    ma_lane_thread_ = directors_thread;
    return self->finished;
}

static bool actor_begin(actor *self, void (*act)(void), unsigned steps)
{
    STEPS_KNOW(weak_join(self->number, 0));
    self->act = act;
    self->finished = false;
    self->taken = 0;
    return actor_go(self, steps);
}

/* To its end, and the director waits for it. */
static inline void actor_do(actor *self, void (*act)(void))
{
    CHECK(actor_begin(self, act, STEPS_ALL));
    STEPS_KNOW(weak_join(0, self->number));
}

/* All that was done happens before whatever comes next. */
static inline void actors_meet(actor *actors, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        CHECK(actors[i].finished);
        STEPS_KNOW(weak_join(0, actors[i].number));
    }
}

/* One schedule in so many, others for another MEMARENA_TEST_SEED; more or fewer as MEMARENA_TEST_SCALE says, and from 8 on all
 * of them, where what is played is only a schedule. */
static inline bool is_played(unsigned one_in)
{
    static unsigned long long random, scale;
    if (random == 0) random = test_seed(0), scale = (unsigned long long)test_scaled(64);
    return (STEPS_SEEN_AT_ONCE && scale >= 8 * 64) || test_random(&random) % (one_in * STEPS_RARER * 64u) < scale;
}

/* Whether a first stop is: each, if there are not too many. */
static inline bool is_stop_played(unsigned stop)
{
    return stop == 0 || STEPS_RARER == 1 || is_played(1);
}

#endif
