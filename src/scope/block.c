/* The blocks of a scope, and the extents that they lie in.
 *
 * An address in a scope is a *position* first: under a sanitizer a block at n bytes from the start of its extent lies at
 * `spread` times n bytes from there, with a red zone behind it, as everywhere in a watched arena. Otherwise the two are
 * the same. */
#include "inside.h"

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
void ma_scope_open_range(ma_scope *scope)
{
    uintptr_t end = ma_sample_end(scope->sample_at, scope->limit);
    ma_store_relaxed(&scope->tlab.end_, scope->root->watch == MA_WATCH_NONE && !MA_DEBUG ? end : 0);
}

uint64_t ma_scope_pass(ma_scope *scope, uintptr_t next)
{
    uintptr_t cursor = ma_load_relaxed(&scope->tlab.cursor_);
    uint64_t weight = ma_sample_pass(scope->root, &scope->sample_at, &scope->sample_round, cursor, next);
    ma_scope_open_range(scope);
    return weight;
}

void ma_scope_bump_in(ma_scope *scope, ma_extent *extent, uintptr_t cursor, uintptr_t sum)
{
    scope->bumped = extent;
    scope->limit = ma_scope_limit_of(scope, extent);
    scope->sample_at = 0;
    ma_store_relaxed(&scope->tlab.cursor_, cursor);
    ma_scope_open_range(scope);
    scope->base = sum - cursor;
    ma_scope_sample_from_here(scope);
}

void ma_scope_forbid_rest(const ma_scope *scope)
{
    uintptr_t cursor = ma_load_relaxed(&scope->tlab.cursor_);
    ma_watch_forbid(scope->root, address_of(scope, scope->bumped, cursor), scope->limit - cursor);
}

/* ---- Blocks ------------------------------------------------------------------------------------------------------ */

static ma_block hand_out(const ma_scope *scope, const ma_extent *extent, uintptr_t position, size_t size,
                         uint64_t weight)
{
    uintptr_t block = address_of(scope, extent, position);
    ma_watch_permit(scope->root, block, size);
    return (ma_block){.address = block, .weight = weight};
}

/* Up to where the extent has been taken beside a burst. */
static uintptr_t beside_to(const ma_scope *scope, const ma_extent *extent)
{
    return ma_scope_start_of(scope, extent) + ((uintptr_t)extent->beside << MA_GRAIN_BITS);
}

/* What is left of the extent is there for the next blocks beside a burst, if it is more than they have now. */
static void go_on_beside(ma_scope *scope, ma_extent *extent, uintptr_t cursor)
{
    ma_extent *now = scope->beside;
    if (now && ma_scope_limit_of(scope, now) - beside_to(scope, now) >= ma_scope_limit_of(scope, extent) - cursor)
        return;
    extent->beside = (uint32_t)((cursor - ma_scope_start_of(scope, extent)) >> MA_GRAIN_BITS);
    scope->beside = extent;
}

/* Where the block lies in what has been taken for blocks beside a burst; 0: nowhere. */
static uintptr_t take_beside(ma_scope *scope, uint64_t bytes, uint64_t alignment)
{
    ma_extent *extent = scope->beside;
    if (!extent) return 0;
    uintptr_t from = beside_to(scope, extent), position = find_position(scope, extent, from, bytes, alignment);
    if (!position) return 0;
    uintptr_t end = position + (uintptr_t)bytes;
    scope->base += end - from;
    extent->beside = (uint32_t)((end - ma_scope_start_of(scope, extent)) >> MA_GRAIN_BITS);
    return position;
}

/* A block in an extent of its own making. The rest of the extent is bumped if it is more than there is now. */
static ma_block alloc_in_new_extent(ma_scope *scope, uint64_t bytes, uint64_t alignment, size_t size)
{
    uint64_t slack = alignment > sizeof(ma_extent) ? alignment : 0;
    if (slack > scope->root->pool.capacity) return (ma_block){0};
    ma_extent *extent = ma_scope_add_extent(scope, sizeof *extent + bytes + slack);
    if (!extent) return (ma_block){0};
    uintptr_t from = (uintptr_t)(extent + 1), position = find_position(scope, extent, from, bytes, alignment);
    uintptr_t end = position + (uintptr_t)bytes, left = scope->limit - ma_load_relaxed(&scope->tlab.cursor_);
    if (ma_scope_is_held(scope)) {
        scope->base += end - from;
        go_on_beside(scope, extent, end);
    } else if (ma_scope_limit_of(scope, extent) - end > left) {
        ma_scope_bump_in(scope, extent, end, ma_scope_sum(scope) + (end - from));
    } else {
        scope->base += end - from;
    }
    uint64_t weight = ma_samples(scope->root) ? ma_sample_apart(scope->root, end - from) : 0;
    return hand_out(scope, extent, position, size, weight);
}

/* While a burst holds what is bumped. */
static __attribute__((noinline)) ma_block alloc_beside(ma_scope *scope, uint64_t bytes, uint64_t alignment, size_t size)
{
    uintptr_t position = take_beside(scope, bytes, alignment);
    if (!position) return alloc_in_new_extent(scope, bytes, alignment, size);
    return hand_out(scope, scope->beside, position, size,
                    ma_samples(scope->root) ? ma_sample_apart(scope->root, bytes) : 0);
}

ma_block ma_scope_take(ma_scope *scope, size_t size, size_t alignment)
{
    if (size > scope->root->pool.capacity) return (ma_block){0};
    uint64_t bytes = ma_round_grain(size), least = alignment < MA_GRAIN ? MA_GRAIN : alignment;
    if (ma_scope_is_held(scope)) return alloc_beside(scope, bytes, least, size);
    uintptr_t cursor = ma_load_relaxed(&scope->tlab.cursor_);
    uintptr_t position = find_position(scope, scope->bumped, cursor, bytes, least);
    if (!position) return alloc_in_new_extent(scope, bytes, least, size);
    uint64_t weight = ma_samples(scope->root) ? ma_scope_pass(scope, position + (uintptr_t)bytes) : 0;
    ma_store_relaxed(&scope->tlab.cursor_, position + (uintptr_t)bytes);
    return hand_out(scope, scope->bumped, position, size, weight);
}

/* By the burst that holds the scope, which has given it its cursor back. */
bool ma_scope_find_block(ma_scope *scope, size_t size, size_t alignment, ma_block *block)
{
    ma_check_process(scope->root);
    ma_scope_open_range(scope);
    *block = ma_scope_take(scope, size, alignment);
    return block->address != 0;
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
    bool alone = scope->newest != scope->bumped && scope->newest->beside == MA_EXTENT_OWN &&
                 ma_scope_lies_in(scope, scope->newest, block);
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

uintptr_t ma_scope_held(const ma_scope *scope)
{
    return ma_load_relaxed(&scope->held);
}
