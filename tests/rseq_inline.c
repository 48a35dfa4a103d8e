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

/* Where compilers put it away from the rest. */
__attribute__((cold, noinline)) void *test_inline_alloc_cold(memarena *arena, size_t size)
{
    return memarena_bump_(arena, size, 32); /* always inline */
}
