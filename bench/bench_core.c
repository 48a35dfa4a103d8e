/* memarena-bench: what blocks, resets and arenas cost, beside the limit and beside other allocators. See README.md. */
#define _GNU_SOURCE
#include "cases.h"
#include "report.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FULL_ROUNDS 201u
#define FULL_BATCH_BYTES ((size_t)256 << 10) /* stays in a second-level cache: see README.md */
#define QUICK_ROUNDS 5u
#define QUICK_BATCH_BYTES ((size_t)32 << 10)
#define MAX_THREADS 16u

static const char usage[] =
    "usage: memarena-bench [--quick] [--only CASE] [--rounds N] [--batch KIB] [--csv FILE]\n"
    "       memarena-bench --loop VARIANT BLOCKS\n"
    "  --quick      a smoke run of two seconds; its numbers mean little\n"
    "  --only CASE  cases whose name begins so: one-8 one-16 one-64 one-mixed shared-8 shared-mixed reset reset-lanes\n"
    "               scope life same-address\n"
    "  --rounds N   rounds of each case instead of 201\n"
    "  --batch KIB  of blocks between two resets, in the cases that take blocks, instead of 256\n"
    "  --csv FILE   also write the raw numbers there\n"
    "  --loop       run one loop and print nothing, for counting instructions: limit_8, memarena_new_value, or limit_\n"
    "               or memarena_alloc_ followed by 16, 64 or mixed\n";

/* ---- Peers that need more thread-local room ---------------------------------------------------------------------- */

/* jemalloc and others keep their thread-locals where only libraries present at the start of a program are sure to find
 * room. glibc reserves more when asked by the environment, which it reads once: so the program starts itself again. */
static void start_again_with_room(char **argv)
{
    static const char room[] = "glibc.rtld.optional_static_tls=65536";
    const char *given = getenv("GLIBC_TUNABLES");
    if (given && strstr(given, "optional_static_tls")) return;
    char tunables[1024];
    int length = snprintf(tunables, sizeof tunables, "%s%s%s", given ? given : "", given ? ":" : "", room);
    if (length < 0 || (size_t)length >= sizeof tunables) return;
    setenv("GLIBC_TUNABLES", tunables, 1);
    execv("/proc/self/exe", argv); /* where this fails, a peer or two will be skipped by name */
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

static void run_blocks(const struct plan *plan)
{
    static const struct {
        const char *name, *title;
        block_kind kind;
    } one[] = {
        {"one-8", "one thread, memarena_new_value(arena, int64_t, i)", BLOCKS_8},
        {"one-16", "one thread, memarena_alloc(arena, 16)", BLOCKS_16},
        {"one-64", "one thread, memarena_alloc(arena, 64)", BLOCKS_64},
        {"one-mixed", "one thread, memarena_alloc(arena, 16 to 256)", BLOCKS_MIXED},
    };
    for (size_t i = 0; i < sizeof one / sizeof one[0]; i++)
        if (wanted(one[i].name)) case_blocks(plan, one[i].name, one[i].title, one[i].kind, 1);

    /* One thread, too: the ratio that the others should keep. */
    unsigned most = measure_cpus() < MAX_THREADS ? measure_cpus() : MAX_THREADS;
    static const struct {
        const char *name, *title;
        block_kind kind;
    } shared[] = {
        {"shared-8", "threads on one arena, across resets, memarena_new_value(arena, int64_t, i)", BLOCKS_8},
        {"shared-mixed", "threads on one arena, across resets, memarena_alloc(arena, 16 to 256)", BLOCKS_MIXED},
    };
    for (size_t i = 0; i < sizeof shared / sizeof shared[0]; i++)
        for (unsigned threads = 1; threads <= most && wanted(shared[i].name); threads *= 2)
            case_blocks(plan, shared[i].name, shared[i].title, shared[i].kind, threads);
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

static void run_cases(const struct plan *plan)
{
    note_watcher();
    run_blocks(plan);
    if (wanted("reset")) case_reset(plan);
    if (wanted("reset-lanes")) case_reset_lanes(plan);
    if (wanted("scope")) case_scope(plan);
    if (wanted("life")) case_life(plan);
    if (wanted("same-address")) case_same_address(plan);
}

/* ---- Command line ------------------------------------------------------------------------------------------------ */

static unsigned long parse_count(const char *text)
{
    char *end;
    unsigned long count = strtoul(text, &end, 10);
    if (!count || *end) measure_die("'%s' is not a positive number", text);
    return count;
}

static int usage_error(void)
{
    fputs(usage, stderr);
    return 2;
}

int main(int argc, char **argv)
{
    struct plan plan = {.rounds = FULL_ROUNDS, .batch_bytes = FULL_BATCH_BYTES};
    const char *csv_path = NULL, *loop_variant = NULL;
    unsigned long loop_blocks = 0;
    for (int i = 1; i < argc; i++) {
        const char *flag = argv[i];
        int values = argc - 1 - i;
        if (strcmp(flag, "--quick") == 0) {
            plan = (struct plan){.rounds = QUICK_ROUNDS, .batch_bytes = QUICK_BATCH_BYTES};
        } else if (strcmp(flag, "--only") == 0 && values >= 1) {
            only = argv[++i];
        } else if (strcmp(flag, "--rounds") == 0 && values >= 1) {
            plan.rounds = (unsigned)parse_count(argv[++i]);
        } else if (strcmp(flag, "--batch") == 0 && values >= 1) {
            plan.batch_bytes = parse_count(argv[++i]) << 10;
        } else if (strcmp(flag, "--csv") == 0 && values >= 1) {
            csv_path = argv[++i];
        } else if (strcmp(flag, "--loop") == 0 && values >= 2) {
            loop_variant = argv[++i];
            loop_blocks = parse_count(argv[++i]);
        } else if (strcmp(flag, "--help") == 0) {
            fputs(usage, stdout);
            return 0;
        } else {
            return usage_error();
        }
    }
    loops_prepare();
    if (loop_variant) return case_blocks_loop(loop_variant, loop_blocks) ? 0 : usage_error();

    start_again_with_room(argv);
    (void)measure_cpus(); /* before the first pin */
    measure_pin(0);
    report_open(csv_path, argc, argv);
    run_cases(&plan);
    report_close();
    if (!any_wanted) measure_die("no case has a name that begins with '%s'", only);
    return 0;
}
