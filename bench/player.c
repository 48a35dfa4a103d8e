/* A peer's main program: it plays what the referee (memarena-bench) asks for. See README.md for the commands.
 *
 * It says "ready", "pass" (this case is not for it) or "skip WHY"; then, for each line that it reads, it takes a turn
 * and answers with its figures on one line. Between turns all its threads sleep: another peer has the CPUs. */
#define _GNU_SOURCE
#include "player.h"

#include "measure.h"

#include <fcntl.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MOST_THREADS 1024u
#define TWICE_BYTES ((size_t)1 << 20) /* up to here a turn is played twice: the caches have been emptied by others */

uint32_t mixed_sizes[MIXED_SIZES];
bool player_touches = true;

/* Static, for a collector finds its roots here. */
static _Alignas(MEASURE_APART) char places[MOST_THREADS * PLACE_BYTES];

typedef struct lap { /* of one member; a line of its own, or the writing would be measured too */
    _Alignas(MEASURE_APART) uint64_t begin, end;
    double allocate_ns, release_ns;
    bool complete;
} lap;

static lap laps[MOST_THREADS];

typedef struct game {
    const char *name; /* of the case */
    unsigned threads;
    enum block_kind kind;
    size_t bytes, blocks; /* that one member takes in a turn */
    double clock_ns, tick_ns;
    struct crew *crew;
    pthread_barrier_t gate;
    void (*play)(struct game *game, unsigned member);
    bool over, hands_over;
} game;

static bool is(const game *all, const char *name)
{
    return strcmp(all->name, name) == 0;
}

static double since(const game *all, uint64_t begin)
{
    return fmax(0, (double)(measure_now_ns() - begin) - all->clock_ns);
}

static void *place_at(unsigned member)
{
    return player.place(places, member);
}

static void must(bool complete)
{
    if (!complete) measure_die("memory ran out");
}

/* More threads than CPUs sleep where few would spin: those that wait would keep the CPUs from those that work. */
static bool is_crowd(const game *all)
{
    return all->threads > measure_cpus();
}

static void meet(game *all)
{
    if (is_crowd(all))
        pthread_barrier_wait(&all->gate);
    else
        crew_meet(all->crew);
}

static void give_all_back(game *all)
{
    for (unsigned i = 0; i < all->threads; i++) player.release(place_at(i));
    player.reset(place_at(0));
}

/* ---- Blocks ------------------------------------------------------------------------------------------------------ */

/* Nanoseconds of a CPU for one block: the mean of the members' times; in a crowd, from the first start to the last end,
 * times the CPUs that were busy. */
static double per_block(const game *all, bool release)
{
    double blocks = (double)all->threads * (double)all->blocks;
    if (is_crowd(all)) {
        uint64_t begin = UINT64_MAX, end = 0;
        for (unsigned i = 0; i < all->threads; i++) {
            begin = laps[i].begin < begin ? laps[i].begin : begin;
            end = laps[i].end > end ? laps[i].end : end;
        }
        return (double)(end - begin) * measure_cpus() / blocks;
    }
    double sum = 0;
    for (unsigned i = 0; i < all->threads; i++) sum += release ? laps[i].release_ns : laps[i].allocate_ns;
    return sum / blocks;
}

/* As the benchmarks of the Go arena count: the time that passed, divided by the blocks of all workers. */
static double wall_per_block(const game *all)
{
    double longest = 0;
    if (is_crowd(all)) return per_block(all, false) / measure_cpus();
    for (unsigned i = 0; i < all->threads; i++) longest = fmax(longest, laps[i].allocate_ns);
    return longest / ((double)all->threads * (double)all->blocks);
}

