/* A process that has locked its memory, present and future (mlockall): an arena's memory is locked as it is touched, and
 * none of it is brought into memory before. Every case runs in a child of its own. */
#include "children.h"
#include "internals.h"

#include <errno.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#define MIB ((size_t)1 << 20)
#define CAPACITY (256 * MIB)
#define NOBODY 65534
#define SLACK (2 * MIB) /* of bookkeeping, and of the test itself */

#ifndef MCL_ONFAULT
#define MCL_ONFAULT 4
#endif
#ifndef MADV_DONTNEED_LOCKED
#define MADV_DONTNEED_LOCKED 24
#endif

/* In pages of the process, from /proc/self/statm. */
static size_t resident(void)
{
    unsigned long total = 0, present = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    CHECK(file && fscanf(file, "%lu %lu", &total, &present) == 2);
    fclose(file);
    return present * (size_t)sysconf(_SC_PAGESIZE);
}

/* The most that was ever. */
static size_t most_resident(void)
{
    struct rusage usage;
    CHECK(getrusage(RUSAGE_SELF, &usage) == 0);
    return (size_t)usage.ru_maxrss * 1024;
}

/* Bytes of the mapping that holds the address which are in memory and locked, from /proc/self/smaps. */
static size_t locked_around(const void *address)
{
    char line[512];
    unsigned long begin, end, kib = 0;
    bool is_here = false;
    FILE *file = fopen("/proc/self/smaps", "r");
    CHECK(file != NULL);
    while (fgets(line, sizeof line, file)) {
        if (sscanf(line, "%lx-%lx ", &begin, &end) == 2) is_here = (uintptr_t)address - begin < end - begin;
        if (is_here && sscanf(line, "Locked: %lu", &kib) == 1) break;
    }
    fclose(file);
    return kib * 1024;
}

static void lock_memory(int how)
{
    if (mlockall(MCL_FUTURE | how) != 0) SKIP("memory cannot be locked here");
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    void *memory = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(memory != MAP_FAILED);
    if (syscall(SYS_msync, memory, page, MS_INVALIDATE) == 0) SKIP("mlockall does nothing here (a sanitizer)");
}

static memarena *create(memarena_options options)
{
    memarena *arena = memarena_create_with(&options);
    CHECK(arena != NULL);
    return arena;
}

static char *fill(memarena *arena, size_t bytes)
{
    char *block = memarena_alloc(arena, bytes);
    CHECK(block != NULL);
    return memset(block, 1, bytes);
}

static void check_brings_what_is_touched(int how, unsigned flags)
{
    lock_memory(how);
    size_t before = resident();
    memarena *arena = create((memarena_options){.capacity = CAPACITY, .flags = flags});
    CHECK(resident() < before + SLACK);
    char *block = fill(arena, 20 * MIB);
    CHECK(resident() > before + 19 * MIB && resident() < before + 20 * MIB + 2 * SLACK);
    CHECK(locked_around(block) >= 20 * MIB);
    CHECK(memarena_reset(arena));
    block = fill(arena, 20 * MIB);
    CHECK(locked_around(block) >= 20 * MIB);
    CHECK(resident() < before + 20 * MIB + 3 * SLACK);
    memarena_destroy(arena);
    CHECK(resident() < before + SLACK);
}

static void creation_brings_nothing_into_memory_and_what_is_touched_is_locked(void)
{
    check_brings_what_is_touched(0, 0);
}

static void likewise_where_the_process_locks_on_faults_itself(void)
{
    check_brings_what_is_touched(MCL_ONFAULT, 0);
}

static void likewise_with_huge_pages(void)
{
    check_brings_what_is_touched(0, MEMARENA_HUGE_PAGES);
}

static void a_reset_that_traps_stale_pointers_brings_nothing_into_memory(void)
{
    lock_memory(0);
    size_t before = resident();
    memarena_options options = {.capacity = CAPACITY, .flags = MEMARENA_TRAP_STALE};
    memarena *arena = memarena_create_with(&options);
    if (!arena && errno == EINVAL) SKIP("this system cannot move pages");
    CHECK(arena != NULL);
    CHECK(resident() < before + SLACK);
    for (int i = 0; i < 200; i++) {
        char *block = fill(arena, MIB);
        CHECK(locked_around(block) >= MIB);
        CHECK(memarena_reset(arena));
        CHECK(resident() < before + MIB + SLACK);
    }
    CHECK(most_resident() < before + MIB + 2 * SLACK);
    memarena_destroy(arena);
}

