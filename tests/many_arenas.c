/* Many arenas side by side and one after another: they keep apart, and leave nothing behind. */
#include "internals.h"
#include "test.h"

#include <sys/mman.h>
#include <unistd.h>

#define KIB ((size_t)1 << 10)
#define MIB ((size_t)1 << 20)

static bool is_watched(const memarena *arena)
{
    return ma_arena_of(arena)->watch != MA_WATCH_NONE;
}

static bool some_arena_is_watched(void)
{
    memarena *arena = memarena_create(KIB);
    CHECK(arena);
    bool watched = is_watched(arena);
    memarena_destroy(arena);
    return watched;
}

static void five_hundred_arenas_keep_apart(void)
{
    enum { ARENAS = 500, WORDS = 64 * KIB / 8 };
    static memarena *arenas[ARENAS];
    static uint64_t *newest[ARENAS]; /* each word holds the address of the one before it, and whose it is */
    for (int i = 0; i < ARENAS; i++) CHECK((arenas[i] = memarena_create(64 * KIB)) != NULL);
    for (int generation = 0; generation < 2; generation++) {
        memset(newest, 0, sizeof newest);
        for (uint64_t n = 0; n < WORDS / 2; n++) {
            for (uint64_t i = 0; i < ARENAS; i++) {
                uint64_t *block = memarena_alloc_aligned(arenas[i], 16, 8);
                if (!block) CHECK(false && "room");
                block[0] = (uintptr_t)newest[i];
                block[1] = n * ARENAS + i;
                newest[i] = block;
            }
        }
        size_t wrong = 0;
        for (uint64_t i = 0; i < ARENAS; i++) {
            CHECK_EQ(memarena_allocated_bytes(arenas[i]), 64 * KIB);
            CHECK(!memarena_alloc_aligned(arenas[i], 8, 8));
            CHECK(memarena_owns(arenas[i], newest[i]) && !memarena_owns(arenas[(i + 1) % ARENAS], newest[i]));
            uint64_t *block = newest[i];
            for (uint64_t n = WORDS / 2; n-- > 0; block = (uint64_t *)(uintptr_t)block[0])
                wrong += block[1] != n * ARENAS + i;
            CHECK(!block);
            memarena_reset(arenas[i]);
        }
        CHECK_EQ(wrong, 0);
    }
    for (int i = 0; i < ARENAS; i++) memarena_destroy(arenas[i]);
}

static void resetting_one_arena_leaves_the_others(void)
{
    enum { ARENAS = 20 };
    memarena *arenas[ARENAS];
    unsigned char *blocks[ARENAS];
    for (int i = 0; i < ARENAS; i++) {
        CHECK((arenas[i] = memarena_create(MIB)) != NULL);
        CHECK((blocks[i] = memarena_alloc(arenas[i], 1000)) != NULL);
        memset(blocks[i], i + 1, 1000);
    }
    for (int i = 0; i < ARENAS; i++) {
        memarena_reset(arenas[i]);
        memset(memarena_alloc(arenas[i], 1000), 0, 1000);
        for (int j = i + 1; j < ARENAS; j++) {
            CHECK_EQ(memarena_generation(arenas[j]), 1);
            for (int byte = 0; byte < 1000; byte++) CHECK_EQ(blocks[j][byte], j + 1);
        }
    }
    for (int i = 0; i < ARENAS; i++) memarena_destroy(arenas[i]);
}

/* From /proc/self/statm: bytes of address space, and resident. False where there is no such file. */
static bool measure(size_t *space, size_t *resident)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    FILE *file = fopen("/proc/self/statm", "r");
    if (!file) return false;
    bool found = fscanf(file, "%zu %zu", space, resident) == 2;
    fclose(file);
    *space *= page, *resident *= page;
    return found;
}

static void twenty_thousand_arenas_leave_nothing_behind(void)
{
    size_t space_before = 0, space = 0, resident_before = 0, resident = 0;
    int rounds = some_arena_is_watched() ? 2000 : 20000;
    for (int i = 0; i < rounds; i++) {
        if (i == rounds / 10 && !measure(&space_before, &resident_before)) return;
        memarena *arena = memarena_create(i % 2 ? 64 * KIB : 4 * MIB);
        CHECK(arena);
        CHECK(memarena_zalloc(arena, 20000));
        for (int block = 0; block < 20; block++) CHECK(memarena_zalloc(arena, 100));
        if (i % 3 == 0) memarena_reset(arena);
        memarena_destroy(arena);
    }
    CHECK(measure(&space, &resident));
    CHECK(space <= space_before + 16 * MIB);
    CHECK(resident <= resident_before + 4 * MIB);
}

