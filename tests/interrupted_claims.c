/* Every call of the pool, interrupted at each of its shared accesses by every other one.
 *
 * One thread plays two: the hook of the yield builds counts the accesses of the victim, and at the n-th runs the
 * intruder to its end. n goes from 1 until the victim has no n-th access. Whatever happens, no byte may be had twice in
 * one generation and none may be lost. */
#include "shard/pool.h"
#include "test.h"

#include <string.h>

#define MIB ((uint64_t)1 << 20)
#define BASE ((uintptr_t)1 << 30)
#define ALL_SOURCES (MA_SHARDS + 1)
#define TAGS ((uint64_t)1 << MA_TAG_BITS)
#define COUNT_OF(array) (sizeof(array) / sizeof *(array))

static ma_source sources[ALL_SOURCES];
static ma_pool pool;

/* What somebody holds, and of which generation it is. */
typedef struct holding {
    uint64_t begin, end, generation;
} holding;

static uint64_t taken_before; /* in the first generation, by the state from which we start */
static holding victims, intruders;
static bool victim_refused;

/* ---- The hook -----------------------------------------------------------------------------------------------------
 */

typedef void action(unsigned variant);

static unsigned long countdown; /* accesses of the victim until the intruder comes; 0: he does not */
static action *intruder;
static unsigned intruder_variant;

void test_yield(void);
void test_yield(void)
{
    if (countdown == 0 || --countdown > 0) return;
    intruder(intruder_variant);
}

/* ---- Who claims what ------------------------------------------------------------------------------------------------
 */

static ma_request request_of(uint64_t size, uint64_t want)
{
    return (ma_request){.generation = pool.generation, .size = size, .alignment = 8, .want = want};
}

static bool hold(holding *whose, ma_claim outcome, const ma_request *request, const ma_span *span)
{
    if (outcome == MA_CLAIMED) *whose = (holding){span->begin, span->end, request->generation};
    return outcome != MA_NO_ROOM;
}

static bool claim(holding *whose, unsigned source, uint64_t size, uint64_t want)
{
    ma_request request = request_of(size, want);
    ma_span span;
    uint64_t probes = 0;
    return hold(whose, ma_pool_claim(&pool, source, &request, &span, &probes), &request, &span);
}

static bool claim_large(holding *whose, unsigned source, uint64_t size)
{
    ma_request request = request_of(size, 0);
    ma_span span;
    uint64_t probes = 0;
    return hold(whose, ma_pool_claim_large(&pool, source, &request, &span, &probes), &request, &span);
}

static bool claim_run(holding *whose, uint64_t size)
{
    ma_request request = request_of(size, 0);
    ma_span span;
    return hold(whose, ma_pool_claim_run(&pool, &request, &span), &request, &span);
}

static uint64_t run_size(unsigned variant)
{
    static const unsigned eighths[] = {1, 2, 4, 5, 7, 8};
    return variant == 0 ? 2 * pool.shard_bytes - 8 : MIB / 8 * eighths[variant % COUNT_OF(eighths)];
}

static void reset_once(void)
{
    pool.generation++;
    ma_pool_refresh(&pool, pool.generation);
}

/* Victims */
static void a_claim(unsigned variant)
{
    victim_refused = !claim(&victims, variant * 5 % ALL_SOURCES, 8, variant * 504);
}

static void a_large_claim(unsigned variant)
{
    victim_refused = !claim_large(&victims, variant % MA_SHARDS, 1000 + pool.shard_bytes * variant);
}

static void a_run(unsigned variant)
{
    unsigned long later;
    victim_refused = !claim_run(&victims, run_size(variant));
    later = countdown, countdown = 0;
    if (victim_refused && pool.generation == 1) CHECK(!claim_run(&victims, run_size(variant))); /* nobody has freed */
    countdown = later;
}

