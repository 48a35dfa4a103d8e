/* memarena-bench: what blocks, requests and resets cost, beside the limit and beside other allocators. See README.md.
 *
 * Every peer is a process of its own. In every round each of them takes its turn while the others sleep, so that a
 * clock that changes and a neighbour that wakes up meet all of them. */
#define _GNU_SOURCE
#include "cases.h"
#include "memarena.h"
#include "players.h"
#include "report.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FULL_ROUNDS 101u
#define FULL_BATCH_BYTES ((size_t)256 << 10) /* stays in a second-level cache: see README.md */
#define QUICK_ROUNDS 2u
#define QUICK_BATCH_BYTES ((size_t)32 << 10)
#define MAX_THREADS 16u
#define WARM_ROUNDS 1u

static const char usage[] =
    "usage: memarena-bench [--quick] [--only CASE] [--rounds N] [--batch KIB] [--csv FILE]\n"
    "       memarena-bench --list\n"
    "  --quick      a smoke run of seconds; its numbers mean little\n"
    "  --only CASE  cases whose name begins so: one-8 one-16 one-64 one-128 one-mixed shared-8 shared-mixed crowd "
    "handoff\n"
    "               bulk request trees latency-8 latency-mixed heap cold held fill reset reset-lanes life "
    "same-address\n"
    "  --rounds N   rounds of the cases with small batches instead of 101; others have a share of them\n"
    "  --batch KIB  of blocks between two releases, in the cases with small batches, instead of 256\n"
    "  --csv FILE   also write the raw numbers there\n"
    "  --list       the peers that are built: the file in peers/, a tab, and the name in the tables\n";

/* ---- A contest: one case, in one size, for all peers ------------------------------------------------------------- */

typedef struct contest {
    const char *name, *title; /* of the case: in tables and CSV */
    const char *play;         /* what the peers call it */
    const char *unit;
    const char *measures[FIGURES_MAX]; /* of the figures in an answer; NULL ends them */
    const char *kind;
    size_t batch; /* bytes of blocks, or what player.c takes it for */
    unsigned threads, rounds;
    bool anew;         /* a new process for every round */
    bool has_together; /* the first two figures are also shown as a sum */
} contest;

typedef struct entry {
    seat at;
    double *samples[FIGURES_MAX]; /* by round */
} entry;

static const char together[] = "both";

static size_t figures_of(const contest *this)
{
    size_t count = 0;
    while (count < FIGURES_MAX && this->measures[count]) count++;
    return count;
}

/* Plays one round; false when the peer is out. */
static bool play(const contest *this, entry *one, size_t round, bool counts)
{
    double figures[FIGURES_MAX] = {0};
    size_t wanted = figures_of(this) - this->has_together;
    if (this->anew && !player_start(&one->at, one->at.peer, this->play, this->threads, this->kind, this->batch))
        return false;
    bool complete = player_turn(&one->at, figures) == wanted;
    if (this->anew) player_stop(&one->at);
    if (this->has_together) figures[wanted] = figures[0] + figures[1];
    for (size_t i = 0; complete && counts && one->samples[i]; i++) one->samples[i][round] = figures[i];
    return complete;
}

static size_t gather(const contest *this, entry *entries)
{
    size_t count = 0;
    for (size_t i = 0; i < peer_count; i++) {
        entry *one = &entries[count];
        *one = (entry){0};
        if (!player_start(&one->at, &peers[i], this->play, this->threads, this->kind, this->batch)) continue;
        if (this->anew) player_stop(&one->at);
        for (size_t k = 0; k < figures_of(this); k++) one->samples[k] = measure_samples(this->rounds);
        count++;
    }
    return count;
}

static const entry *find(const entry *entries, size_t count, const char *file)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(entries[i].at.peer->file, file) == 0) return &entries[i];
    return NULL;
}

static double ratio(const entry *upper, const entry *lower, size_t which, size_t rounds)
{
    return upper && lower ? measure_ratio(upper->samples[which], lower->samples[which], rounds) : 0;
}

