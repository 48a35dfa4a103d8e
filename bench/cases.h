/* The cases that need no peer: what the library does besides giving blocks. Each prints its own table. */
#ifndef BENCH_CASES_H
#define BENCH_CASES_H

#include <stddef.h>

struct plan {
    unsigned rounds;    /* of a case with batches; cases of single calls take five times as many */
    size_t batch_bytes; /* of blocks that one thread takes between two resets, about */
    size_t live_blocks; /* on the crowded heap */
    unsigned crowd;     /* threads at most */
};

/* case_reset.c: what a reset costs, by capacity, by what was allocated, by lanes that hold a TLAB. */
void case_reset(const struct plan *plan);
void case_reset_lanes(const struct plan *plan);

/* case_life.c: what an arena costs before its first block, in time and in memory. */
void case_life(const struct plan *plan);

/* case_same_address.c: whether a thread gets its own memory back after a reset. */
void case_same_address(const struct plan *plan);

#endif
