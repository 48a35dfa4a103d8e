/* Compressors: the text comes out as it went in. */
#include "job.h"

#ifdef HAVE_ZLIB
#include <memarena/adapters/zlib.h>
bool zlib_job(memarena *where)
{
    z_stream in = {0}, out = {0};
    memarena_zlib(&in, where);
    (void)in.zalloc(in.opaque, 5, 0); /* nothing of nothing is no overflow */
    if (sizeof(size_t) == sizeof(uInt)) CHECK(in.zalloc(in.opaque, 3, UINT_MAX / 2) == Z_NULL);
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
bool zstd_job(memarena *where)
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
bool brotli_job(memarena *where)
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
bool lzma_job(memarena *where)
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
