/* Scopes: see scope.h for what they are made of.
 *
 * An address in a scope is a *position* first: under a sanitizer a block at n bytes from the start of its extent lies at
 * `spread` times n bytes from there, with a red zone behind it, as everywhere in a watched arena. Otherwise the two are
 * the same. */
#include "arena.h"

#define GROWTH_MAX ((uint64_t)64 << 10) /* of an extent that is taken for more than one block */

static_assert(sizeof(ma_scope) <= (size_t)1 << (MA_UNIT_SHIFT - 2), "a scope must fit its first extent, with blocks");
static_assert(offsetof(ma_scope, kind) == offsetof(ma_arena, kind), "a handle must say what it is");

/* ---- Extents and positions -------------------------------------------------------------------------------------- */

static uintptr_t start_of(const ma_scope *scope, const ma_extent *extent)
{
    return (uintptr_t)extent & ~(((uintptr_t)1 << scope->root->extents.unit_shift) - 1);
}

static uintptr_t bytes_of(const ma_scope *scope, const ma_extent *extent)
{
    return (uintptr_t)extent->units << scope->root->extents.unit_shift;
}

static uintptr_t limit_of(const ma_scope *scope, const ma_extent *extent)
{
    return start_of(scope, extent) + bytes_of(scope, extent);
}

static uintptr_t address_of(const ma_scope *scope, const ma_extent *extent, uintptr_t position)
{
    uintptr_t start = start_of(scope, extent);
    return start + (position - start) * scope->root->spread;
}

/* The first position from `from` on where the block fits into the extent; 0: none. */
static uintptr_t find_position(const ma_scope *scope, const ma_extent *extent, uintptr_t from, uint64_t bytes,
                               uint64_t alignment)
{
    uintptr_t start = start_of(scope, extent);
    uint64_t offset = from - start, room = bytes_of(scope, extent);
    uint64_t at = ma_watch_align(start, scope->root->spread, offset, alignment);
    return at < offset || at > room || bytes > room - at ? 0 : start + (uintptr_t)at;
}

/* From now on `extent` is bumped, from `cursor` on; `sum` bytes have been handed out. */
static void bump_in(ma_scope *scope, ma_extent *extent, uintptr_t cursor, uintptr_t sum)
{
    scope->bumped = extent;
    scope->limit = limit_of(scope, extent);
    ma_store_relaxed(&scope->tlab.cursor_, cursor);
    ma_store_relaxed(&scope->tlab.end_, scope->root->watch == MA_WATCH_NONE ? scope->limit : 0);
    scope->base = sum - cursor;
}

/* What is left of the extent that is being bumped. */
static void forbid_rest(const ma_scope *scope)
{
    uintptr_t cursor = ma_load_relaxed(&scope->tlab.cursor_);
    ma_watch_forbid(scope->root, address_of(scope, scope->bumped, cursor), scope->limit - cursor);
}

static void count_above(ma_scope *above, uintptr_t bytes)
{
    for (; above; above = above->parent) ma_count_shared(&above->held_below, bytes);
}

static void count_held(ma_scope *scope, uintptr_t bytes)
{
    scope->held += bytes;
    count_above(scope->parent, bytes);
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
    count_held(scope, bytes_of(scope, extent));
    return extent;
}

/* Gives back all extents that are newer than `last`. */
static void drop_extents(ma_scope *scope, const ma_extent *last)
{
    while (scope->newest != last) {
        ma_extent *extent = scope->newest;
        ma_extent_span span = {(uintptr_t)extent, extent->units};
        scope->newest = extent->older;
        count_held(scope, 0 - bytes_of(scope, extent));
        ma_extent_give(scope->root, scope->root_generation, span);
    }
}

/* ---- Blocks ------------------------------------------------------------------------------------------------------ */

static uintptr_t sum_of(const ma_scope *scope)
{
    return scope->base + ma_load_relaxed(&scope->tlab.cursor_);
}

