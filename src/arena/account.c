/* The accounts: how many bytes are handed out, held and lost. Counted on the slow road only; the inline bump shows in
 * its lane's cursor.
 *
 * A lane's sum is `base + cursor_`, two words that its owner exchanges when the TLAB changes. A reader that sees the
 * same base before and after it read the cursor has read a sum that was true; one that meets the exchange reads
 * `settled`, which is the true sum for as long as the exchange lasts. So a reader never waits for a writer, never sees
 * a torn sum, and sees a lane's sum only grow (but for blocks that realloc shrinks).
 *
 * Given up: a reader that sleeps between its loads while the TLAB is exchanged twice, and between these all that was handed out is
 * taken back (memarena_drop_last), may find the base that it knows with the cursor of the TLAB in between, and answers wrongly once. */
#include "account.h"

#include "../feature/trim.h"
#include "../scope/extent.h"

#include <string.h>

uintptr_t ma_account_lane(const ma_lane *lane, uint64_t generation)
{
    if (ma_load_acquire(&lane->generation) != generation) return 0; /* [account-2] */
    for (;;) {
        uintptr_t base = ma_load_acquire(&lane->base); /* [account-1] */
        if (base == MA_BASE_MOVING) return ma_load_acquire(&lane->settled);
        uintptr_t cursor = ma_lane_counted_to(lane);
        if (ma_load_acquire(&lane->base) == base) return base + cursor;
    }
}

uint64_t ma_account_allocated(const ma_arena *arena)
{
    uint64_t generation = ma_load_acquire(&arena->pool.generation);
    uint64_t lanes = ma_load_relaxed(&arena->lanes_used), sum = 0;
    unsigned offset_bits = arena->pool.offset_bits;
    /* First: an extent that is taken from fresh memory and given back meanwhile would otherwise be only free. */
    uint64_t free = ma_extent_free_bytes(arena, generation, NULL);
    for (; lanes; lanes &= lanes - 1)
        sum += ma_account_lane(ma_arena_lane(arena, (unsigned)__builtin_ctzll(lanes)), generation);
    for (unsigned cpu = 0; cpu < ma_load_relaxed(&arena->cpus_used); cpu++)
        sum += ma_account_lane(ma_arena_cpu_lane(arena, cpu), generation);
    for (unsigned source = 0; source <= arena->pool.shard_count; source++)
        sum += ma_word_offset(offset_bits, ma_load_relaxed(&arena->pool.sources[source].direct), generation, 0);
    /* A single account may be below zero (see ma_pool_account), in the width of its counter. */
    sum = ma_word_wrap(offset_bits, sum) & UINTPTR_MAX;
    if (sum > arena->pool.capacity) sum = arena->pool.capacity;
    return sum > free ? sum - free : 0; /* (one that moves may be seen free twice) */
}

size_t memarena_allocated_bytes(const memarena *handle)
{
    const ma_scope *scope = ma_scope_of(handle);
    return (size_t)(scope ? ma_scope_allocated(scope) : ma_account_allocated(ma_arena_of(handle)));
}

size_t memarena_claimed_bytes(const memarena *handle)
{
    const ma_scope *scope = ma_scope_of(handle);
    return (size_t)(scope ? ma_scope_held(scope) : ma_pool_claimed_now(&ma_arena_of(handle)->pool));
}

void *memarena_place_(memarena *handle)
{
    const ma_pool *pool = &ma_root_of(handle)->pool;
    return ma_is_scope(handle) ? ((ma_scope *)handle)->place : pool->sources[pool->shard_count].place;
}

size_t memarena_capacity(const memarena *handle)
{
    return ma_root_of(handle)->capacity;
}

uint64_t memarena_generation(const memarena *handle)
{
    const ma_scope *scope = ma_scope_of(handle);
    return scope ? scope->generation : ma_load_acquire(&ma_arena_of(handle)->pool.generation);
}

bool memarena_owns(const memarena *handle, const void *address)
{
    const ma_arena *arena = ma_arena_of(handle);
    if (ma_scope_of(handle)) return ma_scope_owns(ma_scope_of(handle), (uintptr_t)address);
    uintptr_t offset = (uintptr_t)address - arena->pool.base, window = arena->pool.window_bytes;
    if (window && offset < window * (arena->pool.window_mask + 1)) offset %= window;
    return offset < arena->pool.capacity * arena->spread;
}

/* (All windows: those of other generations may be read again, or fault.) */
bool memarena_range(const memarena *handle, void **base, size_t *bytes)
{
    const ma_pool *pool = &ma_root_of(handle)->pool;
    if (base) *base = (void *)pool->base;
    if (bytes) *bytes = pool->window_bytes * pool->window_mask + (size_t)pool->capacity * ma_root_of(handle)->spread;
    return true;
}

