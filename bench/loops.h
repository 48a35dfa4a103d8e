/* The hot loops of a peer, and nothing else: what to disassemble. An adapter includes this last, having defined
 *
 *     place                         where one thread allocates
 *     peer_alloc(place *, size)     inline; a multiple of 8 aligned to 8 if it is 8, otherwise to 16; NULL: no memory
 *     peer_open, peer_close         as in struct player, typed
 *     peer_release, peer_reset      likewise; either may be empty
 *     PEER_TRAITS
 *
 * and, where it has them,
 *
 *     peer_free(place *, block)     then PEER_FREES is defined and `place` has a member `void *last`
 *     PEER_BEGIN(at), PEER_END(at)  of a request; what is not defined: nothing, and peer_release
 *     PEER_STATE                    `place` is the allocator itself, not a handle of it: it stays in memory
 *     PEER_TAKE(at, blocks, size)   the body of a loop of its own: of the limit and of bursts
 *     PEER_TREE_BEGIN(at), PEER_TREE_END(at)    around the building of a tree
 *     peer_collect                  then PEER_COLLECTS is defined
 *     PEER_CAPACITY(at)             of one that is BOUNDED
 *
 * Every peer does the same: it takes a block, tests it, writes 8 bytes into it, and lets the compiler forget what it
 * knows of memory. What differs is how the block is found. Each loop is a function of its own that starts at a multiple
 * of 64, and CMake asks for the same of the loop inside: two of these loops a few bytes apart can differ by half. */
#include "player.h"

#include <assert.h>
#include <string.h>

/* The compiler must believe that memory was read and written here: without it a loop of stores melts into one. */
#define BARRIER() __asm__ volatile("" ::: "memory")
/* A clone would have another name than callgrind is told; clang makes none and does not know the word. */
#if defined(__clang__)
#define HOT __attribute__((noinline, aligned(64)))
#else
#define HOT __attribute__((noinline, noclone, aligned(64)))
#endif
#define FOLD static inline __attribute__((always_inline))
/* Also tells the compiler that the loop runs long: gcc aligns only loops that it believes to. */
#define NEVER(condition) __builtin_expect(!!(condition), 0)

static_assert(sizeof(place) <= PLACE_BYTES, "a place is too large");

/* A program has the handle of its allocator in a register while a loop runs. */
#ifdef PEER_STATE
#define ENTER(at, given) place *at = (place *)(given)
#define LEAVE(at, given) ((void)0)
#else
#define ENTER(at, given) place at##_copy = *(place *)(given), *at = &at##_copy
#define LEAVE(at, given) (*(place *)(given) = *at)
#endif

/* The store into a block. Where blocks are freed one by one each holds the address of the one before: that costs no
 * more than any other store, and lets the release find them. */
#ifdef PEER_FREES
#define MARK(at, block, i) (*(void **)(block) = (at)->last, (at)->last = (block))
#else
#define MARK(at, block, i) (*(int64_t *)(block) = (int64_t)(i))
#endif

FOLD size_t size_of(size_t i, size_t size)
{
    return size ? size : mixed_sizes[i % MIXED_SIZES];
}

FOLD bool take_blocks(void *given, size_t blocks, size_t size)
{
#ifdef PEER_TAKE
    place *at = (place *)given;
    PEER_TAKE(at, blocks, size);
#else
    ENTER(at, given);
    for (size_t i = 0; i < blocks; i++) {
        void *block = peer_alloc(at, size_of(i, size));
        if (NEVER(!block)) return false;
        MARK(at, block, i);
        BARRIER();
    }
    LEAVE(at, given);
    return true;
#endif
}

FOLD bool time_batches(void *given, size_t count, uint64_t *ticks, size_t size)
{
    ENTER(at, given);
    for (size_t k = 0; k < count; k++) {
        uint64_t begin = player_ticks();
        for (size_t i = 0; i < BATCH_BLOCKS; i++) {
            void *block = peer_alloc(at, size_of(k + i, size));
            if (NEVER(!block)) return false;
            MARK(at, block, i);
            BARRIER();
        }
        ticks[k] = player_ticks() - begin;
    }
    LEAVE(at, given);
    return true;
}

FOLD bool time_each(void *given, size_t blocks, uint64_t *ticks, size_t size)
{
    ENTER(at, given);
    for (size_t i = 0; i < blocks; i++) {
        uint64_t begin = player_ticks();
        void *block = peer_alloc(at, size_of(i, size));
        if (NEVER(!block)) return false;
        MARK(at, block, i);
        BARRIER();
        ticks[i] = player_ticks() - begin;
    }
    LEAVE(at, given);
    return true;
}

/* One function per kind of block, with a name that callgrind can be told. */
#define LOOPS_OF(kind, size) \
    HOT static bool loop_##kind(void *given, size_t blocks) \
    { \
        return take_blocks(given, blocks, size); \
    } \
    HOT static bool batches_##kind(void *given, size_t count, uint64_t *ticks) \
    { \
        return time_batches(given, count, ticks, size); \
    } \
    HOT static bool each_##kind(void *given, size_t blocks, uint64_t *ticks) \
    { \
        return time_each(given, blocks, ticks, size); \
    }
LOOPS_OF(8, 8)
LOOPS_OF(16, 16)
LOOPS_OF(64, 64)
LOOPS_OF(128, 128)
LOOPS_OF(mixed, 0)

