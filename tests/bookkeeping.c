/* The bookkeeping of free extents, 16 bytes for each KiB that scopes give back: it is counted, memarena_trim gives it back when
 * nothing needs it any more, and nothing is lost with it. */
#include "internals.h"
#include "threads.h"
#include "yield.h"

#include <sys/mman.h>
#include <unistd.h>

#define KIB ((size_t)1 << 10)
#define MIB ((size_t)1 << 20)
#define CAPACITY (256 * MIB)
#define FIXED (64 * KIB + 65 * (size_t)sysconf(_SC_PAGESIZE)) /* what never grows, and a page where two shards meet */
enum { SCOPES = 150000, TABLE = SCOPES * 16 };

static memarena *scopes[SCOPES];

static size_t in_memory(const memarena *arena)
{
    memarena_stats stats = test_stats(arena);
    CHECK(stats.bookkeeping_resident_bytes <= stats.bookkeeping_bytes);
    return stats.bookkeeping_resident_bytes;
}

/* Opens and ends them: how much of the arena has been claimed then. */
static size_t peak(memarena *arena)
{
    for (int i = 0; i < SCOPES; i++) {
        scopes[i] = memarena_scope(arena);
        CHECK(scopes[i] && memarena_new_value(scopes[i], int, i));
    }
    for (int i = 0; i < SCOPES; i++) memarena_destroy(scopes[i]);
    memarena_stats stats = test_stats(arena);
    CHECK(stats.free_extent_bytes >= SCOPES * KIB);
    return stats.claimed_bytes;
}

static void a_peak_of_scopes_is_given_back_with_its_bookkeeping(unsigned flags)
{
    memarena *arena = memarena_create_with(&(memarena_options){.capacity = CAPACITY, .flags = flags});
    if (!arena && flags) return; /* this system cannot move pages */
    CHECK(arena != NULL);
    CHECK(in_memory(arena) <= FIXED);
    for (int round = 0; round < 3; round++) {
        size_t claimed = peak(arena);
        CHECK(in_memory(arena) >= TABLE && in_memory(arena) <= TABLE * 3 + 2 * FIXED);
        (void)memarena_trim(arena, 0); /* the blocks go; where the free extents are is still known */
        CHECK(in_memory(arena) >= TABLE);
        CHECK_EQ(peak(arena), claimed);
        CHECK(memarena_reset(arena));
        size_t given = memarena_trim(arena, round == 1 ? MIB : 0);
        CHECK(given > SCOPES * KIB / 2);
        CHECK(in_memory(arena) <= FIXED);
        CHECK(memarena_resident_bytes(arena) <= (round == 1 ? MIB : 0));
    }
    memarena_destroy(arena);
}

static void so_it_is_in_any_arena(void)
{
    a_peak_of_scopes_is_given_back_with_its_bookkeeping(0);
}

static void and_where_stale_pointers_are_trapped(void)
{
    a_peak_of_scopes_is_given_back_with_its_bookkeeping(MEMARENA_TRAP_STALE);
}

static void what_belongs_to_blocks_in_memory_stays(void)
{
    memarena *arena = memarena_create(CAPACITY);
    CHECK(arena != NULL);
    (void)peak(arena);
    CHECK(memarena_reset(arena));
    size_t before = in_memory(arena);
    CHECK_EQ(memarena_trim(arena, CAPACITY * 4), 0);
    CHECK_EQ(in_memory(arena), before);
    memarena_destroy(arena);
}

/* Blocks given before the reset leave bookkeeping that nothing comes for by itself. */
static void it_is_given_without_any_block(void)
{
    enum { LARGE = 64 * KIB, COUNT = CAPACITY / LARGE / 2 };
    memarena *arena = memarena_create(CAPACITY);
    CHECK(arena != NULL);
    for (int i = 0; i < COUNT; i++) {
        scopes[i] = memarena_scope(arena);
        CHECK(scopes[i] != NULL);
        char *block = memarena_alloc(scopes[i], LARGE);
        CHECK(block != NULL);
        memset(block, 1, LARGE);
    }
    for (int i = 0; i < COUNT; i++) memarena_destroy(scopes[i]);
    CHECK(memarena_trim(arena, 0) > (size_t)COUNT * LARGE / 2);
    CHECK(in_memory(arena) >= COUNT * LARGE / 64);
    CHECK(memarena_reset(arena));
    (void)memarena_trim(arena, 0);
    CHECK(in_memory(arena) <= FIXED);
    CHECK_EQ(memarena_trim(arena, 0), 0);
    memarena_destroy(arena);
}

