#include "../platform/os.h"
#include "arena.h"

#include <sched.h>

#define NAP_NS 250000
#define PAUSES 1000

void ma_give_way(const ma_arena *arena, bool naps)
{
    if (arena->mapping && naps)
        ma_os_nap(NAP_NS);
    else if (arena->mapping)
        (void)sched_yield();
    for (int n = 0; n < PAUSES && !arena->mapping; n++) ma_pause();
}
