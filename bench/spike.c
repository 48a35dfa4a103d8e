/* What a server keeps in memory after a spike, and what giving it back costs.
 *
 *     memarena-spike [--small] keep | fixed | auto | malloc     a loop of requests
 *     memarena-spike --touch plain | huge | prefault MIB        the first touch of an arena
 *     memarena-spike --origin COMMAND...                        the line that says where COMMAND's numbers come from
 *
 * A request takes blocks of 16 bytes to 32 KB, 2 MiB in all, writes them and gives all back. Requests 40 to 49 are the
 * spike: 128 MiB each. One block of each request lives for a hundred requests, in malloc's heap whatever the way: servers
 * keep things. Prints a line for each request: its number, MiB that the process has in memory at its end more than before
 * the first, ns to give back. (--small: a sixteenth of all.) Other mallocs by LD_PRELOAD. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "measure.h"
#include "report.h"

#include <memarena.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MIB ((size_t)1 << 20)
#define REQUESTS 200
#define SPIKE_BEGIN 40
#define SPIKE_END 50
#define STEADY (2 * MIB)
#define SPIKE (128 * MIB)
#define FIXED (4 * MIB)
#define LEAST 16u
#define BLOCKS_MAX (SPIKE / LEAST)

static void usage(const char *why)
{
    fprintf(
        stderr,
        "memarena-spike: %s; usage: memarena-spike [--small] keep|fixed|auto|malloc, --touch plain|huge|prefault MIB, "
        "or --origin COMMAND...\n",
        why);
    exit(2);
}

static size_t resident(void)
{
    unsigned long total = 0, present = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    if (!file || fscanf(file, "%lu %lu", &total, &present) != 2) measure_die("cannot read /proc/self/statm");
    fclose(file);
    return present * (size_t)sysconf(_SC_PAGESIZE);
}

/* ---- A server ------------------------------------------------------------------------------------------------------ */

/* Sizes from 16 bytes to 32 KB, small ones much more often. */
static size_t next_size(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    unsigned shift = (unsigned)(*state >> 60);
    return LEAST + (*state >> 33 & ((16u << (shift < 12 ? shift : 11)) - 1));
}

static void *take(memarena *arena, size_t size)
{
    void *block = arena ? memarena_alloc_aligned(arena, size, 8) : malloc(size);
    if (!block) measure_die("no memory");
    return memset(block, 1, size);
}

static void serve(memarena *arena, size_t scale)
{
    enum { KEPT = 100 };
    static void *kept[KEPT];
    static double megabytes[REQUESTS], ns[REQUESTS];
    void **blocks = calloc(BLOCKS_MAX, sizeof *blocks);
    if (!blocks) measure_die("no memory");
    uint64_t state = 1;
    memset(blocks, 1, BLOCKS_MAX * sizeof *blocks); /* in memory before it is looked at */
    size_t before = resident();
    for (int request = 0; request < REQUESTS; request++) {
        size_t wanted = (request >= SPIKE_BEGIN && request < SPIKE_END ? SPIKE : STEADY) / scale, count = 0;
        for (size_t done = 0, size; done < wanted; done += size) {
            size = next_size(&state);
            blocks[count++] = take(arena, size);
            if (done >= wanted / 2 && done - size < wanted / 2) {
                free(kept[request % KEPT]);
                kept[request % KEPT] = take(NULL, 64);
            }
        }
        uint64_t start = measure_now_ns();
        if (arena && !memarena_reset(arena)) measure_die("a reset is refused");
        for (size_t i = 0; !arena && i < count; i++) free(blocks[i]);
        ns[request] = (double)(measure_now_ns() - start);
        megabytes[request] = ((double)resident() - (double)before) / (double)MIB;
    }
    for (int request = 0; request < REQUESTS; request++)
        printf("%d,%.2f,%.0f\n", request, megabytes[request], ns[request]);
    for (int i = 0; i < KEPT; i++) free(kept[i]);
    free(blocks);
}

static memarena *create(const char *way, size_t scale)
{
    memarena_options options = {.capacity = 2 * SPIKE};
    if (strcmp(way, "malloc") == 0) return NULL;
    if (strcmp(way, "fixed") == 0)
        options.retain_bytes = FIXED / scale;
    else if (strcmp(way, "auto") == 0)
        options.retain_bytes = MEMARENA_RETAIN_AUTO;
    else if (strcmp(way, "keep") != 0)
        usage("no such way");
    memarena *arena = memarena_create_with(&options);
    if (!arena) measure_die("no arena: %s", strerror(errno));
    return arena;
}

/* ---- The first touch ------------------------------------------------------------------------------------------------- */

/* Prints: way, MiB, ms to create, ns for the first write to each 4 KiB, ns for the second, MiB in memory after creation,
 * and after a write to the first byte of each MiB. */
static void touch(const char *way, const char *text)
{
    char *end;
    size_t bytes = strtoul(text, &end, 10) * MIB, step = 4096;
    if (*end || bytes == 0 || bytes > 65536 * MIB) usage("a number of MiB is needed");
    memarena_options options = {.capacity = bytes};
    if (strcmp(way, "huge") == 0)
        options.flags = MEMARENA_HUGE_PAGES;
    else if (strcmp(way, "prefault") == 0)
        options.flags = MEMARENA_PREFAULT;
    else if (strcmp(way, "plain") != 0)
        usage("no such way");
    double spent[3];
    uint64_t start = measure_now_ns();
    memarena *arena = memarena_create_with(&options);
    spent[0] = (double)(measure_now_ns() - start);
    if (!arena) measure_die("%s: %s", way, strerror(errno));
    size_t created = memarena_resident_bytes(arena);
    volatile char *block = memarena_alloc_aligned(arena, bytes, 8);
    if (!block) measure_die("no room");
    for (size_t at = 0; at < bytes; at += MIB) block[at] = 1;
    size_t sparse = memarena_resident_bytes(arena);
    memarena_destroy(arena);
    arena = memarena_create_with(&options);
    block = arena ? memarena_alloc_aligned(arena, bytes, 8) : NULL;
    if (!block) measure_die("no room");
    for (int i = 1; i < 3; i++) {
        start = measure_now_ns();
        for (size_t at = 0; at < bytes; at += step) block[at] = (char)i;
        spent[i] = (double)(measure_now_ns() - start);
    }
    memarena_destroy(arena);
    printf("%s,%zu,%.2f,%.1f,%.1f,%zu,%zu\n", way, bytes / MIB, spent[0] / 1e6, spent[1] / (double)(bytes / step),
           spent[2] / (double)(bytes / step), created / MIB, sparse / MIB);
}

int main(int argc, char **argv)
{
    size_t scale = argc > 1 && strcmp(argv[1], "--small") == 0 ? 16 : 1;
    measure_pin(0);
    if (argc > 2 && strcmp(argv[1], "--origin") == 0) {
        report_origin(stdout, argc - 2, argv + 2);
    } else if (argc == 4 && strcmp(argv[1], "--touch") == 0) {
        touch(argv[2], argv[3]);
    } else if (argc == (scale == 1 ? 2 : 3)) {
        memarena *arena = create(argv[argc - 1], scale);
        serve(arena, scale);
        memarena_destroy(arena);
    } else {
        usage("a way is needed");
    }
    if (fflush(stdout) != 0) measure_die("cannot write: %s", strerror(errno));
    return 0;
}
