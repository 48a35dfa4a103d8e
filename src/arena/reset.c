/* The end of a generation: deferred calls, then one step forward, then the lanes emptied.
 *
 * One word decides: the head of the list of deferred calls,
 *
 *     | tag, 12 bits | busy | pending, 7 bits | newest call, 44 bits |
 *
 * A reset *closes* the generation by moving the tag on, which it can only while nothing else is in the word: no call in
 * the list, none being pushed (pending), no other reset running calls (busy). So every call runs exactly once, in its
 * own generation, while its blocks are alive. A reset that meets another one's calls running is refused with EBUSY, and
 * so is one that meets a call half pushed by a thread that does not go on, however often it is let run. While a reset is
 * busy others let it through before they push more. A call in the making must hold up resets because it lies in the arena:
 * were its generation to end between its allocation and its last store, that store would hit somebody else's block.
 *
 * No scope may be open, either. They are counted lane by lane, so the reset first writes "closing", with a number that
 * is never used again, into the word, then counts, then closes:
 *
 *     opener                                     reset
 *       opened += 1             [open-1]           head = closing, number n     [open-3]
 *       head is closing?        [open-3]           scopes that are open?        [open-1]
 *       then take that back     [open-3]           head: closing n -> closed    [open-3]
 *
 * All are sequentially consistent: the reset sees the scope, or the opener sees "closing" and takes it back (and then the
 * reset's last step fails), or finds the next generation there and opens its scope in that. Nobody waits.
 *
 * The arena's generation then follows the tag. Between the two stores anybody who meets the closed word takes the
 * second step himself, so that nobody waits for a reset that was preempted there. The tag moves with every reset and
 * never falls behind, so few bits suffice. */
#include "arena.h"

#include <sched.h>

#define CALL_BITS 44
#define CALL_MASK (((uint64_t)1 << CALL_BITS) - 1)
#define ONE_PENDING ((uint64_t)1 << CALL_BITS)
#define PENDING_MASK ((uint64_t)127 << CALL_BITS)
#define BUSY ((uint64_t)1 << (CALL_BITS + 7))
#define TAG_MASK ((uint64_t)4095)

/* In place of the number of pending calls; the number of the attempt is in place of the list, which is empty. */
#define CLOSING PENDING_MASK
#define PENDING_MAX (CLOSING - ONE_PENDING)
static_assert(CLOSING == MA_DEFERRED_CLOSING, "what ma_reset_is_far looks for");

/* How often a reset lets those run that push a call, before it is refused; and who wants to push one lets a reset run. On a
 * busy machine each may cost a time slice. */
#define YIELDS (MA_YIELDS < 16 ? MA_YIELDS : 16)

static bool is_closing(uint64_t head)
{
    return (head & PENDING_MASK) == CLOSING;
}

static bool belongs_to(uint64_t head, uint64_t generation)
{
    return ((head >> MA_DEFERRED_TAG_SHIFT ^ generation) & TAG_MASK) == 0;
}

/* What the head says when nobody is trying to close. */
static uint64_t not_closing(uint64_t head)
{
    return is_closing(head) ? head & ~(PENDING_MASK | CALL_MASK) : head;
}

/* Of the generation that a deferred call holds open. */
static uintptr_t base_of_calls(const ma_arena *arena)
{
    return ma_pool_base(&arena->pool, ma_load_relaxed(&arena->pool.generation));
}

static ma_deferred_call *call_at(const ma_arena *arena, uint64_t grains)
{
    return (ma_deferred_call *)(base_of_calls(arena) + (uintptr_t)((grains - 1) << MA_GRAIN_BITS));
}

/* The second step of a reset: the generation follows the closed head. By the reset itself (`mine`), or by whoever comes
 * first; but under a sanitizer the reset still has to mark the blocks dead, and where stale pointers are trapped to move
 * the pages, and there the others wait. [empty-1] */
