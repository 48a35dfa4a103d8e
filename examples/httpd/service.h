/* service: what the server answers. No HTTP library in here, and nothing to free: it all lies in the request's memory.
 *
 *     POST /totals   {"items":[{"name":"tea","price":2.5,"count":4},...]}
 *                    -> {"items":1,"total":10,"names":[{"name":"tea","count":4,"total":10}]}, sorted by name
 *     GET /memory    -> what the arena holds, as JSON
 *
 * Every error is a status and {"error":"..."}. Threads: any, each with a request of its own. */
#ifndef HTTPD_SERVICE_H
#define HTTPD_SERVICE_H

#include "memory.h"

struct answer {
    unsigned status;
    const char *body;  /* in the request's memory, or constant */
    const char *allow; /* of 405: the method that the path has; else NULL */
};

/* `body`: `size` bytes and a zero behind them; NULL: none. */
struct answer service_answer(struct memory *memory, const char *method, const char *path, const char *body,
                             size_t size);
/* What to say when there is no memory to say more. */
struct answer service_refusal(enum refusal refusal);

/* Before the first request: the arena that GET /memory looks at, or NULL. */
void service_install(memarena *arena);

#endif
