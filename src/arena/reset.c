/* The end of a generation: deferred calls, then the lanes emptied, then one step forward.
 *
 * One word decides: the head of the list of deferred calls,
 *
 *     | tag, 18 bits | busy | closing | newest call, 44 bits |
 *
 * A reset *closes* the generation by moving the tag on, which it can only while nothing else is in the word: no call in
 * the list, no other reset running calls (busy). So every call runs exactly once, in its own generation, while its
 * blocks are alive. A reset that meets another one's calls running is refused with EBUSY.
 *
 * No scope may be open, either, and no pin: nobody may be in the middle of memarena_defer or memarena_trim. They are counted, so
 * the reset first writes "closing", with a number that is never used again in place of the list, into the word, then
 * counts, then closes:
 *
 *     opener                                     reset
 *       opened += 1             [open-1]           head = closing, number n     [open-3]
 *       head is closing?        [open-3]           scopes that are open?        [open-1]
 *       then take that back     [open-3]           empty the lanes: alloc.c     [empty-2]
 *                                                  head: closing n -> closed    [open-3]
 *
 * All are sequentially consistent: the reset sees the scope, or the opener sees "closing" and takes it back (and then the
 * reset's last step fails), or finds the next generation there and opens its scope in that. Nobody waits.
 *
 * The arena's generation then follows the tag. Between the two stores anybody who meets the closed word takes the
 * second step himself, so that nobody waits for a reset that was preempted there. The tag moves with every reset and
 * never falls behind, so few bits suffice. */
#include "arena.h"

#include "../platform/os.h"
#include "../platform/unwind.h"

#define CALL_BITS 44
#define CALL_MASK (((uint64_t)1 << CALL_BITS) - 1)
#define CLOSING MA_DEFERRED_CLOSING
#define BUSY (CLOSING << 1)
static_assert(CALL_MASK + 1 == CLOSING, "one bit each, between the list and the tag");
static_assert(BUSY << 1 == (uint64_t)1 << MA_DEFERRED_TAG_SHIFT, "likewise");

/* How often a reset lets those run that defer, before it is refused; and who wants to defer lets a reset run. On a
 * busy machine each may cost a time slice. A reset that has run calls already is more patient: it cannot change nothing. */
#define YIELDS (MA_YIELDS < 16 ? MA_YIELDS : 16)
#define NAPS (MA_YIELDS < 400 ? MA_YIELDS : 400)

static bool belongs_to(uint64_t head, uint64_t generation)
{
    return (head ^ ma_deferred_start(generation)) >> MA_DEFERRED_TAG_SHIFT == 0;
}

/* What the head says when nobody is trying to close. */
static uint64_t not_closing(uint64_t head)
{
    return head & CLOSING ? head & ~(CLOSING | CALL_MASK) : head;
}

/* Of the generation that a deferred call, or a pin, holds open. */
static uintptr_t base_of_calls(const ma_arena *arena)
{
    return ma_pool_base(&arena->pool, ma_load_relaxed(&arena->pool.generation));
}

static ma_deferred_call *call_at(const ma_arena *arena, uint64_t grains)
{
    return (ma_deferred_call *)(base_of_calls(arena) + (uintptr_t)((grains - 1) << MA_GRAIN_BITS));
}

/* Whether the second step of a reset is for its own thread alone: under a sanitizer it has to mark the blocks dead before, and
 * where stale pointers are trapped to move the pages. There the others wait. */
static bool is_for_one(const ma_arena *arena)
{
    return arena->watch != MA_WATCH_NONE || ma_traps(arena);
}

/* The generation, and the head that belongs to it. The generation is read before and after the head: then the head is
 * one that stood while this, all 64 bits of it, was the generation, however long we slept in between. */