static void follow(ma_arena *arena, uint64_t generation, bool mine)
{
    bool waits = arena->watch != MA_WATCH_NONE || ma_traps(arena);
    if (ma_traps(arena) && (mine || ma_lane_reset_was_cut()))
        ma_trap_follow(arena, generation);
    else if (mine || !waits || ma_lane_reset_was_cut())
        (void)ma_swap_seq_cst(&arena->pool.generation, &generation, generation + 1);
    else
        (void)sched_yield();
}

/* In a child of fork: what the threads that it lost had announced, or were running, will not be finished. */
static void forget_lost_threads(ma_arena *arena)
{
    uint32_t forks = ma_lane_forks();
    uint64_t head = ma_load_acquire(&arena->deferred);
    do {
        if (ma_load_acquire(&arena->forks) == forks) return;
    } while (!ma_swap_acq_rel(&arena->deferred, &head, not_closing(head) & ~(BUSY | PENDING_MASK)));
    (void)ma_and_release(&arena->pool.runs, ~MA_RUNS_MASK); /* [run-1] */
    ma_store_release(&arena->forks, forks);
}

/* The generation, and the head that belongs to it. The generation is read before and after the head: then the head is
 * one that stood while this, all 64 bits of it, was the generation, however long we slept in between. */
static uint64_t agree(ma_arena *arena, uint64_t *head, bool mine)
{
    if (ma_load_relaxed(&arena->forks) != ma_lane_forks()) forget_lost_threads(arena);
    for (;;) {
        uint64_t generation = ma_load_acquire(&arena->pool.generation);
        *head = ma_load_seq_cst(&arena->deferred); /* [open-3] */
        if (ma_load_acquire(&arena->pool.generation) != generation) continue;
        if (belongs_to(*head, generation)) return generation;
        follow(arena, generation, mine);
    }
}

void ma_reset_finish(ma_arena *arena)
{
    uint64_t head;
    (void)agree(arena, &head, true);
}

/* Runs the calls from `grains` on, newest first. */
static void run_calls(const ma_arena *arena, uint64_t grains)
{
    const ma_arena *outer = ma_lane_thread_.runs_calls_of;
    ma_lane_thread_.runs_calls_of = arena;
    ma_receive(arena->pool.told, &arena->deferred);
    while (grains) {
        ma_deferred_call call = *call_at(arena, grains); /* a copy: fn may do anything to the memory */
        call.fn(call.arg);
        grains = call.next;
    }
    ma_lane_thread_.runs_calls_of = outer;
}

/* ---- Open scopes -------------------------------------------------------------------------------------------------- */

static uint64_t sum_opened(const ma_arena *arena, bool ended)
{
    const ma_extent_cache *shared = ma_arena_counts(arena, MA_LANES);
    uint64_t sum = ma_load_seq_cst(ended ? &shared->ended : &shared->opened);                /* [open-1] */
    for (uint64_t lanes = ma_load_seq_cst(&arena->scope_lanes); lanes; lanes &= lanes - 1) { /* [open-2] */
        const ma_extent_cache *cache = ma_arena_counts(arena, (unsigned)__builtin_ctzll(lanes));
        sum += ma_load_seq_cst(ended ? &cache->ended : &cache->opened); /* [open-1] */
    }
    return sum;
}

/* First those that have ended: each of them is counted among the opened then. So 0 means that there was a moment without
 * an open scope. */
uint64_t ma_reset_open_scopes(const ma_arena *arena)
{
    uint64_t ended = sum_opened(arena, true);
    return sum_opened(arena, false) - ended;
}

void ma_reset_count_trim(ma_arena *arena, uint32_t forks, bool ended)
{
    uint64_t before = ma_load_acquire(&arena->trims), after;
    do {
        bool lost = before >> 32 != forks; /* by a fork, those that are counted; or we, in a fork out of a trim */
        if (lost && ended) return;
        after = lost ? (uint64_t)forks << 32 | 1 : ended ? before - 1 : before + 1;
    } while (!ma_swap_seq_cst(&arena->trims, &before, after)); /* [trim-1] */
}

