/* The entry points of an allocation that the inline code leaves to the library. */
#include "../lane/cpu.h"
#include "../lane/sample.h"
#include "../scope/extent.h"
#include "../scope/scope.h"
#include "../supply/watch.h"
#include "entry.h"

#include <string.h>

/* ---- One look ----------------------------------------------------------------------------------------------------- */

typedef struct block_search {
    ma_request request;
    size_t size;
    ma_lane *lane; /* of this thread; NULL: it has none, or uses the CPUs' */
    ma_block *block;
    bool has_collected;
} block_search;

static ma_claim look_without_lane(ma_arena *arena, block_search *now)
{
    ma_request *request = &now->request;
    ma_claim outcome = arena->cpus.count ? ma_cpu_alloc(arena, request, now->block) : MA_NO_ROOM;
    if (outcome == MA_NO_ROOM)
        outcome = ma_claim_block(arena, NULL, request, ma_is_direct(request, arena->tlab_limit[1]), now->block);
    if (outcome == MA_CLAIMED) ma_lane_see(arena, request->generation);
    return outcome;
}

/* MA_MOVED also when the caller should look again at once, since something has gone back to the shards. */
static ma_claim look_for_block(ma_arena *arena, void *context)
{
    block_search *now = context;
    now->request.generation = ma_load_acquire(&arena->pool.generation);
    ma_claim outcome =
        now->lane ? ma_lane_alloc(arena, now->lane, &now->request, now->block) : look_without_lane(arena, now);
    if (outcome != MA_NO_ROOM || now->has_collected || ma_load_relaxed(&arena->cpus_used) == 0) return outcome;
    now->has_collected = true;
    outcome = ma_cpu_collect(arena, &now->request, now->block);
    if (outcome == MA_CLAIMED && !now->lane) ma_lane_see(arena, now->request.generation);
    return outcome == MA_NO_ROOM ? MA_MOVED : outcome;
}

static ma_claim look_for_watched_block(ma_arena *arena, void *context)
{
    block_search *now = context;
    now->request.generation = ma_load_acquire(&arena->pool.generation);
    uint64_t taken = ma_watch_alloc(arena, now->size, now->request.alignment, &now->block->address);
    if (!taken) return MA_NO_ROOM;
    now->block->weight = ma_samples(arena) ? ma_sample_apart(arena, taken) : 0;
    ma_lane_see(arena, now->request.generation);
    return MA_CLAIMED;
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

/* ---- A block ------------------------------------------------------------------------------------------------------ */

bool ma_find_block(ma_arena *arena, size_t size, uint64_t alignment, ma_block *block)
{
    ma_check_process(arena);
    if (size > arena->pool.capacity) return false;
    (void)ma_fork_check(arena);
    bool watched = arena->watch != MA_WATCH_NONE;
    block_search now = {
        .request = {.size = ma_round_grain(size), .alignment = alignment < MA_GRAIN ? MA_GRAIN : alignment},
        .size = size,
        .lane = watched || arena->kind == MA_KIND_PER_CPU ? NULL : ma_lane_mine(arena),
        .block = block};
    ma_claim outcome;
    do outcome = ma_supply(arena, watched ? look_for_watched_block : look_for_block, &now);
    while (outcome == MA_MOVED);
    if (outcome == MA_NO_ROOM) return take_extent(arena, now.request.generation, size, now.request.alignment, block);
    block->fresh = now.request.fresh;
    return true;
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

void *ma_retry_or_fail(memarena *handle, size_t size, size_t alignment)
{
    ma_arena *arena = ma_root_of(handle);
    void *block = NULL;
    if (ma_ask_for_room(arena, handle, size)) block = allocate_in(handle, size, alignment);
    return block ? block : ma_out_of_memory(arena, size);
}

static __attribute__((noinline)) void *allocate_slowly(memarena *handle, size_t size, size_t alignment)
{
    void *block = allocate_in(handle, size, alignment);
    return block ? block : ma_retry_or_fail(handle, size, alignment);
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
    if (ma_is_power_of_two(alignment)) return memarena_alloc_slow_(handle, size, alignment);
    errno = EINVAL;
    return NULL;
}

void *memarena_calloc_aligned_(memarena *handle, size_t count, size_t size, size_t alignment)
{
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes)) return ma_retry_or_fail(handle, SIZE_MAX, alignment);
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
    if (__builtin_mul_overflow(count, size, &bytes)) return ma_retry_or_fail(handle, SIZE_MAX, MEMARENA_MAX_ALIGNMENT_);
    return memarena_calloc_aligned_(handle, 1, bytes, MEMARENA_ALIGNMENT_FOR_(bytes));
}
