/* The arena as its own code sees it, and where its parts lie.
 *
 *     arena (bit 6 of its address set)
 *     | ma_arena | lane 0 | ... lane 63 | source 0 ... source 63 | frontier | CPU lanes | caches | stacks | links | blocks
 *     0        576                    8768                    (+64 x 128)                (of free extents: extent.h)
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
#include "../platform/probe.h"
#include "../platform/process.h"
#include "../platform/rseq.h"
#include "../platform/sanitizer.h"
#include "../shard/pool.h"
#include "extent.h"
#include "misuse.h"
#include "watch.h"

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

typedef struct ma_scope ma_scope; /* scope.h */

typedef void ma_sample_fn(void *context, memarena *arena, void *block, size_t size, size_t weight);

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
    uint64_t attempts; /* resets that came as far as looking for open scopes: see reset.c */
    /* Lanes that have opened a scope here; as lanes_used. [open-2] */
    _Alignas(8) uint64_t scope_lanes;
    /* The list of deferred calls, and what decides a reset: see reset.c. [defer-1] */
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

/* How often a call lets others run before it fails because of what they are in the middle of. */
#ifndef MA_YIELDS
#define MA_YIELDS 256
#endif

#define MA_DEFERRED_TAG_SHIFT 46
#define MA_DEFERRED_CLOSING ((uint64_t)1 << 44) /* above the list of calls; BUSY lies above that */

/* A list entry of memarena_defer. */
typedef struct ma_deferred_call {
    void (*fn)(void *);
    void *arg;
    uint64_t next; /* as in the head: see reset.c; of a scope: the address of the next one */
} ma_deferred_call;
static_assert(sizeof(ma_deferred_call) <= MEMARENA_RECORD_BYTES_, "a record of memarena_defer_at_ holds a call");

/* An empty list of deferred calls at the start of a generation. */
static inline uint64_t ma_deferred_start(uint64_t generation)
{
    return generation << MA_DEFERRED_TAG_SHIFT;
}

static inline uint64_t ma_round_grain(uint64_t size)
{
    return size == 0 ? MA_GRAIN : (size + MA_GRAIN - 1) & ~(MA_GRAIN - 1);
}

/* lane.c: which lane is mine */
ma_lane *ma_lane_mine(ma_arena *arena);         /* leases one if need be; NULL: this thread has none */
ma_lane *ma_lane_leased(const ma_arena *arena); /* NULL if it has none so far */
unsigned ma_lane_index(const ma_arena *arena, const ma_lane *lane); /* CPU lanes: from MA_LANES on */
uint64_t ma_lane_thread_number(void);                               /* of any thread, for hashing */
/* alloc.c */
bool ma_find_block(ma_arena *arena, size_t size, uint64_t alignment, ma_block *block); /* calls nobody back */
void ma_lane_enter(ma_arena *arena, ma_lane *lane, uint64_t generation); /* its owner brings it into the generation */
ma_claim ma_lane_refill(ma_arena *arena, ma_lane *lane, ma_request *request);
ma_claim ma_lane_take(ma_arena *arena, ma_lane *lane, const ma_request *request, ma_block *block);
bool ma_lane_retract(ma_arena *arena, ma_lane *lane, uint64_t generation);
void ma_lane_abandon(ma_lane *lane); /* nothing of its TLAB is handed out any more */
ma_claim ma_claim_apart(ma_arena *arena, ma_lane *lane, ma_request *request, bool large, ma_span *span);
/* Whether to try once more: calls on_oom, unless this thread is in one already. */
bool ma_ask_for_room(ma_arena *arena, memarena *handle, size_t size);
void *ma_out_of_memory(ma_arena *arena, size_t size); /* counts the failure; NULL, ENOMEM */
/* Lets others run; `naps`: for a quarter of a millisecond. An arena in a caller's buffer makes no system call for that: it only
 * waits, some 10 us. */
void ma_give_way(const ma_arena *arena, bool naps);
bool ma_no_room_is_final(ma_arena *arena, uint64_t runs, int *patience);
/* burst.c */
bool ma_burst_holds(
    ma_lane *lane); /* a burst of this thread; what one of another thread, which is gone, has held is given up */
void ma_burst_forget(ma_lane *lane); /* what the burst holds there is of a generation that is over */
/* cpu.c */
void ma_cpu_enlist(ma_arena *arena, unsigned number);
ma_claim ma_cpu_alloc(ma_arena *arena, ma_request *request, ma_block *block); /* MA_NO_ROOM: claim it elsewhere */
ma_claim ma_cpu_collect(ma_arena *arena, const ma_request *request, ma_block *block);
void ma_cpu_leave_tail(ma_lane *lane, uintptr_t base); /* of its TLAB, in the generation of that base */
void ma_cpu_close_all(ma_arena *arena);
void ma_cpu_repair(ma_arena *arena, uintptr_t survivor); /* in a child of fork */
/* Moves the end of a block in the lane of now, if it is the last one there. Back only for a caller who knows that the block
 * is of this generation. */
