// C++'s std::pmr::monotonic_buffer_resource: one for each thread; with SHARED one behind a mutex.
#include "bump.h"

#include <memory_resource>
#include <mutex>

#ifdef SHARED
#define PEER_TRAITS SHARES
#else
#define PEER_TRAITS SERVES
#endif

struct APART place {
    std::pmr::monotonic_buffer_resource *resource;
    std::mutex *mutex;
};

static const char *peer_open(place *all, unsigned threads, size_t bytes)
{
    static std::mutex mutex;
    for (unsigned i = 0; i < threads; i++) {
        all[i].mutex = &mutex;
#ifdef SHARED
        if (i > 0) {
            all[i].resource = all[0].resource;
            continue;
        }
        bytes *= threads;
#endif
        char *memory = bump_memory(bytes); // the buffer to which release() goes back
        if (!memory) return "no memory";
        all[i].resource = new std::pmr::monotonic_buffer_resource(memory, bytes);
    }
    return nullptr;
}

static inline void *peer_alloc(place *at, size_t size)
{
#ifdef SHARED
    std::lock_guard<std::mutex> held(*at->mutex);
#endif
    return at->resource->allocate(size, bump_align(size));
}

static void peer_release(place *at)
{
#ifdef SHARED
    (void)at;
#else
    at->resource->release();
#endif
}

static void peer_reset(place *at)
{
#ifdef SHARED
    at->resource->release();
#else
    (void)at;
#endif
}

static void peer_close(place *all, unsigned threads)
{
    (void)all, (void)threads;
}

#include "../loops.h"
