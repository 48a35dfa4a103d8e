/* The supply: the one way in which memory of a generation is got from the pool, and the only place that looks twice.
 *
 * A look that finds no room may be wrong for a moment: another thread claims a run, which it may give back, or has borrowed
 * the rest of a source. So a "no" is final only if nothing of that kind was under way. */
#ifndef MA_SUPPLY_H
#define MA_SUPPLY_H

#include "../base/lease.h"

/* One look for memory, in `generation` of the request. */
typedef ma_claim ma_look(ma_arena *arena, void *context);

/* Whether a look that found no room did so because there is none. `runs`: pool.runs before the look; `*patience`: 0 before the
 * first look. False: the caller has waited, and should look again. True after some 10 ms in any case: the thread that hides the
 * room may have been stopped, or be gone in a child of fork. */
bool ma_no_room_is_final(ma_arena *arena, uint64_t runs, int *patience);

/* Looks until the answer is final. Returns MA_MOVED when the generation has ended meanwhile. */
static inline ma_claim ma_supply(ma_arena *arena, ma_look *look, void *context)
{
    for (int patience = 0;;) {
        uint64_t runs = ma_load_acquire(&arena->pool.runs); /* [run-1] */
        ma_claim outcome = look(arena, context);
        if (outcome != MA_NO_ROOM || ma_no_room_is_final(arena, runs, &patience)) return outcome;
    }
}

/* One look for a span that is no TLAB, from the home of the lane, or of this thread without one (NULL). `large`: in the frontier
 * first. Counts the spent sources that it met; the bytes are the caller's to account. */
ma_claim ma_claim_apart(ma_arena *arena, ma_lane *lane, ma_request *request, bool large, ma_span *span);

/* After a final no. Whether to try once more: calls the user's on_oom, unless this thread is in one already. */
bool ma_ask_for_room(ma_arena *arena, memarena *handle, size_t size);
/* Counts the failure. Returns NULL, ENOMEM. */
void *ma_out_of_memory(ma_arena *arena, size_t size);

#endif
