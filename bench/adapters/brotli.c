/* Brotli: one page of text, by a new encoder or decoder. */
#include "jobs.h"

#include <brotli/decode.h>
#include <brotli/encode.h>
#include <memarena/adapters/brotli.h>
#include <string.h>

#define PAGE_BYTES ((size_t)16 << 10)
#define QUALITY 5 /* what servers use on the fly */

static uint8_t packed[2 * PAGE_BYTES], sent[2 * PAGE_BYTES], unpacked[PAGE_BYTES];
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

static brotli_alloc_func alloc_of(const struct memory *memory)
{
    return memory->from == FROM_ARENA ? memarena_brotli_alloc : memory->from == FROM_COUNTED ? count_alloc : NULL;
}

static brotli_free_func free_of(const struct memory *memory)
{
    return memory->from == FROM_ARENA ? memarena_brotli_free : memory->from == FROM_COUNTED ? count_free : NULL;
}

static void encode_page(const struct memory *memory)
{
    BrotliEncoderState *state = BrotliEncoderCreateInstance(alloc_of(memory), free_of(memory), memory->scope);
    if (!state) job_failed("BrotliEncoderCreateInstance");
    BrotliEncoderSetParameter(state, BROTLI_PARAM_QUALITY, QUALITY);
    const uint8_t *from = (const uint8_t *)text;
    uint8_t *to = packed;
    size_t left = PAGE_BYTES, room = sizeof packed;
    if (!BrotliEncoderCompressStream(state, BROTLI_OPERATION_FINISH, &left, &from, &room, &to, NULL) ||
        !BrotliEncoderIsFinished(state))
        job_failed("BrotliEncoderCompressStream");
    packed_bytes = sizeof packed - room;
    if (memory->clean_up) BrotliEncoderDestroyInstance(state);
}

static void decode_page(const struct memory *memory)
{
    BrotliDecoderState *state = BrotliDecoderCreateInstance(alloc_of(memory), free_of(memory), memory->scope);
    if (!state) job_failed("BrotliDecoderCreateInstance");
    const uint8_t *from = sent;
    uint8_t *to = unpacked;
    size_t left = sent_bytes, room = sizeof unpacked;
    if (BrotliDecoderDecompressStream(state, &left, &from, &room, &to, NULL) != BROTLI_DECODER_RESULT_SUCCESS)
        job_failed("BrotliDecoderDecompressStream");
    if (memory->clean_up) BrotliDecoderDestroyInstance(state);
}

static bool is_page(void)
{
    bool right = memcmp(unpacked, text, PAGE_BYTES) == 0;
    memset(unpacked, 0, sizeof unpacked);
    return right;
}

static bool packed_is_page(void)
{
    size_t bytes = sizeof unpacked;
    bool right = BrotliDecoderDecompress(packed_bytes, packed, &bytes, unpacked) == BROTLI_DECODER_RESULT_SUCCESS &&
                 bytes == PAGE_BYTES && is_page();
    packed_bytes = 0;
    return right;
}

static void prepare(void)
{
    sent_bytes = sizeof sent;
    if (!BrotliEncoderCompress(QUALITY, BROTLI_DEFAULT_WINDOW, BROTLI_MODE_TEXT, PAGE_BYTES, (const uint8_t *)text,
                               &sent_bytes, sent))
        job_failed("BrotliEncoderCompress");
}

const struct job brotli_jobs[] = {
    {"brotli-encode", "a new encoder packs 16 KB, quality 5", NULL, encode_page, packed_is_page},
    {"brotli-decode", "a new decoder unpacks 16 KB", prepare, decode_page, is_page},
    {0},
};
