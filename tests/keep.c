/* memarena_keep: a scope ends, its blocks live on. And rounds: a scope keeps the extents that its next round needs. */
#include "kinds.h"

#include <errno.h>
#include <string.h>

static memarena *create(void)
{
    memarena *arena = memarena_create(16 * MIB);
    CHECK(arena);
    return arena;
}

static size_t held(const memarena *scope)
{
    return test_stats(scope).held_bytes;
}

/* ---- Blocks ------------------------------------------------------------------------------------------------------- */

enum { SOME = 40 };
static unsigned char *blocks[SOME];
static size_t sizes[SOME];

/* Of all sizes, some with an extent of their own. Their bytes. */
static size_t take_some(memarena *scope, unsigned long long *random)
{
    size_t before = memarena_allocated_bytes(scope);
    for (int i = 0; i < SOME; i++) {
        sizes[i] = test_random(random) % 8 ? test_between(random, 0, 300) : test_between(random, 0, 20000);
        blocks[i] = memarena_alloc_aligned(scope, sizes[i], 8);
        CHECK(blocks[i]);
        memset(blocks[i], i + 1, sizes[i]);
    }
    return memarena_allocated_bytes(scope) - before;
}

static void check_some(const memarena *arena)
{
    for (int i = 0; i < SOME; i++) {
        CHECK(memarena_owns(arena, blocks[i]));
        for (size_t byte = 0; byte < sizes[i]; byte++) CHECK_EQ(blocks[i][byte], i + 1);
    }
}

/* Nothing is given out where they are. */
static void check_apart(const void *block, size_t size)
{
    uintptr_t begin = (uintptr_t)block, end = begin + test_rounded(size);
    for (int i = 0; i < SOME; i++)
        CHECK(end <= (uintptr_t)blocks[i] || (uintptr_t)blocks[i] + test_rounded(sizes[i]) <= begin);
}

static void in_an_arena_blocks_live_until_its_reset(void)
{
    for (int kind = 1; kind < SCOPE; kind++) {
        if (kind == IN_BUFFER) continue;
        memarena *arena = kinds_create(kind);
        unsigned long long random = test_seed((unsigned long long)kind);
        for (int round = 0; round < 10; round++) {
            memarena *scope = memarena_scope(arena);
            (void)take_some(scope, &random);
            size_t whole = held(scope);
            CHECK(memarena_keep(scope));
            CHECK_EQ(test_stats(arena).open_scopes, 0);
            check_some(arena);
            size_t taken = memarena_allocated_bytes(arena);
            CHECK(taken <= whole && taken + test_stats(arena).free_extent_bytes >= whole);
            memarena *next = memarena_scope(arena);
            for (size_t size = 3000; size >= 8; size /= 2) {
                for (int i = 0; i < 30; i++) {
                    void *at = memarena_alloc_aligned(i % 2 ? arena : next, size, 8);
                    if (at) check_apart(at, size);
                    if (at) memset(at, 99, size);
                }
            }
            check_some(arena);
            memarena_destroy(next);
            CHECK(memarena_reset(arena));
            CHECK_EQ(memarena_allocated_bytes(arena), 0);
        }
        test_check_whole(arena, 1000);
        kinds_destroy();
    }
}

