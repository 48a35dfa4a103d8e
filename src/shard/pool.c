/* Claiming spans from the shared words of a pool. See pool.h for the picture and word.h for the order of a claim.
 *
 * Everything here is lock-free: a compare-and-swap fails only because another one succeeded. */
#include "pool.h"

/* No word may grow half the tag space old between two refreshes, one of which a sleeping thread may have missed. */
_Static_assert((1u << (MA_TAG_BITS_LEAST - 1)) > 2 * (MA_SHARDS + 1), "tag too narrow for the number of shards");
_Static_assert(MA_CAPACITY_MAX >> MA_GRAIN_BITS >> MA_OFFSET_BITS_MOST == 0, "offset too narrow for the capacity");

void ma_pool_init(ma_pool *pool, ma_source *sources, bool sharded, uintptr_t base, uint64_t capacity)
{
    pool->sources = sources;
    pool->base = base;
    pool->capacity = capacity & ~(MA_GRAIN - 1);
    pool->offset_bits = ma_word_offset_bits(capacity);
    pool->shard_count = sharded && capacity >= MA_SHARDED_MIN ? MA_SHARDS : 0;
    /* Whole pages: two homes never share one, so a NUMA system can place each near its thread. */
    pool->shard_bytes = pool->shard_count ? (capacity / 2 / MA_SHARDS) & ~(uint64_t)4095 : 0;
    pool->generation = 1;
    pool->told = ma_race_tool_is_there();
    pool->runs = 0;
}

unsigned ma_pool_home(const ma_pool *pool, uint64_t number)
{
    /* Fibonacci hashing: 2^64 over the golden ratio spreads consecutive numbers evenly: the 64 lanes meet 55 of 64
     * shards, none more than twice. The top 32 bits, scaled, give a shard for any count, a power of two or not. */
    uint64_t hash = number * 0x9E3779B185EBCA87u;
    return (unsigned)((hash >> 32) * pool->shard_count >> 32);
}

/* The source has been claimed up to this offset, and whoever claimed it will now write there. Returns up to where it ever had
 * been before.
 *
 * So memory behind the answer is as it was at first: a claimant in whose hands it was came through here before he had it, and
 * what he noted was read here. Of two that note the same bytes, in two generations, the later one is told that they are not
 * fresh, whichever that is. [fresh-1] */
static uint64_t note_claimed(const ma_pool *pool, unsigned source, uint64_t offset)
{
    uint64_t begin = ma_source_begin(pool, source), *peak = &pool->sources[source].peak, most = ma_load_acquire(peak);
    while (offset > begin + most && !ma_swap_acq_rel(peak, &most, offset - begin)) continue;
    ma_receive(pool->told, pool);                   /* from a reset, */
    ma_receive(pool->told, &pool->sources[source]); /* and from threads that have given something back */
    return begin + most;
}

/* Adds to a word {tag, sum} of the generation, unless that is over (wraps: a negative amount subtracts). */
static void add_to_sum(const ma_pool *pool, uint64_t *field, uint64_t generation, uint64_t bytes)
{
    uint64_t word = ma_load_acquire(field);
    for (;;) {
        if (ma_load_acquire(&pool->generation) != generation) return; /* an account of the dead */
        uint64_t sum = ma_word_offset(pool->offset_bits, word, generation, 0) + bytes;
        /* A sum may be below zero (one source's account: a block shrunk in another source than it was claimed from; that of all: a
         * give-back counted before the claim). Wrapping keeps the borrow out of the tag. */
        if (ma_swap_acq_rel(field, &word,
                            ma_word_make(pool->offset_bits, generation, ma_word_wrap(pool->offset_bits, sum))))
            return;
    }
}

static uint64_t *claimed_word(const ma_pool *pool)
{
    return &pool->sources[pool->shard_count - 1].claimed;
}

/* After the words have moved, and before the caller has what he claimed. [claimed-1] */
static void count_claimed(const ma_pool *pool, uint64_t generation, uint64_t bytes)
{
    if (pool->shard_count) add_to_sum(pool, claimed_word(pool), generation, bytes);
}

