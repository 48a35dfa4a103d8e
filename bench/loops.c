/* The hot loops, and nothing else: this is the file to disassemble.
 *
 * Every variant does the same: it takes a block, tests it, writes 8 bytes into it, and lets the compiler forget what it
 * knows of memory. What differs is how the block is found. Each loop is a function of its own that starts at a multiple
 * of 64, and CMake asks for the same of the loop inside: two of these loops a few bytes apart can differ by half.
 *
 * A variant is written once, for a `size` that is 0 (read it from the table) or a constant that the compiler folds. */
#define _GNU_SOURCE
#include "peers.h"

/* A clone would have another name than callgrind is told; clang makes none and does not know the word. */
#if defined(__clang__)
#define HOT __attribute__((noinline, aligned(64)))
#else
#define HOT __attribute__((noinline, noclone, aligned(64)))
#endif
#define FOLD static inline __attribute__((always_inline))
/* Also tells the compiler that the loop runs long: gcc aligns only loops that it believes to. */
#define NEVER(condition) __builtin_expect(!!(condition), 0)

/* ---- Sizes ------------------------------------------------------------------------------------------------------- */

#define MIXED_SIZES 1024u /* 4 KiB of table: in the first-level cache whoever runs */

static uint32_t mixed_sizes[MIXED_SIZES];

void loops_prepare(void)
{
    uint64_t state = 0x9E3779B185EBCA87u; /* fixed: every run asks for the same sizes */
    for (size_t i = 0; i < MIXED_SIZES; i++) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        mixed_sizes[i] = 16 + (uint32_t)(state % 241);
    }
}

FOLD size_t size_of(size_t i, size_t size)
{
    return size ? size : mixed_sizes[i % MIXED_SIZES];
}

/* What a bump allocator takes for the `i`-th block, aligned as its caller may expect. */
FOLD size_t bytes_of(size_t i, size_t size)
{
    return size == 8 ? 8 : (size_of(i, size) + 15) & ~(size_t)15;
}

static const size_t kind_sizes[BLOCK_KINDS] = {8, 16, 64, 0};

size_t loops_bytes(block_kind kind, size_t blocks)
{
    size_t bytes = 0;
    for (size_t i = 0; i < blocks; i++) bytes += bytes_of(i, kind_sizes[kind]);
    return bytes;
}

/* One function per kind of block, with a name that callgrind can be told. */
#define LOOPS(name) \
    HOT static bool loop_##name##_8(place *at, size_t blocks) \
    { \
        return name##_blocks(at, blocks, 8); \
    } \
    HOT static bool loop_##name##_16(place *at, size_t blocks) \
    { \
        return name##_blocks(at, blocks, 16); \
    } \
    HOT static bool loop_##name##_64(place *at, size_t blocks) \
    { \
        return name##_blocks(at, blocks, 64); \
    } \
    HOT static bool loop_##name##_mixed(place *at, size_t blocks) \
    { \
        return name##_blocks(at, blocks, 0); \
    } \
    peer_loops loops_##name = {loop_##name##_8, loop_##name##_16, loop_##name##_64, loop_##name##_mixed}

/* ---- The limit: a pointer in a register -------------------------------------------------------------------------- */

FOLD bool limit_blocks(place *at, size_t blocks, size_t size)
{
    char *cursor = at->start, *end = at->end;
    for (size_t i = 0; i < blocks; i++) {
        size_t bytes = bytes_of(i, size);
        cursor += bytes;
        /* Hides that cursor and i go in step. Else compilers make one of the two, each in its own way, and the unit of
         * all ratios is another one with each compiler. */
        __asm__("" : "+r"(cursor));
        if (cursor > end) return false;
        *(int64_t *)(void *)(cursor - bytes) = (int64_t)i;
        MEASURE_BARRIER();
    }
    return true;
}
LOOPS(limit);

/* ---- memarena ---------------------------------------------------------------------------------------------------- */

FOLD bool memarena_blocks(place *at, size_t blocks, size_t size)
{
    memarena *arena = at->arena;
    for (size_t i = 0; i < blocks; i++) {
        if (size == 8) {
            if (NEVER(!memarena_new_value(arena, int64_t, (int64_t)i))) return false;
        } else {
            int64_t *block = memarena_alloc(arena, size_of(i, size));
            if (NEVER(!block)) return false;
            *block = (int64_t)i;
        }
        MEASURE_BARRIER();
    }
    return true;
}
LOOPS(memarena);

/* ---- A malloc, through a pointer: what a call into a shared library is anyway ------------------------------------ */

FOLD bool malloc_blocks(place *at, size_t blocks, size_t size)
{
    void *(*take)(size_t) = at->malloc;
    void *last = at->last;
    for (size_t i = 0; i < blocks; i++) {
        void **block = take(size_of(i, size));
        if (NEVER(!block)) return false;
        *block = last;
        last = block;
        MEASURE_BARRIER();
    }
    at->last = last;
    return true;
}
LOOPS(malloc);

/* ---- One cursor for all threads, moved by an atomic addition ----------------------------------------------------- */

FOLD bool fetch_add_blocks(place *at, size_t blocks, size_t size)
{
    shared_bump *shared = at->shared;
    for (size_t i = 0; i < blocks; i++) {
        size_t bytes = bytes_of(i, size);
        uintptr_t block = atomic_fetch_add_explicit(&shared->cursor, bytes, memory_order_relaxed);
        if (NEVER(block + bytes > shared->end)) return false;
        *(int64_t *)block = (int64_t)i;
        MEASURE_BARRIER();
    }
    return true;
}
LOOPS(fetch_add);

/* ---- The same, behind a mutex ------------------------------------------------------------------------------------ */

FOLD bool mutex_blocks(place *at, size_t blocks, size_t size)
{
    shared_bump *shared = at->shared;
    for (size_t i = 0; i < blocks; i++) {
        size_t bytes = bytes_of(i, size);
        pthread_mutex_lock(&shared->mutex);
        uintptr_t block = atomic_load_explicit(&shared->cursor, memory_order_relaxed);
        bool fits = block + bytes <= shared->end;
        if (fits) atomic_store_explicit(&shared->cursor, block + bytes, memory_order_relaxed);
        pthread_mutex_unlock(&shared->mutex);
        if (NEVER(!fits)) return false;
        *(int64_t *)block = (int64_t)i;
        MEASURE_BARRIER();
    }
    return true;
}
LOOPS(mutex);

/* ---- obstack: inline, one owner ---------------------------------------------------------------------------------- */

FOLD bool obstack_blocks(place *at, size_t blocks, size_t size)
{
    struct obstack *stack = &at->obstack;
    for (size_t i = 0; i < blocks; i++) {
        int64_t *block = obstack_alloc(stack, (int)size_of(i, size)); /* aborts rather than return NULL */
        *block = (int64_t)i;
        MEASURE_BARRIER();
    }
    return true;
}
LOOPS(obstack);