static void an_arena_at_the_address_of_a_dead_one_is_new(void)
{
    uintptr_t last = 0;
    int again = 0;
    for (int i = 0; i < 200; i++) {
        memarena *arena = memarena_create(2 * MIB);
        CHECK(arena);
        again += (uintptr_t)arena == last;
        last = (uintptr_t)arena;
        CHECK_EQ(memarena_generation(arena), 1);
        CHECK_EQ(memarena_allocated_bytes(arena), 0);
        unsigned char *block = memarena_alloc(arena, 5000);
        CHECK(block && memarena_owns(arena, block));
        memset(block, 1, 5000);
        for (int generation = 0; generation < i % 4; generation++) memarena_reset(arena);
        size_t taken = memarena_allocated_bytes(arena);
        while (memarena_alloc_aligned(arena, 4096, 8)) taken += 4096;
        while (memarena_alloc_aligned(arena, 8, 8)) taken += 8;
        CHECK_EQ(taken, 2 * MIB);
        memarena_destroy(arena);
    }
    CHECK(again >= 0); /* how often is the system's affair; in a buffer, below, it is always */
}

/* A lane's TLAB of the dead arena must not survive in the new one. */
static void an_arena_in_the_buffer_of_a_dead_one_is_new(void)
{
    static unsigned char memory[2 * MIB];
    for (int i = 0; i < 200; i++) {
        size_t size = i % 5 == 4 ? 4 * KIB : i % 5 == 3 ? 100 * KIB : sizeof memory - (size_t)i % 3 * 8;
        memarena *arena = memarena_create_with(&(memarena_options){.buffer = memory, .capacity = size});
        CHECK(arena);
        CHECK_EQ(memarena_generation(arena), 1);
        CHECK_EQ(memarena_allocated_bytes(arena), 0);
        memarena_stats stats;
        memarena_get_stats(arena, &stats, sizeof stats);
        CHECK_EQ(stats.tlab_bytes + stats.tail_bytes + stats.lanes, 0);
        CHECK_EQ(stats.failed_requests + stats.refills + stats.direct_blocks, 0);
        if (i % 2) memarena_reset(arena);
        size_t taken = 0, capacity = memarena_capacity(arena);
        while (memarena_alloc_aligned(arena, 256, 8)) taken += 256;
        while (memarena_alloc_aligned(arena, 8, 8)) taken += 8;
        CHECK(taken <= capacity && taken + 8 > capacity);
        if (i % 3) memarena_reset(arena);
        CHECK(i % 3 == 0 || memarena_new_value(arena, int, i));
        memarena_destroy(arena);
    }
}

static void creation_touches_less_than_24_kib(void)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    char always[64] = "";
    FILE *file = fopen("/sys/kernel/mm/transparent_hugepage/enabled", "r");
    if (file && !fgets(always, sizeof always, file)) always[0] = '\0';
    if (file) fclose(file);
    if (strstr(always, "[always]")) return; /* then one touch takes 2 MiB */
    static const size_t capacities[] = {64, 64 * KIB, MIB, 64 * MIB, 256 * MIB};
    for (size_t i = 0; i < sizeof capacities / sizeof *capacities; i++) {
        memarena *arena = memarena_create(capacities[i]);
        CHECK(arena);
        const ma_arena *inside = ma_arena_of(arena);
        size_t count = (inside->mapping_bytes + page - 1) / page, resident = 0;
        unsigned char *present = calloc(count, 1);
        CHECK(present);
        if (mincore(inside->mapping, inside->mapping_bytes, present) == 0) {
            for (size_t n = 0; n < count; n++) resident += present[n] & 1u;
            CHECK(resident > 0);
            CHECK(resident * page < 24 * KIB);
        }
        free(present);
        memarena_destroy(arena);
    }
}

int main(void)
{
    RUN(creation_touches_less_than_24_kib);
    RUN(five_hundred_arenas_keep_apart);
    RUN(resetting_one_arena_leaves_the_others);
    RUN(twenty_thousand_arenas_leave_nothing_behind);
    RUN(an_arena_at_the_address_of_a_dead_one_is_new);
    RUN(an_arena_in_the_buffer_of_a_dead_one_is_new);
    return test_done();
}
