/* The operating system's side on Linux and other POSIX systems. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* MAP_NORESERVE, MADV_HUGEPAGE, MADV_POPULATE_WRITE, MREMAP_DONTUNMAP */
#endif
#include "os.h"
#include "sanitizer.h"

#include "atomic.h"

#ifndef _WIN32
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>
#ifdef __linux__
#include <sys/prctl.h>
#include <sys/syscall.h>
#endif

#ifndef MAP_NORESERVE
#define MAP_NORESERVE 0
#endif
#if defined(__linux__) && !defined(PR_SET_VMA)
#define PR_SET_VMA 0x53564d41 /* Linux 5.17, if built with CONFIG_ANON_VMA_NAME */
#define PR_SET_VMA_ANON_NAME 0
#endif

/* ---- Mappings ---------------------------------------------------------------------------------------------------
 *
 * After mlockall(MCL_FUTURE) the system locks what is mapped, and brings all of it into memory as soon as it may be touched.
 * So memory is mapped without access first, and then locked only as it is touched. */

#ifdef __linux__
#ifndef MLOCK_ONFAULT
#define MLOCK_ONFAULT 1 /* Linux 4.4 */
#endif
#ifndef MADV_DONTNEED_LOCKED
#define MADV_DONTNEED_LOCKED 24 /* Linux 5.18 */
#endif
static uint8_t maps_locked; /* whether a mapping was found locked */

static void lock_as_touched(void *memory, size_t bytes)
{
    int saved = errno;
    /* There are no pages to lose yet; what is locked refuses all the same. */
    if (syscall(SYS_madvise, memory, bytes, MADV_DONTNEED) != 0 && errno == EINVAL) {
        ma_store_relaxed(&maps_locked, 1);
        if (syscall(SYS_mlock2, memory, bytes, MLOCK_ONFAULT) != 0) (void)munlock(memory, bytes);
    }
    errno = saved;
}
#else
#define MADV_DONTNEED_LOCKED MADV_DONTNEED
static const uint8_t maps_locked = 1;

static void lock_as_touched(void *memory, size_t bytes)
{
    int saved = errno;
    (void)munlock(memory, bytes); /* there is no such lock */
    errno = saved;
}
#endif

/* Of memory that ma_os_open will make accessible. Memcheck looks at each byte that becomes accessible later than it was mapped,
 * a minute for 24 GiB: there it is from the start. */
static int rights_unopened(void)
{
    return MA_HAVE_VALGRIND ? PROT_READ | PROT_WRITE : PROT_NONE;
}

