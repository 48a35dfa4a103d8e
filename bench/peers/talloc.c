/* Samba's talloc, a pool for each thread. */
#include "../player.h"

#include <stdbool.h>
#include <stdlib.h>
#include <talloc.h>

#define PEER_TRAITS SERVES
#define HEADER_BYTES 112 /* of a block, about */

typedef struct APART place {
    void *pool, *parent;
    size_t bytes;
} place;

static const char *peer_open(place *all, unsigned threads, size_t bytes)
{
    talloc_disable_null_tracking();
    for (unsigned i = 0; i < threads; i++) {
        all[i].bytes = bytes;
        all[i].pool = talloc_pool(NULL, bytes);
        if (!all[i].pool) return "it makes no pool";
    }
    return NULL;
}

static inline void *peer_alloc(place *at, size_t size)
{
    return talloc_named_const(at->pool, size, "block");
}

static void peer_release(place *at)
{
    talloc_free_children(at->pool);
}

static void peer_reset(place *at)
{
    (void)at;
}

static void peer_close(place *all, unsigned threads)
{
    for (unsigned i = 0; i < threads; i++) talloc_free(all[i].pool);
}

#define PEER_BEGIN(at) ((at)->parent = (at)->pool, (at)->pool = talloc_pool(NULL, REQUEST_BLOCKS * (64 + HEADER_BYTES)))
#define PEER_END(at) (talloc_free((at)->pool), (at)->pool = (at)->parent)
#include "../loops.h"
