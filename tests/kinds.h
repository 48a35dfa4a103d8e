/* One arena of each kind, and scopes in them, for tests of a call that works on all. At least one block of 2000 bytes has room. */
#ifndef KINDS_H
#define KINDS_H

#include "threads.h"

#define KIB ((size_t)1 << 10)
#define MIB ((size_t)1 << 20)

/* Those of a test that has more go on behind KINDS. */
enum { SMALL, MIDDLE, LARGE, IN_BUFFER, IN_LARGE_BUFFER, TRAPS, SAMPLED, PER_CPU, SCOPE, SCOPE_IN_SCOPE, KINDS };
enum { SCOPE_PER_CPU = KINDS, SCOPE_SAMPLED, KINDS_AND_MORE };

static _Alignas(64) char kinds_buffer[64 * KIB], kinds_large_buffer[MIB];
static memarena *kinds_root, *kinds_scopes[3];
static int kinds_scope_count;

static inline void kinds_ignore(void *context, memarena *arena, void *block, size_t size, size_t weight)
{
    (void)context, (void)arena, (void)block, (void)size, (void)weight;
}

/* What those that are sampled are sampled with; a test may set them. */
static size_t kinds_sample_bytes = 100;
static void (*kinds_sample)(void *context, memarena *arena, void *block, size_t size, size_t weight) = kinds_ignore;

static inline memarena *kinds_open(memarena *parent)
{
    memarena *scope = kinds_scopes[kinds_scope_count++] = memarena_scope(parent);
    CHECK(scope);
    return scope;
}

static inline memarena *kinds_create(int kind)
{
    memarena_options options = {.capacity = 64 * MIB};
    if (kind == SMALL) options.capacity = 4 * KIB;
    if (kind == MIDDLE) options.capacity = MIB;
    if (kind == IN_BUFFER) options.buffer = kinds_buffer, options.capacity = sizeof kinds_buffer;
    if (kind == IN_LARGE_BUFFER) options.buffer = kinds_large_buffer, options.capacity = sizeof kinds_large_buffer;
    if (kind == TRAPS) options.flags = test_traps();
    if (kind == PER_CPU || kind == SCOPE_PER_CPU) options.flags = MEMARENA_PER_CPU;
    memarena *arena = kinds_root = memarena_create_with(&options);
    CHECK(arena);
    if (kind == SAMPLED || kind == SCOPE_SAMPLED) CHECK(memarena_sample(arena, kinds_sample_bytes, kinds_sample, NULL));
    if (kind >= SCOPE) arena = kinds_open(arena);
    if (kind == SCOPE_IN_SCOPE) arena = kinds_open(arena);
    return arena;
}

static inline void kinds_destroy(void)
{
    while (kinds_scope_count > 0) memarena_destroy(kinds_scopes[--kinds_scope_count]);
    memarena_destroy(kinds_root);
}

#endif
