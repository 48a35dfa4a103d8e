/* The number that a thread has leased, and what else a thread knows of itself. */
#ifndef MA_LEASE_H
#define MA_LEASE_H

#include "head.h"

/* What a thread knows of its lane besides memarena_lane_offset_; and of what it is in the middle of. */
typedef struct ma_lane_thread {
    uint64_t random; /* for samples */
    /* It is doing so already (and a signal came), has given its lane back, or its end cannot be watched. */
    bool may_not_lease;
    bool has_asked; /* whether a lessee is gone */
    bool is_reporting;
    bool is_asking;      /* is in an on_oom, of whichever arena */
    uint8_t counted_in;  /* the number + 1 that it has leased through this copy of the library; 0: none */
    struct ma_pin *pins; /* its own, newest first */
    /* Where it took blocks last without a lane, and in which generation, of the last two such arenas: see ma_lane_see. */
    _Alignas(8) uint64_t seen[2];
} ma_lane_thread;

extern MA_HIDDEN __thread ma_lane_thread ma_lane_thread_ MEMARENA_TLS_;

/* The lane of this thread, which leases a number if it has none. NULL: there is no free number, or the arena has no lanes. */
ma_lane *ma_lane_mine(ma_arena *arena);
/* As ma_lane_mine, but never leases. */
ma_lane *ma_lane_leased(const ma_arena *arena);
/* Its place among the lanes; of CPU lanes: MA_LANES and the CPU's number. */
unsigned ma_lane_index(const ma_arena *arena, const ma_lane *lane);
/* A number for hashing, another one for each thread that lives. */
uint64_t ma_lane_thread_number(void);

/* ---- Lanes that a burst holds: see arena/burst.c ---- */

/* What `cursor_` says then: odd, and behind the end of every TLAB, so that no bound check succeeds. `leases` tells the lessees of
 * a number apart. */
static inline uintptr_t ma_burst_mark(uint32_t leases)
{
    return MEMARENA_BURST_NOWHERE_ + 2 * (uintptr_t)(leases & 0xFFFF) + 1;
}

/* Whether a burst holds the lane's TLAB, or the thread that began it has ended, or a fork has lost it. */
static inline bool ma_lane_is_held(const ma_lane *lane)
{
    return ma_load_relaxed(&lane->tlab.cursor_) & 1;
}

/* Where the lane's sum counts from. What a burst holds counts as handed out. */
static inline uintptr_t ma_lane_counted_to(const ma_lane *lane)
{
    uintptr_t cursor = ma_load_acquire(&lane->tlab.cursor_);
    return cursor & 1 ? ma_load_acquire(&lane->limit) : cursor;
}

/* ---- Leases ---- */

/* Whether this thread has no lane, and none is free. */
static inline bool ma_lane_all_taken(void)
{
    return memarena_lane_offset_ == 0 && ma_load_relaxed(&ma_process()->leased) == UINT64_MAX;
}

/* The number that this thread has leased; MA_LANES without one, or if the arena has no lanes. */
static inline unsigned ma_lane_number(const ma_arena *arena)
{
    uintptr_t offset = memarena_lane_offset_;
    return offset == 0 || !arena->has_lanes ? MA_LANES : (unsigned)((offset - MA_LANES_OFFSET) / MA_LANE_BYTES);
}

/* Enters a lane into lanes_used or scope_lanes, for good. [empty-3] [open-2] */
static inline void ma_lane_enlist(uint64_t *lanes, unsigned number)
{
    uint64_t bit = (uint64_t)1 << number;
    if (!(ma_load_relaxed(lanes) & bit)) (void)ma_or_seq_cst(lanes, bit);
}

/* Notes that the CPU lanes up to this one may have had a TLAB. */
void ma_cpu_enlist(ma_arena *arena, unsigned number);

/* Where scopes are counted that a thread with this number opens or ends; MA_LANES: one without a lane. */
static inline ma_extent_cache *ma_arena_counts(const ma_arena *arena, unsigned number)
{
    return &arena->extents.caches[arena->has_lanes ? number : 0];
}

/* The cache of extents of this thread's lane; NULL without a lane. */
static inline ma_extent_cache *ma_lane_cache(const ma_arena *arena)
{
    static_assert(MA_LANE_BYTES % sizeof(ma_extent_cache) == 0, "an offset is enough");
    uintptr_t offset = memarena_lane_offset_,
              at = (offset - MA_LANES_OFFSET) / (MA_LANE_BYTES / sizeof(ma_extent_cache));
    return offset == 0 || !arena->has_lanes ? NULL : (ma_extent_cache *)((uintptr_t)arena->extents.caches + at);
}

/* One word, so that a signal handler that allocates here, too, finds and leaves it whole. */
static inline uint64_t ma_lane_sight(const ma_arena *arena, uint64_t generation)
{
    return ((uint64_t)(uintptr_t)arena << 16) + generation;
}

/* This thread has taken a block without a lane, in this generation or a later one. */
static inline void ma_lane_see(const ma_arena *arena, uint64_t generation)
{
    uint64_t *seen = ma_lane_thread_.seen, now = ma_lane_sight(arena, generation), before = ma_load_relaxed(&seen[0]);
    if (before == now) return;
    if ((before ^ now) >> 22 != 0) ma_store_relaxed(&seen[1], before); /* it was in another arena */
    ma_store_relaxed(&seen[0], now);
}

/* Whether this thread has taken a block in this generation, without a lane. What dies by a reset that it has not seen may end
 * where a live block of another thread does: only with this answer, or with a lane of this generation, may it give back
 * bytes of a block. */
static inline bool ma_lane_has_seen(const ma_arena *arena, uint64_t generation)
{
    const uint64_t *seen = ma_lane_thread_.seen;
    uint64_t now = ma_lane_sight(arena, generation);
    return ma_load_relaxed(&seen[0]) == now || ma_load_relaxed(&seen[1]) == now;
}

#endif