/* Claims from one source. */
static ma_claim claim_from(ma_pool *pool, unsigned source, const ma_request *request, ma_span *span)
{
    uint64_t *field = &pool->sources[source].word;
    uint64_t limit = ma_source_end(pool, source);
    uint64_t word = ma_load_acquire(field);
    for (;;) {
        if (ma_load_acquire(&pool->generation) != request->generation) return MA_MOVED;
        uint64_t begin = ma_source_tip(pool, source, word, request->generation);
        uint64_t block = ma_pool_align(pool, request->generation, begin, request->alignment);
        if (block < begin || block > limit || request->size > limit - block) return MA_NO_ROOM;
        uint64_t end = block + request->size;
        uint64_t extra = request->want < limit - end ? request->want : limit - end;
        uint64_t claimed = ma_word_make(pool->offset_bits, request->generation, end + extra);
        if (ma_swap_acq_rel(field, &word, claimed)) { /* [claim-1] */
            bool fresh = note_claimed(pool, source, end + extra) <= block;
            count_claimed(pool, request->generation, end + extra - begin);
            *span = (ma_span){.begin = begin, .end = end + extra, .block = block, .source = source, .fresh = fresh};
            return MA_CLAIMED;
        }
    }
}

ma_claim ma_pool_claim(ma_pool *pool, unsigned first, const ma_request *request, ma_span *span, uint64_t *probes)
{
    /* `first` may be the frontier itself (a lane that has come that far): then the shards come after it. */
    unsigned sources = pool->shard_count + 1;
    for (unsigned n = 0; n < sources; n++) {
        ma_claim outcome = claim_from(pool, (first + n) % sources, request, span);
        if (outcome != MA_NO_ROOM) return outcome;
        ++*probes;
    }
    return MA_NO_ROOM;
}

ma_claim ma_pool_claim_large(ma_pool *pool, unsigned first, const ma_request *request, ma_span *span, uint64_t *probes)
{
    ma_claim outcome = claim_from(pool, pool->shard_count, request, span);
    if (outcome == MA_NO_ROOM) ++*probes;
    if (outcome == MA_NO_ROOM && request->size <= pool->shard_bytes)
        outcome = ma_pool_claim(pool, first, request, span, probes);
    return outcome == MA_NO_ROOM ? ma_pool_claim_run(pool, request, span) : outcome;
}

/* Gives back what a run has claimed: sources `first` up to but not including `last`. Nobody moves the word of a spent
 * source, so a swap fails only when the generation has moved on, and then there is nothing to give back. */
static void roll_back(ma_pool *pool, uint64_t generation, uint64_t begin, unsigned first, unsigned last)
{
    for (unsigned source = last; source-- > first;) {
        uint64_t spent = ma_word_make(pool->offset_bits, generation, ma_source_end(pool, source));
        uint64_t start = source == first ? begin : ma_source_begin(pool, source);
        ma_hand_over(pool->told, &pool->sources[source]);
        (void)ma_swap_acq_rel(&pool->sources[source].word, &spent, ma_word_make(pool->offset_bits, generation, start));
    }
}

/* Claims [begin, end) from the sources `first` to `last`, in address order: of two runs that meet, the one that claimed
 * the contested source first goes on, so one of them always does. */
static bool claim_range(ma_pool *pool, uint64_t generation, const ma_span *span, unsigned last, uint64_t *words)
{
    for (unsigned source = span->source; source <= last; source++) {
        uint64_t limit = source == last ? span->end : ma_source_end(pool, source);
        if (!ma_swap_acq_rel(&pool->sources[source].word, &words[source],
                             ma_word_make(pool->offset_bits, generation, limit))) {
            if (source > span->source) roll_back(pool, generation, span->begin, span->source, source);
            return false;
        }
    }
    return true;
}

/* Of a run that was claimed. */
static bool note_run(const ma_pool *pool, const ma_span *span, unsigned last)
{
    bool fresh = true;
    for (unsigned source = span->source; source <= last; source++) {
        uint64_t begin = ma_source_begin(pool, source), end = ma_source_end(pool, source);
        uint64_t before = note_claimed(pool, source, source == last ? span->end : end);
        if (before > (begin > span->block ? begin : span->block)) fresh = false;
    }
    return fresh;
}

void ma_pool_end_run(ma_pool *pool)
{
    uint64_t runs = ma_load_acquire(&pool->runs), ended;
    do { /* (a child of fork may have forgotten ours with those of the threads that it lost) */
        ended = runs + MA_RUN_ENDED - (runs & MA_RUNS_MASK ? MA_RUN_BEGINS : 0);
    } while (!ma_swap_acq_rel(&pool->runs, &runs, ended)); /* [run-1] */
}

