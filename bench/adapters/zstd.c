/* Zstandard: a new context for each message. */
#include "jobs.h"

#include <memarena/adapters/zstd.h>
#include <string.h>

static char packed[2 * MESSAGE_BYTES], sent[2 * MESSAGE_BYTES], unpacked[MESSAGE_BYTES];
static size_t packed_bytes, sent_bytes;

static void *count_alloc(void *unused, size_t size)
{
    (void)unused;
    return counted_alloc(size);
}

static void count_free(void *unused, void *block)
{
    (void)unused;
    counted_free(block);
}

/* Without functions it stands for malloc. */
static ZSTD_customMem hooks(const struct memory *memory)
{
    if (memory->from == FROM_ARENA) return memarena_zstd(memory->scope);
    if (memory->from == FROM_COUNTED) return (ZSTD_customMem){count_alloc, count_free, NULL};
    return (ZSTD_customMem){NULL, NULL, NULL};
}

static void compress_message(const struct memory *memory)
{
    ZSTD_CCtx *context = ZSTD_createCCtx_advanced(hooks(memory));
    if (!context) job_failed("ZSTD_createCCtx_advanced");
    packed_bytes = ZSTD_compressCCtx(context, packed, sizeof packed, text, MESSAGE_BYTES, 3);
    if (ZSTD_isError(packed_bytes)) job_failed("ZSTD_compressCCtx");
    if (memory->clean_up) ZSTD_freeCCtx(context);
}

static void decompress_message(const struct memory *memory)
{
    ZSTD_DCtx *context = ZSTD_createDCtx_advanced(hooks(memory));
    if (!context) job_failed("ZSTD_createDCtx_advanced");
    if (ZSTD_decompressDCtx(context, unpacked, sizeof unpacked, sent, sent_bytes) != MESSAGE_BYTES)
        job_failed("ZSTD_decompressDCtx");
    if (memory->clean_up) ZSTD_freeDCtx(context);
}

static bool is_message(void)
{
    bool right = memcmp(unpacked, text, MESSAGE_BYTES) == 0;
    memset(unpacked, 0, sizeof unpacked);
    return right;
}

static bool packed_is_message(void)
{
    bool right = ZSTD_decompress(unpacked, sizeof unpacked, packed, packed_bytes) == MESSAGE_BYTES && is_message();
    packed_bytes = 0;
    return right;
}

static void prepare(void)
{
    sent_bytes = ZSTD_compress(sent, sizeof sent, text, MESSAGE_BYTES, 3);
    if (ZSTD_isError(sent_bytes)) job_failed("ZSTD_compress");
}

const struct job zstd_jobs[] = {
    {"zstd-compress", "a new context packs 3 KB", NULL, compress_message, packed_is_message},
    {"zstd-decompress", "a new context unpacks 3 KB", prepare, decompress_message, is_message},
    {0},
};
