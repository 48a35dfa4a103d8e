/* What one copy of the library offers to the test of several: its calls, as this copy has them (side.c is compiled and linked with
 * each). The test itself calls nothing of the library. */
#ifndef SIDE_H
#define SIDE_H

#include <memarena.h>

typedef struct side {
    memarena *(*create_with)(const memarena_options *options);
    void (*destroy)(memarena *arena);
    bool (*reset)(memarena *arena);
    memarena *(*scope)(memarena *parent);
    void *(*alloc)(memarena *arena, size_t size); /* the inline code of this copy's user */
    void *(*alloc_aligned)(memarena *arena, size_t size, size_t alignment);
    void *(*zalloc)(memarena *arena, size_t size);
    char *(*strdup)(memarena *arena, const char *string);
    void *(*realloc)(memarena *arena, void *block, size_t old_size, size_t new_size);
    bool (*defer)(memarena *arena, void (*fn)(void *), void *arg);
    memarena_position (*mark)(memarena *scope);
    bool (*rewind)(memarena *scope, memarena_position mark);
    size_t (*trim)(memarena *arena, size_t keep);
    void (*get_stats)(const memarena *arena, memarena_stats *stats, size_t stats_size);
    size_t (*allocated_bytes)(const memarena *arena);
    uintptr_t (*lane)(void); /* of this thread in this copy; 0: none */
} side;

typedef const side *side_get(void);

#endif
