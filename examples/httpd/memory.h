/* memory: what one request allocates, all of it, and how much that may be.
 *
 * A request's memory is a scope of the arena that all threads share; or, for comparison, blocks of malloc kept in a
 * list. Either way memory_end gives everything back, and nothing has to be given back before: code that fails half way
 * just returns.
 *
 * What is refused is remembered, so a sequence of allocations (cJSON makes dozens) is checked once, at its end.
 *
 * Threads: one owner at a time, as for a scope. */
#ifndef HTTPD_MEMORY_H
#define HTTPD_MEMORY_H

#include <memarena.h>

enum refusal {
    REFUSED_NOTHING,
    REFUSED_BY_LIMIT, /* the request asked for more than one may have */
    REFUSED_BY_ARENA  /* the requests under way have it all */
};

struct memory;

/* Before all else, once. `arena` NULL: malloc. `limit`: of one request, for its blocks and their padding. */
void memory_install(memarena *arena, size_t limit);

/* NULL: no room. */
struct memory *memory_begin(void);
/* The block `memory` itself is among those that die. */
void memory_end(struct memory *memory);

/* NULL: refused. Contents undefined. */
void *memory_alloc(struct memory *memory, size_t size);
/* In place where it can. The old block stays as it is when this is refused. */
void *memory_realloc(struct memory *memory, void *block, size_t old_size, size_t new_size);
char *memory_printf(struct memory *memory, const char *format, ...) MEMARENA_PRINTF_(2, 3);
char *memory_vprintf(struct memory *memory, const char *format, va_list args) MEMARENA_PRINTF_(2, 0);
/* The first one. */
enum refusal memory_refusal(const struct memory *memory);

/* cJSON's hooks have no context, so the memory that it takes from is a property of the thread. Returns the one until
 * now, to be set again afterwards. NULL, as at the start: malloc. */
struct memory *memory_for_json(struct memory *memory);

#endif
