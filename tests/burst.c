/* Bursts, in all kinds of arenas and scopes: their blocks are ordinary blocks, whatever the same thread, other threads, signals and
 * forks do meanwhile, and the accounts are exact when they have ended. */
#include "children.h"
#include "kinds.h"
#include "lanes.h"

#include <sched.h>
#include <string.h>
#include <sys/time.h>

static size_t reported;

static void count_report(void *context, memarena *arena, void *block, size_t size, size_t weight)
{
    CHECK(!context && memarena_owns(arena, block) && size <= 64 * MIB && weight > 0);
    reported += weight;
}

static memarena *create(int kind)
{
    kinds_sample_bytes = 1;
    kinds_sample = count_report;
    reported = 0;
    return kinds_create(kind);
}

/* Whether bursts take a range here, and no block goes by the plain call unless it is large. */
static bool has_ranges(int kind)
{
    memarena_stats stats;
    memarena_get_stats(kinds_root, &stats, sizeof stats);
    return !stats.watched && !MA_DEBUG && kind != SMALL && kind != IN_BUFFER && kind != SAMPLED &&
           kind != SCOPE_SAMPLED && (kind != PER_CPU || stats.per_cpu == 2);
}

/* ---- Blocks -------------------------------------------------------------------------------------------------------- */

typedef struct pair {
    void *one;
    int two;
} pair;

/* Each block is filled with its number's low byte, and must be so at the end. */
static void *fill(test_log *log, void *block, size_t size)
{
    CHECK(block != NULL);
    memset(block, (int)log->count, size);
    test_record(log, log->count, block, size);
    return block;
}

static size_t bytes_of(const test_log *log)
{
    size_t sum = 0;
    for (size_t i = 0; i < log->count; i++) sum += log->blocks[i].end - log->blocks[i].begin;
    return sum;
}

static void check_log(const memarena *arena, test_log *log)
{
    for (size_t i = 0; i < log->count; i++) {
        const unsigned char *at = (const unsigned char *)log->blocks[i].begin;
        if (log->blocks[i].end - log->blocks[i].begin >= 8) CHECK(at[0] == (unsigned char)log->blocks[i].generation);
        log->blocks[i].generation = 1;
    }
    (void)test_check_blocks(arena, log);
}

static void blocks_of_a_burst_are_ordinary_blocks(void)
{
    for (int kind = 0; kind < KINDS_AND_MORE; kind++) {
        memarena *arena = create(kind);
        unsigned long long random = test_seed((unsigned long long)kind);
        test_log log = {0};
        size_t own = memarena_allocated_bytes(arena), most = kind == SMALL ? 40 : 1000;
        if (kind == IN_BUFFER) most = 100;
        for (int round = 0; round < 20; round++) {
            memarena_burst burst = memarena_burst_begin(arena);
            for (int i = 0; i < (kind == SMALL ? 2 : 40); i++) {
                size_t size = test_between(&random, 1, most), alignment = (size_t)1 << test_between(&random, 0, 4);
                void *block = fill(&log, memarena_burst_alloc(&burst, size, alignment), size);
                CHECK((uintptr_t)block % alignment == 0 && memarena_owns(arena, block));
                own += test_rounded(size);
                pair *zeroed = memarena_burst_new(&burst, pair);
                CHECK(zeroed && !zeroed->one && zeroed->two == 0 && (uintptr_t)zeroed % _Alignof(pair) == 0);
                fill(&log, zeroed, sizeof *zeroed);
                own += test_rounded(sizeof *zeroed);
            }
            memarena_burst_end(&burst);
            CHECK_EQ(memarena_allocated_bytes(arena), own);
            if (kind == SAMPLED || kind == SCOPE_SAMPLED) CHECK_EQ(reported, own);
        }
        check_log(arena, &log);
        test_forget(&log);
        kinds_destroy();
    }
}

static void an_end_without_a_block_changes_nothing(void)
{
    for (int kind = 0; kind < KINDS_AND_MORE; kind++) {
        memarena *arena = create(kind);
        for (int i = 0; i < 5; i++) {
            size_t before = memarena_allocated_bytes(arena);
            memarena_burst burst = memarena_burst_begin(arena);
            memarena_burst_end(&burst);
            CHECK_EQ(memarena_allocated_bytes(arena), before);
            if (kind != SMALL || i < 2) CHECK(memarena_alloc_aligned(arena, i % 2 ? 700 : 40, 8));
        }
        memarena_burst burst = memarena_burst_begin(arena);
        memarena_burst_end(&burst);
        void *late = memarena_burst_alloc(&burst, 8, 8); /* not allowed, and harmless */
        CHECK(late && memarena_owns(arena, late));
        memarena_burst_end(&burst);
        kinds_destroy();
    }
}