static bool locked_pages_can_be_given(void)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    void *memory = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return memory != MAP_FAILED && madvise(memory, page, MADV_DONTNEED_LOCKED) == 0;
}

static void locked_memory_is_given_back(void)
{
    lock_memory(0);
    if (!locked_pages_can_be_given()) SKIP("this kernel (before 5.18) takes no locked pages");
    memarena *arena = create((memarena_options){.capacity = CAPACITY, .retain_bytes = 4 * MIB});
    (void)fill(arena, 20 * MIB);
    CHECK(memarena_reset(arena));
    CHECK(memarena_resident_bytes(arena) <= 4 * MIB);
    CHECK(memarena_trim(arena, 0) > 0);
    CHECK_EQ(memarena_resident_bytes(arena), 0);
    char *block = memarena_alloc(arena, 20 * MIB);
    CHECK(block != NULL);
    for (size_t i = 0; i < 20 * MIB; i += 1000) CHECK_EQ(block[i], 0);
    memset(block, 1, 20 * MIB);
    CHECK(locked_around(block) >= 20 * MIB);
    memarena_destroy(arena);
}

static void prefaulted_memory_is_there_as_a_whole(void)
{
    lock_memory(0);
    size_t before = resident();
    memarena *arena = create((memarena_options){.capacity = 20 * MIB, .flags = MEMARENA_PREFAULT});
    CHECK(resident() >= before + 20 * MIB);
    CHECK(locked_around(memarena_alloc(arena, 8)) >= 20 * MIB);
    memarena_destroy(arena);
}

/* A process without privilege: what may be locked, the capacity counts in full. */
static void a_capacity_above_what_may_be_locked_is_out_of_memory(void)
{
    struct rlimit limit;
    CHECK(getrlimit(RLIMIT_MEMLOCK, &limit) == 0);
    if (limit.rlim_max < 8 * MIB) SKIP("too little memory may be locked");
    limit.rlim_cur = 8 * MIB;
    CHECK(setrlimit(RLIMIT_MEMLOCK, &limit) == 0);
    if (geteuid() == 0 && setresuid(NOBODY, NOBODY, NOBODY) != 0) SKIP("privileges cannot be dropped");
    lock_memory(0);
    size_t before = resident();
    errno = 0;
    CHECK(!memarena_create(CAPACITY) && errno == ENOMEM);
    memarena *arena = create((memarena_options){.capacity = 4 * MIB});
    (void)fill(arena, MIB);
    memarena *by_default = create((memarena_options){.capacity = 0}); /* half of what is left, say */
    CHECK(memarena_capacity(by_default) >= MIB / 4 && memarena_capacity(by_default) <= 3 * MIB);
    CHECK(memarena_alloc(by_default, 100) != NULL);
    CHECK(resident() < before + MIB + SLACK);
    memarena_destroy(by_default);
    memarena_destroy(arena);
}

static void nothing_is_locked_in_other_processes(void)
{
    memarena *arena = create((memarena_options){.capacity = CAPACITY});
    CHECK_EQ(locked_around(fill(arena, MIB)), 0);
    memarena_destroy(arena);
}

int main(void)
{
    RUN_APART(nothing_is_locked_in_other_processes);
    RUN_APART(creation_brings_nothing_into_memory_and_what_is_touched_is_locked);
    RUN_APART(likewise_where_the_process_locks_on_faults_itself);
    RUN_APART(likewise_with_huge_pages);
    RUN_APART(locked_memory_is_given_back);
    RUN_APART(prefaulted_memory_is_there_as_a_whole);
    RUN_APART(a_reset_that_traps_stale_pointers_brings_nothing_into_memory);
    RUN_APART(a_capacity_above_what_may_be_locked_is_out_of_memory);
    return test_done();
}
