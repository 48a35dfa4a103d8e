/* A thread is stopped before each of its accesses to what threads share, one after the other, and another thread makes a whole
 * call there. What the first one has seen by then is no longer so, and it has to look once more, or to swap.
 *
 * Here are the places that race_steps does not play: leases, numbers of processes, CPU lanes, samples, stale pointers, and
 * deferred calls that others defer. */
#include "lanes.h"
#include "threads.h"

#include "platform/os.h"

#include <semaphore.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define MIB ((size_t)1 << 20)

static memarena *arena;

/* ---- Who stops where ------------------------------------------------------------------------------------------------ */

static _Thread_local unsigned long left; /* accesses of this thread until the intruder comes; 0: it does not */
static void (*intruder)(void);

void test_yield(void);
void test_yield(void)
{
    if (left != 0 && --left == 0) intruder();
}

/* A call that has its result in these words: those of the thread that was stopped, and of the other one. */
static uint64_t victims, intruders;

static void (*acts)(void);

static void *act(void *unused)
{
    acts();
    return unused;
}

static void in_another_thread(void (*call)(void))
{
    acts = call;
    test_join(test_start(act, NULL));
}

static void (*intrudes)(void);

static void intrude_from_another_thread(void)
{
    in_another_thread(intrudes);
}

/* One play: what there is at the beginning, a call that is stopped, another one that is made meanwhile, and what must be so at the
 * end. */
typedef struct play {
    void (*begins)(void), (*victim)(void), (*intrudes)(void), (*ends)(void);
    bool is_handler; /* the other call is made by the same thread, as in a signal handler */
} play;

/* Returns the number of accesses. */
static unsigned long stop_at_each_access(const play *now)
{
    unsigned long n = 0;
    for (bool came = true; came;) {
        now->begins();
        intrudes = now->intrudes;
        intruder = now->is_handler ? now->intrudes : intrude_from_another_thread;
        left = ++n;
        now->victim();
        came = left == 0;
        left = 0;
        now->ends();
    }
    CHECK(n > 1);
    return n - 1;
}

static void begin_with_an_arena(void)
{
    CHECK((arena = memarena_create(4 * MIB)) != NULL);
    CHECK(memarena_alloc_aligned(arena, 8, 8) != NULL);
}

static void destroy(void)
{
    memarena_destroy(arena);
}

/* So that no call sleeps here. */
void __wrap_ma_os_nap(long nanoseconds);
void __wrap_ma_os_nap(long nanoseconds)
{
    (void)nanoseconds;
}

/* ---- Leases --------------------------------------------------------------------------------------------------------- */

static sem_t is_leased, may_end;
static unsigned long lease_stops_at;
static unsigned lanes[2];

static void *lease_and_stay(void *unused)
{
    CHECK(memarena_alloc_aligned(arena, 8, 8) != NULL);
    lanes[1] = test_lane();
    CHECK(sem_post(&is_leased) == 0 && sem_wait(&may_end) == 0);
    return unused;
}

static pthread_t other_lessee;

static void let_another_lease(void)
{
    other_lessee = test_start(lease_and_stay, NULL);
    CHECK_EQ(sem_wait(&is_leased), 0);
}

/* Its result: whether it has stopped. */
static void *lease_with_a_stop(void *unused)
{
    intruder = let_another_lease;
    left = lease_stops_at;
    CHECK(memarena_alloc_aligned(arena, 8, 8) != NULL);
    bool has_stopped = left == 0;
    left = 0;
    lanes[0] = test_lane();
    if (has_stopped) CHECK(sem_post(&may_end) == 0), test_join(other_lessee);
    return has_stopped ? &lanes : unused;
}

static void *tell_name(void *name)
{
    *(uint32_t *)name = ma_os_thread_name();
    return NULL;
}

/* All numbers are taken, but (`gone`) that one of the lessees has ended unseen, or (else) that one has been given back. */
static void two_threads_lease(bool gone)
{
    enum { FREE = 5 };
    ma_register *shared = ma_process(), before = *shared;
    uint32_t dead;
    begin_with_an_arena();
    ma_arena_of(arena)->cpus.count = 0; /* or who has no lane would be content with that of a CPU */
    CHECK(sem_init(&is_leased, 0, 0) == 0 && sem_init(&may_end, 0, 0) == 0);
    test_join(test_start(tell_name, &dead));
    void *has_stopped = lanes;
    for (lease_stops_at = 1; has_stopped; lease_stops_at++) {
        shared->leased = gone ? UINT64_MAX : ~((uint64_t)1 << FREE);
        for (unsigned i = 0; i < MA_LANES; i++) {
            if (i == test_lane()) continue;
            bool is_free = i == FREE;
            shared->lessees[i] = !is_free ? ma_os_thread_name() : gone ? dead : 0;
            shared->threads[i] = is_free ? 0 : 1;
            shared->copies[i] = !is_free || gone;
        }
        lanes[0] = lanes[1] = LANE_NONE;
        CHECK_EQ(pthread_join(test_start(lease_with_a_stop, NULL), &has_stopped), 0);
        CHECK(lanes[0] == LANE_NONE || lanes[0] != lanes[1]);
        CHECK(lanes[0] == FREE || lanes[1] == FREE);
        CHECK_EQ(shared->leased, ~((uint64_t)1 << FREE)); /* both have ended */
    }
    *shared = before;
    CHECK(lease_stops_at > 5);
    memarena_destroy(arena);
}

