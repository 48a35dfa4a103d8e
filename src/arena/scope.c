/* Scopes: see scope.h for what they are made of.
 *
 * An address in a scope is a *position* first: under a sanitizer a block at n bytes from the start of its extent lies at
 * `spread` times n bytes from there, with a red zone behind it, as everywhere in a watched arena. Otherwise the two are
 * the same. */
#include "arena.h"

#include "../platform/os.h"
#include "../platform/unwind.h"

#define GROWTH_MAX ((uint64_t)64 << 10) /* of an extent that is taken for more than one block */

static_assert(sizeof(ma_scope) <= (size_t)1 << (MA_UNIT_SHIFT - 2), "a scope must fit its first extent, with blocks");
static_assert(sizeof(ma_scope) % MA_GRAIN == 0, "a cursor counts grains");
static_assert(sizeof(ma_extent) % MA_GRAIN == 0, "a cursor counts grains");
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

/* The inline code bumps as far as it may. */
void ma_scope_open_range(ma_scope *scope)
{
    uintptr_t end = ma_sample_end(scope->sample_at, scope->limit);
    ma_store_relaxed(&scope->tlab.end_, scope->root->watch == MA_WATCH_NONE && !MA_DEBUG ? end : 0);
}

/* Counts what a block takes of the range that is bumped, up to `next`. */
static __attribute__((noinline)) uint64_t pass(ma_scope *scope, uintptr_t next)
{
    uintptr_t cursor = ma_load_relaxed(&scope->tlab.cursor_);
    uint64_t weight = ma_sample_pass(scope->root, &scope->sample_at, &scope->sample_round, cursor, next);
    ma_scope_open_range(scope);
    return weight;
}

/* After the cursor was set: where it is now no block has been looked at. */
static inline void sample_from_here(ma_scope *scope)
{
    if (!ma_samples(scope->root)) return;
    scope->sample_at = 0;
    (void)pass(scope, ma_load_relaxed(&scope->tlab.cursor_));
}

/* From now on `extent` is bumped, from `cursor` on; `sum` bytes have been handed out. */
static void bump_in(ma_scope *scope, ma_extent *extent, uintptr_t cursor, uintptr_t sum)
{
    scope->bumped = extent;
    scope->limit = limit_of(scope, extent);
    scope->sample_at = 0;
    ma_store_relaxed(&scope->tlab.cursor_, cursor);
    ma_scope_open_range(scope);
    scope->base = sum - cursor;
    sample_from_here(scope);
}

/* What is left of the extent that is being bumped. */
static void forbid_rest(const ma_scope *scope)
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
    *extent = (ma_extent){.older = scope->newest, .units = span.units, .beside = 0};
    scope->newest = extent;
    scope->held += bytes_of(scope, extent);
    return extent;
}

/* Gives back all extents that are newer than `last`. */
static void drop_extents(ma_scope *scope, const ma_extent *last)
{
    while (scope->newest != last) {
        ma_extent *extent = scope->newest;
        ma_extent_span span = {(uintptr_t)extent, extent->units};
        scope->newest = extent->older;
        scope->held -= bytes_of(scope, extent);
        if (extent == scope->beside) scope->beside = NULL;
        ma_extent_give(scope->root, scope->root_generation, span);
    }
}

/* ---- Two threads at once: the debug build only ---------------------------------------------------------------------- */

/* This thread goes into a call. Returns what `leave` needs: a deferred call may use its scope. */
static inline uintptr_t enter(ma_scope *scope)
{
    if (!MA_DEBUG) return 0;
    uintptr_t me = ma_os_thread_self(), before = ma_exchange_seq_cst(&scope->user, me);
    if (before != 0 && before != me) ma_misuse("scope %p is used by two threads at once", (void *)scope);
    return before;
}

static inline void leave(ma_scope *scope, uintptr_t before)
{
    if (MA_DEBUG) (void)ma_exchange_seq_cst(&scope->user, before);
}

/* ---- Blocks ------------------------------------------------------------------------------------------------------ */

static uintptr_t sum_of(const ma_scope *scope)
{
    return scope->base + ma_scope_counted_to(scope);
}

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
    return start_of(scope, extent) + ((uintptr_t)extent->beside << MA_GRAIN_BITS);
}

