/* The counting hooks: see jobs.h. */
#include "jobs.h"

#include <stdalign.h>
#include <stdlib.h>
#include <string.h>

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

char *counted_strdup(const char *string)
{
    size_t bytes = strlen(string) + 1;
    return memcpy(counted_alloc(bytes), string, bytes);
}
