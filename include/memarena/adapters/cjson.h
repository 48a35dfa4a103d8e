/* cJSON in the thread's current arena (see current.h, which says how one is made current):
 *
 *     memarena_cjson_install();                    // once, before other threads use cJSON
 *     ...
 *     cJSON *document = cJSON_Parse(text);         // with a scope pushed: lives there, cJSON_Delete is not needed
 *     char *printed = cJSON_Print(document);       // so does this, and cJSON_free(printed) is not
 *
 * Free what cJSON_Print returned by cJSON_free, not by free, unless no arena was current. While hooks are installed cJSON
 * uses no realloc: a text that grows as it is printed is copied, and leaves half its size behind each time. To know how
 * long it will be (cJSON_PrintBuffered, cJSON_PrintPreallocated) saves that. */
#ifndef MEMARENA_ADAPTERS_CJSON_H
#define MEMARENA_ADAPTERS_CJSON_H

#include <memarena/adapters/current.h>

#if __has_include(<cjson/cJSON.h>)
#include <cjson/cJSON.h>
#else
#include <cJSON.h>
#endif

static inline void memarena_cjson_install(void)
{
    cJSON_Hooks hooks;
    hooks.malloc_fn = memarena_current_malloc;
    hooks.free_fn = memarena_current_free;
    cJSON_InitHooks(&hooks);
}

#endif
