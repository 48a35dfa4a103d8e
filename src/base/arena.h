/* The arena as its own code sees it, and where its parts lie. Begin here.
 *
 *     block        what a caller gets. It lives until its generation ends
 *     generation   the life of an arena between two resets, counted from 1
 *     span         bytes claimed from a source: a TLAB, or one large block
 *     source       a part of the arena with one shared word that says how far it has been claimed: one of the 64 shards, which
 *                  are homes of lanes, or the frontier, from which large blocks come first
 *     lane         the place of one thread, or of one CPU, in one arena: its TLAB and its accounts
 *     TLAB         the span that a lane bumps. A refill claims the next one
 *     scope        a private child of an arena. It takes extents, and gives them back when it ends
 *     head         the word that says which generation it is, whether a reset is near, and which calls are deferred
 *     to watch     ASan and memcheck watch an arena: each block takes the slow road and lies apart
 *
 * A block passes the layers once, from the top: arena/alloc.c is entered when the inline code finds no room; supply/supply.h
 * looks until the answer is final; lane/tlab.c bumps, or refills from shard/pool.c.
 *
 *     arena (bit 6 of its address set)
 *     | ma_arena | lane 0 | ... lane 63 | source 0 ... source 63 | frontier | CPU lanes | caches | stacks | links | blocks
 *     0        576                    8768                    (+64 x 128)                (of free extents: extents.h)
 *
 * In memory from the OS the blocks start at the next page and the rest is touched only as it is used. In a caller's
 * buffer everything is packed. An arena without lanes (a small buffer, a tiny capacity, a sanitizer watching) has bit 6
 * of its address clear and only the frontier: the inline code then finds the arena's own range, which is always empty.
 */
#ifndef MA_ARENA_H
#define MA_ARENA_H

#if defined(__MINGW32__) && !defined(__USE_MINGW_ANSI_STDIO)
#define __USE_MINGW_ANSI_STDIO 1 /* a printf that knows %zu; before <stdio.h> */
#endif
#include "../../include/memarena.h"
#include "../platform/process.h"
#include "../platform/rseq.h"
#include "../platform/sanitizer.h"
#include "../shard/pool.h"
#include "extents.h"
#include "misuse.h"

#include <assert.h>
#include <errno.h>

#define MA_LANES 64
#define MA_LANE_BYTES MA_CACHE_PAIR
#define MA_LANES_OFFSET 576u /* 64 more than a multiple of 128: lanes are aligned when the arena is not */
#define MA_SOURCES_OFFSET (MA_LANES_OFFSET + MA_LANES * MA_LANE_BYTES)

/* What `base` of a lane says while its TLAB is being exchanged: not a multiple of MA_GRAIN. */
#define MA_BASE_MOVING ((uintptr_t)1)
/* What `end_` of a lane says while its owner looks whether the generation still stands: fails every bound check. */
#define MA_END_ARMED ((uintptr_t)1)

/* The place of one thread in one arena. Only its owner, the thread that has leased the lane's number, writes it, except
 * that a reset stores `end_`; anybody may read it for the accounts. When the owner exits, the next thread to lease
 * the number goes on with it as it is. */
typedef struct ma_lane {
    struct memarena tlab;            /* cursor_ and end_, what the inline code bumps */
    _Alignas(8) uint64_t generation; /* of all here but the counts since creation */
    /* Where the TLAB truly ends; `end_` is this, or where the next sample lies, or empty after a reset. */
    uintptr_t limit;
    /* Bytes handed out by this lane in its generation: `base + cursor_`, one sum that inline allocation keeps right
     * without knowing. While the TLAB is exchanged base is MA_BASE_MOVING and `settled` holds the sum. [account-1] */
    uintptr_t base;
    uintptr_t settled;
    uintptr_t tail_bytes;                                    /* left behind in this generation */
    uint32_t source;                                         /* where the last span was claimed; the owner's own */
    uint32_t tlab_bytes;                                     /* what to ask for next; the owner's own */
    uintptr_t refills, probes, direct_blocks, padding_bytes; /* since creation; one writer */
    union {
        _Alignas(8) uintptr_t holder; /* of a CPU lane: the thread that exchanges its TLAB, or 0: see cpu.c. [cpu-1] */
        uintptr_t burst;              /* of a thread's lane: see burst.c; the owner's own */
    };
    uintptr_t sample_at; /* see sample.c; the owner's own */
    uint16_t sample_round;
    _Alignas(8) uint64_t tail; /* of a CPU lane in its generation: see cpu.c; the holder's */
} ma_lane;

