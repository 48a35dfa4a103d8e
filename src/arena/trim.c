/* Physical memory given back to the operating system: memarena_trim, and what a reset keeps with `retain_bytes`.
 *
 * Only memory that nobody else can claim meanwhile may be given back, or a block that another thread has just been given
 * would lose its bytes. So the rest of a source is borrowed (claimed, and returned), piece by piece, each for as long as
 * the system takes; likewise the free extents of scopes. A request that finds no room in such a moment looks again, and
 * makes us stop. The generation is held open as by a scope: a reset is refused until we are done.
 *
 * The last pages go first, those of the frontier and of the last shards: the arena is walked from the front, so what is
 * kept is what will be used first. */
#include "arena.h"

#include "../platform/os.h"

#define LOOK_BYTES ((uintptr_t)16 << 20) /* looked over at once */
#define PIECE_BYTES ((uintptr_t)1 << 20) /* borrowed at once: some 30 us */

typedef struct trimming {
    ma_arena *arena;
    uint64_t generation, hungry;
    uintptr_t page;
    uint64_t excess, given; /* bytes */
} trimming;

static uintptr_t address_at(const trimming *now, uint64_t offset)
{
    return ma_pool_base(&now->arena->pool, now->generation) + (uintptr_t)offset * now->arena->spread;
}

static bool goes_on(const trimming *now)
{
    return now->excess > 0 && ma_load_relaxed(&now->arena->hungry) == now->hungry;
}

static uintptr_t up(const trimming *now, uintptr_t address)
{
    return (address + now->page - 1) & ~(now->page - 1);
}

static uintptr_t down(const trimming *now, uintptr_t address)
{
    return address & ~(now->page - 1);
}

/* Gives pages of ours back. */
static void discard(trimming *now, uintptr_t begin, uintptr_t end)
{
    uint64_t resident = begin < end ? ma_os_resident((void *)begin, end - begin) : 0;
    if (resident == 0 || !ma_os_discard((void *)begin, end - begin)) return;
    now->given += resident;
    now->excess -= resident < now->excess ? resident : now->excess;
}

/* ---- What this generation has not used ----------------------------------------------------------------------------- */

/* The pages from `end` down to the tip of the source. Where it stopped: nothing from there to `end` is in memory, but for
 * what others have claimed meanwhile. */
static uintptr_t trim_source(trimming *now, unsigned source, uintptr_t end)
{
    ma_pool *pool = &now->arena->pool;
    uint64_t word = ma_load_acquire(&pool->sources[source].word);
    uint64_t tip = ma_source_tip(pool, source, word, now->generation), limit = ma_source_end(pool, source);
    uintptr_t floor = up(now, address_at(now, tip < limit ? tip : limit));
    while (end > floor && goes_on(now)) {
        uintptr_t look = end - floor < LOOK_BYTES ? end - floor : LOOK_BYTES;
        if (ma_os_resident((void *)(end - look), look) == 0) {
            end -= look;
            continue;
        }
        for (uintptr_t stop = end - look; end > stop && goes_on(now);) {
            uintptr_t most = now->excess < PIECE_BYTES ? up(now, (uintptr_t)now->excess) : PIECE_BYTES;
            uintptr_t begin = end - stop < most ? stop : end - most;
            ma_span span;
            if (!ma_pool_borrow(pool, source, now->generation, &span)) return end;
            floor = up(now, address_at(now, span.begin));
            if (begin < floor) begin = floor;
            discard(now, begin, end);
            ma_pool_return(pool, now->generation, &span);
            if (begin >= end) return end;
            end = begin;
        }
    }
    return end;
}

/* ---- What scopes have given back ------------------------------------------------------------------------------------- */

static bool trim_extent(void *context, uintptr_t begin, uint64_t bytes)
{
    trimming *now = context;
    discard(now, up(now, begin), down(now, begin + (uintptr_t)bytes * now->arena->spread));
    return goes_on(now);
}

