/* What an arena costs before its first block: creating and destroying it, and the memory that creation touches. Beside
 * it the least that any arena from the OS can do: map the same room, touch one page, unmap. */
#define _GNU_SOURCE
#include "cases.h"
#include "memarena.h"
#include "report.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static const struct {
    const char *name;
    size_t bytes;
} capacities[] = {{"64 KiB", 64u << 10}, {"1 GiB", 1u << 30}};
#define CAPACITIES (sizeof capacities / sizeof capacities[0])

/* ---- Time -------------------------------------------------------------------------------------------------------- */

enum { CREATE, DESTROY, MAP_ONE_PAGE, STEPS };
static const char *const step_names[STEPS] = {"create", "destroy", "mmap, touch a page, munmap"};

static void time_steps(size_t bytes, double ns[STEPS])
{
    uint64_t begin = measure_now_ns();
    memarena *arena = memarena_create(bytes);
    uint64_t created = measure_now_ns();
    if (!arena) measure_die("memarena_create(%zu) failed", bytes);
    memarena_destroy(arena);
    uint64_t destroyed = measure_now_ns();
    char *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) measure_die("mmap of %zu bytes failed", bytes);
    *(volatile char *)memory = 1;
    munmap(memory, bytes);
    uint64_t unmapped = measure_now_ns();
    ns[CREATE] = (double)(created - begin);
    ns[DESTROY] = (double)(destroyed - created);
    ns[MAP_ONE_PAGE] = (double)(unmapped - destroyed);
}

static void report_times(const struct plan *plan)
{
    size_t rounds = plan->rounds * 5;
    double *ns[CAPACITIES][STEPS];
    for (size_t i = 0; i < CAPACITIES; i++)
        for (int step = 0; step < STEPS; step++) ns[i][step] = measure_samples(rounds);
    for (size_t round = 0; round < rounds; round++) {
        for (size_t i = 0; i < CAPACITIES; i++) {
            double one[STEPS];
            time_steps(capacities[i].bytes, one);
            for (int step = 0; step < STEPS; step++) ns[i][step][round] = one[step];
        }
    }
    for (size_t i = 0; i < CAPACITIES; i++) {
        for (int step = 0; step < STEPS; step++) {
            char name[64];
            snprintf(name, sizeof name, "%s: %s", capacities[i].name, step_names[step]);
            spread cost = measure_spread(ns[i][step], rounds);
            report_time(name, 1, cost);
            free(ns[i][step]);
        }
    }
}

/* ---- Memory ------------------------------------------------------------------------------------------------------ */

/* Resident bytes of this process as the page tables have them (/proc/self/statm counts per thread and lags behind);
 * -1 where the kernel does not tell. No stdio here: its buffers would be counted. */
static long resident_bytes(void)
{
    static char text[4096];
    int file = open("/proc/self/smaps_rollup", O_RDONLY | O_CLOEXEC);
    if (file < 0) return -1;
    ssize_t got = read(file, text, sizeof text - 1);
    close(file);
    text[got > 0 ? got : 0] = '\0';
    const char *line = strstr(text, "\nRss:");
    return line ? atol(line + strlen("\nRss:")) * 1024 : -1;
}

/* The least of several: whatever else touches a page meanwhile can only add. */
static void report_memory(void)
{
    for (size_t i = 0; i < CAPACITIES; i++) {
        long least = -1;
        for (int attempt = 0; attempt < 8; attempt++) {
            long before = resident_bytes();
            memarena *arena = memarena_create(capacities[i].bytes);
            long after = resident_bytes();
            memarena_destroy(arena);
            if (before < 0 || after < before) continue;
            if (least < 0 || after - before < least) least = after - before;
        }
        char name[64];
        snprintf(name, sizeof name, "%s: resident after create", capacities[i].name);
        if (least >= 0)
            report_value(name, 1, (double)least, "bytes");
        else
            report_note("%s: the kernel does not tell", name);
    }
}

void case_life(const struct plan *plan)
{
    report_case("life", "create and destroy");
    report_times(plan);
    report_memory();
}
