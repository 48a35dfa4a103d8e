/* FreeType in an arena or a scope: the library, its faces and glyphs live there. The record must live as long:
 *
 *     struct FT_MemoryRec_ memory = memarena_freetype(scope);
 *     FT_New_Library(&memory, &library);   // FT_Err_Out_Of_Memory where there is no room
 *     FT_Add_Default_Modules(library);     // says nothing where there is none: the next call does
 *
 * End it with FT_Done_Library, never with FT_Done_FreeType, which would free the record. With faces that FT_New_Memory_Face
 * made it may be left out; FT_New_Face holds a file open or mapped, which only FT_Done_Face and FT_Done_Library give back.
 * Each glyph takes anew what the one before it freed: a scope for a line or a page of text, not for a program's life. */
#ifndef MEMARENA_ADAPTERS_FREETYPE_H
#define MEMARENA_ADAPTERS_FREETYPE_H

#include <ft2build.h>
#include <memarena.h>
#include FT_FREETYPE_H
#include FT_MODULE_H
#include FT_SYSTEM_H

/* A negative size is refused as too large. */
static inline void *memarena_freetype_alloc(FT_Memory memory, long size)
{
    return memarena_alloc(MEMARENA_CAST_(memarena *, memory->user), MEMARENA_CAST_(size_t, size));
}

static inline void memarena_freetype_free(FT_Memory memory, void *block)
{
    (void)memory, (void)block;
}

/* FreeType says how large the block was. */
static inline void *memarena_freetype_realloc(FT_Memory memory, long old_size, long new_size, void *block)
{
    if (old_size < 0) return NULL;
    return memarena_realloc(MEMARENA_CAST_(memarena *, memory->user), block, MEMARENA_CAST_(size_t, old_size),
                            MEMARENA_CAST_(size_t, new_size));
}

static inline struct FT_MemoryRec_ memarena_freetype(memarena *arena)
{
    struct FT_MemoryRec_ memory = {arena, memarena_freetype_alloc, memarena_freetype_free, memarena_freetype_realloc};
    return memory;
}

#endif
