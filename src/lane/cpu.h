/* CPU lanes: see cpu.c. Their calls are for any thread. */
#ifndef MA_CPU_H
#define MA_CPU_H

#include "tlab.h"

/* A block from the lane of the CPU on which this thread runs. MA_NO_ROOM: claim it elsewhere. */
ma_claim ma_cpu_alloc(ma_arena *arena, ma_request *request, ma_block *block);
/* When all else is taken: a block from what waits in any CPU lane. MA_NO_ROOM: but what could go back to the shards has. */
ma_claim ma_cpu_collect(ma_arena *arena, const ma_request *request, ma_block *block);
/* Whoever bumps a CPU lane next comes to the slow road first. (A lane that another thread holds is opened by its holder, perhaps
 * as if nothing had been asked for.) */
void ma_cpu_close_all(ma_arena *arena);
/* In a child of fork: what lost threads hold is given up. */
void ma_cpu_repair(ma_arena *arena, uintptr_t survivor);
/* Moves the end of a block in the lane of now, if it is the last one there. Back only for a caller who knows that the block
 * is of this generation. */
bool ma_cpu_move(ma_arena *arena, uintptr_t from, uintptr_t to, uint64_t generation, uint64_t *weight);

#endif
