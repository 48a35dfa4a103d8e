/* The slow road of an allocation: everything but the inline bump.
 *
 * A lane's TLAB is exchanged by its owner while a reset may empty the lane from any thread. Neither waits, and yet a
 * generation never ends while a TLAB of it is bumpable:
 *
 *     owner: publish                                     reset (see reset.c)
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
#include "arena.h"

#include "../platform/os.h"
#include "../platform/unwind.h"

#include <sched.h>
#include <string.h>

/* How often a request that found no room looks again while another thread is claiming a run, or has borrowed the rest of
 * a source: first as soon as others have run, then after naps, some 10 ms in all. */
#define NAPS ((MA_YIELDS + 7) / 8)
#define NAP_NS 250000

static uint32_t limit_of_tlab(const ma_arena *arena, unsigned index)
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

/* Brings a lane that was last used in another generation, or whose owner vanished in `install`, into this one. A burst that
 * holds the lane goes on holding it, without a TLAB. */
void ma_lane_enter(ma_arena *arena, ma_lane *lane, uint64_t generation)
{
    bool held = ma_burst_holds(lane);
    if (lane->generation == generation && ma_load_relaxed(&lane->base) != MA_BASE_MOVING) return;
    if (held) ma_burst_forget(lane);
    restart(arena, lane, generation, held ? memarena_held_ : 0);
}

void ma_lane_abandon(ma_lane *lane)
{
    uintptr_t cursor = ma_load_relaxed(&lane->tlab.cursor_), left = lane->limit - cursor;
    bool is_whole = ma_load_relaxed(&lane->base) != MA_BASE_MOVING && lane->limit >= cursor;
    if (is_whole) ma_count(&lane->tail_bytes, left);
    install(lane, lane_sum(lane), 0, 0, 0);
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
        if (ma_lane_index(arena, lane) >= MA_LANES) ma_cpu_leave_tail(lane, base);
    }
    install(lane, lane_sum(lane), begin, begin, end);
}

