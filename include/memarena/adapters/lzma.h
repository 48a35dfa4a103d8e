/* liblzma (xz) in an arena or a scope. The allocator must live as long as the stream:
 *
 *     lzma_allocator allocator = memarena_lzma(scope);
 *     lzma_stream stream = LZMA_STREAM_INIT;
 *     stream.allocator = &allocator;
 *
 * lzma_end need not be called.
 *
 * Threads     lzma_stream_encoder_mt and lzma_stream_decoder_mt take memory in threads of their own, also between the calls of
 *             lzma_code. A scope has one owner: give them an arena, best one that is made for the job. lzma_end must be
 *             called then, before the arena is destroyed: it ends the threads. */
#ifndef MEMARENA_ADAPTERS_LZMA_H
#define MEMARENA_ADAPTERS_LZMA_H

#include <lzma.h>
#include <memarena.h>

/* liblzma asks for `count` times `size`, and promises that the product does not overflow. */
static inline void *memarena_lzma_alloc(void *arena, size_t count, size_t size)
{
    return memarena_alloc(MEMARENA_CAST_(memarena *, arena), count * size);
}

static inline void memarena_lzma_free(void *arena, void *block)
{
    (void)arena, (void)block;
}

static inline lzma_allocator memarena_lzma(memarena *arena)
{
    lzma_allocator allocator = {memarena_lzma_alloc, memarena_lzma_free, arena};
    return allocator;
}

#endif
