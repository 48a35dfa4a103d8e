// Protocol Buffers' Arena through its public calls: shared by all threads; with OWN one for each thread, which keeps a
// first block for the next batch.
#include "bump.h"

#include <google/protobuf/arena.h>

#ifdef OWN
#define PEER_TRAITS SERVES
#else
#define PEER_TRAITS SHARES
#endif

using google::protobuf::Arena;
using google::protobuf::ArenaOptions;

struct APART place {
    Arena *arena;
};

static const char *peer_open(place *all, unsigned threads, size_t bytes)
{
    ArenaOptions options;
    options.start_block_size = 64 << 10;
    options.max_block_size = 1 << 20;
    for (unsigned i = 0; i < threads; i++) {
#ifdef OWN
        options.initial_block = bump_memory(bytes + 4096);
        if (!options.initial_block) return "no memory";
        options.initial_block_size = bytes + 4096;
#else
        (void)bytes;
        if (i > 0) {
            all[i].arena = all[0].arena;
            continue;
        }
#endif
        all[i].arena = new Arena(options);
    }
    return nullptr;
}

static inline void *peer_alloc(place *at, size_t size)
{
    return Arena::CreateArray<char>(at->arena, size);
}

static void peer_release(place *at)
{
#ifdef OWN
    at->arena->Reset();
#else
    (void)at;
#endif
}

static void peer_reset(place *at)
{
#ifdef OWN
    (void)at;
#else
    at->arena->Reset();
#endif
}

static void peer_close(place *all, unsigned threads)
{
    (void)all, (void)threads;
}

#include "../loops.h"
