/* Restartable sequences: how threads bump one range per CPU without a lock and without an atomic read-modify-write.
 *
 * A *CPU lane* is a range that belongs to whoever runs on a CPU. Linux lets a thread name a stretch of its code (by the
 * word rseq_cs, in an area that the C library registers for each thread), and when the thread is preempted, migrated or
 * interrupted by a signal inside that stretch it goes on at an abort label instead. So a stretch whose last instruction
 * is its only store either happens as a whole on one CPU or not at all. docs/RSEQ.md tells the whole protocol.
 *
 * One file per processor, and a twin that says no (rseq_none.h); what the C library and the kernel have is found in
 * rseq_linux.c.
 *
 * Free of everything else: the arena's lanes begin with what is here. */
#ifndef MA_RSEQ_H
#define MA_RSEQ_H

#include "sanitizer.h"

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* For which processor there are sequences: 1: x86-64, 2: aarch64, 0: none. ThreadSanitizer does not see what
 * assembly does. */
#if defined(MA_NO_RSEQ) || !defined(__linux__) || !defined(__LP64__) || MA_TSAN
#define MA_RSEQ 0
#elif defined(__x86_64__)
#define MA_RSEQ 1
#elif defined(__aarch64__)
#define MA_RSEQ 2
#else
#define MA_RSEQ 0
#endif

/* Where the TLABs of the CPUs are, and what finds the one of now. */
typedef struct ma_rseq_cpus {
    void *first;                    /* {cursor, end, generation}, 128 bytes apart */
    size_t count;                   /* 0: there are none */
    intptr_t rseq_cs_at, number_at; /* from the thread pointer: the word rseq_cs, and the number of the lane of now */
} ma_rseq_cpus;

/* What the assembly knows of a lane, in this order, and of how far apart lanes are. */
typedef struct ma_rseq_lane {
    uintptr_t cursor, end; /* `end` 0: closed */
    uint64_t generation;
} ma_rseq_lane;
#define MA_RSEQ_LANE_SHIFT 7

/* Whether the C library registers threads in this process. Before anything else here. */
bool ma_rseq_is_there(void);
/* Where they put what sequences need: fills the distances from the thread pointer. */
void ma_rseq_find(ma_rseq_cpus *cpus);
/* How many numbers there may be. */
unsigned ma_rseq_numbers(void);
/* The number of the lane that is this thread's just now, in this process: a CPU's, or where the kernel gives it (6.3) one
 * that is smaller than the number of threads, too. UINT_MAX: this thread is not registered. */
unsigned ma_rseq_number(const ma_rseq_cpus *cpus);
/* Aborts this process's sequences that are under way, on all CPUs, by a system call. False: the kernel cannot (before 5.10). After it
 * nobody bumps a lane whose `end` was stored as 0 before, and no `end` is believed that was overwritten before. */
bool ma_rseq_fence(void);
/* What the files below define:
 *
 * A block of `bytes` at a multiple of `alignment` from the lane of now, if that is in this generation and has room; else 0. */
static inline uintptr_t ma_rseq_bump(const ma_rseq_cpus *cpus, uintptr_t bytes, uintptr_t alignment,
                                     const uint64_t *generation);
/* Moves the cursor of the lane of now from `from` to `to`, if that is where it is and `to` is not behind the end. */
static inline bool ma_rseq_move(const ma_rseq_cpus *cpus, uintptr_t from, uintptr_t to, uint64_t generation);
/* Stores `end` = 0 in lane `number`, if that is the lane of now: when this has returned true nobody bumps it any more,
 * and whoever bumps it later has seen a new `end`, which may be stored from anywhere. */
static inline bool ma_rseq_close(const ma_rseq_cpus *cpus, unsigned number);

#if MA_RSEQ == 1
#include "rseq_x86_64.h"
#elif MA_RSEQ == 2
#include "rseq_aarch64.h"
#else
#include "rseq_none.h"
#endif

#endif
