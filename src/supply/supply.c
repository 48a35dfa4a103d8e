#include "supply.h"

#include "../platform/probe.h"
#include "../platform/unwind.h"

/* How often a request that found no room looks again: first as soon as others have run, then after naps, some 10 ms in all. */
#define NAPS ((MA_YIELDS + 7) / 8)

bool ma_no_room_is_final(ma_arena *arena, uint64_t runs, int *patience)
{
    uint64_t now = ma_load_acquire(&arena->pool.runs); /* [run-1] */
    if ((now & MA_RUNS_MASK) == 0) return now == runs;
    if (++*patience > MA_YIELDS + NAPS) return true;
    ma_count_shared(&arena->hungry, 1);
    ma_give_way(arena, *patience > MA_YIELDS);
    return false;
}

ma_claim ma_claim_apart(ma_arena *arena, ma_lane *lane, ma_request *request, bool large, ma_span *span)
{
    unsigned home = lane ? lane->source : ma_pool_home(&arena->pool, ma_lane_thread_number());
    uint64_t probes = 0;
    request->want = 0;
    ma_claim outcome = large ? ma_pool_claim_large(&arena->pool, home, request, span, &probes)
                             : ma_pool_claim(&arena->pool, home, request, span, &probes);
    if (outcome == MA_NO_ROOM && !large) outcome = ma_pool_claim_run(&arena->pool, request, span);
    if (lane)
        ma_count(&lane->probes, (uintptr_t)probes);
    else if (probes)
        ma_count_shared(&arena->probes, probes);
    return outcome;
}

/* ---- Without room ------------------------------------------------------------------------------------------------- */

static void stop_asking(void *unused)
{
    (void)unused;
    ma_lane_thread_.is_asking = false;
}

bool ma_ask_for_room(ma_arena *arena, memarena *handle, size_t size)
{
    ma_store_relaxed(&arena->last_failed_bytes, size); /* on_oom may want to report it */
    if (!arena->on_oom || ma_lane_thread_.is_asking) return false;
    bool once_more = false;
    ma_lane_thread_.is_asking = true;
    MA_GUARD_BEGIN(stop_asking, NULL);
    once_more = arena->on_oom(arena->on_oom_context, handle, size);
    MA_GUARD_END();
    stop_asking(NULL);
    return once_more;
}

void *ma_out_of_memory(ma_arena *arena, size_t size)
{
    ma_count_shared(&arena->failed_requests, 1);
    ma_store_relaxed(&arena->last_failed_bytes, size);
    ma_probe3(out_of_memory, arena, size, arena->capacity);
    errno = ENOMEM;
    return NULL;
}
