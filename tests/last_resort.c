/* When an arena is full its blocks come out of what scopes have given back: inside of it, whatever their alignment. */
#include "threads.h"
#include "yield.h"

#include <string.h>

#define KIB ((size_t)1 << 10)
#define SCOPES 64u

/* Scopes, each with a block that fills its extent; every second one has ended. */
static struct {
    memarena *scope;
    unsigned char *block;
} held[SCOPES];

static bool is_filled(const unsigned char *at, unsigned char value, size_t size)
{
    while (size > 0)
        if (at[--size] != value) return false;
    return true;
}

static void take_aligned(size_t extent, size_t alignment)
{
    memarena *arena = test_create((size_t)4 << 20);
    size_t size = extent - 512, taken = 0;
    CHECK(arena);
    for (unsigned i = 0; i < SCOPES; i++) {
        CHECK((held[i].scope = memarena_scope(arena)) != NULL);
        CHECK((held[i].block = memarena_alloc_aligned(held[i].scope, size, 8)) != NULL);
        memset(held[i].block, (int)i, size);
    }
    (void)test_fill(arena, 4 * KIB, NULL, 1);
    for (unsigned i = 0; i < SCOPES; i += 2) memarena_destroy(held[i].scope);
    for (unsigned char *block; (block = memarena_alloc_aligned(arena, 8, alignment)) != NULL; taken++) {
        CHECK_EQ((uintptr_t)block % alignment, 0);
        memset(block, 0xEE, 8);
        for (unsigned i = 1; i < SCOPES; i += 2) CHECK(!memarena_owns(held[i].scope, block));
    }
    CHECK(alignment + 8 > extent || taken > 0);
    for (unsigned i = 1; i < SCOPES; i += 2) {
        CHECK(is_filled(held[i].block, (unsigned char)i, size));
        memarena_destroy(held[i].scope);
    }
    CHECK(memarena_reset(arena));
    memarena_destroy(arena);
}

static void a_block_out_of_what_scopes_gave_back_lies_inside_of_it(void)
{
    for (size_t extent = KIB; extent <= 16 * KIB; extent *= 2)
        for (size_t alignment = 8; alignment <= 32 * KIB; alignment *= 2) take_aligned(extent, alignment);
}

int main(void)
{
    RUN(a_block_out_of_what_scopes_gave_back_lies_inside_of_it);
    return test_done();
}
