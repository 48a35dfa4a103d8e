#include "sandbox.h"

#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>
#include <memarena/adapters/lua.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- Scripts ---------------------------------------------------------------------------------------------------- */

struct script {
    char *code; /* as lua_dump makes it */
    size_t length, capacity;
};

static int append(lua_State *state, const void *bytes, size_t length, void *context)
{
    struct script *script = context;
    (void)state;
    if (length > script->capacity - script->length) {
        size_t capacity = (script->length + length) * 2;
        char *code = realloc(script->code, capacity);
        if (!code) return 1;
        script->code = code;
        script->capacity = capacity;
    }
    memcpy(script->code + script->length, bytes, length);
    script->length += length;
    return 0;
}

static bool compile(lua_State *state, const char *text, size_t length, const char *name, struct script *script)
{
    if (luaL_loadbufferx(state, text, length, name, "t") != LUA_OK) return false; /* leaves a message */
    if (lua_dump(state, append, script, 0) == 0) return true;
    lua_settop(state, 0);
    return false;
}

struct script *script_compile(const char *text, size_t length, const char *name, char *message, size_t message_size)
{
    struct script *script = calloc(1, sizeof *script);
    lua_State *state = luaL_newstate();
    bool done = script && state && compile(state, text, length, name, script);
    if (!done) {
        bool has_message = state && lua_type(state, -1) == LUA_TSTRING;
        snprintf(message, message_size, "%s", has_message ? lua_tostring(state, -1) : "not enough memory");
        script_destroy(script);
        script = NULL;
    }
    if (state) lua_close(state);
    return script;
}

void script_destroy(struct script *script)
{
    if (script) free(script->code);
    free(script);
}

/* ---- Memory ----------------------------------------------------------------------------------------------------- */

struct sandbox {
    memarena *scope;    /* NULL: malloc */
    size_t used, limit; /* bytes */
    lua_State *state;
};

/* lua_Alloc over memarena_lua_alloc: the scope gets back what was freed only at its end, so that counts as used. */
static void *scope_alloc(void *context, void *block, size_t old_size, size_t new_size)
{
    struct sandbox *sandbox = context;
    size_t had = block ? old_size : 0;
    if (new_size <= had) return memarena_lua_alloc(sandbox->scope, block, old_size, new_size);
    if (new_size > sandbox->limit - sandbox->used) return NULL; /* as if it had to move: nobody knows yet */
    void *moved = memarena_lua_alloc(sandbox->scope, block, old_size, new_size);
    if (moved) sandbox->used += moved == block ? new_size - had : new_size;
    return moved;
}

static void *malloc_alloc(void *context, void *block, size_t old_size, size_t new_size)
{
    struct sandbox *sandbox = context;
    size_t had = block ? old_size : 0;
    if (new_size > had && new_size - had > sandbox->limit - sandbox->used) return NULL;
    if (new_size == 0) {
        free(block);
        sandbox->used -= had;
        return NULL;
    }
    void *moved = realloc(block, new_size);
    if (moved) sandbox->used += new_size - had; /* modulo 2^n: also less */
    return moved;
}

/* ---- What a script may do --------------------------------------------------------------------------------------- */

/* Once it has begun, it comes again with each instruction: a script that catches the error gets no further. */
static void out_of_instructions(lua_State *state, lua_Debug *where)
{
    (void)where;
    lua_sethook(state, out_of_instructions, LUA_MASKCOUNT, 1);
    luaL_error(state, "too many instructions");
}

/* setmetatable without finalizers: hooks are off while they run. */
static int set_metatable(lua_State *state)
{
    luaL_checktype(state, 1, LUA_TTABLE);
    luaL_argexpected(state, lua_isnil(state, 2) || lua_istable(state, 2), 2, "nil or table");
    if (luaL_getmetafield(state, 1, "__metatable") != LUA_TNIL)
        return luaL_error(state, "cannot change a protected metatable");
    lua_settop(state, 2);
    if (lua_istable(state, 2)) {
        lua_pushliteral(state, "__gc");
        if (lua_rawget(state, 2) != LUA_TNIL) return luaL_error(state, "no finalizers here");
        lua_settop(state, 2);
    }
    lua_setmetatable(state, 1);
    return 1;
}

