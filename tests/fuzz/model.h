/* The model of ops.c: an arena and its scopes as they must be, and what is compared after each call.
 *
 * All live blocks are in one array, sorted by address, so that an overlap is found by looking at two neighbours. The
 * bytes of a block follow from its number and their place in it: a copy from the wrong place shows. */
#ifndef FUZZ_MODEL_H
#define FUZZ_MODEL_H

#include "../test.h"
#include "memarena.h"

#include <errno.h>

#define KIB ((size_t)1 << 10)
#define NODES 12u /* the arena is the first */
#define DEPTH 4u
#define BLOCKS 512u
#define CALLS 16u
#define MARKS 8u
#define EXTENT_HEAD 16u /* at most, before the first block of an extent */
#define SHARDED_FROM (1024 * KIB)
#define SOURCES 65u
#define FILLED 512u /* of a larger block so much at each end is filled */
#define GRAIN ((size_t)8)

typedef struct mark {
    memarena_position position;
    unsigned calls;
    uint32_t number; /* blocks with a higher one came later */
    size_t own, held;
} mark;

/* The arena, or a scope. */
typedef struct node {
    memarena *arena; /* NULL: a free place in the table */
    struct node *parent;
    unsigned depth, children, call_count, mark_count;
    uint64_t generation;
    size_t own;  /* handed out here, scopes below it not counted */
    size_t held; /* of its own extents */
    bool marked; /* nothing was taken since the last mark */
    bool busy;   /* a call on it is under way */
    bool runs;   /* its deferred calls are running */
    mark marks[MARKS];
    uintptr_t calls[CALLS];
} node;

typedef struct block {
    unsigned char *at;
    size_t size;
    uint32_t number;
    const node *owner;
} block;

#include "../scope_accounts.h"

static block blocks[BLOCKS];
static unsigned block_count;
static uint32_t block_number;
static bool scopes_came_by; /* in this generation of the arena */
static size_t last_failed;

static size_t rounded(size_t size)
{
    return size ? (size + (GRAIN - 1)) & ~(GRAIN - 1) : GRAIN;
}

/* ---- Blocks ------------------------------------------------------------------------------------------------------ */

static unsigned char filling(uint32_t number, size_t place)
{
    return (unsigned char)(number * 37 + 11 + place * 5 + (place >> 8));
}

static void fill_part(unsigned char *at, uint32_t number, size_t from, size_t to)
{
    for (size_t place = from; place < to; place++) at[place] = filling(number, place);
}

static void fill(const block *self)
{
    size_t head = self->size <= 2 * FILLED ? self->size : FILLED;
    fill_part(self->at, self->number, 0, head);
    if (head < self->size) fill_part(self->at, self->number, self->size - FILLED, self->size);
}

static void check_part(const unsigned char *at, uint32_t number, size_t from, size_t to)
{
    bool intact = true;
    for (size_t place = from; place < to; place++) intact &= at[place] == filling(number, place);
    CHECK(intact);
}

/* The first `kept` bytes of the block are at `at`. */
static void check_copy(const unsigned char *at, const block *self, size_t kept)
{
    size_t head = self->size <= 2 * FILLED ? self->size : FILLED, tail = head < self->size ? self->size - FILLED : kept;
    check_part(at, self->number, 0, head < kept ? head : kept);
    check_part(at, self->number, tail < kept ? tail : kept, kept);
}

static void check_filling(const block *self)
{
    check_copy(self->at, self, self->size);
}

static void check_all_blocks(void)
{
    for (unsigned i = 0; i < block_count; i++) check_filling(&blocks[i]);
}

static void check_zero(const unsigned char *at, size_t size)
{
    CHECK(size == 0 || (at[0] == 0 && memcmp(at, at + 1, size - 1) == 0));
}