static void trim_extents(trimming *now)
{
    ma_pool *pool = &now->arena->pool;
    if (!goes_on(now) || !ma_extent_any(now->arena)) return;
    (void)ma_add_acq_rel(&pool->runs, MA_RUN_BEGINS); /* [run-1] */
    ma_extent_visit_free(now->arena, now->generation, now->page, trim_extent, now);
    ma_pool_end_run(pool);
}

/* ---- An arena -------------------------------------------------------------------------------------------------------- */

/* `all`: whatever is in memory; otherwise only what was noted as touched. */
static uint64_t resident_bytes(const trimming *now, bool all)
{
    const ma_pool *pool = &now->arena->pool;
    uint64_t sum = 0;
    for (unsigned source = 0; source <= pool->shard_count; source++) {
        uint64_t begin = ma_source_begin(pool, source), end = ma_source_end(pool, source);
        if (!all) end = begin + ma_load_relaxed(&pool->sources[source].touched);
        uintptr_t first = down(now, address_at(now, begin));
        sum += ma_os_resident((void *)first, down(now, address_at(now, end)) - first);
    }
    return sum;
}

static size_t trim(ma_arena *arena, size_t keep, bool all)
{
    ma_pool *pool = &arena->pool;
    trimming now = {.arena = arena,
                    .generation = ma_load_acquire(&pool->generation),
                    .hungry = ma_load_relaxed(&arena->hungry),
                    .page = ma_os_page_bytes()};
    if (ma_lane_reset_was_cut()) ma_reset_finish(arena);
    ma_lane_watch_fork();
    uint64_t resident = resident_bytes(&now, all);
    if (resident <= keep) return 0;
    now.excess = resident - keep;
    ma_scope_count(arena, false);
    now.generation = ma_reset_hold_off(arena);
    for (unsigned source = pool->shard_count + 1; source-- > 0 && goes_on(&now);) {
        uint64_t begin = ma_source_begin(pool, source), end = ma_source_end(pool, source);
        uint64_t *touched = &pool->sources[source].touched, before = ma_load_relaxed(touched);
        if (!all) end = begin + before;
        uintptr_t stopped = trim_source(&now, source, down(&now, address_at(&now, end)));
        uint64_t left = (stopped - address_at(&now, begin)) / arena->spread;
        if (left < before) (void)ma_swap_acq_rel(touched, &before, left); /* (or somebody has noted more) */
    }
    trim_extents(&now);
    ma_scope_count(arena, true);
    return (size_t)now.given;
}

size_t memarena_trim(memarena *handle, size_t keep)
{
    ma_arena *arena = ma_root_of(handle);
    return arena->mapping ? trim(arena, keep, true) : 0; /* in a caller's buffer the pages are the caller's */
}

size_t memarena_resident_bytes(const memarena *handle)
{
    ma_arena *arena = ma_root_of(handle);
    trimming now = {.arena = arena, .generation = ma_load_acquire(&arena->pool.generation), .page = ma_os_page_bytes()};
    return arena->mapping ? (size_t)resident_bytes(&now, true) : 0;
}

void ma_trim_note(ma_arena *arena)
{
    ma_pool *pool = &arena->pool;
    uint64_t generation = ma_load_acquire(&pool->generation);
    for (unsigned source = 0; source <= pool->shard_count; source++) {
        uint64_t begin = ma_source_begin(pool, source), *touched = &pool->sources[source].touched;
        uint64_t tip =
            ma_word_offset(pool->offset_bits, ma_load_acquire(&pool->sources[source].word), generation, begin);
        uint64_t most = ma_load_relaxed(touched);
        while (most < tip - begin && !ma_swap_acq_rel(touched, &most, tip - begin)) continue;
    }
}

void ma_trim_after(ma_arena *arena)
{
    uint64_t touched = 0;
    for (unsigned source = 0; source <= arena->pool.shard_count; source++)
        touched += ma_load_relaxed(&arena->pool.sources[source].touched);
    if (touched * arena->spread > arena->retain_bytes) (void)trim(arena, arena->retain_bytes, false);
}