static void open_libraries(lua_State *state)
{
    static const luaL_Reg libraries[] = {{LUA_GNAME, luaopen_base},
                                         {LUA_STRLIBNAME, luaopen_string},
                                         {LUA_TABLIBNAME, luaopen_table},
                                         {LUA_MATHLIBNAME, luaopen_math},
                                         {LUA_UTF8LIBNAME, luaopen_utf8}};
    /* xpcall: where a limit strikes its handler would run with hooks off, without one. */
    static const char *const closed[] = {"collectgarbage", "dofile", "load", "loadfile", "print", "warn", "xpcall"};
    for (size_t i = 0; i < sizeof libraries / sizeof libraries[0]; i++) {
        luaL_requiref(state, libraries[i].name, libraries[i].func, 1);
        lua_pop(state, 1);
    }
    for (size_t i = 0; i < sizeof closed / sizeof closed[0]; i++) {
        lua_pushnil(state);
        lua_setglobal(state, closed[i]);
    }
    lua_register(state, "setmetatable", set_metatable);
}

/* ---- One request ------------------------------------------------------------------------------------------------ */

struct call {
    const struct script *script;
    const struct sandbox_options *options;
    const char *request;
    size_t length;
};

/* All that may fail for want of memory, in protected mode. Takes a struct call, returns a string. */
static int run(lua_State *state)
{
    const struct call *call = lua_touserdata(state, 1);
    open_libraries(state);
    if (luaL_loadbufferx(state, call->script->code, call->script->length, "script", "b") != LUA_OK)
        return lua_error(state);
    if (call->options->instructions > 0)
        lua_sethook(state, out_of_instructions, LUA_MASKCOUNT, call->options->instructions);
    lua_call(state, 0, 0);
    if (lua_getglobal(state, "handle") != LUA_TFUNCTION) return luaL_error(state, "the script has no function handle");
    lua_pushlstring(state, call->request, call->length);
    lua_call(state, 1, 1);
    if (!lua_isstring(state, -1))
        return luaL_error(state, "handle returned a %s, not a string", luaL_typename(state, -1));
    lua_tolstring(state, -1, NULL); /* makes a string of a number */
    return 1;
}

static struct sandbox_response error_response(struct sandbox *sandbox, const char *text)
{
    return (struct sandbox_response){.text = text, .length = strlen(text), .is_error = true, .sandbox = sandbox};
}

static struct sandbox *open_sandbox(const struct sandbox_options *options)
{
    memarena *scope = options->arena ? memarena_scope(options->arena) : NULL;
    if (options->arena && !scope) return NULL;
    struct sandbox *sandbox = scope ? memarena_new(scope, struct sandbox) : calloc(1, sizeof *sandbox);
    if (!sandbox) {
        memarena_destroy(scope);
        return NULL;
    }
    sandbox->scope = scope;
    sandbox->limit = options->memory_bytes > 0 ? options->memory_bytes : SIZE_MAX;
    sandbox->state = lua_newstate(scope ? scope_alloc : malloc_alloc, sandbox);
    return sandbox;
}

struct sandbox_response sandbox_call(const struct script *script, const struct sandbox_options *options,
                                     const char *request, size_t length)
{
    struct call call = {script, options, request, length};
    struct sandbox *sandbox = open_sandbox(options);
    if (!sandbox || !sandbox->state) return error_response(sandbox, "not enough memory");
    lua_State *state = sandbox->state;
    if (!options->collects) lua_gc(state, LUA_GCSTOP);
    lua_pushcfunction(state, run);
    lua_pushlightuserdata(state, &call);
    int status = lua_pcall(state, 1, 1, 0);
    if (lua_type(state, -1) != LUA_TSTRING) return error_response(sandbox, "the error is no string");
    struct sandbox_response response = {.is_error = status != LUA_OK, .sandbox = sandbox};
    response.text = lua_tolstring(state, -1, &response.length); /* it is one: nothing is allocated */
    return response;
}

void sandbox_end(struct sandbox_response *response)
{
    struct sandbox *sandbox = response->sandbox;
    response->sandbox = NULL;
    if (!sandbox) return;
    if (sandbox->scope) {
        memarena_destroy(sandbox->scope); /* the state and `sandbox` lie in it: no lua_close, nothing has a finalizer */
        return;
    }
    if (sandbox->state) lua_close(sandbox->state);
    free(sandbox);
}
