/* MEMARENA_RETAIN_AUTO: a peak is given back once it has not come again, what comes again never is, and no live block loses
 * a byte. What goes back to the system is counted where it is given. */
#include "threads.h"
#include "yield.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define MIB ((size_t)1 << 20)
#define CAPACITY (128 * MIB)
#define WINDOW 32 /* resets */

static long discards;

int __wrap_madvise(void *address, size_t length, int advice);
int __real_madvise(void *address, size_t length, int advice);
int __wrap_madvise(void *address, size_t length, int advice)
{
    if (advice == MADV_DONTNEED) __atomic_fetch_add(&discards, 1, __ATOMIC_RELAXED);
    return __real_madvise(address, length, advice);
}

static memarena *create(unsigned flags)
{
    memarena *arena = memarena_create_with(
        &(memarena_options){.capacity = CAPACITY, .flags = flags | TEST_FLAGS, .retain_bytes = MEMARENA_RETAIN_AUTO});
    CHECK(arena != NULL);
    discards = 0;
    return arena;
}

/* Takes so much in blocks from TLABs and of a MiB, writes it, and ends the generation. */
static void generation(memarena *arena, size_t bytes)
{
    for (size_t done = 0, size = 0; done < bytes; done += size) {
        size = bytes - done > 2 * MIB ? MIB : bytes - done < 5000 ? bytes - done : 5000;
        char *block = memarena_alloc(arena, size);
        CHECK(block != NULL);
        memset(block, 1, size);
    }
    CHECK(memarena_reset(arena));
}

static void a_peak_is_given_back_and_then_nothing_more(unsigned flags)
{
    static const size_t steady[] = {0, 3 * MIB, 20 * MIB};
    for (int i = 0; i < 3; i++) {
        memarena *arena = create(flags);
        for (int n = 0; n < 40; n++) generation(arena, steady[i]);
        generation(arena, 100 * MIB);
        for (int n = 0; n < WINDOW - 1; n++) generation(arena, steady[i]);
        CHECK_EQ(discards, 0);
        CHECK(memarena_resident_bytes(arena) >= 100 * MIB);
        for (int n = 0; n < WINDOW && discards == 0; n++) generation(arena, steady[i]);
        CHECK(discards > 0);
        CHECK(memarena_resident_bytes(arena) >= steady[i]); /* what is needed stays in memory */
        CHECK(memarena_resident_bytes(arena) < steady[i] + MIB);
        discards = 0;
        for (int n = 0; n < 10 * WINDOW; n++) generation(arena, steady[i]);
        CHECK_EQ(discards, 0);
        memarena_destroy(arena);
    }
}

/* However far apart, up to a window. */
static void what_comes_again_is_never_given(unsigned flags)
{
    static const int apart[] = {2, 7, 31, 32};
    for (int i = 0; i < 4; i++) {
        memarena *arena = create(flags);
        for (int n = 0; n < 3 * WINDOW + 16 * apart[i]; n++) /* in all places of a window */
            generation(arena, n % apart[i] == 5 % apart[i] ? 40 * MIB : MIB);
        CHECK_EQ(discards, 0);
        memarena_destroy(arena);
    }
}

static void a_load_that_grows_and_shrinks_a_little_gives_nothing(void)
{
    memarena *arena = create(0);
    unsigned long long random = test_seed(1);
    for (int n = 0; n < 300; n++) generation(arena, test_between(&random, 8 * MIB, 11 * MIB));
    for (int n = 0; n < 300; n++) generation(arena, MIB * 3 / 4 * 10); /* less, but not by a third */
    CHECK_EQ(discards, 0);
    memarena_destroy(arena);
}

static void *small_blocks(void *arena)
{
    for (int i = 0; i < 2000; i++) memset(memarena_alloc(arena, 5000), 1, 5000);
    return NULL;
}

