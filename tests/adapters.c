/* Other libraries in a scope: each does its work there on real input, leaves nothing outside, is refused cleanly where
 * there is no room, and gives all back with the scope. The libraries are those that CMake found. */
#include "test.h"

#include <memarena.h>

#include <string.h>

#define KIB ((size_t)1 << 10)
#define MIB ((size_t)1 << 20)
#define TEXT_MAX (4 * MIB)

static memarena *shared;
static char *text; /* the file that the test is given */
static size_t text_bytes;
static char packed[TEXT_MAX], unpacked[TEXT_MAX];

/* What it does in `where`, which may have no room for it. False: it was told so. */
typedef bool job(memarena *where);

static void check_unpacked(size_t bytes)
{
    CHECK_EQ(bytes, text_bytes);
    CHECK(memcmp(unpacked, text, text_bytes) == 0);
    memset(unpacked, 0, sizeof unpacked);
}

static size_t allocated(void)
{
    return memarena_allocated_bytes(shared);
}

/* Many times, and then, if it `survives` that, with less room. */
static void try_job(const char *name, job *does, bool survives)
{
    size_t most = 0;
    printf("  %s\n", name);
    for (int i = 0; i < 5; i++) {
        memarena *scope = memarena_scope(shared);
        CHECK(scope != NULL);
        CHECK(does(scope));
        size_t used = allocated();
        CHECK(used > 0 && (i == 0 || used <= most + 64 * KIB)); /* nothing piles up */
        if (used > most) most = used;
        memarena_destroy(scope);
        CHECK_EQ(allocated(), 0);
    }
    printf("    %zu KiB at most\n", most / KIB);
    unsigned refused = survives ? 0 : 1;
    for (size_t room = 8 * KIB; survives && room < most; room += most / 16) {
        memarena *small = memarena_create(room);
        CHECK(small != NULL);
        refused += !does(small);
        memarena_destroy(small);
    }
    CHECK(refused > 0);
}

/* ---- Compressors ------------------------------------------------------------------------------------------------- */

#ifdef HAVE_ZLIB
#include <memarena/adapters/zlib.h>
static bool zlib_job(memarena *where)
{
    z_stream in = {0}, out = {0};
    memarena_zlib(&in, where);
    memarena_zlib(&out, where);
    int result = deflateInit(&in, 6);
    if (result == Z_MEM_ERROR) return false;
    CHECK_EQ(result, Z_OK);
    CHECK(memarena_owns(where, in.state));
    in.next_in = (Bytef *)text, in.avail_in = (uInt)text_bytes;
    in.next_out = (Bytef *)packed, in.avail_out = sizeof packed;
    CHECK_EQ(deflate(&in, Z_FINISH), Z_STREAM_END);
    if (inflateInit(&out) == Z_MEM_ERROR) return false;
    out.next_in = (Bytef *)packed, out.avail_in = (uInt)in.total_out;
    out.next_out = (Bytef *)unpacked, out.avail_out = sizeof unpacked;
    result = inflate(&out, Z_FINISH);
    if (result == Z_MEM_ERROR) return false;
    CHECK_EQ(result, Z_STREAM_END);
    check_unpacked(out.total_out);
    CHECK_EQ(deflateEnd(&in), Z_OK); /* does no harm */
    return true;
}
#endif

#ifdef HAVE_ZSTD
#include <memarena/adapters/zstd.h>
static bool zstd_job(memarena *where)
{
    ZSTD_CCtx *in = ZSTD_createCCtx_advanced(memarena_zstd(where));
    if (!in) return false;
    CHECK(memarena_owns(where, in));
    size_t size = ZSTD_compressCCtx(in, packed, sizeof packed, text, text_bytes, 3);
    if (ZSTD_isError(size)) return false;
    ZSTD_DCtx *out = ZSTD_createDCtx_advanced(memarena_zstd(where));
    if (!out) return false;
    check_unpacked(ZSTD_decompressDCtx(out, unpacked, sizeof unpacked, packed, size));
    return true;
}
#endif

#ifdef HAVE_BROTLI
#include <brotli/decode.h>
#include <brotli/encode.h>
#include <memarena/adapters/brotli.h>
static bool brotli_job(memarena *where)
{
    BrotliEncoderState *in = BrotliEncoderCreateInstance(memarena_brotli_alloc, memarena_brotli_free, where);
    if (!in) return false;
    CHECK(memarena_owns(where, in));
    BrotliEncoderSetParameter(in, BROTLI_PARAM_QUALITY, 5);
    const uint8_t *from = (const uint8_t *)text;
    uint8_t *to = (uint8_t *)packed;
    size_t left = text_bytes, room = sizeof packed;
    if (!BrotliEncoderCompressStream(in, BROTLI_OPERATION_FINISH, &left, &from, &room, &to, NULL)) return false;
    CHECK(BrotliEncoderIsFinished(in));
    BrotliDecoderState *out = BrotliDecoderCreateInstance(memarena_brotli_alloc, memarena_brotli_free, where);
    if (!out) return false;
    left = sizeof packed - room, room = sizeof unpacked;
    from = (const uint8_t *)packed, to = (uint8_t *)unpacked;
    if (BrotliDecoderDecompressStream(out, &left, &from, &room, &to, NULL) != BROTLI_DECODER_RESULT_SUCCESS)
        return false;
    check_unpacked(sizeof unpacked - room);
    return true;
}
#endif

