/* The generation: what holds it open, what ends it, and who was alive when. */
#ifndef MA_GENERATION_H
#define MA_GENERATION_H

#include "../base/lease.h"

/* ---- trap.c: with MEMARENA_TRAP_STALE each generation has addresses of its own ------------------------------------------ */

#define MA_TRAP_WINDOWS 64u /* so many generations have addresses of their own... */
#define MA_TRAP_SPACE \
    ((uint64_t)SIZE_MAX / (sizeof(void *) == 8 ? (uint64_t)1 << 20 : 8)) /* ...but at most so many bytes */

/* Whether each generation of this arena has addresses of its own. */
static inline bool ma_traps(const ma_arena *arena)
{
    return arena->pool.window_mask != 0;
}

/* Only the window of the first generation can be touched from now on. False: errno. */
bool ma_trap_begin(ma_arena *arena, unsigned windows, size_t window_bytes);
/* Sees to it that the next generation's window can be mapped, before this generation is closed. False: errno. */
bool ma_trap_prepare(const ma_arena *arena, uint64_t generation);
/* Moves the pages from the window of this generation to that of the next. `lost`: a thread that a fork has lost may have begun. */
void ma_trap_move(const ma_arena *arena, uint64_t generation, bool lost);
void ma_trap_end(const ma_arena *arena);

/* ---- step.c: a generation that is closed ends ------------------------------------------------------------------------------ */

#define MA_CALL_BITS 44
#define MA_CALL_MASK (((uint64_t)1 << MA_CALL_BITS) - 1)
#define MA_BUSY (MA_DEFERRED_CLOSING << 1)

/* What the head says when nobody is trying to close. */
static inline uint64_t ma_not_closing(uint64_t head)
{
    return head & MA_DEFERRED_CLOSING ? head & ~(MA_DEFERRED_CLOSING | MA_CALL_MASK) : head;
}

/* One look: the generation, and the head that belongs to it. False: another thread has closed a generation that only that thread
 * can end. The caller checks for a fork, gives way, and looks again. */
bool ma_step_look(ma_arena *arena, uint64_t *generation, uint64_t *head);
/* Ends the generation if it is closed. `lost`: in a child of fork, where a lost thread may have begun to. False: not now, as above. */
bool ma_step_end(ma_arena *arena, bool lost);

/* As ma_trap_prepare, alone. MA_MOVED: not now, as above, or this generation has ended; MA_NO_ROOM: errno. */
ma_claim ma_step_prepare(ma_arena *arena, uint64_t generation);
/* This thread runs the arena's deferred calls no longer. */
void ma_step_stop_running(void *arena);
/* In a child of fork: what lost threads announced in the head, and who has to end the generation. */
void ma_step_repair(ma_arena *arena, uintptr_t survivor);

/* ---- fork.c: who was alive when --------------------------------------------------------------------------------------------- */

/* To be called before there is an arena that a fork may meet. */
void ma_fork_watch(const ma_arena *arena);
/* Makes what is announced in the arena right for this process. */
void ma_fork_repair(ma_arena *arena);
/* Of `pins` only: from now on they are counted in this process. */
void ma_fork_repair_pins(ma_arena *arena, uint64_t process);

/* To be called before this thread looks at what others have announced in the arena, or announces something itself. False: another
 * thread is making it right just now, or one that our signal handler has interrupted. */
static inline bool ma_fork_check(ma_arena *arena)
{
    if (__builtin_expect(ma_fork_is_over(arena), 1)) return true;
    ma_fork_repair(arena);
    return ma_fork_is_over(arena);
}

/* ---- close.c: what holds a generation open, and what closes it --------------------------------------------------------------- */

/* Scopes of the arena that are open, those in scopes included. */
uint64_t ma_open_scopes(const ma_arena *arena);
/* After a scope or a pin was counted: no reset comes through. Returns the generation that stays open. */
uint64_t ma_hold_off(ma_arena *arena);
/* Pins the generation, which does not end before ma_pin_end. Returns it. */
uint64_t ma_pin_begin(ma_arena *arena, ma_pin *pin, uint64_t amount);
void ma_pin_end(ma_pin *pin);
/* Runs the deferred calls and closes the generation. False: EBUSY, nothing is closed; or ENOMEM. `*generation`: which. */
bool ma_close_generation(ma_arena *arena, uint64_t *generation);
/* Runs the deferred calls of an arena that is about to be destroyed. */
void ma_defer_run_all(ma_arena *arena);
/* Enters a call into the list, in that generation. False: a reset has ended it, or is about to. */
bool ma_defer_push(ma_arena *arena, ma_deferred_call *call, uint64_t generation, void (*fn)(void *), void *arg);
/* Lets a reset that runs calls come first, for a while: else it would never end while others defer without a pause. */
void ma_let_a_reset_run(const ma_arena *arena);

#endif
