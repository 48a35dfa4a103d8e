/* The numbers: what each of them says, as a structure, as JSON, as Prometheus text and as a page; and how they add up when
 * nobody allocates, whoever has. */
#include "threads.h"
#include "yield.h"

#include "internals.h"

#include <errno.h>
#include <string.h>

#define KIB ((size_t)1 << 10)
#define MIB ((size_t)1 << 20)
#define CAPACITY (64 * MIB)

static size_t parts(const memarena_stats *stats)
{
    return stats->allocated_bytes + stats->tlab_bytes + stats->tail_bytes + stats->free_extent_bytes;
}

static void check_sums(const memarena *arena)
{
    memarena_stats stats = test_stats(arena);
    CHECK_EQ(stats.size, sizeof stats);
    CHECK_EQ(stats.allocated_bytes, memarena_allocated_bytes(arena));
    CHECK(stats.watched ? stats.claimed_bytes >= parts(&stats) : stats.claimed_bytes == parts(&stats));
    CHECK(stats.peak_bytes >= stats.claimed_bytes && stats.peak_bytes <= stats.capacity_bytes);
    size_t sum = 0;
    for (unsigned i = 0; i < MEMARENA_STATS_SIZES; i++) sum += stats.free_bytes_by_size[i];
    CHECK_EQ(sum, stats.free_extent_bytes);
}

/* ---- One number after the other ------------------------------------------------------------------------------------- */

static void a_short_structure_is_filled_as_far_as_it_goes(void)
{
    memarena *arena = memarena_create(CAPACITY);
    union {
        memarena_stats stats;
        unsigned char bytes[sizeof(memarena_stats) + 64];
    } at;
    CHECK(arena != NULL && memarena_alloc(arena, 40) != NULL);
    for (size_t size = 0; size <= sizeof at.bytes; size++) {
        memset(at.bytes, 0xee, sizeof at.bytes);
        memarena_get_stats(arena, &at.stats, size);
        for (size_t i = size; i < sizeof at.bytes; i++) CHECK_EQ(at.bytes[i], 0xee);
        if (size >= sizeof(size_t)) CHECK_EQ(at.stats.size, size < sizeof at.stats ? size : sizeof at.stats);
        for (size_t i = sizeof at.stats; i < size; i++) CHECK_EQ(at.bytes[i], 0);
    }
    memarena_destroy(arena);
}

static void what_is_claimed_is_the_sum_of_its_parts(void)
{
    memarena *arena = memarena_create(CAPACITY);
    CHECK(arena != NULL);
    unsigned long long random = test_seed(1);
    for (int round = 0; round < 40; round++) {
        for (int i = 0; i < 300; i++) {
            size_t size = test_between(&random, 0, i % 10 ? 3000 : 300000);
            char *block = memarena_alloc(arena, size);
            if (block && i % 7 == 0) (void)memarena_realloc(arena, block, size, test_between(&random, 0, 2 * size + 1));
            if (i % 9 == 0) (void)memarena_alloc_aligned(arena, size, (size_t)8 << i % 16);
            if (i % 5 == 0) {
                memarena *scope = memarena_scope(arena);
                for (int j = 0; scope && j < i % 20; j++) (void)memarena_alloc(scope, test_between(&random, 0, 20000));
                check_sums(arena);
                memarena_destroy(scope);
            }
            check_sums(arena);
        }
        CHECK(memarena_reset(arena));
        check_sums(arena);
        CHECK_EQ(test_stats(arena).claimed_bytes, 0);
    }
    memarena_destroy(arena);
}

static void the_peak_is_of_all_generations(void)
{
    memarena *arena = memarena_create(CAPACITY);
    CHECK(arena != NULL);
    CHECK_EQ(test_stats(arena).peak_bytes, 0);
    CHECK(memarena_alloc(arena, 10 * MIB) != NULL);
    CHECK_EQ(test_stats(arena).peak_bytes, 10 * MIB);
    CHECK(memarena_reset(arena));
    CHECK_EQ(test_stats(arena).peak_bytes, 10 * MIB);
    CHECK(memarena_alloc(arena, 3 * MIB) != NULL); /* replaces the word that remembered it */
    CHECK_EQ(test_stats(arena).peak_bytes, 10 * MIB);
    for (int i = 0; i < 200; i++) CHECK(memarena_reset(arena)); /* all words have been refreshed */
    CHECK_EQ(test_stats(arena).peak_bytes, 10 * MIB);
    CHECK(memarena_alloc(arena, 12 * MIB) != NULL);
    CHECK_EQ(test_stats(arena).peak_bytes, 12 * MIB);
    memarena_destroy(arena);
}

