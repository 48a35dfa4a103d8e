/* A test is a function with a sentence for a name; a test program is a list of them.
 *
 * CHECK counts and, when it fails, prints where and aborts: no longjmp, so that it is safe in any thread, and a
 * debugger or a core dump shows the spot. Exit status 77 means skipped, with a line that says why.
 *
 * No test measures the machine: it waits for what happens, however long that takes beside others. A test that hangs is ended by
 * the CPU time that it uses, with SIGXCPU; the library has no lock to sleep on. */
#ifndef TEST_H
#define TEST_H

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#ifndef _WIN32
#include <sys/resource.h>
#endif

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
#define RUN(test) (printf("  %s\n", #test), fflush(stdout), test_limit_cpu(TEST_CPU_SECONDS), test())
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

#define TEST_CPU_SECONDS 600 /* of a test function */

/* This process dies when it has used so many more seconds of CPU time, all threads taken together; for longer tests
 * (MEMARENA_TEST_SCALE above 1) that many times as much. The children of a fork inherit the sum, and begin at 0. */
static inline void test_limit_cpu(unsigned long seconds)
{
#ifndef _WIN32
    const char *text = getenv("MEMARENA_TEST_SCALE");
    unsigned long scale = text ? strtoul(text, NULL, 10) : 1;
    struct rusage usage;
    struct rlimit limit;
    if (getrusage(RUSAGE_SELF, &usage) != 0 || getrlimit(RLIMIT_CPU, &limit) != 0) return;
    if (scale > 1) seconds *= scale;
    for (long long used = usage.ru_utime.tv_sec + usage.ru_stime.tv_sec; used >= 0; used--) seconds++;
    limit.rlim_cur = seconds < limit.rlim_max ? seconds : limit.rlim_max;
    (void)setrlimit(RLIMIT_CPU, &limit);
#else
    (void)seconds;
#endif
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