static void in_a_scope_they_live_until_that_goes_back(void)
{
    memarena *arena = create();
    unsigned long long random = test_seed(3);
    for (int round = 0; round < 60; round++) {
        memarena *parent = memarena_scope(arena);
        size_t own = round % 2 ? take_some(parent, &random) : 0;
        memarena *early = memarena_scope(parent);
        memarena_position mark = memarena_mark(parent);
        size_t before = held(parent);
        memarena *scope = round % 3 ? memarena_scope(parent) : early;
        if (round % 3) memarena_destroy(early);
        size_t more = take_some(scope, &random), whole = held(scope);
        CHECK(memarena_keep(scope));
        CHECK_EQ(memarena_allocated_bytes(parent), own + more);
        CHECK(held(parent) > before && held(parent) <= before + whole);
        CHECK_EQ(memarena_allocated_bytes(arena), held(parent));
        CHECK_EQ(test_stats(parent).open_scopes, 0);
        check_some(parent);
        for (int i = 0; i < 100; i++) {
            size_t size = test_between(&random, 0, 3000);
            void *at = memarena_alloc_aligned(parent, size, 8);
            CHECK(at && memarena_owns(parent, at));
            check_apart(at, size);
            memset(at, 99, size);
        }
        check_some(parent);
        switch (round % 4) {
        case 0:
            CHECK(memarena_rewind(parent, mark) && memarena_rewind(parent, mark)); /* and a round that needs nothing */
            CHECK_EQ(memarena_allocated_bytes(parent), own);
            CHECK_EQ(held(parent), before);
            break;
        case 1:
            CHECK(memarena_reset(parent) && memarena_reset(parent));
            CHECK(memarena_allocated_bytes(parent) == 0 && held(parent) == KIB);
            break;
        default:
            break;
        }
        memarena_destroy(parent);
        CHECK_EQ(memarena_allocated_bytes(arena), 0);
    }
    memarena_destroy(arena);
}

/* What the parent takes back is what it took last, in whichever extent. */
static void the_parent_drops_only_what_is_last(void)
{
    memarena *arena = create();
    static const size_t tried[] = {16, 500, 900, 3000, 20000};
    for (size_t i = 0; i < 25; i++) {
        memarena *parent = memarena_scope(arena), *scope = memarena_scope(parent);
        char *own = memarena_alloc_aligned(parent, tried[i % 5], 8);
        char *first = memarena_alloc_aligned(scope, 700, 8), *last = memarena_alloc_aligned(scope, tried[i / 5], 8);
        memset(first, 1, 700), memset(last, 2, tried[i / 5]);
        CHECK(memarena_keep(scope));
        size_t all = memarena_allocated_bytes(parent);
        CHECK(!memarena_drop_last(parent, first, 700) || memarena_allocated_bytes(parent) == all - 704);
        if (memarena_drop_last(parent, last, tried[i / 5]))
            CHECK_EQ(memarena_allocated_bytes(parent), all - test_rounded(tried[i / 5]));
        else
            CHECK(last[0] == 2);
        CHECK(first[0] == 1 && first[699] == 1);
        (void)memarena_realloc(parent, own, tried[i % 5], tried[i % 5] * 2);
        CHECK(first[0] == 1 && first[699] == 1);
        memarena_destroy(parent);
        CHECK_EQ(memarena_allocated_bytes(arena), 0);
    }
    memarena_destroy(arena);
}

/* A scope that was kept in one that was kept. */
static void many_levels_are_kept_in_turn(void)
{
    memarena *arena = create();
    unsigned long long random = test_seed(5);
    memarena *nest[10];
    for (int i = 0; i < 10; i++) nest[i] = memarena_scope(i ? nest[i - 1] : arena);
    size_t own = 0;
    for (int i = 9; i > 0; i--) {
        own += take_some(nest[i], &random);
        CHECK(memarena_keep(nest[i]));
        CHECK_EQ(memarena_allocated_bytes(nest[i - 1]), own);
        check_some(nest[i - 1]);
    }
    CHECK_EQ(memarena_allocated_bytes(arena), held(nest[0]));
    CHECK(memarena_keep(nest[0]));
    check_some(arena);
    CHECK(memarena_reset(arena));
    CHECK_EQ(memarena_allocated_bytes(arena), 0);
    memarena_destroy(arena);
}

/* ---- Deferred calls ------------------------------------------------------------------------------------------------ */

static char ran[32];
static size_t ran_count;

static void note(void *digit)
{
    CHECK(ran_count < sizeof ran - 1);
    ran[ran_count++] = *(char *)digit;
}

static void defer(memarena *arena, const char *digits)
{
    for (; *digits; digits++) CHECK(memarena_defer(arena, note, memarena_memdup(arena, digits, 1)));
}

