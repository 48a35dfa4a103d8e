/* cJSON: a document is read, looked at and dropped. */
#include "jobs.h"

#include <memarena/adapters/cjson.h>

static unsigned records;
static double total;

/* What the hooks are stays so for the process. */
static memarena *enter(const struct memory *memory)
{
    static bool installed;
    static cJSON_Hooks counting = {counted_alloc, counted_free};
    memarena *before = NULL;
    if (!installed && memory->from == FROM_ARENA) memarena_cjson_install();
    if (!installed && memory->from == FROM_COUNTED) cJSON_InitHooks(&counting);
    installed = true;
    if (memory->from == FROM_ARENA && !memarena_current_push(memory->scope, &before)) job_failed("push");
    return before;
}

static void read_document(const struct memory *memory)
{
    memarena *before = enter(memory);
    cJSON *document = cJSON_ParseWithLength(json.at, json.bytes);
    if (!document) job_failed("cJSON_ParseWithLength");
    records = 0, total = 0;
    for (const cJSON *item = document->child; item; item = item->next, records++)
        total += cJSON_GetObjectItemCaseSensitive(item, "price")->valuedouble *
                 cJSON_GetObjectItemCaseSensitive(item, "count")->valuedouble;
    if (memory->clean_up) cJSON_Delete(document);
    memarena_current_pop(before);
}

static bool is_read(void)
{
    bool right = records == json.records && total == json.total;
    records = 0;
    return right;
}

const struct job cjson_jobs[] = {
    {"cjson", "reads 64 KB of JSON, drops it", NULL, read_document, is_read},
    {0},
};