static void *hand_out(const ma_scope *scope, const ma_extent *extent, uintptr_t position, size_t size)
{
    uintptr_t block = address_of(scope, extent, position);
    ma_watch_permit(scope->root, block, size);
    return (void *)block;
}

/* A block in an extent of its own making. The rest of the extent is bumped if it is more than there is now. */
static void *alloc_in_new_extent(ma_scope *scope, uint64_t bytes, uint64_t alignment, size_t size)
{
    uint64_t slack = alignment > sizeof(ma_extent) ? alignment : 0;
    if (slack > scope->root->pool.capacity) return NULL;
    ma_extent *extent = add_extent(scope, sizeof *extent + bytes + slack);
    if (!extent) return NULL;
    uintptr_t from = (uintptr_t)(extent + 1), position = find_position(scope, extent, from, bytes, alignment);
    uintptr_t end = position + (uintptr_t)bytes, left = scope->limit - ma_load_relaxed(&scope->tlab.cursor_);
    if (limit_of(scope, extent) - end > left)
        bump_in(scope, extent, end, sum_of(scope) + (end - from));
    else
        scope->base += end - from;
    return hand_out(scope, extent, position, size);
}

void *ma_scope_alloc(ma_scope *scope, size_t size, size_t alignment)
{
    if (size > scope->root->pool.capacity) return NULL;
    uint64_t bytes = ma_round_grain(size), least = alignment < MA_GRAIN ? MA_GRAIN : alignment;
    uintptr_t cursor = ma_load_relaxed(&scope->tlab.cursor_);
    uintptr_t position = find_position(scope, scope->bumped, cursor, bytes, least);
    if (!position) return alloc_in_new_extent(scope, bytes, least, size);
    ma_store_relaxed(&scope->tlab.cursor_, position + (uintptr_t)bytes);
    return hand_out(scope, scope->bumped, position, size);
}

bool ma_scope_resize(ma_scope *scope, uintptr_t block, size_t old_size, size_t new_size)
{
    uintptr_t start = start_of(scope, scope->bumped), cursor = ma_load_relaxed(&scope->tlab.cursor_);
    uintptr_t old_bytes = (uintptr_t)ma_round_grain(old_size), new_bytes = (uintptr_t)ma_round_grain(new_size);
    uintptr_t position = start + (block - start) / scope->root->spread;
    bool is_tip = block > start && position + old_bytes == cursor && new_bytes <= scope->limit - position;
    if (!is_tip && new_bytes > old_bytes) return false;
    if (is_tip) ma_store_relaxed(&scope->tlab.cursor_, position + new_bytes);
    if (new_size > old_size)
        ma_watch_permit(scope->root, block + old_size, new_size - old_size);
    else
        ma_watch_forbid_part(scope->root, block + new_size, old_size - new_size);
    return true;
}

/* ---- Beginning and end --------------------------------------------------------------------------------------------- */

/* Counts a scope as open, before anything that a reset must not come into. Its number, never the same again. */
static uint64_t count_opened(ma_arena *root, unsigned number)
{
    ma_extent_cache *counts = ma_arena_counts(root, number);
    if (number == MA_LANES) return (uint64_t)number << 56 | ma_add_seq_cst(&counts->opened, 1); /* [open-1] */
    uint64_t opened = counts->opened;
    ma_lane_enlist(&root->scope_lanes, number);             /* [open-2] */
    (void)ma_exchange_seq_cst(&counts->opened, opened + 1); /* [open-1] */
    return (uint64_t)number << 56 | opened;
}

static void count_ended(ma_arena *root, unsigned number)
{
    ma_extent_cache *counts = ma_arena_counts(root, number);
    if (number == MA_LANES) {
        (void)ma_add_seq_cst(&counts->ended, 1); /* [open-1] */
        return;
    }
    ma_lane_enlist(&root->scope_lanes, number);          /* [open-2] */
    ma_store_release(&counts->ended, counts->ended + 1); /* [open-1] */
}

