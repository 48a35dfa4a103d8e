/* uthash: a table of all words of a text, with how often each is there; its elements are blocks, too. */
#include "jobs.h"

#include <stdlib.h>
#include <string.h>

#define MEMARENA_UTHASH_ARENA arena
#include <memarena/adapters/uthash.h>

static inline void *adapter_alloc(memarena *arena, size_t size)
{
    return uthash_malloc(size);
}

static inline void adapter_free(void *block, size_t size)
{
    uthash_free(block, size);
    (void)size;
}

/* uthash takes memory by macros, which count where its own are used: in this file, from here on, these. A branch more than
 * a program has, of a few instructions, in each way. */
static inline void *take(const struct memory *memory, size_t size)
{
    void *block = memory->from == FROM_MALLOC  ? malloc(size)
                  : memory->from == FROM_ARENA ? adapter_alloc(memory->scope, size)
                                               : counted_alloc(size);
    if (!block) job_failed("uthash_malloc");
    return block;
}

static inline void give_back(const struct memory *memory, void *block, size_t size)
{
    if (memory->from == FROM_MALLOC)
        free(block);
    else if (memory->from == FROM_ARENA)
        adapter_free(block, size);
    else
        counted_free(block);
}

#undef uthash_malloc
#undef uthash_free
#define uthash_malloc(size) take(memory, size)
#define uthash_free(block, size) give_back(memory, block, size)

struct word {
    const char *at;
    unsigned bytes, count;
    UT_hash_handle hh;
};

static struct {
    unsigned words, distinct, most;
} answer;

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

/* The next word, a run of small letters and digits, of the text from `*at` on; `*at` is then behind it. NULL: there is none. */
static const char *next_word(const char **at, unsigned *bytes)
{
    const char *start = *at;
    while (*start && !is_letter(*start)) start++;
    const char *end = start;
    while (is_letter(*end)) end++;
    *at = end, *bytes = (unsigned)(end - start);
    return *bytes > 0 ? start : NULL;
}

static void count_words(const struct memory *memory)
{
    struct word *words = NULL, *word, *next;
    unsigned bytes;
    memset(&answer, 0, sizeof answer);
    for (const char *at = text, *start; (start = next_word(&at, &bytes)) != NULL; answer.words++) {
        HASH_FIND(hh, words, start, bytes, word);
        if (!word) {
            word = take(memory, sizeof *word);
            *word = (struct word){.at = start, .bytes = bytes};
            HASH_ADD_KEYPTR(hh, words, word->at, word->bytes, word);
        }
        if (++word->count > answer.most) answer.most = word->count;
    }
    answer.distinct = HASH_COUNT(words);
    if (!memory->clean_up) return;
    HASH_ITER(hh, words, word, next)
    {
        HASH_DELETE(hh, words, word);
        give_back(memory, word, sizeof *word);
    }
}

struct span {
    const char *at;
    unsigned bytes;
};

static int compare(const void *left, const void *right)
{
    const struct span *a = left, *b = right;
    int order = memcmp(a->at, b->at, a->bytes < b->bytes ? a->bytes : b->bytes);
    return order != 0 ? order : a->bytes < b->bytes ? -1 : a->bytes > b->bytes;
}

/* By sorting instead. */
static bool is_counted(void)
{
    static struct span spans[TEXT_BYTES / 2];
    unsigned words = 0, distinct = 0, most = 0, run = 0, bytes;
    for (const char *at = text, *start; (start = next_word(&at, &bytes)) != NULL;)
        spans[words++] = (struct span){start, bytes};
    qsort(spans, words, sizeof *spans, compare);
    for (unsigned i = 0; i < words; i++) {
        bool first = i == 0 || compare(&spans[i - 1], &spans[i]) != 0;
        distinct += first;
        run = first ? 1 : run + 1;
        if (run > most) most = run;
    }
    bool right = distinct > 500 && answer.words == words && answer.distinct == distinct && answer.most == most;
    memset(&answer, 0, sizeof answer);
    return right;
}

const struct job uthash_jobs[] = {
    {"uthash", "counts all words of 64 KB", NULL, count_words, is_counted},
    {0},
};