static void check_ran(const char *expected)
{
    CHECK(strcmp(ran, expected) == 0);
    memset(ran, 0, sizeof ran);
    ran_count = 0;
}

static void calls_join_those_of_the_parent(void)
{
    for (int kind = 0; kind < KINDS; kind++) {
        memarena *parent = kinds_create(kind);
        for (int round = 0; round < 3; round++) {
            memarena *scope = memarena_scope(parent);
            if (!scope) break;
            defer(parent, "12"), defer(scope, "34"), defer(parent, "5");
            char *undone = memarena_memdup(scope, "x", 1);
            CHECK(memarena_defer(scope, note, undone) && memarena_undefer(scope, note, undone));
            CHECK(memarena_keep(scope));
            char *other = memarena_memdup(parent, "y", 1);
            CHECK(memarena_defer(parent, note, other) && memarena_undefer(parent, note, other));
            defer(parent, "6");
            check_ran("");
            CHECK(memarena_reset(parent));
            check_ran("643521");
        }
        memarena *empty = memarena_scope(parent);
        if (empty) {
            defer(empty, "7");
            CHECK(memarena_keep(empty));
        }
        kinds_destroy();
        check_ran(empty ? "7" : "");
    }
}

static void a_rewind_runs_what_was_kept_behind_it(void)
{
    memarena *arena = create(), *parent = memarena_scope(arena);
    defer(parent, "1");
    memarena_position before = memarena_mark(parent);
    memarena *scope = memarena_scope(parent);
    defer(scope, "23");
    CHECK(memarena_keep(scope));
    memarena_position behind = memarena_mark(parent);
    defer(parent, "4");
    CHECK(memarena_rewind(parent, behind));
    check_ran("4");
    CHECK(memarena_rewind(parent, before));
    check_ran("32");
    CHECK(!memarena_rewind(parent, behind));
    memarena_destroy(parent);
    check_ran("1");
    memarena_destroy(arena);
}

static memarena *running;

static void try_to_keep(void *unused)
{
    (void)unused;
    errno = 0;
    CHECK(!memarena_keep(running) && errno == EBUSY);
    memarena *scope = memarena_scope(running);
    defer(scope, "k");
    CHECK(memarena_keep(scope)); /* a child of it, in the middle of its calls */
}

static void what_cannot_be_kept_is_as_it_was(void)
{
    memarena *arena = create(), *parent = running = memarena_scope(arena), *scope = memarena_scope(parent);
    errno = 0;
    CHECK(!memarena_keep(arena) && errno == EINVAL);
    errno = 0;
    CHECK(!memarena_keep(parent) && errno == EBUSY);
    memarena_destroy(scope);
    CHECK(memarena_defer(parent, try_to_keep, NULL));
    CHECK(memarena_reset(parent));
    check_ran("k");
    memarena_position mark = memarena_mark(parent);
    CHECK(memarena_defer(parent, try_to_keep, NULL));
    CHECK(memarena_rewind(parent, mark));
    check_ran("k");
    CHECK_EQ(test_stats(parent).open_scopes, 0);
    memarena_position stale = memarena_mark(parent);
    CHECK(memarena_keep(parent));
    memarena *next = memarena_scope(arena);
    CHECK(!memarena_rewind(next, stale));
    memarena_destroy(next);
    CHECK(memarena_reset(arena));
    memarena_destroy(arena);
}

/* ---- Rounds ------------------------------------------------------------------------------------------------------- */

static size_t look(const memarena *arena)
{
    memarena_stats stats = test_stats(arena);
    return stats.allocated_bytes + 3 * stats.free_extent_bytes;
}

