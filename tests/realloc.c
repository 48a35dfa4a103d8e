/* Resizing: in place at the tip, moved otherwise, and the accounts stay exact through all of it. */
#include <memarena.h>

#include "test.h"

#include <errno.h>
#include <pthread.h>

#define KIB ((size_t)1 << 10)
#define MIB ((size_t)1 << 20)

static size_t rounded(size_t size)
{
    return size ? (size + 7) & ~(size_t)7 : 8;
}

static void stamp(void *block, size_t size, unsigned seed)
{
    unsigned char *byte = block;
    for (size_t i = 0; i < size; i++) byte[i] = (unsigned char)(i * 7 + i / 251 + seed);
}

static bool is_stamped(const void *block, size_t size, unsigned seed)
{
    const unsigned char *byte = block;
    for (size_t i = 0; i < size; i++)
        if (byte[i] != (unsigned char)(i * 7 + i / 251 + seed)) return false;
    return true;
}

/* All that is left of the arena can be had, to its last 8 bytes. */
static void check_fills(memarena *arena)
{
    size_t capacity = memarena_capacity(arena) & ~(size_t)7;
    for (size_t size = capacity; size >= 8; size = size / 2 & ~(size_t)7)
        while (memarena_alloc_aligned(arena, size, 8)) continue;
    CHECK_EQ(memarena_allocated_bytes(arena), capacity);
}

static bool is_watched(const memarena *arena)
{
    memarena_stats stats;
    memarena_get_stats(arena, &stats, sizeof stats);
    return stats.watched;
}

/* Resizes the newest block: in place, and exactly accounted for. */
static void resize_newest(memarena *arena, char **block, size_t *size, size_t new_size)
{
    size_t before = memarena_allocated_bytes(arena), kept = *size < new_size ? *size : new_size;
    char *now = memarena_realloc(arena, *block, *size, new_size);
    CHECK(now);
    CHECK(is_stamped(now, kept, 1));
    CHECK(now == *block);
    CHECK_EQ(memarena_allocated_bytes(arena), before - rounded(*size) + rounded(new_size));
    *block = now;
    *size = new_size;
    stamp(now, new_size, 1);
}

static void the_last_block_is_resized_in_place(void)
{
    static const size_t sizes[] = {100, 101, 500, 8, 1, 0, 700, 24, 700, 699, 64};
    static const size_t capacities[] = {64 * KIB, MIB, 64 * MIB};
    for (size_t c = 0; c < sizeof capacities / sizeof *capacities; c++) {
        memarena *arena = memarena_create(capacities[c]);
        CHECK(arena);
        size_t size = 24;
        char *block = memarena_alloc(arena, size);
        CHECK(block);
        stamp(block, size, 1);
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) resize_newest(arena, &block, &size, sizes[i]);
        memarena_destroy(arena);
    }
}

/* Without a lane, as in a small arena. */
static void in_a_small_arena_the_last_block_is_resized_in_place(void)
{
    memarena *arena = memarena_create(4 * KIB);
    CHECK(arena);
    char *block = memarena_alloc_aligned(arena, 8, 8);
    CHECK(block);
    stamp(block, 8, 1);
    for (size_t size = 8; size < 4 * KIB; size += 8) {
        CHECK(memarena_realloc(arena, block, size, size + 8) == block);
        CHECK(is_stamped(block, size, 1));
        stamp(block, size + 8, 1);
        CHECK_EQ(memarena_allocated_bytes(arena), size + 8);
    }
    CHECK(memarena_realloc(arena, block, 4 * KIB, 80) == block);
    CHECK(is_stamped(block, 80, 1));
    CHECK_EQ(memarena_allocated_bytes(arena), 80);
    memarena_destroy(arena);
}