static void what_was_not_used_is_the_threads_again(void)
{
    for (int kind = 0; kind < KINDS_AND_MORE; kind++) {
        memarena *arena = create(kind);
        char *last = NULL;
        CHECK(memarena_alloc_aligned(arena, 8, 8));
        for (int i = 0; i < 10 && has_ranges(kind); i++) {
            memarena_burst burst = memarena_burst_begin(arena);
            last = memarena_burst_alloc(&burst, 24, 8);
            memarena_burst_end(&burst);
            char *next = memarena_alloc_aligned(arena, 8, 8);
            if (kind == PER_CPU) continue; /* the thread may have been moved */
            CHECK(next == last + 24);
            CHECK(memarena_drop_last(arena, next, 8) && memarena_drop_last(arena, last, 24));
        }
        kinds_destroy();
    }
}

static void a_request_that_cannot_be_answered_harms_nothing(void)
{
    for (int kind = 0; kind < KINDS_AND_MORE; kind++) {
        memarena *arena = create(kind);
        size_t before = memarena_allocated_bytes(arena), capacity = memarena_capacity(arena);
        memarena_burst burst = memarena_burst_begin(arena);
        volatile size_t wrong = 24, huge = SIZE_MAX - 4;
        errno = 0;
        CHECK(!memarena_burst_alloc(&burst, 8, wrong) && errno == EINVAL);
        errno = 0;
        CHECK(!memarena_burst_alloc(&burst, 8, 0) && errno == EINVAL);
        errno = 0;
        CHECK(!memarena_burst_alloc(&burst, huge, 8) && errno == ENOMEM);
        errno = 0;
        CHECK(!memarena_burst_alloc(&burst, capacity + 1, 8) && errno == ENOMEM);
        errno = 0;
        CHECK(!memarena_burst_alloc(&burst, 8, (SIZE_MAX >> 1) + 1) && errno == ENOMEM);
        char *first = memarena_burst_alloc(&burst, 0, 1), *second = memarena_burst_alloc(&burst, 0, 1);
        CHECK(first && second && first != second);
        size_t alignment = kind == SMALL ? 64 : 4096;
        void *aligned = memarena_burst_alloc(&burst, 8, alignment);
        CHECK(kind == SMALL || kind == IN_BUFFER || aligned);
        CHECK((uintptr_t)aligned % alignment == 0);
        memarena_burst_end(&burst);
        CHECK(memarena_allocated_bytes(arena) >= before + 16 + (aligned ? 8 : 0));
        kinds_destroy();
    }
}

static void large_blocks_go_their_own_way(void)
{
    static const size_t sizes[] = {513, 9000, 70000, 300000, MIB, 10 * MIB};
    for (int kind = 0; kind < KINDS_AND_MORE; kind++) {
        memarena *arena = create(kind);
        test_log log = {0};
        memarena_burst burst = memarena_burst_begin(arena);
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
            void *block = memarena_burst_alloc(&burst, sizes[i], 8);
            CHECK(block || sizes[i] > memarena_capacity(arena) / 2);
            if (block) fill(&log, block, sizes[i]);
            for (int small = 0; small < 20; small++) {
                void *behind = memarena_burst_alloc(&burst, 24, 8);
                CHECK(behind || kind == SMALL);
                if (behind) fill(&log, behind, 24);
            }
        }
        memarena_burst_end(&burst);
        CHECK_EQ(memarena_allocated_bytes(arena), bytes_of(&log));
        check_log(arena, &log);
        test_forget(&log);
        kinds_destroy();
    }
}

/* To the last byte, and again after each reset. */
static void a_burst_fills_an_arena(void)
{
    for (int kind = 0; kind < KINDS_AND_MORE; kind++) {
        memarena *arena = create(kind);
        size_t capacity = memarena_capacity(arena), step = capacity > 2 * MIB ? 60000 : 40;
        for (int round = 0; round < 3 && kind < SCOPE; round++) {
            size_t sum = 0;
            memarena_burst burst = memarena_burst_begin(arena);
            for (size_t size = step; size >= 8; size = size / 2 & ~(size_t)7)
                for (void *block; (block = memarena_burst_alloc(&burst, size, 8)) != NULL; sum += test_rounded(size))
                    *(char *)block = 1;
            memarena_burst_end(&burst);
            CHECK(sum == capacity || (kind == PER_CPU && sum >= capacity - 64 * KIB));
            CHECK_EQ(memarena_allocated_bytes(arena), sum);
            CHECK(memarena_reset(arena));
            CHECK_EQ(memarena_allocated_bytes(arena), 0);
        }
        kinds_destroy();
    }
}

/* ---- Whatever else the thread does -------------------------------------------------------------------------------------- */

#define OPEN 4

