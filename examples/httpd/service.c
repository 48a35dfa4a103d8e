#include "service.h"

#include <cjson/cJSON.h>
#include <math.h>
#include <stdlib.h>

#define PRICE_MAX 1e9
#define COUNT_MAX 1000000

static memarena *watched;

void service_install(memarena *arena)
{
    watched = arena;
}

/* ---- Answers ---------------------------------------------------------------------------------------------------- */

struct answer service_refusal(enum refusal refusal)
{
    if (refusal == REFUSED_BY_LIMIT)
        return (struct answer){.status = 413,
                               .body = "{\"error\":\"too large: more memory than one request may have\"}"};
    return (struct answer){.status = 503, .body = "{\"error\":\"busy: no memory for this request now\"}"};
}

/* Everything was built without a look at what was refused: here is the one. */
static struct answer finish(const struct memory *memory, unsigned status, const char *body)
{
    if (!body || memory_refusal(memory) != REFUSED_NOTHING) return service_refusal(memory_refusal(memory));
    return (struct answer){.status = status, .body = body};
}

static struct answer finish_json(const struct memory *memory, const cJSON *json)
{
    return finish(memory, 200, cJSON_PrintUnformatted(json));
}

/* ---- POST /totals ----------------------------------------------------------------------------------------------- */

struct line {
    const char *name;
    double count, total;
    size_t number; /* in the request: equal names are added in that order, so that a sum does not depend on the sort */
};

static int compare_lines(const void *left, const void *right)
{
    const struct line *a = left, *b = right;
    int order = strcmp(a->name, b->name);
    return order != 0 ? order : (a->number > b->number) - (a->number < b->number);
}

/* Adds up equal names, which are neighbours. Returns how many are left. */
static size_t merge_lines(struct line *lines, size_t count)
{
    size_t last = 0;
    for (size_t i = 1; i < count; i++) {
        if (strcmp(lines[last].name, lines[i].name) == 0) {
            lines[last].count += lines[i].count;
            lines[last].total += lines[i].total;
        } else {
            lines[++last] = lines[i];
        }
    }
    return count == 0 ? 0 : last + 1;
}

/* What is wrong with an item; NULL: nothing. */
static const char *read_item(const cJSON *item, struct line *line)
{
    const cJSON *name = cJSON_GetObjectItemCaseSensitive(item, "name");
    const cJSON *price = cJSON_GetObjectItemCaseSensitive(item, "price");
    const cJSON *count = cJSON_GetObjectItemCaseSensitive(item, "count");
    if (!cJSON_IsString(name)) return "name: not a string";
    if (!cJSON_IsNumber(price) || !(price->valuedouble >= 0 && price->valuedouble <= PRICE_MAX))
        return "price: not a number from 0 to 1000000000";
    if (!cJSON_IsNumber(count) || !(count->valuedouble >= 1 && count->valuedouble <= COUNT_MAX) ||
        count->valuedouble != floor(count->valuedouble))
        return "count: not a whole number from 1 to 1000000";
    line->name = name->valuestring;
    line->count = count->valuedouble;
    line->total = price->valuedouble * count->valuedouble;
    return NULL;
}

static cJSON *totals_json(const struct line *lines, size_t line_count, size_t item_count)
{
    double total = 0;
    cJSON *json = cJSON_CreateObject(), *names = cJSON_CreateArray();
    for (size_t i = 0; i < line_count; i++) {
        cJSON *name = cJSON_CreateObject();
        cJSON_AddStringToObject(name, "name", lines[i].name);
        cJSON_AddNumberToObject(name, "count", lines[i].count);
        cJSON_AddNumberToObject(name, "total", lines[i].total);
        cJSON_AddItemToArray(names, name);
        total += lines[i].total;
    }
    cJSON_AddNumberToObject(json, "items", (double)item_count);
    cJSON_AddNumberToObject(json, "total", total);
    cJSON_AddItemToObject(json, "names", names);
    return json;
}

