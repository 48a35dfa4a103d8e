/* MEMARENA_TRAP_STALE where the system refuses what a reset needs: nothing is lost, and what is stale is dead all the same. */
#include "faults.h"
#include "threads.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define MIB ((size_t)1 << 20)
#define CAPACITY (16 * MIB)

static int refuse_moves, refuse_permissions, refuse_closings; /* so many times, with ENOMEM */
static bool leaves_a_hole; /* a move that is refused: as Linux does it, which unmaps its goal first */

void *__real_mremap(void *from, size_t old_bytes, size_t bytes, int flags, ...);
int __real_mprotect(void *memory, size_t bytes, int rights);
void *__real_mmap(void *address, size_t bytes, int rights, int flags, int file, off_t offset);
void *__wrap_mremap(void *from, size_t old_bytes, size_t bytes, int flags, void *to);
int __wrap_mprotect(void *memory, size_t bytes, int rights);
void *__wrap_mmap(void *address, size_t bytes, int rights, int flags, int file, off_t offset);

void *__wrap_mremap(void *from, size_t old_bytes, size_t bytes, int flags, void *to)
{
    if (refuse_moves == 0) return __real_mremap(from, old_bytes, bytes, flags, to);
    refuse_moves--;
    if (leaves_a_hole) CHECK_EQ(munmap(to, bytes), 0);
    errno = leaves_a_hole ? EFAULT : ENOMEM;
    return MAP_FAILED;
}

static bool is_refused(int rights)
{
    int *refuse = rights == PROT_NONE ? &refuse_closings : &refuse_permissions;
    if (*refuse == 0) return false;
    --*refuse;
    errno = ENOMEM;
    return true;
}

int __wrap_mprotect(void *memory, size_t bytes, int rights)
{
    return rights != PROT_NONE && is_refused(rights) ? -1 : __real_mprotect(memory, bytes, rights);
}

void *__wrap_mmap(void *address, size_t bytes, int rights, int flags, int file, off_t offset)
{
    bool renews = flags & MAP_FIXED;
    return renews && is_refused(rights) ? MAP_FAILED : __real_mmap(address, bytes, rights, flags, file, offset);
}

static memarena *create(size_t capacity)
{
    return memarena_create_with(
        &(memarena_options){.capacity = capacity, .name = "frames", .flags = MEMARENA_TRAP_STALE});
}

static void what_cannot_be_done_is_refused(void)
{
    _Alignas(16) static char buffer[65536];
    memarena_options options = {.capacity = sizeof buffer, .buffer = buffer, .flags = MEMARENA_TRAP_STALE};
    errno = 0;
    CHECK(memarena_create_with(&options) == NULL && errno == EINVAL);
    refuse_permissions = 1;
    CHECK(create(CAPACITY) == NULL && errno == ENOMEM);
    refuse_moves = 1;
    CHECK(create(CAPACITY) == NULL && errno == ENOMEM);
    CHECK_EQ(refuse_moves + refuse_permissions, 0);
}

static void a_reset_that_cannot_prepare_changes_nothing(void)
{
    memarena *arena = create(CAPACITY);
    CHECK(arena != NULL);
    char *block = memarena_alloc(arena, MIB);
    CHECK(block != NULL);
    memset(block, 7, MIB);
    refuse_permissions = 1;
    errno = 0;
    CHECK(!memarena_reset(arena) && errno == ENOMEM);
    CHECK(is_alive(block, MIB) && block[MIB / 2] == 7);
    CHECK_EQ(memarena_generation(arena), 1);
    CHECK(memarena_reset(arena));
    CHECK(is_dead(block, MIB));
    memarena_destroy(arena);
}

static long pages_in_memory(void)
{
    long all = 0, resident = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    if (file) CHECK_EQ(fscanf(file, "%ld %ld", &all, &resident), 2);
    if (file) fclose(file);
    return resident;
}

static void pages_that_cannot_move_are_replaced(void)
{
    memarena *arena = create(CAPACITY);
    CHECK(arena != NULL);
    long before = pages_in_memory();
    for (int round = 0; round < 100; round++) {
        char *block = memarena_alloc(arena, MIB);
        CHECK(block != NULL);
        memset(block, round, MIB);
        refuse_moves = round % 2;
        leaves_a_hole = round % 4 == 3;
        refuse_closings = round % 3 == 2;
        CHECK(memarena_reset(arena));
        CHECK_EQ(refuse_moves + refuse_closings, 0);
        CHECK(is_dead(block, MIB));
    }
    CHECK(pages_in_memory() - before < 5 * (long)(MIB / 4096));
    memarena_destroy(arena);
}

