/* Actors, one at a time: each makes its calls on a stack of its own and stops before the shared access that the
 * director names. So every interleaving with a few preemptions can be played, thousands in a second, and a failure
 * repeats.
 *
 * For the instrumented builds, where weak.c calls the hook before each atomic access of the shipped code. The actors are
 * fibers of one thread. To the library they are threads: all that it knows of a thread is its lane's offset and whether
 * it may lease, which change hands with the stage.
 *
 * With STEPS_WEAK the actors see each other's stores as late as C11 allows (weak.h), and a sample of the schedules is
 * played; without it they see them at once, and all schedules are played but those that must end like others (schedules.h). */
#ifndef STEPS_H
#define STEPS_H

#ifndef STOPS_ONE_IN
#define STOPS_ONE_IN 1 /* of the first stops that are worth a play; see is_played */
#endif
#undef _FORTIFY_SOURCE /* it stops a longjmp to another stack */
#define TEST_INSTRUMENTED
#include "threads.h"

#include <memarena.h>

#include "internals.h"

#include "weak.h"
#ifdef STEPS_WEAK
#define STEPS_KNOW(call) (call)
#define STEPS_SEEN_AT_ONCE false
#else
#define STEPS_KNOW(call) ((void)0)
#define STEPS_SEEN_AT_ONCE true /* what one actor has done the others know */
#endif

#include <limits.h>
#include <setjmp.h>
#include <stdbool.h>
#include <ucontext.h>

#define STEPS_ALL UINT_MAX
/* An actor that needs more for one act waits for another, which is stopped: no call may do that. */
#define STEPS_ENDLESS 100000u
#define STEPS_STACK ((size_t)64 << 10)

typedef struct actor {
    unsigned number;    /* from 1 */
    uint64_t random;    /* of its thread, when a play begins */
    ucontext_t context; /* where it begins */
    bool has_begun;
    jmp_buf here;
    char *stack;
    uintptr_t lane_offset;
    ma_lane_thread lane_thread;
    uintptr_t held; /* memarena_held_ */
    void (*act)(void);
    unsigned left;  /* accesses until it stops */
    unsigned taken; /* accesses in this act */
    bool finished;
    bool waits;         /* has stopped since it can go on only when another one does */
    weak_access *trace; /* of the act that is played */
} actor;

static jmp_buf director;
static actor *on_stage; /* NULL: the director himself */

void test_yield(void);

/* Whether a call may have to wait for another one. */
static bool may_wait;

/* (By setjmp and longjmp, since swapcontext makes a system call.) */
static void actor_stops(actor *self)
{
    self->lane_offset = memarena_lane_offset_;
    self->lane_thread = ma_lane_thread_;
    self->held = memarena_held_;
    if (_setjmp(self->here) == 0) _longjmp(director, 1);
}

__attribute__((noinline)) static void switch_to(actor *self)
{
    if (_setjmp(director) != 0) return;
    if (self->has_begun) _longjmp(self->here, 1);
    self->has_begun = true;
    CHECK_EQ(setcontext(&self->context), 0);
}

static void trace_access(actor *self);
static void trace_happens(const actor *self);

void test_yield(void)
{
    actor *self = on_stage;
    if (!self) return;
    trace_access(self);
    while (self->left == 0) actor_stops(self);
    trace_happens(self);
    if (self->left != STEPS_ALL) self->left--;
    if (self->taken++ == STEPS_ENDLESS) CHECK(self->taken <= STEPS_ENDLESS); /* (not each time: it counts) */
}

/* As if it were an access of the library. */
static inline void step(const void *address, bool writes)
{
    weak_next = (weak_access){address, writes};
    test_yield();
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
        actors[i].random = test_seed(i + 2) | 1;
        actor_enters(&actors[i]);
    }
}

/* To the library the actors are threads: this tells them apart. */
uintptr_t __wrap_ma_os_thread_self(void);
uintptr_t __wrap_ma_os_thread_self(void)
{
    return on_stage ? on_stage->number + 1 : 1;
}

/* Before each play: the director has the first lane, and each actor one of the next. */
static inline void actors_lease(actor *actors, unsigned count)
{
    ma_register *shared = ma_process();
    shared->leased = ((uint64_t)2 << count) - 1;
    for (unsigned i = 0; i <= count; i++) shared->copies[i] = shared->leases[i] = 1, shared->threads[i] = i + 1;
    memarena_lane_offset_ = MA_LANES_OFFSET;
    ma_lane_thread_.random = actors[0].random + count;
    for (unsigned i = 0; i < count; i++) {
        actors[i].lane_offset = MA_LANES_OFFSET + (i + 1) * (uintptr_t)MA_LANE_BYTES;
        actors[i].lane_thread = (ma_lane_thread){.random = actors[i].random};
        actors[i].held = ma_burst_mark(shared->leases[i + 1]);
    }
}