/* Three generations in turn, each of 10 MiB: in the shards of one thread, in those of another, in the frontier. */
static void the_same_need_in_other_places_is_no_excess(void)
{
    memarena *arena = create(0);
    for (int n = 0; n < 6 * WINDOW; n++) {
        pthread_t others[3];
        if (n % 3 == 0) memset(memarena_alloc(arena, 10 * MIB), 1, 10 * MIB);
        if (n % 3 == 1) (void)small_blocks(arena);
        for (int i = 0; i < 3 && n % 3 == 2; i++) others[i] = test_start(small_blocks, arena);
        for (int i = 0; i < 3 && n % 3 == 2; i++) test_join(others[i]);
        CHECK(memarena_reset(arena));
    }
    CHECK_EQ(discards, 0);
    memarena_destroy(arena);
}

static void an_idle_program_calls_trim(unsigned flags)
{
    memarena *arena = create(flags);
    generation(arena, 100 * MIB);
    char *live = memset(memarena_alloc(arena, 5 * MIB), 7, 5 * MIB);
    for (int n = 0; n < WINDOW - 1; n++) CHECK_EQ(memarena_trim(arena, MEMARENA_RETAIN_AUTO), 0);
    size_t before = memarena_resident_bytes(arena), given = 0;
    for (int n = 0; n < WINDOW; n++) given += memarena_trim(arena, MEMARENA_RETAIN_AUTO);
    CHECK(given > 90 * MIB);
    CHECK_EQ(memarena_resident_bytes(arena), before - given);
    CHECK(memarena_resident_bytes(arena) < 6 * MIB);
    for (size_t i = 0; i < 5 * MIB; i++)
        if (live[i] != 7) CHECK(live[i] == 7);
    discards = 0;
    for (int n = 0; n < 10 * WINDOW; n++) CHECK_EQ(memarena_trim(arena, MEMARENA_RETAIN_AUTO), 0);
    CHECK_EQ(discards, 0);
    CHECK(memarena_reset(arena));
    CHECK(memarena_trim(arena, 0) > 4 * MIB); /* a number still means that number */
    memarena_destroy(arena);
}

static void who_did_not_ask_for_it_keeps_all(void)
{
    static _Alignas(4096) char buffer[MIB];
    memarena_options wrong = {.buffer = buffer, .capacity = sizeof buffer, .retain_bytes = MEMARENA_RETAIN_AUTO};
    errno = 0;
    CHECK(!memarena_create_with(&wrong) && errno == EINVAL);
    memarena_options others[] = {{.buffer = buffer, .capacity = sizeof buffer},
                                 {.capacity = CAPACITY},
                                 {.capacity = CAPACITY, .retain_bytes = 100 * MIB}};
    for (int i = 0; i < 3; i++) {
        memarena *arena = memarena_create_with(&others[i]);
        CHECK(arena != NULL);
        discards = 0;
        generation(arena, i ? 50 * MIB : MIB / 2);
        for (int n = 0; n < 3 * WINDOW; n++) {
            CHECK_EQ(memarena_trim(arena, MEMARENA_RETAIN_AUTO), 0);
            CHECK(memarena_reset(arena));
        }
        CHECK_EQ(discards, 0);
        memarena_destroy(arena);
    }
}

/* ---- With others at work ---------------------------------------------------------------------------------------------- */

#define WORKERS 3u
#define ROUNDS 1500

static struct {
    memarena *arena;
    bool over;
    long rounds; /* of all workers */
} race;

static bool is_over(void)
{
    return __atomic_load_n(&race.over, __ATOMIC_ACQUIRE);
}

