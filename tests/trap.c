/* MEMARENA_TRAP_STALE: dead blocks fault, live ones do not, memory stays warm, and a fault is explained. */
#include "faults.h"
#include "threads.h"

#include "internals.h"

#include <errno.h>
#include <sched.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define MIB ((size_t)1 << 20)
#define CAPACITY (16 * MIB)

static bool sleepy; /* before a window is made accessible, now and then */

void *__real_mmap(void *address, size_t bytes, int rights, int flags, int file, off_t offset);
void *__wrap_mmap(void *address, size_t bytes, int rights, int flags, int file, off_t offset);

void *__wrap_mmap(void *address, size_t bytes, int rights, int flags, int file, off_t offset)
{
    static __thread unsigned long long random = 88172645463325252u;
    if (sleepy && rights != PROT_NONE && test_random(&random) % 256 == 0) usleep(200);
    return __real_mmap(address, bytes, rights, flags, file, offset);
}

static memarena *create(size_t capacity)
{
    return memarena_create_with(
        &(memarena_options){.capacity = capacity, .name = "frames", .flags = MEMARENA_TRAP_STALE});
}

/* ---- What dies, and what lives ---------------------------------------------------------------------------------------- */

static void a_dead_block_faults_and_a_live_one_does_not(void)
{
    memarena *arena = create(CAPACITY);
    CHECK(arena != NULL);
    for (int round = 0; round < 200; round++) {
        size_t sizes[] = {1, 24, 4096, 100000, MIB};
        char *blocks[5];
        for (int i = 0; i < 5; i++) {
            blocks[i] = memarena_alloc(arena, sizes[i]);
            CHECK(blocks[i] != NULL && memarena_owns(arena, blocks[i]));
            memset(blocks[i], round, sizes[i]);
        }
        for (int i = 0; i < 5; i++) CHECK(is_alive(blocks[i], sizes[i]));
        CHECK(memarena_reset(arena));
        for (int i = 0; i < 5; i++) CHECK(is_dead(blocks[i], sizes[i]));
        for (int i = 0; i < 5; i++) CHECK(memarena_owns(arena, blocks[i]));
        CHECK(TEST_TSAN || fault_address == blocks[4] + MIB - 1);
    }
    CHECK(!memarena_owns(arena, arena) && !memarena_owns(arena, &sleepy));
    memarena_destroy(arena);
}

static void a_dead_block_faults_until_its_window_comes_round(void)
{
    memarena *arena = create(CAPACITY);
    CHECK(arena != NULL);
    char *first = memarena_alloc(arena, 100), *same = NULL;
    CHECK(first != NULL);
    unsigned windows = ma_arena_of(arena)->pool.window_mask + 1;
    CHECK(sizeof(void *) == 8 ? windows == 64 : windows >= 8);
    for (unsigned resets = 1; resets < windows; resets++) {
        CHECK(memarena_reset(arena));
        CHECK(is_dead(first, 100));
        same = memarena_alloc(arena, 100);
        CHECK(same != NULL && same != first && is_alive(same, 100));
    }
    CHECK(memarena_reset(arena));
    CHECK(memarena_alloc(arena, 100) == first); /* address space does not pile up */
    memarena_destroy(arena);
}

static void an_arena_that_is_reset_is_whole(void)
{
    memarena *arena = create(CAPACITY);
    CHECK(arena != NULL);
    for (int i = 0; i < 70; i++) test_check_whole(arena, 4096);
    char *all = memarena_alloc_aligned(arena, CAPACITY, 8);
    CHECK(all != NULL && is_alive(all, CAPACITY));
    CHECK(memarena_alloc(arena, 1) == NULL);
    CHECK(memarena_reset(arena));
    CHECK(is_dead(all, CAPACITY));
    memarena_destroy(arena);
}

static long page_faults(void)
{
    struct rusage usage;
    CHECK_EQ(getrusage(RUSAGE_SELF, &usage), 0);
    return usage.ru_minflt;
}

