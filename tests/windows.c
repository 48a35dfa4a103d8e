/* What Windows refuses, and what it must not lose: run by tests/tools/windows.sh. */
#include "threads.h"

#include <string.h>

static void what_needs_moves_or_two_steps_is_refused(void)
{
    static const unsigned refused[] = {MEMARENA_TRAP_STALE, MEMARENA_HUGE_PAGES};
    for (int i = 0; i < 2; i++) {
        errno = 0;
        CHECK(!memarena_create_with(&(memarena_options){.capacity = 1 << 20, .flags = refused[i]}) && errno == EINVAL);
    }
    errno = 0;
    CHECK(!memarena_explain_faults() && errno == ENOSYS);
}

static void a_trim_gives_nothing_and_harms_nothing(void)
{
    memarena *arena = memarena_create((size_t)8 << 20);
    CHECK(arena != NULL);
    char *block = memarena_alloc(arena, (size_t)1 << 20);
    CHECK(block != NULL && memarena_resident_bytes(arena) < (size_t)1 << 20);
    memset(block, 1, (size_t)1 << 20);
    CHECK(memarena_resident_bytes(arena) >= (size_t)1 << 20);
    CHECK_EQ(memarena_trim(arena, 0), 0);
    for (size_t i = 0; i < (size_t)1 << 20; i++) CHECK(block[i] == 1);
    memarena_destroy(arena);
}

static void all_of_memory_is_at_most_a_quarter_of_what_can_be_charged(void)
{
    memarena *first = memarena_create(0), *second = memarena_create(0);
    CHECK(first != NULL && second != NULL && memarena_capacity(first) >= (size_t)1 << 20);
    CHECK(memarena_alloc(first, 100) != NULL && memarena_alloc(second, 100) != NULL);
    memarena_destroy(first);
    memarena_destroy(second);
}

static void *end_at_once(void *arena)
{
    CHECK(memarena_alloc(arena, 16) != NULL);
    return NULL;
}

/* The lane of a thread that has ended is the next one's: 300 in turn need no more TLABs than one of them would. */
static void threads_come_and_go(void)
{
    memarena *arena = memarena_create((size_t)64 << 20);
    CHECK(arena != NULL);
    for (int i = 0; i < 300; i++) test_join(test_start(end_at_once, arena));
    CHECK_EQ(memarena_allocated_bytes(arena), 300 * 16);
    CHECK(test_stats(arena).refills < 10);
    memarena_destroy(arena);
}

int main(void)
{
    RUN(what_needs_moves_or_two_steps_is_refused);
    RUN(a_trim_gives_nothing_and_harms_nothing);
    RUN(all_of_memory_is_at_most_a_quarter_of_what_can_be_charged);
    RUN(threads_come_and_go);
    return test_done();
}
