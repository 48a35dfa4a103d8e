/* memarena-bench-adapters: how much CPU time one job of a library takes, in memory of malloc's or in an arena, and how much memory
 * it asks for. One process measures one job in one way; ../adapters.sh runs them in turns and makes a table. */
#include "../report.h"
#include "jobs.h"

#include <errno.h>
#include <memarena/adapters/current.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ROUNDS 21
#define ROUND_NS 5000000u    /* a round has as many jobs as take so long, or one */
#define WARM_UP_NS 50000000u /* before them, in jobs that are not counted */
#define ARENA_BYTES ((size_t)1 << 30)

static const char usage[] =
    "usage: memarena-bench-adapters [--rounds N] JOB malloc|arena|arena-free\n"
    "       memarena-bench-adapters --bytes JOB | --held JOB | --list | --origin COMMAND... | --help\n"
    "  malloc      the library as it is; mimalloc and others by LD_PRELOAD\n"
    "  arena       a scope of an arena for each job, and no clean-up by the library\n"
    "  arena-free  the same, but the library cleans up as always\n"
    "  --rounds N  instead of 21; the time is their median. Prints: job,how,median ns,jobs\n"
    "  --bytes     what one job asks for. Prints: job,blocks,bytes asked for,most bytes live\n"
    "  --held      what one job takes in a scope. Prints: job,bytes\n"
    "  --list      the jobs: name, tab, what one does; on stderr, which libraries are not here\n"
    "  --origin    the line that says where COMMAND's numbers come from\n";

/* ---- Jobs -------------------------------------------------------------------------------------------------------- */

#define JOBS(library) extern const struct job library##_jobs[];
#define LEFT_OUT(library, package)
#include "libraries.inc"
#undef JOBS
#undef LEFT_OUT

#define JOBS(library) library##_jobs,
#define LEFT_OUT(library, package)
static const struct job *const libraries[] = {
#include "libraries.inc"
    NULL};
#undef JOBS
#undef LEFT_OUT

#define JOBS(library)
#define LEFT_OUT(library, package) library " is left out: " package " is not installed",
static const char *const left_out[] = {
#include "libraries.inc"
    NULL};

static void list(void)
{
    for (size_t i = 0; libraries[i]; i++)
        for (const struct job *job = libraries[i]; job->name; job++) printf("%s\t%s\n", job->name, job->work);
    for (size_t i = 0; left_out[i]; i++) fprintf(stderr, "%s\n", left_out[i]);
}

_Noreturn static void refuse(const char *what, const char *of)
{
    fprintf(stderr, MEASURE_PROGRAM ": %s%s; --help tells the usage\n", what, of);
    exit(2);
}

static const struct job *find(const char *name)
{
    for (size_t i = 0; libraries[i]; i++)
        for (const struct job *job = libraries[i]; job->name; job++)
            if (strcmp(job->name, name) == 0) return job;
    refuse("--list has no job ", name);
}

static const char *current = "?";

void job_failed(const char *call)
{
    measure_die("%s: %s failed", current, call);
}

static const struct job *begin(const char *name)
{
    const struct job *job = find(name);
    current = job->name;
    if (job->prepare) job->prepare();
    return job;
}

static void check(const struct job *job)
{
    if (!job->is_right()) measure_die("%s: the result is wrong", job->name);
}

/* ---- Time -------------------------------------------------------------------------------------------------------- */

static memarena *make_arena(void)
{
    memarena *arena = memarena_create(ARENA_BYTES);
    if (!arena || !memarena_current_register(arena)) measure_die("no arena: %s", strerror(errno));
    return arena;
}

static memarena *open_scope(memarena *arena)
{
    memarena *scope = memarena_scope(arena);
    if (!scope) measure_die("no scope: %s", strerror(errno));
    return scope;
}

/* Of this process, user and system: what others do on the CPU meanwhile is not in it. */
static uint64_t cpu_ns(void)
{
    struct timespec used;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
    return (uint64_t)used.tv_sec * 1000000000u + (uint64_t)used.tv_nsec;
}

/* `count` jobs, one after the other, in ns. `arena` NULL: with malloc. */
static double play(const struct job *job, memarena *arena, bool clean_up, size_t count)
{
    struct memory memory = {.from = arena ? FROM_ARENA : FROM_MALLOC, .clean_up = clean_up};
    uint64_t start = cpu_ns();
    for (size_t i = 0; i < count; i++) {
        if (arena) memory.scope = open_scope(arena);
        job->work_in(&memory);
        if (arena) memarena_destroy(memory.scope);
    }
    return (double)(cpu_ns() - start);
}

