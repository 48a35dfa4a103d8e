/* CPU lanes: what threads without a lane of their own allocate from, and with MEMARENA_PER_CPU all threads.
 *
 * Whoever runs on a CPU bumps the lane of that CPU by a restartable sequence (rseq.h): no lock, no atomic
 * read-modify-write, and as many TLABs as CPUs for any number of threads. The lane says which generation it belongs to,
 * and the sequence compares it: a reset does not visit CPU lanes.
 *
 * A spent TLAB is exchanged by whoever comes first:
 *
 *     holder (may be preempted, and go on elsewhere)          others on that CPU
 *       holder: 0 -> me, or somebody does it     [cpu-1]
 *       end_ = 0, by a sequence on that CPU      [cpu-2]        a sequence that was under way is aborted by that, those
 *       the lane is nobody's but mine: all else, as the           that come later find no room, and do not get to be
 *       owner of a leased lane does it                            holder: they claim their block from the shards
 *       end_ = limit, from anywhere              [cpu-2]        sees `end_`, then the cursor that belongs to it
 *       (or where the next sample lies: sample.c)
 *       holder = 0                               [cpu-1]
 *
 * So nobody waits: not for a holder that was stopped, nor for one that a signal interrupted, whose handler allocates. A
 * holder that a fork has lost is known by its name, and its TLAB is given up (ma_cpu_repair). See docs/RSEQ.md. */
#include "cpu.h"

#include "../platform/os.h"
#include "sample.h"

/* Not before the lanes that a fork has left behind are in order. */
static bool hold(const ma_arena *arena, ma_lane *lane)
{
    return ma_load_relaxed(&lane->holder) == 0 && ma_fork_is_over(arena) &&
           ma_swap_address_seq_cst(&lane->holder, 0, ma_os_thread_self()); /* [cpu-1] */
}

static void open_for_all(ma_lane *lane)
{
    ma_store_release(&lane->tlab.end_, ma_sample_end(lane->sample_at, lane->limit)); /* [cpu-2] */
}

static uint64_t pass_sample(const ma_arena *arena, ma_lane *lane, uintptr_t next)
{
    if (!ma_samples(arena)) return 0;
    return ma_sample_pass(arena, &lane->sample_at, &lane->sample_round, ma_load_relaxed(&lane->tlab.cursor_), next);
}

static ma_claim take(const ma_arena *arena, ma_lane *lane, const ma_request *request, ma_block *block)
{
    uintptr_t start = ma_lane_find(lane, request), next = start + (uintptr_t)request->size;
    if (!start) return MA_NO_ROOM;
    *block = (ma_block){.address = start, .weight = pass_sample(arena, lane, next)};
    ma_store_relaxed(&lane->tlab.cursor_, next);
    return MA_CLAIMED;
}

/* With the lane held and closed. What is left of a TLAB goes back before a larger block is claimed elsewhere: it could
 * not go back after it. */
static ma_claim exchange(ma_arena *arena, ma_lane *lane, ma_request *request, ma_block *block)
{
    /* If we slept, the lane may be in a later generation than the request, and stays there. */
    if (ma_load_acquire(&arena->pool.generation) != request->generation) return MA_MOVED;
    (void)ma_lane_enter(arena, lane, request->generation);
    ma_claim outcome = take(arena, lane, request, block);
    if (outcome == MA_CLAIMED) return outcome;
    if (!ma_is_direct(request, arena->tlab_limit[2])) outcome = ma_lane_refill(arena, lane, request);
    if (outcome == MA_CLAIMED) return take(arena, lane, request, block);
    if (outcome == MA_NO_ROOM) (void)ma_lane_retract(arena, lane, request->generation);
    return outcome;
}

/* ---- When all else is taken: what waits in the lanes of other CPUs, too ---------------------------------------------- */

/* With the lane held. Of what lies before and behind the block the larger part is remembered. */
static ma_claim take_tail(const ma_arena *arena, ma_lane *lane, const ma_request *request, ma_block *block)
{
    uint64_t tail = ma_load_relaxed(&lane->tail);
    uintptr_t base = ma_pool_base(&arena->pool, request->generation), slack = (uintptr_t)request->alignment - 1;
    uintptr_t begin = base + (uintptr_t)((tail & MA_TAIL_PLACE_MASK) << MA_GRAIN_BITS);
    uintptr_t end = begin + (uintptr_t)(tail >> MA_TAIL_PLACE_BITS << MA_GRAIN_BITS), start = (begin + slack) & ~slack;
    if (tail == 0 || start < begin || start > end || request->size > end - start) return MA_NO_ROOM;
    uintptr_t next = start + (uintptr_t)request->size;
    ma_store_relaxed(&lane->tail, 0);
    ma_lane_remember_tail(lane, begin - base, start - begin);
    ma_lane_remember_tail(lane, next - base, end - next);
    ma_count(&lane->tail_bytes, -(uintptr_t)request->size);
    ma_count(&lane->base, (uintptr_t)request->size); /* [account-1] */
    *block = (ma_block){.address = start, .weight = ma_samples(arena) ? ma_sample_apart(arena, request->size) : 0};
    return MA_CLAIMED;
}

/* Takes hold of all lanes in which something waits, and stores `end` = 0 there. How many. */
static unsigned hold_rests(ma_arena *arena, uint64_t generation, uint64_t *held)
{
    unsigned count = 0;
    for (unsigned cpu = 0; cpu < ma_load_acquire(&arena->cpus_used); cpu++) {
        ma_lane *lane = ma_arena_cpu_lane(arena, cpu);
        if (ma_load_acquire(&lane->generation) != generation ||
            (ma_load_relaxed(&lane->tlab.cursor_) >= ma_load_relaxed(&lane->limit) &&
             ma_load_relaxed(&lane->tail) == 0))
            continue;
        if (!hold(arena, lane)) continue;
        (void)ma_exchange_seq_cst(&lane->tlab.end_, 0); /* [cpu-2] */
        held[cpu / 64] |= (uint64_t)1 << cpu % 64;
        count++;
    }
    return count;
}

