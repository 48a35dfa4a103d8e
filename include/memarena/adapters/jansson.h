/* jansson in the thread's current arena (see current.h, which says how one is made current):
 *
 *     memarena_jansson_install();                        // once, before the first call of jansson
 *     ...
 *     json_t *document = json_loads(text, 0, &error);    // with a scope pushed: lives there, json_decref is not needed
 *     char *dumped = json_dumps(document, 0);            // so does this
 *
 * Free what json_dumps returned by memarena_current_free, not by free, unless no arena was current. What outlives the
 * scope must not keep a reference to a value in it: json_deep_copy, with the arena suspended, makes one that may. */
#ifndef MEMARENA_ADAPTERS_JANSSON_H
#define MEMARENA_ADAPTERS_JANSSON_H

#include <memarena/adapters/current.h>

#include <jansson.h>

static inline void memarena_jansson_install(void)
{
    json_set_alloc_funcs(memarena_current_malloc, memarena_current_free);
}

#endif
