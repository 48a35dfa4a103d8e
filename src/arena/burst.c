/* Bursts: the cursor of a range in a variable of the caller's loop.
 *
 * A range is a lane's TLAB, the extent that a scope bumps, or a run of MEMARENA_PER_CPU. A burst *holds* its range: only the burst
 * takes blocks there. Its cursor lies in the caller's memarena_burst, mostly in a register, so nobody else knows how far it has come.
 * The end lies in memory, in `end_` of the lane or scope, and is read at each block. Whoever ends what the burst holds stores a lower
 * end there. Then the next block, and the end of the burst, come to the slow road below, and bring the cursor.
 *
 * Meanwhile `cursor_` of the lane or scope is the thread's *mark*: odd, and behind every end. No inline bump fits, so other
 * calls of the thread come to the slow road, and see the mark. A lane claims their blocks apart, from its source. A scope takes them
 * beside, from an extent that it keeps for that. Neither writes an `end_` that lets anybody bump. So while a range is held `end_` is the
 * end of what the burst holds, or fails every check.
 *
 * To begin and end a burst takes one store to `cursor_` each. The slow road hands the range its cursor back, takes a block as any call
 * does, and holds the range again.
 *
 * Resets. The burst bumps what the lane has published (lane/tlab.c), and so ends with its generation as the lane would: a reset, or
 * memarena_sample, stores 0 in `end_` [empty-2]. A scope has one owner, and while it is open there is no reset.
 *
 * Threads that end. The mark tells the lessees of a lane's number apart. A thread that finds another one's mark in its lane knows that
 * the burst was never ended: its thread has ended, or a fork has lost it. What the burst held stays counted as handed out until the
 * next reset.
 *
 * Callbacks. `on_oom` and the function of memarena_sample may be left by an exception. Then the caller's cursor is older than
 * what the slow road has done. So before a callback `end_` is 0, and `burst` of the lane or scope has the true cursor, which
 * counts instead of the caller's from then on.
 *
 * MEMARENA_PER_CPU. A burst takes runs: blocks of the CPU's TLAB. Where a run ends is published in the thread's own lane, which nothing
 * else bumps there. `burst` of the lane has the same end, and the lane's account takes off what a run leaves unused and cannot
 * give back. A signal handler may interrupt any line here. It never looks at the thread's lane but for the mark, which stands from the
 * begin of the outermost burst to its end: a burst of the handler takes its blocks by the plain call. Plain calls do not touch the
 * thread's lane there.
 *
 * Given up: what a burst holds is not there for other calls of its thread when the arena is full, and accounts include it. */
#include "../lane/cpu.h"
#include "../lane/sample.h"
#include "../scope/scope.h"
#include "../supply/supply.h"
#include "entry.h"

/* What a burst takes at a time with MEMARENA_PER_CPU: as much as makes the cost of a run small beside that of its blocks. At most
 * an eighth of a TLAB, as any block that shares one. Blocks of more than a quarter of a run go their own way. */
#define RUN_BYTES 4096u
#define RUN_LEAST 256u
#define RUN_SHARE 4u

/* Of `end_`, while that is where a run ends: so the inline code leaves the end of the burst to the slow road. */
#define RUN ((uintptr_t)1)

/* What a burst holds: the range of a lane or scope, and its `burst`. */
typedef struct ma_held {
    memarena *handle;
    ma_arena *root;
    struct memarena *range;
    uintptr_t *burst;
} ma_held;

static memarena_burst_step_ step_to(const void *found, uintptr_t cursor)
{
    return (memarena_burst_step_){(void *)(uintptr_t)found, cursor};
}

/* From now on the caller's cursor does not count. */
static void keep_cursor(const ma_held *held, uintptr_t cursor)
{
    ma_store_relaxed(&held->range->end_, 0);
    *held->burst = cursor | MA_BURST_KEPT;
}

/* The true cursor, where the caller's is `cursor`. */
static uintptr_t true_cursor(const ma_held *held, uintptr_t cursor)
{
    uintptr_t kept = *held->burst;
    *held->burst = 0;
    return kept ? kept & ~MA_BURST_KEPT : cursor;
}

/* Whether a function of the user's was called by an allocation of this thread. It may use the burst that waits for it. */
static bool is_called_back(void)
{
    return ma_lane_thread_.is_asking || ma_lane_thread_.is_reporting;
}

