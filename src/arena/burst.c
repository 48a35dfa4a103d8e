/* Bursts: the cursor of a range in a variable of the caller's loop.
 *
 * A range is a lane's TLAB, the extent that a scope bumps, or a run of MEMARENA_PER_CPU. A burst *holds* its range: only it
 * takes blocks there. Its cursor lies in the caller's memarena_burst, mostly in a register, so nobody else knows how far it has come.
 * The end lies in memory and is read at each block. Whoever ends what the burst holds stores a lower end there. Then the next block,
 * and the end of the burst, come to the slow road below, with the cursor.
 *
 *     of           the end that is read     the range meanwhile
 *     a lane       `tlab.end_`              `tlab.cursor_` is the thread's mark: odd, and behind every end
 *     a scope      `burst_end`              the scope goes on as if its range were full
 *     a CPU lane   `tlab.end_` of the       as a lane. The run is a block of the CPU's lane; the accounts of the thread's lane
 *                  thread's own lane        take away what comes back unused and cannot be given back
 *
 * Lanes. The burst bumps what the lane has published (alloc.c), and so ends with its generation as the lane would: a reset or
 * memarena_sample stores 0 in `end_` [empty-2]. To begin and end a burst takes one store to `cursor_` each. The slow road hands the
 * lane its cursor back, takes a block as any call does, and holds the range again.
 * Other calls of the thread meet the mark. No inline bump fits, so they come to the slow road, which claims their blocks apart
 * and publishes nothing. So while a lane is held `end_` is the end of what the burst holds, or fails every check.
 *
 * The mark tells the lessees of a lane's number apart. A thread that finds another one's mark in its lane knows that the burst was
 * never ended: its thread has ended, or a fork has lost it. What that burst held stays counted as handed out until the next reset.
 *
 * Callbacks. `on_oom` and the function of memarena_sample may be left by an exception. Then the caller's cursor is older than
 * what the slow road has done. So before a callback `end_` is 0 and `burst`, in the lane, has the true cursor; it counts instead of
 * the caller's from then on.
 *
 * Signals. With MEMARENA_PER_CPU a handler may interrupt any line here. It never looks at the thread's lane but for the mark, which
 * stands from the begin of the outermost burst to its end: a burst of the handler takes its blocks by the plain call. Plain
 * calls do not touch the thread's lane there.
 *
 * Given up: what a burst holds is not there for other calls of its thread when the arena is full. Accounts include it. In
 * a scope that is sampled bursts hold nothing: where the next sample lies would depend on who comes first. */
#include "arena.h"

static_assert(offsetof(ma_scope, burst_end) == MEMARENA_SCOPE_BURST_, "what the inline code knows of a scope");
static_assert(offsetof(ma_lane, tlab.end_) == offsetof(struct memarena, end_), "likewise of a lane");

/* What a burst takes at a time with MEMARENA_PER_CPU: as much as makes the cost of a run small beside that of its blocks. At most
 * an eighth of a TLAB, as any block that shares one. Blocks of more than a quarter of a run go their own way. */
#define RUN_BYTES 2048u
#define RUN_LEAST 256u
#define RUN_SHARE 4u

/* Of `end_`, while that is where a run ends: so the inline code leaves the end of the burst to the slow road. */
#define RUN ((uintptr_t)1)

/* Of `burst` in a lane: its cursor is the rest of this word, and not the caller's. */
#define KEPT ((uintptr_t)1)

/* ---- A lane that is held --------------------------------------------------------------------------------------- */

bool ma_burst_holds(ma_lane *lane)
{
    uintptr_t cursor = ma_load_relaxed(&lane->tlab.cursor_);
    if (!(cursor & 1)) return false;
    if (cursor == memarena_lane_held_) return true;
    ma_lane_abandon(lane);
    lane->burst = 0;
    return false;
}

/* From now on the caller's cursor does not count. */
static void keep_cursor(ma_lane *lane, uintptr_t cursor)
{
    ma_store_relaxed(&lane->tlab.end_, 0);
    lane->burst = cursor | KEPT;
}

/* The true cursor, where the burst says `cursor`. */
static uintptr_t true_cursor(ma_lane *lane, uintptr_t cursor)
{
    uintptr_t kept = lane->burst;
    lane->burst = 0;
    return kept ? kept & ~KEPT : cursor;
}