/* The first extent: nearly always from the lane's own cache. */
static bool take_first(ma_arena *root, unsigned number, uint64_t generation, ma_extent_span *span)
{
    ma_extent_cache *cache = ma_arena_counts(root, number);
    if (number != MA_LANES && cache->generation == generation &&
        ma_extent_pop_cached(&root->extents, cache, 0, 1, span))
        return true;
    return ma_extent_take(root, generation, sizeof(ma_scope), 0, span);
}

/* And nearly always back there. */
static void give_first(ma_arena *root, unsigned number, uint64_t generation, ma_extent_span span)
{
    ma_extent_cache *cache = ma_arena_counts(root, number);
    if (number != MA_LANES && cache->generation == generation && span.units == 1 && cache->units < cache->units_max)
        ma_extent_push_cached(&root->extents, cache, 0, span);
    else
        ma_extent_give(root, generation, span);
}

/* Member by member: compilers make a loop of a whole zeroed struct, which costs more than everything else here. */
static void begin(ma_scope *scope, ma_arena *root, ma_scope *parent, uint32_t units)
{
    scope->kind = MA_KIND_SCOPE;
    scope->ending = false;
    scope->root = root;
    scope->parent = parent;
    scope->generation = 1;
    scope->serial = 0;
    scope->newest = &scope->first;
    scope->marks = NULL;
    scope->deferred = 0;
    scope->held = (uintptr_t)units << root->extents.unit_shift;
    scope->held_below = 0;
    scope->children = 0;
    scope->first.older = NULL;
    scope->first.units = units;
}

static memarena *open_scope(ma_arena *root, ma_scope *parent)
{
    if (root->has_lanes && memarena_lane_offset_ == 0) (void)ma_lane_mine(root);
    unsigned number = ma_lane_number(root);
    uint64_t birth = count_opened(root, number), generation = ma_reset_hold_off(root);
    ma_extent_span span;
    if (!take_first(root, number, generation, &span)) {
        count_ended(root, number);
        return NULL;
    }
    ma_scope *scope = (ma_scope *)span.begin;
    if (root->watch != MA_WATCH_NONE) ma_watch_permit(root, span.begin, sizeof *scope);
    begin(scope, root, parent, span.units);
    scope->root_generation = generation;
    scope->birth = birth;
    if (parent) ma_count_shared(&parent->children, 1); /* [open-4] */
    count_above(parent, scope->held);
    bump_in(scope, &scope->first, (uintptr_t)(scope + 1), 0);
    return &scope->tlab;
}

memarena *memarena_scope(memarena *handle)
{
    ma_arena *root = ma_root_of(handle);
    ma_scope *parent = ma_arena_of(handle)->kind == MA_KIND_SCOPE ? (ma_scope *)handle : NULL;
    if (ma_lane_reset_was_cut()) ma_reset_finish(root);
    memarena *scope = open_scope(root, parent);
    if (!scope && root->on_oom && root->on_oom(root->on_oom_context, handle, sizeof(ma_scope)))
        scope = open_scope(root, parent);
    return scope ? scope : ma_out_of_memory(root, sizeof(ma_scope));
}

/* Runs the calls deferred since `last` was the newest, and those that they defer themselves. */
static void run_calls(ma_scope *scope, uint64_t last)
{
    scope->ending = true;
    while (scope->deferred != last) {
        ma_deferred_call call = *(ma_deferred_call *)(uintptr_t)scope->deferred;
        scope->deferred = call.next;
        call.fn(call.arg);
    }
    scope->ending = false;
}

void ma_scope_end(ma_scope *scope)
{
    ma_arena *root = scope->root;
    uint64_t generation = scope->root_generation;
    if (scope->deferred) run_calls(scope, 0);
    drop_extents(scope, &scope->first);
    ma_extent_span first = {(uintptr_t)scope, scope->first.units};
    unsigned number = ma_lane_number(root);
    if (scope->parent) {
        count_above(scope->parent, 0 - bytes_of(scope, &scope->first));
        ma_count_shared(&scope->parent->children, (uintptr_t)-1); /* [open-4] */
    }
    scope->kind = MA_KIND_ENDED;
    give_first(root, number, generation, first);
    count_ended(root, number);
}