/* ---- One thread, in the middle --------------------------------------------------------------------------------------- */

static struct {
    memarena *arena; /* NULL: nothing happens in the middle */
    int given;
} middle;

/* In the middle an arena of one source, which a sanitizer watches, has no room: it is borrowed. */
static void use_scopes(memarena *arena)
{
    memarena *open[20];
    int count = 0;
    while (count < 20 && (open[count] = memarena_scope(arena)) != NULL)
        CHECK(memarena_alloc(open[count++], 3000) || test_stats(arena).watched);
    CHECK(count == 20 || test_stats(arena).watched);
    while (count > 0) memarena_destroy(open[--count]);
}

/* Linked with --wrap=madvise: the library calls ours. */
int __real_madvise(void *address, size_t bytes, int advice);
int __wrap_madvise(void *address, size_t bytes, int advice);
int __wrap_madvise(void *address, size_t bytes, int advice)
{
    const ma_arena *arena = middle.arena ? ma_arena_of(middle.arena) : NULL;
    if (arena && (uintptr_t)address >= (uintptr_t)arena->extents.links && (uintptr_t)address < arena->pool.base) {
        middle.given++;
        use_scopes(middle.arena);
    }
    return __real_madvise(address, bytes, advice);
}

static void scopes_in_the_middle_lose_nothing(void)
{
    memarena *arena = memarena_create(CAPACITY);
    CHECK(arena != NULL);
    (void)peak(arena);
    CHECK(memarena_reset(arena));
    middle.arena = arena;
    (void)memarena_trim(arena, 0);
    middle.arena = NULL;
    CHECK(middle.given > 0);
    CHECK_EQ(memarena_allocated_bytes(arena), 0); /* what was claimed is free again, all of it */
    for (int i = 0; i < 10; i++) use_scopes(arena);
    CHECK_EQ(memarena_allocated_bytes(arena), 0);
    memarena_destroy(arena);
}

/* As if memory of blocks were not there, but where this scope is. */
static void take_memory_from_blocks(const memarena *arena, const memarena *but)
{
    const ma_arena *inside = ma_arena_of(arena);
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), begin = inside->pool.base, here = (uintptr_t)but & ~(page - 1);
    uintptr_t end = begin + inside->mapping_bytes / page * page - (begin - (uintptr_t)inside->mapping);
    if (but && here > begin) CHECK(__real_madvise((void *)begin, here - begin, MADV_DONTNEED) == 0);
    if (but) begin = here + page;
    CHECK(__real_madvise((void *)begin, end - begin, MADV_DONTNEED) == 0);
}

static void what_is_known_of_this_generation_stays(void)
{
    memarena *arena = memarena_create(CAPACITY);
    CHECK(arena != NULL);
    size_t claimed = peak(arena);
    memarena *scope = memarena_scope(arena); /* (the one that would begin again as it is) */
    CHECK(scope != NULL);
    size_t before = test_stats(arena).free_extent_bytes;
    take_memory_from_blocks(arena, scope);
    (void)memarena_trim(arena, 0);
    CHECK_EQ(test_stats(arena).free_extent_bytes, before);
    memarena_destroy(scope);
    CHECK_EQ(peak(arena), claimed);
    memarena_destroy(arena);
}

static void it_is_given_where_all_blocks_are_to_stay(void)
{
    memarena *arena = memarena_create(CAPACITY);
    CHECK(arena != NULL);
    (void)peak(arena);
    CHECK(memarena_reset(arena));
    take_memory_from_blocks(arena, NULL);
    CHECK_EQ(memarena_trim(arena, MIB), 0);
    CHECK(in_memory(arena) <= FIXED);
    memarena_destroy(arena);
}

