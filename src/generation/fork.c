/* Fork: the one place that knows who was alive when.
 *
 * A fork copies an arena in the middle of whatever other threads do to it, and of these threads the child has none. What a
 * lost thread had claimed and not yet handed out is lost until the next reset, and no more: claims, lanes and free extents are
 * such that a thread may vanish before any of its accesses. A reset may be cut anywhere, too: see step.c.
 * What remains is what a thread *announces* in an arena while it is in the middle of a call, and would take back:
 *
 *     deferred: busy, closing    a reset runs deferred calls, or is about to close the generation
 *     pins                       memarena_defer, memarena_trim
 *     pool.runs                  a run is being claimed, or the rest of a source is borrowed
 *     holder of a CPU lane       its TLAB is being exchanged
 *     sampling.changer           memarena_sample
 *     moving                     MEMARENA_TRAP_STALE: pages are being moved
 *     watch_claimed              under a sanitizer: memory is being forbidden
 *
 * Each arena knows in which process that was announced, by number (process.h), and the first caller in another process makes it right
 * here, once. What the thread that forked was itself in the middle of stays: in a child of a fork from a signal handler, from a
 * deferred call or from `on_oom` that call goes on. Words that name a thread tell it by that name, pins by a list of the thread's
 * own.
 *
 * A thread that meets another one repairing lets it finish, but not for ever: that thread may have been stopped, or our signal handler
 * may have interrupted it. What it announces then says in which process (pins), or it does not announce it: it is refused,
 * or allocates without CPU lanes. So what the other one finds when it goes on is from before the fork.
 *
 * Given up: nothing is prevented, no thread waits for another before a fork. In a child that was made without handlers (by _Fork, or
 * clone), by a thread that is in the middle of memarena_defer or memarena_trim, the pins of that thread are known only once it comes
 * here itself; the child must not use that arena from other threads before. */
#include "generation.h"

#include "../lane/cpu.h"
#include "../lane/sample.h"
#include "../platform/os.h"
#include "../supply/watch.h"

enum { UNWATCHED, BEING_WATCHED, WATCHED }; /* fork_watched */
static _Alignas(8) uint64_t fork_watched;

/* Of `process` while a thread is repairing the arena. */
#define REPAIRING ((uint64_t)1 << 63)

/* What this thread holds the arena open by; counted in the process of now. */
static uint64_t own_pins(const ma_arena *arena, uint64_t process)
{
    uint64_t sum = process << MA_PIN_PROCESS_SHIFT;
    for (ma_pin *pin = ma_load_relaxed(&ma_lane_thread_.pins); pin; pin = pin->outer) {
        if (pin->arena != arena) continue;
        uint64_t amount = ma_load_relaxed(&pin->counted) & MA_PIN_MASK;
        if (amount == 0) continue; /* it ends */
        ma_store_relaxed(&pin->counted, process << MA_PIN_PROCESS_SHIFT | amount);
        sum += amount;
    }
    return sum;
}

void ma_fork_repair_pins(ma_arena *arena, uint64_t process)
{
    uint64_t before = ma_load_acquire(&arena->pins);
    while (!ma_pin_same_process(before, process << MA_PIN_PROCESS_SHIFT) &&
           !ma_swap_seq_cst(&arena->pins, &before, own_pins(arena, process)))
        continue; /* [pin-1] */
}

static void repair(ma_arena *arena, uint64_t process)
{
    uintptr_t survivor = ma_load_relaxed(&arena->shared->survivor);
    ma_fork_repair_pins(arena, process);
    (void)ma_and_release(&arena->pool.runs, ~MA_RUNS_MASK); /* [run-1] */
    ma_cpu_repair(arena, survivor);
    ma_sample_repair(arena, survivor);
    ma_watch_repair(arena);
    ma_step_repair(arena, survivor);
}

void ma_fork_repair(ma_arena *arena)
{
    uint64_t process = ma_process_number(arena->shared), known = ma_load_acquire(&arena->process);
    if (process <= MA_PROCESS_BEGINS)
        return; /* a signal handler that has interrupted the thread which numbers the process */
    for (int yields = 0; known != process && yields < MA_YIELDS;) {
        if (known == (process | REPAIRING)) { /* by another thread, or by one that our signal handler has interrupted */
            yields++;
            ma_give_way(arena, false);
            known = ma_load_acquire(&arena->process);
        } else if (ma_swap_acq_rel(&arena->process, &known, process | REPAIRING)) {
            repair(arena, process);
            ma_store_release(&arena->process, process); /* [fork-1] */
            return;
        }
    }
}

/* In the only thread of the child. The arenas that it has pinned come first: other threads would not know its pins. */
static void after_fork(void)
{
    ma_process_forked();
    for (ma_pin *pin = ma_load_relaxed(&ma_lane_thread_.pins); pin; pin = pin->outer) (void)ma_fork_check(pin->arena);
}

/* Once, as the C library's list of handlers only grows. False: another thread is at it, or has been. */
static bool watch(void)
{
    uint64_t state = UNWATCHED;
    if (!ma_swap_acq_rel(&fork_watched, &state, BEING_WATCHED)) return false;
    (void)ma_os_watch_fork(after_fork);
    ma_store_release(&fork_watched, WATCHED);
    return true;
}

/* Where no constructor was called. A thread that finds another one at it lets that one finish, but not for ever: it may be the one
 * that this signal handler interrupts, or not be in this child of a fork. */
void ma_fork_watch(const ma_arena *arena)
{
    if (watch()) return;
    for (int i = 0; i < MA_YIELDS && ma_load_acquire(&fork_watched) != WATCHED; i++) ma_give_way(arena, false);
}

/* Each copy of the library, also one that never creates an arena: its threads have lanes, and in a child a new thread may have the
 * handle of a lost one. Here, so that handlers of the program's own come later and may use arenas. */
__attribute__((constructor)) static void watch_early(void)
{
    (void)watch();
}
