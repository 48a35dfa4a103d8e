/* The end of a generation: deferred calls, then one step forward, then the lanes emptied.
 *
 * Deferred calls form a list whose head is one tagged word. The list decides when a generation ends: a reset runs
 * what is in it, and when it is empty closes it, by moving the head's tag to the next generation. From then on a push
 * for the old generation fails, so every deferred call runs exactly once, in its own generation. The arena's generation
 * follows the head; between the two stores anybody who meets the closed list takes the second step himself, so that
 * nobody waits for a reset that was preempted there. */
#include "arena.h"

#include <sched.h>

typedef struct deferred_call {
    void (*fn)(void *);
    void *arg;
    uint64_t next; /* as in ma_arena.deferred: distance from pool.base - MA_GRAIN, 0 for none */
} deferred_call;

static deferred_call *call_at(const ma_arena *arena, uint64_t distance)
{
    return (deferred_call *)(arena->pool.base + (uintptr_t)(distance - MA_GRAIN));
}

/* The second step of a reset that has closed generation - 1: taken by it, or by whoever comes first. [empty-1] */
static void advance(ma_arena *arena, uint64_t generation)
{
    uint64_t before = generation - 1;
    (void)ma_swap_seq_cst(&arena->pool.generation, &before, generation);
}

/* Somebody has closed `generation`. Under a sanitizer he is still marking its blocks dead, and nobody may have a block
 * of the next one before that: wait, there. */
static void help_to_close(ma_arena *arena, uint64_t generation)
{
    if (arena->watch == MA_WATCH_NONE)
        advance(arena, generation + 1);
    else
        (void)sched_yield();
}

/* Runs the calls from `distance` on, newest first. */
static void run_calls(const ma_arena *arena, uint64_t distance)
{
    while (distance) {
        deferred_call call = *call_at(arena, distance); /* a copy: fn may do anything to the memory */
        call.fn(call.arg);
        distance = call.next;
    }
}

/* Takes the list of `generation` for running: true, and its head in `*distance`. */
static bool take_calls(ma_arena *arena, uint64_t generation, uint64_t *head, uint64_t *distance)
{
    *distance = ma_word_offset(*head, generation, 0);
    return *distance && ma_swap_acq_rel(&arena->deferred, head, ma_word_make(generation, 0)); /* [defer-1] */
}

/* Runs what has been deferred in the generation and closes it. False: somebody else has closed it. On true the thread
 * is marked as being inside a reset. */
static bool close_generation(ma_arena *arena, uint64_t generation)
{
    uint64_t head = ma_load_acquire(&arena->deferred), distance;
    for (;;) {
        if (ma_word_age(head, generation) < 0) return false;
        if (take_calls(arena, generation, &head, &distance)) {
            run_calls(arena, distance);
            head = ma_load_acquire(&arena->deferred);
        } else if (distance == 0) {
            ma_lane_reset_begins();
            if (ma_swap_seq_cst(&arena->deferred, &head, ma_word_make(generation + 1, 0))) return true; /* [defer-1] */
            ma_lane_reset_ends();
        }
    }
}

static void empty_lanes(ma_arena *arena)
{
    for (uint64_t lanes = ma_load_seq_cst(&arena->lanes_used); lanes; lanes &= lanes - 1) { /* [empty-3] */
        uintptr_t *end = &ma_arena_lane(arena, (unsigned)__builtin_ctzll(lanes))->tlab.end_;
        if (ma_load_seq_cst(end) != 0) (void)ma_exchange_seq_cst(end, 0); /* [empty-2] */
    }
}

bool memarena_reset(memarena *handle)
{
    ma_arena *arena = ma_arena_of(handle);
    uint64_t generation = ma_load_acquire(&arena->pool.generation);
    while (!close_generation(arena, generation)) { /* two resets at once are two generations */
        help_to_close(arena, generation);
        generation = ma_load_acquire(&arena->pool.generation);
    }
    ma_watch_reset(arena);
    advance(arena, generation + 1);
    ma_pool_refresh(&arena->pool, generation + 1);
    empty_lanes(arena);
    ma_lane_reset_ends();
    return true;
}

bool memarena_defer(memarena *handle, void (*fn)(void *), void *arg)
{
    ma_arena *arena = ma_arena_of(handle);
    for (;;) {
        uint64_t head = ma_load_acquire(&arena->deferred);
        uint64_t generation = ma_load_acquire(&arena->pool.generation);
        if (ma_word_age(head, generation) < 0) {
            help_to_close(arena, generation);
            continue;
        }
        deferred_call *call = memarena_alloc_aligned(handle, sizeof *call, _Alignof(deferred_call));
        if (!call) return false;
        uint64_t distance = (uintptr_t)call - arena->pool.base + MA_GRAIN;
        do {
            *call = (deferred_call){.fn = fn, .arg = arg, .next = ma_word_offset(head, generation, 0)};
            if (ma_swap_acq_rel(&arena->deferred, &head, ma_word_make(generation, distance)))
                return true; /* [defer-1] */
        } while (ma_word_age(head, generation) >= 0);
        /* Closed meanwhile: the block died with its generation. Once more, in the next one. */
    }
}

void ma_defer_run_all(ma_arena *arena)
{
    uint64_t generation = ma_load_acquire(&arena->pool.generation);
    uint64_t head = ma_load_acquire(&arena->deferred), distance;
    while (take_calls(arena, generation, &head, &distance)) {
        run_calls(arena, distance);
        head = ma_load_acquire(&arena->deferred);
    }
}
