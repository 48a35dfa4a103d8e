/* The library. One arena for all threads; with SCOPES a scope of it for each, with MARKS one in
 * which requests go back to a mark; with BURST a burst of so many blocks at a time, 0: of all; FLAGS are its options. */
#include "../player.h"

#include <memarena.h>
#include <string.h>

#ifdef HUGE
#define FLAGS MEMARENA_HUGE_PAGES
#define PEER_TRAITS (SHARES | COLD_ONLY)
#elif defined(MARKS)
#define SCOPES
#define PEER_TRAITS (SERVES | REQUESTS_ONLY)
#elif defined(BURST) && defined(SCOPES)
#define PEER_TRAITS (SERVES | LOOPS_ONLY)
#elif defined(BURST)
#define PEER_TRAITS (SHARES | LOOPS_ONLY)
#elif defined(SCOPES)
#define PEER_TRAITS SERVES
#else
#define PEER_TRAITS (SHARES | BOUNDED)
#endif
#ifndef FLAGS
#define FLAGS 0
#endif

/* An arena has so many batches of room for each thread, and no less than so many bytes for each of some threads: what
 * is measured is the road that nearly every block takes, not the end of an arena, nor one so small that it has to be
 * stingy with its TLABs. */
#define BATCHES 16u
#define BYTES_MIN ((size_t)16 << 20)
#define THREADS_MIN 4u
#define LARGE_BATCH ((size_t)16 << 20) /* of these, twice the room is enough */

typedef struct APART place {
    memarena *arena, *parent;
    memarena_burst burst; /* of a tree */
} place;

static const char *peer_open(place *all, unsigned threads, size_t bytes)
{
    size_t wanted = threads * (bytes < LARGE_BATCH ? BATCHES : 2) * bytes;
    size_t least = (threads < THREADS_MIN ? threads : THREADS_MIN) * BYTES_MIN;
    memarena *arena =
        memarena_create_with(&(memarena_options){.capacity = wanted > least ? wanted : least, .flags = FLAGS});
    if (!arena) return "memarena_create_with failed";
    memarena_stats stats;
    memarena_get_stats(arena, &stats, sizeof stats);
    if ((FLAGS)&MEMARENA_PER_CPU && stats.per_cpu != 2) return "this system has no restartable sequences";
    /* Touch whatever a batch may land on. The last bytes of the arena may be out of reach of blocks of this size. */
    for (char *block; player_touches && (block = memarena_alloc(arena, 4096)) != NULL;) memset(block, 1, 4096);
    memarena_reset(arena);
    for (unsigned i = 0; i < threads; i++) all[i].arena = all[i].parent = arena;
#ifdef SCOPES
    for (unsigned i = 0; i < threads; i++)
        if (!(all[i].arena = memarena_scope(arena))) return "memarena_scope failed";
#endif
    return NULL;
}

static inline void *peer_alloc(place *at, size_t size)
{
#ifdef BURST
    if (size == 16) return memarena_burst_alloc(&at->burst, 16, 8); /* of a tree: no other case comes here */
#endif
    return size == 8 ? memarena_new(at->arena, int64_t) : memarena_alloc(at->arena, size);
}

static void peer_release(place *at)
{
#ifdef SCOPES
    memarena_reset(at->arena);
#else
    (void)at;
#endif
}

static void peer_reset(place *at)
{
#ifndef SCOPES
    memarena_reset(at->arena);
#else
    (void)at;
#endif
}

static void peer_close(place *all, unsigned threads)
{
#ifdef SCOPES
    for (unsigned i = 0; i < threads; i++) memarena_destroy(all[i].arena);
#endif
    (void)threads;
    memarena_destroy(all->parent);
}

#ifdef BURST
/* Blocks are aligned as memarena_alloc aligns them. */
static inline bool burst_of(memarena *arena, size_t from, size_t to, size_t size);
#define PEER_TAKE(at, blocks, size) \
    size_t each = (BURST) ? (BURST) : blocks; \
    for (size_t from = 0; from < blocks; from += each) \
        if (!burst_of(at->arena, from, from + each < blocks ? from + each : blocks, size)) return false; \
    return true
#define PEER_TREE_BEGIN(at) (at)->burst = memarena_burst_begin((at)->arena)
#define PEER_TREE_END(at) memarena_burst_end(&(at)->burst)
#endif
#ifdef MARKS
#define PEER_BEGIN(at) memarena_position mark = memarena_mark((at)->arena)
#define PEER_END(at) (void)memarena_rewind((at)->arena, mark)
#elif defined(SCOPES)
/* A scope for each request. The one that the place has already stays open beside it. */
#define PEER_BEGIN(at) \
    memarena *own = (at)->arena; \
    (at)->arena = memarena_scope((at)->parent)
#define PEER_END(at) \
    memarena_destroy((at)->arena); \
    (at)->arena = own
#else
#define PEER_CAPACITY(at) memarena_capacity((at)->arena)
#endif
#include "../loops.h"

#ifdef BURST
FOLD bool burst_of(memarena *arena, size_t from, size_t to, size_t size)
{
    memarena_burst burst = memarena_burst_begin(arena);
    for (size_t i = from; i < to; i++) {
        void *block = memarena_burst_alloc(&burst, size_of(i, size), size == 8 ? 8 : 16);
        if (NEVER(!block)) return false;
        *(int64_t *)block = (int64_t)i;
        BARRIER();
    }
    memarena_burst_end(&burst);
    return true;
}
#endif
