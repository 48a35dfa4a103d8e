/* The life of a scope: opened, reset, ended. See scope.h for what it is made of. */
#include "inside.h"

#include "../platform/probe.h"
#include "../platform/unwind.h"
#include "../supply/supply.h"

#include <string.h>

static_assert(sizeof(ma_scope) <= (size_t)1 << (MA_UNIT_SHIFT - 2), "a scope must fit its first extent, with blocks");
static_assert(sizeof(ma_scope) % MA_GRAIN == 0, "a cursor counts grains");
static_assert(sizeof(ma_extent) % MA_GRAIN == 0, "a cursor counts grains");
static_assert(offsetof(ma_scope, kind) == offsetof(ma_arena, kind), "a handle must say what it is");

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
    scope->tenant = NULL;
    scope->newest = &scope->first;
    scope->spare = NULL;
    scope->first = (ma_extent){.units = units};
    ma_scope_bump_in(scope, &scope->first, (uintptr_t)(scope + 1), 0);
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
    ma_scope_sample_from_here(scope);
    if (parent) ma_count_shared(&parent->children, 1); /* [open-4] */
    return &scope->tlab;
}

/* The tenant's charge is what it has taken for the scope's first extent. */
static void place_tenant(ma_scope *scope, const ma_tenant *own)
{
    if (scope->root->pool.told) ma_race_tell_ours(scope->tenant, sizeof *own, true);
    *scope->tenant = *own;
    ma_scope_bump_in(scope, &scope->first, ma_scope_first_place(scope), 0);
}

/* Whether the options ask for a tenant of the scope's own, and what it is at first. */
static bool make_tenant(ma_tenant *own, const memarena_scope_options *options, ma_tenant *above)
{
    *own = (ma_tenant){.above = above, .limit = options ? options->limit_bytes : 0};
    if (options && options->name) strncpy(own->name, options->name, sizeof own->name - 1);
    return options && (options->limit_bytes != 0 || options->name);
}

/* An extent for a new scope: for as many bytes as it expects, if that can be had. */
static bool take_first(ma_arena *root, uint64_t generation, ma_tenant *tenant, uint64_t head,
                       const memarena_scope_options *options, ma_extent_span *span)
{
    if (options && options->expect_bytes != 0 && options->expect_bytes <= root->pool.capacity) {
        uint64_t want = head + options->expect_bytes, limit = options->limit_bytes;
        if (limit != 0 && want > limit) want = limit & ~(((uint64_t)1 << root->extents.unit_shift) - 1);
        if (want > head && ma_limit_take(root, generation, tenant, want, want, span)) return true;
    }
    return ma_limit_take(root, generation, tenant, head, 0, span);
}

static memarena *open_new(const memarena *handle, ma_arena *root, ma_scope *parent,
                          const memarena_scope_options *options)
{
    ma_tenant own, *above = ma_limit_below(parent);
    bool has_own = make_tenant(&own, options, above);
    uint64_t head = sizeof(ma_scope) + (has_own ? sizeof own : 0);
    (void)ma_fork_check(root);
    if (root->has_lanes && memarena_lane_offset_ == 0) (void)ma_lane_mine(root);
    ma_scope_count(root, false);
    uint64_t generation = ma_hold_off(root);
    ma_extent_span span;
    if (!take_first(root, generation, has_own ? &own : above, head, options, &span)) {
        ma_scope_count(root, true);
        return NULL;
    }
    ma_scope *scope = (ma_scope *)span.begin;
    ma_watch_permit(root, span.begin, (uintptr_t)head);
    make(scope, root, generation, span.units);
    ma_probe2(scope_begin, scope, handle);
    memarena *opened = begin(scope, parent);
    scope->tenant = has_own ? (ma_tenant *)(scope + 1) : above;
    if (has_own) place_tenant(scope, &own);
    return opened;
}

/* Not inline: memarena_scope is faster without its registers. */
static __attribute__((noinline)) memarena *open_slowly(memarena *handle, ma_arena *root, ma_scope *parent,
                                                       const memarena_scope_options *options)
{
    memarena *scope = open_new(handle, root, parent, options);
    if (!scope && ma_ask_for_room(root, handle, sizeof(ma_scope))) scope = open_new(handle, root, parent, options);
    return scope ? scope : ma_out_of_memory(root, sizeof(ma_scope));
}

memarena *memarena_scope(memarena *handle)
{
    ma_scope *parent = ma_scope_of(handle);
    ma_arena *root = parent ? parent->root : ma_arena_of(handle);
    ma_check_process(root);
    ma_extent_cache *cache = ma_lane_cache(root);
    if (!cache || !cache->ready || (parent && parent->tenant)) return open_slowly(handle, root, parent, NULL);
    /* Nearly always: the scope that was the last to end in this lane begins again. */
    count_opened_in(cache);
    if (!ma_reset_is_far(root, cache->generation)) {
        count_ended_in(cache);
        return open_slowly(handle, root, parent, NULL);
    }
    ma_scope *scope = (ma_scope *)cache->ready;
    ma_store_relaxed(&cache->ready, 0);
    ma_probe2(scope_begin, scope, handle);
    return begin(scope, parent);
}

