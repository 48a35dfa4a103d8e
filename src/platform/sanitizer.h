/* AddressSanitizer and Valgrind memcheck, found at run time: whether one is watching, and what it is told of memory. And
 * ThreadSanitizer, helgrind and drd, which look for races.
 *
 * The first is there when the program, or this library, is linked with it, and never where weak symbols are not what they
 * are in ELF; the second is known if its header was there when the library was built. */
#ifndef MA_SANITIZER_H
#define MA_SANITIZER_H

#include <stdbool.h>
#include <stddef.h>

#ifdef __ELF__
extern void __asan_poison_memory_region(void const volatile *address, size_t size) __attribute__((weak));
extern void __asan_unpoison_memory_region(void const volatile *address, size_t size) __attribute__((weak));
#define MA_HAVE_ASAN (__asan_poison_memory_region != NULL && __asan_unpoison_memory_region != NULL)
#else
#define MA_HAVE_ASAN false
#define __asan_poison_memory_region(address, size) ((void)(address), (void)(size))
#define __asan_unpoison_memory_region(address, size) ((void)(address), (void)(size))
#endif

#ifdef __has_include
#if __has_include(<valgrind/memcheck.h>)
#include <valgrind/memcheck.h>
#define MA_VALGRIND
#define MA_HAVE_MEMCHECK ma_memcheck_answers()
#define MA_HAVE_VALGRIND (RUNNING_ON_VALGRIND != 0)

/* Only memcheck answers its requests: under Valgrind's other tools nobody is watching. */
static inline bool ma_memcheck_answers(void)
{
    char byte = 0, bits = 0;
    return VALGRIND_GET_VBITS(&byte, &bits, 1) == 1;
}
#endif
#endif
#ifndef MA_HAVE_MEMCHECK
#define MA_HAVE_MEMCHECK false
#define MA_HAVE_VALGRIND false
#define VALGRIND_MAKE_MEM_NOACCESS(address, size) ((void)(address), (void)(size))
#define VALGRIND_MAKE_MEM_UNDEFINED(address, size) ((void)(address), (void)(size))
#define VALGRIND_MAKE_MEM_DEFINED(address, size) ((void)(address), (void)(size))
#endif

/* ---- Races ------------------------------------------------------------------------------------------------------- */

/* Whether ThreadSanitizer is compiled in. */
#ifdef __SANITIZE_THREAD__
#define MA_TSAN 1
#elif defined(__has_feature)
#define MA_TSAN __has_feature(thread_sanitizer)
#else
#define MA_TSAN 0
#endif

/* Whether there is a tool that looks for races and does not see the order that this library's atomic accesses make:
 * ThreadSanitizer does not in a library that was built without it, helgrind and drd do not in any. */
bool ma_race_tool_is_there(void);
/* What this thread has done comes before what other threads do after ma_race_tell_after with the same mark, an address. */
void ma_race_tell_before(const void *mark);
void ma_race_tell_after(const void *mark);
/* Helgrind and drd are not to look at these bytes (`ours`), or are to again: threads share them by atomic accesses. */
void ma_race_tell_ours(const void *begin, size_t bytes, bool ours);

/* The same where `told` is the answer of ma_race_tool_is_there. */
static inline void ma_hand_over(bool told, const void *mark)
{
    if (__builtin_expect(told, 0)) ma_race_tell_before(mark);
}

static inline void ma_receive(bool told, const void *mark)
{
    if (__builtin_expect(told, 0)) ma_race_tell_after(mark);
}

#endif
