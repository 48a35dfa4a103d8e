/* Restartable sequences on x86-64; included by rseq.h. Each function is what the C above its lines says, from `2:` to its
 * last store, which `3:` follows, or nothing of that: then it starts again at `1:`.
 *
 * Stores are seen in the order of the program, and loads are done in it. Before a function returns it takes rseq_cs back:
 * the kernel would read the descriptor at the next preemption, and by then the library may have been unloaded. */

/* The descriptor, for the kernel; and where it sends an aborted sequence, behind the signature that the C library
 * registers (RSEQ_SIG). Each kind lies in a section of its own name, where a test finds the former. */
#define MA_RSEQ_FRAME_ \
    ".pushsection ma_rseq_cs, \"aw\"\n" \
    ".balign 32\n" \
    "9:  .long   0, 0\n" \
    "    .quad   2f, 3f - 2f, 4f\n" \
    ".popsection\n" \
    ".pushsection ma_rseq_abort, \"ax\"\n" \
    "    .byte   0x0f, 0xb9, 0x3d\n" \
    "    .long   0x53053053\n" \
    "4:  jmp     1f\n" \
    "5:  xorl    %k[answer], %k[answer]\n" \
    "    jmp     3f\n" \
    ".popsection\n"

/* area->rseq_cs = &descriptor; then it begins; if (area->cpu_id < 0) this thread is not registered: no.
 * %[cs] is where rseq_cs is, seen from fs; cpu_id lies 4 bytes before it. */
#define MA_RSEQ_BEGIN_ \
    "1:  leaq    9b(%%rip), %[lane]\n" \
    "    movq    %[lane], %%fs:(%[cs])\n" \
    "2:  cmpl    $0, %%fs:-4(%[cs])\n" \
    "    jl      5b\n"

/* number = area->mm_cid, or cpu_id; if (number >= cpus->count) no; lane = cpus->first + number */
#define MA_RSEQ_FIND_LANE_ \
    "    movq    %[number_at], %[lane]\n" \
    "    movl    %%fs:(%[lane]), %k[lane]\n" \
    "    cmpq    %[count], %[lane]\n" \
    "    jae     5b\n" \
    "    shlq    $7, %[lane]\n" \
    "    addq    %[first], %[lane]\n"

/* area->rseq_cs = NULL: the kernel would read the descriptor at the next preemption, and by then the code that it belongs
 * to may have been unloaded. */
#define MA_RSEQ_END_ "3:  movq    $0, %%fs:(%[cs])\n"

#define MA_RSEQ_PLACES_(cpus) \
    [first] "m"((cpus)->first), [count] "m"((cpus)->count), [cs] "r"((cpus)->rseq_cs_at), \
        [number_at] "m"((cpus)->number_at)

/* end = lane->end, before all that it publishes; if (lane->generation != *generation) no */
#define MA_RSEQ_LOOK_ \
    "    movq    8(%[lane]), %[end]\n" \
    "    movq    16(%[lane]), %[answer]\n" \
    "    cmpq    %[generation], %[answer]\n" \
    "    jne     5b\n"

/* block = (lane->cursor + ~mask) & mask, room = end - block; if (end < block || room < bytes) no;
 * lane->cursor = block + bytes */
#define MA_RSEQ_TAKE_ \
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

/* A block of `bytes` at a multiple of `alignment`. */
static inline uintptr_t ma_rseq_bump(const ma_rseq_cpus *cpus, uintptr_t bytes, uintptr_t alignment,
                                     const uint64_t *generation)
{
    uintptr_t block, lane, end;
    __asm__ volatile(
        MA_RSEQ_FRAME_ MA_RSEQ_BEGIN_ MA_RSEQ_FIND_LANE_ MA_RSEQ_LOOK_ MA_RSEQ_TAKE_ MA_RSEQ_END_
        : [answer] "=&r"(block), [lane] "=&r"(lane), [end] "=&r"(end)
        : MA_RSEQ_PLACES_(cpus), [bytes] "r"(bytes), [mask] "r"(0 - alignment), [generation] "m"(*generation)
        : "memory", "cc");
    return block;
}

static inline bool ma_rseq_move(const ma_rseq_cpus *cpus, uintptr_t from, uintptr_t to, uint64_t generation)
{
    uintptr_t moved, lane;
    __asm__ volatile(MA_RSEQ_FRAME_ MA_RSEQ_BEGIN_ MA_RSEQ_FIND_LANE_
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
                     "    movq    %[to], (%[lane])\n" MA_RSEQ_END_
                     : [answer] "=&r"(moved), [lane] "=&r"(lane)
                     : MA_RSEQ_PLACES_(cpus), [from] "r"(from), [to] "r"(to), [generation] "r"(generation)
                     : "memory", "cc");
    return moved;
}

static inline bool ma_rseq_close(const ma_rseq_cpus *cpus, unsigned number)
{
    uintptr_t closed, lane;
    __asm__ volatile(MA_RSEQ_FRAME_ MA_RSEQ_BEGIN_
                     /* if (area->number != number) no */
                     "    movq    %[number_at], %[lane]\n"
                     "    cmpl    %[number], %%fs:(%[lane])\n"
                     "    jne     5b\n" MA_RSEQ_FIND_LANE_ "    movl    $1, %k[answer]\n"
                     /* lane->end = 0 */
                     "    movq    $0, 8(%[lane])\n" MA_RSEQ_END_
                     : [answer] "=&r"(closed), [lane] "=&r"(lane)
                     : MA_RSEQ_PLACES_(cpus), [number] "r"(number)
                     : "memory", "cc");
    return closed;
}
