/* The limit: a pointer in a register, a bound check, one 8-byte store and a compiler barrier for each block. With OWNER
 * the least that is still an arena: the pointer lives in memory, for the next call from elsewhere. */
#include "bump.h"

#include <stdbool.h>

#ifdef OWNER
#define PEER_TRAITS SERVES
#define PEER_STATE
#else
#define PEER_TRAITS (SERVES | SHARES | LIMIT) /* it shares nothing, but is the unit of those that do */
#endif

typedef struct APART place {
    char *cursor, *end, *start;
} place;

static const char *peer_open(place *all, unsigned threads, size_t bytes)
{
    for (unsigned i = 0; i < threads; i++) {
        char *memory = bump_memory(bytes);
        if (!memory) return "no memory";
        all[i] = (place){.cursor = memory, .end = memory + bytes, .start = memory};
    }
    return NULL;
}

static inline void *peer_alloc(place *at, size_t size)
{
    size_t bytes = bump_bytes(size);
    char *block = at->cursor;
    if (__builtin_expect(block + bytes > at->end, 0)) return NULL;
    at->cursor = block + bytes;
    if (!block) __builtin_unreachable(); /* spares the caller its test */
    return block;
}

static void peer_release(place *at)
{
    at->cursor = at->start;
}

static void peer_reset(place *at)
{
    (void)at;
}

static void peer_close(place *all, unsigned threads)
{
    for (unsigned i = 0; i < threads; i++) munmap(all[i].start, (size_t)(all[i].end - all[i].start));
}

#ifndef OWNER
/* The loop of loops.h, as short as it can be: the unit of all ratios. */
#define PEER_TAKE(at, blocks, size) \
    char *cursor = at->start, *end = at->end; \
    for (size_t i = 0; i < blocks; i++) { \
        size_t bytes = bump_bytes(size_of(i, size)); \
        cursor += bytes; \
        /* Hides that the cursor and i go in step. Else compilers make one of the two, each in its own way. */ \
        __asm__("" : "+r"(cursor)); \
        if (cursor > end) return false; \
        *(int64_t *)(void *)(cursor - bytes) = (int64_t)i; \
        BARRIER(); \
    } \
    return true
#endif
#include "../loops.h"
