/* memarena-ingest: parses JSON lines in several threads, adds them up in another, and gives a whole batch of parsed
 * records back at once: one arena, a scope for each batch. */
#define _GNU_SOURCE /* getopt_long */
#include "generate.h"
#include "pipeline.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define MAX_THREADS 256u
#define MAX_TOP 100000u
#define MIN_BATCH ((size_t)1 << 10)
#define MIN_MEMORY ((size_t)64 << 10)
#define MAX_SIZE (SIZE_MAX >> 8)

enum { EXIT_USAGE = 2 };

static const char usage_text[] =
    "usage: memarena-ingest [-j THREADS] [-a arena|malloc|malloc-own] [-b SIZE] [-m SIZE] [-n TOP] [--time] [--csv]\n"
    "                       [FILE]\n"
    "       memarena-ingest --generate COUNT [--seed SEED]\n";

static const char help[] =
    "Reads log records, one JSON object a line, and prints for each service how many there were,\n"
    "how many errors (status 500 and above), latencies and bytes. FILE is standard input if it is\n"
    "not given, or -. A record needs service, status, latency_us and bytes; a line without them, or\n"
    "that is not JSON, is counted and left out, and the first five are shown. Blank lines are none.\n"
    "\n"
    "  -j, --threads N      how many threads parse, 1 to 256; as many as CPUs if not given\n"
    "  -a, --allocator A    what a batch of parsed records is made of, and who gives it back:\n"
    "       arena           a scope of one arena, reset by the thread that has added it up; the default\n"
    "       malloc          malloc, freed by the thread that has added it up\n"
    "       malloc-own      malloc, freed by the thread that has parsed it, once it is added up\n"
    "  -b, --batch SIZE     of the text of a batch, at least 1K; 256K if not given. Longer lines are\n"
    "                       batches of their own\n"
    "  -m, --memory SIZE    of the arena that all batches share, at least 64K; that of the machine if\n"
    "                       not given\n"
    "  -n, --top TOP        how many services to print, 0 to 100000; 20 if not given\n"
    "  --time               print times, too\n"
    "  --csv                one line on stdout: allocator, threads, records, rejected, services,\n"
    "                       parse s, aggregate s, release s, total s, CPU s, peak KiB, checksum\n"
    "  --generate COUNT     print so many made-up records\n"
    "  --seed SEED          others for each seed; 1 if not given\n"
    "  -h, --help           this text\n"
    "\n"
    "SIZE is in bytes; K, M or G behind it multiplies.\n"
    "\n"
    "exit: 0 done, even if lines were left out; 1 FILE cannot be read, no memory is left, or the\n"
    "      output cannot be written; 2 wrong usage\n";

static const char *const allocator_names[] = {
    [ALLOCATOR_ARENA] = "arena", [ALLOCATOR_MALLOC] = "malloc", [ALLOCATOR_MALLOC_OWN] = "malloc-own"};

/* ---- Messages --------------------------------------------------------------------------------------------------- */

static void message(const char *subject, const char *reason)
{
    fprintf(stderr, "memarena-ingest: %s: %s\n", subject, reason);
}

static int fail(const char *subject)
{
    message(subject, strerror(errno));
    return EXIT_FAILURE;
}

static _Noreturn void wrong_usage(const char *subject, const char *reason)
{
    message(subject, reason);
    fputs(usage_text, stderr);
    exit(EXIT_USAGE);
}

/* The last word on stdout: what could not be written is an error, too. */
static int finish(int status)
{
    return fflush(stdout) == 0 && !ferror(stdout) ? status : fail("standard output");
}

static _Noreturn void print_help(void)
{
    fputs(usage_text, stdout);
    fputs(help, stdout);
    exit(finish(EXIT_SUCCESS));
}

/* ---- Options ---------------------------------------------------------------------------------------------------- */

struct options {
    struct pipeline_options pipeline;
    size_t batch_bytes;
    unsigned top;
    bool times, csv, generate;
    uint64_t generate_count, seed;
    const char *path; /* NULL: standard input */
};

/* Digits and one of `suffixes`, each of which stands for 1024 times more than the one before. */
static uint64_t parse_number(const char *option, const char *text, const char *suffixes, uint64_t min, uint64_t max)
{
    char *end;
    errno = 0;
    unsigned long long number = strtoull(text, &end, 10);
    bool is_number = text[0] >= '0' && text[0] <= '9' && errno == 0; /* strtoull takes signs and spaces, too */
    const char *suffix = *end ? strchr(suffixes, *end) : NULL;
    unsigned shift = suffix ? 10 * (unsigned)(suffix - suffixes + 1) : 0;
    if (suffix) end++;
    if (!is_number || *end || number > max >> shift || number << shift < min)
        wrong_usage(option, "not a number in its range");
    return (uint64_t)number << shift;
}

