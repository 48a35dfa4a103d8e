/* No restartable sequences here; included by rseq.h. Every answer is no, and callers go on as if there were none. */

static inline uintptr_t ma_rseq_bump(const ma_rseq_lanes *lanes, uintptr_t bytes, uintptr_t mask,
                                     const uint64_t *generation)
{
    (void)lanes, (void)bytes, (void)mask, (void)generation;
    return 0;
}

static inline bool ma_rseq_move(const ma_rseq_lanes *lanes, uintptr_t from, uintptr_t to, uint64_t generation)
{
    (void)lanes, (void)from, (void)to, (void)generation;
    return false;
}

static inline bool ma_rseq_close(const ma_rseq_lanes *lanes, unsigned number)
{
    (void)lanes, (void)number;
    return false;
}
