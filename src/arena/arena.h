/* What the entry points share. */
#ifndef MA_ENTRY_H
#define MA_ENTRY_H

#include "../generation/generation.h"

/* After a final no: asks the user for room and looks once more. Returns the block, or NULL, ENOMEM. */
void *ma_retry_or_fail(memarena *handle, size_t size, size_t alignment);

#endif