static MEMARENA_PRINTF_(2, 3) struct answer bad_request(struct memory *memory, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    const char *reason = memory_vprintf(memory, format, args);
    va_end(args);
    return finish(memory, 400, reason ? memory_printf(memory, "{\"error\":\"%s\"}", reason) : NULL);
}

static struct answer answer_totals(struct memory *memory, const char *body, size_t size)
{
    if (!body) return bad_request(memory, "no body");
    const char *end = body; /* of the JSON in it. Not cJSON_GetErrorPtr: that is one for all threads */
    const cJSON *order = cJSON_ParseWithLengthOpts(body, size + 1, &end, true), *item;
    if (!order) return bad_request(memory, "not JSON from byte %td on", end - body);
    const cJSON *items = cJSON_GetObjectItemCaseSensitive(order, "items");
    if (!cJSON_IsArray(items)) return bad_request(memory, "items: not an array");

    size_t count = 0;
    struct line *lines = memory_alloc(memory, (size_t)cJSON_GetArraySize(items) * sizeof *lines);
    if (!lines) return service_refusal(memory_refusal(memory));
    cJSON_ArrayForEach(item, items)
    {
        lines[count].number = count;
        const char *wrong = read_item(item, &lines[count]);
        if (wrong) return bad_request(memory, "items[%zu].%s", count, wrong);
        count++;
    }
    qsort(lines, count, sizeof *lines, compare_lines);
    return finish_json(memory, totals_json(lines, merge_lines(lines, count), count));
}

/* ---- GET /memory ------------------------------------------------------------------------------------------------ */

static struct answer answer_memory(struct memory *memory, const char *body, size_t size)
{
    (void)body, (void)size;
    cJSON *json = cJSON_CreateObject();
    cJSON_AddStringToObject(json, "allocator", watched ? "arena" : "malloc");
    if (watched) {
        memarena_stats stats;
        memarena_get_stats(watched, &stats, sizeof stats);
        cJSON_AddNumberToObject(json, "capacity_bytes", (double)stats.capacity_bytes);
        cJSON_AddNumberToObject(json, "open_scopes", (double)stats.open_scopes); /* this request's is one of them */
        cJSON_AddNumberToObject(json, "allocated_bytes", (double)stats.allocated_bytes);
        cJSON_AddNumberToObject(json, "free_extent_bytes", (double)stats.free_extent_bytes);
        cJSON_AddNumberToObject(json, "taken_bytes", (double)(stats.allocated_bytes + stats.free_extent_bytes));
        cJSON_AddNumberToObject(json, "failed_requests", (double)stats.failed_requests);
        cJSON_AddNumberToObject(json, "last_failed_bytes", (double)stats.last_failed_bytes);
    }
    return finish_json(memory, json);
}

/* ---- Routes ----------------------------------------------------------------------------------------------------- */

static const struct route {
    const char *path, *method;
    struct answer (*answer)(struct memory *memory, const char *body, size_t size);
} routes[] = {
    {"/totals", "POST", answer_totals},
    {"/memory", "GET", answer_memory},
};

static struct answer take_route(const struct route *route, struct memory *memory, const char *body, size_t size)
{
    if (memory_refusal(memory) != REFUSED_NOTHING) return service_refusal(memory_refusal(memory)); /* no whole body */
    struct memory *before = memory_for_json(memory);
    struct answer answer = route->answer(memory, body, size);
    memory_for_json(before);
    return answer;
}

struct answer service_answer(struct memory *memory, const char *method, const char *path, const char *body, size_t size)
{
    for (size_t i = 0; i < sizeof routes / sizeof routes[0]; i++) {
        const struct route *route = &routes[i];
        if (strcmp(path, route->path) != 0) continue;
        if (strcmp(method, route->method) == 0) return take_route(route, memory, body, size);
        return (struct answer){.status = 405, .body = "{\"error\":\"no such method here\"}", .allow = route->method};
    }
    return (struct answer){.status = 404, .body = "{\"error\":\"no such path\"}"};
}