static void memory_stays_warm(void)
{
    memarena *arena = create(CAPACITY);
    CHECK(arena != NULL);
    char *block = memarena_alloc(arena, 8 * MIB);
    CHECK(block != NULL);
    memset(block, 1, 8 * MIB); /* 2048 pages */
    long before = page_faults();
    for (int round = 0; round < 10; round++) {
        CHECK(memarena_reset(arena));
        block = memarena_alloc(arena, 8 * MIB);
        CHECK(block != NULL);
        memset(block, 2, 8 * MIB);
    }
    CHECK(page_faults() - before < 1000);
    memarena_destroy(arena);
}

static void add_one(void *counter)
{
    ++*(int *)counter;
}

static void scopes_deferred_calls_and_trim_work_in_every_generation(void)
{
    memarena *arena = memarena_create_with(&(memarena_options){
        .capacity = CAPACITY, .flags = MEMARENA_TRAP_STALE | MEMARENA_PER_CPU, .retain_bytes = 2 * MIB});
    CHECK(arena != NULL);
    for (int round = 1; round <= 130; round++) {
        int *counter = memarena_new(arena, int), calls = 0;
        CHECK(counter != NULL && memarena_defer(arena, add_one, counter) && memarena_defer(arena, add_one, &calls));
        for (int i = 0; i < 20; i++) {
            memarena *scope = memarena_scope(arena), *inner = memarena_scope(scope);
            CHECK(scope != NULL && inner != NULL);
            memarena_position mark = memarena_mark(inner);
            char *block = memarena_alloc(inner, 3000 * (size_t)(i + 1));
            CHECK(block != NULL && is_alive(block, 3000 * (size_t)(i + 1)));
            CHECK(memarena_defer(inner, add_one, counter) && memarena_rewind(inner, mark));
            CHECK_EQ(*counter, i + 1);
            CHECK(!memarena_reset(arena) && errno == EBUSY);
            memarena_destroy(inner);
            memarena_destroy(scope);
        }
        char *large = memarena_alloc(arena, 5 * MIB);
        CHECK(large != NULL);
        memset(large, round, 5 * MIB);
        (void)memarena_trim(arena, 0);
        CHECK(large[0] == (char)round && large[5 * MIB - 1] == (char)round && *counter == 20);
        CHECK(memarena_reset(arena));
        CHECK_EQ(calls, 1);
        CHECK(is_dead(large, 5 * MIB));
        CHECK_EQ(memarena_generation(arena), round + 1);
    }
    memarena_destroy(arena);
}

static void realloc_of_a_dead_block_is_never_in_place(void)
{
    memarena *arena = create(CAPACITY);
    CHECK(arena != NULL);
    char *dead = memarena_alloc(arena, 64);
    CHECK(dead != NULL && memarena_reset(arena));
    char *live = memarena_alloc(arena, 64);
    CHECK(live != NULL);
    volatile bool was_read = false;
    if (sigsetjmp(back, 1) == 0) { /* its copy faults */
        (void)memarena_realloc(arena, dead, 64, 128);
        was_read = true;
    }
    CHECK(!was_read);
    CHECK(memarena_alloc(arena, 64) != NULL);
    memarena_destroy(arena);
}

/* ---- Threads ---------------------------------------------------------------------------------------------------------------- */

#define WRITERS 3
#define RESETS 1000

static struct {
    memarena *arena;
    uint64_t begun, ended; /* resets */
    unsigned long written, died;
    bool over;
} race;

/* A block can be written as long as no reset has begun since before it was asked for, and keeps its bytes. */
static void *write_blocks(void *argument)
{
    unsigned long long random = test_seed(*(unsigned *)argument);
    while (!__atomic_load_n(&race.over, __ATOMIC_ACQUIRE)) {
        uint64_t begun = __atomic_load_n(&race.begun, __ATOMIC_SEQ_CST);
        bool quiet = __atomic_load_n(&race.ended, __ATOMIC_SEQ_CST) == begun;
        size_t size = test_between(&random, 8, test_random(&random) % 8 ? 300 : 200000);
        char *block = memarena_alloc(race.arena, size);
        if (!block) {
            sched_yield();
            continue;
        }
        bool alive = is_alive(block, size) && holds(block, 1) && holds(block + size - 1, 1);
        if (!alive && quiet) CHECK(__atomic_load_n(&race.begun, __ATOMIC_SEQ_CST) != begun);
        (void)__atomic_fetch_add(alive ? &race.written : &race.died, 1, __ATOMIC_RELAXED);
        if (size % 16 == 0) memarena_destroy(memarena_scope(race.arena)); /* it takes care of a reset that it meets */
    }
    return NULL;
}