static uint64_t agree(ma_arena *arena, uint64_t *head)
{
    for (;;) {
        uint64_t generation = ma_load_acquire(&arena->pool.generation);
        *head = ma_load_seq_cst(&arena->deferred); /* [open-3] */
        if (ma_load_acquire(&arena->pool.generation) != generation) continue;
        if (belongs_to(*head, generation)) return generation;
        if (is_for_one(arena)) {
            (void)ma_fork_check(arena); /* (a fork in the middle of this call may have lost that thread) */
            ma_give_way(arena, false);
        } else {
            (void)ma_swap_seq_cst(&arena->pool.generation, &generation, generation + 1);
        }
    }
}

/* The second step of a reset, by its own thread. `lost`: by another one, in a child of fork. */
static void finish(ma_arena *arena, bool lost)
{
    uint64_t generation = ma_load_acquire(&arena->pool.generation), head;
    if (!is_for_one(arena))
        (void)agree(arena, &head);
    else if (!belongs_to(ma_load_seq_cst(&arena->deferred), generation))
        ma_trap_follow(arena, generation, lost);
}

/* How an attempt to close a generation, or a part of it, has ended. */
typedef enum attempt {
    DONE,
    REFUSED, /* something holds the generation open, and may do so for long */
    DEFERS,  /* a thread is in the middle of memarena_defer */
    CHANGED  /* look again */
} attempt;

/* ---- Deferred calls -------------------------------------------------------------------------------------------------- */

/* Announces that this thread runs calls. DONE: it does; REFUSED: another one does; CHANGED: the head is not the expected one. */
static attempt become_runner(ma_arena *arena, uint64_t head)
{
    if (!ma_fork_check(arena) || !ma_swap_address_seq_cst(&arena->runner, 0, ma_os_thread_self()))
        return REFUSED;                                                                  /* [defer-2] */
    if (ma_swap_acq_rel(&arena->deferred, &head, not_closing(head) | BUSY)) return DONE; /* [defer-1] */
    ma_store_release(&arena->runner, 0);                                                 /* [defer-2] */
    return CHANGED;
}

static void stop_running(void *context)
{
    ma_arena *arena = context;
    (void)ma_and_release(&arena->deferred, ~BUSY);
    ma_store_release(&arena->runner, 0); /* [defer-2] */
}

/* Runs the newest call of the list, by its runner. The call leaves the list before it runs, so that the others stay
 * deferred whatever comes of it: an exception, the end of the thread, a fork. */
