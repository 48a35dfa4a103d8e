/* Sampling: which blocks are reported, with which weight, and that nothing else changes.
 *
 * With 1 byte every block is reported with exactly what it takes, so single blocks can be checked. Estimates are checked
 * within 6 standard deviations: a block below N bytes has a variance of N times its size, others have less. */
#include "threads.h"
#include "yield.h"

#include <errno.h>
#include <math.h>
#include <sched.h>

#define CAPACITY ((size_t)16 << 20)
#define THREADS 4u

/* What a thread has been told in its call; `expects` is set around each call. */
typedef struct told {
    bool expects;
    memarena *arena;
    void *block;
    size_t size, weight;
    unsigned count;
} told;

static __thread told mine;

static void note(void *context, memarena *arena, void *block, size_t size, size_t weight)
{
    CHECK(context == &mine || context == NULL);
    CHECK(mine.expects && weight > 0);
    mine.arena = arena;
    mine.block = block;
    mine.size = size;
    mine.weight = weight;
    mine.count++;
}

static void expect(void)
{
    mine = (told){.expects = true};
}

/* The block was reported once, if at all, before it was returned. Its weight. */
static size_t check_told(memarena *arena, const void *block, size_t size)
{
    CHECK(mine.count <= 1);
    if (mine.count) CHECK(mine.arena == arena && mine.block == block && mine.size == size);
    mine.expects = false;
    return mine.weight;
}

/* An arena in memory from the OS, and one in a buffer so small that it has no lanes. */
static memarena *create(bool small)
{
    static char buffer[(size_t)100 << 10];
    return small ? memarena_create_with(&(memarena_options){.capacity = sizeof buffer, .buffer = buffer})
                 : test_create(CAPACITY);
}

/* ---- Single blocks ----------------------------------------------------------------------------------------------- */

/* One of all calls that make a block, in an arena or a scope; NULL: no room. `*size`: what is reported. */
static void *make(memarena *arena, unsigned long long *random, void **last, size_t *last_size, size_t *size)
{
    void *block;
    char text[64];
    *size = test_random(random) % 32 ? test_between(random, 0, 300) : test_between(random, 0, 30000);
    switch (test_random(random) % 8) {
    case 0:
        block = memarena_alloc(arena, *size);
        break;
    case 1:
        block = memarena_alloc_aligned(arena, *size, (size_t)8 << test_random(random) % 8);
        break;
    case 2:
        block = memarena_zalloc(arena, *size);
        break;
    case 3:
        block = memarena_calloc(arena, 3, *size);
        *size *= 3;
        break;
    case 4:
        *size = test_between(random, 1, sizeof text);
        for (size_t i = 0; i + 1 < *size; i++) text[i] = 'x';
        text[*size - 1] = '\0';
        block = memarena_strdup(arena, text);
        break;
    case 5:
    case 6:
        *size += *last_size;
        block = memarena_realloc(arena, *last, *last_size, *size);
        break;
    default:
        block = memarena_alloc_aligned(arena, *size, 8);
    }
    if (block) *last = block, *last_size = *size;
    return block;
}

static void check_every_block(memarena *root, memarena *arena, unsigned long long seed)
{
    unsigned long long random = test_seed(seed);
    void *last = NULL;
    size_t last_size = 0, size, blocks = 0;
    CHECK(memarena_sample(root, 1, note, &mine));
    for (int call = 0; call < 5000; call++) {
        size_t before = memarena_allocated_bytes(arena);
        expect();
        void *block = make(arena, &random, &last, &last_size, &size);
        size_t weight = check_told(arena, block, size);
        CHECK_EQ(weight, memarena_allocated_bytes(arena) - before);
        if (last_size > 20000) last = NULL, last_size = 0;
        if (block) blocks++;
        if (block) continue;
        if (call % 2) CHECK(memarena_reset(arena));
        last = NULL, last_size = 0;
    }
    CHECK(blocks > 1000);
    CHECK(memarena_sample(root, 0, NULL, NULL));
}

