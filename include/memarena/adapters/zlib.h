/* zlib in an arena or a scope: what deflateInit, inflateInit and the like take lives there, and goes with it. deflateEnd
 * need not be called; if it is, it gives nothing back.
 *
 *     z_stream stream = {0};
 *     memarena_zlib(&stream, scope);
 *     deflateInit(&stream, Z_DEFAULT_COMPRESSION);   // 270 KB; Z_MEM_ERROR when there is no room
 *
 * For one stream after the other in one arena: a scope for each, or deflateReset. */
#ifndef MEMARENA_ADAPTERS_ZLIB_H
#define MEMARENA_ADAPTERS_ZLIB_H

#include <memarena.h>
#include <zlib.h>

static inline voidpf memarena_zlib_alloc(voidpf arena, uInt items, uInt size)
{
    if (size != 0 && items > SIZE_MAX / size) return NULL;
    return memarena_alloc(MEMARENA_CAST_(memarena *, arena), MEMARENA_CAST_(size_t, items) * size);
}

static inline void memarena_zlib_free(voidpf arena, voidpf block)
{
    (void)arena, (void)block;
}

static inline void memarena_zlib(z_stream *stream, memarena *arena)
{
    stream->zalloc = memarena_zlib_alloc;
    stream->zfree = memarena_zlib_free;
    stream->opaque = arena;
}

#endif