static enum allocator parse_allocator(const char *option, const char *text)
{
    for (int i = ALLOCATOR_ARENA; i <= ALLOCATOR_MALLOC_OWN; i++)
        if (strcmp(text, allocator_names[i]) == 0) return (enum allocator)i;
    wrong_usage(option, "none of arena, malloc, malloc-own");
}

static unsigned online_cpus(void)
{
    long cpus = sysconf(_SC_NPROCESSORS_ONLN);
    if (cpus < 1) return 1;
    return cpus > (long)MAX_THREADS ? MAX_THREADS : (unsigned)cpus;
}

static struct options parse_options(int argc, char **argv)
{
    struct options options = {.pipeline = {.allocator = ALLOCATOR_ARENA, .threads = online_cpus()},
                              .batch_bytes = (size_t)256 << 10,
                              .top = 20,
                              .seed = 1};
    enum { TIME = 256, CSV, GENERATE, SEED };
    static const struct option long_options[] = {{"threads", required_argument, NULL, 'j'},
                                                 {"allocator", required_argument, NULL, 'a'},
                                                 {"batch", required_argument, NULL, 'b'},
                                                 {"memory", required_argument, NULL, 'm'},
                                                 {"top", required_argument, NULL, 'n'},
                                                 {"time", no_argument, NULL, TIME},
                                                 {"csv", no_argument, NULL, CSV},
                                                 {"generate", required_argument, NULL, GENERATE},
                                                 {"seed", required_argument, NULL, SEED},
                                                 {"help", no_argument, NULL, 'h'},
                                                 {NULL, 0, NULL, 0}};
    bool has_seed = false;
    opterr = 0; /* the messages are ours */
    for (int option; (option = getopt_long(argc, argv, ":j:a:b:m:n:h", long_options, NULL)) != -1;) {
        char letter[] = {'-', (char)optopt, '\0'};
        const char *given = argv[optind - 1];
        const char *name = optopt > 0 && optopt < TIME && strncmp(given, "--", 2) != 0 ? letter : given;
        switch (option) {
        case 'j':
            options.pipeline.threads = (unsigned)parse_number("--threads", optarg, "", 1, MAX_THREADS);
            break;
        case 'a':
            options.pipeline.allocator = parse_allocator("--allocator", optarg);
            break;
        case 'b':
            options.batch_bytes = (size_t)parse_number("--batch", optarg, "KMG", MIN_BATCH, MAX_SIZE);
            break;
        case 'm':
            options.pipeline.memory_bytes = (size_t)parse_number("--memory", optarg, "KMG", MIN_MEMORY, MAX_SIZE);
            break;
        case 'n':
            options.top = (unsigned)parse_number("--top", optarg, "", 0, MAX_TOP);
            break;
        case TIME:
            options.times = true;
            break;
        case CSV:
            options.csv = true;
            break;
        case GENERATE:
            options.generate = true;
            options.generate_count = parse_number("--generate", optarg, "", 0, UINT64_MAX);
            break;
        case SEED:
            has_seed = true;
            options.seed = parse_number("--seed", optarg, "", 0, UINT64_MAX);
            break;
        case 'h':
            print_help();
        case ':':
            wrong_usage(name, "needs a value");
        default:
            wrong_usage(name, "no such option");
        }
    }
    if (has_seed && !options.generate) wrong_usage("--seed", "only with --generate");
    if (optind < argc && options.generate) wrong_usage(argv[optind], "no FILE with --generate");
    if (optind < argc) options.path = argv[optind++];
    if (optind < argc) wrong_usage(argv[optind], "one FILE only");
    if (options.path && strcmp(options.path, "-") == 0) options.path = NULL;
    return options;
}

/* ---- Report ----------------------------------------------------------------------------------------------------- */

struct usage {
    size_t peak_kib;
    double cpu_seconds; /* of all threads, in the kernel, too */
};