static void run_newest(ma_arena *arena)
{
    uint64_t head = ma_load_acquire(&arena->deferred);
    ma_deferred_call *call;
    do {
        ma_receive(arena->pool.told, &arena->deferred);
        call = call_at(arena, not_closing(head) & CALL_MASK); /* (nobody else takes it from the list) */
    } while (!ma_swap_acq_rel(&arena->deferred, &head, (not_closing(head) & ~CALL_MASK) | call->next)); /* [defer-1] */
    void (*fn)(void *) = ma_exchange_seq_cst(&call->fn, NULL);                                          /* [defer-3] */
    if (!fn) return;
    MA_GUARD_BEGIN(stop_running, arena);
    fn(call->arg);
    MA_GUARD_END();
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

/* Whether a scope is open, or a trim under way; or (`*defers`) a thread is in the middle of memarena_defer. */
static bool is_held_open(const ma_arena *arena, bool *defers)
{
    if (ma_reset_open_scopes(arena) != 0) return true;
    uint64_t pins = ma_load_seq_cst(&arena->pins) & MA_PIN_MASK; /* [pin-1] */
    *defers = pins != 0 && pins < MA_PIN_TRIM;
    return pins != 0;
}

uint64_t ma_reset_hold_off(ma_arena *arena)
{
    for (;;) {
        uint64_t head, generation = agree(arena, &head);
        if (!(head & CLOSING)) return generation;
        (void)ma_swap_seq_cst(&arena->deferred, &head, not_closing(head)); /* [open-3] */
    }
}

/* The pin says what it is about to count before it counts, so that a fork in between (in a signal handler of this thread) can count it:
 * then the swap fails, and the pin says something else. Where the thread that repairs the arena after a fork was stopped, the word
 * is made right here. */
uint64_t ma_pin_begin(ma_arena *arena, ma_pin *pin, uint64_t amount)
{
    uint64_t before, said = 0, says;
    ma_fork_repair_pins(arena, ma_process_number(arena->shared));
    *pin = (ma_pin){.outer = ma_lane_thread_.pins, .arena = arena};
    ma_store_release(&ma_lane_thread_.pins, pin);
    before = ma_load_acquire(&arena->pins);
    do {
        says = (before & ~MA_PIN_MASK) | amount;
        if (!ma_swap_acq_rel(&pin->counted, &said, says)) break;
        said = says;
    } while (!ma_swap_seq_cst(&arena->pins, &before, before + amount)); /* [pin-1] */
    return ma_reset_hold_off(arena);
}

/* In one step the pin says that a fork should not count it any more, and learns in which process it was counted. */
void ma_pin_end(ma_pin *pin)
{
    uint64_t *pins = &pin->arena->pins, counted = ma_exchange_seq_cst(&pin->counted, 0), before = ma_load_acquire(pins);
    while (ma_pin_same_process(before, counted) && !ma_swap_seq_cst(pins, &before, before - (counted & MA_PIN_MASK)))
        continue; /* [pin-1] */
    ma_store_release(&ma_lane_thread_.pins, pin->outer);
}

/* ---- Closing ------------------------------------------------------------------------------------------------------ */

/* Closes the generation if there is nothing but its tag, and perhaps our own BUSY, in the head, and nothing holds it open
 * (else: REFUSED, or DEFERS where that is a call in the making; and the head as it was). */
static attempt close_generation(ma_arena *arena, uint64_t generation, uint64_t head)
{
    uint64_t number = ma_add_acq_rel(&arena->attempts, 1) & CALL_MASK, closing = not_closing(head) | CLOSING | number;
    bool defers = false;
    if (!ma_swap_seq_cst(&arena->deferred, &head, closing)) return CHANGED; /* [open-3] */
    if (is_held_open(arena, &defers)) {
        (void)ma_swap_seq_cst(&arena->deferred, &closing, not_closing(closing));
        return defers ? DEFERS : REFUSED;
    }
    ma_reset_empty_lanes(arena);
    ma_receive(arena->pool.told, &arena->scope_lanes); /* from those that have ended a scope */
    ma_hand_over(arena->pool.told, &arena->pool);
    bool done = ma_swap_seq_cst(&arena->deferred, &closing, ma_deferred_start(generation + 1)); /* [defer-1] */
    return done ? DONE : CHANGED;
}

/* Whether a reset looks once more for a call in the making: a few instructions' work, unless that thread has lost its
 * processor. */
static bool lets_them_defer(const ma_arena *arena, int *patience, bool has_run)
{
    if (++*patience > YIELDS + (has_run ? NAPS : 0)) return false;
    ma_give_way(arena, *patience > YIELDS);
    return true;
}

/* By the runner: runs what is in the list and whatever is deferred meanwhile, then closes the generation. REFUSED: a
 * scope was opened meanwhile, and stays open; or a thread stays in the middle of memarena_defer. */
static attempt run_and_close(ma_arena *arena, uint64_t generation)
{
    bool has_run = false;
    attempt outcome = CHANGED;
    for (int patience = 0; outcome == CHANGED || (outcome == DEFERS && lets_them_defer(arena, &patience, has_run));) {
        uint64_t head = ma_load_acquire(&arena->deferred);
        if (not_closing(head) & CALL_MASK) {
            run_newest(arena);
            has_run = true;
            outcome = CHANGED;
        } else {
            outcome = close_generation(arena, generation, head);
        }
    }
    if (outcome == DONE)
        ma_store_release(&arena->runner, 0); /* [defer-2] */
    else
        stop_running(arena);
    return outcome == DONE ? DONE : REFUSED;
}

void ma_reset_empty_lanes(ma_arena *arena)
{
    for (uint64_t lanes = ma_load_seq_cst(&arena->lanes_used); lanes; lanes &= lanes - 1) { /* [empty-3] */
        uintptr_t *end = &ma_arena_lane(arena, (unsigned)__builtin_ctzll(lanes))->tlab.end_;
        if (ma_load_seq_cst(end) != 0) (void)ma_exchange_seq_cst(end, 0); /* [empty-2] */
    }
}

/* Closes the present generation, after its deferred calls. False: EBUSY, or ENOMEM. */
static bool end_generation(ma_arena *arena, uint64_t *generation)
{
    for (int patience = 0;;) {
        uint64_t head;
        bool defers = false;
        (void)ma_fork_check(arena);
        *generation = agree(arena, &head);
        if (ma_traps(arena) && !ma_trap_prepare(arena, *generation)) return ma_fail(ENOMEM);
        if (head & BUSY) return ma_fail(EBUSY);
        attempt outcome;
        if (!(not_closing(head) & CALL_MASK))
            outcome = close_generation(arena, *generation, head);
        else if (is_held_open(arena, &defers))
            outcome = defers ? DEFERS : REFUSED;
        else if ((outcome = become_runner(arena, head)) == DONE)
            outcome = run_and_close(arena, *generation);
        if (outcome == DONE) return true;
        if (outcome == REFUSED || (outcome == DEFERS && !lets_them_defer(arena, &patience, false)))
            return ma_fail(EBUSY);
    }
}

bool memarena_reset(memarena *handle)
{
    ma_arena *arena = ma_arena_of(handle);
    uint64_t generation;
    if (ma_is_scope(handle)) return ma_scope_reset((ma_scope *)handle);
    if (arena->retain_bytes) ma_trim_note(arena);
    if (!end_generation(arena, &generation)) return false;
    if (arena->retain_bytes) ma_trim_note(arena); /* deferred calls, and other threads, have gone on meanwhile */
    finish(arena, false);
    ma_pool_refresh(&arena->pool, generation + 1);
    ma_extent_refresh(arena, generation + 1);
    ma_probe2(reset, arena, generation);
    if (arena->retain_bytes) ma_trim_after(arena);
    return true;
}

/* ---- Defer ----------------------------------------------------------------------------------------------------------- */

/* A reset that is running calls is let through first, for a while: else it would never end while others defer without a
 * pause. */
static void let_a_reset_run(const ma_arena *arena)
{
    for (int yields = 0; yields < YIELDS; yields++) {
        if (!(ma_load_acquire(&arena->deferred) & BUSY)) return;
        if (ma_load_acquire(&arena->runner) == ma_os_thread_self()) return; /* we are in such a call */
        ma_give_way(arena, false);
    }
}

uint64_t ma_defer_number(const ma_arena *arena, const ma_deferred_call *call)
{
    return (((uintptr_t)call - base_of_calls(arena)) >> MA_GRAIN_BITS) + 1;
}

void ma_defer_join(ma_arena *arena, const ma_deferred_call *newest, ma_deferred_call *oldest)
{
    uint64_t head = ma_load_acquire(&arena->deferred), pushed;
    do {
        oldest->next = not_closing(head) & CALL_MASK;
        pushed = (not_closing(head) & ~CALL_MASK) | ma_defer_number(arena, newest);
        ma_hand_over(arena->pool.told, &arena->deferred);
    } while (!ma_swap_acq_rel(&arena->deferred, &head, pushed)); /* [defer-1] */
}

bool memarena_defer_at_(memarena *handle, void *record, uint64_t generation, void (*fn)(void *), void *arg)
{
    ma_arena *arena = ma_arena_of(handle);
    ma_deferred_call *call = record;
    ma_pin pin;
    if (ma_is_scope(handle)) {
        if (((ma_scope *)handle)->generation != generation) return ma_fail(EBUSY);
        ma_scope_defer_at((ma_scope *)handle, call, fn, arg);
        return true;
    }
    ma_fork_check(arena);
    bool lives = ma_pin_begin(arena, &pin, MA_PIN_DEFER) == generation;
    if (lives) {
        *call = (ma_deferred_call){.fn = fn, .arg = arg};
        ma_defer_join(arena, call, call);
    }
    ma_pin_end(&pin);
    return lives || ma_fail(EBUSY);
}

/* No callback of the user's runs while the generation is held open: the record is a block like any other, taken before, and
 * taken again where a reset came between. */
bool memarena_defer(memarena *handle, void (*fn)(void *), void *arg)
{
    ma_arena *arena = ma_arena_of(handle);
    if (ma_is_scope(handle)) return ma_scope_defer((ma_scope *)handle, fn, arg);
    (void)ma_fork_check(arena);
    let_a_reset_run(arena);
    for (;;) {
        uint64_t generation = ma_load_acquire(&arena->pool.generation);
        ma_deferred_call *call = memarena_alloc_aligned(handle, sizeof *call, _Alignof(ma_deferred_call));
        if (!call) return false;
        if (memarena_defer_at_(handle, call, generation, fn, arg)) return true;
    }
}

/* Takes the newest call of fn(arg), and so sees to it that nobody runs it. The record stays where it is in the list. For a caller who
 * holds the generation open. */
static bool take_call(ma_arena *arena, void (*fn)(void *), void *arg)
{
    uint64_t number = not_closing(ma_load_acquire(&arena->deferred)) & CALL_MASK; /* [defer-1] */
    ma_receive(arena->pool.told, &arena->deferred);
    for (ma_deferred_call *call; number != 0; number = call->next) {
        call = call_at(arena, number);
        if (ma_load_relaxed(&call->fn) != fn || call->arg != arg) continue;
        if (ma_exchange_seq_cst(&call->fn, NULL)) return true; /* [defer-3] */
    }
    return false;
}

/* Takes records that were undone from the front of the list, so that a program which defers and undoes by turns has a short one. A
 * runner takes them itself: he relies on that nobody else does. */
static void skip_taken(ma_arena *arena)
{
    uint64_t head = ma_load_acquire(&arena->deferred);
    for (;;) {
        uint64_t number = not_closing(head) & CALL_MASK;
        if (number == 0 || head & BUSY || ma_load_acquire(&call_at(arena, number)->fn)) return;
        uint64_t rest = (head & ~CALL_MASK) | call_at(arena, number)->next;
        if (ma_swap_acq_rel(&arena->deferred, &head, rest)) head = rest; /* [defer-1] */
    }
}

bool memarena_undefer(memarena *handle, void (*fn)(void *), void *arg)
{
    ma_arena *arena = ma_arena_of(handle);
    ma_pin pin;
    if (!fn) return false;
    if (ma_is_scope(handle)) return ma_scope_undefer((ma_scope *)handle, fn, arg);
    (void)ma_fork_check(arena);
    let_a_reset_run(arena);
    (void)ma_pin_begin(arena, &pin, MA_PIN_DEFER);
    bool taken = take_call(arena, fn, arg);
    if (taken) skip_taken(arena);
    ma_pin_end(&pin);
    return taken;
}

void ma_defer_run_all(ma_arena *arena)
{
    uint64_t head;
    ma_store_release(&arena->runner, ma_os_thread_self());
    (void)ma_or_seq_cst(&arena->deferred, BUSY); /* no reset from a call */
    while ((head = ma_load_acquire(&arena->deferred), not_closing(head) & CALL_MASK) != 0) run_newest(arena);
    stop_running(arena);
}

/* ---- In a child of fork ------------------------------------------------------------------------------------------------ */

void ma_reset_repair(ma_arena *arena, uintptr_t survivor)
{
    uint64_t head = ma_load_acquire(&arena->deferred);
    while (head & CLOSING && !ma_swap_acq_rel(&arena->deferred, &head, not_closing(head))) continue;
    /* (The survivor forked in a deferred call, or on the way to one.) */
    if (ma_fork_has_lost(&arena->runner, survivor)) stop_running(arena);
    if (ma_load_acquire(&arena->moving) == 0) finish(arena, true);
}