ma_claim ma_lane_refill(ma_arena *arena, ma_lane *lane, ma_request *request)
{
    unsigned index = ma_lane_index(arena, lane);
    uint32_t limit = limit_of_tlab(arena, index), tlab_bytes = lane->tlab_bytes < limit ? lane->tlab_bytes : limit;
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

/* To gcc a probe looks as long as its lines of assembly: without a word it would no longer inline what it does. */
#define INLINE inline __attribute__((always_inline))

/* A span that is no TLAB. Its account is the caller's matter. */
INLINE ma_claim ma_claim_apart(ma_arena *arena, ma_lane *lane, ma_request *request, bool large, ma_span *span)
{
    unsigned home = lane ? lane->source : ma_pool_home(&arena->pool, ma_lane_thread_number());
    uint64_t probes = 0;
    request->want = 0;
    ma_claim outcome = large ? ma_pool_claim_large(&arena->pool, home, request, span, &probes)
                             : ma_pool_claim(&arena->pool, home, request, span, &probes);
    if (outcome == MA_NO_ROOM && !large) outcome = ma_pool_claim_run(&arena->pool, request, span);
    if (lane)
        ma_count(&lane->probes, (uintptr_t)probes);
    else if (probes)
        ma_count_shared(&arena->probes, probes);
    return outcome;
}

/* Without a lane, or too large for a TLAB. The account is the lane's if there is one. */
static INLINE ma_claim claim_block(ma_arena *arena, ma_lane *lane, ma_request *request, bool large, ma_block *block)
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

static ma_claim lane_alloc(ma_arena *arena, ma_lane *lane, ma_request *request, ma_block *block)
{
    ma_lane_enter(arena, lane, request->generation);
    bool large = ma_is_direct(request, limit_of_tlab(arena, ma_lane_index(arena, lane)));
    if (ma_lane_is_held(lane)) return claim_block(arena, lane, request, large, block);
    ma_claim outcome = ma_lane_take(arena, lane, request, block);
    if (outcome != MA_NO_ROOM) return outcome;
    if (!large) outcome = ma_lane_refill(arena, lane, request);
    if (outcome == MA_CLAIMED) return ma_lane_take(arena, lane, request, block);
    if (outcome != MA_NO_ROOM) return outcome;
    /* The rest of the TLAB goes back first: a large block then leaves no hole before it, and at the end of the arena
     * the rest may be just what the block needs. */
    (void)ma_lane_retract(arena, lane, request->generation);
    return claim_block(arena, lane, request, large, block);
}

static ma_claim laneless_alloc(ma_arena *arena, ma_request *request, ma_block *block)
{
    ma_claim outcome = arena->cpus.count ? ma_cpu_alloc(arena, request, block) : MA_NO_ROOM;
    if (outcome != MA_NO_ROOM) return outcome;
    return claim_block(arena, NULL, request, ma_is_direct(request, arena->tlab_limit[1]), block);
}

void ma_give_way(const ma_arena *arena, bool naps)
{
    if (arena->mapping && naps)
        ma_os_nap(NAP_NS);
    else if (arena->mapping)
        (void)sched_yield();
    for (int n = 0; n < 1000 && !arena->mapping; n++) ma_pause();
}

/* Whether nothing was found because there is nothing. A run that is being claimed and then given back hides room. Its
 * thread may have been stopped in between (or be gone, in a child of fork), so there is an end to looking again.
 * `runs`: as it was before the look; `*patience`: 0 at first. */
bool ma_no_room_is_final(ma_arena *arena, uint64_t runs, int *patience)
{
    uint64_t now = ma_load_acquire(&arena->pool.runs); /* [run-1] */
    if ((now & MA_RUNS_MASK) == 0) return now == runs;
    if (++*patience > MA_YIELDS + NAPS) return true;
    ma_count_shared(&arena->hungry, 1);
    ma_give_way(arena, *patience > MA_YIELDS);
    return false;
}

/* The last resort: an extent that a scope has given back. It stays a block until the generation ends. */
static bool take_extent(ma_arena *arena, uint64_t generation, size_t size, uint64_t alignment, ma_block *block)
{
    uint64_t unit = (uint64_t)1 << arena->extents.unit_shift, slack = alignment > unit ? alignment : 0;
    ma_extent_span extent;
    if (!ma_extent_any(arena)) return false;
    if (slack > arena->pool.capacity || !ma_extent_take_free(arena, generation, size + slack, &extent)) return false;
    block->address = (uintptr_t)((extent.begin + alignment - 1) & ~(alignment - 1));
    block->weight = ma_samples(arena) ? ma_sample_apart(arena, (uint64_t)extent.units << arena->extents.unit_shift) : 0;
    ma_watch_permit(arena, block->address, size);
    return true;
}

bool ma_find_block(ma_arena *arena, size_t size, uint64_t alignment, ma_block *block)
{
    ma_check_process(arena);
    if (size > arena->pool.capacity) return false;
    (void)ma_fork_check(arena);
    ma_request request = {.size = ma_round_grain(size), .alignment = alignment < MA_GRAIN ? MA_GRAIN : alignment};
    for (int patience = 0; arena->watch != MA_WATCH_NONE;) {
        uint64_t runs = ma_load_acquire(&arena->pool.runs); /* [run-1] */
        uint64_t generation = ma_load_acquire(&arena->pool.generation);
        uint64_t taken = ma_watch_alloc(arena, size, alignment, &block->address);
        if (taken) {
            block->weight = ma_samples(arena) ? ma_sample_apart(arena, taken) : 0;
            ma_lane_see(arena, generation);
            return true;
        }
        if (ma_no_room_is_final(arena, runs, &patience))
            return take_extent(arena, ma_load_acquire(&arena->pool.generation), size, request.alignment, block);
    }
    ma_lane *lane = arena->kind == MA_KIND_PER_CPU ? NULL : ma_lane_mine(arena);
    bool has_collected = false;
    for (int patience = 0;;) {
        uint64_t runs = ma_load_acquire(&arena->pool.runs); /* [run-1] */
        request.generation = ma_load_acquire(&arena->pool.generation);
        ma_claim outcome = lane ? lane_alloc(arena, lane, &request, block) : laneless_alloc(arena, &request, block);
        if (outcome == MA_NO_ROOM && !has_collected && ma_load_relaxed(&arena->cpus_used) != 0) {
            has_collected = true;
            outcome = ma_cpu_collect(arena, &request, block);
            if (outcome == MA_NO_ROOM) continue;
        }
        block->fresh = request.fresh;
        if (outcome == MA_CLAIMED && !lane) ma_lane_see(arena, request.generation);
        if (outcome == MA_CLAIMED) return true;
        if (outcome == MA_NO_ROOM && ma_no_room_is_final(arena, runs, &patience))
            return take_extent(arena, request.generation, size, request.alignment, block);
    }
}

/* `*fresh`: whether the block is known to be zero. (To whom it is reported may write into it.) */
static void *allocate(ma_arena *arena, size_t size, uint64_t alignment, bool *fresh)
{
    ma_block block = {0};
    if (!ma_find_block(arena, size, alignment, &block)) return NULL;
    *fresh = block.fresh && !block.weight;
    if (block.weight) ma_sample_report(arena, &arena->tlab, &block, size);
    return (void *)block.address;
}

/* ---- Entry points ------------------------------------------------------------------------------------------------ */

static void *allocate_in(memarena *handle, size_t size, size_t alignment)
{
    bool fresh;
    return ma_is_scope(handle) ? ma_scope_alloc((ma_scope *)handle, size, alignment)
                               : allocate(ma_arena_of(handle), size, alignment, &fresh);
}

static void stop_asking(void *unused)
{
    (void)unused;
    ma_lane_thread_.is_asking = false;
}

bool ma_ask_for_room(ma_arena *arena, memarena *handle, size_t size)
{
    ma_store_relaxed(&arena->last_failed_bytes, size); /* it may want to report it */
    if (!arena->on_oom || ma_lane_thread_.is_asking) return false;
    bool once_more = false;
    ma_lane_thread_.is_asking = true;
    MA_GUARD_BEGIN(stop_asking, NULL);
    once_more = arena->on_oom(arena->on_oom_context, handle, size);
    MA_GUARD_END();
    stop_asking(NULL);
    return once_more;
}

void *ma_out_of_memory(ma_arena *arena, size_t size)
{
    ma_count_shared(&arena->failed_requests, 1);
    ma_store_relaxed(&arena->last_failed_bytes, size);
    ma_probe3(out_of_memory, arena, size, arena->capacity);
    errno = ENOMEM;
    return NULL;
}

static void *out_of_memory(memarena *handle, size_t size, size_t alignment)
{
    ma_arena *arena = ma_root_of(handle);
    void *block = NULL;
    if (ma_ask_for_room(arena, handle, size)) block = allocate_in(handle, size, alignment);
    return block ? block : ma_out_of_memory(arena, size);
}

static __attribute__((noinline)) void *allocate_slowly(memarena *handle, size_t size, size_t alignment)
{
    void *block = allocate_in(handle, size, alignment);
    return block ? block : out_of_memory(handle, size, alignment);
}

/* Not inline: one copy of the sequence is enough. The road of threads without a lane of their own is not so slow: each
 * instruction before the sequence counts. */
__attribute__((noinline)) void *memarena_alloc_slow_(memarena *handle, size_t size, size_t alignment)
{
    const ma_arena *arena = ma_arena_of(handle);
    bool per_cpu = arena->kind == MA_KIND_PER_CPU ||
                   (arena->kind == MA_KIND_ARENA && ma_lane_all_taken() && arena->cpus.count != 0);
    uintptr_t bytes = (size + (MA_GRAIN - 1)) & ~(uintptr_t)(MA_GRAIN - 1); /* 0 also when that overflows */
    if (!MA_DEBUG && per_cpu && bytes != 0 && ma_fork_is_over(arena)) {
        uint64_t generation = ma_load_acquire(&arena->pool.generation);
        uintptr_t block = ma_rseq_bump(&arena->cpus, bytes, alignment, &arena->pool.generation);
        if (block) ma_lane_see(arena, generation);
        if (block) return (void *)block;
    }
    return allocate_slowly(handle, size, alignment);
}

void *memarena_alloc_any_slow_(memarena *handle, size_t size)
{
    return memarena_alloc_slow_(handle, size, MEMARENA_ALIGNMENT_FOR_(size));
}

void *memarena_alloc_aligned_slow_(memarena *handle, size_t size, size_t alignment)
{
    if (alignment != 0 && (alignment & (alignment - 1)) == 0) return memarena_alloc_slow_(handle, size, alignment);
    errno = EINVAL;
    return NULL;
}

void *memarena_calloc_aligned_(memarena *handle, size_t count, size_t size, size_t alignment)
{
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes)) return out_of_memory(handle, SIZE_MAX, alignment);
    void *block = NULL;
    bool fresh = false;
    if (bytes > MEMARENA_INLINE_MAX_ && !ma_is_scope(handle))
        block = allocate(ma_arena_of(handle), bytes, alignment, &fresh);
    if (!block) block = memarena_alloc_aligned(handle, bytes, alignment), fresh = false;
    return block && !fresh ? memset(block, 0, bytes) : block;
}

