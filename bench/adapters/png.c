/* libpng: decodes an image that lies in memory. */
#include "jobs.h"

#include <memarena/adapters/png.h>
#include <stdlib.h>
#include <string.h>

#define SIDE 128u
#define ROW_BYTES ((size_t)SIDE * 3)

static png_byte drawn[SIDE * ROW_BYTES], pixels[SIDE * ROW_BYTES];
static png_byte file[2 * SIDE * ROW_BYTES];
static size_t file_bytes, read_bytes;

static png_voidp count_alloc(png_structp png, png_alloc_size_t size)
{
    (void)png;
    return counted_alloc(size);
}

static void count_free(png_structp png, png_voidp block)
{
    (void)png;
    counted_free(block);
}

static void write_to_file(png_structp png, png_bytep bytes, size_t size)
{
    if (size > sizeof file - file_bytes) png_error(png, "no room");
    memcpy(file + file_bytes, bytes, size);
    file_bytes += size;
}

static void read_from_file(png_structp png, png_bytep bytes, size_t size)
{
    if (size > file_bytes - read_bytes) png_error(png, "no more");
    memcpy(bytes, file + read_bytes, size);
    read_bytes += size;
}

_Noreturn static void fail(png_structp png, png_const_charp what)
{
    (void)png;
    job_failed(what);
}

static png_structp reader(const struct memory *memory)
{
    if (memory->from == FROM_ARENA)
        return png_create_read_struct_2(PNG_LIBPNG_VER_STRING, NULL, fail, NULL, memory->scope, memarena_png_alloc,
                                        memarena_png_free);
    if (memory->from == FROM_COUNTED)
        return png_create_read_struct_2(PNG_LIBPNG_VER_STRING, NULL, fail, NULL, NULL, count_alloc, count_free);
    return png_create_read_struct(PNG_LIBPNG_VER_STRING, NULL, fail, NULL);
}

static void decode_image(const struct memory *memory)
{
    png_structp png = reader(memory);
    png_infop info = png ? png_create_info_struct(png) : NULL;
    if (!info) job_failed("png_create_read_struct");
    read_bytes = 0;
    png_set_read_fn(png, NULL, read_from_file);
    png_read_info(png, info);
    if (png_get_image_width(png, info) != SIDE || png_get_image_height(png, info) != SIDE) job_failed("png_read_info");
    for (size_t y = 0; y < SIDE; y++) png_read_row(png, pixels + y * ROW_BYTES, NULL);
    png_read_end(png, NULL);
    if (memory->clean_up) png_destroy_read_struct(&png, &info, NULL);
}

static bool is_image(void)
{
    bool right = memcmp(pixels, drawn, sizeof pixels) == 0;
    memset(pixels, 0, sizeof pixels);
    return right;
}

/* Colours that run into each other, and some grain. */
static void draw(void)
{
    for (size_t y = 0; y < SIDE; y++)
        for (size_t x = 0; x < SIDE; x++) {
            png_bytep at = drawn + y * ROW_BYTES + 3 * x;
            at[0] = (png_byte)(2 * x), at[1] = (png_byte)(2 * y), at[2] = (png_byte)(x + y + (x * y * 7919u) % 3);
        }
}

static void prepare(void)
{
    draw();
    png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, NULL, fail, NULL);
    png_infop info = png ? png_create_info_struct(png) : NULL;
    if (!info) job_failed("png_create_write_struct");
    png_set_write_fn(png, NULL, write_to_file, NULL);
    png_set_IHDR(png, info, SIDE, SIDE, 8, PNG_COLOR_TYPE_RGB, PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT,
                 PNG_FILTER_TYPE_DEFAULT);
    png_write_info(png, info);
    for (size_t y = 0; y < SIDE; y++) png_write_row(png, drawn + y * ROW_BYTES);
    png_write_end(png, info);
    png_destroy_write_struct(&png, &info);
}

const struct job png_jobs[] = {
    {"png-decode", "an image of 128 x 128 pixels", prepare, decode_image, is_image},
    {0},
};
