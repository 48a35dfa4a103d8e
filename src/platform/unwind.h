/* Calls into the user's code that may be left by another way than its end: a C++ exception, or the end of the thread by
 * pthread_cancel or pthread_exit.
 *
 * With gcc, clang and glibc both unwind the stack, and the compiler's cleanup runs on the way if this is compiled with -fexceptions
 * (CMakeLists.txt does). musl ends a thread without unwinding; it runs the functions that were pushed. longjmp does neither: it
 * must not leave such a call. */
#ifndef MA_UNWIND_H
#define MA_UNWIND_H

#if defined(__linux__) && !defined(__GLIBC__)
#include <pthread.h>
#endif
#include <stddef.h>

typedef struct ma_guard {
    void (*undo)(void *context);
    void *context;
} ma_guard;

static inline void ma_guard_leave(ma_guard *guard)
{
    if (guard->undo) guard->undo(guard->context);
}

/* Between these two, as a pair of braces: where the code between them is left before its end `undo(context)` runs. */
#if defined(__linux__) && !defined(__GLIBC__)
#define MA_GUARD_BEGIN(undo, context) pthread_cleanup_push((undo), (context))
#define MA_GUARD_END() pthread_cleanup_pop(0)
#else
#define MA_GUARD_BEGIN(undo_, context_) \
    { \
        __attribute__((cleanup(ma_guard_leave))) ma_guard guard_ = {.undo = (undo_), .context = (context_)};
#define MA_GUARD_END() \
    guard_.undo = NULL; \
    }
#endif

#endif