/* Nothing lies behind the last block, so it need not move, however its size and that of a TLAB relate. */
static void the_last_block_grows_in_place_while_there_is_room(void)
{
    memarena *arena = memarena_create(8 * MIB); /* shards of 64 KiB */
    CHECK(arena);
    for (size_t size = 8; size < 20000; size = (size * 3 / 2 & ~(size_t)7) + 8) {
        for (size_t grown = size + 8; grown < 60000; grown = (grown * 5 / 3 & ~(size_t)7) + 8) {
            char *block = memarena_alloc_aligned(arena, size, 8);
            CHECK(block);
            stamp(block, size, 12);
            char *now = memarena_realloc(arena, block, size, grown);
            CHECK(now == block);
            CHECK(is_stamped(block, size, 12));
            CHECK_EQ(memarena_allocated_bytes(arena), grown);
            memarena_reset(arena);
        }
    }
    memarena_destroy(arena);
}

static void the_last_large_block_is_resized_in_place(void)
{
    static const size_t sizes[] = {200000, 200001, 3000000, 100000, 3100000, 70000, 70001, 10};
    memarena *arena = memarena_create(16 * MIB);
    CHECK(arena);
    CHECK(memarena_alloc(arena, 16));
    size_t size = 100000;
    char *block = memarena_alloc(arena, size);
    CHECK(block);
    stamp(block, size, 1);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) resize_newest(arena, &block, &size, sizes[i]);
    CHECK_EQ(memarena_allocated_bytes(arena), 32);
    check_fills(arena);
    memarena_destroy(arena);
}

/* What a shrunk block gives up is there for the next one. */
static void a_shrunk_block_makes_room(void)
{
    memarena *arena = memarena_create(MIB);
    CHECK(arena);
    for (int generation = 0; generation < 3 && !is_watched(arena); generation++) {
        char *block = memarena_alloc_aligned(arena, MIB, 8);
        CHECK(block);
        CHECK(!memarena_alloc_aligned(arena, 8, 8));
        CHECK(memarena_realloc(arena, block, MIB, MIB - 64) == block);
        CHECK_EQ(memarena_allocated_bytes(arena), MIB - 64);
        char *rest = memarena_alloc_aligned(arena, 64, 8);
        CHECK(rest);
        CHECK(rest >= block + MIB - 64);
        CHECK(!memarena_alloc_aligned(arena, 8, 8));
        memarena_reset(arena);
    }
    memarena_destroy(arena);
}

static void any_other_block_moves_to_grow(void)
{
    static const size_t olds[] = {1, 8, 24, 100, 999, 5000, 100000}, news[] = {9, 32, 101, 1000, 5001, 100001, 300000};
    memarena *arena = memarena_create(64 * MIB);
    CHECK(arena);
    for (size_t i = 0; i < sizeof olds / sizeof *olds; i++) {
        for (size_t j = 0; j < sizeof news / sizeof *news; j++) {
            if (news[j] <= olds[i]) continue;
            char *old = memarena_alloc(arena, olds[i]);
            char *neighbour = memarena_alloc(arena, news[j]);
            CHECK(old && neighbour);
            stamp(old, olds[i], 3);
            memset(neighbour, 0xEE, news[j]);
            /* A block that shares no source with the newer one may still be a tip: then it need not move. */
            size_t before = memarena_allocated_bytes(arena);
            char *now = memarena_realloc(arena, old, olds[i], news[j]);
            CHECK(now);
            CHECK(is_stamped(now, olds[i], 3));
            size_t more = memarena_allocated_bytes(arena) - before;
            if (now == old) {
                CHECK_EQ(more, rounded(news[j]) - rounded(olds[i]));
            } else {
                CHECK_EQ((uintptr_t)now % test_alignment(news[j]), 0);
                CHECK(more >= rounded(news[j]) && more <= rounded(news[j]) + test_alignment(news[j]) - 8);
                CHECK(is_stamped(old, olds[i], 3)); /* stays as it was until the generation ends */
            }
            stamp(now, news[j], 4);
            CHECK_EQ((unsigned char)neighbour[0], 0xEE);
            CHECK_EQ((unsigned char)neighbour[news[j] - 1], 0xEE);
        }
    }
    memarena_destroy(arena);
}

