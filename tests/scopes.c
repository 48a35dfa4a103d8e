/* Scopes, by one thread: blocks of any size in them, what their end, a rewind and a reset give back, what the accounts of the
 * arena say meanwhile, and what is refused. */
#include "test.h"
#include "threads.h"

#include <errno.h>
#include <semaphore.h>
#include <string.h>

#define KIB ((size_t)1 << 10)
#define MIB ((size_t)1 << 20)

static memarena *create(size_t capacity)
{
    memarena *arena = memarena_create(capacity);
    CHECK(arena != NULL);
    return arena;
}

static void a_scope_serves_blocks_and_gives_them_back(void)
{
    memarena *arena = create(4 * MIB);
    CHECK(memarena_alloc_aligned(arena, 100, 8) != NULL);
    size_t before = memarena_allocated_bytes(arena);
    memarena *scope = memarena_scope(arena);
    CHECK(scope != NULL && scope != arena);
    CHECK_EQ(memarena_allocated_bytes(scope), 0);
    CHECK_EQ(memarena_generation(scope), 1);
    CHECK_EQ(memarena_capacity(scope), 4 * MIB);
    CHECK_EQ(test_stats(arena).open_scopes, 1);
    int *value = memarena_new_value(scope, int, 42);
    char *text = memarena_printf(scope, "%d", *value);
    CHECK(strcmp(text, "42") == 0);
    CHECK_EQ(memarena_allocated_bytes(scope), 16);
    CHECK(memarena_owns(scope, value) && memarena_owns(arena, value) && !memarena_owns(scope, &before));
    CHECK_EQ(memarena_allocated_bytes(arena), before + KIB); /* a small request costs 1 KiB */
    CHECK_EQ(test_stats(scope).held_bytes, KIB);
    memarena_destroy(scope);
    CHECK_EQ(memarena_allocated_bytes(arena), before);
    CHECK_EQ(test_stats(arena).open_scopes, 0);
    CHECK_EQ(test_stats(arena).free_extent_bytes, KIB);
    CHECK(memarena_reset(arena));
    CHECK_EQ(test_stats(arena).free_extent_bytes, 0);
    memarena_destroy(arena);
}

/* Blocks of a scope: aligned, filled, without overlap. */
static size_t fill_some(memarena *scope, unsigned long long *random, unsigned blocks, size_t most, test_log *log)
{
    size_t sum = 0;
    for (unsigned i = 0; i < blocks; i++) {
        size_t size = test_between(random, 0, most), alignment = (size_t)1 << test_between(random, 0, 13);
        unsigned char *block = memarena_alloc_aligned(scope, size, alignment);
        CHECK(block != NULL && (uintptr_t)block % alignment == 0);
        CHECK(memarena_owns(scope, block) && (size == 0 || memarena_owns(scope, block + size - 1)));
        memset(block, (int)(i & 255), size);
        test_record(log, 1, block, size);
        sum += test_rounded(size);
    }
    return sum;
}

static void blocks_of_any_size_and_alignment_do_not_overlap(void)
{
    memarena *arena = create(64 * MIB);
    unsigned long long random = test_seed(1);
    for (int round = 0; round < 200; round++) {
        test_log log = {0};
        memarena *scope = memarena_scope(arena), *other = memarena_scope(arena);
        CHECK(scope != NULL && other != NULL);
        size_t sum = 0;
        for (int i = 0; i < 4; i++) {
            sum += fill_some(scope, &random, 20, i % 2 ? 200 : 30000, &log);
            (void)fill_some(other, &random, 10, 5000, &log);
        }
        (void)test_check_blocks(arena, &log);
        CHECK(memarena_allocated_bytes(scope) >= sum);
        CHECK(memarena_allocated_bytes(arena) >= test_stats(scope).held_bytes + test_stats(other).held_bytes);
        CHECK_EQ(memarena_allocated_bytes(arena), test_stats(scope).held_bytes + test_stats(other).held_bytes);
        memarena_destroy(round % 2 ? scope : other);
        memarena_destroy(round % 2 ? other : scope);
        CHECK_EQ(memarena_allocated_bytes(arena), 0);
        test_forget(&log);
    }
    CHECK(memarena_reset(arena));
    CHECK_EQ(memarena_allocated_bytes(arena), 0);
    memarena_destroy(arena);
}

