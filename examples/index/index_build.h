/* index_build: the one program text that builds an index, for two allocators.
 *
 * index_arena.c and index_malloc.c define these five and the release, then include this file. So every block is one
 * inlined call of its allocator, and neither pays for the choice:
 *
 *   bool heap_open(index)                   before the first block
 *   T *heap_new(index, T, ...)              a T initialised from { ... }
 *   T *heap_new_array(index, T, count)      zeroed
 *   char *heap_new_name(index, text, size)  a terminated copy
 *   void heap_discard(index, block)         a block that was not needed after all
 *
 * All but heap_open return NULL when memory is out; `need` below makes that the end.
 *
 * Concurrency. Each thread takes the next file, collects its words privately, one posting per occurrence, and then
 * publishes word by word: it finds or adds the identifier in the shared table and puts the word's whole chain of
 * postings in front of the identifier's, with one CAS. Nothing is ever removed while the threads run, so there is
 * neither ABA nor reclamation to care for. */
#ifndef INDEX_INDEX_BUILD_H
#define INDEX_INDEX_BUILD_H

#include "console.h"
#include "crew.h"
#include "index.h"
#include "words.h"

#include <errno.h>
#include <string.h>

static inline void *need(void *block)
{
    if (!block) console_out_of_memory();
    return block;
}

/* ---- The shared table ----------------------------------------------------------------------------------------- */

/* Looks for the word from `at` to just before `until`. */
static struct identifier *search(struct identifier *at, const struct identifier *until, const struct word *word)
{
    for (; at != until; at = at->next)
        if (at->hash == word->hash && at->length == word->length && memcmp(at->name, word->text, word->length) == 0)
            return at;
    return NULL;
}

static struct identifier *new_identifier(struct index *index, const struct word *word)
{
    char *name = need(heap_new_name(index, word->text, word->length));
    return need(heap_new(index, struct identifier, .name = name, .hash = word->hash, .length = word->length));
}

static struct identifier *find_or_add(struct index *index, const struct word *word)
{
    identifier_list *bucket = &index->buckets[word->hash >> index->bucket_shift];
    /* acquire: pairs with the release below, so that what `head` leads to is complete */
    struct identifier *head = atomic_load_explicit(bucket, memory_order_acquire);
    struct identifier *known = search(head, NULL, word);
    if (known) return known;
    struct identifier *mine = new_identifier(index, word);
    for (;;) {
        mine->next = head;
        /* release: publishes `mine`; acquire on failure, since the new head is read next */
        if (atomic_compare_exchange_weak_explicit(bucket, &head, mine, memory_order_acq_rel, memory_order_acquire))
            return mine;
        /* Others put identifiers in front of the old head; one of them may be ours, added by a thread just as quick. */
        known = search(head, mine->next, word);
        if (known) break;
    }
    heap_discard(index, mine->name);
    heap_discard(index, mine);
    return known;
}

/* Puts the word's chain in front of what the identifier has. */
static void publish(struct index *index, const struct word *word)
{
    posting_list *postings = &find_or_add(index, word)->postings;
    struct posting *head = atomic_load_explicit(postings, memory_order_relaxed);
    do {
        word->last->next = head; /* `head` is only stored, never followed, until the threads are joined: relaxed does */
    } while (!atomic_compare_exchange_weak_explicit(postings, &head, word->first, memory_order_relaxed,
                                                    memory_order_relaxed));
}

/* ---- One file ------------------------------------------------------------------------------------------------- */

static void index_text(struct index *index, struct words *words, const struct file *file, const struct file_text *text)
{
    struct scanner scanner = scanner_start(text->bytes, text->size);
    struct token token;
    while (scanner_next(&scanner, &token)) {
        struct word *word = words_find(words, &token);
        word->first = need(heap_new(index, struct posting, .next = word->first, .file = file, .line = token.line,
                                    .column = token.column));
        if (!word->last) word->last = word->first;
    }
    for (size_t i = 0; i < words->count; i++) publish(index, &words->list[i]);
    words_clear(words);
}

static struct file *new_file(struct index *index, const char *relative_path)
{
    size_t length = strlen(relative_path);
    char *path = need(heap_new_name(index, relative_path, length));
    return need(heap_new(index, struct file, .path = path, .hash = word_hash(path, length)));
}

/* ---- All files ------------------------------------------------------------------------------------------------ */

struct build {
    struct index *index;
    const struct file_list *list;
    struct deal files;
    atomic_size_t done; /* for the progress line only, so relaxed */
};

static void build_share(void *context)
{
    struct build *build = context;
    struct file_text text = {0};
    struct words words = {0};
    size_t at, end;
    while (deal_next(&build->files, &at, &end)) {
        const char *path = build->list->paths[at];
        if (file_text_read(&text, path)) {
            build->index->files[at] = new_file(build->index, path + build->list->prefix_length);
            index_text(build->index, &words, build->index->files[at], &text);
        } else {
            console_error(path, errno);
            atomic_fetch_add_explicit(&build->index->unreadable, 1, memory_order_relaxed);
        }
        size_t done = atomic_fetch_add_explicit(&build->done, 1, memory_order_relaxed) + 1;
        console_progress(done, build->list->count);
    }
    words_release(&words);
    file_text_release(&text);
}

/* A bucket per 128 bytes of text: C headers have one different identifier in about 300 bytes. */
static void size_table(struct index *index, size_t text_bytes)
{
    unsigned bits = 10;
    while (bits < 30 && text_bytes >> bits > 128) bits++;
    index->bucket_count = (size_t)1 << bits;
    index->bucket_shift = 64 - bits;
}

static bool index_build(struct index *index, const struct file_list *list, unsigned threads)
{
    *index = (struct index){.file_count = list->count};
    if (!heap_open(index)) return false;
    size_table(index, list->total_bytes);
    index->buckets = need(heap_new_array(index, identifier_list, index->bucket_count));
    index->files = need(heap_new_array(index, struct file *, index->file_count + 1));
    struct build build = {.index = index, .list = list, .files = DEAL(list->count, 1)};
    crew_run(threads, build_share, &build);
    console_end_progress();
    return true;
}

#endif