/* `exact`: nothing that leaves bytes behind which nobody knows of. */
static void mix_calls(int kind, memarena *arena, bool exact)
{
    unsigned long long random = test_seed((unsigned long long)kind + 100);
    test_log log = {0};
    memarena_burst bursts[OPEN];
    bool open[OPEN] = {false};
    size_t own = memarena_allocated_bytes(arena), unsure = 0;
    void *last = NULL;
    size_t last_size = 0;
    long rounds = kind == SMALL || kind == IN_BUFFER ? 60 : test_scaled(20000);
    for (long i = 0; i < rounds; i++) {
        size_t which = (size_t)(test_random(&random) % OPEN), size = test_between(&random, 1, kind == SMALL ? 16 : 200);
        memarena_burst *burst = &bursts[which];
        void *block = NULL;
        switch (test_random(&random) % (exact ? 8 : 12)) {
        case 0:
        case 1:
            if (open[which])
                memarena_burst_end(burst);
            else
                *burst = memarena_burst_begin(arena);
            open[which] = !open[which];
            break;
        case 2:
            block = memarena_alloc_aligned(arena, size, 8);
            break;
        case 3:
            if (last && memarena_drop_last(arena, last, last_size)) {
                own -= test_rounded(last_size);
                log.count--;
            }
            last = NULL;
            break;
        case 8:
            block = memarena_realloc(arena, last, last ? last_size : 0, size + last_size);
            if (block == NULL) break;
            size += last_size;
            if (last && block == last) {
                own += test_rounded(size) - test_rounded(last_size);
                log.count--;
            }
            unsure += 24;
            break;
        case 9:
            if (last_size < 2) break;
            if (last) CHECK(memarena_realloc(arena, last, last_size, last_size / 2) == last);
            if (last) log.blocks[log.count - 1].end = (uintptr_t)last + test_rounded(last_size / 2);
            unsure += last_size;
            last = NULL;
            break;
        case 10: {
            memarena *scope = memarena_scope(arena);
            if (!scope) break;
            memarena_burst of_scope = memarena_burst_begin(scope);
            for (int k = 0; k < 30; k++) {
                void *inside = memarena_burst_alloc(&of_scope, size, 8);
                if (inside) memset(inside, 0xEE, size);
            }
            memarena_burst_end(&of_scope);
            memarena_destroy(scope);
            break;
        }
        case 11:
            if (!memarena_strdup(arena, "some text")) break;
            unsure += 16;
            break;
        default:
            if (open[which]) block = memarena_burst_alloc(burst, size, 8);
            break;
        }
        if (!block) continue;
        fill(&log, block, size);
        if (block != last) own += test_rounded(size);
        last = block, last_size = size;
    }
    for (size_t i = 0; i < OPEN; i++)
        if (open[i]) memarena_burst_end(&bursts[i]);
    size_t allocated = memarena_allocated_bytes(arena);
    CHECK(exact ? allocated == own : allocated + unsure >= own && allocated <= own + unsure);
    check_log(arena, &log);
    test_forget(&log);
}

static void all_other_calls_may_come_between(void)
{
    for (int kind = 0; kind < KINDS_AND_MORE; kind++)
        for (int exact = 0; exact < 2; exact++) {
            memarena *arena = create(kind);
            mix_calls(kind, arena, exact);
            if (kind < SCOPE) {
                size_t capacity = memarena_capacity(arena);
                CHECK(memarena_reset(arena));
                CHECK_EQ(test_fill(arena, 32 * KIB, NULL, 1), capacity);
            }
            kinds_destroy();
        }
}

/* One that has the range, and others beside it. */
static void bursts_of_one_arena_take_their_blocks_apart(void)
{
    for (int kind = 0; kind < KINDS_AND_MORE; kind++) {
        memarena *arena = create(kind);
        test_log log = {0};
        memarena_burst outer = memarena_burst_begin(arena), inner = memarena_burst_begin(arena);
        for (int i = 0; i < 40; i++) {
            fill(&log, memarena_burst_alloc(&outer, 16, 8), 16);
            fill(&log, memarena_burst_alloc(&inner, 16, 8), 16);
            fill(&log, memarena_alloc_aligned(arena, 16, 8), 16);
        }
        memarena_burst_end(&outer);
        for (int i = 0; i < 10; i++) fill(&log, memarena_burst_alloc(&inner, 16, 8), 16);
        memarena_burst_end(&inner);
        CHECK_EQ(memarena_allocated_bytes(arena), log.count * 16);
        memarena_stats stats;
        memarena_get_stats(arena, &stats, sizeof stats);
        CHECK(stats.held_bytes <= 16 * KIB); /* blocks beside a burst of a scope share extents */
        check_log(arena, &log);
        test_forget(&log);
        kinds_destroy();
    }
}

/* A scope is kept by a parent of which a burst is open: the burst goes on where it was. */
static void what_is_kept_lies_apart_from_a_burst(void)
{
    for (int kind = SCOPE; kind < KINDS_AND_MORE; kind++) {
        memarena *parent = create(kind);
        test_log log = {0};
        memarena_burst burst = memarena_burst_begin(parent);
        for (int i = 0; i < 40; i++) {
            memarena *scope = memarena_scope(parent);
            fill(&log, memarena_burst_alloc(&burst, 40, 8), 40);
            for (int k = 0; k < i % 4; k++) fill(&log, memarena_alloc_aligned(scope, 600, 8), 600);
            CHECK(memarena_keep(scope));
            fill(&log, memarena_burst_alloc(&burst, 40, 8), 40);
        }
        memarena_burst_end(&burst);
        CHECK_EQ(memarena_allocated_bytes(parent), bytes_of(&log));
        check_log(parent, &log);
        test_forget(&log);
        kinds_destroy();
    }
}

