/* Formats: pictures, messages, fonts. */
#include "job.h"

#ifdef HAVE_PNG
#include <memarena/adapters/png.h>
#include <setjmp.h>
#define SIDE 200u

static struct {
    char *at;
    size_t left;
} stream;

static void write_bytes(png_structp png, png_bytep bytes, png_size_t size)
{
    if (size > stream.left) png_error(png, "no room");
    memcpy(stream.at, bytes, size);
    stream.at += size, stream.left -= size;
}

static void read_bytes(png_structp png, png_bytep bytes, png_size_t size)
{
    if (size > stream.left) png_error(png, "no more");
    memcpy(bytes, stream.at, size);
    stream.at += size, stream.left -= size;
}

static void flush(png_structp png)
{
    (void)png;
}

static void say_nothing(png_structp png, png_const_charp what)
{
    (void)png, (void)what;
}

static void go_back(png_structp png, png_const_charp what)
{
    (void)what;
    png_longjmp(png, 1);
}

static bool write_image(memarena *where, png_bytep pixels)
{
    png_structp png = png_create_write_struct_2(PNG_LIBPNG_VER_STRING, NULL, go_back, say_nothing, where,
                                                memarena_png_alloc, memarena_png_free);
    png_infop info = png ? png_create_info_struct(png) : NULL;
    if (!info || setjmp(png_jmpbuf(png))) return false;
    CHECK(memarena_owns(where, png) && memarena_owns(where, info));
    stream.at = packed, stream.left = sizeof packed;
    png_set_write_fn(png, NULL, write_bytes, flush);
    png_set_IHDR(png, info, SIDE, SIDE, 8, PNG_COLOR_TYPE_RGB, PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT,
                 PNG_FILTER_TYPE_DEFAULT);
    png_write_info(png, info);
    for (unsigned y = 0; y < SIDE; y++) png_write_row(png, pixels + (size_t)y * SIDE * 3);
    png_write_end(png, info);
    return true;
}

static bool read_image(memarena *where, png_bytep pixels)
{
    png_structp png = png_create_read_struct_2(PNG_LIBPNG_VER_STRING, NULL, go_back, say_nothing, where,
                                               memarena_png_alloc, memarena_png_free);
    png_infop info = png ? png_create_info_struct(png) : NULL;
    if (!info || setjmp(png_jmpbuf(png))) return false;
    png_set_read_fn(png, NULL, read_bytes);
    png_read_info(png, info);
    CHECK(png_get_image_width(png, info) == SIDE && png_get_image_height(png, info) == SIDE);
    for (unsigned y = 0; y < SIDE; y++) png_read_row(png, pixels + (size_t)y * SIDE * 3, NULL);
    png_read_end(png, info);
    return true;
}

bool png_job(memarena *where)
{
    png_bytep pixels = (png_bytep)text, back = (png_bytep)unpacked;
    CHECK(text_bytes >= 3 * SIDE * SIDE);
    if (!write_image(where, pixels)) return false;
    stream.left = (size_t)(stream.at - packed), stream.at = packed;
    if (!read_image(where, back)) return false;
    CHECK(memcmp(pixels, back, 3 * SIDE * SIDE) == 0);
    memset(unpacked, 0, sizeof unpacked);
    return true;
}
#endif

#ifdef HAVE_PROTOBUF_C
#include <memarena/adapters/protobuf_c.h>
#include <message.pb-c.h> /* which protoc-c makes of message.proto */

/* The text as a message. NULL: there is no room. */
static Text *make_message(memarena *where)
{
    size_t count = 0, length, line_length;
    for (const char *at = text; (at = strchr(at, '\n')) != NULL; at++) count++;
    Text *message = memarena_new(where, Text);
    if (!message) return NULL;
    text__init(message);
    message->lines = memarena_new_array(where, Line *, count);
    if (!message->lines) return NULL;
    const char *start = text, *at = text;
    for (; message->n_lines < count; start += line_length + 1) {
        line_length = (size_t)(strchr(start, '\n') - start);
        Line *line = message->lines[message->n_lines] = memarena_new(where, Line);
        if (!line) return NULL;
        line__init(line);
        line->number = (uint32_t)message->n_lines++;
        line->text = line_length ? memarena_strndup(where, start, line_length) : NULL;
        line->word_lengths = memarena_new_array(where, uint32_t, line_length);
        if (!line->word_lengths || (line_length && !line->text)) return NULL;
        for (const char *word = at; (word = next_word(&at, &length)) && word < start + line_length; word = at)
            line->word_lengths[line->n_word_lengths++] = (uint32_t)length;
        at = start + line_length;
    }
    CHECK(start == text + text_bytes); /* the text ends with a line's end */
    return message;
}