static void one_of_two_threads_inherits_the_number_of_a_dead_one(void)
{
    two_threads_lease(true);
}

static void one_of_two_threads_takes_the_last_free_number(void)
{
    two_threads_lease(false);
}

/* ---- Processes ------------------------------------------------------------------------------------------------------ */

static uint64_t last_number;

static void begin_as_a_child(void)
{
    last_number = ma_process()->last_number;
    ma_store_release(ma_process()->number, MA_PROCESS_NOBODY);
}

static void number_the_process(void)
{
    victims = ma_process_begin(ma_process());
}

static void number_it_too(void)
{
    intruders = ma_process_begin(ma_process());
}

/* A thread that finds another one at it is told so after a while. */
static void expect_one_number(void)
{
    CHECK_EQ(ma_process_number(ma_process()), last_number + 1);
    CHECK_EQ(victims, last_number + 1);
    CHECK(intruders == last_number + 1 || intruders == MA_PROCESS_BEGINS || intruders == 0);
    intruders = 0;
}

static void a_process_has_one_number(void)
{
    const play now = {begin_as_a_child, number_the_process, number_it_too, expect_one_number, false};
    (void)stop_at_each_access(&now);
}

/* ---- Lanes and sources: words that only grow --------------------------------------------------------------------------- */

static void enlist_the_first_cpu(void)
{
    ma_cpu_enlist(ma_arena_of(arena), 0);
}

static void enlist_the_fifth_cpu(void)
{
    ma_cpu_enlist(ma_arena_of(arena), 4);
    intruders = 4;
}

static void expect_five_cpus(void)
{
    CHECK_EQ(ma_arena_of(arena)->cpus_used, intruders + 1);
    intruders = 0;
    ma_arena_of(arena)->cpus_used = 0;
    destroy();
}

static void no_cpu_lane_is_forgotten(void)
{
    const play now = {begin_with_an_arena, enlist_the_first_cpu, enlist_the_fifth_cpu, expect_five_cpus, false};
    (void)stop_at_each_access(&now);
}

static ma_source sources[MA_SHARDS + 1];
static ma_pool pool;

static void begin_with_a_pool(void)
{
    memset(sources, 0, sizeof sources);
    ma_pool_init(&pool, sources, true, (uintptr_t)1 << 30, MIB);
}

static void claim(uint64_t size)
{
    ma_request request = {.generation = pool.generation, .size = size, .alignment = 8};
    ma_span span;
    uint64_t probes = 0;
    CHECK_EQ(ma_pool_claim(&pool, 0, &request, &span, &probes), MA_CLAIMED);
}

static void claim_little(void)
{
    claim(8);
}

static void claim_much(void)
{
    claim(8000);
}

static void expect_the_peak(void)
{
    CHECK_EQ(sources[0].peak, ma_word_offset(pool.offset_bits, sources[0].word, pool.generation, 0));
}

static void no_claim_is_missing_in_the_peak(void)
{
    const play now = {begin_with_a_pool, claim_little, claim_much, expect_the_peak, false};
    (void)stop_at_each_access(&now);
}

static void borrow_and_return(void)
{
    ma_span span;
    CHECK(ma_pool_borrow(&pool, 0, pool.generation, &span));
    ma_pool_return(&pool, pool.generation, &span);
}

static void borrow_what_is_spent(void)
{
    ma_span span;
    if (ma_pool_borrow(&pool, 0, pool.generation, &span)) ma_pool_return(&pool, pool.generation, &span);
}

static void expect_no_runs(void)
{
    CHECK_EQ(pool.runs & MA_RUNS_MASK, 0);
    CHECK_EQ(ma_pool_claimed(&pool, pool.generation), 0);
}

static void begin_with_runs(void)
{
    begin_with_a_pool();
    pool.runs = 2 * MA_RUN_BEGINS;
}

static void end_a_run(void)
{
    ma_pool_end_run(&pool);
}

static void end_the_other(void)
{
    ma_pool_end_run(&pool);
    intruders = 1;
}

static void expect_runs_ended(void)
{
    CHECK_EQ(pool.runs & MA_RUNS_MASK, 1 - intruders);
    intruders = 0;
    end_a_run(), end_a_run(); /* one more than has begun: a child of fork has forgotten it */
    expect_no_runs();
}

