/* memarena_snapshot: what an arena's memory is used for, cell by cell. */
#include "../scope/extent.h"
#include "account.h"

#include <string.h>

typedef struct canvas {
    memarena_cell *cells;
    uint64_t count, cell_bytes;
} canvas;

/* All cells that [begin, end) touches, or those of which it is the greater part. */
static void paint(canvas *on, uint64_t begin, uint64_t end, bool touched, memarena_cell with)
{
    uint64_t half = on->cell_bytes / 2, up = touched ? on->cell_bytes - 1 : half;
    uint64_t from = (begin + (touched ? 0 : half)) / on->cell_bytes, to = (end + up) / on->cell_bytes;
    for (uint64_t i = from; i < to && i < on->count; i++) on->cells[i] = with;
}

static void paint_given_back(void *context, uint64_t begin, uint64_t bytes)
{
    paint(context, begin, begin + bytes, false, (memarena_cell){MEMARENA_CELL_GIVEN_BACK, MEMARENA_CELL_NOBODY});
}

static void paint_sources(canvas *on, const ma_arena *arena, uint64_t generation)
{
    const ma_pool *pool = &arena->pool;
    unsigned char owners[MA_SHARDS + 1];
    memset(owners, MEMARENA_CELL_NOBODY, sizeof owners);
    for (uint64_t lanes = ma_load_relaxed(&arena->lanes_used); lanes; lanes &= lanes - 1) {
        unsigned lane = (unsigned)__builtin_ctzll(lanes);
        if (pool->shard_count) owners[ma_pool_home(pool, lane)] = (unsigned char)lane;
    }
    for (unsigned source = 0; source <= pool->shard_count; source++) {
        uint64_t begin = ma_source_begin(pool, source), word = ma_load_acquire(&pool->sources[source].word);
        uint64_t tip = ma_word_offset(pool->offset_bits, word, generation, begin);
        paint(on, begin, tip, true, (memarena_cell){MEMARENA_CELL_TAKEN, owners[source]});
    }
}

static void paint_tlab(canvas *on, const ma_arena *arena, uint64_t generation, const ma_lane *lane,
                       unsigned char number)
{
    if (ma_load_acquire(&lane->generation) != generation) return;
    uintptr_t base = ma_pool_base(&arena->pool, generation);
    uintptr_t cursor = ma_load_relaxed(&lane->tlab.cursor_), limit = ma_load_relaxed(&lane->limit);
    if (cursor >= base && limit > cursor && limit - base <= arena->pool.capacity)
        paint(on, cursor - base, limit - base, false, (memarena_cell){MEMARENA_CELL_TLAB, number});
}

size_t memarena_snapshot(const memarena *handle, memarena_cell *cells, size_t count)
{
    const ma_arena *arena = ma_root_of(handle);
    uint64_t generation = ma_load_acquire(&arena->pool.generation), capacity = arena->pool.capacity;
    canvas on = {cells, count, count ? (capacity + count - 1) / count : capacity};
    for (size_t i = 0; i < count; i++) cells[i] = (memarena_cell){MEMARENA_CELL_FREE, MEMARENA_CELL_NOBODY};
    paint_sources(&on, arena, generation);
    for (uint64_t lanes = ma_load_relaxed(&arena->lanes_used); lanes; lanes &= lanes - 1) {
        unsigned lane = (unsigned)__builtin_ctzll(lanes);
        paint_tlab(&on, arena, generation, ma_arena_lane(arena, lane), (unsigned char)lane);
    }
    for (unsigned cpu = 0; cpu < ma_load_relaxed(&arena->cpus_used); cpu++)
        paint_tlab(&on, arena, generation, ma_arena_cpu_lane(arena, cpu), MEMARENA_CELL_NOBODY);
    ma_extent_look(arena, generation, paint_given_back, &on);
    return (size_t)on.cell_bytes;
}
