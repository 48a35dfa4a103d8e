/* Calls of the library between two getppid(), which strace shows.
 *
 * usage: syscalls CASE      runs one
 *        syscalls --list    names the cases, each with the fewest and the most system calls that it may make */
#include "../../src/base/head.h"

#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

static char large_buffer[(size_t)16 << 20], small_buffer[32 << 10];

static void must(bool condition, const char *what)
{
    if (condition) return;
    fprintf(stderr, "syscalls: %s\n", what);
    exit(1);
}

static void mark(void)
{
    (void)getppid();
}

static void create(size_t capacity, unsigned flags)
{
    memarena_options options = {.capacity = capacity, .flags = flags, .name = "counted"};
    mark();
    memarena *arena = memarena_create_with(&options);
    mark();
    must(arena != NULL, "create");
}

static void create_the_machine(void)
{
    create(0, 0);
}

static void create_a_gibibyte(void)
{
    create((size_t)1 << 30, 0);
}

static void create_prefaulted(void)
{
    create((size_t)4 << 20, MEMARENA_PREFAULT);
}

static void create_with_huge_pages(void)
{
    create((size_t)8 << 20, MEMARENA_HUGE_PAGES);
}

/* A million blocks, whether there is room for them or not. */
static void allocate_a_million(memarena *arena)
{
    for (int i = 0; i < 1000000; i++) {
        int64_t *block = memarena_new_value(arena, int64_t, i);
        must(i > 0 || block != NULL, "the first block");
    }
}

static void live_in(char *buffer, size_t bytes)
{
    memarena_options options = {.buffer = buffer, .capacity = bytes, .name = "in a buffer"};
    mark();
    memarena *arena = memarena_create_with(&options);
    must(arena != NULL, "create in a buffer");
    for (int round = 0; round < 2; round++) {
        allocate_a_million(arena);
        while (memarena_alloc(arena, 5000)) continue; /* until nothing is left */
        memarena_reset(arena);
        must(memarena_printf(arena, "%d", round) != NULL, "a text");
        must(memarena_alloc(arena, 9000) != NULL, "a large block");
    }
    memarena_destroy(arena);
    mark();
}

static void live_in_a_large_buffer(void)
{
    live_in(large_buffer, sizeof large_buffer);
}

static void live_in_a_small_buffer(void)
{
    live_in(small_buffer, sizeof small_buffer);
}

static void count_call(void *counter)
{
    ++*(int *)counter;
}

static void count_block(void *counter, memarena *arena, void *block, size_t size, size_t weight)
{
    (void)arena, (void)block, (void)size, (void)weight;
    ++*(int *)counter;
}

static void use_a_scope(memarena *parent, int *calls)
{
    memarena *scope = memarena_scope(parent);
    must(scope != NULL, "memarena_scope");
    memarena_position place = memarena_mark(scope);
    char *block = memarena_alloc(scope, 3000);
    must(block && memarena_realloc(scope, block, 3000, 4000), "memarena_realloc in a scope");
    must(memarena_defer(scope, count_call, calls), "memarena_defer in a scope");
    must(memarena_rewind(scope, place), "memarena_rewind");
    must(memarena_trim(scope, 0) == 0 && memarena_resident_bytes(scope) == 0, "memarena_trim of a scope");
    must(memarena_calloc(scope, 10, 100) && memarena_reset(scope), "memarena_reset of a scope");
    must(memarena_strdup(scope, "text") != NULL, "memarena_strdup in a scope");
    memarena_destroy(scope);
}

static void use_every_call(memarena *arena, int *calls)
{
    use_a_scope(arena, calls);
    char *block = memarena_calloc(arena, 100, 8), *text = memarena_memdup(arena, "text", 5);
    must(block && text, "memarena_calloc and memarena_memdup");
    block = memarena_realloc(arena, block, 800, 2000);
    must(block && memarena_realloc(arena, text, 5, 500), "memarena_realloc");
    must(memarena_strndup(arena, "text", 2) && memarena_alloc_aligned(arena, 100, 256), "blocks");
    must(memarena_defer(arena, count_call, calls), "memarena_defer");
    must(memarena_deref(arena, memarena_ref(arena, block)) == block, "memarena_ref");
    must(memarena_trim(arena, 0) == 0 && memarena_trim(arena, MEMARENA_RETAIN_AUTO) == 0, "memarena_trim");
    must(memarena_resident_bytes(arena) == 0 && memarena_owns(arena, block), "memarena_resident_bytes");
    memarena_stats stats;
    memarena_get_stats(arena, &stats, sizeof stats);
    must(stats.allocated_bytes == memarena_allocated_bytes(arena), "memarena_get_stats");
    memarena_cell cells[16];
    must(memarena_snapshot(arena, cells, 16) > 0, "memarena_snapshot");
    memarena_position nowhere = memarena_mark(arena);
    must(!memarena_rewind(arena, nowhere), "memarena_rewind of an arena");
    must(memarena_reset(arena), "memarena_reset");
}

