/* What threads hand to each other through an arena, in order, for tools that look for races: one act each, in which nothing is
 * to be reported, or (group "race") something is. Threads learn from each other only what the arena tells them, or by a
 * relaxed flag, which orders nothing.
 *
 * usage: handed --list GROUP | handed ACT */
#include "../threads.h"

#include <sched.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* As CHECK, without a count that all threads write. */
#define NEED(condition) ((condition) ? (void)0 : test_failed(#condition, __FILE__, __LINE__))

static memarena *arena;
static int flag;

/* (Exchanged, since Valgrind's tools know an atomic access by its lock.) */
static int swap_flag(int value)
{
    return __atomic_exchange_n(&flag, value, __ATOMIC_RELAXED);
}

static void await_flag(int value)
{
    int expected = value;
    while (!__atomic_compare_exchange_n(&flag, &expected, value, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
        expected = value;
        usleep(100);
    }
}

static void create(const memarena_options *options)
{
    arena = memarena_create_with(options);
    if (!arena && options->flags & MEMARENA_TRAP_STALE) SKIP("this system cannot move pages");
    NEED(arena != NULL);
}

static char *write_block(memarena *handle, size_t size)
{
    char *block = memarena_alloc(handle, size);
    NEED(block != NULL);
    return memset(block, 1, size);
}

static void *(*task_of_one)(void *);
static int task; /* its number for the system, as soon as it runs */

static void *run_task(void *argument)
{
    (void)__atomic_exchange_n(&task, (int)syscall(SYS_gettid), __ATOMIC_RELAXED);
    return task_of_one(argument);
}

/* One after the other, with nothing of theirs in common: a thread that is detached is waited for until the system has none of its
 * number, which orders nothing. */
static void one_by_one(int threads, void *(*run)(void *))
{
    if (access("/proc/self/task", F_OK) != 0) SKIP("no /proc");
    task_of_one = run;
    for (int i = 0; i < threads; i++) {
        char path[64];
        int number;
        NEED(pthread_detach(test_start(run_task, NULL)) == 0);
        while ((number = __atomic_exchange_n(&task, 0, __ATOMIC_RELAXED)) == 0) usleep(100);
        (void)snprintf(path, sizeof path, "/proc/self/task/%d", number);
        while (access(path, F_OK) == 0) usleep(100);
    }
}

/* ---- Scopes ------------------------------------------------------------------------------------------------------ */

static void use_scope(memarena *parent, size_t blocks, size_t size)
{
    memarena *scope = memarena_scope(parent);
    NEED(scope != NULL);
    for (size_t i = 0; i < blocks; i++) (void)write_block(scope, size);
    memarena_destroy(scope);
}

static void *use_a_scope(void *unused)
{
    use_scope(arena, 4, 100);
    return unused;
}

static void *use_scopes(void *unused)
{
    for (long i = 0; i < test_scaled(400); i++) {
        use_scope(arena, 40, (size_t)(100 + i % 50 * 50));
        memarena *outer = memarena_scope(arena);
        use_scope(outer, 10, 20000);
        memarena_position mark = memarena_mark(outer);
        (void)write_block(outer, 5000);
        NEED(memarena_rewind(outer, mark));
        (void)write_block(outer, 5000);
        NEED(memarena_reset(outer));
        (void)write_block(outer, 5000);
        memarena_destroy(outer);
    }
    return unused;
}

static void at_once(int threads, void *(*run)(void *))
{
    pthread_t others[128];
    for (int i = 0; i < threads; i++) others[i] = test_start(run, NULL);
    for (int i = 0; i < threads; i++) test_join(others[i]);
}

static void memory_of_scopes_passes_between_threads(void)
{
    create(&(memarena_options){.capacity = (size_t)16 << 20});
    at_once(4, use_scopes);
}

static void a_scope_waits_for_the_next_owner_of_its_lane(void)
{
    create(&(memarena_options){.capacity = (size_t)16 << 20});
    one_by_one(3, use_a_scope);
}

static memarena *handed;
static pthread_mutex_t hands = PTHREAD_MUTEX_INITIALIZER;

static void *exchange_scopes(void *unused)
{
    for (long i = 0; i < test_scaled(800); i++) {
        memarena *scope = memarena_scope(arena);
        (void)write_block(scope, 3000);
        NEED(pthread_mutex_lock(&hands) == 0);
        memarena *other = handed;
        handed = scope;
        NEED(pthread_mutex_unlock(&hands) == 0);
        if (!other) continue;
        (void)write_block(other, 3000);
        use_scope(other, 3, 1000);
        memarena_destroy(other);
    }
    return unused;
}

static void scopes_are_handed_on_and_ended_elsewhere(void)
{
    create(&(memarena_options){.capacity = (size_t)16 << 20});
    at_once(4, exchange_scopes);
}

static void *children_of_a_scope(void *parent)
{
    for (long i = 0; i < test_scaled(800); i++) use_scope(parent, 3, 1000);
    return NULL;
}

static void scopes_of_one_parent_have_many_owners(void)
{
    create(&(memarena_options){.capacity = (size_t)16 << 20});
    handed = memarena_scope(arena);
    pthread_t others[4];
    for (int i = 0; i < 4; i++) others[i] = test_start(children_of_a_scope, handed);
    for (int i = 0; i < 4; i++) test_join(others[i]);
    (void)write_block(handed, 3000);
    memarena_destroy(handed);
}

/* ---- Resets ------------------------------------------------------------------------------------------------------ */

static void *end_a_scope(void *unused)
{
    memarena *scope = memarena_scope(arena);
    for (int i = 0; i < 20; i++) (void)write_block(scope, 3000);
    (void)swap_flag(1);
    memarena_destroy(scope);
    await_flag(2);
    return unused;
}

static void a_reset_that_comes_through_saw_the_scopes_end(void)
{
    create(&(memarena_options){.capacity = (size_t)1 << 20});
    pthread_t other = test_start(end_a_scope, NULL);
    await_flag(1);
    while (!memarena_reset(arena)) usleep(100);
    uint64_t *block;
    while ((block = memarena_alloc_aligned(arena, 8, 8)) != NULL) *block = 2;
    (void)swap_flag(2);
    test_join(other);
}

static void *fill_the_arena(void *unused)
{
    uint64_t *block;
    for (int i = 0; (block = memarena_alloc_aligned(arena, 8, 8)) != NULL; i++) {
        *block = 1;
        if (i % 64 == 0) (void)sched_yield();
    }
    return unused;
}

static void *fill_it_anew(void *unused)
{
    await_flag(1);
    return fill_the_arena(unused);
}

/* All on one CPU, so that they share what belongs to it. */
static void fill_before_and_after_a_reset(unsigned flags)
{
    cpu_set_t cpus;
    NEED(sched_getaffinity(0, sizeof cpus, &cpus) == 0);
    int cpu = 0;
    while (!CPU_ISSET(cpu, &cpus)) cpu++;
    CPU_ZERO(&cpus);
    CPU_SET(cpu, &cpus);
    NEED(sched_setaffinity(0, sizeof cpus, &cpus) == 0);
    create(&(memarena_options){.capacity = (size_t)256 << 10, .flags = flags});
    pthread_t others[3];
    for (int i = 0; i < 3; i++) others[i] = test_start(fill_it_anew, NULL);
    test_join(test_start(fill_the_arena, NULL));
    NEED(memarena_reset(arena));
    (void)swap_flag(1);
    for (int i = 0; i < 3; i++) test_join(others[i]);
}

static void a_reset_passes_its_memory_on(void)
{
    fill_before_and_after_a_reset(0);
}

static void a_reset_passes_its_memory_on_per_cpu(void)
{
    fill_before_and_after_a_reset(MEMARENA_PER_CPU);
}

static pthread_barrier_t barrier;

static void *use_generations(void *unused)
{
    for (int generation = 0; generation < 5; generation++) {
        for (int i = 0; i < test_scaled(1600); i++) {
            (void)write_block(arena, (size_t)(8 + i * 37 % 500));
            char *text = memarena_printf(arena, "%d and %s", i, memarena_strdup(arena, "a text"));
            NEED(text != NULL && memarena_memdup(arena, text, strlen(text)) != NULL);
            int *numbers = memarena_new_array(arena, int, 100), *one = memarena_new_value(arena, int, i);
            NEED(numbers != NULL && one != NULL && memarena_calloc(arena, 10, 1000) != NULL);
            numbers[i % 100] = *one;
            if (i % 50 == 0) (void)write_block(arena, 20000);
            if (i % 50 == 1) NEED(memarena_realloc(arena, write_block(arena, 30000), 30000, 10) != NULL);
            if (i % 50 == 2) NEED(memarena_realloc(arena, write_block(arena, 300), 300, 3000) != NULL);
        }
        use_scope(arena, 20, 500);
        (void)memarena_trim(arena, 0);
        (void)test_stats(arena);
        (void)pthread_barrier_wait(&barrier);
        if (generation % 2 == 0) (void)memarena_trim(arena, 0);
        bool mine = swap_flag(1) == 0;
        if (mine)
            while (!memarena_reset(arena)) usleep(100); /* (a trim holds it up) */
        (void)pthread_barrier_wait(&barrier);
        (void)swap_flag(0);
        (void)pthread_barrier_wait(&barrier);
    }
    return unused;
}

static void use_generations_of(const memarena_options *options, int threads)
{
    create(options);
    NEED(pthread_barrier_init(&barrier, NULL, (unsigned)threads) == 0);
    at_once(threads, use_generations);
}

static void blocks_pass_through_resets(void)
{
    use_generations_of(&(memarena_options){.capacity = (size_t)64 << 20}, 4);
}

static void blocks_pass_through_resets_per_cpu(void)
{
    use_generations_of(&(memarena_options){.capacity = (size_t)64 << 20, .flags = MEMARENA_PER_CPU}, 4);
}

static void blocks_pass_through_resets_that_trap(void)
{
    use_generations_of(&(memarena_options){.capacity = (size_t)64 << 20, .flags = MEMARENA_TRAP_STALE}, 4);
}

static void blocks_pass_through_resets_in_a_buffer(void)
{
    static char buffer[8 << 20];
    use_generations_of(&(memarena_options){.capacity = sizeof buffer, .buffer = buffer}, 2);
}

static pthread_barrier_t all_lanes;

static void *hold_a_lane(void *unused)
{
    (void)write_block(arena, 8);
    (void)pthread_barrier_wait(&all_lanes);
    NEED(pthread_mutex_lock(&hands) == 0);
    NEED(pthread_mutex_unlock(&hands) == 0);
    return unused;
}

static void blocks_pass_through_resets_without_lanes(void)
{
    pthread_t holders[64];
    const memarena_options options = {.capacity = (size_t)64 << 20};
    create(&options);
    NEED(pthread_barrier_init(&all_lanes, NULL, 65) == 0);
    NEED(pthread_mutex_lock(&hands) == 0);
    for (int i = 0; i < 64; i++) holders[i] = test_start(hold_a_lane, NULL);
    (void)pthread_barrier_wait(&all_lanes);
    memarena_destroy(arena);
    use_generations_of(&options, 4);
    NEED(pthread_mutex_unlock(&hands) == 0);
    for (int i = 0; i < 64; i++) test_join(holders[i]);
}

static void *fill_and_go(void *unused)
{
    for (int i = 0; i < 100; i++) (void)write_block(arena, 100);
    char *block = write_block(arena, 400);
    NEED(memarena_realloc(arena, block, 400, 8) == block);
    return unused;
}

static void a_lane_passes_to_the_next_thread(void)
{
    create(&(memarena_options){.capacity = (size_t)16 << 20});
    one_by_one(3, fill_and_go);
}

static void *give_back_a_rest(void *unused)
{
    char *block = write_block(arena, 200000);
    NEED(memarena_realloc(arena, block, 200000, 8) == block);
    (void)swap_flag(1);
    await_flag(2);
    return unused;
}

static void what_a_block_gave_back_passes_on(void)
{
    create(&(memarena_options){.capacity = (size_t)1 << 20});
    pthread_t other = test_start(give_back_a_rest, NULL);
    await_flag(1);
    void *block;
    while ((block = memarena_alloc(arena, 50000)) != NULL) memset(block, 2, 50000);
    (void)swap_flag(2);
    test_join(other);
}

/* Blocks over many shards, each of which gets its part back. */
static void *drop_runs(void *unused)
{
    for (size_t i = 0; i < 3000; i++) {
        size_t size = 70000 + i * 61 % 20000;
        char *block = memarena_alloc(arena, size);
        if (!block) continue;
        memset(block, 1, size);
        (void)memarena_drop_last(arena, block, size);
    }
    return unused;
}

static void what_was_dropped_passes_on(void)
{
    create(&(memarena_options){.capacity = (size_t)1 << 20});
    at_once(4, drop_runs);
}

/* ---- Deferred calls ---------------------------------------------------------------------------------------------- */

static int called;

static void call(void *number)
{
    called += *(int *)number;
}

static void *defer_to_a_reset(void *unused)
{
    for (int i = 0; i < 10; i++) {
        int *number = memarena_new(arena, int);
        NEED(number != NULL);
        *number = 1;
        NEED(memarena_defer(arena, call, number));
    }
    (void)swap_flag(1);
    await_flag(2);
    return unused;
}

static void deferred_calls_run_in_another_threads_reset(void)
{
    create(&(memarena_options){.capacity = (size_t)1 << 20});
    pthread_t other = test_start(defer_to_a_reset, NULL);
    await_flag(1);
    while (!memarena_reset(arena)) usleep(100);
    NEED(called == 10);
    (void)swap_flag(2);
    test_join(other);
}

/* ---- Races -------------------------------------------------------------------------------------------------------- */

static char *shared;

static void *write_it(void *unused)
{
    await_flag(1);
    shared[0] = 2;
    (void)swap_flag(2);
    return unused;
}

static void two_threads_write_one_block(void)
{
    create(&(memarena_options){.capacity = (size_t)1 << 20});
    shared = memarena_alloc(arena, 8);
    pthread_t other = test_start(write_it, NULL);
    shared[0] = 1;
    (void)swap_flag(1);
    await_flag(2);
    test_join(other);
}

static void a_block_of_a_scope_is_used_after_its_end(void)
{
    create(&(memarena_options){.capacity = (size_t)1 << 20});
    memarena *scope = memarena_scope(arena);
    shared = write_block(scope, 8);
    pthread_t other = test_start(write_it, NULL);
    memarena_destroy(scope);
    NEED(write_block(memarena_scope(arena), 8) == shared);
    (void)swap_flag(1);
    await_flag(2);
    test_join(other);
}

static void *allocate_and_write_it(void *unused)
{
    await_flag(1);
    (void)write_block(arena, 8);
    use_scope(arena, 10, 1000);
    shared[0] = 2;
    (void)swap_flag(2);
    return unused;
}

static void a_call_of_the_arena_orders_nothing_else(void)
{
    create(&(memarena_options){.capacity = (size_t)1 << 20});
    shared = memarena_alloc(arena, 8);
    pthread_t other = test_start(allocate_and_write_it, NULL);
    (void)write_block(arena, 100);
    use_scope(arena, 1, 100);
    shared[0] = 1;
    (void)write_block(arena, 100);
    (void)swap_flag(1);
    await_flag(2);
    test_join(other);
}

#define ACT(group, name) \
    { \
        group, #name, name \
    }
static const struct {
    const char *group, *name;
    void (*run)(void);
} acts[] = {
    ACT("clean", memory_of_scopes_passes_between_threads),
    ACT("clean", a_scope_waits_for_the_next_owner_of_its_lane),
    ACT("clean", scopes_are_handed_on_and_ended_elsewhere),
    ACT("clean", scopes_of_one_parent_have_many_owners),
    ACT("clean", a_reset_that_comes_through_saw_the_scopes_end),
    ACT("clean", a_reset_passes_its_memory_on),
    ACT("clean", a_reset_passes_its_memory_on_per_cpu),
    ACT("clean", blocks_pass_through_resets),
    ACT("clean", blocks_pass_through_resets_per_cpu),
    ACT("clean", blocks_pass_through_resets_that_trap),
    ACT("clean", blocks_pass_through_resets_in_a_buffer),
    ACT("clean", blocks_pass_through_resets_without_lanes),
    ACT("clean", a_lane_passes_to_the_next_thread),
    ACT("clean", what_a_block_gave_back_passes_on),
    ACT("clean", what_was_dropped_passes_on),
    ACT("clean", deferred_calls_run_in_another_threads_reset),
    ACT("race", two_threads_write_one_block),
    ACT("race", a_block_of_a_scope_is_used_after_its_end),
    ACT("race", a_call_of_the_arena_orders_nothing_else),
};

int main(int argc, char **argv)
{
    for (size_t i = 0; i < sizeof acts / sizeof *acts; i++) {
        if (argc == 3 && strcmp(argv[1], "--list") == 0 && strcmp(argv[2], acts[i].group) == 0) puts(acts[i].name);
        if (argc != 2 || strcmp(argv[1], acts[i].name) != 0) continue;
        acts[i].run();
        memarena_destroy(arena);
        return 0;
    }
    return argc == 3 ? 0 : (fputs("usage: handed --list GROUP | handed ACT\n", stderr), 2);
}
