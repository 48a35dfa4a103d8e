/* What the accounts say: see account.c. */
#ifndef MA_ACCOUNT_H
#define MA_ACCOUNT_H

#include "../generation/generation.h"
#include "../scope/scope.h"

/* Bytes handed out in this generation. */
uint64_t ma_account_allocated(const ma_arena *arena);
/* Bytes that a lane has handed out in this generation, and what is left of its TLAB. */
uintptr_t ma_account_lane(const ma_lane *lane, uint64_t generation);
uintptr_t ma_account_waiting(const ma_lane *lane);

#endif
