/* memarena_scope_with: limits of scopes, alone, one above the other, and from several threads; names and sizes. */
#include "scope/scope.h"
#include "threads.h"
#include "yield.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define KIB ((size_t)1 << 10)
#define MIB ((size_t)1 << 20)

static memarena *create(size_t capacity)
{
    memarena *arena = memarena_create_with(&(memarena_options){.capacity = capacity, .flags = TEST_FLAGS});
    CHECK(arena);
    return arena;
}

static memarena *open_within(memarena *parent, size_t limit)
{
    memarena *scope = memarena_scope_with(parent, &(memarena_scope_options){.limit_bytes = limit});
    CHECK(scope);
    return scope;
}

static size_t held(const memarena *scope)
{
    return ma_scope_held((const ma_scope *)scope); /* (the stats also ask the system for resident pages) */
}

/* Takes blocks until one is refused, which it is for want of memory. */
static size_t fill(memarena *scope, size_t size)
{
    size_t count = 0;
    for (char *block; (block = memarena_alloc_aligned(scope, size, 8)) != NULL; count++) memset(block, 1, size);
    CHECK_EQ(errno, ENOMEM);
    return count;
}

/* ---- One scope ---------------------------------------------------------------------------------------------------- */

static void options_are_checked(void)
{
    memarena *arena = create(MIB);
    errno = 0;
    CHECK(!memarena_scope_with(arena, NULL));
    CHECK_EQ(errno, EINVAL);
    for (unsigned bit = 0; bit < 32; bit++) {
        errno = 0;
        CHECK(!memarena_scope_with(arena, &(memarena_scope_options){.flags = 1u << bit}));
        CHECK_EQ(errno, EINVAL);
    }
    for (int i = 0; i < 4; i++) {
        memarena_scope_options options = {.limit_bytes = 0};
        options.reserved[i] = arena;
        errno = 0;
        CHECK(!memarena_scope_with(arena, &options));
        CHECK_EQ(errno, EINVAL);
    }
    memarena *scope = memarena_scope_with(arena, &(memarena_scope_options){.limit_bytes = 0});
    CHECK(scope);
    CHECK_EQ(held(scope), KIB);
    CHECK_EQ(memarena_allocated_bytes(scope), 0);
    CHECK(memarena_alloc(scope, 100 * KIB));
    memarena_destroy(scope);
    CHECK(memarena_reset(arena));
    memarena_destroy(arena);
}

/* Whole extents up to the limit, and nothing behind it. */
static void a_limit_holds(void)
{
    memarena *arena = create(16 * MIB);
    for (size_t limit = KIB; limit < 300 * KIB; limit += limit / 3 + 77) {
        memarena *scope = open_within(arena, limit);
        CHECK_EQ(memarena_allocated_bytes(scope), 0);
        size_t count = fill(scope, 40);
        CHECK_EQ(held(scope), limit / KIB * KIB);
        CHECK_EQ(memarena_allocated_bytes(scope), 40 * count);
        CHECK(!memarena_alloc(scope, limit));
        CHECK(memarena_reset(scope));
        CHECK_EQ(memarena_allocated_bytes(scope), 0);
        CHECK_EQ(fill(scope, 40), count);
        CHECK(held(scope) <= limit);
        CHECK(memarena_alloc(arena, limit)); /* the arena has room */
        memarena_destroy(scope);
    }
    errno = 0;
    CHECK(!memarena_scope_with(arena, &(memarena_scope_options){.limit_bytes = KIB - 1}));
    CHECK_EQ(errno, ENOMEM);
    CHECK(memarena_reset(arena));
    memarena_destroy(arena);
}

/* What waits for the next round counts, and makes room when something else is asked for. */
static void rounds_stay_within_the_limit(void)
{
    memarena *arena = create(16 * MIB);
    memarena *scope = open_within(arena, 64 * KIB);
    for (int round = 0; round < 50; round++) {
        memarena_position mark = memarena_mark(scope);
        for (int i = 0; i < 10; i++) CHECK(memarena_alloc(scope, 2000));
        CHECK(memarena_rewind(scope, mark));
        CHECK(memarena_alloc(scope, 30 * KIB));
        CHECK(held(scope) <= 64 * KIB);
        CHECK(memarena_rewind(scope, mark));
        CHECK(memarena_alloc(scope, 50 * KIB));
        CHECK(held(scope) <= 64 * KIB);
        CHECK(memarena_drop_last(scope, memarena_alloc(scope, 5 * KIB), 5 * KIB));
        CHECK(memarena_reset(scope));
    }
    memarena_destroy(scope);
    CHECK(memarena_reset(arena));
    memarena_destroy(arena);
}

