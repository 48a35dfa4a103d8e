/* cmark in the thread's current arena (see current.h, which says how one is made current):
 *
 *     cmark_parser *parser = cmark_parser_new_with_mem(CMARK_OPT_DEFAULT, memarena_cmark());
 *     cmark_parser_feed(parser, text, length);           // with a scope pushed: lives there
 *     cmark_node *document = cmark_parser_finish(parser);
 *     char *html = cmark_render_html(document, CMARK_OPT_DEFAULT);
 *     memarena_current_pop(before);                      // cmark_node_free and cmark_parser_free are not needed
 *
 * cmark does not survive a NULL: where there is no room this ends the program with a line that says so, as cmark's own
 * allocator does. Give it an arena that is large enough for the largest document that you accept: some 20 times its
 * length. (cmark_markdown_to_html always uses malloc.) */
#ifndef MEMARENA_ADAPTERS_CMARK_H
#define MEMARENA_ADAPTERS_CMARK_H

#include <memarena/adapters/current.h>

#include <cmark.h>
#include <stdio.h>

static inline void *memarena_cmark_sure_(void *block)
{
    if (block) return block;
    fputs("cmark: its arena is full\n", stderr);
    abort();
}

static inline void *memarena_cmark_calloc_(size_t count, size_t size)
{
    return memarena_cmark_sure_(memarena_current_calloc(count, size));
}

static inline void *memarena_cmark_realloc_(void *block, size_t size)
{
    return memarena_cmark_sure_(memarena_current_realloc(block, size));
}

/* For cmark_parser_new_with_mem and cmark_node_new_with_mem. */
static inline cmark_mem *memarena_cmark(void)
{
    static cmark_mem hooks = {memarena_cmark_calloc_, memarena_cmark_realloc_, memarena_current_free};
    return &hooks;
}

#endif