/* What is left of the extent is there for the next blocks beside a burst, if it is more than they have now. */
static void go_on_beside(ma_scope *scope, ma_extent *extent, uintptr_t cursor)
{
    ma_extent *now = scope->beside;
    if (now && limit_of(scope, now) - beside_to(scope, now) >= limit_of(scope, extent) - cursor) return;
    extent->beside = (uint32_t)((cursor - start_of(scope, extent)) >> MA_GRAIN_BITS);
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
    extent->beside = (uint32_t)((end - start_of(scope, extent)) >> MA_GRAIN_BITS);
    return position;
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
    if (ma_scope_is_held(scope)) {
        scope->base += end - from;
        go_on_beside(scope, extent, end);
    } else if (limit_of(scope, extent) - end > left) {
        bump_in(scope, extent, end, sum_of(scope) + (end - from));
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

/* Its address is 0 when there is no room. */
static ma_block alloc(ma_scope *scope, size_t size, size_t alignment)
{
    if (size > scope->root->pool.capacity) return (ma_block){0};
    uint64_t bytes = ma_round_grain(size), least = alignment < MA_GRAIN ? MA_GRAIN : alignment;
    if (ma_scope_is_held(scope)) return alloc_beside(scope, bytes, least, size);
    uintptr_t cursor = ma_load_relaxed(&scope->tlab.cursor_);
    uintptr_t position = find_position(scope, scope->bumped, cursor, bytes, least);
    if (!position) return alloc_in_new_extent(scope, bytes, least, size);
    uint64_t weight = ma_samples(scope->root) ? pass(scope, position + (uintptr_t)bytes) : 0;
    ma_store_relaxed(&scope->tlab.cursor_, position + (uintptr_t)bytes);
    return hand_out(scope, scope->bumped, position, size, weight);
}

/* By the burst that holds the scope, which has given it its cursor back. */
bool ma_scope_find_block(ma_scope *scope, size_t size, size_t alignment, ma_block *block)
{
    ma_check_process(scope->root);
    ma_scope_open_range(scope);
    *block = alloc(scope, size, alignment);
    return block->address != 0;
}

void *ma_scope_alloc(ma_scope *scope, size_t size, size_t alignment)
{
    ma_check_process(scope->root);
    uintptr_t before = enter(scope);
    ma_block block = alloc(scope, size, alignment);
    leave(scope, before);
    if (block.weight) ma_sample_report(scope->root, &scope->tlab, &block, size);
    return (void *)block.address;
}

static bool lies_in(const ma_scope *scope, const ma_extent *extent, uintptr_t address)
{
    return address - start_of(scope, extent) < bytes_of(scope, extent) * scope->root->spread;
}

/* Where the last block is that lies there and has so many bytes: its position, and the extent. That is the one that is
 * bumped, or the newest one, if the block has it for itself and no mark keeps it. 0: it is not the last block. */
static uintptr_t find_last(const ma_scope *scope, uintptr_t block, uintptr_t bytes, ma_extent **extent)
{
    bool alone = scope->newest != scope->bumped && scope->newest->beside == 0 && lies_in(scope, scope->newest, block);
    *extent = alone ? scope->newest : scope->bumped;
    uintptr_t start = start_of(scope, *extent), position = start + (block - start) / scope->root->spread;
    if (alone) return scope->marks && scope->marks->newest == *extent ? 0 : position;
    return block > start && position + bytes == ma_load_relaxed(&scope->tlab.cursor_) ? position : 0;
}

static void go_back_to(ma_scope *scope, uintptr_t cursor)
{
    ma_store_relaxed(&scope->tlab.cursor_, cursor);
    sample_from_here(scope);
}

static bool resize(ma_scope *scope, ma_block *of, size_t old_size, size_t new_size)
{
    uintptr_t block = of->address, old_bytes = (uintptr_t)ma_round_grain(old_size);
    uintptr_t new_bytes = (uintptr_t)ma_round_grain(new_size);
    ma_extent *extent;
    uintptr_t position = find_last(scope, block, old_bytes, &extent);
    bool fits = position && new_bytes <= limit_of(scope, extent) - position, grows = new_bytes > old_bytes;
    if (!fits && grows) return false;
    if (fits && extent != scope->bumped) {
        scope->base += new_bytes - old_bytes;
        if (grows && ma_samples(scope->root)) of->weight = ma_sample_apart(scope->root, new_bytes - old_bytes);
    } else if (fits && grows) {
        if (ma_samples(scope->root)) of->weight = pass(scope, position + new_bytes);
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
        drop_extents(scope, extent->older);
    } else {
        go_back_to(scope, position);
        ma_watch_forbid_part(scope->root, block, size);
    }
    return true;
}

bool ma_scope_drop(ma_scope *scope, uintptr_t block, size_t size)
{
    uintptr_t before = enter(scope);
    bool dropped = drop(scope, block, size);
    leave(scope, before);
    return dropped;
}

bool ma_scope_resize(ma_scope *scope, uintptr_t block, size_t old_size, size_t new_size)
{
    uintptr_t before = enter(scope);
    ma_block of = {.address = block};
    bool resized = resize(scope, &of, old_size, new_size);
    leave(scope, before);
    if (of.weight) ma_sample_report(scope->root, &scope->tlab, &of, new_size);
    return resized;
}

/* ---- Beginning and end --------------------------------------------------------------------------------------------- */

/* In the counts of this thread's lane, which is enlisted in `scope_lanes`. Before anything that a reset must not come
 * into. */
static inline void count_opened_in(ma_extent_cache *counts)
{
    (void)ma_exchange_seq_cst(&counts->opened, counts->opened + 1); /* [open-1] */
}

static inline void count_ended_in(ma_extent_cache *counts)
{
    ma_store_release(&counts->ended, counts->ended + 1); /* [open-1] */
}

/* Likewise, of any thread. */
void ma_scope_count(ma_arena *root, bool ended)
{
    unsigned number = ma_lane_number(root);
    ma_extent_cache *counts = ma_arena_counts(root, number);
    if (number == MA_LANES) {
        (void)ma_add_seq_cst(ended ? &counts->ended : &counts->opened, 1); /* [open-1] */
        return;
    }
    ma_lane_enlist(&root->scope_lanes, number); /* [open-2] */
    if (ended)
        count_ended_in(counts);
    else
        count_opened_in(counts);
}

/* What stays as it is when the scope ends, until its extent is used for something else. */
static void make(ma_scope *scope, ma_arena *root, uint64_t generation, uint32_t units)
{
    if (root->pool.told) ma_race_tell_ours(scope, sizeof *scope, true);
    scope->root = root;
    scope->root_generation = generation;
    scope->ending = false;
    scope->user = 0;
    scope->burst = 0;
    scope->deferred = 0;
    scope->held = (uintptr_t)units << root->extents.unit_shift;
    scope->newest = &scope->first;
    scope->first.older = NULL;
    scope->first.units = units;
    scope->first.beside = 0;
    bump_in(scope, &scope->first, (uintptr_t)(scope + 1), 0);
}

/* One that was left open in the scope's life before, by an exception. */
static __attribute__((noinline)) void give_up_burst(ma_scope *scope)
{
    scope->burst = 0;
    ma_scope_open_range(scope);
}

/* What is new in each life. */
static memarena *begin(ma_scope *scope, ma_scope *parent)
{
    uintptr_t start = (uintptr_t)(scope + 1);
    scope->kind = MA_KIND_SCOPE;
    scope->parent = parent;
    scope->generation = 1;
    scope->marks = NULL;
    scope->children = 0;
    scope->base = 0 - start;
    ma_store_relaxed(&scope->tlab.cursor_, start);
    if (scope->burst) give_up_burst(scope);
    sample_from_here(scope);
    if (parent) ma_count_shared(&parent->children, 1); /* [open-4] */
    return &scope->tlab;
}

static memarena *open_new(const memarena *handle, ma_arena *root, ma_scope *parent)
{
    (void)ma_fork_check(root);
    if (root->has_lanes && memarena_lane_offset_ == 0) (void)ma_lane_mine(root);
    ma_scope_count(root, false);
    uint64_t generation = ma_reset_hold_off(root);
    ma_extent_span span;
    if (!ma_extent_take(root, generation, sizeof(ma_scope), 0, &span)) {
        ma_scope_count(root, true);
        return NULL;
    }
    ma_scope *scope = (ma_scope *)span.begin;
    ma_watch_permit(root, span.begin, sizeof *scope);
    make(scope, root, generation, span.units);
    ma_probe2(scope_begin, scope, handle);
    return begin(scope, parent);
}

/* Not inline: memarena_scope is faster without its registers. */
static __attribute__((noinline)) memarena *open_slowly(memarena *handle, ma_arena *root, ma_scope *parent)
{
    memarena *scope = open_new(handle, root, parent);
    if (!scope && ma_ask_for_room(root, handle, sizeof(ma_scope))) scope = open_new(handle, root, parent);
    return scope ? scope : ma_out_of_memory(root, sizeof(ma_scope));
}

memarena *memarena_scope(memarena *handle)
{
    ma_scope *parent = ma_is_scope(handle) ? (ma_scope *)handle : NULL;
    ma_arena *root = parent ? parent->root : ma_arena_of(handle);
    ma_check_process(root);
    ma_extent_cache *cache = ma_lane_cache(root);
    if (!cache || !cache->ready) return open_slowly(handle, root, parent);
    /* Nearly always: the scope that was the last to end in this lane begins again. */
    count_opened_in(cache);
    if (!ma_reset_is_far(root, cache->generation)) {
        count_ended_in(cache);
        return open_slowly(handle, root, parent);
    }
    ma_scope *scope = (ma_scope *)cache->ready;
    ma_store_relaxed(&cache->ready, 0);
    ma_probe2(scope_begin, scope, handle);
    return begin(scope, parent);
}

static void stop_ending(void *context)
{
    ma_scope *scope = context;
    scope->ending = false;
    leave(scope, 0);
}

/* Runs the calls deferred since `last` was the newest, and those that they defer themselves. A call that is left by an
 * exception leaves the others deferred. */
static void run_scope_calls(ma_scope *scope, uint64_t last)
{
    scope->ending = true;
    MA_GUARD_BEGIN(stop_ending, scope);
    while (scope->deferred != last) {
        ma_deferred_call call = *(ma_deferred_call *)(uintptr_t)scope->deferred;
        scope->deferred = call.next;
        call.fn(call.arg);
    }
    MA_GUARD_END();
    scope->ending = false;
}

/* Gives back all but the first extent. */
static void clear(ma_scope *scope)
{
    drop_extents(scope, &scope->first);
    bump_in(scope, &scope->first, (uintptr_t)(scope + 1), 0);
}

static __attribute__((noinline)) void run_calls_and_clear(ma_scope *scope)
{
    run_scope_calls(scope, 0);
    clear(scope);
}

static __attribute__((noinline)) void give_first(const ma_scope *scope)
{
    ma_arena *root = scope->root;
    if (root->pool.told) ma_race_tell_ours(scope, sizeof *scope, false);
    ma_extent_give(root, scope->root_generation, (ma_extent_span){(uintptr_t)scope, scope->first.units});
    ma_scope_count(root, true);
}

static void check_end(const ma_scope *scope)
{
    uintptr_t open = ma_load_acquire(&scope->children);
    if (open)
        ma_misuse("scope %p is ended while %zu scopes in it are open; end them first", (const void *)scope,
                  (size_t)open);
    if (scope->ending) ma_misuse("scope %p is ended by one of its own deferred calls", (const void *)scope);
}

void ma_scope_end(ma_scope *scope)
{
    uintptr_t before = enter(scope);
    if (MA_DEBUG) check_end(scope);
    ma_probe2(scope_end, scope, scope->held);
    if (scope->deferred || scope->newest != &scope->first) run_calls_and_clear(scope);
    if (scope->parent) ma_count_shared(&scope->parent->children, (uintptr_t)-1); /* [open-4] */
    leave(scope, before);
    ma_hand_over(scope->root->pool.told, &scope->root->scope_lanes);
    scope->kind = MA_KIND_ENDED;
    ma_extent_cache *cache = ma_lane_cache(scope->root);
    bool fits = cache && cache->ready == 0 && scope->first.units == 1 && cache->units < cache->units_max;
    if (!fits || cache->generation != scope->root_generation) {
        give_first(scope);
    } else { /* nearly always: it stays as it is, to be the next one of this lane */
        ma_store_release(&cache->ready, (uintptr_t)scope); /* (a fork may lose this thread here) */
        count_ended_in(cache);
    }
}

static bool reset(ma_scope *scope)
{
    if (scope->ending || ma_scope_is_held(scope) || ma_load_acquire(&scope->children) != 0)
        return ma_fail(EBUSY); /* [open-4] */
    run_scope_calls(scope, 0);
    if (ma_load_acquire(&scope->children) != 0) { /* opened by a deferred call: too late to change nothing */
        for (ma_mark *mark = scope->marks; mark; mark = mark->older) mark->deferred = 0;
        return ma_fail(EBUSY);
    }
    clear(scope);
    scope->marks = NULL;
    scope->generation++;
    forbid_rest(scope);
    return true;
}

bool ma_scope_reset(ma_scope *scope)
{
    uintptr_t before = enter(scope);
    bool done = reset(scope);
    leave(scope, before);
    return done;
}

void ma_scope_defer_at(ma_scope *scope, ma_deferred_call *call, void (*fn)(void *), void *arg)
{
    uintptr_t before = enter(scope);
    *call = (ma_deferred_call){.fn = fn, .arg = arg, .next = scope->deferred};
    scope->deferred = (uintptr_t)call;
    leave(scope, before);
}

bool ma_scope_defer(ma_scope *scope, void (*fn)(void *), void *arg)
{
    ma_deferred_call *call = memarena_alloc_slow_(&scope->tlab, sizeof *call, _Alignof(ma_deferred_call));
    if (call) ma_scope_defer_at(scope, call, fn, arg);
    return call != NULL;
}

/* ---- Marks -------------------------------------------------------------------------------------------------------- */

/* Whether nothing has happened in the scope since the mark. */
static bool is_here(const ma_scope *scope, const ma_mark *mark)
{
    return mark && mark->cursor == ma_scope_counted_to(scope) && mark->settled == sum_of(scope) &&
           mark->newest == scope->newest && mark->deferred == scope->deferred;
}

#define MARK_IDS 65536u /* that a thread fetches at a time */

/* Registers start far from each other: a mark may be older than the register of now. */
static uint64_t new_mark_id(void)
{
    static _Thread_local uint64_t last MEMARENA_TLS_;
    if (last % MARK_IDS == 0) {
        uint64_t first = ((uintptr_t)ma_process() >> 12) * UINT64_C(0x9E3779B97F4A7C15) & ~(uint64_t)(MARK_IDS - 1);
        last = first + ma_add_acq_rel(&ma_process()->mark_ids, MARK_IDS);
    }
    return ++last;
}

/* False: no room for it. */
static __attribute__((noinline)) bool add_mark(ma_scope *scope)
{
    uintptr_t settled = sum_of(scope);
    ma_mark *mark = (ma_mark *)alloc(scope, sizeof *mark, _Alignof(ma_mark)).address;
    if (!mark) return false;
    scope->base -= sum_of(scope) - settled; /* nobody's block */
    *mark = (ma_mark){.older = scope->marks,
                      .id = new_mark_id(),
                      .newest = scope->newest,
                      .bumped = scope->bumped,
                      .cursor = ma_scope_counted_to(scope),
                      .settled = settled,
                      .deferred = scope->deferred};
    scope->marks = mark;
    return true;
}

memarena_position memarena_mark(memarena *handle)
{
    if (!ma_is_scope(handle)) {
        errno = EINVAL;
        return (memarena_position){NULL, 0};
    }
    ma_scope *scope = (ma_scope *)handle;
    uintptr_t before = enter(scope);
    if (!is_here(scope, scope->marks) && !add_mark(scope)) handle = NULL, errno = ENOMEM;
    memarena_position mark = {handle, handle ? scope->marks->id : 0};
    leave(scope, before);
    return mark;
}

static __attribute__((noinline)) void go_back(ma_scope *scope, ma_mark *mark)
{
    run_scope_calls(scope, mark->deferred);
    scope->marks = mark;
    drop_extents(scope, mark->newest);
    bump_in(scope, mark->bumped, mark->cursor, mark->settled);
    forbid_rest(scope);
}

static bool rewind_to(ma_scope *scope, uint64_t id)
{
    ma_mark *mark = scope->marks;
    while (mark && mark->id != id) mark = mark->older;
    if (!mark) return ma_fail(EINVAL);
    if (scope->ending || ma_scope_is_held(scope)) return ma_fail(EBUSY);
    if (scope->newest != mark->newest || scope->deferred != mark->deferred || scope->root->watch != MA_WATCH_NONE) {
        go_back(scope, mark);
    } else { /* often: the same extent is being bumped */
        scope->marks = mark;
        scope->base = mark->settled - mark->cursor;
        ma_store_relaxed(&scope->tlab.cursor_, mark->cursor);
        sample_from_here(scope);
    }
    return true;
}

bool memarena_rewind(memarena *handle, memarena_position position)
{
    if (!ma_is_scope(handle) || position.scope_ != handle) return ma_fail(EINVAL);
    ma_scope *scope = (ma_scope *)handle;
    uintptr_t before = enter(scope);
    bool done = rewind_to(scope, position.id_);
    leave(scope, before);
    return done;
}

/* ---- Look ---------------------------------------------------------------------------------------------------------- */

uint64_t ma_scope_allocated(const ma_scope *scope)
{
    return sum_of(scope);
}

bool ma_scope_owns(const ma_scope *scope, uintptr_t address)
{
    for (const ma_extent *extent = scope->newest; extent; extent = extent->older)
        if (lies_in(scope, extent, address)) return true;
    return false;
}
