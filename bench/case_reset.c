/* What a reset costs: it should not depend on the capacity, nor on what was allocated, and at most by a store on each
 * lane that holds a TLAB.
 *
 * A reset is about as short as a look at the clock. So each one is timed by itself, right after the fill that it ends,
 * and the clock's own time is taken off. (Timing many resets in a row would time resets of an arena that is empty
 * already.) The middle is the mean of the middle half instead of a median: see measure_middle. */
#define _GNU_SOURCE
#include "cases.h"
#include "memarena.h"
#include "report.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define WARM_ROUNDS 3u
#define FILL_BYTES (1024u * 1024u)

/* Resets before the one that is timed. An arena spreads some of its upkeep over the next 64 resets, each of which then
 * writes to another place; so many short generations in a row have them all in the cache, as in a program that resets
 * often. After 1 MiB of blocks they have left it anyway. */
enum { ONE_BLOCK, FULL_BATCH, FILLS };
static const char *const fill_names[FILLS] = {"after one block", "after 1 MiB"};
static const int resets_before[FILLS] = {64, 1};

/* Nanoseconds of one reset and the clock. The fence keeps the stores of the fill that still wait in the CPU out of it:
 * a reset has an atomic addition, which would wait for them all. */
static double time_reset(memarena *arena)
{
    atomic_thread_fence(memory_order_seq_cst);
    uint64_t begin = measure_now_ns();
    memarena_reset(arena);
    return (double)(measure_now_ns() - begin);
}

static spread less_clock(const double *samples, size_t rounds, double clock_ns)
{
    spread raw = measure_spread(samples, rounds);
    return (spread){
        .median = measure_middle(samples, rounds) - clock_ns,
        .p10 = raw.p10 - clock_ns,
        .p90 = raw.p90 - clock_ns,
    };
}

/* ---- By capacity ------------------------------------------------------------------------------------------------- */

static const struct {
    const char *name;
    uint64_t bytes;
} capacities[] = {
    {"1 MiB", 1ull << 20}, {"16 MiB", 1ull << 24}, {"256 MiB", 1ull << 28},
    {"4 GiB", 1ull << 32}, {"64 GiB", 1ull << 36},
};
#define CAPACITIES (sizeof capacities / sizeof capacities[0])

/* An arena of 1 MiB is full before it has given that much in blocks: the end of its memory ends the fill, too. */
static void fill(memarena *arena, int how_much)
{
    size_t blocks = how_much == ONE_BLOCK ? 1 : FILL_BYTES / sizeof(int64_t);
    for (size_t i = 0; i < blocks; i++)
        if (!memarena_new_value(arena, int64_t, (int64_t)i)) break;
}

typedef struct resets { /* what all arenas have in common, and the times of each */
    memarena *arenas[CAPACITIES];
    size_t rounds;
    double *ns[FILLS][CAPACITIES];
    double clock_ns;
} resets;

/* Each round begins with another capacity, or the first one would always be the one that finds the caches cold. */
static void run_round(resets *all, size_t round, size_t at)
{
    for (int how_much = 0; how_much < FILLS; how_much++) {
        for (size_t turn = 0; turn < CAPACITIES; turn++) {
            size_t i = (turn + round) % CAPACITIES;
            if (!all->arenas[i]) continue;
            for (int before = 0; before < resets_before[how_much]; before++) {
                fill(all->arenas[i], how_much);
                memarena_reset(all->arenas[i]);
            }
            fill(all->arenas[i], how_much);
            all->ns[how_much][i][at] = time_reset(all->arenas[i]);
        }
    }
}

static void report_fill(const resets *all, int how_much)
{
    double slowest = 0, fastest = INFINITY;
    for (size_t i = 0; i < CAPACITIES; i++) {
        if (!all->arenas[i]) continue;
        char name[64];
        snprintf(name, sizeof name, "%s %s", capacities[i].name, fill_names[how_much]);
        spread cost = less_clock(all->ns[how_much][i], all->rounds, all->clock_ns);
        report_time(name, 1, cost);
        slowest = fmax(slowest, cost.median);
        fastest = fmin(fastest, cost.median);
    }
    report_value("slowest capacity to fastest", 1, slowest / fastest, "times");
}

void case_reset(const struct plan *plan)
{
    report_case("reset", "memarena_reset alone, by capacity and by what was allocated");
    resets all = {.rounds = plan->rounds * 5, .clock_ns = measure_clock_ns()};
    for (size_t i = 0; i < CAPACITIES; i++) {
        if (capacities[i].bytes <= SIZE_MAX) all.arenas[i] = memarena_create((size_t)capacities[i].bytes);
        if (!all.arenas[i]) report_note("%s is skipped: no address space", capacities[i].name);
        for (int how_much = 0; how_much < FILLS; how_much++) all.ns[how_much][i] = measure_samples(all.rounds);
    }

    for (size_t round = 0; round < WARM_ROUNDS + all.rounds; round++)
        run_round(&all, round, round < WARM_ROUNDS ? 0 : round - WARM_ROUNDS);

    for (int how_much = 0; how_much < FILLS; how_much++) report_fill(&all, how_much);
    report_value("taken off for the clock", 1, all.clock_ns, "ns");

    for (size_t i = 0; i < CAPACITIES; i++) {
        memarena_destroy(all.arenas[i]);
        for (int how_much = 0; how_much < FILLS; how_much++) free(all.ns[how_much][i]);
    }
}

/* ---- By lanes ---------------------------------------------------------------------------------------------------- */

typedef struct many_lanes {
    memarena *arena;
    size_t rounds;
    double *reset_ns;
} many_lanes;

/* Every member takes a block, so that each lane holds a TLAB and its line lies in that member's cache; then one
 * resets while the others wait. */
static void run_many_lanes(struct crew *crew, unsigned member)
{
    many_lanes *all = crew->context;
    for (size_t round = 0; round < WARM_ROUNDS + all->rounds; round++) {
        if (!memarena_new_value(all->arena, int64_t, (int64_t)round)) measure_die("no memory for one block");
        crew_meet(crew);
        if (member == 0) {
            size_t at = round < WARM_ROUNDS ? 0 : round - WARM_ROUNDS;
            all->reset_ns[at] = time_reset(all->arena);
        }
        crew_meet(crew);
    }
}

static void reset_with_lanes(const struct plan *plan, unsigned lanes)
{
    many_lanes all = {.arena = memarena_create(256u << 20), .rounds = plan->rounds};
    if (!all.arena) measure_die("no address space for 256 MiB");
    all.reset_ns = measure_samples(all.rounds);
    crew_run(lanes, run_many_lanes, &all);
    spread cost = less_clock(all.reset_ns, all.rounds, measure_clock_ns());
    report_time("each thread took a block", lanes, cost);
    memarena_destroy(all.arena);
    free(all.reset_ns);
}

void case_reset_lanes(const struct plan *plan)
{
    report_case("reset-lanes", "memarena_reset with many lanes in use since the last one");
    unsigned cpus = measure_cpus();
    reset_with_lanes(plan, 1);
    if (cpus > 1 && cpus < 64) reset_with_lanes(plan, cpus);
    reset_with_lanes(plan, 64); /* all the lanes there are, several to a CPU if need be */
}
