/* The blocks of a scope, and the extents that they lie in.
 *
 * An address in a scope is a *position* first: under a sanitizer a block at n bytes from the start of its extent lies at
 * `spread` times n bytes from there, with a red zone behind it, as everywhere in a watched arena. Otherwise the two are
 * the same. */
#include "inside.h"

#define GROWTH_MAX ((uint64_t)64 << 10) /* of an extent that is taken for more than one block */

/* ---- Extents and positions -------------------------------------------------------------------------------------- */

static uintptr_t address_of(const ma_scope *scope, const ma_extent *extent, uintptr_t position)
{
    uintptr_t start = ma_scope_start_of(scope, extent);
    return start + (position - start) * scope->root->spread;
}

/* The first position from `from` on where the block fits into the extent; 0: none. */
static uintptr_t find_position(const ma_scope *scope, const ma_extent *extent, uintptr_t from, uint64_t bytes,
                               uint64_t alignment)
{
    uintptr_t start = ma_scope_start_of(scope, extent);
    uint64_t offset = from - start, room = ma_scope_bytes_of(scope, extent);
    uint64_t at = ma_watch_align(start, scope->root->spread, offset, alignment);
    return at < offset || at > room || bytes > room - at ? 0 : start + (uintptr_t)at;
}

/* The inline code bumps as far as it may. */
static void open_range(ma_scope *scope)
{
    uintptr_t end = ma_sample_end(scope->sample_at, scope->limit);
    ma_store_relaxed(&scope->tlab.end_, scope->root->watch == MA_WATCH_NONE && !MA_DEBUG ? end : 0);
}

uint64_t ma_scope_pass(ma_scope *scope, uintptr_t next)
{
    uintptr_t cursor = ma_load_relaxed(&scope->tlab.cursor_);
    uint64_t weight = ma_sample_pass(scope->root, &scope->sample_at, &scope->sample_round, cursor, next);
    open_range(scope);
    return weight;
}

void ma_scope_bump_in(ma_scope *scope, ma_extent *extent, uintptr_t cursor, uintptr_t sum)
{
    scope->bumped = extent;
    scope->limit = ma_scope_limit_of(scope, extent);
    scope->sample_at = 0;
    ma_store_relaxed(&scope->tlab.cursor_, cursor);
    open_range(scope);
    scope->base = sum - cursor;
    ma_scope_sample_from_here(scope);
}

void ma_scope_forbid_rest(const ma_scope *scope)
{
    uintptr_t cursor = ma_load_relaxed(&scope->tlab.cursor_);
    ma_watch_forbid(scope->root, address_of(scope, scope->bumped, cursor), scope->limit - cursor);
}

static ma_extent *add_extent(ma_scope *scope, uint64_t least)
{
    uint64_t want = scope->held < GROWTH_MAX ? scope->held : GROWTH_MAX;
    ma_extent_span span;
    if (!ma_extent_take(scope->root, scope->root_generation, least, want, &span)) return NULL;
    ma_extent *extent = (ma_extent *)span.begin;
    ma_watch_permit(scope->root, span.begin, sizeof *extent);
    *extent = (ma_extent){.older = scope->newest, .units = span.units};
    scope->newest = extent;
    scope->held += ma_scope_bytes_of(scope, extent);
    return extent;
}

void ma_scope_drop_extents(ma_scope *scope, const ma_extent *last)
{
    while (scope->newest != last) {
        ma_extent *extent = scope->newest;
        ma_extent_span span = {(uintptr_t)extent, extent->units};
        scope->newest = extent->older;
        scope->held -= ma_scope_bytes_of(scope, extent);
        ma_extent_give(scope->root, scope->root_generation, span);
    }
}

/* ---- Blocks ------------------------------------------------------------------------------------------------------ */

static ma_block hand_out(const ma_scope *scope, const ma_extent *extent, uintptr_t position, size_t size,
                         uint64_t weight)
{
    uintptr_t block = address_of(scope, extent, position);
    ma_watch_permit(scope->root, block, size);
    return (ma_block){.address = block, .weight = weight};
}

/* A block in an extent of its own making. The rest of the extent is bumped if it is more than there is now. */
static ma_block alloc_in_new_extent(ma_scope *scope, uint64_t bytes, uint64_t alignment, size_t size)
{
    uint64_t slack = alignment > sizeof(ma_extent) ? alignment : 0;
    if (slack > scope->root->pool.capacity) return (ma_block){0};
    ma_extent *extent = add_extent(scope, sizeof *extent + bytes + slack);
    if (!extent) return (ma_block){0};
    uintptr_t from = (uintptr_t)(extent + 1), position = find_position(scope, extent, from, bytes, alignment);
    uintptr_t end = position + (uintptr_t)bytes, left = scope->limit - ma_load_relaxed(&scope->tlab.cursor_);
    if (ma_scope_limit_of(scope, extent) - end > left)
        ma_scope_bump_in(scope, extent, end, ma_scope_sum(scope) + (end - from));
    else
        scope->base += end - from;
    uint64_t weight = ma_samples(scope->root) ? ma_sample_apart(scope->root, end - from) : 0;
    return hand_out(scope, extent, position, size, weight);
}

