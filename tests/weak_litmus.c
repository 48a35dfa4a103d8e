/* Does weak.c play the memory model of C11? The classical litmus tests: what the model allows is seen, and what it forbids is
 * not, in some thousand executions of each, with the actors' accesses in random order. */
#include "steps.h"

#include <sys/wait.h>
#include <unistd.h>

#define ACTORS 4u
#define PLAYS 4000

static struct {
    uint64_t x, y, plain;
} shared;
static uint64_t found[ACTORS];
static actor actors[ACTORS];

#define LOAD(field, order) __atomic_load_n(&shared.field, __ATOMIC_##order)
#define STORE(field, value, order) __atomic_store_n(&shared.field, (uint64_t)(value), __ATOMIC_##order)
#define ADD(field, order) __atomic_fetch_add(&shared.field, (uint64_t)1, __ATOMIC_##order)
#define EXCHANGE(field, value, order) __atomic_exchange_n(&shared.field, (uint64_t)(value), __ATOMIC_##order)
#define SWAP(field, old, new, order) \
    __atomic_compare_exchange_n(&shared.field, &(uint64_t){old}, (uint64_t)(new), false, __ATOMIC_##order, \
                                __ATOMIC_RELAXED)
#define ACT(name, ...) \
    static void name(void) \
    { \
        __VA_ARGS__; \
    }

ACT(x_then_y, STORE(x, 1, RELAXED); STORE(y, 1, RELAXED))
ACT(x_then_y_released, STORE(x, 1, RELAXED); STORE(y, 1, RELEASE))
ACT(x_then_y_released_and_more, STORE(x, 1, RELAXED); STORE(y, 1, RELEASE); STORE(y, 2, RELAXED))
ACT(add_to_y, (void)ADD(y, RELAXED))
ACT(store_2_to_y, STORE(y, 2, RELAXED))
ACT(y_then_x, found[0] = LOAD(y, RELAXED); found[1] = LOAD(x, RELAXED))
ACT(y_acquired_then_x, found[0] = LOAD(y, ACQUIRE); found[1] = LOAD(x, RELAXED))
ACT(x_twice, found[0] = LOAD(x, RELAXED); found[1] = LOAD(x, RELAXED))

ACT(sb_x_acq_rel, (void)EXCHANGE(x, 1, ACQ_REL); found[0] = LOAD(y, ACQUIRE))
ACT(sb_y_acq_rel, (void)EXCHANGE(y, 1, ACQ_REL); found[1] = LOAD(x, ACQUIRE))
ACT(sb_x_seq_cst, (void)EXCHANGE(x, 1, SEQ_CST); found[0] = LOAD(y, SEQ_CST))
ACT(sb_y_seq_cst, STORE(y, 1, SEQ_CST); found[1] = LOAD(x, SEQ_CST))

ACT(x1_then_y2, STORE(x, 1, RELAXED); STORE(y, 2, RELAXED))
ACT(y1_then_x2, STORE(y, 1, RELAXED); STORE(x, 2, RELAXED))
ACT(x1_then_y2_seq_cst, STORE(x, 1, SEQ_CST); STORE(y, 2, SEQ_CST))
ACT(y1_then_x2_seq_cst, STORE(y, 1, SEQ_CST); STORE(x, 2, SEQ_CST))

ACT(store_x, STORE(x, 1, RELEASE))
ACT(store_y, STORE(y, 1, RELEASE))
ACT(x_y_acquired, found[0] = LOAD(x, ACQUIRE); found[1] = LOAD(y, ACQUIRE))
ACT(y_x_acquired, found[2] = LOAD(y, ACQUIRE); found[3] = LOAD(x, ACQUIRE))
ACT(x_y_seq_cst, found[0] = LOAD(x, SEQ_CST); found[1] = LOAD(y, SEQ_CST))
ACT(y_x_seq_cst, found[2] = LOAD(y, SEQ_CST); found[3] = LOAD(x, SEQ_CST))

ACT(y_if_x, found[2] = LOAD(x, ACQUIRE); if (found[2]) STORE(y, 1, RELEASE))
ACT(lb_x, found[0] = LOAD(y, RELAXED); STORE(x, 1, RELAXED))
ACT(lb_y, found[1] = LOAD(x, RELAXED); STORE(y, 1, RELAXED))
ACT(add_to_x, (void)ADD(x, RELAXED))
ACT(swap_first, found[0] = SWAP(x, 0, 1, RELAXED))
ACT(swap_second, found[1] = SWAP(x, 0, 2, RELAXED))

static bool is_torn(void)
{
    return found[0] == 1 && found[1] == 0;
}

static bool is_torn_behind_2(void)
{
    return found[0] == 2 && found[1] == 0;
}

static bool is_none_seen(void)
{
    return found[0] == 0 && found[1] == 0;
}

static bool is_both_seen(void)
{
    return found[0] == 1 && found[1] == 1;
}

static bool is_each_first(void)
{
    return shared.x == 1 && shared.y == 1;
}

static bool is_in_two_orders(void)
{
    return found[0] == 1 && found[1] == 0 && found[2] == 1 && found[3] == 0;
}