/* Whether a run for the request starts in `first`, as the words stand. */
static bool find_run(const ma_pool *pool, unsigned first, const ma_request *request, const uint64_t *words,
                     ma_span *span)
{
    uint64_t begin = ma_source_tip(pool, first, words[first], request->generation);
    uint64_t block = ma_pool_align(pool, request->generation, begin, request->alignment);
    if (begin == ma_source_end(pool, first)) return false;
    if (block < begin || block > pool->capacity || request->size > pool->capacity - block) return false;
    *span = (ma_span){.begin = begin, .end = block + request->size, .block = block, .source = first};
    for (unsigned next = first + 1; next <= pool->shard_count && ma_source_begin(pool, next) < span->end; next++) {
        if (ma_source_tip(pool, next, words[next], request->generation) != ma_source_begin(pool, next)) return false;
    }
    return true;
}

ma_claim ma_pool_claim_run(ma_pool *pool, const ma_request *request, ma_span *span)
{
    uint64_t words[MA_SHARDS + 1];
    for (;;) {
        bool found = false;
        for (unsigned source = 0; source <= pool->shard_count; source++)
            words[source] = ma_load_acquire(&pool->sources[source].word);
        if (ma_load_acquire(&pool->generation) != request->generation) return MA_MOVED;
        /* From the back: the front is where lane 0 lives, and single-threaded programs with it. */
        for (unsigned first = pool->shard_count + 1; first-- > 0 && !found;)
            found = find_run(pool, first, request, words, span);
        if (!found) return MA_NO_ROOM;
        unsigned last = ma_source_of(pool, span->end - 1);
        if (last != span->source) (void)ma_add_acq_rel(&pool->runs, MA_RUN_BEGINS); /* [run-1] */
        found = claim_range(pool, request->generation, span, last, words);
        if (found) span->fresh = note_run(pool, span, last);
        if (found) count_claimed(pool, request->generation, span->end - span->begin);
        if (last != span->source) ma_pool_end_run(pool);
        if (found) return MA_CLAIMED;
    }
}

static bool move_tip(ma_pool *pool, unsigned source, uint64_t generation, uint64_t from, uint64_t to)
{
    uint64_t expected = ma_word_make(pool->offset_bits, generation, from);
    if (to < from) ma_hand_over(pool->told, &pool->sources[source]);
    return ma_swap_acq_rel(&pool->sources[source].word, &expected,
                           ma_word_make(pool->offset_bits, generation, to)); /* [claim-1] */
}

bool ma_pool_move_tip(ma_pool *pool, uint64_t generation, uint64_t from, uint64_t to)
{
    if (from == 0) return false;
    unsigned source = ma_source_of(pool, from - 1);
    if (to > ma_source_end(pool, source)) return false;
    uint64_t begin = ma_source_begin(pool, source);
    if (!move_tip(pool, source, generation, from, to > begin ? to : begin)) return false;
    if (to < begin) roll_back(pool, generation, to, ma_source_of(pool, to), source); /* the others are spent */
    (void)note_claimed(pool, source, to > from ? to : from);                         /* (watch.c has not noted it) */
    count_claimed(pool, generation, to - from);
    return true;
}

bool ma_pool_borrow(ma_pool *pool, unsigned source, uint64_t generation, ma_span *span)
{
    uint64_t *field = &pool->sources[source].word, end = ma_source_end(pool, source);
    (void)ma_add_acq_rel(&pool->runs, MA_RUN_BEGINS); /* [run-1] */
    for (uint64_t word = ma_load_acquire(field);;) {
        uint64_t tip = ma_source_tip(pool, source, word, generation);
        if (tip >= end) break;
        if (!ma_swap_acq_rel(field, &word, ma_word_make(pool->offset_bits, generation, end))) continue; /* [claim-1] */
        *span = (ma_span){.begin = tip, .end = end, .block = tip, .source = source};
        return true;
    }
    ma_pool_end_run(pool);
    return false;
}

/* Nobody moves the word of a spent source: see roll_back. */
void ma_pool_return(ma_pool *pool, uint64_t generation, const ma_span *span)
{
    (void)move_tip(pool, span->source, generation, span->end, span->begin);
    ma_pool_end_run(pool);
}

