/* Behind the calls: what a program needs to allocate inline from arenas with MEMARENA_PER_CPU. memarena.h includes it where
 * MEMARENA_INLINE_PER_CPU is defined; there is nothing here for you. The library's own bump is the same one.
 *
 * A restartable sequence (see docs/RSEQ.md) on x86-64: the C above its lines, from `2:` to its last store, which `3:`
 * follows, or nothing of that: then it starts again at `1:`. */
#ifndef MEMARENA_PER_CPU_H
#define MEMARENA_PER_CPU_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __SANITIZE_THREAD__
#define MEMARENA_TSAN_ 1
#elif defined(__has_feature)
#define MEMARENA_TSAN_ __has_feature(thread_sanitizer)
#else
#define MEMARENA_TSAN_ 0
#endif

/* For which processor there are sequences: 1: x86-64, 2: aarch64 (not inline), 0: none. ThreadSanitizer does not see what
 * assembly does. */
#if !defined(__linux__) || !defined(__LP64__) || MEMARENA_TSAN_
#define MEMARENA_RSEQ_ 0
#elif defined(__x86_64__)
#define MEMARENA_RSEQ_ 1
#elif defined(__aarch64__)
#define MEMARENA_RSEQ_ 2
#else
#define MEMARENA_RSEQ_ 0
#endif

/* Where the TLABs of the CPUs are, and what finds the one of now. */
typedef struct memarena_cpus_ {
    void *first;                    /* {cursor, end, generation}, 128 bytes apart */
    size_t count;                   /* 0: there are none */
    intptr_t rseq_cs_at, number_at; /* from the thread pointer: the word rseq_cs, and the number of the lane of now */
} memarena_cpus_;

/* How an arena begins; a scope begins like that up to `kind`. */
typedef struct memarena_head_ {
    uintptr_t cursor, end;
    unsigned kind;
    memarena_cpus_ cpus;
    uint64_t generation;
} memarena_head_;

#define MEMARENA_KIND_PER_CPU_ 2u

/* In a child of a fork that met a reset half done: all blocks go the slow road, which does the other half. */
extern __attribute__((visibility("default"))) bool memarena_reset_was_cut_;

#if MEMARENA_RSEQ_ == 1
/* The descriptor, for the kernel; and where it sends an aborted sequence, behind the signature that the C library
 * registers (RSEQ_SIG). Each kind lies in a section of its own name, where a test finds the former; `?`: in the group of
 * the function that it belongs to, with which it is kept or dropped when C++ has several copies. */
#define MEMARENA_RSEQ_FRAME_ \
    ".pushsection ma_rseq_cs, \"aw?\"\n" \
    ".balign 32\n" \
    "9:  .long   0, 0\n" \
    "    .quad   2f, 3f - 2f, 4f\n" \
    ".popsection\n" \
    ".pushsection ma_rseq_abort, \"ax?\"\n" \
    "    .byte   0x0f, 0xb9, 0x3d\n" \
    "    .long   0x53053053\n" \
    "4:  jmp     1f\n" \
    "5:  xorl    %k[answer], %k[answer]\n" \
    "    jmp     3f\n" \
    ".popsection\n"

/* area->rseq_cs = &descriptor; then it begins; if (area->cpu_id < 0) this thread is not registered: no.
 * %[cs] is where rseq_cs is, seen from fs; cpu_id lies 4 bytes before it. */
#define MEMARENA_RSEQ_BEGIN_ \
    "1:  leaq    9b(%%rip), %[lane]\n" \
    "    movq    %[lane], %%fs:(%[cs])\n" \
    "2:  cmpl    $0, %%fs:-4(%[cs])\n" \
    "    jl      5b\n"

/* number = area->mm_cid, or cpu_id; if (number >= cpus->count) no; lane = cpus->first + number */
#define MEMARENA_RSEQ_FIND_LANE_ \
    "    movq    %[number_at], %[lane]\n" \
    "    movl    %%fs:(%[lane]), %k[lane]\n" \
    "    cmpq    %[count], %[lane]\n" \
    "    jae     5b\n" \
    "    shlq    $7, %[lane]\n" \
    "    addq    %[first], %[lane]\n"

