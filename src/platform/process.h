/* What a process has once, however many copies of this library are in it: the register.
 *
 * A program and its plug-ins may each bring a copy of the library (static, shared, hidden, amalgamated), and all of them may
 * work on one arena. Were each copy to lease lanes to its threads by itself, two threads would bump one lane. So the numbers of lanes, and
 * whatever else must be the same for all copies, lie in one piece of memory. The first copy maps it, the others find it
 * (ma_os_share), and nobody unmaps it: copies come and go.
 *
 * A copy that cannot find out whether it is alone gets a register of its own in which every number is taken: its threads
 * work without lanes, which is slower and always right. An arena names the register of the copy that made it, and in that register all
 * copies look up in which process they are: two registers count processes apart.
 *
 * The register also tells processes apart. Its `number` is different in each child that the process forks. It lies in
 * a page that the system wipes in a child, however that child was made (fork, _Fork, clone), so nothing has to run in the child: the first
 * caller that finds 0 gives the process a new number. Where the system cannot wipe pages only fork is seen. */
#ifndef MA_PROCESS_H
#define MA_PROCESS_H

#include "atomic.h"

#include <stdbool.h>
#include <stdint.h>

#define MA_PROCESS_LANES 64u
#define MA_PROCESS_NAMED 64u

typedef struct ma_register {
    uintptr_t address; /* ma_os_share's own */
    uint64_t *number;  /* of this process: in the page behind the register */
    /* One bit per number of a lane. Acquire when leased, release when given back, so that what the last owner did to its
     * lanes happened before what the next one does. [lease-1] */
    _Alignas(128) uint64_t leased;
    /* Which of them were leased before the last fork, by threads that may not be in this process. */
    _Alignas(128) uint64_t of_parent;
    uintptr_t survivor; /* the thread that forked this process, as `threads`; 0: none is known */
    uint64_t last_number;
    uint64_t mark_ids;   /* of scope.c: handed out so far */
    uint64_t process_id; /* as the system numbers it; of the last process that was given a number */
    bool wipes;          /* whether the system wipes `number` in every child */
    bool is_alone;       /* of a copy that does not know whether it is alone: nobody leases a number */
    /* Who has leased each number: {leases so far, the system's name for the thread; 0 while it changes, and of a thread whose
     * end the system does not tell}. [lease-2] */
    _Alignas(8) uint64_t lessees[MA_PROCESS_LANES];
    _Alignas(8) uintptr_t
        threads[MA_PROCESS_LANES];     /* the same as the C library's handle of the thread; written by the lessee */
    uint32_t copies[MA_PROCESS_LANES]; /* of the library in which the lessee uses it; written by the lessee */
    uint32_t
        leases[MA_PROCESS_LANES]; /* how often it was leased, a fork not counted: see burst.c; written by the lessee */
    _Alignas(8) uintptr_t named[MA_PROCESS_NAMED]; /* arenas that generation/trap.c can name. [trap-1] */
} ma_register;

#ifdef _WIN32
#define MA_HIDDEN
#else
#define MA_HIDDEN __attribute__((visibility("hidden"))) /* or each access would first load the address */
#endif

/* This copy's way to the register; NULL until the copy has joined. */
extern MA_HIDDEN ma_register *ma_process_register_;

/* Joins the register. Returns it; never NULL. Cost: a look at all loaded objects, once for each copy. */
ma_register *ma_process_join(void);
/* Gives this process a number in the register if it has none there. Returns it. */
uint64_t ma_process_begin(ma_register *shared);
/* In the only thread of a child, however late: this is another process than the one that the register knows. */
void ma_process_forked(void);
/* Whether this is a child that shares its parent's memory (vfork). Costs a system call. */
bool ma_process_is_borrowed(void);

/* What `lessees` says after one more lease, or the end of one: 0. */
static inline uint64_t ma_next_lessee(uint64_t lessee, uint32_t thread)
{
    return ((lessee >> 32) + 1) << 32 | thread;
}

static inline ma_register *ma_process(void)
{
    ma_register *known = __atomic_load_n(&ma_process_register_, __ATOMIC_ACQUIRE);
    return __builtin_expect(known != 0, 1) ? known : ma_process_join();
}

/* While a process has no number yet, or a thread is about to give it one. */
#define MA_PROCESS_NOBODY UINT64_C(0)
#define MA_PROCESS_BEGINS UINT64_C(1)

/* The number of this process in the register; never that of its parent, nor of another ancestor. */
static inline uint64_t ma_process_number(ma_register *shared)
{
    uint64_t number = ma_load_acquire(shared->number);
    return __builtin_expect(number > MA_PROCESS_BEGINS, 1) ? number : ma_process_begin(shared);
}

#endif