static void every_block_is_reported_with_what_it_takes(void)
{
    for (int small = 0; small < 2; small++) {
        memarena *arena = create(small);
        CHECK(arena != NULL);
        check_every_block(arena, arena, 1);
        CHECK(memarena_reset(arena));
        CHECK(memarena_sample(arena, 1, note, &mine)); /* a scope that is open follows late */
        memarena *scope = memarena_scope(arena);
        CHECK(scope != NULL);
        check_every_block(arena, scope, 2);
        memarena_destroy(scope);
        memarena_destroy(arena);
    }
}

static void marks_and_extents_are_no_blocks(void)
{
    memarena *arena = create(false);
    CHECK(memarena_sample(arena, 1, note, &mine));
    memarena *scope = memarena_scope(arena);
    for (int i = 0; i < 1000; i++) {
        memarena_position here = memarena_mark(scope);
        expect();
        void *block = memarena_alloc_aligned(scope, 100, 8);
        CHECK_EQ(check_told(scope, block, 100), 104);
        if (i % 2) CHECK(memarena_rewind(scope, here));
    }
    memarena_destroy(scope);
    memarena_destroy(arena);
}

static struct {
    memarena *arena;
    pthread_barrier_t barrier;
    bool wanted;
} next;

static void *look_at_next_block(void *unused)
{
    for (int round = 0; round < 20; round++) {
        expect();
        CHECK(memarena_alloc_aligned(next.arena, 8, 8) != NULL);
        test_meet(&next.barrier);
        test_meet(&next.barrier); /* main has called */
        expect();
        void *block = memarena_alloc_aligned(next.arena, 8, 8);
        CHECK_EQ(check_told(next.arena, block, 8), next.wanted ? 8 : 0);
    }
    return unused;
}

static void it_begins_and_stops_with_the_next_block_of_each_thread(void)
{
    pthread_t threads[THREADS];
    next.arena = create(false);
    CHECK_EQ(pthread_barrier_init(&next.barrier, NULL, THREADS + 1), 0);
    for (unsigned i = 0; i < THREADS; i++) threads[i] = test_start(look_at_next_block, NULL);
    for (int round = 0; round < 20; round++) {
        test_meet(&next.barrier);
        next.wanted = round % 2 == 0;
        CHECK(memarena_sample(next.arena, next.wanted, note, NULL));
        test_meet(&next.barrier);
    }
    for (unsigned i = 0; i < THREADS; i++) test_join(threads[i]);
    CHECK_EQ(pthread_barrier_destroy(&next.barrier), 0);
    memarena_destroy(next.arena);
}

static void bad_requests_are_refused(void)
{
    memarena *arena = create(false), *scope = memarena_scope(arena);
    errno = 0;
    CHECK(!memarena_sample(scope, 1, note, NULL) && errno == EINVAL);
    errno = 0;
    CHECK(!memarena_sample(arena, 1, NULL, NULL) && errno == EINVAL);
    memarena_destroy(scope);
    CHECK(memarena_alloc(arena, 8) != NULL);
    CHECK(memarena_sample(arena, SIZE_MAX, note, NULL)); /* (nearly never) */
    CHECK(memarena_alloc(arena, 8) != NULL);
    memarena_destroy(arena);
}

/* ---- A callback that allocates ------------------------------------------------------------------------------------- */

static unsigned deep, calls;

static void allocate_more(void *context, memarena *arena, void *block, size_t size, size_t weight)
{
    (void)context, (void)size, (void)weight;
    CHECK_EQ(deep++, 0);
    calls++;
    for (int i = 0; i < 3; i++) {
        char *other = memarena_alloc(arena, test_between(&(unsigned long long){calls + 1}, 8, 5000));
        CHECK(other != NULL && other != block);
        memset(other, 1, 8);
    }
    deep--;
}

static void the_callback_may_allocate_and_is_not_called_for_that(void)
{
    memarena *arena = create(false);
    CHECK(memarena_sample(arena, 1, allocate_more, NULL));
    memarena *scope = memarena_scope(arena), *handles[] = {arena, scope};
    for (int i = 0; i < 200; i++) {
        char *block = memarena_alloc(handles[i % 2], 48);
        CHECK(block != NULL);
        memset(block, 2, 48);
    }
    CHECK_EQ(calls, 200);
    memarena_destroy(scope);
    memarena_destroy(arena);
}

/* ---- Nothing else changes ------------------------------------------------------------------------------------------ */

