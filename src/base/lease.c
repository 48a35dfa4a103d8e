/* Lanes: a thread leases one of 64 numbers for its whole life, process-wide, at its first slow path; its exit gives the
 * number back. The numbers lie in the register of the process (process.h), so all copies of the library agree. The next
 * thread with that number goes on with the half-used TLABs in every arena: nothing is stranded, and neither arenas nor
 * threads keep a list of the other. A thread that finds no free number works without a lane.
 *
 * A thread that leases in the last round of its destructors ends unseen: nobody calls it back after that. So a thread
 * that finds all numbers taken asks the system, once, whether one of the lessees is gone, and inherits its number.
 *
 * Given up: the number is not bound to a CPU, and a thread that exits while a destructor of its own still allocates
 * does so without a lane. */
#include "lease.h"

#include "../platform/os.h"

#define NO_LANE MA_LANES /* index of the slot that threads without a lane share */

static_assert(MA_PROCESS_LANES == MA_LANES, "the register has a place for each lane");

__thread uintptr_t memarena_lane_offset_ MEMARENA_TLS_;

__thread uintptr_t memarena_held_ MEMARENA_TLS_ = MEMARENA_BURST_NOWHERE_ + 1;

__thread ma_lane_thread ma_lane_thread_ MEMARENA_TLS_;

static unsigned my_index(void)
{
    uintptr_t offset = memarena_lane_offset_;
    return offset ? (unsigned)((offset - MA_LANES_OFFSET) / MA_LANE_BYTES) : NO_LANE;
}

/* 0 of the thread that forked this process: where it did so past the C library its name there is still that of a thread of the parent. */
static uint32_t my_name(const ma_register *shared)
{
    return ma_load_relaxed(&shared->survivor) == ma_os_thread_self() ? 0 : ma_os_thread_name();
}

/* The number that this thread has leased through another copy of the library, or MA_LANES. */
static unsigned leased_elsewhere(const ma_register *shared)
{
    uintptr_t self = ma_os_thread_self();
    uint32_t name = my_name(shared);
    for (unsigned index = 0; index < MA_LANES; index++) {
        if (ma_load_relaxed(&shared->threads[index]) != self) continue;
        uint32_t lessee = (uint32_t)ma_load_relaxed(&shared->lessees[index]);
        if (lessee == name || lessee == 0) return index;
    }
    return MA_LANES;
}

/* The number in which this copy is counted for this thread, or MA_LANES. A number that the thread has through another copy alone is
 * not this copy's to give back. Where __thread is a library's work (mingw) all that the thread knew here may be gone before this call
 * comes: then the register tells. */
static unsigned index_to_give_back(const ma_register *shared)
{
    const ma_lane_thread *self = &ma_lane_thread_;
    if (self->counted_in) return self->counted_in - 1u;
    return self->has_asked ? MA_LANES : leased_elsewhere(shared);
}

/* At the end of a thread, once for each copy of the library in which it has used its number. The last copy gives the number back:
 * until then destructors of the thread may still allocate through the others. */
static void give_back(void)
{
    ma_register *shared = ma_process();
    unsigned index = index_to_give_back(shared);
    ma_lane_thread_.may_not_lease = true;
    if (index == MA_LANES) return;
    ma_lane_thread_.counted_in = 0;
    memarena_lane_offset_ = 0;
    ma_count(&shared->copies[index], (uint32_t)-1);
    if (ma_load_relaxed(&shared->copies[index]) != 0) return;
    ma_hand_over(ma_race_tool_is_there(), &shared->lessees[index]);
    ma_store_relaxed(&shared->threads[index], 0);
    ma_store_relaxed(&shared->lessees[index], ma_next_lessee(ma_load_relaxed(&shared->lessees[index]), 0));
    (void)ma_and_release(&shared->leased, ~((uint64_t)1 << index)); /* [lease-1] */
}

/* A free number, or MA_LANES. */
static unsigned take_free_number(ma_register *shared)
{
    uint64_t taken = ma_load_relaxed(&shared->leased);
    while (taken != UINT64_MAX) {
        unsigned index = (unsigned)__builtin_ctzll(~taken);
        if (!ma_swap_acq_rel(&shared->leased, &taken, taken | (uint64_t)1 << index)) continue; /* [lease-1] */
        ma_receive(ma_race_tool_is_there(), &shared->lessees[index]);
        ma_store_relaxed(&shared->lessees[index],
                         ma_next_lessee(ma_load_relaxed(&shared->lessees[index]), my_name(shared)));
        return index;
    }
    return MA_LANES;
}

/* The number of a thread that has ended unseen, or MA_LANES. Its last stores are ours to see: the system, which says
 * that it is gone, has taken it off its CPU before. */
static unsigned inherit(ma_register *shared)
{
    ma_lane_thread_.has_asked = true;
    for (unsigned index = 0; index < MA_LANES; index++) {
        uint64_t lessee = ma_load_acquire(&shared->lessees[index]);
        uint32_t thread = (uint32_t)lessee;
        if (thread == 0 || !ma_os_thread_is_gone(thread)) continue;
        if (ma_swap_acq_rel(&shared->lessees[index], &lessee, ma_next_lessee(lessee, my_name(shared)))) /* [lease-2] */
            return index;
    }
    return MA_LANES;
}

static unsigned take_number(ma_register *shared, bool may_ask)
{
    unsigned index = leased_elsewhere(shared);
    if (index != MA_LANES) {
        ma_count(&shared->copies[index], 1);
        return index;
    }
    index = take_free_number(shared);
    if (index == MA_LANES && may_ask) index = inherit(shared);
    if (index == MA_LANES) return index;
    ma_store_relaxed(&shared->copies[index], 1);
    ma_count(&shared->leases[index], 1);
    ma_store_relaxed(&shared->threads[index], ma_os_thread_self());
    return index;
}

/* `silently`: without a system call, so nobody is asked who is gone. */
static void lease(bool silently)
{
    ma_lane_thread *self = &ma_lane_thread_;
    ma_register *shared = ma_process();
    /* A copy in another namespace than the program's must not ask for the thread's end, either: it has a C library of its own, whose
     * keys are other libraries' in the program's. */
    if (shared->is_alone) return;
    bool may_ask = !silently && !self->has_asked;
    if (self->may_not_lease || (!may_ask && ma_load_relaxed(&shared->leased) == UINT64_MAX)) return;
    if (silently && !ma_os_watch_is_silent()) return;
    (void)ma_process_number(shared); /* in a child that nobody has seen the numbers change hands first */
    self->may_not_lease = true;      /* and a handler that interrupts us from here on works without a lane */
    if (!ma_os_watch_thread(give_back)) return;
    /* (One that came before that may have leased already: a second time nobody would give the number back.) */
    unsigned index = memarena_lane_offset_ == 0 ? take_number(shared, may_ask) : MA_LANES;
    if (index != MA_LANES) {
        self->counted_in = (uint8_t)(index + 1);
        memarena_held_ = ma_burst_mark(ma_load_relaxed(&shared->leases[index]));
        memarena_lane_offset_ = MA_LANES_OFFSET + index * (uintptr_t)MA_LANE_BYTES;
    }
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
    if (arena->has_lanes && memarena_lane_offset_ == 0) lease(!arena->mapping);
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

void ma_cpu_enlist(ma_arena *arena, unsigned number)
{
    uint64_t used = ma_load_relaxed(&arena->cpus_used);
    while (used <= number && !ma_swap_acq_rel(&arena->cpus_used, &used, number + 1)) continue;
}
