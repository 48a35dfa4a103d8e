/* memarena-lua: answers each request with a Lua script in a fresh state, which lives in a scope of an arena and ends
 * with it. */
#define _GNU_SOURCE /* getopt_long */
#include "requests.h"
#include "sandbox.h"

#include "default_script.h" /* handle.lua, made by CMake */

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>

#define MAX_MEMORY (SIZE_MAX >> 8)

enum { EXIT_USAGE = 2 };

static const char usage_text[] =
    "usage: memarena-lua [-s SCRIPT] [-a arena|malloc] [-g on|off] [-m SIZE] [-i COUNT] [--sum] [--time] [--csv]\n"
    "                    [FILE | --requests COUNT [--seed SEED]]\n";

static const char help[] =
    "Calls the function handle(request) of a Lua script for each line of FILE, in a fresh state each\n"
    "time, and prints what it returns. FILE is standard input if it is not given, or -. A request\n"
    "whose script fails or reaches a limit is answered by \"error: \" and why; the next is not\n"
    "affected. A script has the libraries string, table, math and utf8; it cannot read files, run\n"
    "programs, load code or print.\n"
    "\n"
    "  -s, --script SCRIPT       without it, one that makes invoices of orders\n"
    "  -a, --allocator arena     each state in a scope, given back by one call; the default\n"
    "  -a, --allocator malloc    each block from malloc and freed one by one by lua_close\n"
    "  -g, --collector on|off    whether Lua collects garbage during a request; if not given, off in a\n"
    "                            scope, which gets nothing back before its end, and on with malloc\n"
    "  -m, --memory SIZE         of one request; 16M if not given, 0: no limit. In a scope all that it\n"
    "                            took counts, with malloc what it holds\n"
    "  -i, --instructions COUNT  of one request; 10000000 if not given, 0: no limit\n"
    "  -n, --requests COUNT      so many made-up orders instead of FILE\n"
    "  --seed SEED               others for each seed; 1 if not given\n"
    "  --sum                     print counts and a checksum instead of the responses\n"
    "  --time                    the same, and times\n"
    "  --csv                     the same as one line: allocator, collector, requests, errors, bytes,\n"
    "                            release s, total s, CPU s, peak KiB, checksum\n"
    "  -h, --help                this text\n"
    "\n"
    "SIZE is in bytes; K, M or G behind it multiplies.\n"
    "\n"
    "exit: 0 done, even if responses were errors; 1 SCRIPT or FILE cannot be read, SCRIPT is not Lua,\n"
    "      no memory is left, or the output cannot be written; 2 wrong usage\n";

/* ---- Messages --------------------------------------------------------------------------------------------------- */

static int fail_because(const char *subject, const char *reason)
{
    fprintf(stderr, "memarena-lua: %s: %s\n", subject, reason);
    return EXIT_FAILURE;
}

static int fail(const char *subject, int error)
{
    return fail_because(subject, strerror(error));
}

static _Noreturn void wrong_usage(const char *subject, const char *reason)
{
    fail_because(subject, reason);
    fputs(usage_text, stderr);
    exit(EXIT_USAGE);
}

/* The last word on stdout: what could not be written is an error, too. */
static int finish(int status)
{
    return fflush(stdout) == 0 && !ferror(stdout) ? status : fail("standard output", errno);
}

static _Noreturn void print_help(void)
{
    fputs(usage_text, stdout);
    fputs(help, stdout);
    exit(finish(EXIT_SUCCESS));
}

/* ---- Options ---------------------------------------------------------------------------------------------------- */

enum output { OUTPUT_RESPONSES, OUTPUT_SUM, OUTPUT_TIMES, OUTPUT_CSV };

struct options {
    struct sandbox_options sandbox; /* without its arena */
    bool use_malloc, generate;
    uint64_t generate_count, seed;
    enum output output;
    const char *script_path; /* NULL: the default */
    const char *path;        /* NULL: standard input */
};

/* Digits and one of `suffixes`, each of which stands for 1024 times more than the one before. */
static uint64_t parse_number(const char *option, const char *text, const char *suffixes, uint64_t max)
{
    char *end;
    errno = 0;
    unsigned long long number = strtoull(text, &end, 10);
    bool is_number = text[0] >= '0' && text[0] <= '9' && errno == 0; /* strtoull takes signs and spaces, too */
    const char *suffix = *end ? strchr(suffixes, *end) : NULL;
    unsigned shift = suffix ? 10 * (unsigned)(suffix - suffixes + 1) : 0;
    if (suffix) end++;
    if (!is_number || *end || number > max >> shift) wrong_usage(option, "not a number in its range");
    return (uint64_t)number << shift;
}