static void the_first_block_too_lies_at_a_multiple_of_8(void)
{
    memarena *arena = create(MIB), *scope = memarena_scope(arena);
    const char *first = memarena_new(scope, char), *second = memarena_new(scope, char);
    CHECK((uintptr_t)first % 8 == 0 && (uintptr_t)second % 8 == 0);
    CHECK_EQ(memarena_allocated_bytes(scope), 16);
    memarena_destroy(scope);
    memarena_destroy(arena);
}

static void one_block_may_be_nearly_as_large_as_the_arena(void)
{
    memarena *arena = create(10 * MIB);
    memarena *scope = memarena_scope(arena);
    CHECK(scope != NULL);
    char *block = memarena_alloc_aligned(scope, 9 * MIB, 8);
    CHECK(block != NULL);
    block[0] = block[9 * MIB - 1] = 1;
    CHECK(memarena_alloc_aligned(scope, 9 * MIB, 8) == NULL);
    CHECK_EQ(errno, ENOMEM);
    CHECK(memarena_alloc_aligned(scope, SIZE_MAX, 8) == NULL);
    CHECK(memarena_alloc_aligned(scope, 8, (size_t)1 << (sizeof(size_t) * 8 - 1)) == NULL);
    CHECK(memarena_alloc_aligned(scope, 8, 3) == NULL);
    CHECK_EQ(errno, EINVAL);
    CHECK(memarena_alloc_aligned(scope, 8, 8) != NULL);
    memarena_destroy(scope);
    CHECK_EQ(memarena_allocated_bytes(arena), 0);
    scope = memarena_scope(arena); /* the memory is found again */
    CHECK(scope != NULL && memarena_alloc_aligned(scope, 9 * MIB, 8) != NULL);
    memarena_destroy(scope);
    CHECK(memarena_alloc_aligned(arena, 8 * MIB, 8) != NULL); /* and serves the arena's own blocks, too */
    memarena_destroy(arena);
}

static void a_million_requests_take_a_few_kilobytes(void)
{
    memarena *arena = create(MIB);
    for (int i = 0; i < 1000000 / TEST_SLOWER; i++) {
        memarena *scope = memarena_scope(arena);
        CHECK(scope != NULL);
        for (size_t n = 0; n < 10; n++) {
            unsigned char *block = memarena_alloc_aligned(scope, 64, 16);
            CHECK(block != NULL);
            block[63] = 1;
        }
        memarena_destroy(scope);
    }
    CHECK_EQ(memarena_allocated_bytes(arena), 0);
    CHECK(test_stats(arena).free_extent_bytes <= 4 * KIB);
    memarena_destroy(arena);
}

static void a_full_arena_refuses_a_scope_and_recovers(void)
{
    memarena *arena = create(64 * KIB), *scopes[64];
    unsigned count = 0;
    while (count < 64 && (scopes[count] = memarena_scope(arena)) != NULL) count++;
    CHECK(count >= 60 && count <= 64);
    if (count < 64) CHECK_EQ(errno, ENOMEM);
    CHECK_EQ(memarena_allocated_bytes(arena), count * KIB);
    CHECK(!memarena_reset(arena));
    CHECK_EQ(errno, EBUSY);
    for (unsigned i = 0; i < count; i++) memarena_destroy(scopes[i]);
    CHECK_EQ(memarena_allocated_bytes(arena), 0);
    unsigned again = 0;
    while (again < 64 && (scopes[again] = memarena_scope(arena)) != NULL) again++;
    CHECK_EQ(again, count);
    for (unsigned i = 0; i < count; i++) memarena_destroy(scopes[i]);
    CHECK(memarena_reset(arena));
    CHECK_EQ(test_fill(arena, 64, NULL, 1), 64 * KIB);
    memarena_destroy(arena);
}

