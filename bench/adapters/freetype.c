/* FreeType: a library and a face of a font that lies in memory, for some lines of text: all printable characters of ASCII
 * in two sizes. */
#include "jobs.h"

#include <memarena/adapters/freetype.h>
#include <stdio.h>
#include <stdlib.h>

static unsigned char font[(size_t)4 << 20];
static long font_bytes;

static struct look {
    unsigned long long pixels, widths;
    unsigned glyphs, inked;
} seen, expected;

static void *count_alloc(FT_Memory unused, long size)
{
    (void)unused;
    return counted_alloc((size_t)size);
}

static void *count_realloc(FT_Memory unused, long old_size, long new_size, void *block)
{
    (void)unused, (void)old_size;
    return counted_realloc(block, (size_t)new_size);
}

static void count_free(FT_Memory unused, void *block)
{
    (void)unused;
    counted_free(block);
}

/* `record` lives as long as the library. */
static FT_Library new_library(const struct memory *memory, struct FT_MemoryRec_ *record)
{
    FT_Library library;
    if (memory->from == FROM_MALLOC) {
        if (FT_Init_FreeType(&library) != 0) job_failed("FT_Init_FreeType");
        return library;
    }
    *record = memory->from == FROM_ARENA ? memarena_freetype(memory->scope)
                                         : (struct FT_MemoryRec_){NULL, count_alloc, count_free, count_realloc};
    if (FT_New_Library(record, &library) != 0) job_failed("FT_New_Library");
    FT_Add_Default_Modules(library);
    return library;
}

static void look_at(const FT_GlyphSlot glyph)
{
    const FT_Bitmap *bitmap = &glyph->bitmap;
    unsigned long long pixels = 0;
    for (unsigned y = 0; y < bitmap->rows; y++)
        for (unsigned x = 0; x < bitmap->width; x++)
            pixels += bitmap->buffer[(ptrdiff_t)y * bitmap->pitch + x] * (x + 1ull);
    seen.glyphs++;
    seen.inked += pixels > 0;
    seen.pixels = seen.pixels * 31 + pixels;
    seen.widths += (unsigned long long)glyph->advance.x;
}

static void render(const struct memory *memory)
{
    struct FT_MemoryRec_ record;
    FT_Library library = new_library(memory, &record);
    FT_Face face;
    seen = (struct look){0};
    if (FT_New_Memory_Face(library, font, font_bytes, 0, &face) != 0) job_failed("FT_New_Memory_Face");
    for (unsigned size = 12; size <= 24; size *= 2) {
        if (FT_Set_Pixel_Sizes(face, 0, size) != 0) job_failed("FT_Set_Pixel_Sizes");
        for (unsigned c = ' '; c <= '~'; c++) {
            if (FT_Load_Char(face, c, FT_LOAD_RENDER) != 0) job_failed("FT_Load_Char");
            look_at(face->glyph);
        }
    }
    if (!memory->clean_up) return;
    if (memory->from == FROM_MALLOC)
        FT_Done_FreeType(library);
    else
        FT_Done_Library(library);
}

static void prepare(void)
{
    FILE *file = fopen(FONT, "rb");
    if (!file) job_failed("fopen of " FONT);
    font_bytes = (long)fread(font, 1, sizeof font, file);
    fclose(file);
    struct memory memory = {.from = FROM_MALLOC, .clean_up = true};
    render(&memory);
    expected = seen;
    seen = (struct look){0};
}

static bool is_rendered(void)
{
    bool right = seen.glyphs == 2 * ('~' - ' ' + 1) && seen.inked == seen.glyphs - 2 && /* but for the spaces */
                 seen.pixels == expected.pixels && seen.widths == expected.widths;
    seen = (struct look){0};
    return right;
}

const struct job freetype_jobs[] = {
    {"freetype", "a face from memory, 190 glyphs in two sizes", prepare, render, is_rendered},
    {0},
};
