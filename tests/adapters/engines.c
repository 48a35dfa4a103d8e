/* Patterns, scripts, protocols, tables. */
#include "job.h"

#ifdef HAVE_PCRE2
#define PCRE2_CODE_UNIT_WIDTH 8
#include <memarena/adapters/pcre2.h>
bool pcre2_job(memarena *where)
{
    int error;
    PCRE2_SIZE offset, at = 0;
    unsigned long words = 0, expected = 0;
    pcre2_general_context *memory = memarena_pcre2(where);
    pcre2_compile_context *compiling = memory ? pcre2_compile_context_create(memory) : NULL;
    if (!compiling) return false;
    pcre2_code *code =
        pcre2_compile((PCRE2_SPTR) "\\bmemarena_([a-z]+)", PCRE2_ZERO_TERMINATED, 0, &error, &offset, compiling);
    pcre2_match_data *match = code ? pcre2_match_data_create_from_pattern(code, memory) : NULL;
    pcre2_match_context *matching = match ? pcre2_match_context_create(memory) : NULL;
    if (!matching) return false;
    CHECK(memarena_owns(where, code) && memarena_owns(where, match));
    for (;;) {
        int found = pcre2_match(code, (PCRE2_SPTR)text, text_bytes, at, 0, match, matching);
        if (found == PCRE2_ERROR_NOMEMORY) return false;
        if (found < 0) break;
        CHECK_EQ(found, 2);
        at = pcre2_get_ovector_pointer(match)[1];
        words++;
    }
    for (const char *next = text; (next = strstr(next, "memarena_")) != NULL; next += 9) {
        char before = next == text ? ' ' : next[-1];
        bool starts = !(before == '_' || (before >= 'a' && before <= 'z') || (before >= 'A' && before <= 'Z') ||
                        (before >= '0' && before <= '9'));
        expected += starts && next[9] >= 'a' && next[9] <= 'z';
    }
    CHECK(words > 100);
    CHECK_EQ(words, expected);
    return true;
}
#endif

#ifdef HAVE_LUA
#include <lauxlib.h>
#include <lualib.h>
#include <memarena/adapters/lua.h>
static int give_text(lua_State *state)
{
    lua_pushlstring(state, text, text_bytes);
    lua_setglobal(state, "text");
    return 0;
}

bool lua_job(memarena *where)
{
    static const char script[] = "local count, most = {}, ''\n"
                                 "for word in text:gmatch('%a+') do count[word] = (count[word] or 0) + 1 end\n"
                                 "for word, n in pairs(count) do if n > (count[most] or 0) then most = word end end\n"
                                 "return most, count[most]\n";
    lua_State *state = lua_newstate(memarena_lua_alloc, where);
    if (!state) return false;
    CHECK(memarena_owns(where, state));
    lua_pushcfunction(state, luaopen_base);
    if (lua_pcall(state, 0, 0, 0) != LUA_OK) return false;
    lua_pushcfunction(state, luaopen_string);
    if (lua_pcall(state, 0, 0, 0) != LUA_OK) return false;
    if (luaL_loadstring(state, script) != LUA_OK) return false;
    lua_pushcfunction(state, give_text); /* not here: without protection Lua aborts where memory ends */
    if (lua_pcall(state, 0, 0, 0) != LUA_OK) return false;
    int result = lua_pcall(state, 0, 2, 0);
    if (result == LUA_ERRMEM) return false;
    CHECK_EQ(result, LUA_OK);
    CHECK(lua_tointeger(state, -1) > 100);
    lua_close(state); /* does no harm */
    return true;
}
#endif

#ifdef HAVE_DUKTAPE
#include <memarena/adapters/duktape.h>

static void fatal(void *arena, const char *message)
{
    (void)arena;
    fprintf(stderr, "Duktape: %s\n", message);
    abort();
}

/* Leaves the most frequent word and its count on the stack. */
static duk_ret_t count_words(duk_context *context, void *unused)
{
    static const char script[] = "(function (text) {\n"
                                 "    var count = {}, most = '';\n"
                                 "    text.split(/[^A-Za-z]+/).forEach(function (word) {\n"
                                 "        if (word) count['$' + word] = (count['$' + word] || 0) + 1;\n"
                                 "    });\n"
                                 "    for (var word in count) if (!(count[word] <= count[most])) most = word;\n"
                                 "    return [most.substring(1), count[most]];\n"
                                 "})";
    (void)unused;
    duk_eval_string(context, script);
    duk_push_lstring(context, text, text_bytes);
    duk_call(context, 1);
    duk_get_prop_index(context, -1, 0);
    duk_get_prop_index(context, -2, 1);
    return 2;
}

bool duktape_job(memarena *where)
{
    duk_context *context = memarena_duktape(where, fatal);
    if (!context) return false;
    CHECK(memarena_owns(where, context));
    if (duk_safe_call(context, count_words, NULL, 0, 2) != DUK_EXEC_SUCCESS) return false;
    size_t length;
    const char *word = duk_get_lstring(context, -2, &length);
    CHECK(memarena_owns(where, word));
    CHECK(duk_get_uint(context, -1) > 100);
    CHECK_EQ(duk_get_uint(context, -1), count_word(word, length));
    duk_destroy_heap(context); /* does no harm */
    return true;
}
#endif

#ifdef HAVE_UTHASH
static bool table_is_full;
#define HASH_NONFATAL_OOM 1
#define uthash_nonfatal_oom(element) (table_is_full = true)
#define MEMARENA_UTHASH_ARENA where
#include <memarena/adapters/uthash.h>

struct word {
    const char *text;
    size_t length, count;
    UT_hash_handle hh;
};

static int more_frequent(const struct word *left, const struct word *right)
{
    return left->count < right->count ? 1 : left->count > right->count ? -1 : 0;
}

bool uthash_job(memarena *where)
{
    struct word *words = NULL, *word;
    size_t length, all = 0, sum = 0, seen = 0;
    const char *start;
    table_is_full = false;
    for (const char *at = text; (start = next_word(&at, &length)) != NULL; all++) {
        HASH_FIND(hh, words, start, length, word);
        if (!word) {
            word = memarena_new_value(where, struct word, .text = start, .length = length);
            if (!word) return false;
            HASH_ADD_KEYPTR(hh, words, word->text, word->length, word);
            if (table_is_full) return false;
        }
        word->count++;
    }
    CHECK(memarena_owns(where, words->hh.tbl) && memarena_owns(where, words->hh.tbl->buckets));
    CHECK(words->hh.tbl->num_buckets > HASH_INITIAL_NUM_BUCKETS); /* it has grown */
    HASH_SORT(words, more_frequent);
    for (word = words; word; word = word->hh.next) {
        CHECK(!word->hh.next || word->count >= ((struct word *)word->hh.next)->count);
        if (seen++ < 5) CHECK_EQ(word->count, count_word(word->text, word->length));
        sum += word->count;
    }
    CHECK_EQ(sum, all);
    CHECK_EQ(seen, HASH_COUNT(words));
    HASH_CLEAR(hh, words); /* does no harm */
    return true;
}
#endif