static size_t asked, asked_for;

static bool note(void *context, memarena *arena, size_t size)
{
    (void)context, (void)arena;
    asked++, asked_for = size;
    return false;
}

static void on_oom_is_asked(void)
{
    memarena *arena = memarena_create_with(&(memarena_options){.capacity = MIB, .on_oom = note});
    CHECK(arena);
    memarena *scope = open_within(arena, 2 * KIB);
    CHECK(!memarena_alloc(scope, 3000));
    CHECK_EQ(asked, 1);
    CHECK_EQ(asked_for, 3000);
    CHECK(memarena_alloc(scope, 900));
    CHECK(!memarena_scope(scope));
    CHECK_EQ(errno, ENOMEM);
    CHECK_EQ(asked, 2);
    CHECK_EQ(test_stats(arena).failed_requests, 2);
    memarena_destroy(scope);
    memarena_destroy(arena);
}

static void the_first_extent_is_as_large_as_expected(void)
{
    memarena *arena = create(16 * MIB);
    for (size_t expect = 1; expect < MIB; expect = expect * 3 + 5) {
        for (int limited = 0; limited < 2; limited++) {
            memarena_scope_options options = {.expect_bytes = expect, .limit_bytes = limited ? 2 * MIB : 0};
            memarena *scope = memarena_scope_with(arena, &options);
            CHECK(scope);
            size_t first = held(scope);
            CHECK(first >= expect && first <= expect + expect / 4 + 2 * KIB);
            for (size_t left = expect / 8 * 8; left > 0; left -= left < 4096 ? left : 4096)
                CHECK(memarena_alloc_aligned(scope, left < 4096 ? left : 4096, 8));
            CHECK_EQ(held(scope), first);
            CHECK(memarena_reset(scope));
            memarena_destroy(scope);
        }
    }
    /* A hint: a limit cuts it, and where there is no such piece the scope begins small. */
    memarena_scope_options options = {.expect_bytes = 64 * KIB, .limit_bytes = 64 * KIB - 5};
    memarena *scope = memarena_scope_with(arena, &options);
    CHECK(scope);
    CHECK_EQ(held(scope), 63 * KIB);
    memarena *inner = memarena_scope_with(scope, &(memarena_scope_options){.expect_bytes = 1});
    CHECK(!inner);
    memarena_destroy(scope);
    options = (memarena_scope_options){.expect_bytes = SIZE_MAX};
    scope = memarena_scope_with(arena, &options);
    CHECK(scope);
    CHECK_EQ(held(scope), KIB);
    memarena_destroy(scope);
    memarena_destroy(arena);
}

/* A free extent that is larger than the limit: the scope takes a part of it, and the rest stays free. */
static void large_free_extents_are_cut(void)
{
    memarena *arena = create(256 * KIB);
    memarena *large = memarena_scope_with(arena, &(memarena_scope_options){.expect_bytes = 60 * KIB});
    CHECK(large);
    CHECK(held(large) > 60 * KIB);
    size_t whole = held(large);
    fill(arena, 4096);
    fill(arena, 8);
    memarena_destroy(large);
    memarena *scopes[100];
    size_t count = 0, total = 0;
    while (count < 100 &&
           (scopes[count] = memarena_scope_with(arena, &(memarena_scope_options){.limit_bytes = 3 * KIB})) != NULL) {
        fill(scopes[count], 8);
        CHECK(held(scopes[count]) <= 3 * KIB);
        total += held(scopes[count++]);
    }
    CHECK_EQ(total, whole);
    while (count > 0) memarena_destroy(scopes[--count]);
    memarena_destroy(arena);
}

/* ---- Scopes below a limit ------------------------------------------------------------------------------------------- */