static void each_run_that_begins_ends(void)
{
    play now = {begin_with_a_pool, borrow_and_return, borrow_what_is_spent, expect_no_runs, false};
    (void)stop_at_each_access(&now);
    now = (play){begin_with_runs, end_a_run, end_the_other, expect_runs_ended, false};
    (void)stop_at_each_access(&now);
}

/* All that is left is hidden at access `hidden_at`, and there again at `left`: whoever wants it has to look again. */
static ma_span rest;
static unsigned long shown_after;

static void show_the_rest(void)
{
    ma_pool_return(&ma_arena_of(arena)->pool, 1, &rest);
}

static void hide_the_rest(void)
{
    ma_pool *of = &ma_arena_of(arena)->pool;
    if (!ma_pool_borrow(of, of->shard_count, 1, &rest)) return; /* it has been taken already */
    intruder = show_the_rest;
    left = shown_after;
}

/* How many accesses it takes if nothing is hidden. */
static unsigned long take_the_rest(unsigned long hidden_at)
{
    static _Alignas(128) char buffer[64 << 10];
    memarena_options options = {.buffer = buffer, .capacity = sizeof buffer};
    CHECK((arena = memarena_create_with(&options)) != NULL);
    const ma_pool *of = &ma_arena_of(arena)->pool;
    while (memarena_alloc_aligned(arena, 8000, 8)) continue;
    CHECK(ma_pool_claimed(of, 1) < of->capacity);
    size_t size = (size_t)(of->capacity - ma_pool_claimed(of, 1));
    intruder = hide_the_rest;
    left = hidden_at;
    void *block = memarena_alloc_aligned(arena, size, 8);
    unsigned long accesses = hidden_at - left;
    left = 0;
    CHECK(block != NULL);
    memarena_destroy(arena);
    return accesses;
}

static void nobody_is_refused_what_is_hidden_for_a_moment(void)
{
    unsigned long accesses = take_the_rest(1000);
    for (unsigned long n = 1; n <= accesses; n++)
        for (shown_after = 1; shown_after < 40; shown_after++) (void)take_the_rest(n);
}

/* What two threads have noted as touched, and what is needed, is the most of both. */
static void begin_with_retained_bytes(void)
{
    memarena_options options = {.capacity = 4 * MIB, .retain_bytes = MEMARENA_RETAIN_AUTO};
    CHECK((arena = memarena_create_with(&options)) != NULL);
    CHECK(memarena_alloc_aligned(arena, 1000, 8) && memarena_alloc_aligned(arena, MIB / 4, 8));
}

static void note(void)
{
    ma_trim_note(ma_arena_of(arena));
}

static void use_much_and_note(void)
{
    CHECK(memarena_alloc_aligned(arena, MIB, 8) != NULL);
    ma_trim_note(ma_arena_of(arena));
}

/* Where another window begins, what the one before has needed counts, too. */
static void begin_at_the_end_of_a_window(void)
{
    begin_with_retained_bytes();
    note();
    ma_arena_of(arena)->looks = 31;
}

static void trim_as_needed(void)
{
    CHECK_EQ(memarena_trim(arena, MEMARENA_RETAIN_AUTO), 0);
}

static void expect_notes(void)
{
    const ma_pool *of = &ma_arena_of(arena)->pool;
    for (unsigned i = 0; i <= of->shard_count; i++) {
        uint64_t begin = ma_source_begin(of, i);
        uint64_t claimed = ma_word_offset(of->offset_bits, of->sources[i].word, of->generation, begin) - begin;
        const ma_source *source = &of->sources[i];
        CHECK(source->touched >= claimed && (source->needed[0] >= claimed || source->needed[1] >= claimed));
    }
    destroy();
}

static void the_most_that_was_touched_is_noted(void)
{
    play now = {begin_with_retained_bytes, note, use_much_and_note, expect_notes, false};
    (void)stop_at_each_access(&now);
    now.begins = begin_at_the_end_of_a_window, now.victim = trim_as_needed;
    (void)stop_at_each_access(&now);
}

/* ---- A TLAB, published ------------------------------------------------------------------------------------------------ */

#define ROUND ((uint64_t)1 << 18) /* so many generations the head of the deferred calls tells apart */

static void begin_with_little(void)
{
    CHECK((arena = memarena_create((size_t)64 << 10)) != NULL);
    intruders = 0;
}

static void take_8(void)
{
    (void)memarena_alloc_aligned(arena, 8, 8);
}

/* What a round of resets leaves behind, and then all of the arena is taken. */
static void reset_a_round_and_fill(void)
{
    ma_arena *root = ma_arena_of(arena);
    root->pool.generation += ROUND - 1;
    root->deferred = ma_deferred_start(root->pool.generation);
    CHECK(memarena_reset(arena));
    intruders = 1;
    (void)test_fill(arena, 1000, NULL, 0);
}

