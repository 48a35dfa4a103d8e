/* The tag is as wide as the capacity leaves room, so that a give-back which slept through many resets does not meet its
 * own tag again. With MA_TAG_BITS it has exactly those, and wraps. No memory is behind these pools. */
#include "shard/pool.h"
#include "test.h"

#include <string.h>

#define KIB ((uint64_t)1 << 10)
#define MIB ((uint64_t)1 << 20)
#define TIB ((uint64_t)1 << 40)
#define BASE ((uintptr_t)1 << 30)
#define ALL_SOURCES (MA_SHARDS + 1)
#define COUNT_OF(array) (sizeof(array) / sizeof *(array))

static const struct {
    uint64_t capacity;
    unsigned tag_bits;
} widths[] = {{8, 60},
              {16 * 8 - 8, 60}, /* 2^n grains are one too many for n bits */
              {16 * 8, 59},
              {4 * KIB, 54},
              {MIB, 46},
              {64 * MIB - 8, 41},
              {64 * MIB, 40},
              {4096 * MIB - 8, 35},
              {4096 * MIB, 34},
              {TIB - 8, 27},
              {TIB, 26},
              {MA_CAPACITY_MAX / 2, 21},
              {MA_CAPACITY_MAX / 2 + 8, 20},
              {MA_CAPACITY_MAX, 20}};

static ma_source sources[ALL_SOURCES];
static ma_pool pool;

static void start(uint64_t capacity)
{
    memset(sources, 0, sizeof sources);
    ma_pool_init(&pool, sources, true, BASE, capacity);
}

/* All that so many resets leave: every word is of that generation. */
static void go_to_generation(uint64_t generation)
{
    pool.generation = generation;
    for (unsigned source = 0; source <= pool.shard_count; source++) {
        sources[source].word = ma_word_make(pool.offset_bits, generation, ma_source_begin(&pool, source));
        sources[source].direct = ma_word_make(pool.offset_bits, generation, 0);
    }
}

static ma_claim claim(unsigned source, uint64_t size, ma_span *span)
{
    ma_request request = {.generation = pool.generation, .size = size, .alignment = 8};
    uint64_t probes = 0;
    return ma_pool_claim(&pool, source, &request, span, &probes);
}

static ma_claim claim_all(void)
{
    ma_request all = {.generation = pool.generation, .size = pool.capacity, .alignment = 8};
    ma_span span;
    return ma_pool_claim_run(&pool, &all, &span);
}

/* The hook before each shared access. */
static unsigned countdown; /* accesses until the caller sleeps; 0: he does not */
static uint64_t nap;       /* for so many resets, and then somebody takes all there is */

void test_yield(void);
void test_yield(void)
{
    if (countdown == 0 || --countdown > 0) return;
    go_to_generation(pool.generation + nap);
    CHECK_EQ(claim_all(), MA_CLAIMED);
}

static bool is_addressable(uint64_t capacity)
{
    return capacity <= UINTPTR_MAX - BASE;
}

static void the_tag_has_all_bits_that_the_capacity_leaves(void)
{
    for (size_t i = 0; i < COUNT_OF(widths); i++) {
        start(widths[i].capacity);
#ifdef MA_TAG_BITS
        CHECK_EQ(pool.offset_bits, 64 - MA_TAG_BITS);
#else
        CHECK_EQ(64 - pool.offset_bits, widths[i].tag_bits);
#endif
        CHECK_EQ(pool.capacity >> MA_GRAIN_BITS >> pool.offset_bits, 0);
    }
}

static void an_offset_at_the_capacity_does_not_reach_the_tag(void)
{
    for (size_t i = 0; i < COUNT_OF(widths); i++) {
        start(widths[i].capacity);
        if (!is_addressable(pool.capacity)) continue;
        const uint64_t tags = UINT64_MAX >> pool.offset_bits;
        const uint64_t generations[] = {1, 2, tags - 1, tags, tags + 1};
        for (size_t j = 0; j < COUNT_OF(generations); j++) {
            go_to_generation(generations[j]);
            ma_span span;
            CHECK_EQ(claim_all(), MA_CLAIMED);
            for (unsigned source = 0; source <= pool.shard_count; source++) {
                CHECK_EQ(ma_word_age(pool.offset_bits, sources[source].word, pool.generation), 0);
                CHECK_EQ(ma_source_tip(&pool, source, sources[source].word, pool.generation),
                         ma_source_end(&pool, source));
            }
            CHECK_EQ(claim(0, 8, &span), MA_NO_ROOM);
        }
    }
}

