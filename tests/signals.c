/* Signal handlers with an arena of their own: they may allocate from it wherever they interrupt this thread, and reset
 * it; and lose no lane when they interrupt the lease of one.
 *
 * In the yield builds the signal comes at chosen accesses of the library, in the shipped one from another thread. */
#include "lanes.h"

#include <errno.h>
#include <signal.h>

static memarena *ours, *the_handlers;
static bool is_armed; /* by this process; one thread at a time is interrupted */
static unsigned long signals, in_handler;

void test_yield(void);

void test_yield(void)
{
    static unsigned long long random;
    if (random == 0) random = test_seed(77);
    if (!__atomic_load_n(&is_armed, __ATOMIC_RELAXED) || in_handler) return;
    if (test_random(&random) % 4 == 0) (void)raise(SIGUSR1);
}

static uintptr_t last_block;

static void handle(int signal)
{
    (void)signal;
    if (!__atomic_load_n(&is_armed, __ATOMIC_RELAXED)) return;
    int saved = errno;
    in_handler = 1;
    signals++;
    for (int i = 0; i < 3; i++) {
        size_t size = signals % 7 ? 40 : 20000;
        uintptr_t block = (uintptr_t)memarena_alloc_aligned(the_handlers, size, 8);
        CHECK(block != 0 && block != last_block && memarena_owns(the_handlers, (void *)block));
        *(volatile char *)block = 1;
        last_block = block;
    }
    if (signals % 32 == 0) CHECK(memarena_reset(the_handlers));
    in_handler = 0;
    errno = saved;
}

static void arm(bool armed)
{
    __atomic_store_n(&is_armed, armed, __ATOMIC_RELAXED);
}

static void fill_while_interrupted(void)
{
    unsigned long long random = test_seed(3);
    test_log log = {0};
    long rounds = test_scaled(40);
    /* However seldom another thread gets to send one. */
    for (long round = 0; round < rounds || signals < 100; round++) {
        log.count = 0;
        arm(true);
        for (;;) {
            size_t size = test_random(&random) % 16 ? test_between(&random, 8, 600) : test_between(&random, 600, 20000);
            void *block = memarena_alloc_aligned(ours, size, 8);
            if (!block) break;
            arm(false);
            test_record(&log, 1, block, size);
            arm(true);
        }
        arm(false);
        (void)test_fill(ours, 64, &log, 1);
        CHECK_EQ(test_check_blocks(ours, &log), memarena_capacity(ours));
        arm(true);
        CHECK(memarena_reset(ours));
        arm(false);
    }
    test_forget(&log);
}

#ifndef WITH_YIELD
static pthread_t victim;
static bool enough;

static void *send_signals(void *argument)
{
    (void)argument;
    while (!__atomic_load_n(&enough, __ATOMIC_ACQUIRE)) {
        CHECK_EQ(pthread_kill(victim, SIGUSR1), 0);
        for (volatile int spin = 0; spin < 500; spin++) continue;
    }
    return NULL;
}
#endif

static void a_handler_with_an_arena_of_its_own_is_safe(void)
{
#ifndef WITH_YIELD
    victim = pthread_self();
    pthread_t sender = test_start(send_signals, NULL);
#endif
    fill_while_interrupted();
#ifndef WITH_YIELD
    __atomic_store_n(&enough, true, __ATOMIC_RELEASE);
    test_join(sender);
#endif
    printf("    %lu signals\n", signals);
}

#ifdef WITH_YIELD
static void *lease_while_interrupted(void *argument)
{
    (void)argument;
    arm(true);
    void *block = memarena_alloc_aligned(ours, 40, 8);
    arm(false);
    CHECK(block != NULL);
    return NULL;
}

static void no_lane_is_lost_when_its_lease_is_interrupted(void)
{
    unsigned before = test_free_lanes();
    for (int i = 0; i < 300; i++) test_join(test_start(lease_while_interrupted, NULL));
    CHECK_EQ(test_free_lanes(), before);
}
#endif

int main(void)
{
    struct sigaction action = {.sa_handler = handle, .sa_flags = SA_RESTART};
    ours = memarena_create((size_t)2 << 20);
    the_handlers = memarena_create((size_t)4 << 20);
    CHECK(ours != NULL && the_handlers != NULL);
    CHECK_EQ(sigaction(SIGUSR1, &action, NULL), 0);
    /* The first block of a thread leases its lane, which needs the C library: better not in a handler. */
    CHECK(memarena_alloc_aligned(the_handlers, 8, 8) != NULL);
    RUN(a_handler_with_an_arena_of_its_own_is_safe);
#ifdef WITH_YIELD
    if (!test_watched(ours)) RUN(no_lane_is_lost_when_its_lease_is_interrupted);
#endif
    memarena_destroy(ours);
    memarena_destroy(the_handlers);
    return test_done();
}
