/* A scope costs the same however deep it is nested: its beginning, its growth, its way back and its end. Counted are the
 * accesses to memory that threads may share: the library calls a hook before each. */
#include "threads.h"

#define MIB ((size_t)1 << 20)
#define DEEPEST 16384
#define ROUNDS 64

void test_yield(void);
static unsigned long accesses;

void test_yield(void)
{
    accesses++;
}

static void live(memarena *parent)
{
    memarena *scope = memarena_scope(parent);
    CHECK(scope);
    memarena_position mark = memarena_mark(scope);
    for (int i = 0; i < 4; i++) CHECK(memarena_alloc(scope, 3000));
    CHECK(memarena_rewind(scope, mark));
    CHECK(memarena_alloc(scope, 3000) && memarena_reset(scope));
    CHECK(memarena_alloc(scope, 3000));
    memarena_destroy(scope);
}

static unsigned long cost_in(memarena *parent)
{
    live(parent);
    unsigned long before = accesses;
    for (int i = 0; i < ROUNDS; i++) live(parent);
    return accesses - before;
}

static void a_scope_costs_the_same_at_any_depth(void)
{
    static memarena *scopes[DEEPEST];
    memarena *arena = memarena_create(256 * MIB), *parent = arena;
    CHECK(arena);
    unsigned long first = cost_in(arena);
    CHECK(first > ROUNDS);
    for (size_t depth = 1; depth <= DEEPEST; depth++) {
        parent = scopes[depth - 1] = memarena_scope(parent);
        CHECK(parent);
        if ((depth & (depth - 1)) != 0) continue;
        unsigned long cost = cost_in(parent);
        CHECK(cost * 2 <= first * 3 && first * 2 <= cost * 3);
    }
    for (size_t depth = DEEPEST; depth-- > 0;) memarena_destroy(scopes[depth]);
    CHECK_EQ(memarena_allocated_bytes(arena), 0);
    memarena_destroy(arena);
}

/* Each counts what is its own; the arena counts all. */
static void a_scope_counts_its_own_bytes_only(void)
{
    memarena *arena = memarena_create(16 * MIB), *outer = memarena_scope(arena);
    CHECK(arena && outer && memarena_alloc(outer, 40));
    size_t own = memarena_allocated_bytes(outer), held = test_stats(outer).held_bytes;
    memarena *inner = memarena_scope(outer);
    CHECK(inner && memarena_alloc(inner, 100000));
    CHECK_EQ(memarena_allocated_bytes(outer), own);
    CHECK_EQ(test_stats(outer).held_bytes, held);
    CHECK(memarena_allocated_bytes(inner) >= 100000 && test_stats(inner).held_bytes > 100000);
    CHECK_EQ(memarena_allocated_bytes(arena), held + test_stats(inner).held_bytes);
    CHECK_EQ(test_stats(outer).open_scopes, 1);
    memarena_destroy(inner);
    CHECK_EQ(memarena_allocated_bytes(outer), own);
    CHECK_EQ(memarena_allocated_bytes(arena), held);
    memarena_destroy(outer);
    memarena_destroy(arena);
}

int main(void)
{
    RUN(a_scope_costs_the_same_at_any_depth);
    RUN(a_scope_counts_its_own_bytes_only);
    return test_done();
}
