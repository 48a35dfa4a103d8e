/* words: the identifiers in one text, each with its places.
 *
 *   scanner   walks a text and yields its identifiers, [A-Za-z_][A-Za-z0-9_]*, with line and column. Comments and
 *             strings are text like any other; a number takes its letters with it (0xff and 10UL are no identifiers).
 *   words     the different words of one text, each with a list that the caller hangs on it. One thread's own: it
 *             spares the shared table a visit per occurrence, and most words are met again while still in the cache. */
#ifndef INDEX_WORDS_H
#define INDEX_WORDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct posting;

/* A hash of all 64 bits; the same in every run on one machine. */
uint64_t word_hash(const char *text, size_t length);
/* Two numbers into one, all bits of both in all bits of the result. */
uint64_t hash_mix(uint64_t left, uint64_t right);

/* ---- scanner -------------------------------------------------------------------------------------------------- */

struct token {
    const char *text; /* in the scanned text, not terminated */
    uint32_t length;
    uint32_t line, column; /* from 1; columns count bytes */
};

struct scanner {
    const char *at, *end, *line_start;
    uint32_t line;
};

/* `text` has fewer than 4 GiB, and text[size] is a zero byte, which ends a last identifier. */
struct scanner scanner_start(const char *text, size_t size);
bool scanner_next(struct scanner *scanner, struct token *token);

/* ---- words ---------------------------------------------------------------------------------------------------- */

struct word {
    const char *text;
    uint64_t hash;
    uint32_t length;
    uint32_t slot;                /* where `slots` names it */
    struct posting *first, *last; /* the caller's list; NULL in a new word */
};

struct words { /* starts zeroed */
    struct word *list;
    size_t count;
    uint32_t *slots;   /* open addressing: 1 + position in `list`, or 0 */
    size_t slot_count; /* a power of two, at least twice `count` */
};

/* The word of this token, new or met before; valid until the next call. Lack of memory ends the process. */
struct word *words_find(struct words *words, const struct token *token);
/* Forgets the words and keeps the memory for the next text. Cost: by the words, not by the slots. */
void words_clear(struct words *words);
void words_release(struct words *words);

#endif
