/* What an arena costs in memory behind a library that frees as it goes: the bytes that the library asks for in all, over
 * the most that it has at once, and what the arena holds at the end over the same. A ratio near 1 says that an arena
 * holds what malloc would; one that grows with the length of the job says that the library is not for an arena.
 *
 *     memarena-inflation
 *
 * Each job runs once, in an arena, behind hooks that count. What stands behind HAVE_* are the libraries that CMake
 * found. */
#include <memarena.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PREFIX 16u /* before each block: its size */

static memarena *arena;
static uint64_t blocks, asked, live, peak;

static void die(const char *why)
{
    fprintf(stderr, "memarena-inflation: %s\n", why);
    exit(1);
}

static size_t size_of(void *block)
{
    size_t size;
    memcpy(&size, (char *)block - PREFIX, sizeof size);
    return size;
}

static void *note(void *place, size_t size)
{
    if (!place) die("the arena is full");
    memcpy(place, &size, sizeof size);
    blocks++;
    asked += size;
    live += size;
    if (live > peak) peak = live;
    return (char *)place + PREFIX;
}

static void *take(size_t size)
{
    return note(memarena_alloc(arena, size + PREFIX), size);
}

static void give(void *block)
{
    if (block) live -= size_of(block);
}

static void *resize(void *block, size_t size)
{
    if (!block) return take(size);
    size_t old_size = size_of(block);
    void *place = memarena_realloc(arena, (char *)block - PREFIX, old_size + PREFIX, size + PREFIX);
    if (place) live -= old_size;
    return note(place, size);
}

static void begin(void)
{
    arena = memarena_create(0);
    if (!arena) die("no arena");
    blocks = asked = live = peak = 0;
}

static void end(const char *name)
{
    double most = (double)peak, held = (double)memarena_allocated_bytes(arena) - (double)blocks * PREFIX;
    printf("| %-44s | %9" PRIu64 " | %9.2f | %9.2f | %6.1f | %6.1f |\n", name, blocks, (double)asked / 1e6, most / 1e6,
           (double)asked / most, held / most);
    fflush(stdout);
    memarena_destroy(arena);
}

/* ---- JSON, for contrast --------------------------------------------------------------------------------------------- */

#if defined(HAVE_CJSON) || defined(HAVE_JANSSON)
/* An array of `count` orders, some 110 bytes each. */
static char *orders(int count)
{
    char *text = malloc((size_t)count * 160 + 3), *at = text;
    if (!text) die("no memory");
    *at++ = '[';
    for (int i = 0; i < count; i++)
        at += sprintf(at,
                      "%s{\"id\": %d, \"name\": \"order number %d\", \"price\": %d.5, \"tags\": [\"new\", \"no. %d\"], "
                      "\"paid\": %s}",
                      i ? ", " : "", i, i, i % 100, i % 7, i % 2 ? "true" : "false");
    strcpy(at, "]");
    return text;
}
#endif

#ifdef HAVE_CJSON
#include <cjson/cJSON.h>
static void cjson_job(void)
{
    char *text = orders(20000);
    cJSON_Hooks hooks = {take, give};
    begin();
    cJSON_InitHooks(&hooks);
    cJSON *document = cJSON_Parse(text);
    if (!document) die("cJSON_Parse");
    cJSON_Delete(document);
    end("cJSON: a document of 2 MB read");
    begin();
    document = cJSON_Parse(text);
    char *printed = document ? cJSON_PrintUnformatted(document) : NULL;
    if (!printed) die("cJSON_PrintUnformatted");
    cJSON_free(printed);
    cJSON_Delete(document);
    end("cJSON: the same, and printed");
    cJSON_InitHooks(NULL);
    free(text);
}
#endif

#ifdef HAVE_JANSSON
#include <jansson.h>
static void jansson_job(void)
{
    char *text = orders(20000);
    begin();
    json_set_alloc_funcs(take, give);
    json_t *document = json_loads(text, 0, NULL);
    if (!document) die("json_loads");
    json_decref(document);
    end("jansson: a document of 2 MB read");
    begin();
    document = json_loads(text, 0, NULL);
    char *dumped = document ? json_dumps(document, JSON_COMPACT) : NULL;
    if (!dumped) die("json_dumps");
    give(dumped);
    json_decref(document);
    end("jansson: the same, and printed");
    free(text);
}
#endif