static void a_scope_is_not_rewound_under_a_burst(void)
{
    for (int kind = SCOPE; kind < KINDS_AND_MORE; kind++) {
        memarena *scope = create(kind);
        CHECK(memarena_alloc_aligned(scope, 40, 8));
        memarena_position mark = memarena_mark(scope);
        size_t before = memarena_allocated_bytes(scope);
        for (int round = 0; round < 5; round++) {
            memarena_burst burst = memarena_burst_begin(scope);
            for (int i = 0; i < 50; i++) CHECK(memarena_burst_alloc(&burst, 48, 8));
            if (has_ranges(kind)) {
                errno = 0;
                CHECK(!memarena_rewind(scope, mark) && errno == EBUSY);
                errno = 0;
                CHECK(!memarena_reset(scope) && errno == EBUSY);
                errno = 0;
                CHECK(!memarena_keep(scope) && errno == EBUSY);
            }
            void *block = memarena_burst_alloc(&burst, 48, 8);
            memarena_position inside = memarena_mark(scope);
            CHECK(block && inside.scope_ == scope);
            char *behind = memarena_alloc_aligned(scope, 48, 8);
            memarena_position second = memarena_mark(scope);
            char *after = memarena_burst_alloc(&burst, 48, 8);
            CHECK(behind && after && behind != after);
            memset(behind, 1, 48), memset(after, 2, 48);
            memarena_burst_end(&burst);
            CHECK(memarena_rewind(scope, second));
            size_t with_it = memarena_allocated_bytes(scope);
            CHECK(memarena_rewind(scope, inside));
            CHECK_EQ(memarena_allocated_bytes(scope), with_it - 48);
            char *again = memarena_alloc_aligned(scope, 2000, 8);
            CHECK(again);
            memset(again, 3, 2000);
            if (has_ranges(kind)) CHECK(after[0] == 2 && after[47] == 2); /* older than the mark */
            CHECK(memarena_rewind(scope, mark));
            CHECK_EQ(memarena_allocated_bytes(scope), before);
        }
        CHECK(memarena_reset(scope));
        CHECK_EQ(memarena_allocated_bytes(scope), 0);
        kinds_destroy();
    }
}

/* Ended with a burst open, which is not allowed: the next scope in its place knows nothing of it. */
static void the_next_scope_is_not_held(void)
{
    memarena *arena = create(LARGE), *scope = memarena_scope(arena);
    CHECK(scope);
    memarena_burst burst = memarena_burst_begin(scope);
    CHECK(memarena_burst_alloc(&burst, 8, 8));
    memarena_destroy(scope);
    scope = memarena_scope(arena);
    CHECK(scope && memarena_alloc_aligned(scope, 8, 8));
    CHECK(memarena_reset(scope));
    memarena_destroy(scope);
    kinds_destroy();
}

/* ---- When there is no room ------------------------------------------------------------------------------------------------ */

static memarena_burst *asking;
static unsigned asked;
static test_log *asking_log;

static bool allocate_when_asked(void *context, memarena *arena, size_t size)
{
    CHECK(context == &asked && size >= 8);
    asked++;
    for (int i = 0; asking && i < 3; i++) { /* the burst is usable, too */
        void *block = i == 1 ? memarena_burst_alloc(asking, 8, 8) : memarena_alloc_aligned(arena, 8, 8);
        if (block) fill(asking_log, block, 8);
    }
    memarena_burst inner = memarena_burst_begin(arena);
    void *block = asking ? memarena_burst_alloc(&inner, 8, 8) : NULL;
    if (block) fill(asking_log, block, 8);
    memarena_burst_end(&inner);
    return asked % 2;
}

static void on_oom_may_use_the_arena(void)
{
    static const size_t capacities[] = {4 * KIB, 256 * KIB, MIB + 8};
    for (size_t i = 0; i < sizeof capacities / sizeof *capacities; i++)
        for (int flags = 0; flags <= (int)MEMARENA_PER_CPU; flags += (int)MEMARENA_PER_CPU)
            for (int with_scope = 0; with_scope < 2; with_scope++) {
                memarena_options options = {.capacity = capacities[i],
                                            .flags = (unsigned)flags,
                                            .on_oom = allocate_when_asked,
                                            .on_oom_context = &asked};
                memarena *arena = memarena_create_with(&options), *scope = with_scope ? memarena_scope(arena) : NULL;
                test_log log = {0};
                CHECK(arena && (scope || !with_scope));
                memarena_burst burst = memarena_burst_begin(scope ? scope : arena);
                asking = &burst, asking_log = &log, asked = 0;
                for (int k = 0; k < 3; k++) { /* while there is room for all but this */
                    fill(&log, memarena_burst_alloc(&burst, 24, 8), 24);
                    CHECK(!memarena_burst_alloc(&burst, memarena_capacity(arena), 8));
                }
                for (size_t size = 1000; size >= 8; size = size / 2 & ~(size_t)7)
                    for (void *block; (block = memarena_burst_alloc(&burst, size, 8)) != NULL;) fill(&log, block, size);
                CHECK(asked > 1);
                memarena_burst_end(&burst);
                asking = NULL;
                check_log(arena, &log);
                memarena_destroy(scope);
                CHECK(memarena_reset(arena));
                CHECK_EQ(test_fill(arena, KIB, NULL, 1), memarena_capacity(arena));
                test_forget(&log);
                memarena_destroy(arena);
            }
}

