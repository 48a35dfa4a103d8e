/* The shared words of a pool, one call at a time. No memory is behind them: a pool only knows addresses. */
#include "shard/pool.h"
#include "test.h"
#ifdef WITH_YIELD
#include "yield.h"
#endif

#include <string.h>

#define KIB ((uint64_t)1 << 10)
#define MIB ((uint64_t)1 << 20)
#define BASE ((uintptr_t)1 << 30)
#define ALL_SOURCES (MA_SHARDS + 1)

static ma_source sources[ALL_SOURCES];
static ma_pool pool;
static ma_span span;
static uint64_t probes;

static void start(bool sharded, uint64_t capacity)
{
    memset(sources, 0, sizeof sources);
    ma_pool_init(&pool, sources, sharded, BASE, capacity);
    probes = 0;
}

static ma_request request_of(uint64_t size, uint64_t alignment, uint64_t want)
{
    return (ma_request){.generation = pool.generation, .size = size, .alignment = alignment, .want = want};
}

static ma_claim claim(unsigned first, uint64_t size, uint64_t want)
{
    ma_request request = request_of(size, 8, want);
    return ma_pool_claim(&pool, first, &request, &span, &probes);
}

static ma_claim claim_large(unsigned first, uint64_t size)
{
    ma_request request = request_of(size, 8, 0);
    return ma_pool_claim_large(&pool, first, &request, &span, &probes);
}

static ma_claim claim_run(uint64_t size, uint64_t alignment)
{
    ma_request request = request_of(size, alignment, 0);
    return ma_pool_claim_run(&pool, &request, &span);
}

static uint64_t tip_of(unsigned source)
{
    return ma_word_offset(pool.offset_bits, sources[source].word, pool.generation, ma_source_begin(&pool, source));
}

static void check_span(uint64_t begin, uint64_t block, uint64_t end, unsigned source)
{
    CHECK_EQ(span.begin, begin);
    CHECK_EQ(span.block, block);
    CHECK_EQ(span.end, end);
    CHECK_EQ(span.source, source);
}

/* Takes all that is left, in whatever pieces, and says how much it was. */
static uint64_t drain(void)
{
    uint64_t sum = 0;
    while (claim(0, 8, UINT64_MAX / 2) == MA_CLAIMED) sum += span.end - span.begin;
    return sum;
}

/* ---- The word --------------------------------------------------------------------------------------------------- */

static void a_word_keeps_tag_and_offset_apart(void)
{
    for (unsigned bits = MA_OFFSET_BITS_LEAST; bits <= MA_OFFSET_BITS_MOST; bits++) {
        const uint64_t most = ma_word_wrap(bits, UINT64_MAX), tags = UINT64_MAX >> bits;
        const uint64_t offsets[] = {0, 8, 64, most / 2 & ~UINT64_C(7), most - 8, most};
        const uint64_t generations[] = {1, 2, 1000, tags, tags + 1, UINT64_C(0x123456789ABCDEF), UINT64_MAX};
        for (size_t i = 0; i < sizeof offsets / sizeof *offsets; i++) {
            for (size_t j = 0; j < sizeof generations / sizeof *generations; j++) {
                uint64_t word = ma_word_make(bits, generations[j], offsets[i]);
                CHECK_EQ(ma_word_age(bits, word, generations[j]), 0);
                CHECK_EQ(ma_word_offset(bits, word, generations[j], 4711), offsets[i]);
                CHECK_EQ(ma_word_offset(bits, word, generations[j] + 1, 4711), 4711);
            }
        }
    }
}

static void the_age_of_a_word_is_signed_and_wraps(void)
{
    for (unsigned bits = MA_OFFSET_BITS_LEAST; bits <= MA_OFFSET_BITS_MOST; bits++) {
        uint64_t half = (uint64_t)1 << (63 - bits);
        const uint64_t generations[] = {1, 5, half, 2 * half - 1, 2 * half, 2 * half + 1, 7 * half};
        for (size_t i = 0; i < sizeof generations / sizeof *generations; i++) {
            uint64_t word = ma_word_make(bits, generations[i], 64);
            CHECK(ma_word_age(bits, word, generations[i]) == 0);
            CHECK(ma_word_age(bits, word, generations[i] + 1) == 1);
            CHECK(ma_word_age(bits, word, generations[i] - 1) == -1);
            CHECK(ma_word_age(bits, word, generations[i] + half - 1) == (int64_t)half - 1);
            CHECK(ma_word_age(bits, word, generations[i] - half + 1) == 1 - (int64_t)half);
            CHECK(ma_word_age(bits, word, generations[i] + 2 * half) == 0); /* why words are refreshed */
        }
    }
}