static void a_limit_holds_for_the_scopes_below(void)
{
    memarena *arena = create(16 * MIB);
    memarena *outer = open_within(arena, 32 * KIB);
    memarena *plain = memarena_scope(outer); /* no limit of its own, and yet below one */
    CHECK(plain);
    memarena *inner = open_within(plain, MIB); /* a larger one widens nothing */
    memarena *narrow = open_within(inner, 4 * KIB);
    fill(narrow, 64);
    CHECK_EQ(held(narrow), 4 * KIB);
    fill(inner, 64);
    CHECK_EQ(held(outer) + held(plain) + held(inner) + held(narrow), 32 * KIB);
    fill(plain, 64), fill(outer, 64);
    CHECK_EQ(held(outer) + held(plain) + held(inner) + held(narrow), 32 * KIB);
    errno = 0;
    CHECK(!memarena_scope(outer));
    CHECK_EQ(errno, ENOMEM);
    CHECK(!memarena_scope_with(inner, &(memarena_scope_options){.name = "none"}));
    memarena *beside = open_within(arena, 32 * KIB);
    fill(beside, 64);
    CHECK_EQ(held(beside), 32 * KIB);
    memarena_destroy(narrow);
    fill(plain, 64);
    CHECK_EQ(held(outer) + held(plain) + held(inner), 32 * KIB);
    memarena_destroy(inner);
    memarena_destroy(plain);
    fill(outer, 64);
    CHECK_EQ(held(outer), 32 * KIB);
    memarena_destroy(outer);
    /* What was charged is charged no longer, also in the scope that begins again where one of these was. */
    memarena *free = memarena_scope(arena);
    CHECK(free && memarena_alloc(free, MIB));
    memarena_destroy(free);
    memarena_destroy(beside);
    CHECK(memarena_reset(arena));
    memarena_destroy(arena);
}

static void names_alone_limit_nothing(void)
{
    memarena *arena = create(16 * MIB);
    memarena *outer = open_within(arena, 32 * KIB);
    memarena *named =
        memarena_scope_with(outer, &(memarena_scope_options){.name = "a name that is longer than 31 bytes are"});
    CHECK(named);
    memarena *below = memarena_scope(named);
    CHECK(below);
    fill(below, 8);
    CHECK_EQ(held(outer) + held(named) + held(below), 32 * KIB);
    memarena_destroy(below), memarena_destroy(named), memarena_destroy(outer);
    named = memarena_scope_with(arena, &(memarena_scope_options){.name = ""});
    CHECK(named && memarena_alloc(named, MIB));
    below = memarena_scope(named);
    CHECK(below && memarena_alloc(below, MIB));
    memarena_destroy(below), memarena_destroy(named);
    memarena_destroy(arena);
}

static void what_is_kept_stays_charged_to_the_parent(void)
{
    memarena *arena = create(16 * MIB);
    memarena *top = open_within(arena, 65 * KIB);
    for (int round = 0; round < 100; round++) {
        memarena *outer = open_within(top, 64 * KIB);
        memarena_position mark = memarena_mark(outer);
        memarena *inner = open_within(outer, 20 * KIB);
        char *block = memarena_alloc(inner, 10 * KIB);
        CHECK(block);
        memset(block, round, 10 * KIB);
        CHECK(memarena_alloc(inner, 3000));
        size_t both = held(outer) + held(inner);
        CHECK(memarena_keep(inner));
        CHECK(held(outer) <= both && held(outer) >= 13 * KIB);
        fill(outer, 100);
        CHECK_EQ(held(outer), 64 * KIB);
        CHECK_EQ(block[10 * KIB - 1], round);
        CHECK(memarena_rewind(outer, mark));
        CHECK(memarena_alloc(outer, 40 * KIB)); /* no trace of the charges */
        CHECK(round % 2 ? memarena_rewind(outer, mark) : memarena_reset(outer));
        memarena_destroy(outer);
    }
    memarena_destroy(top);
    for (int round = 0; round < 100; round++) { /* into the arena: charged to nobody */
        memarena *scope = open_within(arena, 20 * KIB);
        CHECK(memarena_alloc(scope, 10 * KIB));
        CHECK(memarena_keep(scope));
    }
    CHECK(memarena_reset(arena));
    memarena_destroy(arena);
}

/* The parent goes on where it is, and what the scope has not used goes back. */
static void the_rest_of_a_kept_extent_is_charged_no_longer(void)
{
    memarena *arena = create(16 * MIB);
    memarena *outer = open_within(arena, 64 * KIB);
    CHECK(memarena_alloc(outer, 6 * KIB));
    CHECK(memarena_drop_last(outer, memarena_alloc(outer, 7 * KIB), 7 * KIB) || test_watched(arena));
    memarena *inner = memarena_scope_with(outer, &(memarena_scope_options){.expect_bytes = 5 * KIB});
    CHECK(inner && memarena_alloc(inner, 100));
    memarena *wide = memarena_scope_with(outer, &(memarena_scope_options){.expect_bytes = 20 * KIB});
    CHECK(wide && memarena_alloc(wide, 8));
    CHECK(memarena_keep(wide));
    CHECK(memarena_keep(inner));
    fill(outer, 40);
    CHECK_EQ(held(outer), 64 * KIB);
    memarena_destroy(outer);
    memarena_destroy(arena);
}