static void a_block_with_a_newer_one_behind_it_moves(void)
{
    memarena *arena = memarena_create(MIB);
    CHECK(arena);
    for (int i = 0; i < 50; i++) {
        char *old = memarena_alloc_aligned(arena, 24, 8), *newer = memarena_alloc_aligned(arena, 24, 8);
        CHECK(old && newer);
        memset(newer, 0xEE, 24);
        stamp(old, 24, 5);
        char *now = memarena_realloc(arena, old, 24, 32);
        CHECK(now && now != old && now != newer);
        memset(now, 0, 32);
        for (int byte = 0; byte < 24; byte++) CHECK_EQ((unsigned char)newer[byte], 0xEE);
        CHECK(is_stamped(old, 24, 5));
    }
    memarena_destroy(arena);
}

/* No more than the old block is read: the new one shows nothing of its neighbour. */
static void a_move_copies_the_old_block_only(void)
{
    memarena *arena = memarena_create(MIB); /* fresh, so zero where nothing has been written */
    CHECK(arena);
    char *old = memarena_alloc_aligned(arena, 16, 8), *neighbour = memarena_alloc_aligned(arena, 400, 8);
    CHECK(old && neighbour);
    stamp(old, 16, 6);
    memset(neighbour, 0xEE, 400);
    unsigned char *now = memarena_realloc(arena, old, 16, 256);
    CHECK(now && (char *)now != old);
    CHECK(is_stamped(now, 16, 6));
    for (int byte = 16; byte < 256 && !is_watched(arena); byte++) CHECK(now[byte] != 0xEE);
    memarena_destroy(arena);
}

static void a_block_that_is_not_last_stays_where_it_is_when_shrunk(void)
{
    memarena *arena = memarena_create(8 * MIB);
    CHECK(arena);
    for (size_t size = 1; size < 4000; size = size * 3 + 1) {
        char *old = memarena_alloc(arena, size), *newer = memarena_alloc_aligned(arena, 8, 8);
        CHECK(old && newer);
        memset(newer, 0xEE, 8);
        stamp(old, size, 7);
        size_t before = memarena_allocated_bytes(arena);
        CHECK(memarena_realloc(arena, old, size, size / 2) == old);
        CHECK_EQ(memarena_allocated_bytes(arena), before);
        CHECK(is_stamped(old, size / 2, 7));
        char *now = memarena_realloc(arena, old, size / 2, size * 2);
        CHECK(now);
        CHECK(is_stamped(now, size / 2, 7));
        memset(now, 0, size * 2);
        CHECK_EQ((unsigned char)newer[0], 0xEE);
        CHECK_EQ((unsigned char)newer[7], 0xEE);
    }
    memarena_destroy(arena);
}

static void the_same_size_changes_nothing(void)
{
    memarena *arena = memarena_create(MIB);
    CHECK(arena);
    for (size_t size = 0; size < 300; size++) {
        char *block = memarena_alloc(arena, size);
        stamp(block, size, 8);
        size_t before = memarena_allocated_bytes(arena);
        CHECK(memarena_realloc(arena, block, size, size) == block);
        CHECK(memarena_alloc_aligned(arena, 8, 8));
        CHECK(memarena_realloc(arena, block, size, size) == block);
        CHECK(is_stamped(block, size, 8));
        CHECK_EQ(memarena_allocated_bytes(arena), before + 8);
    }
    memarena_destroy(arena);
}

static void a_null_block_is_a_new_one(void)
{
    memarena *arena = memarena_create(MIB);
    CHECK(arena);
    char *first = memarena_realloc(arena, NULL, 0, 100), *second = memarena_realloc(arena, NULL, 50, 100);
    CHECK(first && second && first != second);
    CHECK_EQ((uintptr_t)first % test_alignment(100), 0);
    memset(first, 1, 100);
    memset(second, 2, 100);
    CHECK(first[99] == 1 && first[0] == 1);
    CHECK(memarena_realloc(arena, NULL, 0, 0));
    memarena_destroy(arena);
}

