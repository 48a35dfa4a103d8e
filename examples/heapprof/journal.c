#include "journal.h"

#include <inttypes.h>

/* On the stack, and under its name, whatever the compiler thinks of it. */
#define SITE __attribute__((noinline, visibility("default")))

#define VOCABULARY 20000u
#define WORDS_MAX 16

const char *const journal_sites[SITES] = {"keep_line", "split_line", "remember_word", "add_posting", "grow_table"};

typedef struct word {
    const char *text;
    size_t length;
} word;

typedef struct posting {
    struct posting *older;
    const char *line;
    uint32_t number, place;
} posting;

typedef struct entry {
    struct entry *next;
    const char *name;
    uint64_t hash;
    posting *newest;
} entry;

typedef struct journal {
    memarena *arena;
    entry **buckets;
    size_t bucket_count, entry_count;
    uint64_t random;
    journal_counts *counts;
} journal;

char *keep_line(journal *into, const char *text, size_t length);
word *split_line(journal *into, const char *line, size_t *count);
entry *remember_word(journal *into, const word *which, uint64_t hash);
bool add_posting(journal *into, entry *to, const char *line, size_t number, size_t place);
bool grow_table(journal *into);
bool take_line(journal *into, size_t number);

static void count(journal *into, int site, size_t size)
{
    into->counts->bytes[site] += (size + 7) & ~(size_t)7;
}

/* ---- The made-up log ----------------------------------------------------------------------------------------------- */

static uint64_t next_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

/* Words like w17: the smaller the number, the more often. */
static size_t make_line(journal *into, size_t number, char *text, size_t room)
{
    size_t words = 6 + (size_t)(next_random(&into->random) % 7), length = (size_t)snprintf(text, room, "%zu", number);
    for (size_t i = 0; i < words; i++) {
        uint64_t a = next_random(&into->random) % VOCABULARY, b = next_random(&into->random) % VOCABULARY;
        length += (size_t)snprintf(text + length, room - length, " w%" PRIu64, a * b / VOCABULARY);
    }
    return length;
}

/* ---- Who takes memory ------------------------------------------------------------------------------------------------ */

SITE char *keep_line(journal *into, const char *text, size_t length)
{
    char *line = memarena_strndup(into->arena, text, length);
    if (line) count(into, SITE_KEEP_LINE, length + 1);
    return line;
}

SITE word *split_line(journal *into, const char *line, size_t *word_count)
{
    word words[WORDS_MAX];
    size_t found = 0;
    for (const char *at = line; *at && found < WORDS_MAX;) {
        size_t length = strcspn(at, " ");
        words[found++] = (word){at, length};
        at += length + (at[length] == ' ');
    }
    word *list = memarena_new_array(into->arena, word, found);
    if (!list) return NULL;
    memcpy(list, words, found * sizeof *words);
    count(into, SITE_SPLIT_LINE, found * sizeof *words);
    *word_count = found;
    return list;
}

SITE bool grow_table(journal *into)
{
    size_t bucket_count = into->bucket_count ? into->bucket_count * 2 : 1024;
    entry **buckets = memarena_new_array(into->arena, entry *, bucket_count);
    if (!buckets) return false;
    count(into, SITE_GROW_TABLE, bucket_count * sizeof *buckets);
    for (size_t i = 0; i < into->bucket_count; i++)
        for (entry *at = into->buckets[i], *next; at; at = next) {
            next = at->next;
            at->next = buckets[at->hash % bucket_count];
            buckets[at->hash % bucket_count] = at;
        }
    into->buckets = buckets;
    into->bucket_count = bucket_count;
    return true;
}

SITE entry *remember_word(journal *into, const word *which, uint64_t hash)
{
    entry *made = memarena_new(into->arena, entry);
    char *name = made ? memarena_strndup(into->arena, which->text, which->length) : NULL;
    if (!name) return NULL;
    count(into, SITE_REMEMBER_WORD, sizeof *made);
    count(into, SITE_REMEMBER_WORD, which->length + 1);
    entry **bucket = &into->buckets[hash % into->bucket_count];
    *made = (entry){.next = *bucket, .name = name, .hash = hash};
    *bucket = made;
    into->entry_count++;
    return made;
}

SITE bool add_posting(journal *into, entry *to, const char *line, size_t number, size_t place)
{
    posting *made = memarena_new_value(into->arena, posting, .older = to->newest, .line = line,
                                       .number = (uint32_t)number, .place = (uint32_t)place);
    if (!made) return false;
    count(into, SITE_ADD_POSTING, sizeof *made);
    to->newest = made;
    return true;
}

/* ---- Line by line ----------------------------------------------------------------------------------------------------- */

static uint64_t hash_of(const word *which)
{
    uint64_t hash = UINT64_C(14695981039346656037);
    for (size_t i = 0; i < which->length; i++) hash = (hash ^ (unsigned char)which->text[i]) * UINT64_C(1099511628211);
    return hash;
}

static entry *find(const journal *in, const word *which, uint64_t hash)
{
    for (entry *at = in->buckets[hash % in->bucket_count]; at; at = at->next)
        if (at->hash == hash && strncmp(at->name, which->text, which->length) == 0 && !at->name[which->length])
            return at;
    return NULL;
}

SITE bool take_line(journal *into, size_t number)
{
    char text[256];
    size_t word_count, length = make_line(into, number, text, sizeof text);
    char *line = keep_line(into, text, length);
    word *words = line ? split_line(into, line, &word_count) : NULL;
    if (!words) return false;
    for (size_t i = 1; i < word_count; i++) { /* not the number of the line */
        uint64_t hash = hash_of(&words[i]);
        if (into->entry_count >= into->bucket_count && !grow_table(into)) return false;
        entry *known = find(into, &words[i], hash);
        if (!known) known = remember_word(into, &words[i], hash);
        if (!known || !add_posting(into, known, line, number, i)) return false;
    }
    return true;
}

bool journal_take_in(memarena *arena, size_t first_line, size_t line_count, journal_counts *counts)
{
    journal mine = {.arena = arena, .random = first_line * UINT64_C(0x9E3779B97F4A7C15) | 1, .counts = counts};
    bool done = grow_table(&mine);
    for (size_t i = 0; done && i < line_count; i++) done = take_line(&mine, first_line + i);
    return done;
}
