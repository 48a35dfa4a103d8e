/* What the request handler in README.md leaves to its server, and the server. */
#include <memarena.h>

struct request {
    const char *text;
    size_t length;
};

struct answer {
    int tries;
};

static int sent, refused, closed;

static void refuse(struct request *request)
{
    (void)request, refused++;
}

static void send(struct request *request, struct answer *answer)
{
    if (answer->tries == 3) sent += request->text != NULL;
}

static void close_quietly(void *answer)
{
    closed += ((struct answer *)answer)->tries == 3;
}

static bool look_up(memarena *scope, const char *key, struct answer *answer)
{
    return memarena_strdup(scope, key) && ++answer->tries == 3;
}

void handle(memarena *server, struct request *request);
#include "block.inc"

int main(void)
{
    struct request request = {"name=value", 4};
    memarena *server = memarena_create(1 << 20);
    memarena_stats stats;
    if (!server) return 1;
    for (int i = 0; i < 10000; i++) handle(server, &request);
    memarena_get_stats(server, &stats, sizeof stats);
    bool flat = stats.open_scopes == 0 && stats.allocated_bytes == 0 && stats.free_extent_bytes <= 4096;
    while (memarena_alloc(server, 8)) continue;
    handle(server, &request); /* is refused, or finds room in what the scopes before it gave back */
    memarena_destroy(server);
    return !flat || sent + refused != 10001 || closed != sent || sent < 10000;
}
