/* The operating system's side on Windows.
 *
 * Windows charges memory when it is made accessible, not when it is touched: an arena's whole capacity counts against the limit
 * of all processes together from its creation on, though pages take up RAM only as they are used. Trimming is
 * refused: pages can be given back and charged anew only in two steps, the second of which may fail. So are huge pages, and the
 * moves of pages that MEMARENA_TRAP_STALE needs. There is no fork. */
#include "os.h"

#include "atomic.h"

#ifdef _WIN32
#include <errno.h>
#include <windows.h>
/* After <windows.h>. */
#include <psapi.h>

static bool refuse(int reason)
{
    errno = reason;
    return false;
}

void *ma_os_reserve(size_t bytes)
{
    void *memory = VirtualAlloc(NULL, bytes, MEM_RESERVE | MEM_COMMIT, PAGE_READWRITE);
    if (!memory) errno = ENOMEM;
    return memory;
}

bool ma_os_open(void *memory, size_t bytes)
{
    (void)memory, (void)bytes; /* it is */
    return true;
}

void ma_os_release(void *memory, size_t bytes)
{
    (void)bytes;
    (void)VirtualFree(memory, 0, MEM_RELEASE);
}

void ma_os_name(const void *memory, size_t bytes, const char *name)
{
    (void)memory, (void)bytes, (void)name;
}

bool ma_os_use_huge_pages(void *memory, size_t bytes)
{
    (void)memory, (void)bytes;
    return refuse(EINVAL);
}

void ma_os_use_small_pages(void *memory, size_t bytes)
{
    (void)memory, (void)bytes;
}

bool ma_os_commit(void *memory, size_t bytes)
{
    volatile char *page = memory;
    for (size_t offset = 0; offset < bytes; offset += ma_os_page_bytes()) page[offset] = 0;
    return true;
}

size_t ma_os_resident(const void *memory, size_t bytes)
{
    PSAPI_WORKING_SET_EX_INFORMATION pages[256];
    size_t page = ma_os_page_bytes(), most = sizeof pages / sizeof *pages, resident = 0;
    for (size_t done = 0; done < bytes;) {
        size_t count = 0;
        for (; count < most && done < bytes; count++, done += page)
            pages[count] = (PSAPI_WORKING_SET_EX_INFORMATION){.VirtualAddress = (char *)memory + done};
        if (!QueryWorkingSetEx(GetCurrentProcess(), pages, (DWORD)(count * sizeof *pages))) continue;
        for (size_t i = 0; i < count; i++) resident += pages[i].VirtualAttributes.Valid ? page : 0;
    }
    return resident;
}

bool ma_os_discard(void *memory, size_t bytes)
{
    (void)memory, (void)bytes;
    return false;
}

static bool protect(void *memory, size_t bytes, DWORD rights)
{
    DWORD before;
    return VirtualProtect(memory, bytes, rights, &before) || refuse(EINVAL);
}

bool ma_os_forbid(void *memory, size_t bytes)
{
    return protect(memory, bytes, PAGE_NOACCESS);
}

bool ma_os_permit(void *memory, size_t bytes)
{
    return protect(memory, bytes, PAGE_READWRITE);
}

bool ma_os_renew(void *memory, size_t bytes, bool accessible)
{
    (void)memory, (void)bytes, (void)accessible;
    return refuse(EINVAL);
}

bool ma_os_move(void *from, void *to, size_t bytes)
{
    (void)from, (void)to, (void)bytes;
    return refuse(EINVAL);
}

size_t ma_os_page_bytes(void)
{
    SYSTEM_INFO system;
    GetSystemInfo(&system);
    return system.dwPageSize;
}

/* Here, as all of it is charged at once: no more than a quarter of what still can be. */
size_t ma_os_physical_bytes(void)
{
    MEMORYSTATUSEX status = {.dwLength = sizeof status};
    if (!GlobalMemoryStatusEx(&status)) return (size_t)1 << 30;
    uint64_t quarter = status.ullAvailPageFile / 4,
             bytes = status.ullTotalPhys < quarter ? status.ullTotalPhys : quarter;
    return bytes > SIZE_MAX ? SIZE_MAX : (size_t)bytes;
}

/* ---- The end of a thread: a fibre's local storage, the only one with a callback ------------------------------- */