bool ma_cpu_move(ma_arena *arena, uintptr_t from, uintptr_t to, uint64_t generation, uint64_t *weight);
/* account.c */
uint64_t ma_account_allocated(const ma_arena *arena);
uintptr_t ma_account_waiting(const ma_lane *lane);                   /* what is left of its TLAB */
uintptr_t ma_account_lane(const ma_lane *lane, uint64_t generation); /* what it has handed out */
/* trim.c */
void ma_trim_note(ma_arena *arena);  /* before a reset, where retain_bytes is set: what the generation has touched */
void ma_trim_after(ma_arena *arena); /* and after it: no more than that is kept */
uint64_t ma_trim_bookkeeping(const ma_arena *arena); /* bytes of it in memory, in memory from the OS */
/* trap.c: with MEMARENA_TRAP_STALE */
#define MA_TRAP_WINDOWS 64u /* so many generations have addresses of their own... */
#define MA_TRAP_SPACE \
    ((uint64_t)SIZE_MAX / (sizeof(void *) == 8 ? (uint64_t)1 << 20 : 8))    /* ...but at most so many bytes */
bool ma_trap_begin(ma_arena *arena, unsigned windows, size_t window_bytes); /* false: errno */
bool ma_trap_prepare(ma_arena *arena, uint64_t generation);                 /* before it is closed; false: errno */
/* After it: moves the pages, or under a sanitizer marks the blocks dead, and the generation on. `lost`: a thread that a fork has lost may have begun. */
void ma_trap_follow(ma_arena *arena, uint64_t generation, bool lost);
void ma_trap_repair(ma_arena *arena, uintptr_t survivor);
void ma_trap_end(const ma_arena *arena);
/* reset.c */
uint64_t ma_reset_open_scopes(const ma_arena *arena);
uint64_t
ma_reset_hold_off(ma_arena *arena); /* after a scope or a pin was counted: no reset comes through; the generation */
/* In a child of fork: what threads that it has lost were announcing or running. `survivor`: the thread that it has not. */
void ma_reset_repair(ma_arena *arena, uintptr_t survivor);
void ma_reset_empty_lanes(ma_arena *arena);
void ma_defer_run_all(ma_arena *arena);

/* sample.c. Where a range is bumped that is sampled, `at` is the address of the next sampled byte (UINTPTR_MAX: none, 0: to
 * be drawn) and `round` tells under which call of memarena_sample it was drawn.
 *
 * For a block that takes the range from `cursor` up to `next`: its weight, and the next `at`. */
uint64_t ma_sample_pass(const ma_arena *arena, uintptr_t *at, uint16_t *round, uintptr_t cursor, uintptr_t next);
uint64_t ma_sample_apart(const ma_arena *arena, uint64_t bytes); /* the weight of bytes that lie in no such range */
void ma_sample_repair(ma_arena *arena, uintptr_t survivor);
void ma_sample_report(const ma_arena *arena, memarena *handle, const ma_block *block, size_t size);

/* What a thread knows of its lane besides memarena_lane_offset_; and of what it is in the middle of. */
typedef struct ma_lane_thread {
    uint64_t random; /* for sample.c */
    /* It is doing so already (and a signal came), has given its lane back, or its end cannot be watched. */
    bool may_not_lease;
    bool has_asked; /* whether a lessee is gone */
    bool is_reporting;
    bool is_asking;      /* is in an on_oom, of whichever arena */
    uint8_t counted_in;  /* the number + 1 that it has leased through this copy of the library; 0: none */
    struct ma_pin *pins; /* its own, newest first */
    /* Where it took blocks last without a lane, and in which generation, of the last two such arenas: see ma_lane_see. */
    _Alignas(8) uint64_t seen[2];
} ma_lane_thread;

extern MA_HIDDEN __thread ma_lane_thread ma_lane_thread_ MEMARENA_TLS_;

/* Whether this thread has no lane, and none is free. */
static inline bool ma_lane_all_taken(void)
{
    return memarena_lane_offset_ == 0 && ma_load_relaxed(&ma_process()->leased) == UINT64_MAX;
}

/* One word, so that a signal handler that allocates here, too, finds and leaves it whole. */
static inline uint64_t ma_lane_sight(const ma_arena *arena, uint64_t generation)
{
    return ((uint64_t)(uintptr_t)arena << 16) + generation;
}