static void expect_no_room(void)
{
    if (intruders) CHECK(memarena_alloc_aligned(arena, 8, 8) == NULL);
    destroy();
}

static void no_tlab_is_published_that_is_a_round_of_resets_old(void)
{
    const play now = {begin_with_little, take_8, reset_a_round_and_fill, expect_no_room, false};
    (void)stop_at_each_access(&now);
}

/* ---- CPU lanes ------------------------------------------------------------------------------------------------------- */

static test_block mine, others[8];
static unsigned others_count;

static void begin_per_cpu(void)
{
    memarena_options options = {.capacity = 4 * MIB, .flags = MEMARENA_PER_CPU};
    CHECK((arena = memarena_create_with(&options)) != NULL);
    for (int i = 0; i < 40; i++)
        CHECK(memarena_alloc_aligned(arena, 24, 8) != NULL); /* the next one needs another TLAB */
    others_count = 0;
}

static void *take(size_t size, test_block *block)
{
    uint64_t generation = memarena_generation(arena);
    uintptr_t begin = (uintptr_t)memarena_alloc_aligned(arena, size, 8);
    CHECK(begin != 0);
    *block = (test_block){generation, begin, begin + test_rounded(size)};
    return (void *)begin;
}

static void take_one(void)
{
    (void)take(200, &mine);
}

static void reset_and_take_some(void)
{
    CHECK(memarena_reset(arena));
    for (others_count = 0; others_count < 8; others_count++) (void)take(200, &others[others_count]);
}

/* The accounts know what was taken after the reset, and it does not overlap. */
static void expect_what_was_taken(void)
{
    size_t most = (others_count + 1) * 200, allocated = memarena_allocated_bytes(arena);
    if (others_count) CHECK(allocated == most || allocated == most - 200);
    for (unsigned i = 0; i < others_count; i++)
        CHECK(mine.generation != others[i].generation || mine.end <= others[i].begin || mine.begin >= others[i].end);
    test_check_whole(arena, 1000);
    destroy();
}

/* The handler's reset stands for one of another thread, whose blocks then come from the lane of this CPU. */
static void a_cpu_lane_stays_in_the_generation_of_now(void)
{
    begin_per_cpu();
    bool has_sequences = test_stats(arena).per_cpu == 2;
    destroy();
    if (!has_sequences) return; /* (nor may a handler use the arena then) */
    const play now = {begin_per_cpu, take_one, reset_and_take_some, expect_what_was_taken, true};
    (void)stop_at_each_access(&now);
}

/* ---- Samples --------------------------------------------------------------------------------------------------------- */

static unsigned reports[2];

static void report_to_first(void *context, memarena *handle, void *block, size_t size, size_t weight)
{
    (void)handle, (void)block, (void)size, (void)weight;
    CHECK(context == &reports[0]);
    reports[0]++;
}

static void report_to_second(void *context, memarena *handle, void *block, size_t size, size_t weight)
{
    (void)handle, (void)block, (void)size, (void)weight;
    CHECK(context == &reports[1]);
    reports[1]++;
}

static void sample_for_first(void)
{
    bool done = memarena_sample(arena, 1, report_to_first, &reports[0]);
    CHECK(done || errno == EBUSY);
}

static void sample_for_second(void)
{
    bool done = memarena_sample(arena, 1, report_to_second, &reports[1]);
    CHECK(done || errno == EBUSY);
}

static void begin_sampled(void)
{
    begin_with_an_arena();
    sample_for_first();
    memset(reports, 0, sizeof reports);
}

static void take_a_sampled_block(void)
{
    CHECK(memarena_alloc_aligned(arena, 24, 8) != NULL);
}

/* Whoever called last holds for the blocks that come later. */
static void expect_reports(void)
{
    CHECK(reports[0] + reports[1] <= 1);
    take_a_sampled_block(), take_a_sampled_block();
    CHECK(reports[0] + reports[1] >= 2);
    destroy();
}

static void no_block_is_reported_to_one_function_with_the_context_of_another(void)
{
    play now = {begin_sampled, take_a_sampled_block, sample_for_second, expect_reports, false};
    (void)stop_at_each_access(&now);
    now.victim = sample_for_second, now.intrudes = take_a_sampled_block;
    (void)stop_at_each_access(&now);
}

static void two_calls_to_sample_do_not_mix(void)
{
    const play now = {begin_sampled, sample_for_first, sample_for_second, expect_reports, false};
    (void)stop_at_each_access(&now);
}

/* ---- Stale pointers ---------------------------------------------------------------------------------------------------- */

static memarena *scope;
static char *alive;

