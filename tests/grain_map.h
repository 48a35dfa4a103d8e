/* A map of an arena, one byte per grain: whether blocks lie inside and alone, at less cost than by sorting them. */
#ifndef GRAIN_MAP_H
#define GRAIN_MAP_H

#include "internals.h"
#include "test.h"

#include <string.h>

typedef struct grain_map {
    memarena *arena;
    uintptr_t base;
    size_t grains;
    unsigned char *taken;
} grain_map;

static inline grain_map map_make(memarena *handle)
{
    const ma_arena *arena = ma_arena_of(handle);
    grain_map map = {.arena = handle, .base = arena->pool.base};
    map.grains = (size_t)arena->pool.capacity * arena->spread / 8 + 1;
    map.taken = calloc(map.grains, 1);
    CHECK(map.taken);
    return map;
}

static inline void map_clear(grain_map *map)
{
    memset(map->taken, 0, map->grains);
}

/* Enters a block of `bytes`, a multiple of 8. */
static inline void map_add(grain_map *map, const void *block, size_t bytes)
{
    size_t first = ((uintptr_t)block - map->base) / 8;
    if ((uintptr_t)block % 8) CHECK(false && "aligned");
    if (!memarena_owns(map->arena, block)) CHECK(false && "the first byte inside");
    if (!memarena_owns(map->arena, (const char *)block + bytes - 1)) CHECK(false && "the last byte inside");
    if (map->taken[first] || memchr(map->taken + first, 1, bytes / 8)) CHECK(false && "alone");
    memset(map->taken + first, 1, bytes / 8);
}

#endif