static void count_weight(void *context, memarena *arena, void *block, size_t size, size_t weight)
{
    (void)arena, (void)block, (void)size;
    if (context) (void)__atomic_fetch_add((uint64_t *)context, weight, __ATOMIC_RELAXED);
}

static void check_same_stats(const memarena *left, const memarena *right)
{
    memarena_stats a = test_stats(left), b = test_stats(right);
    CHECK_EQ(a.allocated_bytes, b.allocated_bytes);
    CHECK_EQ(a.claimed_bytes, b.claimed_bytes);
    CHECK_EQ(a.tail_bytes, b.tail_bytes);
    CHECK_EQ(a.refills, b.refills);
    CHECK_EQ(a.direct_blocks, b.direct_blocks);
    CHECK_EQ(a.tlab_bytes, b.tlab_bytes);
}

/* The same calls in an arena that is sampled and in one that is not. */
static void accounts_and_places_are_the_same(void)
{
    if (TEST_FLAGS & MEMARENA_PER_CPU) return; /* the two would be on different CPUs now and then */
    memarena *arenas[2] = {create(false), create(false)};
    unsigned long long random = test_seed(3);
    uintptr_t distance = 0;
    char *last[2] = {0};
    size_t last_size = 0, blocks = 0;
    for (int call = 0; call < 60000; call++) {
        size_t size = test_random(&random) % 64 ? test_between(&random, 0, 300) : test_between(&random, 0, 90000);
        size_t alignment = test_random(&random) % 2 ? 8 : 16;
        bool again = test_random(&random) % 4 == 0 && last[0];
        if (call % 1000 == 0)
            CHECK(memarena_sample(arenas[0], test_between(&random, 0, 3) * test_between(&random, 0, 5000), count_weight,
                                  NULL));
        for (int i = 0; i < 2; i++)
            last[i] = again             ? memarena_realloc(arenas[i], last[i], last_size, size)
                      : alignment == 16 ? memarena_alloc_aligned(arenas[i], size, 16)
                                        : memarena_alloc_aligned(arenas[i], size, 8);
        last_size = size;
        CHECK((last[0] == NULL) == (last[1] == NULL));
        if (last[0] && distance == 0) distance = (uintptr_t)last[1] - (uintptr_t)last[0];
        if (last[0]) CHECK_EQ((uintptr_t)last[1] - (uintptr_t)last[0], distance);
        if (call % 16 == 0 || !last[0]) check_same_stats(arenas[0], arenas[1]);
        if (last[0]) blocks++;
        if (!last[0])
            for (int i = 0; i < 2; i++) CHECK(memarena_reset(arenas[i]));
    }
    CHECK(blocks > 10000);
    for (int i = 0; i < 2; i++) memarena_destroy(arenas[i]);
}

static void a_sampled_arena_is_filled_to_the_last_8_bytes(void)
{
    static const size_t means[] = {1, 16, 100, 4096, 100000};
    for (size_t i = 0; i < sizeof means / sizeof *means; i++) {
        memarena *arena = create(false), *small = create(true);
        CHECK(memarena_sample(arena, means[i], count_weight, NULL));
        CHECK(memarena_sample(small, means[i], count_weight, NULL));
        test_check_whole(arena, 40);
        test_check_whole(arena, 5000);
        test_check_whole(small, 40);
        memarena_destroy(arena);
        memarena_destroy(small);
    }
}

/* ---- Estimates ------------------------------------------------------------------------------------------------------ */

static void check_estimate(double estimate, double bytes, double mean)
{
    /* Six standard deviations, and three samples: where few are due their number is not spread like a large one's. */
    double most = bytes > 0 ? 6 * sqrt(bytes * mean) + 3 * mean : 0;
    if (fabs(estimate - bytes) > most) fprintf(stderr, "%.0f estimated of %.0f, one in %.0f\n", estimate, bytes, mean);
    CHECK(fabs(estimate - bytes) <= most);
}

#define SIZES 6u
static const size_t sizes[SIZES] = {8, 40, 200, 1000, 10000, 300000};

/* For each size by itself: what was handed out, and the weights. */
typedef struct tally {
    double bytes[SIZES], weights[SIZES];
} tally;

static __thread tally tallied;