/* MA_NO_ROOM: but what could go back to the shards has. */
ma_claim ma_cpu_collect(ma_arena *arena, const ma_request *request, ma_block *block)
{
    uint64_t held[(MA_CPU_LANES_MAX + 63) / 64] = {0};
    ma_claim outcome = MA_NO_ROOM;
    if (hold_rests(arena, request->generation, held) == 0) return outcome;
    bool closed = ma_rseq_fence();
    for (unsigned cpu = 0; cpu < MA_CPU_LANES_MAX; cpu++) {
        if (!(held[cpu / 64] >> cpu % 64 & 1)) continue;
        ma_lane *lane = ma_arena_cpu_lane(arena, cpu);
        if (closed && lane->generation == request->generation && ma_load_relaxed(&lane->base) != MA_BASE_MOVING) {
            bool went_back = ma_lane_retract(arena, lane, request->generation);
            if (!went_back && outcome == MA_NO_ROOM) outcome = take(arena, lane, request, block);
            if (outcome == MA_NO_ROOM) outcome = take_tail(arena, lane, request, block);
        }
        open_for_all(lane);
        ma_store_release(&lane->holder, 0); /* [cpu-1] */
    }
    return outcome;
}

/* Whoever bumps a lane next comes to the slow road first. (A lane that somebody holds he opens himself, perhaps as if
 * nothing had been asked for.) */
void ma_cpu_close_all(ma_arena *arena)
{
    for (unsigned cpu = 0; cpu < ma_load_acquire(&arena->cpus_used); cpu++) {
        ma_lane *lane = ma_arena_cpu_lane(arena, cpu);
        if (!hold(arena, lane)) continue;
        (void)ma_exchange_seq_cst(&lane->tlab.end_, 0); /* a bump that has read another `end_` has its block */
        ma_store_release(&lane->holder, 0);             /* [cpu-1] */
    }
}

/* In a child of fork: nobody goes on with what lost threads hold. A lane may be in the middle of an exchange, so nothing of
 * its TLAB is handed out any more; its sum is right at each moment. */
void ma_cpu_repair(ma_arena *arena, uintptr_t survivor)
{
    for (unsigned cpu = 0; cpu < arena->cpus.count; cpu++) { /* also one that was held before it counts as used */
        ma_lane *lane = ma_arena_cpu_lane(arena, cpu);
        if (!ma_fork_has_lost(&lane->holder, survivor)) continue;
        ma_lane_abandon(lane);
        ma_store_release(&lane->holder, 0); /* [cpu-1] */
    }
}

/* ---- The usual case -------------------------------------------------------------------------------------------------- */

/* Not inline: compilers would make copies of the sequence, each for a way through the loop below. */
static __attribute__((noinline)) uintptr_t bump(const ma_arena *arena, uintptr_t bytes, uintptr_t alignment)
{
    return ma_rseq_bump(&arena->cpus, bytes, alignment, &arena->pool.generation);
}

static __attribute__((noinline)) bool close_lane(const ma_arena *arena, unsigned number)
{
    return ma_rseq_close(&arena->cpus, number);
}

ma_claim ma_cpu_alloc(ma_arena *arena, ma_request *request, ma_block *block)
{
    while (ma_fork_is_over(arena)) {
        *block = (ma_block){.address = bump(arena, (uintptr_t)request->size, (uintptr_t)request->alignment)};
        if (block->address) return MA_CLAIMED;
        unsigned number = ma_rseq_number(&arena->cpus);
        if (number >= arena->cpus.count) return MA_NO_ROOM;
        ma_lane *lane = ma_arena_cpu_lane(arena, number);
        if (!hold(arena, lane)) return MA_NO_ROOM;
        bool closed = close_lane(arena, number);
        ma_claim outcome = closed ? exchange(arena, lane, request, block) : MA_NO_ROOM;
        if (closed) open_for_all(lane);
        ma_store_release(&lane->holder, 0); /* [cpu-1] */
        if (closed) return outcome;         /* else we are on another CPU now */
    }
    return MA_NO_ROOM;
}

/* Where a sample lies between, and backwards where there are samples, the sequence does not do it. */
bool ma_cpu_move(ma_arena *arena, uintptr_t from, uintptr_t to, uint64_t generation, uint64_t *weight)
{
    if (!ma_fork_is_over(arena)) return false;
    bool samples = ma_samples(arena);
    if ((to > from || !samples) && ma_rseq_move(&arena->cpus, from, to, generation)) return true;
    unsigned number = samples ? ma_rseq_number(&arena->cpus) : UINT_MAX;
    if (number >= arena->cpus.count) return false;
    ma_lane *lane = ma_arena_cpu_lane(arena, number);
    if (!hold(arena, lane)) return false;
    bool closed = close_lane(arena, number);
    bool moves = closed && lane->generation == generation && ma_load_relaxed(&lane->base) != MA_BASE_MOVING &&
                 ma_load_relaxed(&lane->tlab.cursor_) == from && to <= lane->limit;
    if (moves && to > from) *weight = pass_sample(arena, lane, to);
    if (moves) ma_store_relaxed(&lane->tlab.cursor_, to);
    if (moves && to < from)
        lane->sample_at = 0, (void)pass_sample(arena, lane, to); /* what is taken again counts again */
    if (closed) open_for_all(lane);
    ma_store_release(&lane->holder, 0); /* [cpu-1] */
    return moves;
}
