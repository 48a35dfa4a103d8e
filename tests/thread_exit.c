/* Allocation and scopes at the end: from destructors of thread-specific data, made before and after the library's own, in
 * every round; from destructors of C++'s thread_local kind; from atexit handlers and destructors of the program. Lanes come
 * back, and blocks taken after a lane was given back overlap no others. */
#include "lanes.h"
#include "yield.h"

#include <limits.h>
#include <string.h>

#ifndef PTHREAD_DESTRUCTOR_ITERATIONS
#define PTHREAD_DESTRUCTOR_ITERATIONS 4
#endif
/* ThreadSanitizer's own data dies in the last rounds. */
#define ROUNDS (TEST_TSAN ? 2 : PTHREAD_DESTRUCTOR_ITERATIONS)
#define THREADS 160u
#define BLOCKS_MAX 200u

/* What the compiler calls for thread_local objects with a destructor; glibc and others have it. */
extern int __cxa_thread_atexit_impl(void (*call)(void *), void *object, void *library) __attribute__((weak));
extern void *__dso_handle __attribute__((weak, visibility("hidden")));

static memarena *arena;
static pthread_key_t early, late; /* made before and after the library's key */

typedef struct member {
    bool in_body, in_early, in_late, in_thread_local;
    int first_round, rounds; /* a destructor allocates in these */
    int rounds_early, rounds_late;
    size_t count;
    void *blocks[BLOCKS_MAX];
    memarena *scope; /* opened in the body, ended in a destructor */
    unsigned char *in_scope;
} member;

#define SCOPE_BYTES ((size_t)3000)

static void check_scope_block(const unsigned char *block)
{
    for (size_t i = 0; i < SCOPE_BYTES; i++)
        if (block[i] != 2) CHECK_EQ(block[i], 2);
}

static memarena *open_scope(memarena *parent, unsigned char **block)
{
    memarena *scope = memarena_scope(parent);
    CHECK(scope != NULL);
    *block = memarena_alloc(scope, SCOPE_BYTES);
    CHECK(*block != NULL);
    memset(*block, 2, SCOPE_BYTES);
    return scope;
}

static void use_scopes(void)
{
    unsigned char *in_outer, *in_inner;
    memarena *outer = open_scope(arena, &in_outer), *inner = open_scope(outer, &in_inner);
    CHECK(memarena_defer(inner, free, malloc(10)));
    check_scope_block(in_inner);
    memarena_destroy(inner);
    inner = open_scope(outer, &in_inner);
    check_scope_block(in_outer);
    memarena_destroy(inner);
    memarena_destroy(outer);
}

static void end_scope(member *self)
{
    if (!self->scope) return;
    check_scope_block(self->in_scope);
    CHECK(memarena_alloc(self->scope, SCOPE_BYTES) != NULL);
    memarena_destroy(self->scope);
    self->scope = NULL;
}

static void take_some(member *self)
{
    for (int i = 0; i < 5; i++) {
        size_t size = i == 4 ? 20000 : 40;
        unsigned char *block = memarena_alloc_aligned(arena, size, 8);
        CHECK(block != NULL && self->count < BLOCKS_MAX);
        block[0] = block[size - 1] = 1;
        self->blocks[self->count++] = block;
    }
    CHECK(memarena_defer(arena, free, NULL));
    use_scopes();
}

static void at_round(member *self, pthread_key_t key, bool takes, int *round)
{
    ++*round;
    if (takes && *round >= self->first_round) take_some(self);
    if (*round < self->first_round + self->rounds - 1)
        CHECK_EQ(pthread_setspecific(key, self), 0);
    else
        end_scope(self);
}

static void destroy_early(void *argument)
{
    member *self = argument;
    at_round(self, early, self->in_early, &self->rounds_early);
}

static void destroy_late(void *argument)
{
    member *self = argument;
    if (self->in_body) CHECK_EQ(test_lane(), LANE_NONE); /* destructors are called in the order of their keys */
    at_round(self, late, self->in_late, &self->rounds_late);
}

static void destroy_thread_local(void *argument)
{
    take_some(argument);
}

static void *run(void *argument)
{
    member *self = argument;
    CHECK_EQ(pthread_setspecific(early, self), 0);
    CHECK_EQ(pthread_setspecific(late, self), 0);
    if (self->in_thread_local && __cxa_thread_atexit_impl)
        CHECK_EQ(__cxa_thread_atexit_impl(destroy_thread_local, self, &__dso_handle), 0);
    if (self->in_body) take_some(self);
    if (self->in_body) self->scope = open_scope(arena, &self->in_scope);
    return NULL;
}