static void the_largest_block_that_fits_fits(void)
{
    memarena *arena = memarena_create(CAPACITY);
    CHECK(arena != NULL);
    unsigned long long random = test_seed(2);
    for (int i = 0; i < 60; i++) {
        size_t largest = test_stats(arena).largest_free_bytes;
        if (!test_watched(arena)) {
            if (i == 0) CHECK_EQ(largest, CAPACITY);
            CHECK(memarena_alloc_aligned(arena, largest + 8, 8) == NULL);
            CHECK(largest == 0 || memarena_alloc_aligned(arena, largest, 8) != NULL);
        }
        if (i % 4 == 3) CHECK(memarena_reset(arena));
        for (int j = i % 4; j > 0; j--) (void)memarena_alloc(arena, test_between(&random, 1, 8 * MIB));
    }
    memarena_destroy(arena);
}

static void padding_and_address_space_are_counted(void)
{
    memarena *arena = memarena_create(CAPACITY);
    CHECK(arena != NULL);
    memarena_stats before = test_stats(arena);
    CHECK_EQ(before.padding_bytes, 0);
    CHECK(before.reserved_bytes > CAPACITY && before.reserved_bytes < 4 * CAPACITY);
    CHECK(memarena_alloc_aligned(arena, 8, 8) != NULL && memarena_alloc_aligned(arena, MIB, 4 * MIB) != NULL);
    CHECK(memarena_alloc_aligned(arena, MIB, 4 * MIB) != NULL);
    if (!before.watched) CHECK(test_stats(arena).padding_bytes >= 3 * MIB);
    memarena_destroy(arena);
    static _Alignas(64) char buffer[256 * 1024];
    arena = memarena_create_with(&(memarena_options){.buffer = buffer, .capacity = sizeof buffer});
    CHECK(arena != NULL);
    CHECK(test_stats(arena).reserved_bytes <= sizeof buffer);
    CHECK(test_stats(arena).reserved_bytes > memarena_capacity(arena));
    CHECK_EQ(memarena_resident_bytes(arena), 0);
    memarena_destroy(arena);
}

static void what_is_in_memory_is_counted(void)
{
    memarena *arena = memarena_create(CAPACITY);
    CHECK(arena != NULL);
    if (test_watched(arena)) {
        memarena_destroy(arena);
        return; /* the sanitizer touches as it likes */
    }
    CHECK(memarena_resident_bytes(arena) <= 64 * KIB);
    char *block = memarena_alloc(arena, 10 * MIB);
    CHECK(block != NULL);
    memset(block, 1, 10 * MIB);
    size_t now = memarena_resident_bytes(arena);
    CHECK(now >= 10 * MIB && now <= 11 * MIB + 2 * MIB);
    CHECK(memarena_reset(arena) && memarena_trim(arena, 0) > 0);
    CHECK(memarena_resident_bytes(arena) <= 64 * KIB);
    memarena_destroy(arena);
}

/* ---- While threads allocate, and after --------------------------------------------------------------------------------- */

#define WORKERS 4

static struct {
    memarena *arena;
    unsigned working;
} load;

static void *work(void *argument)
{
    unsigned long long random = test_seed(*(unsigned *)argument + 10);
    for (int i = 0; i < 4000; i++) {
        (void)memarena_alloc(load.arena, test_between(&random, 0, i % 50 ? 600 : 100000));
        memarena *scope = i % 4 ? NULL : memarena_scope(load.arena);
        for (int j = 0; scope && j < 10; j++) (void)memarena_alloc(scope, test_between(&random, 0, 3000));
        memarena_destroy(scope);
        if (i % 1000 == 0) (void)memarena_reset(load.arena);
    }
    (void)__atomic_fetch_sub(&load.working, 1, __ATOMIC_ACQ_REL);
    return NULL;
}

