/* expat: a new parser for a document, which makes calls and no tree. */
#include "jobs.h"

#include <memarena/adapters/expat.h>
#include <stdlib.h>
#include <string.h>

static unsigned records;
static double total;

static struct state {
    char content[32];
    size_t bytes;
    double price;
} state;

static void start(void *unused, const XML_Char *name, const XML_Char **attributes)
{
    (void)unused, (void)attributes;
    records += strcmp(name, "item") == 0;
    state.bytes = 0;
}

static void collect(void *unused, const XML_Char *content, int bytes)
{
    (void)unused;
    if ((size_t)bytes >= sizeof state.content - state.bytes) return;
    memcpy(state.content + state.bytes, content, (size_t)bytes);
    state.bytes += (size_t)bytes;
}

static void stop(void *unused, const XML_Char *name)
{
    (void)unused;
    state.content[state.bytes] = '\0';
    if (strcmp(name, "price") == 0) state.price = strtod(state.content, NULL);
    if (strcmp(name, "count") == 0) total += state.price * strtod(state.content, NULL);
}

static XML_Parser new_parser(const struct memory *memory)
{
    static const XML_Memory_Handling_Suite counting = {counted_alloc, counted_realloc, counted_free};
    if (memory->from == FROM_ARENA) return memarena_expat(NULL, NULL);
    return XML_ParserCreate_MM(NULL, memory->from == FROM_COUNTED ? &counting : NULL, NULL);
}

static void read_document(const struct memory *memory)
{
    memarena *before = NULL;
    if (memory->from == FROM_ARENA && !memarena_current_push(memory->scope, &before)) job_failed("push");
    XML_Parser parser = new_parser(memory);
    if (!parser) job_failed("XML_ParserCreate_MM");
    records = 0, total = 0;
    XML_SetElementHandler(parser, start, stop);
    XML_SetCharacterDataHandler(parser, collect);
    if (XML_Parse(parser, xml.at, (int)xml.bytes, XML_TRUE) != XML_STATUS_OK) job_failed("XML_Parse");
    if (memory->clean_up) XML_ParserFree(parser);
    memarena_current_pop(before);
}

static bool is_read(void)
{
    bool right = records == xml.records && total == xml.total;
    records = 0;
    return right;
}

const struct job expat_jobs[] = {
    {"expat", "a new parser goes through 75 KB of XML", NULL, read_document, is_read},
    {0},
};