/* ---- Geometry --------------------------------------------------------------------------------------------------- */

static void shards_and_frontier_tile_the_pool(void)
{
    for (uint64_t capacity = MIB; capacity < 4096 * MIB; capacity = capacity * 3 / 2 + 8) {
        start(true, capacity);
        CHECK_EQ(pool.shard_count, MA_SHARDS);
        CHECK_EQ(pool.shard_bytes % 4096, 0);
        CHECK_EQ(ma_source_begin(&pool, 0), 0);
        CHECK_EQ(ma_source_end(&pool, MA_SHARDS), capacity & ~UINT64_C(7));
        CHECK(ma_source_begin(&pool, MA_SHARDS) <= capacity / 2);
        CHECK(ma_source_begin(&pool, MA_SHARDS) > capacity / 2 - MA_SHARDS * 4096);
        for (unsigned source = 0; source < ALL_SOURCES; source++) {
            uint64_t begin = ma_source_begin(&pool, source), end = ma_source_end(&pool, source);
            CHECK(begin < end);
            if (source < MA_SHARDS) CHECK_EQ(end, ma_source_begin(&pool, source + 1));
            CHECK_EQ(ma_source_of(&pool, begin), source);
            CHECK_EQ(ma_source_of(&pool, end - 1), source);
        }
        CHECK_EQ(ma_source_of(&pool, capacity), MA_SHARDS);
    }
}

static void a_small_pool_is_one_frontier(void)
{
    const uint64_t capacities[] = {8, 4 * KIB, MIB - 8, MIB - 1};
    for (size_t i = 0; i < sizeof capacities / sizeof *capacities; i++) {
        start(true, capacities[i]);
        CHECK_EQ(pool.shard_count, 0);
        CHECK_EQ(ma_source_begin(&pool, 0), 0);
        CHECK_EQ(ma_source_end(&pool, 0), capacities[i] & ~UINT64_C(7));
        CHECK_EQ(ma_source_of(&pool, 0), 0);
        CHECK_EQ(ma_pool_home(&pool, 12345), 0);
        CHECK_EQ(drain(), capacities[i] & ~UINT64_C(7));
    }
    start(false, 64 * MIB);
    CHECK_EQ(pool.shard_count, 0);
    CHECK_EQ(drain(), 64 * MIB);
}

static void every_source_has_a_pair_of_cache_lines(void)
{
    CHECK_EQ(sizeof(ma_source), 128);
    CHECK_EQ(_Alignof(ma_source), 128);
    CHECK_EQ((uintptr_t)&sources[1] - (uintptr_t)&sources[0], 128);
}

static void neighbouring_lanes_have_homes_of_their_own(void)
{
    start(true, 64 * MIB);
    for (uint64_t from = 0; from < 100000; from = from * 3 + 64) {
        bool seen[MA_SHARDS] = {false};
        unsigned distinct = 0, first_eight = 0;
        for (uint64_t number = from; number < from + MA_SHARDS; number++) {
            unsigned home = ma_pool_home(&pool, number);
            CHECK(home < MA_SHARDS);
            distinct += !seen[home];
            first_eight += !seen[home] && number < from + 8;
            seen[home] = true;
        }
        CHECK_EQ(first_eight, MA_SHARDS < 8 ? MA_SHARDS : 8);
        CHECK(distinct * 4 >= MA_SHARDS * 3);
    }
    CHECK_EQ(ma_pool_home(&pool, 0), 0); /* a single thread walks from the front */
}

static void an_alignment_that_wraps_around_is_no_room(void)
{
    start(true, MIB);
    for (unsigned bit = 31; bit < 64; bit++) {
        ma_request request = request_of(8, (uint64_t)1 << bit, 0);
        CHECK_EQ(ma_pool_claim(&pool, 0, &request, &span, &probes), MA_NO_ROOM);
        CHECK_EQ(ma_pool_claim_large(&pool, 0, &request, &span, &probes), MA_NO_ROOM);
        CHECK_EQ(ma_pool_claim_run(&pool, &request, &span), MA_NO_ROOM);
    }
    pool.base = UINTPTR_MAX - 2 * MIB + 1;
    for (unsigned bit = 21; bit < 64; bit++) {
        ma_request request = request_of(MIB, (uint64_t)1 << bit, 0);
        if (ma_pool_claim_run(&pool, &request, &span) == MA_CLAIMED) CHECK(span.block + MIB <= pool.capacity);
        start(true, MIB);
        pool.base = UINTPTR_MAX - 2 * MIB + 1;
    }
}

