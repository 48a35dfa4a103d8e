/* Libraries that call their allocator from threads of their own, on an arena: liblzma with threads, Zstandard with workers.
 * What is packed is unpacked, all of it lies in the arena, and ThreadSanitizer has nothing to say. */
#include "test.h"

#include <memarena.h>

#include <string.h>

#define MIB ((size_t)1 << 20)
#define TEXT_BYTES (2 * MIB)

static unsigned char text[TEXT_BYTES], packed[2 * TEXT_BYTES], unpacked[TEXT_BYTES];

/* Half of it can be packed. */
static void make_text(void)
{
    unsigned long long random = 20;
    for (size_t i = 0; i < TEXT_BYTES; i++) text[i] = (unsigned char)(test_random(&random) & 15);
    CHECK(memcmp(text, text + TEXT_BYTES / 2, TEXT_BYTES / 2) != 0);
}

static void check_unpacked(size_t bytes)
{
    CHECK_EQ(bytes, TEXT_BYTES);
    CHECK(memcmp(text, unpacked, TEXT_BYTES) == 0);
    memset(unpacked, 0, sizeof unpacked);
}

/* An arena for a job: it ends with it. */
static memarena *begin_job(void)
{
    memarena *arena = memarena_create((size_t)1 << 30);
    CHECK(arena != NULL);
    return arena;
}

static void end_job(memarena *arena, size_t least)
{
    CHECK(memarena_allocated_bytes(arena) >= least);
    memarena_destroy(arena);
}

#ifdef HAVE_LZMA
#include <memarena/adapters/lzma.h>

#define LZMA_BLOCK ((size_t)128 << 10)

static size_t run_to_the_end(lzma_stream *stream, const unsigned char *in, size_t size, unsigned char *out, size_t room)
{
    lzma_ret result = LZMA_OK;
    stream->next_in = in, stream->avail_in = size, stream->next_out = out, stream->avail_out = room;
    while (result == LZMA_OK) result = lzma_code(stream, LZMA_FINISH);
    CHECK_EQ(result, LZMA_STREAM_END);
    lzma_end(stream); /* its threads, too */
    return room - stream->avail_out;
}

static void lzma_takes_an_arena_for_its_threads(void)
{
    for (int i = 0; i < 3; i++) {
        memarena *arena = begin_job();
        lzma_allocator allocator = memarena_lzma(arena);
        lzma_stream stream = LZMA_STREAM_INIT;
        lzma_mt threads = {.threads = 4, .block_size = LZMA_BLOCK, .check = LZMA_CHECK_CRC32, .preset = 1};
        stream.allocator = &allocator;
        CHECK_EQ(lzma_stream_encoder_mt(&stream, &threads), LZMA_OK);
        size_t size = run_to_the_end(&stream, text, TEXT_BYTES, packed, sizeof packed);
#if LZMA_VERSION >= 50040002
        threads = (lzma_mt){.threads = 4, .memlimit_threading = UINT64_MAX, .memlimit_stop = UINT64_MAX};
        CHECK_EQ(lzma_stream_decoder_mt(&stream, &threads), LZMA_OK);
#else
        CHECK_EQ(lzma_stream_decoder(&stream, UINT64_MAX, 0), LZMA_OK);
#endif
        check_unpacked(run_to_the_end(&stream, packed, size, unpacked, sizeof unpacked));
        end_job(arena, 4 * LZMA_BLOCK);
    }
}
#endif

#ifdef HAVE_ZSTD
#include <memarena/adapters/zstd.h>

static void zstd_takes_an_arena_for_its_workers(void)
{
    for (int i = 0; i < 3; i++) {
        memarena *arena = begin_job();
        ZSTD_CCtx *in = ZSTD_createCCtx_advanced(memarena_zstd(arena));
        CHECK(in != NULL);
        if (ZSTD_isError(ZSTD_CCtx_setParameter(in, ZSTD_c_nbWorkers, 4))) SKIP("this Zstandard has no workers");
        CHECK(!ZSTD_isError(ZSTD_CCtx_setParameter(in, ZSTD_c_jobSize, (int)(MIB / 2))));
        size_t size = ZSTD_compress2(in, packed, sizeof packed, text, TEXT_BYTES);
        CHECK(!ZSTD_isError(size));
        check_unpacked(ZSTD_decompress(unpacked, sizeof unpacked, packed, size));
        CHECK_EQ(ZSTD_freeCCtx(in), 0); /* its workers, too */
        end_job(arena, MIB);
    }
}
#endif

int main(void)
{
    make_text();
#ifdef HAVE_LZMA
    RUN(lzma_takes_an_arena_for_its_threads);
#endif
#ifdef HAVE_ZSTD
    RUN(zstd_takes_an_arena_for_its_workers);
#endif
    if (test_checks < 10) SKIP("neither liblzma nor Zstandard is here");
    return test_done();
}