void *memarena_calloc(memarena *handle, size_t count, size_t size)
{
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes)) return out_of_memory(handle, SIZE_MAX, MEMARENA_MAX_ALIGNMENT_);
    return memarena_calloc_aligned_(handle, 1, bytes, MEMARENA_ALIGNMENT_FOR_(bytes));
}

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
static bool resize_in_lane(ma_arena *arena, ma_lane *lane, uint64_t generation, uintptr_t from, uintptr_t to,
                           uint64_t *weight)
{
    uintptr_t base = ma_pool_base(&arena->pool, generation), limit = lane->limit;
    bool fits = to <= limit && (from != limit || ma_load_relaxed(&lane->tlab.end_) == limit);
    if (!fits && to > from && ma_pool_move_tip(&arena->pool, generation, limit - base, to - base)) {
        ma_store_relaxed(&lane->limit, to);
        fits = true;
    }
    if (fits) move_cursor(arena, lane, to, weight);
    /* What has become more than a TLAB, and what the refill before found left, is there for all again if it can be. */
    uint32_t most = limit_of_tlab(arena, ma_lane_index(arena, lane));
    if (fits && to < from && lane->limit - to > most + most / 8) (void)ma_lane_retract(arena, lane, generation);
    return fits;
}

/* Moves the end of the block, if it is a tip: of this thread's TLAB, of the CPU's, or of a source. */
static bool resize_in_place(ma_arena *arena, ma_block *of, uint64_t old_bytes, uint64_t new_bytes)
{
    uintptr_t block = of->address, end = block + (uintptr_t)old_bytes, new_end = block + (uintptr_t)new_bytes;
    uint64_t generation = ma_load_acquire(&arena->pool.generation);
    uintptr_t offset = block - ma_pool_base(&arena->pool, generation);
    uint64_t from = offset + old_bytes, to = offset + new_bytes;
    if (offset > arena->pool.capacity) return false; /* dead, in another window */
    ma_lane *lane = arena->kind == MA_KIND_PER_CPU ? NULL : ma_lane_leased(arena);
    if (lane && (lane->generation != generation || ma_load_relaxed(&lane->base) == MA_BASE_MOVING)) lane = NULL;
    if (lane && ma_load_relaxed(&lane->tlab.cursor_) == end &&
        resize_in_lane(arena, lane, generation, end, new_end, &of->weight))
        return true;
    /* A block that died in a reset just now may be where a live one ends. To grow there only wastes bytes; to shrink
     * would give away what is not ours. */
    if (!lane && to < from && !ma_lane_has_seen(arena, generation)) return false;
    bool fits_cpu = !lane && arena->cpus.count && (to > from || from - to <= arena->tlab_limit[2]);
    if (fits_cpu && ma_cpu_move(arena, end, new_end, generation, &of->weight)) return true;
    if (!ma_pool_move_tip(&arena->pool, generation, from, to)) return false;
    if (lane)
        ma_count(&lane->base, (uintptr_t)(to - from)); /* [account-1] */
    else
        ma_pool_account(&arena->pool, ma_source_of(&arena->pool, from - 1), generation, to - from);
    if (to > from && ma_samples(arena)) of->weight = ma_sample_apart(arena, to - from);
    return true;
}