/* ---- Claims ------------------------------------------------------------------------------------------------------ */

static void claims_from_one_source_follow_each_other(void)
{
    start(true, MIB);
    const unsigned source = 3 % MA_SHARDS;
    for (uint64_t n = 0; n < 100; n++) {
        CHECK_EQ(claim(source, 24, 0), MA_CLAIMED);
        uint64_t begin = ma_source_begin(&pool, source) + 24 * n;
        check_span(begin, begin, begin + 24, source);
        CHECK_EQ(tip_of(source), begin + 24);
    }
    CHECK_EQ(probes, 0);
    CHECK_EQ(drain(), MIB - 2400);
}

static void a_claim_gets_what_it_wants_or_what_there_is(void)
{
    start(true, MIB);
    uint64_t begin = ma_source_begin(&pool, 1), end = ma_source_end(&pool, 1);
    CHECK_EQ(claim(1, 16, 1000), MA_CLAIMED);
    check_span(begin, begin, begin + 1016, 1);
    CHECK_EQ(claim(1, 16, UINT64_MAX / 2), MA_CLAIMED);
    check_span(begin + 1016, begin + 1016, end, 1);
    CHECK_EQ(tip_of(1), end);
    CHECK_EQ(probes, 0);
}

static void a_claim_aligns_the_address_not_the_offset(void)
{
    start(true, MIB);
    pool.base = BASE + 24;
    ma_request request = request_of(40, 64, 8);
    CHECK_EQ(ma_pool_claim(&pool, 0, &request, &span, &probes), MA_CLAIMED);
    check_span(0, 40, 88, 0); /* BASE + 24 + 40 is a multiple of 64 */
    CHECK_EQ(ma_pool_claim(&pool, 0, &request, &span, &probes), MA_CLAIMED);
    check_span(88, 104, 152, 0);
}

static void spent_sources_are_probed_in_order_and_the_frontier_last(void)
{
    start(true, MIB);
    uint64_t size = pool.shard_bytes, expected = 0;
    const unsigned home = 61 % MA_SHARDS;
    for (unsigned n = 0; n < MA_SHARDS; n++) { /* round the end of the shards, to the last one */
        unsigned source = (home + n) % ALL_SOURCES;
        if (source == MA_SHARDS) break;
        probes = 0;
        CHECK_EQ(claim(home, size, 0), MA_CLAIMED);
        check_span(ma_source_begin(&pool, source), ma_source_begin(&pool, source), ma_source_end(&pool, source),
                   source);
        CHECK_EQ(probes, n);
        expected += size;
    }
    probes = 0;
    CHECK_EQ(claim(home, size, 0), MA_CLAIMED);
    CHECK_EQ(span.source, MA_SHARDS);
    CHECK_EQ(drain(), MIB - expected - size);
}

static void a_pool_is_refused_only_when_no_source_has_room(void)
{
    for (unsigned last = 0; last < ALL_SOURCES; last++) {
        start(true, MIB);
        for (unsigned source = 0; source < ALL_SOURCES; source++)
            if (source != last) sources[source].word = ma_word_make(pool.offset_bits, 1, ma_source_end(&pool, source));
        for (unsigned home = 0; home < ALL_SOURCES; home++) {
            CHECK_EQ(claim(home, 8, 0), MA_CLAIMED);
            CHECK_EQ(span.source, last);
        }
        sources[last].word = ma_word_make(pool.offset_bits, 1, ma_source_end(&pool, last) - 8);
        CHECK_EQ(claim(7 % ALL_SOURCES, 16, 0), MA_NO_ROOM);
        CHECK_EQ(claim(7 % ALL_SOURCES, 8, 100), MA_CLAIMED);
        probes = 0;
        CHECK_EQ(claim(7 % ALL_SOURCES, 8, 0), MA_NO_ROOM);
        CHECK_EQ(probes, ALL_SOURCES);
        CHECK_EQ(drain(), 0);
    }
}