static void tally_weight(void *context, memarena *arena, void *block, size_t size, size_t weight)
{
    (void)context, (void)arena, (void)block;
    for (unsigned i = 0; i < SIZES; i++)
        if (sizes[i] == size) tallied.weights[i] += (double)weight;
}

static void check_tally(const tally *seen, double mean)
{
    double bytes = 0, weights = 0;
    for (unsigned i = 0; i < SIZES; i++) {
        bytes += seen->bytes[i];
        weights += seen->weights[i];
        check_estimate(seen->weights[i], seen->bytes[i], mean);
    }
    check_estimate(weights, bytes, mean);
}

static unsigned pick(unsigned long long *random, unsigned first, unsigned last)
{
    /* so that each size has about as many bytes as the others */
    unsigned i = last;
    while (i > first && test_random(random) % (sizes[i] / sizes[i - 1] + 1) != 0) i--;
    return i;
}

static void take_sizes(memarena *arena, unsigned long long *random, unsigned first, unsigned last, double until)
{
    for (double sum = 0; sum < until;) {
        unsigned i = pick(random, first, last);
        if (memarena_alloc_aligned(arena, sizes[i], 8)) {
            tallied.bytes[i] += (double)sizes[i];
            sum += (double)sizes[i];
        } else {
            CHECK(memarena_reset(arena));
        }
    }
}

static void estimates_hold_for_each_size_and_for_all(void)
{
    static const size_t means[] = {16, 500, 5000, 100000};
    unsigned long long random = test_seed(4);
    for (size_t i = 0; i < sizeof means / sizeof *means; i++) {
        memarena *arena = create(false);
        CHECK(memarena_sample(arena, means[i], tally_weight, NULL));
        for (unsigned first = 0; first < SIZES; first += 2)
            for (unsigned last = first; last < SIZES; last += 2) {
                tallied = (tally){0};
                take_sizes(arena, &random, first, last + 1 < SIZES ? last + 1 : last, (double)test_scaled(40 << 20));
                check_tally(&tallied, (double)means[i]);
            }
        memarena_destroy(arena);
    }
}

static void estimates_hold_without_lanes(void)
{
    unsigned long long random = test_seed(5);
    memarena *arena = create(true);
    CHECK(memarena_sample(arena, 3000, tally_weight, NULL));
    tallied = (tally){0};
    take_sizes(arena, &random, 0, 4, (double)test_scaled(60 << 20));
    check_tally(&tallied, 3000);
    memarena_destroy(arena);
}

/* Short lives in the same memory, again and again. */
static void estimates_hold_in_scopes(void)
{
    unsigned long long random = test_seed(6);
    memarena *arena = create(false);
    CHECK(memarena_sample(arena, 2000, tally_weight, NULL));
    memarena *frame = memarena_scope(arena);
    tallied = (tally){0};
    for (long i = test_scaled(150000); i > 0; i--) {
        memarena *scope = memarena_scope(arena);
        unsigned most = test_random(&random) % 64 ? 3 : SIZES;
        for (size_t blocks = test_between(&random, 1, 6); blocks > 0; blocks--) {
            size_t size = test_between(&random, 0, most);
            CHECK(memarena_alloc_aligned(scope, sizes[size], 8) != NULL);
            tallied.bytes[size] += (double)sizes[size];
        }
        memarena_position here = memarena_mark(frame);
        CHECK(memarena_alloc_aligned(frame, 40, 8) != NULL);
        tallied.bytes[1] += 40;
        CHECK(memarena_rewind(frame, here));
        memarena_destroy(scope);
    }
    check_tally(&tallied, 2000);
    memarena_destroy(frame);
    memarena_destroy(arena);
}

static void a_text_that_grows_in_place_counts_once(void)
{
    memarena *arena = create(false);
    uint64_t weights = 0;
    CHECK(memarena_sample(arena, 700, count_weight, &weights));
    for (int i = 0; i < 2000; i++) {
        size_t size = 10;
        void *block = memarena_alloc_aligned(arena, size, 8);
        for (; size < 3000; size += 50) block = memarena_realloc(arena, block, size, size + 50);
        CHECK(block != NULL);
    }
    check_estimate((double)weights, (double)memarena_allocated_bytes(arena), 700);
    memarena_destroy(arena);
}

