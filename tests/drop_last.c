/* The last block is taken back: its bytes are free again at once, and the accounts are as before it. */
#include "give_way.h"
#include "kinds.h"

#include <sched.h>
#include <string.h>

/* All but PER_CPU, where a thread that is moved has no last block. */
static int next_kind(int kind)
{
    return kind + 1 == PER_CPU ? SCOPE : kind + 1;
}

static bool is_filled(const unsigned char *at, size_t value, size_t size)
{
    while (size > 0)
        if (at[--size] != (unsigned char)value) return false;
    return true;
}

static void drop_and_take_again(memarena *arena, size_t size, size_t alignment)
{
    size_t before = memarena_allocated_bytes(arena), least = test_rounded(size);
    char *block = memarena_alloc_aligned(arena, size, alignment);
    if (!block) return;
    memset(block, 7, size);
    size_t taken = memarena_allocated_bytes(arena) - before;
    CHECK(taken >= least);
    CHECK(memarena_drop_last(arena, block, size));
    size_t after = memarena_allocated_bytes(arena); /* what lies before it may stay */
    CHECK(after == before + taken - least || after == before);
    if (alignment <= 8) CHECK_EQ(taken, least);
    char *again = memarena_alloc_aligned(arena, size, alignment);
    CHECK(again == block);
    CHECK(memarena_drop_last(arena, again, size));
}

static void a_dropped_block_is_free_again(void)
{
    static const size_t sizes[] = {0, 1, 8, 24, 100, 120, 500, 1000, 2000, 5000, 9000, 70000, 300000, MIB, 40 * MIB};
    for (int kind = 0; kind < KINDS; kind = next_kind(kind)) {
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
            memarena *arena = kinds_create(kind);
            for (int before = 0; before < 40; before++) {
                for (size_t alignment = 1; alignment <= 256; alignment *= 4)
                    drop_and_take_again(arena, sizes[i], alignment);
                (void)memarena_alloc(arena, 24);
            }
            kinds_destroy();
        }
    }
}

/* The block behind it is the last one, and dropping that makes it the last again. */
static void a_block_with_another_behind_it_stays(void)
{
    for (int kind = 0; kind < KINDS; kind = next_kind(kind)) {
        memarena *arena = kinds_create(kind);
        for (size_t size = 0; size < 300; size += 7) {
            size_t before = memarena_allocated_bytes(arena);
            char *block = memarena_alloc_aligned(arena, size, 8), *behind = memarena_alloc_aligned(arena, 8, 8);
            CHECK(block && behind);
            memset(block, 1, size), memset(behind, 2, 8);
            size_t both = memarena_allocated_bytes(arena);
            CHECK(!memarena_drop_last(arena, block, size));
            CHECK(!memarena_drop_last(arena, NULL, 0));
            CHECK(!memarena_drop_last(arena, NULL, SIZE_MAX));
            CHECK_EQ(memarena_allocated_bytes(arena), both);
            CHECK(is_filled((unsigned char *)block, 1, size));
            CHECK(memarena_drop_last(arena, behind, 8));
            CHECK(memarena_drop_last(arena, block, size));
            CHECK_EQ(memarena_allocated_bytes(arena), before);
        }
        kinds_destroy();
    }
}

/* As a stack, of blocks of all sizes. What the last one is is certain; those before it mostly are dropped in turn, and if one
 * is not nothing has changed. */
static void blocks_are_dropped_in_turn(void)
{
    enum { DEPTH = 300 };
    for (int kind = 0; kind < KINDS; kind = next_kind(kind)) {
        memarena *arena = kinds_create(kind);
        unsigned long long random = test_seed((unsigned long long)kind);
        struct {
            char *at;
            size_t size;
        } stack[DEPTH];
        size_t depth = 0, dropped = 0, kept = 0, own = memarena_allocated_bytes(arena);
        bool is_newest = false;
        for (long i = test_scaled(60000); i > 0; i--) {
            if (depth < DEPTH && test_random(&random) % 2) {
                size_t size =
                    test_random(&random) % 16 ? test_between(&random, 0, 300) : test_between(&random, 0, 60000);
                char *block = memarena_alloc_aligned(arena, size, 8);
                if (!block) continue;
                memset(block, (int)depth, size);
                own += test_rounded(size);
                stack[depth].at = block, stack[depth++].size = size;
                is_newest = true;
            } else if (depth > 0) {
                depth--;
                unsigned char *at = (unsigned char *)stack[depth].at;
                size_t size = stack[depth].size;
                CHECK(is_filled(at, depth, size));
                bool done = memarena_drop_last(arena, at, size);
                CHECK(done || !is_newest || memarena_allocated_bytes(kinds_root) > memarena_capacity(arena) - 70000);
                if (done) own -= test_rounded(size);
                done ? dropped++ : kept++;
                is_newest = false;
            }
            CHECK_EQ(memarena_allocated_bytes(arena), own);
            if (kept * 8 > dropped + 800) break;
        }
        CHECK(dropped > 3 * kept);
        kinds_destroy();
    }
}