ma_block ma_scope_take(ma_scope *scope, size_t size, size_t alignment)
{
    if (size > scope->root->pool.capacity) return (ma_block){0};
    uint64_t bytes = ma_round_grain(size), least = alignment < MA_GRAIN ? MA_GRAIN : alignment;
    uintptr_t cursor = ma_load_relaxed(&scope->tlab.cursor_);
    uintptr_t position = find_position(scope, scope->bumped, cursor, bytes, least);
    if (!position) return alloc_in_new_extent(scope, bytes, least, size);
    uint64_t weight = ma_samples(scope->root) ? ma_scope_pass(scope, position + (uintptr_t)bytes) : 0;
    ma_store_relaxed(&scope->tlab.cursor_, position + (uintptr_t)bytes);
    return hand_out(scope, scope->bumped, position, size, weight);
}

void *ma_scope_alloc(ma_scope *scope, size_t size, size_t alignment)
{
    ma_check_process(scope->root);
    uintptr_t before = ma_scope_enter(scope);
    ma_block block = ma_scope_take(scope, size, alignment);
    ma_scope_leave(scope, before);
    if (block.weight) ma_sample_report(scope->root, &scope->tlab, &block, size);
    return (void *)block.address;
}

bool ma_scope_lies_in(const ma_scope *scope, const ma_extent *extent, uintptr_t address)
{
    return address - ma_scope_start_of(scope, extent) < ma_scope_bytes_of(scope, extent) * scope->root->spread;
}

/* Where the last block is that lies there and has so many bytes: its position, and the extent. That is the one that is
 * bumped, or the newest one, if the block has it for itself and no mark keeps it. 0: it is not the last block. */
static uintptr_t find_last(const ma_scope *scope, uintptr_t block, uintptr_t bytes, ma_extent **extent)
{
    bool alone = scope->newest != scope->bumped && ma_scope_lies_in(scope, scope->newest, block);
    *extent = alone ? scope->newest : scope->bumped;
    uintptr_t start = ma_scope_start_of(scope, *extent), position = start + (block - start) / scope->root->spread;
    if (alone) return scope->marks && scope->marks->newest == *extent ? 0 : position;
    return block > start && position + bytes == ma_load_relaxed(&scope->tlab.cursor_) ? position : 0;
}

static void go_back_to(ma_scope *scope, uintptr_t cursor)
{
    ma_store_relaxed(&scope->tlab.cursor_, cursor);
    ma_scope_sample_from_here(scope);
}

static bool resize(ma_scope *scope, ma_block *of, size_t old_size, size_t new_size)
{
    uintptr_t block = of->address, old_bytes = (uintptr_t)ma_round_grain(old_size);
    uintptr_t new_bytes = (uintptr_t)ma_round_grain(new_size);
    ma_extent *extent;
    uintptr_t position = find_last(scope, block, old_bytes, &extent);
    bool fits = position && new_bytes <= ma_scope_limit_of(scope, extent) - position, grows = new_bytes > old_bytes;
    if (!fits && grows) return false;
    if (fits && extent != scope->bumped) {
        scope->base += new_bytes - old_bytes;
        if (grows && ma_samples(scope->root)) of->weight = ma_sample_apart(scope->root, new_bytes - old_bytes);
    } else if (fits && grows) {
        if (ma_samples(scope->root)) of->weight = ma_scope_pass(scope, position + new_bytes);
        ma_store_relaxed(&scope->tlab.cursor_, position + new_bytes);
    } else if (fits && new_bytes < old_bytes) {
        go_back_to(scope, position + new_bytes);
    }
    if (new_size > old_size)
        ma_watch_permit(scope->root, block + old_size, new_size - old_size);
    else
        ma_watch_forbid_part(scope->root, block + new_size, old_size - new_size);
    return true;
}

static bool drop(ma_scope *scope, uintptr_t block, size_t size)
{
    uintptr_t bytes = (uintptr_t)ma_round_grain(size);
    ma_extent *extent;
    uintptr_t position = find_last(scope, block, bytes, &extent);
    if (!position) return false;
    if (extent != scope->bumped) {
        scope->base -= position + bytes - (uintptr_t)(extent + 1);
        ma_scope_drop_extents(scope, extent->older);
    } else {
        go_back_to(scope, position);
        ma_watch_forbid_part(scope->root, block, size);
    }
    return true;
}

bool ma_scope_drop(ma_scope *scope, uintptr_t block, size_t size)
{
    uintptr_t before = ma_scope_enter(scope);
    bool dropped = drop(scope, block, size);
    ma_scope_leave(scope, before);
    return dropped;
}

bool ma_scope_resize(ma_scope *scope, uintptr_t block, size_t old_size, size_t new_size)
{
    uintptr_t before = ma_scope_enter(scope);
    ma_block of = {.address = block};
    bool resized = resize(scope, &of, old_size, new_size);
    ma_scope_leave(scope, before);
    if (of.weight) ma_sample_report(scope->root, &scope->tlab, &of, new_size);
    return resized;
}

/* ---- Look ---------------------------------------------------------------------------------------------------------- */

uint64_t ma_scope_allocated(const ma_scope *scope)
{
    return ma_scope_sum(scope);
}

bool ma_scope_owns(const ma_scope *scope, uintptr_t address)
{
    for (const ma_extent *extent = scope->newest; extent; extent = extent->older)
        if (ma_scope_lies_in(scope, extent, address)) return true;
    return false;
}