/* Whether it is the second of two words. */
static bool parse_word(const char *option, const char *text, const char *first, const char *second)
{
    if (strcmp(text, first) == 0) return false;
    if (strcmp(text, second) == 0) return true;
    char reason[64];
    snprintf(reason, sizeof reason, "neither %s nor %s", first, second);
    wrong_usage(option, reason);
}

static struct options parse_options(int argc, char **argv)
{
    struct options options = {.sandbox = {.memory_bytes = (size_t)16 << 20, .instructions = 10000000}, .seed = 1};
    enum { SEED = 256, SUM, TIME, CSV };
    static const struct option long_options[] = {{"script", required_argument, NULL, 's'},
                                                 {"allocator", required_argument, NULL, 'a'},
                                                 {"collector", required_argument, NULL, 'g'},
                                                 {"memory", required_argument, NULL, 'm'},
                                                 {"instructions", required_argument, NULL, 'i'},
                                                 {"requests", required_argument, NULL, 'n'},
                                                 {"seed", required_argument, NULL, SEED},
                                                 {"sum", no_argument, NULL, SUM},
                                                 {"time", no_argument, NULL, TIME},
                                                 {"csv", no_argument, NULL, CSV},
                                                 {"help", no_argument, NULL, 'h'},
                                                 {NULL, 0, NULL, 0}};
    bool has_seed = false, has_collector = false;
    opterr = 0; /* the messages are ours */
    for (int option; (option = getopt_long(argc, argv, ":s:a:g:m:i:n:h", long_options, NULL)) != -1;) {
        char letter[] = {'-', (char)optopt, '\0'};
        const char *given = argv[optind - 1];
        const char *name = optopt > 0 && optopt < SEED && strncmp(given, "--", 2) != 0 ? letter : given;
        switch (option) {
        case 's':
            options.script_path = optarg;
            break;
        case 'a':
            options.use_malloc = parse_word("--allocator", optarg, "arena", "malloc");
            break;
        case 'g':
            has_collector = true;
            options.sandbox.collects = parse_word("--collector", optarg, "off", "on");
            break;
        case 'm':
            options.sandbox.memory_bytes = (size_t)parse_number("--memory", optarg, "KMG", MAX_MEMORY);
            break;
        case 'i':
            options.sandbox.instructions = (int)parse_number("--instructions", optarg, "", INT_MAX);
            break;
        case 'n':
            options.generate = true;
            options.generate_count = parse_number("--requests", optarg, "", UINT64_MAX);
            break;
        case SEED:
            has_seed = true;
            options.seed = parse_number("--seed", optarg, "", UINT64_MAX);
            break;
        case SUM:
            options.output = OUTPUT_SUM;
            break;
        case TIME:
            options.output = OUTPUT_TIMES;
            break;
        case CSV:
            options.output = OUTPUT_CSV;
            break;
        case 'h':
            print_help();
        case ':':
            wrong_usage(name, "needs a value");
        default:
            wrong_usage(name, "no such option");
        }
    }
    if (!has_collector) options.sandbox.collects = options.use_malloc;
    if (has_seed && !options.generate) wrong_usage("--seed", "only with --requests");
    if (optind < argc && options.generate) wrong_usage(argv[optind], "no FILE with --requests");
    if (optind < argc) options.path = argv[optind++];
    if (optind < argc) wrong_usage(argv[optind], "one FILE only");
    if (options.path && strcmp(options.path, "-") == 0) options.path = NULL;
    return options;
}

/* ---- Script ----------------------------------------------------------------------------------------------------- */

/* The whole file, not terminated, to be freed. Fails: NULL; errno. */
static char *read_file(const char *path, size_t *length)
{
    FILE *file = fopen(path, "r");
    if (!file) return NULL;
    size_t capacity = 4096, got;
    char *text = malloc(capacity);
    *length = 0;
    while (text && (got = fread(text + *length, 1, capacity - *length, file)) > 0) {
        *length += got;
        if (*length < capacity) continue;
        char *more = realloc(text, capacity *= 2);
        if (!more) free(text);
        text = more;
    }
    if (text && ferror(file)) {
        int error = errno;
        free(text);
        text = NULL;
        errno = error;
    }
    fclose(file);
    return text;
}