/* Writes into blocks and looks again later; with a peak now and then. An open scope keeps them alive. */
static void *write_and_look(void *argument)
{
    enum { BLOCKS = 40 };
    char *blocks[BLOCKS];
    size_t sizes[BLOCKS];
    unsigned long long random = test_seed((uintptr_t)argument);
    while (!is_over()) {
        memarena *scope = memarena_scope(race.arena);
        if (!scope) continue;
        size_t most = test_random(&random) % 100 == 0 ? MIB : 5000;
        for (int i = 0; i < BLOCKS; i++) {
            sizes[i] = test_between(&random, 1, most);
            blocks[i] = memarena_alloc(i % 16 ? scope : race.arena, sizes[i]);
            if (blocks[i]) memset(blocks[i], i + 1, sizes[i]);
        }
        for (int i = 0; i < BLOCKS; i++)
            for (size_t at = 0; blocks[i] && at < sizes[i]; at++)
                if (blocks[i][at] != i + 1) CHECK(blocks[i][at] == i + 1);
        memarena_destroy(scope);
        (void)memarena_reset(race.arena); /* whoever finds nothing open */
        (void)__atomic_fetch_add(&race.rounds, 1, __ATOMIC_RELAXED);
    }
    return NULL;
}

static void *keep_trimming(void *unused)
{
    (void)unused;
    while (!is_over()) {
        (void)memarena_trim(race.arena, MEMARENA_RETAIN_AUTO);
        usleep(20); /* or a reset would hardly ever find a moment */
    }
    return NULL;
}

static void nobody_loses_a_byte_meanwhile(unsigned flags)
{
    pthread_t workers[WORKERS], trimmer;
    race.arena = create(flags);
    race.over = false;
    race.rounds = 0;
    for (uintptr_t i = 0; i < WORKERS; i++) workers[i] = test_start(write_and_look, (void *)(i + 1));
    trimmer = test_start(keep_trimming, NULL);
    while (__atomic_load_n(&race.rounds, __ATOMIC_RELAXED) < test_scaled(ROUNDS)) usleep(1000);
    __atomic_store_n(&race.over, true, __ATOMIC_RELEASE);
    for (unsigned i = 0; i < WORKERS; i++) test_join(workers[i]);
    test_join(trimmer);
    generation(race.arena, 60 * MIB);
    for (int n = 0; n < 2 * WINDOW; n++) CHECK(memarena_reset(race.arena)); /* nothing is left open */
    CHECK(discards > 0);
    CHECK(memarena_resident_bytes(race.arena) < 2 * MIB);
    memarena_destroy(race.arena);
}

/* ThreadSanitizer makes it slow to write gigabytes, and is there for what threads do. */
#if TEST_TSAN
#define THREADS_ONLY true
#else
#define THREADS_ONLY false
#endif

int main(void)
{
    memarena *arena = memarena_create(MIB), *traps;
    memarena_stats stats;
    memarena_get_stats(arena, &stats, sizeof stats);
    memarena_destroy(arena);
    RUN(who_did_not_ask_for_it_keeps_all);
    if (stats.watched) return test_done(); /* spreads its blocks, so that other numbers hold */
    traps = memarena_create_with(&(memarena_options){.capacity = MIB, .flags = MEMARENA_TRAP_STALE});
    memarena_destroy(traps);
    for (int way = 0; way < (traps ? 2 : 1); way++) {
        unsigned flags = way ? MEMARENA_TRAP_STALE : 0;
        printf("%s stale pointers:\n", way ? "trapping" : "without trapping");
        printf("  %s\n", "nobody_loses_a_byte_meanwhile"), nobody_loses_a_byte_meanwhile(flags);
        if (THREADS_ONLY) continue;
        printf("  %s\n", "a_peak_is_given_back_and_then_nothing_more"),
            a_peak_is_given_back_and_then_nothing_more(flags);
        printf("  %s\n", "what_comes_again_is_never_given"), what_comes_again_is_never_given(flags);
        printf("  %s\n", "an_idle_program_calls_trim"), an_idle_program_calls_trim(flags);
    }
    if (THREADS_ONLY) return test_done();
    RUN(a_load_that_grows_and_shrinks_a_little_gives_nothing);
    RUN(the_same_need_in_other_places_is_no_excess);
    return test_done();
}
