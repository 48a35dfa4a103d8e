/* The sequences that programs have inline, for rseq_aborts.c. */
#define MEMARENA_INLINE_PER_CPU
#include "rseq_inline.h"

void *test_inline_alloc_8(memarena *arena, size_t size)
{
    return memarena_alloc_aligned(arena, size, 8);
}

void *test_inline_alloc_16(memarena *arena, size_t size)
{
    return memarena_alloc_aligned(arena, size, 16);
}