static void begin_with_windows(void)
{
    memarena_options options = {.capacity = MIB, .flags = MEMARENA_TRAP_STALE};
    CHECK((arena = memarena_create_with(&options)) != NULL);
    CHECK(memarena_alloc_aligned(arena, 8, 8) != NULL);
    scope = NULL;
}

static void reset_in_vain(void)
{
    bool done = memarena_reset(arena);
    CHECK(done || (scope && errno == EBUSY));
}

/* What is alive when the first reset goes on. */
static void reset_and_open_a_scope(void)
{
    if (!memarena_reset(arena)) return; /* the other one is in the middle */
    CHECK((scope = memarena_scope(arena)) != NULL && (alive = memarena_alloc(scope, 5000)) != NULL);
    memset(alive, 7, 5000);
}

static void expect_it_alive(void)
{
    if (scope) {
        CHECK(alive[0] == 7 && alive[4999] == 7);
        memarena_destroy(scope);
    }
    CHECK(memarena_reset(arena));
    destroy();
}

/* A reset that waits for another one would wait for ever here: the second one is made before the first has closed the
 * generation, or not at all. */
static void reset_before_the_other_closes(void)
{
    const ma_arena *root = ma_arena_of(arena);
    bool closes = ma_reset_is_near(root->deferred, root->pool.generation);
    if (!closes && root->moving == 0) reset_and_open_a_scope();
}

static void a_reset_that_comes_late_leaves_the_window_of_another_alone(void)
{
    if (test_traps() == 0) return;
    const play now = {begin_with_windows, reset_in_vain, reset_before_the_other_closes, expect_it_alive, false};
    (void)stop_at_each_access(&now);
}

/* ---- Deferred calls ------------------------------------------------------------------------------------------------------ */

static unsigned runs, accepted;

/* While a call runs its generation stands, and it is known who runs it. */
static void count_run(void *unused)
{
    uint64_t generation = memarena_generation(arena);
    (void)unused;
    CHECK_EQ(memarena_generation(arena), generation);
    CHECK_EQ(ma_arena_of(arena)->runner, ma_os_thread_self());
    runs++;
}

static void defer(void)
{
    accepted += memarena_defer(arena, count_run, NULL);
}

static void begin_with_a_call(void)
{
    begin_with_an_arena();
    runs = accepted = 0;
    defer();
}

static void reset(void)
{
    CHECK(memarena_reset(arena));
}

static void reset_or_not(void)
{
    bool done = memarena_reset(arena);
    CHECK(done || errno == EBUSY); /* calls run, or one is being deferred */
}

/* Nothing is left announced. */
static void expect_calls(void)
{
    const ma_arena *root = ma_arena_of(arena);
    CHECK_EQ(root->runner, 0);
    CHECK_EQ(root->pins & MA_PIN_MASK, 0);
    CHECK(ma_lane_thread_.pins == NULL);
    CHECK(memarena_reset(arena));
    CHECK(!ma_reset_is_near(root->deferred, root->pool.generation));
    CHECK(runs == accepted);
    destroy();
}

static void a_call_that_comes_in_the_middle_of_a_reset_runs_once(void)
{
    const play now = {begin_with_a_call, reset, defer, expect_calls, false};
    (void)stop_at_each_access(&now);
}

static void a_call_that_a_reset_comes_into_runs_once(void)
{
    const play now = {begin_with_a_call, defer, reset_or_not, expect_calls, false};
    (void)stop_at_each_access(&now);
}

static void two_resets_run_each_call_once(void)
{
    const play now = {begin_with_a_call, reset_or_not, reset_or_not, expect_calls, false};
    (void)stop_at_each_access(&now);
}

/* A reset that has not seen that another one runs calls, and goes on in the middle of them. */
static sem_t reset_stopped, reset_may_go_on;
static unsigned long reset_stops_at;
static pthread_t late_reset, early_reset;
static bool is_late, is_joined;

static void stop_here(void)
{
    is_late = true;
    CHECK(sem_post(&reset_stopped) == 0 && sem_wait(&reset_may_go_on) == 0);
}

static void *reset_late(void *unused)
{
    intruder = stop_here;
    left = reset_stops_at;
    reset_or_not();
    if (left != 0) CHECK_EQ(sem_post(&reset_stopped), 0);
    left = 0;
    return unused;
}

static void let_it_go_on(void)
{
    if (is_joined) return;
    is_joined = true;
    if (is_late) CHECK_EQ(sem_post(&reset_may_go_on), 0);
    test_join(late_reset);
}

static void let_it_go_on_here(void *unused)
{
    if (pthread_equal(pthread_self(), early_reset)) let_it_go_on();
    count_run(unused);
}

