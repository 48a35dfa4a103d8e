#include "words.h"

#include "console.h"

#include <stdlib.h>
#include <string.h>

/* ---- Hash ----------------------------------------------------------------------------------------------------- */

uint64_t hash_mix(uint64_t left, uint64_t right)
{
    uint64_t x = left + right * 0x9E3779B185EBCA87u; /* odd: no two `right` collide for one `left` */
    x = (x ^ x >> 32) * 0xD6E8FEB86659FD93u;
    x = (x ^ x >> 32) * 0xD6E8FEB86659FD93u;
    return x ^ x >> 32;
}

/* 1 to 8 bytes as a number, without a loop: the two halves overlap where there are fewer than 8. */
static uint64_t load_bytes(const char *text, size_t length)
{
    if (length >= 4) {
        uint32_t first, last;
        memcpy(&first, text, 4);
        memcpy(&last, text + length - 4, 4);
        return (uint64_t)first << 32 | last;
    }
    const unsigned char *bytes = (const unsigned char *)text;
    return (uint64_t)bytes[0] << 16 | (uint64_t)bytes[length / 2] << 8 | bytes[length - 1];
}

uint64_t word_hash(const char *text, size_t length)
{
    uint64_t hash = length; /* tells apart what the overlap makes equal */
    for (; length > 8; text += 8, length -= 8) hash = hash_mix(hash, load_bytes(text, 8));
    return length > 0 ? hash_mix(hash, load_bytes(text, length)) : hash;
}

/* ---- scanner -------------------------------------------------------------------------------------------------- */

enum kind { OTHER, NEWLINE, DIGIT, LETTER }; /* from DIGIT on: what an identifier goes on with */

/* clang-format off */
static const unsigned char kinds[256] = {
    ['\n'] = NEWLINE, ['_'] = LETTER,
    ['0'] = DIGIT,  ['1'] = DIGIT,  ['2'] = DIGIT,  ['3'] = DIGIT,  ['4'] = DIGIT,
    ['5'] = DIGIT,  ['6'] = DIGIT,  ['7'] = DIGIT,  ['8'] = DIGIT,  ['9'] = DIGIT,
    ['a'] = LETTER, ['b'] = LETTER, ['c'] = LETTER, ['d'] = LETTER, ['e'] = LETTER, ['f'] = LETTER, ['g'] = LETTER,
    ['h'] = LETTER, ['i'] = LETTER, ['j'] = LETTER, ['k'] = LETTER, ['l'] = LETTER, ['m'] = LETTER, ['n'] = LETTER,
    ['o'] = LETTER, ['p'] = LETTER, ['q'] = LETTER, ['r'] = LETTER, ['s'] = LETTER, ['t'] = LETTER, ['u'] = LETTER,
    ['v'] = LETTER, ['w'] = LETTER, ['x'] = LETTER, ['y'] = LETTER, ['z'] = LETTER,
    ['A'] = LETTER, ['B'] = LETTER, ['C'] = LETTER, ['D'] = LETTER, ['E'] = LETTER, ['F'] = LETTER, ['G'] = LETTER,
    ['H'] = LETTER, ['I'] = LETTER, ['J'] = LETTER, ['K'] = LETTER, ['L'] = LETTER, ['M'] = LETTER, ['N'] = LETTER,
    ['O'] = LETTER, ['P'] = LETTER, ['Q'] = LETTER, ['R'] = LETTER, ['S'] = LETTER, ['T'] = LETTER, ['U'] = LETTER,
    ['V'] = LETTER, ['W'] = LETTER, ['X'] = LETTER, ['Y'] = LETTER, ['Z'] = LETTER,
};
/* clang-format on */

static enum kind kind_of(char byte)
{
    return (enum kind)kinds[(unsigned char)byte];
}

struct scanner scanner_start(const char *text, size_t size)
{
    return (struct scanner){.at = text, .end = text + size, .line_start = text, .line = 1};
}

bool scanner_next(struct scanner *scanner, struct token *token)
{
    const char *at = scanner->at;
    while (at < scanner->end) {
        const char *start = at;
        enum kind kind = kind_of(*at++);
        if (kind >= DIGIT)
            while (kind_of(*at) >= DIGIT) at++; /* the zero byte at the end stops it */
        if (kind == LETTER) {
            token->text = start;
            token->length = (uint32_t)(at - start);
            token->line = scanner->line;
            token->column = (uint32_t)(start - scanner->line_start) + 1;
            scanner->at = at;
            return true;
        }
        if (kind == NEWLINE) {
            scanner->line++;
            scanner->line_start = at;
        }
    }
    scanner->at = at;
    return false;
}

/* ---- words ---------------------------------------------------------------------------------------------------- */

/* Doubles the slots, and the list to the half of them that may be filled. */
static void grow(struct words *words)
{
    size_t slot_count = words->slot_count ? words->slot_count * 2 : 4096;
    uint32_t *slots = calloc(slot_count, sizeof *slots);
    words->list = realloc(words->list, slot_count / 2 * sizeof *words->list);
    if (!slots || !words->list) console_out_of_memory();
    for (size_t i = 0; i < words->count; i++) {
        size_t slot = (size_t)words->list[i].hash & (slot_count - 1);
        while (slots[slot] != 0) slot = (slot + 1) & (slot_count - 1);
        slots[slot] = (uint32_t)i + 1;
        words->list[i].slot = (uint32_t)slot;
    }
    free(words->slots);
    words->slots = slots;
    words->slot_count = slot_count;
}

struct word *words_find(struct words *words, const struct token *token)
{
    if (words->count == words->slot_count / 2) grow(words);
    uint64_t hash = word_hash(token->text, token->length);
    size_t slot = (size_t)hash & (words->slot_count - 1);
    for (; words->slots[slot] != 0; slot = (slot + 1) & (words->slot_count - 1)) {
        struct word *word = &words->list[words->slots[slot] - 1];
        if (word->hash == hash && word->length == token->length && memcmp(word->text, token->text, word->length) == 0)
            return word;
    }
    struct word *word = &words->list[words->count++];
    *word = (struct word){.text = token->text, .hash = hash, .length = token->length, .slot = (uint32_t)slot};
    words->slots[slot] = (uint32_t)words->count;
    return word;
}

void words_clear(struct words *words)
{
    for (size_t i = 0; i < words->count; i++) words->slots[words->list[i].slot] = 0;
    words->count = 0;
}

void words_release(struct words *words)
{
    free(words->list);
    free(words->slots);
    *words = (struct words){0};
}
