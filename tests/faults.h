/* Whether an address can be touched: a test that includes this calls catch_faults() first. */
#ifndef FAULTS_H
#define FAULTS_H

#include "test.h"

#include <setjmp.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>

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

static inline bool is_alive(char *block, size_t size)
{
    return can_read(block) && can_write(block) && can_read(block + size - 1) && can_write(block + size - 1);
}

static inline bool is_dead(char *block, size_t size)
{
    return !can_read(block) && !can_write(block) && !can_read(block + size - 1) && !can_write(block + size - 1);
}

#endif
