/* The entry points at the end of a generation: memarena_reset and memarena_defer. */
#include "../feature/trim.h"
#include "../platform/probe.h"
#include "../scope/extent.h"
#include "../scope/scope.h"
#include "entry.h"

bool memarena_reset(memarena *handle)
{
    ma_arena *arena = ma_arena_of(handle);
    uint64_t generation;
    if (ma_is_scope(handle)) return ma_scope_reset((ma_scope *)handle);
    if (arena->retain_bytes) ma_trim_note(arena);
    if (!ma_close_generation(arena, &generation)) return false;
    if (arena->retain_bytes) ma_trim_note(arena); /* deferred calls, and other threads, have gone on meanwhile */
    while (!ma_step_end(arena, false)) (void)ma_fork_check(arena);
    ma_pool_refresh(&arena->pool, generation + 1);
    ma_extent_refresh(arena, generation + 1);
    ma_probe2(reset, arena, generation);
    if (arena->retain_bytes) ma_trim_after(arena);
    return true;
}

bool memarena_defer_at_(memarena *handle, void *record, uint64_t generation, void (*fn)(void *), void *arg)
{
    if (!ma_is_scope(handle)) return ma_defer_push(ma_arena_of(handle), record, generation, fn, arg);
    if (((ma_scope *)handle)->generation != generation) return ma_fail(EBUSY);
    ma_scope_defer_at((ma_scope *)handle, record, fn, arg);
    return true;
}

/* No callback of the user's runs while the generation is held open: the record is a block like any other, taken before, and
 * taken again where a reset came between. */
bool memarena_defer(memarena *handle, void (*fn)(void *), void *arg)
{
    if (!ma_is_scope(handle)) {
        (void)ma_fork_check(ma_arena_of(handle));
        ma_let_a_reset_run(ma_arena_of(handle));
    }
    for (;;) {
        uint64_t generation = memarena_generation(handle);
        void *call = memarena_alloc_aligned(handle, sizeof(ma_deferred_call), _Alignof(ma_deferred_call));
        if (!call) return false;
        if (memarena_defer_at_(handle, call, generation, fn, arg)) return true;
    }
}

bool memarena_undefer(memarena *handle, void (*fn)(void *), void *arg)
{
    if (!fn) return false;
    if (ma_is_scope(handle)) return ma_scope_undefer((ma_scope *)handle, fn, arg);
    (void)ma_fork_check(ma_arena_of(handle));
    ma_let_a_reset_run(ma_arena_of(handle));
    return ma_defer_take(ma_arena_of(handle), fn, arg);
}
