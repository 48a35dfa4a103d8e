/* Limits: how much of the arena a scope and the scopes below it may take.
 *
 * Each scope that was opened with a limit has a tenant: the limit, and how many bytes of extents are charged to it. A scope points to
 * its own tenant, or to that of the nearest scope above; a tenant points to the next one above that has a limit:
 *
 *     scope (no limit)  --+
 *     scope (no limit)  --+--> tenant, 64 KiB --> tenant of a scope above, 1 MiB --> NULL
 *
 * An extent is charged to every tenant of the chain before it is taken, and no longer once it has gone back. So a request that a limit
 * refuses has taken nothing of the arena, not even for a moment. Scopes below a tenant may have owners in different threads: a charge
 * is one compare-and-swap that never goes above the limit. [limit-1]
 *
 * A chain is charged from the nearest tenant upwards, so the limit of one tenant does not show in what it shares with others. A request
 * that passes the nearer limits and is then refused by a farther one takes its charges back: for that moment a second thread
 * below one of these nearer limits may be refused as well. Before anything is charged the whole chain is read, so this takes two threads
 * in the last bytes of two limits, one above the other.
 *
 * In a child of fork the scopes of the threads that the fork has lost stay open and charged. So does what such a thread was about to charge or to
 * give back. */
#include "inside.h"

static ma_tenant *with_limit(ma_tenant *tenant)
{
    return tenant && tenant->limit == 0 ? tenant->above : tenant;
}

ma_tenant *ma_limit_below(const ma_scope *parent)
{
    return parent ? with_limit(parent->tenant) : NULL;
}

void ma_limit_give(ma_tenant *tenant, uint64_t bytes)
{
    for (tenant = with_limit(tenant); tenant; tenant = tenant->above) ma_count_shared(&tenant->charged, 0 - bytes);
}

/* How many bytes, of at most `want`, all limits of the chain have left now. */
static uint64_t room_below(const ma_tenant *tenant, uint64_t want)
{
    for (; tenant; tenant = tenant->above) {
        uint64_t charged = ma_load_relaxed(&tenant->charged);
        uint64_t room = charged < tenant->limit ? tenant->limit - charged : 0;
        if (room < want) want = room;
    }
    return want;
}

static bool charge_one(ma_tenant *tenant, uint64_t bytes)
{
    uint64_t charged = ma_load_relaxed(&tenant->charged);
    do {
        if (charged > tenant->limit || bytes > tenant->limit - charged) return false;
    } while (!ma_swap_acq_rel(&tenant->charged, &charged, charged + bytes)); /* [limit-1] */
    return true;
}

/* Charges the whole chain, or, answering false, none of it. */
static bool charge_all(ma_tenant *first, uint64_t bytes)
{
    ma_tenant *tenant = first;
    while (tenant && charge_one(tenant, bytes)) tenant = tenant->above;
    if (!tenant) return true;
    for (; first != tenant; first = first->above) ma_count_shared(&first->charged, 0 - bytes);
    return false;
}

/* Charges for an extent of at least `least` bytes, whole units, at best of `want`: of a size that extents have, so that none is cut, unless
 * only the exact one is left. Returns how many bytes; 0: fewer are left. Each further round follows a charge of another thread. */
static uint64_t charge_some(const ma_arena *root, ma_tenant *first, uint64_t least, uint64_t want)
{
    for (;;) {
        uint64_t room = room_below(first, want);
        if (room < least) return 0;
        uint64_t bytes = ma_extent_size_within(root, room);
        if (bytes < least) bytes = least;
        if (charge_all(first, bytes)) return bytes;
    }
}

bool ma_limit_take(ma_arena *root, uint64_t generation, ma_tenant *tenant, uint64_t least, uint64_t want,
                   ma_extent_span *extent)
{
    ma_tenant *first = with_limit(tenant);
    if (!first) return ma_extent_take(root, generation, least, want, extent);
    uint64_t unit = (uint64_t)1 << root->extents.unit_shift, whole = (least + unit - 1) & ~(unit - 1);
    uint64_t charged = charge_some(root, first, whole, ma_extent_size_around(root, want > whole ? want : whole));
    if (charged == 0) return false;
    if (!ma_extent_take(root, generation, least, charged, extent)) {
        ma_limit_give(first, charged);
        return false;
    }
    uint64_t bytes = (uint64_t)extent->units << root->extents.unit_shift;
    uint32_t units = (uint32_t)(charged >> root->extents.unit_shift);
    if (bytes > charged) {
        (void)ma_extent_cut(root, generation, *extent, units);
        extent->units = units;
    }
    if (bytes < charged) ma_limit_give(first, charged - bytes);
    return true;
}
