/* server: HTTP from libmicrohttpd, one memory (see memory.h) for each request.
 *
 *     a request's header has come      memory_begin; the request itself is the first block in it
 *     some of its body has come        copied into it
 *     all has come                     service_answer; the answer's body lies in it, too
 *     the request is over, however     memory_end
 *
 * Nothing else is ever given back. */
#ifndef HTTPD_SERVER_H
#define HTTPD_SERVER_H

#include <stdbool.h>
#include <stdint.h>

struct server;

struct server_counts {
    unsigned long long requests; /* that got an answer, or were aborted */
    unsigned long long too_large, busy;
};

/* Listens on 127.0.0.1; port 0: any free one. `idle_seconds`: then a client that says nothing is cut off.
 * NULL: errno. After memory_install and service_install, with the signals that end the program blocked. */
struct server *server_start(uint16_t port, unsigned threads, unsigned idle_seconds);
uint16_t server_port(const struct server *server);
/* Cuts off what is under way. All requests are over when it returns. */
struct server_counts server_stop(struct server *server);

#endif
