/* Where Linux and the C library have put the area of each thread. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "rseq.h"

#include "atomic.h"

#if MA_RSEQ
#include <errno.h>
#include <sys/auxv.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef AT_RSEQ_FEATURE_SIZE
#define AT_RSEQ_FEATURE_SIZE 27
#endif

/* Fields of struct rseq (linux/rseq.h), which is older in many headers than in the kernel that runs. */
#define CPU_ID 4
#define RSEQ_CS 8
#define MM_CID 24
#define MM_CID_END 28
/* What the C library registers at least, and what kernels fill as far as they know it: AT_RSEQ_FEATURE_SIZE. */
#define AREA_BYTES 32

/* Of glibc 2.35 and later; absent elsewhere. The size is 0 where registration is switched off. */
extern const ptrdiff_t __rseq_offset __attribute__((weak));
extern const unsigned __rseq_size __attribute__((weak));

bool ma_rseq_is_there(void)
{
    _Static_assert(MM_CID_END <= AREA_BYTES, "every registered area has room for the number");
    return &__rseq_size && &__rseq_offset && __rseq_size != 0;
}

void ma_rseq_find(ma_rseq_cpus *cpus)
{
    bool has_mm_cid = getauxval(AT_RSEQ_FEATURE_SIZE) >= MM_CID_END;
    cpus->rseq_cs_at = __rseq_offset + RSEQ_CS;
    cpus->number_at = __rseq_offset + (has_mm_cid ? MM_CID : CPU_ID);
}

unsigned ma_rseq_numbers(void)
{
    static unsigned numbers; /* the system is asked once */
    unsigned known = ma_load_relaxed(&numbers);
    if (known) return known;
    int saved = errno;
    long configured = sysconf(_SC_NPROCESSORS_CONF);
    errno = saved;
    known = configured > 0 ? (unsigned)configured : 1;
    ma_store_relaxed(&numbers, known);
    return known;
}

unsigned ma_rseq_number(const ma_rseq_cpus *cpus)
{
    char *thread = __builtin_thread_pointer();
    int cpu = ma_load_relaxed((int *)(void *)(thread + cpus->rseq_cs_at - RSEQ_CS + CPU_ID));
    return cpu < 0 ? UINT_MAX : ma_load_relaxed((unsigned *)(void *)(thread + cpus->number_at));
}
/* linux/membarrier.h, likewise */
#define FENCE_RSEQ (1 << 7)
#define REGISTER_FENCE_RSEQ (1 << 8)

bool ma_rseq_fence(void)
{
    int saved = errno;
    bool done = syscall(SYS_membarrier, FENCE_RSEQ, 0, 0) == 0;
    if (!done && errno == EPERM && syscall(SYS_membarrier, REGISTER_FENCE_RSEQ, 0, 0) == 0)
        done = syscall(SYS_membarrier, FENCE_RSEQ, 0, 0) == 0;
    errno = saved;
    return done;
}
#else
bool ma_rseq_fence(void)
{
    return false;
}

bool ma_rseq_is_there(void)
{
    return false;
}

unsigned ma_rseq_numbers(void)
{
    return 0;
}

void ma_rseq_find(ma_rseq_cpus *cpus)
{
    (void)cpus;
}

unsigned ma_rseq_number(const ma_rseq_cpus *cpus)
{
    (void)cpus;
    return UINT_MAX;
}
#endif
