/* jansson: a document is read, looked at and dropped. */
#include "jobs.h"

#include <memarena/adapters/jansson.h>

static unsigned records;
static double total;

/* What the hooks are stays so for the process. */
static memarena *enter(const struct memory *memory)
{
    static bool installed;
    memarena *before = NULL;
    if (!installed && memory->from == FROM_ARENA) memarena_jansson_install();
    if (!installed && memory->from == FROM_COUNTED) json_set_alloc_funcs(counted_alloc, counted_free);
    installed = true;
    if (memory->from == FROM_ARENA && !memarena_current_push(memory->scope, &before)) job_failed("push");
    return before;
}

static void read_document(const struct memory *memory)
{
    memarena *before = enter(memory);
    json_error_t error;
    json_t *document = json_loadb(json.at, json.bytes, 0, &error), *item;
    size_t i;
    if (!document) job_failed("json_loadb");
    records = 0, total = 0;
    json_array_foreach(document, i, item)
    {
        total += json_real_value(json_object_get(item, "price")) *
                 (double)json_integer_value(json_object_get(item, "count"));
        records++;
    }
    if (memory->clean_up) json_decref(document);
    memarena_current_pop(before);
}

static bool is_read(void)
{
    bool right = records == json.records && total == json.total;
    records = 0;
    return right;
}

const struct job jansson_jobs[] = {
    {"jansson", "reads 64 KB of JSON, drops it", NULL, read_document, is_read},
    {0},
};
