/* Sampling: each byte that is handed out is chosen with probability 1/N, and the block that takes a chosen byte is reported
 * with a weight, so that a profiler learns who takes how much while the inline code stays as it is.
 *
 * How far it is from one chosen byte to the next is drawn at once, from a geometric distribution. In a range that is
 * bumped (a TLAB, the extent of a scope) the next one lies at an address, `sample_at`, and `end_` is no further than
 * that: the inline code finds no room for the block which takes that byte and leaves it to the slow road, where the
 * next distance is drawn from the end of the block on.
 *
 *     | blocks ... | the block that is reported      | blocks ...          |
 *                        ^ sample_at, end_            ^ from here on        limit
 *                          `rest` bytes behind it
 *
 * Its weight is N for the chosen byte and 1 for each of the `rest`, what each would add on average: so the expected
 * weight of any block is its size, however sizes and N compare. What is distributed like this has no memory, so the
 * distance may be drawn anew whenever that does not depend on where the next sample lies: with a new TLAB, a new
 * generation, when a scope begins, is rewound, or N changes. Blocks that lie in no such range draw for themselves.
 *
 * memarena_sample (feature/sampling.c) empties the lanes as a reset does, and the owner sees it in `publish` as it sees a reset:
 *
 *     owner: publish                           memarena_sample
 *       end_ = ARMED            [empty-2]        round = the next one  [sample-1]
 *       round, then N           [sample-1]       end_ = 0              [empty-2]
 *       end_: ARMED -> sample_at
 *
 * Given up: bytes that a callback allocates are not counted; a sample that meets a reset is drawn anew. */
#include "sample.h"

#include "../platform/unwind.h"

/* N of at least 16, or 1: then every block is reported, with what it takes. Up to here 64 bits hold the product below. */
#define LEAST_BYTES 16u
#define MOST_BYTES ((uint64_t)1 << 40)

/* The word `round`: {1 while what is asked for is being changed, a number that grows} */
#define CHANGING ((uint64_t)1 << 32)

/* What memarena_sample was last called with. False: nothing, or that changes just now, and then the lanes are emptied after it. */
static bool is_on(const ma_arena *arena, ma_sampling *now)
{
    now->round = ma_load_seq_cst(&arena->sampling.round); /* [sample-1] */
    now->bytes = ma_load_acquire(&arena->sampling.bytes); /* [sample-2] */
    now->fn = ma_load_acquire(&arena->sampling.fn);
    now->context = ma_load_acquire(&arena->sampling.context);
    return now->bytes != 0 && now->round < CHANGING && ma_load_acquire(&arena->sampling.round) == now->round;
}

/* ---- Chance ------------------------------------------------------------------------------------------------------ */