/* ---- SQLite ----------------------------------------------------------------------------------------------------------- */

#ifdef HAVE_SQLITE3
#include <sqlite3.h>

static void *sqlite_take(int size)
{
    return take((size_t)size);
}

static void *sqlite_resize(void *block, int size)
{
    return resize(block, (size_t)size);
}

static int sqlite_size(void *block)
{
    return block ? (int)size_of(block) : 0;
}

static int sqlite_round(int size)
{
    return (size + 7) & ~7;
}

static int sqlite_begin(void *nothing)
{
    (void)nothing;
    return SQLITE_OK;
}

static void sqlite_end(void *nothing)
{
    (void)nothing;
}

static void run_sql(sqlite3 *database, const char *text)
{
    if (sqlite3_exec(database, text, NULL, NULL, NULL) != SQLITE_OK) die(sqlite3_errmsg(database));
}

/* `count` rows into an indexed table, each with its own statement, and as many look-ups. */
static void sqlite_job(int count)
{
    static sqlite3_mem_methods hooks = {sqlite_take,  give,         sqlite_resize, sqlite_size,
                                        sqlite_round, sqlite_begin, sqlite_end,    NULL};
    char text[200], name[100];
    sqlite3 *database;
    begin();
    if (sqlite3_config(SQLITE_CONFIG_MALLOC, &hooks) != SQLITE_OK) die("sqlite3_config");
    if (sqlite3_open("", &database) != SQLITE_OK) die("sqlite3_open"); /* in a temporary file */
    run_sql(database, "CREATE TABLE orders (id INTEGER PRIMARY KEY, name TEXT, price REAL);"
                      "CREATE INDEX by_name ON orders (name); BEGIN");
    for (int i = 0; i < count; i++) {
        snprintf(text, sizeof text, "INSERT INTO orders VALUES (%d, 'order number %d', %d.5)", i, i * 7919 % count,
                 i % 100);
        run_sql(database, text);
    }
    run_sql(database, "COMMIT");
    for (int i = 0; i < count; i++) {
        snprintf(text, sizeof text, "SELECT id, price FROM orders WHERE name = 'order number %d'", i);
        run_sql(database, text);
    }
    if (sqlite3_close(database) != SQLITE_OK || sqlite3_shutdown() != SQLITE_OK) die("sqlite3_close");
    snprintf(name, sizeof name, "SQLite: %d inserts, %d selects", count, count);
    end(name);
}
#endif

/* ---- nghttp2 ---------------------------------------------------------------------------------------------------------- */

#ifdef HAVE_NGHTTP2
#include <nghttp2/nghttp2.h>

static void *nghttp2_take(size_t size, void *nothing)
{
    (void)nothing;
    return take(size);
}

static void nghttp2_give(void *block, void *nothing)
{
    (void)nothing;
    give(block);
}

static void *nghttp2_take_zeroed(size_t count, size_t size, void *nothing)
{
    (void)nothing;
    return memset(take(count * size), 0, count * size);
}

static void *nghttp2_resize(void *block, size_t size, void *nothing)
{
    (void)nothing;
    return resize(block, size);
}

static long answered;

static nghttp2_nv field(const char *name, const char *value)
{
    return (nghttp2_nv){(uint8_t *)(uintptr_t)name, (uint8_t *)(uintptr_t)value, strlen(name), strlen(value),
                        NGHTTP2_NV_FLAG_NONE};
}

static ssize_t body(nghttp2_session *session, int32_t stream, uint8_t *bytes, size_t length, uint32_t *flags,
                    nghttp2_data_source *source, void *nothing)
{
    (void)session, (void)stream, (void)source, (void)nothing;
    size_t size = length < 1000 ? length : 1000;
    memset(bytes, 'x', size);
    *flags |= NGHTTP2_DATA_FLAG_EOF;
    return (ssize_t)size;
}

