/* memarena-index: indexes the identifiers of a tree of files in one arena shared by all threads, or with malloc, and
 * says how long it took to build the index and to give it back. */
#define _GNU_SOURCE /* getopt_long */
#include "clock.h"
#include "console.h"
#include "index.h"
#include "summary.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define MAX_THREADS 1024u
#define MAX_TOP 1000u

enum { EXIT_USAGE = 2 };

static const char usage[] = "usage: memarena-index [-j THREADS] [-a arena|malloc] [-n TOP] [--csv] [DIR]\n";

static const char help[] =
    "Indexes every identifier ([A-Za-z_][A-Za-z0-9_]*, in comments and strings too) of every\n"
    "file below DIR (/usr/include if not given) by file, line and column. All threads build one\n"
    "index together, from millions of small blocks.\n"
    "\n"
    "  -j THREADS  how many threads work, 1 to 1024; as many as CPUs if not given\n"
    "  -a arena    all blocks from one memarena, given back by one call; the default\n"
    "  -a malloc   each block from malloc, each freed, all threads freeing a part\n"
    "  -n TOP      how many of the most frequent identifiers to print, 0 to 1000; 10 if not given\n"
    "  --csv       one line on stdout: allocator, threads, files, unreadable, identifiers,\n"
    "              occurrences, blocks, bytes, walk s, build s, release s, peak KiB, checksum\n"
    "  -h, --help  this text\n"
    "\n"
    "Links to files are read; links to directories are counted and not followed. What cannot be\n"
    "read, and what is neither file nor directory, gets a line on stderr and is counted.\n"
    "\n"
    "exit: 0 done, even if files could not be read; 1 DIR cannot be opened, or no memory is left,\n"
    "      or the output cannot be written; 2 wrong usage\n";

/* ---- Options -------------------------------------------------------------------------------------------------- */

struct options {
    const struct index_kind *kind;
    const char *directory;
    unsigned threads, top;
    bool csv;
};

static _Noreturn void wrong_usage(const char *subject, const char *reason)
{
    console_message(subject, reason);
    fputs(usage, stderr);
    exit(EXIT_USAGE);
}

static unsigned parse_number(const char *option, const char *text, unsigned min, unsigned max)
{
    char *end;
    errno = 0;
    unsigned long number = strtoul(text, &end, 10);
    bool is_number = text[0] >= '0' && text[0] <= '9' && *end == '\0'; /* strtoul takes signs and spaces, too */
    if (!is_number || errno != 0 || number < min || number > max) wrong_usage(option, "not a number in its range");
    return (unsigned)number;
}

static const struct index_kind *parse_allocator(const char *text)
{
    if (strcmp(text, index_arena.allocator) == 0) return &index_arena;
    if (strcmp(text, index_malloc.allocator) == 0) return &index_malloc;
    wrong_usage("-a", "neither arena nor malloc");
}

static unsigned online_cpus(void)
{
    long cpus = sysconf(_SC_NPROCESSORS_ONLN);
    if (cpus < 1) return 1;
    return cpus > (long)MAX_THREADS ? MAX_THREADS : (unsigned)cpus;
}

/* The last word on stdout: what could not be written is an error, too. */
static int finish(int status)
{
    if (fflush(stdout) == 0 && !ferror(stdout)) return status;
    console_error("standard output", errno);
    return EXIT_FAILURE;
}

static _Noreturn void print_help(void)
{
    fputs(usage, stdout);
    fputs(help, stdout);
    exit(finish(EXIT_SUCCESS));
}

static struct options parse_options(int argc, char **argv)
{
    struct options options = {.kind = &index_arena, .directory = "/usr/include", .threads = online_cpus(), .top = 10};
    enum { CSV = 256 };
    static const struct option long_options[] = {
        {"csv", no_argument, NULL, CSV}, {"help", no_argument, NULL, 'h'}, {NULL, 0, NULL, 0}};
    opterr = 0; /* the messages are ours */
    for (int option; (option = getopt_long(argc, argv, ":j:a:n:h", long_options, NULL)) != -1;) {
        char letter[] = {'-', (char)optopt, '\0'};
        bool is_letter = optopt > 0 && optopt < CSV;
        const char *name = is_letter ? letter : argv[optind - 1];
        switch (option) {
        case 'j':
            options.threads = parse_number("-j", optarg, 1, MAX_THREADS);
            break;
        case 'a':
            options.kind = parse_allocator(optarg);
            break;
        case 'n':
            options.top = parse_number("-n", optarg, 0, MAX_TOP);
            break;
        case CSV:
            options.csv = true;
            break;
        case 'h':
            print_help();
        case ':':
            wrong_usage(name, "needs a value");
        default:
            wrong_usage(name, "no such option");
        }
    }
    if (optind < argc) options.directory = argv[optind++];
    if (optind < argc) wrong_usage(argv[optind], "one DIR only");
    return options;
}