memarena *memarena_scope_with(memarena *handle, const memarena_scope_options *options)
{
    if (!options || options->flags != 0 || !ma_is_unused(options->reserved)) {
        errno = EINVAL;
        return NULL;
    }
    ma_scope *parent = ma_scope_of(handle);
    ma_arena *root = parent ? parent->root : ma_arena_of(handle);
    ma_check_process(root);
    return open_slowly(handle, root, parent, options);
}

static void stop_ending(void *context)
{
    ma_scope *scope = context;
    scope->ending = false;
    ma_scope_leave(scope, 0);
}

void ma_scope_run_calls(ma_scope *scope, uint64_t last)
{
    scope->ending = true;
    MA_GUARD_BEGIN(stop_ending, scope);
    while (scope->deferred != last) {
        ma_deferred_call call = *(ma_deferred_call *)(uintptr_t)scope->deferred;
        scope->deferred = call.next;
        if (call.fn) call.fn(call.arg);
    }
    MA_GUARD_END();
    scope->ending = false;
}

/* Gives back all but the first extent. */
static void clear(ma_scope *scope)
{
    if (scope->spare) ma_scope_give_spare(scope);
    ma_scope_drop_extents(scope, &scope->first);
    ma_scope_bump_in(scope, &scope->first, (uintptr_t)(scope + 1), 0);
}

static __attribute__((noinline)) void run_calls_and_clear(ma_scope *scope)
{
    ma_scope_run_calls(scope, 0);
    clear(scope);
}

static __attribute__((noinline)) void give_first(const ma_scope *scope)
{
    ma_arena *root = scope->root;
    if (root->pool.told) ma_race_tell_ours(scope, sizeof *scope, false);
    ma_extent_give(root, scope->root_generation, (ma_extent_span){(uintptr_t)scope, scope->first.units});
    ma_scope_count(root, true);
}

/* The scope ends: what it has left is charged to nobody from here on. Its parent is still open, and so are the tenants above. */
static __attribute__((noinline)) void leave_tenants(ma_scope *scope)
{
    ma_tenant *own = ma_scope_own_tenant(scope);
    ma_limit_give(scope->tenant, (uint64_t)scope->first.units << scope->root->extents.unit_shift);
    if (own && scope->root->pool.told) ma_race_tell_ours(own, sizeof *own, false);
    scope->tenant = NULL;
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
    uintptr_t before = ma_scope_enter(scope);
    if (MA_DEBUG) check_end(scope);
    ma_probe2(scope_end, scope, scope->held);
    if ((scope->deferred | (uintptr_t)scope->spare) != 0 || scope->newest != &scope->first) run_calls_and_clear(scope);
    if (scope->tenant) leave_tenants(scope);
    if (scope->parent) ma_count_shared(&scope->parent->children, (uintptr_t)-1); /* [open-4] */
    ma_scope_leave(scope, before);
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
    ma_scope_run_calls(scope, 0);
    if (ma_load_acquire(&scope->children) != 0) { /* opened by a deferred call: too late to change nothing */
        for (ma_mark *mark = scope->marks; mark; mark = mark->older) mark->deferred = 0;
        return ma_fail(EBUSY);
    }
    ma_scope_end_round(scope, &scope->first, MA_STAMP_OF_RESET);
    ma_scope_bump_in(scope, &scope->first, ma_scope_first_place(scope), 0);
    scope->marks = NULL;
    scope->generation++;
    ma_scope_forbid_rest(scope);
    return true;
}

bool ma_scope_reset(ma_scope *scope)
{
    uintptr_t before = ma_scope_enter(scope);
    bool done = reset(scope);
    ma_scope_leave(scope, before);
    return done;
}

void ma_scope_defer_at(ma_scope *scope, ma_deferred_call *call, void (*fn)(void *), void *arg)
{
    uintptr_t before = ma_scope_enter(scope);
    *call = (ma_deferred_call){.fn = fn, .arg = arg, .next = scope->deferred};
    scope->deferred = (uintptr_t)call;
    ma_scope_leave(scope, before);
}

/* The record stays in the list where a mark may end: the newest mark's calls are those from its record on. */
bool ma_scope_undefer(ma_scope *scope, void (*fn)(void *), void *arg)
{
    uintptr_t before = ma_scope_enter(scope);
    ma_deferred_call *call = (ma_deferred_call *)(uintptr_t)scope->deferred, *first = call;
    while (call && (call->fn != fn || call->arg != arg)) call = (ma_deferred_call *)(uintptr_t)call->next;
    if (call) call->fn = NULL;
    for (; first && !first->fn; first = (ma_deferred_call *)(uintptr_t)first->next) {
        if (scope->marks && scope->marks->deferred == (uintptr_t)first) break;
        scope->deferred = first->next;
    }
    ma_scope_leave(scope, before);
    return call != NULL;
}
