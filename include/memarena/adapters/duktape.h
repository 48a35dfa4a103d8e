/* A Duktape heap in an arena or a scope:
 *
 *     duk_context *context = memarena_duktape(scope, fatal);   // as duk_create_heap; NULL: there is no room
 *
 * duk_destroy_heap may be left out, unless objects have finalizers that matter. Most of what the collector frees stays taken
 * until the scope ends: for a heap that serves one request and goes. Where there is no room a script gets an Error ("alloc
 * failed"), so run scripts by duk_peval, duk_pcall or duk_safe_call; outside of these Duktape calls `fatal` (NULL: abort). */
#ifndef MEMARENA_ADAPTERS_DUKTAPE_H
#define MEMARENA_ADAPTERS_DUKTAPE_H

#include <duktape.h>
#include <memarena/adapters/sized.h>

/* duk_create_heap takes 205 KB (2.7, as Debian builds it). Where it finds less it overflows the stack or aborts, with any
 * allocator, since it has no error object yet to throw: so there must be more, or it is not called. */
#ifndef MEMARENA_DUKTAPE_ROOM
#define MEMARENA_DUKTAPE_ROOM 262144u
#endif

/* `arena`: a scope; or an arena, if no other thread takes the last room meanwhile. (Under AddressSanitizer and Valgrind an
 * arena, unlike a scope, does not get the trial back: it must have room for two.) */
static inline duk_context *memarena_duktape(memarena *arena, duk_fatal_function fatal)
{
    void *room = memarena_alloc(arena, MEMARENA_DUKTAPE_ROOM);
    if (!room) return NULL;
    memarena_realloc(arena, room, MEMARENA_DUKTAPE_ROOM, 0); /* gives it back: it was the last block */
    return duk_create_heap(memarena_sized_malloc, memarena_sized_realloc, memarena_sized_free, arena, fatal);
}

#endif
