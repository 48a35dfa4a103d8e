/* index: which identifiers a tree of files has, and where.
 *
 *     buckets[hash] -> identifier -> identifier -> ...                  by hash
 *                          | postings
 *                          v
 *                       posting -> posting -> ...                       one per occurrence: file, line, column
 *
 * One index, built by all threads at once, from millions of small blocks: a block per file, per file name, per
 * identifier, per identifier's name and per occurrence, and one each for the two arrays. That is what compilers and
 * code navigators build. The blocks come from an arena or from malloc, chosen at compile time: index_arena.c and
 * index_malloc.c each say how to get a block, and include the one program text, index_build.h. */
#ifndef INDEX_INDEX_H
#define INDEX_INDEX_H

#include "files.h"

#include <memarena.h>
#include <stdatomic.h>
#include <stdint.h>

struct file {
    char *path;    /* relative to the indexed directory */
    uint64_t hash; /* of the path */
};

struct posting {
    struct posting *next; /* of the same identifier; those of one file are neighbours, last place first */
    const struct file *file;
    uint32_t line, column;
};

typedef _Atomic(struct posting *) posting_list;

struct identifier {
    struct identifier *next; /* of the same bucket; never changes once the identifier is published */
    char *name;
    uint64_t hash;
    posting_list postings; /* every thread adds whole chains by CAS, none follows them before all are joined: relaxed */
    uint32_t length;
};

/* Every thread adds by CAS and searches meanwhile: release when an identifier is put in front, acquire to read it. */
typedef _Atomic(struct identifier *) identifier_list;

struct index {
    identifier_list *buckets;
    size_t bucket_count;   /* a power of two */
    unsigned bucket_shift; /* the bucket is hash >> bucket_shift */
    struct file **files;   /* as the list (and one more: never of size 0); NULL: could not be read */
    size_t file_count;
    atomic_size_t unreadable; /* every thread counts; read after they are joined, so relaxed */
    memarena *arena;          /* NULL on malloc */
};

/* An index on one allocator. */
struct index_kind {
    const char *allocator;
    /* Reads and indexes all files with `threads` threads. Fails: false, with errno, when the index could not even be
     * begun; out of memory later on ends the process. */
    bool (*build)(struct index *index, const struct file_list *list, unsigned threads);
    /* Gives all blocks back. */
    void (*release)(struct index *index, unsigned threads);
};

extern const struct index_kind index_arena, index_malloc;

#endif