static void a_full_arena_has_room_for_what_was_dropped(void)
{
    for (int kind = 0; kind < SCOPE; kind = next_kind(kind)) {
        memarena *arena = kinds_create(kind);
        char *last = NULL;
        for (char *block; (block = memarena_alloc_aligned(arena, 64, 8)) != NULL;) last = block;
        size_t full = memarena_allocated_bytes(arena);
        for (int i = 0; i < 10; i++) {
            CHECK(memarena_drop_last(arena, last, 64));
            CHECK_EQ(memarena_allocated_bytes(arena), full - 64);
            CHECK((last = memarena_alloc_aligned(arena, 64, 8)) != NULL);
            CHECK(!memarena_alloc_aligned(arena, 64, 8));
        }
        CHECK(memarena_reset(arena));
        test_check_whole(arena, 1000);
        memarena_destroy(arena);
    }
}

static void what_was_dropped_strands_nothing(void)
{
    for (int kind = 0; kind < SCOPE; kind = next_kind(kind)) {
        memarena *arena = kinds_create(kind);
        unsigned long long random = test_seed((unsigned long long)kind);
        for (int round = 0; round < 3; round++) {
            size_t sum = 0, most = memarena_capacity(arena) / 50, bytes = memarena_capacity(arena) & ~(size_t)7;
            for (long i = 0; i < 20000; i++) {
                size_t size =
                    test_random(&random) % 200 ? test_between(&random, 8, 300) : test_between(&random, 8, most);
                char *block = memarena_alloc_aligned(arena, size, 8);
                if (!block) break;
                if (test_random(&random) % 3)
                    CHECK(memarena_drop_last(arena, block, size));
                else
                    sum += test_rounded(size);
            }
            CHECK_EQ(memarena_allocated_bytes(arena), sum);
            CHECK_EQ(sum + test_fill(arena, bytes - sum, NULL, 1), bytes);
            CHECK(memarena_reset(arena));
        }
        memarena_destroy(arena);
    }
}

/* A block that has grown beyond its TLAB and is dropped: others get it. */
static void *take_half(void *arena)
{
    CHECK(memarena_alloc(arena, memarena_capacity(arena) / 8 * 3));
    return NULL;
}

static void a_thread_keeps_no_more_than_a_tlab_of_it(void)
{
    memarena *arena = kinds_create(LARGE);
    char *small = memarena_alloc_aligned(arena, 64, 8);
    CHECK(memarena_realloc(arena, small, 64, 400 * KIB) == small || test_watched(arena));
    size_t held = test_stats(arena).tlab_bytes;
    CHECK(memarena_drop_last(arena, small, 400 * KIB) || test_watched(arena));
    CHECK(test_stats(arena).tlab_bytes <= (held < 64 * KIB ? 64 * KIB : held));
    memarena_destroy(arena);
    arena = kinds_create(LARGE);
    char *block = memarena_alloc_aligned(arena, 50 * MIB, 8);
    CHECK(memarena_drop_last(arena, block, 50 * MIB));
    test_join(test_start(take_half, arena));
    test_join(test_start(take_half, arena));
    memarena_destroy(arena);
}

/* What is handed out again is sampled again: with a mean of 1 each block is, with what it takes. */
static size_t told;

static void count(void *context, memarena *arena, void *block, size_t size, size_t weight)
{
    (void)context, (void)arena, (void)block, (void)size;
    told += weight;
}

static void blocks_in_the_place_of_dropped_ones_are_sampled(void)
{
    for (int kind = 0; kind < KINDS; kind = next_kind(kind)) {
        memarena *arena = kinds_create(kind);
        CHECK(memarena_sample(kinds_root, 1, count, NULL));
        if (kind >= SCOPE) arena = kinds_open(arena); /* one that is open need not notice */
        for (size_t size = 8; size < 6000 && size < memarena_capacity(arena) / 2; size = size * 3 / 2 & ~(size_t)7) {
            for (int i = 0; i < 3; i++) {
                told = 0;
                char *block = memarena_alloc_aligned(arena, size, 8);
                CHECK_EQ(told, size);
                CHECK(memarena_drop_last(arena, block, size));
            }
            if (size == 8) size = 16;
        }
        kinds_destroy();
    }
}

