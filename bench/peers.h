/* The allocators that are compared, each behind the same few calls. To add one: a loop in loops.c (or, for a malloc in
 * a shared library, nothing) and a row of the table in peers.c. */
#ifndef BENCH_PEERS_H
#define BENCH_PEERS_H

#include "measure.h"
#include "memarena.h"

#include <obstack.h>
#include <pthread.h>

typedef enum block_kind {
    BLOCKS_8,  /* memarena_new_value(arena, int64_t, i) */
    BLOCKS_16, /* memarena_alloc(arena, 16), and so on */
    BLOCKS_64,
    BLOCKS_MIXED, /* 16 to 256 bytes, known only at run time */
    BLOCK_KINDS
} block_kind;

/* Blocks that take about `bytes`. */
size_t peer_batch_blocks(block_kind kind, size_t bytes);

/* One cursor for all threads. */
typedef struct shared_bump {
    _Alignas(MEASURE_APART) _Atomic uintptr_t cursor;
    _Alignas(MEASURE_APART) uintptr_t start; /* written before the threads start, like `end` */
    uintptr_t end;
    pthread_mutex_t mutex; /* taken by one of the two variants */
} shared_bump;

/* Where one thread allocates. A peer uses the members that it needs. */
typedef struct place {
    _Alignas(MEASURE_APART) char *start; /* memory of this thread's own */
    char *end;
    memarena *arena; /* the same one for all threads, or a scope in `parent` for each */
    memarena *parent;
    shared_bump *shared; /* likewise */
    struct obstack obstack;
    void *obstack_first;
    void *(*malloc)(size_t size);
    void (*free)(void *block);
    void *last; /* block of a malloc; each block begins with the address of the one before, which costs no more than the
                   store that every variant makes into its blocks, and lets the release find them */
} place;

/* Takes `blocks` blocks and writes 8 bytes into each; false when memory ran out. */
typedef bool peer_loop(place *at, size_t blocks);
typedef peer_loop *const peer_loops[BLOCK_KINDS];

struct peer {
    const char *name;
    peer_loop *const *loops; /* by block_kind */
    /* Prepares `threads` places for batches of `blocks` blocks, and touches the memory. NULL, or why it cannot. */
    const char *(*open)(const struct peer *peer, place *places, unsigned threads, block_kind kind, size_t blocks);
    void (*release)(place *at); /* each thread gives its own blocks back; NULL: nothing to do */
    void (*reset)(place *at);   /* then one thread does, for all */
    void (*close)(place *places, unsigned threads);
    const char *library, *malloc_name, *free_name; /* of a malloc in a shared library */
    unsigned flags;                                /* of an arena */
};

extern const struct peer peers[]; /* the limit loop, then memarena, then the others */
extern const size_t peer_count;
/* What the limit loop takes for an 8-byte block just now: the yardstick of cases whose unit is a call. Not to be taken
 * between the samples of a case, since it empties the caches. */
double peer_limit_ns(void);

/* Looks up a function of a library in `*function`, a pointer to one; dlsym gives a void *, which ISO C does not let us
 * convert to a function. False: see dlerror. */
bool peer_find_function(void *library, const char *name, void *function);

#define PEER_LIMIT 0u
#define PEER_MEMARENA 1u

/* loops.c */
void loops_prepare(void); /* the mixed sizes */
size_t loops_bytes(block_kind kind, size_t blocks);
extern peer_loops loops_limit, loops_memarena, loops_malloc, loops_fetch_add, loops_mutex, loops_obstack;

#endif