/* Of address space, or of data. */
static void get_limit(bool data, struct rlimit *limit)
{
    CHECK_EQ(data ? getrlimit(RLIMIT_DATA, limit) : getrlimit(RLIMIT_AS, limit), 0);
}

static void set_limit(bool data, const struct rlimit *limit)
{
    CHECK_EQ(data ? setrlimit(RLIMIT_DATA, limit) : setrlimit(RLIMIT_AS, limit), 0);
}

static void a_reset_above_a_limit_that_was_lowered_changes_nothing(void)
{
    memarena *arena = create(CAPACITY);
    CHECK(arena != NULL);
    char *block = memarena_alloc(arena, 100);
    CHECK(block != NULL);
    for (int i = 0; i < 2; i++) {
        struct rlimit before, low;
        get_limit(i, &before);
        low = (struct rlimit){.rlim_cur = MIB, .rlim_max = before.rlim_max};
        set_limit(i, &low);
        errno = 0;
        CHECK(!memarena_reset(arena) && errno == ENOMEM);
        CHECK(is_alive(block, 100));
        set_limit(i, &before);
        CHECK(memarena_reset(arena));
        CHECK(is_dead(block, 100));
        block = memarena_alloc(arena, 100);
        CHECK(block != NULL && is_alive(block, 100));
    }
    memarena_destroy(arena);
}

static long mappings(void)
{
    long lines = 0;
    FILE *file = fopen("/proc/self/maps", "r");
    for (int c; file && (c = fgetc(file)) != EOF;) lines += c == '\n';
    if (file) fclose(file);
    return lines;
}

/* Linux lets a process have 65,530 mappings. */
static void an_arena_is_a_handful_of_mappings(void)
{
    long before = mappings();
    memarena *arenas[10];
    for (int i = 0; i < 10; i++) {
        arenas[i] = create(CAPACITY + 4096);
        CHECK(arenas[i] != NULL);
        for (int resets = 0; resets < 100; resets++) {
            memset(memarena_alloc(arenas[i], 3 * MIB), 1, 3 * MIB);
            CHECK(memarena_reset(arenas[i]));
        }
    }
    CHECK(mappings() - before < 10 * 8);
    for (int i = 0; i < 10; i++) memarena_destroy(arenas[i]);
}

static void a_small_address_space_keeps_fewer_generations(void)
{
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        struct rlimit limit = {.rlim_cur = 256 * MIB, .rlim_max = 256 * MIB};
        CHECK_EQ(setrlimit(RLIMIT_AS, &limit), 0);
        memarena *arena = create(CAPACITY); /* 64 of them would take a GiB */
        CHECK(arena != NULL);
        char *first = memarena_alloc(arena, 100);
        CHECK(first != NULL && memarena_reset(arena) && is_dead(first, 100));
        int resets = 1;
        while (memarena_alloc(arena, 100) != first) CHECK(memarena_reset(arena) && ++resets < 64);
        CHECK(resets >= 2);
        CHECK(memarena_create_with(&(memarena_options){.capacity = 250 * MIB, .flags = MEMARENA_TRAP_STALE}) == NULL &&
              errno == ENOMEM);
        _exit(0);
    }
    int status;
    CHECK(waitpid(child, &status, 0) == child && status == 0);
}

int main(void)
{
    if (!test_traps()) SKIP("this system cannot move pages");
    memarena *arena = create(CAPACITY);
    CHECK(arena != NULL);
    bool watched = test_watched(arena);
    memarena_destroy(arena);
    if (watched) SKIP("a sanitizer is watching, which traps stale pointers itself");
    catch_faults();
    RUN(what_cannot_be_done_is_refused);
    RUN(a_reset_that_cannot_prepare_changes_nothing);
    RUN(pages_that_cannot_move_are_replaced);
    RUN(a_reset_above_a_limit_that_was_lowered_changes_nothing);
    RUN(an_arena_is_a_handful_of_mappings);
    RUN(a_small_address_space_keeps_fewer_generations);
    return test_done();
}