/* What the arena refuses is not charged, nor what it has less of than was asked for. */
static void a_full_arena_charges_nothing(void)
{
    memarena *arena = create(256 * KIB);
    memarena *room = memarena_scope_with(arena, &(memarena_scope_options){.expect_bytes = 30 * KIB});
    memarena *small[12], *tenant = open_within(arena, 24 * KIB);
    for (int i = 0; i < 12; i++)
        CHECK((small[i] = memarena_scope_with(arena, &(memarena_scope_options){.name = "small"})) != NULL);
    CHECK(room);
    fill(arena, 4096), fill(arena, 8);
    for (int i = 0; i < 100; i++) CHECK(!memarena_alloc(tenant, 5000));
    for (int i = 0; i < 12; i += 2) memarena_destroy(small[i]);
    fill(tenant, 8);
    CHECK(held(tenant) > KIB && held(tenant) < 24 * KIB);
    memarena_destroy(room);
    fill(tenant, 8);
    CHECK_EQ(held(tenant), 24 * KIB);
    for (int i = 1; i < 12; i += 2) memarena_destroy(small[i]);
    memarena_destroy(tenant);
    memarena_destroy(arena);
}

static char *report_of(const memarena *scope)
{
    static char text[1 << 16];
    FILE *file = tmpfile();
    CHECK(file && memarena_report(scope, file));
    rewind(file);
    text[fread(text, 1, sizeof text - 1, file)] = 0;
    (void)fclose(file);
    return text;
}

/* The numbers behind `what`, at its `nth` place in the report. */
static void check_reported(const char *report, const char *what, int nth, unsigned long long bytes)
{
    for (; nth > 0 && report; nth--) report = strstr(report, what), report = report ? report + strlen(what) : NULL;
    CHECK(report);
    CHECK_EQ(strtoull(report, NULL, 10), bytes);
}

static void the_report_tells_why_a_scope_is_refused(void)
{
    memarena *arena = create(16 * MIB);
    memarena *outer = memarena_scope_with(
        arena, &(memarena_scope_options){.name = "customer \x01 12 of more than 31 bytes", .limit_bytes = 40 * KIB});
    CHECK(outer);
    memarena *plain = memarena_scope_with(outer, &(memarena_scope_options){.name = "no limit"});
    CHECK(plain);
    memarena *inner = open_within(plain, 16 * KIB);
    CHECK(memarena_alloc(inner, 3000));
    size_t inside = held(inner), all = inside + held(outer) + held(plain);
    char *report = report_of(inner);
    CHECK(strncmp(report, "memarena scope 0x", 17) == 0);
    check_reported(report, "  at most ", 1, 16 * KIB);
    check_reported(report, "  at most ", 2, 40 * KIB);
    check_reported(report, "  held ", 1, inside);
    check_reported(report, "  held ", 2, all);
    CHECK(strstr(report, "  limit customer ? 12 of more than 31 b, above it\n"));
    report = report_of(plain);
    CHECK(strncmp(report, "memarena scope no limit at 0x", 29) == 0);
    check_reported(report, "  at most ", 1, 40 * KIB);
    CHECK(strstr(report_of(outer), "  limit customer ? 12 of more than 31 b\n"));
    memarena_destroy(inner), memarena_destroy(plain), memarena_destroy(outer);
    memarena *scope = memarena_scope(arena);
    CHECK(scope && !strstr(report_of(scope), "  limit "));
    memarena_destroy(scope);
    memarena_destroy(arena);
}

/* ---- A thousand --------------------------------------------------------------------------------------------------- */

enum { TENANTS = 1000 };