static int answer(nghttp2_session *session, const nghttp2_frame *frame, void *nothing)
{
    (void)nothing;
    if (frame->hd.type != NGHTTP2_HEADERS || !(frame->hd.flags & NGHTTP2_FLAG_END_STREAM)) return 0;
    nghttp2_nv fields[] = {field(":status", "200"), field("content-type", "text/plain"), field("server", "inflation")};
    nghttp2_data_provider provider = {.read_callback = body};
    return nghttp2_submit_response(session, frame->hd.stream_id, fields, sizeof fields / sizeof *fields, &provider);
}

static int count_answer(nghttp2_session *session, int32_t stream, uint32_t error, void *nothing)
{
    (void)session, (void)stream, (void)nothing;
    answered += error == NGHTTP2_NO_ERROR;
    return 0;
}

/* All that `from` has to say; false: nothing. */
static bool carry(nghttp2_session *from, nghttp2_session *to)
{
    const uint8_t *bytes;
    bool any = false;
    for (ssize_t size; (size = nghttp2_session_mem_send(from, &bytes)) != 0; any = true)
        if (size < 0 || nghttp2_session_mem_recv(to, bytes, (size_t)size) != size) die("nghttp2");
    return any;
}

/* A client and a server, `count` requests one after the other with an answer of 1000 bytes each. */
static void nghttp2_job(long count)
{
    nghttp2_mem hooks = {NULL, nghttp2_take, nghttp2_give, nghttp2_take_zeroed, nghttp2_resize};
    /* Without a limit the server keeps what it knows of each stream that was closed. */
    nghttp2_settings_entry limit = {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, 100};
    nghttp2_session_callbacks *client_calls = NULL, *server_calls = NULL;
    nghttp2_session *client, *server;
    char name[100], path[100];
    begin();
    answered = 0;
    if (nghttp2_session_callbacks_new(&client_calls) != 0 || nghttp2_session_callbacks_new(&server_calls) != 0)
        die("nghttp2_session_callbacks_new");
    nghttp2_session_callbacks_set_on_stream_close_callback(client_calls, count_answer);
    nghttp2_session_callbacks_set_on_frame_recv_callback(server_calls, answer);
    if (nghttp2_session_client_new3(&client, client_calls, NULL, NULL, &hooks) != 0 ||
        nghttp2_session_server_new3(&server, server_calls, NULL, NULL, &hooks) != 0 ||
        nghttp2_submit_settings(client, NGHTTP2_FLAG_NONE, NULL, 0) != 0 ||
        nghttp2_submit_settings(server, NGHTTP2_FLAG_NONE, &limit, 1) != 0)
        die("nghttp2_session_new");
    for (long i = 0; i < count; i++) {
        snprintf(path, sizeof path, "/orders/%ld", i);
        nghttp2_nv fields[] = {field(":method", "GET"), field(":scheme", "https"), field(":authority", "example.org"),
                               field(":path", path), field("user-agent", "inflation")};
        if (nghttp2_submit_request(client, NULL, fields, sizeof fields / sizeof *fields, NULL, NULL) < 0)
            die("nghttp2_submit_request");
        while (carry(client, server) || carry(server, client)) continue;
    }
    if (answered != count) die("nghttp2: not all requests were answered");
    nghttp2_session_del(client);
    nghttp2_session_del(server);
    nghttp2_session_callbacks_del(client_calls);
    nghttp2_session_callbacks_del(server_calls);
    snprintf(name, sizeof name, "nghttp2: %ld requests over one session", count);
    end(name);
}
#endif

int main(void)
{
    printf("| job | blocks | MB asked for | MB at most | asked / most | arena / most |\n|---|---|---|---|---|---|\n");
#ifdef HAVE_CJSON
    cjson_job();
#endif
#ifdef HAVE_JANSSON
    jansson_job();
#endif
#ifdef HAVE_NGHTTP2
    for (long count = 100; count <= 100000; count *= 10) nghttp2_job(count);
#endif
#ifdef HAVE_SQLITE3
    for (int count = 800; count <= 20000; count *= 5) sqlite_job(count);
#endif
    return 0;
}
