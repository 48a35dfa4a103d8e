/* Samples: which blocks a profiler is told of, and with what weight. See sample.c.
 *
 * Where a range is bumped that is sampled, `at` is the address of the next sampled byte (UINTPTR_MAX: none, 0: to be drawn) and
 * `round` tells under which call of memarena_sample it was drawn. */
#ifndef MA_SAMPLE_H
#define MA_SAMPLE_H

#include "../base/lease.h"

/* For a block that takes the range from `cursor` up to `next`: its weight, and the next `at`. */
uint64_t ma_sample_pass(const ma_arena *arena, uintptr_t *at, uint16_t *round, uintptr_t cursor, uintptr_t next);
/* The weight of bytes that lie in no such range. */
uint64_t ma_sample_apart(const ma_arena *arena, uint64_t bytes);
/* Tells the profiler of a block that has a weight. */
void ma_sample_report(const ma_arena *arena, memarena *handle, const ma_block *block, size_t size);
/* What memarena_sample asks for, by the changer: {bytes, fn, context}. Ranges follow once they are emptied. */
void ma_sample_change(ma_arena *arena, uint64_t bytes, ma_sample_fn *fn, void *context);
/* In a child of fork: what a lost thread was changing is off. */
void ma_sample_repair(ma_arena *arena, uintptr_t survivor);

/* Whether memarena_sample was ever called. */
static inline bool ma_samples(const ma_arena *arena)
{
    return ma_load_relaxed(&arena->sampling.round) != 0;
}

/* How far a range may be bumped that ends at `limit`, with the next sample at `at`. */
static inline uintptr_t ma_sample_end(uintptr_t at, uintptr_t limit)
{
    return at != 0 && at < limit ? at : limit;
}

#endif
