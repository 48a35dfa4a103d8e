/* nghttp2: a connection of 20 requests, one after the other. Client and server are in one program, and pass on what the
 * other one sent. */
#include "jobs.h"

#include <memarena/adapters/nghttp2.h>
#include <stdio.h>
#include <string.h>

#define REQUESTS 20u
#define BODY_BYTES MESSAGE_BYTES

static nghttp2_session_callbacks *callbacks; /* which nghttp2 takes from malloc in any case */

static struct answers {
    unsigned requests, paths, statuses, ended;
    size_t bytes;
    bool wrong; /* a byte of a body is */
} answers;

struct peer {
    nghttp2_session *session;
    bool is_server;
    size_t at; /* of the body: what the server has sent, or the client got */
};

/* ---- Memory ------------------------------------------------------------------------------------------------------ */

static void *count_alloc(size_t size, void *unused)
{
    (void)unused;
    return counted_alloc(size);
}

static void *count_calloc(size_t count, size_t size, void *unused)
{
    (void)unused;
    return memset(counted_alloc(count * size), 0, count * size);
}

static void *count_realloc(void *block, size_t size, void *unused)
{
    (void)unused;
    return counted_realloc(block, size);
}

static void count_free(void *block, void *unused)
{
    (void)unused;
    counted_free(block);
}

/* ---- Both sides -------------------------------------------------------------------------------------------------- */

static ssize_t send_body(nghttp2_session *session, int32_t id, uint8_t *to, size_t room, uint32_t *flags,
                         nghttp2_data_source *source, void *user_data)
{
    (void)session, (void)id, (void)user_data;
    struct peer *self = source->ptr;
    size_t bytes = BODY_BYTES - self->at < room ? BODY_BYTES - self->at : room;
    memcpy(to, text + self->at, bytes);
    self->at += bytes;
    if (self->at == BODY_BYTES) *flags |= NGHTTP2_DATA_FLAG_EOF;
    return (ssize_t)bytes;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name, size_t name_bytes,
                     const uint8_t *value, size_t value_bytes, uint8_t flags, void *user_data)
{
    (void)session, (void)frame, (void)flags;
    const struct peer *self = user_data;
    if (self->is_server && name_bytes == 5 && memcmp(name, ":path", 5) == 0) {
        char path[32];
        size_t bytes = (size_t)snprintf(path, sizeof path, "/records/%u", answers.requests);
        answers.paths += value_bytes == bytes && memcmp(value, path, bytes) == 0;
    }
    if (!self->is_server && name_bytes == 7 && memcmp(name, ":status", 7) == 0)
        answers.statuses += value_bytes == 3 && memcmp(value, "200", 3) == 0;
    return 0;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *data, size_t bytes,
                   void *user_data)
{
    (void)session, (void)flags, (void)id;
    struct peer *self = user_data;
    answers.wrong = answers.wrong || bytes > BODY_BYTES - self->at || memcmp(data, text + self->at, bytes) != 0;
    self->at += bytes;
    answers.bytes += bytes;
    return 0;
}

#define PAIR(name, value) \
    { \
        (uint8_t *)(name), (uint8_t *)(value), sizeof(name) - 1, sizeof(value) - 1, NGHTTP2_NV_FLAG_NONE \
    }

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *user_data)
{
    static const nghttp2_nv headers[] = {PAIR(":status", "200"), PAIR("content-type", "application/x-ndjson"),
                                         PAIR("cache-control", "no-store"), PAIR("server", "memarena")};
    struct peer *self = user_data;
    if (!(frame->hd.flags & NGHTTP2_FLAG_END_STREAM) ||
        (frame->hd.type != NGHTTP2_DATA && frame->hd.type != NGHTTP2_HEADERS))
        return 0;
    if (!self->is_server) {
        answers.ended++;
        return 0;
    }
    answers.requests++;
    self->at = 0;
    nghttp2_data_provider body = {{.ptr = self}, send_body};
    return nghttp2_submit_response(session, frame->hd.stream_id, headers, sizeof headers / sizeof *headers, &body) == 0
               ? 0
               : NGHTTP2_ERR_CALLBACK_FAILURE;
}

/* ---- A connection ------------------------------------------------------------------------------------------------ */

/* What one has to say goes to the other. False: nothing. */
static bool pass_on(struct peer *from, struct peer *to)
{
    const uint8_t *bytes;
    ssize_t size, all = 0;
    while ((size = nghttp2_session_mem_send(from->session, &bytes)) > 0) {
        if (nghttp2_session_mem_recv(to->session, bytes, (size_t)size) != size) job_failed("nghttp2_session_mem_recv");
        all += size;
    }
    if (size < 0) job_failed("nghttp2_session_mem_send");
    return all > 0;
}

static void request(struct peer *client, unsigned number)
{
    char path[32];
    nghttp2_nv headers[] = {PAIR(":method", "GET"), PAIR(":scheme", "https"), PAIR(":authority", "localhost"),
                            PAIR(":path", ""),      PAIR("accept", "*/*"),    PAIR("user-agent", "memarena-bench")};
    headers[3].value = (uint8_t *)path;
    headers[3].valuelen = (size_t)snprintf(path, sizeof path, "/records/%u", number);
    client->at = 0;
    if (nghttp2_submit_request(client->session, NULL, headers, sizeof headers / sizeof *headers, NULL, NULL) < 0)
        job_failed("nghttp2_submit_request");
}

static void connect_and_ask(const struct memory *memory)
{
    nghttp2_mem hooks = {NULL, count_alloc, count_free, count_calloc, count_realloc}, *from = &hooks;
    if (memory->from == FROM_ARENA) hooks = memarena_nghttp2(memory->scope);
    if (memory->from == FROM_MALLOC) from = NULL;
    struct peer client = {0}, server = {.is_server = true};
    memset(&answers, 0, sizeof answers);
    if (nghttp2_session_client_new3(&client.session, callbacks, &client, NULL, from) != 0 ||
        nghttp2_session_server_new3(&server.session, callbacks, &server, NULL, from) != 0)
        job_failed("nghttp2_session_new");
    if (nghttp2_submit_settings(client.session, NGHTTP2_FLAG_NONE, NULL, 0) != 0 ||
        nghttp2_submit_settings(server.session, NGHTTP2_FLAG_NONE, NULL, 0) != 0)
        job_failed("nghttp2_submit_settings");
    for (unsigned i = 0; i < REQUESTS; i++) {
        request(&client, i);
        for (bool moved = true; moved;) {
            bool there = pass_on(&client, &server), back = pass_on(&server, &client);
            moved = there || back;
        }
    }
    if (!memory->clean_up) return;
    nghttp2_session_del(client.session);
    nghttp2_session_del(server.session);
}

static void prepare(void)
{
    if (nghttp2_session_callbacks_new(&callbacks) != 0) job_failed("nghttp2_session_callbacks_new");
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
}

static bool all_answered(void)
{
    bool right = answers.requests == REQUESTS && answers.paths == REQUESTS && answers.statuses == REQUESTS &&
                 answers.ended == REQUESTS && answers.bytes == REQUESTS * BODY_BYTES && !answers.wrong;
    memset(&answers, 0, sizeof answers);
    return right;
}

const struct job nghttp2_jobs[] = {
    {"nghttp2", "a connection of 20 requests, answers of 3 KB", prepare, connect_and_ask, all_answered},
    {0},
};
