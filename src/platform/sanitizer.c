/* What tools that look for races are told: see sanitizer.h. */
#include "sanitizer.h"

#include <stdint.h>

#if defined(__ELF__) && !MA_TSAN
extern void __tsan_acquire(void *mark) __attribute__((weak));
extern void __tsan_release(void *mark) __attribute__((weak));
#define HAVE_TSAN (__tsan_acquire != NULL && __tsan_release != NULL)
#else /* it sees what this library does by itself */
#define HAVE_TSAN false
#define __tsan_acquire(mark) ((void)(mark))
#define __tsan_release(mark) ((void)(mark))
#endif

#ifdef MA_VALGRIND
#include <valgrind/helgrind.h>

#include <valgrind/drd.h>
#define ASK VALGRIND_DO_CLIENT_REQUEST_EXPR
#define TELL VALGRIND_DO_CLIENT_REQUEST_STMT
#define HAVE_HELGRIND (ASK(0, _VG_USERREQ__HG_GET_ABITS, "", NULL, 1, 0, 0) == 1)
#define HAVE_DRD (ASK(0, VG_USERREQ__DRD_GET_DRD_THREAD_ID, 0, 0, 0, 0, 0) != 0)
#else
#define HAVE_HELGRIND false
#define HAVE_DRD false
#define TELL(request, begin, bytes, ...) ((void)(begin), (void)(bytes))
#endif

bool ma_race_tool_is_there(void)
{
    return HAVE_TSAN || HAVE_HELGRIND || HAVE_DRD;
}

void ma_race_tell_before(const void *mark)
{
    if (HAVE_TSAN) __tsan_release((void *)(uintptr_t)mark);
    TELL(_VG_USERREQ__HG_USERSO_SEND_PRE, mark, 0, 0, 0, 0); /* drd knows these two of helgrind's */
}

void ma_race_tell_after(const void *mark)
{
    if (HAVE_TSAN) __tsan_acquire((void *)(uintptr_t)mark);
    TELL(_VG_USERREQ__HG_USERSO_RECV_POST, mark, 0, 0, 0, 0);
}

void ma_race_tell_ours(const void *begin, size_t bytes, bool ours)
{
    if (ours) {
        TELL(_VG_USERREQ__HG_ARANGE_MAKE_UNTRACKED, begin, bytes, 0, 0, 0);
        TELL(VG_USERREQ__DRD_START_SUPPRESSION, begin, bytes, 0, 0, 0);
    } else {
        TELL(_VG_USERREQ__HG_ARANGE_MAKE_TRACKED, begin, bytes, 0, 0, 0);
        TELL(VG_USERREQ__DRD_FINISH_SUPPRESSION, begin, bytes, 0, 0, 0);
    }
}
