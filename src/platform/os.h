/* What the library needs of the operating system, and nothing else: memory by the page, the machine's size, the end of a
 * thread, a fork, a fault. One implementation per system; tests replace single functions to make them fail. */
#ifndef MA_OS_H
#define MA_OS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Reserves address space, without access, at a page boundary. NULL: errno. */
void *ma_os_reserve(size_t bytes);
/* Makes what was reserved, from its start on, readable and writable, zero, and in memory as it is touched (where the process
 * has its memory locked, locked then). False: errno. */
bool ma_os_open(void *memory, size_t bytes);
void ma_os_release(void *memory, size_t bytes);
/* Has reserved memory listed as `name` where the system lists a process's memory (Linux: /proc/PID/maps). Cut, and with _ for
 * characters, where the system wants it so; where it cannot do it nothing happens. Keeps errno. */
void ma_os_name(const void *memory, size_t bytes, const char *name);
/* Asks for huge pages; false: errno. */
bool ma_os_use_huge_pages(void *memory, size_t bytes);
/* Asks for none, where the system would bring them in unasked. Keeps errno. */
void ma_os_use_small_pages(void *memory, size_t bytes);
/* Brings all pages into memory now. False: ENOMEM; what is not there is not tried, where that would end the process. */
bool ma_os_commit(void *memory, size_t bytes);
/* Of whole pages: the bytes that are in memory; and gives them back, to read as zero when they are next touched. False: the
 * system refused, they are as they were. Both keep errno. */
size_t ma_os_resident(const void *memory, size_t bytes);
bool ma_os_discard(void *memory, size_t bytes);
/* Of whole pages: whoever touches them now gets a fault; or may. False: errno. */
bool ma_os_forbid(void *memory, size_t bytes);
bool ma_os_permit(void *memory, size_t bytes);
/* Puts fresh pages, which may be touched or not, into the place of whole pages of ours. False: errno, nothing has changed;
 * and so it is where the process has more than its limits allow it now. */
bool ma_os_renew(void *memory, size_t bytes, bool accessible);
/* Moves what is in whole pages to `to`, which is ours already and whose pages are lost; `from` stays ours, empty, and as
 * accessible as it was. False: errno, and `from` is as it was. */
bool ma_os_move(void *from, void *to, size_t bytes);
size_t ma_os_page_bytes(void);
/* The machine's memory, or what this process is allowed of it. */
size_t ma_os_physical_bytes(void);
/* What the process's memory cgroups allow it; what they, and the machine, still have for it. UINT64_MAX: nothing is known. Both
 * keep errno. */
uint64_t ma_os_allowed_bytes(void);
uint64_t ma_os_left_bytes(void);

#define MA_OS_HUGE_PAGE ((size_t)2 << 20)

/* Calls `at_exit()` in this thread when it ends, once. False: the thread's end will not be seen. */
bool ma_os_watch_thread(void (*at_exit)(void));
/* Whether that makes no system call, nor may take memory from malloc, which may make one. */
bool ma_os_watch_is_silent(void);
/* The system's name for this thread, without a system call; 0 where threads have none. And whether no thread of this
 * process has that name any more; false where it cannot be told. Keeps errno. */
uint32_t ma_os_thread_name(void);
bool ma_os_thread_is_gone(uint32_t name);
/* The C library's handle of this thread: different for all living threads, and the same in the child that the thread forks. */
uintptr_t ma_os_thread_self(void);
/* Whether this is the first thread of its process: in a child the one that forked it. False where that cannot be told. */
bool ma_os_thread_is_first(void);
/* Calls `in_child()` in the only thread of each child that this process forks from now on. */
bool ma_os_watch_fork(void (*in_child)(void));
/* The system's number of this process. */
uint64_t ma_os_process_id(void);
/* Zeroed memory that all copies of this library in the process share and nobody ever unmaps: the same for each call, of
 * any copy, with the same `bytes`. NULL: it cannot be told whether there are other copies. */
void *ma_os_share(size_t bytes);
/* Whole pages read as zero in each child that the process forks from now on, by whichever call. False: they do not. Keeps errno. */
bool ma_os_wipe_in_children(void *memory, size_t bytes);
/* Calls `at_fault(address)` in the thread whose access to memory has faulted, then what handled faults before. False: errno. */
bool ma_os_watch_faults(void (*at_fault)(uintptr_t address));
/* Writes to standard error, also from a signal handler. No cancellation point. */
void ma_os_say(const char *text, size_t bytes);
/* Lets others run for so long, or until a signal comes. No cancellation point; keeps errno. */
void ma_os_nap(uint32_t nanoseconds);
/* Between the two calls nothing that this thread does is a cancellation point. The second one takes what the first one
 * returned.
 *
 * No call of the library is one, but for what the user's own functions do. Of all that it calls these would be: nanosleep,
 * write, vfprintf, fprintf, and what sysconf opens and reads in some C libraries. They stand between the two. None of these
 * is: mmap, munmap, mprotect, madvise, mincore, mremap, prctl, membarrier and what else goes through syscall, sched_yield,
 * sigaction, raise, pthread_key_create, pthread_setspecific, pthread_atfork, getauxval, vsnprintf, malloc and its like. */
int ma_os_cancel_off(void);
void ma_os_cancel_as_before(int state);

#endif