static void a_reset_that_comes_late_leaves_the_calls_to_the_other(void)
{
    CHECK(sem_init(&reset_stopped, 0, 0) == 0 && sem_init(&reset_may_go_on, 0, 0) == 0);
    early_reset = pthread_self();
    for (reset_stops_at = 1, is_late = true; is_late; reset_stops_at++) {
        begin_with_a_call();
        is_late = is_joined = false;
        late_reset = test_start(reset_late, NULL);
        CHECK_EQ(sem_wait(&reset_stopped), 0);
        bool has_two = is_late && memarena_defer(arena, count_run, NULL);
        has_two = has_two && memarena_defer(arena, let_it_go_on_here, NULL);
        accepted += has_two ? 2 : 0;
        reset_or_not();
        let_it_go_on();
        expect_calls();
    }
    CHECK(reset_stops_at > 5);
}

/* In the record of a call that is about to be deferred no other block lies: here that of one who has come after a reset. */
static unsigned char *block_of_others;

static void reset_twice_and_take(void)
{
    bool done = memarena_reset(arena) && memarena_reset(arena);
    block_of_others = done ? memarena_alloc_aligned(arena, 1000, 8) : NULL;
    if (block_of_others) memset(block_of_others, 9, 1000);
}

static void expect_their_block(void)
{
    for (unsigned i = 0; block_of_others && i < 1000; i++) CHECK_EQ(block_of_others[i], 9);
    block_of_others = NULL;
    expect_calls();
}

static void the_record_of_a_call_lies_in_its_generation(void)
{
    const play now = {begin_with_a_call, defer, reset_twice_and_take, expect_their_block, true};
    (void)stop_at_each_access(&now);
}

/* ---- Pins --------------------------------------------------------------------------------------------------------------- */

static ma_pin pin;

static void pin_and_unpin(void)
{
    (void)ma_pin_begin(ma_arena_of(arena), &pin, MA_PIN_DEFER);
    ma_pin_end(&pin);
}

static void pin_too(void)
{
    ma_pin other;
    uint64_t generation = ma_pin_begin(ma_arena_of(arena), &other, MA_PIN_TRIM);
    CHECK(!memarena_reset(arena) && errno == EBUSY);
    CHECK_EQ(memarena_generation(arena), generation);
    ma_pin_end(&other);
}

static void each_pin_is_counted_once(void)
{
    play now = {begin_with_a_call, pin_and_unpin, pin_too, expect_calls, false};
    (void)stop_at_each_access(&now);
    now.is_handler = true;
    (void)stop_at_each_access(&now);
}

static void hold_open(void)
{
    uint64_t generation = ma_pin_begin(ma_arena_of(arena), &pin, MA_PIN_TRIM);
    CHECK_EQ(memarena_generation(arena), generation);
    ma_pin_end(&pin);
}

static void no_reset_comes_through_a_pin(void)
{
    const play now = {begin_with_a_call, hold_open, reset_or_not, expect_calls, false};
    (void)stop_at_each_access(&now);
}

/* ---- What a fork has lost ---------------------------------------------------------------------------------------------------- */

#define LOST ((uintptr_t)1) /* the name of a thread that is not in this process */

/* From here on this is another process, and this thread the one that made it. */
static void become_a_child(void)
{
    ma_store_release(ma_process()->number, MA_PROCESS_NOBODY);
    ma_process_forked();
}

/* The CPU lane in which a block was taken. NULL: there are none. */
static ma_lane *used_cpu_lane(const ma_arena *root)
{
    return root->cpus_used ? ma_arena_cpu_lane(root, (unsigned)root->cpus_used - 1) : NULL;
}

/* All that a thread can have announced in an arena, by `whom`. */
static void announce_all(ma_arena *root, uintptr_t whom)
{
    root->runner = whom;
    root->deferred |= MA_DEFERRED_CLOSING << 1; /* busy */
    root->pool.runs += MA_RUN_BEGINS;
    root->sampling.changer = whom;
    root->moving = whom;
    if (root->cpus_used) used_cpu_lane(root)->holder = whom;
}

static void what_lost_threads_had_announced_is_taken_back(void)
{
    for (unsigned flags = 0; flags <= MEMARENA_PER_CPU; flags += MEMARENA_PER_CPU) {
        memarena_options options = {.capacity = MIB, .flags = flags};
        CHECK((arena = memarena_create_with(&options)) != NULL && memarena_alloc_aligned(arena, 8, 8));
        ma_arena *root = ma_arena_of(arena);
        const ma_lane *lane = used_cpu_lane(root);
        size_t waiting = lane ? lane->limit - lane->tlab.cursor_ : 0;
        announce_all(root, LOST);
        root->pins += MA_PIN_DEFER + MA_PIN_TRIM;
        become_a_child();
        ma_fork_check(root);
        CHECK(root->runner == 0 && !(root->deferred & MA_DEFERRED_CLOSING << 1) && root->moving == 0);
        CHECK(root->sampling.changer == 0 && (root->pool.runs & MA_RUNS_MASK) == 0);
        CHECK_EQ(root->pins & MA_PIN_MASK, 0);
        if (lane) { /* it may have been in the middle of an exchange: nobody bumps its TLAB any more */
            CHECK(lane->holder == 0 && lane->tlab.end_ == 0 && lane->tlab.cursor_ == lane->limit);
            CHECK(waiting != 0 && lane->tail_bytes == waiting);
        }
        CHECK(memarena_reset(arena));
        destroy();
    }
}

