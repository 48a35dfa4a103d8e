/* AddressSanitizer and Valgrind memcheck, found at run time: whether one is watching, and what it is told of memory.
 *
 * The first is there when the program, or this library, is linked with it; the second is known if its header was there when the
 * library was built. -DMEMARENA_NO_WATCH leaves both out, and where weak symbols are not what they are in ELF so is the first. */
#ifndef MA_SANITIZER_H
#define MA_SANITIZER_H

#include <stdbool.h>
#include <stddef.h>

#if !defined(MEMARENA_NO_WATCH) && defined(__ELF__)
extern void __asan_poison_memory_region(void const volatile *address, size_t size) __attribute__((weak));
extern void __asan_unpoison_memory_region(void const volatile *address, size_t size) __attribute__((weak));
#define MA_HAVE_ASAN (__asan_poison_memory_region != NULL && __asan_unpoison_memory_region != NULL)
#else
#define MA_HAVE_ASAN false
#define __asan_poison_memory_region(address, size) ((void)(address), (void)(size))
#define __asan_unpoison_memory_region(address, size) ((void)(address), (void)(size))
#endif

#if !defined(MEMARENA_NO_WATCH) && defined(__has_include)
#if __has_include(<valgrind/memcheck.h>)
#include <valgrind/memcheck.h>
#define MA_HAVE_VALGRIND (RUNNING_ON_VALGRIND != 0)
#endif
#endif
#ifndef MA_HAVE_VALGRIND
#define MA_HAVE_VALGRIND false
#define VALGRIND_MAKE_MEM_NOACCESS(address, size) ((void)(address), (void)(size))
#define VALGRIND_MAKE_MEM_UNDEFINED(address, size) ((void)(address), (void)(size))
#define VALGRIND_MAKE_MEM_DEFINED(address, size) ((void)(address), (void)(size))
#endif

#endif
