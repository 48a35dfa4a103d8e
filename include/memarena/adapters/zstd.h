/* Zstandard in an arena or a scope. The calls that take an allocator are in the part of zstd.h that is for static linking,
 * so include this before any other zstd.h, or define ZSTD_STATIC_LINKING_ONLY first.
 *
 *     ZSTD_CCtx *context = ZSTD_createCCtx_advanced(memarena_zstd(scope));
 *
 * ZSTD_freeCCtx need not be called. A context that grows for larger input leaves its old tables behind in the arena:
 * give each job a scope, or one context that has seen the largest.
 *
 * Threads     With ZSTD_c_nbWorkers, and in a ZSTD_threadPool, workers take memory in threads of their own. A scope has one
 *             owner: give such a context an arena, best one that is made for the job. ZSTD_freeCCtx must be called then, before
 *             the arena is destroyed: it ends the workers. */
#ifndef MEMARENA_ADAPTERS_ZSTD_H
#define MEMARENA_ADAPTERS_ZSTD_H

#ifndef ZSTD_STATIC_LINKING_ONLY
#define ZSTD_STATIC_LINKING_ONLY
#endif
#include <memarena.h>
#include <zstd.h>

static inline void *memarena_zstd_alloc(void *arena, size_t size)
{
    return memarena_alloc(MEMARENA_CAST_(memarena *, arena), size);
}

static inline void memarena_zstd_free(void *arena, void *block)
{
    (void)arena, (void)block;
}

static inline ZSTD_customMem memarena_zstd(memarena *arena)
{
    ZSTD_customMem memory = {memarena_zstd_alloc, memarena_zstd_free, arena};
    return memory;
}

#endif
