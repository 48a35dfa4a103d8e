/* For allocators that give blocks back one by one. Before it: TAKE(size), GIVE(block); perhaps PREPARE, an expression
 * that is NULL or says why it cannot. */
#include "../player.h"

#define PEER_FREES
#ifndef PEER_TRAITS
#define PEER_TRAITS (SHARES | SERVES)
#endif
#ifndef PREPARE
#define PREPARE NULL
#endif

typedef struct APART place {
    void *last; /* block; each begins with the address of the one before */
} place;

static const char *peer_open(place *all, unsigned threads, size_t bytes)
{
    (void)all, (void)threads, (void)bytes;
    return PREPARE;
}

static inline void *peer_alloc(place *at, size_t size)
{
    (void)at;
    return TAKE(size);
}

static inline void peer_free(place *at, void *block)
{
    (void)at;
    GIVE(block);
}

static void peer_release(place *at)
{
    for (void *block = at->last; block;) {
        void *before = *(void **)block;
        GIVE(block);
        block = before;
    }
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

#include "../loops.h"