/* Takes a block as any call of the thread does. Afterwards the burst holds what the lane or scope has. */
static bool find_block(const ma_held *held, uintptr_t *cursor, size_t size, size_t alignment, ma_block *block)
{
    ma_store_relaxed(&held->range->cursor_, *cursor);
    bool found = ma_is_scope(held->handle) ? ma_scope_find_block((ma_scope *)held->handle, size, alignment, block)
                                           : ma_find_block(held->root, size, alignment, block);
    *cursor = ma_load_relaxed(&held->range->cursor_);
    ma_store_relaxed(&held->range->cursor_, memarena_held_);
    return found;
}

/* A call from within a callback leaves the true cursor where the call that waits finds it. */
static memarena_burst_step_ take_block(const ma_held *held, uintptr_t cursor, size_t size, size_t alignment)
{
    ma_block block = {0};
    bool stays_kept = *held->burst != 0 && is_called_back();
    cursor = true_cursor(held, cursor);
    bool found = find_block(held, &cursor, size, alignment, &block);
    if (!found) {
        keep_cursor(held, cursor);
        bool once_more = ma_ask_for_room(held->root, held->handle, size);
        cursor = true_cursor(held, cursor);
        found = once_more && find_block(held, &cursor, size, alignment, &block);
    }
    if (block.weight) {
        keep_cursor(held, cursor);
        ma_sample_report(held->root, held->handle, &block, size);
        cursor = true_cursor(held, cursor);
    }
    if (stays_kept) keep_cursor(held, cursor);
    return step_to(found ? (void *)block.address : ma_out_of_memory(held->root, size), cursor);
}

/* ---- MEMARENA_PER_CPU: runs ---------------------------------------------------------------------------------------- */

/* 0: the TLABs are too small for runs. */
static uintptr_t run_bytes(const ma_arena *arena)
{
    uint32_t most = arena->tlab_limit[2] / 8 & ~(uint32_t)(MA_GRAIN - 1);
    return most < RUN_LEAST ? 0 : most < RUN_BYTES ? most : RUN_BYTES;
}

/* Gives back what is left of the run, which `burst` of the lane ends, or counts it as a tail. */
static void end_run(ma_arena *arena, ma_lane *lane, uintptr_t cursor)
{
    uintptr_t end = lane->burst, rest = end - cursor;
    uint64_t weight;
    ma_store_relaxed(&lane->tlab.end_, 0);
    lane->burst = 0;
    if (end == 0 || end & MA_BURST_KEPT || rest == 0) return; /* none, or of a generation that is over */
    if (ma_cpu_move(arena, end, cursor, lane->generation, &weight)) return;
    ma_count(&lane->tail_bytes, rest);
    ma_count(&lane->base, 0 - rest); /* [account-1] */
}

/* Where the burst's run ends may be read from now on. As `publish` in tlab.c, but nothing is bumped before this returns: so what a
 * reset has to overwrite may stand there at once. Returns whether the run is known to be of this generation. */
static bool publish_run(const ma_arena *arena, ma_lane *lane, uint64_t generation, uintptr_t end)
{
    (void)ma_exchange_seq_cst(&lane->tlab.end_, end | RUN);         /* [empty-2] */
    uint64_t head = ma_load_seq_cst(&arena->deferred);              /* [empty-1] */
    bool is_sampled = ma_load_seq_cst(&arena->sampling.round) != 0; /* [sample-1] */
    bool stands = ma_load_acquire(&arena->pool.generation) == generation;
    if (!stands || is_sampled || ma_reset_is_near(head, generation)) ma_store_relaxed(&lane->tlab.end_, 0);
    lane->burst = stands ? end : 0;
    return stands;
}

/* A run with the block at its start. Its address is 0: there is none to be had. A run that may be of another generation than the lane
 * is the caller's block alone, with all that lies behind it. */
static ma_block take_run(ma_arena *arena, ma_lane *lane, uintptr_t bytes, size_t alignment)
{
    uint64_t generation = ma_load_acquire(&arena->pool.generation);
    ma_request request = {
        .generation = generation, .size = bytes, .alignment = alignment < MA_GRAIN ? MA_GRAIN : alignment};
    ma_block run = {0};
    if (!ma_fork_check(arena) || ma_samples(arena)) return run;
    (void)ma_lane_enter(arena, lane, generation);
    if (ma_cpu_alloc(arena, &request, &run) != MA_CLAIMED) return (ma_block){0};
    ma_lane_see(arena, generation);
    if (!run.weight) (void)publish_run(arena, lane, generation, run.address + bytes);
    return run;
}

