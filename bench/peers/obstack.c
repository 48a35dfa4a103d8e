/* glibc's obstack, one for each thread: it has no lock. */
#include "../player.h"

#include <obstack.h>
#include <stdlib.h>

#define obstack_chunk_alloc malloc
#define obstack_chunk_free free

#define PEER_TRAITS SERVES
#define PEER_STATE

typedef struct APART place {
    struct obstack obstack;
    void *first; /* freeing it frees what came after */
} place;

static const char *peer_open(place *all, unsigned threads, size_t bytes)
{
    (void)bytes;
    for (unsigned i = 0; i < threads; i++) {
        obstack_init(&all[i].obstack);
        obstack_alignment_mask(&all[i].obstack) = 7; /* one for all sizes: less than others give from 16 bytes on */
        all[i].first = obstack_alloc(&all[i].obstack, 0);
    }
    return NULL;
}

static inline void *peer_alloc(place *at, size_t size)
{
    return obstack_alloc(&at->obstack, (int)size); /* aborts rather than return NULL */
}

static void peer_release(place *at)
{
    obstack_free(&at->obstack, at->first);
    at->first = obstack_alloc(&at->obstack, 0);
}

static void peer_reset(place *at)
{
    (void)at;
}

static void peer_close(place *all, unsigned threads)
{
    for (unsigned i = 0; i < threads; i++) obstack_free(&all[i].obstack, NULL);
}

#include "../loops.h"