static void call_everything_in(char *buffer, size_t bytes)
{
    memarena_options options = {.buffer = buffer, .capacity = bytes, .name = "in a buffer"};
    int calls = 0, blocks = 0;
    mark();
    memarena *arena = memarena_create_with(&options);
    must(arena != NULL, "create in a buffer");
    for (int round = 0; round < 100; round++) use_every_call(arena, &calls);
    must(calls == 200, "each deferred call ran");
    must(memarena_sample(arena, 1, count_block, &blocks), "memarena_sample");
    use_every_call(arena, &calls);
    must(blocks > 5, "blocks are reported");
    memarena_destroy(arena);
    mark();
}

static void call_everything_in_a_large_buffer(void)
{
    call_everything_in(large_buffer, sizeof large_buffer);
}

static void call_everything_in_a_small_buffer(void)
{
    call_everything_in(small_buffer, sizeof small_buffer);
}

/* ---- In a buffer, whatever the thread ---------------------------------------------------------------------------- */

static sem_t has_leased, never;

static long last_thread;

static void *lease_and_stay(void *arena)
{
    must(memarena_alloc(arena, 8) != NULL, "a block in a thread");
    last_thread = syscall(SYS_gettid);
    sem_post(&has_leased);
    sem_wait(&never);
    return NULL;
}

/* Until the last thread sleeps: its last call must not be counted. */
static void wait_for_its_sleep(void)
{
    char path[64], state = 0;
    snprintf(path, sizeof path, "/proc/self/task/%ld/stat", last_thread);
    while (state != 'S') {
        FILE *file = fopen(path, "r");
        must(file && fscanf(file, "%*d (%*[^)]) %c", &state) == 1, path);
        fclose(file);
    }
}

/* Every number is leased by a thread that lives on. */
static void take_all_lanes(void)
{
    static char others[(size_t)1 << 20];
    memarena *arena = memarena_create_with(&(memarena_options){.buffer = others, .capacity = sizeof others});
    must(arena && sem_init(&has_leased, 0, 0) == 0 && sem_init(&never, 0, 0) == 0, "a buffer for threads");
    for (int i = 0; i < 64; i++) {
        pthread_t thread;
        must(pthread_create(&thread, NULL, lease_and_stay, arena) == 0, "a thread");
        while (sem_wait(&has_leased) != 0) continue;
        wait_for_its_sleep();
    }
}

static void live_in_a_buffer_beside_64_threads(void)
{
    take_all_lanes();
    live_in(large_buffer, sizeof large_buffer);
}

static void call_everything_in_a_buffer_beside_64_threads(void)
{
    take_all_lanes();
    call_everything_in(large_buffer, sizeof large_buffer);
}

static void *live_in_a_thread(void *is_done)
{
    live_in(large_buffer, sizeof large_buffer);
    __atomic_store_n((bool *)is_done, true, __ATOMIC_RELEASE);
    return NULL;
}

/* The thread's first use of malloc would be that of the C library, for a value of a late key. */
static void live_in_a_buffer_in_a_program_of_many_keys(void)
{
    pthread_t thread;
    pthread_key_t key;
    bool is_done = false;
    for (int i = 0; i < 40; i++) must(pthread_key_create(&key, NULL) == 0, "a key");
    must(pthread_create(&thread, NULL, live_in_a_thread, &is_done) == 0, "a thread");
    while (!__atomic_load_n(&is_done, __ATOMIC_ACQUIRE)) continue; /* (to join it would be a call) */
}

/* What another thread is in the middle of, that has been stopped there: it is waited for, for a while, and no call made. */
static void wait_in_a_buffer_for_others(void)
{
    memarena_options options = {.buffer = large_buffer, .capacity = sizeof large_buffer};
    int calls = 0;
    mark();
    memarena *arena = memarena_create_with(&options);
    must(memarena_alloc(arena, 100) && memarena_defer(arena, count_call, &calls), "use of a buffer");
    ma_arena *inside = ma_arena_of(arena);
    inside->pool.runs |= MA_RUN_BEGINS; /* a run is being claimed */
    must(!memarena_alloc(arena, memarena_capacity(arena)), "no room");
    inside->pool.runs &= ~MA_RUN_BEGINS;
    const uint64_t busy = MA_DEFERRED_CLOSING << 1;
    inside->pins += MA_PIN_DEFER; /* a call is half pushed */
    must(!memarena_reset(arena) && errno == EBUSY, "a reset is refused");
    inside->pins -= MA_PIN_DEFER;
    inside->deferred |= busy; /* a reset runs calls */
    must(memarena_defer(arena, count_call, &calls), "memarena_defer during a reset");
    inside->deferred &= ~busy;
    must(memarena_reset(arena) && calls == 2, "a reset");
    memarena_destroy(arena);
    mark();
}

