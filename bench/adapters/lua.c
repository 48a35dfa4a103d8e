/* Lua: a state for each request, with the standard libraries; its script reads records, sorts them and renders a list.
 * The collector is as it is. */
#include "jobs.h"

#include <lauxlib.h>
#include <lualib.h>
#include <memarena/adapters/lua.h>
#include <string.h>

static const char script[] =
    "local body = ...\n"
    "local items, total = {}, 0\n"
    "for line in body:gmatch('[^\\n]+') do\n"
    "  local id, name, price, count, tags = line:match(\n"
    "    '\"id\": (%d+), \"name\": \"([^\"]+)\", \"price\": ([%d.]+), \"count\": (%d+), \"tags\": %[(.-)%]')\n"
    "  if id then\n"
    "    local item = {id = tonumber(id), name = name, sum = tonumber(price) * tonumber(count), tags = {}}\n"
    "    for tag in tags:gmatch('%a+') do item.tags[#item.tags + 1] = tag end\n"
    "    items[#items + 1] = item\n"
    "    total = total + item.sum\n"
    "  end\n"
    "end\n"
    "table.sort(items, function(a, b) return a.sum > b.sum end)\n"
    "local rows = {}\n"
    "for i, item in ipairs(items) do\n"
    "  rows[i] = string.format('<li id=\"%d\">%s: %.2f (%s)</li>', item.id, item.name, item.sum,\n"
    "                          table.concat(item.tags, ', '))\n"
    "end\n"
    "return '<ul>' .. table.concat(rows, '\\n') .. '</ul>', #items, total\n";

static struct {
    lua_Integer items;
    double total;
    size_t bytes;
} answer;

static void *count_alloc(void *unused, void *block, size_t old_size, size_t new_size)
{
    (void)unused, (void)old_size;
    if (new_size > 0) return counted_realloc(block, new_size);
    counted_free(block);
    return NULL;
}

static lua_State *new_state(const struct memory *memory)
{
    if (memory->from == FROM_ARENA) return lua_newstate(memarena_lua_alloc, memory->scope);
    if (memory->from == FROM_COUNTED) return lua_newstate(count_alloc, NULL);
    return luaL_newstate();
}

static void serve(const struct memory *memory)
{
    lua_State *state = new_state(memory);
    if (!state) job_failed("lua_newstate");
    luaL_openlibs(state);
    if (luaL_loadbuffer(state, script, sizeof script - 1, "request") != LUA_OK) job_failed("luaL_loadbuffer");
    lua_pushlstring(state, text, MESSAGE_BYTES);
    if (lua_pcall(state, 1, 3, 0) != LUA_OK) job_failed("lua_pcall");
    answer.items = lua_tointeger(state, 2);
    answer.total = lua_tonumber(state, 3);
    lua_tolstring(state, 1, &answer.bytes);
    if (memory->clean_up) lua_close(state);
}

static bool is_answer(void)
{
    struct sum sum = sum_of_message();
    bool right = sum.records > 10 && answer.items == sum.records && answer.total == sum.total &&
                 answer.bytes > 30 * (size_t)sum.records;
    memset(&answer, 0, sizeof answer);
    return right;
}

const struct job lua_jobs[] = {
    {"lua", "a state with its libraries, a script on 3 KB", NULL, serve, is_answer},
    {0},
};
