/* memarena: a concurrent, sharded bump-pointer arena for C11 and C++11 onward.
 *
 * An arena hands out blocks by moving a pointer and takes them all back at once. This header is the manual; it has
 * four ideas:
 *
 *   arena       memory from which blocks are bumped and which is given back all at once. Any number of threads share
 *               one without a lock: each thread bumps a private buffer (its TLAB) that lives in the arena.
 *   scope       a private child of an arena, for one owner at a time: a request, a frame, a task. Same type, same calls;
 *               when it ends its memory goes back to the arena at once, for the next one.
 *   block       what a caller gets. It lives until its arena or scope is reset or destroyed; there is no free().
 *   generation  the life of an arena between two resets, counted from 1 in 64 bits.
 *
 *     memarena *arena = memarena_create(0);              // 0: up to the machine's physical memory
 *     struct node *n = memarena_new(arena, struct node); // zeroed; from any thread
 *     int *k = memarena_new_value(arena, int, 42);
 *     char *s = memarena_printf(arena, "%d", *k);
 *     memarena_reset(arena);                             // every block dies; constant time
 *     memarena_destroy(arena);
 *
 * Units       Every size is in bytes. Blocks take a multiple of 8 bytes and lie at multiples of 8.
 * Errors      A call that fails returns NULL (or false), sets errno and has consumed nothing. Nothing here prints
 *             or aborts, but for the debug build. A NULL arena or a pointer that no call returned is undefined, as in
 *             libc; only memarena_destroy takes NULL.
 * Debug       The library built with -DMEMARENA_DEBUG (CMake: -DMEMARENA_DEBUG=ON, or a Debug build) prints one line to
 *             stderr and aborts when an arena or a scope is destroyed while scopes of it are open, when a scope is ended
 *             twice or used after its end (until its memory is used again) or ended by its own deferred call, when two
 *             threads are inside calls on one scope at the same moment, and when a child of vfork takes a block or a scope
 *             (Linux 4.14). Elsewhere all of these are undefined. Your own code need not be compiled anew; all blocks then take
 *             the slow road.
 * Threads     The paragraph "Threads" of a function says who may call it when. Where there is none: any thread at any
 *             time, concurrently with every other call but memarena_destroy. Which pairs the caller must order:
 *
 *                            | allocate, defer | owns, stats | reset           | destroy
 *             allocate, defer| free            | free        | safe (a)        | caller orders
 *             owns, stats    | free            | free        | free (b)        | caller orders
 *             reset          | safe (a)        | free (b)    | safe (c)        | caller orders
 *
 *             (a) The arena stays sound whatever the timing, and a block that raced the reset belongs to one of the two
 *                 generations, but its caller cannot know which; a call that fills its block (zalloc, strdup, realloc's
 *                 copy) may fill a dead one. Order your resets after the last use of the blocks.
 *             (b) Counts read during a reset may belong to either generation.
 *             (c) Each ends a generation of its own, or is refused (EBUSY) while the other runs deferred calls.
 * Callbacks   `on_oom`, the function given to memarena_sample and deferred calls run while no call holds anything: they may
 *             take locks that other users of the arena hold, wait for other threads, fork, and be left by a C++
 *             exception or the end of the thread (pthread_exit, pthread_cancel); not by longjmp.
 *             No call is a cancellation point, but for what your own functions do (`on_oom`, deferred calls, samples).
 * Signals     An allocation from a signal handler is safe on an arena made with MEMARENA_PER_CPU, where the system has
 *             what that needs (stats.per_cpu is 2), whatever it interrupted; `on_oom` then runs there, too. On another
 *             arena only if the interrupted thread was not itself allocating from it: give handlers their own. Scopes,
 *             resets and deferred calls are not for handlers that may have interrupted the same.
 * fork        Parent and child go on independently, each with its own copy of every arena, however the child was made (fork, _Fork,
 *             clone) and whatever the thread that forked was in the middle of: in `on_oom`, a deferred call or a signal
 *             handler. A scope that another thread had open stays open in the child, and its arena's resets are refused there until
 *             somebody ends it; for ever, if that thread was just opening or ending it. A child of vfork shares its parent's
 *             memory and must not allocate.
 * mlockall    In a process that has locked its future memory (MCL_FUTURE) an arena's memory is locked as it is touched, and comes
 *             into memory only then; on systems other than Linux it is not locked. All that is reserved counts against
 *             RLIMIT_MEMLOCK. Linux takes locked memory back (memarena_trim, `retain_bytes`) since 5.18. MCL_CURRENT brings in
 *             the whole capacity of the arenas that are there: call it before, or with MCL_ONFAULT.
 * Copies      Several copies of the library, all of one version, may be in a process and work on one arena: static, shared,
 *             hidden, in plug-ins that are loaded and unloaded while threads live. A thread has one lane, whichever copy it calls. A
 *             copy that cannot see the others gives its threads no lanes, so each of their blocks takes the slow road: one that is
 *             loaded into another namespace (dlmopen) or by a static program, or whose ELF note .note.memarena was removed. No
 *             copy may be unloaded while a thread is in one of its calls, or after memarena_explain_faults was called in it. On
 *             systems other than Windows and those with ELF (macOS) a process may have one copy only.
 * Sanitizers  Under AddressSanitizer and Valgrind memcheck the gaps between blocks and all dead blocks are reported
 *             when touched. This is found out at run time: the same library serves both, and pays nothing otherwise.
 *             Valgrind's other tools (callgrind, massif, dhat ...) see the program as it is. ThreadSanitizer, helgrind and
 *             drd report the program's races, and none in what threads hand to each other through an arena. Under these
 *             three MEMARENA_PER_CPU has no sequences.
 *             Blocks in a caller's `buffer`, or where a reservation of three times the capacity is refused, have no
 *             gaps between them: only dead blocks, and the end of the last one, are reported there. Valgrind is known
 *             if its header valgrind/memcheck.h was there when the library was built.
 * Windows     With mingw-w64, as a static library. The capacity is charged at creation (capacity 0: at most a quarter of what
 *             can still be charged). MEMARENA_HUGE_PAGES and MEMARENA_TRAP_STALE are refused (EINVAL), memarena_trim and
 *             `retain_bytes` give nothing, memarena_explain_faults fails with ENOSYS.
 */
#ifndef MEMARENA_H
#define MEMARENA_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

/* This header's version. Until 1.0 the minor number changes with every change that is not compatible. */
#define MEMARENA_VERSION_MAJOR 0
#define MEMARENA_VERSION_MINOR 1
#define MEMARENA_VERSION_PATCH 0

/* ---- Compiler differences, in one place --------------------------------------------------------------------- */

/* (Attributes are spelt with underscores: others have macros named noinline, printf and the like.) */
#ifdef _WIN32
#define MEMARENA_API
#define MEMARENA_PRINTF_(format_at, first_at) __attribute__((__format__(__MINGW_PRINTF_FORMAT, format_at, first_at)))
#else
#define MEMARENA_API __attribute__((__visibility__("default")))
#define MEMARENA_PRINTF_(format_at, first_at) __attribute__((__format__(__printf__, format_at, first_at)))
#endif
/* How a thread finds its lane: by a distance that is fixed when the program starts. MEMARENA_DLOPEN, of the library and of all that is
 * compiled against it (pkg-config and CMake pass it on), asks by a call instead where that is not known: a libc that keeps no room for
 * libraries that come later (musl) refuses to load the others at run time. */