/* What the thread that forked was itself in the middle of goes on. */
static void a_cpu_lane_lost_before_its_first_block_is_free_again(void)
{
    memarena_options options = {.capacity = MIB, .flags = MEMARENA_PER_CPU};
    CHECK((arena = memarena_create_with(&options)) != NULL);
    ma_arena *root = ma_arena_of(arena);
    for (unsigned cpu = 0; cpu < root->cpus.count; cpu++) ma_arena_cpu_lane(root, cpu)->holder = LOST;
    CHECK_EQ(root->cpus_used, 0);
    become_a_child();
    ma_fork_check(root);
    for (unsigned cpu = 0; cpu < root->cpus.count; cpu++) CHECK_EQ(ma_arena_cpu_lane(root, cpu)->holder, 0);
    CHECK(memarena_alloc_aligned(arena, 8, 8) != NULL);
    if (root->cpus.count) CHECK_EQ(test_stats(arena).direct_blocks, 0);
    destroy();
}

static void what_the_forking_thread_had_announced_stays(void)
{
    ma_pin first, second, elsewhere;
    memarena *another = memarena_create(MIB);
    memarena_options options = {.capacity = MIB, .flags = MEMARENA_PER_CPU};
    CHECK(another && (arena = memarena_create_with(&options)) != NULL && memarena_alloc_aligned(arena, 8, 8));
    ma_arena *root = ma_arena_of(arena);
    uintptr_t self = ma_os_thread_self();
    (void)ma_pin_begin(root, &first, MA_PIN_DEFER);
    (void)ma_pin_begin(ma_arena_of(another), &elsewhere, MA_PIN_TRIM);
    (void)ma_pin_begin(root, &second, MA_PIN_TRIM);
    announce_all(root, self);
    become_a_child();
    ma_fork_check(root);
    CHECK(root->runner == self && root->deferred & MA_DEFERRED_CLOSING << 1 && root->moving == self);
    CHECK_EQ(root->sampling.changer, self);
    if (root->cpus_used) CHECK_EQ(used_cpu_lane(root)->holder, self);
    CHECK_EQ(root->pins & MA_PIN_MASK, MA_PIN_DEFER + MA_PIN_TRIM);
    if (root->cpus_used) used_cpu_lane(root)->holder = 0;
    root->runner = root->moving = root->sampling.changer = 0;
    root->deferred &= ~(MA_DEFERRED_CLOSING << 1);
    ma_pin_end(&second);
    CHECK(!memarena_reset(another) && errno == EBUSY);
    ma_pin_end(&elsewhere);
    CHECK(memarena_reset(another));
    ma_pin_end(&first);
    CHECK(memarena_reset(arena));
    memarena_destroy(another);
    destroy();
}

/* In a child other threads know from the beginning what the thread that forked holds open. */
static void what_it_has_pinned_is_known_to_the_threads_of_its_child(void)
{
    int status = 0;
    begin_with_an_arena();
    (void)ma_pin_begin(ma_arena_of(arena), &pin, MA_PIN_TRIM);
    fflush(stdout);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        uint64_t generation = memarena_generation(arena);
        in_another_thread(reset_or_not);
        _exit(memarena_generation(arena) != generation);
    }
    CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0);
    ma_pin_end(&pin);
    destroy();
}

static void use_the_arena(void)
{
    CHECK(memarena_alloc_aligned(arena, 8, 8) != NULL);
}

static void become_a_child_without_a_lane(void)
{
    become_a_child();
    use_the_arena();
}

/* The numbers of threads that a fork has lost are free, but for that of the thread that forked; where a child is seen first in
 * a thread of its own nobody knows which that is, and they stay taken. */
static void the_forking_thread_keeps_its_lane(void)
{
    ma_register *shared = ma_process(), before = *shared;
    begin_with_an_arena();
    unsigned mine_is = test_lane();
    uint64_t own = (uint64_t)1 << mine_is, lost = (uint64_t)1 << (mine_is + 3);
    shared->leased |= lost, shared->threads[mine_is + 3] = LOST;
    become_a_child();
    CHECK(shared->leased & own && !(shared->leased & lost));
    CHECK_EQ(shared->threads[mine_is], ma_os_thread_self());
    CHECK_EQ(shared->survivor, ma_os_thread_self());
    ma_store_release(ma_process()->number, MA_PROCESS_NOBODY);
    in_another_thread(use_the_arena);
    CHECK(shared->leased & own && shared->survivor == 0);
    in_another_thread(become_a_child_without_a_lane); /* it has none when it begins */
    CHECK(!(shared->leased & own));
    before.last_number = ma_process_number(shared); /* numbers only grow */
    before.leased = own, before.threads[mine_is] = ma_os_thread_self();
    *shared = before;
    destroy();
}

