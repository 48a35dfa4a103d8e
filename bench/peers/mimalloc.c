/* mimalloc, each block freed by itself; with HEAP a heap for each thread, destroyed as a whole. */
#include "../player.h"

#include <mimalloc.h>
#include <stddef.h>

#ifndef HEAP
#define TAKE(size) mi_malloc(size)
#define GIVE(block) mi_free(block)
#include "frees.h"
#else
#define PEER_TRAITS (SERVES | OWNER_RELEASES)

typedef struct APART place {
    mi_heap_t *heap;
} place;

static const char *peer_open(place *all, unsigned threads, size_t bytes)
{
    (void)all, (void)threads, (void)bytes;
    return NULL;
}

/* A heap belongs to the thread that made it. */
static inline void *peer_alloc(place *at, size_t size)
{
    if (__builtin_expect(!at->heap, 0)) at->heap = mi_heap_new();
    return mi_heap_malloc(at->heap, size);
}

static void peer_release(place *at)
{
    if (at->heap) mi_heap_destroy(at->heap);
    at->heap = NULL;
}

static void peer_reset(place *at)
{
    (void)at;
}

static void peer_close(place *all, unsigned threads)
{
    (void)all, (void)threads;
}

#include "../loops.h"
#endif