/* ---- Samples --------------------------------------------------------------------------------------------------------- */

static memarena *sampled;
static unsigned reports;

static void allocate_when_reporting(void *context, memarena *arena, void *block, size_t size, size_t weight)
{
    memarena_burst inner = memarena_burst_begin(arena);
    CHECK(context == &reports && block && size <= weight);
    fill(asking_log, memarena_burst_alloc(&inner, 8, 8), 8);
    memarena_burst_end(&inner);
    fill(asking_log, memarena_alloc_aligned(arena, 8, 8), 8);
    fill(asking_log, memarena_burst_alloc(asking, 8, 8), 8);
    reports++;
}

/* From the middle of a burst on, to its middle, and with a function that uses the arena. */
static void sampling_begins_and_ends_within_a_burst(void)
{
    for (int kind = 0; kind < KINDS_AND_MORE; kind++) {
        if (kind == SMALL || kind == SAMPLED || kind == SCOPE_SAMPLED) continue;
        memarena *arena = create(kind);
        test_log log = {0};
        memarena_burst burst = memarena_burst_begin(arena);
        asking = &burst, asking_log = &log, reports = 0, sampled = kinds_root;
        for (int i = 0; i < 300; i++) {
            if (i == 100) CHECK(memarena_sample(sampled, 1, allocate_when_reporting, &reports));
            if (i == 200) CHECK(memarena_sample(sampled, 0, NULL, NULL));
            void *block = memarena_burst_alloc(&burst, 24, 8);
            fill(&log, block, 24);
        }
        CHECK(kind < SCOPE ? reports == 100 : reports <= 100);
        memarena_burst_end(&burst);
        CHECK_EQ(memarena_allocated_bytes(arena), bytes_of(&log));
        check_log(arena, &log);
        test_forget(&log);
        kinds_destroy();
    }
}

/* ---- A reset by another thread ----------------------------------------------------------------------------------- */

static void *reset_it(void *arena)
{
    CHECK(memarena_reset(arena));
    return NULL;
}

/* `order`: what the thread does first in the new generation. */
static void go_on_after_a_reset(int kind, unsigned order)
{
    memarena *arena = create(kind);
    test_log log = {0};
    memarena_burst burst = memarena_burst_begin(arena);
    for (unsigned i = 0; i < 1 + order * 7; i++) CHECK(memarena_burst_alloc(&burst, 24, 8) || kind == SMALL);
    test_join(test_start(reset_it, arena));
    for (unsigned i = 0; i < 60; i++) {
        void *block = (i + order) % 3 ? memarena_burst_alloc(&burst, 24, 8) : memarena_alloc_aligned(arena, 24, 8);
        CHECK(block);
        test_record(&log, 2, block, 24);
        if (i == 10 * order) memarena_burst_end(&burst), burst = memarena_burst_begin(arena);
    }
    memarena_burst_end(&burst);
    for (unsigned i = 0; i < 30; i++) test_record(&log, 2, memarena_alloc_aligned(arena, 24, 8), 24);
    CHECK_EQ(test_check_blocks(arena, &log), memarena_allocated_bytes(arena));
    test_forget(&log);
    kinds_destroy();
}

static void a_burst_goes_on_in_the_next_generation(void)
{
    for (int kind = MIDDLE; kind < SCOPE; kind++)
        for (unsigned order = 0; order < 7; order++) go_on_after_a_reset(kind, order);
}

#ifdef WITH_YIELD
static memarena *reset_at_access;
static unsigned accesses_before;

/* At each access of the library: the reset of another thread comes there, all at once. */
static void reset_now(void)
{
    memarena *arena = reset_at_access;
    if (!arena || accesses_before-- > 0) return;
    reset_at_access = NULL;
    CHECK(memarena_reset(arena));
}

static void note_if_known(test_log *log, bool was_pending, void *block, size_t size, size_t *unknown)
{
    CHECK(block);
    if (was_pending && !reset_at_access) *unknown += test_rounded(size) + 4 * KIB;
    if (!was_pending) test_record(log, 2, block, size);
}

