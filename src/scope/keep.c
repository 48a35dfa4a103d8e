/* Keep: a scope ends, and its blocks live on as its parent's.
 *
 * Nothing is copied and no block is touched. What moves is the list of extents, in one step, and the list of deferred calls:
 *
 *     parent a scope    newest of the scope -> ... -> its first extent -> what was the parent's newest -> ...
 *                       So a rewind of the parent to a mark from before takes them all, as if they had been taken one by one since.
 *     parent an arena   the extents stay taken, in nobody's list, until the generation ends; they count as handed out, whole.
 *
 * With the extents the parent takes over what they are charged: the limits above the parent have counted them all along. What is kept in
 * an arena is charged to nobody.
 *
 * Units behind the last block go back, unless the parent goes on in them. The scope's own words stay where they are, at the begin of
 * its first extent, and say that it has ended.
 *
 *     owner: keep                                   reset of the arena
 *       calls join the list       [defer-1]           head = closing, number n     [open-3]
 *       ended += 1                [open-1]            scopes that are open?        [open-1]
 *                                                     head: closing n -> closed    [open-3]
 *
 * Until it is counted as ended the scope holds the generation open. So the calls are in the list of the generation whose blocks they
 * are about, and the reset that sees the scope ended finds them there: the head has changed. */
#include "inside.h"

#include "../platform/probe.h"

/* Gives back the units behind the last block of the extent that is bumped. */
static void give_tail(ma_scope *scope)
{
    ma_extent *extent = scope->bumped;
    uintptr_t unit = (uintptr_t)1 << scope->root->extents.unit_shift, start = ma_scope_start_of(scope, extent);
    uint32_t used = (uint32_t)((ma_load_relaxed(&scope->tlab.cursor_) - start + unit - 1) / unit);
    if (used >= extent->units) return;
    ma_extent_span whole = {start, extent->units};
    extent->units = used;
    uint64_t bytes = ma_extent_cut(scope->root, scope->root_generation, whole, used);
    scope->held -= (uintptr_t)bytes;
    if (scope->tenant) ma_limit_give(scope->tenant, bytes);
}

static ma_deferred_call *deferred_at(uint64_t address)
{
    return (ma_deferred_call *)(uintptr_t)address;
}

/* In the list of an arena a call knows the next one by number, not by address. */
static void join_calls_of_arena(const ma_scope *scope)
{
    ma_deferred_call *newest = deferred_at(scope->deferred), *oldest = newest;
    while (oldest->next) {
        ma_deferred_call *next = deferred_at(oldest->next);
        oldest->next = ma_defer_number(scope->root, next);
        oldest = next;
    }
    (void)ma_fork_check(scope->root);
    ma_defer_join(scope->root, newest, oldest);
}

static void join_calls_of_scope(const ma_scope *scope, ma_scope *parent)
{
    ma_deferred_call *oldest = deferred_at(scope->deferred);
    while (oldest->next) oldest = deferred_at(oldest->next);
    oldest->next = parent->deferred;
    parent->deferred = scope->deferred;
}

/* The parent goes on in the extent that has more room. */
static void join_extents(ma_scope *scope, ma_scope *parent)
{
    uintptr_t cursor = ma_load_relaxed(&scope->tlab.cursor_), own = ma_load_relaxed(&parent->tlab.cursor_);
    uintptr_t sum = scope->base + cursor;
    bool goes_on = !ma_scope_is_held(parent) && scope->limit - cursor > parent->limit - own;
    if (!goes_on) give_tail(scope);
    for (ma_extent *extent = scope->newest; extent; extent = extent->older) extent->beside = MA_EXTENT_KEPT;
    scope->first.older = parent->newest;
    parent->newest = scope->newest;
    ma_store_relaxed(&parent->held, parent->held + scope->held);
    if (goes_on)
        ma_scope_bump_in(parent, scope->bumped, cursor, parent->base + own + sum);
    else
        parent->base += sum;
}

static void join_parent(ma_scope *scope, ma_scope *parent)
{
    uintptr_t before = ma_scope_enter(parent);
    if (scope->deferred) join_calls_of_scope(scope, parent);
    join_extents(scope, parent);
    ma_count_shared(&parent->children, (uintptr_t)-1); /* [open-4] */
    ma_scope_leave(parent, before);
}

static bool keep(ma_scope *scope)
{
    if (scope->ending || ma_scope_is_held(scope) || ma_load_acquire(&scope->children) != 0)
        return ma_fail(EBUSY); /* [open-4] */
    if (scope->spare) ma_scope_give_spare(scope);
    if (scope->parent) {
        join_parent(scope, scope->parent);
    } else {
        give_tail(scope);
        if (scope->deferred) join_calls_of_arena(scope);
    }
    return true;
}

bool memarena_keep(memarena *handle)
{
    if (!ma_is_scope(handle)) return ma_fail(EINVAL);
    ma_scope *scope = (ma_scope *)handle;
    ma_arena *root = scope->root;
    uintptr_t before = ma_scope_enter(scope);
    bool kept = keep(scope);
    ma_scope_leave(scope, before);
    if (!kept) return false;
    ma_probe2(scope_end, scope, (uintptr_t)0);
    ma_hand_over(root->pool.told, &root->scope_lanes);
    scope->kind = MA_KIND_ENDED;
    if (root->pool.told) ma_race_tell_ours(scope, ma_scope_first_place(scope) - (uintptr_t)scope, false);
    ma_scope_count(root, true); /* last: from here on a reset may come */
    return true;
}
