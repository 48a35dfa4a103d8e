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
#ifndef MA_SHARDS
#define MA_SHARDS 64
#endif
#define LEFT_MOST (8 * (MA_SHARDS + 1)) /* where 16 bytes are refused: less than that in each source */
#define EXTENT_HEAD 16u                 /* at most, before the first block of an extent */

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
    size_t own;  /* handed out here, scopes below it not counted */
    size_t held; /* of its own extents */
    bool marked; /* nothing was taken since the last mark */
    block blocks[BLOCKS];
    mark marks[MARKS];
    uintptr_t calls[CALLS];
} node;

#include "scope_accounts.h"

/* ---- What must hold ---------------------------------------------------------------------------------------------- */

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

static void was_given(node *self, size_t least, size_t most, bool fits)
{
    has_grown(self, least, most, fits);
    check_accounts();
}

/* NULL for want of memory: nothing has changed, and it was deserved. For a small request no extent was free; when the
 * arena itself refuses 8 bytes there is nothing but what was left behind (for extents' alignment; in an arena without
 * lanes nobody counts that); and where all fresh memory is in one piece, that was too small. */
static void was_refused(node *self, size_t bytes_with_padding)
{
    memarena_stats stats = stats_of(root);
    failures++;
    CHECK_EQ(errno, ENOMEM);
    spare_may_have_gone(self);
    check_accounts();
    if (stats.lanes && stats.capacity_bytes < 1024 * KIB) /* without shards */
        CHECK(stats.capacity_bytes - claimed - stats.tail_bytes - stats.tlab_bytes < bytes_with_padding + 3 * KIB);
    if (bytes_with_padding + EXTENT_HEAD <= KIB) CHECK_EQ(stats.free_extent_bytes, 0);
    if (self == root && bytes_with_padding <= 24)
        CHECK(claimed + stats.tail_bytes + (stats.lanes ? LEFT_MOST : stats.capacity_bytes / 4) >=
              stats.capacity_bytes);
}

#endif
