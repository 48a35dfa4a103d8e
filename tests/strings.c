/* Copies and texts. */
#include <memarena.h>

#include "test.h"

#include <errno.h>

static memarena *create(size_t capacity)
{
    memarena *arena = memarena_create(capacity);
    CHECK(arena);
    return arena;
}

/* Takes all but `left` bytes, a multiple of 8. */
static void take_all_but(memarena *arena, size_t left)
{
    memarena_reset(arena);
    CHECK(memarena_alloc_aligned(arena, memarena_capacity(arena) - left, 8));
}

static void memdup_copies_bytes(void)
{
    memarena *arena = create((size_t)1 << 20);
    unsigned char bytes[3000];
    for (size_t i = 0; i < sizeof bytes; i++) bytes[i] = (unsigned char)(i * 31);
    for (size_t size = 0; size < sizeof bytes; size = size < 70 ? size + 1 : size * 2) {
        unsigned char *copy = memarena_memdup(arena, bytes, size);
        CHECK(copy && memarena_owns(arena, copy));
        CHECK_EQ((uintptr_t)copy % test_alignment(size), 0);
        CHECK(memcmp(copy, bytes, size) == 0);
    }
    CHECK(memarena_memdup(arena, NULL, 0));
    memarena_destroy(arena);
}

static void strdup_copies_a_string(void)
{
    memarena *arena = create((size_t)1 << 20);
    char text[1000];
    for (size_t length = 0; length < sizeof text; length++) {
        memset(text, 'a' + (int)(length % 26), length);
        text[length] = '\0';
        size_t before = memarena_allocated_bytes(arena);
        char *copy = memarena_strdup(arena, text);
        CHECK(copy && copy != text && memarena_owns(arena, copy));
        CHECK(strcmp(copy, text) == 0);
        CHECK_EQ(strlen(copy), length);
        CHECK_EQ((uintptr_t)copy % 8, 0);
        CHECK_EQ(memarena_allocated_bytes(arena) - before, (length + 8) & ~(size_t)7); /* with its terminator */
    }
    memarena_destroy(arena);
}

static void strings_keep_apart(void)
{
    enum { COUNT = 500 };
    memarena *arena = create((size_t)1 << 20);
    char *copies[COUNT];
    for (size_t i = 0; i < COUNT; i++) {
        char text[64];
        snprintf(text, sizeof text, "%0*zu", (int)(i % 40) + 1, i);
        copies[i] = i % 2 ? memarena_strdup(arena, text) : memarena_strndup(arena, text, strlen(text) + i % 3);
        CHECK(copies[i]);
    }
    for (size_t i = 0; i < COUNT; i++) {
        char text[64];
        snprintf(text, sizeof text, "%0*zu", (int)(i % 40) + 1, i);
        CHECK(strcmp(copies[i], text) == 0);
    }
    memarena_destroy(arena);
}

static void strndup_copies_at_most_so_many_bytes(void)
{
    memarena *arena = create((size_t)1 << 20);
    static const char text[] = "a string of some thirty-odd bytes";
    for (size_t max = 0; max < sizeof text + 10; max++) {
        size_t length = max < sizeof text - 1 ? max : sizeof text - 1, before = memarena_allocated_bytes(arena);
        char *copy = memarena_strndup(arena, text, max);
        CHECK(copy);
        CHECK_EQ(strlen(copy), length);
        CHECK(memcmp(copy, text, length) == 0);
        CHECK_EQ(memarena_allocated_bytes(arena) - before, (length + 8) & ~(size_t)7);
    }
    memarena_destroy(arena);
}

static void strndup_needs_no_terminator_within_the_maximum(void)
{
    memarena *arena = create((size_t)1 << 20);
    char *text = malloc(64); /* its end is the end of the block: a sanitizer sees a read past it */
    CHECK(text);
    memset(text, 'x', 64);
    for (size_t max = 0; max <= 64; max++) {
        char *copy = memarena_strndup(arena, text, max);
        CHECK(copy);
        CHECK_EQ(strlen(copy), max);
    }
    free(text);
    memarena_destroy(arena);
}

static void empty_strings_are_blocks_too(void)
{
    memarena *arena = create(4096);
    const char *nothing = "";
    char *texts[] = {memarena_strdup(arena, nothing), memarena_strndup(arena, nothing, 5),
                     memarena_strndup(arena, "some", 0), memarena_printf(arena, "%s", nothing)};
    for (size_t i = 0; i < 4; i++) {
        CHECK(texts[i] && *texts[i] == '\0' && memarena_owns(arena, texts[i]));
        for (size_t j = 0; j < i; j++) CHECK(texts[i] != texts[j]);
    }
    CHECK_EQ(memarena_allocated_bytes(arena), 32);
    memarena_destroy(arena);
}

