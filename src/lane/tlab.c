/* A lane and its TLAB, by its owner. This file and cpu.c are the only ones that write a lane.
 *
 * A lane's TLAB is exchanged by its owner while a reset may empty the lane from any thread. Neither waits, and yet a
 * generation never ends while a TLAB of it is bumpable:
 *
 *     owner: publish                                     reset (see close.c)
 *       end_ = ARMED            [empty-2]                  head = closing         [empty-1]
 *       head: is a reset near?  [empty-1]                  for each used lane:
 *       if not, end_: ARMED -> limit by compare-and-swap     end_ = 0             [empty-2]
 *       (or where the next sample lies: sample.c)          head: closing -> closed
 *
 * All are sequentially consistent. If the owner arms before the reset looks at the lane, the reset overwrites ARMED or
 * the limit that follows it. If it arms later, it sees that a reset is near, and leaves the lane unpublished: its block is
 * taken, and so are the next ones, one by one on the slow road, until that reset has come or has given up. A reset that
 * gives up has emptied lanes for nothing, which costs each owner one more slow road.
 *
 * So wherever a fork cuts a reset, no lane in the child is bumpable in a generation that is over. Were the lanes emptied after
 * the generation had moved, as would be simpler, the thread that forks could go on for long in such a lane.
 *
 * The order of stores in `install` keeps a lane usable by its next owner wherever its owner vanished (fork). */
#include "tlab.h"

#include "../platform/probe.h"
#include "sample.h"

uint32_t ma_tlab_limit(const ma_arena *arena, unsigned index)
{
    return arena->tlab_limit[index < MA_FAVOURED_LANES ? 0 : index < MA_LANES ? 1 : 2];
}

/* ---- The lane, by its owner ------------------------------------------------------------------------------------- */

static uintptr_t lane_sum(const ma_lane *lane)
{
    uintptr_t base = ma_load_relaxed(&lane->base);
    return base == MA_BASE_MOVING ? lane->settled : base + ma_lane_counted_to(lane);
}

/* Exchanges the TLAB: [begin, limit) with the cursor at `cursor`, on top of `settled` bytes handed out before. The lane
 * is empty until it is published. Each store is a release: a stop after any of them leaves a lane whose range is
 * empty and whose sum is either the old one or the new one. [account-1] */
static void install(ma_lane *lane, uintptr_t settled, uintptr_t begin, uintptr_t cursor, uintptr_t limit)
{
    lane->sample_at = 0;
    ma_store_release(&lane->settled, settled);
    ma_store_release(&lane->base, MA_BASE_MOVING);
    ma_store_release(&lane->tlab.end_, 0);
    ma_store_release(&lane->limit, limit);
    ma_store_release(&lane->tlab.cursor_, cursor);
    ma_store_release(&lane->base, settled - begin);
}

static void restart(ma_arena *arena, ma_lane *lane, uint64_t generation, uintptr_t cursor)
{
    unsigned index = ma_lane_index(arena, lane);
    if (index < MA_LANES)
        ma_lane_enlist(&arena->lanes_used, index); /* [empty-3] */
    else
        ma_cpu_enlist(arena, index - MA_LANES);
    uintptr_t settled = lane->generation == generation ? lane->settled : 0;
    install(lane, settled, 0, cursor, 0);
    if (lane->generation == generation) return;
    lane->source = ma_pool_home(&arena->pool, index);
    ma_store_relaxed(&lane->tail_bytes, 0);
    ma_store_relaxed(&lane->tail, 0);
    if (lane->tlab_bytes == 0) lane->tlab_bytes = MA_TLAB_FIRST;
    ma_store_release(&lane->generation, generation); /* [account-2] */
}

/* A burst that holds the lane goes on holding it, without a TLAB. */
bool ma_lane_enter(ma_arena *arena, ma_lane *lane, uint64_t generation)
{
    bool held = ma_burst_holds(lane);
    if (lane->generation == generation && ma_load_relaxed(&lane->base) != MA_BASE_MOVING) return held;
    if (held) { /* what it holds is of a generation that is over */
        ma_store_relaxed(&lane->tlab.end_, 0);
        lane->burst = MA_BURST_KEPT;
    }
    restart(arena, lane, generation, held ? memarena_held_ : 0);
    return held;
}

