/* Everything at once, for as long as you like: threads that come and go share arenas, open scopes in them, hand scopes on,
 * defer calls, reset, fork, and check every block before it dies.
 *
 * usage: soak [SECONDS]       30 by default; 600 for a release, 28800 overnight
 *
 * It goes on for so long, and until it has got somewhere: what the machine does beside it makes it longer, not red.
 *
 * Prints one line a minute and one at the end. Pin it (taskset -c 0) to have threads preempted in the middle of things,
 * or give it two CPUs to have them race; the yield builds of it shake the timing at each shared access. Resident
 * memory and the number of mappings at the end must be what they were when it had warmed up. */
#include "threads.h"

#include <stdatomic.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#ifdef WITH_YIELD
#include "yield.h"
#endif

enum { ARENAS = 4, THREADS = 6, ROUND_BLOCKS = 400, SCOPES = 3 };
#define MIB ((size_t)1 << 20)

static struct {
    memarena *arena;
    /* Blocks may only be looked at while no reset can end their generation: users register, a reset waits for none. */
    atomic_uint users; /* threads that look at blocks, or CLOSED */
    atomic_ulong resets, calls_made, calls_run;
} shared[ARENAS];
#define CLOSED 0x80000000u

/* What it takes to warm up, and as much again is the least that is worth a look. A second's work of one CPU. */
#define WARM_ROUNDS 600u

static atomic_bool enough;
static atomic_ulong rounds, threads_born, forks;
static memarena *_Atomic handed_on[ARENAS]; /* a scope without an owner */

typedef struct piece {
    unsigned char *at;
    size_t size;
} piece;

static size_t random_size(unsigned long long *random)
{
    unsigned long long r = test_random(random);
    return (size_t)(r / 64 % (r % 64 == 0 ? 40000 : r % 8 == 0 ? 2000 : 100));
}

static unsigned char mark_of(const piece *one)
{
    return (unsigned char)((uintptr_t)one->at >> 3 ^ one->size);
}

/* So many blocks of `from`, written and looked at again. */
static void use(memarena *from, unsigned long long *random, unsigned count)
{
    piece pieces[ROUND_BLOCKS];
    unsigned had = 0;
    for (unsigned i = 0; i < count; i++) {
        size_t size = random_size(random), alignment = (size_t)8 << test_random(random) % 5;
        unsigned char *at = memarena_alloc_aligned(from, size, alignment);
        if (!at) break;
        CHECK(((uintptr_t)at & (alignment - 1)) == 0);
        pieces[had] = (piece){at, size};
        memset(at, mark_of(&pieces[had]), size);
        had++;
    }
    for (unsigned i = 0; i < had; i++)
        for (size_t k = 0; k < pieces[i].size; k += k < 64 ? 1 : 61) CHECK(pieces[i].at[k] == mark_of(&pieces[i]));
}

static void count_run(void *counter)
{
    atomic_fetch_add((atomic_ulong *)counter, 1);
}

static void use_scopes(unsigned number, unsigned long long *random)
{
    memarena *scopes[SCOPES] = {NULL};
    for (unsigned i = 0; i < SCOPES; i++) {
        memarena *parent = i > 0 && scopes[i - 1] && test_random(random) % 2 ? scopes[i - 1] : shared[number].arena;
        scopes[i] = memarena_scope(parent);
        if (!scopes[i]) break;
        memarena_position mark = memarena_mark(scopes[i]);
        use(scopes[i], random, 40);
        if (memarena_defer(scopes[i], count_run, &shared[number].calls_run)) shared[number].calls_made++;
        if (test_random(random) % 2) CHECK(memarena_rewind(scopes[i], mark));
        use(scopes[i], random, 40);
    }
    for (unsigned i = SCOPES; i-- > 0;) memarena_destroy(scopes[i]);
    /* One lives on, to be ended by whoever comes next. */
    memarena *mine = memarena_scope(shared[number].arena);
    if (mine) use(mine, random, 10);
    memarena_destroy(atomic_exchange(&handed_on[number], mine));
}

/* Only when nobody looks at blocks, as the contract wants it; allocations from other threads go on. */
static void reset(unsigned number)
{
    unsigned nobody = 0;
    if (!atomic_compare_exchange_strong(&shared[number].users, &nobody, CLOSED)) return;
    memarena_destroy(atomic_exchange(&handed_on[number], NULL));
    uint64_t before = memarena_generation(shared[number].arena);
    if (memarena_reset(shared[number].arena)) {
        CHECK_EQ(memarena_generation(shared[number].arena), before + 1);
        shared[number].resets++;
        if (shared[number].resets % 64 == 0) {
            CHECK_EQ(memarena_allocated_bytes(shared[number].arena), 0);
            CHECK_EQ(shared[number].calls_made, shared[number].calls_run);
        }
    }
    atomic_store(&shared[number].users, 0);
}

static bool enter(unsigned number)
{
    unsigned users = atomic_load(&shared[number].users);
    while (!(users & CLOSED))
        if (atomic_compare_exchange_weak(&shared[number].users, &users, users + 1)) return true;
    return false;
}