void ma_burst_forget(ma_lane *lane)
{
    keep_cursor(lane, 0);
}

/* Whether a function of the user's was called by an allocation of this thread. It may use the burst that waits for it. */
static bool is_called_back(void)
{
    return ma_lane_thread_.is_asking || ma_lane_thread_.is_reporting;
}

/* This thread's lane, if a burst holds it; else NULL. */
static ma_lane *held_lane(const ma_arena *arena)
{
    ma_lane *lane = ma_lane_leased(arena);
    return lane && ma_load_relaxed(&lane->tlab.cursor_) == memarena_lane_held_ ? lane : NULL;
}

static memarena_burst_step_ step_to(const void *block, uintptr_t cursor)
{
    return (memarena_burst_step_){(void *)(uintptr_t)block, cursor};
}

/* Takes a block as any call of the thread does. Afterwards the burst holds what the lane has. */
static bool find_in_lane(ma_arena *arena, ma_lane *lane, uintptr_t *cursor, size_t size, size_t alignment,
                         ma_block *block)
{
    ma_store_relaxed(&lane->tlab.cursor_, *cursor);
    bool found = ma_find_block(arena, size, alignment, block);
    *cursor = ma_load_relaxed(&lane->tlab.cursor_);
    ma_store_relaxed(&lane->tlab.cursor_, memarena_lane_held_);
    return found;
}

/* A call from within a callback leaves the true cursor in the lane, where the call that waits finds it. */
static memarena_burst_step_ take_from_lane(ma_arena *arena, ma_lane *lane, uintptr_t cursor, size_t size,
                                           size_t alignment)
{
    ma_block block = {0};
    bool stays_kept = lane->burst != 0 && is_called_back();
    cursor = true_cursor(lane, cursor);
    bool found = find_in_lane(arena, lane, &cursor, size, alignment, &block);
    if (!found) {
        keep_cursor(lane, cursor);
        bool once_more = ma_ask_for_room(arena, &arena->tlab, size);
        cursor = true_cursor(lane, cursor);
        found = once_more && find_in_lane(arena, lane, &cursor, size, alignment, &block);
    }
    if (block.weight) {
        keep_cursor(lane, cursor);
        ma_sample_report(arena, &arena->tlab, &block, size);
        cursor = true_cursor(lane, cursor);
    }
    if (stays_kept) keep_cursor(lane, cursor);
    return step_to(found ? (void *)block.address : ma_out_of_memory(arena, size), cursor);
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
    if (end == 0 || end & KEPT || rest == 0) return; /* none, or of a generation that is over */
    if (ma_cpu_move(arena, end, cursor, lane->generation, &weight)) return;
    ma_count(&lane->tail_bytes, rest);
    ma_count(&lane->base, 0 - rest); /* [account-1] */
}

/* Where the burst's run ends may be read from now on. As `publish` in alloc.c, but nothing is bumped before this returns: so what a
 * reset has to overwrite may stand there at once. Returns whether the run is known to be of this generation. */
static bool publish_run(const ma_arena *arena, ma_lane *lane, uint64_t generation, uintptr_t end)
{
    (void)ma_exchange_seq_cst(&lane->tlab.end_, end | RUN);                  /* [empty-2] */
    uint64_t head = ma_load_seq_cst(&arena->deferred);                       /* [empty-1] */
    bool is_sampled = ma_load_seq_cst(&arena->sampling.round) != 0;          /* [sample-1] */
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
    ma_request request = {.generation = generation, .size = bytes, .alignment = alignment < MA_GRAIN ? MA_GRAIN : alignment};
    ma_block run = {0};
    if (!ma_fork_check(arena) || ma_samples(arena)) return run;
    ma_lane_enter(arena, lane, generation);
    if (ma_cpu_alloc(arena, &request, &run) != MA_CLAIMED) return (ma_block){0};
    ma_lane_see(arena, generation);
    if (!run.weight) (void)publish_run(arena, lane, generation, run.address + bytes);
    return run;
}

static memarena_burst_step_ take_per_cpu(ma_arena *arena, ma_lane *lane, uintptr_t cursor, size_t size, size_t alignment)
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

/* ---- Scopes ------------------------------------------------------------------------------------------------------- */

