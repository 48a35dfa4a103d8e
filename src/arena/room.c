/* The room at the tip: what is left of the range that a caller bumps, before a refill.
 *
 * A TLAB of a CPU is everybody's, so its room is gone at any moment. What is left of a thread's own TLAB, or of a scope, is the
 * caller's until he takes a block. */
#include "../lane/sample.h"
#include "account.h"
#include "entry.h"

static size_t in_scope(const ma_scope *scope)
{
    return scope->limit - ma_scope_counted_to(scope);
}

/* Of a lane that was emptied by a reset, or lies in another generation, nothing is left. */
static size_t in_lane(const ma_arena *arena, const ma_lane *lane)
{
    if (!lane || ma_load_acquire(&lane->generation) != ma_load_acquire(&arena->pool.generation)) return 0;
    return ma_account_waiting(lane);
}

static size_t in_own_lane(const ma_arena *arena)
{
    return arena->kind == MA_KIND_PER_CPU ? 0 : in_lane(arena, ma_lane_leased(arena));
}

static size_t in_cpu_lane(const ma_arena *arena)
{
    bool uses_it = arena->kind == MA_KIND_PER_CPU || ma_lane_all_taken();
    if (!uses_it || arena->cpus.count == 0) return 0;
    unsigned number = ma_rseq_number(&arena->cpus);
    return number < arena->cpus.count ? in_lane(arena, ma_arena_cpu_lane(arena, number)) : 0;
}

size_t memarena_room(const memarena *handle)
{
    if (ma_is_scope(handle)) return in_scope((const ma_scope *)handle);
    size_t room = in_own_lane(ma_arena_of(handle));
    return room ? room : in_cpu_lane(ma_arena_of(handle));
}

size_t ma_room_own(const memarena *handle)
{
    if (ma_samples(ma_root_of(handle)) || ma_root_of(handle)->watch != MA_WATCH_NONE) return 0;
    return ma_is_scope(handle) ? in_scope((const ma_scope *)handle) : in_own_lane(ma_arena_of(handle));
}