static bool play_with_a_reset(int kind, unsigned at)
{
    memarena *arena = create(kind);
    test_log log = {0};
    size_t unknown = 0;
    memarena_burst burst = memarena_burst_begin(arena);
    CHECK(memarena_burst_alloc(&burst, 24, 8));
    accesses_before = at, reset_at_access = arena;
    for (unsigned i = 0; i < 24; i++) {
        static const size_t sizes[] = {24, 700, 24, 2000, 0, 40};
        bool pending = reset_at_access;
        size_t size = sizes[i % 6];
        void *block = i % 4 == 3 ? memarena_alloc_aligned(arena, size, 8) : memarena_burst_alloc(&burst, size, 8);
        note_if_known(&log, pending, block, size, &unknown);
        if (i == 15) memarena_burst_end(&burst), burst = memarena_burst_begin(arena);
    }
    memarena_burst_end(&burst);
    bool finished = reset_at_access;
    reset_at_access = NULL;
    if (!finished) {
        for (unsigned i = 0; i < 30; i++) test_record(&log, 2, memarena_alloc_aligned(arena, 300, 8), 300);
        size_t sum = test_check_blocks(arena, &log), allocated = memarena_allocated_bytes(arena);
        CHECK(allocated >= sum && allocated <= sum + unknown);
        CHECK(memarena_reset(arena));
        CHECK_EQ(memarena_allocated_bytes(arena), 0);
    }
    test_forget(&log);
    kinds_destroy();
    return finished;
}

static void a_reset_may_come_at_any_access(void)
{
    for (int kind = MIDDLE; kind < SCOPE; kind++) {
        if (kind == IN_BUFFER) continue;
        unsigned at = 0;
        while (!play_with_a_reset(kind, at)) at++;
        CHECK(at > 20);
    }
}
#endif

/* ---- Signals ---------------------------------------------------------------------------------------------------------- */

static memarena *interrupted;
static uintptr_t handlers_blocks[1 << 16];
/* volatile: sigaction and setitimer are leaf functions to the compiler, which therefore believes that no handler runs in them. */
static volatile size_t handlers_count;
static volatile bool is_in_handler;

static void allocate_in_handler(int number)
{
    int saved = errno;
    (void)number;
    if (is_in_handler || handlers_count + 4 > sizeof handlers_blocks / sizeof *handlers_blocks) return;
    is_in_handler = true;
    memarena_burst burst = memarena_burst_begin(interrupted);
    for (int i = 0; i < 4; i++) {
        uintptr_t block =
            (uintptr_t)(i % 2 ? memarena_burst_alloc(&burst, 24, 8) : memarena_alloc_aligned(interrupted, 24, 8));
        if (block) handlers_blocks[handlers_count] = block, handlers_count = handlers_count + 1;
    }
    memarena_burst_end(&burst);
    is_in_handler = false;
    errno = saved;
}

#ifdef WITH_YIELD
static bool is_armed;

void test_yield(void);
void test_yield(void)
{
    static unsigned long long signals_random = 88172645463325252u;
    reset_now();
    if (!is_armed || is_in_handler) return;
    if (test_random(&signals_random) % 8 == 0) (void)raise(SIGALRM);
}
#endif

static void a_handler_may_interrupt_a_burst_per_cpu(void)
{
    struct sigaction action = {.sa_handler = allocate_in_handler, .sa_flags = SA_RESTART}, before;
    struct itimerval often = {{0, 50}, {0, 50}}, never = {{0, 0}, {0, 0}};
    memarena_stats stats;
    test_log log = {0};
    interrupted = create(PER_CPU);
    memarena_get_stats(interrupted, &stats, sizeof stats);
    if (stats.per_cpu != 2) { /* no handler may allocate */
        kinds_destroy();
        return;
    }
    memarena_burst first = memarena_burst_begin(interrupted); /* leases the lane */
    memarena_burst_end(&first);
    handlers_count = 0;
    CHECK_EQ(sigaction(SIGALRM, &action, &before), 0);
    CHECK_EQ(setitimer(ITIMER_REAL, &often, NULL), 0);
#ifdef WITH_YIELD
    is_armed = true;
#endif
    for (long i = 0; i < test_scaled(20000) && handlers_count < 50000; i++) {
        memarena_burst burst = memarena_burst_begin(interrupted);
        for (int k = 0; k < 30; k++) {
            size_t size = (size_t)(i + k) % 9 ? 16 : 600;
            void *block = memarena_burst_alloc(&burst, size, 8);
            CHECK(block || log.count > 100000);
#ifdef WITH_YIELD
            is_armed = false;
#endif
            if (block) test_record(&log, 1, block, size);
#ifdef WITH_YIELD
            is_armed = true;
#endif
        }
        memarena_burst_end(&burst);
    }
#ifdef WITH_YIELD
    is_armed = false;
#endif
    CHECK_EQ(setitimer(ITIMER_REAL, &never, NULL), 0);
    CHECK_EQ(sigaction(SIGALRM, &before, NULL), 0);
    for (size_t i = 0; i < handlers_count; i++) test_record(&log, 1, (void *)handlers_blocks[i], 24);
    CHECK_EQ(test_check_blocks(interrupted, &log), memarena_allocated_bytes(interrupted));
    printf("    %zu blocks of handlers\n", handlers_count);
    test_forget(&log);
    kinds_destroy();
}

/* ---- Threads ------------------------------------------------------------------------------------------------------------ */

typedef struct member {
    memarena *arena;
    pthread_t thread;
    pthread_barrier_t *all_have;
    test_log log;
    unsigned number, lane;
    unsigned long long random;
} member;