static void a_scope_may_have_scopes(void)
{
    memarena *arena = create(16 * MIB);
    memarena *nest[20];
    nest[0] = memarena_scope(arena);
    for (size_t i = 1; i < 20; i++) {
        nest[i] = memarena_scope(nest[i - 1]);
        CHECK(nest[i] != NULL && memarena_alloc_aligned(nest[i], 100 * i * i, 8) != NULL);
    }
    CHECK_EQ(test_stats(arena).open_scopes, 20);
    CHECK_EQ(test_stats(nest[0]).open_scopes, 1);
    size_t held = 0;
    for (size_t i = 0; i < 20; i++) held += test_stats(nest[i]).held_bytes;
    CHECK_EQ(held, memarena_allocated_bytes(arena));
    CHECK_EQ(test_stats(nest[0]).held_bytes, KIB);
    CHECK(!memarena_reset(nest[5]));
    CHECK_EQ(errno, EBUSY);
    CHECK(!memarena_reset(arena));
    for (size_t i = 20; i-- > 0;) {
        CHECK(i == 19 || !memarena_reset(nest[i]) || test_stats(nest[i]).open_scopes == 0);
        memarena_destroy(nest[i]);
    }
    CHECK_EQ(memarena_allocated_bytes(arena), 0);
    CHECK(memarena_reset(arena));
    memarena_destroy(arena);
}

/* ---- Marks --------------------------------------------------------------------------------------------------------- */

static void a_rewind_gives_back_all_blocks_since_the_mark(void)
{
    memarena *arena = create(16 * MIB), *scope = memarena_scope(arena);
    unsigned long long random = test_seed(2);
    test_log log = {0};
    unsigned char *kept = memarena_alloc_aligned(scope, 500, 8);
    memset(kept, 7, 500);
    size_t before = memarena_allocated_bytes(scope);
    memarena_position mark = memarena_mark(scope);
    CHECK_EQ(memarena_allocated_bytes(scope), before);
    size_t held = memarena_allocated_bytes(arena);
    for (int round = 0; round < 100; round++) {
        log.count = 0;
        (void)fill_some(scope, &random, 30, round % 3 ? 100 : 20000, &log);
        (void)test_check_blocks(arena, &log);
        CHECK(memarena_rewind(scope, mark));
        CHECK_EQ(memarena_allocated_bytes(scope), before);
        if (round % 2) CHECK(memarena_rewind(scope, mark)); /* a round that has used nothing */
        if (round % 2) CHECK_EQ(memarena_allocated_bytes(arena), held);
    }
    for (size_t i = 0; i < 500; i++) CHECK(kept[i] == 7);
    void *first = memarena_alloc_aligned(scope, 8, 8);
    CHECK(memarena_rewind(scope, mark));
    CHECK(memarena_alloc_aligned(scope, 8, 8) == first);
    memarena_destroy(scope);
    CHECK_EQ(memarena_allocated_bytes(arena), 0);
    test_forget(&log);
    memarena_destroy(arena);
}

static void marks_nest_and_stale_ones_are_refused(void)
{
    memarena *arena = create(MIB), *scope = memarena_scope(arena), *other = memarena_scope(arena);
    memarena_position marks[10];
    for (size_t i = 0; i < 10; i++) {
        marks[i] = memarena_mark(scope);
        CHECK(memarena_alloc_aligned(scope, 300, 8) != NULL);
    }
    CHECK(memarena_rewind(scope, marks[7]));
    CHECK_EQ(memarena_allocated_bytes(scope), 7 * 304);
    CHECK(memarena_rewind(scope, marks[7]));
    CHECK(memarena_rewind(scope, marks[3]));
    CHECK_EQ(memarena_allocated_bytes(scope), 3 * 304);
    CHECK(memarena_alloc_aligned(scope, 3000, 8) != NULL);
    for (size_t i = 4; i < 10; i++) {
        errno = 0;
        CHECK(!memarena_rewind(scope, marks[i]));
        CHECK_EQ(errno, EINVAL);
    }
    CHECK_EQ(memarena_allocated_bytes(scope), 3 * 304 + 3000);
    CHECK(!memarena_rewind(other, marks[0]) && !memarena_rewind(arena, marks[0]));
    CHECK(!memarena_rewind(arena, memarena_mark(arena)));
    CHECK(memarena_reset(scope));
    CHECK_EQ(memarena_generation(scope), 2);
    CHECK(!memarena_rewind(scope, marks[0]));
    CHECK_EQ(errno, EINVAL);
    memarena_position last = memarena_mark(scope);
    memarena_destroy(scope);
    memarena *next = memarena_scope(arena); /* at the same place, perhaps */
    (void)memarena_mark(next);
    CHECK(!memarena_rewind(next, last));
    memarena_destroy(next);
    memarena_destroy(other);
    memarena_destroy(arena);
}

