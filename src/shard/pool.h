/* The pool: the shared memory of an arena, cut into sources from which threads claim spans.
 *
 * The bytes of the arena are tiled, in address order, by MA_SHARDS equal *shards* and one *frontier*:
 *
 *     offset 0                                             half                                  capacity
 *     | shard 0 | shard 1 | ... one home for each lane ... | the frontier: large blocks first, then everybody |
 *
 * Each is a source: one padded word that says how far it has been claimed in this generation. A lane claims from its
 * home shard, chosen by Fibonacci hashing; when that is spent it probes the next ones, linearly, and last the frontier.
 * So each lane walks the same addresses after every reset and finds them in its own core's cache, and a single thread
 * walks the whole arena from front to back without a gap.
 *
 * A block larger than what one source has left takes a *run*: the rest of one source and as many untouched neighbours
 * as it needs, claimed one by one in address order, and given back if a neighbour was taken meanwhile. So a block
 * may be as large as the largest contiguous free range, up to the capacity.
 *
 * Pools below MA_SHARDED_MIN have no shards, only the frontier: homes of a few bytes would only fragment them. */
#ifndef MA_POOL_H
#define MA_POOL_H

#include "../platform/atomic.h"
#include "../platform/sanitizer.h"
#include "word.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifndef MA_SHARDS
#define MA_SHARDS 64
#endif
#define MA_CACHE_PAIR 128                  /* x86-64 fetches lines in pairs; aarch64 servers have 128-byte lines */
#define MA_SHARDED_MIN ((uint64_t)1 << 20) /* a home of at least 8 KiB */

/* One word per cache line pair: two threads that claim from neighbouring sources share no line. */
typedef struct ma_source {
    /* {tag, offset of the next free byte}. Written by every claimant and by reset, with acquire-release swaps, so that
     * the bytes of a span pass from the thread that gave them up to the one that claims them. */
    _Alignas(MA_CACHE_PAIR) uint64_t word;
    /* {tag, bytes} claimed here by threads without a lane, for the accounts. Nothing is published through it. */
    uint64_t direct;
    /* Bytes from its begin that may be in physical memory; kept only where that is limited. See trim.c. */
    _Alignas(8) uint64_t touched;
    /* Likewise: what the last generation has claimed here, in bytes; with MEMARENA_RETAIN_AUTO the most that one has, in this
     * window of resets and in the one before. */
    _Alignas(8) uint64_t needed[2];
    /* The most that was ever claimed here, in bytes: noted after the word, before the claimant has his span. [fresh-1] */
    _Alignas(8) uint64_t peak;
    void *place[2]; /* of the frontier: what memarena_place_ answers for the arena */
} ma_source;

typedef struct ma_pool {
    /* Written by reset [empty-1], read by every slow path. */
    _Alignas(8) uint64_t generation;
    ma_source *sources;   /* `shard_count` shards, then the frontier; zeroed memory is a valid start */
    unsigned shard_count; /* MA_SHARDS or 0 */
    unsigned offset_bits; /* of each word, see word.h; the tag has the others */
    uint64_t shard_bytes; /* of each shard; 0 without shards */
    uint64_t capacity;    /* bytes, a multiple of MA_GRAIN */
    uintptr_t base;       /* address of offset 0, for alignment; a multiple of MA_GRAIN */
    /* Where each generation has addresses of its own (trap.c): `base` is that of those whose low bits are 0. */
    uintptr_t window_bytes;
    unsigned window_mask;
    bool told; /* of threads that order themselves by the pool a tool is told that looks for races: see sanitizer.h */
    /* {runs ended, runs being claimed}: while there are any of the latter, memory that will be given back may look taken.
     * Written by those that claim runs, read by claimants that found no room. [run-1] */
    _Alignas(8) uint64_t runs;
} ma_pool;

#define MA_RUN_BEGINS ((uint64_t)1)
#define MA_RUN_ENDED ((uint64_t)1 << 16)
#define MA_RUNS_MASK (MA_RUN_ENDED - 1)

typedef struct ma_span {
    uint64_t begin, end; /* offsets */
    uint64_t block;      /* where the block that was asked for starts in it, aligned */
    unsigned source;     /* where it was claimed */
    bool fresh;          /* nobody has ever had the block's bytes before */
} ma_span;

typedef struct ma_request {
    uint64_t generation; /* of the claimant */
    uint64_t size;       /* a multiple of MA_GRAIN, at least one */
    uint64_t alignment;  /* of the address; a power of two, at least MA_GRAIN */
    uint64_t want;       /* bytes the claimant would like beyond the block; it gets what there is */
    bool fresh;          /* the answer: the block is as the OS gave it */
} ma_request;