/* The burst holds what the scope has to bump, if anything. Returns its cursor. */
static uintptr_t hold_scope(ma_scope *scope)
{
    uintptr_t cursor = ma_load_relaxed(&scope->tlab.cursor_), end = ma_load_relaxed(&scope->tlab.end_);
    if (ma_samples(scope->root)) return MEMARENA_BURST_NOWHERE_;
    if (cursor < end) {
        scope->burst_end = end;
        ma_store_relaxed(&scope->tlab.cursor_, end);
    }
    return cursor;
}

/* The burst is open and holds nothing. */
static void let_scope_go(ma_scope *scope, uintptr_t cursor)
{
    uintptr_t end = scope->burst_end;
    scope->burst_end = MA_BURST_CLOSED;
    if (end > MA_BURST_CLOSED) ma_store_relaxed(&scope->tlab.cursor_, cursor);
}

static memarena_burst_step_ take_from_scope(ma_scope *scope, uintptr_t cursor, size_t size, size_t alignment)
{
    bool stays_closed = scope->burst_end == MA_BURST_CLOSED && is_called_back();
    let_scope_go(scope, cursor);
    void *block = memarena_alloc_slow_(&scope->tlab, size, alignment);
    return step_to(block, stays_closed ? cursor : hold_scope(scope));
}

/* ---- The slow roads ------------------------------------------------------------------------------------------------- */

/* A burst that holds nothing as long as it is open reads an end that is always 0. */
memarena_burst_step_ memarena_burst_begin_slow_(memarena *handle)
{
    ma_arena *root = ma_root_of(handle);
    memarena_burst_step_ nothing = step_to(&root->tlab.end_, MEMARENA_BURST_NOWHERE_);
    if (MA_DEBUG || root->watch != MA_WATCH_NONE) return nothing;
    if (ma_is_scope(handle)) {
        ma_scope *scope = (ma_scope *)handle;
        if (scope->burst_end != 0) return nothing; /* another burst is open, or the scope is sampled */
        scope->burst_end = MA_BURST_CLOSED;
        return step_to(&scope->burst_end, hold_scope(scope));
    }
    ma_lane *lane = ma_lane_mine(root);
    bool has_runs = root->kind == MA_KIND_PER_CPU;
    if (!lane || (has_runs && run_bytes(root) == 0) || ma_burst_holds(lane)) return nothing;
    uintptr_t cursor = ma_load_relaxed(&lane->tlab.cursor_);
    ma_store_relaxed(&lane->tlab.cursor_, memarena_lane_held_);
    return step_to(&lane->tlab.end_, has_runs ? MA_GRAIN : cursor);
}

memarena_burst_step_ memarena_burst_alloc_slow_(memarena *handle, uintptr_t cursor, size_t size, size_t alignment)
{
    if (alignment == 0 || (alignment & (alignment - 1)) != 0)
        return step_to(memarena_alloc_aligned_slow_(handle, size, alignment), cursor); /* EINVAL */
    if (cursor != MEMARENA_BURST_NOWHERE_) {
        ma_arena *arena = ma_arena_of(handle);
        if (ma_is_scope(handle)) return take_from_scope((ma_scope *)handle, cursor, size, alignment);
        ma_lane *lane = held_lane(arena);
        if (lane && arena->kind == MA_KIND_PER_CPU) return take_per_cpu(arena, lane, cursor, size, alignment);
        if (lane) return take_from_lane(arena, lane, cursor, size, alignment);
    }
    return step_to(memarena_alloc_slow_(handle, size, alignment), MEMARENA_BURST_NOWHERE_);
}

void memarena_burst_end_slow_(memarena *handle, uintptr_t cursor)
{
    ma_arena *arena = ma_arena_of(handle);
    if (cursor == MEMARENA_BURST_NOWHERE_) return;
    if (ma_is_scope(handle)) {
        let_scope_go((ma_scope *)handle, cursor);
        if (!ma_samples(((ma_scope *)handle)->root)) ((ma_scope *)handle)->burst_end = 0;
        return;
    }
    ma_lane *lane = held_lane(arena);
    if (!lane) return;
    if (arena->kind == MA_KIND_PER_CPU) {
        end_run(arena, lane, cursor);
        cursor = 0;
    } else {
        cursor = true_cursor(lane, cursor);
    }
    ma_store_relaxed(&lane->tlab.cursor_, cursor);
}
