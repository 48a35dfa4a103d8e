/* A server runs for a year: ten million requests of mixed shape from eight threads through one arena of 64 MiB. Each takes a
 * scope and 1 to 40 blocks of 1 byte to 100 KB; the mix drifts from small to large and back. What the arena has given to
 * scopes stops growing after the first time through. Prints the curve. */
#include "threads.h"

#define THREADS 8u
#define CAPACITY ((size_t)64 << 20)

typedef enum mix { MIXED, SMALL, LARGE } mix;

static const mix cycle[] = {MIXED, SMALL, MIXED, LARGE};
#define STEPS (sizeof cycle / sizeof cycle[0])
#define CYCLES 5u

static struct {
    memarena *arena;
    mix mix;
    long requests; /* of each thread in one step */
} load;

static size_t choose_size(unsigned long long *random, unsigned block)
{
    if (load.mix == SMALL) return test_between(random, 1, 300);
    if (load.mix == LARGE && block == 0) return test_between(random, 50000, 100000);
    return test_between(random, 1, test_random(random) % 16 ? 500 : 100000);
}

static void *serve(void *argument)
{
    unsigned long long random = test_seed((unsigned long long)(uintptr_t)argument);
    for (long request = 0; request < load.requests; request++) {
        memarena *scope = memarena_scope(load.arena);
        CHECK(scope != NULL);
        unsigned blocks = 1 + (unsigned)(test_random(&random) % 40);
        for (unsigned i = 0; i < blocks; i++) {
            size_t size = choose_size(&random, i);
            char *block = memarena_alloc(scope, size);
            CHECK(block != NULL);
            block[0] = block[size - 1] = (char)i;
        }
        memarena_destroy(scope);
    }
    return NULL;
}

static size_t run_step(unsigned step)
{
    pthread_t threads[THREADS];
    memarena_stats stats;
    load.mix = cycle[step % STEPS];
    for (unsigned i = 0; i < THREADS; i++) threads[i] = test_start(serve, (void *)(uintptr_t)(1 + i + step * THREADS));
    for (unsigned i = 0; i < THREADS; i++) test_join(threads[i]);
    memarena_get_stats(load.arena, &stats, sizeof stats);
    CHECK_EQ(stats.allocated_bytes, 0);
    CHECK_EQ(stats.open_scopes, 0);
    return stats.free_extent_bytes;
}

static void memory_stops_growing(void)
{
    static const char *const names[] = {"mixed", "small", "large"};
    size_t warm = 0, most = 0;
    load.arena = memarena_create(CAPACITY);
    CHECK(load.arena != NULL);
    load.requests = test_scaled(10000000 / (long)(THREADS * STEPS * CYCLES));
    for (unsigned step = 0; step < STEPS * CYCLES; step++) {
        size_t bytes = run_step(step);
        printf("    %8ld requests, %s: %5zu KiB\n", (long)(step + 1) * (long)THREADS * load.requests,
               names[cycle[step % STEPS]], bytes >> 10);
        if (step < STEPS) warm = bytes;
        if (bytes > most) most = bytes;
    }
    /* How many requests are under way at once, and how large they are, is chance: a peak may still come, but growth
     * with the number of requests would be manifold. */
    CHECK(most < CAPACITY / 4 && most < 3 * warm);
    memarena_destroy(load.arena);
}

int main(void)
{
    RUN(memory_stops_growing);
    return test_done();
}