static void *live(void *seed)
{
    unsigned long long random = test_seed((uintptr_t)seed);
    for (unsigned turns = (unsigned)test_random(&random) % 64; turns && !atomic_load(&enough); turns--) {
        unsigned number = (unsigned)test_random(&random) % ARENAS;
        if (enter(number)) {
            use(shared[number].arena, &random, ROUND_BLOCKS);
            use_scopes(number, &random);
            if (memarena_defer(shared[number].arena, count_run, &shared[number].calls_run)) shared[number].calls_made++;
            atomic_fetch_sub(&shared[number].users, 1);
        }
        if (test_random(&random) % 4 == 0) reset(number);
        rounds++;
    }
    return NULL;
}

static void live_as_child(void)
{
    for (unsigned number = 0; number < ARENAS; number++) {
        unsigned long long random = test_seed(number);
        use(shared[number].arena, &random, 100);
        CHECK(memarena_allocated_bytes(shared[number].arena) <= memarena_capacity(shared[number].arena));
    }
}

static void fork_one(void)
{
    fflush(stdout);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        live_as_child();
        _exit(0);
    }
    int status = 0;
    CHECK(waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    forks++;
}

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

/* Of this process: pages in memory, and mappings. */
static void measure(long *resident, long *mappings)
{
    FILE *statm = fopen("/proc/self/statm", "r"), *maps = fopen("/proc/self/maps", "r");
    *resident = *mappings = 0;
    if (statm && fscanf(statm, "%*d %ld", resident) != 1) *resident = 0;
    for (int c; maps && (c = fgetc(maps)) != EOF;) *mappings += c == '\n';
    if (statm) fclose(statm);
    if (maps) fclose(maps);
}

/* Whether each of the things that it is about has come about, and often enough since it was warm. */
static bool has_got_somewhere(void)
{
    unsigned long resets = 0;
    for (unsigned i = 0; i < ARENAS; i++) resets += shared[i].resets;
    return rounds >= 2 * WARM_ROUNDS && resets > 0 && forks > 0;
}

int main(int argc, char **argv)
{
    double seconds = argc > 1 ? strtod(argv[1], NULL) : 30, began = now(), told = began;
    long resident_then = 0, mappings_then = 0, resident, mappings;
    bool is_warm = false;
    if (argc > 2 || seconds <= 0) return fprintf(stderr, "usage: soak [SECONDS]\n"), 2;
    for (unsigned i = 0; i < ARENAS; i++) {
        memarena_options options = {.capacity = (i % 2 ? 3 : 16) * MIB, .flags = i < 2 ? 0 : MEMARENA_PER_CPU};
        shared[i].arena = memarena_create_with(&options);
        CHECK(shared[i].arena != NULL);
        test_check_whole(shared[i].arena, 4096); /* touches all there is */
        memset(memarena_alloc_aligned(shared[i].arena, options.capacity, 8), 1, options.capacity);
        CHECK(memarena_reset(shared[i].arena));
    }
    pthread_t threads[THREADS];
    for (unsigned i = 0; i < THREADS; i++) threads[i] = test_start(live, (void *)(uintptr_t)threads_born++);
    for (unsigned oldest = 0; now() - began < seconds || !has_got_somewhere(); oldest = (oldest + 1) % THREADS) {
        test_join(threads[oldest]);
        threads[oldest] = test_start(live, (void *)(uintptr_t)threads_born++);
        if (threads_born % 8 == 7) fork_one();
        if (!is_warm && now() - began > seconds / 3 && rounds >= WARM_ROUNDS) {
            is_warm = true;
            measure(&resident_then, &mappings_then);
        }
        if (now() - told < 60) continue;
        told = now();
        printf("  %.0f s: %lu rounds, %lu threads, %lu forks\n", told - began, rounds, threads_born, forks);
        fflush(stdout);
    }
    if (!is_warm) measure(&resident_then, &mappings_then); /* (asked for less than a moment) */
    enough = true;
    for (unsigned i = 0; i < THREADS; i++) test_join(threads[i]);
    measure(&resident, &mappings);
    if (resident > resident_then + 1024 || mappings > mappings_then + 16)
        fprintf(stderr, "%ld pages, %ld mappings; before: %ld, %ld\n", resident, mappings, resident_then,
                mappings_then);
    CHECK(resident <= resident_then + 1024 && mappings <= mappings_then + 16); /* 4 MiB; the stacks that libc caches */
    unsigned long resets = 0;
    for (unsigned i = 0; i < ARENAS; i++) {
        memarena_destroy(atomic_exchange(&handed_on[i], NULL));
        CHECK(memarena_reset(shared[i].arena));
        CHECK_EQ(shared[i].calls_made, shared[i].calls_run);
        resets += shared[i].resets;
        test_check_whole(shared[i].arena, 4096);
        memarena_destroy(shared[i].arena);
    }
    CHECK(rounds > 0 && resets > 0 && forks > 0);
    printf("soak: %.0f s, %lu rounds, %lu resets, %lu threads, %lu forks, %lu checks\n", now() - began, rounds, resets,
           threads_born, forks, test_checks);
    return test_done();
}
