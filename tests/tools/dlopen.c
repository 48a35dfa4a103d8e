/* The shared library as another language sees it: opened at run time, every exported symbol called by its name; then
 * closed while threads that used it live on.
 *
 * usage: dlopen LIBRARY SYMBOLS-FILE */
#include "../test.h"

#include <memarena.h>

#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdarg.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *library_path, *symbols_path;
static void *library;

/* ---- Finding functions ------------------------------------------------------------------------------------------- */

static const char *found[128];
static size_t found_count;

static void *find(const char *name)
{
    void *address = dlsym(library, name);
    if (!address) {
        fprintf(stderr, "%s\n", dlerror());
        test_failed(name, library_path, 0);
    }
    CHECK(found_count < sizeof found / sizeof *found);
    found[found_count++] = name;
    return address;
}

/* Declares a pointer to the function, under the name of the function less its prefix. ISO C has no cast for this. */
#define FUNCTION(name) \
    __typeof__(memarena_##name) *name; \
    { \
        void *address = find("memarena_" #name); \
        memcpy(&name, &address, sizeof name); \
    }

static bool was_found(const char *name)
{
    for (size_t i = 0; i < found_count; i++)
        if (strcmp(found[i], name) == 0) return true;
    return false;
}

/* ---- The calls --------------------------------------------------------------------------------------------------- */

static memarena *arena;

static void create_finds_its_arena(void)
{
    FUNCTION(create)
    FUNCTION(capacity)
    FUNCTION(generation)
    arena = create((size_t)1 << 24);
    CHECK(arena != NULL);
    CHECK_EQ(capacity(arena), 1 << 24);
    CHECK_EQ(generation(arena), 1);
}

static void create_with_takes_options(void)
{
    FUNCTION(create_with)
    FUNCTION(destroy)
    memarena_options options = {.capacity = 4096, .name = "by name"};
    memarena *small = create_with(&options);
    CHECK(small != NULL);
    destroy(small);
    options.flags = ~0u;
    errno = 0;
    CHECK(create_with(&options) == NULL && errno == EINVAL);
}

static void the_lane_offset_is_one_for_each_thread(void)
{
    uintptr_t *offset = find("memarena_lane_offset_");
    FUNCTION(alloc)
    CHECK_EQ(*offset, 0);
    CHECK(alloc(arena, 8) != NULL);
    CHECK(*offset != 0);
}

static void blocks_are_aligned_and_apart(void)
{
    FUNCTION(alloc)
    FUNCTION(alloc_aligned)
    FUNCTION(alloc_slow_)
    FUNCTION(alloc_aligned_slow_)
    FUNCTION(bump_)
    char *first = alloc(arena, 16), *second = alloc(arena, 16);
    CHECK(first && second && second - first >= 16);
    CHECK_EQ((uintptr_t)alloc_aligned(arena, 10, 256) % 256, 0);
    FUNCTION(alloc_any_slow_)
    CHECK_EQ((uintptr_t)alloc_slow_(arena, 10, 512) % 512, 0);
    CHECK_EQ((uintptr_t)alloc_any_slow_(arena, 24) % _Alignof(max_align_t), 0);
    CHECK_EQ((uintptr_t)alloc_aligned_slow_(arena, 10, 1024) % 1024, 0);
    CHECK_EQ((uintptr_t)bump_(arena, 10, 128) % 128, 0);
    errno = 0;
    CHECK(alloc_aligned(arena, 10, 3) == NULL && errno == EINVAL);
}

static bool is_zero(const char *block, size_t size)
{
    for (size_t i = 0; block && i < size; i++)
        if (block[i]) return false;
    return block != NULL;
}

static void dirty_the_arena(void)
{
    FUNCTION(alloc_aligned)
    FUNCTION(reset)
    for (int i = 0; i < 1000; i++) memset(alloc_aligned(arena, 1000, 8), 0xff, 1000);
    CHECK(reset(arena));
}

static void zeroed_blocks_are_zero(void)
{
    FUNCTION(zalloc)
    FUNCTION(calloc)
    FUNCTION(calloc_aligned_)
    FUNCTION(bump_zero_)
    FUNCTION(bump_array_)
    dirty_the_arena();
    for (int i = 0; i < 100; i++) {
        CHECK(is_zero(zalloc(arena, 100), 100));
        CHECK(is_zero(calloc(arena, 10, 10), 100));
        CHECK(is_zero(calloc_aligned_(arena, 10, 10, 8), 100));
        CHECK(is_zero(bump_zero_(arena, 100, 8), 100));
        CHECK(is_zero(bump_array_(arena, 10, 10, 8), 100));
    }
    errno = 0;
    CHECK(bump_array_(arena, SIZE_MAX, 8, 8) == NULL && errno == ENOMEM);
}

static void bursts_take_blocks(void)
{
    FUNCTION(burst_begin)
    FUNCTION(burst_alloc)
    FUNCTION(burst_bump_)
    FUNCTION(burst_zero_)
    FUNCTION(burst_end)
    FUNCTION(burst_begin_slow_)
    FUNCTION(burst_alloc_slow_)
    FUNCTION(burst_end_slow_)
    uintptr_t *held = find("memarena_held_"); /* of this thread, too */
    CHECK(*held % 2 == 1 && *held > MEMARENA_BURST_NOWHERE_);
    memarena_burst burst = burst_begin(arena);
    CHECK(burst_alloc(&burst, 24, 8) && burst_bump_(&burst, 8, 8));
    char *zero = burst_zero_(&burst, 8, 8);
    CHECK(zero && zero[0] == 0 && zero[7] == 0);
    burst_end(&burst);
    memarena_burst_step_ step = burst_begin_slow_(arena);
    step = burst_alloc_slow_(arena, step.cursor, 8, 8);
    CHECK(step.found != NULL);
    burst_end_slow_(arena, step.cursor);
}

static void copies_are_equal(void)
{
    FUNCTION(bump_copy_)
    FUNCTION(memdup)
    FUNCTION(strdup)
    FUNCTION(strndup)
    FUNCTION(realloc)
    CHECK(memcmp(bump_copy_(arena, "abc", 4, 8), "abc", 4) == 0);
    CHECK(memcmp(memdup(arena, "abc", 4), "abc", 4) == 0);
    CHECK(strcmp(strdup(arena, "text"), "text") == 0);
    char *text = strndup(arena, "text", 2);
    CHECK(strcmp(text, "te") == 0);
    FUNCTION(drop_last)
    CHECK(drop_last(arena, text, 3));
    text = strndup(arena, "text", 2);
    CHECK(strcmp(realloc(arena, text, 3, 100000), "te") == 0);
}

static char *call_vprintf(const char *format, ...)
{
    FUNCTION(vprintf)
    va_list args;
    va_start(args, format);
    char *text = vprintf(arena, format, args);
    va_end(args);
    return text;
}

static void texts_are_printed(void)
{
    FUNCTION(printf)
    CHECK(strcmp(printf(arena, "%d %s", 1, "two"), "1 two") == 0);
    CHECK(strcmp(call_vprintf("%d %s", 3, "four"), "3 four") == 0);
}

static void count_call(void *counter)
{
    ++*(int *)counter;
}

static void a_deferred_call_runs_once(void)
{
    FUNCTION(defer)
    FUNCTION(reset)
    int calls = 0;
    CHECK(defer(arena, count_call, &calls));
    CHECK(reset(arena) && reset(arena));
    CHECK_EQ(calls, 1);
}

static void a_deferred_call_is_undone(void)
{
    FUNCTION(defer)
    FUNCTION(reset)
    FUNCTION(undefer)
    int calls = 0;
    CHECK(defer(arena, count_call, &calls) && undefer(arena, count_call, &calls));
    CHECK(!undefer(arena, count_call, &calls));
    CHECK(reset(arena));
    CHECK_EQ(calls, 0);
}

static void what_there_is_and_where(void)
{
    FUNCTION(claimed_bytes)
    FUNCTION(range)
    FUNCTION(realloc_aligned)
    FUNCTION(room)
    void *base = NULL, *block = realloc_aligned(arena, NULL, 0, 100, 64);
    size_t bytes = 0;
    CHECK(block && (uintptr_t)block % 64 == 0);
    CHECK(claimed_bytes(arena) >= 100 && room(arena) < claimed_bytes(arena));
    CHECK(range(arena, &base, &bytes) && (uintptr_t)block - (uintptr_t)base < bytes);
}

static void a_scope_has_a_limit(void)
{
    FUNCTION(scope_with)
    FUNCTION(alloc)
    FUNCTION(destroy)
    memarena_scope_options options = {.limit_bytes = 2048};
    memarena *scope = scope_with(arena, &options);
    CHECK(scope && alloc(scope, 8) && !alloc(scope, 100000));
    destroy(scope);
}

static void a_scope_is_kept(void)
{
    FUNCTION(keep)
    FUNCTION(reset)
    FUNCTION(scope)
    FUNCTION(scoped_end_)
    FUNCTION(strdup)
    memarena *kept = scope(arena), *ended = scope(arena);
    char *text = strdup(kept, "lives on");
    CHECK(keep(kept) && strcmp(text, "lives on") == 0);
    scoped_end_(&ended);
    CHECK(reset(arena));
}

static void a_record_may_come_first(void)
{
    FUNCTION(alloc_slow_)
    FUNCTION(defer_at_)
    FUNCTION(generation)
    FUNCTION(reset)
    FUNCTION(place_)
    int calls = 0;
    uint64_t before = generation(arena);
    void *record = alloc_slow_(arena, MEMARENA_RECORD_BYTES_, 8);
    CHECK(defer_at_(arena, record, before, count_call, &calls));
    memset(place_(arena), 0x5a, 2 * sizeof(void *));
    CHECK(reset(arena) && reset(arena));
    CHECK_EQ(calls, 1);
    CHECK(!defer_at_(arena, record, before, count_call, &calls)); /* of a generation that is over */
    CHECK(*(unsigned char *)place_(arena) == 0x5a);
}

static void count_sample(void *counter, memarena *from, void *block, size_t size, size_t weight)
{
    CHECK(from == arena && block != NULL && size == 40 && weight == 40);
    ++*(int *)counter;
}

static void a_block_is_sampled(void)
{
    FUNCTION(sample)
    FUNCTION(alloc_aligned)
    int samples = 0;
    CHECK(sample(arena, 1, count_sample, &samples));
    CHECK(alloc_aligned(arena, 40, 8) != NULL);
    CHECK_EQ(samples, 1);
    CHECK(sample(arena, 0, NULL, NULL));
    CHECK(alloc_aligned(arena, 40, 8) != NULL);
    CHECK_EQ(samples, 1);
}

static void dead_memory_goes_back(void)
{
    FUNCTION(trim)
    FUNCTION(reset)
    FUNCTION(alloc)
    char *block = alloc(arena, 300000);
    CHECK(block != NULL);
    memset(block, 1, 300000);
    CHECK(reset(arena));
    CHECK(trim(arena, 0) >= 290000);
}

static void a_reference_gives_its_block(void)
{
    FUNCTION(ref)
    FUNCTION(deref)
    FUNCTION(alloc)
    FUNCTION(reset)
    FUNCTION(explain_faults)
    void *block = alloc(arena, 40);
    memarena_reference reference = ref(arena, block);
    CHECK(deref(arena, reference) == block);
    CHECK(reset(arena) && deref(arena, reference) == NULL);
    CHECK(explain_faults());
}

static void it_can_be_looked_at(void)
{
    FUNCTION(report)
    FUNCTION(resident_bytes)
    FUNCTION(snapshot)
    memarena_cell cells[16];
    CHECK(snapshot(arena, cells, 16) > 0 && cells[0].kind <= MEMARENA_CELL_GIVEN_BACK);
    FILE *nothing = fopen("/dev/null", "w");
    CHECK(nothing != NULL && report(arena, nothing) && fclose(nothing) == 0);
    CHECK(resident_bytes(arena) <= (size_t)1 << 30);
}

static void the_library_says_its_version(void)
{
    FUNCTION(version)
    int major = -1, minor = -1, patch = -1;
    CHECK_EQ(sscanf(version(), "%d.%d.%d", &major, &minor, &patch), 3);
    CHECK(major == MEMARENA_VERSION_MAJOR && minor == MEMARENA_VERSION_MINOR && patch == MEMARENA_VERSION_PATCH);
}

static void the_accounts_can_be_read(void)
{
    FUNCTION(allocated_bytes)
    FUNCTION(get_stats)
    FUNCTION(owns)
    FUNCTION(alloc)
    void *block = alloc(arena, 40);
    memarena_stats stats = {0};
    CHECK(owns(arena, block) && !owns(arena, &stats));
    get_stats(arena, &stats, sizeof stats);
    CHECK_EQ(stats.allocated_bytes, allocated_bytes(arena));
    CHECK(stats.allocated_bytes >= 40);
}

static void destroy_ends_it(void)
{
    FUNCTION(destroy)
    destroy(arena);
    destroy(NULL);
    arena = NULL;
}

static void scopes_are_marked_and_rewound(void)
{
    FUNCTION(scope)
    FUNCTION(mark)
    FUNCTION(rewind)
    FUNCTION(alloc)
    FUNCTION(allocated_bytes)
    FUNCTION(destroy)
    memarena *ours = scope(arena);
    CHECK(ours != NULL);
    memarena_position here = mark(ours);
    CHECK(alloc(ours, 48) != NULL && allocated_bytes(ours) == 48);
    CHECK(rewind(ours, here));
    CHECK_EQ(allocated_bytes(ours), 0);
    destroy(ours);
}

static void every_exported_symbol_was_called(void)
{
    char name[128];
    FILE *symbols = fopen(symbols_path, "r");
    CHECK(symbols != NULL);
    while (symbols && fscanf(symbols, "%127s", name) == 1) {
        if (was_found(name)) continue;
        fprintf(stderr, "%s is exported, but not called here\n", name);
        test_failed("every symbol is called", symbols_path, 0);
    }
    if (symbols) fclose(symbols);
}

/* ---- Unloading --------------------------------------------------------------------------------------------------- */

static pthread_barrier_t used, closed;

static void open_library(void)
{
    found_count = 0;
    library = dlopen(library_path, RTLD_NOW | RTLD_LOCAL);
    if (!library) fprintf(stderr, "%s\n", dlerror());
    CHECK(library != NULL);
}

static void use_library(void)
{
    FUNCTION(create)
    FUNCTION(alloc)
    FUNCTION(reset)
    FUNCTION(destroy)
    FUNCTION(create_with)
    memarena_options options = {.capacity = (size_t)1 << 20, .flags = MEMARENA_PER_CPU};
    memarena *mine = create(0), *of_all = create_with(&options);
    CHECK(mine && alloc(mine, 8) && alloc(mine, 100000) && reset(mine) && alloc(mine, 8));
    CHECK(of_all && alloc(of_all, 8) && reset(of_all) && alloc(of_all, 100));
    destroy(mine);
    destroy(of_all);
}

/* Long enough to be preempted: the kernel then looks at the sequence that it was told of last. */
static void be_preempted(void)
{
    for (int i = 0; i < 100; i++) {
        for (volatile int spin = 0; spin < 100000; spin++) continue;
        (void)sched_yield();
    }
}

static void *use_and_outlive(void *unused)
{
    use_library();
    pthread_barrier_wait(&used);
    pthread_barrier_wait(&closed);
    be_preempted();
    return unused; /* the library's destructor for this thread is gone with the library */
}

static void child_lives(void)
{
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) _exit(0);
    int status = -1;
    CHECK(waitpid(child, &status, 0) == child && status == 0);
}

static void threads_and_forks_outlive_the_library(void)
{
    pthread_barrier_init(&used, NULL, 2);
    pthread_barrier_init(&closed, NULL, 2);
    for (int round = 0; round < 20; round++) {
        pthread_t thread;
        open_library();
        CHECK(pthread_create(&thread, NULL, use_and_outlive, NULL) == 0);
        pthread_barrier_wait(&used);
        found_count = 0;
        use_library();
        CHECK(dlclose(library) == 0);
        CHECK(dlopen(library_path, RTLD_NOW | RTLD_NOLOAD) == NULL); /* truly gone */
        be_preempted();
        child_lives();
        pthread_barrier_wait(&closed);
        CHECK(pthread_join(thread, NULL) == 0);
    }
}

/* A thread that has a lane keeps using a library that was closed and opened again. */
static void *use_twice(void *unused)
{
    use_library();
    pthread_barrier_wait(&used);
    pthread_barrier_wait(&closed);
    use_library();
    return unused;
}

static void a_thread_uses_a_library_that_was_opened_again(void)
{
    pthread_t thread;
    open_library();
    CHECK(pthread_create(&thread, NULL, use_twice, NULL) == 0);
    pthread_barrier_wait(&used);
    CHECK(dlclose(library) == 0);
    open_library();
    pthread_barrier_wait(&closed);
    CHECK(pthread_join(thread, NULL) == 0);
    CHECK(dlclose(library) == 0);
}

int main(int argc, char **argv)
{
    if (argc != 3) return fputs("usage: dlopen LIBRARY SYMBOLS-FILE\n", stderr), 2;
    library_path = argv[1];
    symbols_path = argv[2];
    open_library();
    RUN(create_finds_its_arena);
    RUN(create_with_takes_options);
    RUN(the_lane_offset_is_one_for_each_thread);
    RUN(blocks_are_aligned_and_apart);
    RUN(zeroed_blocks_are_zero);
    RUN(bursts_take_blocks);
    RUN(copies_are_equal);
    RUN(texts_are_printed);
    RUN(a_deferred_call_runs_once);
    RUN(a_deferred_call_is_undone);
    RUN(what_there_is_and_where);
    RUN(a_scope_has_a_limit);
    RUN(a_scope_is_kept);
    RUN(a_record_may_come_first);
    RUN(scopes_are_marked_and_rewound);
    RUN(a_block_is_sampled);
    RUN(dead_memory_goes_back);
    RUN(a_reference_gives_its_block);
    RUN(it_can_be_looked_at);
    RUN(the_library_says_its_version);
    RUN(the_accounts_can_be_read);
    RUN(destroy_ends_it);
    RUN(every_exported_symbol_was_called);
    CHECK(dlclose(library) == 0);
    RUN(threads_and_forks_outlive_the_library);
    RUN(a_thread_uses_a_library_that_was_opened_again);
    return test_done();
}