/* This thread has taken a block without a lane, in this generation or a later one. */
static inline void ma_lane_see(const ma_arena *arena, uint64_t generation)
{
    uint64_t *seen = ma_lane_thread_.seen, now = ma_lane_sight(arena, generation), before = ma_load_relaxed(&seen[0]);
    if (before == now) return;
    if ((before ^ now) >> 22 != 0) ma_store_relaxed(&seen[1], before); /* it was in another arena */
    ma_store_relaxed(&seen[0], now);
}

/* Whether this thread has taken a block in this generation, without a lane. What dies by a reset that it has not seen may end
 * where a live block of another thread does: only with this answer, or with a lane of this generation, may it give back
 * bytes of a block. */
static inline bool ma_lane_has_seen(const ma_arena *arena, uint64_t generation)
{
    const uint64_t *seen = ma_lane_thread_.seen;
    uint64_t now = ma_lane_sight(arena, generation);
    return ma_load_relaxed(&seen[0]) == now || ma_load_relaxed(&seen[1]) == now;
}

/* fork.c: before there is an arena that a fork may meet. */
void ma_fork_watch(const ma_arena *arena);
/* Makes what is announced in the arena right for this process. */
void ma_fork_repair(ma_arena *arena);
/* Of `pins` only: from now on they are counted in this process. */
void ma_fork_repair_pins(ma_arena *arena, uint64_t process);

/* Whether that is done. Else another thread is doing it, or one that our signal handler has interrupted. */
static inline bool ma_fork_is_over(const ma_arena *arena)
{
    return ma_load_acquire(&arena->process) == ma_load_acquire(arena->number); /* [fork-1] */
}

/* Before this thread looks at what others have announced in the arena, or announces something itself. As above. */
static inline bool ma_fork_check(ma_arena *arena)
{
    if (__builtin_expect(ma_fork_is_over(arena), 1)) return true;
    ma_fork_repair(arena);
    return ma_fork_is_over(arena);
}

/* In a child of fork: whether the thread that a word of the arena names, if any, was lost by it. */
static inline bool ma_fork_has_lost(const uintptr_t *thread, uintptr_t survivor)
{
    uintptr_t named = ma_load_acquire(thread);
    return named != 0 && named != survivor;
}

/* A pin: what a call holds the generation open by while it is in the middle of it, as a scope would. It lies on the
 * stack of its thread, so that a fork in between (in a signal handler) can tell it from the pins of threads that the fork has lost. */
typedef struct ma_pin {
    struct ma_pin *outer;
    ma_arena *arena;
    _Alignas(8)
        uint64_t counted; /* as in `pins`: in which process, and how much. A fork changes the former; 0: not any more */
} ma_pin;

#define MA_PIN_DEFER ((uint64_t)1)
#define MA_PIN_TRIM ((uint64_t)1 << 24)
#define MA_PIN_PROCESS_SHIFT 48 /* above it: low bits of the process's number */
#define MA_PIN_MASK (((uint64_t)1 << MA_PIN_PROCESS_SHIFT) - 1)

static inline bool ma_pin_same_process(uint64_t one, uint64_t other)
{
    return (one ^ other) >> MA_PIN_PROCESS_SHIFT == 0;
}

/* Returns the generation, which does not end before ma_pin_end. */
uint64_t ma_pin_begin(ma_arena *arena, ma_pin *pin, uint64_t amount);
void ma_pin_end(ma_pin *pin);

/* The number that this thread has leased; MA_LANES without one, or if the arena has no lanes. */
static inline unsigned ma_lane_number(const ma_arena *arena)
{
    uintptr_t offset = memarena_lane_offset_;
    return offset == 0 || !arena->has_lanes ? MA_LANES : (unsigned)((offset - MA_LANES_OFFSET) / MA_LANE_BYTES);
}

/* Blocks of more than 1/8 of the largest TLAB are claimed on their own: at most that much of a TLAB is left behind. A
 * large alignment, too: it would leave up to as much in the TLAB before the block. */
static inline bool ma_is_direct(const ma_request *request, uint32_t tlab_limit)
{
    uint64_t from = tlab_limit / 8;
    return request->size > from || (request->alignment > from && request->alignment > MEMARENA_MAX_ALIGNMENT_);
}

/* ---- Lanes that a burst holds: see burst.c ---- */

/* What `cursor_` says then: odd, and behind the end of every TLAB, so that no bound check succeeds. `leases` tells the lessees of
 * a number apart. */
