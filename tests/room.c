/* memarena_room, texts that are formatted into it; the addresses of an arena; scopes that end with their block. */
#include "internals.h"
#include "kinds.h"

#include <string.h>

/* A block of just that much needs no refill: what has been claimed stays as it was. */
static void a_block_has_room_as_told(void)
{
    for (int kind = 0; kind < KINDS; kind++) {
        memarena *arena = kinds_create(kind);
        unsigned long long random = test_seed((unsigned long long)kind);
        size_t with_room = 0;
        for (int i = 0; i < 300; i++) {
            char *block = memarena_alloc_aligned(arena, test_between(&random, 1, 200), 8);
            size_t room = memarena_room(arena), claimed = memarena_claimed_bytes(arena);
            if (!block) break;
            CHECK(room % 8 == 0 && room <= memarena_capacity(arena));
            if (room == 0) continue;
            with_room++;
            CHECK(room <= claimed);
            if (i % 10) continue;
            char *all = memarena_alloc_aligned(arena, room, 8);
            if (kind == PER_CPU) continue; /* moved to another CPU, perhaps */
            CHECK(all);
            CHECK_EQ(memarena_claimed_bytes(arena), claimed);
            CHECK_EQ(memarena_room(arena), 0);
            if (kind != SAMPLED) CHECK(all >= block);
            memset(all, 1, room);
            if (i % 20 == 0) CHECK(memarena_drop_last(arena, all, room) || kind == SAMPLED || test_watched(kinds_root));
        }
        bool has_tlab = kind >= SCOPE || (!test_watched(kinds_root) && kind != SMALL && kind != IN_BUFFER);
        if (kind != PER_CPU) CHECK(has_tlab ? with_room > 100 : with_room == 0);
        kinds_destroy();
    }
}

static void nothing_is_left_behind_a_reset(void)
{
    for (int kind = 0; kind < KINDS; kind++) {
        memarena *arena = kinds_create(kind);
        CHECK(memarena_alloc(arena, 8));
        CHECK(memarena_reset(arena));
        if (kind < SCOPE) CHECK_EQ(memarena_room(arena), 0);
        memarena_destroy(kind < SCOPE ? NULL : memarena_scope(arena));
        kinds_destroy();
    }
}

/* ---- Texts ------------------------------------------------------------------------------------------------------- */

static void texts_take_what_they_need(void)
{
    static char expected[70000];
    for (int kind = 0; kind < KINDS; kind++) {
        memarena *arena = kinds_create(kind);
        char *before = NULL;
        size_t length_before = 0;
        for (size_t length = 0; length < 66000; length = length < 600 ? length + 1 : length * 5 / 4) {
            memset(expected, 'a' + (int)(length % 26), length);
            expected[length] = '\0';
            size_t taken = memarena_allocated_bytes(arena), claimed = memarena_claimed_bytes(arena);
            bool has_room = ma_room_own(arena) > length + 8;
            char *text = memarena_printf(arena, "%s", expected);
            if (!text) break;
            CHECK(strcmp(text, expected) == 0 && (uintptr_t)text % 8 == 0);
            taken = memarena_allocated_bytes(arena) - taken;
            if (kind == LARGE || kind == IN_LARGE_BUFFER || kind == SCOPE) CHECK_EQ(taken, test_rounded(length + 1));
            CHECK(taken >= test_rounded(length + 1));
            if (has_room) CHECK_EQ(memarena_claimed_bytes(arena), claimed);
            if (before) CHECK(strlen(before) == length_before); /* it is still whole */
            before = text, length_before = length;
        }
        kinds_destroy();
    }
}

/* One byte more is formatted again, elsewhere. */
static void a_text_fits_to_the_last_byte(void)
{
    static char expected[70000];
    for (int kind = 0; kind < KINDS; kind++) {
        memarena *arena = kinds_create(kind);
        for (size_t i = 0; i < 40; i++) {
            CHECK(memarena_alloc_aligned(arena, 8, 8));
            size_t room = ma_room_own(arena), length = (room < 65536 ? room : 65536) - 20 + i / 2;
            if (room < 64) continue;
            memset(expected, 'a', length);
            expected[length] = '\0';
            char *text = memarena_printf(arena, "%s", expected);
            CHECK(text && strcmp(text, expected) == 0);
        }
        kinds_destroy();
    }
}

/* So a text goes where the next block would, and needs no copy. */
static void a_text_lies_at_the_tip(void)
{
    memarena *arena = memarena_create(64 * MIB), *scope = memarena_scope(arena);
    for (memarena *in = arena; in; in = in == arena ? scope : NULL) {
        char *block = memarena_alloc_aligned(in, 16, 8), *text = memarena_printf(in, "%d", 4711);
        char *next = memarena_alloc_aligned(in, 8, 8);
        if (!test_watched(arena)) CHECK(text == block + 16 && next == text + 8);
        CHECK(strcmp(text, "4711") == 0);
    }
    memarena_destroy(scope);
    memarena_destroy(arena);
}

