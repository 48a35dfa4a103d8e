/* Prints what an arena is here, without addresses: the same under a profiler, or that has changed the program.
 *
 * usage: profiled */
#include <memarena.h>

#include <stdio.h>

#define BLOCKS 1000u

static int show(const char *what, const memarena_options *options)
{
    memarena *arena = memarena_create_with(options);
    if (!arena) return perror(what), 1;
    char *first = memarena_alloc(arena, 64), *second = memarena_alloc(arena, 64);
    for (size_t i = 2; i < BLOCKS; i++)
        if (!memarena_alloc(arena, 64)) return perror(what), 1;
    memarena_stats stats;
    memarena_get_stats(arena, &stats, sizeof stats);
    printf("%s: watched %u, lanes %u, allocated %zu, direct %llu, distance %td\n", what, stats.watched, stats.lanes,
           stats.allocated_bytes, (unsigned long long)stats.direct_blocks, second - first);
    if (!(options->flags & MEMARENA_TRAP_STALE)) printf("reserved %zu\n", stats.reserved_bytes);
    memarena_destroy(arena);
    return 0;
}

int main(void)
{
    static char buffer[1 << 20];
    return show("system", &(memarena_options){.capacity = (size_t)64 << 20}) ||
           show("buffer", &(memarena_options){.capacity = sizeof buffer, .buffer = buffer}) ||
           show("trap", &(memarena_options){.capacity = (size_t)1 << 20, .flags = MEMARENA_TRAP_STALE});
}