static void a_reset_that_keeps_little_gives_it_too(void)
{
    memarena *arena = memarena_create_with(&(memarena_options){.capacity = CAPACITY, .retain_bytes = MIB});
    CHECK(arena != NULL);
    (void)peak(arena);
    CHECK(memarena_reset(arena));
    CHECK(in_memory(arena) <= FIXED);
    memarena_destroy(arena);
}

static void in_a_buffer_it_is_what_the_buffer_holds(void)
{
    static _Alignas(64) char buffer[MIB];
    memarena *arena = memarena_create_with(&(memarena_options){.buffer = buffer, .capacity = sizeof buffer});
    memarena_stats stats = test_stats(arena);
    CHECK(stats.bookkeeping_bytes > 0 && stats.bookkeeping_bytes + stats.capacity_bytes <= MIB);
    CHECK(stats.bookkeeping_bytes + stats.capacity_bytes > MIB - 128);
    CHECK_EQ(stats.bookkeeping_resident_bytes, 0);
    memarena_destroy(arena);
}

/* ---- While others open and end scopes ------------------------------------------------------------------------------ */

enum { THREADS = 3, HELD = 200, ROUNDS = 300 };

static struct {
    memarena *arena;
    int ended;
} race;

static void *open_and_end(void *number)
{
    unsigned long long random = 1 + (uintptr_t)number;
    struct {
        memarena *scope;
        size_t bytes;
        unsigned char *block;
    } held[HELD] = {{0}};
    for (int round = 0; round < ROUNDS * HELD; round++) {
        size_t i = (size_t)(test_random(&random) % HELD);
        if (held[i].scope) {
            for (size_t at = 0; at < held[i].bytes; at += 97)
                CHECK_EQ(held[i].block[at], (unsigned char)(i + (uintptr_t)number));
            memarena_destroy(held[i].scope);
            held[i].scope = NULL;
        } else if ((held[i].scope = memarena_scope(race.arena)) != NULL) {
            held[i].bytes = 1 + (size_t)(test_random(&random) % 20000);
            held[i].block = memarena_alloc(held[i].scope, held[i].bytes);
            if (!held[i].block) held[i].bytes = 0;
            if (held[i].block) memset(held[i].block, (int)(i + (uintptr_t)number), held[i].bytes);
        }
        if (round % (20 * HELD) == 0) /* so that there may be a reset */
            for (i = 0; i < HELD; i++) {
                if (held[i].scope) memarena_destroy(held[i].scope);
                held[i].scope = NULL;
            }
    }
    for (size_t i = 0; i < HELD; i++)
        if (held[i].scope) memarena_destroy(held[i].scope);
    __atomic_add_fetch(&race.ended, 1, __ATOMIC_RELEASE);
    return NULL;
}

static void scopes_lose_nothing_while_it_is_given(void)
{
    pthread_t threads[THREADS];
    race.arena = memarena_create(32 * MIB);
    CHECK(race.arena != NULL);
    for (uintptr_t i = 0; i < THREADS; i++) CHECK(pthread_create(&threads[i], NULL, open_and_end, (void *)i) == 0);
    while (__atomic_load_n(&race.ended, __ATOMIC_ACQUIRE) < THREADS) {
        (void)memarena_trim(race.arena, 0);
        (void)memarena_reset(race.arena);
    }
    for (int i = 0; i < THREADS; i++) CHECK(pthread_join(threads[i], NULL) == 0);
    memarena_stats stats = test_stats(race.arena);
    CHECK_EQ(stats.open_scopes, 0);
    CHECK_EQ(stats.allocated_bytes, 0); /* whatever was claimed is free: none of it is lost */
    memarena_destroy(race.arena);
}

int main(void)
{
    RUN(so_it_is_in_any_arena);
    RUN(and_where_stale_pointers_are_trapped);
    RUN(what_belongs_to_blocks_in_memory_stays);
    RUN(it_is_given_without_any_block);
    RUN(scopes_in_the_middle_lose_nothing);
    RUN(what_is_known_of_this_generation_stays);
    RUN(it_is_given_where_all_blocks_are_to_stay);
    RUN(a_reset_that_keeps_little_gives_it_too);
    RUN(in_a_buffer_it_is_what_the_buffer_holds);
    RUN(scopes_lose_nothing_while_it_is_given);
    return test_done();
}