/* To ask for the number of CPUs. */
static void use_a_buffer_per_cpu(void)
{
    memarena_options options = {.buffer = large_buffer, .capacity = sizeof large_buffer, .flags = MEMARENA_PER_CPU};
    int calls = 0;
    mark();
    memarena *arena = memarena_create_with(&options);
    must(arena != NULL, "create per CPU in a buffer");
    for (int round = 0; round < 10; round++) use_every_call(arena, &calls);
    memarena_destroy(arena);
    mark();
}

static void allocate_and_reset(void)
{
    memarena *arena = memarena_create((size_t)1 << 30);
    must(arena != NULL, "create");
    mark();
    for (int round = 0; round < 3; round++) {
        allocate_a_million(arena);
        must(memarena_alloc(arena, (size_t)100 << 20) != NULL, "a large block");
        memarena_reset(arena);
    }
    mark();
}

static void destroy(void)
{
    memarena *arena = memarena_create((size_t)1 << 30);
    must(arena != NULL, "create");
    allocate_a_million(arena);
    mark();
    memarena_destroy(arena);
    mark();
}

static void control(void) /* that the counting counts: one call */
{
    mark();
    (void)munmap(small_buffer, 0);
    mark();
}

/* To open, read and close what says where the process's memory cgroup is, and its limit on each level. */
static int cgroup_calls(void)
{
    char line[4096];
    int levels = 0;
    FILE *file = fopen("/proc/self/cgroup", "r");
    while (file && fgets(line, sizeof line, file)) {
        int here = 1; /* the root */
        for (char *at = strrchr(line, ':'); *at; at++) here += at[0] == '/' && at[1] != '\n';
        if (here > levels) levels = here;
    }
    if (file) fclose(file);
    return 3 + 3 * levels;
}

static const struct {
    const char *name;
    void (*run)(void);
    int least, most;
    int looks; /* at the cgroups' limits, if these are there */
} cases[] = {
    /* to ask for the number of CPUs takes three, once in a process; a mapping is made, looked at (is it locked?), opened and
     * named */
    {"control", control, 1, 1, 0},
    {"create_the_machine", create_the_machine, 1, 8, 1},
    {"create_a_gibibyte", create_a_gibibyte, 1, 7, 0},
    {"create_prefaulted", create_prefaulted, 1, 11, 1}, /* at what the machine has left, too */
    {"create_with_huge_pages", create_with_huge_pages, 1, 8, 0},
    {"live_in_a_large_buffer", live_in_a_large_buffer, 0, 0, 0},
    {"live_in_a_small_buffer", live_in_a_small_buffer, 0, 0, 0},
    {"call_everything_in_a_large_buffer", call_everything_in_a_large_buffer, 0, 0, 0},
    {"call_everything_in_a_small_buffer", call_everything_in_a_small_buffer, 0, 0, 0},
    {"live_in_a_buffer_beside_64_threads", live_in_a_buffer_beside_64_threads, 0, 0, 0},
    {"call_everything_in_a_buffer_beside_64_threads", call_everything_in_a_buffer_beside_64_threads, 0, 0, 0},
    {"live_in_a_buffer_in_a_program_of_many_keys", live_in_a_buffer_in_a_program_of_many_keys, 0, 0, 0},
    {"wait_in_a_buffer_for_others", wait_in_a_buffer_for_others, 0, 0, 0},
    {"use_a_buffer_per_cpu", use_a_buffer_per_cpu, 0, 3, 0},
    {"allocate_and_reset", allocate_and_reset, 0, 0, 0},
    {"destroy", destroy, 1, 1, 0},
};

int main(int argc, char **argv)
{
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        if (argc == 2 && strcmp(argv[1], "--list") == 0) {
            printf("%s %d %d\n", cases[i].name, cases[i].least, cases[i].most + cases[i].looks * cgroup_calls());
        } else if (argc == 2 && strcmp(argv[1], cases[i].name) == 0) {
            cases[i].run();
            return 0;
        }
    }
    return argc == 2 && strcmp(argv[1], "--list") == 0 ? 0 : 2;
}
