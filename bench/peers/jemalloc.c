/* jemalloc, each block freed by itself; with ARENA an arena and a cache for each thread, whose blocks are
 * given back together. */
#include "../player.h"

#include <jemalloc/jemalloc.h>
#include <stddef.h>

#ifndef ARENA
#define TAKE(size) malloc(size)
#define GIVE(block) free(block)
#include "frees.h"
#else
#define PEER_TRAITS 0 /* a reset takes too long for single requests */

typedef struct APART place {
    unsigned arena, cache;
    int flags;
    size_t reset[3]; /* the name of arena.N.reset, translated once */
} place;

static const char *peer_open(place *all, unsigned threads, size_t bytes)
{
    (void)bytes;
    for (unsigned i = 0; i < threads; i++) {
        place *at = &all[i];
        size_t size = sizeof at->arena, parts = 3;
        if (mallctl("arenas.create", &at->arena, &size, NULL, 0) != 0) return "it makes no arenas";
        size = sizeof at->cache;
        if (mallctl("tcache.create", &at->cache, &size, NULL, 0) != 0) return "it makes no caches";
        at->flags = MALLOCX_ARENA(at->arena) | MALLOCX_TCACHE(at->cache);
        if (mallctlnametomib("arena.0.reset", at->reset, &parts) != 0) return "it resets no arenas";
        at->reset[1] = at->arena;
    }
    return NULL;
}

static inline void *peer_alloc(place *at, size_t size)
{
    return mallocx(size, at->flags);
}

static void peer_release(place *at)
{
    mallctl("tcache.flush", NULL, NULL, &at->cache, sizeof at->cache); /* or it would outlive the reset */
    mallctlbymib(at->reset, 3, NULL, NULL, NULL, 0);
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