static void large_claims_start_in_the_frontier(void)
{
    start(true, MIB);
    uint64_t begin = ma_source_begin(&pool, MA_SHARDS), rest = MIB - begin;
    CHECK_EQ(claim_large(5 % MA_SHARDS, 1000), MA_CLAIMED);
    check_span(begin, begin, begin + 1000, MA_SHARDS);
    CHECK_EQ(claim_large(5 % MA_SHARDS, rest - 1000), MA_CLAIMED);
    CHECK_EQ(probes, 0);
    CHECK_EQ(claim_large(5 % MA_SHARDS, 1000), MA_CLAIMED);
    CHECK_EQ(span.source, 5 % MA_SHARDS);
    CHECK_EQ(probes, 1);
    CHECK_EQ(drain(), MIB - rest - 1000);
}

/* ---- Runs ----------------------------------------------------------------------------------------------------------
 */

static void a_run_takes_as_many_sources_as_it_needs(void)
{
    for (unsigned count = 1; count <= MA_SHARDS; count++) {
        for (uint64_t more = 0; more <= 16; more += 8) {
            start(true, MIB);
            sources[MA_SHARDS].word = ma_word_make(pool.offset_bits, 1, MIB); /* no frontier */
            uint64_t size = count * pool.shard_bytes - 8 + more;
            ma_claim expected = size <= MA_SHARDS * pool.shard_bytes ? MA_CLAIMED : MA_NO_ROOM;
            CHECK_EQ(claim_run(size, 8), expected);
            if (expected != MA_CLAIMED) continue;
            CHECK_EQ(span.end - span.begin, size);
            CHECK_EQ(span.block, span.begin);
            CHECK_EQ(span.begin, ma_source_begin(&pool, span.source)); /* all were untouched */
            for (unsigned source = 0; source < MA_SHARDS; source++) {
                uint64_t begin = ma_source_begin(&pool, source), end = ma_source_end(&pool, source);
                uint64_t tip = span.end < begin || span.begin >= end ? begin : span.end < end ? span.end : end;
                CHECK_EQ(tip_of(source), tip);
            }
            CHECK_EQ(drain(), MA_SHARDS * pool.shard_bytes - size);
        }
    }
}

static void a_run_may_start_behind_other_blocks(void)
{
    start(true, MIB);
    const unsigned first = MA_SHARDS / 2;
    for (unsigned source = 0; source < first; source++)
        sources[source].word = ma_word_make(pool.offset_bits, 1, ma_source_end(&pool, source));
    CHECK_EQ(claim(first, 104, 0), MA_CLAIMED);
    uint64_t begin = ma_source_begin(&pool, first) + 104;
    CHECK_EQ(claim_run(MIB - begin + 8, 8), MA_NO_ROOM);
    CHECK_EQ(claim_run(MIB - begin, 8), MA_CLAIMED);
    check_span(begin, begin, MIB, first);
    CHECK_EQ(drain(), 0);
}

static void a_run_needs_untouched_neighbours(void)
{
    start(true, MIB);
    for (unsigned source = 0; source < ALL_SOURCES; source += 2) CHECK_EQ(claim(source, 8, 0), MA_CLAIMED);
    uint64_t most = 2 * pool.shard_bytes - 8; /* the rest of a touched one, and one that is not */
    uint64_t frontier = MIB - ma_source_begin(&pool, MA_SHARDS) - (MA_SHARDS % 2 == 0 ? 8 : 0);
    CHECK_EQ(claim_run((frontier > most ? frontier : most) + 8, 8), MA_NO_ROOM);
    CHECK_EQ(claim_run(frontier > most ? frontier : most, 8), MA_CLAIMED);
    if (MA_SHARDS > 2) {
        CHECK_EQ(claim_run(most + 8, 8), MA_NO_ROOM);
        CHECK_EQ(claim_run(most, 8), MA_CLAIMED);
        CHECK_EQ(span.begin, ma_source_begin(&pool, span.source) + 8);
    }
}

static void a_run_may_take_the_whole_pool_and_no_more(void)
{
    for (uint64_t capacity = 64; capacity <= 64 * MIB; capacity *= 4) {
        start(true, capacity);
        CHECK_EQ(claim_run(capacity + 8, 8), MA_NO_ROOM);
        CHECK_EQ(claim_run(capacity, 8), MA_CLAIMED);
        check_span(0, 0, capacity, 0);
        CHECK_EQ(drain(), 0);
    }
}