HOT static bool loop_touch(void *given, size_t blocks)
{
    ENTER(at, given);
    for (size_t i = 0; i < blocks; i++) {
        size_t size = size_of(i, 0);
        void *block = peer_alloc(at, size);
        if (NEVER(!block)) return false;
        memset(block, 1, size);
        MARK(at, block, i);
        BARRIER();
    }
    LEAVE(at, given);
    return true;
}

/* ---- Requests ---------------------------------------------------------------------------------------------------- */

#ifndef PEER_BEGIN
#define PEER_BEGIN(at) ((void)0)
#endif
#ifndef PEER_END
#define PEER_END(at) peer_release(at)
#endif

HOT static bool loop_serve(void *given, size_t requests)
{
    ENTER(at, given);
    for (size_t r = 0; r < requests; r++) {
        PEER_BEGIN(at);
        for (size_t i = 0; i < REQUEST_BLOCKS; i++) {
            void *block = peer_alloc(at, 64);
            if (NEVER(!block)) return false;
            MARK(at, block, i);
            BARRIER();
        }
        PEER_END(at);
    }
    LEAVE(at, given);
    return true;
}

/* ---- Binary trees ------------------------------------------------------------------------------------------------ */

typedef struct node {
    struct node *left, *right;
} node;

static node *grow(place *at, unsigned depth)
{
    node *root = (node *)peer_alloc(at, sizeof(node) > 8 ? 16 : 8);
    if (NEVER(!root)) return NULL;
    if (depth == 0) {
        root->left = root->right = NULL;
        return root;
    }
    root->left = grow(at, depth - 1);
    root->right = grow(at, depth - 1);
    return root;
}

static size_t count(const node *root)
{
    return root ? 1 + count(root->left) + count(root->right) : 0;
}

#ifdef PEER_FREES
static void fell(place *at, node *root)
{
    if (!root) return;
    fell(at, root->left);
    fell(at, root->right);
    peer_free(at, root);
}
#endif

#ifndef PEER_TREE_BEGIN
#define PEER_TREE_BEGIN(at) ((void)0)
#define PEER_TREE_END(at) ((void)0)
#endif

HOT static size_t loop_tree(void *given, unsigned depth)
{
    place *at = (place *)given;
    PEER_TREE_BEGIN(at);
    node *root = grow(at, depth);
    PEER_TREE_END(at);
    size_t nodes = count(root);
#ifdef PEER_FREES
    fell(at, root);
#endif
    peer_release(at);
    peer_reset(at);
    return nodes;
}

/* ---- A crowded heap ---------------------------------------------------------------------------------------------- */

/* Blocks of 16 to 64 bytes, of which one in ten, at random, leaves a hole where it can. */
static bool loop_crowd(void *given, size_t blocks)
{
    place *at = (place *)given;
    uint64_t state = 88172645463325252u;
#ifdef PEER_FREES
    static void *live; /* where a collector finds it */
    void *holes = NULL;
#endif
    for (size_t i = 0; i < blocks; i++) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        void *block = peer_alloc(at, 16 + (size_t)(state >> 32) % 49);
        if (!block) return false;
#ifdef PEER_FREES
        if (state % 10 == 0) {
            *(void **)block = holes;
            holes = block;
            continue;
        }
#endif
        MARK(at, block, i);
    }
#ifdef PEER_FREES
    while (holes) {
        void *next = *(void **)holes;
        peer_free(at, holes);
        holes = next;
    }
    live = at->last;
    at->last = NULL; /* so that a release leaves them alone */
    BARRIER();
    (void)live;
#endif
    return true;
}

static size_t loop_fill(void *given)
{
    place *at = (place *)given;
    size_t bytes = 0;
    for (size_t i = 0;; i++) {
        size_t size = size_of(i, 0);
        if (!peer_alloc(at, size)) return bytes;
        bytes += (size + 15) & ~(size_t)15;
    }
}

/* ---- What player.c sees ------------------------------------------------------------------------------------------ */

static const char *open_places(void *places, unsigned threads, size_t bytes)
{
    return peer_open((place *)places, threads, bytes);
}

static void close_places(void *places, unsigned threads)
{
    peer_close((place *)places, threads);
}

static void *place_of(void *places, unsigned thread)
{
    return (place *)places + thread;
}

static void release_place(void *given)
{
    peer_release((place *)given);
}

static void reset_place(void *given)
{
    peer_reset((place *)given);
}

#ifndef PEER_COLLECTS
static double peer_collect(void)
{
    return 0;
}
#endif

static size_t capacity_of(void *given)
{
#ifdef PEER_CAPACITY
    return PEER_CAPACITY((place *)given);
#else
    (void)given;
    return 0;
#endif
}

#ifdef __cplusplus
extern "C"
#endif
    const struct player player = {
        .traits = PEER_TRAITS,
        .open = open_places,
        .close = close_places,
        .place = place_of,
        .release = release_place,
        .reset = reset_place,
        .collect = peer_collect,
        .take = {loop_8, loop_16, loop_64, loop_128, loop_mixed},
        .touch = loop_touch,
        .serve = loop_serve,
        .tree = loop_tree,
        .each = {each_8, each_16, each_64, each_128, each_mixed},
        .crowd = loop_crowd,
        .batches = {batches_8, batches_16, batches_64, batches_128, batches_mixed},
        .fill = loop_fill,
        .capacity = capacity_of,
};