/* Whatever single accounts are meanwhile. */
static void the_sum_of_the_accounts_is_exact_up_to_the_capacity(void)
{
    for (size_t i = 0; i < COUNT_OF(widths); i++) {
        start(widths[i].capacity);
        const uint64_t tags = UINT64_MAX >> pool.offset_bits;
        const uint64_t generations[] = {1, tags, tags + 1};
        const uint64_t amounts[] = {pool.capacity, 8, (uint64_t)-8, (uint64_t)-pool.capacity, pool.capacity - 8, 8};
        for (size_t j = 0; j < COUNT_OF(generations); j++) {
            uint64_t expected = 0, single[ALL_SOURCES] = {0};
            go_to_generation(generations[j]);
            for (size_t n = 0; n < COUNT_OF(amounts); n++) {
                unsigned source = (unsigned)n % (pool.shard_count + 1);
                ma_pool_account(&pool, source, pool.generation, amounts[n]);
                expected += amounts[n], single[source] += amounts[n];
                uint64_t sum = 0;
                for (unsigned one = 0; one <= pool.shard_count; one++) {
                    CHECK_EQ(ma_word_age(pool.offset_bits, sources[one].direct, pool.generation), 0);
                    uint64_t account = ma_word_offset(pool.offset_bits, sources[one].direct, pool.generation, 4711);
                    CHECK_EQ(account, ma_word_wrap(pool.offset_bits, single[one]));
                    sum += account;
                }
                if (expected <= pool.capacity) CHECK_EQ(ma_word_wrap(pool.offset_bits, sum), expected);
            }
            CHECK_EQ(expected, pool.capacity);
        }
    }
}

#ifndef MA_TAG_BITS
/* Not those of so many TiB that 20 bits are all there is. */
static const uint64_t small[] = {8, 4 * KIB, MIB, 64 * MIB, TIB};
static const uint64_t naps[] = {(uint64_t)1 << 20, (uint64_t)3 << 20, (uint64_t)1 << 25};

/* The later generation holds the same bytes, in a block that ends at the same place. */
static void a_give_back_that_slept_takes_nothing_from_a_later_generation(void)
{
    for (size_t i = 0; i < COUNT_OF(small); i++) {
        for (size_t j = 0; j < COUNT_OF(naps); j++) {
            start(small[i]);
            if (!is_addressable(pool.capacity)) continue;
            uint64_t size = pool.capacity < 256 ? pool.capacity : 256;
            ma_span late, live, next;
            go_to_generation(7);
            CHECK_EQ(claim(pool.shard_count / 2, size, &late), MA_CLAIMED);
            go_to_generation(7 + naps[j]);
            CHECK_EQ(claim(pool.shard_count / 2, size, &live), MA_CLAIMED);
            CHECK(live.begin == late.begin && live.end == late.end);
            CHECK(!ma_pool_move_tip(&pool, 7, late.end, late.begin));
            if (claim(live.source, 8, &next) == MA_CLAIMED) CHECK(next.begin >= live.end || next.end <= live.begin);
        }
    }
}

static void what_was_borrowed_before_is_not_returned_from_a_later_generation(void)
{
    for (size_t i = 0; i < COUNT_OF(small); i++) {
        for (size_t j = 0; j < COUNT_OF(naps); j++) {
            start(small[i]);
            if (!is_addressable(pool.capacity)) continue;
            ma_span late, live;
            go_to_generation(7);
            CHECK(ma_pool_borrow(&pool, pool.shard_count, 7, &late));
            go_to_generation(7 + naps[j]);
            CHECK_EQ(claim(pool.shard_count, late.end - late.begin, &live), MA_CLAIMED);
            ma_pool_return(&pool, 7, &late);
            CHECK_EQ(ma_source_tip(&pool, live.source, sources[live.source].word, pool.generation), live.end);
        }
    }
}

/* A run over all sources that sleeps before any one of its accesses, and then gives back what it had of them. */
static void a_run_that_slept_takes_nothing_from_a_later_generation(void)
{
    for (size_t i = 0; i < COUNT_OF(small); i++) {
        for (size_t j = 0; j < COUNT_OF(naps); j++) {
            if (!is_addressable(small[i])) continue;
            nap = naps[j];
            for (unsigned access = 1; countdown == 0; access++) {
                start(small[i]);
                go_to_generation(7);
                countdown = access;
                (void)claim_all();
                if (countdown != 0) break;
                for (unsigned source = 0; source <= pool.shard_count; source++)
                    CHECK_EQ(ma_source_tip(&pool, source, sources[source].word, 7 + nap), ma_source_end(&pool, source));
            }
            countdown = 0;
        }
    }
}
#endif

int main(void)
{
    RUN(the_tag_has_all_bits_that_the_capacity_leaves);
    RUN(an_offset_at_the_capacity_does_not_reach_the_tag);
    RUN(the_sum_of_the_accounts_is_exact_up_to_the_capacity);
#ifndef MA_TAG_BITS
    RUN(a_give_back_that_slept_takes_nothing_from_a_later_generation);
    RUN(what_was_borrowed_before_is_not_returned_from_a_later_generation);
    RUN(a_run_that_slept_takes_nothing_from_a_later_generation);
#endif
    return test_done();
}
