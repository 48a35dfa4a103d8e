/* One cursor for all threads: moved by an atomic addition; with MUTEX behind a lock. */
#include "bump.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#define PEER_TRAITS SHARES

typedef struct shared {
    _Alignas(128) atomic_uintptr_t cursor;
    _Alignas(128) uintptr_t start, end; /* written before the threads start */
    pthread_mutex_t mutex;
} shared;

typedef struct APART place {
    shared *shared;
} place;

static const char *peer_open(place *all, unsigned threads, size_t bytes)
{
    shared *one = aligned_alloc(128, sizeof *one);
    char *memory = bump_memory(threads * bytes);
    if (!one || !memory) return "no memory";
    *one =
        (shared){.cursor = (uintptr_t)memory, .start = (uintptr_t)memory, .end = (uintptr_t)memory + threads * bytes};
    pthread_mutex_init(&one->mutex, NULL);
    for (unsigned i = 0; i < threads; i++) all[i].shared = one;
    return NULL;
}

static inline void *peer_alloc(place *at, size_t size)
{
    size_t bytes = bump_bytes(size);
    shared *one = at->shared;
#ifdef MUTEX
    pthread_mutex_lock(&one->mutex);
    uintptr_t block = atomic_load_explicit(&one->cursor, memory_order_relaxed);
    if (block + bytes <= one->end)
        atomic_store_explicit(&one->cursor, block + bytes, memory_order_relaxed);
    else
        block = 0;
    pthread_mutex_unlock(&one->mutex);
#else
    uintptr_t block = atomic_fetch_add_explicit(&one->cursor, bytes, memory_order_relaxed);
    if (__builtin_expect(block + bytes > one->end, 0)) block = 0;
#endif
    return (void *)block;
}

static void peer_release(place *at)
{
    (void)at;
}

static void peer_reset(place *at)
{
    atomic_store_explicit(&at->shared->cursor, at->shared->start, memory_order_relaxed);
}

static void peer_close(place *all, unsigned threads)
{
    (void)threads;
    munmap((void *)all->shared->start, all->shared->end - all->shared->start);
    free(all->shared);
}

#include "../loops.h"
