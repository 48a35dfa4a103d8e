/* protobuf-c: a message in messages in messages. One job makes it of records, packs it and drops it; the other one unpacks
 * it, looks at it and drops it. */
#include "jobs.h"

#include <batch.pb-c.h> /* which protoc-c makes of batch.proto */
#include <memarena/adapters/protobuf_c.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PAGES 4u /* each has all records */
#define RECORDS_MOST ((size_t)1000)

static struct row {
    unsigned id, units, cents, count, session;
    char name[32], tags[2][16];
} rows[RECORDS_MOST];
static size_t row_count;

static uint8_t sent[2 * PAGES * TEXT_BYTES], packed[2 * PAGES * TEXT_BYTES];
static size_t sent_bytes, packed_bytes;

static struct seen {
    size_t records, name_bytes, tag_bytes;
    double total;
} seen, expected;

/* ---- Memory ------------------------------------------------------------------------------------------------------ */

static void *plain_alloc(void *unused, size_t size)
{
    (void)unused;
    return malloc(size);
}

static void plain_free(void *unused, void *block)
{
    (void)unused;
    free(block);
}

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

static ProtobufCAllocator allocator_in(const struct memory *memory)
{
    if (memory->from == FROM_ARENA) return memarena_protobuf_c(memory->scope);
    if (memory->from == FROM_COUNTED) return (ProtobufCAllocator){count_alloc, count_free, NULL};
    return (ProtobufCAllocator){plain_alloc, plain_free, NULL};
}

static void *take(ProtobufCAllocator *allocator, size_t size)
{
    void *block = allocator->alloc(allocator->allocator_data, size);
    if (!block) job_failed("alloc");
    return block;
}

static char *copy(ProtobufCAllocator *allocator, const char *string)
{
    size_t bytes = strlen(string) + 1;
    return memcpy(take(allocator, bytes), string, bytes);
}

/* ---- Messages ---------------------------------------------------------------------------------------------------- */

static Record *make_record(ProtobufCAllocator *allocator, const struct row *row)
{
    Record *record = take(allocator, sizeof *record);
    record__init(record);
    record->id = row->id, record->count = row->count;
    record->session = row->session, record->has_session = true;
    record->name = copy(allocator, row->name);
    record->price = take(allocator, sizeof *record->price);
    money__init(record->price);
    record->price->units = row->units, record->price->cents = row->cents;
    record->n_tags = 2;
    record->tags = take(allocator, 2 * sizeof *record->tags);
    for (size_t i = 0; i < 2; i++) record->tags[i] = copy(allocator, row->tags[i]);
    return record;
}

static Batch *make_batch(ProtobufCAllocator *allocator)
{
    Batch *batch = take(allocator, sizeof *batch);
    batch__init(batch);
    batch->n_pages = PAGES;
    batch->pages = take(allocator, PAGES * sizeof *batch->pages);
    for (uint32_t i = 0; i < PAGES; i++) {
        Page *page = batch->pages[i] = take(allocator, sizeof *page);
        page__init(page);
        page->number = i;
        page->n_records = row_count;
        page->records = take(allocator, row_count * sizeof *page->records);
        for (size_t k = 0; k < row_count; k++) page->records[k] = make_record(allocator, &rows[k]);
    }
    return batch;
}

static struct seen look_at(const Batch *batch)
{
    struct seen all = {0};
    for (size_t i = 0; i < batch->n_pages; i++)
        for (size_t k = 0; k < batch->pages[i]->n_records; k++) {
            const Record *record = batch->pages[i]->records[k];
            all.records++;
            all.name_bytes += strlen(record->name);
            for (size_t n = 0; n < record->n_tags; n++) all.tag_bytes += strlen(record->tags[n]);
            all.total += (record->price->units + record->price->cents / 100.0) * record->count;
        }
    return all;
}

static void pack_batch(const struct memory *memory)
{
    ProtobufCAllocator allocator = allocator_in(memory);
    Batch *batch = make_batch(&allocator);
    size_t bytes = batch__get_packed_size(batch);
    uint8_t *block = take(&allocator, bytes);
    packed_bytes = batch__pack(batch, block);
    if (packed_bytes != bytes || bytes > sizeof packed) job_failed("batch__pack");
    memcpy(packed, block, bytes); /* sends it */
    if (!memory->clean_up) return;
    allocator.free(allocator.allocator_data, block);
    batch__free_unpacked(batch, &allocator);
}

static void unpack_batch(const struct memory *memory)
{
    ProtobufCAllocator allocator = allocator_in(memory);
    Batch *batch = batch__unpack(&allocator, sent_bytes, sent);
    if (!batch) job_failed("batch__unpack");
    seen = look_at(batch);
    if (memory->clean_up) batch__free_unpacked(batch, &allocator);
}

/* ---- What is right ----------------------------------------------------------------------------------------------- */

/* The records of the text, but for the last one, which may be cut off. */
static void read_rows(void)
{
    for (const char *line = text, *end; (end = strchr(line, '\n')) != NULL && row_count < RECORDS_MOST;
         line = end + 1) {
        struct row *row = &rows[row_count++];
        char first[16], second[16];
        if (sscanf(line,
                   "{\"id\": %u, \"name\": \"%15[a-z] %15[a-z]\", \"price\": %u.%2u, \"count\": %u, \"tags\": "
                   "[\"%15[a-z]\", \"%15[a-z]\"], \"session\": \"%x",
                   &row->id, first, second, &row->units, &row->cents, &row->count, row->tags[0], row->tags[1],
                   &row->session) != 9)
            job_failed("sscanf");
        snprintf(row->name, sizeof row->name, "%s %s", first, second);
    }
}

static void prepare(void)
{
    read_rows();
    for (size_t i = 0; i < PAGES * row_count; i++) {
        const struct row *row = &rows[i % row_count];
        expected.records++;
        expected.name_bytes += strlen(row->name);
        expected.tag_bytes += strlen(row->tags[0]) + strlen(row->tags[1]);
        expected.total += (row->units + row->cents / 100.0) * row->count;
    }
    struct memory memory = {.from = FROM_MALLOC, .clean_up = true};
    pack_batch(&memory);
    memcpy(sent, packed, sent_bytes = packed_bytes);
}

static bool is_unpacked(void)
{
    bool right = seen.records > 1000 && seen.records == expected.records && seen.name_bytes == expected.name_bytes &&
                 seen.tag_bytes == expected.tag_bytes && seen.total == expected.total;
    seen = (struct seen){0};
    return right;
}

static bool is_packed(void)
{
    Batch *batch = batch__unpack(NULL, packed_bytes, packed);
    if (!batch) return false;
    seen = look_at(batch);
    batch__free_unpacked(batch, NULL);
    packed_bytes = 0;
    return is_unpacked();
}

const struct job protobuf_c_jobs[] = {
    {"protobuf-c-pack", "makes a message of 100 KB, packs it, drops it", prepare, pack_batch, is_packed},
    {"protobuf-c-unpack", "unpacks a message of 100 KB, drops it", prepare, unpack_batch, is_unpacked},
    {0},
};
