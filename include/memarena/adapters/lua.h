/* A Lua state in an arena or a scope:
 *
 *     lua_State *state = lua_newstate(memarena_lua_alloc, scope);
 *
 * lua_close may be left out, unless values have finalizers (__gc, __close) that matter. Lua's collector goes on collecting,
 * but what it frees stays taken until the scope ends: for a state that serves one request and goes. A table that grows
 * leaves its old arrays behind. lua_gc(state, LUA_GCSTOP) then saves its time. */
#ifndef MEMARENA_ADAPTERS_LUA_H
#define MEMARENA_ADAPTERS_LUA_H

#include <memarena.h>

/* A lua_Alloc. Where there is no block yet, `old_size` says what it is for. To shrink never fails. */
static inline void *memarena_lua_alloc(void *arena, void *block, size_t old_size, size_t new_size)
{
    if (new_size == 0) return NULL;
    return memarena_realloc(MEMARENA_CAST_(memarena *, arena), block, block ? old_size : 0, new_size);
}

#endif
