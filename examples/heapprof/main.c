/* memarena-heapprof: samples a program while it fills an arena, and says which of its functions took the memory. */
#define _GNU_SOURCE /* getopt_long */
#include "heapprof.h"
#include "journal.h"

#include <errno.h>
#include <getopt.h>
#include <pthread.h>
#include <stdlib.h>

#define MAX_THREADS 64u

enum { EXIT_USAGE = 2 };

static const char usage[] = "usage: memarena-heapprof [-b BYTES] [-j THREADS] [-l LINES] [-o FILE]\n";

static const char help[] = "Indexes the words of a made-up log in one arena, samples the blocks, and prints what each\n"
                           "function took: as it counted itself, and as the samples estimate it.\n"
                           "\n"
                           "  -b BYTES    one sample for so many bytes on average, 1 to 2^40; 65536 if not given;\n"
                           "              below 16: every block\n"
                           "  -j THREADS  how many threads, 1 to 64; 2 if not given\n"
                           "  -l LINES    how many lines, 1 to 10^9; 200000 if not given (some 100 MB)\n"
                           "  -o FILE     where to write the folded stacks, `function;function;function bytes`, for\n"
                           "              flamegraph.pl, speedscope and the like; not written if not given\n"
                           "  -h, --help  this text\n"
                           "\n"
                           "exit: 0 done; 1 no memory is left, or the output cannot be written; 2 wrong usage\n";

typedef struct options {
    size_t bytes, threads, lines;
    const char *path;
} options;

/* ---- Options -------------------------------------------------------------------------------------------------------- */

static _Noreturn void wrong_usage(const char *subject, const char *reason)
{
    fprintf(stderr, "memarena-heapprof: %s: %s\n%s", subject, reason, usage);
    exit(EXIT_USAGE);
}

static size_t parse_number(const char *option, const char *text, uint64_t max)
{
    char *end;
    errno = 0;
    unsigned long long number = strtoull(text, &end, 10);
    bool is_number = text[0] >= '0' && text[0] <= '9' && *end == '\0'; /* strtoull takes signs and spaces, too */
    if (!is_number || errno != 0 || number < 1 || number > max || number > SIZE_MAX)
        wrong_usage(option, "not a number in its range");
    return (size_t)number;
}

static int fail(const char *subject, int error)
{
    fprintf(stderr, "memarena-heapprof: %s: %s\n", subject, strerror(error));
    return EXIT_FAILURE;
}

/* The last word on stdout: what could not be written is an error, too. */
static int finish(int status)
{
    return fflush(stdout) == 0 && !ferror(stdout) ? status : fail("standard output", errno);
}

static options parse_options(int argc, char **argv)
{
    static const struct option long_options[] = {{"help", no_argument, NULL, 'h'}, {NULL, 0, NULL, 0}};
    options chosen = {.bytes = 65536, .threads = 2, .lines = 200000};
    opterr = 0; /* the messages are ours */
    for (int option; (option = getopt_long(argc, argv, ":b:j:l:o:h", long_options, NULL)) != -1;) {
        char letter[] = {'-', (char)optopt, '\0'};
        switch (option) {
        case 'b':
            chosen.bytes = parse_number("-b", optarg, UINT64_C(1) << 40);
            break;
        case 'j':
            chosen.threads = parse_number("-j", optarg, MAX_THREADS);
            break;
        case 'l':
            chosen.lines = parse_number("-l", optarg, 1000000000);
            break;
        case 'o':
            chosen.path = optarg;
            break;
        case 'h':
            printf("%s%s", usage, help);
            exit(finish(EXIT_SUCCESS));
        case ':':
            wrong_usage(letter, "needs a value");
        default:
            wrong_usage(optopt ? letter : argv[optind - 1], "no such option");
        }
    }
    if (optind < argc) wrong_usage(argv[optind], "no such argument");
    return chosen;
}

/* ---- The work --------------------------------------------------------------------------------------------------------- */

typedef struct share {
    pthread_t thread;
    memarena *arena;
    size_t first, count;
    bool done;
    journal_counts counts;
} share;

__attribute__((visibility("default"))) void *work(void *argument);

void *work(void *argument)
{
    share *mine = argument;
    mine->done = journal_take_in(mine->arena, mine->first, mine->count, &mine->counts);
    return NULL;
}

/* 0, or an errno. */
static int work_together(memarena *arena, const options *chosen, journal_counts *sum)
{
    static share shares[MAX_THREADS];
    int error = 0;
    size_t started = 0;
    for (; started < chosen->threads && error == 0; started++) {
        share *mine = &shares[started];
        size_t first = chosen->lines / chosen->threads * started;
        bool is_last = started + 1 == chosen->threads;
        *mine = (share){.arena = arena,
                        .first = first + 1,
                        .count = is_last ? chosen->lines - first : chosen->lines / chosen->threads};
        error = pthread_create(&mine->thread, NULL, work, mine);
    }
    if (error) started--;
    for (size_t i = 0; i < started; i++) {
        (void)pthread_join(shares[i].thread, NULL);
        if (!shares[i].done && error == 0) error = ENOMEM;
        for (int site = 0; site < SITES; site++) sum->bytes[site] += shares[i].counts.bytes[site];
    }
    return error;
}

/* ---- What came of it ----------------------------------------------------------------------------------------------------- */

static void print_table(const heapprof *profile, const journal_counts *counts)
{
    uint64_t total = 0, estimate = 0, taken[SITES];
    for (int i = 0; i < SITES; i++) {
        taken[i] = heapprof_taken_by(profile, journal_sites[i]);
        total += counts->bytes[i];
        estimate += taken[i];
    }
    printf("%-14s %14s %7s %14s %7s\n", "function", "bytes", "share", "estimated", "share");
    for (int i = 0; i < SITES; i++)
        printf("%-14s %14llu %6.1f%% %14llu %6.1f%%\n", journal_sites[i], (unsigned long long)counts->bytes[i],
               100 * (double)counts->bytes[i] / (double)total, (unsigned long long)taken[i],
               estimate ? 100 * (double)taken[i] / (double)estimate : 0);
    printf("%-14s %14llu %7s %14llu %7s  from %zu samples\n", "all", (unsigned long long)total, "",
           (unsigned long long)estimate, "", heapprof_samples(profile));
    if (heapprof_lost(profile)) printf("%zu samples were lost for want of memory\n", heapprof_lost(profile));
}

static int write_stacks(heapprof *profile, const char *path)
{
    FILE *file = fopen(path, "w");
    if (!file) return fail(path, errno);
    bool written = heapprof_write(profile, file);
    int error = errno;
    if (fclose(file) != 0 && written) written = false, error = errno;
    return written ? EXIT_SUCCESS : fail(path, error);
}

static int run(memarena *arena, const options *chosen)
{
    journal_counts counts = {0};
    heapprof *profile = heapprof_start(arena, chosen->bytes);
    if (!profile) return fail("cannot begin the profile", errno);
    int error = work_together(arena, chosen, &counts);
    heapprof_stop(profile);
    if (error == 0) print_table(profile, &counts);
    int status = error ? fail("cannot index so many lines", error) : EXIT_SUCCESS;
    if (status == EXIT_SUCCESS && chosen->path) status = write_stacks(profile, chosen->path);
    heapprof_free(profile);
    return status;
}

int main(int argc, char **argv)
{
    options chosen = parse_options(argc, argv);
    memarena *arena = memarena_create(0);
    if (!arena) return fail("cannot create the arena", errno);
    int status = run(arena, &chosen);
    memarena_destroy(arena);
    return finish(status);
}
