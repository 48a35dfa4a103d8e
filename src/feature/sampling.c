/* memarena_sample: what is asked for changes, and every range that is bumped follows. See lane/sample.c. */
#include "../generation/generation.h"
#include "../lane/cpu.h"
#include "../lane/sample.h"
#include "../platform/os.h"
#include "../scope/scope.h"

/* How long memarena_sample lets another one finish: some 10 ms after the yields. */
#define NAPS 40

/* One thread at a time. Others are patient, but not for ever: that thread may have been stopped. */
static bool become_changer(ma_arena *arena)
{
    for (int patience = 0;;) {
        if (ma_fork_check(arena) && ma_swap_address_seq_cst(&arena->sampling.changer, 0, ma_os_thread_self()))
            return true; /* [sample-3] */
        if (++patience > MA_YIELDS + NAPS) return false;
        ma_give_way(arena, patience > MA_YIELDS);
    }
}

bool memarena_sample(memarena *handle, size_t bytes,
                     void (*fn)(void *context, memarena *arena, void *block, size_t size, size_t weight), void *context)
{
    ma_arena *arena = ma_arena_of(handle);
    if (ma_is_scope(handle) || (bytes != 0 && !fn)) return ma_fail(EINVAL);
    if (!become_changer(arena)) return ma_fail(EBUSY);
    ma_sample_change(arena, bytes, fn, context);
    ma_lane_empty_all(arena);
    ma_cpu_close_all(arena);
    return true;
}
