/* A handler that asks for memory itself, of the full arena or of another one that is full, is not asked again for that: the
 * request fails, and the handler decides what becomes of the first one. */
#include "threads.h"

#define KIB ((size_t)1 << 10)

static memarena *full[2], *scope;
static FILE *sink;
static bool are_full;
static unsigned asked[2];
static _Thread_local unsigned depth;

static void nothing(void *argument)
{
    (void)argument;
}

static bool asks_for_everything(void *context, memarena *arena, size_t size)
{
    static const char text[] = "no room for a text that is longer than what is left";
    unsigned *count = context;
    (void)size;
    if (!are_full) return false;
    ++*count;
    CHECK_EQ(++depth, 1);
    int saved = errno;
    for (int i = 0; i < 2; i++) {
        CHECK(!memarena_printf(full[i], "%s", text));
        CHECK(!memarena_alloc(full[i], 8) && !memarena_alloc(full[i], 100 * KIB) &&
              !memarena_alloc_aligned(full[i], 1, 1));
        CHECK(!memarena_calloc(full[i], 100, 8) && !memarena_defer(full[i], nothing, NULL));
        CHECK(!memarena_scope(full[i]) && !memarena_calloc(full[i], SIZE_MAX, 8));
        CHECK(errno == ENOMEM);
    }
    CHECK(!memarena_alloc(scope, 10 * KIB));
    CHECK(memarena_report(arena, sink));
    errno = saved;
    depth--;
    return false;
}

static void fill(memarena *arena)
{
    for (size_t size = 4 * KIB; size >= 8; size /= 2)
        while (memarena_alloc_aligned(arena, size, 8)) continue;
}

static void *ask_elsewhere(void *argument)
{
    CHECK(!memarena_alloc(full[1], 8));
    return argument;
}

static void a_handler_is_not_asked_for_what_it_asks_for(void)
{
    CHECK((sink = fopen("/dev/null", "w")) != NULL);
    for (int i = 0; i < 2; i++) {
        memarena_options options = {
            .capacity = i ? 1024 * KIB : 16 * KIB, .on_oom = asks_for_everything, .on_oom_context = &asked[i]};
        CHECK((full[i] = memarena_create_with(&options)) != NULL);
    }
    CHECK((scope = memarena_scope(full[0])) != NULL);
    for (int i = 0; i < 2; i++) fill(full[i]);
    fill(scope);
    are_full = true;
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 2; i++) {
            asked[0] = asked[1] = 0;
            errno = 0;
            CHECK(!memarena_alloc(full[i], 8));
            CHECK_EQ(errno, ENOMEM);
            CHECK(asked[i] == 1 && asked[!i] == 0);
            CHECK(!memarena_scope(full[i]) && asked[i] == 2); /* and asked anew for the next request */
            CHECK(!memarena_defer(full[i], nothing, NULL) && asked[i] == 3 && asked[!i] == 0);
            CHECK(!memarena_alloc(scope, 10 * KIB));
        }
    }
}

/* While one thread's handler runs others' requests are asked for. */
static bool asks_in_a_thread(void *context, memarena *arena, size_t size)
{
    (void)context, (void)arena, (void)size;
    test_join(test_start(ask_elsewhere, NULL));
    return false;
}

static void other_threads_are_asked_meanwhile(void)
{
    memarena *arena = memarena_create_with(&(memarena_options){.capacity = 4 * KIB, .on_oom = asks_in_a_thread});
    CHECK(arena);
    while (memarena_allocated_bytes(arena) < 4 * KIB) CHECK(memarena_alloc(arena, 64));
    asked[1] = 0;
    CHECK(!memarena_alloc(arena, 64));
    CHECK_EQ(asked[1], 1);
    memarena_destroy(arena);
    memarena_destroy(scope);
    for (int i = 0; i < 2; i++) memarena_destroy(full[i]);
}

int main(void)
{
    RUN(a_handler_is_not_asked_for_what_it_asks_for);
    RUN(other_threads_are_asked_meanwhile);
    return test_done();
}
