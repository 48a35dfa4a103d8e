/* The functions for libraries with hooks like malloc's that do not say how large a block was. */
#include "threads.h"

#include <memarena/adapters/sized.h>

#include <string.h>

static memarena *arena;

static bool all_are(const char *block, char value, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (block[i] != value) return false;
    return true;
}

/* Random calls; every block keeps its own bytes, through all moves, and its alignment. */
static void blocks_keep_what_is_in_them(void)
{
    enum { BLOCKS = 64, STEPS = 20000 };
    struct {
        char *bytes, value;
        size_t size;
    } blocks[BLOCKS] = {{0}};
    unsigned long long seed = 1;
    for (unsigned step = 0; step < STEPS; step++) {
        unsigned i = test_random(&seed) % BLOCKS, kind = test_random(&seed) % 4;
        size_t size = (size_t)(test_random(&seed) % 300), kept = blocks[i].size < size ? blocks[i].size : size;
        CHECK(all_are(blocks[i].bytes, blocks[i].value, blocks[i].size));
        if (kind == 0) {
            memarena_sized_free(arena, blocks[i].bytes);
            blocks[i].bytes = NULL, blocks[i].size = 0;
            continue;
        }
        if (kind == 1 && !blocks[i].bytes) {
            blocks[i].bytes = memarena_sized_calloc(arena, size, 3);
            size *= 3;
            CHECK(blocks[i].bytes && all_are(blocks[i].bytes, 0, size));
        } else {
            blocks[i].bytes = memarena_sized_realloc(arena, blocks[i].bytes, size);
            CHECK(blocks[i].bytes && all_are(blocks[i].bytes, blocks[i].value, kept));
        }
        CHECK_EQ((uintptr_t)blocks[i].bytes % _Alignof(max_align_t), 0);
        blocks[i].size = size, blocks[i].value = (char)(step % 127);
        memset(blocks[i].bytes, blocks[i].value, size);
    }
    for (unsigned i = 0; i < BLOCKS; i++) CHECK(all_are(blocks[i].bytes, blocks[i].value, blocks[i].size));
}

static void sizes_that_wrap_are_refused(void)
{
    char *block = memarena_sized_malloc(arena, 100);
    size_t taken = memarena_allocated_bytes(arena);
    CHECK(block != NULL);
    memset(block, 'x', 100);
    for (size_t less = 0; less <= 64; less++) {
        errno = 0;
        CHECK(memarena_sized_malloc(arena, SIZE_MAX - less) == NULL && errno == ENOMEM);
        errno = 0;
        CHECK(memarena_sized_realloc(arena, block, SIZE_MAX - less) == NULL && errno == ENOMEM);
        errno = 0;
        CHECK(memarena_sized_calloc(arena, 1, SIZE_MAX - less) == NULL && errno == ENOMEM);
    }
    errno = 0;
    CHECK(memarena_sized_calloc(arena, SIZE_MAX / 2, 4) == NULL && errno == ENOMEM);
    errno = 0;
    CHECK(memarena_sized_calloc(arena, 4, SIZE_MAX / 4 + 2) == NULL && errno == ENOMEM); /* 4 bytes, if it wrapped */
    CHECK_EQ(memarena_allocated_bytes(arena), taken);
    CHECK(all_are(block, 'x', 100));
    CHECK((block = memarena_sized_realloc(arena, block, 200)) != NULL && all_are(block, 'x', 100));
}

static void nothing_is_a_block_too(void)
{
    void *first = memarena_sized_malloc(arena, 0), *second = memarena_sized_calloc(arena, 0, 8),
         *third = memarena_sized_realloc(arena, NULL, 0);
    CHECK(first && second && third && first != second && second != third && first != third);
    CHECK(memarena_sized_realloc(arena, second, 0) == second);
    size_t taken = memarena_allocated_bytes(arena);
    memarena_sized_free(arena, NULL);
    CHECK_EQ(memarena_allocated_bytes(arena), taken);
    char *grown = memarena_sized_realloc(arena, first, 50);
    CHECK(grown != NULL);
    memset(grown, 1, 50);
}

/* What is freed last in, first out, is there again: not a byte is lost but what keeps the size. Under a sanitizer it stays
 * taken, so that whoever uses it is found. */
static void the_last_block_is_given_back(void)
{
    memarena_stats stats;
    memarena_get_stats(arena, &stats, sizeof stats);
    if (stats.watched) return;
    void *block = memarena_sized_malloc(arena, 8);
    size_t before = memarena_allocated_bytes(arena);
    for (int i = 0; i < 100; i++) {
        CHECK((block = memarena_sized_malloc(arena, 1000)) != NULL);
        memarena_sized_free(arena, block);
    }
    CHECK(memarena_allocated_bytes(arena) - before <= 100 * 2 * MEMARENA_SIZED_PREFIX_);
    CHECK((block = memarena_sized_malloc(arena, 1000)) != NULL);
    CHECK(memarena_sized_realloc(arena, block, 2000) == block); /* in place */
}

#if TEST_ASAN
int __asan_address_is_poisoned(const volatile void *address);

static void what_is_freed_is_forbidden(void)
{
    char *block = memarena_sized_malloc(arena, 100);
    CHECK(block && !__asan_address_is_poisoned(block) && !__asan_address_is_poisoned(block + 99));
    CHECK(__asan_address_is_poisoned(block + 104));
    memarena_sized_free(arena, block);
    CHECK(__asan_address_is_poisoned(block) && __asan_address_is_poisoned(block + 99));
}
#endif

int main(void)
{
    memarena *root = memarena_create((size_t)64 << 20);
    CHECK(root != NULL);
    for (int scoped = 0; scoped < 2; scoped++) {
        arena = scoped ? memarena_scope(root) : root;
        CHECK(arena != NULL);
        RUN(nothing_is_a_block_too);
        RUN(blocks_keep_what_is_in_them);
        RUN(sizes_that_wrap_are_refused);
        RUN(the_last_block_is_given_back);
#if TEST_ASAN
        RUN(what_is_freed_is_forbidden);
#endif
        if (scoped) memarena_destroy(arena);
    }
    memarena_destroy(root);
    return test_done();
}