static void a_loop_of_mark_and_rewind_does_not_grow(void)
{
    memarena *arena = create(MIB), *scope = memarena_scope(arena);
    for (int i = 0; i < 100000 / TEST_SLOWER; i++) {
        memarena_position mark = memarena_mark(scope);
        CHECK(memarena_alloc_aligned(scope, 3000, 8) != NULL);
        CHECK(memarena_rewind(scope, mark));
    }
    CHECK_EQ(memarena_allocated_bytes(arena), 4 * KIB); /* what the next one will need */
    CHECK(memarena_rewind(scope, memarena_mark(scope)));
    CHECK_EQ(memarena_allocated_bytes(arena), KIB);
    memarena_destroy(scope);
    memarena_destroy(arena);
}

/* ---- Deferred calls ------------------------------------------------------------------------------------------------ */

static int order[100];
static unsigned calls;

static void note(void *argument)
{
    order[calls++] = *(int *)argument;
}

static void calls_run_last_in_first_out_at_rewind_reset_and_end(void)
{
    memarena *arena = create(MIB), *scope = memarena_scope(arena);
    int numbers[9];
    memarena_position mark = memarena_mark(scope);
    calls = 0;
    for (int i = 0; i < 9; i++) {
        if (i == 6) mark = memarena_mark(scope);
        if (i == 3) CHECK(memarena_reset(scope));
        numbers[i] = i;
        CHECK(memarena_defer(scope, note, &numbers[i]));
    }
    CHECK(memarena_rewind(scope, mark));
    memarena_destroy(scope);
    const int expected[9] = {2, 1, 0, 8, 7, 6, 5, 4, 3};
    CHECK_EQ(calls, 9);
    CHECK(memcmp(order, expected, sizeof expected) == 0);
    memarena_destroy(arena);
}

static memarena *the_scope;
static memarena_position the_mark;

static void misbehave(void *argument)
{
    CHECK(memarena_alloc_aligned(the_scope, 2000, 8) != NULL);
    CHECK(!memarena_reset(the_scope) && errno == EBUSY);
    CHECK(!memarena_rewind(the_scope, the_mark) && errno == EBUSY);
    if (++calls < 5) CHECK(memarena_defer(the_scope, misbehave, argument));
}

static void a_call_may_use_the_scope_but_not_end_it(void)
{
    memarena *arena = create(MIB);
    the_scope = memarena_scope(arena);
    the_mark = memarena_mark(the_scope);
    calls = 0;
    CHECK(memarena_defer(the_scope, misbehave, NULL));
    CHECK(memarena_rewind(the_scope, the_mark));
    CHECK_EQ(calls, 5);
    CHECK_EQ(memarena_allocated_bytes(the_scope), 0);
    memarena_destroy(the_scope);
    CHECK_EQ(memarena_allocated_bytes(arena), 0);
    memarena_destroy(arena);
}

static void open_one(void *argument)
{
    *(memarena **)argument = memarena_scope(the_scope);
}

