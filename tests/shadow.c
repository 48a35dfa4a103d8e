/* What a watched arena tells the sanitizer, byte by byte: the test is the sanitizer. Blocks that are alive may be used, all of them
 * and nothing else, also when another thread makes a call in the middle of one, at each access to what threads share. */
#include "threads.h"

#include "internals.h"

#include <semaphore.h>
#include <string.h>

#if TEST_ASAN
int main(void)
{
    SKIP("there is a sanitizer already");
}
#else

#define MIB ((size_t)1 << 20)
#define CAPACITY (MIB / 2)
#define MAPPED (4 * MIB) /* the arena's blocks are spread threefold */

/* ---- The sanitizer ------------------------------------------------------------------------------------------------------- */

static uintptr_t base; /* of the first block; 0: it is not known yet */
static uintptr_t guarded;
static bool guard[MA_WATCH_GUARD], forbidden[MAPPED];

static void mark(const volatile void *address, size_t size, bool as)
{
    uintptr_t begin = (uintptr_t)address - base;
    for (size_t i = 0; i < size; i++) {
        if (begin + i < MAPPED) forbidden[begin + i] = as;
        if (begin + i + sizeof guard < sizeof guard) guard[begin + i + sizeof guard] = as;
    }
}

void test_yield(void);

void __asan_poison_memory_region(void const volatile *address, size_t size);
void __asan_poison_memory_region(void const volatile *address, size_t size)
{
    test_yield(); /* it takes long */
    if (base == 0 && size == MA_WATCH_GUARD) guarded = (uintptr_t)address;
    mark(address, size, true);
}

void __asan_unpoison_memory_region(void const volatile *address, size_t size);
void __asan_unpoison_memory_region(void const volatile *address, size_t size)
{
    mark(address, size, false);
}

/* ---- Blocks ----------------------------------------------------------------------------------------------------------------- */

static memarena *arena;
static test_block alive[1000];
static unsigned count;

static char *keep(char *block, size_t size)
{
    CHECK(block != NULL && count < sizeof alive / sizeof *alive);
    unsigned number = __atomic_fetch_add(&count, 1, __ATOMIC_ACQ_REL);
    alive[number] = (test_block){0, (uintptr_t)block, (uintptr_t)block + size};
    return block;
}

/* Exactly the blocks that are alive may be used, of all memory up to the mark. */
static void check(void)
{
    static bool expected[MAPPED];
    const ma_arena *root = ma_arena_of(arena);
    size_t marked = (size_t)root->watch_mark * root->spread;
    memset(expected, true, sizeof expected);
    CHECK(base == root->pool.base && marked <= MAPPED);
    for (size_t i = 0; i < sizeof guard; i++) CHECK(guard[i]);
    for (unsigned i = 0; i < count; i++) {
        CHECK(alive[i].begin >= base && alive[i].end <= base + marked);
        memset(&expected[alive[i].begin - base], false, alive[i].end - alive[i].begin);
    }
    for (size_t i = 0; i < marked; i++)
        if (forbidden[i] != expected[i]) CHECK_EQ(forbidden[i], expected[i]);
}

static void begin(void)
{
    base = 0;
    CHECK((arena = memarena_create(CAPACITY)) != NULL);
    base = ma_arena_of(arena)->pool.base;
    count = 0;
    memset(forbidden, false, sizeof forbidden);
    CHECK_EQ(guarded, base - MA_WATCH_GUARD);
    memset(guard, true, sizeof guard);
}

static void end(void)
{
    size_t used = (size_t)ma_arena_of(arena)->watch_claimed * ma_arena_of(arena)->spread;
    memarena_destroy(arena);
    for (size_t i = 0; i < sizeof guard; i++) CHECK(!guard[i]);
    for (size_t i = 0; i < used; i++) CHECK(!forbidden[i]); /* whoever is given these addresses next may use them */
}

/* ---- One thread ---------------------------------------------------------------------------------------------------------- */

static void blocks_of_any_size_may_be_used_to_their_last_byte(void)
{
    for (size_t alignment = 1; alignment <= 4096; alignment *= 2) {
        begin();
        for (size_t size = 1; size < 70; size++) (void)keep(memarena_alloc_aligned(arena, size, alignment), size);
        check();
        count = 0;
        CHECK(memarena_reset(arena));
        check();
        (void)keep(memarena_alloc_aligned(arena, 70000, alignment), 70000);
        check();
        end();
    }
}

static void what_is_resized_may_be_used_as_far_as_it_goes(void)
{
    begin();
    for (size_t size = 1; size < 50; size += 3) {
        for (size_t other = 1; other < 50; other += 5) {
            char *block = keep(memarena_alloc_aligned(arena, size, 8), size);
            CHECK(memarena_realloc(arena, block, size, other) == block); /* it is the last one */
            alive[count - 1].end = (uintptr_t)block + other;
            if (count % 8 == 0) check();
        }
    }
    char *block = keep(memarena_alloc_aligned(arena, 100, 8), 100);
    for (size_t size = 100; size < 300000; size *= 4) { /* further than memory was ever forbidden */
        CHECK(memarena_realloc(arena, block, size, size * 4) == block);
        alive[count - 1].end = (uintptr_t)block + size * 4;
        check();
    }
    check();
    end();
}