void *ma_os_reserve(size_t bytes)
{
    void *memory = mmap(NULL, bytes, rights_unopened(), MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return memory == MAP_FAILED ? NULL : memory;
}

bool ma_os_open(void *memory, size_t bytes)
{
    lock_as_touched(memory, bytes);
    return MA_HAVE_VALGRIND || ma_os_permit(memory, bytes);
}

void *ma_os_map(size_t bytes)
{
    void *memory = ma_os_reserve(bytes);
    if (!memory || ma_os_open(memory, bytes)) return memory;
    ma_os_release(memory, bytes);
    return NULL;
}

void ma_os_release(void *memory, size_t bytes)
{
    int saved = errno; /* destroy has no way to fail; what the kernel refuses to unmap stays mapped */
    (void)munmap(memory, bytes);
    errno = saved;
}

#ifdef __linux__
#define NAME_BYTES 80 /* that the kernel takes, with the zero at the end */

static bool is_refused_in_names(char c)
{
    return c < ' ' || c > '~' || strchr("\\`$[]", c);
}

void ma_os_name(const void *memory, size_t bytes, const char *name)
{
    char allowed[NAME_BYTES];
    size_t length = 0;
    for (; name[length] && length < NAME_BYTES - 1; length++) {
        allowed[length] = name[length];
        if (is_refused_in_names(name[length])) allowed[length] = '_';
    }
    allowed[length] = 0;
    int saved = errno; /* EINVAL: a kernel without names */
    (void)prctl(PR_SET_VMA, PR_SET_VMA_ANON_NAME, (unsigned long)memory, (unsigned long)bytes, (unsigned long)allowed);
    errno = saved;
}
#else
void ma_os_name(const void *memory, size_t bytes, const char *name)
{
    (void)memory, (void)bytes, (void)name;
}
#endif

bool ma_os_use_huge_pages(void *memory, size_t bytes)
{
#ifdef MADV_HUGEPAGE
    return madvise(memory, bytes, MADV_HUGEPAGE) == 0;
#else
    (void)memory, (void)bytes;
    errno = EINVAL;
    return false;
#endif
}

void ma_os_use_small_pages(void *memory, size_t bytes)
{
#ifdef MADV_NOHUGEPAGE
    int saved = errno; /* EINVAL: a kernel without huge pages */
    (void)madvise(memory, bytes, MADV_NOHUGEPAGE);
    errno = saved;
#else
    (void)memory, (void)bytes;
#endif
}

static bool bring_in(char *memory, size_t bytes)
{
#ifdef MADV_POPULATE_WRITE
    if (madvise(memory, bytes, MADV_POPULATE_WRITE) == 0) return true;
    if (errno != EINVAL) return false; /* EINVAL: a kernel before 5.14 */
#endif
    volatile char *page = memory;
    for (size_t offset = 0; offset < bytes; offset += ma_os_page_bytes()) page[offset] = 0;
    return true;
}

/* For page tables, 1/512, and for what others take meanwhile. */
static uint64_t with_spare(uint64_t bytes)
{
    return bytes + bytes / 256 + ((uint64_t)1 << 20);
}

/* In steps: of two that begin at once, and have not both room, one is to see it. */
bool ma_os_commit(void *memory, size_t bytes)
{
    for (size_t done = 0, step; done < bytes; done += step) {
        uint64_t left = ma_os_left_bytes(), most = left / 4 & ~(uint64_t)(MA_OS_HUGE_PAGE - 1);
        step = bytes - done;
        bool is_there = with_spare(step) <= left;
        if (most != 0 && step > most) step = (size_t)most;
        if (is_there && bring_in((char *)memory + done, step)) continue;
        errno = ENOMEM;
        return false;
    }
    return true;
}

size_t ma_os_resident(const void *memory, size_t bytes)
{
    unsigned char pages[4096];
    size_t page = ma_os_page_bytes(), step = page * sizeof pages, resident = 0;
    int saved = errno;
    for (size_t done = 0; done < bytes; done += step) {
        size_t now = bytes - done < step ? bytes - done : step;
        if (mincore((void *)((uintptr_t)memory + done), now, (void *)pages) != 0) continue;
        for (size_t i = 0; i < now / page; i++) resident += pages[i] & 1 ? page : 0;
    }
    errno = saved;
    return resident;
}

bool ma_os_discard(void *memory, size_t bytes)
{
    int saved = errno, advice = ma_load_relaxed(&maps_locked) ? MADV_DONTNEED_LOCKED : MADV_DONTNEED;
    bool done = madvise(memory, bytes, advice) == 0;
    errno = saved;
    return done;
}

bool ma_os_forbid(void *memory, size_t bytes)
{
    return mprotect(memory, bytes, PROT_NONE) == 0;
}

bool ma_os_permit(void *memory, size_t bytes)
{
    return mprotect(memory, bytes, PROT_READ | PROT_WRITE) == 0;
}

bool ma_os_renew(void *memory, size_t bytes, bool accessible)
{
    bool opens = accessible && ma_load_relaxed(&maps_locked);
    int rights = !accessible ? PROT_NONE : opens ? rights_unopened() : PROT_READ | PROT_WRITE;
    if (mmap(memory, bytes, rights, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0) != memory)
        return false;
    return !opens || ma_os_open(memory, bytes);
}

bool ma_os_move(void *from, void *to, size_t bytes)
{
#ifdef MREMAP_DONTUNMAP
    if (mremap(from, bytes, bytes, MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP, to) == to) return true;
    /* Linux unmaps `to` before it looks at most of what may be wrong: until 6.17 that `from` is more than one mapping to it,
     * because somebody has used mlock or mbind on a part. Nobody else may be given that place. */
    int saved = errno;
    if (mmap(to, bytes, rights_unopened(), MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0) ==
        to)
        (void)ma_os_open(to, bytes);
    errno = saved;
    return false;
#else
    (void)from, (void)to, (void)bytes;
    errno = EINVAL;
    return false;
#endif
}

size_t ma_os_page_bytes(void)
{
    return (size_t)sysconf(_SC_PAGESIZE);
}

size_t ma_os_physical_bytes(void)
{
    long pages = sysconf(_SC_PHYS_PAGES);
    uint64_t allowed = ma_os_allowed_bytes(), bytes = (uint64_t)pages * ma_os_page_bytes();
    if (pages <= 0) return (size_t)1 << 30;
    if (bytes > allowed) bytes = allowed;
    return bytes > SIZE_MAX ? SIZE_MAX : (size_t)bytes;
}

/* ---- The end of a thread: a pthread key whose destructor makes the call -------------------------------------- */

/* 0 not asked yet, KEY_GONE, or the key plus 1. Written once, and at unload. [key-1] */
static _Alignas(8) uint64_t exit_key;
#define KEY_GONE UINT64_MAX
static void (*exit_call)(void);

static void run_exit_call(void *value)
{
    (void)value;
    void (*call)(void) = ma_load_relaxed(&exit_call);
    call();
}

/* Not pthread_once: that makes a system call. */
static uint64_t make_exit_key(void)
{
    pthread_key_t made;
    bool ready = pthread_key_create(&made, run_exit_call) == 0;
    uint64_t key = 0, mine = ready ? (uint64_t)made + 1 : KEY_GONE;
    if (ma_swap_acq_rel(&exit_key, &key, mine)) return mine;
    if (ready) (void)pthread_key_delete(made); /* another thread was first */
    return key;
}

/* glibc has room in each thread for the values of so many keys; for those of later ones it calls calloc. */
#define ROOMY_KEYS 32

bool ma_os_watch_is_silent(void)
{
    uint64_t key = ma_load_acquire(&exit_key);
    if (key == 0) key = make_exit_key();
    return key <= ROOMY_KEYS;
}

bool ma_os_watch_thread(void (*at_exit)(void))
{
    static char present;
    ma_store_relaxed(&exit_call, at_exit); /* always the same; set before any key value makes a thread call it */
    uint64_t key = ma_load_acquire(&exit_key);
    if (key == 0) key = make_exit_key();
    return key != KEY_GONE && pthread_setspecific((pthread_key_t)(key - 1), &present) == 0;
}

/* A thread's CPU clock is named after the thread and ends with it. On Linux the name is the complement of the thread's
 * number and three bits of kind, never 0. */
uint32_t ma_os_thread_name(void)
{
    clockid_t clock;
    return pthread_getcpuclockid(pthread_self(), &clock) == 0 ? (uint32_t)clock : 0;
}

bool ma_os_thread_is_gone(uint32_t name)
{
    struct timespec used;
    int saved = errno;
    bool gone = name != 0 && clock_gettime((clockid_t)name, &used) != 0 && (errno == EINVAL || errno == ESRCH);
    errno = saved;
    return gone;
}

uintptr_t ma_os_thread_self(void)
{
    return (uintptr_t)pthread_self();
}

bool ma_os_thread_is_first(void)
{
#ifdef __linux__
    return syscall(SYS_gettid) == getpid();
#else
    return false;
#endif
}

uint64_t ma_os_process_id(void)
{
    return (uint64_t)getpid();
}

bool ma_os_wipe_in_children(void *memory, size_t bytes)
{
#ifdef MADV_WIPEONFORK
    int saved = errno; /* EINVAL: Linux before 4.14 */
    bool done = madvise(memory, bytes, MADV_WIPEONFORK) == 0;
    errno = saved;
    return done;
#else
    (void)memory, (void)bytes;
    return false;
#endif
}

bool ma_os_watch_fork(void (*in_child)(void))
{
    if (ma_race_tool_is_there()) { /* (an arena is made before a thread asks to be watched) */
        ma_race_tell_ours(&exit_key, sizeof exit_key, true);
        ma_race_tell_ours(&exit_call, sizeof exit_call, true);
    }
    return pthread_atfork(NULL, NULL, in_child) == 0;
}

/* A library that is unloaded must not leave a destructor behind in threads that live on. */
__attribute__((destructor)) static void drop_exit_key(void)
{
    uint64_t key = ma_load_acquire(&exit_key);
    ma_store_release(&exit_key, KEY_GONE);
    if (key != 0 && key != KEY_GONE) (void)pthread_key_delete((pthread_key_t)(key - 1));
}

/* ---- Faults: SIGSEGV --------------------------------------------------------------------------------------------- */

static void (*fault_call)(uintptr_t address);
static struct sigaction before_us;
static uint8_t installed; /* once */

static void on_fault(int signal, siginfo_t *info, void *context)
{
    int saved = errno;                  /* the handler before us may repair what was wrong, and go on */
    bool was_sent = info->si_code <= 0; /* by raise or kill: there is no address */
    if (!was_sent) fault_call((uintptr_t)info->si_addr);
    errno = saved;
    if (before_us.sa_flags & SA_SIGINFO) {
        before_us.sa_sigaction(signal, info, context);
    } else if (before_us.sa_handler != SIG_DFL && before_us.sa_handler != SIG_IGN) {
        before_us.sa_handler(signal);
    } else { /* the fault comes again when we return, and then ends the process as it would have without us */
        (void)sigaction(signal, &before_us, NULL);
        if (was_sent) (void)raise(signal);
        errno = saved;
    }
}

bool ma_os_watch_faults(void (*at_fault)(uintptr_t address))
{
    struct sigaction ours = {.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER}, present;
    ours.sa_sigaction = on_fault;
    if (sigemptyset(&ours.sa_mask) != 0 || sigaction(SIGSEGV, NULL, &present) != 0) return false;
    /* If somebody came after us he may call us in turn, and we must not call him. */
    bool handled = present.sa_flags & SA_SIGINFO || (present.sa_handler != SIG_DFL && present.sa_handler != SIG_IGN);
    if (handled && ma_load_acquire(&installed)) return true;
    before_us = present;
    fault_call = at_fault;
    ma_store_release(&installed, 1);
    return sigaction(SIGSEGV, &ours, NULL) == 0;
}

int ma_os_cancel_off(void)
{
    int before = PTHREAD_CANCEL_ENABLE;
    (void)pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &before);
    return before;
}

void ma_os_cancel_as_before(int state)
{
    (void)pthread_setcancelstate(state, &state);
}

void ma_os_say(const char *text, size_t bytes)
{
    int state = ma_os_cancel_off();
    ssize_t written = write(STDERR_FILENO, text, bytes);
    (void)written;
    ma_os_cancel_as_before(state);
}

void ma_os_nap(uint32_t nanoseconds)
{
    int saved = errno, state = ma_os_cancel_off();
    (void)nanosleep(&(struct timespec){.tv_nsec = (long)nanoseconds}, NULL);
    ma_os_cancel_as_before(state);
    errno = saved;
}
#endif
