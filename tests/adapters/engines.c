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

#ifdef HAVE_NGHTTP2
#include <memarena/adapters/nghttp2.h>

/* A client posts the text in a few streams, one after the other; a server sends back what it got. */
struct peer {
    nghttp2_session *session;
    bool is_server;
    const char *body; /* what it sends */
    char *got;        /* what it gets */
    size_t body_bytes, sent_bytes, got_bytes;
    bool header_seen, done;
};

static ssize_t send_body(nghttp2_session *session, int32_t id, uint8_t *to, size_t room, uint32_t *flags,
                         nghttp2_data_source *source, void *user_data)
{
    (void)session, (void)id, (void)user_data;
    struct peer *self = source->ptr;
    size_t size = self->body_bytes - self->sent_bytes;
    if (size > room) size = room;
    memcpy(to, self->body + self->sent_bytes, size);
    self->sent_bytes += size;
    if (self->sent_bytes == self->body_bytes) *flags |= NGHTTP2_DATA_FLAG_EOF;
    return (ssize_t)size;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name, size_t name_bytes,
                     const uint8_t *value, size_t value_bytes, uint8_t flags, void *user_data)
{
    (void)session, (void)frame, (void)flags;
    struct peer *self = user_data;
    const char *expected = self->is_server ? "/text" : "200";
    if ((name_bytes == 5 && memcmp(name, ":path", 5) == 0) || (name_bytes == 7 && memcmp(name, ":status", 7) == 0))
        self->header_seen = value_bytes == strlen(expected) && memcmp(value, expected, value_bytes) == 0;
    return 0;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *data, size_t size,
                   void *user_data)
{
    (void)session, (void)flags, (void)id;
    struct peer *self = user_data;
    CHECK(size <= TEXT_MAX - self->got_bytes);
    memcpy(self->got + self->got_bytes, data, size);
    self->got_bytes += size;
    return 0;
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *user_data)
{
    static nghttp2_nv status = {(uint8_t *)":status", (uint8_t *)"200", 7, 3, NGHTTP2_NV_FLAG_NONE};
    struct peer *self = user_data;
    if (!(frame->hd.flags & NGHTTP2_FLAG_END_STREAM) ||
        (frame->hd.type != NGHTTP2_DATA && frame->hd.type != NGHTTP2_HEADERS))
        return 0;
    self->done = true;
    if (!self->is_server) return 0;
    self->body = self->got, self->body_bytes = self->got_bytes, self->sent_bytes = 0;
    nghttp2_data_provider body = {{.ptr = self}, send_body};
    return nghttp2_submit_response(session, frame->hd.stream_id, &status, 1, &body) ? NGHTTP2_ERR_CALLBACK_FAILURE : 0;
}

/* The exchange may do without some of them. False: there is no room. */
static bool hooks_work(const nghttp2_mem *memory)
{
    static const char zeros[60], ones[60] = {1, 1, 1};
    char *block = memory->malloc(60, memory->mem_user_data), *other = memory->calloc(20, 3, memory->mem_user_data);
    if (!block || !other) return false;
    CHECK(memcmp(other, zeros, 60) == 0);
    memcpy(block, ones, 60);
    char *grown = memory->realloc(block, 3000, memory->mem_user_data);
    if (!grown) return false;
    CHECK(memcmp(grown, ones, 60) == 0 && memcmp(other, zeros, 60) == 0);
    CHECK(memory->calloc(SIZE_MAX / 2, 3, memory->mem_user_data) == NULL);
    memory->free(grown, memory->mem_user_data);
    return true;
}

/* What one has to say goes to the other; returns the bytes. Negative: one of them has no room. */
static ssize_t pass_on(struct peer *from, struct peer *to)
{
    ssize_t all = 0;
    for (;;) {
        const uint8_t *bytes;
        ssize_t size = nghttp2_session_mem_send(from->session, &bytes);
        if (size <= 0) return size < 0 ? size : all;
        ssize_t taken = nghttp2_session_mem_recv(to->session, bytes, (size_t)size);
        if (taken < 0) return taken;
        CHECK_EQ(taken, size);
        all += size;
    }
}

static bool exchange(struct peer *client, struct peer *server)
{
    static nghttp2_nv request[] = {{(uint8_t *)":method", (uint8_t *)"POST", 7, 4, NGHTTP2_NV_FLAG_NONE},
                                   {(uint8_t *)":scheme", (uint8_t *)"http", 7, 4, NGHTTP2_NV_FLAG_NONE},
                                   {(uint8_t *)":authority", (uint8_t *)"localhost", 10, 9, NGHTTP2_NV_FLAG_NONE},
                                   {(uint8_t *)":path", (uint8_t *)"/text", 5, 5, NGHTTP2_NV_FLAG_NONE}};
    client->sent_bytes = client->got_bytes = server->got_bytes = 0;
    client->header_seen = client->done = server->header_seen = server->done = false;
    nghttp2_data_provider body = {{.ptr = client}, send_body};
    if (nghttp2_submit_request(client->session, NULL, request, 4, &body, NULL) < 0) return false;
    for (ssize_t moved = 1; moved > 0;) {
        ssize_t there = pass_on(client, server), back = pass_on(server, client);
        if (there < 0 || back < 0) return false;
        moved = there + back;
    }
    if (!client->done) return false; /* the stream was reset */
    CHECK(server->header_seen && client->header_seen);
    check_unpacked(client->got_bytes);
    return true;
}

bool nghttp2_job(memarena *where)
{
    struct peer client = {.body = text, .got = unpacked, .body_bytes = text_bytes};
    struct peer server = {.is_server = true, .got = packed};
    nghttp2_mem memory = memarena_nghttp2(where);
    if (!hooks_work(&memory)) return false;
    nghttp2_session_callbacks *callbacks;
    CHECK_EQ(nghttp2_session_callbacks_new(&callbacks), 0);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
    bool ready = nghttp2_session_client_new3(&client.session, callbacks, &client, NULL, &memory) == 0 &&
                 nghttp2_session_server_new3(&server.session, callbacks, &server, NULL, &memory) == 0;
    memset(&memory, 0, sizeof memory); /* they have copies */
    nghttp2_session_callbacks_del(callbacks);
    if (!ready) return false;
    CHECK(memarena_owns(where, client.session) && memarena_owns(where, server.session));
    if (nghttp2_submit_settings(client.session, NGHTTP2_FLAG_NONE, NULL, 0) != 0 ||
        nghttp2_submit_settings(server.session, NGHTTP2_FLAG_NONE, NULL, 0) != 0)
        return false;
    for (int i = 0; i < 4; i++)
        if (!exchange(&client, &server)) return false;
    nghttp2_session_del(client.session); /* does no harm; the other one is left out */
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
