/* Other libraries in a scope: each does its work there on real input, leaves nothing outside, is refused cleanly where
 * there is no room, and gives all back with the scope. The libraries are those that CMake found. */
#include "job.h"

static memarena *shared;
char *text;
size_t text_bytes;
char packed[TEXT_MAX], unpacked[TEXT_MAX];

void check_unpacked(size_t bytes)
{
    CHECK_EQ(bytes, text_bytes);
    CHECK(memcmp(unpacked, text, text_bytes) == 0);
    memset(unpacked, 0, sizeof unpacked);
}

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

const char *next_word(const char **at, size_t *length)
{
    const char *start = *at, *end = text + text_bytes;
    while (start < end && !is_letter(*start)) start++;
    *at = start;
    while (*at < end && is_letter(**at)) (*at)++;
    *length = (size_t)(*at - start);
    return *length ? start : NULL;
}

size_t count_word(const char *word, size_t length)
{
    size_t found = 0, other_length;
    const char *at = text, *other;
    while ((other = next_word(&at, &other_length)) != NULL)
        found += other_length == length && memcmp(other, word, length) == 0;
    return found;
}

static size_t allocated(void)
{
    return memarena_allocated_bytes(shared);
}

/* Many times, and then, if it `survives` that, with less room. */
static void try_job(const char *name, job *does, bool survives)
{
    size_t most = 0;
    printf("  %s\n", name);
    for (int i = 0; i < 5; i++) {
        memarena *scope = memarena_scope(shared);
        CHECK(scope != NULL);
        CHECK(does(scope));
        size_t used = allocated();
        CHECK(used > 0 && (i == 0 || used <= most + 64 * KIB)); /* nothing piles up */
        if (used > most) most = used;
        memarena_destroy(scope);
        CHECK_EQ(allocated(), 0);
    }
    printf("    %zu KiB at most\n", most / KIB);
    unsigned refused = survives ? 0 : 1;
    for (size_t room = 8 * KIB; survives && room < most; room += room / 4) {
        memarena *small = memarena_create(room), *scope = small ? memarena_scope(small) : NULL;
        CHECK(scope != NULL);
        refused += !does(scope);
        memarena_destroy(scope);
        CHECK_EQ(memarena_allocated_bytes(small), 0);
        memarena_destroy(small);
    }
    CHECK(refused > 0);
}

static void read_text(const char *path)
{
    FILE *file = fopen(path, "rb");
    CHECK(file != NULL);
    text = malloc(TEXT_MAX / 4 + 1);
    CHECK(file != NULL && text != NULL);
    size_t once = fread(text, 1, TEXT_MAX / 64, file);
    fclose(file);
    CHECK(once > 10000);
    for (text_bytes = 0; text_bytes + once <= TEXT_MAX / 16; text_bytes += once)
        if (text_bytes > 0) memcpy(text + text_bytes, text, once);
    text[text_bytes] = '\0';
}

int main(int argc, char **argv)
{
    CHECK_EQ(argc, 2);
    read_text(argv[1]);
    shared = memarena_create(256 * MIB);
    CHECK(shared != NULL);
    (void)try_job; /* there may be no library at all */
#ifdef HAVE_ZLIB
    try_job("zlib", zlib_job, true);
#endif
#ifdef HAVE_ZSTD
    try_job("zstd", zstd_job, true);
#endif
#ifdef HAVE_BROTLI
    try_job("brotli", brotli_job, false); /* the encoder calls exit where memory ends */
#endif
#ifdef HAVE_LZMA
    try_job("lzma", lzma_job, true);
#endif
#ifdef HAVE_PNG
    try_job("png", png_job, true);
#endif
#ifdef HAVE_PROTOBUF_C
    try_job("protobuf-c", protobuf_c_job, true);
#endif
#ifdef HAVE_FREETYPE
    try_job("freetype", freetype_job, true);
#endif
#ifdef HAVE_PCRE2
    try_job("pcre2", pcre2_job, true);
#endif
#ifdef HAVE_LUA
    try_job("lua", lua_job, true);
#endif
#ifdef HAVE_DUKTAPE
    try_job("duktape", duktape_job, true);
#endif
#ifdef HAVE_UTHASH
    try_job("uthash", uthash_job, true);
#endif
    memarena_destroy(shared);
    free(text);
    if (test_checks < 10) SKIP("none of the libraries is here");
    return test_done();
}
