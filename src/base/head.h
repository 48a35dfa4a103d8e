/* What holds a generation open, and the word that ends it: {tag, busy, closing, newest deferred call}. Who changes these
 * words, and in which order, is in generation/close.c. Here is what the layers below need of them. */
#ifndef MA_HEAD_H
#define MA_HEAD_H

#include "arena.h"

#define MA_DEFERRED_TAG_SHIFT 46
#define MA_DEFERRED_CLOSING ((uint64_t)1 << 44) /* above the list of calls; BUSY lies above that */

/* A list entry of memarena_defer. */
typedef struct ma_deferred_call {
    void (*fn)(void *);
    void *arg;
    uint64_t next; /* as in the head; of a scope: the address of the next one */
} ma_deferred_call;
static_assert(sizeof(ma_deferred_call) <= MEMARENA_RECORD_BYTES_, "a record of memarena_defer_at_ holds a call");

/* An empty list of deferred calls at the start of a generation. */
static inline uint64_t ma_deferred_start(uint64_t generation)
{
    return generation << MA_DEFERRED_TAG_SHIFT;
}

/* Whether a reset is about to end this generation, or has ended it. */
static inline bool ma_reset_is_near(uint64_t head, uint64_t generation)
{
    uint64_t relevant = ~(((uint64_t)1 << MA_DEFERRED_TAG_SHIFT) - 1) | MA_DEFERRED_CLOSING;
    return ((head ^ ma_deferred_start(generation)) & relevant) != 0;
}

/* Whether all that is announced in the arena was announced in this process: see generation/fork.c. Else another thread makes it
 * right just now, or one does that our signal handler has interrupted, or nobody has begun. */
static inline bool ma_fork_is_over(const ma_arena *arena)
{
    return ma_load_acquire(&arena->process) == ma_load_acquire(arena->number); /* [fork-1] */
}

/* In a child of fork: whether the thread that a word of the arena names, if any, was lost by it. */
static inline bool ma_fork_has_lost(const uintptr_t *thread, uintptr_t survivor)
{
    uintptr_t named = ma_load_acquire(thread);
    return named != 0 && named != survivor;
}

/* Nearly always true, after a scope was counted as open, and without a call: no reset is under way, and the generation is one
 * that the caller has met before. So head and generation belong together, however long the caller sleeps in between. */
static inline bool ma_reset_is_far(const ma_arena *arena, uint64_t generation)
{
    uint64_t head = ma_load_seq_cst(&arena->deferred); /* [open-3] */
    return (head ^ ma_deferred_start(generation)) < MA_DEFERRED_CLOSING && ma_fork_is_over(arena) &&
           ma_load_acquire(&arena->pool.generation) == generation;
}

/* A pin: what a call holds the generation open by while it is in the middle of it, as a scope would. It lies on the
 * stack of its thread, so that a fork in between (in a signal handler) can tell it from the pins of threads that the fork has lost. */
typedef struct ma_pin {
    struct ma_pin *outer;
    ma_arena *arena;
    _Alignas(8)
        uint64_t counted; /* as in `pins`: in which process, and how much. A fork changes the former; 0: not any more */
} ma_pin;

#define MA_PIN_DEFER ((uint64_t)1)
#define MA_PIN_TRIM ((uint64_t)1 << 24)
#define MA_PIN_PROCESS_SHIFT 48 /* above it: low bits of the process's number */
#define MA_PIN_MASK (((uint64_t)1 << MA_PIN_PROCESS_SHIFT) - 1)

static inline bool ma_pin_same_process(uint64_t one, uint64_t other)
{
    return (one ^ other) >> MA_PIN_PROCESS_SHIFT == 0;
}

#endif
