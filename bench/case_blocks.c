/* What a block costs, for one thread or for many on one arena, in every variant side by side.
 *
 * All variants take their turn in every round, so that whatever happens to the machine during the run happens to all of
 * them. A turn is played twice and the second one counts: the first brings the variant's memory back into the caches
 * from which the variants before have thrown it. In a turn all threads start together, each takes and writes its batch,
 * each gives its blocks back, and one resets what they share. */
#define _GNU_SOURCE
#include "cases.h"
#include "report.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define WARM_ROUNDS 3u
#define MAX_PEERS 16u
#define LOOP_BATCH_BYTES ((size_t)1 << 20) /* between two resets, where one loop runs alone */

/* What one member measured in the present turn; a line of its own, or the writing would be measured too. */
typedef struct lap {
    _Alignas(MEASURE_APART) double allocate_ns;
    double release_ns;
} lap;

typedef struct entry { /* a variant that takes part */
    const struct peer *peer;
    place *places;    /* one per member */
    double *allocate; /* by round: ns for one block, the mean over the members */
    double *together; /* the same with giving back */
    double *release;
} entry;

typedef struct race {
    block_kind kind;
    size_t blocks; /* that one member takes in a turn */
    size_t rounds;
    unsigned threads;
    double clock_ns; /* what a look at the clock takes; matters where a whole batch is given back in less */
    entry entries[MAX_PEERS];
    size_t entry_count;
    lap *laps;
} race;

/* ---- One turn ---------------------------------------------------------------------------------------------------- */

static double since(uint64_t begin, const race *all)
{
    return fmax(0, (double)(measure_now_ns() - begin) - all->clock_ns);
}

/* Returns with the reset still to be seen by the other members: the meeting that opens the next turn does that. */
static void take_turn(race *all, struct crew *crew, unsigned member, entry *mine, size_t round, bool counts)
{
    const struct peer *peer = mine->peer;
    place *at = &mine->places[member];
    peer_loop *loop = peer->loops[all->kind];

    crew_meet(crew);
    uint64_t begin = measure_now_ns();
    bool complete = loop(at, all->blocks);
    double allocate_ns = since(begin, all);
    if (!complete) measure_die("%s ran out of memory", peer->name);

    crew_meet(crew);
    uint64_t release_begin = measure_now_ns();
    if (peer->release) peer->release(at);
    all->laps[member] = (lap){.allocate_ns = allocate_ns, .release_ns = since(release_begin, all)};

    crew_meet(crew);
    if (member != 0) return;
    uint64_t reset_begin = measure_now_ns();
    if (peer->reset) peer->reset(at);
    lap sum = {.release_ns = since(reset_begin, all) * all->threads}; /* every member waits for the reset */
    if (!counts) return;
    for (unsigned i = 0; i < all->threads; i++) {
        sum.allocate_ns += all->laps[i].allocate_ns;
        sum.release_ns += all->laps[i].release_ns;
    }
    double batch = (double)all->threads * (double)all->blocks;
    mine->allocate[round] = sum.allocate_ns / batch;
    mine->release[round] = sum.release_ns / batch;
    mine->together[round] = (sum.allocate_ns + sum.release_ns) / batch;
}

static void run_race(struct crew *crew, unsigned member)
{
    race *all = crew->context;
    for (size_t round = 0; round < WARM_ROUNDS + all->rounds; round++) {
        bool counts = round >= WARM_ROUNDS;
        for (size_t i = 0; i < all->entry_count; i++) {
            take_turn(all, crew, member, &all->entries[i], 0, false);
            take_turn(all, crew, member, &all->entries[i], round - WARM_ROUNDS, counts);
        }
    }
}

/* ---- Before and after -------------------------------------------------------------------------------------------- */

static place *new_places(unsigned threads)
{
    place *places = aligned_alloc(MEASURE_APART, threads * sizeof *places);
    if (!places) measure_die("no memory for %u places", threads);
    memset(places, 0, threads * sizeof *places);
    return places;
}