/* ---- Scopes ----------------------------------------------------------------------------------------------------- */

static size_t held(const memarena *scope)
{
    return test_stats(scope).held_bytes;
}

/* A block too large for the scope's extent has one of its own, which goes back. */
static void a_scope_gives_back_what_a_large_block_was_in(void)
{
    memarena *arena = kinds_create(LARGE), *scope = memarena_scope(arena);
    CHECK(scope && memarena_alloc(scope, 16));
    size_t before = held(scope), own = memarena_allocated_bytes(scope), all = memarena_allocated_bytes(arena);
    static const size_t extents[] = {4, 5, 6, 8, 10, 16, 20, 64}; /* that there are, and none just smaller */
    for (size_t i = 0; i < sizeof extents / sizeof *extents; i++) {
        size_t size = extents[i] * KIB - 16 * (i + 1);
        char *block = memarena_alloc_aligned(scope, size, 8);
        CHECK(block && held(scope) > before);
        memset(block, 1, size);
        CHECK(memarena_realloc(scope, block, size, size - 100) == block); /* the last block, and in place */
        CHECK_EQ(memarena_allocated_bytes(scope), own + test_rounded(size - 100));
        CHECK(memarena_realloc(scope, block, size - 100, size) == block);
        CHECK_EQ(memarena_allocated_bytes(scope), own + test_rounded(size));
        CHECK(memarena_drop_last(scope, block, size));
        CHECK_EQ(memarena_allocated_bytes(scope), own);
        CHECK_EQ(held(scope), before);
        CHECK_EQ(memarena_allocated_bytes(arena), all);
    }
    memarena_destroy(scope);
    memarena_destroy(arena);
}

/* The mark would lead into what is gone. */
static void a_block_before_a_mark_stays(void)
{
    memarena *arena = kinds_create(LARGE);
    for (size_t size = 0; size < 20000; size = size * 2 + 24) {
        memarena *scope = memarena_scope(arena);
        char *block = memarena_alloc_aligned(scope, size, 8);
        memarena_position mark = memarena_mark(scope);
        CHECK(block && mark.scope_ == scope);
        CHECK(!memarena_drop_last(scope, block, size));
        size_t own = memarena_allocated_bytes(scope), before = held(scope);
        for (int i = 0; i < 3; i++) {
            for (size_t another = 8; another < 20000; another = another * 2 + 24) {
                char *behind = memarena_alloc_aligned(scope, another, 8);
                CHECK(memarena_drop_last(scope, behind, another));
                CHECK_EQ(memarena_allocated_bytes(scope), own);
            }
            CHECK(memarena_rewind(scope, mark));
            CHECK_EQ(memarena_allocated_bytes(scope), own);
            CHECK(memarena_rewind(scope, mark)); /* a round that has used nothing */
            CHECK_EQ(held(scope), before);
            CHECK(!memarena_drop_last(scope, block, size));
        }
        memarena_destroy(scope);
    }
    memarena_destroy(arena);
}

/* ---- Threads that share a TLAB ------------------------------------------------------------------------------------ */

/* Where there are sequences: a thread that stays on its CPU drops its blocks, whatever it has opened before. */
static void on_a_cpu_the_last_block_is_dropped(void)
{
    memarena *arena = kinds_create(PER_CPU);
    for (int scope = 0; scope < 2; scope++) {
        if (scope) memarena_destroy(memarena_scope(arena));
        for (size_t size = 0; size < 100000; size = size * 2 + 24) {
            int dropped = 0;
            for (int i = 0; i < 100; i++) {
                size_t before = memarena_allocated_bytes(arena);
                char *block = memarena_alloc_aligned(arena, size, 8);
                CHECK(block);
                memset(block, 1, size);
                bool done = memarena_drop_last(arena, block, size);
                CHECK_EQ(memarena_allocated_bytes(arena), before + (done ? 0 : test_rounded(size)));
                dropped += done;
            }
            CHECK(dropped > 80); /* but where it was moved just then */
        }
    }
    memarena_destroy(arena);
}

/* Each thread's own last one, however many there are; every byte is free or in one block. */
typedef struct member {
    memarena *arena;
    unsigned number;
    pthread_t thread;
    test_log log;
} member;

