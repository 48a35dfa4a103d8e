/* Lanes: a thread leases one of 64 numbers for its whole life, process-wide, at its first slow path; its exit gives the
 * number back. The next thread with that number goes on with the half-used TLABs in every arena: nothing is stranded,
 * and neither arenas nor threads keep a list of the other. A thread that finds no free number works without a lane.
 *
 * A thread that leases in the last round of its destructors ends unseen: nobody calls it back after that. So a thread
 * that finds all numbers taken asks the system, once, whether one of the lessees is gone, and inherits its number.
 *
 * Given up: the number is not bound to a CPU, and a thread that exits while a destructor of its own still allocates
 * does so without a lane. */
#include "arena.h"

#include "../platform/os.h"

#include <sched.h>

#define NO_LANE MA_LANES /* index of the slot that threads without a lane share */

enum { UNWATCHED, BEING_WATCHED, WATCHED }; /* fork_watched */
#define YIELDS 256                          /* see ma_lane_watch_fork */

__thread uintptr_t memarena_lane_offset_ MEMARENA_TLS_;

__thread ma_lane_thread ma_lane_thread_ MEMARENA_TLS_;

/* One bit per number. Acquire when leased, release when given back, so that what the last owner did to its lanes
 * happened before what the next one does. [lease-1] */
_Alignas(MA_CACHE_PAIR) uint64_t ma_lane_leased_;
/* Who has leased each number: {leases so far, the system's name for the thread, or 0 while it changes}. [lease-2] */
static _Alignas(8) uint64_t lessees[MA_LANES];
static _Alignas(8) uint64_t fork_watched;
uint32_t ma_lane_forks_;
bool memarena_reset_was_cut_;

/* How many resets are between "generation ended" and "lanes emptied", by the lane of the thread in it. */
static struct {
    _Alignas(64) unsigned count;
} resets_under_way[MA_LANES + 1];

static unsigned my_index(void)
{
    uintptr_t offset = memarena_lane_offset_;
    return offset ? (unsigned)((offset - MA_LANES_OFFSET) / MA_LANE_BYTES) : NO_LANE;
}

static uint64_t next_lessee(uint64_t lessee, uint32_t thread)
{
    return ((lessee >> 32) + 1) << 32 | thread;
}

/* Where __thread is a library's work (mingw) the offset may be gone before this call comes: then by our name. */
static unsigned index_to_give_back(void)
{
    unsigned index = my_index();
    if (index != NO_LANE || ma_lane_reset_was_cut()) return index;
    for (index = 0; index < MA_LANES && (uint32_t)ma_load_relaxed(&lessees[index]) != ma_os_thread_name(); index++)
        continue;
    return index < MA_LANES ? index : NO_LANE;
}

static void give_back(void)
{
    unsigned index = index_to_give_back();
    ma_lane_thread_.may_not_lease = true;
    memarena_lane_offset_ = 0;
    if (index == NO_LANE) return;
    ma_hand_over(ma_race_tool_is_there(), &lessees[index]);
    ma_store_relaxed(&lessees[index], next_lessee(ma_load_relaxed(&lessees[index]), 0));
    (void)ma_and_release(&ma_lane_leased_, ~((uint64_t)1 << index)); /* [lease-1] */
}

/* The other threads are gone: their lanes are free again. Each lane is in a state from which a new owner can go on,
 * wherever its owner was (see alloc.c), unless a reset was cut in two: then lanes may hold TLABs of the ended
 * generation, in arenas that nobody can list here, and this process does without lanes from now on. Nobody inherits from this
 * thread: as the child's first one it is kept by the system, whatever becomes of it. */
static void after_fork(void)
{
    unsigned index = my_index();
    bool whole = true;
    for (unsigned slot = 0; slot <= MA_LANES; slot++) whole &= ma_load_relaxed(&resets_under_way[slot].count) == 0;
    ma_count_shared(&ma_lane_forks_, 1);
    if (!whole) memarena_lane_offset_ = 0;
    if (!whole) ma_store_release(&memarena_reset_was_cut_, true);
    for (unsigned lane = 0; lane < MA_LANES; lane++) lessees[lane] = next_lessee(lessees[lane], 0);
    ma_store_release(&ma_lane_leased_, !whole ? UINT64_MAX : index == NO_LANE ? 0 : (uint64_t)1 << index);
}

