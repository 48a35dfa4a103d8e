/* Generations that end in a reset whose instructions are counted: callgrind finds that one by its caller's name.
 *
 * usage: reset CAPACITY-MIB THREADS SCOPES KIB BLOCK   each thread opens and ends so many scopes, all at once, allocates so
 *                                                      many KiB in blocks of BLOCK bytes (0 KiB: one block), and is
 *                                                      still there when the arena is reset */
#include "../threads.h"

#define WARM_UPS 3
#define SCOPES_MAX 10000

static struct {
    memarena *arena;
    size_t scopes, bytes, block;
    pthread_barrier_t filled, reset;
} shared;

/* `used` and a declaration: the function stays one, under its name. */
__attribute__((noinline, used)) bool counted_reset(memarena *arena);
bool counted_reset(memarena *arena)
{
    return memarena_reset(arena);
}

static void fill(void)
{
    static __thread memarena *scopes[SCOPES_MAX];
    for (size_t i = 0; i < shared.scopes; i++) CHECK((scopes[i] = memarena_scope(shared.arena)) != NULL);
    for (size_t i = 0; i < shared.scopes; i++) memarena_destroy(scopes[i]);
    size_t done = 0;
    do CHECK(memarena_alloc_aligned(shared.arena, shared.block, 8) != NULL);
    while ((done += shared.block) < shared.bytes);
}

static void *fill_each_generation(void *unused)
{
    for (int i = 0; i <= WARM_UPS; i++) {
        fill();
        test_meet(&shared.filled);
        test_meet(&shared.reset);
    }
    return unused;
}

/* The main thread is one of them. */
static void run(size_t threads)
{
    pthread_t *others = calloc(threads, sizeof *others);
    CHECK(others != NULL);
    CHECK_EQ(pthread_barrier_init(&shared.filled, NULL, (unsigned)threads), 0);
    CHECK_EQ(pthread_barrier_init(&shared.reset, NULL, (unsigned)threads), 0);
    for (size_t i = 1; i < threads; i++) others[i] = test_start(fill_each_generation, NULL);
    for (int i = 0; i <= WARM_UPS; i++) {
        fill();
        test_meet(&shared.filled);
        CHECK(memarena_allocated_bytes(shared.arena) >= threads * shared.bytes);
        CHECK(i < WARM_UPS ? memarena_reset(shared.arena) : counted_reset(shared.arena));
        test_meet(&shared.reset);
    }
    for (size_t i = 1; i < threads; i++) test_join(others[i]);
    free(others);
}

int main(int argc, char **argv)
{
    if (argc != 6) return fputs("usage: reset CAPACITY-MIB THREADS SCOPES KIB BLOCK\n", stderr), 2;
    size_t threads = (size_t)strtoull(argv[2], NULL, 10);
    shared.scopes = (size_t)strtoull(argv[3], NULL, 10);
    shared.bytes = (size_t)strtoull(argv[4], NULL, 10) << 10;
    shared.block = (size_t)strtoull(argv[5], NULL, 10);
    shared.arena = memarena_create((size_t)strtoull(argv[1], NULL, 10) << 20);
    CHECK(shared.arena != NULL && threads > 0 && shared.scopes <= SCOPES_MAX);
    CHECK(!test_watched(shared.arena)); /* or every block would be marked */
    run(threads);
    printf("lanes %u\n", test_stats(shared.arena).lanes);
    memarena_destroy(shared.arena);
    return 0;
}
