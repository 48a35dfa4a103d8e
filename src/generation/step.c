/* The second step of a reset: a generation that is closed ends, and the next one begins.
 *
 * The head of the deferred calls (close.c) carries a tag of the generation. A reset closes a generation by moving the tag on; the
 * arena's generation then follows. Between the two stores anybody who meets the closed head takes the second step himself, so
 * that nobody waits for a reset that was preempted there. The tag moves with every reset and never falls behind, so few bits
 * suffice.
 *
 * Two kinds of arenas have more to do there, which only one thread can: a watched one marks the blocks dead, and one with
 * MEMARENA_TRAP_STALE moves their pages. That thread is named in `moving`; the others wait. [trap-2] */
#include "generation.h"

#include "../platform/os.h"
#include "../supply/watch.h"

#include <sched.h>

static bool belongs_to(uint64_t head, uint64_t generation)
{
    return (head ^ ma_deferred_start(generation)) >> MA_DEFERRED_TAG_SHIFT == 0;
}

static bool is_for_one(const ma_arena *arena)
{
    return arena->watch != MA_WATCH_NONE || ma_traps(arena);
}

/* The generation is read before and after the head: then the head is one that stood while this, all 64 bits of it, was the
 * generation, however long this thread slept in between. */
bool ma_step_look(ma_arena *arena, uint64_t *generation, uint64_t *head)
{
    for (;;) {
        uint64_t before = ma_load_acquire(&arena->pool.generation);
        *head = ma_load_seq_cst(&arena->deferred); /* [open-3] */
        *generation = before;
        if (ma_load_acquire(&arena->pool.generation) != before) continue;
        if (belongs_to(*head, before)) return true;
        if (is_for_one(arena)) return false;
        (void)ma_swap_seq_cst(&arena->pool.generation, &before, before + 1);
    }
}

/* This thread alone changes which addresses can be touched, or which blocks are dead, until it stores 0 in `moving`. False: not
 * now, or that generation has ended. */
static bool lock(ma_arena *arena, uint64_t generation, bool lost)
{
    if ((!lost && !ma_fork_is_over(arena)) || ma_load_relaxed(&arena->moving) != 0 ||
        !ma_swap_address_seq_cst(&arena->moving, 0, ma_os_thread_self())) {
        (void)sched_yield();
        return false;
    }
    if (ma_load_acquire(&arena->pool.generation) == generation) return true;
    ma_store_release(&arena->moving, 0);
    return false;
}

ma_claim ma_step_prepare(ma_arena *arena, uint64_t generation)
{
    if (!lock(arena, generation, false)) return MA_MOVED;
    bool done = ma_trap_prepare(arena, generation);
    ma_store_release(&arena->moving, 0); /* [trap-2] */
    return done ? MA_CLAIMED : MA_NO_ROOM;
}

bool ma_step_end(ma_arena *arena, bool lost)
{
    uint64_t generation = ma_load_acquire(&arena->pool.generation), head;
    if (!is_for_one(arena)) return ma_step_look(arena, &generation, &head);
    if (belongs_to(ma_load_seq_cst(&arena->deferred), generation)) return true;
    if (!lock(arena, generation, lost)) return ma_load_acquire(&arena->pool.generation) != generation;
    if (ma_traps(arena))
        ma_trap_move(arena, generation, lost);
    else
        ma_watch_reset(arena);
    uint64_t before = generation;
    (void)ma_swap_seq_cst(&arena->pool.generation, &before, generation + 1); /* [empty-1] */
    ma_store_release(&arena->moving, 0);                                     /* [trap-2] */
    return true;
}

void ma_step_stop_running(void *context)
{
    ma_arena *arena = context;
    (void)ma_and_release(&arena->deferred, ~MA_BUSY);
    ma_store_release(&arena->runner, 0); /* [defer-2] */
}

/* (The survivor may have forked in a deferred call, on the way to one, or while it moved pages: then it goes on.) */
void ma_step_repair(ma_arena *arena, uintptr_t survivor)
{
    uint64_t head = ma_load_acquire(&arena->deferred);
    if (ma_fork_has_lost(&arena->moving, survivor)) ma_store_release(&arena->moving, 0); /* [trap-2] */
    while (head & MA_DEFERRED_CLOSING && !ma_swap_acq_rel(&arena->deferred, &head, ma_not_closing(head))) continue;
    if (ma_fork_has_lost(&arena->runner, survivor)) ma_step_stop_running(arena);
    while (ma_load_acquire(&arena->moving) == 0 && !ma_step_end(arena, true)) continue;
}
