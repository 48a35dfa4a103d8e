/* memarena_ref and memarena_deref: a pointer that knows when its block died. */
#include "threads.h"

#include <errno.h>

#define CAPACITY ((size_t)16 << 20)

static memarena *create(size_t capacity)
{
    return memarena_create_with(&(memarena_options){.capacity = capacity, .name = "frames", .flags = test_traps()});
}

static void check_references(memarena *arena)
{
    memarena_reference kept[100];
    for (int round = 0; round < 80; round++) {
        void *blocks[100];
        for (int i = 0; i < 100; i++) {
            blocks[i] = memarena_alloc_aligned(arena, (size_t)(8 + 8 * i), 8);
            CHECK(blocks[i] != NULL);
            if (round > 0) CHECK(memarena_deref(arena, kept[i]) == NULL);
            kept[i] = memarena_ref(arena, blocks[i]);
            CHECK(kept[i] != 0);
        }
        for (int i = 0; i < 100; i++) CHECK(memarena_deref(arena, kept[i]) == blocks[i]);
        CHECK(memarena_reset(arena));
        for (int i = 0; i < 100; i++) CHECK(memarena_deref(arena, kept[i]) == NULL);
    }
}

static void a_reference_gives_null_once_its_generation_is_over(void)
{
    memarena *arenas[] = {create(CAPACITY), memarena_create(CAPACITY), memarena_create(0), memarena_create(100000)};
    for (size_t i = 0; i < sizeof arenas / sizeof *arenas; i++) {
        CHECK(arenas[i] != NULL);
        check_references(arenas[i]);
        CHECK(memarena_deref(arenas[i], 0) == NULL);
        errno = 0;
        CHECK(memarena_ref(arenas[i], &errno) == 0 && errno == EINVAL);
        char *block = memarena_alloc(arenas[i], 16);
        errno = 0;
        CHECK(memarena_ref(arenas[i], block + 1) == 0 && errno == EINVAL);
        memarena *scope = memarena_scope(arenas[i]);
        if (i < 3) CHECK(scope != NULL);
        void *private = scope ? memarena_alloc(scope, 16) : NULL;
        if (private) CHECK(memarena_deref(arenas[i], memarena_ref(scope, private)) == private);
        memarena_destroy(scope);
        memarena_destroy(arenas[i]);
    }
}

static void the_last_bytes_can_be_referred_to(void)
{
    memarena *arena = memarena_create(CAPACITY);
    CHECK(arena != NULL);
    char *all = memarena_alloc_aligned(arena, CAPACITY, 8);
    CHECK(all != NULL);
    CHECK(memarena_deref(arena, memarena_ref(arena, all)) == all);
    CHECK(memarena_deref(arena, memarena_ref(arena, all + CAPACITY - 8)) == all + CAPACITY - 8);
    if (!test_watched(arena))
        CHECK(memarena_ref(arena, all + CAPACITY) == 0); /* (else it lies three times as far apart) */
    memarena_destroy(arena);
}

/* It may have come back from somebody who cannot be trusted. */
static void what_is_no_reference_is_not_outside_of_the_arena(void)
{
    for (size_t capacity = 4; capacity < 4 * CAPACITY; capacity *= 4) {
        memarena *arena = memarena_create(capacity + capacity / 2);
        CHECK(arena != NULL);
        for (int round = 0; round < 3; round++) {
            memarena_reference first = memarena_ref(arena, memarena_alloc_aligned(arena, 8, 8));
            for (unsigned bit = 0; bit < 64; bit++) {
                memarena_reference changed[] = {first ^ (uint64_t)1 << bit, (first - 1) ^ (uint64_t)1 << bit,
                                                first - 1};
                for (int i = 0; i < 3; i++) {
                    const void *block = memarena_deref(arena, changed[i]);
                    CHECK(block == NULL || memarena_owns(arena, block));
                }
            }
            CHECK(memarena_reset(arena));
        }
        memarena_destroy(arena);
    }
}

int main(void)
{
    RUN(a_reference_gives_null_once_its_generation_is_over);
    RUN(the_last_bytes_can_be_referred_to);
    RUN(what_is_no_reference_is_not_outside_of_the_arena);
    return test_done();
}
