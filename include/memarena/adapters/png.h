/* libpng in an arena or a scope: its structures, rows and zlib's state live there.
 *
 *     png_structp png = png_create_read_struct_2(PNG_LIBPNG_VER_STRING, NULL, NULL, NULL, scope, memarena_png_alloc,
 *                                                memarena_png_free);
 *
 * png_destroy_read_struct need not be called. */
#ifndef MEMARENA_ADAPTERS_PNG_H
#define MEMARENA_ADAPTERS_PNG_H

#include <memarena.h>
#include <png.h>

static inline png_voidp memarena_png_alloc(png_structp png, png_alloc_size_t size)
{
    return memarena_alloc(MEMARENA_CAST_(memarena *, png_get_mem_ptr(png)), size);
}

static inline void memarena_png_free(png_structp png, png_voidp block)
{
    (void)png, (void)block;
}

#endif
