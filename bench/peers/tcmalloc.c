/* tcmalloc, of gperftools. */
#include <gperftools/tcmalloc.h>
#include <stddef.h>

#define TAKE(size) tc_malloc(size)
#define GIVE(block) tc_free(block)
#include "frees.h"
