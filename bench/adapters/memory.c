/* The counting hooks, and the text that jobs work on: see jobs.h. */
#include "jobs.h"

#include <stdalign.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- Hooks ------------------------------------------------------------------------------------------------------- */

struct count counted;

/* Before each block its size, in as many bytes as keep the block aligned. */
#define HEADER alignof(max_align_t)

static size_t size_of(const char *header)
{
    size_t size;
    memcpy(&size, header, sizeof size);
    return size;
}

static void *ask(char *header, size_t size)
{
    if (!header) job_failed("malloc");
    memcpy(header, &size, sizeof size);
    counted.blocks++;
    counted.asked += size;
    counted.live += size;
    if (counted.live > counted.peak) counted.peak = counted.live;
    return header + HEADER;
}

void *counted_alloc(size_t size)
{
    return ask(malloc(HEADER + size), size);
}

void *counted_realloc(void *block, size_t size)
{
    if (!block) return counted_alloc(size);
    char *header = (char *)block - HEADER;
    size_t old = size_of(header);
    if (size <= old) { /* in place */
        counted.live -= old - size;
        memcpy(header, &size, sizeof size);
        return block;
    }
    counted.live -= old;
    return ask(realloc(header, HEADER + size), size);
}

void counted_free(void *block)
{
    if (!block) return;
    char *header = (char *)block - HEADER;
    counted.live -= size_of(header);
    free(header);
}

/* ---- Text -------------------------------------------------------------------------------------------------------- */

char text[TEXT_BYTES + 1];

static unsigned below(unsigned limit)
{
    static uint64_t state = 88172645463325252u;
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (unsigned)(state % limit);
}

__attribute__((constructor)) static void write_text(void)
{
    static const char *const words[] = {"tea",   "paper", "lamp",  "stone", "river", "cloud", "wheel", "glass",
                                        "bread", "chair", "north", "cable", "light", "field", "amber", "horse"};
    size_t at = 0;
    for (unsigned id = 1; at < TEXT_BYTES; id++) {
        char line[256];
        int length = snprintf(line, sizeof line,
                              "{\"id\": %u, \"name\": \"%s %s\", \"price\": %u.%02u, \"count\": %u, \"tags\": [\"%s\", "
                              "\"%s\"], \"session\": \"%08x\"}\n",
                              id, words[below(16)], words[below(16)], 1 + below(99), below(100), 1 + below(9),
                              words[below(16)], words[below(16)], below(1u << 31));
        size_t take = (size_t)length < TEXT_BYTES - at ? (size_t)length : TEXT_BYTES - at;
        memcpy(text + at, line, take);
        at += take;
    }
}