/* 0 not asked yet, INDEX_GONE, or the index plus 1. [key-1] */
static _Alignas(8) uint64_t exit_index;
#define INDEX_GONE UINT64_MAX
static void (*exit_call)(void);

static void WINAPI run_exit_call(void *value)
{
    void (*call)(void) = ma_load_relaxed(&exit_call);
    if (value) call();
}

bool ma_os_watch_thread(void (*at_exit)(void))
{
    static char present;
    ma_store_relaxed(&exit_call, at_exit); /* always the same; set before any index makes a thread call it */
    uint64_t index = ma_load_acquire(&exit_index);
    if (index == 0) {
        DWORD made = FlsAlloc(run_exit_call);
        if (made == FLS_OUT_OF_INDEXES) return false;
        if (ma_swap_acq_rel(&exit_index, &index, (uint64_t)made + 1))
            index = (uint64_t)made + 1;
        else
            (void)FlsFree(made); /* another thread was first */
    }
    return index != INDEX_GONE && FlsSetValue((DWORD)(index - 1), &present) != 0;
}

bool ma_os_watch_is_silent(void)
{
    return true;
}

uint32_t ma_os_thread_name(void)
{
    return GetCurrentThreadId();
}

/* The number of a thread that is gone may be another process's by now. */
bool ma_os_thread_is_gone(uint32_t name)
{
    HANDLE thread = OpenThread(SYNCHRONIZE | THREAD_QUERY_LIMITED_INFORMATION, FALSE, name);
    if (!thread) return name != 0 && GetLastError() == ERROR_INVALID_PARAMETER;
    bool gone =
        GetProcessIdOfThread(thread) != GetCurrentProcessId() || WaitForSingleObject(thread, 0) == WAIT_OBJECT_0;
    (void)CloseHandle(thread);
    return gone;
}

uintptr_t ma_os_thread_self(void)
{
    return GetCurrentThreadId();
}

bool ma_os_thread_is_first(void)
{
    return false; /* (there is no fork) */
}

uint64_t ma_os_process_id(void)
{
    return GetCurrentProcessId();
}

/* Under a name that has the process's number in it: each copy that asks for it gets the same pages. */
void *ma_os_share(size_t bytes)
{
    static uintptr_t shared;
    uintptr_t known = ma_load_acquire(&shared);
    if (known) return (void *)known;
    char name[] = "Local\\memarena-1-00000000", *end = name + sizeof name - 1;
    for (uint64_t number = ma_os_process_id(); number; number >>= 4) *--end = "0123456789abcdef"[number & 15];
    HANDLE mapping = CreateFileMappingA(INVALID_HANDLE_VALUE, NULL, PAGE_READWRITE, 0, (DWORD)bytes, name);
    known = mapping ? (uintptr_t)MapViewOfFile(mapping, FILE_MAP_ALL_ACCESS, 0, 0, bytes) : 0;
    /* Each view has an address of its own, so the first one tells the others where it is. */
    if (known && !ma_swap_address_seq_cst((uintptr_t *)known, 0, known)) known = ma_load_acquire((uintptr_t *)known);
    ma_store_release(&shared, known);
    return (void *)known;
}

bool ma_os_wipe_in_children(void *memory, size_t bytes)
{
    (void)memory, (void)bytes;
    return false;
}

bool ma_os_watch_fork(void (*in_child)(void))
{
    (void)in_child;
    return true;
}

bool ma_os_watch_faults(void (*at_fault)(uintptr_t address))
{
    (void)at_fault;
    return refuse(ENOSYS);
}

void ma_os_say(const char *text, size_t bytes)
{
    DWORD written;
    (void)WriteFile(GetStdHandle(STD_ERROR_HANDLE), text, (DWORD)bytes, &written, NULL);
}

void ma_os_nap(uint32_t nanoseconds)
{
    Sleep(nanoseconds / 1000000 + 1);
}

/* Nothing that is called here is a cancellation point. */
int ma_os_cancel_off(void)
{
    return 0;
}

void ma_os_cancel_as_before(int state)
{
    (void)state;
}

/* A library that is unloaded must not leave a callback behind in threads that live on. */
__attribute__((destructor)) static void drop_exit_index(void)
{
    uint64_t index = ma_load_acquire(&exit_index);
    ma_store_release(&exit_index, INDEX_GONE);
    if (index != 0) (void)FlsFree((DWORD)(index - 1));
}
#endif