static void a_run_is_aligned_like_any_claim(void)
{
    start(true, MIB);
    pool.base = BASE + 8;
    uint64_t alignment = 128 * KIB, size = MIB - alignment;
    CHECK_EQ(claim_run(size, alignment), MA_CLAIMED);
    CHECK_EQ((pool.base + span.block) % alignment, 0);
    CHECK_EQ(span.end - span.block, size);
    uint64_t taken = span.end - span.begin;
    CHECK_EQ(drain(), MIB - taken);
}

/* ---- Generations ----------------------------------------------------------------------------------------------------
 */

static void a_stale_word_counts_as_its_start(void)
{
    start(true, MIB);
    CHECK_EQ(drain(), MIB);
    pool.generation = 2;
    for (unsigned source = 0; source < ALL_SOURCES; source++) CHECK_EQ(tip_of(source), ma_source_begin(&pool, source));
    CHECK_EQ(drain(), MIB);
    pool.generation = 3;
    CHECK_EQ(claim_run(MIB, 8), MA_CLAIMED);
    CHECK_EQ(drain(), 0);
}

static void a_claimant_of_an_ended_generation_gets_nothing(void)
{
    start(true, MIB);
    CHECK_EQ(claim(1 % MA_SHARDS, 64, 0), MA_CLAIMED);
    ma_source before[ALL_SOURCES];
    memcpy(before, sources, sizeof before);
    ma_request request = request_of(64, 8, 64);
    pool.generation = 2;
    CHECK_EQ(ma_pool_claim(&pool, 0, &request, &span, &probes), MA_MOVED);
    CHECK_EQ(ma_pool_claim_large(&pool, 0, &request, &span, &probes), MA_MOVED);
    CHECK_EQ(ma_pool_claim_run(&pool, &request, &span), MA_MOVED);
    ma_pool_account(&pool, 0, 1, 1000);
    CHECK(memcmp(before, sources, sizeof before) == 0);
    uint64_t tip = ma_source_begin(&pool, 1 % MA_SHARDS) + 64;
    sources[1 % MA_SHARDS].word = ma_word_make(pool.offset_bits, 2, tip);
    CHECK(!ma_pool_move_tip(&pool, 1, tip, tip - 8));
    CHECK_EQ(tip_of(1 % MA_SHARDS), tip);
}

/* By a claimant that slept through all tags; word.h. */
static void nothing_is_claimed_from_a_newer_word(void)
{
    for (uint64_t ahead = 1; ahead <= 3; ahead++) {
        start(true, MIB);
        for (unsigned source = 0; source < ALL_SOURCES; source++)
            sources[source].word = ma_word_make(pool.offset_bits, 1 + ahead, ma_source_begin(&pool, source));
        CHECK_EQ(claim(0, 8, 0), MA_NO_ROOM);
        CHECK_EQ(claim_run(MIB, 8), MA_NO_ROOM);
        sources[0].word = ma_word_make(pool.offset_bits, 1, 0); /* and no run goes on into one */
        CHECK_EQ(claim_run(ma_source_end(&pool, 0) + 8, 8), MA_NO_ROOM);
        CHECK_EQ(claim(0, 8, 0), MA_CLAIMED);
        pool.generation = 1 + ahead;
        CHECK_EQ(claim_run(MIB, 8), MA_CLAIMED);
    }
}

static void every_word_is_refreshed_in_turn(void)
{
    start(true, MIB);
    CHECK_EQ(drain(), MIB);
    for (unsigned source = 0; source < ALL_SOURCES; source++) ma_pool_account(&pool, source, 1, 800);
    for (uint64_t generation = 2; generation < 2 + ALL_SOURCES; generation++) {
        pool.generation = generation;
        ma_pool_refresh(&pool, generation);
    }
    for (unsigned source = 0; source < ALL_SOURCES; source++) {
        CHECK(ma_word_age(pool.offset_bits, sources[source].word, 1) < 0);
        CHECK(ma_word_age(pool.offset_bits, sources[source].direct, 1) < 0);
        uint64_t generation =
            pool.generation - (uint64_t)ma_word_age(pool.offset_bits, sources[source].word, pool.generation);
        CHECK_EQ(ma_word_offset(pool.offset_bits, sources[source].word, generation, 4711),
                 ma_source_begin(&pool, source));
        CHECK_EQ(ma_word_offset(pool.offset_bits, sources[source].direct, generation, 4711), 0);
    }
}

