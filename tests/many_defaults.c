/* Thousands of arenas of capacity 0 leave each other, and the rest of the program, address space. */
#include <memarena.h>

#include "test.h"

#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>

#define MIB ((size_t)1 << 20)
#define GIB ((size_t)1 << 30)
#define TIB ((uint64_t)1 << 40)
enum { MANY = 10000, TRAPS = 300 };

static memarena *arenas[MANY];

static memarena *create(unsigned flags)
{
    memarena *arena = memarena_create_with(&(memarena_options){.flags = flags});
    CHECK(arena != NULL);
    int *block = memarena_new_value(arena, int, 4711);
    CHECK(block && *block == 4711);
    return arena;
}

static void *nothing(void *argument)
{
    return argument;
}

static void the_rest_of_the_program_has_address_space(void)
{
    char *block = malloc(GIB);
    CHECK(block != NULL);
    block[GIB / 2] = 1;
    free(block);
    void *memory = mmap(NULL, (size_t)TIB, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    CHECK(memory != MAP_FAILED && munmap(memory, (size_t)TIB) == 0);
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, nothing, NULL) == 0 && pthread_join(thread, NULL) == 0);
    memarena *arena = memarena_create(GIB);
    CHECK(arena != NULL);
    memarena_destroy(arena);
}

static size_t destroy(int count)
{
    size_t least = SIZE_MAX;
    for (int i = 0; i < count; i++) {
        size_t capacity = memarena_capacity(arenas[i]);
        if (capacity < least) least = capacity;
        memarena_destroy(arenas[i]);
    }
    return least;
}

static size_t capacity_of_the_first(void)
{
    arenas[0] = create(0);
    return destroy(1);
}

static void ten_thousand_arenas_leave_half_of_the_address_space(void)
{
    uint64_t first = capacity_of_the_first();
    size_t most = (size_t)sysconf(_SC_PHYS_PAGES) * (size_t)sysconf(_SC_PAGESIZE);
    CHECK(first <= most && first > MIB);
    uint64_t reserved = 0;
    for (int i = 0; i < MANY; i++) {
        memarena_stats stats;
        arenas[i] = create(0);
        memarena_get_stats(arenas[i], &stats, sizeof stats);
        reserved += stats.reserved_bytes;
        if (i == 100 && !stats.watched && first < TIB / 32) CHECK_EQ(stats.capacity_bytes, first);
    }
    CHECK(reserved <= 64 * TIB);
    the_rest_of_the_program_has_address_space();
    CHECK(destroy(MANY) >= 16 * MIB);
    CHECK_EQ(capacity_of_the_first(), first); /* nothing of them is left in the account */
}

static void windows_for_stale_pointers_count(void)
{
    arenas[0] = memarena_create_with(&(memarena_options){.flags = MEMARENA_TRAP_STALE});
    if (!arenas[0]) return; /* this system cannot move pages */
    for (int i = 1; i < TRAPS; i++) arenas[i] = create(MEMARENA_TRAP_STALE);
    the_rest_of_the_program_has_address_space();
    for (int i = 0; i < TRAPS; i++) CHECK(memarena_reset(arenas[i]));
    CHECK(destroy(TRAPS) >= 16 * MIB);
}

int main(void)
{
    if (sizeof(void *) < 8) SKIP("32 bits of address space hold no thousands of arenas by default");
    RUN(ten_thousand_arenas_leave_half_of_the_address_space);
    RUN(windows_for_stale_pointers_count);
    return test_done();
}
