// The hooks in C++, and in another file of the same program; the libraries' adapters compile there, too.
#include "adapters_current.h"

#include <memarena/adapters/current.h>
#ifdef HAVE_CJSON
#include <memarena/adapters/cjson.h>
#endif
#ifdef HAVE_JANSSON
#include <memarena/adapters/jansson.h>
#endif
#ifdef HAVE_EXPAT
#include <memarena/adapters/expat.h>
#endif
#ifdef HAVE_CMARK
#include <memarena/adapters/cmark.h>
#endif
#ifdef HAVE_XML2
#include <memarena/adapters/libxml2.h>
#endif

// What was current; `pushed` is from then on.
memarena *current_seen_from_cpp(memarena *pushed)
{
    memarena *before;
    CHECK(memarena_current_push(pushed, &before));
    void *block = memarena_current_realloc(memarena_current_calloc(3, 5), 100);
    CHECK(memarena_owns(pushed, block));
    memarena_current_free(block);
    char *copy = memarena_current_strdup("copy");
    CHECK(strcmp(copy, "copy") == 0);
    CHECK(memarena_current_register(pushed)); // it is there already
    CHECK(memarena_reset(pushed) == false);   // a scope is open
    return before;
}
