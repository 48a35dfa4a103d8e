/* No restartable sequences here; included by rseq.h. Every answer is no, and callers go on as if there were none. */

static inline uintptr_t ma_rseq_bump(const ma_rseq_cpus *cpus, uintptr_t bytes, uintptr_t alignment,
                                     const uint64_t *generation)
{
    (void)cpus, (void)bytes, (void)alignment, (void)generation;
    return 0;
}

static inline bool ma_rseq_move(const ma_rseq_cpus *cpus, uintptr_t from, uintptr_t to, uint64_t generation)
{
    (void)cpus, (void)from, (void)to, (void)generation;
    return false;
}

static inline bool ma_rseq_close(const ma_rseq_cpus *cpus, unsigned number)
{
    (void)cpus, (void)number;
    return false;
}
