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
 * Free of everything else: the arena's lanes begin with what is here. The bump on x86-64 is in memarena/per_cpu.h, where
 * programs may have it inline, too. */
#ifndef MA_RSEQ_H
#define MA_RSEQ_H

#include "../../include/memarena/per_cpu.h"

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* As MEMARENA_RSEQ_ says; or compiled out. */
#ifdef MA_NO_RSEQ
#define MA_RSEQ 0
#else
#define MA_RSEQ MEMARENA_RSEQ_
#endif

/* What the assembly knows of a lane, in this order, and of how far apart lanes are. */
typedef struct ma_rseq_lane {
    uintptr_t cursor, end; /* `end` 0: closed */
    uint64_t generation;
} ma_rseq_lane;
#define MA_RSEQ_LANE_SHIFT 7

/* Whether the C library registers threads in this process. Before anything else here. */
bool ma_rseq_is_there(void);
/* Where they put what sequences need: fills the distances from the thread pointer. */
void ma_rseq_find(memarena_cpus_ *cpus);
/* How many numbers there may be. */
unsigned ma_rseq_numbers(void);
/* The number of the lane that is this thread's just now, in this process: a CPU's, or where the kernel gives it (6.3) one
 * that is smaller than the number of threads, too. UINT_MAX: this thread is not registered. */
unsigned ma_rseq_number(const memarena_cpus_ *cpus);
/* Aborts this process's sequences that are under way, on all CPUs, by a system call. False: the kernel cannot (before 5.10). After it
 * nobody bumps a lane whose `end` was stored as 0 before, and no `end` is believed that was overwritten before. */
bool ma_rseq_fence(void);
/* What the files below define:
 *
 * A block of `bytes` at a multiple of `alignment` from the lane of now, if that is in this generation and has room; else 0. */
static inline uintptr_t ma_rseq_bump(const memarena_cpus_ *cpus, uintptr_t bytes, uintptr_t alignment,
                                     const uint64_t *generation);
/* Moves the cursor of the lane of now from `from` to `to`, if that is where it is and `to` is not behind the end. */
static inline bool ma_rseq_move(const memarena_cpus_ *cpus, uintptr_t from, uintptr_t to, uint64_t generation);
/* Stores `end` = 0 in lane `number`, if that is the lane of now: when this has returned true nobody bumps it any more,
 * and whoever bumps it later has seen a new `end`, which may be stored from anywhere. */
static inline bool ma_rseq_close(const memarena_cpus_ *cpus, unsigned number);

#if MA_RSEQ == 1
#include "rseq_x86_64.h"
#elif MA_RSEQ == 2
#include "rseq_aarch64.h"
#else
#include "rseq_none.h"
#endif

#endif