static void threads_write_while_another_resets(void)
{
    pthread_t threads[WRITERS];
    unsigned numbers[WRITERS];
    race.arena = create(CAPACITY);
    CHECK(race.arena != NULL);
    for (unsigned i = 0; i < WRITERS; i++) numbers[i] = i, threads[i] = test_start(write_blocks, &numbers[i]);
    for (int i = 0; i < RESETS; i++) {
        unsigned long before = __atomic_load_n(&race.written, __ATOMIC_RELAXED);
        char *mine = memarena_alloc(race.arena, 64);
        (void)__atomic_fetch_add(&race.begun, 1, __ATOMIC_SEQ_CST);
        while (!memarena_reset(race.arena)) CHECK_EQ(errno, EBUSY);
        if (mine) CHECK(is_dead(mine, 64));
        (void)__atomic_fetch_add(&race.ended, 1, __ATOMIC_SEQ_CST);
        if (i % 4 == 0) continue;
        while (__atomic_load_n(&race.written, __ATOMIC_RELAXED) - before < (unsigned)i % 64) sched_yield();
    }
    __atomic_store_n(&race.over, true, __ATOMIC_RELEASE);
    for (unsigned i = 0; i < WRITERS; i++) test_join(threads[i]);
    printf("    %lu blocks written, %lu died meanwhile\n", race.written, race.died);
    test_check_whole(race.arena, 4096);
    memarena_destroy(race.arena);
}

static void *reset_often(void *argument)
{
    (void)argument;
    for (int i = 0; i < RESETS; i++) {
        if (i % 64 == 0) usleep(100);
        (void)memarena_reset(race.arena);
    }
    return NULL;
}

/* A thread that sleeps while others reset opens no window that has been closed. */
static void two_threads_reset_and_all_windows_but_one_are_closed(void)
{
    for (int round = 0; round < 20; round++) {
        race.arena = create(CAPACITY);
        CHECK(race.arena != NULL);
        sleepy = true;
        pthread_t one = test_start(reset_often, NULL), other = test_start(reset_often, NULL);
        test_join(one);
        test_join(other);
        sleepy = false;
        const ma_pool *pool = &ma_arena_of(race.arena)->pool;
        uint64_t now = memarena_generation(race.arena);
        CHECK(can_write((char *)ma_pool_base(pool, now)));
        for (uint64_t age = 1; age < pool->window_mask; age++) CHECK(!can_read((char *)ma_pool_base(pool, now - age)));
        memarena_destroy(race.arena);
    }
}

static int end_of(pid_t child)
{
    int status;
    CHECK_EQ(waitpid(child, &status, 0), child);
    return status;
}

static bool is_by_fault(int status)
{
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV;
}

static void both_sides_of_a_fork_go_on(void)
{
    memarena *arena = create(CAPACITY);
    CHECK(arena != NULL);
    char *block = memarena_alloc(arena, 100);
    CHECK(block != NULL);
    *block = 5;
    pid_t child = fork();
    CHECK(child >= 0);
    for (int i = 0; i < 70; i++) {
        CHECK(is_alive(block, 100));
        CHECK(memarena_reset(arena));
        CHECK(is_dead(block, 100));
        block = memarena_alloc(arena, 100);
        CHECK(block != NULL);
    }
    memarena_destroy(arena);
    if (child == 0) _exit(0);
    CHECK_EQ(end_of(child), 0);
}

/* ---- The report ---------------------------------------------------------------------------------------------------------- */

