/* requests: lines of a file or a pipe, or orders of a made-up shop, the same for the same seed everywhere.
 *
 * Threads: one at a time. */
#ifndef LUA_REQUEST_REQUESTS_H
#define LUA_REQUEST_REQUESTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct requests;

/* NULL as `path`: standard input. Fails: NULL; errno. */
struct requests *requests_open(const char *path);
/* So many that handle.lua can answer. Fails: NULL; errno. */
struct requests *requests_generate(uint64_t count, uint64_t seed);
void requests_close(struct requests *requests);

/* The next one, without its newline, until the next call; NULL: there is none, or requests_error says what went wrong. */
const char *requests_next(struct requests *requests, size_t *length);
/* An errno; 0: all is well. */
int requests_error(const struct requests *requests);

#endif