static inline uintptr_t ma_burst_mark(uint32_t leases)
{
    return MEMARENA_BURST_NOWHERE_ + 2 * (uintptr_t)(leases & 0xFFFF) + 1;
}

/* Whether a burst holds the lane's TLAB, or the thread that began it has ended, or a fork has lost it. */
static inline bool ma_lane_is_held(const ma_lane *lane)
{
    return ma_load_relaxed(&lane->tlab.cursor_) & 1;
}

/* Where the lane's sum counts from. What a burst holds counts as handed out. */
static inline uintptr_t ma_lane_counted_to(const ma_lane *lane)
{
    uintptr_t cursor = ma_load_acquire(&lane->tlab.cursor_);
    return cursor & 1 ? ma_load_acquire(&lane->limit) : cursor;
}

/* Where the block starts in what is left of the lane's TLAB; 0: it does not fit. */
static inline uintptr_t ma_lane_find(const ma_lane *lane, const ma_request *request)
{
    uint64_t limit = lane->limit, cursor = ma_load_relaxed(&lane->tlab.cursor_);
    uint64_t start = (cursor + request->alignment - 1) & ~(request->alignment - 1);
    return start < cursor || start > limit || request->size > limit - start ? 0 : (uintptr_t)start;
}

/* Enters a lane into lanes_used or scope_lanes, for good. [empty-3] [open-2] */
static inline void ma_lane_enlist(uint64_t *lanes, unsigned number)
{
    uint64_t bit = (uint64_t)1 << number;
    if (!(ma_load_relaxed(lanes) & bit)) (void)ma_or_seq_cst(lanes, bit);
}

/* Where scopes are counted that a thread with this number opens or ends; MA_LANES: one without a lane. */
static inline ma_extent_cache *ma_arena_counts(const ma_arena *arena, unsigned number)
{
    return &arena->extents.caches[arena->has_lanes ? number : 0];
}

/* That of this thread's lane; NULL without one. */
static inline ma_extent_cache *ma_lane_cache(const ma_arena *arena)
{
    static_assert(MA_LANE_BYTES % sizeof(ma_extent_cache) == 0, "an offset is enough");
    uintptr_t offset = memarena_lane_offset_,
              at = (offset - MA_LANES_OFFSET) / (MA_LANE_BYTES / sizeof(ma_extent_cache));
    return offset == 0 || !arena->has_lanes ? NULL : (ma_extent_cache *)((uintptr_t)arena->extents.caches + at);
}

/* Of the head of the deferred calls: whether a reset is about to end this generation, or has ended it. */
static inline bool ma_reset_is_near(uint64_t head, uint64_t generation)
{
    uint64_t relevant = ~(((uint64_t)1 << MA_DEFERRED_TAG_SHIFT) - 1) | MA_DEFERRED_CLOSING;
    return ((head ^ ma_deferred_start(generation)) & relevant) != 0;
}

/* Nearly always, after a scope was counted as open, and without a call: no reset is under way, and the generation is one
 * that the caller has met before; so head and generation belong together, however long we sleep in between. */
static inline bool ma_reset_is_far(const ma_arena *arena, uint64_t generation)
{
    uint64_t head = ma_load_seq_cst(&arena->deferred); /* [open-3] */
    return (head ^ ma_deferred_start(generation)) < MA_DEFERRED_CLOSING && ma_fork_is_over(arena) &&
           ma_load_acquire(&arena->pool.generation) == generation;
}

/* Whether memarena_sample was ever called. */
static inline bool ma_samples(const ma_arena *arena)
{
    return ma_load_relaxed(&arena->sampling.round) != 0;
}

/* How far a range may be bumped that ends at `limit`, with the next sample at `at`. */
static inline uintptr_t ma_sample_end(uintptr_t at, uintptr_t limit)
{
    return at != 0 && at < limit ? at : limit;
}

/* It keeps so many bytes across a reset: they are counted in small pages. */
static inline bool ma_counts_kept_bytes(const ma_arena *arena)
{
    return arena->retain_bytes != 0 && arena->retain_bytes != MEMARENA_RETAIN_AUTO;
}

/* Whether each generation has addresses of its own. */
static inline bool ma_traps(const ma_arena *arena)
{
    return arena->pool.window_mask != 0;
}

/* Before a block or a scope is taken. */
static inline void ma_check_process(const ma_arena *arena)
{
    (void)arena;
    if (MA_DEBUG && ma_process_is_borrowed())
        ma_misuse("arena %p (%s) is used in a child of vfork, whose memory is its parent's", (const void *)arena,
                  arena->name[0] ? arena->name : "without a name");
}

static inline bool ma_fail(int error)
{
    errno = error;
    return false;
}

#include "scope.h"

#endif