static void *take_and_drop(void *argument)
{
    member *self = argument;
    unsigned long long random = test_seed(self->number);
    for (long i = test_scaled(20000); i > 0; i--) {
        size_t size = test_random(&random) % 64 ? test_between(&random, 0, 200) : test_between(&random, 0, 20000);
        unsigned char *block = memarena_alloc_aligned(self->arena, size, 8);
        if (!block) break;
        memset(block, (int)self->number, size);
        if (i % 16 == 0) (void)test_give_way();
        CHECK(is_filled(block, self->number, size));
        if (i % 4 == 0 || !memarena_drop_last(self->arena, block, size)) test_record(&self->log, 1, block, size);
    }
    return NULL;
}

static void threads_drop_only_what_is_theirs(void)
{
    static const unsigned counts[] = {2, 8, 80};
    for (unsigned i = 0; i < 6; i++) {
        memarena *arena =
            memarena_create_with(&(memarena_options){.capacity = 512 * MIB, .flags = i < 3 ? 0 : MEMARENA_PER_CPU});
        unsigned threads = counts[i % 3];
        member *crew = calloc(threads, sizeof *crew);
        test_log all = {0};
        CHECK(arena && crew);
        for (unsigned n = 0; n < threads; n++) {
            crew[n] = (member){.arena = arena, .number = n};
            crew[n].thread = test_start(take_and_drop, &crew[n]);
        }
        for (unsigned n = 0; n < threads; n++) {
            test_join(crew[n].thread);
            test_append(&all, &crew[n].log);
            test_forget(&crew[n].log);
        }
        CHECK_EQ(test_check_blocks(arena, &all), memarena_allocated_bytes(arena));
        test_forget(&all);
        free(crew);
        memarena_destroy(arena);
    }
}

/* A call that slept through a reset may find another thread's block where its own one was. */
static void *reset_and_take(void *argument)
{
    member *self = argument;
    CHECK(memarena_reset(self->arena));
    test_record(&self->log, 1, memarena_alloc_aligned(self->arena, 64, 8), 64);
    return NULL;
}

static void what_has_died_frees_no_live_block(void)
{
    unsigned same = 0;
    for (int kind = 0; kind < SCOPE; kind++) {
        memarena *arena = kinds_create(kind);
        member other = {.arena = arena};
        char *dead = memarena_alloc_aligned(arena, 64, 8);
        CHECK(dead);
        test_join(test_start(reset_and_take, &other));
        same += other.log.blocks[0].begin == (uintptr_t)dead;
        CHECK(!memarena_drop_last(arena, dead, 64));
        CHECK(memarena_realloc(arena, dead, 64, 8) == dead);
        CHECK_EQ(memarena_allocated_bytes(arena), 64);
        test_forget(&other.log);
        memarena_destroy(arena);
    }
    CHECK(same > 1);
}

/* A thread without a lane knows the generation of its blocks in the two arenas that it used last. */
static void two_small_arenas_are_used_in_turn(void)
{
    memarena *arenas[2] = {kinds_create(SMALL), kinds_create(IN_BUFFER)};
    for (int i = 0; i < 100; i++) {
        char *blocks[2];
        for (int k = 0; k < 2; k++) CHECK((blocks[k] = memarena_alloc_aligned(arenas[k], 24, 8)) != NULL);
        for (int k = 0; k < 2; k++) CHECK(memarena_drop_last(arenas[k], blocks[k], 24));
        for (int k = 0; k < 2; k++) CHECK_EQ(memarena_allocated_bytes(arenas[k]), 0);
        if (i % 3 == 0) CHECK(memarena_reset(arenas[i % 2]));
    }
    for (int k = 0; k < 2; k++) memarena_destroy(arenas[k]);
}

int main(void)
{
    RUN(a_dropped_block_is_free_again);
    RUN(a_block_with_another_behind_it_stays);
    RUN(blocks_are_dropped_in_turn);
    RUN(a_full_arena_has_room_for_what_was_dropped);
    RUN(what_was_dropped_strands_nothing);
    RUN(a_thread_keeps_no_more_than_a_tlab_of_it);
    RUN(blocks_in_the_place_of_dropped_ones_are_sampled);
    RUN(a_scope_gives_back_what_a_large_block_was_in);
    RUN(a_block_before_a_mark_stays);
    RUN(on_a_cpu_the_last_block_is_dropped);
    RUN(threads_drop_only_what_is_theirs);
    RUN(what_has_died_frees_no_live_block);
    RUN(two_small_arenas_are_used_in_turn);
    return test_done();
}
