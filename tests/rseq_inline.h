/* Allocation by sequences inline in the program, each in one place; with rseq_inline.c. */
#ifndef RSEQ_INLINE_H
#define RSEQ_INLINE_H

#include <memarena.h>

void *test_inline_alloc_8(memarena *arena, size_t size);
void *test_inline_alloc_16(memarena *arena, size_t size);
void *test_inline_alloc_cold(memarena *arena, size_t size);

#endif
