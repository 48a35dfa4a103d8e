/* Physical memory given back: see trim.c. */
#ifndef MA_TRIM_H
#define MA_TRIM_H

#include "../base/arena.h"

/* Of an arena with retain_bytes, before a reset: notes what the generation has touched. */
void ma_trim_note(ma_arena *arena);
/* And after it: no more than that is kept. */
void ma_trim_after(ma_arena *arena);
/* Bytes of the bookkeeping that are in memory, of an arena in memory from the OS. */
uint64_t ma_trim_bookkeeping(const ma_arena *arena);

/* Whether the arena keeps a number of bytes across a reset: these are counted in small pages. */
static inline bool ma_counts_kept_bytes(const ma_arena *arena)
{
    return arena->retain_bytes != 0 && arena->retain_bytes != MEMARENA_RETAIN_AUTO;
}

#endif
