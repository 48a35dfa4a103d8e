/* The input, byte by byte, and what sizes and alignments are made from it. Behind its end it reads as zeros. */
#ifndef FUZZ_INPUT_H
#define FUZZ_INPUT_H

#include "model.h"

#include <limits.h>

extern bool fuzz_is_verbose;
bool fuzz_is_verbose;
#define SAY(...) (fuzz_is_verbose ? (void)(printf(__VA_ARGS__), fflush(stdout)) : (void)0)

static const uint8_t *input, *input_end;

static unsigned next(void)
{
    return input < input_end ? *input++ : 0;
}

static unsigned next_word(void)
{
    unsigned low = next();
    return low | next() << 8;
}

static node *next_node(void)
{
    node *self = &nodes[next() % NODES];
    while (!self->arena) self = self + 1 == nodes + NODES ? root : self + 1;
    return self;
}

static size_t next_size(void)
{
    unsigned kind = next();
    size_t capacity = memarena_capacity(root->arena), left = capacity - memarena_allocated_bytes(root->arena);
    size_t more = kind >> 3;
    switch (kind % 8) {
    case 0:
    case 1:
        return next();
    case 2:
        return more * 8 + next() * 16;
    case 3:
        return next_word();
    case 4:
        return (more << 15) + next_word();
    case 5: /* just what is left, more or less */
        return left + more - next();
    case 6:
        return capacity / (more / 2 + 1) + (more % 2 ? next() : (size_t)0 - next());
    default: /* up to the largest there is, and what wraps when it is rounded */
        return (SIZE_MAX >> more % 4) - next() + (more / 4 * 4);
    }
}

static size_t next_alignment(void)
{
    static const size_t bad[] = {0, 3, 6, 12, 24, 65535, SIZE_MAX, SIZE_MAX / 2 + 2};
    unsigned byte = next();
    if (byte < 176) return (size_t)1 << byte % 16;
    if (byte < 224) return (size_t)1 << byte % (sizeof(size_t) * CHAR_BIT);
    return bad[byte % 8];
}

static bool is_power(size_t alignment)
{
    return alignment != 0 && (alignment & (alignment - 1)) == 0;
}

#endif