/* Whether a scope is open, or a trim under way. */
static bool is_held_open(const ma_arena *arena)
{
    if (ma_reset_open_scopes(arena) != 0) return true;
    uint64_t trims = ma_load_seq_cst(&arena->trims); /* [trim-1] */
    return trims >> 32 == ma_lane_forks() && (uint32_t)trims != 0;
}

uint64_t ma_reset_hold_off(ma_arena *arena)
{
    for (;;) {
        uint64_t head, generation = agree(arena, &head, false);
        if (!is_closing(head)) return generation;
        (void)ma_swap_seq_cst(&arena->deferred, &head, not_closing(head)); /* [open-3] */
    }
}

/* ---- Closing ------------------------------------------------------------------------------------------------------ */

typedef enum attempt { CLOSED, REFUSED, CHANGED } attempt;

/* Closes the generation if there is nothing but its tag, and perhaps our own BUSY, in the head, and no scope is open
 * (else: REFUSED, and the head as it was). When CLOSED this thread is marked as being inside a reset. */
static attempt close_generation(ma_arena *arena, uint64_t generation, uint64_t head)
{
    uint64_t number = ma_add_acq_rel(&arena->attempts, 1) & CALL_MASK, closing = not_closing(head) | CLOSING | number;
    if (!ma_swap_seq_cst(&arena->deferred, &head, closing)) return CHANGED; /* [open-3] */
    if (is_held_open(arena)) {
        (void)ma_swap_seq_cst(&arena->deferred, &closing, not_closing(closing));
        return REFUSED;
    }
    ma_lane_reset_begins();
    ma_receive(arena->pool.told, &arena->scope_lanes); /* from those that have ended a scope */
    ma_hand_over(arena->pool.told, &arena->pool);
    if (ma_swap_seq_cst(&arena->deferred, &closing, ma_deferred_start(generation + 1))) return CLOSED; /* [defer-1] */
    ma_lane_reset_ends();
    return CHANGED;
}

/* With BUSY set by us: runs what is in the list and whatever is deferred meanwhile, then closes the generation. False: a
 * scope was opened meanwhile, and stays open; or a call stays half pushed, and nothing has changed. */
static bool run_and_close(ma_arena *arena, uint64_t generation)
{
    bool has_run = false, is_closed = false;
    for (int yields = 0;;) {
        uint64_t head = ma_load_acquire(&arena->deferred), calls = not_closing(head);
        if (calls & PENDING_MASK) { /* a few instructions' work, unless that thread has lost its processor */
            if (!has_run && yields++ == YIELDS) break; /* (else it is too late to refuse) */
            (void)sched_yield();
        } else if (calls & CALL_MASK) {
            if (!ma_swap_acq_rel(&arena->deferred, &head, head & ~CALL_MASK)) continue; /* [defer-1] */
            run_calls(arena, calls & CALL_MASK);
            has_run = true;
        } else {
            attempt outcome = close_generation(arena, generation, head);
            is_closed = outcome == CLOSED;
            if (outcome != CHANGED) break;
        }
    }
    if (!is_closed) (void)ma_and_release(&arena->deferred, ~BUSY);
    return is_closed;
}

void ma_reset_empty_lanes(ma_arena *arena)
{
    for (uint64_t lanes = ma_load_seq_cst(&arena->lanes_used); lanes; lanes &= lanes - 1) { /* [empty-3] */
        uintptr_t *end = &ma_arena_lane(arena, (unsigned)__builtin_ctzll(lanes))->tlab.end_;
        if (ma_load_seq_cst(end) != 0) (void)ma_exchange_seq_cst(end, 0); /* [empty-2] */
    }
}