static void check_message(const Text *message)
{
    size_t bytes = 0, words = 0, letters = 0, expected_words = 0, expected_letters = 0, length;
    for (size_t i = 0; i < message->n_lines; i++) {
        const Line *line = message->lines[i];
        CHECK_EQ(line->number, i);
        size_t line_length = line->text ? strlen(line->text) : 0;
        memcpy(unpacked + bytes, line->text ? line->text : "", line_length);
        bytes += line_length;
        unpacked[bytes++] = '\n';
        words += line->n_word_lengths;
        for (size_t j = 0; j < line->n_word_lengths; j++) letters += line->word_lengths[j];
    }
    check_unpacked(bytes);
    for (const char *at = text; next_word(&at, &length);) expected_words++, expected_letters += length;
    CHECK_EQ(words, expected_words);
    CHECK_EQ(letters, expected_letters);
    CHECK(strcmp(message->name, "unnamed") == 0);
}

bool protobuf_c_job(memarena *where)
{
    ProtobufCAllocator allocator = memarena_protobuf_c(where);
    Text *message = make_message(where);
    if (!message) return false;
    size_t size = text__get_packed_size(message);
    CHECK(size > text_bytes && size <= sizeof packed);
    CHECK_EQ(text__pack(message, (uint8_t *)packed), size);

    ProtobufCBufferSimple buffer = PROTOBUF_C_BUFFER_SIMPLE_INIT((uint8_t[16]){0});
    buffer.allocator = &allocator;
    text__pack_to_buffer(message, &buffer.base);
    if (buffer.len != size) return false; /* there was no room, and it said nothing */
    CHECK(memarena_owns(where, buffer.data));
    CHECK(memcmp(buffer.data, packed, size) == 0);

    Text *back = text__unpack(&allocator, size, (const uint8_t *)packed);
    if (!back) return false;
    CHECK(memarena_owns(where, back) && memarena_owns(where, back->lines[back->n_lines - 1]->word_lengths));
    check_message(back);
    CHECK(text__unpack(&allocator, size - 1, (const uint8_t *)packed) == NULL); /* cut off: what it took stays */
    PROTOBUF_C_BUFFER_SIMPLE_CLEAR(&buffer);
    text__free_unpacked(back, &allocator); /* does no harm */
    return true;
}
#endif

#ifdef HAVE_FREETYPE
#include <limits.h>
#include <memarena/adapters/freetype.h>

/* What the printable characters look like in the font, in three sizes: sums over their pixels and widths. */
struct look {
    unsigned long long pixels, widths;
};

static FT_Error look_at_font(FT_Library library, FT_Face *face, struct look *look)
{
    FT_Error error = FT_New_Face(library, FONT, 0, face);
    for (unsigned size = 12; !error && size <= 48; size *= 2) {
        error = FT_Set_Pixel_Sizes(*face, 0, size);
        for (unsigned c = ' '; !error && c <= '~'; c++) {
            error = FT_Load_Char(*face, c, FT_LOAD_RENDER);
            if (error) break;
            const FT_Bitmap *bitmap = &(*face)->glyph->bitmap;
            for (unsigned y = 0; y < bitmap->rows; y++)
                for (unsigned x = 0; x < bitmap->width; x++) {
                    const unsigned char *row = bitmap->buffer + (ptrdiff_t)y * bitmap->pitch;
                    look->pixels = look->pixels * 31 + row[x];
                }
            look->widths = look->widths * 31 + (unsigned long long)(*face)->glyph->advance.x;
        }
    }
    return error;
}

bool freetype_job(memarena *where)
{
    static struct look with_malloc;
    FT_Library library;
    FT_Face face = NULL;
    if (with_malloc.pixels == 0) {
        CHECK_EQ(FT_Init_FreeType(&library), 0);
        CHECK_EQ(look_at_font(library, &face, &with_malloc), 0);
        CHECK_EQ(FT_Done_FreeType(library), 0);
        CHECK(with_malloc.pixels != 0 && with_malloc.widths != 0);
    }

    struct FT_MemoryRec_ memory = memarena_freetype(where);
    FT_Error error = FT_New_Library(&memory, &library);
    if (error) {
        CHECK_EQ(error, FT_Err_Out_Of_Memory);
        return false;
    }
    FT_Add_Default_Modules(library);
    struct look look = {0, 0};
    error = look_at_font(library, &face, &look);
    if (!error) {
        CHECK(memarena_owns(where, library) && memarena_owns(where, face));
        CHECK(memarena_owns(where, face->glyph->bitmap.buffer));
        CHECK(look.pixels == with_malloc.pixels && look.widths == with_malloc.widths);
    }
    char *block = memory.alloc(&memory, 100);
    CHECK(memory.alloc(&memory, -1) == NULL && memory.alloc(&memory, LONG_MIN) == NULL);
    CHECK(memory.realloc(&memory, 100, -1, block) == NULL && memory.realloc(&memory, -1, 50, block) == NULL);
    CHECK_EQ(FT_Done_Library(library), 0); /* closes the font's file */
    return !error;
}
#endif
