/* The ways to make a child that goes on where its parent was, and a test in a child. */
#ifndef CHILDREN_H
#define CHILDREN_H

#include "threads.h"

#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* With the handlers of pthread_atfork; without; and past the C library. */
typedef enum test_way { BY_FORK, BY_FORK_ALONE, BY_CLONE, WAYS } test_way;

#if defined(__GLIBC__)
extern pid_t _Fork(void) __attribute__((weak));
#define TEST_FORK_ALONE() (_Fork ? _Fork() : fork())
#else
#define TEST_FORK_ALONE() fork()
#endif

#define TEST_CHILD_CPU_SECONDS 60 /* before a child is taken to hang */

static inline pid_t test_make_child(test_way way)
{
    pid_t child = -1;
    fflush(stdout);
    if (TEST_TSAN) way = BY_FORK; /* (it has to know) */
#ifdef SYS_clone
    if (way == BY_CLONE) child = (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
#else
    if (way == BY_CLONE) child = fork();
#endif
    if (way == BY_FORK_ALONE) child = TEST_FORK_ALONE();
    if (way == BY_FORK) child = fork();
    CHECK(child >= 0);
    if (child == 0) test_limit_cpu(TEST_CHILD_CPU_SECONDS);
    return child;
}

static inline int test_status_of(pid_t child)
{
    int status = 0;
    CHECK_EQ(waitpid(child, &status, 0), child);
    return status;
}

/* Runs the test in a child of its own. */
#define RUN_APART(test) (printf("  %s\n", #test), test_apart(test))

static inline void test_apart(void (*test)(void))
{
    fflush(stdout);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        test_limit_cpu(TEST_CPU_SECONDS);
        test();
        fflush(stdout);
        _exit(0);
    }
    int status = test_status_of(child);
    CHECK(WIFEXITED(status));
    if (WEXITSTATUS(status) == 77) exit(77);
    CHECK_EQ(WEXITSTATUS(status), 0);
}

#endif