static void a_text_that_cannot_be_made_takes_nothing(void)
{
    for (int kind = 0; kind < KINDS; kind++) {
        memarena *arena = kinds_create(kind);
        CHECK(memarena_alloc(arena, 8));
        size_t before = memarena_allocated_bytes(arena), room = memarena_room(arena);
        CHECK(!memarena_printf(arena, "%*d", (int)(memarena_capacity(arena) & 0x7fffffff), 1));
        if (kind != PER_CPU) CHECK_EQ(memarena_allocated_bytes(arena), before);
        if (kind != PER_CPU) CHECK(memarena_room(arena) == room || kind < SCOPE);
        kinds_destroy();
    }
}

/* Sampled is the text, with its size. */
static size_t told_size;

static void note_size(void *context, memarena *arena, void *block, size_t size, size_t weight)
{
    (void)context, (void)arena, (void)block, (void)weight;
    told_size = size;
}

static void a_text_is_sampled_as_it_is(void)
{
    memarena *arena = memarena_create(64 * MIB);
    CHECK(memarena_alloc(arena, 8) && memarena_sample(arena, 1, note_size, NULL));
    for (int length = 1; length < 300; length++) {
        CHECK(memarena_printf(arena, "%*d", length, 1));
        CHECK_EQ(told_size, length + 1);
    }
    memarena_destroy(arena);
}

/* ---- Addresses ---------------------------------------------------------------------------------------------------- */

static void all_blocks_lie_in_the_range(void)
{
    for (int kind = 0; kind < KINDS; kind++) {
        memarena *arena = kinds_create(kind);
        void *base = NULL, *again = NULL;
        size_t bytes = 0;
        CHECK(memarena_range(arena, &base, &bytes));
        CHECK(memarena_range(kinds_root, &again, NULL) && again == base);
        CHECK(memarena_range(kinds_root, NULL, &bytes) && bytes >= memarena_capacity(arena));
        CHECK(memarena_owns(kinds_root, base) && !memarena_owns(kinds_root, (char *)base - 1));
        CHECK(memarena_owns(kinds_root, (char *)base + bytes - 1) && !memarena_owns(kinds_root, (char *)base + bytes));
        for (int round = 0; round < 70; round++) { /* more than there are windows */
            size_t size = 1000;
            for (char *block; size >= 8; size /= 2) {
                long left = 200;
                while (left-- > 0 && (block = memarena_alloc_aligned(arena, size, 8)) != NULL)
                    CHECK((uintptr_t)block - (uintptr_t)base <= bytes - size);
            }
            CHECK(memarena_reset(arena));
        }
        kinds_destroy();
    }
}

/* ---- Scopes that end with the block ------------------------------------------------------------------------------ */

static int ended;

static void count_end(void *unused)
{
    (void)unused;
    ended++;
}

static int leave_early(memarena *arena, int when)
{
    memarena_scoped(outer, arena);
    CHECK(outer && memarena_defer(outer, count_end, NULL));
    for (int i = 0; i < 3; i++) {
        memarena_scoped(inner, outer);
        CHECK(inner && memarena_defer(inner, count_end, NULL) && memarena_alloc(inner, 5000));
        if (when == i) return i;
    }
    return 3;
}

static void a_scope_ends_with_its_block(void)
{
    memarena *arena = memarena_create(16 * MIB);
    for (int when = 0; when <= 3; when++) {
        ended = 0;
        CHECK_EQ(leave_early(arena, when), when);
        CHECK_EQ(ended, when < 3 ? when + 2 : 4);
        CHECK_EQ(test_stats(arena).open_scopes, 0);
    }
    CHECK(memarena_alloc(arena, memarena_capacity(arena) / 2));
    while (memarena_alloc_aligned(arena, 64, 8)) continue;
    memarena *last = NULL, *scopes[1000];
    int count = 0;
    while (count < 1000 && (last = memarena_scope(arena)) != NULL) scopes[count++] = last;
    {
        memarena_scoped(none, arena);
        CHECK(!none); /* and nothing to end */
    }
    while (count > 0) memarena_destroy(scopes[--count]);
    {
        memarena_scoped(own, arena);
        memarena_destroy(own);
        own = NULL;
    }
    CHECK(memarena_reset(arena));
    memarena_destroy(arena);
}

int main(void)
{
    RUN(a_block_has_room_as_told);
    RUN(nothing_is_left_behind_a_reset);
    RUN(texts_take_what_they_need);
    RUN(a_text_fits_to_the_last_byte);
    RUN(a_text_lies_at_the_tip);
    RUN(a_text_that_cannot_be_made_takes_nothing);
    RUN(a_text_is_sampled_as_it_is);
    RUN(all_blocks_lie_in_the_range);
    RUN(a_scope_ends_with_its_block);
    return test_done();
}
