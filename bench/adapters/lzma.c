/* liblzma: a small file, by a new stream with preset 1. Its encoder wants megabytes of zeros: from malloc they are pages
 * that the kernel clears anew for each stream, from an arena blocks that liblzma clears itself. */
#include "jobs.h"

#include <memarena/adapters/lzma.h>
#include <string.h>

static uint8_t packed[2 * TEXT_BYTES], sent[2 * TEXT_BYTES], unpacked[TEXT_BYTES];
static size_t packed_bytes, sent_bytes;

static void *count_alloc(void *unused, size_t count, size_t size)
{
    (void)unused;
    return counted_alloc(count * size);
}

static void count_free(void *unused, void *block)
{
    (void)unused;
    counted_free(block);
}

static lzma_allocator hooks(const struct memory *memory)
{
    return memory->from == FROM_ARENA ? memarena_lzma(memory->scope) : (lzma_allocator){count_alloc, count_free, NULL};
}

/* Puts all of `from` through the stream; the bytes that came out. */
static size_t run(lzma_stream *stream, const uint8_t *from, size_t bytes, uint8_t *to, size_t room)
{
    stream->next_in = from, stream->avail_in = bytes;
    stream->next_out = to, stream->avail_out = room;
    if (lzma_code(stream, LZMA_FINISH) != LZMA_STREAM_END) job_failed("lzma_code");
    return room - stream->avail_out;
}

static void encode_file(const struct memory *memory)
{
    lzma_allocator allocator = hooks(memory);
    lzma_stream stream = LZMA_STREAM_INIT;
    if (memory->from != FROM_MALLOC) stream.allocator = &allocator;
    if (lzma_easy_encoder(&stream, 1, LZMA_CHECK_CRC64) != LZMA_OK) job_failed("lzma_easy_encoder");
    packed_bytes = run(&stream, (const uint8_t *)text, TEXT_BYTES, packed, sizeof packed);
    if (memory->clean_up) lzma_end(&stream);
}

static void decode_file(const struct memory *memory)
{
    lzma_allocator allocator = hooks(memory);
    lzma_stream stream = LZMA_STREAM_INIT;
    if (memory->from != FROM_MALLOC) stream.allocator = &allocator;
    if (lzma_stream_decoder(&stream, UINT64_MAX, 0) != LZMA_OK) job_failed("lzma_stream_decoder");
    if (run(&stream, sent, sent_bytes, unpacked, sizeof unpacked) != TEXT_BYTES) job_failed("lzma_code");
    if (memory->clean_up) lzma_end(&stream);
}

static bool is_file(void)
{
    bool right = memcmp(unpacked, text, TEXT_BYTES) == 0;
    memset(unpacked, 0, sizeof unpacked);
    return right;
}

static bool packed_is_file(void)
{
    uint64_t most = UINT64_MAX;
    size_t from = 0, to = 0;
    bool right = lzma_stream_buffer_decode(&most, 0, NULL, packed, &from, packed_bytes, unpacked, &to,
                                           sizeof unpacked) == LZMA_OK &&
                 to == TEXT_BYTES && is_file();
    packed_bytes = 0;
    return right;
}

static void prepare(void)
{
    if (lzma_easy_buffer_encode(1, LZMA_CHECK_CRC64, NULL, (const uint8_t *)text, TEXT_BYTES, sent, &sent_bytes,
                                sizeof sent) != LZMA_OK)
        job_failed("lzma_easy_buffer_encode");
}

const struct job lzma_jobs[] = {
    {"lzma-encode", "a new stream packs 64 KB, preset 1", NULL, encode_file, packed_is_file},
    {"lzma-decode", "a new stream unpacks 64 KB", prepare, decode_file, is_file},
    {0},
};