/* Threads that follow each other at one address must not repeat each other, so their seeds are counted. */
static uint64_t new_seed(void)
{
    static _Alignas(8) uint64_t seeds;
    uint64_t seed = ma_add_acq_rel(&seeds, UINT64_C(0x9E3779B97F4A7C15)) + (uintptr_t)&ma_lane_thread_;
    seed = (seed ^ seed >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    seed = (seed ^ seed >> 27) * UINT64_C(0x94D049BB133111EB);
    return (seed ^ seed >> 31) | 1;
}

static uint64_t next_random(void)
{
    uint64_t state = ma_lane_thread_.random ? ma_lane_thread_.random : new_seed();
    state ^= state >> 12;
    state ^= state << 25;
    state ^= state >> 27;
    ma_lane_thread_.random = state;
    return state * UINT64_C(0x2545F4914F6CDD1D);
}

#define FRACTION_BITS 16
#define LN_2 UINT64_C(45426) /* in units of 2^-16 */

/* -ln of a random number between 0 and 1, in units of 2^-16. Of its logarithm to base 2 the leading zeros are the whole
 * part, and each squaring of the rest tells the next bit. */
static uint64_t exponential(void)
{
    uint64_t random = next_random() | 1, log = 0;
    unsigned zeros = (unsigned)__builtin_clzll(random);
    uint64_t rest = random << zeros >> 32; /* from 1 to 2, in units of 2^-31 */
    for (int bit = 0; bit < FRACTION_BITS; bit++) {
        rest = rest * rest >> 31;
        log = log << 1 | rest >> 32;
        rest >>= rest >> 32;
    }
    return ((((uint64_t)zeros + 1) << FRACTION_BITS) - log) * LN_2 >> FRACTION_BITS;
}

/* How many bytes lie before the next one that is chosen: bytes - 1 on average. */
static uint64_t distance(uint64_t bytes)
{
    return bytes < LEAST_BYTES ? 0 : (2 * bytes - 1) * exponential() >> (FRACTION_BITS + 1);
}

/* ---- Which blocks -------------------------------------------------------------------------------------------------- */

static uintptr_t sample_behind(uintptr_t cursor, uint64_t bytes)
{
    uint64_t before = distance(bytes);
    return before < UINTPTR_MAX - cursor ? cursor + (uintptr_t)before : UINTPTR_MAX;
}

uint64_t ma_sample_pass(const ma_arena *arena, uintptr_t *at, uint16_t *round, uintptr_t cursor, uintptr_t next)
{
    ma_sampling now;
    bool on = is_on(arena, &now);
    if (*at == 0 || *round != (uint16_t)now.round) {
        *at = on ? sample_behind(cursor, now.bytes) : UINTPTR_MAX;
        *round = (uint16_t)now.round;
    }
    if (!on || next <= *at) return 0;
    uint64_t rest = next - *at - 1;
    *at = sample_behind(next, now.bytes);
    return now.bytes + rest;
}

uint64_t ma_sample_apart(const ma_arena *arena, uint64_t bytes)
{
    ma_sampling now;
    if (!is_on(arena, &now)) return 0;
    uint64_t before = distance(now.bytes);
    return before < bytes ? now.bytes + (bytes - before - 1) : 0;
}

static void stop_reporting(void *unused)
{
    (void)unused;
    ma_lane_thread_.is_reporting = false;
}

void ma_sample_report(const ma_arena *arena, memarena *handle, const ma_block *block, size_t size)
{
    ma_sampling now;
    if (ma_lane_thread_.is_reporting || !is_on(arena, &now)) return;
    ma_lane_thread_.is_reporting = true;
    size_t weight = block->weight < SIZE_MAX ? (size_t)block->weight : SIZE_MAX;
    MA_GUARD_BEGIN(stop_reporting, NULL);
    now.fn(now.context, handle, (void *)block->address, size, weight);
    MA_GUARD_END();
    stop_reporting(NULL);
}

/* ---- What is asked for ---------------------------------------------------------------------------------------------- */

/* Nothing is on between the two stores of `round`. */
void ma_sample_change(ma_arena *arena, uint64_t bytes, ma_sample_fn *fn, void *context)
{
    ma_sampling *sampling = &arena->sampling;
    uint32_t next = (uint32_t)ma_load_relaxed(&sampling->round) + 1;
    uint64_t mean = bytes < MOST_BYTES ? bytes : MOST_BYTES;
    (void)ma_exchange_seq_cst(&sampling->round, CHANGING | next);
    ma_store_release(&sampling->bytes, mean != 0 && mean < LEAST_BYTES ? 1 : mean); /* [sample-2] */
    ma_store_release(&sampling->fn, fn);
    ma_store_release(&sampling->context, context);
    (void)ma_exchange_seq_cst(&sampling->round, (next + 1) | (next == UINT32_MAX)); /* never 0 [sample-1] */
    ma_store_release(&sampling->changer, 0);                                        /* [sample-3] */
}

void ma_sample_repair(ma_arena *arena, uintptr_t survivor)
{
    if (ma_fork_has_lost(&arena->sampling.changer, survivor)) ma_sample_change(arena, 0, NULL, NULL);
}