/* ---- Several threads ------------------------------------------------------------------------------------------------- */

static struct {
    memarena *arena;
    pthread_barrier_t barrier;
    tally sum;
    pthread_mutex_t mutex;
} team = {.mutex = PTHREAD_MUTEX_INITIALIZER};

#define TEAM_MEAN 3000
#define TEAM_ROUNDS 30

static void *take_in_team(void *argument)
{
    unsigned long long random = test_seed(10 + (uintptr_t)argument);
    tallied = (tally){0};
    for (int round = 0; round < TEAM_ROUNDS; round++) {
        test_meet(&team.barrier);
        take_sizes(team.arena, &random, 0, 4, (double)CAPACITY / THREADS / 2);
        test_meet(&team.barrier);
    }
    CHECK_EQ(pthread_mutex_lock(&team.mutex), 0);
    for (unsigned i = 0; i < SIZES; i++) {
        team.sum.bytes[i] += tallied.bytes[i];
        team.sum.weights[i] += tallied.weights[i];
    }
    CHECK_EQ(pthread_mutex_unlock(&team.mutex), 0);
    return NULL;
}

static void estimates_hold_for_threads_with_resets_in_between(void)
{
    pthread_t threads[THREADS];
    team.arena = create(false);
    CHECK_EQ(pthread_barrier_init(&team.barrier, NULL, THREADS + 1), 0);
    CHECK(memarena_sample(team.arena, TEAM_MEAN, tally_weight, NULL));
    for (unsigned i = 0; i < THREADS; i++) threads[i] = test_start(take_in_team, (void *)(uintptr_t)i);
    for (int round = 0; round < TEAM_ROUNDS; round++) {
        test_meet(&team.barrier);
        test_meet(&team.barrier);
        CHECK(memarena_reset(team.arena));
    }
    for (unsigned i = 0; i < THREADS; i++) test_join(threads[i]);
    team.sum.bytes[5] = team.sum.weights[5] = 0;
    for (unsigned i = 0; i < 5; i++) check_estimate(team.sum.weights[i], team.sum.bytes[i], TEAM_MEAN);
    CHECK_EQ(pthread_barrier_destroy(&team.barrier), 0);
    memarena_destroy(team.arena);
}

/* ---- Races ------------------------------------------------------------------------------------------------------------ */

static struct {
    memarena *arena;
    unsigned running;
    uint64_t reported;
} race;

static void *allocate_in_race(void *argument)
{
    unsigned long long random = test_seed(20 + (uintptr_t)argument);
    for (long call = test_scaled(40000); call > 0; call--) {
        size_t size = test_random(&random) % 64 ? test_between(&random, 0, 200) : test_between(&random, 0, 40000);
        expect();
        void *block = memarena_alloc_aligned(race.arena, size, 8);
        size_t weight = check_told(race.arena, block, size);
        if (!block) CHECK_EQ(weight, 0);
        if (weight) (void)__atomic_fetch_add(&race.reported, 1, __ATOMIC_RELAXED);
    }
    (void)__atomic_fetch_sub(&race.running, 1, __ATOMIC_ACQ_REL);
    return NULL;
}

static char left, right;

static void note_left(void *context, memarena *arena, void *block, size_t size, size_t weight)
{
    CHECK(context == &left);
    note(NULL, arena, block, size, weight);
}

static void note_right(void *context, memarena *arena, void *block, size_t size, size_t weight)
{
    CHECK(context == &right);
    note(NULL, arena, block, size, weight);
}

/* Another thread that is in the middle of the same call may have lost its processor there: then again. */
static void change_until_done(size_t bytes, bool to_left)
{
    while (!memarena_sample(race.arena, bytes, to_left ? note_left : note_right, to_left ? &left : &right))
        CHECK_EQ(errno, EBUSY);
}

static void *change_in_race(void *argument)
{
    unsigned long long random = test_seed(30 + (uintptr_t)argument);
    while (__atomic_load_n(&race.reported, __ATOMIC_RELAXED) == 0) sched_yield();
    while (__atomic_load_n(&race.running, __ATOMIC_ACQUIRE) != 0) {
        size_t bytes = test_between(&random, 0, 3) * test_between(&random, 1, 500);
        change_until_done(bytes, test_random(&random) % 2);
        if (test_random(&random) % 4 == 0) (void)memarena_reset(race.arena);
        for (size_t i = test_between(&random, 0, 20); i > 0; i--) sched_yield();
    }
    return NULL;
}