/* What a child prints that touches `address` (or sends itself the signal, in one way or another), and how it ends. */
static const char raises[1], kills[1];
static int touch_in_child(const char *address, char *text, size_t size)
{
    int ends[2];
    CHECK_EQ(pipe(ends), 0);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        CHECK(signal(SIGSEGV, SIG_DFL) != SIG_ERR);
        CHECK(memarena_explain_faults() && memarena_explain_faults());
        CHECK(dup2(ends[1], STDERR_FILENO) == STDERR_FILENO);
        if (address == raises)
            raise(SIGSEGV);
        else if (address == kills)
            kill(getpid(), SIGSEGV);
        else
            (void)*(const volatile char *)address;
        _exit(0);
    }
    close(ends[1]);
    size_t got = 0;
    for (ssize_t more; (more = read(ends[0], text + got, size - 1 - got)) > 0;) got += (size_t)more;
    text[got] = 0;
    close(ends[0]);
    return end_of(child);
}

static void a_fault_at_a_stale_address_is_explained(void)
{
    char text[512], expected[512];
    memarena *other = create(CAPACITY), *arena = create(CAPACITY);
    CHECK(other != NULL && arena != NULL);
    CHECK(memarena_reset(arena) && memarena_reset(arena)); /* it is in generation 3 */
    char *block = memarena_alloc(arena, 100);
    CHECK(block != NULL);
    CHECK(memarena_reset(arena) && memarena_reset(arena));
    int status = touch_in_child(block + 40, text, sizeof text);
    CHECK(is_by_fault(status));
    snprintf(expected, sizeof expected,
             "memarena: stale pointer 0x%llx: arena frames, generation 3 was reset; it is in generation 5\n",
             (unsigned long long)(uintptr_t)(block + 40));
    CHECK(strcmp(text, expected) == 0);
    status = touch_in_child((const char *)16, text, sizeof text); /* another fault is not ours */
    CHECK(is_by_fault(status) && text[0] == 0);
    status = touch_in_child(raises, text, sizeof text); /* nor is one that was only sent: it does not come again */
    CHECK(is_by_fault(status) && text[0] == 0);
    status = touch_in_child(kills, text, sizeof text);
    CHECK(is_by_fault(status) && text[0] == 0);
    memarena_destroy(arena);
    status = touch_in_child(block, text, sizeof text);
    CHECK(WIFSIGNALED(status) && text[0] == 0);
    memarena_destroy(other);
}

/* A block of 100 bytes that a reset of its arena has ended. */
static char *take_and_lose(memarena **arena)
{
    *arena = create(CAPACITY);
    CHECK(*arena != NULL);
    char *block = memarena_alloc(*arena, 100);
    CHECK(block != NULL && memarena_reset(*arena));
    return block;
}

static void the_handler_before_is_called(void)
{
    memarena *arena;
    char *block = take_and_lose(&arena);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        CHECK(memarena_explain_faults());
        CHECK(freopen("/dev/null", "w", stderr) != NULL);
        faults = 0;
        CHECK(is_dead(block, 100)); /* `jump_back` still gets them */
        _exit(faults == 4 ? 0 : 1);
    }
    CHECK_EQ(end_of(child), 0);
    memarena_destroy(arena);
}

static void jump_back_blindly(int signal)
{
    (void)signal;
    siglongjmp(back, 1);
}

/* Of the kind that is told the signal only: called each time, and each time after the report. */
static void so_is_a_handler_of_the_old_kind(void)
{
    memarena *arena;
    char *block = take_and_lose(&arena), text[1024];
    int ends[2];
    CHECK_EQ(pipe(ends), 0);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        CHECK(signal(SIGSEGV, jump_back_blindly) != SIG_ERR && memarena_explain_faults());
        CHECK(dup2(ends[1], STDERR_FILENO) == STDERR_FILENO);
        _exit(is_dead(block, 100) ? 0 : 1);
    }
    close(ends[1]);
    CHECK_EQ(end_of(child), 0);
    ssize_t got = read(ends[0], text, sizeof text);
    size_t lines = 0;
    for (ssize_t i = 0; i < got; i++) lines += text[i] == '\n';
    CHECK_EQ(lines, 4);
    close(ends[0]);
    memarena_destroy(arena);
}

