/* What an arena and its scopes must account for after each call, by a table of them. For scope_model.c and fuzz/ops.c, which
 * first say what a `node` of the table is besides `arena`, `parent`, `children`, `generation`, `own` and `held`, and how
 * many there are (NODES). */
#ifndef SCOPE_ACCOUNTS_H
#define SCOPE_ACCOUNTS_H

#include "test.h"
#include <memarena.h>

#include <string.h>

static node nodes[NODES];
static node *const root = &nodes[0];
static size_t claimed; /* handed out by the arena, or free in extents: what was taken from fresh memory */
static uint64_t failures;

static memarena_stats stats_of(const node *self)
{
    memarena_stats stats;
    memset(&stats, 0xa5, sizeof stats);
    memarena_get_stats(self->arena, &stats, sizeof stats);
    return stats;
}

static unsigned count_open(void)
{
    unsigned count = 0;
    for (node *each = root + 1; each < nodes + NODES; each++) count += each->arena != NULL;
    return count;
}

/* What scopes hold counts as handed out by their arena, and nowhere else. */
static size_t held_below(const node *self)
{
    size_t sum = 0;
    for (const node *each = root + 1; self == root && each < nodes + NODES; each++) sum += each->arena ? each->held : 0;
    return sum;
}

static void check_node(const node *self)
{
    memarena_stats stats = stats_of(self);
    size_t below = held_below(self);
    CHECK_EQ(stats.allocated_bytes, self->own + below);
    CHECK_EQ(memarena_allocated_bytes(self->arena), self->own + below);
    CHECK_EQ(stats.held_bytes, self == root ? 0 : self->held + below);
    CHECK_EQ(stats.open_scopes, self == root ? count_open() : self->children);
    CHECK_EQ(stats.generation, self->generation);
    CHECK_EQ(memarena_generation(self->arena), self->generation);
    CHECK_EQ(stats.capacity_bytes, memarena_capacity(self->arena));
    CHECK_EQ(stats.capacity_bytes, memarena_capacity(root->arena));
    CHECK(stats.allocated_bytes <= stats.capacity_bytes);
    CHECK(self == root || self->own < self->held);
    CHECK(self == root || stats.free_extent_bytes == 0);
    for (unsigned i = 0; i < MEMARENA_STATS_SIZES; i++) stats.free_extent_bytes -= stats.free_bytes_by_size[i];
    CHECK_EQ(stats.free_extent_bytes, 0);
}

static void check_accounts(void)
{
    for (const node *each = nodes; each < nodes + NODES; each++)
        if (each->arena) check_node(each);
    memarena_stats stats = stats_of(root);
    CHECK_EQ(stats.allocated_bytes + stats.free_extent_bytes, claimed);
    CHECK(claimed + stats.tlab_bytes + stats.tail_bytes <= stats.capacity_bytes);
    CHECK_EQ(stats.failed_requests, failures);
}

/* A round has ended, or a request was refused: what the scope holds for its next round is its own to give back. */
static void spare_may_have_gone(node *self)
{
    if (self == root) return;
    size_t held = stats_of(self).held_bytes;
    CHECK(held >= KIB && held <= self->held && held % KIB == 0);
    self->held = held;
}

/* The call gave the node between `least` and `most` bytes more. `fits`: a scope had room for it in the extent that it
 * is bumping, and must not have taken another. */
static void has_grown(node *self, size_t least, size_t most, bool fits)
{
    memarena_stats stats = stats_of(self), of_root = stats_of(root);
    size_t own = stats.allocated_bytes - held_below(self), grown = own - self->own;
    size_t now_claimed = of_root.allocated_bytes + of_root.free_extent_bytes, fresh = now_claimed - claimed;
    if (self == root) {
        /* Of fresh memory; or a whole free extent, of whatever size. */
        CHECK(fresh == 0 ? grown >= least : grown == fresh && grown >= least && grown <= most);
    } else {
        size_t held = stats.held_bytes - held_below(self), taken = held - self->held;
        CHECK(grown >= least && grown <= most);
        CHECK(taken % KIB == 0);
        CHECK(!fits || taken == 0);
        CHECK(fresh <= taken || held < self->held); /* (in a full arena what was kept for this round has gone for it) */
        self->held = held;
    }
    self->own = own;
    claimed = now_claimed;
}

static bool fits_surely(const node *self, size_t bytes)
{
    return self != root && stats_of(self).tlab_bytes >= bytes;
}

#endif
