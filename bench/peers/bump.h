/* For what bumps a cursor through memory that it is given. */
#ifndef BENCH_BUMP_H
#define BENCH_BUMP_H

#include "../player.h"

#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

/* What a bump allocator takes for a block, aligned as its caller may expect. */
static inline size_t bump_bytes(size_t size)
{
    return size == 8 ? 8 : (size + 15) & ~(size_t)15;
}

static inline size_t bump_align(size_t size)
{
    return size == 8 ? 8 : 16;
}

/* Memory, or NULL. */
static inline char *bump_memory(size_t bytes)
{
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) return NULL;
    if (player_touches) memset(memory, 1, bytes);
    return (char *)memory;
}

#endif
