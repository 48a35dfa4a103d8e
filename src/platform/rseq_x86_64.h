/* Restartable sequences on x86-64; included by rseq.h. Each function is what the C above its lines says, from `2:` to its
 * last store, which `3:` follows, or nothing of that: then it starts again at `1:`.
 *
 * Stores are seen in the order of the program, and loads are done in it. Before a function returns it takes rseq_cs back:
 * the kernel would read the descriptor at the next preemption, and by then the library may have been unloaded. */

static inline uintptr_t ma_rseq_bump(const memarena_cpus_ *cpus, uintptr_t bytes, uintptr_t alignment,
                                     const uint64_t *generation)
{
    __asm__("" : "+r"(alignment)); /* no constant: here nobody has looked whether `bytes` wraps around */
    return memarena_rseq_bump_(cpus, bytes, alignment, generation);
}

static inline bool ma_rseq_move(const memarena_cpus_ *cpus, uintptr_t from, uintptr_t to, uint64_t generation)
{
    uintptr_t moved, lane;
    __asm__ volatile(MEMARENA_RSEQ_FRAME_ MEMARENA_RSEQ_BEGIN_ MEMARENA_RSEQ_FIND_LANE_
                     /* if (lane->end < to) no */
                     "    cmpq    %[to], 8(%[lane])\n"
                     "    jb      5b\n"
                     /* if (lane->generation != generation || lane->cursor != from) no */
                     "    cmpq    %[generation], 16(%[lane])\n"
                     "    jne     5b\n"
                     "    cmpq    %[from], (%[lane])\n"
                     "    jne     5b\n"
                     "    movl    $1, %k[answer]\n"
                     /* lane->cursor = to */
                     "    movq    %[to], (%[lane])\n" MEMARENA_RSEQ_END_
                     : [answer] "=&r"(moved), [lane] "=&r"(lane)
                     : MEMARENA_RSEQ_PLACES_(cpus), [from] "r"(from), [to] "r"(to), [generation] "r"(generation)
                     : "memory", "cc");
    return moved;
}

static inline bool ma_rseq_close(const memarena_cpus_ *cpus, unsigned number)
{
    uintptr_t closed, lane;
    __asm__ volatile(MEMARENA_RSEQ_FRAME_ MEMARENA_RSEQ_BEGIN_
                     /* if (area->number != number) no */
                     "    movq    %[number_at], %[lane]\n"
                     "    cmpl    %[number], %%fs:(%[lane])\n"
                     "    jne     5b\n" MEMARENA_RSEQ_FIND_LANE_ "    movl    $1, %k[answer]\n"
                     /* lane->end = 0 */
                     "    movq    $0, 8(%[lane])\n" MEMARENA_RSEQ_END_
                     : [answer] "=&r"(closed), [lane] "=&r"(lane)
                     : MEMARENA_RSEQ_PLACES_(cpus), [number] "r"(number)
                     : "memory", "cc");
    return closed;
}