/* Several at once, so that lanes change hands while destructors run. */
static void run_threads(member *members, unsigned count)
{
    pthread_t threads[THREADS];
    for (unsigned i = 0; i < count; i += 4) {
        for (unsigned n = i; n < count && n < i + 4; n++) threads[n] = test_start(run, &members[n]);
        for (unsigned n = i; n < count && n < i + 4; n++) test_join(threads[n]);
    }
}

static void check_blocks(const member *members, unsigned count)
{
    test_log log = {0};
    for (unsigned i = 0; i < count; i++)
        for (size_t n = 0; n < members[i].count; n++) {
            size_t size = n % 5 == 4 ? 20000 : 40;
            unsigned char *block = members[i].blocks[n];
            CHECK(block[0] == 1 && block[size - 1] == 1); /* no scope has had it */
            test_record(&log, 1, block, size);
        }
    (void)test_check_blocks(arena, &log);
    CHECK(log.count > 0);
    CHECK_EQ(test_stats(arena).open_scopes, 0);
    test_forget(&log);
    CHECK(memarena_reset(arena));
}

static void destructors_in_any_order_and_round_may_allocate(void)
{
    static member members[THREADS];
    for (unsigned i = 0; i < THREADS; i++)
        members[i] = (member){.in_body = i & 1,
                              .in_early = i & 2,
                              .in_late = i & 4,
                              .in_thread_local = i & 8,
                              .first_round = 1,
                              .rounds = 1 + (int)(i / 16 % ROUNDS)};
    run_threads(members, THREADS);
    check_blocks(members, THREADS);
    CHECK_EQ(test_free_lanes(), MA_LANES);
}

static void a_thread_may_allocate_for_the_first_time_in_a_destructor(void)
{
    static member members[THREADS];
    for (int round = 1; round < ROUNDS; round++) {
        for (unsigned i = 0; i < THREADS; i++)
            members[i] = (member){.in_early = i & 1, .in_late = !(i & 1), .first_round = round, .rounds = 1};
        run_threads(members, THREADS);
        check_blocks(members, THREADS);
        CHECK_EQ(test_free_lanes(), MA_LANES);
    }
}

static void even_in_the_last_round_and_no_lane_is_lost(void)
{
    static member members[THREADS];
    for (unsigned i = 0; i < THREADS; i++)
        members[i] =
            (member){.in_early = i & 1, .in_late = !(i & 1), .first_round = PTHREAD_DESTRUCTOR_ITERATIONS, .rounds = 1};
    run_threads(members, THREADS);
    check_blocks(members, THREADS);
    CHECK_EQ(test_free_lanes(), MA_LANES);
}

/* ---- The end of the program ------------------------------------------------------------------------------------- */

static void take_at_exit(void)
{
    static member self;
    self.count = 0;
    take_some(&self);
    check_blocks(&self, 1);
}

static void *take_in_a_thread(void *argument)
{
    take_some(argument);
    return NULL;
}

static void start_a_thread_at_exit(void)
{
    static member self;
    self.count = 0;
    test_join(test_start(take_in_a_thread, &self));
    check_blocks(&self, 1);
}

__attribute__((destructor)) static void destroy_program(void)
{
    if (!arena) return;
    take_at_exit();
    if (!TEST_TSAN) start_a_thread_at_exit();
    take_at_exit();
    memarena_destroy(arena);
}

int main(void)
{
    CHECK_EQ(atexit(take_at_exit), 0);
    CHECK_EQ(pthread_key_create(&early, destroy_early), 0);
    arena = test_create((size_t)64 << 20);
    CHECK(arena != NULL);
    if (test_watched(arena)) SKIP("a watched arena has no lanes");
    member first = {0};
    test_join(test_start(take_in_a_thread, &first));
    CHECK_EQ(pthread_key_create(&late, destroy_late), 0);
    RUN(destructors_in_any_order_and_round_may_allocate);
    RUN(a_thread_may_allocate_for_the_first_time_in_a_destructor);
    if (!TEST_TSAN) RUN(even_in_the_last_round_and_no_lane_is_lost);
    CHECK_EQ(atexit(take_at_exit), 0);
    CHECK_EQ(atexit(start_a_thread_at_exit), 0);
    return test_done();
}
