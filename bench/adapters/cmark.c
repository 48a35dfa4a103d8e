/* cmark: Markdown becomes HTML. */
#include "jobs.h"

#include <memarena/adapters/cmark.h>
#include <string.h>

static unsigned headings, links;

static void *count_calloc(size_t count, size_t size)
{
    return memset(counted_alloc(count * size), 0, count * size);
}

static cmark_mem *hooks(const struct memory *memory)
{
    static cmark_mem counting = {count_calloc, counted_realloc, counted_free};
    if (memory->from == FROM_ARENA) return memarena_cmark();
    return memory->from == FROM_COUNTED ? &counting : cmark_get_default_mem_allocator();
}

static unsigned count(const char *html, const char *what)
{
    unsigned found = 0;
    for (; (html = strstr(html, what)) != NULL; html++) found++;
    return found;
}

static void render(const struct memory *memory)
{
    memarena *before = NULL;
    if (memory->from == FROM_ARENA && !memarena_current_push(memory->scope, &before)) job_failed("push");
    cmark_mem *mem = hooks(memory);
    cmark_parser *parser = cmark_parser_new_with_mem(CMARK_OPT_DEFAULT, mem);
    cmark_parser_feed(parser, markdown.at, markdown.bytes);
    cmark_node *document = cmark_parser_finish(parser);
    char *html = cmark_render_html(document, CMARK_OPT_DEFAULT);
    headings = count(html, "<h2>");
    links = count(html, "<a href=\"/items/");
    if (memory->clean_up) {
        mem->free(html);
        cmark_node_free(document);
        cmark_parser_free(parser);
    }
    memarena_current_pop(before);
}

static bool is_html(void)
{
    bool right = headings == markdown.records && links == markdown.records;
    headings = links = 0;
    return right;
}

const struct job cmark_jobs[] = {
    {"cmark", "renders 60 KB of Markdown", NULL, render, is_html},
    {0},
};