/* What a handle is: the second member of ma_arena and ma_scope alike. Of an arena with MEMARENA_PER_CPU all threads use
 * the CPU lanes, of another those without a lane of their own. */
typedef enum ma_kind { MA_KIND_ARENA = 1, MA_KIND_PER_CPU, MA_KIND_SCOPE, MA_KIND_ENDED } ma_kind;

typedef void ma_sample_fn(void *context, memarena *arena, void *block, size_t size, size_t weight);

/* Which sanitizer is watching the arena: see supply/watch.h. */
typedef enum ma_watch { MA_WATCH_NONE, MA_WATCH_ASAN, MA_WATCH_MEMCHECK } ma_watch;

/* What memarena_sample asked for last. [sample-2] */
typedef struct ma_sampling {
    _Alignas(8) uint64_t round; /* 0: nothing ever */
    _Alignas(8) uint64_t bytes; /* 0: nothing */
    ma_sample_fn *fn;
    void *context;
    _Alignas(8) uintptr_t changer; /* the thread in memarena_sample, or 0. [sample-3] */
} ma_sampling;

typedef struct ma_arena {
    struct memarena tlab; /* never filled */
    ma_kind kind;
    ma_rseq_cpus cpus; /* CPU lanes: ma_lanes, 128 bytes apart */
    ma_pool pool;
    ma_extents extents;
    /* What holds the generation open for a moment besides scopes, and in which process: see ma_pin. [pin-1] */
    _Alignas(8) uint64_t pins;
    uint64_t attempts; /* resets that came as far as looking for open scopes: see close.c */
    /* Lanes that have opened a scope here; as lanes_used. [open-2] */
    _Alignas(8) uint64_t scope_lanes;
    /* The list of deferred calls, and what decides a reset: see close.c. [defer-1] */
    _Alignas(8) uint64_t deferred;
    _Alignas(8) uintptr_t runner; /* the thread that runs its deferred calls, or 0. [defer-2] */
    ma_register *shared;          /* of the copy of the library that made it: in it processes are numbered... */
    uint64_t *number;             /* ...and this is that of now */
    _Alignas(8) uint64_t process; /* in which all that is announced here was announced: see fork.c. [fork-1] */
    /* Lanes that have had a TLAB here. Bits are set by their owners, never cleared, read by reset. [empty-3] */
    _Alignas(8) uint64_t lanes_used;
    size_t capacity; /* as memarena_capacity */
    /* The largest TLAB of the first MA_FAVOURED_LANES lanes, of the others, and of CPU lanes; 0: none. */
    uint32_t tlab_limit[3];
    bool has_lanes, prefaulted, by_default;
    _Alignas(8) uint64_t cpus_used; /* no CPU lane from here on has had a TLAB; only grows */
    ma_watch watch;                 /* which sanitizer is watching */
    unsigned spread;                /* address distance of neighbouring bytes' blocks; 1 unless watched, see watch.c */
    _Alignas(8) uint64_t watch_claimed, watch_mark; /* watch.c: how far memory has been forbidden once */
    void *mapping;                                  /* NULL in a caller's buffer */
    size_t mapping_bytes;
    bool (*on_oom)(void *context, memarena *arena, size_t size);
    void *on_oom_context;
    /* Of threads without a lane, and of all; since creation. */
    uint64_t probes, direct_blocks, padding_bytes, failed_requests;
    size_t last_failed_bytes;
    _Alignas(8) uintptr_t moving; /* trap.c: the thread that moves the pages, or 0. [trap-2] */
    size_t retain_bytes;          /* 0: all; MEMARENA_RETAIN_AUTO: as trim.c finds */
    _Alignas(8) uint64_t looks;  /* generations, and trims by hand, that trim.c has counted with MEMARENA_RETAIN_AUTO */
    _Alignas(8) uint64_t hungry; /* how often a request that found no room waited for what is about to be returned */
    ma_sampling sampling;
    char name[32];
} ma_arena;

