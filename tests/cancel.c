/* No call is a cancellation point: a thread that is cancelled goes on until its call has returned, and the arena stays whole.
 *
 * Each call is made by a thread whose cancellation is asked for already, so the first cancellation point inside would end it. */
#include "internals.h"
#include "threads.h"

#include <string.h>

#define MIB ((size_t)1 << 20)

static struct {
    memarena *arena, *scope;
    FILE *file;
} at;

static void nothing(void *argument)
{
    (void)argument;
}

static void ignore(void *context, memarena *arena, void *block, size_t size, size_t weight)
{
    (void)context, (void)arena, (void)block, (void)size, (void)weight;
}

static void call_alloc(void)
{
    CHECK(!memarena_alloc(at.arena, 64));
}

static void call_large(void)
{
    CHECK(!memarena_zalloc(at.arena, MIB));
}

static void call_printf(void)
{
    CHECK(!memarena_printf(at.arena, "%0300d", 1));
}

static void call_scope(void)
{
    CHECK(!memarena_scope(at.arena));
}

static void call_grow(void)
{
    CHECK(!memarena_alloc(at.scope, 10000));
}

static void call_defer(void)
{
    CHECK(!memarena_defer(at.arena, nothing, NULL));
}

static void call_trim(void)
{
    (void)memarena_trim(at.arena, 0);
}

static void call_stats(void)
{
    char text[4096];
    (void)memarena_stats_json(at.arena, text, sizeof text);
    (void)test_stats(at.arena);
    (void)memarena_resident_bytes(at.arena);
}

static void call_report(void)
{
    CHECK(memarena_report(at.arena, at.file));
}

static void call_page(void)
{
    CHECK(memarena_write_page(at.arena, at.file) && memarena_write_map(at.arena, at.file));
}

static void call_sample(void)
{
    CHECK(memarena_sample(at.arena, 100, ignore, NULL) && memarena_sample(at.arena, 0, NULL, NULL));
}

static void call_create(void)
{
    static const unsigned flags[] = {0, MEMARENA_PER_CPU, MEMARENA_PREFAULT};
    for (int i = 0; i < 3; i++) {
        memarena *arena =
            memarena_create_with(&(memarena_options){.capacity = MIB, .flags = flags[i], .name = "short"});
        CHECK(arena && memarena_alloc(arena, 8) && memarena_defer(arena, nothing, NULL));
        CHECK(memarena_reset(arena));
        memarena_destroy(arena);
    }
    memarena_destroy(memarena_create(0));
}

static void call_explain(void)
{
    CHECK(memarena_explain_faults());
}

static const struct {
    const char *name;
    void (*call)(void);
} calls[] = {
    {"alloc", call_alloc},     {"zalloc", call_large}, {"printf", call_printf}, {"scope", call_scope},
    {"grow", call_grow},       {"defer", call_defer},  {"trim", call_trim},     {"stats", call_stats},
    {"report", call_report},   {"page", call_page},    {"sample", call_sample}, {"create", call_create},
    {"explain", call_explain},
};
#define CALLS (sizeof calls / sizeof *calls)

static bool returned;

static void *run(void *call)
{
    int old;
    CHECK_EQ(pthread_setcanceltype(PTHREAD_CANCEL_DEFERRED, &old), 0);
    CHECK_EQ(pthread_cancel(pthread_self()), 0);
    calls[*(const size_t *)call].call();
    returned = true;
    pthread_testcancel();
    CHECK(!returned); /* it ends above */
    return NULL;
}

static void run_cancelled(size_t call)
{
    void *result;
    returned = false;
    pthread_t thread = test_start(run, &call);
    CHECK_EQ(pthread_join(thread, &result), 0);
    CHECK(result == PTHREAD_CANCELED);
    if (!returned) fprintf(stderr, "cancelled inside: %s\n", calls[call].name);
    CHECK(returned);
}

/* Full, and a run seems to be claimed that would make room: so whoever asks for more looks again and naps. */
static void no_call_is_a_cancellation_point(void)
{
    for (int naps = 0; naps < 2; naps++) {
        at.arena = memarena_create_with(&(memarena_options){.capacity = 2 * MIB, .name = "cancelled"});
        at.file = tmpfile();
        CHECK(at.arena && at.file);
        CHECK((at.scope = memarena_scope(at.arena)) != NULL);
        (void)test_fill(at.arena, 4096, NULL, 1);
        for (size_t size = 4096; size >= 8; size /= 2)
            while (memarena_alloc_aligned(at.scope, size, 8)) continue;
        uint64_t *runs = &ma_arena_of(at.arena)->pool.runs;
        if (naps) (void)ma_add_acq_rel(runs, MA_RUN_BEGINS);
        for (size_t call = 0; call < CALLS; call++) run_cancelled(call);
        if (naps) (void)ma_add_acq_rel(runs, MA_RUN_ENDED - MA_RUN_BEGINS);
        CHECK_EQ(test_stats(at.arena).open_scopes, 1);
        memarena_destroy(at.scope);
        CHECK(memarena_reset(at.arena));
        test_check_whole(at.arena, 1000);
        memarena_destroy(at.arena);
        (void)fclose(at.file);
    }
}

int main(void)
{
    RUN(no_call_is_a_cancellation_point);
    return test_done();
}
