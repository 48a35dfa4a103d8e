/* expat in the thread's current arena (see current.h, which says how one is made current):
 *
 *     XML_Parser parser = memarena_expat(NULL, NULL);    // with a scope pushed: lives there, and all that it takes
 *     ...
 *     memarena_current_pop(before);                      // XML_ParserFree is not needed
 *
 * Only parsers made so are affected. The scope in which a parser was made must be current whenever it is used: what it
 * takes otherwise is malloc's, and goes only with XML_ParserFree. */
#ifndef MEMARENA_ADAPTERS_EXPAT_H
#define MEMARENA_ADAPTERS_EXPAT_H

#include <memarena/adapters/current.h>

#include <expat.h>

/* As XML_ParserCreate_MM: `encoding` and `separator` may be NULL. NULL: there is no room. */
static inline XML_Parser memarena_expat(const XML_Char *encoding, const XML_Char *separator)
{
    XML_Memory_Handling_Suite hooks;
    hooks.malloc_fcn = memarena_current_malloc;
    hooks.realloc_fcn = memarena_current_realloc;
    hooks.free_fcn = memarena_current_free;
    return XML_ParserCreate_MM(encoding, &hooks, separator);
}

#endif
