#include "summary.h"

#include "console.h"
#include "crew.h"
#include "words.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

/* ---- The most frequent ---------------------------------------------------------------------------------------- */

static bool is_before(const struct ranked *left, const struct ranked *right)
{
    if (left->occurrences != right->occurrences) return left->occurrences > right->occurrences;
    return strcmp(left->identifier->name, right->identifier->name) < 0;
}

/* Keeps `top` sorted by insertion: nearly all identifiers fail the first test. */
static void rank(struct summary *summary, size_t limit, const struct ranked *ranked)
{
    if (summary->top_count == limit) {
        if (limit == 0 || is_before(&summary->top[limit - 1], ranked)) return;
        summary->top_count--;
    }
    size_t at = summary->top_count++;
    for (; at > 0 && is_before(ranked, &summary->top[at - 1]); at--) summary->top[at] = summary->top[at - 1];
    summary->top[at] = *ranked;
}

static struct summary new_summary(size_t limit)
{
    struct summary summary = {.top = calloc(limit + 1, sizeof *summary.top)};
    if (!summary.top) console_out_of_memory();
    return summary;
}

/* ---- One identifier, one file --------------------------------------------------------------------------------- */

static void add_block(struct summary *summary, size_t bytes)
{
    summary->blocks++;
    summary->bytes += bytes;
}

static void add_identifier(struct summary *summary, size_t limit, const struct identifier *identifier)
{
    size_t name_length = strlen(identifier->name);
    uint64_t name_hash = word_hash(identifier->name, name_length);
    struct ranked ranked = {.identifier = identifier};
    const struct file *last_file = NULL;
    const struct posting *posting = atomic_load_explicit(&identifier->postings, memory_order_relaxed);
    for (; posting; posting = posting->next) {
        uint64_t place = (uint64_t)posting->line << 32 | posting->column;
        summary->checksum += hash_mix(name_hash, hash_mix(posting->file->hash, place));
        add_block(summary, sizeof *posting);
        ranked.occurrences++;
        ranked.files += posting->file != last_file; /* the postings of one file are neighbours */
        last_file = posting->file;
    }
    add_block(summary, sizeof *identifier);
    add_block(summary, name_length + 1);
    summary->identifiers++;
    summary->occurrences += ranked.occurrences;
    rank(summary, limit, &ranked);
}

static void add_file(struct summary *summary, const struct file *file)
{
    size_t path_length = strlen(file->path);
    summary->checksum += hash_mix(word_hash(file->path, path_length), 0);
    add_block(summary, sizeof *file);
    add_block(summary, path_length + 1);
    summary->files++;
}

/* ---- All of it ------------------------------------------------------------------------------------------------ */

struct tally {
    const struct index *index;
    size_t limit;
    struct deal buckets;
    pthread_mutex_t lock; /* guards `total` */
    struct summary total;
};

static void merge(struct tally *tally, const struct summary *part)
{
    pthread_mutex_lock(&tally->lock);
    struct summary *total = &tally->total;
    total->identifiers += part->identifiers;
    total->occurrences += part->occurrences;
    total->blocks += part->blocks;
    total->bytes += part->bytes;
    total->checksum += part->checksum;
    for (size_t i = 0; i < part->top_count; i++) rank(total, tally->limit, &part->top[i]);
    pthread_mutex_unlock(&tally->lock);
}

static void tally_share(void *context)
{
    struct tally *tally = context;
    struct summary part = new_summary(tally->limit);
    size_t at, end;
    while (deal_next(&tally->buckets, &at, &end)) {
        for (; at < end; at++) {
            const struct identifier *identifier =
                atomic_load_explicit(&tally->index->buckets[at], memory_order_relaxed);
            for (; identifier; identifier = identifier->next) add_identifier(&part, tally->limit, identifier);
        }
    }
    merge(tally, &part);
    summary_release(&part);
}

struct summary summary_of(const struct index *index, size_t top, unsigned threads)
{
    struct tally tally = {.index = index, .limit = top, .buckets = DEAL(index->bucket_count, 256)};
    tally.total = new_summary(top);
    pthread_mutex_init(&tally.lock, NULL);
    crew_run(threads, tally_share, &tally);
    pthread_mutex_destroy(&tally.lock);
    for (size_t i = 0; i < index->file_count; i++)
        if (index->files[i]) add_file(&tally.total, index->files[i]);
    add_block(&tally.total, index->bucket_count * sizeof *index->buckets);
    add_block(&tally.total, (index->file_count + 1) * sizeof *index->files);
    return tally.total;
}

void summary_release(struct summary *summary)
{
    free(summary->top);
    *summary = (struct summary){0};
}