/* Of a mean the mean: a collection that comes every few rounds is part of it. */
static spread spread_of(const char *measure, const double *samples, size_t rounds)
{
    spread found = measure_spread(samples, rounds);
    if (!strstr(measure, " mean")) return found;
    found.median = 0;
    for (size_t i = 0; i < rounds; i++) found.median += samples[i] / (double)rounds;
    return found;
}

static void report_entries(const contest *this, const entry *entries, size_t count)
{
    const entry *limit = find(entries, count, "limit"), *glibc = find(entries, count, "glibc");
    for (size_t i = 0; i < count; i++) {
        figure figures[FIGURES_MAX];
        size_t found = figures_of(this);
        for (size_t k = 0; k < found; k++) {
            bool comparable = strcmp(this->measures[k], "release") != 0; /* the limit's is nothing */
            figures[k] = (figure){
                .measure = this->measures[k],
                .unit = this->unit,
                .value = spread_of(this->measures[k], entries[i].samples[k], this->rounds),
                .x_limit = comparable ? ratio(&entries[i], limit, k, this->rounds) : 0,
                .x_glibc = comparable ? ratio(glibc, &entries[i], k, this->rounds) : 0,
            };
        }
        report_figures(entries[i].at.peer->title, this->threads, figures, found);
    }
}

static void drop(const contest *this, entry *one)
{
    if (!this->anew) player_stop(&one->at);
    for (size_t k = 0; k < figures_of(this); k++) free(one->samples[k]);
}

static void run(contest this)
{
    entry entries[PLAYERS_MAX];
    report_case(this.name, this.title);
    size_t count = gather(&this, entries);
    size_t warm = this.anew ? 0 : WARM_ROUNDS;
    for (size_t round = 0; round < warm + this.rounds; round++) {
        for (size_t i = 0; i < count;) {
            if (play(&this, &entries[i], round < warm ? 0 : round - warm, round >= warm)) {
                i++;
                continue;
            }
            drop(&this, &entries[i]);
            memmove(&entries[i], &entries[i + 1], (--count - i) * sizeof entries[0]);
        }
    }
    report_entries(&this, entries, count);
    for (size_t i = 0; i < count; i++) drop(&this, &entries[i]);
}

/* ---- The cases, in order ----------------------------------------------------------------------------------------- */

static const char *only = "";
static bool any_wanted;

static bool wanted(const char *name)
{
    bool is_wanted = strncmp(name, only, strlen(only)) == 0;
    any_wanted |= is_wanted;
    return is_wanted;
}

static unsigned share(const struct plan *plan, unsigned divisor)
{
    return plan->rounds / divisor > 2 ? plan->rounds / divisor : plan->rounds < 2 ? plan->rounds : 2;
}

#define BLOCK_CASE .unit = "ns a block", .measures = {"allocate", "release", "wall", together}, .has_together = true