static void actors_leave(actor *actors, unsigned count)
{
    for (unsigned i = 0; i < count; i++) free(actors[i].stack), free(actors[i].trace);
}

#define STEPS_SEGMENTS 5u /* of a play of three */

/* The first of a play: how far an actor has come in its act, and whether it comes no further by itself. */
static struct {
    unsigned taken;
    bool waits, ends;
} goes[STEPS_SEGMENTS];
static unsigned goes_count;

static void note_go(const actor *self)
{
    if (goes_count == STEPS_SEGMENTS) return;
    bool waits = self->waits && !self->finished;
    goes[goes_count].taken = self->taken;
    goes[goes_count].waits = waits, goes[goes_count].ends = waits || self->finished;
    goes_count++;
}

/* Goes on for `steps` accesses; true: the act is finished. False with `waits`: has gone on for less. */
static bool actor_go(actor *self, unsigned steps)
{
    if (self->finished) {
        note_go(self);
        return true;
    }
    self->waits = false;
    uintptr_t directors_own = memarena_lane_offset_;
    ma_lane_thread directors_thread = ma_lane_thread_;
    uintptr_t directors_held = memarena_held_;
    self->left = steps;
    on_stage = self;
    STEPS_KNOW(weak_thread = self->number);
    memarena_lane_offset_ = self->lane_offset;
    ma_lane_thread_ = self->lane_thread;
    memarena_held_ = self->held;
    switch_to(self);
    on_stage = NULL;
    STEPS_KNOW(weak_thread = 0);
    memarena_lane_offset_ = directors_own;
    ma_lane_thread_ = directors_thread;
    memarena_held_ = directors_held;
    note_go(self);
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

/* Whoever waits gives up the processor. */
int __wrap_sched_yield(void);
int __wrap_sched_yield(void)
{
    actor *self = on_stage;
    if (!self || !may_wait) return 0;
    self->waits = true;
    actor_stops(self);
    return 0;
}

/* Both to their ends, the first one first, unless it waits. */
static void go_on(actor *first, actor *second)
{
    for (unsigned turns = 0; !first->finished || !second->finished || turns == 0; turns++) {
        CHECK(turns < 1000 && (turns == 0 || may_wait));
        (void)actor_go(first, STEPS_ALL);
        (void)actor_go(second, STEPS_ALL);
    }
}

/* All schedules of three calls with two preemptions in which no call comes before or after the two others: whose turn it is,
 * and which segment besides the first one is stopped. (Who comes first is number 0. Each cast is played in each order.) */
#define STEPS_CAST 3u
typedef struct steps_shape {
    unsigned char cast[STEPS_SEGMENTS], stopped;
} steps_shape;
static const steps_shape steps_shapes[] = {
    {{0, 1, 2, 0, 1}, 1}, {{0, 1, 2, 1, 0}, 1}, {{0, 2, 1, 0, 1}, 2}, {{0, 1, 0, 2, 1}, 1}, {{0, 1, 0, 2, 0}, 2},
};
#define STEPS_SHAPES (sizeof steps_shapes / sizeof *steps_shapes)

static inline void actors_play(actor *actors, void (*const *acts)(void), const steps_shape *shape, unsigned n,
                               unsigned m)
{
    bool have_begun[STEPS_CAST] = {false};
    for (unsigned i = 0; i < STEPS_SEGMENTS; i++) {
        unsigned who = shape->cast[i], steps = i == 0 ? n : i == shape->stopped ? m : STEPS_ALL;
        (void)(have_begun[who] ? actor_go(&actors[who], steps) : actor_begin(&actors[who], acts[who], steps));
        have_begun[who] = true;
    }
    for (unsigned i = 0; i < STEPS_CAST; i++) go_on(&actors[i], &actors[(i + 1) % STEPS_CAST]); /* who waits */
}

/* To its end, and the director waits for it. */
static inline void actor_do(actor *self, void (*act)(void))
{
    (void)actor_begin(self, act, STEPS_ALL);
    go_on(self, self);
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

/* MEMARENA_TEST_SCALE, in 64ths. */
static inline unsigned long long steps_scale(void)
{
    static unsigned long long scale;
    if (scale == 0) scale = (unsigned long long)test_scaled(64);
    return scale;
}

/* One in so many, others for another MEMARENA_TEST_SEED; more or fewer as the scale says. */
static inline bool is_drawn(unsigned one_in)
{
    static unsigned long long random;
    if (random == 0) random = test_seed(0);
    return test_random(&random) % (one_in * 64u) < steps_scale();
}

/* From scale 8 on all of them, where what is played is only a schedule. */
static inline bool is_played(unsigned one_in)
{
    return (STEPS_SEEN_AT_ONCE && steps_scale() >= 8 * 64) || is_drawn(one_in);
}

#include "schedules.h"

#endif
