/* The model of scope_model.c: the arena and its scopes as they must be, and what is compared after each call. */
#ifndef SCOPE_MODEL_H
#define SCOPE_MODEL_H

#include "test.h"
#include "threads.h"

#include <errno.h>
#include <string.h>

#define KIB ((size_t)1 << 10)
#define NODES 24u /* the arena is the first */
#define DEPTH 4u
#define BLOCKS 300u
#define CALLS 16u
#define MARKS 8u
#define EXTENT_HEAD 16u /* at most, before the first block of an extent */

typedef struct block {
    unsigned char *at;
    size_t size;
    unsigned char filling;
} block;

typedef struct mark {
    memarena_position position;
    unsigned blocks, calls;
    size_t own, held;
} mark;

/* The arena, or a scope. */
typedef struct node {
    memarena *arena; /* NULL: a free place in the table */
    struct node *parent;
    unsigned depth, children, block_count, call_count, mark_count;
    uint64_t generation;
    size_t own;               /* handed out here, scopes below it not counted */
    size_t held, first_bytes; /* of its own extents; of its first one */
    bool marked;              /* nothing was taken since the last mark */
    block blocks[BLOCKS];
    mark marks[MARKS];
    uintptr_t calls[CALLS];
} node;

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

/* ---- What must hold ---------------------------------------------------------------------------------------------- */

static size_t held_below(const node *self)
{
    size_t sum = 0;
    for (const node *each = root + 1; each < nodes + NODES; each++)
        for (const node *above = each->arena ? each->parent : NULL; above; above = above->parent)
            if (above == self) sum += each->held;
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

static void check_filling(const block *self)
{
    for (size_t byte = 0; byte < self->size; byte += 1 + self->size / 61) CHECK_EQ(self->at[byte], self->filling);
    if (self->size) CHECK_EQ(self->at[self->size - 1], self->filling);
}

static void check_blocks_of(const node *self, unsigned from)
{
    for (unsigned i = from; i < self->block_count; i++) check_filling(&self->blocks[i]);
}

static void check_all_blocks(void)
{
    for (const node *each = nodes; each < nodes + NODES; each++)
        if (each->arena) check_blocks_of(each, 0);
}

static void check_place(const node *self, const unsigned char *at, size_t size)
{
    size_t bytes = test_rounded(size);
    CHECK(memarena_owns(self->arena, at) && memarena_owns(root->arena, at));
    CHECK(memarena_owns(self->arena, at + bytes - 1) && memarena_owns(root->arena, at + bytes - 1));
    for (const node *each = nodes; each < nodes + NODES; each++) {
        if (!each->arena) continue;
        CHECK(each == self || each == root || !memarena_owns(each->arena, at));
        for (unsigned i = 0; i < each->block_count; i++) {
            const block *other = &each->blocks[i];
            CHECK(other->at == at || at + bytes <= other->at || other->at + test_rounded(other->size) <= at);
        }
    }
}

/* ---- Accounts after a call --------------------------------------------------------------------------------------- */

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
        CHECK(held >= self->held && taken % KIB == 0);
        CHECK(!fits || taken == 0);
        CHECK(fresh <= taken);
        self->held = held;
    }
    self->own = own;
    claimed = now_claimed;
    check_accounts();
}

static bool fits_surely(const node *self, size_t bytes)
{
    return self != root && stats_of(self).tlab_bytes >= bytes;
}

/* NULL for want of memory: nothing has changed, and it was deserved. For a small request no extent was free; when the
 * arena itself refuses 8 bytes there is nothing but what was left behind (for extents' alignment; in an arena without
 * lanes nobody counts that); and where all fresh memory is in one piece, that was too small. */
static void was_refused(const node *self, size_t bytes_with_padding)
{
    memarena_stats stats = stats_of(root);
    failures++;
    CHECK_EQ(errno, ENOMEM);
    check_accounts();
    if (stats.lanes && stats.capacity_bytes < 1024 * KIB) /* without shards */
        CHECK(stats.capacity_bytes - claimed - stats.tail_bytes - stats.tlab_bytes < bytes_with_padding + 3 * KIB);
    if (bytes_with_padding + EXTENT_HEAD <= KIB) CHECK_EQ(stats.free_extent_bytes, 0);
    if (self == root && bytes_with_padding <= 24)
        CHECK(claimed + stats.tail_bytes + (stats.lanes ? 16 : stats.capacity_bytes / 4) >= stats.capacity_bytes);
}

static void has_shrunk(void)
{
    memarena_stats stats = stats_of(root);
    CHECK_EQ(stats.allocated_bytes + stats.free_extent_bytes, claimed);
    check_accounts();
}

#endif