static void run_blocks(const struct plan *plan, unsigned most)
{
    static const struct {
        const char *name, *title, *kind;
    } one[] = {
        {"one-8", "one thread, blocks of 8 bytes", "8"},
        {"one-16", "one thread, blocks of 16 bytes", "16"},
        {"one-64", "one thread, blocks of 64 bytes", "64"},
        {"one-128", "one thread, blocks of 128 bytes", "128"},
        {"one-mixed", "one thread, blocks of 16 to 256 bytes", "mixed"},
    };
    for (size_t i = 0; i < sizeof one / sizeof one[0]; i++)
        if (wanted(one[i].name))
            run((contest){one[i].name, one[i].title, "blocks", BLOCK_CASE, .kind = one[i].kind, .threads = 1,
                          .batch = plan->batch_bytes, .rounds = plan->rounds});

    /* One thread, too: the ratio that the others should keep. */
    static const struct {
        const char *name, *title, *kind;
    } shared[] = {
        {"shared-8", "threads, blocks of 8 bytes; `own`: an allocator for each thread", "8"},
        {"shared-mixed", "threads, blocks of 16 to 256 bytes; `own`: an allocator for each thread", "mixed"},
    };
    for (size_t i = 0; i < sizeof shared / sizeof shared[0]; i++)
        for (unsigned threads = 1; threads <= most && wanted(shared[i].name); threads *= 2)
            run((contest){shared[i].name, shared[i].title, "blocks", BLOCK_CASE, .kind = shared[i].kind,
                          .threads = threads, .batch = plan->batch_bytes, .rounds = plan->rounds});

    /* The blocks of a turn are the same for any number of threads, which share them evenly. */
    static const unsigned crowds[] = {1, 2, 4, 8, 16, 64, 256, 1024};
    for (size_t i = 0; i < sizeof crowds / sizeof crowds[0] && crowds[i] <= plan->crowd && wanted("crowd"); i++)
        run((contest){"crowd", "threads on one allocator, far more than CPUs, the same number of blocks in all",
                      "crowd", BLOCK_CASE, .kind = "8", .threads = crowds[i],
                      .batch = 256 * plan->batch_bytes / crowds[i], .rounds = share(plan, 20)});

    if (wanted("handoff"))
        run((contest){"handoff", "blocks of 16 to 256 bytes made by all CPUs, and given back by one thread", "handoff",
                      BLOCK_CASE, .kind = "mixed", .threads = most, .batch = plan->batch_bytes,
                      .rounds = share(plan, 2)});
    if (wanted("bulk"))
        run((contest){"bulk", "one thread, 1024 batches of 16 to 256 bytes, then the release of all (256 MB)", "blocks",
                      BLOCK_CASE, .kind = "mixed", .threads = 1, .batch = 1024 * plan->batch_bytes,
                      .rounds = share(plan, 14)});
}

static void run_programs(const struct plan *plan, unsigned most)
{
    for (unsigned threads = 1; threads <= most && wanted("request"); threads *= 2)
        run((contest){"request", "what a request has for itself: ten blocks of 64 bytes, and their end", "requests",
                      .unit = "ns a request", .measures = {"request"}, .kind = "64", .threads = threads, .batch = 500,
                      .rounds = plan->rounds});
    if (wanted("trees"))
        run((contest){"trees", "a binary tree of depth 18 built, walked and released", "trees", .unit = "ns a node",
                      .measures = {"tree"}, .kind = "16", .threads = 1, .batch = 1, .rounds = share(plan, 9)});
    static const struct {
        const char *name, *title, *kind;
    } singles[] = {
        {"latency-8", "single blocks of 8 bytes, the clock included", "8"},
        {"latency-mixed", "single blocks of 16 to 256 bytes, the clock included", "mixed"},
    };
    for (size_t i = 0; i < sizeof singles / sizeof singles[0]; i++)
        if (wanted(singles[i].name))
            run((contest){singles[i].name, singles[i].title, "latency", .unit = "ns",
                          .measures = {"p50", "p99", "p99.9", "p99.99"}, .kind = singles[i].kind, .threads = 1,
                          .batch = plan->batch_bytes, .rounds = share(plan, 9)});
    if (wanted("heap"))
        run((contest){"heap", "new blocks beside millions of live ones, with holes: median of a batch of 32, and mean",
                      "heap", .unit = "ns a block",
                      .measures = {"8 median", "8 mean", "128 median", "128 mean", "64 median", "64 mean",
                                   "mixed median", "mixed mean", "collection"},
                      .kind = "mixed", .threads = 1, .batch = plan->live_blocks, .rounds = share(plan, 20)});
    if (wanted("cold"))
        run((contest){"cold", "a fresh process, blocks of 16 to 256 bytes, every byte written (64 MiB)", "cold",
                      .unit = "ns a block", .measures = {"touch"}, .kind = "mixed", .threads = 1,
                      .batch = 256 * plan->batch_bytes, .rounds = share(plan, 14), .anew = true});
}

