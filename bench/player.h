/* What a peer of the benchmark is: a program of its own, made of player.c (threads, clock, the referee's commands),
 * loops.h (the hot loops) and an adapter of a few lines in peers/, which may be C or C++. See README.md. */
#ifndef BENCH_PLAYER_H
#define BENCH_PLAYER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#ifdef __cplusplus
extern "C" {
#endif

enum block_kind { BLOCKS_8, BLOCKS_16, BLOCKS_64, BLOCKS_128, BLOCKS_MIXED, BLOCK_KINDS };

#define MIXED_SIZES 1024u /* 16 to 256 bytes; 4 KiB of table: in the first-level cache whoever runs */
extern uint32_t mixed_sizes[MIXED_SIZES];

extern bool player_touches; /* what `open` prepares is to be in memory, too */

/* Of a `place`: two threads never write within one such distance, for the prefetcher of x86 fetches lines in pairs. */
#define APART __attribute__((aligned(128)))

#define REQUEST_BLOCKS 10u /* of 64 bytes, in one request */
#define BATCH_BLOCKS 32u   /* that are timed together on a crowded heap */
#define PLACE_BYTES 512u   /* at most, of an adapter's `place` */

/* What a peer is good for. Cases that ask for what it cannot do go on without it. */
enum {
    SHARES = 1,          /* all threads allocate from one object; otherwise each has one of its own */
    SERVES = 2,          /* can give back what one thread took: a scope, a pool, free */
    OWNER_RELEASES = 4,  /* no other thread may give its blocks back */
    BOUNDED = 8,         /* runs out at a capacity */
    LIMIT = 16,          /* is no allocator */
    COLD_ONLY = 32,      /* differs from another peer in the first touch of memory only */
    COLLECTS = 64,       /* finds by itself what nobody refers to */
    REQUESTS_ONLY = 128, /* differs from another peer in requests only */
    LOOPS_ONLY = 256     /* differs from another peer in blocks of one loop, and in trees, only */
};

struct player {
    unsigned traits;
    /* Prepares `threads` places, zeroed, each for `bytes` of blocks between two releases. NULL, or why it cannot. */
    const char *(*open)(void *places, unsigned threads, size_t bytes);
    void (*close)(void *places, unsigned threads);
    void *(*place)(void *places, unsigned thread);
    void (*release)(void *place); /* gives back what this thread has allocated */
    void (*reset)(void *place);   /* then one thread does the rest, for all */
    double (*collect)(void);      /* nanoseconds of what a collector does when asked, or 0 */

    /* The loops: false when memory ran out. */
    bool (*take[BLOCK_KINDS])(void *place, size_t blocks);
    bool (*touch)(void *place, size_t blocks); /* mixed; writes every byte */
    bool (*serve)(void *place, size_t requests);
    size_t (*tree)(void *place, unsigned depth); /* the nodes that it counted; releases them */
    bool (*each[BLOCK_KINDS])(void *place, size_t blocks, uint64_t *ticks);   /* times every block */
    bool (*crowd)(void *place, size_t blocks);                                /* live blocks, one in ten freed again */
    bool (*batches[BLOCK_KINDS])(void *place, size_t count, uint64_t *ticks); /* times each BATCH_BLOCKS */
    size_t (*fill)(void *place);                                              /* until NULL: the bytes */
    size_t (*capacity)(void *place);                                          /* of a BOUNDED one */
};
extern const struct player player;

/* A counter that is cheap to read: see player_tick_ns for its unit. */
static inline uint64_t player_ticks(void)
{
#if defined(__x86_64__) || defined(__i386__)
    return __builtin_ia32_rdtsc();
#elif defined(__aarch64__)
    uint64_t ticks;
    __asm__ volatile("mrs %0, cntvct_el0" : "=r"(ticks));
    return ticks;
#else
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
#endif
}

#ifdef __cplusplus
}
#endif
#endif
