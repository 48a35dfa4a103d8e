/* summary: what an index holds, read from its blocks when all threads are done. The same text for both allocators. */
#ifndef INDEX_SUMMARY_H
#define INDEX_SUMMARY_H

#include "index.h"

struct ranked {
    const struct identifier *identifier;
    size_t occurrences, files;
};

struct summary {
    size_t files, identifiers, occurrences;
    size_t blocks, bytes; /* as asked from the allocator, without its own overhead */
    /* A sum over all (identifier, path, line, column), so independent of the order in which threads came. It is made
     * from the texts in the blocks, so a block that was overwritten shows. */
    uint64_t checksum;
    struct ranked *top; /* the most frequent, most first; in alphabetical order among equals */
    size_t top_count;
};

/* The `top` most frequent identifiers point into the index. */
struct summary summary_of(const struct index *index, size_t top, unsigned threads);
void summary_release(struct summary *summary);

#endif
