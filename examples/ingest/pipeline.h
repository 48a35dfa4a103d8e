/* pipeline: parser threads make batches of records of the lines of an input, the calling thread adds them up.
 *
 *     input -> parser threads -> queue of parsed batches -> totals
 *                    ^                                        |
 *                    +------------ empty batches <------------+
 *
 * Each parser has a few batches, which come home to it when they have been added up: that bounds how far it can run
 * ahead, and each buffer is used again by the thread that used it last. */
#ifndef INGEST_PIPELINE_H
#define INGEST_PIPELINE_H

#include "input.h"
#include "totals.h"

enum allocator {
    ALLOCATOR_ARENA,     /* trees in a scope for each batch, reset by the thread that has added them up */
    ALLOCATOR_MALLOC,    /* trees from malloc, freed by the thread that has added them up */
    ALLOCATOR_MALLOC_OWN /* trees from malloc, freed by the thread that has parsed them, once they are added up */
};

struct pipeline_options {
    enum allocator allocator;
    unsigned threads;    /* parsers */
    size_t memory_bytes; /* of the arena that all batches share; 0: of the machine */
};

struct pipeline_result {
    const char *failed; /* NULL: nothing; else what did, and its errno */
    int error;
    size_t failed_line;                                       /* 0: not that of a line */
    unsigned threads;                                         /* how many the system gave */
    double seconds;                                           /* from the first line to the last release */
    double parse_seconds, aggregate_seconds, release_seconds; /* sums over the threads */
};

/* Adds all records of `input` to `totals`, and returns when all threads have ended and all records are released. */
struct pipeline_result pipeline_run(const struct pipeline_options *options, struct input *input, struct totals *totals);

#endif