/* The tip that is moved is that of a claim of the victim's own. */
static void a_move(unsigned variant)
{
    unsigned long later = countdown;
    countdown = 0;
    victim_refused = !claim(&victims, variant % ALL_SOURCES, 256, 0);
    countdown = later;
    if (victim_refused) return;
    uint64_t to = victims.begin + (variant % 2 ? 64 : 512);
    if (ma_pool_move_tip(&pool, victims.generation, victims.end, to)) victims.end = to;
}

/* Intruders */
static void claims_a_little(unsigned variant)
{
    (void)claim(&intruders, variant, 64, 0);
}

static void claims_a_run(unsigned variant)
{
    (void)claim_run(&intruders, run_size(variant));
}

static void resets(unsigned variant)
{
    for (unsigned n = 0; n <= variant % 3; n++) reset_once();
}

static void resets_and_claims(unsigned variant)
{
    reset_once();
    (void)claim(&intruders, variant, 64, 0);
}

/* The victim sleeps until its tag comes round again, or half round. Where the word it had read has come round, too, its
 * claim succeeds and costs the generation in which it wakes as many bytes; a block that nobody has any more. */
static void resets_all_through_the_tags(unsigned variant)
{
    for (uint64_t n = 0; n < TAGS / (variant % 2 ? 1 : 2); n++) reset_once();
    (void)claim(&intruders, variant, 64, 0);
}

/* ---- The states to start from
 * ---------------------------------------------------------------------------------------- */

enum { STATES = 5 };

static void start(unsigned state)
{
    memset(sources, 0, sizeof sources);
    ma_pool_init(&pool, sources, true, BASE, MIB);
    victims = intruders = (holding){0};
    victim_refused = false;
    taken_before = 0;
    for (unsigned source = 0; source < ALL_SOURCES; source++) {
        bool touched = state == 1 && source % 3 == 1,
             spent = (state == 2 && source == MA_SHARDS) || (state == 3 && source % 4 != 2) || state == 4;
        uint64_t bytes = ma_source_end(&pool, source) - ma_source_begin(&pool, source);
        if (spent || touched) {
            uint64_t taken = touched ? 8 : bytes;
            sources[source].word = ma_word_make(pool.offset_bits, 1, ma_source_begin(&pool, source) + taken);
            taken_before += taken;
        }
    }
}

/* No byte twice, none lost but for the reason above. */
static void check_balance(void)
{
    bool moved_on = pool.generation != 1;
    uint64_t sum = moved_on ? 0 : taken_before;
    holding rest = {0};
    if (victims.generation == pool.generation) sum += victims.end - victims.begin;
    if (intruders.generation == pool.generation) sum += intruders.end - intruders.begin;
    if (victims.generation == intruders.generation && victims.end > victims.begin && intruders.end > intruders.begin)
        CHECK(victims.end <= intruders.begin || intruders.end <= victims.begin);
    for (unsigned source = 0; claim(&rest, source % ALL_SOURCES, 8, UINT64_MAX / 2); source++)
        sum += rest.end - rest.begin;
    if (intruder == resets_all_through_the_tags && sum < MIB) sum += victims.end - victims.begin;
    CHECK_EQ(sum, MIB);
}

static void interrupt(action *victim, unsigned victim_variants, action *by, unsigned by_variants)
{
    intruder = by;
    for (unsigned state = 0; state < STATES; state++) {
        for (unsigned variant = 0; variant < victim_variants; variant++) {
            for (intruder_variant = 0; intruder_variant<by_variants; intruder_variant += by_variants> 8 ? 8 : 1) {
                bool came = true;
                for (unsigned long access = 1; came; access++) {
                    start(state);
                    countdown = access;
                    victim(variant);
                    came = countdown == 0;
                    countdown = 0;
                    if (state == 4 && pool.generation == 1) CHECK(victim_refused);
                    check_balance();
                }
            }
        }
    }
}

static void interrupt_by_all(action *victim, unsigned variants)
{
    interrupt(victim, variants, claims_a_little, ALL_SOURCES);
    interrupt(victim, variants, claims_a_run, 6);
    interrupt(victim, variants, resets, 3);
    interrupt(victim, variants, resets_and_claims, ALL_SOURCES);
    interrupt(victim, variants, resets_all_through_the_tags, 2);
}