static void where_it_is_ignored_a_fault_still_ends_the_program(void)
{
    memarena *arena;
    char *block = take_and_lose(&arena);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        CHECK(signal(SIGSEGV, SIG_IGN) != SIG_ERR && memarena_explain_faults());
        close(STDERR_FILENO);
        *(volatile char *)block = 1;
        _exit(0);
    }
    CHECK(is_by_fault(end_of(child)));
    memarena_destroy(arena);
}

static struct sigaction first_handler;

static void call_the_first(int signal, siginfo_t *info, void *context)
{
    static int calls;
    if (++calls > 2) _exit(3); /* round and round */
    first_handler.sa_sigaction(signal, info, context);
}

static void two_handlers_that_call_each_other_come_to_an_end(void)
{
    memarena *arena;
    char *block = take_and_lose(&arena);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        struct sigaction action = {.sa_flags = SA_SIGINFO};
        action.sa_sigaction = call_the_first;
        CHECK(signal(SIGSEGV, SIG_DFL) != SIG_ERR && memarena_explain_faults());
        CHECK_EQ(sigaction(SIGSEGV, &action, &first_handler), 0);
        CHECK(memarena_explain_faults()); /* a library that asks for it, too */
        close(STDERR_FILENO);
        *(volatile char *)block = 1;
        _exit(0);
    }
    CHECK(is_by_fault(end_of(child)));
    memarena_destroy(arena);
}

static void make_accessible(int signal, siginfo_t *info, void *context)
{
    (void)signal, (void)context;
    uintptr_t page = (uintptr_t)info->si_addr & ~(uintptr_t)(sysconf(_SC_PAGESIZE) - 1);
    if (mprotect((void *)page, 1, PROT_READ | PROT_WRITE) != 0) _exit(2);
}

static void a_fault_that_is_repaired_leaves_errno_as_it_was(void)
{
    memarena *arena;
    char *block = take_and_lose(&arena);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        struct sigaction action = {.sa_flags = SA_SIGINFO};
        action.sa_sigaction = make_accessible;
        CHECK_EQ(sigaction(SIGSEGV, &action, NULL), 0);
        CHECK(memarena_explain_faults());
        close(STDERR_FILENO); /* so that what explains it fails */
        errno = 4711;
        *(volatile char *)block = 1;
        _exit(errno == 4711 ? 0 : 1);
    }
    CHECK_EQ(end_of(child), 0);
    memarena_destroy(arena);
}

int main(void)
{
    catch_faults();
    if (!test_traps()) SKIP("this system cannot move pages");
    memarena *arena = create(CAPACITY);
    CHECK(arena != NULL);
    bool watched = test_watched(arena);
    memarena_destroy(arena);
    if (watched) return test_done(); /* what is watched is reported by the sanitizer: tests/tools/ */
    RUN(a_dead_block_faults_and_a_live_one_does_not);
    RUN(a_dead_block_faults_until_its_window_comes_round);
    RUN(an_arena_that_is_reset_is_whole);
    RUN(scopes_deferred_calls_and_trim_work_in_every_generation);
    RUN(threads_write_while_another_resets);
    RUN(two_threads_reset_and_all_windows_but_one_are_closed);
    RUN(both_sides_of_a_fork_go_on);
    if (TEST_TSAN) return test_done(); /* no handlers, and pages of its own */
    RUN(memory_stays_warm);
    RUN(realloc_of_a_dead_block_is_never_in_place);
    RUN(a_fault_at_a_stale_address_is_explained);
    RUN(the_handler_before_is_called);
    RUN(so_is_a_handler_of_the_old_kind);
    RUN(where_it_is_ignored_a_fault_still_ends_the_program);
    RUN(two_handlers_that_call_each_other_come_to_an_end);
    RUN(a_fault_that_is_repaired_leaves_errno_as_it_was);
    return test_done();
}
