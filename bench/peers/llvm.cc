// LLVM's BumpPtrAllocator, one for each thread. Its Reset keeps the first slab; so slabs have the size of a batch.
#include <cstring>

#include "../player.h"

#include <llvm/Support/Allocator.h>
#include <vector>

#define PEER_TRAITS SERVES

static constexpr size_t slab_bytes = 1 << 20;
using Allocator = llvm::BumpPtrAllocatorImpl<llvm::MallocAllocator, slab_bytes, slab_bytes>;

struct APART place {
    Allocator *allocator;
};

static const char *peer_open(place *all, unsigned threads, size_t bytes)
{
    (void)bytes;
    for (unsigned i = 0; i < threads; i++) all[i].allocator = new Allocator;
    return nullptr;
}

static inline void *peer_alloc(place *at, size_t size)
{
    return at->allocator->Allocate(size, llvm::Align(size == 8 ? 8 : 16));
}

static void peer_release(place *at)
{
    at->allocator->Reset();
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