static void a_thousand_tenants_fill_their_limits(void)
{
    static memarena *tenants[TENANTS];
    memarena *arena = create(64 * MIB);
    for (int i = 0; i < TENANTS; i++) tenants[i] = open_within(arena, (size_t)(4 + i % 29) * KIB);
    for (int i = 0; i < TENANTS; i++) fill(tenants[i], 24);
    for (int i = 0; i < TENANTS; i++) CHECK_EQ(held(tenants[i]), (size_t)(4 + i % 29) * KIB);
    for (int i = 0; i < TENANTS; i += 2) { /* those that are full disturb none that has room */
        memarena_destroy(tenants[i]);
        tenants[i] = open_within(arena, 16 * KIB);
        memarena *request = memarena_scope(tenants[i]);
        CHECK(request && memarena_alloc(request, 8 * KIB));
        CHECK(!memarena_alloc(tenants[i], 8 * KIB));
        memarena_destroy(request);
        CHECK(memarena_alloc(tenants[i], 8 * KIB));
        CHECK(!memarena_alloc(tenants[i + 1], 8 * KIB));
    }
    for (int i = 0; i < TENANTS; i++) memarena_destroy(tenants[i]);
    CHECK(memarena_reset(arena));
    memarena_destroy(arena);
}

/* ---- Threads ------------------------------------------------------------------------------------------------------ */

enum { THREADS = 4 };
#define SHARED_LIMIT (96 * KIB)
static memarena *shared_tenant;
static size_t shared_held; /* never more than what is charged */

static void count_held(size_t before, size_t after)
{
    size_t sum = __atomic_add_fetch(&shared_held, after - before, __ATOMIC_SEQ_CST);
    CHECK(sum <= SHARED_LIMIT);
}

/* Of this thread alone, as the owner: refused where the limit is, never an error else. */
static void use_a_scope(unsigned long long *random)
{
    size_t own = test_between(random, 0, 2) ? 0 : test_between(random, 1, 60) * KIB;
    memarena *scope = memarena_scope_with(shared_tenant, &(memarena_scope_options){.limit_bytes = own});
    if (!scope) return;
    size_t now = held(scope);
    count_held(0, now);
    for (int i = 0; i < 10; i++) {
        if (!memarena_alloc(scope, test_between(random, 1, 8000))) CHECK_EQ(errno, ENOMEM);
        size_t after = held(scope);
        if (after > now) count_held(now, after), now = after;
        CHECK(own == 0 || now <= own);
    }
    (void)__atomic_sub_fetch(&shared_held, now, __ATOMIC_SEQ_CST);
    memarena_destroy(scope);
}

static void *use_scopes(void *argument)
{
    unsigned long long random = test_seed((unsigned long long)(uintptr_t)argument);
    long rounds = test_scaled(20000);
    for (long i = 0; i < rounds; i++) use_a_scope(&random);
    return NULL;
}

/* No charge is lost or left, whichever threads the scopes below belong to. */
static void threads_share_a_limit(void)
{
    memarena *arena = create(64 * MIB);
    memarena *outer = open_within(arena, SHARED_LIMIT + KIB); /* its own extent, and what those below may have */
    shared_tenant = open_within(outer, SHARED_LIMIT + 8 * KIB);
    count_held(0, KIB);
    pthread_t threads[THREADS];
    for (size_t i = 0; i < THREADS; i++) threads[i] = test_start(use_scopes, (void *)(i + 1));
    for (size_t i = 0; i < THREADS; i++) test_join(threads[i]);
    CHECK(memarena_claimed_bytes(arena) <
          8 * MIB); /* they take again what they gave back, and do not cut it to pieces */
    fill(shared_tenant, 100);
    CHECK_EQ(held(shared_tenant), SHARED_LIMIT);
    uint64_t charged = ((const ma_scope *)shared_tenant)->tenant->charged;
    CHECK_EQ(charged, SHARED_LIMIT); /* also in the limit that is the wider one */
    memarena_destroy(shared_tenant);
    fill(outer, 100);
    CHECK_EQ(held(outer), SHARED_LIMIT + KIB);
    memarena_destroy(outer);
    CHECK(memarena_reset(arena));
    memarena_destroy(arena);
}

int main(void)
{
    RUN(options_are_checked);
    RUN(a_limit_holds);
    RUN(rounds_stay_within_the_limit);
    RUN(on_oom_is_asked);
    RUN(the_first_extent_is_as_large_as_expected);
    RUN(large_free_extents_are_cut);
    RUN(a_limit_holds_for_the_scopes_below);
    RUN(names_alone_limit_nothing);
    RUN(what_is_kept_stays_charged_to_the_parent);
    RUN(the_rest_of_a_kept_extent_is_charged_no_longer);
    RUN(a_full_arena_charges_nothing);
    RUN(the_report_tells_why_a_scope_is_refused);
    RUN(a_thousand_tenants_fill_their_limits);
    RUN(threads_share_a_limit);
    return test_done();
}
