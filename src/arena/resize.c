/* A block gets another size, or is taken back. */
#include "../lane/cpu.h"
#include "../lane/sample.h"
#include "../scope/scope.h"
#include "../supply/watch.h"
#include "entry.h"

#include <string.h>

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
        ma_lane_resize(arena, lane, generation, end, new_end, &of->weight))
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

static bool resize_any(memarena *handle, void *block, size_t old_size, size_t new_size)
{
    return ma_is_scope(handle) ? ma_scope_resize((ma_scope *)handle, (uintptr_t)block, old_size, new_size)
                               : resize_block(ma_arena_of(handle), block, old_size, new_size);
}

void *memarena_realloc(memarena *handle, void *block, size_t old_size, size_t new_size)
{
    if (!block) return memarena_alloc(handle, new_size);
    if (new_size > ma_root_of(handle)->pool.capacity)
        return ma_retry_or_fail(handle, new_size, MEMARENA_MAX_ALIGNMENT_);
    bool in_place = resize_any(handle, block, old_size, new_size);
    if (in_place || (new_size <= old_size)) return block;
    void *copy = memarena_alloc(handle, new_size);
    return copy ? memcpy(copy, block, old_size) : NULL;
}

/* A block that does not lie at the alignment moves even when it shrinks. */
void *memarena_realloc_aligned(memarena *handle, void *block, size_t old_size, size_t new_size, size_t alignment)
{
    if (!block || !ma_is_power_of_two(alignment)) return memarena_alloc_aligned_slow_(handle, new_size, alignment);
    if (new_size > ma_root_of(handle)->pool.capacity) return ma_retry_or_fail(handle, new_size, alignment);
    bool stays = ((uintptr_t)block & (alignment - 1)) == 0;
    if (stays && (resize_any(handle, block, old_size, new_size) || new_size <= old_size)) return block;
    void *copy = memarena_alloc_aligned(handle, new_size, alignment);
    return copy ? memcpy(copy, block, old_size < new_size ? old_size : new_size) : NULL;
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
