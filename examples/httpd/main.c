/* memarena-httpd: a small HTTP server, JSON in and JSON out. All requests share one arena; each has a scope of its own
 * in it, with a limit, which ends with the request. */
#define _GNU_SOURCE /* getopt_long */
#include "server.h"
#include "service.h"

#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MAX_THREADS 64u
#define MAX_IDLE 3600u
#define MIN_ARENA ((size_t)64 << 10)
#define MIN_LIMIT ((size_t)1 << 10) /* less does not hold the request itself */

enum { EXIT_USAGE = 2 };

static const char usage[] =
    "usage: memarena-httpd [-p PORT] [-j THREADS] [-a SIZE] [-l SIZE] [-i SECONDS] [--malloc]\n";

static const char help[] =
    "Answers HTTP requests on 127.0.0.1 until SIGINT or SIGTERM:\n"
    "\n"
    "  POST /totals  {\"items\":[{\"name\":\"tea\",\"price\":2.5,\"count\":4},...]}: totals by name, sorted\n"
    "  GET /memory   what the arena holds\n"
    "\n"
    "  -p PORT     0: any free one, which is printed; 8080 if not given\n"
    "  -j THREADS  how many threads answer, 1 to 64; as many as CPUs if not given\n"
    "  -a SIZE     of the arena that all requests share, at least 64K; 64M if not given\n"
    "  -l SIZE     the most that one request may have of it, at least 1K; 1M if not given\n"
    "  -i SECONDS  after which a silent client is cut off, 1 to 3600; 10 if not given\n"
    "  --malloc    for comparison: no arena, every block from malloc and freed one by one\n"
    "  -h, --help  this text\n"
    "\n"
    "SIZE is in bytes; K, M or G behind it multiplies. An answer is 400 when the body is not what\n"
    "it should be, 413 when the request reaches its limit, 503 when the arena is full.\n"
    "\n"
    "exit: 0 told to stop, and every request's memory was back by then; 1 cannot listen, no memory,\n"
    "      the output cannot be written, or memory was not back; 2 wrong usage\n";

/* ---- Messages ---------------------------------------------------------------------------------------------------- */

static void message(const char *subject, const char *reason)
{
    fprintf(stderr, "memarena-httpd: %s: %s\n", subject, reason);
}

static int fail(const char *subject)
{
    message(subject, strerror(errno));
    return EXIT_FAILURE;
}

static _Noreturn void wrong_usage(const char *subject, const char *reason)
{
    message(subject, reason);
    fputs(usage, stderr);
    exit(EXIT_USAGE);
}

/* What could not be written is an error, too. */
static int finish(int status)
{
    return fflush(stdout) == 0 && !ferror(stdout) ? status : fail("standard output");
}

static _Noreturn void print_help(void)
{
    fputs(usage, stdout);
    fputs(help, stdout);
    exit(finish(EXIT_SUCCESS));
}

/* ---- Options ----------------------------------------------------------------------------------------------------- */

struct options {
    uint16_t port;
    unsigned threads, idle_seconds;
    size_t arena_bytes, limit_bytes;
    bool use_malloc;
};

/* Digits and one of `suffixes`, each of which stands for 1024 times more than the one before. */
static size_t parse_number(const char *option, const char *text, const char *suffixes, size_t min, size_t max)
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
    return (size_t)number << shift;
}

static unsigned online_cpus(void)
{
    long cpus = sysconf(_SC_NPROCESSORS_ONLN);
    if (cpus < 1) return 1;
    return cpus > (long)MAX_THREADS ? MAX_THREADS : (unsigned)cpus;
}

