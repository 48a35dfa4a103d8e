/* Clock, medians, pinning and the crew: see measure.h. */
#define _GNU_SOURCE
#include "measure.h"

#include <pthread.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- Samples ----------------------------------------------------------------------------------------------------- */

static int compare_doubles(const void *left, const void *right)
{
    double a = *(const double *)left, b = *(const double *)right;
    return (a > b) - (a < b);
}

/* A copy in ascending order; free() it. */
static double *sorted_copy(const double *samples, size_t count)
{
    double *sorted = measure_samples(count);
    memcpy(sorted, samples, count * sizeof *sorted);
    qsort(sorted, count, sizeof *sorted, compare_doubles);
    return sorted;
}

spread measure_spread(const double *samples, size_t count)
{
    double *sorted = sorted_copy(samples, count);
    spread result = {
        .median = sorted[count / 2],
        .p10 = sorted[count / 10],
        .p90 = sorted[count - 1 - count / 10],
    };
    free(sorted);
    return result;
}

double measure_middle(const double *samples, size_t count)
{
    double *sorted = sorted_copy(samples, count), sum = 0;
    size_t first = count / 4, end = count - count / 4;
    for (size_t i = first; i < end; i++) sum += sorted[i];
    free(sorted);
    return sum / (double)(end - first);
}

double measure_ratio(const double *samples, const double *reference, size_t count)
{
    double *ratios = measure_samples(count);
    for (size_t i = 0; i < count; i++) ratios[i] = reference[i] > 0 ? samples[i] / reference[i] : 0;
    double median = measure_spread(ratios, count).median;
    free(ratios);
    return median;
}

double *measure_samples(size_t count)
{
    double *samples = calloc(count, sizeof *samples);
    if (!samples) measure_die("no memory for %zu samples", count);
    return samples;
}

void measure_die(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fflush(stdout);
    fputs(MEASURE_PROGRAM ": ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    exit(1);
}

double measure_clock_ns(void)
{
    enum { SAMPLES = 1001 };
    double ns[SAMPLES];
    for (size_t i = 0; i < SAMPLES; i++) {
        uint64_t begin = measure_now_ns();
        ns[i] = (double)(measure_now_ns() - begin);
    }
    return measure_middle(ns, SAMPLES);
}

/* ---- CPUs -------------------------------------------------------------------------------------------------------- */

/* Read once, before the first pin: afterwards the mask of the calling thread holds one CPU only. */
static cpu_set_t allowed_cpus;
static unsigned allowed_count;

unsigned measure_cpus(void)
{
    if (!allowed_count) {
        if (sched_getaffinity(0, sizeof allowed_cpus, &allowed_cpus) != 0) {
            CPU_ZERO(&allowed_cpus);
            CPU_SET(0, &allowed_cpus);
        }
        allowed_count = (unsigned)CPU_COUNT(&allowed_cpus);
    }
    return allowed_count;
}

void measure_pin(unsigned index)
{
    unsigned wanted = index % measure_cpus();
    for (size_t cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (!CPU_ISSET(cpu, &allowed_cpus) || wanted-- > 0) continue;
        cpu_set_t one;
        CPU_ZERO(&one);
        CPU_SET(cpu, &one);
        (void)sched_setaffinity(0, sizeof one, &one);
        return;
    }
}

/* ---- Crew -------------------------------------------------------------------------------------------------------- */

#define SPINS_BEFORE_YIELD 20000 /* some 100 us: only a crew larger than the machine waits longer */

typedef struct recruit {
    struct crew *crew;
    unsigned member;
} recruit;

static void *serve(void *argument)
{
    recruit *me = argument;
    measure_pin(me->member);
    me->crew->work(me->crew, me->member);
    return NULL;
}

void crew_run(unsigned members, void (*work)(struct crew *crew, unsigned member), void *context)
{
    struct crew all = {.members = members, .work = work, .context = context};
    pthread_t *threads = calloc(members, sizeof *threads);
    recruit *recruits = calloc(members, sizeof *recruits);
    if (!threads || !recruits) measure_die("no memory for a crew of %u", members);
    for (unsigned i = 0; i < members; i++) {
        recruits[i] = (recruit){.crew = &all, .member = i};
        if (i > 0 && pthread_create(&threads[i], NULL, serve, &recruits[i]) != 0)
            measure_die("cannot start thread %u of %u", i + 1, members);
    }
    serve(&recruits[0]);
    for (unsigned i = 1; i < members; i++) pthread_join(threads[i], NULL);
    free(recruits);
    free(threads);
}

static inline void rest(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

void crew_meet(struct crew *all)
{
    unsigned held = atomic_load(&all->meetings);
    if (atomic_fetch_add(&all->arrived, 1) + 1 == all->members) {
        atomic_store(&all->arrived, 0);
        atomic_store(&all->meetings, held + 1);
        return;
    }
    for (unsigned spins = 0; atomic_load(&all->meetings) == held; spins++) {
        if (spins < SPINS_BEFORE_YIELD)
            rest();
        else
            sched_yield();
    }
}
