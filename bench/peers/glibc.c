/* glibc's malloc as it comes, and with KEEP as those tune it who want it fast: it gives nothing back to the system. */
#include <malloc.h>
#include <stddef.h>
#include <stdlib.h>

#ifdef KEEP
static const char *keep_memory(void)
{
    mallopt(M_TRIM_THRESHOLD, -1);
    mallopt(M_MMAP_THRESHOLD, 1 << 30);
    return NULL;
}
#define PREPARE keep_memory()
#endif
#define TAKE(size) malloc(size)
#define GIVE(block) free(block)
#include "frees.h"