static void fill(memarena_stats *stats, size_t stats_size, const memarena_stats *now)
{
    size_t filled = stats_size < sizeof *now ? stats_size : sizeof *now;
    memset(stats, 0, stats_size);
    memcpy(stats, now, filled);
    if (filled >= sizeof stats->size) stats->size = filled;
}

/* What a scope's numbers say of its arena, too. */
static void look_at_pool(const ma_arena *arena, uint64_t generation, memarena_stats *now)
{
    now->arena = &arena->tlab;
    memcpy(now->name, arena->name, sizeof now->name);
    now->shards = arena->pool.shard_count;
    now->reserved_bytes = arena->mapping ? arena->mapping_bytes : arena->pool.base + arena->capacity - (uintptr_t)arena;
    now->claimed_bytes = (size_t)ma_pool_claimed_now(&arena->pool);
    now->peak_bytes = (size_t)ma_pool_peak(&arena->pool, generation);
    now->largest_free_bytes = (size_t)ma_pool_largest_free(&arena->pool, generation);
    now->padding_bytes += (size_t)ma_load_relaxed(&arena->padding_bytes);
    now->bookkeeping_bytes = arena->pool.base - (arena->mapping ? (uintptr_t)arena->mapping : (uintptr_t)arena);
    now->bookkeeping_resident_bytes = arena->mapping ? (size_t)ma_trim_bookkeeping(arena) : 0;
}

static memarena_stats stats_of_scope(const ma_scope *scope)
{
    uintptr_t cursor = ma_scope_counted_to(scope);
    memarena_stats now = {
        .capacity_bytes = scope->root->capacity,
        .allocated_bytes = (size_t)ma_scope_allocated(scope),
        .tlab_bytes = scope->limit - cursor,
        .generation = scope->generation,
        .watched = scope->root->watch != MA_WATCH_NONE,
        .open_scopes = ma_load_relaxed(&scope->children),
        .held_bytes = ma_scope_held(scope),
    };
    look_at_pool(scope->root, scope->root_generation, &now);
    return now;
}

/* What is left of its TLAB; nothing while that is exchanged. */
uintptr_t ma_account_waiting(const ma_lane *lane)
{
    for (;;) {
        uintptr_t base = ma_load_acquire(&lane->base); /* [account-1] */
        if (base == MA_BASE_MOVING) return 0;
        uintptr_t cursor = ma_load_acquire(&lane->tlab.cursor_), limit = ma_load_acquire(&lane->limit);
        if (ma_load_acquire(&lane->base) == base) return limit > cursor ? limit - cursor : 0;
    }
}

static void add_lane(memarena_stats *now, const ma_lane *lane)
{
    now->refills += ma_load_relaxed(&lane->refills);
    now->probes += ma_load_relaxed(&lane->probes);
    now->direct_blocks += ma_load_relaxed(&lane->direct_blocks);
    now->padding_bytes += ma_load_relaxed(&lane->padding_bytes);
    if (ma_load_acquire(&lane->generation) != now->generation) return;
    now->tlab_bytes += ma_account_waiting(lane);
    now->tail_bytes += ma_load_relaxed(&lane->tail_bytes);
}

void memarena_get_stats(const memarena *handle, memarena_stats *stats, size_t stats_size)
{
    const ma_arena *arena = ma_arena_of(handle);
    if (ma_scope_of(handle)) {
        memarena_stats of_scope = stats_of_scope(ma_scope_of(handle));
        fill(stats, stats_size, &of_scope);
        return;
    }
    uint64_t generation = ma_load_acquire(&arena->pool.generation);
    memarena_stats now = {
        .capacity_bytes = arena->capacity,
        .allocated_bytes = (size_t)ma_account_allocated(arena),
        .last_failed_bytes = ma_load_relaxed(&arena->last_failed_bytes),
        .generation = generation,
        .probes = ma_load_relaxed(&arena->probes),
        .direct_blocks = ma_load_relaxed(&arena->direct_blocks),
        .failed_requests = ma_load_relaxed(&arena->failed_requests),
        .watched = arena->watch != MA_WATCH_NONE,
        .per_cpu = arena->kind == MA_KIND_PER_CPU ? 2 : arena->cpus.count != 0,
        .open_scopes = ma_open_scopes(arena),
    };
    now.free_extent_bytes = (size_t)ma_extent_free_bytes(arena, generation, now.free_bytes_by_size);
    for (uint64_t lanes = ma_load_relaxed(&arena->lanes_used); lanes; lanes &= lanes - 1) {
        add_lane(&now, ma_arena_lane(arena, (unsigned)__builtin_ctzll(lanes)));
        now.lanes++;
    }
    now.cpu_lanes = (unsigned)ma_load_relaxed(&arena->cpus_used);
    for (unsigned cpu = 0; cpu < now.cpu_lanes; cpu++) add_lane(&now, ma_arena_cpu_lane(arena, cpu));
    look_at_pool(arena, generation, &now);
    fill(stats, stats_size, &now);
}