static bool is_one_lost(void)
{
    return shared.x != 3;
}

static bool is_not_one_winner(void)
{
    return found[0] + found[1] != 1;
}

static const struct litmus {
    const char *name;
    bool allowed, (*is_so)(void);
    void (*acts[ACTORS])(void);
} litmuses[] = {
    {"message passing, relaxed", true, is_torn, {x_then_y, y_then_x}},
    {"message passing, released only", true, is_torn, {x_then_y_released, y_then_x}},
    {"message passing, acquired only", true, is_torn, {x_then_y, y_acquired_then_x}},
    {"message passing, both", false, is_torn, {x_then_y_released, y_acquired_then_x}},
    {"passed on by a read-modify-write", false, is_torn_behind_2, {x_then_y_released, add_to_y, y_acquired_then_x}},
    {"not passed on by another's store", true, is_torn_behind_2, {x_then_y_released, store_2_to_y, y_acquired_then_x}},
    {"passed on by the same thread", false, is_torn_behind_2, {x_then_y_released_and_more, y_acquired_then_x}},
    {"passed on by who acquired it", false, is_torn, {store_x, y_if_x, y_acquired_then_x}},
    {"an older store after a newer one", false, is_torn, {store_x, x_twice}},
    {"store buffering, acquire and release", true, is_none_seen, {sb_x_acq_rel, sb_y_acq_rel}},
    {"store buffering, one side only", true, is_none_seen, {sb_x_seq_cst, sb_y_acq_rel}},
    {"store buffering, sequentially consistent", false, is_none_seen, {sb_x_seq_cst, sb_y_seq_cst}},
    {"both first stores last, relaxed", true, is_each_first, {x1_then_y2, y1_then_x2}},
    {"both first stores last, sequentially consistent", false, is_each_first, {x1_then_y2_seq_cst, y1_then_x2_seq_cst}},
    {"two orders of stores, acquired", true, is_in_two_orders, {store_x, store_y, x_y_acquired, y_x_acquired}},
    {"two orders of stores, sequentially consistent",
     false,
     is_in_two_orders,
     {store_x, store_y, x_y_seq_cst, y_x_seq_cst}},
    {"a read-modify-write that is lost", false, is_one_lost, {add_to_x, add_to_x, add_to_x}},
    {"two winners or none", false, is_not_one_winner, {swap_first, swap_second}},
    /* C11 allows it; weak.h says that it is not played. */
    {"load buffering", false, is_both_seen, {lb_x, lb_y}},
};

static void play(void (*const *acts)(void), unsigned long long number)
{
    unsigned long long random = test_seed(number);
    shared.x = shared.y = shared.plain = 0;
    for (unsigned i = 0; i < ACTORS; i++) found[i] = 99;
    weak_begin(random, &shared, sizeof shared);
    unsigned left = 0;
    for (unsigned i = 0; i < ACTORS; i++) left += acts[i] && !actor_begin(&actors[i], acts[i], 0);
    while (left > 0) {
        actor *next = &actors[test_random(&random) % ACTORS];
        if (!next->finished) left -= actor_go(next, 1);
    }
    actors_meet(actors, ACTORS);
}

static void what_is_allowed_is_seen_and_what_is_forbidden_is_not(void)
{
    for (size_t i = 0; i < sizeof litmuses / sizeof *litmuses; i++) {
        unsigned seen = 0;
        for (unsigned n = 0; n < PLAYS; n++) {
            play(litmuses[i].acts, n);
            seen += litmuses[i].is_so();
        }
        printf("    %s: in %u of %d\n", litmuses[i].name, seen, PLAYS);
        CHECK_EQ(seen > 0, litmuses[i].allowed);
    }
}

ACT(write_then_y, shared.plain = 1; STORE(y, 1, RELAXED))
ACT(write_then_y_released, shared.plain = 1; STORE(y, 1, RELEASE))
ACT(read_if_y, if (LOAD(y, ACQUIRE)) found[0] = shared.plain)
ACT(write_if_y, if (LOAD(y, ACQUIRE)) shared.plain = 2)
ACT(write_only, shared.plain = 3)

/* In a child, which a race aborts. */
static bool races(void (*one)(void), void (*two)(void))
{
    void (*const acts[ACTORS])(void) = {one, two};
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        (void)close(STDERR_FILENO);
        for (unsigned n = 0; n < PLAYS; n++) play(acts, n);
        _exit(0);
    }
    int status = 0;
    CHECK(waitpid(child, &status, 0) == child);
    return WIFSIGNALED(status);
}

static void plain_accesses_that_race_are_seen(void)
{
    CHECK(races(write_then_y, read_if_y));
    CHECK(races(write_then_y, write_if_y));
    CHECK(races(write_only, write_only));
    CHECK(!races(write_then_y_released, read_if_y));
    CHECK(!races(write_then_y_released, write_if_y));
    CHECK(!races(read_if_y, read_if_y));
}

int main(void)
{
    actors_enter(actors, ACTORS);
    RUN(what_is_allowed_is_seen_and_what_is_forbidden_is_not);
    RUN(plain_accesses_that_race_are_seen);
    actors_leave(actors, ACTORS);
    return test_done();
}
