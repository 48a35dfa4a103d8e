/* Atomic operations on plain fields, with the memory order in the operation's name.
 *
 * Every access to memory that threads share goes through one of these, for two reasons: a reader sees the order where
 * it matters, and a test build can put a hook before each of them (-DMA_YIELD_HOOK=function) to shake the timing.
 * Fields are plain integers, not _Atomic, because the public header that declares some of them must also be C++.
 *
 * Accesses that pair across threads carry a label such as [empty-1] at the call; docs/MEMORY_ORDER.md lists the pairs.
 * No standalone fence is used: ThreadSanitizer does not understand them. */
#ifndef MA_ATOMIC_H
#define MA_ATOMIC_H

#include <stdbool.h>
#include <stdint.h>

#ifdef MA_YIELD_HOOK
void MA_YIELD_HOOK(void);
#define ma_yield() MA_YIELD_HOOK()
#else
#define ma_yield() ((void)0)
#endif

#define ma_load_relaxed(field) (ma_yield(), __atomic_load_n((field), __ATOMIC_RELAXED))
#define ma_load_acquire(field) (ma_yield(), __atomic_load_n((field), __ATOMIC_ACQUIRE))
#define ma_load_seq_cst(field) (ma_yield(), __atomic_load_n((field), __ATOMIC_SEQ_CST))
#define ma_store_relaxed(field, value) (ma_yield(), __atomic_store_n((field), (value), __ATOMIC_RELAXED))
#define ma_store_release(field, value) (ma_yield(), __atomic_store_n((field), (value), __ATOMIC_RELEASE))
#define ma_exchange_seq_cst(field, value) (ma_yield(), __atomic_exchange_n((field), (value), __ATOMIC_SEQ_CST))
#define ma_or_seq_cst(field, bits) (ma_yield(), __atomic_fetch_or((field), (bits), __ATOMIC_SEQ_CST))
#define ma_add_acq_rel(field, amount) (ma_yield(), __atomic_fetch_add((field), (amount), __ATOMIC_ACQ_REL))
#define ma_add_seq_cst(field, amount) (ma_yield(), __atomic_fetch_add((field), (amount), __ATOMIC_SEQ_CST))
#define ma_and_release(field, bits) (ma_yield(), __atomic_fetch_and((field), (bits), __ATOMIC_RELEASE))

/* A counter with one writer: readers see whole values, the writer pays no atomic read-modify-write. */
#define ma_count(field, amount) \
    (ma_yield(), __atomic_store_n((field), __atomic_load_n((field), __ATOMIC_RELAXED) + (amount), __ATOMIC_RELAXED))
/* A counter with many writers. */
#define ma_count_shared(field, amount) (ma_yield(), (void)__atomic_fetch_add((field), (amount), __ATOMIC_RELAXED))

/* Tells the processor that a loop waits. */
#if defined(__x86_64__) || defined(__i386__)
#define ma_pause() __builtin_ia32_pause()
#elif defined(__aarch64__)
#define ma_pause() __asm__ volatile("isb")
#else
#define ma_pause() __asm__ volatile("")
#endif

/* Compare and swap; `*expected` holds the current value after a failure. Acquire on failure, since a loop goes on with
 * the value that it found. */
static inline bool ma_swap_acq_rel(uint64_t *field, uint64_t *expected, uint64_t desired)
{
    ma_yield();
    return __atomic_compare_exchange_n(field, expected, desired, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
}

static inline bool ma_swap_seq_cst(uint64_t *field, uint64_t *expected, uint64_t desired)
{
    ma_yield();
    return __atomic_compare_exchange_n(field, expected, desired, false, __ATOMIC_SEQ_CST, __ATOMIC_ACQUIRE);
}

/* Of an address; tells only whether it was swapped. */
static inline bool ma_swap_address_seq_cst(uintptr_t *field, uintptr_t expected, uintptr_t desired)
{
    ma_yield();
    return __atomic_compare_exchange_n(field, &expected, desired, false, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED);
}

#endif
