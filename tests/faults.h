/* Whether an address can be touched: a test that includes this calls catch_faults() first. */
#ifndef FAULTS_H
#define FAULTS_H

#include "threads.h"

#include <setjmp.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#if TEST_TSAN
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>
#endif

static __thread sigjmp_buf back;
static __thread volatile sig_atomic_t faults;
static __thread void *volatile fault_address;

static inline void jump_back(int signal, siginfo_t *info, void *context)
{
    (void)signal, (void)context;
    fault_address = info->si_addr;
    faults++;
    siglongjmp(back, 1);
}

static inline void catch_faults(void)
{
    struct sigaction action = {.sa_flags = SA_SIGINFO};
    action.sa_sigaction = jump_back;
    CHECK_EQ(sigaction(SIGSEGV, &action, NULL), 0);
}

/* ThreadSanitizer is not made for jumps out of handlers of faults: there the kernel is asked to touch it. */
#if TEST_TSAN
static inline bool touch(long call, const void *address, char *byte)
{
    struct iovec here = {byte, 1}, there = {(void *)(uintptr_t)address, 1};
    long done = syscall(call, (long)getpid(), &here, 1L, &there, 1L, 0L);
    CHECK(done == 1 || errno == EFAULT);
    return done == 1;
}

static inline bool can_read(const char *address)
{
    return touch(SYS_process_vm_readv, address, &(char){0});
}

static inline bool can_write(char *address)
{
    return touch(SYS_process_vm_writev, address, &(char){1});
}

static inline bool holds(const char *address, char byte)
{
    char found = 0;
    return touch(SYS_process_vm_readv, address, &found) && found == byte;
}
#else
static inline bool can_read(const char *address)
{
    if (sigsetjmp(back, 1)) return false;
    (void)*(const volatile char *)address;
    return true;
}

static inline bool can_write(char *address)
{
    if (sigsetjmp(back, 1)) return false;
    *(volatile char *)address = 1;
    return true;
}

static inline bool holds(const char *address, char byte)
{
    if (sigsetjmp(back, 1)) return false;
    return *(const volatile char *)address == byte;
}
#endif

static inline bool is_alive(char *block, size_t size)
{
    return can_read(block) && can_write(block) && can_read(block + size - 1) && can_write(block + size - 1);
}

static inline bool is_dead(char *block, size_t size)
{
    return !can_read(block) && !can_write(block) && !can_read(block + size - 1) && !can_write(block + size - 1);
}

#endif
