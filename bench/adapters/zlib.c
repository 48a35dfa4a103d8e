/* zlib: a new stream for each message, as a server without a pool of streams has it. */
#include "jobs.h"

#include <memarena/adapters/zlib.h>
#include <string.h>

static Bytef packed[2 * MESSAGE_BYTES], sent[2 * MESSAGE_BYTES], unpacked[MESSAGE_BYTES];
static uLong packed_bytes, sent_bytes;

static voidpf count_alloc(voidpf unused, uInt items, uInt size)
{
    (void)unused;
    return counted_alloc((size_t)items * size);
}

static void count_free(voidpf unused, voidpf block)
{
    (void)unused;
    counted_free(block);
}

static void begin(z_stream *stream, const struct memory *memory)
{
    *stream = (z_stream){0};
    if (memory->from == FROM_ARENA) memarena_zlib(stream, memory->scope);
    if (memory->from == FROM_COUNTED) stream->zalloc = count_alloc, stream->zfree = count_free;
}

static void deflate_message(const struct memory *memory)
{
    z_stream stream;
    begin(&stream, memory);
    if (deflateInit(&stream, Z_DEFAULT_COMPRESSION) != Z_OK) job_failed("deflateInit");
    stream.next_in = (Bytef *)text, stream.avail_in = MESSAGE_BYTES;
    stream.next_out = packed, stream.avail_out = sizeof packed;
    if (deflate(&stream, Z_FINISH) != Z_STREAM_END) job_failed("deflate");
    packed_bytes = stream.total_out;
    if (memory->clean_up) deflateEnd(&stream);
}

static void inflate_message(const struct memory *memory)
{
    z_stream stream;
    begin(&stream, memory);
    if (inflateInit(&stream) != Z_OK) job_failed("inflateInit");
    stream.next_in = sent, stream.avail_in = (uInt)sent_bytes;
    stream.next_out = unpacked, stream.avail_out = sizeof unpacked;
    if (inflate(&stream, Z_FINISH) != Z_STREAM_END) job_failed("inflate");
    if (memory->clean_up) inflateEnd(&stream);
}

static bool is_message(void)
{
    bool right = memcmp(unpacked, text, MESSAGE_BYTES) == 0;
    memset(unpacked, 0, sizeof unpacked);
    return right;
}

static bool packed_is_message(void)
{
    uLongf bytes = sizeof unpacked;
    bool right = uncompress(unpacked, &bytes, packed, packed_bytes) == Z_OK && bytes == MESSAGE_BYTES && is_message();
    packed_bytes = 0;
    return right;
}

static void prepare(void)
{
    sent_bytes = sizeof sent;
    if (compress(sent, &sent_bytes, (const Bytef *)text, MESSAGE_BYTES) != Z_OK) job_failed("compress");
}

const struct job zlib_jobs[] = {
    {"zlib-deflate", "a new stream packs 3 KB", NULL, deflate_message, packed_is_message},
    {"zlib-inflate", "a new stream unpacks 3 KB", prepare, inflate_message, is_message},
    {0},
};