static struct usage usage_so_far(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (struct usage){.peak_kib = (size_t)usage.ru_maxrss, /* in KiB on Linux and the BSDs */
                          .cpu_seconds = (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
                                         (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1e-6};
}

/* Padded to `width` bytes. A name comes from the input: what would move the cursor is not printed. */
static void print_name(const char *name, size_t width)
{
    size_t length = strlen(name);
    for (const char *at = name; *at; at++) putchar((unsigned char)*at < ' ' || *at == 127 ? '?' : *at);
    printf("%*s", (int)(length < width ? width - length : 0), "");
}

static void print_services(struct totals *totals, const struct service *const *sorted, size_t top)
{
    size_t count = totals_services(totals) < top ? totals_services(totals) : top;
    if (count == 0) return;
    printf("%-16s %10s %8s %10s %10s %10s %10s\n", "service", "records", "errors", "p50 ms", "p99 ms", "max ms", "MB");
    for (size_t i = 0; i < count; i++) {
        const struct service *service = sorted[i];
        print_name(service->name, 16);
        printf(" %10" PRIu64 " %8" PRIu64 " %10.3f %10.3f %10.3f %10.3f\n", service->records, service->errors,
               (double)service_percentile_us(service, 50) / 1e3, (double)service_percentile_us(service, 99) / 1e3,
               (double)service->max_us / 1e3, (double)service->bytes / 1e6);
    }
    if (count < totals_services(totals)) printf("... and %zu more\n", totals_services(totals) - count);
    putchar('\n');
}

static void print_times(const struct pipeline_result *result, const struct totals *totals, size_t bytes)
{
    double seconds = result->seconds > 0 ? result->seconds : 1e-9;
    printf("%-12s %.6f s, %.0f records/s, %.1f MB/s\n", "time", seconds, (double)totals_records(totals) / seconds,
           (double)bytes / 1e6 / seconds);
    printf("%-12s %.6f s, sum of %u thread%s\n", "parse", result->parse_seconds, result->threads,
           result->threads == 1 ? "" : "s");
    printf("%-12s %.6f s\n", "aggregate", result->aggregate_seconds);
    printf("%-12s %.6f s\n", "release", result->release_seconds);
    struct usage usage = usage_so_far();
    printf("%-12s %.6f s in all\n", "CPU", usage.cpu_seconds);
    printf("%-12s %.1f MiB\n", "peak memory", (double)usage.peak_kib / 1024);
}

static void print_csv(const struct options *options, const struct pipeline_result *result, const struct totals *totals)
{
    const struct reject *first;
    struct usage usage = usage_so_far();
    printf("%s,%u,%" PRIu64 ",%" PRIu64 ",%zu", allocator_names[options->pipeline.allocator], options->pipeline.threads,
           totals_records(totals), totals_rejected(totals, &first), totals_services(totals));
    printf(",%.6f,%.6f,%.6f,%.6f", result->parse_seconds, result->aggregate_seconds, result->release_seconds,
           result->seconds);
    printf(",%.6f,%zu,%016" PRIx64 "\n", usage.cpu_seconds, usage.peak_kib, totals_checksum(totals));
}

static void print_rejects(const struct totals *totals, const char *file)
{
    const struct reject *first;
    uint64_t count = totals_rejected(totals, &first);
    for (size_t i = 0; i < count && i < REJECTS_SHOWN; i++) {
        fprintf(stderr, "memarena-ingest: %s:%zu: ", file, first[i].line);
        if (first[i].reason)
            fprintf(stderr, "%s\n", first[i].reason);
        else
            fprintf(stderr, "not JSON from byte %zu on\n", first[i].byte);
    }
    if (count > REJECTS_SHOWN)
        fprintf(stderr, "memarena-ingest: %s: and %" PRIu64 " more lines left out\n", file, count - REJECTS_SHOWN);
}

static int print_failure(const struct pipeline_result *result, const char *file)
{
    fprintf(stderr, "memarena-ingest: %s", file);
    if (result->failed_line > 0) fprintf(stderr, ":%zu", result->failed_line);
    fprintf(stderr, ": %s: %s\n", result->failed, strerror(result->error));
    return EXIT_FAILURE;
}

/* ---- The run ---------------------------------------------------------------------------------------------------- */

static int report(const struct options *options, const struct pipeline_result *result, struct totals *totals,
                  const char *file, size_t bytes)
{
    const struct reject *first;
    if (result->failed) return print_failure(result, file);
    if (result->threads < options->pipeline.threads) message("fewer threads than asked for", "the system gave no more");
    print_rejects(totals, file);
    if (options->csv) {
        print_csv(options, result, totals);
        return EXIT_SUCCESS;
    }
    const struct service *const *sorted = totals_sorted(totals);
    if (!sorted) return fail("no memory for the table");
    print_services(totals, sorted, options->top);
    printf("%-12s %" PRIu64 " of %zu services, %.1f MB, %" PRIu64 " lines left out\n", "records",
           totals_records(totals), totals_services(totals), (double)bytes / 1e6, totals_rejected(totals, &first));
    printf("%-12s %016" PRIx64 "\n", "checksum", totals_checksum(totals));
    if (options->times) print_times(result, totals, bytes);
    return EXIT_SUCCESS;
}

static int run(const struct options *options)
{
    const char *file = options->path ? options->path : "standard input";
    struct input *input = input_open(options->path, options->batch_bytes);
    if (!input) return fail(file);
    struct totals *totals = totals_create();
    int status = EXIT_FAILURE;
    if (totals) {
        struct pipeline_result result = pipeline_run(&options->pipeline, input, totals);
        status = report(options, &result, totals, file, input_bytes(input));
    } else {
        fail("no memory for the totals");
    }
    totals_destroy(totals);
    input_close(input);
    return status;
}

int main(int argc, char **argv)
{
    struct options options = parse_options(argc, argv);
    if (options.generate) generate_records(stdout, options.generate_count, options.seed);
    return finish(options.generate ? EXIT_SUCCESS : run(&options));
}