static void growing_byte_by_byte_keeps_the_contents(void)
{
    memarena *arena = memarena_create(64 * MIB);
    CHECK(arena);
    for (int with_neighbours = 0; with_neighbours < 2; with_neighbours++) {
        unsigned char *block = NULL;
        for (size_t size = 0; size < 3000; size++) {
            block = memarena_realloc(arena, block, size, size + 1);
            CHECK(block);
            block[size] = (unsigned char)(size * 13);
            if (with_neighbours && size % 97 == 0) CHECK(memarena_zalloc(arena, 8));
        }
        for (size_t size = 0; size < 3000; size++) CHECK_EQ(block[size], (unsigned char)(size * 13));
        memarena_reset(arena);
    }
    memarena_destroy(arena);
}

static void a_full_arena_refuses_to_grow_and_keeps_the_block(void)
{
    static const size_t capacities[] = {256, 4 * KIB, 64 * KIB, MIB, 4 * MIB};
    for (size_t c = 0; c < sizeof capacities / sizeof *capacities; c++) {
        memarena *arena = memarena_create(capacities[c]);
        CHECK(arena);
        char *first = memarena_alloc_aligned(arena, 64, 8), *last = NULL;
        CHECK(first);
        stamp(first, 64, 9);
        for (char *block; (block = memarena_alloc_aligned(arena, 8, 8)) != NULL;) last = block;
        CHECK(last);
        stamp(last, 8, 10);
        for (size_t more = 1; more < capacities[c]; more = more * 2 + 1) {
            errno = 0;
            CHECK(!memarena_realloc(arena, first, 64, 64 + more));
            CHECK_EQ(errno, ENOMEM);
            errno = 0;
            CHECK(!memarena_realloc(arena, last, 8, 8 + more));
            CHECK_EQ(errno, ENOMEM);
            CHECK_EQ(memarena_allocated_bytes(arena), capacities[c]);
        }
        CHECK(is_stamped(first, 64, 9));
        CHECK(is_stamped(last, 8, 10));
        CHECK(memarena_realloc(arena, first, 64, 32) == first);
        memarena_reset(arena);
        check_fills(arena);
        memarena_destroy(arena);
    }
}

/* A block that covers many shards shrinks at its address, and what it gives up is free. */
static void a_block_over_many_shards_shrinks_and_grows(void)
{
    memarena *arena = memarena_create(4 * MIB);
    CHECK(arena);
    static const size_t sizes[] = {4 * MIB - 4096, 3 * MIB, 2 * MIB + 8, 2 * MIB, MIB, 40000, 32768, 100};
    for (int generation = 0; generation < 2; generation++) {
        size_t size = 4 * MIB;
        char *block = memarena_alloc_aligned(arena, size, 8);
        CHECK(block);
        stamp(block, 4000, 11);
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
            CHECK(memarena_realloc(arena, block, size, sizes[i]) == block);
            size = sizes[i];
            CHECK_EQ(memarena_allocated_bytes(arena), rounded(size));
            CHECK(is_stamped(block, size < 4000 ? size : 4000, 11));
        }
        char *now = memarena_realloc(arena, block, size, 200);
        if (now) CHECK(is_stamped(now, 100, 11));
        CHECK(now || memarena_allocated_bytes(arena) > 4 * MIB - 200 - 8);
        check_fills(arena);
        memarena_reset(arena);
    }
    memarena_destroy(arena);
}

/* A block that reaches from one shard into the next is shrunk back into the first: its TLAB then lies in two, and so it
 * does when a large block is claimed right behind it. */
static void a_block_shrunk_across_shards_strands_nothing(void)
{
    for (size_t size = 24; size <= 512; size += 8) {
        memarena_options options = {.capacity = 8 * MIB, .tlab_bytes = 4 * KIB}; /* shards of 64 KiB */
        memarena *arena = memarena_create_with(&options);
        CHECK(arena);
        for (size_t taken = 0; taken < 64 * KIB - 16; taken += 8) CHECK(memarena_alloc_aligned(arena, 8, 8));
        char *block = memarena_alloc_aligned(arena, size, 8);
        CHECK(block);
        CHECK(memarena_realloc(arena, block, size, 8) == block);
        CHECK(memarena_alloc_aligned(arena, 4 * MIB, 8)); /* large blocks start in the frontier; now it is spent */
        CHECK(memarena_alloc_aligned(arena, 5000, 8));
        while (memarena_alloc_aligned(arena, 328, 8)) continue;
        check_fills(arena);
        memarena_destroy(arena);
    }
}