/* A block of an arena. */
static bool resize_block(ma_arena *arena, void *block, size_t old_size, size_t new_size)
{
    uint64_t old_bytes = ma_round_grain(old_size), new_bytes = ma_round_grain(new_size);
    ma_block of = {.address = (uintptr_t)block};
    bool in_place = arena->watch != MA_WATCH_NONE
                        ? ma_watch_resize(arena, of.address, old_size, new_size)
                        : old_bytes == new_bytes || resize_in_place(arena, &of, old_bytes, new_bytes);
    if (in_place && arena->watch != MA_WATCH_NONE && new_bytes > old_bytes && ma_samples(arena))
        of.weight = ma_sample_apart(arena, new_bytes - old_bytes);
    if (of.weight) ma_sample_report(arena, &arena->tlab, &of, new_size);
    return in_place;
}

void *memarena_realloc(memarena *handle, void *block, size_t old_size, size_t new_size)
{
    ma_arena *arena = ma_arena_of(handle);
    if (!block) return memarena_alloc(handle, new_size);
    if (new_size > ma_root_of(handle)->pool.capacity) return out_of_memory(handle, new_size, MEMARENA_MAX_ALIGNMENT_);
    bool in_place = ma_is_scope(handle) ? ma_scope_resize((ma_scope *)handle, (uintptr_t)block, old_size, new_size)
                                        : resize_block(arena, block, old_size, new_size);
    if (in_place || (new_size <= old_size)) return block;
    void *copy = memarena_alloc(handle, new_size);
    return copy ? memcpy(copy, block, old_size) : NULL;
}

bool memarena_drop_last(memarena *handle, void *block, size_t size)
{
    ma_arena *arena = ma_root_of(handle);
    ma_block of = {.address = (uintptr_t)block};
    if (size > arena->pool.capacity) return false;
    if (ma_is_scope(handle)) return ma_scope_drop((ma_scope *)handle, of.address, size);
    if (arena->watch != MA_WATCH_NONE) return ma_watch_drop(arena, of.address, size);
    return resize_in_place(arena, &of, ma_round_grain(size), 0);
}
