/* A test is a function with a sentence for a name; a test program is a list of them.
 *
 * CHECK counts and, when it fails, prints where and aborts: no longjmp, so that it is safe in any thread, and a
 * debugger or a core dump shows the spot. Exit status 77 means skipped, with a line that says why. */
#ifndef TEST_H
#define TEST_H

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

static unsigned long test_checks; /* counted by all threads, so only roughly where several check at once */

#ifdef TEST_INSTRUMENTED
#define TEST_COUNT() (test_checks++) /* (an atomic access would be taken for one of the library's) */
#else
#define TEST_COUNT() \
    __atomic_store_n(&test_checks, __atomic_load_n(&test_checks, __ATOMIC_RELAXED) + 1, __ATOMIC_RELAXED)
#endif
#define CHECK(condition) (TEST_COUNT(), (condition) ? (void)0 : test_failed(#condition, __FILE__, __LINE__))
#define CHECK_EQ(left, right) \
    test_equal((unsigned long long)(left), (unsigned long long)(right), #left " == " #right, __FILE__, __LINE__)
#define RUN(test) (printf("  %s\n", #test), fflush(stdout), test())
#define SKIP(reason) (printf("skipped: %s\n", reason), exit(77))

static inline void test_failed(const char *condition, const char *file, int line)
{
    fprintf(stderr, "%s:%d: not true: %s\n", file, line, condition);
    abort();
}

static inline void test_equal(unsigned long long left, unsigned long long right, const char *what, const char *file,
                              int line)
{
    TEST_COUNT();
    if (left == right) return;
    fprintf(stderr, "%s:%d: not true: %s (%llu, %llu)\n", file, line, what, left, right);
    abort();
}

static inline int test_done(void)
{
    printf("%lu checks\n", test_checks);
    return test_checks ? 0 : 1; /* a test that checks nothing has failed */
}

#ifndef __cplusplus
/* How a block is aligned that is asked for without an alignment: for any object that it has room for. */
static inline size_t test_alignment(size_t size)
{
    size_t alignment = _Alignof(max_align_t);
    while (alignment > 8 && alignment > size) alignment /= 2;
    return alignment;
}
#endif

/* A small fast generator, so that runs repeat from their seed. */
static inline unsigned long long test_random(unsigned long long *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

#endif