static void take_turn(game *all, unsigned member, bool last)
{
    bool handed = all->hands_over;
    void *at = place_at(member);
    lap *mine = &laps[member];
    double allocate_ns = 0, wall_ns = 0;

    meet(all);
    mine->begin = measure_now_ns();
    mine->complete = player.take[all->kind](at, all->blocks);
    mine->allocate_ns = since(all, mine->begin);
    mine->end = measure_now_ns();
    must(mine->complete);

    meet(all);
    if (member == 0) allocate_ns = per_block(all, false), wall_ns = wall_per_block(all);
    meet(all);
    mine->begin = measure_now_ns();
    if (!handed) player.release(at);
    mine->release_ns = since(all, mine->begin);
    mine->end = measure_now_ns();

    meet(all);
    if (member != 0) return;
    double release_ns = per_block(all, true);
    uint64_t begin = measure_now_ns();
    if (handed)
        give_all_back(all);
    else
        player.reset(at);
    release_ns += since(all, begin) / (double)all->blocks; /* every member waits for it */
    if (last) printf("%.6f %.6f %.6f\n", allocate_ns, release_ns, wall_ns);
}

static void play_blocks(game *all, unsigned member)
{
    if (all->bytes <= TWICE_BYTES) take_turn(all, member, false);
    take_turn(all, member, true);
}

/* ---- Requests ---------------------------------------------------------------------------------------------------- */

static void play_requests(game *all, unsigned member)
{
    lap *mine = &laps[member];
    for (int turn = 0; turn < 2; turn++) {
        meet(all);
        uint64_t begin = measure_now_ns();
        mine->complete = player.serve(place_at(member), all->blocks);
        mine->allocate_ns = since(all, begin);
        must(mine->complete);
    }
    meet(all);
    if (member == 0) printf("%.6f\n", per_block(all, false));
}

/* ---- One thread -------------------------------------------------------------------------------------------------- */

#define TREE_DEPTH 18u

static void play_trees(game *all, unsigned member)
{
    (void)member;
    uint64_t begin = measure_now_ns();
    size_t nodes = player.tree(place_at(0), TREE_DEPTH);
    double ns = since(all, begin);
    if (nodes != ((size_t)2 << TREE_DEPTH) - 1) measure_die("a tree of %zu nodes", nodes);
    printf("%.6f\n", ns / (double)nodes);
}

static int compare_ticks(const void *left, const void *right)
{
    uint64_t a = *(const uint64_t *)left, b = *(const uint64_t *)right;
    return (a > b) - (a < b);
}

static void play_latency(game *all, unsigned member)
{
    (void)member;
    static const double percents[] = {50, 99, 99.9, 99.99};
    static uint64_t *ticks;
    size_t turns = 64, count = turns * all->blocks;
    if (!ticks) ticks = calloc(count, sizeof *ticks);
    if (!ticks) measure_die("no memory for %zu times", count);
    for (size_t turn = 0; turn < turns; turn++) {
        must(player.each[all->kind](place_at(0), all->blocks, ticks + turn * all->blocks));
        give_all_back(all);
    }
    qsort(ticks, count, sizeof *ticks, compare_ticks);
    for (size_t i = 0; i < sizeof percents / sizeof percents[0]; i++)
        printf("%.2f ", (double)ticks[(size_t)((double)(count - 1) * percents[i] / 100)] * all->tick_ns);
    putchar('\n');
}

#define HEAP_BATCHES 8000u
#define LIVE_BYTES 72u /* of a live block with its header, at most */

/* Median of a batch and mean, for 8, 128 and 64 bytes and mixed ones, then the collector's. The live blocks are in the
 * first place, the new ones in the second, which gives them back after each turn: what is timed is not the system's
 * first touch of memory. */
static void play_heap(game *all, unsigned member)
{
    (void)member;
    static const enum block_kind kinds[] = {BLOCKS_8, BLOCKS_128, BLOCKS_64, BLOCKS_MIXED};
    static uint64_t ticks[HEAP_BATCHES];
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        uint64_t begin = measure_now_ns();
        must(player.batches[kinds[i]](place_at(1), HEAP_BATCHES, ticks));
        double mean = since(all, begin) / (HEAP_BATCHES * BATCH_BLOCKS);
        player.release(place_at(1));
        qsort(ticks, HEAP_BATCHES, sizeof ticks[0], compare_ticks);
        printf("%.4f %.4f ", (double)ticks[HEAP_BATCHES / 2] * all->tick_ns / BATCH_BLOCKS, mean);
    }
    printf("%.0f\n", player.collect());
}