/* The block ends where its TLAB does, and a large one has been claimed behind it: what is cut off has nowhere to go. */
static void a_block_shrunk_at_the_end_of_a_full_tlab_strands_nothing(void)
{
    memarena_options options = {.capacity = 8 * MIB, .tlab_bytes = 4 * KIB};
    memarena *arena = memarena_create_with(&options);
    CHECK(arena);
    CHECK(memarena_alloc_aligned(arena, 4 * MIB, 8)); /* large blocks start in the frontier; now it is spent */
    CHECK(memarena_alloc_aligned(arena, 400, 8));     /* the first TLAB is of 1 KiB */
    CHECK(memarena_alloc_aligned(arena, 320, 8));
    char *block = memarena_alloc_aligned(arena, 304, 8);
    CHECK(block);
    CHECK(memarena_alloc_aligned(arena, 5000, 8));
    CHECK(memarena_realloc(arena, block, 304, 8) == block);
    CHECK(memarena_alloc_aligned(arena, 400, 8));
    check_fills(arena);
    memarena_destroy(arena);
}

/* ---- Another thread --------------------------------------------------------------------------------------------- */

typedef struct handed_over {
    memarena *arena;
    char *block;
    size_t old_size, new_size, own;
} handed_over;

static void *resize_elsewhere(void *context)
{
    handed_over *work = context;
    if (work->own) CHECK(memarena_alloc_aligned(work->arena, work->own, 8));
    CHECK(memarena_realloc(work->arena, work->block, work->old_size, work->new_size) == work->block);
    return NULL;
}

/* Its account may fall below zero: it gives back what another one has claimed. A thread that has not allocated in this
 * generation gives nothing back. */
static void the_accounts_are_exact_when_another_thread_resizes(void)
{
    for (size_t own = 0; own <= 64; own += 8) {
        memarena *arena = memarena_create(8 * MIB);
        CHECK(arena);
        char *block = memarena_alloc_aligned(arena, 100000, 8);
        CHECK(block);
        handed_over work = {.arena = arena, .block = block, .old_size = 100000, .new_size = 8, .own = own};
        pthread_t thread;
        CHECK_EQ(pthread_create(&thread, NULL, resize_elsewhere, &work), 0);
        CHECK_EQ(pthread_join(thread, NULL), 0);
        size_t left = own == 0 || is_watched(arena) ? 100000 : 8; /* one source: `own` lies behind it */
        CHECK_EQ(memarena_allocated_bytes(arena), left + own);
        CHECK(memarena_alloc_aligned(arena, 24, 8));
        CHECK_EQ(memarena_allocated_bytes(arena), left + own + 24);
        memarena_destroy(arena);
    }
}

int main(void)
{
    RUN(the_last_block_is_resized_in_place);
    RUN(in_a_small_arena_the_last_block_is_resized_in_place);
    RUN(the_last_large_block_is_resized_in_place);
    RUN(a_shrunk_block_makes_room);
    RUN(any_other_block_moves_to_grow);
    RUN(a_block_with_a_newer_one_behind_it_moves);
    RUN(a_move_copies_the_old_block_only);
    RUN(a_block_that_is_not_last_stays_where_it_is_when_shrunk);
    RUN(the_same_size_changes_nothing);
    RUN(a_null_block_is_a_new_one);
    RUN(growing_byte_by_byte_keeps_the_contents);
    RUN(a_full_arena_refuses_to_grow_and_keeps_the_block);
    RUN(a_block_over_many_shards_shrinks_and_grows);
    RUN(the_last_block_grows_in_place_while_there_is_room);
    RUN(a_block_shrunk_across_shards_strands_nothing);
    RUN(a_block_shrunk_at_the_end_of_a_full_tlab_strands_nothing);
    RUN(the_accounts_are_exact_when_another_thread_resizes);
    return test_done();
}
