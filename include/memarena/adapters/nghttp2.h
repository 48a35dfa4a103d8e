/* An nghttp2 session in an arena or a scope. nghttp2 keeps a copy of what this returns:
 *
 *     nghttp2_mem memory = memarena_nghttp2(scope);
 *     nghttp2_session_client_new3(&session, callbacks, user_data, NULL, &memory);
 *
 * nghttp2_session_del may be left out. Each request takes some 2 KB that come back only with the scope: for a connection of a
 * few requests, not for one that lives on. */
#ifndef MEMARENA_ADAPTERS_NGHTTP2_H
#define MEMARENA_ADAPTERS_NGHTTP2_H

#include <memarena/adapters/sized.h>
#include <nghttp2/nghttp2.h>

static inline void *memarena_nghttp2_malloc(size_t size, void *arena)
{
    return memarena_sized_malloc(arena, size);
}

static inline void memarena_nghttp2_free(void *block, void *arena)
{
    memarena_sized_free(arena, block);
}

static inline void *memarena_nghttp2_calloc(size_t count, size_t size, void *arena)
{
    return memarena_sized_calloc(arena, count, size);
}

static inline void *memarena_nghttp2_realloc(void *block, size_t size, void *arena)
{
    return memarena_sized_realloc(arena, block, size);
}

static inline nghttp2_mem memarena_nghttp2(memarena *arena)
{
    nghttp2_mem memory = {arena, memarena_nghttp2_malloc, memarena_nghttp2_free, memarena_nghttp2_calloc,
                          memarena_nghttp2_realloc};
    return memory;
}

#endif
