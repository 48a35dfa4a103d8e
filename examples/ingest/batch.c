#include "batch.h"

#include <errno.h>
#include <memarena/adapters/cjson.h>
#include <stdlib.h>
#include <string.h>

/* ---- Life ------------------------------------------------------------------------------------------------------- */

bool batch_open(struct batch *batch, memarena *shared)
{
    *batch = (struct batch){.scope = shared ? memarena_scope(shared) : NULL};
    return batch->scope || !shared;
}

void batch_close(struct batch *batch)
{
    batch_release(batch);
    memarena_destroy(batch->scope);
    free(batch->records);
    free(batch->text.bytes);
}

void batch_release(struct batch *batch)
{
    if (batch->scope) {
        memarena_reset(batch->scope); /* never refused: no scope was opened in this one */
    } else {
        for (size_t i = 0; i < batch->count; i++) cJSON_Delete(batch->records[i].tree);
    }
    batch->count = 0;
}

/* ---- Lines ------------------------------------------------------------------------------------------------------ */

static bool is_blank(const char *line, const char *end)
{
    while (line < end && (*line == ' ' || *line == '\t' || *line == '\r')) line++;
    return line == end;
}

static struct record *new_record(struct batch *batch)
{
    if (batch->count == batch->capacity) {
        size_t capacity = batch->capacity == 0 ? 256 : batch->capacity * 2;
        struct record *records = realloc(batch->records, capacity * sizeof *records);
        if (!records) return NULL;
        batch->records = records;
        batch->capacity = capacity;
    }
    return &batch->records[batch->count++];
}

/* `end`: of the line, where a zero byte stands. */
static bool parse_line(struct batch *batch, size_t number, const char *line, const char *end)
{
    struct record *record = new_record(batch);
    if (!record) return false;
    const char *stopped = line;
    errno = 0;
    record->line = number;
    record->tree = cJSON_ParseWithLengthOpts(line, (size_t)(end - line) + 1, &stopped, 1);
    record->byte = (size_t)(stopped - line) + 1;
    return record->tree || errno != ENOMEM; /* cJSON itself does not say why there is no tree */
}

static void parse_lines(struct batch *batch)
{
    char *line = batch->text.bytes, *end = line + batch->text.length;
    batch->refused_line = 0;
    for (size_t number = batch->text.first_line; line < end && batch->refused_line == 0; number++) {
        char *newline = memchr(line, '\n', (size_t)(end - line));
        char *line_end = newline ? newline : end;
        *line_end = '\0';
        if (!is_blank(line, line_end) && !parse_line(batch, number, line, line_end)) batch->refused_line = number;
        line = line_end + 1;
    }
}

/* cJSON's hooks take no context: what it allocates from is a property of the thread. */
void batch_parse(struct batch *batch)
{
    memarena *before;
    if (!batch->scope) {
        parse_lines(batch);
    } else if (memarena_current_push(batch->scope, &before)) {
        parse_lines(batch);
        memarena_current_pop(before);
    } else {
        batch->refused_line = batch->text.first_line; /* the arena is not registered */
    }
}