static void play_cold(game *all, unsigned member)
{
    (void)member;
    uint64_t begin = measure_now_ns();
    must(player.touch(place_at(0), all->blocks));
    printf("%.4f\n", since(all, begin) / (double)all->blocks);
}

/* ---- Memory ------------------------------------------------------------------------------------------------------ */

/* Resident bytes of this process as the page tables have them (/proc/self/statm counts per thread and lags behind);
 * 0 where the kernel does not tell. No stdio here: its buffers would be counted. */
static size_t resident_bytes(void)
{
    static char text[4096];
    int file = open("/proc/self/smaps_rollup", O_RDONLY | O_CLOEXEC);
    if (file < 0) return 0;
    ssize_t got = read(file, text, sizeof text - 1);
    close(file);
    text[got > 0 ? got : 0] = '\0';
    const char *line = strstr(text, "\nRss:");
    return line ? (size_t)atol(line + strlen("\nRss:")) * 1024 : 0;
}

/* What a first few blocks of each thread make resident. */
static void play_held(game *all, unsigned member)
{
    static size_t before;
    memset(&laps[member], 1, sizeof laps[member]);
    meet(all);
    if (member == 0) before = resident_bytes();
    meet(all);
    must(player.take[BLOCKS_64](place_at(member), all->blocks));
    meet(all);
    if (member == 0) printf("%.1f\n", (double)(resident_bytes() - before) / all->threads);
}

static size_t filled[MOST_THREADS];

/* Percent of the capacity that the threads got together before each of them was refused. */
static void play_fill(game *all, unsigned member)
{
    meet(all);
    filled[member] = player.fill(place_at(member));
    meet(all);
    if (member != 0) return;
    size_t sum = 0;
    for (unsigned i = 0; i < all->threads; i++) sum += filled[i];
    printf("%.4f\n", 100 * (double)sum / (double)player.capacity(place_at(0)));
    player.reset(place_at(0));
}

/* ---- The cases --------------------------------------------------------------------------------------------------- */

#define VARIANTS (COLD_ONLY | REQUESTS_ONLY)

static const struct {
    const char *name;
    void (*play)(game *all, unsigned member);
    unsigned needs; /* of the traits */
    unsigned excluded;
} cases[] = {
    {"blocks", play_blocks, 0, VARIANTS},
    {"crowd", play_blocks, SHARES, VARIANTS | LOOPS_ONLY},
    {"handoff", play_blocks, 0, VARIANTS | LOOPS_ONLY | OWNER_RELEASES},
    {"requests", play_requests, SERVES, COLD_ONLY | LOOPS_ONLY},
    {"trees", play_trees, 0, VARIANTS},
    {"latency", play_latency, 0, VARIANTS | LOOPS_ONLY},
    {"heap", play_heap, SERVES, VARIANTS | LOOPS_ONLY},
    {"cold", play_cold, 0, REQUESTS_ONLY | LOOPS_ONLY},
    {"held", play_held, 0, VARIANTS | LOOPS_ONLY | LIMIT},
    {"fill", play_fill, BOUNDED, VARIANTS | LOOPS_ONLY | LIMIT},
};

static size_t block_bytes(enum block_kind kind)
{
    static const size_t bytes[BLOCK_KINDS] = {8, 16, 64, 128, 128};
    return bytes[kind];
}

/* As an allocator that aligns them takes them. */
static size_t all_bytes(enum block_kind kind, size_t blocks)
{
    if (kind != BLOCKS_MIXED) return blocks * block_bytes(kind);
    size_t bytes = 0;
    for (size_t i = 0; i < blocks; i++) bytes += (mixed_sizes[i % MIXED_SIZES] + 15) & ~(size_t)15;
    return bytes;
}

static void prepare_sizes(void)
{
    uint64_t state = 0x9E3779B185EBCA87u; /* fixed: every run asks for the same sizes */
    for (size_t i = 0; i < MIXED_SIZES; i++) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        mixed_sizes[i] = 16 + (uint32_t)(state % 241);
    }
}

