/* Boehm's collector: nothing is freed; what nobody refers to is found when it is needed. */
#include "../player.h"

#include <gc/gc.h> /* its pthread_create, in player.c, too: see CMakeLists.txt */
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#define PEER_FREES /* the chain keeps blocks alive until the release drops it */
#define PEER_COLLECTS
#define PEER_TRAITS (SHARES | SERVES | COLLECTS)

typedef struct APART place {
    void *last;
} place;

static const char *peer_open(place *all, unsigned threads, size_t bytes)
{
    (void)all, (void)threads, (void)bytes;
    GC_INIT();
    return NULL;
}

static inline void *peer_alloc(place *at, size_t size)
{
    (void)at;
    return GC_MALLOC(size);
}

static inline void peer_free(place *at, void *block)
{
    (void)at, (void)block;
}

static void peer_release(place *at)
{
    at->last = NULL;
}

static void peer_reset(place *at)
{
    (void)at;
}

static void peer_close(place *all, unsigned threads)
{
    (void)all, (void)threads;
}

static double peer_collect(void)
{
    struct timespec begin, end;
    clock_gettime(CLOCK_MONOTONIC, &begin);
    GC_gcollect();
    clock_gettime(CLOCK_MONOTONIC, &end);
    return (double)(end.tv_sec - begin.tv_sec) * 1e9 + (double)(end.tv_nsec - begin.tv_nsec);
}

#include "../loops.h"