static void *leave_a_burst_open(void *argument)
{
    member *self = argument;
    memarena_burst burst = memarena_burst_begin(self->arena);
    for (int i = 0; i < 40; i++) {
        void *block = memarena_burst_alloc(&burst, 40, 8);
        CHECK(block);
        test_record(&self->log, 1, block, 40);
    }
    self->lane = test_lane();
    return NULL;
}

static void *begin_where_another_has_left(void *argument)
{
    member *self = argument;
    memarena_stats before_it;
    memarena_get_stats(self->arena, &before_it, sizeof before_it);
    if (self->number % 2) test_record(&self->log, 1, memarena_alloc_aligned(self->arena, 40, 8), 40);
    memarena_burst burst = memarena_burst_begin(self->arena);
    char *before = NULL;
    unsigned in_a_row = 0;
    for (int i = 0; i < 40; i++) {
        char *block = memarena_burst_alloc(&burst, 40, 8);
        CHECK(block);
        in_a_row += block == before + 40;
        before = block;
        test_record(&self->log, 1, block, 40);
    }
    memarena_burst_end(&burst);
    char *behind = memarena_alloc_aligned(self->arena, 8, 8);
    CHECK(behind);
    test_record(&self->log, 1, behind, 8);
    self->lane = test_lane();
    memarena_stats stats;
    memarena_get_stats(self->arena, &stats, sizeof stats);
    CHECK(stats.watched || MA_DEBUG || stats.per_cpu == 2 || stats.direct_blocks == before_it.direct_blocks);
    if (!stats.watched && !MA_DEBUG && stats.per_cpu != 2) CHECK(behind == before + 40 && in_a_row >= 35);
    return NULL;
}

static void a_thread_that_ends_in_a_burst_loses_only_what_it_held(void)
{
    for (int kind = MIDDLE; kind < SCOPE; kind++) {
        if (kind == IN_BUFFER || kind == SAMPLED || kind == IN_LARGE_BUFFER) continue;
        memarena *arena = create(kind);
        size_t capacity = memarena_capacity(arena);
        for (unsigned round = 0; round < 8; round++) {
            member one = {.arena = arena, .number = round}, two = one;
            test_join(test_start(leave_a_burst_open, &one));
            if (round % 4 == 3) CHECK(memarena_reset(arena)), one.log.count = 0;
            test_join(test_start(begin_where_another_has_left, &two));
            CHECK_EQ(one.lane, two.lane);
            test_append(&one.log, &two.log);
            size_t sum = test_check_blocks(arena, &one.log), allocated = memarena_allocated_bytes(arena);
            CHECK(allocated >= sum && allocated <= sum + 2 * 64 * KIB);
            CHECK(memarena_reset(arena));
            CHECK_EQ(memarena_allocated_bytes(arena), 0);
            size_t filled = test_fill(arena, 32 * KIB, NULL, 1);
            CHECK(filled == capacity || (kind == PER_CPU && filled >= capacity - 64 * KIB));
            CHECK(memarena_reset(arena));
            test_forget(&one.log);
            test_forget(&two.log);
        }
        kinds_destroy();
    }
}

static void *burst_together(void *argument)
{
    member *self = argument;
    memarena_burst burst = memarena_burst_begin(self->arena);
    for (int i = 0; i < 200; i++) {
        size_t size = test_between(&self->random, 1, 100);
        void *block = memarena_burst_alloc(&burst, size, 8);
        CHECK(block);
        test_record(&self->log, 1, block, size);
        if (i == 100) test_meet(self->all_have);
        if (i % 50 == 49) {
            memarena_burst_end(&burst);
            burst = memarena_burst_begin(self->arena);
        }
    }
    memarena_burst_end(&burst);
    return NULL;
}

static void more_threads_than_lanes_have_bursts(void)
{
    enum { THREADS = 80 };
    static member members[THREADS];
    for (int kind = LARGE; kind < SCOPE; kind++) {
        if (kind == IN_BUFFER || kind == IN_LARGE_BUFFER || kind == SAMPLED) continue;
        memarena *arena = create(kind);
        pthread_barrier_t all_have;
        test_log log = {0};
        CHECK_EQ(pthread_barrier_init(&all_have, NULL, THREADS), 0);
        for (unsigned i = 0; i < THREADS; i++) {
            members[i] = (member){.arena = arena, .all_have = &all_have, .random = test_seed(i)};
            members[i].thread = test_start(burst_together, &members[i]);
        }
        for (unsigned i = 0; i < THREADS; i++) {
            test_join(members[i].thread);
            test_append(&log, &members[i].log);
            test_forget(&members[i].log);
        }
        CHECK_EQ(test_check_blocks(arena, &log), memarena_allocated_bytes(arena));
        CHECK_EQ(pthread_barrier_destroy(&all_have), 0);
        test_forget(&log);
        kinds_destroy();
    }
}

/* ---- Forks --------------------------------------------------------------------------------------------------------------- */

static struct {
    memarena *arena;
    test_log log;
    unsigned stage;
} lost;

static void wait_for_stage(unsigned stage)
{
    while (__atomic_load_n(&lost.stage, __ATOMIC_ACQUIRE) != stage) (void)sched_yield();
}