static void what_a_scope_gives_back_may_not_be_used(void)
{
    begin();
    (void)keep(memarena_alloc_aligned(arena, 100, 8), 100);
    for (int round = 0; round < 4; round++) {
        memarena *scope = memarena_scope(arena);
        CHECK(scope != NULL);
        uintptr_t head = (uintptr_t)scope;
        for (size_t size = 1; size < 20000; size = size * 3 + 1) {
            char *block = memarena_alloc(scope, size);
            CHECK(block && !forbidden[(uintptr_t)block - base] && !forbidden[(uintptr_t)block + size - 1 - base]);
            CHECK(forbidden[(uintptr_t)block + size - base]);
        }
        CHECK(!forbidden[head - base]);
        memarena_position start = memarena_mark(scope);
        char *block = memarena_alloc(scope, 33);
        CHECK(block && memarena_rewind(scope, start) && forbidden[(uintptr_t)block - base]);
        CHECK(memarena_reset(scope) && forbidden[(uintptr_t)block - base]);
        memarena_destroy(scope);
    }
    count = 0;
    CHECK(memarena_reset(arena));
    check();
    end();
}

static void a_buffer_is_watched_to_its_end(void)
{
    static _Alignas(64) char buffer[20000];
    for (size_t shift = 0; shift < 16; shift++) {
        memset(forbidden, false, sizeof forbidden);
        memarena_options options = {.buffer = buffer + shift, .capacity = sizeof buffer - 64};
        base = (uintptr_t)buffer;
        memarena *created = memarena_create_with(&options);
        CHECK(created != NULL);
        uintptr_t first = ma_arena_of(created)->pool.base, last = first + memarena_capacity(created);
        CHECK(last <= (uintptr_t)buffer + shift + sizeof buffer - 64);
        for (uintptr_t i = (uintptr_t)buffer; i < (uintptr_t)buffer + sizeof buffer; i++)
            CHECK_EQ(forbidden[i - base], i >= first && i < last / 8 * 8);
        memarena_destroy(created);
        for (size_t i = 0; i < sizeof buffer; i++) CHECK(!forbidden[i]);
    }
}

/* ---- Two threads ------------------------------------------------------------------------------------------------------------- */

static _Thread_local unsigned long left; /* accesses of this thread before the other one comes */
static _Thread_local bool is_intruder;
static sem_t goes_on, has_ended;
static pthread_t other;
static size_t sizes[2];

/* Either the call has ended, or it waits for the one that was stopped. */
void __wrap_ma_os_nap(long nanoseconds);
void __wrap_ma_os_nap(long nanoseconds)
{
    (void)nanoseconds;
    if (is_intruder) CHECK(sem_post(&goes_on) == 0 && sem_wait(&has_ended) == 0);
    is_intruder = false;
}

static void *intrude(void *unused)
{
    is_intruder = true;
    (void)keep(memarena_alloc_aligned(arena, sizes[1], 8), sizes[1]);
    if (is_intruder) CHECK_EQ(sem_post(&goes_on), 0);
    return unused;
}

void test_yield(void)
{
    if (left == 0 || --left != 0) return;
    other = test_start(intrude, NULL);
    CHECK_EQ(sem_wait(&goes_on), 0);
}

static unsigned long stop_at_each_access(void)
{
    unsigned long n = 0;
    for (bool came = true; came;) {
        begin();
        (void)keep(memarena_alloc_aligned(arena, 100, 8), 100);
        CHECK(sem_init(&goes_on, 0, 0) == 0 && sem_init(&has_ended, 0, 0) == 0);
        left = ++n;
        char *block = memarena_alloc_aligned(arena, sizes[0], 8);
        came = left == 0;
        left = 0;
        (void)keep(block, sizes[0]);
        if (came) CHECK_EQ(sem_post(&has_ended), 0), test_join(other);
        check();
        end();
    }
    return n - 1;
}

static void nobody_forbids_what_another_thread_has_just_been_given(void)
{
    static const size_t each[] = {40, 100000, 200000};
    for (unsigned one = 0; one < 3; one++) {
        for (unsigned two = 0; two < 3; two++) {
            sizes[0] = each[one], sizes[1] = each[two];
            (void)stop_at_each_access();
        }
    }
}

int main(void)
{
    begin();
    if (ma_arena_of(arena)->watch != MA_WATCH_ASAN) SKIP("this build of the library is not watched, or by another");
    end();
    RUN(blocks_of_any_size_may_be_used_to_their_last_byte);
    RUN(what_is_resized_may_be_used_as_far_as_it_goes);
    RUN(what_a_scope_gives_back_may_not_be_used);
    RUN(a_buffer_is_watched_to_its_end);
    RUN(nobody_forbids_what_another_thread_has_just_been_given);
    return test_done();
}
#endif