/* The base stays as it is where it can. Were it exchanged, the TLAB that comes next could well have the old one again, and a reader
 * who has slept meanwhile would take the two for one. */
void ma_lane_abandon(ma_lane *lane)
{
    uintptr_t cursor = ma_load_relaxed(&lane->tlab.cursor_);
    bool moving = ma_load_relaxed(&lane->base) == MA_BASE_MOVING;
    ma_store_release(&lane->tlab.end_, 0);
    if (!moving && ma_lane_is_held(lane)) { /* what a burst held counts as handed out */
        ma_store_release(&lane->tlab.cursor_, lane->limit);
    } else if (!moving && lane->limit >= cursor) {
        ma_count(&lane->tail_bytes, lane->limit - cursor);
        ma_store_release(&lane->limit, cursor);
    } else {
        install(lane, lane_sum(lane), 0, 0, 0);
    }
}

bool ma_burst_holds(ma_lane *lane)
{
    uintptr_t cursor = ma_load_relaxed(&lane->tlab.cursor_);
    if (!(cursor & 1)) return false;
    if (cursor == memarena_held_) return true;
    ma_lane_abandon(lane);
    lane->burst = 0;
    return false;
}

/* Makes the TLAB bumpable, behind a block that ends at `next`, unless a reset is under way, or in the debug build: then the block
 * is taken, and the next one comes here again. False: the generation moved, or a reset has just emptied the lane; look again. */
static bool publish(ma_arena *arena, ma_lane *lane, uint64_t generation, uintptr_t next, uint64_t *weight)
{
    (void)ma_exchange_seq_cst(&lane->tlab.end_, MA_END_ARMED); /* [empty-2] */
    uint64_t head = ma_load_seq_cst(&arena->deferred);         /* [empty-1] */
    if (ma_load_acquire(&arena->pool.generation) != generation) return false;
    uintptr_t at = lane->sample_at;
    uint16_t round = lane->sample_round;
    if (ma_load_seq_cst(&arena->sampling.round) != 0) /* [sample-1] */
        *weight = ma_sample_pass(arena, &at, &round, ma_load_relaxed(&lane->tlab.cursor_), next);
    if (!MA_DEBUG && !ma_reset_is_near(head, generation) &&
        !ma_swap_address_seq_cst(&lane->tlab.end_, MA_END_ARMED, ma_sample_end(at, lane->limit)))
        return false;
    lane->sample_at = at;
    lane->sample_round = round;
    return true;
}

/* The block from the lane's own TLAB, if it fits. Where `end_` is the limit no sample lies before it. */
ma_claim ma_lane_take(ma_arena *arena, ma_lane *lane, const ma_request *request, ma_block *block)
{
    uintptr_t start = ma_lane_find(lane, request), next = start + (uintptr_t)request->size;
    uint64_t weight = 0;
    if (!start) return MA_NO_ROOM;
    if (ma_load_relaxed(&lane->tlab.end_) != lane->limit && !publish(arena, lane, request->generation, next, &weight))
        return MA_MOVED;
    ma_store_relaxed(&lane->tlab.cursor_, next);
    *block = (ma_block){.address = start, .weight = weight};
    return MA_CLAIMED;
}

/* Gives what is left of the TLAB back to its source, if nobody has claimed there since; else it stays where it is. */
bool ma_lane_retract(ma_arena *arena, ma_lane *lane, uint64_t generation)
{
    uintptr_t cursor = ma_load_relaxed(&lane->tlab.cursor_), limit = lane->limit;
    uintptr_t base = ma_pool_base(&arena->pool, generation);
    ma_store_relaxed(&lane->tlab.end_, 0); /* also of a full one: what is claimed next lies behind its last block */
    if (cursor == limit) return false;
    ma_store_relaxed(&lane->limit, cursor);
    if (ma_pool_move_tip(&arena->pool, generation, limit - base, cursor - base)) return true;
    ma_store_relaxed(&lane->limit, limit);
    return false;
}