static void tell_race_tools(void)
{
    ma_race_tell_ours(&ma_lane_leased_, sizeof ma_lane_leased_, true);
    ma_race_tell_ours(lessees, sizeof lessees, true);
    ma_race_tell_ours(resets_under_way, sizeof resets_under_way, true);
}

/* Once, as the C library's list of handlers only grows. Who finds another thread at it lets that one finish, but not for
 * ever: it may be the one that we interrupt, or not be in this child of a fork; `after_fork` may run twice. */
void ma_lane_watch_fork(void)
{
    uint64_t state = UNWATCHED;
    if (!ma_swap_acq_rel(&fork_watched, &state, BEING_WATCHED)) {
        for (int i = 0; i < YIELDS && ma_load_acquire(&fork_watched) != WATCHED; i++) (void)sched_yield();
        if (ma_load_acquire(&fork_watched) == WATCHED) return;
    }
    if (ma_race_tool_is_there()) tell_race_tools();
    (void)ma_os_watch_fork(after_fork);
    ma_store_release(&fork_watched, WATCHED);
}

/* A free number, or MA_LANES. */
static unsigned take_free_number(void)
{
    uint64_t taken = ma_load_relaxed(&ma_lane_leased_);
    while (taken != UINT64_MAX) {
        unsigned index = (unsigned)__builtin_ctzll(~taken);
        if (!ma_swap_acq_rel(&ma_lane_leased_, &taken, taken | (uint64_t)1 << index)) continue; /* [lease-1] */
        ma_receive(ma_race_tool_is_there(), &lessees[index]);
        ma_store_relaxed(&lessees[index], next_lessee(ma_load_relaxed(&lessees[index]), ma_os_thread_name()));
        return index;
    }
    return MA_LANES;
}

/* The number of a thread that has ended unseen, or MA_LANES. Its last stores are ours to see: the system, which says
 * that it is gone, has taken it off its CPU before. */
static unsigned inherit(void)
{
    if (ma_lane_thread_.has_asked || ma_lane_reset_was_cut()) return MA_LANES;
    ma_lane_thread_.has_asked = true;
    for (unsigned index = 0; index < MA_LANES; index++) {
        uint64_t lessee = ma_load_acquire(&lessees[index]);
        uint32_t thread = (uint32_t)lessee;
        if (thread == 0 || !ma_os_thread_is_gone(thread)) continue;
        if (ma_swap_acq_rel(&lessees[index], &lessee, next_lessee(lessee, ma_os_thread_name()))) /* [lease-2] */
            return index;
    }
    return MA_LANES;
}

static void lease(void)
{
    ma_lane_thread *self = &ma_lane_thread_;
    if (self->may_not_lease || (self->has_asked && ma_load_relaxed(&ma_lane_leased_) == UINT64_MAX)) return;
    self->may_not_lease = true; /* and a handler that interrupts us from here on works without a lane */
    if (!ma_os_watch_thread(give_back)) return;
    unsigned index = take_free_number();
    if (index == MA_LANES) index = inherit();
    if (index != MA_LANES) memarena_lane_offset_ = MA_LANES_OFFSET + index * (uintptr_t)MA_LANE_BYTES;
    self->may_not_lease = false;
}

ma_lane *ma_lane_leased(const ma_arena *arena)
{
    unsigned index = my_index();
    if (!arena->has_lanes || index == NO_LANE || arena->tlab_limit[index >= MA_FAVOURED_LANES] == 0) return NULL;
    return ma_arena_lane(arena, index);
}

ma_lane *ma_lane_mine(ma_arena *arena)
{
    if (arena->has_lanes && memarena_lane_offset_ == 0) lease();
    return ma_lane_leased(arena);
}

unsigned ma_lane_index(const ma_arena *arena, const ma_lane *lane)
{
    uintptr_t at = (uintptr_t)lane, first_cpu = (uintptr_t)arena->cpus.first;
    if (at - first_cpu < arena->cpus.count * MA_LANE_BYTES)
        return MA_LANES + (unsigned)((at - first_cpu) / MA_LANE_BYTES);
    return (unsigned)((at - (uintptr_t)arena - MA_LANES_OFFSET) / MA_LANE_BYTES);
}

uint64_t ma_lane_thread_number(void)
{
    return (uintptr_t)&memarena_lane_offset_ >> 6; /* one address per living thread */
}

void ma_lane_reset_begins(void)
{
    ma_count_shared(&resets_under_way[my_index()].count, 1);
}

void ma_lane_reset_ends(void)
{
    ma_count_shared(&resets_under_way[my_index()].count, (unsigned)-1);
}
