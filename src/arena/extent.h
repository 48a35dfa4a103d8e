/* Extents: stretches of an arena that scopes take and give back within a generation.
 *
 * An extent starts at an address that is a multiple of the unit (1 KiB, more in arenas above 4 TiB) and is some units
 * long. Free extents are sorted into classes, four for each doubling, and wait in two places:
 *
 *     caches   one for each lane, small classes only, a few KiB; its owner needs no atomic read-modify-write
 *     stacks   shared, lock-free: one for each class in each of some stripes. A thread gives to the stripe of its lane,
 *              and looks there first: what it gets was in its core's cache
 *
 * The links of these lists lie in a table of their own, one entry for each unit of the arena: the memory of a free
 * extent is not touched. The head of a stack holds a tag of the generation, so that a reset forgets all free extents,
 * and a count, so that a pop that slept while its first extent went and came back fails. */
#ifndef MA_EXTENT_H
#define MA_EXTENT_H

#include "../platform/atomic.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MA_UNIT_SHIFT 10u /* the least */
#define MA_CACHED_CLASSES 4u
#define MA_EXTENT_CLASSES_MAX 160u
#ifndef MA_EXTENT_STRIPES
#define MA_EXTENT_STRIPES 4u /* of an arena with lanes, not in a caller's buffer; a power of two */
#endif

struct ma_arena;

/* One for each unit: of the free extent that starts there. Written by the one who pushes it, who holds the generation open; a late
 * reader may find anything, and then fails its swap of the head. Where nobody has an extent in this generation the pages of
 * the table may be given back (trim.c), and then read as zero. */
typedef struct ma_extent_link {
    _Alignas(8) uint64_t next_and_units; /* {units << 32, the next free extent, or 0} */
    uint64_t units_below;                /* the sum over the rest of its stack */
} ma_extent_link;

/* The free extents of one lane, and how many scopes were opened and ended on it. Written by the lane's owner only; the
 * last of them, which threads without a lane share, has no extents and atomic counts. */
typedef struct ma_extent_cache {
    _Alignas(64) uint64_t generation;
    uint64_t opened, ended; /* since creation. [open-1] */
    uintptr_t ready;        /* address of an ended scope that can be opened again as it is, in an extent of one unit */
    uint32_t units;         /* in `heads` */
    uint32_t units_max;     /* with the one of `ready`; set with the generation */
    uint32_t heads[MA_CACHED_CLASSES];
    uint16_t counts[MA_CACHED_CLASSES]; /* of extents in `heads` */
} ma_extent_cache;

typedef struct ma_extents {
    ma_extent_cache *caches;
    uint64_t *stacks; /* {tag of the generation, count, the first free extent, or 0}, stripe by stripe */
    ma_extent_link *links;
    uintptr_t origin; /* address of unit 0, as `base` of the pool */
    unsigned unit_shift, class_count, stripes;
    uint64_t index_mask; /* the bits of a head that name an extent */
} ma_extents;

/* An extent in use is named by its address and its size in units. */
typedef struct ma_extent_span {
    uintptr_t begin;
    uint32_t units;
} ma_extent_span;

/* Free extents are numbered: by their first unit, plus one, since 0 is none. */
static inline ma_extent_link *ma_extent_link_of(const ma_extents *extents, uint32_t index)
{
    return &extents->links[index - 1];
}

static inline uint32_t ma_extent_units_of(uint64_t next_and_units)
{
    return (uint32_t)(next_and_units >> 32);
}

/* The table between two of its places is that of the extents which start between two addresses: the place that belongs to an
 * address, and the address of the first unit whose link does not lie before a place. */
uintptr_t ma_extent_table_at(const struct ma_arena *arena, uint64_t generation, uintptr_t address);
uintptr_t ma_extent_of_table(const struct ma_arena *arena, uint64_t generation, uintptr_t place);
unsigned ma_extent_unit_shift(uint64_t bytes);
uint64_t ma_extent_index_mask(uint64_t units); /* the bits that the number of a free extent takes */
unsigned ma_extent_class_count(uint64_t bytes, unsigned unit_shift);
/* Whether a scope was ever opened in this arena. */
bool ma_extent_any(const struct ma_arena *arena);
/* At least `least` bytes, and `want` if it can be had. For a caller who holds the generation open. */
bool ma_extent_take(struct ma_arena *arena, uint64_t generation, uint64_t least, uint64_t want, ma_extent_span *extent);
/* A free extent of at least `least` bytes, if there is one. */
bool ma_extent_take_free(struct ma_arena *arena, uint64_t generation, uint64_t least, ma_extent_span *extent);
void ma_extent_give(struct ma_arena *arena, uint64_t generation, ma_extent_span extent);
/* Calls `visit` for the free extents of at least `least` bytes that wait in the stacks, the largest first, until it returns
 * false. They are the visitor's until this returns. For a caller who holds the generation open. */
void ma_extent_visit_free(struct ma_arena *arena, uint64_t generation, uint64_t least,
                          bool (*visit)(void *context, uintptr_t begin, uint64_t bytes), void *context);
/* Calls `see` for what waits in the stacks, as offsets; others may be taking it meanwhile. */
void ma_extent_look(const struct ma_arena *arena, uint64_t generation,
                    void (*see)(void *context, uint64_t begin, uint64_t bytes), void *context);
/* Bytes that are free in extents; unless it is NULL, `by_size` is added to as memarena_stats says. */
uint64_t ma_extent_free_bytes(const struct ma_arena *arena, uint64_t generation, size_t *by_size);
/* Brings the stacks of one class up to the generation, a different one for each generation. */
void ma_extent_refresh(struct ma_arena *arena, uint64_t generation);

#endif