static void marks_are_good_after_a_reset_that_was_refused_when_its_calls_had_run(void)
{
    memarena *arena = create(MIB), *child = NULL;
    int number = 1;
    the_scope = memarena_scope(arena);
    calls = 0;
    CHECK(memarena_defer(the_scope, note, &number));
    memarena_position mark = memarena_mark(the_scope);
    CHECK(memarena_defer(the_scope, open_one, &child));
    errno = 0;
    CHECK(!memarena_reset(the_scope)); /* for the scope that a call of it has opened */
    CHECK(errno == EBUSY && calls == 1 && child != NULL);
    memarena_destroy(child);
    CHECK(memarena_rewind(the_scope, mark));
    CHECK_EQ(calls, 1);
    CHECK(memarena_defer(the_scope, note, &number));
    CHECK(memarena_reset(the_scope));
    CHECK_EQ(calls, 2);
    memarena_destroy(the_scope);
    memarena_destroy(arena);
}

static void the_arena_keeps_its_calls_while_a_scope_is_open(void)
{
    memarena *arena = create(MIB), *scope = memarena_scope(arena);
    int number = 5;
    calls = 0;
    CHECK(memarena_defer(arena, note, &number));
    CHECK(!memarena_reset(arena));
    CHECK_EQ(errno, EBUSY);
    CHECK_EQ(calls, 0);
    CHECK_EQ(memarena_generation(arena), 1);
    memarena_destroy(scope);
    CHECK(memarena_reset(arena));
    CHECK_EQ(calls, 1);
    CHECK_EQ(memarena_generation(arena), 2);
    memarena_destroy(arena);
}

static void the_last_block_grows_in_place(void)
{
    memarena *arena = create(MIB), *scope = memarena_scope(arena);
    char *block = memarena_alloc_aligned(scope, 100, 8);
    memset(block, 1, 100);
    CHECK(memarena_realloc(scope, block, 100, 300) == block);
    CHECK_EQ(memarena_allocated_bytes(scope), 304);
    CHECK(memarena_realloc(scope, block, 300, 50) == block);
    CHECK_EQ(memarena_allocated_bytes(scope), 56);
    char *moved = memarena_realloc(scope, block, 50, 5000);
    CHECK(moved != block && moved[49] == 1);
    memarena_destroy(scope);
    memarena_destroy(arena);
}

static void small_arenas_and_buffers_have_scopes_too(void)
{
    static _Alignas(8) char buffer[64 * KIB + 8];
    for (size_t bytes = 8 * KIB; bytes <= sizeof buffer - 8; bytes += 8 * KIB) {
        memarena *arena = memarena_create_with(&(memarena_options){.buffer = buffer + bytes % 64, .capacity = bytes});
        CHECK(arena != NULL && memarena_capacity(arena) >= bytes - bytes / 8);
        for (int round = 0; round < 100; round++) {
            memarena *scope = memarena_scope(arena);
            CHECK(scope != NULL && memarena_alloc(scope, 100) != NULL && memarena_alloc(scope, 2000) != NULL);
            memarena_destroy(scope);
        }
        CHECK_EQ(memarena_allocated_bytes(arena), 0);
        memarena_destroy(arena);
    }
}

/* In a small arena all threads share what each has in a larger one. */
static void *have_small_arenas(void *arena)
{
    CHECK(memarena_alloc(arena, 8) != NULL); /* by a lane, which is not the first one */
    small_arenas_and_buffers_have_scopes_too();
    return NULL;
}

/* The first mark of a thread, where the first one of another was. */
static void *begin_with_a_scope(void *arena)
{
    static memarena_position of_another;
    memarena *scope = memarena_scope(arena);
    CHECK(scope != NULL && (memarena_lane_offset_ != 0 || test_watched(arena)));
    memarena_position mine = memarena_mark(scope);
    errno = 0;
    CHECK(!memarena_rewind(scope, of_another) && errno == EINVAL);
    CHECK(memarena_rewind(scope, mine));
    memarena_destroy(scope);
    of_another = mine;
    return NULL;
}

static void threads_other_than_the_first_have_scopes_too(void)
{
    memarena *arena = create(MIB);
    test_join(test_start(have_small_arenas, arena));
    for (int i = 0; i < 3; i++) test_join(test_start(begin_with_a_scope, arena));
    memarena_destroy(arena);
}