/* A block on its way to the caller. */
typedef struct ma_block {
    uintptr_t address;
    uint64_t weight; /* with which it is reported to a profiler; 0: it is not sampled */
    bool fresh;      /* known to be zero */
} ma_block;

static_assert(sizeof(ma_arena) <= MA_LANES_OFFSET, "the arena must end before its lanes");
static_assert(sizeof(ma_lane) <= MA_LANE_BYTES, "a lane must not share its cache lines");
static_assert(offsetof(ma_lane, tlab) == offsetof(ma_rseq_lane, cursor), "what the assembly knows of a lane");
static_assert(offsetof(ma_lane, tlab.end_) == offsetof(ma_rseq_lane, end), "likewise");
static_assert(offsetof(ma_lane, generation) == offsetof(ma_rseq_lane, generation), "likewise");
static_assert(MA_LANE_BYTES == 1 << MA_RSEQ_LANE_SHIFT, "likewise");
static_assert(MA_LANES_OFFSET % MA_CACHE_PAIR == MA_CACHE_PAIR / 2, "bit 6 of the address is set, lanes are aligned");

/* Half of what TLABs may hold back (1/8 of the capacity) goes to lanes: the first eight may take 1/256 each, since most
 * programs have no more threads than that, the other 56 take 1/2048 each: 1/17 in all. CPU lanes take 1/32 in all. */
#define MA_FAVOURED_LANES 8u
#define MA_FAVOURED_SHARE 256u
#define MA_COMMON_SHARE 2048u
#define MA_CPU_SHARE 32u
#define MA_CPU_LANES_MAX 1024u /* threads on CPUs beyond these claim from the shards */
#define MA_TLAB_DEFAULT ((size_t)64 << 10)
#define MA_TLAB_FIRST 1024u /* a lane starts with this and doubles at each refill */
#define MA_TLAB_MIN 64u     /* a smaller TLAB is not worth its refill: blocks are claimed directly */
#define MA_TLAB_MAX ((size_t)64 << 20)

static inline ma_arena *ma_arena_of(const memarena *handle)
{
    return (ma_arena *)(uintptr_t)handle;
}

static inline ma_lane *ma_arena_lane(const ma_arena *arena, unsigned index)
{
    return (ma_lane *)((uintptr_t)arena + MA_LANES_OFFSET + index * (uintptr_t)MA_LANE_BYTES);
}

static inline ma_lane *ma_arena_cpu_lane(const ma_arena *arena, unsigned number)
{
    return (ma_lane *)((uintptr_t)arena->cpus.first + number * (uintptr_t)MA_LANE_BYTES);
}

static inline uint64_t ma_round_grain(uint64_t size)
{
    return size == 0 ? MA_GRAIN : (size + MA_GRAIN - 1) & ~(MA_GRAIN - 1);
}

/* Before a block or a scope is taken: the debug build ends a child of vfork here, whose memory is its parent's. */
static inline void ma_check_process(const ma_arena *arena)
{
    (void)arena;
    if (MA_DEBUG && ma_process_is_borrowed())
        ma_misuse("arena %p (%s) is used in a child of vfork, whose memory is its parent's", (const void *)arena,
                  arena->name[0] ? arena->name : "without a name");
}

static inline bool ma_is_power_of_two(size_t number)
{
    return number != 0 && (number & (number - 1)) == 0;
}

/* Whether room to grow, of any options, is left as it should be: zero. */
static inline bool ma_is_unused(void *const reserved[4])
{
    return !reserved[0] && !reserved[1] && !reserved[2] && !reserved[3];
}

/* False, with errno. */
static inline bool ma_fail(int error)
{
    errno = error;
    return false;
}

/* How often a call lets others run before it fails because of what they are in the middle of. */
#ifndef MA_YIELDS
#define MA_YIELDS 256
#endif

/* wait.c. Lets others run; `naps`: for a quarter of a millisecond. An arena in a caller's buffer makes no system call for
 * that: the call only waits, some 10 us. */
void ma_give_way(const ma_arena *arena, bool naps);

#endif