static void *hold_a_burst(void *argument)
{
    memarena_burst burst = memarena_burst_begin(lost.arena);
    (void)argument;
    for (int i = 0; i < 40; i++) test_record(&lost.log, 1, memarena_burst_alloc(&burst, 40, 8), 40);
    __atomic_store_n(&lost.stage, 1, __ATOMIC_RELEASE);
    wait_for_stage(2);
    for (int i = 0; i < 40; i++) test_record(&lost.log, 1, memarena_burst_alloc(&burst, 40, 8), 40);
    memarena_burst_end(&burst);
    return NULL;
}

static void go_on(memarena *arena, memarena_burst *burst, test_log *log)
{
    for (int i = 0; i < 400; i++) {
        test_record(log, 1, memarena_burst_alloc(burst, 24, 8), 24);
        if (i % 16 == 0) test_record(log, 1, memarena_alloc_aligned(arena, 24, 8), 24);
    }
    memarena_burst_end(burst);
}

static void a_burst_goes_on_in_a_child(void)
{
    for (int kind = MIDDLE; kind < SCOPE; kind++) {
        if (kind == IN_BUFFER || kind == IN_LARGE_BUFFER) continue;
        for (test_way way = BY_FORK; way < WAYS; way++) {
            memarena *arena = lost.arena = create(kind);
            test_log log = {0};
            lost.stage = 0;
            lost.log = (test_log){0};
            memarena_burst burst = memarena_burst_begin(arena);
            for (int i = 0; i < 40; i++) test_record(&log, 1, memarena_burst_alloc(&burst, 24, 8), 24);
            pthread_t other = test_start(hold_a_burst, NULL);
            wait_for_stage(1);
            size_t before = log.count;
            pid_t child = test_make_child(way);
            if (child == 0) {
                test_append(&log, &lost.log);
                go_on(arena, &burst, &log);
                if (way == BY_FORK && !TEST_TSAN) { /* its thread gets the number of the lost one */
                    member next = {.arena = arena, .number = 1};
                    test_join(test_start(begin_where_another_has_left, &next));
                    test_append(&log, &next.log);
                }
                (void)test_check_blocks(arena, &log);
                CHECK(memarena_reset(arena));
                CHECK_EQ(memarena_allocated_bytes(arena), 0);
                size_t filled = test_fill(arena, 32 * KIB, NULL, 1), capacity = memarena_capacity(arena);
                CHECK(filled == capacity || (kind == PER_CPU && filled >= capacity - 64 * KIB));
                _exit(0);
            }
            int status = test_status_of(child);
            CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
            log.count = before;
            go_on(arena, &burst, &log);
            __atomic_store_n(&lost.stage, 2, __ATOMIC_RELEASE);
            test_join(other);
            test_append(&log, &lost.log);
            CHECK_EQ(test_check_blocks(arena, &log), memarena_allocated_bytes(arena));
            test_forget(&log);
            test_forget(&lost.log);
            kinds_destroy();
        }
    }
}

/* What an open burst holds counts as handed out: a TLAB, and no more. */
static void an_open_burst_counts_what_it_holds(void)
{
    memarena *arena = memarena_create((size_t)64 << 20);
    CHECK(arena && memarena_alloc_aligned(arena, 8, 8));
    memarena_burst burst = memarena_burst_begin(arena);
    CHECK(memarena_burst_alloc(&burst, 8, 8));
    size_t open = memarena_allocated_bytes(arena);
    CHECK(open >= 16 && open <= 16 + ((size_t)64 << 10));
    memarena_burst_end(&burst);
    CHECK_EQ(memarena_allocated_bytes(arena), 16);
    memarena_destroy(arena);
}

int main(void)
{
    RUN(blocks_of_a_burst_are_ordinary_blocks);
    RUN(an_end_without_a_block_changes_nothing);
    RUN(what_was_not_used_is_the_threads_again);
    RUN(a_request_that_cannot_be_answered_harms_nothing);
    RUN(large_blocks_go_their_own_way);
    RUN(an_open_burst_counts_what_it_holds);
    RUN(a_burst_fills_an_arena);
    RUN(all_other_calls_may_come_between);
    RUN(bursts_of_one_arena_take_their_blocks_apart);
    RUN(a_scope_is_not_rewound_under_a_burst);
    RUN(what_is_kept_lies_apart_from_a_burst);
    if (!MA_DEBUG) RUN(the_next_scope_is_not_held);
    RUN(on_oom_may_use_the_arena);
    RUN(sampling_begins_and_ends_within_a_burst);
    RUN(a_burst_goes_on_in_the_next_generation);
#ifdef WITH_YIELD
    RUN(a_reset_may_come_at_any_access);
#endif
    RUN(a_handler_may_interrupt_a_burst_per_cpu);
    RUN(a_thread_that_ends_in_a_burst_loses_only_what_it_held);
    RUN(more_threads_than_lanes_have_bursts);
    RUN(a_burst_goes_on_in_a_child);
    return test_done();
}
