/* The system refuses: the k-th mapping, the advice, the unmapping. Creation answers NULL with the reason and leaks
 * nothing. And what is never asked of the system: anything at all between creation and destruction. */
#include <memarena.h>

#include "test.h"

#include <errno.h>
#include <sys/mman.h>

#define MIB ((size_t)1 << 20)

/* Linked with --wrap for each of these: the library calls ours. */
void *__real_mmap(void *address, size_t bytes, int protection, int flags, int file, off_t offset);
void *__wrap_mmap(void *address, size_t bytes, int protection, int flags, int file, off_t offset);
int __real_munmap(void *address, size_t bytes);
int __wrap_munmap(void *address, size_t bytes);
int __real_madvise(void *address, size_t bytes, int advice);
int __wrap_madvise(void *address, size_t bytes, int advice);

static struct {
    bool active; /* a sanitizer in the same program also maps */
    int maps, unmaps, advices;
    size_t mapped;      /* bytes mapped and not unmapped */
    int failing_map;    /* which one fails, from 1; 0: none */
    size_t largest;     /* larger mappings fail; 0: none do */
    int failing_advice; /* this advice fails ... */
    int reason;         /* ... and with this errno */
    bool unmapping_fails;
} os;

void *__wrap_mmap(void *address, size_t bytes, int protection, int flags, int file, off_t offset)
{
    if (!os.active) return __real_mmap(address, bytes, protection, flags, file, offset);
    if (++os.maps == os.failing_map || (os.largest && bytes > os.largest)) {
        errno = ENOMEM;
        return MAP_FAILED;
    }
    void *memory = __real_mmap(address, bytes, protection, flags, file, offset);
    if (memory != MAP_FAILED) os.mapped += bytes;
    return memory;
}

int __wrap_munmap(void *address, size_t bytes)
{
    if (!os.active) return __real_munmap(address, bytes);
    os.unmaps++;
    if (os.unmapping_fails) {
        errno = EINVAL;
        return -1;
    }
    os.mapped -= bytes;
    return __real_munmap(address, bytes);
}

int __wrap_madvise(void *address, size_t bytes, int advice)
{
    if (!os.active) return __real_madvise(address, bytes, advice);
    os.advices++;
    if (os.failing_advice && advice == os.failing_advice) {
        errno = os.reason;
        return -1;
    }
    return __real_madvise(address, bytes, advice);
}

/* From here on nothing is mapped, and nothing fails unless the test says so. */
static void watch_the_os(void)
{
    memset(&os, 0, sizeof os);
    os.active = true;
}

static void check_works(memarena *arena)
{
    for (int generation = 0; generation < 2; generation++) {
        for (int i = 0; i < 1000; i++) CHECK(memarena_zalloc(arena, 100));
        CHECK(memarena_alloc_aligned(arena, memarena_capacity(arena) / 4, 8));
        memarena_reset(arena);
    }
}

static void a_refused_mapping_refuses_the_arena(void)
{
    static const size_t capacities[] = {64, 4096, 65536, MIB, 64 * MIB};
    for (size_t i = 0; i < sizeof capacities / sizeof *capacities; i++) {
        for (unsigned flags = 0; flags < 4; flags++) {
            watch_the_os();
            os.largest = 1; /* all of them */
            errno = 0;
            CHECK(!memarena_create_with(&(memarena_options){.capacity = capacities[i], .flags = flags}));
            CHECK_EQ(errno, ENOMEM);
            CHECK_EQ(os.mapped, 0);
            CHECK_EQ(os.unmaps, 0);
            CHECK(os.maps >= 1 && os.maps <= 2); /* a sanitizer is content with less, and asks twice */
        }
    }
    os.active = false;
}

static void whichever_mapping_is_refused_nothing_leaks(void)
{
    for (int k = 1; k <= 3; k++) {
        watch_the_os();
        os.failing_map = k;
        memarena *arena = memarena_create(8 * MIB);
        if (!arena) CHECK_EQ(os.mapped, 0);
        if (arena) {
            os.failing_map = 0;
            check_works(arena);
            memarena_destroy(arena);
        }
        CHECK_EQ(os.mapped, 0);
    }
    os.active = false;
}

/* Where the address space does not hold the machine's memory the default is less, and leaves the program some. */
static void the_default_capacity_bows_to_the_address_space(void)
{
    for (size_t largest = 2 * MIB; largest <= 512 * MIB; largest *= 4) {
        watch_the_os();
        os.largest = largest;
        memarena *arena = memarena_create(0);
        CHECK(arena);
        CHECK(memarena_capacity(arena) >= largest / 16);
        CHECK(memarena_capacity(arena) <= largest / 2 || largest > 64 * MIB);
        CHECK(os.mapped <= largest);
        CHECK(memarena_alloc_aligned(arena, memarena_capacity(arena) & ~(size_t)7, 8));
        memarena_destroy(arena);
        CHECK_EQ(os.mapped, 0);
    }
    /* What has just been found may be gone again when it is reserved anew. */
    watch_the_os();
    os.largest = 8 * MIB;
    memarena *arena = memarena_create(0);
    CHECK(arena);
    int last = os.maps;
    memarena_destroy(arena);
    for (int k = 1; k <= last; k++) {
        watch_the_os();
        os.largest = 8 * MIB;
        os.failing_map = k;
        errno = 0;
        arena = memarena_create(0);
        CHECK(arena || errno == ENOMEM);
        memarena_destroy(arena);
        CHECK_EQ(os.mapped, 0);
    }
    watch_the_os();
    os.largest = 4096;
    errno = 0;
    CHECK(!memarena_create(0));
    CHECK_EQ(errno, ENOMEM);
    CHECK_EQ(os.mapped, 0);
    os.active = false;
}