/* ---- What a CPU lane leaves behind ------------------------------------------------------------------------------------ */

void ma_lane_remember_tail(ma_lane *lane, uintptr_t place, uintptr_t bytes)
{
    uint64_t grains = (uint64_t)bytes >> MA_GRAIN_BITS, largest = ma_load_relaxed(&lane->tail) >> MA_TAIL_PLACE_BITS;
    if (grains > largest && grains <= UINT64_MAX >> MA_TAIL_PLACE_BITS)
        ma_store_relaxed(&lane->tail, grains << MA_TAIL_PLACE_BITS | place >> MA_GRAIN_BITS);
}

static void leave_tail(ma_lane *lane, uintptr_t base)
{
    uintptr_t cursor = ma_load_relaxed(&lane->tlab.cursor_);
    ma_lane_remember_tail(lane, cursor - base, lane->limit - cursor);
}

/* ---- A new TLAB ------------------------------------------------------------------------------------------------- */

/* Takes the claimed span as the lane's TLAB. What is left of the old one goes back, or is left behind. */
static void adopt(ma_arena *arena, ma_lane *lane, const ma_request *request, const ma_span *span)
{
    uintptr_t base = ma_pool_base(&arena->pool, request->generation);
    uintptr_t begin = base + (uintptr_t)span->begin, end = base + (uintptr_t)span->end;
    if (begin == lane->limit) { /* the TLAB goes on where it ended: nothing is lost */
        ma_store_relaxed(&lane->limit, end);
        return;
    }
    if (!ma_lane_retract(arena, lane, request->generation)) {
        ma_count(&lane->tail_bytes, lane->limit - ma_load_relaxed(&lane->tlab.cursor_));
        if (ma_lane_index(arena, lane) >= MA_LANES) leave_tail(lane, base);
    }
    install(lane, lane_sum(lane), begin, begin, end);
}

ma_claim ma_lane_refill(ma_arena *arena, ma_lane *lane, ma_request *request)
{
    unsigned index = ma_lane_index(arena, lane);
    uint32_t limit = ma_tlab_limit(arena, index), tlab_bytes = lane->tlab_bytes < limit ? lane->tlab_bytes : limit;
    uint64_t probes = 0;
    ma_span span;
    request->want = tlab_bytes > request->size ? tlab_bytes - request->size : 0;
    ma_claim outcome = ma_pool_claim(&arena->pool, lane->source, request, &span, &probes);
    ma_count(&lane->probes, (uintptr_t)probes);
    if (outcome != MA_CLAIMED) return outcome;
    lane->source = span.source;
    lane->tlab_bytes = tlab_bytes < limit / 2 ? tlab_bytes * 2 : limit;
    ma_count(&lane->refills, 1);
    adopt(arena, lane, request, &span);
    ma_probe3(refill, arena, index, (size_t)(span.end - span.begin));
    return MA_CLAIMED;
}

/* ---- A block of its own ------------------------------------------------------------------------------------------ */

/* Without a lane, or too large for a TLAB. The account is the lane's if there is one. */
ma_claim ma_claim_block(ma_arena *arena, ma_lane *lane, ma_request *request, bool large, ma_block *block)
{
    ma_span span;
    ma_claim outcome = ma_claim_apart(arena, lane, request, large, &span);
    if (outcome != MA_CLAIMED) return outcome;
    if (lane) {
        ma_count(&lane->base, (uintptr_t)(span.end - span.begin)); /* [account-1] */
        ma_count(&lane->direct_blocks, 1);
        ma_count(&lane->padding_bytes, (uintptr_t)(span.block - span.begin));
    } else {
        ma_pool_account(&arena->pool, span.source, request->generation, span.end - span.begin);
        ma_count_shared(&arena->direct_blocks, 1);
        if (span.block != span.begin) ma_count_shared(&arena->padding_bytes, span.block - span.begin);
    }
    request->fresh = span.fresh && arena->mapping; /* a caller's buffer is as he left it */
    ma_probe2(direct_block, arena, (size_t)request->size);
    block->address = ma_pool_base(&arena->pool, request->generation) + (uintptr_t)span.block;
    block->weight = ma_samples(arena) ? ma_sample_apart(arena, span.end - span.begin) : 0;
    return MA_CLAIMED;
}