static void printf_makes_a_block_of_the_right_size(void)
{
    memarena *arena = create((size_t)1 << 20);
    static const int lengths[] = {1, 2, 7, 8, 9, 100, 253, 254, 255, 256, 257, 258, 511, 512, 513, 1000, 5000, 70000};
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        size_t length = (size_t)lengths[i], before = memarena_allocated_bytes(arena);
        char *text = memarena_printf(arena, "%0*d", lengths[i], 7);
        CHECK(text && memarena_owns(arena, text));
        CHECK_EQ(strlen(text), length);
        CHECK_EQ(text[length - 1], '7');
        for (size_t byte = 0; byte + 1 < length; byte++) CHECK_EQ(text[byte], '0');
        CHECK_EQ(memarena_allocated_bytes(arena) - before, (length + 8) & ~(size_t)7);
    }
    memarena_destroy(arena);
}

static void printf_formats_as_the_standard_one(void)
{
    memarena *arena = create((size_t)1 << 20);
    char *text = memarena_printf(arena, "%d|%s|%c|%5.2f|%zu|%%|%x", -3, "word", 'c', 1.5, (size_t)9, 255u);
    CHECK(text && strcmp(text, "-3|word|c| 1.50|9|%|ff") == 0);
    for (size_t length = 240; length < 270; length++) { /* the arguments are needed twice where the text is long */
        char *padded = memarena_printf(arena, "%*s%d%s", (int)length, "", 42, "end");
        CHECK(padded);
        CHECK_EQ(strlen(padded), length + 5);
        CHECK(strcmp(padded + length, "42end") == 0);
    }
    memarena_destroy(arena);
}

__attribute__((format(printf, 2, 3))) static char *call_vprintf(memarena *arena, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    char *text = memarena_vprintf(arena, format, args);
    va_end(args);
    return text;
}

static void vprintf_takes_a_list(void)
{
    memarena *arena = create((size_t)1 << 20);
    char *brief = call_vprintf(arena, "%s %d", "number", 5), *tall = call_vprintf(arena, "%300d%s", 5, "end");
    CHECK(brief && strcmp(brief, "number 5") == 0);
    CHECK(tall && strlen(tall) == 303 && strcmp(tall + 299, "5end") == 0);
    memarena_destroy(arena);
}

static void a_full_arena_makes_no_copies(void)
{
    memarena *arena = create((size_t)1 << 20);
    char long_text[2001];
    memset(long_text, 'x', sizeof long_text - 1);
    long_text[sizeof long_text - 1] = '\0';
    for (size_t left = 0; left <= 16; left += 8) {
        take_all_but(arena, left);
        size_t before = memarena_allocated_bytes(arena);
#define CHECK_NO_ROOM(call) (errno = 0, CHECK((call) == NULL), CHECK_EQ(errno, ENOMEM))
        CHECK_NO_ROOM(memarena_memdup(arena, long_text, 100));
        CHECK_NO_ROOM(memarena_strdup(arena, long_text));
        CHECK_NO_ROOM(memarena_strdup(arena, "0123456789abcdef")); /* 16 and the terminator */
        CHECK_NO_ROOM(memarena_strndup(arena, long_text, 16));
        CHECK_NO_ROOM(memarena_printf(arena, "%s", long_text));
        CHECK_NO_ROOM(memarena_printf(arena, "%s %d", "a text that is too", 1));
        CHECK_NO_ROOM(call_vprintf(arena, "%s", long_text));
        CHECK_EQ(memarena_allocated_bytes(arena), before);
        CHECK((memarena_strdup(arena, "0123456") != NULL) == (left >= 8));
        CHECK((memarena_printf(arena, "%d", 1234567) != NULL) == (left >= 16));
    }
    memarena_destroy(arena);
}

int main(void)
{
    RUN(memdup_copies_bytes);
    RUN(strdup_copies_a_string);
    RUN(strings_keep_apart);
    RUN(strndup_copies_at_most_so_many_bytes);
    RUN(strndup_needs_no_terminator_within_the_maximum);
    RUN(empty_strings_are_blocks_too);
    RUN(printf_makes_a_block_of_the_right_size);
    RUN(printf_formats_as_the_standard_one);
    RUN(vprintf_takes_a_list);
    RUN(a_full_arena_makes_no_copies);
    return test_done();
}