/* Each block is reported by its own call, once, whoever else begins, stops, changes and resets. */
static void only_blocks_that_were_handed_out_are_reported_in_a_race(void)
{
    pthread_t threads[THREADS + 2];
    race.arena = test_create((size_t)4 << 20);
    race.running = THREADS;
    CHECK(memarena_sample(race.arena, 100, note_left, &left));
    for (unsigned i = 0; i < THREADS + 2; i++)
        threads[i] = test_start(i < THREADS ? allocate_in_race : change_in_race, (void *)(uintptr_t)i);
    for (unsigned i = 0; i < THREADS + 2; i++) test_join(threads[i]);
    CHECK(memarena_sample(race.arena, 100, count_weight, NULL));
    test_check_whole(race.arena, 200);
    memarena_destroy(race.arena);
}

static struct {
    memarena *arena;
    uint64_t stable; /* 0: a change is under way; odd: every block is reported, even: none */
    uint64_t compared;
    bool stop;
} change;

static void *allocate_through_changes(void *unused)
{
    while (!__atomic_load_n(&change.stop, __ATOMIC_ACQUIRE)) {
        uint64_t before = __atomic_load_n(&change.stable, __ATOMIC_SEQ_CST);
        expect();
        void *block = memarena_alloc_aligned(change.arena, 8, 8);
        (void)check_told(change.arena, block, 8);
        if (before == 0 || __atomic_load_n(&change.stable, __ATOMIC_SEQ_CST) != before) continue;
        if (block) CHECK_EQ(mine.count, before % 2);
        if (__atomic_fetch_add(&change.compared, 1, __ATOMIC_RELAXED) % 16 == 0) sched_yield();
    }
    return unused;
}

/* What a change that is done says holds for every call that begins after it, whatever it met in the lane. */
static void a_change_holds_for_every_call_after_it(void)
{
    if (TEST_FLAGS & MEMARENA_PER_CPU) return; /* not promised there */
    pthread_t threads[THREADS];
    unsigned long long random = test_seed(40);
    change.arena = create(false);
    for (unsigned i = 0; i < THREADS; i++) threads[i] = test_start(allocate_through_changes, NULL);
    for (long round = test_scaled(1000); round > 0; round--) {
        CHECK(memarena_sample(change.arena, (size_t)round % 2, note, NULL));
        __atomic_store_n(&change.stable, (uint64_t)round, __ATOMIC_SEQ_CST);
        if (round % 64 < 2) CHECK(memarena_reset(change.arena));
        uint64_t compared = __atomic_load_n(&change.compared, __ATOMIC_RELAXED);
        while (__atomic_load_n(&change.compared, __ATOMIC_RELAXED) == compared) sched_yield();
        for (size_t i = test_between(&random, 0, 10); i > 0; i--) sched_yield();
        __atomic_store_n(&change.stable, 0, __ATOMIC_SEQ_CST);
    }
    __atomic_store_n(&change.stop, true, __ATOMIC_RELEASE);
    for (unsigned i = 0; i < THREADS; i++) test_join(threads[i]);
    memarena_destroy(change.arena);
}

int main(void)
{
    RUN(every_block_is_reported_with_what_it_takes);
    RUN(marks_and_extents_are_no_blocks);
    RUN(it_begins_and_stops_with_the_next_block_of_each_thread);
    RUN(bad_requests_are_refused);
    RUN(the_callback_may_allocate_and_is_not_called_for_that);
    RUN(accounts_and_places_are_the_same);
    RUN(a_sampled_arena_is_filled_to_the_last_8_bytes);
    RUN(estimates_hold_for_each_size_and_for_all);
    RUN(estimates_hold_without_lanes);
    RUN(estimates_hold_in_scopes);
    RUN(a_text_that_grows_in_place_counts_once);
    RUN(estimates_hold_for_threads_with_resets_in_between);
    RUN(only_blocks_that_were_handed_out_are_reported_in_a_race);
    RUN(a_change_holds_for_every_call_after_it);
    return test_done();
}
