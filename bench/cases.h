/* The cases of memarena-bench. Each prints its own table. */
#ifndef BENCH_CASES_H
#define BENCH_CASES_H

#include "peers.h"

struct plan {
    unsigned rounds;    /* of a case with batches; cases of single calls take five times as many */
    size_t batch_bytes; /* of blocks that one thread takes between two resets, about */
};

/* case_blocks.c: what a block costs, in every variant. */
void case_blocks(const struct plan *plan, const char *name, const char *title, block_kind kind, unsigned threads);
/* Runs the loop of one variant over `blocks` blocks, and nothing else: for counting instructions. False when there is
 * no variant of that name. */
bool case_blocks_loop(const char *variant, size_t blocks);

/* case_reset.c: what a reset costs, by capacity, by what was allocated, by lanes that hold a TLAB. */
void case_reset(const struct plan *plan);
void case_reset_lanes(const struct plan *plan);

/* case_life.c: what an arena costs before its first block, in time and in memory. */
void case_life(const struct plan *plan);

/* case_scope.c: what a request costs that has an arena of its own. */
void case_scope(const struct plan *plan);

/* case_same_address.c: whether a thread gets its own memory back after a reset. */
void case_same_address(const struct plan *plan);

#endif
