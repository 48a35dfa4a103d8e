/* memarena_undefer: a deferred call that was undone does not run, the others do, in their order. */
#include "kinds.h"

#include <errno.h>
#include <string.h>

static int ran[64], numbers[64];
static unsigned ran_count;

static void record(void *number)
{
    CHECK(ran_count < 64);
    ran[ran_count++] = *(int *)number;
}

static void other(void *number)
{
    record(number);
}

static memarena *create(int kind)
{
    ran_count = 0;
    for (int i = 0; i < 64; i++) numbers[i] = i;
    return kinds_create(kind);
}

static void defer(memarena *arena, int number)
{
    CHECK(memarena_defer(arena, record, &numbers[number]));
}

static bool undo(memarena *arena, int number)
{
    return memarena_undefer(arena, record, &numbers[number]);
}

/* What ran, as digits. */
static void check_ran(const char *expected)
{
    char digits[65] = {0};
    for (unsigned i = 0; i < ran_count; i++) digits[i] = (char)('0' + ran[i]);
    if (strcmp(digits, expected) != 0) fprintf(stderr, "ran %s, not %s\n", digits, expected);
    CHECK(strcmp(digits, expected) == 0);
    ran_count = 0;
}

static void what_was_undone_does_not_run(void)
{
    for (int kind = 0; kind < KINDS; kind++) {
        for (int undone = 0; undone < 5; undone++) {
            memarena *arena = create(kind);
            for (int i = 0; i < 5; i++) defer(arena, i);
            CHECK(undo(arena, undone));
            CHECK(!undo(arena, undone));
            CHECK(memarena_reset(arena));
            const char *left[] = {"4321", "4320", "4310", "4210", "3210"};
            check_ran(left[undone]);
            CHECK(!undo(arena, 0)); /* it has run */
            CHECK(memarena_reset(arena));
            check_ran("");
            kinds_destroy();
        }
    }
}

static void all_subsets_of_some_calls(void)
{
    for (int kind = 0; kind < KINDS; kind++) {
        memarena *arena = create(kind);
        for (int set = 0; set < 64; set++) {
            char expected[8] = {0};
            size_t length = 0;
            for (int i = 0; i < 6; i++) defer(arena, i);
            for (int i = 0; i < 6; i++) CHECK(!(set >> i & 1) || undo(arena, i)); /* the oldest first */
            for (int i = 5; i >= 0; i--)
                if (!(set >> i & 1)) expected[length++] = (char)('0' + i);
            CHECK(memarena_reset(arena));
            check_ran(expected);
        }
        kinds_destroy();
    }
}

static void the_newest_of_equal_ones_is_undone(void)
{
    for (int kind = 0; kind < KINDS; kind++) {
        memarena *arena = create(kind);
        defer(arena, 1), defer(arena, 2), defer(arena, 1);
        CHECK(memarena_defer(arena, other, &numbers[1]));
        CHECK(undo(arena, 1));
        CHECK(memarena_reset(arena));
        check_ran("121");
        defer(arena, 1), defer(arena, 1);
        CHECK(undo(arena, 1) && undo(arena, 1) && !undo(arena, 1));
        kinds_destroy();
        check_ran("");
    }
}

static void who_is_not_deferred_is_not_found(void)
{
    for (int kind = 0; kind < KINDS; kind++) {
        memarena *arena = create(kind);
        errno = 0;
        CHECK(!undo(arena, 1));
        defer(arena, 1);
        CHECK(!undo(arena, 2) && !memarena_undefer(arena, other, &numbers[1]));
        CHECK(undo(arena, 1));
        CHECK(!memarena_undefer(arena, NULL, &numbers[1])); /* (what was undone is not found as nothing) */
        CHECK_EQ(errno, 0);
        if (kind >= SCOPE) {
            CHECK(memarena_defer(kinds_root, record, &numbers[1]));
            CHECK(!undo(arena, 1)); /* it is another's */
            CHECK(memarena_undefer(kinds_root, record, &numbers[1]));
        }
        kinds_destroy();
        check_ran("");
    }
}

/* A call that undoes others, and itself, which has begun. */
static memarena *in_call;

static void undo_some(void *unused)
{
    CHECK(!memarena_undefer(in_call, undo_some, unused));
    CHECK(undo(in_call, 1));
    CHECK(!undo(in_call, 3)); /* has run */
    defer(in_call, 4), defer(in_call, 5);
    CHECK(undo(in_call, 4));
}

static void a_call_undoes_others(void)
{
    for (int kind = 0; kind < KINDS; kind++) {
        for (int ends = 0; ends < 2; ends++) {
            memarena *arena = in_call = create(kind);
            defer(arena, 0), defer(arena, 1), defer(arena, 2);
            CHECK(memarena_defer(arena, undo_some, NULL));
            defer(arena, 3);
            if (!ends) CHECK(memarena_reset(arena));
            kinds_destroy();
            check_ran("3520");
        }
    }
}

/* Also one that was the newest when a mark was taken. */
static void marks_go_back_to_where_they_were(void)
{
    for (int kind = SCOPE; kind < KINDS; kind++) {
        for (int set = 0; set < 16; set++) {
            char behind[8] = {0}, before[8] = {0};
            memarena *scope = create(kind);
            defer(scope, 0), defer(scope, 1);
            memarena_position mark = memarena_mark(scope);
            CHECK(memarena_alloc(scope, 5000));
            defer(scope, 2), defer(scope, 3);
            for (int i = 0; i < 4; i++) CHECK(!(set >> i & 1) || undo(scope, i));
            for (int i = 3; i >= 0; i--)
                if (!(set >> i & 1)) strcat(i < 2 ? before : behind, i == 0 ? "0" : i == 1 ? "1" : i == 2 ? "2" : "3");
            CHECK(memarena_rewind(scope, mark));
            check_ran(behind);
            CHECK(memarena_rewind(scope, mark));
            check_ran("");
            defer(scope, 4);
            CHECK(memarena_rewind(scope, mark));
            check_ran("4");
            CHECK(memarena_reset(scope));
            check_ran(before);
            kinds_destroy();
        }
    }
}

/* What has been undone is no longer in the way: the second million is not slower than the list is long. */
static void who_defers_and_undoes_by_turns_looks_at_few(void)
{
    memarena *arena = memarena_create((size_t)64 << 20), *scope = memarena_scope(arena);
    CHECK(memarena_defer(arena, record, &numbers[1]) && memarena_defer(scope, record, &numbers[2]));
    for (long i = test_scaled(200000); i > 0; i--) {
        CHECK(memarena_defer(arena, record, &numbers[0]) && undo(arena, 0));
        CHECK(memarena_defer(scope, record, &numbers[0]) && undo(scope, 0));
    }
    CHECK(undo(arena, 1) && undo(scope, 2));
    memarena_destroy(scope);
    memarena_destroy(arena);
    check_ran("");
}

int main(void)
{
    RUN(what_was_undone_does_not_run);
    RUN(all_subsets_of_some_calls);
    RUN(the_newest_of_equal_ones_is_undone);
    RUN(who_is_not_deferred_is_not_found);
    RUN(a_call_undoes_others);
    RUN(marks_go_back_to_where_they_were);
    RUN(who_defers_and_undoes_by_turns_looks_at_few);
    return test_done();
}
