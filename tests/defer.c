/* Deferred calls: last in first out, each once, at reset and at destroy. */
#include <memarena.h>

#include "test.h"

#include <errno.h>

#define MIB ((size_t)1 << 20)

/* What ran, in order. */
static int ran[200000];
static size_t ran_count;

typedef struct called_with {
    memarena *arena;
    int number;
    unsigned char pattern[40];
} called_with;

static memarena *create(void)
{
    memarena *arena = memarena_create(16 * MIB);
    CHECK(arena);
    ran_count = 0;
    return arena;
}

static called_with *new_note(memarena *arena, int number)
{
    called_with *new = memarena_new_value(arena, called_with, .arena = arena, .number = number);
    CHECK(new);
    memset(new->pattern, number, sizeof new->pattern);
    return new;
}

static void record(void *context)
{
    const called_with *note = context;
    for (size_t i = 0; i < sizeof note->pattern; i++) CHECK_EQ(note->pattern[i], (unsigned char)note->number);
    CHECK(ran_count < sizeof ran / sizeof *ran);
    ran[ran_count++] = note->number;
}

static void defer_some(memarena *arena, int count)
{
    for (int i = 0; i < count; i++) {
        CHECK(memarena_defer(arena, record, new_note(arena, i)));
        if (i % 7 == 0) CHECK(memarena_alloc(arena, 5000));
    }
}

static void check_ran_backwards(int count)
{
    CHECK_EQ(ran_count, count);
    for (int i = 0; i < count; i++) CHECK_EQ(ran[i], count - 1 - i);
    ran_count = 0;
}

static void reset_runs_the_calls_backwards(void)
{
    memarena *arena = create();
    for (int count = 0; count < 50; count++) {
        defer_some(arena, count);
        CHECK_EQ(ran_count, 0);
        memarena_reset(arena);
        check_ran_backwards(count);
    }
    memarena_reset(arena);
    CHECK_EQ(ran_count, 0);
    memarena_destroy(arena);
    CHECK_EQ(ran_count, 0);
}

static void destroy_runs_the_calls_backwards(void)
{
    for (int count = 0; count < 50; count++) {
        memarena *arena = create();
        if (count % 2) memarena_reset(arena);
        defer_some(arena, count);
        memarena_destroy(arena);
        check_ran_backwards(count);
    }
}

static void calls_run_in_a_buffer_too(void)
{
    static char memory[64 << 10];
    memarena_options options = {.buffer = memory + 3, .capacity = sizeof memory - 3};
    memarena *arena = memarena_create_with(&options);
    CHECK(arena);
    ran_count = 0;
    for (int generation = 0; generation < 3; generation++) {
        for (int i = 0; i < 20; i++) CHECK(memarena_defer(arena, record, new_note(arena, i)));
        if (generation < 2)
            memarena_reset(arena);
        else
            memarena_destroy(arena);
        check_ran_backwards(20);
    }
}

static void a_call_takes_twenty_four_bytes(void)
{
    memarena *arena = create();
    called_with note = {.arena = arena};
    for (size_t i = 1; i <= 1000; i++) {
        CHECK(memarena_defer(arena, record, &note));
        CHECK_EQ(memarena_allocated_bytes(arena), i * (2 * sizeof(void *) + 8));
    }
    CHECK(sizeof(void *) != 8 || memarena_allocated_bytes(arena) == 24000);
    memarena_destroy(arena);
    CHECK_EQ(ran_count, 1000);
}

static uint64_t generation_seen;
static size_t bytes_seen;

static void look_around(void *context)
{
    called_with *note = context;
    CHECK(memarena_owns(note->arena, note));
    generation_seen = memarena_generation(note->arena);
    bytes_seen = memarena_allocated_bytes(note->arena);
    record(context);
}

static void a_call_still_belongs_to_its_generation(void)
{
    memarena *arena = create();
    for (uint64_t generation = 1; generation < 10; generation++) {
        CHECK(memarena_defer(arena, look_around, new_note(arena, 1)));
        size_t before = memarena_allocated_bytes(arena);
        memarena_reset(arena);
        CHECK_EQ(generation_seen, generation);
        CHECK_EQ(bytes_seen, before);
        CHECK_EQ(memarena_generation(arena), generation + 1);
        CHECK_EQ(memarena_allocated_bytes(arena), 0);
    }
    memarena_destroy(arena);
}