void ma_pool_account(ma_pool *pool, unsigned source, uint64_t generation, uint64_t bytes)
{
    add_to_sum(pool, &pool->sources[source].direct, generation, bytes);
}

/* Moves a stale word to the generation of now, at its start. A reset that slept before it came here may be many
 * generations late, and must not move a word back: the generation is read after the word, as in a claim. */
static void refresh_word(const ma_pool *pool, uint64_t *field, uint64_t start)
{
    uint64_t word = ma_load_acquire(field), generation;
    do {
        generation = ma_load_acquire(&pool->generation);
        if (ma_word_age(pool->offset_bits, word, generation) <= 0) return;
    } while (!ma_swap_acq_rel(field, &word, ma_word_make(pool->offset_bits, generation, start)));
}

void ma_pool_refresh(ma_pool *pool, uint64_t generation)
{
    unsigned source = (unsigned)(generation % (pool->shard_count + 1));
    uint64_t word = ma_load_relaxed(&pool->sources[source].word);
    (void)note_claimed(pool, source,
                       ma_word_wrap(pool->offset_bits, word << MA_GRAIN_BITS)); /* watch.c notes nothing */
    refresh_word(pool, &pool->sources[source].word, ma_source_begin(pool, source));
    refresh_word(pool, &pool->sources[source].direct, 0);
    if (pool->shard_count && source == 0) refresh_word(pool, claimed_word(pool), 0);
}

/* ---- Look --------------------------------------------------------------------------------------------------------- */

static uint64_t claimed_in(const ma_pool *pool, unsigned source, uint64_t generation)
{
    uint64_t word = ma_load_acquire(&pool->sources[source].word), begin = ma_source_begin(pool, source);
    return ma_word_offset(pool->offset_bits, word, generation, begin) - begin;
}

uint64_t ma_pool_claimed(const ma_pool *pool, uint64_t generation)
{
    uint64_t sum = 0;
    for (unsigned source = 0; source <= pool->shard_count; source++) sum += claimed_in(pool, source, generation);
    return sum;
}

/* The word before the generation: then a word of this generation is one, not of a round of tags before or after it. */
uint64_t ma_pool_claimed_now(const ma_pool *pool)
{
    const ma_source *only = &pool->sources[0];
    uint64_t word = pool->shard_count ? ma_load_acquire(claimed_word(pool)) : ma_load_acquire(&only->word);
    uint64_t claimed = ma_word_offset(pool->offset_bits, word, ma_load_acquire(&pool->generation), 0);
    return claimed <= pool->capacity ? claimed : 0; /* (below zero: a give-back was counted before its claim) */
}

void ma_pool_repair(ma_pool *pool)
{
    uint64_t generation = ma_load_acquire(&pool->generation), word, sum;
    if (pool->shard_count == 0) return;
    word = ma_load_acquire(claimed_word(pool));
    do sum = ma_pool_claimed(pool, generation);
    while (!ma_swap_acq_rel(claimed_word(pool), &word, ma_word_make(pool->offset_bits, generation, sum)));
}

uint64_t ma_pool_reached(const ma_pool *pool, unsigned source, uint64_t generation)
{
    uint64_t word = ma_load_acquire(&pool->sources[source].word), begin = ma_source_begin(pool, source);
    uint64_t offset = ma_word_wrap(pool->offset_bits, word << MA_GRAIN_BITS);
    uint64_t most = ma_load_relaxed(&pool->sources[source].peak);
    return ma_word_age(pool->offset_bits, word, generation) >= 0 && offset > begin + most ? offset - begin : most;
}

uint64_t ma_pool_peak(const ma_pool *pool, uint64_t generation)
{
    uint64_t sum = 0;
    for (unsigned source = 0; source <= pool->shard_count; source++) sum += ma_pool_reached(pool, source, generation);
    return sum;
}

uint64_t ma_pool_largest_free(const ma_pool *pool, uint64_t generation)
{
    uint64_t run = 0, largest = 0; /* the end of one source, and those after it that are untouched */
    for (unsigned source = 0; source <= pool->shard_count; source++) {
        uint64_t claimed = claimed_in(pool, source, generation);
        uint64_t free = ma_source_end(pool, source) - ma_source_begin(pool, source) - claimed;
        run = claimed == 0 ? run + free : free;
        if (run > largest) largest = run;
    }
    return largest;
}