/* Says what is wrong where it returns NULL. */
static struct script *load_script(const char *path)
{
    char message[256], name[256];
    size_t length;
    char *text = path ? read_file(path, &length) : NULL;
    if (path && !text) {
        fail(path, errno);
        return NULL;
    }
    snprintf(name, sizeof name, "@%s", path ? path : "handle.lua");
    struct script *script = text ? script_compile(text, length, name, message, sizeof message)
                                 : script_compile(default_script, sizeof default_script, name, message, sizeof message);
    free(text);
    if (!script) fprintf(stderr, "memarena-lua: %s\n", message);
    return script;
}

/* ---- The run ---------------------------------------------------------------------------------------------------- */

struct sums {
    uint64_t requests, errors, bytes, checksum;
    double seconds, release_seconds;
};

static double seconds_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static void add_response(struct sums *sums, const struct sandbox_response *response)
{
    uint64_t hash = (sums->checksum ^ response->is_error) * 0x100000001b3; /* FNV-1a */
    for (size_t i = 0; i < response->length; i++) hash = (hash ^ (unsigned char)response->text[i]) * 0x100000001b3;
    sums->checksum = hash;
    sums->requests++;
    sums->errors += response->is_error;
    sums->bytes += response->length;
}

static void print_response(const struct sandbox_response *response)
{
    if (response->is_error) fputs("error: ", stdout);
    fwrite(response->text, 1, response->length, stdout);
    putchar('\n');
}

static struct sums answer(struct requests *requests, const struct script *script, const struct sandbox_options *sandbox,
                          bool prints)
{
    struct sums sums = {.checksum = 0xcbf29ce484222325};
    size_t length;
    double start = seconds_now();
    for (const char *request; !ferror(stdout) && (request = requests_next(requests, &length)) != NULL;) {
        struct sandbox_response response = sandbox_call(script, sandbox, request, length);
        add_response(&sums, &response);
        if (prints) print_response(&response);
        double before_end = seconds_now();
        sandbox_end(&response);
        sums.release_seconds += seconds_now() - before_end;
    }
    sums.seconds = seconds_now() - start;
    return sums;
}

static void print_sums(const struct options *options, const struct sums *sums)
{
    const char *allocator = options->use_malloc ? "malloc" : "arena";
    const char *collector = options->sandbox.collects ? "on" : "off";
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    double cpu_seconds = (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
                         (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1e-6;
    if (options->output == OUTPUT_CSV) {
        printf("%s,%s,%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%.6f,%.6f,%.6f,%ld,%016" PRIx64 "\n", allocator, collector,
               sums->requests, sums->errors, sums->bytes, sums->release_seconds, sums->seconds, cpu_seconds,
               usage.ru_maxrss, sums->checksum);
        return;
    }
    printf("%-12s %" PRIu64 ", %" PRIu64 " answered by an error\n", "requests", sums->requests, sums->errors);
    printf("%-12s %" PRIu64 " bytes\n", "responses", sums->bytes);
    printf("%-12s %016" PRIx64 "\n", "checksum", sums->checksum);
    if (options->output != OUTPUT_TIMES) return;
    double seconds = sums->seconds > 0 ? sums->seconds : 1e-9;
    printf("%-12s %s, collector %s\n", "allocator", allocator, collector);
    printf("%-12s %.6f s, %.0f requests/s\n", "time", seconds, (double)sums->requests / seconds);
    printf("%-12s %.6f s\n", "release", sums->release_seconds);
    printf("%-12s %.6f s\n", "CPU", cpu_seconds);
    printf("%-12s %.1f MiB\n", "peak memory", (double)usage.ru_maxrss / 1024); /* KiB on Linux and the BSDs */
}

static int run(const struct options *options, const struct script *script, memarena *arena)
{
    const char *file = options->path ? options->path : "standard input";
    struct requests *requests =
        options->generate ? requests_generate(options->generate_count, options->seed) : requests_open(options->path);
    if (!requests) return fail(options->generate ? "cannot make requests" : file, errno);
    struct sandbox_options sandbox = options->sandbox;
    sandbox.arena = arena;
    struct sums sums = answer(requests, script, &sandbox, options->output == OUTPUT_RESPONSES);
    int error = requests_error(requests);
    requests_close(requests);
    if (error != 0) return fail(file, error);
    if (options->output != OUTPUT_RESPONSES) print_sums(options, &sums);
    return EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
    struct options options = parse_options(argc, argv);
    struct script *script = load_script(options.script_path);
    if (!script) return EXIT_FAILURE;
    memarena *arena = options.use_malloc ? NULL : memarena_create(0);
    int status = arena || options.use_malloc ? run(&options, script, arena) : fail("cannot create the arena", errno);
    memarena_destroy(arena);
    script_destroy(script);
    return finish(status);
}
