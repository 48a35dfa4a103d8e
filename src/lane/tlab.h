/* TLABs: what a lane bumps, and the slow road of its owner.
 *
 * All calls here are for the owner of the lane: the thread that has leased its number, or the holder of a CPU lane. */
#ifndef MA_TLAB_H
#define MA_TLAB_H

#include "../supply/supply.h"

/* The largest TLAB of the lane with this index, in bytes; 0: it has none. */
uint32_t ma_tlab_limit(const ma_arena *arena, unsigned index);
/* Brings a lane that was last used in another generation, or whose owner vanished while it exchanged the TLAB, into this one. Returns
 * whether a burst of this thread holds it. */
bool ma_lane_enter(ma_arena *arena, ma_lane *lane, uint64_t generation);
/* A block from the lane's TLAB. MA_NO_ROOM: it does not fit; MA_MOVED: the generation ended, or a reset has just emptied the
 * lane. */
ma_claim ma_lane_take(ma_arena *arena, ma_lane *lane, const ma_request *request, ma_block *block);
/* A new TLAB, in which the requested block fits. What is left of the old one goes back, or is left behind. */
ma_claim ma_lane_refill(ma_arena *arena, ma_lane *lane, ma_request *request);
/* What is left of the TLAB goes back to its source. False: somebody has claimed there since, and it stays where it is. */
bool ma_lane_retract(ma_arena *arena, ma_lane *lane, uint64_t generation);
/* Nothing of the TLAB is handed out any more. */
void ma_lane_abandon(ma_lane *lane);
/* Whether a burst of this thread holds the TLAB: see arena/burst.c. What one of another thread, which is gone, has held is given up. */
bool ma_burst_holds(ma_lane *lane);
/* Of `burst` in a lane or scope: the burst's cursor is the rest of this word, and not the caller's. */
#define MA_BURST_KEPT ((uintptr_t)1)
/* A block, from the TLAB, a new one, or on its own. */
ma_claim ma_lane_alloc(ma_arena *arena, ma_lane *lane, ma_request *request, ma_block *block);
/* A block on its own, accounted to the lane, or without one (NULL) to its source. */
ma_claim ma_claim_block(ma_arena *arena, ma_lane *lane, ma_request *request, bool large, ma_block *block);
/* The last block of the TLAB, which ends at `from`, ends at `to` from now on. `*weight`: of what is sampled of it. False: there is
 * no room, or something else lies behind it. */
bool ma_lane_resize(ma_arena *arena, ma_lane *lane, uint64_t generation, uintptr_t from, uintptr_t to,
                    uint64_t *weight);
/* By any thread: the owner of each leased lane comes to the slow road for its next block. */
void ma_lane_empty_all(ma_arena *arena);

/* Where two CPU lanes share a source, as when a thread moves, the rest of a TLAB may be left behind. A lane remembers the
 * largest of them, as {grains, place in grains}. (Not a list in those rests: the generation may end while somebody writes
 * there.) */
#define MA_TAIL_PLACE_BITS 44
#define MA_TAIL_PLACE_MASK (((uint64_t)1 << MA_TAIL_PLACE_BITS) - 1)
static_assert((MA_CAPACITY_MAX >> MA_GRAIN_BITS) <= MA_TAIL_PLACE_MASK, "places have room");
void ma_lane_remember_tail(ma_lane *lane, uintptr_t place, uintptr_t bytes);

/* Blocks of more than 1/8 of the largest TLAB are claimed on their own: at most that much of a TLAB is left behind. A
 * large alignment, too: it would leave up to as much in the TLAB before the block. */
static inline bool ma_is_direct(const ma_request *request, uint32_t tlab_limit)
{
    uint64_t from = tlab_limit / 8;
    return request->size > from || (request->alignment > from && request->alignment > MEMARENA_MAX_ALIGNMENT_);
}

/* Where the block starts in what is left of the lane's TLAB; 0: it does not fit. */
static inline uintptr_t ma_lane_find(const ma_lane *lane, const ma_request *request)
{
    uint64_t limit = lane->limit, cursor = ma_load_relaxed(&lane->tlab.cursor_);
    uint64_t start = (cursor + request->alignment - 1) & ~(request->alignment - 1);
    return start < cursor || start > limit || request->size > limit - start ? 0 : (uintptr_t)start;
}

#endif