typedef enum ma_claim {
    MA_CLAIMED,
    MA_NO_ROOM,
    MA_MOVED /* the generation moved on: nothing was claimed in the new one */
} ma_claim;

void ma_pool_init(ma_pool *pool, ma_source *sources, bool sharded, uintptr_t base, uint64_t capacity);
/* The home shard of the thread or lane with this number. */
unsigned ma_pool_home(const ma_pool *pool, uint64_t number);
/* From the sources `first`, `first` + 1, ... around the shards, then the frontier. Counts spent sources in `*probes`.
 */
ma_claim ma_pool_claim(ma_pool *pool, unsigned first, const ma_request *request, ma_span *span, uint64_t *probes);
/* From the frontier, then the shards, then a run. For blocks too large to share a TLAB. */
ma_claim ma_pool_claim_large(ma_pool *pool, unsigned first, const ma_request *request, ma_span *span, uint64_t *probes);
/* From as many adjacent sources as it takes. That a run could not be had is certain only if pool->runs was the same
 * before and after, with none being claimed. */
ma_claim ma_pool_claim_run(ma_pool *pool, const ma_request *request, ma_span *span);
/* After MA_RUN_BEGINS was added to pool->runs: what was hidden is there again. */
void ma_pool_end_run(ma_pool *pool);
/* Moves the tip of a source from `from` to `to`, if the tip is there: gives a span back, also one over several sources, or
 * extends the last one. False: the tip is elsewhere, or the source ends before `to`. */
bool ma_pool_move_tip(ma_pool *pool, uint64_t generation, uint64_t from, uint64_t to);
/* Takes what is left of a source, for a moment and for a caller who holds the generation open: claimants that find no
 * room meanwhile look again, as with a run. False: nothing is left. */
bool ma_pool_borrow(ma_pool *pool, unsigned source, uint64_t generation, ma_span *span);
void ma_pool_return(ma_pool *pool, uint64_t generation, const ma_span *span);
/* Adds to a source's account of directly claimed bytes (wraps: a negative amount subtracts). */
void ma_pool_account(ma_pool *pool, unsigned source, uint64_t generation, uint64_t bytes);
/* Brings one word of the pool up to the generation, a different one for each generation. */
void ma_pool_refresh(ma_pool *pool, uint64_t generation);
/* Look: bytes claimed in this generation, the most that the sources were ever claimed, and the largest block that a fresh
 * claim would have room for. */
uint64_t ma_pool_claimed(const ma_pool *pool, uint64_t generation);
uint64_t ma_pool_reached(const ma_pool *pool, unsigned source, uint64_t generation); /* the most, of one source */
uint64_t ma_pool_peak(const ma_pool *pool, uint64_t generation);
uint64_t ma_pool_largest_free(const ma_pool *pool, uint64_t generation);

/* The address of offset 0 in this generation. */
static inline uintptr_t ma_pool_base(const ma_pool *pool, uint64_t generation)
{
    return pool->base + ((uintptr_t)generation & pool->window_mask) * pool->window_bytes;
}

static inline uint64_t ma_pool_align(const ma_pool *pool, uint64_t generation, uint64_t offset, uint64_t alignment)
{
    /* Wraps around to a small offset at worst, which callers see as `block < offset`. */
    uintptr_t base = ma_pool_base(pool, generation);
    uint64_t address = base + offset;
    return ((address + alignment - 1) & ~(alignment - 1)) - base;
}

static inline uint64_t ma_source_begin(const ma_pool *pool, unsigned source)
{
    return source * pool->shard_bytes;
}

static inline uint64_t ma_source_end(const ma_pool *pool, unsigned source)
{
    return source < pool->shard_count ? (source + 1) * pool->shard_bytes : pool->capacity;
}

/* The offset up to which a source has been claimed; none at all in a newer word, see word.h. */
static inline uint64_t ma_source_tip(const ma_pool *pool, unsigned source, uint64_t word, uint64_t generation)
{
    if (ma_word_age(pool->offset_bits, word, generation) < 0) return UINT64_MAX;
    return ma_word_offset(pool->offset_bits, word, generation, ma_source_begin(pool, source));
}

static inline unsigned ma_source_of(const ma_pool *pool, uint64_t offset)
{
    if (pool->shard_count == 0 || offset / pool->shard_bytes >= pool->shard_count) return pool->shard_count;
    return (unsigned)(offset / pool->shard_bytes);
}

#endif