static void *take_the_rest(void *arena)
{
    while (memarena_alloc_aligned(arena, 8, 8)) continue;
    return NULL;
}

static void a_scope_is_had_from_what_waits_in_the_threads_own_tlab(void)
{
    memarena *arena = create(32 * MIB);
    if (!test_watched(arena)) {
        while (test_stats(arena).tlab_bytes < 20 * KIB) CHECK(memarena_alloc_aligned(arena, 8, 8) != NULL);
        test_join(test_start(take_the_rest, arena));
        memarena *scope = memarena_scope(arena);
        CHECK(scope != NULL && memarena_alloc(scope, 4000) != NULL);
        memarena_destroy(scope);
    }
    memarena_destroy(arena);
}

static bool count_request(void *count, memarena *arena, size_t size)
{
    (void)arena;
    (void)size;
    ++*(int *)count;
    return false;
}

static void the_handler_is_asked_for_a_scope_only_when_there_is_no_memory(void)
{
    int asked = 0;
    memarena_options options = {.capacity = 64 * KIB, .on_oom = count_request, .on_oom_context = &asked};
    memarena *arena = memarena_create_with(&options), *scope = memarena_scope(arena);
    CHECK(scope != NULL && asked == 0 && test_stats(arena).open_scopes == 1);
    while (memarena_alloc_aligned(arena, 8, 8)) continue;
    asked = 0;
    CHECK(memarena_scope(arena) == NULL);
    CHECK_EQ(asked, 1);
    memarena_destroy(scope);
    memarena_destroy(arena);
}

static void an_old_scope_survives_many_generations_of_others(void)
{
    memarena *arena = create(MIB);
    for (int i = 0; i < 10000 / TEST_SLOWER; i++) { /* more than a narrow tag can count */
        memarena *scope = memarena_scope(arena);
        CHECK(scope != NULL && memarena_alloc_aligned(scope, (size_t)(i % 7) * 1000, 8) != NULL);
        memarena_destroy(scope);
        CHECK(memarena_reset(arena));
        CHECK_EQ(test_stats(arena).free_extent_bytes, 0);
    }
    CHECK_EQ(test_fill(arena, 4096, NULL, 1), MIB);
    memarena_destroy(arena);
}

static size_t sum_by_size(const memarena_stats *stats)
{
    size_t sum = 0;
    for (unsigned i = 0; i < MEMARENA_STATS_SIZES; i++) sum += stats->free_bytes_by_size[i];
    return sum;
}

static void the_stats_tell_free_extents_by_size(void)
{
    memarena *arena = create(64 * MIB), *small = memarena_scope(arena), *large = memarena_scope(arena);
    CHECK(small && large);
    for (unsigned kib = 1; kib <= 16 * 1024; kib *= 2) { /* with its head each takes one class more */
        CHECK(memarena_alloc_aligned(large, kib * KIB, 8) != NULL);
        memarena_stats of_scope = test_stats(large);
        CHECK_EQ(sum_by_size(&of_scope), 0);
    }
    size_t held = test_stats(large).held_bytes;
    memarena_destroy(large);
    memarena_stats stats = test_stats(arena);
    CHECK_EQ(stats.free_extent_bytes, held);
    CHECK_EQ(sum_by_size(&stats), held);
    CHECK_EQ(stats.free_bytes_by_size[0], KIB);
    for (unsigned i = 1; i < 15; i++) {
        CHECK(stats.free_bytes_by_size[i] >= KIB << i && stats.free_bytes_by_size[i] <= 4 * KIB << i);
    }
    CHECK_EQ(stats.free_bytes_by_size[15], 0);
    memarena_destroy(small);
    stats = test_stats(arena);
    CHECK_EQ(stats.free_bytes_by_size[0], 2 * KIB);
    CHECK_EQ(sum_by_size(&stats), stats.free_extent_bytes);
    CHECK(memarena_reset(arena));
    stats = test_stats(arena);
    CHECK_EQ(sum_by_size(&stats), 0);
    memarena_destroy(arena);
}