/* ---- Copies of the library ---------------------------------------------------------------------------------------------------- */

static unsigned lane_of_both;

/* As another copy sees this thread, which has a variable of its own for the lane. */
static void lease_in_another_copy_and_leave_it_there(void)
{
    CHECK(memarena_alloc_aligned(arena, 8, 8) != NULL);
    lane_of_both = test_lane();
    CHECK(lane_of_both != LANE_NONE);
    memarena_lane_offset_ = 0;
    CHECK(memarena_alloc_slow_(arena, 8, 8) != NULL);
    CHECK_EQ(test_lane(), lane_of_both);
    CHECK_EQ(ma_process()->copies[lane_of_both], 2);
}

static void the_last_copy_gives_a_lane_back(void)
{
    ma_register *shared = ma_process();
    begin_with_an_arena();
    in_another_thread(lease_in_another_copy_and_leave_it_there); /* the end of the thread is told to one of the two */
    CHECK_EQ(shared->copies[lane_of_both], 1);
    CHECK(shared->leased >> lane_of_both & 1);
    shared->copies[lane_of_both] = 0, shared->threads[lane_of_both] = 0, shared->lessees[lane_of_both] = 0;
    shared->leased &= ~((uint64_t)1 << lane_of_both);
    in_another_thread(use_the_arena);
    CHECK(!(shared->leased >> lane_of_both & 1) && shared->copies[lane_of_both] == 0);
    destroy();
}

/* A handler that comes while its thread leases works without a lane. */
static void *lease_with_a_handler(void *unused)
{
    intruder = use_the_arena;
    left = lease_stops_at;
    CHECK(memarena_alloc_aligned(arena, 8, 8) != NULL);
    bool has_stopped = left == 0;
    left = 0;
    return has_stopped ? &lanes : unused;
}

static void a_thread_leases_one_lane_whatever_its_handlers_do(void)
{
    ma_register *shared = ma_process();
    void *has_stopped = lanes;
    begin_with_an_arena();
    for (lease_stops_at = 1; has_stopped; lease_stops_at++) {
        uint64_t before = shared->leased;
        CHECK_EQ(pthread_join(test_start(lease_with_a_handler, NULL), &has_stopped), 0);
        CHECK_EQ(shared->leased, before);
    }
    CHECK(lease_stops_at > 5);
    destroy();
}

int main(void)
{
    begin_with_an_arena();
    bool watched = test_watched(arena);
    destroy();
    if (watched) SKIP("a watched arena has no lanes");
    RUN(one_of_two_threads_inherits_the_number_of_a_dead_one);
    RUN(one_of_two_threads_takes_the_last_free_number);
    RUN(a_process_has_one_number);
    RUN(no_cpu_lane_is_forgotten);
    RUN(no_claim_is_missing_in_the_peak);
    RUN(each_run_that_begins_ends);
    RUN(nobody_is_refused_what_is_hidden_for_a_moment);
    RUN(the_most_that_was_touched_is_noted);
    RUN(no_tlab_is_published_that_is_a_round_of_resets_old);
    RUN(a_cpu_lane_stays_in_the_generation_of_now);
    RUN(no_block_is_reported_to_one_function_with_the_context_of_another);
    RUN(two_calls_to_sample_do_not_mix);
    RUN(a_reset_that_comes_late_leaves_the_window_of_another_alone);
    RUN(a_call_that_comes_in_the_middle_of_a_reset_runs_once);
    RUN(a_call_that_a_reset_comes_into_runs_once);
    RUN(two_resets_run_each_call_once);
    RUN(a_reset_that_comes_late_leaves_the_calls_to_the_other);
    RUN(the_record_of_a_call_lies_in_its_generation);
    RUN(each_pin_is_counted_once);
    RUN(no_reset_comes_through_a_pin);
    RUN(what_lost_threads_had_announced_is_taken_back);
    RUN(a_cpu_lane_lost_before_its_first_block_is_free_again);
    RUN(what_the_forking_thread_had_announced_stays);
    RUN(what_it_has_pinned_is_known_to_the_threads_of_its_child);
    RUN(the_last_copy_gives_a_lane_back);
    RUN(a_thread_leases_one_lane_whatever_its_handlers_do);
    RUN(the_forking_thread_keeps_its_lane);
    return test_done();
}
