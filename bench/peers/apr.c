/* Apache's pools: one for each thread, without a lock; with SHARED one behind a mutex, which is how they are shared. */
#include "../player.h"

#include <apr_general.h>
#include <apr_pools.h>
#include <pthread.h>
#include <stdlib.h>

#ifdef SHARED
#define PEER_TRAITS SHARES
#else
#define PEER_TRAITS SERVES
#endif

typedef struct APART place {
    apr_pool_t *pool, *own;
    pthread_mutex_t *mutex;
} place;

static const char *peer_open(place *all, unsigned threads, size_t bytes)
{
    (void)bytes;
    static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
    if (apr_initialize()) return "it does not start";
    for (unsigned i = 0; i < threads; i++) {
        all[i].mutex = &mutex;
#ifdef SHARED
        if (i > 0) {
            all[i].pool = all[0].pool;
            continue;
        }
#endif
        apr_allocator_t *allocator;
        if (apr_allocator_create(&allocator) || apr_pool_create_ex(&all[i].pool, NULL, NULL, allocator))
            return "it makes no pool";
    }
    return NULL;
}

static inline void *peer_alloc(place *at, size_t size)
{
#ifdef SHARED
    pthread_mutex_lock(at->mutex);
    void *block = apr_palloc(at->pool, size);
    pthread_mutex_unlock(at->mutex);
    return block;
#else
    return apr_palloc(at->pool, size);
#endif
}

static void peer_release(place *at)
{
#ifdef SHARED
    (void)at;
#else
    apr_pool_clear(at->pool);
#endif
}

static void peer_reset(place *at)
{
#ifdef SHARED
    apr_pool_clear(at->pool);
#else
    (void)at;
#endif
}

static void peer_close(place *all, unsigned threads)
{
    (void)all, (void)threads;
}

/* As in Apache: a child pool for each request. */
#define PEER_BEGIN(at) ((at)->own = (at)->pool, (void)apr_pool_create(&(at)->pool, (at)->own))
#define PEER_END(at) (apr_pool_destroy((at)->pool), (at)->pool = (at)->own)
#include "../loops.h"