static void a_claim_may_be_interrupted(void)
{
    interrupt_by_all(a_claim, 3);
}

static void a_large_claim_may_be_interrupted(void)
{
    interrupt_by_all(a_large_claim, 3);
}

static void a_run_may_be_interrupted(void)
{
    interrupt_by_all(a_run, 6);
}

static void a_move_may_be_interrupted(void)
{
    interrupt_by_all(a_move, 4);
}

/* ---- Refreshing, and the accounts
 * ------------------------------------------------------------------------------------- */

static void a_refresh_may_be_interrupted(void)
{
    for (unsigned source = 0; source < ALL_SOURCES; source++) {
        for (uint64_t generation = 2; generation < 2 + ALL_SOURCES; generation++) {
            bool came = true;
            for (unsigned long access = 1; came; access++) {
                start(3);
                pool.generation = generation;
                intruder = claims_a_little, intruder_variant = source;
                countdown = access;
                ma_pool_refresh(&pool, generation);
                came = countdown == 0;
                countdown = 0;
                check_balance();
            }
        }
    }
}

static uint64_t accounted(void)
{
    uint64_t sum = 0;
    for (unsigned source = 0; source < ALL_SOURCES; source++)
        sum += ma_word_offset(pool.offset_bits, sources[source].direct, pool.generation, 0);
    return ma_word_wrap(pool.offset_bits, sum);
}

/* A claim of the generation before, which has compared it before the reset, lands now. */
static void a_late_claim_lands(unsigned source)
{
    uint64_t *word = &sources[source].word, before = pool.generation - 1;
    if (ma_word_age(pool.offset_bits, *word, before) >= 0)
        *word = ma_word_make(pool.offset_bits, before, ma_source_begin(&pool, source) + 64);
}

static void a_refresh_is_not_lost_to_a_late_claim(void)
{
    for (unsigned source = 0; source < ALL_SOURCES; source++) {
        for (unsigned long n = 1; n < 8; n++) {
            start(0);
            pool.generation = source < 2 ? ALL_SOURCES + source : source; /* whose turn it is */
            countdown = n, intruder = a_late_claim_lands, intruder_variant = source;
            ma_pool_refresh(&pool, pool.generation);
            countdown = 0;
            CHECK_EQ(ma_word_age(pool.offset_bits, sources[source].word, pool.generation), 0);
        }
    }
}

static void adds_to_the_account(unsigned variant)
{
    ma_pool_account(&pool, variant, pool.generation, 800);
}

static void resets_and_adds_to_the_account(unsigned variant)
{
    reset_once();
    ma_pool_account(&pool, variant, pool.generation, 800);
}

static void an_account_may_be_interrupted(void)
{
    action *intruders_by_kind[] = {adds_to_the_account, resets_and_adds_to_the_account};
    for (unsigned kind = 0; kind < 2; kind++) {
        for (unsigned source = 0; source < ALL_SOURCES; source++) {
            bool came = true;
            for (unsigned long access = 1; came; access++) {
                start(0);
                ma_pool_account(&pool, source, 1, 160);
                intruder = intruders_by_kind[kind], intruder_variant = source;
                countdown = access;
                ma_pool_account(&pool, source, 1, (uint64_t)-80);
                came = countdown == 0;
                countdown = 0;
                CHECK_EQ(accounted(), !came ? 80 : kind == 0 ? 880 : 800);
            }
        }
    }
}

int main(void)
{
    RUN(a_claim_may_be_interrupted);
    RUN(a_large_claim_may_be_interrupted);
    RUN(a_run_may_be_interrupted);
    RUN(a_move_may_be_interrupted);
    RUN(a_refresh_may_be_interrupted);
    RUN(a_refresh_is_not_lost_to_a_late_claim);
    RUN(an_account_may_be_interrupted);
    return test_done();
}