static void run_memory(const struct plan *plan)
{
    static const unsigned threads[] = {1, 64, 1024};
    for (size_t i = 0; i < sizeof threads / sizeof threads[0] && threads[i] <= plan->crowd && wanted("held"); i++)
        run((contest){"held", "memory that a hundred blocks of 64 bytes in each thread make resident", "held",
                      .unit = "bytes a thread", .measures = {"resident"}, .kind = "64", .threads = threads[i],
                      .batch = 100, .rounds = share(plan, 33), .anew = true});
    static const unsigned fillers[] = {1, 2, 64, 1000};
    for (size_t i = 0; i < sizeof fillers / sizeof fillers[0] && fillers[i] <= plan->crowd && wanted("fill"); i++)
        run((contest){"fill", "how much of an arena its threads have got when each has been refused", "fill",
                      .unit = "percent", .measures = {"given out"}, .kind = "mixed", .threads = fillers[i],
                      .batch = plan->batch_bytes / fillers[i], .rounds = share(plan, 20)});
    if (wanted("reset")) case_reset(plan);
    if (wanted("reset-lanes")) case_reset_lanes(plan);
    if (wanted("life")) case_life(plan);
    if (wanted("same-address")) case_same_address(plan);
}

/* A sanitizer sends every block down the slow road, and then the bench measures the sanitizer. */
static void note_watcher(void)
{
    memarena *arena = memarena_create(1u << 20);
    if (!arena) measure_die("memarena_create failed");
    memarena_stats stats;
    memarena_get_stats(arena, &stats, sizeof stats);
    memarena_destroy(arena);
    if (stats.watched) report_note("a sanitizer is watching: these are not the times of the library");
}

/* ---- Command line ------------------------------------------------------------------------------------------------ */

static unsigned long parse_count(const char *text)
{
    char *end;
    unsigned long count = strtoul(text, &end, 10);
    if (!count || *end) measure_die("'%s' is not a positive number", text);
    return count;
}

int main(int argc, char **argv)
{
    struct plan plan = {.rounds = FULL_ROUNDS, .batch_bytes = FULL_BATCH_BYTES, .crowd = 1024, .live_blocks = 10000000};
    const char *csv_path = NULL;
    for (int i = 1; i < argc; i++) {
        const char *flag = argv[i];
        bool has_value = i + 1 < argc;
        if (strcmp(flag, "--quick") == 0) {
            plan = (struct plan){
                .rounds = QUICK_ROUNDS, .batch_bytes = QUICK_BATCH_BYTES, .crowd = 4, .live_blocks = 10000};
        } else if (strcmp(flag, "--only") == 0 && has_value) {
            only = argv[++i];
        } else if (strcmp(flag, "--rounds") == 0 && has_value) {
            plan.rounds = (unsigned)parse_count(argv[++i]);
        } else if (strcmp(flag, "--batch") == 0 && has_value) {
            plan.batch_bytes = parse_count(argv[++i]) << 10;
        } else if (strcmp(flag, "--csv") == 0 && has_value) {
            csv_path = argv[++i];
        } else if (strcmp(flag, "--list") == 0) {
            for (size_t k = 0; k < peer_count; k++)
                if (peers[k].built) printf("memarena-peer-%s\t%s\n", peers[k].file, peers[k].title);
            return 0;
        } else {
            bool asked = strcmp(flag, "--help") == 0;
            fputs(usage, asked ? stdout : stderr);
            return asked ? 0 : 2;
        }
    }
    unsigned cpus = measure_cpus(), most = cpus < MAX_THREADS ? cpus : MAX_THREADS; /* before the first pin */
    players_find(argv[0]);
    report_open(csv_path, argc, argv);
    note_watcher();
    run_blocks(&plan, most);
    run_programs(&plan, most);
    measure_pin(0);
    run_memory(&plan);
    report_close();
    if (!any_wanted) measure_die("no case has a name that begins with '%s'", only);
    return 0;
}
