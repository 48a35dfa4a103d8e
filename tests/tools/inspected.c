/* Arenas and scopes in known states, for a debugger to look at: it stops where `look_here` is called, and is compared with
 * what is printed here. Each line: NAME ADDRESS, then numbers as the library's own calls give them. */
#include <memarena.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#define MUST(condition) ((condition) ? (void)0 : (fprintf(stderr, "inspected: %s\n", #condition), exit(1)))

static char buffer[16 << 10];

static pthread_barrier_t both;

static void allocate(memarena *arena)
{
    for (int i = 0; i < 3000; i++) MUST(memarena_new_value(arena, int64_t, i));
}

static void *allocate_in_thread(void *arena)
{
    allocate(arena);
    (void)pthread_barrier_wait(&both); /* or the second might go on with the first one's lane */
    return NULL;
}

static void allocate_in_threads(memarena *arena)
{
    pthread_t threads[2];
    MUST(pthread_barrier_init(&both, NULL, 2) == 0);
    for (int i = 0; i < 2; i++) MUST(pthread_create(&threads[i], NULL, allocate_in_thread, arena) == 0);
    for (int i = 0; i < 2; i++) MUST(pthread_join(threads[i], NULL) == 0);
}

static void say(const char *name, const memarena *handle)
{
    memarena_stats stats;
    memarena_get_stats(handle, &stats, sizeof stats);
    printf("%s %p allocated=%zu capacity=%zu generation=%llu lanes=%u scopes=%llu held=%zu free=%zu\n", name,
           (const void *)handle, stats.allocated_bytes, stats.capacity_bytes, (unsigned long long)stats.generation,
           stats.lanes + stats.cpu_lanes, (unsigned long long)stats.open_scopes, stats.held_bytes,
           stats.free_extent_bytes);
}

void look_here(memarena *shared, memarena *scope, memarena *below, memarena *small, memarena *per_cpu, memarena *ended);
__attribute__((noinline)) void look_here(memarena *shared, memarena *scope, memarena *below, memarena *small,
                                         memarena *per_cpu, memarena *ended)
{
    __asm__ volatile("" ::"r"(shared), "r"(scope), "r"(below), "r"(small), "r"(per_cpu), "r"(ended) : "memory");
}

int main(void)
{
    memarena *shared = memarena_create_with(&(memarena_options){.capacity = 16 << 20, .name = "shared [1]"});
    memarena *small = memarena_create_with(&(memarena_options){.capacity = sizeof buffer, .buffer = buffer});
    memarena *per_cpu =
        memarena_create_with(&(memarena_options){.capacity = 16 << 20, .flags = MEMARENA_PER_CPU, .name = "per CPU"});
    MUST(shared && small && per_cpu);
    for (int generation = 1; generation < 3; generation++) {
        allocate_in_threads(shared);
        allocate(per_cpu);
        MUST(memarena_reset(shared) && memarena_reset(per_cpu));
    }
    MUST(memarena_alloc(shared, 100) && memarena_alloc(shared, 100000) && memarena_alloc_aligned(shared, 8, 4096));
    allocate_in_threads(shared);
    allocate(per_cpu);
    MUST(memarena_alloc(small, 1000) && memarena_alloc(small, 4711));

    memarena *scope = memarena_scope(shared), *below = memarena_scope(scope), *ended = memarena_scope(shared);
    memarena *gone = memarena_scope(shared);
    MUST(scope && below && ended && gone);
    MUST(memarena_alloc(scope, 3000) && memarena_alloc(scope, 70000) && memarena_alloc(below, 5000));
    MUST(memarena_reset(below) && memarena_alloc(below, 6000));
    MUST(memarena_alloc(gone, 200000));
    memarena_destroy(gone);
    memarena_destroy(ended);

    printf("\n"); /* gdb may have told half a line of a thread's end */
    say("shared", shared);
    say("scope", scope);
    say("below", below);
    say("small", small);
    say("per_cpu", per_cpu);
    fflush(stdout);
    look_here(shared, scope, below, small, per_cpu, ended);
    return 0;
}