/* How many jobs make a round. Warms up. */
static size_t jobs_of_a_round(const struct job *job, memarena *arena, bool clean_up)
{
    size_t count = 1;
    uint64_t start = cpu_ns();
    for (;;) {
        double ns = play(job, arena, clean_up, count);
        if (ns >= ROUND_NS && cpu_ns() - start >= WARM_UP_NS) return count;
        if (ns < ROUND_NS) count *= 2;
    }
}

static void measure(const char *name, const char *how, size_t rounds)
{
    const struct job *job = begin(name);
    bool in_arena = strncmp(how, "arena", 5) == 0, clean_up = strcmp(how, "arena") != 0;
    if (strcmp(how, "malloc") != 0 && strcmp(how, "arena") != 0 && strcmp(how, "arena-free") != 0)
        refuse("malloc, arena or arena-free, not ", how);
    measure_pin(0);
    memarena *arena = in_arena ? make_arena() : NULL;
    play(job, arena, clean_up, 1);
    check(job);
    size_t count = jobs_of_a_round(job, arena, clean_up);
    double *ns = measure_samples(rounds);
    for (size_t i = 0; i < rounds; i++) ns[i] = play(job, arena, clean_up, count) / (double)count;
    check(job);
    printf("%s,%s,%.1f,%zu\n", job->name, how, measure_spread(ns, rounds).median, rounds * count);
    free(ns);
    if (!arena) return;
    memarena_current_unregister(arena);
    memarena_destroy(arena);
}

/* ---- Bytes ------------------------------------------------------------------------------------------------------- */

static void count_bytes(const char *name)
{
    const struct job *job = begin(name);
    struct memory memory = {.from = FROM_COUNTED, .clean_up = true};
    job->work_in(&memory); /* what a library makes once and keeps is not the job's */
    check(job);
    size_t kept = counted.live;
    counted = (struct count){.live = kept, .peak = kept};
    job->work_in(&memory);
    check(job);
    if (counted.live != kept) measure_die("%s: %zu bytes are not given back", name, counted.live - kept);
    printf("%s,%zu,%zu,%zu\n", job->name, counted.blocks, counted.asked, counted.peak - kept);
}

/* In a process of its own: libraries whose hooks are for all their blocks bear no second kind of them. */
static void count_held(const char *name)
{
    const struct job *job = begin(name);
    memarena *arena = make_arena();
    struct memory memory = {.from = FROM_ARENA, .scope = open_scope(arena)};
    job->work_in(&memory);
    check(job);
    printf("%s,%zu\n", job->name, memarena_allocated_bytes(memory.scope));
    memarena_destroy(memory.scope);
    memarena_current_unregister(arena);
    memarena_destroy(arena);
}

/* ---- The command line -------------------------------------------------------------------------------------------- */

static size_t number(const char *word)
{
    char *end;
    errno = 0;
    unsigned long value = strtoul(word, &end, 10);
    if (value == 0 || value > 1000000 || *end || errno || word[0] == '-')
        refuse("--rounds takes 1 to 1000000, not ", word);
    return value;
}

int main(int argc, char **argv)
{
    const char *first = argc > 1 ? argv[1] : "";
    if (strcmp(first, "--help") == 0) {
        fputs(usage, stdout);
    } else if (strcmp(first, "--list") == 0 && argc == 2) {
        list();
    } else if (strcmp(first, "--origin") == 0) {
        report_origin(stdout, argc - 2, argv + 2);
    } else if (strcmp(first, "--bytes") == 0 && argc == 3) {
        count_bytes(argv[2]);
    } else if (strcmp(first, "--held") == 0 && argc == 3) {
        count_held(argv[2]);
    } else {
        size_t rounds = ROUNDS;
        int at = 1;
        if (strcmp(first, "--rounds") == 0 && argc > 2) rounds = number(argv[2]), at = 3;
        if (argc - at != 2 || argv[at][0] == '-') refuse("a job and a way are needed", "");
        measure(argv[at], argv[at + 1], rounds);
    }
    if (fflush(stdout) != 0) measure_die("cannot write: %s", strerror(errno));
    return 0;
}
