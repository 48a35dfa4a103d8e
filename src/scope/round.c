/* The extents of a scope, and its rounds.
 *
 * A round is what happens between two rewinds to one mark, or two resets of the scope. The extents that it has used are put aside
 * when it ends, oldest first, so that the next round finds the same ones in the same order, without a look at what threads share.
 * A spare extent bears the stamp of the round at whose end it was put aside. When that round ends again and it is still spare, the
 * round has not used it, and it goes back to the arena. With another stamp it was put aside in a round within this one, which
 * has used it so. A scope never has more spare extents than its last rounds have used. */
#include "inside.h"

#define GROWTH_MAX ((uint64_t)64 << 10) /* of an extent that is taken for more than one block */

static void give_extent(ma_scope *scope, const ma_extent *extent)
{
    ma_extent_span span = {ma_scope_start_of(scope, extent), extent->units};
    scope->held -= ma_scope_bytes_of(scope, extent);
    ma_extent_give(scope->root, scope->root_generation, span);
    if (scope->tenant) ma_limit_give(scope->tenant, (uint64_t)span.units << scope->root->extents.unit_shift);
}

void ma_scope_drop_extents(ma_scope *scope, const ma_extent *last)
{
    while (scope->newest != last) {
        ma_extent *extent = scope->newest;
        scope->newest = extent->older;
        if (extent == scope->beside) scope->beside = NULL;
        give_extent(scope, extent);
    }
}

/* Of the spare extents those with this stamp go back, the others get it. */
static void end_spare(ma_scope *scope, uint32_t stamp)
{
    for (ma_extent **at = &scope->spare, *extent; (extent = *at) != NULL;) {
        if (extent->stamp == stamp) {
            *at = extent->older;
            give_extent(scope, extent);
        } else {
            extent->stamp = stamp;
            at = &extent->older;
        }
    }
}

void ma_scope_give_spare(ma_scope *scope)
{
    for (ma_extent *extent; (extent = scope->spare) != NULL;) {
        scope->spare = extent->older;
        give_extent(scope, extent);
    }
}

/* The head of an extent from a scope that was kept lies behind that scope's words. It moves to the begin of the extent. */
void ma_scope_end_round(ma_scope *scope, const ma_extent *last, uint32_t stamp)
{
    if (scope->spare) end_spare(scope, stamp);
    while (scope->newest != last) {
        const ma_extent *extent = scope->newest;
        ma_extent *spare = (ma_extent *)ma_scope_start_of(scope, extent);
        uint32_t units = extent->units;
        scope->newest = extent->older;
        if (extent == scope->beside) scope->beside = NULL;
        ma_watch_forbid(scope->root, (uintptr_t)spare, (uintptr_t)units << scope->root->extents.unit_shift);
        ma_watch_permit(scope->root, (uintptr_t)spare, sizeof *spare);
        *spare = (ma_extent){.older = scope->spare, .units = units, .stamp = stamp};
        scope->spare = spare;
    }
}

/* Whether a spare extent serves for `least` bytes. What is larger than extents grow to was made for one large block, and is kept for
 * such a one. */
static bool serves(const ma_scope *scope, const ma_extent *extent, uint64_t least)
{
    uint64_t bytes = ma_scope_bytes_of(scope, extent);
    return bytes >= least && (bytes <= GROWTH_MAX || bytes / 2 < least);
}

/* The first spare extent that serves, or NULL. */
static ma_extent *take_spare(ma_scope *scope, uint64_t least)
{
    ma_extent **at = &scope->spare, *extent;
    while ((extent = *at) != NULL && !serves(scope, extent, least)) at = &extent->older;
    if (extent) *at = extent->older;
    return extent;
}

/* An extent from the arena, within the limits. Where there is none, spare ones that are too small may make one, or room below a limit. */
static ma_extent *fetch_extent(ma_scope *scope, uint64_t least)
{
    uint64_t want = scope->held < GROWTH_MAX ? scope->held : GROWTH_MAX;
    ma_extent_span span;
    bool taken = ma_limit_take(scope->root, scope->root_generation, scope->tenant, least, want, &span);
    if (!taken && scope->spare) {
        ma_scope_give_spare(scope);
        taken = ma_limit_take(scope->root, scope->root_generation, scope->tenant, least, want, &span);
    }
    if (!taken) return NULL;
    ma_extent *extent = (ma_extent *)span.begin;
    ma_watch_permit(scope->root, span.begin, sizeof *extent);
    extent->units = span.units;
    scope->held += ma_scope_bytes_of(scope, extent);
    return extent;
}

ma_extent *ma_scope_add_extent(ma_scope *scope, uint64_t least)
{
    ma_extent *extent = scope->spare ? take_spare(scope, least) : NULL;
    if (!extent) extent = fetch_extent(scope, least);
    if (!extent) return NULL;
    extent->older = scope->newest;
    extent->beside = MA_EXTENT_OWN;
    scope->newest = extent;
    return extent;
}
