/* Restartable sequences on aarch64; included by rseq.h. As rseq_x86_64.h, which says more. Here the load of `end` is an
 * acquire, so that what an opener stored before it is seen after it. */

/* The signature is an instruction that traps. */
#define MA_RSEQ_FRAME_ \
    ".pushsection ma_rseq_cs, \"aw\"\n" \
    ".balign 32\n" \
    "9:  .word   0, 0\n" \
    "    .quad   2f, 3f - 2f, 4f\n" \
    ".popsection\n" \
    "    b       1f\n" \
    "    .inst   0xd428bc00\n" \
    "4:  b       1f\n" \
    "5:  mov     %[answer], #0\n" \
    "    b       3f\n"

/* area->rseq_cs = &descriptor; then it begins; if (area->cpu_id < 0) this thread is not registered: no.
 * %[cs] is the address of rseq_cs; cpu_id lies 4 bytes before it. */
#define MA_RSEQ_BEGIN_ \
    "1:  adrp    %[lane], 9b\n" \
    "    add     %[lane], %[lane], :lo12:9b\n" \
    "    str     %[lane], [%[cs]]\n" \
    "2:  ldur    %w[lane], [%[cs], #-4]\n" \
    "    tbnz    %w[lane], #31, 5b\n"

/* number = area->mm_cid, or cpu_id; if (number >= cpus->count) no; lane = cpus->first + number */
#define MA_RSEQ_FIND_LANE_ \
    "    ldr     %w[lane], [%[number_at]]\n" \
    "    ldr     %[answer], [%[lanes], #8]\n" \
    "    cmp     %[lane], %[answer]\n" \
    "    b.hs    5b\n" \
    "    ldr     %[answer], [%[lanes]]\n" \
    "    add     %[lane], %[answer], %[lane], lsl %[shift]\n"

/* area->rseq_cs = NULL */
#define MA_RSEQ_END_ "3:  str     xzr, [%[cs]]\n"

#define MA_RSEQ_PLACES_ \
    [lanes] "r"(cpus), [cs] "r"((char *)__builtin_thread_pointer() + cpus->rseq_cs_at), \
        [number_at] "r"((char *)__builtin_thread_pointer() + cpus->number_at), [shift] "i"(MA_RSEQ_LANE_SHIFT)

static inline uintptr_t ma_rseq_bump(const ma_rseq_cpus *cpus, uintptr_t bytes, uintptr_t alignment,
                                     const uint64_t *generation)
{
    uintptr_t block, lane, end, other;
    __asm__ volatile(MA_RSEQ_FRAME_ MA_RSEQ_BEGIN_ MA_RSEQ_FIND_LANE_
                     /* end = lane->end, before all that it publishes */
                     "    add     %[end], %[lane], #8\n"
                     "    ldar    %[end], [%[end]]\n"
                     /* if (lane->generation != *generation) no */
                     "    ldr     %[other], [%[lane], #16]\n"
                     "    ldr     %[answer], [%[generation]]\n"
                     "    cmp     %[other], %[answer]\n"
                     "    b.ne    5b\n"
                     /* block = (lane->cursor + slack) & mask */
                     "    ldr     %[answer], [%[lane]]\n"
                     "    add     %[answer], %[answer], %[slack]\n"
                     "    and     %[answer], %[answer], %[mask]\n"
                     /* room = end - block; if (end < block || room < bytes) no */
                     "    subs    %[end], %[end], %[answer]\n"
                     "    b.lo    5b\n"
                     "    cmp     %[end], %[bytes]\n"
                     "    b.lo    5b\n"
                     /* lane->cursor = block + bytes */
                     "    add     %[end], %[answer], %[bytes]\n"
                     "    str     %[end], [%[lane]]\n" MA_RSEQ_END_
                     : [answer] "=&r"(block), [lane] "=&r"(lane), [end] "=&r"(end), [other] "=&r"(other)
                     : MA_RSEQ_PLACES_, [bytes] "r"(bytes), [mask] "r"(0 - alignment), [slack] "r"(alignment - 1),
                       [generation] "r"(generation)
                     : "memory", "cc");
    return block;
}

static inline bool ma_rseq_move(const ma_rseq_cpus *cpus, uintptr_t from, uintptr_t to, uint64_t generation)
{
    uintptr_t moved, lane;
    __asm__ volatile(MA_RSEQ_FRAME_ MA_RSEQ_BEGIN_ MA_RSEQ_FIND_LANE_
                     /* if (lane->end < to) no */
                     "    add     %[answer], %[lane], #8\n"
                     "    ldar    %[answer], [%[answer]]\n"
                     "    cmp     %[answer], %[to]\n"
                     "    b.lo    5b\n"
                     /* if (lane->generation != generation || lane->cursor != from) no */
                     "    ldr     %[answer], [%[lane], #16]\n"
                     "    cmp     %[answer], %[generation]\n"
                     "    b.ne    5b\n"
                     "    ldr     %[answer], [%[lane]]\n"
                     "    cmp     %[answer], %[from]\n"
                     "    b.ne    5b\n"
                     "    mov     %[answer], #1\n"
                     /* lane->cursor = to */
                     "    str     %[to], [%[lane]]\n" MA_RSEQ_END_
                     : [answer] "=&r"(moved), [lane] "=&r"(lane)
                     : MA_RSEQ_PLACES_, [from] "r"(from), [to] "r"(to), [generation] "r"(generation)
                     : "memory", "cc");
    return moved;
}

static inline bool ma_rseq_close(const ma_rseq_cpus *cpus, unsigned number)
{
    uintptr_t closed, lane;
    __asm__ volatile(MA_RSEQ_FRAME_ MA_RSEQ_BEGIN_
                     /* if (area->number != number) no */
                     "    ldr     %w[lane], [%[number_at]]\n"
                     "    cmp     %w[lane], %w[number]\n"
                     "    b.ne    5b\n" MA_RSEQ_FIND_LANE_ "    mov     %[answer], #1\n"
                     /* lane->end = 0 */
                     "    str     xzr, [%[lane], #8]\n" MA_RSEQ_END_
                     : [answer] "=&r"(closed), [lane] "=&r"(lane)
                     : MA_RSEQ_PLACES_, [number] "r"(number)
                     : "memory", "cc");
    return closed;
}