/* area->rseq_cs = NULL: the kernel would read the descriptor at the next preemption, and by then the code that it belongs
 * to may have been unloaded. */
#define MEMARENA_RSEQ_END_ "3:  movq    $0, %%fs:(%[cs])\n"

#define MEMARENA_RSEQ_PLACES_(cpus) \
    [first] "m"((cpus)->first), [count] "m"((cpus)->count), [cs] "r"((cpus)->rseq_cs_at), \
        [number_at] "m"((cpus)->number_at)

/* end = lane->end, before all that it publishes; if (lane->generation != *generation) no */
#define MEMARENA_RSEQ_LOOK_ \
    "    movq    8(%[lane]), %[end]\n" \
    "    movq    16(%[lane]), %[answer]\n" \
    "    cmpq    %[generation], %[answer]\n" \
    "    jne     5b\n"

/* block = lane->cursor, next = block + bytes; if (next > end) no; lane->cursor = next */
#define MEMARENA_RSEQ_TAKE_ \
    "    movq    (%[lane]), %[answer]\n" \
    "    leaq    (%[answer],%[bytes]), %[next]\n" \
    "    cmpq    %[end], %[next]\n" \
    "    ja      5b\n" \
    "    movq    %[next], (%[lane])\n"

/* block = (lane->cursor + ~mask) & mask, room = end - block; if (end < block || room < bytes) no;
 * lane->cursor = block + bytes */
#define MEMARENA_RSEQ_TAKE_ALIGNED_ \
    "    movq    %[mask], %[answer]\n" \
    "    notq    %[answer]\n" \
    "    addq    (%[lane]), %[answer]\n" \
    "    andq    %[mask], %[answer]\n" \
    "    subq    %[answer], %[end]\n" \
    "    jb      5b\n" \
    "    cmpq    %[bytes], %[end]\n" \
    "    jb      5b\n" \
    "    leaq    (%[answer],%[bytes]), %[end]\n" \
    "    movq    %[end], (%[lane])\n"

/* To compilers lines of assembly look long, too long to be inlined: newer ones can be told better. */
#if (defined(__clang__) && __clang_major__ >= 11) || (!defined(__clang__) && __GNUC__ >= 9)
#define MEMARENA_RSEQ_ASM_ __asm__ __volatile__ __inline__
#else
#define MEMARENA_RSEQ_ASM_ __asm__ __volatile__
#endif

/* A block of `bytes`, a multiple of 8, at a multiple of `alignment`, a power of two, from the lane of now, if that is in
 * this generation and has room; else 0. With a constant alignment of up to 8 `bytes` must be too few to wrap around. */
inline __attribute__((always_inline)) uintptr_t memarena_rseq_bump_(const memarena_cpus_ *cpus, uintptr_t bytes,
                                                                    uintptr_t alignment, const uint64_t *generation)
{
    uintptr_t block, lane, end, next;
    if (__builtin_constant_p(alignment <= 8) && alignment <= 8)
        MEMARENA_RSEQ_ASM_(MEMARENA_RSEQ_FRAME_ MEMARENA_RSEQ_BEGIN_ MEMARENA_RSEQ_FIND_LANE_ MEMARENA_RSEQ_LOOK_
                               MEMARENA_RSEQ_TAKE_ MEMARENA_RSEQ_END_
                           : [answer] "=&r"(block), [lane] "=&r"(lane), [end] "=&r"(end), [next] "=&r"(next)
                           : MEMARENA_RSEQ_PLACES_(cpus), [bytes] "r"(bytes), [generation] "m"(*generation)
                           : "memory", "cc");
    else
        MEMARENA_RSEQ_ASM_(
            MEMARENA_RSEQ_FRAME_ MEMARENA_RSEQ_BEGIN_ MEMARENA_RSEQ_FIND_LANE_ MEMARENA_RSEQ_LOOK_
                MEMARENA_RSEQ_TAKE_ALIGNED_ MEMARENA_RSEQ_END_
            : [answer] "=&r"(block), [lane] "=&r"(lane), [end] "=&r"(end)
            : MEMARENA_RSEQ_PLACES_(cpus), [bytes] "r"(bytes), [mask] "er"(0 - alignment), [generation] "m"(*generation)
            : "memory", "cc");
    return block;
}
#endif

#endif
