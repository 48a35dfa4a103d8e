#define _POSIX_C_SOURCE 200809L /* barriers */
/* memarena-map: some threads work in an arena, and while they are at it a picture is taken of it. */
#include <errno.h>
#include <memarena/look.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define THREADS_MAX 64u
#define MIB ((size_t)1 << 20)
#define ROUNDS 400u

static const char usage[] = "usage: memarena-map [-j THREADS] [-c MIB] FILE\n";
static const char help[] =
    "Threads work in one arena as a server's would: small blocks that stay, scopes that end, now and then a large\n"
    "block. Then FILE is written: a page with a picture of the arena and its numbers, or the picture alone.\n"
    "\n"
    "  FILE        ends in .html or .svg\n"
    "  -j THREADS  1 to 64; 6 by default\n"
    "  -c MIB      the arena's capacity, 1 to 65536; 64 by default\n"
    "  -h, --help  this text\n"
    "\n"
    "Exit status: 0 done; 1 no memory, or the file cannot be written; 2 wrong usage\n";

typedef struct worker {
    pthread_t thread;
    memarena *arena, *open; /* a scope that it leaves open, as a request that is not done */
    unsigned long long random;
} worker;

static pthread_barrier_t together;

static _Noreturn void wrong_usage(const char *subject, const char *reason)
{
    fprintf(stderr, "memarena-map: %s: %s\n%s", subject, reason, usage);
    exit(2);
}

static _Noreturn void give_up(const char *subject)
{
    fprintf(stderr, "memarena-map: %s: %s\n", subject, strerror(errno));
    exit(1);
}

static size_t below(worker *self, size_t limit)
{
    self->random = self->random * 6364136223846793005u + 1442695040888963407u;
    return (size_t)(self->random >> 33) % limit;
}

static void serve(worker *self, memarena *scope)
{
    for (size_t blocks = below(self, 40); scope && blocks > 0; blocks--)
        (void)memarena_alloc(scope, below(self, below(self, 8) ? 600 : 40000));
}

/* What does not fit is left out: a picture of a full arena is one, too. */
static void *work(void *argument)
{
    worker *self = argument;
    (void)pthread_barrier_wait(&together);
    for (unsigned round = 0; round < ROUNDS; round++) {
        for (unsigned i = 0; i < 20; i++) (void)memarena_alloc(self->arena, 16 + below(self, 200));
        if (round % 64 == 0) (void)memarena_alloc(self->arena, 200000 + below(self, 300000));
        memarena *scope = memarena_scope(self->arena);
        serve(self, scope);
        memarena_destroy(scope);
    }
    self->open = memarena_scope(self->arena);
    serve(self, self->open);
    (void)pthread_barrier_wait(&together); /* whoever leaves hands its lane on */
    return NULL;
}

static unsigned long number(const char *option, const char *text, unsigned long max)
{
    char *end;
    errno = 0;
    unsigned long value = text ? strtoul(text, &end, 10) : 0;
    if (!text) wrong_usage(option, "needs a value");
    if (errno != 0 || end == text || *end || *text == '-' || value < 1 || value > max)
        wrong_usage(option, "not a number in its range");
    return value;
}

static bool ends_in(const char *text, const char *end)
{
    size_t length = strlen(text), tail = strlen(end);
    return length > tail && strcmp(text + length - tail, end) == 0;
}

static void write_picture(const memarena *arena, const char *name)
{
    FILE *file = fopen(name, "w");
    if (!file) give_up(name);
    if (!(ends_in(name, ".svg") ? memarena_write_map : memarena_write_page)(arena, file)) give_up(name);
    if (fclose(file) != 0) give_up(name);
}

int main(int argc, char **argv)
{
    static worker workers[THREADS_MAX];
    unsigned long threads = 6, capacity = 64;
    const char *name = NULL;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "-h") == 0 || strcmp(argv[i], "--help") == 0)
            return fputs(usage, stdout) < 0 || fputs(help, stdout) < 0 || fflush(stdout) != 0;
        if (strcmp(argv[i], "-j") == 0)
            threads = number(argv[i], argv[i + 1], THREADS_MAX), i++;
        else if (strcmp(argv[i], "-c") == 0)
            capacity = number(argv[i], argv[i + 1], 65536), i++;
        else if (argv[i][0] == '-')
            wrong_usage(argv[i], "no such option");
        else if (name)
            wrong_usage(argv[i], "one file is enough");
        else
            name = argv[i];
    }
    if (!name) wrong_usage("FILE", "is missing");
    if (!ends_in(name, ".html") && !ends_in(name, ".svg")) wrong_usage(name, "ends neither in .html nor in .svg");
    memarena *arena = memarena_create_with(&(memarena_options){.capacity = capacity * MIB, .name = "requests"});
    if (!arena) give_up("the arena");
    errno = pthread_barrier_init(&together, NULL, (unsigned)threads);
    if (errno != 0) give_up("a barrier");
    for (unsigned i = 0; i < threads; i++) {
        workers[i] = (worker){.arena = arena, .random = i + 1};
        errno = pthread_create(&workers[i].thread, NULL, work, &workers[i]);
        if (errno != 0) give_up("a thread");
    }
    for (unsigned i = 0; i < threads; i++) pthread_join(workers[i].thread, NULL);
    write_picture(arena, name);
    for (unsigned i = 0; i < threads; i++) memarena_destroy(workers[i].open);
    memarena_destroy(arena);
    return 0;
}
