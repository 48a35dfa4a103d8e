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
 *       then take that back     [open-3]           empty the lanes: tlab.c      [empty-2]
 *                                                  head: closing n -> closed    [open-3]
 *
 * All are sequentially consistent: the reset sees the scope, or the opener sees "closing" and takes it back (and then the
 * reset's last step fails), or finds the next generation there and opens its scope in that. Nobody waits.
 *
 * The arena's generation then follows the tag: step.c. */
#include "generation.h"

#include "../lane/tlab.h"

#include "../platform/os.h"
#include "../platform/unwind.h"

#define CALL_MASK MA_CALL_MASK
#define CLOSING MA_DEFERRED_CLOSING
#define BUSY MA_BUSY
static_assert(CALL_MASK + 1 == CLOSING, "one bit each, between the list and the tag");
static_assert(BUSY << 1 == (uint64_t)1 << MA_DEFERRED_TAG_SHIFT, "likewise");

/* How often a reset lets those run that defer, before it is refused; and who wants to defer lets a reset run. On a
 * busy machine each may cost a time slice. A reset that has run calls already is more patient: it cannot change nothing. */
#define YIELDS (MA_YIELDS < 16 ? MA_YIELDS : 16)
#define NAPS (MA_YIELDS < 400 ? MA_YIELDS : 400)

/* Of the generation that a deferred call, or a pin, holds open. */
static uintptr_t base_of_calls(const ma_arena *arena)
{
    return ma_pool_base(&arena->pool, ma_load_relaxed(&arena->pool.generation));
}

static ma_deferred_call *call_at(const ma_arena *arena, uint64_t grains)
{
    return (ma_deferred_call *)(base_of_calls(arena) + (uintptr_t)((grains - 1) << MA_GRAIN_BITS));
}

/* The generation, and the head that belongs to it. Waits where another thread alone can end a closed one. */
static uint64_t look_at_head(ma_arena *arena, uint64_t *head)
{
    uint64_t generation;
    while (!ma_step_look(arena, &generation, head)) {
        (void)ma_fork_check(arena); /* (a fork in the middle of this call may have lost that thread) */
        ma_give_way(arena, false);
    }
    return generation;
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
        return REFUSED;                                                                     /* [defer-2] */
    if (ma_swap_acq_rel(&arena->deferred, &head, ma_not_closing(head) | BUSY)) return DONE; /* [defer-1] */
    ma_store_release(&arena->runner, 0);                                                    /* [defer-2] */
    return CHANGED;
}

/* Runs the newest call of the list, by its runner. The call leaves the list before it runs, so that the others stay
 * deferred whatever comes of it: an exception, the end of the thread, a fork. */
static void run_newest(ma_arena *arena)
{
    uint64_t head = ma_load_acquire(&arena->deferred);
    ma_deferred_call call;
    do {
        ma_receive(arena->pool.told, &arena->deferred);
        call = *call_at(arena, ma_not_closing(head) & CALL_MASK); /* (nobody else takes it from the list) */
    } while (
        !ma_swap_acq_rel(&arena->deferred, &head, (ma_not_closing(head) & ~CALL_MASK) | call.next)); /* [defer-1] */
    MA_GUARD_BEGIN(ma_step_stop_running, arena);
    call.fn(call.arg);
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
uint64_t ma_open_scopes(const ma_arena *arena)
{
    uint64_t ended = sum_opened(arena, true);
    return sum_opened(arena, false) - ended;
}

/* Whether a scope is open, or a trim under way; or (`*defers`) a thread is in the middle of memarena_defer. */
static bool is_held_open(const ma_arena *arena, bool *defers)
{
    if (ma_open_scopes(arena) != 0) return true;
    uint64_t pins = ma_load_seq_cst(&arena->pins) & MA_PIN_MASK; /* [pin-1] */
    *defers = pins != 0 && pins < MA_PIN_TRIM;
    return pins != 0;
}

uint64_t ma_hold_off(ma_arena *arena)
{
    for (;;) {
        uint64_t head, generation = look_at_head(arena, &head);
        if (!(head & CLOSING)) return generation;
        (void)ma_swap_seq_cst(&arena->deferred, &head, ma_not_closing(head)); /* [open-3] */
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
    return ma_hold_off(arena);
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
    uint64_t number = ma_add_acq_rel(&arena->attempts, 1) & CALL_MASK,
             closing = ma_not_closing(head) | CLOSING | number;
    bool defers = false;
    if (!ma_swap_seq_cst(&arena->deferred, &head, closing)) return CHANGED; /* [open-3] */
    if (is_held_open(arena, &defers)) {
        (void)ma_swap_seq_cst(&arena->deferred, &closing, ma_not_closing(closing));
        return defers ? DEFERS : REFUSED;
    }
    ma_lane_empty_all(arena);
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
        if (ma_not_closing(head) & CALL_MASK) {
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
        ma_step_stop_running(arena);
    return outcome == DONE ? DONE : REFUSED;
}

/* Closes the present generation, after its deferred calls. False: EBUSY, or ENOMEM. */
bool ma_close_generation(ma_arena *arena, uint64_t *generation)
{
    for (int patience = 0;;) {
        uint64_t head;
        bool defers = false;
        (void)ma_fork_check(arena);
        *generation = look_at_head(arena, &head);
        if (ma_traps(arena)) {
            ma_claim prepared = ma_step_prepare(arena, *generation);
            if (prepared == MA_MOVED) continue;
            if (prepared == MA_NO_ROOM) return ma_fail(ENOMEM);
        }
        if (head & BUSY) return ma_fail(EBUSY);
        attempt outcome;
        if (!(ma_not_closing(head) & CALL_MASK))
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

/* ---- Defer ----------------------------------------------------------------------------------------------------------- */

void ma_let_a_reset_run(const ma_arena *arena)
{
    for (int yields = 0; yields < YIELDS; yields++) {
        if (!(ma_load_acquire(&arena->deferred) & BUSY)) return;
        if (ma_load_acquire(&arena->runner) == ma_os_thread_self()) return; /* we are in such a call */
        ma_give_way(arena, false);
    }
}

bool ma_defer_push(ma_arena *arena, ma_deferred_call *call, uint64_t generation, void (*fn)(void *), void *arg)
{
    ma_pin pin;
    ma_fork_check(arena);
    bool lives = ma_pin_begin(arena, &pin, MA_PIN_DEFER) == generation;
    uint64_t head = ma_load_acquire(&arena->deferred), pushed = 0;
    while (lives) {
        *call = (ma_deferred_call){.fn = fn, .arg = arg, .next = ma_not_closing(head) & CALL_MASK};
        pushed =
            (ma_not_closing(head) & ~CALL_MASK) | ((((uintptr_t)call - base_of_calls(arena)) >> MA_GRAIN_BITS) + 1);
        ma_hand_over(arena->pool.told, &arena->deferred);
        if (ma_swap_acq_rel(&arena->deferred, &head, pushed)) break; /* [defer-1] */
    }
    ma_pin_end(&pin);
    return lives || ma_fail(EBUSY);
}

void ma_defer_run_all(ma_arena *arena)
{
    uint64_t head;
    ma_store_release(&arena->runner, ma_os_thread_self());
    (void)ma_or_seq_cst(&arena->deferred, BUSY); /* no reset from a call */
    while ((head = ma_load_acquire(&arena->deferred), ma_not_closing(head) & CALL_MASK) != 0) run_newest(arena);
    ma_step_stop_running(arena);
}