#ifdef MEMARENA_DLOPEN
#define MEMARENA_TLS_
#else
#define MEMARENA_TLS_ __attribute__((__tls_model__("initial-exec")))
#endif
#define MEMARENA_LIKELY_(condition) __builtin_expect(!!(condition), 1)

/* Every inline function is also an exported symbol of the library, so C99 `inline` (no local copy) is what we mean. */
#if defined(__GNUC_GNU_INLINE__) && !defined(__cplusplus) /* -fgnu89-inline has it the other way round */
#define MEMARENA_INLINE MEMARENA_API extern inline
#else
#define MEMARENA_INLINE MEMARENA_API inline
#endif
#define MEMARENA_FAST_INLINE MEMARENA_INLINE __attribute__((__always_inline__))

#ifdef __cplusplus
#include <new>
#define MEMARENA_ALIGNOF_(type) alignof(type)
#define MEMARENA_CAST_(type, pointer) (static_cast<type>(pointer))
#define MEMARENA_ADDRESS_(pointer) (reinterpret_cast<uintptr_t>(pointer))
#define MEMARENA_POINTER_(type, address) (reinterpret_cast<type>(address))
extern "C" {
#else
#define MEMARENA_ALIGNOF_(type) _Alignof(type)
#define MEMARENA_CAST_(type, pointer) ((type)(pointer))
#define MEMARENA_ADDRESS_(pointer) ((uintptr_t)(pointer))
#define MEMARENA_POINTER_(type, address) ((type)(address))
#endif

/* ---- Types ---------------------------------------------------------------------------------------------------- */

typedef struct memarena memarena; /* opaque; its members below serve the inline code only */

/* Back the blocks with transparent huge pages: first touch is several times cheaper, resident memory comes in steps
 * of 2 MiB. Creation fails with the system's errno where the kernel refuses. */
#define MEMARENA_HUGE_PAGES 1u
/* Touch all of the capacity at creation, so that no block pays a page fault. Creation fails with ENOMEM where the
 * memory is not there: on Linux it looks first at what the machine and the process's memory cgroups have left, swap not
 * counted, since a touch beyond that would end the process. (Another process may take it meanwhile.) */
#define MEMARENA_PREFAULT 2u

/* All threads allocate from the TLABs of the CPUs that they run on, in restartable sequences of the Linux kernel: for
 * programs with more than 64 threads at a time, and for arenas that signal handlers use, too. Without it only threads
 * without a lane of their own do: those beyond the 64th, in an arena below 128 KiB those beyond the eighth. A small block
 * costs some four times as much as from a thread's own TLAB, whatever the number of threads.
 * When such an arena is full, its own blocks do not go into what scopes have given back to the thread that asks (at most
 * 1/256 of the capacity): a signal may have interrupted it there. And a thread that is moved between CPUs just then may
 * have left some bytes behind (stats.tail_bytes).
 * Where the system has no such sequences (memarena_stats says) everything is as without it. */
#define MEMARENA_PER_CPU 4u
/* After a reset the old addresses fault (SIGSEGV), so that a stale pointer is found where it is used, in a production
 * build. A reset moves the pages on to fresh addresses: three system calls, some five microseconds and half a one more for
 * each MiB that is in memory. The address space of 64 generations is kept for that, fewer where that is more than 16 TiB (on
 * 32-bit machines half a GiB); after so many resets addresses are used again. Allocation costs what it does anyway.
 * Seen is what dies by a reset of the arena; what dies with a scope is not. A scope or a deferred call that meets a reset
 * waits for it; an allocation that does (in a signal handler that interrupted the reset, too) may be given a block that is
 * dead, and then faults there (see Threads (a)). Creation fails with EINVAL where the system cannot move pages (Linux 5.7
 * can). Under a sanitizer that is left to the sanitizer, and under Valgrind nothing is trapped. A process that calls mlockall(MCL_FUTURE)
 * does so before it makes such an arena: else each reset fills the fresh addresses with memory. */
#define MEMARENA_TRAP_STALE 8u

/* For `retain_bytes`: the arena finds out what to keep. */
#define MEMARENA_RETAIN_AUTO SIZE_MAX

typedef struct memarena_options { /* a zeroed struct asks for the defaults */
    size_t capacity;     /* hard limit in bytes for blocks; 0: the machine's physical memory, or what the memory
                                     cgroups of the process allow of it (Linux), at least 1 MiB (where the address
                                     space does not hold that, half of what it does hold). Of several arenas that live
                                     with capacity 0, on 64-bit machines, the n-th reserves at most 1/8n of what the
                                     others leave of 64 TiB: so ten thousand have some hundred MiB each, and leave the
                                     rest of the program half of the address space. Address space is reserved; memory is
                                     used only as it is touched */
    void *buffer;        /* the caller's own memory, `capacity` bytes, any alignment: everything, the arena's
                                     bookkeeping included, lives in it (at most 1/8 of it, or 1 KiB where that is more;
                                     4 KiB is enough to work); no system call is made, in any thread, but for
                                     MEMARENA_PER_CPU, which asks once for the number of CPUs, and for a membarrier when
                                     memory is short. The buffer belongs to one process: where several map the same
                                     memory, one of them uses the arena, and no other (CPUs are numbered, and membarrier
                                     speaks, for one process alone). Below 192 KiB there is no room for TLABs and every
                                     block takes the slow road. NULL: memory comes from the OS */
    size_t tlab_bytes;   /* the largest TLAB, a power of two from 64 bytes to 64 MiB; 0: 64 KiB */
    size_t retain_bytes; /* physical memory to keep across a reset, which gives the rest back to the OS, the last
                                     addresses first, but last what this generation has needed (what scopes gave back in
                                     earlier generations goes, too); 0: all. Not with `buffer`. A reset then also reads
                                     65 words, and when more than this has been touched it takes as long as
                                     memarena_trim. Without MEMARENA_HUGE_PAGES such an arena has small pages only, also
                                     where the system gives huge ones unasked: one touch would bring in 2 MiB.
                                     MEMARENA_RETAIN_AUTO: what one of the last 32 to 63 generations has needed; more
                                     goes back at every 32nd reset, if it is more than half as much again and 1 MiB. So
                                     generations that take turns keep what the largest needs, and a peak is given back
                                     once it has not come again. Memory that was prefaulted and never used stays, and
                                     what the system refuses to take (because it is locked) is tried again at the next
                                     reset. The arena has no thread of its own: without resets nothing happens, unless
                                     memarena_trim is called */
    unsigned flags;      /* MEMARENA_HUGE_PAGES | MEMARENA_PREFAULT | MEMARENA_PER_CPU | MEMARENA_TRAP_STALE */
    const char *name;    /* for reports, and where the system lists the process's memory (Linux: /proc/PID/maps shows
                            "memarena: NAME"; not of a `buffer`); copied, cut at 31 bytes; may be NULL */
    bool (*on_oom)(void *context, memarena *arena, size_t size); /* called before a request of `size` bytes fails for
                                     want of memory; true: try once more. What the same thread asks for meanwhile, of whichever
                                     arena, fails without asking again */
    void *on_oom_context;
    void *reserved[4]; /* room to grow; zero */
} memarena_options;

typedef struct memarena_scope_options { /* of memarena_scope_with; a zeroed struct asks for what memarena_scope opens */
    size_t limit_bytes;  /* the most that the scope and the scopes below it may hold; 0: no limit of its own */
    const char *name;    /* for reports; copied, cut at 31 bytes; may be NULL */
    size_t expect_bytes; /* what the scope will probably need; 0: unknown */
    unsigned flags;      /* there are none yet; 0 */
    void *reserved[4];   /* room to grow; zero */
} memarena_scope_options;

#define MEMARENA_STATS_SIZES 24

typedef struct memarena_stats {
    size_t size;            /* of this structure, as far as it was filled */
    size_t capacity_bytes;  /* as memarena_capacity */
    size_t allocated_bytes; /* as memarena_allocated_bytes */
    size_t tlab_bytes;      /* in TLABs, waiting for the thread whose TLAB it is */
    size_t tail_bytes; /* ends of TLABs left behind because the next block did not fit and a neighbour was in the way */
    size_t last_failed_bytes; /* the size that found no room last, even if `on_oom` made some; 0: none so far */
    uint64_t generation;      /* as memarena_generation */
    uint64_t refills;         /* TLABs handed to lanes since creation */
    uint64_t probes;          /* shards found spent on the way, since creation */
    uint64_t direct_blocks;   /* blocks that bypassed the TLABs, since creation */
    uint64_t failed_requests; /* requests answered with NULL for want of memory, since creation */
    unsigned lanes;           /* threads' places that have been used in this arena, at most 64 */
    unsigned watched;         /* 1: a sanitizer is watching, every block takes the slow road */
    unsigned per_cpu;         /* who allocates from the TLABs of CPUs: 0 nobody, 1 threads without a lane, 2 all */
    unsigned cpu_lanes;       /* CPUs' places that have been used in this arena */
    uint64_t open_scopes;     /* of an arena: all below it; of a scope: its own children */
    size_t held_bytes;        /* of a scope: its own extents, whole, not those of scopes opened in it; of an arena: 0 */
    size_t free_extent_bytes; /* given back by scopes, waiting for the next ones; of a scope: 0 */
    size_t free_bytes_by_size[MEMARENA_STATS_SIZES]; /* the same by the size of the extents that they lie in: 1 KiB to
                                                        below 2 KiB, 2 to below 4, and so on; the last: all larger */
    /* Of an arena, and of a scope that of its arena: */
    size_t reserved_bytes; /* address space, bookkeeping included */
    /* Taken from the shards in this generation: allocated, in TLABs, tails and free extents. When nobody allocates, and no
     * sanitizer watches, it is their sum, and up to 1 KiB more for each extent that a thread without a lane took. */
    size_t claimed_bytes;
    size_t peak_bytes;         /* the most that was ever claimed, shard by shard: what may be in physical memory */
    size_t padding_bytes;      /* before blocks that bypassed the TLABs, for their alignment; since creation */
    size_t largest_free_bytes; /* the largest block that there would be room for, free extents aside */
    size_t
        bookkeeping_bytes; /* of reserved_bytes, those that are not for blocks: mostly 16 for each KiB of blocks, touched
                                  only for what scopes give back */
    size_t bookkeeping_resident_bytes; /* of these, in physical memory (memarena_resident_bytes is of blocks): the fixed
                                          part, some 24 KiB, is counted whole; 0 of a caller's buffer */
    const memarena *arena;             /* the arena itself; of a scope the one that it lies in */
    char name[32];                     /* as in memarena_options, a copy; empty: it has none */
    unsigned shards;                   /* of which the first half of a snapshot is made; 0: all of it is the frontier */
} memarena_stats;

/* What lies in one cell of memarena_snapshot. */
typedef struct memarena_cell {
    unsigned char kind; /* one of the following */
    unsigned char lane; /* whose shard, or whose TLAB it is; MEMARENA_CELL_NOBODY: nobody's in particular */
} memarena_cell;

#define MEMARENA_CELL_FREE 0u  /* not claimed in this generation */
#define MEMARENA_CELL_TAKEN 1u /* blocks, in the arena or its scopes, or tails */
#define MEMARENA_CELL_TLAB 2u  /* waits in a TLAB */
#define MEMARENA_CELL_GIVEN_BACK \
    3u /* by scopes, for the next ones (what waits in a lane's own cache counts as taken) */
#define MEMARENA_CELL_NOBODY 255u

typedef struct memarena_position { /* a place in a scope, to go back to; opaque */
    const memarena *scope_;
    uint64_t id_;
} memarena_position;

/* ---- Life ----------------------------------------------------------------------------------------------------- */

/* Creates an arena of `capacity` bytes for blocks, 0 for the machine's physical memory (see memarena_options).
 * Fails: NULL; ENOMEM when the address space does not hold it.
 * Cost:  a handful of system calls, with capacity 0 or MEMARENA_PREFAULT on Linux some three more for each level of memory
 *        cgroups; touches less than 24 KiB. */
MEMARENA_API memarena *memarena_create(size_t capacity);

/* Creates an arena as `options` say.
 * Fails: NULL; EINVAL when an option is out of range or two of them exclude each other (`buffer` with a flag that asks
 *        something of the OS, a buffer too small to work, a reserved member that is not zero); ENOMEM as above. */
MEMARENA_API memarena *memarena_create_with(const memarena_options *options);

/* Opens a scope: a private arena in memory of `parent`, which may be an arena or a scope itself. Every call of this
 * header works on it. It starts with 1 KiB and grows as it is used, up to what is left of the arena; memarena_destroy
 * ends it and gives its memory back to the arena at once, for the next scope.
 * Fails: NULL; ENOMEM when the arena has no room, or a limit above it is reached (memarena_scope_with).
 * Threads: any thread may open one, at any time. The scope itself has one owner at a time: it may be handed to another
 * thread, but two must not use it at once. Scopes opened in it may have other owners.
 * Cost: to open and end it about a hundred instructions, one of them an atomic read-modify-write, however deep it is nested.
 *
 * In C `memarena_scoped(request, arena);` declares a scope `request` that ends with the block, however that is left but by longjmp.
 * NULL, where there is no room, ends like any other; who ends it himself, or keeps it, sets it to NULL. (In C++: marena::scope.) */
MEMARENA_API memarena *memarena_scope(memarena *parent);

/* Opens a scope as memarena_scope does, with a limit, a name or a size.
 *
 * limit_bytes   The scope and the scopes below it never hold more of the arena than this, extents counted whole (held_bytes of the
 *               stats, the memory kept for the next round included). A block that would need more fails with ENOMEM, after
 *               `on_oom` was asked as usual. Each limit above a scope holds for it: a limit is never widened by one below it.
 *               The limits of several scopes may add up to more than their parent's, or the arena's capacity. A limit sets nothing
 *               aside. Extents are multiples of 1 KiB, and the first one is taken when the scope is opened: a limit below 1 KiB
 *               refuses the scope itself. What memarena_keep leaves in a scope stays charged to that scope and those above it; what it
 *               leaves in an arena is charged to nobody.
 * expect_bytes  The first extent holds so many bytes of blocks, if the arena and the limits have them in one piece. Else the
 *               scope begins with 1 KiB.
 * Fails: NULL; EINVAL: no options, unknown flags, or a reserved word is set; ENOMEM: the arena has no room, or a limit is reached.
 * Threads: as memarena_scope. Scopes below one limit may belong to different threads.
 * Cost: as memarena_scope when that finds no scope to open again: some hundred instructions. A scope with a limit, or below one, takes
 *       an atomic read-modify-write for each limit above it and each extent, and no more for each block. */
MEMARENA_API memarena *memarena_scope_with(memarena *parent, const memarena_scope_options *options);

/* Ends a scope and lets its blocks live on: as blocks of its parent, of an arena until that is reset, of a scope until that is rewound
 * to a mark from before this call, reset or ended. They stay where they are, and are not touched. Its deferred calls become the newest
 * ones of the parent, in their order. Marks taken in it are none any more, and a resource of it (C++) gives nothing. What it has taken
 * and no block lies in goes back to the arena, but for less than 1 KiB of each of its extents; what is left counts in an arena as
 * handed out, whole, as it did before; in a scope each block for itself.
 * Fails: false, and nothing has changed; EINVAL: an arena; EBUSY while a scope or a burst of it is open, or its own deferred calls run.
 * Threads: who owns the scope, and its parent, if that is a scope. An arena is everybody's, and may be reset at the same moment: the
 *          reset is refused (EBUSY), or ends the generation with all these blocks.
 * Cost:    as to end it. With a parent that is a scope it is the same, however deep; and a look at each extent and each deferred call. */
MEMARENA_API bool memarena_keep(memarena *scope);

/* Runs the deferred calls, then gives all memory back: of an arena to the system, of a scope to its arena. NULL is
 * fine. Scopes opened in it must have been ended before; nothing is to be ended twice.
 * An arena in a caller's `buffer` must be destroyed, too, before that memory is used for anything else, also when the buffer
 * is on the stack: under a sanitizer the arena has marked what no block uses in it, and whatever lies there next would be
 * reported for touching it.
 * Threads: any thread, after every other use of the arena or scope. */
MEMARENA_API void memarena_destroy(memarena *arena);

/* Runs the deferred calls, then ends the generation: all blocks die, the whole capacity is free again, its memory stays
 * mapped for reuse. Of a scope: what the round that ends has used stays with it, for the next one, and what it has not used of what
 * it had kept before goes back to the arena.
 * Fails: false, and nothing has changed; ENOMEM with MEMARENA_TRAP_STALE when the system has no room in its tables;
 *        EBUSY while a scope of it is open, of a scope also while a burst of it is; while another thread's reset runs deferred
 *        calls; and when a thread stays in the middle of memarena_defer although it was let run some times. A program that orders
 *        its resets after its scopes, bursts and defers never sees it. (When a scope is opened while a reset runs deferred calls,
 *        these have run when it is refused.)
 * Cost:  constant, whatever was allocated, however large the arena, however many threads used it: a few atomic
 *        operations, and one more for each lane that holds a TLAB, at most 64 (and the deferred calls). */
MEMARENA_API bool memarena_reset(memarena *arena);

/* Gives physical memory that no block uses back to the OS, until no more than `keep` bytes of the arena's memory, those
 * of blocks included, are in memory, and on top of these the bookkeeping of memory that this generation has not used and that is
 * not in memory itself. (After a peak of scopes: reset, then trim.) The addresses stay the arena's; when they are used again they are touched anew, at
 * the price of a page fault each. The last addresses go first, then what scopes have given back. Of a scope: as of its
 * arena. In a caller's buffer nothing is given.
 * `keep` MEMARENA_RETAIN_AUTO, of an arena made with it: as at the end of a generation, but of what this one has used nothing
 * is given. For a program that is idle: called once a second it gives a peak back within a minute or so, as 64 resets would.
 * Of another arena nothing is given.
 * Returns: the bytes of blocks given, whole pages; fewer than could be had when another thread's request would otherwise have
 *          found no room.
 * Threads: any thread, at any time; never touches a live block. While it runs it counts as an open scope: a reset is
 *          refused with EBUSY. So does a reset with `retain_bytes` while it gives memory back.
 * Cost:   as of memarena_resident_bytes, and a system call for each MiB given. */
MEMARENA_API size_t memarena_trim(memarena *arena, size_t keep);

/* ---- Allocate: never aborts, never prints; NULL means that nothing was consumed -------------------------------- */

/* Common to all. Fails: NULL; ENOMEM when the arena has no room for the block (smaller ones may still succeed).
 * Cost: some ten instructions without atomic read-modify-write while the TLAB lasts; one compare-and-swap when it
 * is spent or the block is large. Size 0 gives a distinct address and takes 8 bytes. Contents are undefined unless
 * said. */

/* A block aligned for any object that fits into it: at a multiple of the largest power of two that is not above `size`, but of 8
 * at least and of the alignment of max_align_t at most. Where that is 16, up to 15 bytes lie at a multiple of 8 and take no
 * padding, and 24 bytes take 32 with theirs. What needs only its own alignment is better served by memarena_new, or by
 * memarena_alloc_aligned(arena, sizeof(T), alignof(T)). */
MEMARENA_INLINE void *memarena_alloc(memarena *arena, size_t size);

/* A block at a multiple of `alignment`, any power of two. Fails also: EINVAL when it is not. */
MEMARENA_INLINE void *memarena_alloc_aligned(memarena *arena, size_t size, size_t alignment);

/* As memarena_alloc, all bytes zero. A block of more than 64 KiB in memory that the arena has from the OS and has never given
 * out is zero as it is: it is not written, and comes into memory only as it is used. (So with memarena_calloc and
 * memarena_new_array; not in scopes.) */
MEMARENA_INLINE void *memarena_zalloc(memarena *arena, size_t size);

/* `count` elements of `size` bytes, all zero. Fails also when count * size overflows: ENOMEM. */
MEMARENA_API void *memarena_calloc(memarena *arena, size_t count, size_t size);

/* Gives the block `new_size` bytes and returns where it is now. `old_size` is the size it was last asked with. In place
 * when it is the last block that this thread took and there is room behind it, or when it is shrunk (what it gives up
 * can be had again only if it was such a last block); otherwise a new block with the alignment of memarena_alloc is
 * filled from the old one, which stays as it was until the generation ends. In place it is aligned as it was: one of 8 bytes
 * that grows may not be for a type that needs 16. On NULL, too, the old block is untouched.
 * `block` NULL: memarena_alloc. */
MEMARENA_API void *memarena_realloc(memarena *arena, void *block, size_t old_size, size_t new_size);

/* As memarena_realloc, of a block that lies at a multiple of `alignment`, any power of two: it does so also where it is moved to,
 * under a sanitizer, too. (A block that does not is moved, even if it is to shrink.) `block` NULL: memarena_alloc_aligned.
 * Fails also: EINVAL when it is no power of two; the block is as it was. */
MEMARENA_API void *memarena_realloc_aligned(memarena *arena, void *block, size_t old_size, size_t new_size,
                                            size_t alignment);

/* Takes the last block back: if `block` is the last one that this thread took there, its bytes are free again, for the next
 * one. `size` is the size it was last asked with. What lies before it for its alignment stays taken.
 * Fails: false, and nothing has changed: it is not the last one; or it lies in what a scope had given back, which a full arena
 *        takes its last blocks from; or this thread shares its TLAB with others (MEMARENA_PER_CPU, no lane, or no room
 *        for TLABs), and they have taken a block behind it, or it has been moved to another CPU since, or has taken blocks
 *        of two other such arenas. */
MEMARENA_API bool memarena_drop_last(memarena *arena, void *block, size_t size);

/* Typed, as macros:
 *   T *memarena_new(arena, T)                a zeroed T
 *   T *memarena_new_value(arena, T, ...)     a T initialised from { ... }
 *   T *memarena_new_array(arena, T, count)   `count` zeroed Ts; overflow of the product: NULL, ENOMEM */

/* ---- Bursts ----------------------------------------------------------------------------------------------------- */

/* memarena_burst: for a loop of one thread that makes many blocks. The place of the next block lies in a variable of the loop, which
 * the compiler keeps in a register.
 *
 *     memarena_burst burst = memarena_burst_begin(arena);
 *     for (size_t i = 0; i < count; i++) list = push(memarena_burst_new(&burst, struct node), list);
 *     memarena_burst_end(&burst);
 *
 * Blocks are ordinary blocks of the arena or scope. While a burst is open its thread may use all other calls of the arena, and open
 * further bursts. The blocks of these are then taken apart from those of the first burst, on the slow road.
 *
 * memarena_burst   A variable of the function that begins the burst. It is passed on by address only. It belongs to the thread that began
 *                  it, and holds up to a TLAB, or what a scope has left of an extent. The thread ends each burst before it ends
 *                  itself, and before it resets or destroys the arena or scope. One that is never ended holds on to its memory until
 *                  then, and makes other blocks of its thread slow.
 * Accounts         What an open burst holds counts as allocated. After the end they are exact.
 * Errors           As of memarena_alloc. A burst stays usable after a block that could not be had, also when `on_oom` or a
 *                  function given to memarena_sample was left by a C++ exception. These may use the burst, but not end it.
 * Threads          Another thread may reset the arena meanwhile: see (a) of "Threads" above. The next block is of the new generation.
 * Signals          As of the arena. With MEMARENA_PER_CPU a handler may allocate, and begin and end bursts, whatever it interrupted. The
 *                  first burst of a thread leases its lane, which needs the C library: better not in a handler.
 * fork             In the child of the thread that forked the burst goes on. What bursts of other threads held is lost there until the
 *                  next reset.
 * Resizing         memarena_realloc moves the last block of an open burst where it would have grown in place; memarena_drop_last
 *                  answers false.
 * Scopes           While a burst of a scope is open, memarena_rewind, memarena_reset and memarena_keep of that scope fail with
 *                  EBUSY. A mark taken then counts what the burst holds as older than the mark: rewinding to it does not give
 *                  that back.
 * Cost             A block takes some six instructions, and one access to memory besides the block itself. To begin and end a
 *                  burst takes about twenty instructions while the TLAB lasts. With MEMARENA_PER_CPU a burst takes runs of at most 4 KiB
 *                  from the TLAB of the CPU; blocks of more than a quarter of that, and those of threads beyond the 64th take the
 *                  usual road. So do all blocks in an arena without lanes, under a sanitizer and in the debug build. */
typedef struct memarena_burst {
    uintptr_t cursor_;
    memarena *range_; /* its end is read at each block, so that a reset can end what the burst holds */
    memarena *arena_;
} memarena_burst;

/* Begins a burst in an arena or a scope. Never fails, takes no memory. */
MEMARENA_INLINE memarena_burst memarena_burst_begin(memarena *arena);
/* A block as of memarena_alloc_aligned. `size` and `alignment` are best constants. */
MEMARENA_INLINE void *memarena_burst_alloc(memarena_burst *burst, size_t size, size_t alignment);
/* Gives back what was not used: to the thread's TLAB, the scope or the CPU's TLAB. What cannot go back, as another block was taken
 * behind it, counts as tail (stats.tail_bytes). */
MEMARENA_INLINE void memarena_burst_end(memarena_burst *burst);

/* Typed, as macros:
 *   T *memarena_burst_new(burst, T)          a zeroed T, in a burst */

/* ---- Strings and copies ---------------------------------------------------------------------------------------- */

/* A copy of `size` bytes, aligned as by memarena_alloc. */
MEMARENA_API void *memarena_memdup(memarena *arena, const void *bytes, size_t size);
/* A copy of a string. Text blocks lie at multiples of 8. */
MEMARENA_API char *memarena_strdup(memarena *arena, const char *string);
/* A copy of at most `max` bytes of a string, terminated. `string` itself need not be, within those. */
MEMARENA_API char *memarena_strndup(memarena *arena, const char *string, size_t max);
/* printf into a block of the right size. Where the thread's own TLAB, or the scope, has room for the text (memarena_room) it is
 * formatted right there, once; so what the arguments call (hooks of printf, signal handlers) must not take the arena's last block
 * back. Fails also with the errno of vsnprintf (EILSEQ, EOVERFLOW). */
MEMARENA_API char *memarena_printf(memarena *arena, const char *format, ...) MEMARENA_PRINTF_(2, 3);
MEMARENA_API char *memarena_vprintf(memarena *arena, const char *format, va_list args) MEMARENA_PRINTF_(2, 0);

/* ---- Go back ---------------------------------------------------------------------------------------------------- */

/* The place where a scope is now. Takes 64 bytes of it at most, and nothing if nothing happened since the last mark. In
 * an arena (EINVAL), and when a scope has no room for it (ENOMEM), it is a place that memarena_rewind refuses. */
MEMARENA_API memarena_position memarena_mark(memarena *scope);
/* Goes back: runs the calls deferred since, last in first out, then all blocks since die. The memory that was taken for them stays
 * with the scope for the next round; what this round, from the last rewind to this mark on, has not used of it goes back to the arena.
 * So a round like the one before takes nothing from the arena. The mark stays valid, those taken after it do not. Scopes that were opened in this
 * one are not touched.
 * Fails: false, nothing has changed; EINVAL: not a scope, not a mark of it, or one from behind a place that it was
 * taken back to; EBUSY: in a deferred call of the scope, or while a burst of it is open. */
MEMARENA_API bool memarena_rewind(memarena *scope, memarena_position mark);

/* ---- Clean up -------------------------------------------------------------------------------------------------- */

/* Has `fn(arg)` called when the generation ends (memarena_reset or memarena_destroy; in a scope also memarena_rewind),
 * in the thread that ends it, last in first out, each exactly once; blocks are still valid then, and `fn` may use the
 * arena, but not destroy it. What such a call defers runs next. A call that is left by a C++ exception, or in which its thread
 * ends (pthread_cancel), has run; the arena stays as it was and usable, and those that have not run stay deferred, for the next
 * reset or destroy. (If the library's sources are compiled without CMake: with -fexceptions.) longjmp must not leave such a call:
 * resets of the arena would be refused for ever.
 * Takes 24 bytes of the arena at most, and as much again where a reset comes between. Fails: false; ENOMEM, and fn will not be
 * called.
 * Threads: on an arena any, at any time. While another thread's reset runs deferred calls it gives up the processor some
 *          times first, so that a reset ends however many threads defer without a pause. */
MEMARENA_API bool memarena_defer(memarena *arena, void (*fn)(void *), void *arg);

/* Undoes memarena_defer: the newest call of `fn(arg)` that is deferred there and has not run will not run. However reset, destroy and
 * this call race, a deferred call either runs or was undone, never both. What it took of the arena stays taken.
 * Fails: false, errno as it was; there is no such call, or the last one has just begun.
 * Threads: as memarena_defer. A reset waits for it as for memarena_defer. (A destroy does not, nor is it to meet one.)
 * Cost:   looks at the calls deferred since that one, the newest first. */
MEMARENA_API bool memarena_undefer(memarena *arena, void (*fn)(void *), void *arg);

/* ---- Look ------------------------------------------------------------------------------------------------------ */

/* Bytes handed to callers in this generation, their padding included. Exact when no other thread is allocating and no burst is open;
 * never above the capacity. Of an arena: the extents of open scopes are counted whole. Of a scope: its own blocks; what scopes
 * that were opened in it have taken is theirs. Cost: reads every lane in use. */
MEMARENA_API size_t memarena_allocated_bytes(const memarena *arena);
/* Bytes that have been taken of the arena in this generation, spans whole: blocks, TLABs, what they left behind, and the extents of
 * scopes, open and ended: as `claimed_bytes` of the stats. A figure to decide by after every write. Exact unless a thread is in the
 * middle of a claim, that is of a refill, of a large block or of an extent: of each of these it may lack what is being claimed, or
 * still have what is being given back. So it is above memarena_allocated_bytes whenever no thread is. Of a scope: the bytes of its
 * extents; it is its owner's to ask. Cost: three loads. */
MEMARENA_API size_t memarena_claimed_bytes(const memarena *arena);
/* How many bytes a block of this thread could have now, at a multiple of 8, without a refill: what is left of its TLAB, or of the
 * extent that the scope is filling. 0 where there is no TLAB: none yet in this generation, a small buffer, a sanitizer watching.
 * A hint where others take from the same TLAB (MEMARENA_PER_CPU, or no lane), or the arena is being reset.
 * Cost: some ten loads. */
MEMARENA_API size_t memarena_room(const memarena *arena);
/* The addresses that all blocks lie in, those of scopes too: `bytes` from `base`, for as long as the arena lives. For io_uring, RDMA or
 * a debugger. With MEMARENA_TRAP_STALE these are the addresses of all generations, and most of them fault; under a sanitizer the gaps
 * between blocks are among them. Of a scope: of its arena. Either pointer may be NULL. Returns: true. */
MEMARENA_API bool memarena_range(const memarena *arena, void **base, size_t *bytes);
/* Bytes that blocks can take, to the last one: what was asked for, less the bookkeeping in a caller's buffer, cut to a multiple
 * of 8. */
MEMARENA_API size_t memarena_capacity(const memarena *arena);
/* 1 after creation, one more after each reset. */
MEMARENA_API uint64_t memarena_generation(const memarena *arena);
/* Whether the address lies in the memory from which this arena takes its blocks, live or dead. */
MEMARENA_API bool memarena_owns(const memarena *arena, const void *address);
/* Fills `stats`; `stats_size` is sizeof(memarena_stats) of the caller, so that old programs run with new libraries. Cost: reads
 * every lane in use, and where scopes have been opened looks at the state of each page of bookkeeping that they may have
 * reached, 1/64 of what memarena_resident_bytes looks at. */
MEMARENA_API void memarena_get_stats(const memarena *arena, memarena_stats *stats, size_t stats_size);

/* ---- Stale pointers ---------------------------------------------------------------------------------------------- */

/* A pointer that knows its generation, in 64 bits. 0 refers to nothing. */
typedef uint64_t memarena_reference;

/* Of a live block of the arena, or of a scope in it: the arena's generation is meant, the end of a scope is not seen. To keep
 * what the pointer would be kept in: hash tables, other processes' requests, long-lived structures.
 * Fails: 0, EINVAL: not an address at a multiple of 8 in this generation's blocks. */
MEMARENA_API memarena_reference memarena_ref(const memarena *arena, const void *block);
/* The block; NULL when its generation is over (or `reference` is 0, or leads out of the arena). Generations are told apart
 * by as many bits as the capacity leaves of 64: 40 for 64 MiB, 31 for 32 GiB. Cost: some ten instructions. */
MEMARENA_API void *memarena_deref(const memarena *arena, memarena_reference reference);
/* Has a fault at a stale address explained: a handler for SIGSEGV prints one line to stderr, which names the arena (of the
 * first 64 with MEMARENA_TRAP_STALE) and the generation that is over, and then hands the signal on to the handler
 * before it, or to the system, which ends the process as ever. Call it once, after other handlers were installed.
 * Fails: false, with the errno of sigaction. */
MEMARENA_API bool memarena_explain_faults(void);

/* ---- Look closer (as JSON, for Prometheus, and as pictures: memarena/look.h, a library of its own) ----------------- */

/* The bytes of the arena's blocks that are in physical memory now, those of a scope's arena; 0 of a caller's buffer, which
 * is the caller's to know. Cost: one look at the state of each page that blocks have ever reached (stats.peak_bytes), and
 * of up to 2 MiB more in each shard; a millisecond for some GiB. */
MEMARENA_API size_t memarena_resident_bytes(const memarena *arena);

/* Reports a sample of the blocks to a profiler: from now on the thread that gets a block calls `fn` before it returns, for
 * one block for each `bytes` bytes handed out on average, chosen by chance: with the size that was asked for, and a
 * `weight`, the bytes that it stands for. The sum of the weights is an unbiased estimate of the bytes handed out, padding
 * included, in all and for each call site. (A block of many times `bytes` is always chosen, with about its own size.)
 * With `bytes` below 16 every block is, with exactly what it takes. 0: nothing any more. The last call counts; `fn` and
 * `context` must be usable until calls of `fn` that were under way have returned.
 * Blocks of scopes are reported, with the scope as `arena`; the memory that scopes take from the arena is not, nor are
 * marks. What memarena_defer takes is a block. One that memarena_realloc grows in place is one of as many bytes as it grows
 * by: it may be reported, with its new size, a second time.
 * `fn` may allocate from the arena, which is not reported, and may call all but memarena_reset, memarena_rewind and
 * memarena_destroy on where the block is from. Signal handlers that allocate call it, too.
 * Fails: false, nothing has changed; EINVAL: a scope, or no `fn`; EBUSY: another thread stays in the middle of this call (10 ms).
 * Threads: any thread at any time, but not a signal handler. Where others allocate meanwhile they follow at their next
 *          block; in a scope that is open, and in a CPU's TLAB that is just being exchanged, perhaps only when its memory is
 *          spent.
 * Cost:   nothing for blocks that are not reported (for each, in an arena whose blocks all take the slow road, some
 *         hundred instructions); for a TLAB, and for a scope that begins or is rewound, some hundred. */
MEMARENA_API bool memarena_sample(memarena *arena, size_t bytes,
                                  void (*fn)(void *context, memarena *arena, void *block, size_t size, size_t weight),
                                  void *context);

/* Prints a page for people: what the arena has, who holds it, what was refused and what would have fitted. May be called
 * from `on_oom`. Of a scope, for its owner: what it has, each limit that holds for it with what is held below that limit, then its
 * arena. A byte of a name that is no part of printable UTF-8 is shown as a question mark. Fails: false, with the errno of fprintf. */
MEMARENA_API bool memarena_report(const memarena *arena, FILE *file);

/* What the arena's memory is used for, as `count` cells in the order of addresses: the first half are the 64 shards, each the home
 * of one lane or two, the second half is the frontier. Of a live arena: cells that change meanwhile may show either
 * state. Of a scope: its arena. Returns the bytes of a cell; the last ones may lie behind the end, and are free then. */
MEMARENA_API size_t memarena_snapshot(const memarena *arena, memarena_cell *cells, size_t count);

/* The version of the library that runs, "0.1.0"; it may be newer than the header's. */
MEMARENA_API const char *memarena_version(void);

/* ---- Behind the calls: exported for the inline code, not for you ---------------------------------------------- */

/* What the inline code sees of an arena, and all there is of a lane: a range to bump.
 *
 * A thread's lane lies at `arena + memarena_lane_offset_`. The offset is 0 for a thread that has no lane yet, which
 * names the arena itself: that range is always empty there. Bit 6 of the arena's own address says whether it has lanes
 * at all; without them, too, the arena's own range serves. So one code path, free of branches, finds the range.
 *
 * `cursor_` is written by the owner only. `end_` is written by the owner, and set to 0 by memarena_reset to make the
 * range empty, from any thread; relaxed order suffices for both since neither publishes other data (see MEMORY_ORDER).
 * Nothing can wrap: sizes are bounded first, and no TLAB lies in the last MiB of the address space. */
struct memarena {
    uintptr_t cursor_; /* address of the next free byte, a multiple of 8 */
    uintptr_t end_;    /* address of the end; 0: empty */
};

#define MEMARENA_LANES_BIT_ 6u
#define MEMARENA_INLINE_MAX_ 65536u /* larger blocks and alignments are left to the slow road */
/* How far behind a block its successors are fetched: stores become visible in order, so one into a line that is not there
 * yet holds up the next `cursor_`. Two lines are enough where memory is in a second-level cache, but come too late from
 * further away, where eight do as well as no limit at all (see bench/README.md). */
#define MEMARENA_AHEAD_ 512u

extern MEMARENA_API __thread uintptr_t memarena_lane_offset_ MEMARENA_TLS_;
/* What `cursor_` of this thread's lane, or of its scope, says while a burst holds the range: it is odd, and behind every end. */
extern MEMARENA_API __thread uintptr_t memarena_held_ MEMARENA_TLS_;

/* The slow road: every case. The second one aligns as the size needs it, the third one also checks `alignment`, which the first
 * knows to be a power of two. */
MEMARENA_API void *memarena_alloc_slow_(memarena *arena, size_t size, size_t alignment);
MEMARENA_API void *memarena_alloc_any_slow_(memarena *arena, size_t size);
MEMARENA_API void *memarena_alloc_aligned_slow_(memarena *arena, size_t size, size_t alignment);
MEMARENA_API void *memarena_calloc_aligned_(memarena *arena, size_t count, size_t size, size_t alignment);

/* For memarena.hpp. memarena_defer with its memory at `record`: MEMARENA_RECORD_BYTES_ in a block that memarena_alloc_slow_
 * gave after memarena_generation had said `generation`. Fails: false, EBUSY; a reset has ended that generation since. */
#define MEMARENA_RECORD_BYTES_ 24u
MEMARENA_API bool memarena_defer_at_(memarena *arena, void *record, uint64_t generation, void (*fn)(void *), void *arg);
/* Two words that live as long as the arena or scope, resets and rewinds included, and that the library leaves alone. */
MEMARENA_API void *memarena_place_(memarena *arena);

/* What every object is content with that fits into `size` bytes: the largest power of two that is not above `size`, but at
 * least 8 and at most the alignment of max_align_t, which is 8, 16 or 32. */
#define MEMARENA_MAX_ALIGNMENT_ MEMARENA_ALIGNOF_(max_align_t)
#define MEMARENA_ALIGNMENT_FOR_(size) \
    ((size) >= MEMARENA_MAX_ALIGNMENT_ ? MEMARENA_MAX_ALIGNMENT_ : (size) >= 16 ? 16u : 8u)

/* `asked`: an alignment, a power of two of at most MEMARENA_INLINE_MAX_, best a constant; 0: as the size needs it. */
MEMARENA_FAST_INLINE void *memarena_bump_(memarena *arena, size_t size, size_t asked)
{
    size_t alignment = asked != 0 ? asked : MEMARENA_ALIGNMENT_FOR_(size);
    uintptr_t lanes_mask = 0u - (MEMARENA_ADDRESS_(arena) >> MEMARENA_LANES_BIT_ & 1u);
    uintptr_t lane_address = MEMARENA_ADDRESS_(arena) + (memarena_lane_offset_ & lanes_mask);
    struct memarena *lane = MEMARENA_POINTER_(struct memarena *, lane_address);
    if (MEMARENA_LIKELY_(size - 1 < MEMARENA_INLINE_MAX_)) { /* neither 0 nor large */
        uintptr_t grain = 7, slack = alignment - 1, next;
        uintptr_t bytes = (size + grain) & ~grain;
        uintptr_t block = __atomic_load_n(&lane->cursor_, __ATOMIC_RELAXED);
        if (__builtin_constant_p(alignment <= 8) && alignment <= 8) {
            next = block + bytes;
        } else if (__builtin_constant_p(bytes) && (bytes & slack) == 0) {
            next = (block + slack + bytes) & ~slack; /* the same as below, but the next call waits one step less */
            block = next - bytes;
        } else if (MEMARENA_MAX_ALIGNMENT_ <= 16 && asked == 0) { /* the same as below, as it lies at a multiple of 8 */
            uintptr_t full = size >= MEMARENA_MAX_ALIGNMENT_;
            block += block & full * (MEMARENA_MAX_ALIGNMENT_ - 8);
            next = block + bytes;
        } else {
            block = (block + slack) & ~slack;
            next = block + bytes;
        }
        if (MEMARENA_LIKELY_(next <= __atomic_load_n(&lane->end_, __ATOMIC_RELAXED))) {
            __atomic_store_n(&lane->cursor_, next, __ATOMIC_RELAXED);
            __builtin_prefetch(MEMARENA_POINTER_(const void *, next + MEMARENA_AHEAD_), 1);
            if (block == 0) __builtin_unreachable(); /* spares the caller its test for NULL (gcc) */
            return MEMARENA_POINTER_(void *, block);
        }
    }
    if (asked == 0 && !__builtin_constant_p(alignment)) return memarena_alloc_any_slow_(arena, size);
    return memarena_alloc_slow_(arena, size, alignment);
}

MEMARENA_FAST_INLINE void *memarena_bump_zero_(memarena *arena, size_t size, size_t alignment)
{
    if (MEMARENA_LIKELY_(size - 1 < MEMARENA_INLINE_MAX_)) { /* as in memarena_bump_, which asks no more then */
        void *block = memarena_bump_(arena, size, alignment);
        return block ? memset(block, 0, size) : block;
    }
    return memarena_calloc_aligned_(arena, 1, size, alignment);
}

MEMARENA_FAST_INLINE void *memarena_bump_copy_(memarena *arena, const void *value, size_t size, size_t alignment)
{
    void *block = memarena_bump_(arena, size, alignment);
    if (block) memcpy(block, value, size);
    return block;
}

/* The product is checked here so that it folds for a constant size; the slow road answers an overflow. */
MEMARENA_FAST_INLINE void *memarena_bump_array_(memarena *arena, size_t count, size_t size, size_t alignment)
{
    if (size != 0 && count > SIZE_MAX / size) return memarena_calloc_aligned_(arena, count, size, alignment);
    return memarena_bump_zero_(arena, count * size, alignment);
}

MEMARENA_INLINE void *memarena_alloc(memarena *arena, size_t size)
{
    return memarena_bump_(arena, size, 0);
}

MEMARENA_INLINE void *memarena_alloc_aligned(memarena *arena, size_t size, size_t alignment)
{
    if (__builtin_constant_p(alignment) && alignment - 1 < MEMARENA_INLINE_MAX_ && (alignment & (alignment - 1)) == 0)
        return memarena_bump_(arena, size, alignment);
    return memarena_alloc_aligned_slow_(arena, size, alignment);
}

MEMARENA_INLINE void *memarena_zalloc(memarena *arena, size_t size)
{
    return memarena_bump_zero_(arena, size, MEMARENA_ALIGNMENT_FOR_(size));
}

MEMARENA_INLINE void memarena_scoped_end_(memarena **scope)
{
    memarena_destroy(*scope);
}

#define memarena_scoped(name, parent) \
    __attribute__((__cleanup__(memarena_scoped_end_))) memarena *name = memarena_scope(parent)
/* ---- Bursts: see src/arena/burst.c ---- */

#define MEMARENA_BURST_NOWHERE_ (UINTPTR_MAX - 0xFFFFFu) /* a cursor behind every end; no sum of it wraps */

/* What the slow road answers, in two registers. */
typedef struct memarena_burst_step_ {
    void *found; /* the block; or the range of a new burst */
    uintptr_t cursor;
} memarena_burst_step_;

/* (Cold: gcc then puts the calls of these behind the loop, not into it.) */
MEMARENA_API __attribute__((__cold__)) memarena_burst_step_ memarena_burst_begin_slow_(memarena *arena);
MEMARENA_API __attribute__((__cold__)) memarena_burst_step_
memarena_burst_alloc_slow_(memarena *arena, uintptr_t cursor, size_t size, size_t alignment);
MEMARENA_API __attribute__((__cold__)) void memarena_burst_end_slow_(memarena *arena, uintptr_t cursor);

MEMARENA_FAST_INLINE memarena_burst memarena_burst_begin(memarena *arena)
{
    uintptr_t lanes_mask = 0u - (MEMARENA_ADDRESS_(arena) >> MEMARENA_LANES_BIT_ & 1u);
    uintptr_t range_address = MEMARENA_ADDRESS_(arena) + (memarena_lane_offset_ & lanes_mask);
    struct memarena *range = MEMARENA_POINTER_(struct memarena *, range_address);
    uintptr_t cursor = __atomic_load_n(&range->cursor_, __ATOMIC_RELAXED);
    uintptr_t end = __atomic_load_n(&range->end_, __ATOMIC_RELAXED);
    memarena_burst burst;
    burst.arena_ = arena;
    if (MEMARENA_LIKELY_(cursor < end)) {
        burst.cursor_ = cursor;
        burst.range_ = range;
        __atomic_store_n(&range->cursor_, memarena_held_, __ATOMIC_RELAXED);
    } else {
        memarena_burst_step_ step = memarena_burst_begin_slow_(arena);
        burst.cursor_ = step.cursor;
        burst.range_ = MEMARENA_CAST_(memarena *, step.found);
    }
    return burst;
}

/* `alignment`: as in memarena_bump_, not 0. (The empty statement keeps gcc from making one branch of the two, by four instructions
 * more.) The slow road is given what it needs, and not the burst: then that need not lie in memory. */
MEMARENA_FAST_INLINE void *memarena_burst_bump_(memarena_burst *burst, size_t size, size_t alignment)
{
    if (MEMARENA_LIKELY_(size - 1 < MEMARENA_INLINE_MAX_)) { /* neither 0 nor large */
        uintptr_t grain = 7, slack = alignment - 1, next, block = burst->cursor_;
        if (!__builtin_constant_p(size)) __asm__ volatile("");
        uintptr_t bytes = (size + grain) & ~grain;
        if (__builtin_constant_p(alignment <= 8) && alignment <= 8) {
            next = block + bytes;
        } else if (__builtin_constant_p(bytes) && (bytes & slack) == 0) {
            next = (block + slack + bytes) & ~slack; /* as in memarena_bump_ */
            block = next - bytes;
        } else {
            block = (block + slack) & ~slack;
            next = block + bytes;
        }
        if (MEMARENA_LIKELY_(next <= __atomic_load_n(&burst->range_->end_, __ATOMIC_RELAXED))) {
            burst->cursor_ = next;
            if (block == 0) __builtin_unreachable(); /* spares the caller its test for NULL (gcc) */
            return MEMARENA_POINTER_(void *, block);
        }
    }
    {
        memarena_burst_step_ step = memarena_burst_alloc_slow_(burst->arena_, burst->cursor_, size, alignment);
        burst->cursor_ = step.cursor;
        return step.found;
    }
}

MEMARENA_FAST_INLINE void *memarena_burst_alloc(memarena_burst *burst, size_t size, size_t alignment)
{
    if (MEMARENA_LIKELY_(alignment - 1 < MEMARENA_INLINE_MAX_ && (alignment & (alignment - 1)) == 0))
        return memarena_burst_bump_(burst, size, alignment);
    {
        memarena_burst_step_ step = memarena_burst_alloc_slow_(burst->arena_, burst->cursor_, size, alignment);
        burst->cursor_ = step.cursor;
        return step.found;
    }
}

MEMARENA_FAST_INLINE void *memarena_burst_zero_(memarena_burst *burst, size_t size, size_t alignment)
{
    void *block = memarena_burst_bump_(burst, size, alignment);
    return block ? memset(block, 0, size) : block;
}

/* Where the end is below the cursor something has happened meanwhile, and where it is odd the burst has a run: the slow road knows
 * more. */
MEMARENA_FAST_INLINE void memarena_burst_end(memarena_burst *burst)
{
    uintptr_t cursor = burst->cursor_, end = __atomic_load_n(&burst->range_->end_, __ATOMIC_RELAXED);
    burst->cursor_ = MEMARENA_BURST_NOWHERE_;
    if (MEMARENA_LIKELY_(cursor - 1 < end && (end & 1) == 0)) {
        __atomic_store_n(&burst->range_->cursor_, cursor, __ATOMIC_RELAXED);
    } else {
        memarena_burst_end_slow_(burst->arena_, cursor);
    }
}

#define memarena_burst_new(burst, T) MEMARENA_CAST_(T *, memarena_burst_zero_((burst), sizeof(T), MEMARENA_ALIGNOF_(T)))

#define memarena_new(arena, T) MEMARENA_CAST_(T *, memarena_bump_zero_((arena), sizeof(T), MEMARENA_ALIGNOF_(T)))

#define memarena_new_array(arena, T, count) \
    MEMARENA_CAST_(T *, memarena_bump_array_((arena), (count), sizeof(T), MEMARENA_ALIGNOF_(T)))

#ifdef __cplusplus
} /* extern "C" */

#pragma push_macro("new") /* some debuggers of memory have one */
#undef new
template <typename T> using memarena_type_ = T; /* so that any type can stand before braces */
template <typename T> inline T *memarena_new_value_(memarena *arena, T &&value)
{
    void *block = memarena_bump_(arena, sizeof(T), alignof(T));
    return block ? ::new (block) T(static_cast<T &&>(value)) : nullptr;
}
#pragma pop_macro("new")
#define memarena_new_value(arena, T, ...) (memarena_new_value_<T>((arena), memarena_type_<T>{__VA_ARGS__}))
#else
#define memarena_new_value(arena, T, ...) \
    ((T *)memarena_bump_copy_((arena), &(T){__VA_ARGS__}, sizeof(T), MEMARENA_ALIGNOF_(T)))
#endif

#endif /* MEMARENA_H */
