/* References: what a pointer is, with the generation that it belongs to.
 *
 *     | tag: low bits of the generation | distance from the arena's first block, in grains, plus 1 |
 *
 * The distance takes as many bits as the arena needs, the tag has all others: 40 in an arena of 64 MiB. 0 is nobody's. */
#include "../scope/scope.h"

/* The distances that there are. */
static uint64_t distances(const ma_arena *arena)
{
    return arena->pool.capacity * arena->spread >> MA_GRAIN_BITS;
}

static unsigned distance_bits(const ma_arena *arena)
{
    return 64 - (unsigned)__builtin_clzll(distances(arena) | 1); /* (below 8 bytes there are none) */
}

memarena_reference memarena_ref(const memarena *handle, const void *block)
{
    const ma_arena *arena = ma_root_of(handle);
    uint64_t generation = ma_load_acquire(&arena->pool.generation);
    uintptr_t distance = (uintptr_t)block - ma_pool_base(&arena->pool, generation);
    if (distance % MA_GRAIN == 0 && distance < arena->pool.capacity * arena->spread)
        return generation << distance_bits(arena) | ((distance >> MA_GRAIN_BITS) + 1);
    errno = EINVAL;
    return 0;
}

void *memarena_deref(const memarena *handle, memarena_reference reference)
{
    const ma_arena *arena = ma_root_of(handle);
    uint64_t generation = ma_load_acquire(&arena->pool.generation), tag = generation << distance_bits(arena);
    uint64_t distance = reference ^ tag; /* if the tag is that of now; else far too much */
    if (distance - 1 >= distances(arena)) return NULL;
    return (void *)(ma_pool_base(&arena->pool, generation) + (uintptr_t)((distance - 1) << MA_GRAIN_BITS));
}