static void nothing_ends_at_the_very_beginning(void)
{
    start(false, 1024);
    pool.generation = 2;
    ma_pool_refresh(&pool, 2);
    CHECK(!ma_pool_move_tip(&pool, 2, 0, 8));
    CHECK_EQ(drain(), 1024);
}

/* A slow reset must not undo what has been claimed in its generation or after it. */
static void refreshing_moves_no_word_back(void)
{
    start(true, MIB);
    pool.generation = 5;
    CHECK_EQ(drain(), MIB);
    for (unsigned source = 0; source < ALL_SOURCES; source++) ma_pool_account(&pool, source, 5, 80);
    ma_source before[ALL_SOURCES];
    memcpy(before, sources, sizeof before);
    for (int round = 0; round < ALL_SOURCES; round++) ma_pool_refresh(&pool, 5);
    for (uint64_t generation = 1; generation <= 5; generation++) ma_pool_refresh(&pool, generation);
    CHECK(memcmp(before, sources, sizeof before) == 0);
}

/* ---- Tips and accounts
 * ----------------------------------------------------------------------------------------------- */

static void only_the_tip_moves(void)
{
    start(true, MIB);
    unsigned source = 2 % MA_SHARDS;
    uint64_t begin = ma_source_begin(&pool, source), end = ma_source_end(&pool, source);
    CHECK_EQ(claim(source, 200, 0), MA_CLAIMED);
    CHECK(!ma_pool_move_tip(&pool, 1, begin + 192, begin + 184));
    CHECK(!ma_pool_move_tip(&pool, 1, begin + 208, begin + 200));
    CHECK(ma_pool_move_tip(&pool, 1, begin + 200, begin + 96));
    CHECK_EQ(tip_of(source), begin + 96);
    CHECK(ma_pool_move_tip(&pool, 1, begin + 96, begin + 400));
    CHECK(!ma_pool_move_tip(&pool, 1, begin + 400, end + 8));
    CHECK(ma_pool_move_tip(&pool, 1, begin + 400, end));
    CHECK(!ma_pool_move_tip(&pool, 1, end, end + 8));
    CHECK(ma_pool_move_tip(&pool, 1, end, begin + 8));
    CHECK(!ma_pool_move_tip(&pool, 1, 0, 8));
    CHECK_EQ(drain(), MIB - 8);
}

/* Of a span over all sources, cut wherever: the tips are where the rest ends, and all behind it can be had again. */
static void a_span_over_several_sources_goes_back(void)
{
    for (uint64_t kept = 0; kept < MIB; kept += 8 * 1021) {
        start(true, MIB);
        CHECK_EQ(claim_run(MIB, 8), MA_CLAIMED);
        CHECK(ma_pool_move_tip(&pool, 1, MIB, kept));
        for (unsigned source = 0; source < ALL_SOURCES; source++) {
            uint64_t begin = ma_source_begin(&pool, source), end = ma_source_end(&pool, source);
            CHECK_EQ(tip_of(source), kept < begin ? begin : kept < end ? kept : end);
        }
        CHECK_EQ(drain(), MIB - kept);
    }
}

static void the_tip_of_the_frontier_moves_up_to_the_capacity(void)
{
    start(true, MIB);
    uint64_t begin = ma_source_begin(&pool, MA_SHARDS);
    CHECK_EQ(claim(MA_SHARDS, 8, 0), MA_CLAIMED);
    CHECK(!ma_pool_move_tip(&pool, 1, begin + 8, MIB + 8));
    CHECK(ma_pool_move_tip(&pool, 1, begin + 8, MIB));
    CHECK(ma_pool_move_tip(&pool, 1, MIB, MIB - 80));
    CHECK_EQ(claim(MA_SHARDS, 80, 0), MA_CLAIMED);
    CHECK_EQ(span.end, MIB);
}

static uint64_t accounted(unsigned source)
{
    return ma_word_offset(pool.offset_bits, sources[source].direct, pool.generation, 0);
}