static void nothing_of_a_generation_long_past_is_used_again(void)
{
    memarena *arena = create(MIB);
    for (unsigned resets = 1; resets <= 8192; resets *= 2) { /* wherever a tag wraps */
        memarena *scope = memarena_scope(arena);
        CHECK(scope != NULL);
        memarena_destroy(scope);
        for (unsigned i = 0; i < resets; i++) CHECK(memarena_reset(arena));
        static void *blocks[4096]; /* small ones: they come from where scopes come from */
        for (unsigned i = 0; i < 4096; i++) CHECK((blocks[i] = memarena_alloc(arena, 128)) != NULL);
        CHECK((scope = memarena_scope(arena)) != NULL);
        for (unsigned i = 0; i < 4096; i++) CHECK(!memarena_owns(scope, blocks[i]));
        memarena_destroy(scope);
        CHECK(memarena_reset(arena));
    }
    memarena_destroy(arena);
}

/* A thread that opens a scope which another one ends, and later the other way round. */
static struct {
    memarena *arena, *other;
    sem_t step, done;
} guest;

static void *be_a_guest(void *unused)
{
    (void)unused;
    guest.other = memarena_scope(guest.arena);
    (void)sem_post(&guest.done);
    while (sem_wait(&guest.step)) continue;
    memarena_destroy(guest.other);
    return NULL;
}

static void a_scope_may_end_in_a_thread_that_missed_a_reset(void)
{
    guest.arena = create(MIB);
    CHECK(!sem_init(&guest.step, 0, 0) && !sem_init(&guest.done, 0, 0));
    pthread_t thread = test_start(be_a_guest, NULL);
    while (sem_wait(&guest.done)) continue;
    memarena_destroy(guest.other);
    CHECK(memarena_reset(guest.arena));
    CHECK((guest.other = memarena_scope(guest.arena)) != NULL);
    size_t held = test_stats(guest.other).held_bytes;
    (void)sem_post(&guest.step);
    CHECK(!pthread_join(thread, NULL));
    CHECK_EQ(test_stats(guest.arena).free_extent_bytes, held);
    CHECK_EQ(test_stats(guest.arena).open_scopes, 0);
    memarena_destroy(guest.arena);
}

int main(void)
{
    RUN(a_scope_serves_blocks_and_gives_them_back);
    RUN(blocks_of_any_size_and_alignment_do_not_overlap);
    RUN(the_first_block_too_lies_at_a_multiple_of_8);
    RUN(one_block_may_be_nearly_as_large_as_the_arena);
    RUN(a_million_requests_take_a_few_kilobytes);
    RUN(a_full_arena_refuses_a_scope_and_recovers);
    RUN(a_scope_may_have_scopes);
    RUN(a_rewind_gives_back_all_blocks_since_the_mark);
    RUN(marks_nest_and_stale_ones_are_refused);
    RUN(a_loop_of_mark_and_rewind_does_not_grow);
    RUN(calls_run_last_in_first_out_at_rewind_reset_and_end);
    RUN(a_call_may_use_the_scope_but_not_end_it);
    RUN(marks_are_good_after_a_reset_that_was_refused_when_its_calls_had_run);
    RUN(the_arena_keeps_its_calls_while_a_scope_is_open);
    RUN(the_last_block_grows_in_place);
    RUN(small_arenas_and_buffers_have_scopes_too);
    RUN(threads_other_than_the_first_have_scopes_too);
    RUN(a_scope_is_had_from_what_waits_in_the_threads_own_tlab);
    RUN(the_handler_is_asked_for_a_scope_only_when_there_is_no_memory);
    RUN(an_old_scope_survives_many_generations_of_others);
    RUN(the_stats_tell_free_extents_by_size);
    RUN(nothing_of_a_generation_long_past_is_used_again);
    RUN(a_scope_may_end_in_a_thread_that_missed_a_reset);
    return test_done();
}