static void refused_huge_pages_refuse_the_arena(void)
{
#ifdef MADV_HUGEPAGE
    static const int reasons[] = {EINVAL, ENOMEM, EAGAIN};
    for (size_t i = 0; i < sizeof reasons / sizeof *reasons; i++) {
        watch_the_os();
        os.failing_advice = MADV_HUGEPAGE;
        os.reason = reasons[i];
        errno = 0;
        CHECK(!memarena_create_with(&(memarena_options){.capacity = 8 * MIB, .flags = MEMARENA_HUGE_PAGES}));
        CHECK_EQ(errno, reasons[i]);
        CHECK_EQ(os.mapped, 0);
    }
    os.active = false;
#endif
}

static void refused_memory_refuses_the_prefaulted_arena(void)
{
#ifdef MADV_POPULATE_WRITE
    static const int reasons[] = {ENOMEM, EFAULT, EAGAIN};
    for (size_t i = 0; i < sizeof reasons / sizeof *reasons; i++) {
        watch_the_os();
        os.failing_advice = MADV_POPULATE_WRITE;
        os.reason = reasons[i];
        errno = 0;
        CHECK(!memarena_create_with(&(memarena_options){.capacity = 8 * MIB, .flags = MEMARENA_PREFAULT}));
        CHECK_EQ(errno, ENOMEM);
        CHECK_EQ(os.mapped, 0);
    }
    os.active = false;
#endif
}

/* A kernel that does not know the advice has its pages touched one by one. */
static void an_old_kernel_prefaults_too(void)
{
#ifdef MADV_POPULATE_WRITE
    watch_the_os();
    os.failing_advice = MADV_POPULATE_WRITE;
    os.reason = EINVAL;
    memarena *arena = memarena_create_with(&(memarena_options){.capacity = 8 * MIB - 8, .flags = MEMARENA_PREFAULT});
    CHECK(arena);
    char *block = memarena_alloc_aligned(arena, 8 * MIB - 8, 8);
    CHECK(block);
    uintptr_t first = ((uintptr_t)block + 4095) & ~(uintptr_t)4095;
    unsigned char present[2048];
    memset(present, 1, sizeof present);
    (void)mincore((void *)first, 8 * MIB - 8192, present);
    for (size_t page = 0; page < (8 * MIB - 8192) / 4096; page++) CHECK(present[page] & 1u);
    memarena_destroy(arena);
    CHECK_EQ(os.mapped, 0);
    os.active = false;
#endif
}

static void a_refused_unmapping_is_no_error(void)
{
    watch_the_os();
    memarena *arena = memarena_create(MIB);
    CHECK(arena);
    os.unmapping_fails = true;
    errno = 4711;
    memarena_destroy(arena);
    CHECK_EQ(errno, 4711);
    CHECK_EQ(os.unmaps, 1);
    arena = memarena_create(MIB); /* and the next one is none the worse */
    CHECK(arena);
    check_works(arena);
    os.unmapping_fails = false;
    memarena_destroy(arena);
    os.active = false;
}

static void the_os_is_asked_at_the_beginning_and_the_end_only(void)
{
    static const size_t capacities[] = {4096, MIB, 64 * MIB};
    for (size_t i = 0; i < sizeof capacities / sizeof *capacities; i++) {
        watch_the_os();
        memarena *arena = memarena_create(capacities[i]);
        CHECK(arena);
        CHECK_EQ(os.maps, 1);
        for (int generation = 0; generation < 10; generation++) {
            while (memarena_alloc_aligned(arena, 8000, 64)) continue;
            while (memarena_alloc(arena, 8)) continue;
            memarena_reset(arena);
        }
        CHECK_EQ(os.maps, 1);
        CHECK_EQ(os.unmaps, 0);
        CHECK_EQ(os.advices, 0);
        memarena_destroy(arena);
        CHECK_EQ(os.maps, 1);
        CHECK_EQ(os.unmaps, 1);
        CHECK_EQ(os.mapped, 0);
    }
    os.active = false;
}

int main(void)
{
    RUN(a_refused_mapping_refuses_the_arena);
    RUN(whichever_mapping_is_refused_nothing_leaks);
    RUN(the_default_capacity_bows_to_the_address_space);
    RUN(refused_huge_pages_refuse_the_arena);
    RUN(refused_memory_refuses_the_prefaulted_arena);
    RUN(an_old_kernel_prefaults_too);
    RUN(a_refused_unmapping_is_no_error);
    RUN(the_os_is_asked_at_the_beginning_and_the_end_only);
    return test_done();
}