static void the_sums_are_bounded_under_load_and_right_when_it_is_quiet(void)
{
    load.arena = test_create(CAPACITY);
    CHECK(load.arena != NULL);
    for (int round = 0; round < 5; round++) {
        pthread_t threads[WORKERS];
        unsigned numbers[WORKERS];
        load.working = WORKERS;
        for (unsigned i = 0; i < WORKERS; i++) numbers[i] = i, threads[i] = test_start(work, &numbers[i]);
        while (__atomic_load_n(&load.working, __ATOMIC_ACQUIRE) != 0) {
            memarena_stats stats = test_stats(load.arena);
            CHECK(stats.allocated_bytes <= CAPACITY && stats.claimed_bytes <= CAPACITY && stats.peak_bytes <= CAPACITY);
            CHECK(stats.tlab_bytes <= CAPACITY / 8 && stats.largest_free_bytes <= CAPACITY);
        }
        for (unsigned i = 0; i < WORKERS; i++) test_join(threads[i]);
        check_sums(load.arena);
    }
    memarena_destroy(load.arena);
}

/* ---- As text -------------------------------------------------------------------------------------------------------------- */

static void text_is_cut_like_that_of_snprintf(void)
{
    memarena *arena = memarena_create_with(&(memarena_options){.capacity = CAPACITY, .name = "a \"name\"\\\n\xff"});
    CHECK(arena != NULL);
    const memarena *arenas[] = {arena, arena};
    static char whole[16384], part[16384];
    size_t length = memarena_stats_json(arena, whole, sizeof whole);
    CHECK(length > 500 && length == strlen(whole));
    CHECK(strstr(whole, "{\"arena\":\"a \\\"name\\\"\\\\??\",\"kind\":\"arena\",") == whole);
    for (size_t size = 0; size < length + 2; size++) {
        memset(part, 'x', sizeof part);
        CHECK_EQ(memarena_stats_json(arena, part, size), length);
        if (size)
            CHECK(strlen(part) == (size <= length ? size - 1 : length) && strncmp(part, whole, strlen(part)) == 0);
        CHECK_EQ(part[size], 'x');
    }
    length = memarena_stats_prometheus(arenas, 2, whole, sizeof whole);
    CHECK(length > 2000 && length == strlen(whole));
    CHECK_EQ(memarena_stats_prometheus(arenas, 2, NULL, 0), length);
    CHECK_EQ(memarena_stats_prometheus(arenas, 2, part, length), length);
    CHECK(strlen(part) == length - 1 && strncmp(part, whole, length - 1) == 0);
    CHECK(strstr(whole, "memarena_generation_total{arena=\"a \\\"name\\\"\\\\??\"} 1\n") != NULL);
    memarena_destroy(arena);
}

static void an_arena_without_a_name_goes_by_its_address(void)
{
    memarena *arena = memarena_create(CAPACITY);
    char text[16384], expected[64];
    CHECK(arena != NULL && memarena_stats_json(arena, text, sizeof text) < sizeof text);
    snprintf(expected, sizeof expected, "{\"arena\":\"%p\",", (void *)arena);
    CHECK(strstr(text, expected) == text);
    memarena_destroy(arena);
}

/* What memarena_report prints, in memory that is to be freed. */
static char *report(const memarena *arena)
{
    char *text = NULL;
    size_t size = 0;
    FILE *file = open_memstream(&text, &size);
    CHECK(file != NULL && memarena_report(arena, file) && fclose(file) == 0 && text != NULL);
    return text;
}

static char *oom_report;

static bool on_oom(void *context, memarena *arena, size_t size)
{
    (void)context, (void)size;
    free(oom_report);
    oom_report = report(arena);
    return false;
}

static bool has_line(const char *text, const char *what, size_t number)
{
    char rest[64];
    const char *at = strstr(text, what);
    unsigned long long found = 0;
    CHECK(at != NULL);
    CHECK_EQ(sscanf(at + strlen(what), "%llu%60s", &found, rest) >= 1, 1);
    return found == number;
}

static void the_report_counts_in_units_of_1024(void)
{
    static const struct {
        size_t capacity;
        const char *said;
    } of[] = {
        {1016, "1016  "}, {1024, "1024       1.0 KiB"}, {1536, "1536       1.5 KiB"}, {64 * MIB, "     64.0 MiB"}};
    for (int i = 0; i < 4; i++) {
        memarena *arena = memarena_create(of[i].capacity);
        CHECK(arena != NULL);
        char *text = report(arena), *line = strstr(text, "capacity");
        CHECK(line != NULL);
        *strchr(line, '\n') = 0;
        CHECK(strstr(line, of[i].said) != NULL);
        free(text);
        memarena_destroy(arena);
    }
}