/* ---- Report --------------------------------------------------------------------------------------------------- */

struct times {
    double walk, build, release; /* seconds */
};

static size_t peak_resident_kib(void)
{
    struct rusage usage_so_far;
    getrusage(RUSAGE_SELF, &usage_so_far);
    return (size_t)usage_so_far.ru_maxrss; /* in KiB on Linux and the BSDs */
}

static void print_csv(const struct options *options, const struct summary *summary, size_t unreadable,
                      const struct times *times)
{
    printf("%s,%u,%zu,%zu,%zu,%zu,%zu,%zu,%.6f,%.6f,%.6f,%zu,%016llx\n", options->kind->allocator, options->threads,
           summary->files, unreadable, summary->identifiers, summary->occurrences, summary->blocks, summary->bytes,
           times->walk, times->build, times->release, peak_resident_kib(), (unsigned long long)summary->checksum);
}

/* Before the release: the names are blocks of the index. */
static void print_top(const struct summary *summary)
{
    if (summary->top_count == 0) return;
    printf("%10s %8s  %s\n", "times", "files", "identifier");
    for (size_t i = 0; i < summary->top_count; i++) {
        const struct ranked *ranked = &summary->top[i];
        printf("%10zu %8zu  %s\n", ranked->occurrences, ranked->files, ranked->identifier->name);
    }
    putchar('\n');
}

static void print_report(const struct options *options, const struct summary *summary, size_t unreadable,
                         size_t linked_dirs, const struct times *times)
{
    printf("%-12s %zu below %s\n", "files", summary->files, options->directory);
    if (unreadable > 0) printf("%-12s %zu file%s could not be read\n", "", unreadable, unreadable == 1 ? "" : "s");
    if (linked_dirs > 0)
        printf("%-12s %zu link%s to directories not followed\n", "", linked_dirs, linked_dirs == 1 ? "" : "s");
    printf("%-12s %zu, met %zu times\n", "identifiers", summary->identifiers, summary->occurrences);
    printf("%-12s %zu of %zu bytes in all\n", "blocks", summary->blocks, summary->bytes);
    printf("%-12s %s, threads: %u\n", "allocator", options->kind->allocator, options->threads);
    printf("%-12s %.6f s (%.6f s to list the files, before)\n", "build", times->build, times->walk);
    printf("%-12s %.6f s\n", "release", times->release);
    printf("%-12s %.1f MiB\n", "peak memory", (double)peak_resident_kib() / 1024);
    printf("%-12s %016llx\n", "checksum", (unsigned long long)summary->checksum);
}

/* ---- The run -------------------------------------------------------------------------------------------------- */

static int fail(const char *subject)
{
    console_error(subject, errno);
    return EXIT_FAILURE;
}

static int run(const struct options *options)
{
    struct file_list list;
    struct index index;
    struct times times;

    double start = clock_seconds();
    if (!files_list(&list, options->directory)) return fail(options->directory);
    double listed = clock_seconds();
    if (!options->kind->build(&index, &list, options->threads)) return fail("cannot begin the index");
    double built = clock_seconds();

    size_t unreadable = list.unreadable + atomic_load_explicit(&index.unreadable, memory_order_relaxed);
    struct summary summary = summary_of(&index, options->top, options->threads);
    if (!options->csv) print_top(&summary);

    double release_start = clock_seconds();
    options->kind->release(&index, options->threads);
    times = (struct times){listed - start, built - listed, clock_seconds() - release_start};

    if (options->csv)
        print_csv(options, &summary, unreadable, &times);
    else
        print_report(options, &summary, unreadable, list.linked_dirs, &times);
    summary_release(&summary);
    files_release(&list);
    return EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
    console_open();
    struct options options = parse_options(argc, argv);
    return finish(run(&options));
}