static void allocate_much(void *context)
{
    memarena *arena = ((called_with *)context)->arena;
    for (int i = 0; i < 100; i++) {
        unsigned char *block = memarena_alloc(arena, 3000);
        CHECK(block && memarena_owns(arena, block));
        memset(block, 0xDD, 3000); /* must not hit the notes of the calls that are still to run */
    }
    record(context);
}

static void a_call_may_allocate(void)
{
    memarena *arena = create();
    for (int generation = 0; generation < 5; generation++) {
        for (int i = 0; i < 20; i++) CHECK(memarena_defer(arena, allocate_much, new_note(arena, i)));
        memarena_reset(arena);
        check_ran_backwards(20);
        CHECK_EQ(memarena_allocated_bytes(arena), 0);
    }
    for (int i = 0; i < 20; i++) CHECK(memarena_defer(arena, allocate_much, new_note(arena, i)));
    memarena_destroy(arena);
    check_ran_backwards(20);
}

/* Defers a call that does the same, as often as its number says. */
static void defer_another(void *context)
{
    called_with *note = context;
    record(context);
    if (note->number > 0) CHECK(memarena_defer(note->arena, defer_another, new_note(note->arena, note->number - 1)));
}

static void a_call_may_defer_another_that_runs_in_the_same_reset(void)
{
    memarena *arena = create();
    for (int generation = 0; generation < 5; generation++) {
        CHECK(memarena_defer(arena, defer_another, new_note(arena, 99)));
        memarena_reset(arena);
        check_ran_backwards(100);
        CHECK_EQ(memarena_generation(arena), generation + 2);
    }
    CHECK(memarena_defer(arena, defer_another, new_note(arena, 99)));
    memarena_destroy(arena);
    check_ran_backwards(100);
}

static void every_call_runs_once_when_calls_defer_others(void)
{
    memarena *arena = create();
    for (int generation = 0; generation < 5; generation++) {
        for (int i = 0; i < 20; i++) CHECK(memarena_defer(arena, defer_another, new_note(arena, i)));
        memarena_reset(arena);
        int times[20] = {0};
        for (size_t i = 0; i < ran_count; i++) times[ran[i]]++;
        for (int i = 0; i < 20; i++) CHECK_EQ(times[i], 20 - i);
        CHECK_EQ(ran_count, 210);
        ran_count = 0;
    }
    memarena_destroy(arena);
    CHECK_EQ(ran_count, 0);
}

static void a_hundred_thousand_calls_run(void)
{
    memarena *arena = create();
    for (int generation = 0; generation < 2; generation++) {
        called_with *note = new_note(arena, 1);
        for (int i = 0; i < 100000; i++) CHECK(memarena_defer(arena, record, note));
        if (generation == 0)
            memarena_reset(arena);
        else
            memarena_destroy(arena);
        CHECK_EQ(ran_count, 100000);
        ran_count = 0;
    }
}

static void a_full_arena_defers_nothing(void)
{
    memarena *arena = create();
    for (size_t left = 0; left < 24; left += 8) {
        CHECK(memarena_defer(arena, record, new_note(arena, 0)));
        size_t rest = memarena_capacity(arena);
        for (; rest >= 8; rest = rest / 2 & ~(size_t)7)
            while (memarena_capacity(arena) - memarena_allocated_bytes(arena) >= rest + left &&
                   memarena_alloc_aligned(arena, rest, 8))
                continue;
        size_t before = memarena_allocated_bytes(arena);
        CHECK_EQ(memarena_capacity(arena) - before, left);
        if (left < 2 * sizeof(void *) + 8) {
            errno = 0;
            CHECK(!memarena_defer(arena, record, NULL));
            CHECK_EQ(errno, ENOMEM);
            CHECK_EQ(memarena_allocated_bytes(arena), before);
        }
        memarena_reset(arena);
        check_ran_backwards(1); /* the first, and not the refused one */
    }
    memarena_destroy(arena);
    CHECK_EQ(ran_count, 0);
}

