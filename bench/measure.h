/* What every case measures with: a clock, medians, pinned CPUs, and a crew of threads that start together. */
#ifndef BENCH_MEASURE_H
#define BENCH_MEASURE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

/* The compiler must believe that memory was read and written here: without it a loop of stores melts into one. */
#define MEASURE_BARRIER() __asm__ volatile("" ::: "memory")

/* Two threads never write within one such distance: the prefetcher of x86 fetches cache lines in pairs. */
#define MEASURE_APART 128

static inline uint64_t measure_now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* What two looks at the clock in a row say: part of every time that is measured. */
double measure_clock_ns(void);

/* ---- Samples ----------------------------------------------------------------------------------------------------- */

typedef struct spread {
    double median, p10, p90;
} spread;

/* `count` samples. An average would let one preempted round outvote a hundred good ones. */
spread measure_spread(const double *samples, size_t count);

/* The median over the rounds of samples[round] / reference[round]. Both were taken within microseconds of each other,
 * so a CPU that changes its clock, or a neighbour that wakes up, is in both and cancels. */
double measure_ratio(const double *samples, const double *reference, size_t count);

/* The mean of the middle half, for times near the clock's resolution: a clock that ticks every 10 ns makes every median
 * a multiple of 10, but the phase of its ticks is random, so a mean comes out between them. */
double measure_middle(const double *samples, size_t count);

/* An array of `count` zeroed samples; free() it. */
double *measure_samples(size_t count);

/* Says why on stderr and exits with 1: a benchmark that goes on after a failure measures nothing. */
_Noreturn void measure_die(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* ---- CPUs -------------------------------------------------------------------------------------------------------- */

/* CPUs that this process may run on. */
unsigned measure_cpus(void);

/* Ties the calling thread to the `index`-th of them, counted round. Where the system refuses, it runs unpinned. */
void measure_pin(unsigned index);

/* ---- Crew -------------------------------------------------------------------------------------------------------- */

/* N threads that do the same work, each pinned to its own CPU. Member 0 is the caller itself: on a machine of N CPUs
 * a thread that only waits for the others would disturb one of them. */
struct crew {
    unsigned members;
    void (*work)(struct crew *crew, unsigned member);
    void *context;
    _Alignas(MEASURE_APART) atomic_uint arrived;  /* at the present meeting */
    _Alignas(MEASURE_APART) atomic_uint meetings; /* held so far; the last to arrive adds one, the others spin on it */
};

/* Runs work(crew, 0 .. members - 1), and returns when all have returned. */
void crew_run(unsigned members, void (*work)(struct crew *crew, unsigned member), void *context);

/* Returns when every member has called it: a barrier that spins, for a sleeping one would wake the members one after
 * the other, and the first would be done before the last had begun. */
void crew_meet(struct crew *crew);

#endif
