/* The register of a process, and the numbers of processes: see process.h. */
#include "process.h"

#include "os.h"
#include "sanitizer.h"

#include <sched.h>
#include <stddef.h>

/* How often a thread looks whether another one has given the process its number. */
#define YIELDS 256

ma_register *ma_process_register_;

static size_t register_bytes(void)
{
    size_t page = ma_os_page_bytes();
    return (sizeof(ma_register) + page - 1) & ~(page - 1);
}

/* Of a copy that does not know whether it is alone: no number is free. It stays when the copy is unloaded, as arenas name it. */
static ma_register *be_alone(size_t bytes)
{
    static ma_register without_memory;
    static uint64_t its_number;
    ma_register *mine = ma_os_map(bytes + ma_os_page_bytes());
    if (!mine) mine = &without_memory;
    mine->leased = UINT64_MAX;
    mine->is_alone = true;
    mine->number = mine == &without_memory ? &its_number : (uint64_t *)(void *)((char *)mine + bytes);
    return mine;
}

/* (Two threads may be here where no constructor was called; two registers without numbers do no harm.) */
ma_register *ma_process_join(void)
{
    size_t bytes = register_bytes();
    ma_register *found = ma_os_share(bytes + ma_os_page_bytes());
    if (found)
        __atomic_store_n(&found->number, (uint64_t *)(void *)((char *)found + bytes), __ATOMIC_RELAXED);
    else
        found = be_alone(bytes);
    if ((uintptr_t)found->number == (uintptr_t)found + bytes &&
        ma_os_wipe_in_children(found->number, ma_os_page_bytes()))
        __atomic_store_n(&found->wipes, true, __ATOMIC_RELAXED);
    if (ma_race_tool_is_there()) ma_race_tell_ours(found, bytes + ma_os_page_bytes(), true);
    __atomic_store_n(&ma_process_register_, found, __ATOMIC_RELEASE);
    (void)ma_process_number(found);
    return found;
}

/* Before the first call, since an arena in a caller's buffer makes no system call. */
__attribute__((constructor)) static void join_early(void)
{
    (void)ma_process();
}

/* ---- Numbers of processes ------------------------------------------------------------------------------------------ */

/* In the thread that forked this process: it is the only one of the parent's that goes on. The others' numbers are free again. */
static void survive(ma_register *shared)
{
    uint64_t lost = ma_load_relaxed(&shared->of_parent);
    uintptr_t self = ma_os_thread_self();
    ma_store_relaxed(&shared->survivor, self);
    if (shared->is_alone) return;
    for (unsigned index = 0; index < MA_PROCESS_LANES; index++)
        if (ma_load_relaxed(&shared->threads[index]) == self) lost &= ~((uint64_t)1 << index);
    for (unsigned index = 0; index < MA_PROCESS_LANES; index++)
        if (lost >> index & 1) ma_store_relaxed(&shared->threads[index], 0);
    ma_store_relaxed(&shared->of_parent, 0);
    (void)ma_and_release(&shared->leased, ~lost); /* [lease-1] */
}

/* Nobody inherits a number of the parent's: the system's names for threads were those of another process. */
static void forget_names(ma_register *shared)
{
    for (unsigned index = 0; index < MA_PROCESS_LANES; index++) {
        uint64_t lessee = ma_load_relaxed(&shared->lessees[index]);
        ma_store_relaxed(&shared->lessees[index], ma_next_lessee(lessee, 0));
    }
}

uint64_t ma_process_begin(ma_register *shared)
{
    uint64_t *at = shared->number, number = ma_load_acquire(at);
    for (int yields = 0; number <= MA_PROCESS_BEGINS && yields < YIELDS; yields++) {
        if (number == MA_PROCESS_NOBODY && ma_swap_acq_rel(at, &number, MA_PROCESS_BEGINS)) {
            uint64_t last = ma_load_relaxed(&shared->last_number);
            number = (last > MA_PROCESS_BEGINS ? last : MA_PROCESS_BEGINS) + 1;
            ma_store_relaxed(&shared->last_number, number);
            ma_store_relaxed(&shared->process_id, ma_os_process_id());
            ma_store_relaxed(&shared->of_parent, ma_load_relaxed(&shared->leased));
            ma_store_relaxed(&shared->survivor, 0);
            forget_names(shared);
            /* In a child that no handler has seen this may be a thread that the child has started: then the numbers of the
             * parent stay taken, for one of them may be that of the thread that forked. */
            if (last != 0 && ma_os_thread_is_first()) survive(shared);
            ma_store_release(at, number);
            return number;
        }
        (void)sched_yield();
        number = ma_load_acquire(at);
    }
    return number;
}

void ma_process_forked(void)
{
    ma_register *shared = ma_process();
    /* Another copy's handler may have been here before, and where pages are wiped the system has. */
    if (ma_load_relaxed(&shared->process_id) != ma_os_process_id()) ma_store_relaxed(shared->number, MA_PROCESS_NOBODY);
    (void)ma_process_number(shared);
    survive(shared);
}

bool ma_process_is_borrowed(void)
{
    const ma_register *shared = ma_process();
    return shared->wipes && ma_load_acquire(shared->number) > MA_PROCESS_BEGINS &&
           ma_load_relaxed(&shared->process_id) != ma_os_process_id();
}
