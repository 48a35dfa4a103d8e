/* Whether a thread gets its own memory back after a reset. Where it does, the memory is still in that core's cache and
 * on that core's NUMA node; where two threads swap theirs, each finds it dirty in the other's cache.
 *
 * Two pinned threads fill at the same time, generation after generation. Asked of each: is its first block where it was
 * in the generation before, and to what share of the 64 KiB windows of addresses that it wrote to did it write then? */
#define _GNU_SOURCE
#include "cases.h"
#include "memarena.h"
#include "report.h"

#include <stdio.h>
#include <stdlib.h>

#define MEMBERS 2u
#define WINDOW_BITS 16u /* 64 KiB, the largest TLAB by default */
#define BLOCK_BYTES 64u
#define MAX_WINDOWS 256u

typedef struct footprint { /* of one thread in one generation */
    uintptr_t first;
    uintptr_t windows[MAX_WINDOWS];
    size_t count;
} footprint;

/* One thread over all generations. */
typedef struct witness {
    _Alignas(MEASURE_APART) footprint prints[2]; /* this generation and the one before, in turn */
    double same_first, same_windows;             /* sums over generations, each 0 to 1 */
} witness;

typedef struct scene {
    memarena *arena;
    size_t generations, blocks;
    witness witnesses[MEMBERS];
} scene;

static bool has_window(const footprint *print, uintptr_t window)
{
    for (size_t i = 0; i < print->count; i++)
        if (print->windows[i] == window) return true;
    return false;
}

static void fill(scene *all, footprint *print)
{
    uintptr_t latest = 0;
    print->count = 0;
    for (size_t i = 0; i < all->blocks; i++) {
        int64_t *block = memarena_alloc(all->arena, BLOCK_BYTES);
        if (!block) measure_die("the arena is full after %zu blocks", i);
        *block = (int64_t)i;
        if (i == 0) print->first = (uintptr_t)block;
        uintptr_t window = (uintptr_t)block >> WINDOW_BITS;
        if (window == latest) continue;
        latest = window;
        if (!has_window(print, window) && print->count < MAX_WINDOWS) print->windows[print->count++] = window;
    }
}

static void compare(witness *me, const footprint *now, const footprint *before)
{
    size_t same = 0;
    for (size_t i = 0; i < now->count; i++) same += has_window(before, now->windows[i]);
    me->same_first += now->first == before->first;
    me->same_windows += (double)same / (double)now->count;
}

static void run_scene(struct crew *crew, unsigned member)
{
    scene *all = crew->context;
    witness *me = &all->witnesses[member];
    for (size_t generation = 0; generation <= all->generations; generation++) {
        footprint *now = &me->prints[generation % 2];
        crew_meet(crew);
        fill(all, now);
        if (generation > 0) compare(me, now, &me->prints[(generation - 1) % 2]);
        crew_meet(crew);
        if (member == 0) memarena_reset(all->arena);
    }
}

void case_same_address(const struct plan *plan)
{
    report_case("same-address", "does a thread meet the same memory after a reset?");
    scene *all = aligned_alloc(MEASURE_APART, sizeof *all);
    if (!all) measure_die("no memory");
    *all = (scene){
        .arena = memarena_create(64u << 20),
        .generations = plan->rounds,
        .blocks = plan->batch_bytes / BLOCK_BYTES,
    };
    if (!all->arena) measure_die("no address space for 64 MiB");
    crew_run(MEMBERS, run_scene, all);
    for (unsigned i = 0; i < MEMBERS; i++) {
        const witness *one = &all->witnesses[i];
        char name[64];
        snprintf(name, sizeof name, "thread %u: same first block", i);
        report_value(name, MEMBERS, 100 * one->same_first / (double)all->generations, "percent");
        snprintf(name, sizeof name, "thread %u: same 64 KiB windows", i);
        report_value(name, MEMBERS, 100 * one->same_windows / (double)all->generations, "percent");
    }
    memarena_destroy(all->arena);
    free(all);
}