static void accounts_add_and_subtract_in_their_generation(void)
{
    start(true, MIB);
    ma_pool_account(&pool, 1 % MA_SHARDS, 1, 640);
    ma_pool_account(&pool, 1 % MA_SHARDS, 1, 8);
    ma_pool_account(&pool, MA_SHARDS, 1, 64);
    CHECK_EQ(accounted(1 % MA_SHARDS), 648);
    CHECK_EQ(accounted(MA_SHARDS), 64);
    ma_pool_account(&pool, 1 % MA_SHARDS, 1, (uint64_t)-640);
    CHECK_EQ(accounted(1 % MA_SHARDS), 8);
    ma_pool_account(&pool, 1 % MA_SHARDS, 1, (uint64_t)-16); /* below zero: only the sum of all counts */
    CHECK_EQ(ma_word_age(pool.offset_bits, sources[1 % MA_SHARDS].direct, 1), 0);
    CHECK_EQ(ma_word_wrap(pool.offset_bits, accounted(1 % MA_SHARDS) + accounted(MA_SHARDS)), 56);
    pool.generation = 2;
    CHECK_EQ(accounted(1 % MA_SHARDS), 0);
    ma_pool_account(&pool, 1 % MA_SHARDS, 2, 16);
    CHECK_EQ(accounted(1 % MA_SHARDS), 16);
    ma_pool_account(&pool, 1 % MA_SHARDS, 2, (uint64_t)-24);
    /* Whatever bits the tag has, the borrow is not in it. */
    CHECK_EQ(ma_word_age(pool.offset_bits, sources[1 % MA_SHARDS].direct, 2), 0);
}

static void offsets_of_the_largest_pool_do_not_reach_the_tag(void)
{
    if (sizeof(uintptr_t) < 8) return;
    for (uint64_t generation = 1; generation < 5; generation++) {
        start(true, MA_CAPACITY_MAX);
        pool.generation = generation;
        CHECK_EQ(claim_run(MA_CAPACITY_MAX, 8), MA_CLAIMED);
        check_span(0, 0, MA_CAPACITY_MAX, 0);
        for (unsigned source = 0; source < ALL_SOURCES; source++) {
            CHECK_EQ(ma_word_age(pool.offset_bits, sources[source].word, generation), 0);
            CHECK_EQ(tip_of(source), ma_source_end(&pool, source));
        }
        CHECK_EQ(drain(), 0);
        ma_pool_account(&pool, 0, generation, MA_CAPACITY_MAX);
        CHECK_EQ(accounted(0), MA_CAPACITY_MAX);
        CHECK_EQ(ma_word_age(pool.offset_bits, sources[0].direct, generation), 0);
    }
}

int main(void)
{
#ifdef WITH_YIELD
    __atomic_store_n(&test_yield_chance, 0,
                     __ATOMIC_RELAXED); /* one thread: only the number of shards and the narrow tag are wanted here */
#endif
    RUN(a_word_keeps_tag_and_offset_apart);
    RUN(the_age_of_a_word_is_signed_and_wraps);
    RUN(shards_and_frontier_tile_the_pool);
    RUN(a_small_pool_is_one_frontier);
    RUN(every_source_has_a_pair_of_cache_lines);
    RUN(neighbouring_lanes_have_homes_of_their_own);
    RUN(an_alignment_that_wraps_around_is_no_room);
    RUN(claims_from_one_source_follow_each_other);
    RUN(a_claim_gets_what_it_wants_or_what_there_is);
    RUN(a_claim_aligns_the_address_not_the_offset);
    RUN(spent_sources_are_probed_in_order_and_the_frontier_last);
    RUN(a_pool_is_refused_only_when_no_source_has_room);
    RUN(large_claims_start_in_the_frontier);
    RUN(a_run_takes_as_many_sources_as_it_needs);
    RUN(a_run_may_start_behind_other_blocks);
    RUN(a_run_needs_untouched_neighbours);
    RUN(a_run_may_take_the_whole_pool_and_no_more);
    RUN(a_run_is_aligned_like_any_claim);
    RUN(a_stale_word_counts_as_its_start);
    RUN(a_claimant_of_an_ended_generation_gets_nothing);
    RUN(nothing_is_claimed_from_a_newer_word);
    RUN(every_word_is_refreshed_in_turn);
    RUN(nothing_ends_at_the_very_beginning);
    RUN(refreshing_moves_no_word_back);
    RUN(only_the_tip_moves);
    RUN(a_span_over_several_sources_goes_back);
    RUN(the_tip_of_the_frontier_moves_up_to_the_capacity);
    RUN(accounts_add_and_subtract_in_their_generation);
    RUN(offsets_of_the_largest_pool_do_not_reach_the_tag);
    return test_done();
}