static void enter(race *all, const struct peer *peer)
{
    entry *next = &all->entries[all->entry_count];
    *next = (entry){.peer = peer, .places = new_places(all->threads)};
    const char *why_not = peer->open(peer, next->places, all->threads, all->kind, all->blocks);
    if (why_not) {
        static bool said[MAX_PEERS]; /* once a run will do */
        bool *said_this = &said[peer - peers];
        if (!*said_this) report_note("%s is skipped: %s", peer->name, why_not);
        *said_this = true;
        free(next->places);
        return;
    }
    next->allocate = measure_samples(all->rounds);
    next->together = measure_samples(all->rounds);
    next->release = measure_samples(all->rounds);
    all->entry_count++;
}

static void report_entry(const race *all, const entry *mine)
{
    const double *limit = all->entries[PEER_LIMIT].allocate;
    bool is_limit = mine->peer == &peers[PEER_LIMIT];
    report_timing((timing){
        .variant = mine->peer->name,
        .threads = all->threads,
        .ns = measure_spread(mine->allocate, all->rounds),
        .ratio = measure_ratio(mine->allocate, limit, all->rounds),
        .release_ns = is_limit ? -1 : measure_spread(mine->release, all->rounds).median,
        .release_ratio = measure_ratio(mine->together, limit, all->rounds),
    });
}

static void leave(race *all, entry *mine)
{
    mine->peer->close(mine->places, all->threads);
    free(mine->places);
    free(mine->allocate);
    free(mine->together);
    free(mine->release);
}

void case_blocks(const struct plan *plan, const char *name, const char *title, block_kind kind, unsigned threads)
{
    race all = {
        .kind = kind,
        .blocks = peer_batch_blocks(kind, plan->batch_bytes),
        .rounds = plan->rounds,
        .threads = threads,
        .clock_ns = measure_clock_ns(),
        .laps = aligned_alloc(MEASURE_APART, threads * sizeof(lap)),
    };
    if (!all.laps) measure_die("no memory for %u laps", threads);
    if (peer_count > MAX_PEERS) measure_die("more than %u peers", MAX_PEERS);
    report_case(name, title, "block");
    for (size_t i = 0; i < peer_count; i++) enter(&all, &peers[i]);
    crew_run(threads, run_race, &all);
    for (size_t i = 0; i < all.entry_count; i++) report_entry(&all, &all.entries[i]);
    for (size_t i = 0; i < all.entry_count; i++) leave(&all, &all.entries[i]);
    free(all.laps);
}

/* ---- One loop alone ---------------------------------------------------------------------------------------------- */

bool case_blocks_loop(const char *variant, size_t blocks)
{
    static const struct {
        const char *name;
        size_t peer;
        block_kind kind;
    } loops[] = {
        {"limit_8", PEER_LIMIT, BLOCKS_8},
        {"limit_16", PEER_LIMIT, BLOCKS_16},
        {"limit_64", PEER_LIMIT, BLOCKS_64},
        {"limit_mixed", PEER_LIMIT, BLOCKS_MIXED},
        {"memarena_new_value", PEER_MEMARENA, BLOCKS_8},
        {"memarena_alloc_16", PEER_MEMARENA, BLOCKS_16},
        {"memarena_alloc_64", PEER_MEMARENA, BLOCKS_64},
        {"memarena_alloc_mixed", PEER_MEMARENA, BLOCKS_MIXED},
    };
    for (size_t i = 0; i < sizeof loops / sizeof loops[0]; i++) {
        if (strcmp(variant, loops[i].name) != 0) continue;
        const struct peer *peer = &peers[loops[i].peer];
        size_t batch = peer_batch_blocks(loops[i].kind, LOOP_BATCH_BYTES);
        place *at = new_places(1);
        peer->open(peer, at, 1, loops[i].kind, batch);
        for (size_t left = blocks; left > 0;) {
            size_t now = left < batch ? left : batch;
            if (!peer->loops[loops[i].kind](at, now)) measure_die("%s ran out of memory", variant);
            if (peer->reset) peer->reset(at);
            left -= now;
        }
        peer->close(at, 1);
        free(at);
        return true;
    }
    return false;
}
