/* batch: some lines, what they were parsed into, and the memory that it lies in.
 *
 * A parser thread fills a batch, another thread reads it, and then all of its records die at once: with a scope by one
 * call in constant time, whichever thread makes it; with malloc by a walk over every node.
 *
 * Threads: one owner at a time; a queue hands it over. */
#ifndef INGEST_BATCH_H
#define INGEST_BATCH_H

#include "input.h"

#include <cjson/cJSON.h>
#include <memarena.h>

struct queue;

struct record {
    size_t line; /* its number in the input */
    cJSON *tree; /* NULL: the line is not JSON ... */
    size_t byte; /* ... from this byte of it on, counted from 1 */
};

struct batch {
    memarena *scope; /* where the trees lie, and nothing else; NULL: malloc */
    struct text text;
    struct record *records; /* one for each line that is not blank */
    size_t count, capacity;
    struct queue *home;  /* where it goes when it has been read */
    size_t refused_line; /* for which there was no memory; 0: there was enough */
};

/* With a scope of `shared`, an arena that memarena_current_register knows, when memarena_cjson_install has been called.
 * NULL: malloc. Fails: false; errno. batch_close is fine then, too. */
bool batch_open(struct batch *batch, memarena *shared);
void batch_close(struct batch *batch);

/* Makes records of the lines of `text`, in place, until one finds no memory. */
void batch_parse(struct batch *batch);
/* All records die; the buffers stay for the next lines. */
void batch_release(struct batch *batch);

#endif