static memarena_burst_step_ take_per_cpu(ma_arena *arena, ma_lane *lane, uintptr_t cursor, size_t size,
                                         size_t alignment)
{
    uintptr_t bytes = run_bytes(arena);
    ma_block run = {0};
    end_run(arena, lane, cursor);
    if (size - 1 < bytes / RUN_SHARE && alignment <= bytes / RUN_SHARE && !is_called_back())
        run = take_run(arena, lane, bytes, alignment);
    if (!run.address) return step_to(memarena_alloc_slow_(&arena->tlab, size, alignment), MA_GRAIN);
    if (run.weight) ma_sample_report(arena, &arena->tlab, &run, size);
    return step_to((void *)run.address, run.address + (uintptr_t)ma_round_grain(size));
}

/* ---- The slow roads ------------------------------------------------------------------------------------------------- */

/* What this thread's burst holds there. False: nothing. */
static bool find_held(memarena *handle, ma_held *held)
{
    ma_scope *scope = ma_scope_of(handle);
    ma_arena *root = ma_root_of(handle);
    ma_lane *lane = scope ? NULL : ma_lane_leased(root);
    if (scope)
        *held = (ma_held){handle, root, &scope->tlab, &scope->burst};
    else if (lane)
        *held = (ma_held){handle, root, &lane->tlab, &lane->burst};
    return scope ? ma_scope_is_held(scope) : lane && ma_load_relaxed(&lane->tlab.cursor_) == memarena_held_;
}

static bool has_runs(const ma_held *held)
{
    return ma_arena_of(held->handle)->kind == MA_KIND_PER_CPU;
}

/* A burst that holds nothing as long as it is open has the range of the arena itself, whose end is always 0. */
memarena_burst_step_ memarena_burst_begin_slow_(memarena *handle)
{
    ma_arena *root = ma_root_of(handle);
    memarena_burst_step_ nothing = step_to(&root->tlab, MEMARENA_BURST_NOWHERE_);
    ma_scope *scope = ma_scope_of(handle);
    ma_lane *lane = NULL;
    if (MA_DEBUG || root->watch != MA_WATCH_NONE) return nothing;
    if (!scope) lane = ma_lane_mine(root);
    if (scope ? ma_scope_is_held(scope) : !lane || ma_burst_holds(lane)) return nothing; /* by another burst */
    struct memarena *range = scope ? &scope->tlab : &lane->tlab;
    uintptr_t cursor = ma_load_relaxed(&range->cursor_);
    if (!scope && root->kind == MA_KIND_PER_CPU) {
        if (run_bytes(root) == 0) return nothing;
        cursor = MA_GRAIN; /* no run yet */
    }
    ma_store_relaxed(&range->cursor_, memarena_held_);
    return step_to(range, cursor);
}

memarena_burst_step_ memarena_burst_alloc_slow_(memarena *handle, uintptr_t cursor, size_t size, size_t alignment)
{
    ma_held held;
    if (!ma_is_power_of_two(alignment))
        return step_to(memarena_alloc_aligned_slow_(handle, size, alignment), cursor); /* EINVAL */
    if (cursor == MEMARENA_BURST_NOWHERE_ || !find_held(handle, &held))
        return step_to(memarena_alloc_slow_(handle, size, alignment), MEMARENA_BURST_NOWHERE_);
    if (has_runs(&held)) return take_per_cpu(held.root, ma_lane_leased(held.root), cursor, size, alignment);
    return take_block(&held, cursor, size, alignment);
}

void memarena_burst_end_slow_(memarena *handle, uintptr_t cursor)
{
    ma_held held;
    if (cursor == MEMARENA_BURST_NOWHERE_ || !find_held(handle, &held)) return;
    if (has_runs(&held)) {
        end_run(held.root, ma_lane_leased(held.root), cursor);
        cursor = 0;
    } else {
        cursor = true_cursor(&held, cursor);
        if (ma_is_scope(handle)) ma_scope_open_range((ma_scope *)handle);
    }
    ma_store_relaxed(&held.range->cursor_, cursor);
}
