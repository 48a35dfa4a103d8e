/* What an arena keeps of the free extents of scopes, and of the scopes that are open. The calls are in scope/extent.h, which
 * says what an extent is. */
#ifndef MA_EXTENTS_H
#define MA_EXTENTS_H

#include <stdint.h>

#define MA_UNIT_SHIFT 10u /* of the least unit */
#define MA_CACHED_CLASSES 4u
#define MA_EXTENT_CLASSES_MAX 160u
#ifndef MA_EXTENT_STRIPES
#define MA_EXTENT_STRIPES 4u /* of an arena with lanes, not in a caller's buffer; a power of two */
#endif

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

#endif
