/* sandbox: one call of handle(request) in a Lua state of its own, with limits.
 *
 * The state lives in a scope, and is given back with it, or in blocks of malloc, for comparison. What a script can do is
 * compute: the libraries string, table, math and utf8, and of the base library what neither reads files nor loads code
 * nor prints. No coroutines, since each would have instructions of its own; no finalizers (__gc) and no xpcall, whose
 * handlers no limit reaches. What no limit reaches either is the time that one call of a C function takes: string.find with a pattern
 * made for it, or a block refused, before which Lua collects all that it can.
 *
 * Threads: a script may run in any number of threads at a time, each with a sandbox_response of its own. */
#ifndef LUA_REQUEST_SANDBOX_H
#define LUA_REQUEST_SANDBOX_H

#include <memarena.h>

struct script; /* compiled once */

struct sandbox_options {
    memarena *arena;     /* whose scopes the states live in; NULL: malloc */
    size_t memory_bytes; /* of one request; in a scope all that it took, with malloc what it holds. 0: no limit */
    int instructions;    /* of the virtual machine, of one request; 0: no limit */
    bool collects;       /* whether Lua's collector runs; in a scope nothing comes of it but work */
};

/* What handle() returned, or why it did not. */
struct sandbox_response {
    const char *text; /* not terminated; until sandbox_end */
    size_t length;
    bool is_error;
    struct sandbox *sandbox;
};

/* Compiles a script. `name`: for messages.
 * Fails: NULL; `message`, of `message_size` bytes, says why. */
struct script *script_compile(const char *text, size_t length, const char *name, char *message, size_t message_size);
void script_destroy(struct script *script); /* NULL is fine */

/* Whatever happens in the script, there is a response; sandbox_end must follow. */
struct sandbox_response sandbox_call(const struct script *script, const struct sandbox_options *options,
                                     const char *request, size_t length);
/* The state and the response die. */
void sandbox_end(struct sandbox_response *response);

#endif