/* The place of the first block that lies at `at` or behind it. */
static unsigned find_block(const unsigned char *at)
{
    unsigned low = 0, high = block_count;
    while (low < high) {
        unsigned middle = (low + high) / 2;
        if (blocks[middle].at < at)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static void check_place(const node *self, const unsigned char *at, size_t size)
{
    size_t bytes = rounded(size);
    for (const node *each = nodes; each < nodes + NODES; each++) {
        bool mine = each == self || each == root;
        if (each->arena)
            CHECK(memarena_owns(each->arena, at) == mine && memarena_owns(each->arena, at + bytes - 1) == mine);
    }
    unsigned place = find_block(at);
    if (place < block_count && blocks[place].at == at) place++; /* resized in place */
    if (place < block_count) CHECK(bytes <= (size_t)(blocks[place].at - at));
    if (place > 0 && blocks[place - 1].at == at) place--;
    if (place > 0) CHECK(rounded(blocks[place - 1].size) <= (size_t)(at - blocks[place - 1].at));
    if (place > 0) check_filling(&blocks[place - 1]);
}

static block *add_block(node *self, unsigned char *at, size_t size)
{
    CHECK(block_count < BLOCKS);
    check_place(self, at, size);
    unsigned place = find_block(at);
    CHECK(place == block_count || blocks[place].at != at);
    memmove(&blocks[place + 1], &blocks[place], (block_count - place) * sizeof *blocks);
    block_count++;
    blocks[place] = (block){at, size, ++block_number, self};
    self->marked = false;
    return &blocks[place];
}

/* Those with a number above `last` die. Their contents were right to the end. */
static void drop_blocks(const node *self, uint32_t last)
{
    unsigned kept = 0;
    for (unsigned i = 0; i < block_count; i++)
        if (blocks[i].owner != self || blocks[i].number <= last) blocks[kept++] = blocks[i];
    block_count = kept;
}

/* ---- Accounts ---------------------------------------------------------------------------------------------------- */

static void check_all_accounts(void)
{
    check_accounts();
    CHECK_EQ(stats_of(root).last_failed_bytes, last_failed);
}

/* As has_grown; where no scope came by nothing is taken from free extents. */
static void was_given(node *self, size_t least, size_t most, bool fits)
{
    size_t own = self->own, before = claimed;
    has_grown(self, least, most, fits);
    CHECK(self != root || scopes_came_by || claimed - before == self->own - own);
}

/* NULL for want of memory: nothing has changed, and it was deserved. What is promised to a single thread:
 *
 *   - In an arena in which no scope was opened in this generation, nothing is left behind. So what is free is less than
 *     the block with its padding, in each of the sources. In particular a fresh arena gives a block of all its
 *     capacity, and 8 bytes are refused only when fewer than 8 are left in a source. Exception: the TLABs of CPUs may
 *     leave tails behind; a scope does not begin in them.
 *   - A block small enough for any extent is not refused while there is one that scopes have given back. Exception:
 *     the blocks of an arena for signal handlers do not go into the extents that lanes keep. */
static void was_refused(node *self, size_t size, size_t alignment, bool is_scope)
{
    CHECK_EQ(errno, ENOMEM);
    failures++;
    last_failed = size;
    spare_may_have_gone(self);
    check_all_accounts();
    memarena_stats stats = stats_of(root);
    size_t whole = stats.capacity_bytes & ~(GRAIN - 1);
    if (size > whole || alignment > whole) return;
    size_t most = rounded(size) + alignment - (alignment < GRAIN ? alignment : GRAIN);
    if (self == root && !scopes_came_by) {
        size_t left = whole - claimed - (stats.per_cpu == 2 ? stats.tail_bytes : 0) -
                      (stats.per_cpu == 2 && is_scope ? stats.tlab_bytes : 0);
        CHECK(claimed != 0 || most > whole);
        CHECK(left / (whole < SHARDED_FROM ? 1 : SOURCES) < most);
    }
    bool may_use_extents = self != root || stats.per_cpu != 2;
    if (may_use_extents && most + GRAIN + EXTENT_HEAD <= KIB) CHECK_EQ(stats.free_extent_bytes, 0);
}

#endif