static double measure_tick_ns(void)
{
    uint64_t begin = measure_now_ns(), ticks = player_ticks();
    while (measure_now_ns() - begin < 20000000) continue;
    uint64_t end = measure_now_ns();
    return (double)(end - begin) / (double)(player_ticks() - ticks);
}

/* Member 0 reads the commands; the others wait for it at the gate. */
static void serve_referee(struct crew *crew, unsigned member)
{
    game *all = crew->context;
    char line[16];
    if (member == 0) all->crew = crew, puts("ready"), fflush(stdout);
    for (;;) {
        if (member == 0) all->over = !fgets(line, sizeof line, stdin);
        pthread_barrier_wait(&all->gate);
        if (all->over) return;
        all->play(all, member);
        if (member == 0) fflush(stdout);
    }
}

static void start(game *all, const char *batch)
{
    all->bytes = (size_t)strtoull(batch, NULL, 10);
    bool counted = is(all, "requests") || is(all, "held") || is(all, "heap");
    all->blocks = counted ? all->bytes : all->bytes / block_bytes(all->kind);
    size_t room = is(all, "trees")  ? (size_t)32 << TREE_DEPTH
                  : is(all, "heap") ? LIVE_BYTES * all->blocks + HEAP_BATCHES * BATCH_BLOCKS * 256
                  : counted         ? 64 * REQUEST_BLOCKS * all->blocks
                                    : all_bytes(all->kind, all->blocks);
    player_touches = !is(all, "cold") && !is(all, "held");
    const char *why_not = player.open(places, is(all, "heap") ? 2 : all->threads, room);
    if (why_not) {
        printf("skip %s\n", why_not);
        exit(0);
    }
    if (is(all, "heap")) must(player.crowd(place_at(0), all->blocks));
}

/* The loop alone, for counting instructions. */
static int run_loop(enum block_kind kind, size_t blocks)
{
    size_t batch = TWICE_BYTES / block_bytes(kind);
    const char *why_not = player.open(places, 1, all_bytes(kind, batch));
    if (why_not) measure_die("%s", why_not);
    for (size_t left = blocks; left > 0;) {
        size_t now = left < batch ? left : batch;
        must(player.take[kind](place_at(0), now));
        player.release(place_at(0));
        player.reset(place_at(0));
        left -= now;
    }
    return 0;
}

static int usage(void)
{
    fputs("usage: peer CASE THREADS KIND BATCH    on behalf of memarena-bench\n"
          "       peer loop 1 KIND BLOCKS         one loop and nothing else, for counting instructions\n"
          "KIND: 8 16 64 128 mixed\n",
          stderr);
    return 2;
}

int main(int argc, char **argv)
{
    static const char *const kinds[BLOCK_KINDS] = {"8", "16", "64", "128", "mixed"};
    static game all;
    if (argc != 5) return usage();
    all.name = argv[1];
    all.threads = (unsigned)strtoul(argv[2], NULL, 10);
    while (all.kind < BLOCK_KINDS && strcmp(kinds[all.kind], argv[3]) != 0) all.kind++;
    if (all.kind == BLOCK_KINDS || all.threads == 0 || all.threads > MOST_THREADS) return usage();
    prepare_sizes();
    if (strcmp(all.name, "loop") == 0) return run_loop(all.kind, (size_t)strtoull(argv[4], NULL, 10));

    size_t found = 0;
    while (found < sizeof cases / sizeof cases[0] && strcmp(cases[found].name, all.name) != 0) found++;
    if (found == sizeof cases / sizeof cases[0]) return usage();
    if ((player.traits & cases[found].needs) != cases[found].needs || player.traits & cases[found].excluded) {
        puts("pass");
        return 0;
    }
    (void)measure_cpus(); /* before the first pin */
    measure_pin(0);
    all.play = cases[found].play;
    all.hands_over = is(&all, "handoff");
    all.clock_ns = measure_clock_ns();
    all.tick_ns = is(&all, "latency") || is(&all, "heap") ? measure_tick_ns() : 0;
    pthread_barrier_init(&all.gate, NULL, all.threads);
    start(&all, argv[4]);
    crew_run(all.threads, serve_referee, &all);
    return 0;
}
