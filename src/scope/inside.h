/* What the files of this layer share: the range that a scope bumps, and its extents. */
#ifndef MA_SCOPE_INSIDE_H
#define MA_SCOPE_INSIDE_H

#include "../generation/generation.h"
#include "../lane/sample.h"
#include "../platform/os.h"
#include "../supply/watch.h"
#include "extent.h"
#include "scope.h"

/* Where an extent starts, how long it is, and where it ends, as positions: see block.c. */
static inline uintptr_t ma_scope_start_of(const ma_scope *scope, const ma_extent *extent)
{
    return (uintptr_t)extent & ~(((uintptr_t)1 << scope->root->extents.unit_shift) - 1);
}

static inline uintptr_t ma_scope_bytes_of(const ma_scope *scope, const ma_extent *extent)
{
    return (uintptr_t)extent->units << scope->root->extents.unit_shift;
}

static inline uintptr_t ma_scope_limit_of(const ma_scope *scope, const ma_extent *extent)
{
    return ma_scope_start_of(scope, extent) + ma_scope_bytes_of(scope, extent);
}

/* Bytes handed out in this generation of the scope. */
static inline uintptr_t ma_scope_sum(const ma_scope *scope)
{
    return scope->base + ma_scope_counted_to(scope);
}

/* Counts what a block takes of the range that is bumped, up to `next`, and returns its weight. */
uint64_t ma_scope_pass(ma_scope *scope, uintptr_t next);

/* After the cursor was set: where it is now no block has been looked at. */
static inline void ma_scope_sample_from_here(ma_scope *scope)
{
    if (!ma_samples(scope->root)) return;
    scope->sample_at = 0;
    (void)ma_scope_pass(scope, ma_load_relaxed(&scope->tlab.cursor_));
}

/* From now on `extent` is bumped, from `cursor` on; `sum` bytes have been handed out. */
void ma_scope_bump_in(ma_scope *scope, ma_extent *extent, uintptr_t cursor, uintptr_t sum);
/* A sanitizer reports a use of what is left of the extent that is bumped. */
void ma_scope_forbid_rest(const ma_scope *scope);
/* A further extent of at least `least` bytes, its head included: a spare one, or from the arena. NULL: there is no room. */
ma_extent *ma_scope_add_extent(ma_scope *scope, uint64_t least);
/* A round ends: all extents that are newer than `last` are put aside under this stamp. */
void ma_scope_end_round(ma_scope *scope, const ma_extent *last, uint32_t stamp);
/* Gives back the spare extents. */
void ma_scope_give_spare(ma_scope *scope);
/* Gives back all extents in use that are newer than `last`. */
void ma_scope_drop_extents(ma_scope *scope, const ma_extent *last);
/* A block. Its address is 0 when there is no room. */
ma_block ma_scope_take(ma_scope *scope, size_t size, size_t alignment);
/* Whether the address is one of this extent's. */
bool ma_scope_lies_in(const ma_scope *scope, const ma_extent *extent, uintptr_t address);
/* Runs the calls deferred since `last` was the newest, and those that they defer themselves. A call that is left by an
 * exception leaves the others deferred. */
void ma_scope_run_calls(ma_scope *scope, uint64_t last);

/* ---- limit.c ---------------------------------------------------------------------------------------------------------- */

/* The tenant that a scope opened in `parent` is charged to; NULL: none. */
ma_tenant *ma_limit_below(const ma_scope *parent);
/* As ma_extent_take, within the limits of `tenant` and those above it, which are charged with all of the extent. `tenant` may be NULL.
 * False, and nothing is charged: a limit is reached, or the arena has no room. */
bool ma_limit_take(ma_arena *root, uint64_t generation, ma_tenant *tenant, uint64_t least, uint64_t want,
                   ma_extent_span *extent);
/* So many bytes have gone back to the arena. */
void ma_limit_give(ma_tenant *tenant, uint64_t bytes);

/* ---- Two threads at once: the debug build only ---------------------------------------------------------------------- */

/* This thread goes into a call. Returns what `leave` needs: a deferred call may use its scope. */
static inline uintptr_t ma_scope_enter(ma_scope *scope)
{
    if (!MA_DEBUG) return 0;
    uintptr_t me = ma_os_thread_self(), before = ma_exchange_seq_cst(&scope->user, me);
    if (before != 0 && before != me) ma_misuse("scope %p is used by two threads at once", (void *)scope);
    return before;
}

static inline void ma_scope_leave(ma_scope *scope, uintptr_t before)
{
    if (MA_DEBUG) (void)ma_exchange_seq_cst(&scope->user, before);
}

#endif
