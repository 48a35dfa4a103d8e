/* malloc, calloc, realloc and free in an arena or a scope, for libraries that take such functions with a context but do
 * not say how large the old block was. The size is kept in front of each block: 16 bytes more, which align it for any
 * type. The arena is the first argument; where a library passes it last, four wrappers of one line do.
 *
 *     library_new(memarena_sized_malloc, memarena_sized_realloc, memarena_sized_free, scope);
 *
 * Like the blocks of malloc: pass to realloc and free only what came from these functions, from the same arena. What is
 * freed is the arena's again at once, but for its prefix, if it was the last block taken, and otherwise when the scope ends;
 * AddressSanitizer and Valgrind report who uses it after that. The library's own clean-up may be left out. */
#ifndef MEMARENA_ADAPTERS_SIZED_H
#define MEMARENA_ADAPTERS_SIZED_H

#include <errno.h>
#include <memarena.h>

#define MEMARENA_SIZED_PREFIX_ MEMARENA_MAX_ALIGNMENT_ /* holds a size_t, and keeps the block behind it aligned */

static inline void *memarena_sized_begin_(void *start, size_t size)
{
    if (!start) return NULL;
    *MEMARENA_CAST_(size_t *, start) = size;
    return MEMARENA_CAST_(char *, start) + MEMARENA_SIZED_PREFIX_;
}

/* The bytes of a block with its prefix; 0, ENOMEM: larger than any block of C may be. */
static inline size_t memarena_sized_total_(size_t size)
{
    if (size <= PTRDIFF_MAX - MEMARENA_SIZED_PREFIX_) return size + MEMARENA_SIZED_PREFIX_;
    errno = ENOMEM;
    return 0;
}

static inline void *memarena_sized_malloc(void *arena, size_t size)
{
    size_t total = memarena_sized_total_(size);
    return total ? memarena_sized_begin_(memarena_alloc(MEMARENA_CAST_(memarena *, arena), total), size) : NULL;
}

static inline void *memarena_sized_calloc(void *arena, size_t count, size_t size)
{
    if (size != 0 && count > SIZE_MAX / size) {
        errno = ENOMEM;
        return NULL;
    }
    void *block = memarena_sized_malloc(arena, count * size);
    return block ? memset(block, 0, count * size) : NULL;
}

/* To size 0 it is a block of 0 bytes, not NULL. To shrink never fails. */
static inline void *memarena_sized_realloc(void *arena, void *block, size_t size)
{
    if (!block) return memarena_sized_malloc(arena, size);
    void *start = MEMARENA_CAST_(char *, block) - MEMARENA_SIZED_PREFIX_;
    size_t total = memarena_sized_total_(size), old_total = *MEMARENA_CAST_(size_t *, start) + MEMARENA_SIZED_PREFIX_;
    if (total == 0) return NULL;
    return memarena_sized_begin_(memarena_realloc(MEMARENA_CAST_(memarena *, arena), start, old_total, total), size);
}

static inline void memarena_sized_free(void *arena, void *block)
{
    if (block) memarena_sized_realloc(arena, block, 0);
}

#endif