static void a_round_like_the_one_before_takes_nothing(void)
{
    for (int reset = 0; reset < 2; reset++) {
        memarena *arena = create(), *scope = memarena_scope(arena);
        memarena_position mark = memarena_mark(scope);
        void *first[10];
        size_t taken = 0;
        for (int round = 0; round < 20; round++) {
            for (int i = 0; i < 10; i++) {
                char *block = memarena_alloc_aligned(scope, 2000, 8);
                CHECK(block);
                memset(block, round, 2000);
                if (round == 0) first[i] = block;
                CHECK(round == 0 || block == first[i]);
            }
            if (round == 0) taken = look(arena);
            CHECK_EQ(look(arena), taken);
            CHECK(reset ? memarena_reset(scope) : memarena_rewind(scope, mark));
            CHECK_EQ(memarena_allocated_bytes(scope), 0);
            CHECK_EQ(look(arena), taken);
            CHECK_EQ(held(scope), memarena_allocated_bytes(arena));
        }
        memarena_destroy(scope);
        CHECK_EQ(memarena_allocated_bytes(arena), 0);
        memarena_destroy(arena);
    }
}

static void what_a_round_has_not_used_goes_back(void)
{
    memarena *arena = create(), *scope = memarena_scope(arena);
    memarena_position mark = memarena_mark(scope);
    CHECK(memarena_alloc_aligned(scope, 100000, 8) && memarena_alloc_aligned(scope, 5000, 8));
    CHECK(memarena_rewind(scope, mark));
    CHECK(held(scope) > 105000);
    CHECK(memarena_alloc_aligned(scope, 5000, 8)); /* not in the first, which is for a large one */
    CHECK(memarena_rewind(scope, mark));
    size_t one = held(scope);
    CHECK(one < 105000 && one > 5000);
    CHECK(memarena_rewind(scope, mark));
    CHECK_EQ(held(scope), KIB);
    CHECK_EQ(memarena_allocated_bytes(arena), KIB);
    memarena_destroy(scope);
    memarena_destroy(arena);
}

/* An inner round's extents are the outer round's, too. */
static void rounds_nest(void)
{
    memarena *arena = create(), *scope = memarena_scope(arena);
    memarena_position outer = memarena_mark(scope);
    size_t taken = 0;
    for (int round = 0; round < 10; round++) {
        CHECK(memarena_alloc_aligned(scope, 16, 8));
        memarena_position inner = memarena_mark(scope);
        for (int i = 0; i < 3; i++) {
            CHECK(memarena_alloc_aligned(scope, 9000, 8));
            CHECK(memarena_rewind(scope, inner));
        }
        CHECK(memarena_rewind(scope, outer));
        if (round == 0) taken = look(arena);
        CHECK_EQ(look(arena), taken);
        CHECK(held(scope) > 9000);
    }
    CHECK(memarena_rewind(scope, outer));
    CHECK_EQ(held(scope), KIB);
    memarena_destroy(scope);
    memarena_destroy(arena);
}

/* What it keeps is not in its own way. */
static void a_full_arena_gives_what_a_scope_had_kept(void)
{
    memarena *arena = memarena_create(64 * KIB), *scope = memarena_scope(arena);
    memarena_position mark = memarena_mark(scope);
    for (size_t size = 100; size < 40000; size += 700) {
        while (memarena_alloc_aligned(scope, size, 8)) continue;
        CHECK(memarena_rewind(scope, mark));
    }
    CHECK(memarena_rewind(scope, mark));
    memarena_destroy(scope);
    CHECK_EQ(memarena_allocated_bytes(arena), 0);
    CHECK(memarena_reset(arena));
    test_check_whole(arena, 1000);
    memarena_destroy(arena);
}

int main(void)
{
    RUN(in_an_arena_blocks_live_until_its_reset);
    RUN(in_a_scope_they_live_until_that_goes_back);
    RUN(the_parent_drops_only_what_is_last);
    RUN(many_levels_are_kept_in_turn);
    RUN(calls_join_those_of_the_parent);
    RUN(a_rewind_runs_what_was_kept_behind_it);
    RUN(what_cannot_be_kept_is_as_it_was);
    RUN(a_round_like_the_one_before_takes_nothing);
    RUN(what_a_round_has_not_used_goes_back);
    RUN(rounds_nest);
    RUN(a_full_arena_gives_what_a_scope_had_kept);
    return test_done();
}