bool memarena_reset(memarena *handle)
{
    ma_arena *arena = ma_arena_of(handle);
    uint64_t head, generation;
    if (ma_is_scope(handle)) return ma_scope_reset((ma_scope *)handle);
    if (arena->retain_bytes) ma_trim_note(arena);
    for (;;) {
        generation = agree(arena, &head, false);
        if (ma_traps(arena) && !ma_trap_prepare(arena, generation)) return ma_fail(ENOMEM);
        uint64_t calls = not_closing(head);
        if (calls & BUSY) return ma_fail(EBUSY);
        if ((calls & (PENDING_MASK | CALL_MASK)) == 0) {
            attempt outcome = close_generation(arena, generation, head);
            if (outcome == REFUSED) return ma_fail(EBUSY);
            if (outcome == CLOSED) break;
        } else if (is_held_open(arena)) {
            return ma_fail(EBUSY);
        } else if (ma_swap_acq_rel(&arena->deferred, &head, calls | BUSY)) { /* [defer-1] */
            if (!run_and_close(arena, generation)) return ma_fail(EBUSY);
            break;
        }
    }
    if (arena->retain_bytes) ma_trim_note(arena); /* deferred calls, and other threads, have gone on meanwhile */
    ma_watch_reset(arena);
    /* 4096 resets while we slept would have made us close another generation than that one. Where the others wait (see
     * follow) nobody but us has moved it since. */
    bool waits = (arena->watch != MA_WATCH_NONE || ma_traps(arena)) && !ma_lane_reset_was_cut();
    if (waits) generation = ma_load_acquire(&arena->pool.generation);
    follow(arena, generation, true);
    if (!waits) ma_reset_finish(arena);
    ma_pool_refresh(&arena->pool, generation + 1);
    ma_extent_refresh(arena, generation + 1);
    ma_reset_empty_lanes(arena);
    ma_probe2(reset, arena, generation);
    ma_lane_reset_ends();
    if (arena->retain_bytes) ma_trim_after(arena);
    return true;
}

/* Says that a call is in the making: from now on the generation cannot end. A reset that is running calls is let through
 * first, for a while: else it would never end while others defer without a pause. */
static void announce(ma_arena *arena)
{
    uint64_t head;
    for (int yields = 0;;) {
        (void)agree(arena, &head, false);
        bool is_late = (head & BUSY) != 0 && ma_lane_thread_.runs_calls_of != arena && yields < YIELDS;
        if (is_late || (head & PENDING_MASK) == PENDING_MAX) { /* more threads in here than can be counted */
            yields++;
            (void)sched_yield();
        } else if (ma_swap_acq_rel(&arena->deferred, &head, not_closing(head) + ONE_PENDING)) {
            break;
        }
    }
    (void)agree(arena, &head, false);
}

bool memarena_defer(memarena *handle, void (*fn)(void *), void *arg)
{
    ma_arena *arena = ma_arena_of(handle);
    if (ma_is_scope(handle)) return ma_scope_defer((ma_scope *)handle, fn, arg);
    announce(arena);
    /* Not inline: a lane that a reset has not come to yet may still bump memory of the generation before. */
    ma_deferred_call *call = memarena_alloc_slow_(handle, sizeof *call, _Alignof(ma_deferred_call));
    uint64_t head = ma_load_acquire(&arena->deferred), pushed;
    do {
        pushed = head - ONE_PENDING;
        if (!call) continue; /* only take the announcement back */
        *call = (ma_deferred_call){.fn = fn, .arg = arg, .next = head & CALL_MASK};
        pushed &= ~CALL_MASK;
        pushed |= (((uintptr_t)call - base_of_calls(arena)) >> MA_GRAIN_BITS) + 1;
        ma_hand_over(arena->pool.told, &arena->deferred);
    } while (!ma_swap_acq_rel(&arena->deferred, &head, pushed)); /* [defer-1] */
    return call != NULL;
}

void ma_defer_run_all(ma_arena *arena)
{
    uint64_t head = ma_load_acquire(&arena->deferred);
    while (not_closing(head) & CALL_MASK) {
        if (!ma_swap_acq_rel(&arena->deferred, &head, (head & ~CALL_MASK) | BUSY)) continue; /* no reset from a call */
        run_calls(arena, head & CALL_MASK);
        head = ma_load_acquire(&arena->deferred);
    }
}