static void the_report_says_who_holds_what_and_what_would_have_fitted(void)
{
    memarena *arena =
        memarena_create_with(&(memarena_options){.capacity = CAPACITY, .name = "frames", .on_oom = on_oom});
    CHECK(arena != NULL);
    CHECK(memarena_alloc(arena, 100) != NULL && memarena_alloc(arena, 50 * MIB) != NULL);
    memarena *scope = memarena_scope(arena);
    CHECK(scope != NULL && memarena_alloc(scope, 5000) != NULL);
    CHECK(memarena_alloc(scope, 20 * MIB) == NULL && errno == ENOMEM);
    CHECK(oom_report != NULL && strncmp(oom_report, "memarena scope 0x", 17) == 0);
    CHECK(has_line(oom_report, "the last without room", 20 * MIB));
    free(oom_report);
    oom_report = NULL;
    memarena_stats stats = test_stats(arena);
    char *text = report(arena);
    CHECK(strncmp(text, "memarena frames at 0x", 21) == 0);
    CHECK(has_line(text, "capacity", CAPACITY) && has_line(text, "  claimed ", stats.claimed_bytes));
    CHECK(has_line(text, "  allocated ", stats.allocated_bytes) && has_line(text, "in TLABs", stats.tlab_bytes));
    CHECK(has_line(text, "bookkeeping", stats.bookkeeping_resident_bytes));
    CHECK(has_line(text, "open scopes", 1) && has_line(text, "requests refused", 1));
    CHECK(has_line(text, "the largest that fits", stats.largest_free_bytes));
    if (!stats.watched) CHECK(strstr(text, "who holds what") != NULL);
    free(text);
    memarena_destroy(scope);
    FILE *full = fopen("/dev/full", "w");
    if (full) {
        CHECK_EQ(setvbuf(full, NULL, _IONBF, 0), 0);
        errno = 0;
        CHECK(!memarena_report(arena, full) && errno == ENOSPC);
        fclose(full);
    }
    memarena_destroy(arena);
}

/* For tests/tools/stats.py, which reads it. */
static void print_for_a_parser(bool json)
{
    memarena *arenas[] = {memarena_create_with(&(memarena_options){.capacity = CAPACITY, .name = "first \"\\"}),
                          memarena_create_with(&(memarena_options){.capacity = 2 * CAPACITY, .name = "second"})};
    static char text[16384];
    CHECK(arenas[0] != NULL && arenas[1] != NULL && memarena_alloc(arenas[0], MIB) != NULL);
    const memarena *seen[] = {arenas[0], arenas[1]};
    if (json) {
        memarena *scope = memarena_scope(arenas[0]);
        CHECK(scope != NULL && memarena_alloc(scope, 5000) != NULL);
        CHECK(memarena_stats_json(arenas[0], text, sizeof text) < sizeof text && puts(text) >= 0);
        CHECK(memarena_stats_json(scope, text, sizeof text) < sizeof text && puts(text) >= 0);
        memarena_destroy(scope);
    } else {
        CHECK(memarena_stats_prometheus(seen, 2, text, sizeof text) < sizeof text && fputs(text, stdout) >= 0);
    }
    memarena_destroy(arenas[0]);
    memarena_destroy(arenas[1]);
}

int main(int argc, char **argv)
{
    if (argc == 2) {
        print_for_a_parser(strcmp(argv[1], "--json") == 0);
        return 0;
    }
    RUN(a_short_structure_is_filled_as_far_as_it_goes);
    RUN(what_is_claimed_is_the_sum_of_its_parts);
    RUN(the_peak_is_of_all_generations);
    RUN(the_largest_block_that_fits_fits);
    RUN(padding_and_address_space_are_counted);
    RUN(what_is_in_memory_is_counted);
    RUN(the_sums_are_bounded_under_load_and_right_when_it_is_quiet);
    RUN(text_is_cut_like_that_of_snprintf);
    RUN(an_arena_without_a_name_goes_by_its_address);
    RUN(the_report_counts_in_units_of_1024);
    RUN(the_report_says_who_holds_what_and_what_would_have_fitted);
    return test_done();
}
