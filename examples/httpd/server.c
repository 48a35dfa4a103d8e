#include "server.h"

#include "service.h"

#include <arpa/inet.h>
#include <errno.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <stdatomic.h>
#include <stdlib.h>

#define BODY_START 512u /* doubled as the body grows */

struct server {
    struct MHD_Daemon *daemon;
    atomic_ullong requests, too_large, busy; /* relaxed: nothing is read that they guard */
};

static void count(atomic_ullong *counter)
{
    atomic_fetch_add_explicit(counter, 1, memory_order_relaxed);
}

/* ---- A request --------------------------------------------------------------------------------------------------- */

struct request {
    struct memory *memory;
    unsigned holders; /* libmicrohttpd's request, and the response while there is one */
    char *body;       /* NULL: none yet */
    size_t size, room;
};

static struct request *begin_request(void)
{
    struct memory *memory = memory_begin();
    if (!memory) return NULL;
    struct request *request = memory_alloc(memory, sizeof *request);
    if (!request) {
        memory_end(memory);
        return NULL;
    }
    *request = (struct request){.memory = memory, .holders = 1};
    return request;
}

/* libmicrohttpd drops a response after it has called the request completed; or before, when it sends an error of its
 * own. Both in one thread at a time, so a plain count tells which is the last. */
static void let_go(void *context)
{
    struct request *request = context;
    if (--request->holders == 0) memory_end(request->memory); /* `request` lies in it */
}

/* What does not fit is dropped; memory_refusal tells of it at the end. */
static void append_body(struct request *request, const char *bytes, size_t count)
{
    if (memory_refusal(request->memory) != REFUSED_NOTHING) return;
    size_t need = request->size + count + 1, room = request->room ? request->room : BODY_START;
    while (room < need) room *= 2;
    if (room > request->room) {
        char *body = memory_realloc(request->memory, request->body, request->room, room);
        if (!body) return;
        request->body = body;
        request->room = room;
    }
    memcpy(request->body + request->size, bytes, count);
    request->size += count;
    request->body[request->size] = '\0';
}

/* ---- Its answer -------------------------------------------------------------------------------------------------- */

static bool add_headers(struct MHD_Response *response, struct MHD_Connection *connection, const char *allow)
{
    const char *id = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "X-Request-Id");
    if (id) (void)MHD_add_response_header(response, "X-Request-Id", id); /* an empty one cannot be echoed */
    return MHD_add_response_header(response, "Content-Type", "application/json") == MHD_YES &&
           (!allow || MHD_add_response_header(response, "Allow", allow) == MHD_YES);
}

/* `request` NULL: the body is constant. MHD_NO, which cuts the connection, when libmicrohttpd has no memory. */
static enum MHD_Result send_answer(struct MHD_Connection *connection, struct request *request,
                                   const struct answer *answer)
{
    struct MHD_Response *response = MHD_create_response_from_buffer_with_free_callback_cls(
        strlen(answer->body), (void *)(uintptr_t)answer->body, request ? let_go : NULL, request);
    if (!response) return MHD_NO;
    if (request) request->holders++;
    enum MHD_Result result = MHD_NO;
    if (add_headers(response, connection, answer->allow))
        result = MHD_queue_response(connection, answer->status, response);
    MHD_destroy_response(response); /* ours; the queue has its own reference */
    return result;
}

static enum MHD_Result send_refusal(struct server *server, struct MHD_Connection *connection)
{
    struct answer answer = service_refusal(REFUSED_BY_ARENA);
    count(&server->requests);
    count(&server->busy);
    return send_answer(connection, NULL, &answer);
}

/* ---- What libmicrohttpd calls ------------------------------------------------------------------------------------ */

/* First with the header alone, then with each part of the body, then with a size of 0. */
static enum MHD_Result handle(void *context, struct MHD_Connection *connection, const char *path, const char *method,
                              const char *version, const char *part, size_t *part_size, void **connection_state)
{
    (void)version;
    struct server *server = context;
    struct request *request = *connection_state;
    if (!request) {
        *connection_state = request = begin_request();
        return request ? MHD_YES : send_refusal(server, connection);
    }
    if (*part_size > 0) {
        append_body(request, part, *part_size);
        *part_size = 0;
        return MHD_YES;
    }
    struct answer answer = service_answer(request->memory, method, path, request->body, request->size);
    if (answer.status == 413) count(&server->too_large);
    if (answer.status == 503) count(&server->busy);
    return send_answer(connection, request, &answer);
}

/* Once for each request that `handle` has seen, whether it was answered, aborted, timed out or cut off at the end. */
static void complete(void *context, struct MHD_Connection *connection, void **connection_state,
                     enum MHD_RequestTerminationCode how)
{
    (void)connection, (void)how;
    struct server *server = context;
    if (!*connection_state) return; /* refused: counted */
    count(&server->requests);
    let_go(*connection_state);
    *connection_state = NULL;
}

/* ---- Life -------------------------------------------------------------------------------------------------------- */

struct server *server_start(uint16_t port, unsigned threads, unsigned idle_seconds)
{
    struct server *server = calloc(1, sizeof *server);
    if (!server) return NULL;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    /* A pool of one thread is none to libmicrohttpd: its array of options ends before it. */
    struct MHD_OptionItem pool[] = {
        {threads > 1 ? MHD_OPTION_THREAD_POOL_SIZE : MHD_OPTION_END, (intptr_t)threads, NULL},
        {MHD_OPTION_END, 0, NULL},
    };
    errno = 0;
    /* poll, not epoll: there 0.9.75 may miss the end of a client that goes right after a part of its body, whose memory
     * then stays taken for the idle time. */
    server->daemon =
        MHD_start_daemon(MHD_USE_POLL_INTERNAL_THREAD, port, NULL, NULL, handle, server, MHD_OPTION_SOCK_ADDR,
                         (struct sockaddr *)&address, MHD_OPTION_NOTIFY_COMPLETED, complete, server,
                         MHD_OPTION_CONNECTION_TIMEOUT, idle_seconds, MHD_OPTION_ARRAY, pool, MHD_OPTION_END);
    if (server->daemon) return server;
    int error = errno;
    free(server);
    errno = error ? error : EINVAL;
    return NULL;
}

uint16_t server_port(const struct server *server)
{
    const union MHD_DaemonInfo *info = MHD_get_daemon_info(server->daemon, MHD_DAEMON_INFO_BIND_PORT);
    return info ? info->port : 0;
}

struct server_counts server_stop(struct server *server)
{
    MHD_stop_daemon(server->daemon);
    struct server_counts counts = {server->requests, server->too_large, server->busy};
    free(server);
    return counts;
}
