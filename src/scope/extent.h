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

#include "../base/arena.h"

/* The table between two of its places is that of the extents which start between two addresses: the place that belongs to an
 * address, and the address of the first unit whose link does not lie before a place. */
uintptr_t ma_extent_table_at(const ma_arena *arena, uint64_t generation, uintptr_t address);
uintptr_t ma_extent_of_table(const ma_arena *arena, uint64_t generation, uintptr_t place);
unsigned ma_extent_unit_shift(uint64_t bytes);
uint64_t ma_extent_index_mask(uint64_t units); /* the bits that the number of a free extent takes */
unsigned ma_extent_class_count(uint64_t bytes, unsigned unit_shift);
/* The nearest size of which there are extents that never need to be cut: at most so many bytes, of which there is one unit at least; or at
 * least so many. */
uint64_t ma_extent_size_within(const ma_arena *arena, uint64_t bytes);
uint64_t ma_extent_size_around(const ma_arena *arena, uint64_t bytes);
/* Whether a scope was ever opened in this arena. */
bool ma_extent_any(const ma_arena *arena);
/* At least `least` bytes, and `want` if it can be had. For a caller who holds the generation open. */
bool ma_extent_take(ma_arena *arena, uint64_t generation, uint64_t least, uint64_t want, ma_extent_span *extent);
/* A free extent of at least `least` bytes, if there is one. */
bool ma_extent_take_free(ma_arena *arena, uint64_t generation, uint64_t least, ma_extent_span *extent);
void ma_extent_give(ma_arena *arena, uint64_t generation, ma_extent_span extent);
/* Gives back what lies behind the first `units`, of which there are fewer than the extent has. Returns those bytes. */
uint64_t ma_extent_cut(ma_arena *arena, uint64_t generation, ma_extent_span extent, uint32_t units);
/* Calls `visit` for the free extents of at least `least` bytes that wait in the stacks, the largest first, until it returns
 * false. They are the visitor's until this returns. For a caller who holds the generation open. */
void ma_extent_visit_free(ma_arena *arena, uint64_t generation, uint64_t least,
                          bool (*visit)(void *context, uintptr_t begin, uint64_t bytes), void *context);
/* Calls `see` for what waits in the stacks, as offsets; others may be taking it meanwhile. */
void ma_extent_look(const ma_arena *arena, uint64_t generation,
                    void (*see)(void *context, uint64_t begin, uint64_t bytes), void *context);
/* Bytes that are free in extents; unless it is NULL, `by_size` is added to as memarena_stats says. */
uint64_t ma_extent_free_bytes(const ma_arena *arena, uint64_t generation, size_t *by_size);
/* Brings the stacks of one class up to the generation, a different one for each generation. */
void ma_extent_refresh(ma_arena *arena, uint64_t generation);

#endif
