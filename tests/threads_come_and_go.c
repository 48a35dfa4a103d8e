/* A hundred thousand threads, a few at a time, on one arena that has just room for their blocks: none starves, and
 * neither memory nor mappings nor lanes grow with the number of threads that have been. */
#include "threads.h"
#include "yield.h"

#include <string.h>
#include <unistd.h>

#define AT_ONCE 4
#define BLOCK 40u

static memarena *arena;
static test_log blocks; /* room for all of them from the start: the log must not grow */

static void *take_one(void *argument)
{
    test_block *block = argument;
    unsigned char *bytes = memarena_alloc_aligned(arena, BLOCK, 8);
    CHECK(bytes != NULL);
    *block = (test_block){1, (uintptr_t)bytes, (uintptr_t)bytes + BLOCK};
    return NULL;
}

static void come_and_go(size_t threads)
{
    for (size_t i = 0; i < threads; i += AT_ONCE) {
        pthread_t batch[AT_ONCE];
        for (int n = 0; n < AT_ONCE; n++) batch[n] = test_start(take_one, &blocks.blocks[blocks.count + (size_t)n]);
        for (int n = 0; n < AT_ONCE; n++) test_join(batch[n]);
        blocks.count += AT_ONCE;
    }
}

static size_t mappings(void)
{
    size_t lines = 0;
    FILE *maps = fopen("/proc/self/maps", "r");
    if (!maps) return 0;
    for (int c; (c = fgetc(maps)) != EOF;) lines += c == '\n';
    fclose(maps);
    return lines;
}

static size_t resident_bytes(void)
{
    unsigned long size = 0, resident = 0;
    FILE *statm = fopen("/proc/self/statm", "r");
    if (!statm) return 0;
    if (fscanf(statm, "%lu %lu", &size, &resident) != 2) resident = 0;
    fclose(statm);
    return resident * (size_t)sysconf(_SC_PAGESIZE);
}

static void a_hundred_thousand_threads_in_turn_hold_what_one_does(void)
{
    size_t threads = (size_t)test_scaled(100000) / AT_ONCE * AT_ONCE, warm_up = threads / 10 / AT_ONCE * AT_ONCE;
    size_t capacity = threads * BLOCK / 20 * 21; /* 4 MiB for 100,000 */
    memarena_stats stats;
    arena = memarena_create(capacity);
    CHECK(arena != NULL);
    blocks.room = threads;
    blocks.blocks = malloc(threads * sizeof *blocks.blocks);
    CHECK(blocks.blocks != NULL);
    memset(blocks.blocks, 0xff, threads * sizeof *blocks.blocks);
    come_and_go(warm_up);
    size_t mappings_before = mappings(), resident_before = resident_bytes();
    come_and_go(threads - warm_up);
    size_t mappings_after = mappings(), resident_after = resident_bytes();
    CHECK_EQ(test_check_blocks(arena, &blocks), threads * BLOCK);
    CHECK_EQ(memarena_allocated_bytes(arena), threads * BLOCK);
    memarena_get_stats(arena, &stats, sizeof stats);
    printf("    %zu threads, %u lanes, %zu mappings (%zu), %zu KiB resident (%zu)\n", threads, stats.lanes,
           mappings_after, mappings_before, resident_after >> 10, resident_before >> 10);
    CHECK(stats.lanes <= AT_ONCE + 1);
    CHECK_EQ(stats.generation, 1);
    if (TEST_SLOWER == 1) { /* sanitizers keep memory of each thread */
        CHECK(mappings_after <= mappings_before + 8);
        CHECK(resident_after <= resident_before + ((size_t)256 << 10));
    }
    test_forget(&blocks);
    test_check_whole(arena, 4096);
    memarena_destroy(arena);
}

int main(void)
{
    RUN(a_hundred_thousand_threads_in_turn_hold_what_one_does);
    return test_done();
}