#ifdef HAVE_LZMA
#include <memarena/adapters/lzma.h>
static bool lzma_job(memarena *where)
{
    lzma_allocator allocator = memarena_lzma(where);
    size_t size = 0, from = 0, to = 0;
    uint64_t most = UINT64_MAX;
    lzma_ret result = lzma_easy_buffer_encode(1, LZMA_CHECK_CRC64, &allocator, (const uint8_t *)text, text_bytes,
                                              (uint8_t *)packed, &size, sizeof packed);
    if (result == LZMA_MEM_ERROR) return false;
    CHECK_EQ(result, LZMA_OK);
    result = lzma_stream_buffer_decode(&most, 0, &allocator, (const uint8_t *)packed, &from, size, (uint8_t *)unpacked,
                                       &to, sizeof unpacked);
    if (result == LZMA_MEM_ERROR) return false;
    CHECK_EQ(result, LZMA_OK);
    check_unpacked(to);
    return true;
}
#endif

/* ---- Others ------------------------------------------------------------------------------------------------------ */

#ifdef HAVE_PCRE2
#define PCRE2_CODE_UNIT_WIDTH 8
#include <memarena/adapters/pcre2.h>
static bool pcre2_job(memarena *where)
{
    int error;
    PCRE2_SIZE offset, at = 0;
    unsigned long words = 0, expected = 0;
    pcre2_general_context *memory = memarena_pcre2(where);
    pcre2_compile_context *compiling = memory ? pcre2_compile_context_create(memory) : NULL;
    if (!compiling) return false;
    pcre2_code *code =
        pcre2_compile((PCRE2_SPTR) "\\bmemarena_([a-z]+)", PCRE2_ZERO_TERMINATED, 0, &error, &offset, compiling);
    pcre2_match_data *match = code ? pcre2_match_data_create_from_pattern(code, memory) : NULL;
    pcre2_match_context *matching = match ? pcre2_match_context_create(memory) : NULL;
    if (!matching) return false;
    CHECK(memarena_owns(where, code) && memarena_owns(where, match));
    for (;;) {
        int found = pcre2_match(code, (PCRE2_SPTR)text, text_bytes, at, 0, match, matching);
        if (found == PCRE2_ERROR_NOMEMORY) return false;
        if (found < 0) break;
        CHECK_EQ(found, 2);
        at = pcre2_get_ovector_pointer(match)[1];
        words++;
    }
    for (const char *next = text; (next = strstr(next, "memarena_")) != NULL; next += 9) {
        char before = next == text ? ' ' : next[-1];
        bool starts = !(before == '_' || (before >= 'a' && before <= 'z') || (before >= 'A' && before <= 'Z') ||
                        (before >= '0' && before <= '9'));
        expected += starts && next[9] >= 'a' && next[9] <= 'z';
    }
    CHECK(words > 100);
    CHECK_EQ(words, expected);
    return true;
}
#endif

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

static bool png_job(memarena *where)
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

#ifdef HAVE_LUA
#include <lauxlib.h>
#include <lualib.h>
#include <memarena/adapters/lua.h>
static int give_text(lua_State *state)
{
    lua_pushlstring(state, text, text_bytes);
    lua_setglobal(state, "text");
    return 0;
}

static bool lua_job(memarena *where)
{
    static const char script[] = "local count, most = {}, ''\n"
                                 "for word in text:gmatch('%a+') do count[word] = (count[word] or 0) + 1 end\n"
                                 "for word, n in pairs(count) do if n > (count[most] or 0) then most = word end end\n"
                                 "return most, count[most]\n";
    lua_State *state = lua_newstate(memarena_lua_alloc, where);
    if (!state) return false;
    CHECK(memarena_owns(where, state));
    lua_pushcfunction(state, luaopen_base);
    if (lua_pcall(state, 0, 0, 0) != LUA_OK) return false;
    lua_pushcfunction(state, luaopen_string);
    if (lua_pcall(state, 0, 0, 0) != LUA_OK) return false;
    if (luaL_loadstring(state, script) != LUA_OK) return false;
    lua_pushcfunction(state, give_text); /* not here: without protection Lua aborts where memory ends */
    if (lua_pcall(state, 0, 0, 0) != LUA_OK) return false;
    int result = lua_pcall(state, 0, 2, 0);
    if (result == LUA_ERRMEM) return false;
    CHECK_EQ(result, LUA_OK);
    CHECK(lua_tointeger(state, -1) > 100);
    lua_close(state); /* does no harm */
    return true;
}
#endif

static void read_text(const char *path)
{
    FILE *file = fopen(path, "rb");
    CHECK(file != NULL);
    text = malloc(TEXT_MAX / 4 + 1);
    CHECK(file != NULL && text != NULL);
    size_t once = fread(text, 1, TEXT_MAX / 64, file);
    fclose(file);
    CHECK(once > 10000);
    for (text_bytes = 0; text_bytes + once <= TEXT_MAX / 16; text_bytes += once)
        if (text_bytes > 0) memcpy(text + text_bytes, text, once);
    text[text_bytes] = '\0';
}

int main(int argc, char **argv)
{
    CHECK_EQ(argc, 2);
    read_text(argv[1]);
    shared = memarena_create(256 * MIB);
    CHECK(shared != NULL);
#ifdef HAVE_ZLIB
    try_job("zlib", zlib_job, true);
#endif
#ifdef HAVE_ZSTD
    try_job("zstd", zstd_job, true);
#endif
#ifdef HAVE_BROTLI
    try_job("brotli", brotli_job, false); /* the encoder calls exit where memory ends */
#endif
#ifdef HAVE_LZMA
    try_job("lzma", lzma_job, true);
#endif
#ifdef HAVE_PCRE2
    try_job("pcre2", pcre2_job, true);
#endif
#ifdef HAVE_PNG
    try_job("png", png_job, true);
#endif
#ifdef HAVE_LUA
    try_job("lua", lua_job, true);
#endif
    memarena_destroy(shared);
    free(text);
    if (test_checks < 10) SKIP("none of the libraries is here");
    return test_done();
}
