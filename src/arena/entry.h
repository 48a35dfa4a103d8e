/* What the entry points share. */
#ifndef MA_ENTRY_H
#define MA_ENTRY_H

#include "../generation/generation.h"

/* A block of an arena. Calls nobody back. False: there is no room. */
bool ma_find_block(ma_arena *arena, size_t size, uint64_t alignment, ma_block *block);
/* After a final no: asks the user for room and looks once more. Returns the block, or NULL, ENOMEM. */
void *ma_retry_or_fail(memarena *handle, size_t size, size_t alignment);

/* As memarena_room, but 0 where the room is not the caller's alone, or a block that takes it might be sampled or is watched. */
size_t ma_room_own(const memarena *handle);

#endif