/* ---- An arena that runs full inside ---------------------------------------------------------------------------------
 */

static void defer_until_full(void *context)
{
    called_with *note = context;
    record(context);
    while (memarena_alloc_aligned(note->arena, 8, 8)) continue;
    CHECK(!memarena_defer(note->arena, record, note));
}

static void a_call_may_find_the_arena_full(void)
{
    memarena *arena = memarena_create(65536);
    CHECK(arena);
    ran_count = 0;
    for (int generation = 0; generation < 3; generation++) {
        for (int i = 0; i < 5; i++) CHECK(memarena_defer(arena, defer_until_full, new_note(arena, i)));
        memarena_reset(arena);
        check_ran_backwards(5);
        CHECK_EQ(memarena_allocated_bytes(arena), 0);
    }
    memarena_destroy(arena);
}

/* ---- A reset from inside ------------------------------------------------------------------------------------------- */

/* Refused; were it not, the blocks of the calls that are still to run would die under them. */
static void try_to_reset(void *context)
{
    called_with *note = context;
    uint64_t generation = memarena_generation(note->arena);
    errno = 0;
    CHECK(!memarena_reset(note->arena));
    CHECK_EQ(errno, EBUSY);
    CHECK_EQ(memarena_generation(note->arena), generation);
    CHECK(memarena_zalloc(note->arena, 1000));
    record(context);
}

static void a_call_cannot_reset_its_arena(void)
{
    memarena *arena = create();
    for (int i = 0; i < 5; i++) CHECK(memarena_defer(arena, try_to_reset, new_note(arena, i)));
    CHECK(memarena_reset(arena));
    check_ran_backwards(5);
    CHECK_EQ(memarena_generation(arena), 2);
    CHECK_EQ(memarena_allocated_bytes(arena), 0);
    memarena_destroy(arena);
}

static void nor_can_it_when_the_arena_is_destroyed(void)
{
    memarena *arena = create();
    for (int i = 0; i < 5; i++) CHECK(memarena_defer(arena, try_to_reset, new_note(arena, i)));
    memarena_destroy(arena);
    check_ran_backwards(5);
}

static bool reset_for_room(void *context, memarena *arena, size_t size)
{
    (void)size;
    ++*(int *)context;
    return memarena_reset(arena);
}

/* The list of calls must not lose its place in a generation that ends while a call is being put into it. */
static void a_handler_that_resets_does_not_lose_deferred_calls(void)
{
    int asked = 0;
    memarena_options options = {.capacity = 65536, .on_oom = reset_for_room, .on_oom_context = &asked};
    memarena *arena = memarena_create_with(&options);
    CHECK(arena);
    ran_count = 0;
    called_with outside = {.number = 3};
    memset(outside.pattern, 3, sizeof outside.pattern);
    size_t deferred = 0;
    for (int i = 0; i < 20000; i++) deferred += memarena_defer(arena, record, &outside);
    CHECK(asked > 0);
    CHECK(memarena_reset(arena));
    CHECK_EQ(ran_count, deferred);
    memarena_destroy(arena);
    CHECK_EQ(ran_count, deferred);
    ran_count = 0;
}

int main(void)
{
    RUN(reset_runs_the_calls_backwards);
    RUN(destroy_runs_the_calls_backwards);
    RUN(calls_run_in_a_buffer_too);
    RUN(a_call_takes_twenty_four_bytes);
    RUN(a_call_still_belongs_to_its_generation);
    RUN(a_call_may_allocate);
    RUN(a_call_may_defer_another_that_runs_in_the_same_reset);
    RUN(every_call_runs_once_when_calls_defer_others);
    RUN(a_hundred_thousand_calls_run);
    RUN(a_full_arena_defers_nothing);
    RUN(a_call_may_find_the_arena_full);
    RUN(a_call_cannot_reset_its_arena);
    RUN(a_handler_that_resets_does_not_lose_deferred_calls);
    RUN(nor_can_it_when_the_arena_is_destroyed);
    return test_done();
}