static struct options parse_options(int argc, char **argv)
{
    struct options options = {.port = 8080,
                              .threads = online_cpus(),
                              .idle_seconds = 10,
                              .arena_bytes = (size_t)64 << 20,
                              .limit_bytes = (size_t)1 << 20};
    enum { MALLOC = 256 };
    static const struct option long_options[] = {
        {"malloc", no_argument, NULL, MALLOC}, {"help", no_argument, NULL, 'h'}, {NULL, 0, NULL, 0}};
    opterr = 0; /* the messages are ours */
    for (int option; (option = getopt_long(argc, argv, ":p:j:a:l:i:h", long_options, NULL)) != -1;) {
        char letter[] = {'-', (char)optopt, '\0'};
        bool is_letter = optopt > 0 && optopt < MALLOC;
        const char *name = is_letter ? letter : argv[optind - 1];
        switch (option) {
        case 'p':
            options.port = (uint16_t)parse_number("-p", optarg, "", 0, UINT16_MAX);
            break;
        case 'j':
            options.threads = (unsigned)parse_number("-j", optarg, "", 1, MAX_THREADS);
            break;
        case 'a':
            options.arena_bytes = parse_number("-a", optarg, "KMG", MIN_ARENA, SIZE_MAX >> 8);
            break;
        case 'l':
            options.limit_bytes = parse_number("-l", optarg, "KMG", MIN_LIMIT, SIZE_MAX >> 8);
            break;
        case 'i':
            options.idle_seconds = (unsigned)parse_number("-i", optarg, "", 1, MAX_IDLE);
            break;
        case MALLOC:
            options.use_malloc = true;
            break;
        case 'h':
            print_help();
        case ':':
            wrong_usage(name, "needs a value");
        default:
            wrong_usage(name, "no such option");
        }
    }
    if (optind < argc) wrong_usage(argv[optind], "no such argument");
    return options;
}

/* ---- The run ----------------------------------------------------------------------------------------------------- */

/* All signals that end the program, blocked from now on in every thread: only sigwait sees them. */
static sigset_t block_signals(void)
{
    sigset_t signals;
    signal(SIGPIPE, SIG_IGN); /* a client that is gone is an error of its connection */
    sigemptyset(&signals);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &signals, NULL);
    return signals;
}

static void print_summary(const struct server_counts *counts, const memarena_stats *stats)
{
    printf("memarena-httpd: %llu requests, %llu too large, %llu while busy", counts->requests, counts->too_large,
           counts->busy);
    /* Scopes never give memory back further than to the arena's free extents: their sum is the most there ever was. */
    if (stats)
        printf("; at most %zu KiB taken from the arena", (stats->allocated_bytes + stats->free_extent_bytes) >> 10);
    putchar('\n');
}

/* Once all requests are over, all memory must be back. */
static int check_arena(memarena *arena, const struct server_counts *counts)
{
    memarena_stats stats;
    memarena_get_stats(arena, &stats, sizeof stats);
    print_summary(counts, &stats);
    if (stats.open_scopes == 0 && stats.allocated_bytes == 0) return EXIT_SUCCESS;
    fprintf(stderr, "memarena-httpd: leak: %llu scopes were never ended, %zu bytes\n",
            (unsigned long long)stats.open_scopes, stats.allocated_bytes);
    return EXIT_FAILURE;
}

static int serve(const struct options *options, memarena *arena)
{
    sigset_t signals = block_signals();
    memory_install(arena, options->limit_bytes);
    service_install(arena);
    struct server *server = server_start(options->port, options->threads, options->idle_seconds);
    if (!server) return fail("cannot listen");
    printf("memarena-httpd: http://127.0.0.1:%u, %u thread%s, %s\n", (unsigned)server_port(server), options->threads,
           options->threads == 1 ? "" : "s", arena ? "arena" : "malloc");
    int status = finish(EXIT_SUCCESS), signal_number;
    if (status == EXIT_SUCCESS) sigwait(&signals, &signal_number);

    struct server_counts counts = server_stop(server);
    if (arena)
        status |= check_arena(arena, &counts);
    else
        print_summary(&counts, NULL);
    return finish(status);
}

int main(int argc, char **argv)
{
    struct options options = parse_options(argc, argv);
    memarena *arena = options.use_malloc
                          ? NULL
                          : memarena_create_with(&(memarena_options){.capacity = options.arena_bytes, .name = "httpd"});
    if (!arena && !options.use_malloc) return fail("cannot create the arena");
    int status = serve(&options, arena);
    memarena_destroy(arena);
    return status;
}