ma_claim ma_lane_alloc(ma_arena *arena, ma_lane *lane, ma_request *request, ma_block *block)
{
    bool held = ma_lane_enter(arena, lane, request->generation);
    ma_claim outcome = held ? MA_NO_ROOM : ma_lane_take(arena, lane, request, block);
    if (outcome != MA_NO_ROOM) return outcome;
    bool large = ma_is_direct(request, ma_tlab_limit(arena, ma_lane_index(arena, lane)));
    if (held) return ma_claim_block(arena, lane, request, large, block);
    if (!large) outcome = ma_lane_refill(arena, lane, request);
    if (outcome == MA_CLAIMED) return ma_lane_take(arena, lane, request, block);
    if (outcome != MA_NO_ROOM) return outcome;
    /* The rest of the TLAB goes back first: a large block then leaves no hole before it, and at the end of the arena
     * the rest may be just what the block needs. */
    (void)ma_lane_retract(arena, lane, request->generation);
    return ma_claim_block(arena, lane, request, large, block);
}

/* ---- The last block ---------------------------------------------------------------------------------------------- */

/* The last block of the lane's TLAB ends at `to` from now on. Where it grows is sampled, and so is what is taken again. */
static void move_cursor(ma_arena *arena, ma_lane *lane, uintptr_t to, uint64_t *weight)
{
    uintptr_t cursor = ma_load_relaxed(&lane->tlab.cursor_);
    if (ma_samples(arena) && to > cursor)
        *weight = ma_sample_pass(arena, &lane->sample_at, &lane->sample_round, cursor, to);
    if (ma_samples(arena) && to < cursor) {
        ma_store_relaxed(&lane->tlab.end_, 0);
        lane->sample_at = 0;
    }
    ma_store_relaxed(&lane->tlab.cursor_, to);
}

/* Resizes the last block of the lane's TLAB, which ends at `from`, so that it ends at `to`. False: there is no room, or
 * the TLAB is full and something has been claimed behind it since, which may be this thread's own. */
bool ma_lane_resize(ma_arena *arena, ma_lane *lane, uint64_t generation, uintptr_t from, uintptr_t to, uint64_t *weight)
{
    uintptr_t base = ma_pool_base(&arena->pool, generation), limit = lane->limit;
    bool fits = to <= limit && (from != limit || ma_load_relaxed(&lane->tlab.end_) == limit);
    if (!fits && to > from && ma_pool_move_tip(&arena->pool, generation, limit - base, to - base)) {
        ma_store_relaxed(&lane->limit, to);
        fits = true;
    }
    if (fits) move_cursor(arena, lane, to, weight);
    /* What has become more than a TLAB, and what the refill before found left, is there for all again if it can be. */
    uint32_t most = ma_tlab_limit(arena, ma_lane_index(arena, lane));
    if (fits && to < from && lane->limit - to > most + most / 8) (void)ma_lane_retract(arena, lane, generation);
    return fits;
}

/* ---- Emptied by others ------------------------------------------------------------------------------------------ */

void ma_lane_empty_all(ma_arena *arena)
{
    for (uint64_t lanes = ma_load_seq_cst(&arena->lanes_used); lanes; lanes &= lanes - 1) { /* [empty-3] */
        uintptr_t *end = &ma_arena_lane(arena, (unsigned)__builtin_ctzll(lanes))->tlab.end_;
        if (ma_load_seq_cst(end) != 0) (void)ma_exchange_seq_cst(end, 0); /* [empty-2] */
    }
}
