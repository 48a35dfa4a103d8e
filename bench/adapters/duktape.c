/* Duktape: a heap for each request, whose script reads records, sorts them and renders a list: what lua.c does. The
 * collector is as it is. */
#include "jobs.h"

#include <memarena/adapters/duktape.h>
#include <string.h>

static const char script[] = "(function (body) {\n"
                             "    var items = [], total = 0;\n"
                             "    body.split('\\n').forEach(function (line) {\n"
                             "        if (!/}$/.test(line)) return;\n"
                             "        var item = JSON.parse(line);\n"
                             "        item.sum = item.price * item.count;\n"
                             "        items.push(item);\n"
                             "        total += item.sum;\n"
                             "    });\n"
                             "    items.sort(function (a, b) { return b.sum - a.sum; });\n"
                             "    var rows = items.map(function (item) {\n"
                             "        return '<li id=\"' + item.id + '\">' + item.name + ': ' + item.sum.toFixed(2) +\n"
                             "               ' (' + item.tags.join(', ') + ')</li>';\n"
                             "    });\n"
                             "    return ['<ul>' + rows.join('\\n') + '</ul>', items.length, total];\n"
                             "})";

static struct {
    unsigned items;
    double total;
    size_t bytes;
} answer;

static void *count_alloc(void *unused, duk_size_t size)
{
    (void)unused;
    return counted_alloc(size);
}

static void *count_realloc(void *unused, void *block, duk_size_t size)
{
    (void)unused;
    return counted_realloc(block, size);
}

static void count_free(void *unused, void *block)
{
    (void)unused;
    counted_free(block);
}

static void fail(void *unused, const char *what)
{
    (void)unused;
    job_failed(what ? what : "Duktape");
}

static duk_context *new_heap(const struct memory *memory)
{
    if (memory->from == FROM_ARENA) return memarena_duktape(memory->scope, fail);
    if (memory->from == FROM_COUNTED) return duk_create_heap(count_alloc, count_realloc, count_free, NULL, fail);
    return duk_create_heap(NULL, NULL, NULL, NULL, fail);
}

static void serve(const struct memory *memory)
{
    duk_context *heap = new_heap(memory);
    if (!heap) job_failed("duk_create_heap");
    if (duk_peval_lstring(heap, script, sizeof script - 1) != 0) job_failed("duk_peval_lstring");
    duk_push_lstring(heap, text, MESSAGE_BYTES);
    if (duk_pcall(heap, 1) != DUK_EXEC_SUCCESS) job_failed(duk_safe_to_string(heap, -1));
    duk_get_prop_index(heap, 0, 0);
    duk_get_prop_index(heap, 0, 1);
    duk_get_prop_index(heap, 0, 2);
    duk_get_lstring(heap, 1, &answer.bytes);
    answer.items = duk_get_uint(heap, 2);
    answer.total = duk_get_number(heap, 3);
    if (memory->clean_up) duk_destroy_heap(heap);
}

static bool is_answer(void)
{
    struct sum sum = sum_of_message();
    bool right = sum.records > 10 && answer.items == sum.records && answer.total == sum.total &&
                 answer.bytes > 30 * (size_t)sum.records;
    memset(&answer, 0, sizeof answer);
    return right;
}

const struct job duktape_jobs[] = {
    {"duktape", "a heap with its built-ins, a script on 3 KB", NULL, serve, is_answer},
    {0},
};
