/* The index on malloc: the same blocks, each of which has to be found again and freed. */
#define _POSIX_C_SOURCE 200809L
#include "index.h"

#include <stdlib.h>
#include <string.h>

static bool heap_open(struct index *index)
{
    index->arena = NULL;
    return true;
}

static inline void *heap_copy(const void *value, size_t size)
{
    void *block = malloc(size);
    if (block) memcpy(block, value, size);
    return block;
}

#define heap_new(index, T, ...) ((void)(index), (T *)heap_copy(&(T){__VA_ARGS__}, sizeof(T)))
#define heap_new_array(index, T, count) ((void)(index), (T *)calloc((count), sizeof(T)))
#define heap_new_name(index, text, size) ((void)(index), strndup((text), (size)))
#define heap_discard(index, block) ((void)(index), free(block))

#include "index_build.h"

/* ---- Release: all threads, each a part of the table --------------------------------------------------------------
 *
 * The fairest form for malloc: one thread alone would have to follow millions of pointers by itself. What a thread
 * frees here may be another's block; that is so in any program whose threads share what they build.
 *
 * Most of the time goes into finding the blocks, cold in the cache by now, rather than into free(): on /usr/include
 * the same walk without the free() of postings takes about as long. An arena need not find them. */

struct release {
    struct index *index;
    struct deal buckets, files;
};

static void release_identifier(struct identifier *identifier)
{
    struct posting *posting = atomic_load_explicit(&identifier->postings, memory_order_relaxed);
    while (posting) {
        struct posting *next = posting->next;
        free(posting);
        posting = next;
    }
    free(identifier->name);
    free(identifier);
}

static void release_bucket(identifier_list *bucket)
{
    struct identifier *identifier = atomic_load_explicit(bucket, memory_order_relaxed);
    while (identifier) {
        struct identifier *next = identifier->next;
        release_identifier(identifier);
        identifier = next;
    }
}

static void release_share(void *context)
{
    struct release *release = context;
    size_t at, end;
    while (deal_next(&release->buckets, &at, &end))
        for (; at < end; at++) release_bucket(&release->index->buckets[at]);
    while (deal_next(&release->files, &at, &end)) {
        for (; at < end; at++) {
            struct file *file = release->index->files[at];
            if (file) free(file->path);
            free(file);
        }
    }
}

static void index_release(struct index *index, unsigned threads)
{
    struct release release = {
        .index = index, .buckets = DEAL(index->bucket_count, 256), .files = DEAL(index->file_count, 256)};
    crew_run(threads, release_share, &release);
    free(index->buckets);
    free(index->files);
    *index = (struct index){0};
}

const struct index_kind index_malloc = {"malloc", index_build, index_release};