bool ma_scope_reset(ma_scope *scope)
{
    if (scope->ending || ma_load_acquire(&scope->children) != 0) return ma_fail(EBUSY); /* [open-4] */
    run_calls(scope, 0);
    if (ma_load_acquire(&scope->children) != 0) return ma_fail(EBUSY); /* opened by a deferred call */
    drop_extents(scope, &scope->first);
    scope->marks = NULL;
    scope->generation++;
    bump_in(scope, &scope->first, (uintptr_t)(scope + 1), 0);
    forbid_rest(scope);
    return true;
}

bool ma_scope_defer(ma_scope *scope, void (*fn)(void *), void *arg)
{
    ma_deferred_call *call = memarena_alloc_slow_(&scope->tlab, sizeof *call, _Alignof(ma_deferred_call));
    if (!call) return false;
    *call = (ma_deferred_call){.fn = fn, .arg = arg, .next = scope->deferred};
    scope->deferred = (uintptr_t)call;
    return true;
}

/* ---- Marks -------------------------------------------------------------------------------------------------------- */

/* Whether nothing has happened in the scope since the mark. */
static bool is_here(const ma_scope *scope, const ma_mark *mark)
{
    return mark && mark->cursor == ma_load_relaxed(&scope->tlab.cursor_) && mark->newest == scope->newest &&
           mark->deferred == scope->deferred;
}

memarena_position memarena_mark(memarena *handle)
{
    const memarena_position nowhere = {NULL, 0, 0};
    if (ma_arena_of(handle)->kind != MA_KIND_SCOPE) return nowhere;
    ma_scope *scope = (ma_scope *)handle;
    if (!is_here(scope, scope->marks)) {
        uintptr_t settled = sum_of(scope);
        ma_mark *mark = ma_scope_alloc(scope, sizeof *mark, _Alignof(ma_mark));
        if (!mark) return nowhere;
        scope->base -= sum_of(scope) - settled; /* nobody's block */
        *mark = (ma_mark){.older = scope->marks,
                          .serial = ++scope->serial,
                          .newest = scope->newest,
                          .bumped = scope->bumped,
                          .cursor = ma_load_relaxed(&scope->tlab.cursor_),
                          .settled = settled,
                          .deferred = scope->deferred};
        scope->marks = mark;
    }
    return (memarena_position){handle, scope->birth, scope->marks->serial};
}

bool memarena_rewind(memarena *handle, memarena_position position)
{
    if (ma_arena_of(handle)->kind != MA_KIND_SCOPE || position.scope_ != handle) return ma_fail(EINVAL);
    ma_scope *scope = (ma_scope *)handle;
    ma_mark *mark = scope->marks;
    while (mark && mark->serial > position.serial_) mark = mark->older;
    if (!mark || mark->serial != position.serial_ || scope->birth != position.birth_) return ma_fail(EINVAL);
    if (scope->ending) return ma_fail(EBUSY);
    run_calls(scope, mark->deferred);
    scope->marks = mark;
    drop_extents(scope, mark->newest);
    bump_in(scope, mark->bumped, mark->cursor, mark->settled);
    forbid_rest(scope);
    return true;
}

/* ---- Look ---------------------------------------------------------------------------------------------------------- */

uint64_t ma_scope_allocated(const ma_scope *scope)
{
    return sum_of(scope) + ma_load_relaxed(&scope->held_below);
}

bool ma_scope_owns(const ma_scope *scope, uintptr_t address)
{
    for (const ma_extent *extent = scope->newest; extent; extent = extent->older)
        if (address - start_of(scope, extent) < bytes_of(scope, extent) * scope->root->spread) return true;
    return false;
}
