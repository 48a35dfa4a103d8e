/* Brotli in an arena or a scope. No header of Brotli's is needed here:
 *
 *     BrotliEncoderCreateInstance(memarena_brotli_alloc, memarena_brotli_free, scope)
 *     BrotliDecoderCreateInstance(memarena_brotli_alloc, memarena_brotli_free, scope)
 *
 * The encoder, as Brotli is built by default, calls exit() where there is no room: give it enough. Its input buffer
 * grows by new blocks: its peak is up to twice that with malloc. */
#ifndef MEMARENA_ADAPTERS_BROTLI_H
#define MEMARENA_ADAPTERS_BROTLI_H

#include <memarena.h>

static inline void *memarena_brotli_alloc(void *arena, size_t size)
{
    return memarena_alloc(MEMARENA_CAST_(memarena *, arena), size);
}

static inline void memarena_brotli_free(void *arena, void *block)
{
    (void)arena, (void)block;
}

#endif
