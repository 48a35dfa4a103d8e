/* Every pair of calls, stopped at every pair of accesses.
 *
 * One actor makes its call up to access n, the other one up to access m, then the first goes on to its end, then the
 * other; or the first goes on for k more, then the other, then the first: all schedules with up to three preemptions.
 * In a second round a third actor acts while both are stopped; in a third one an actor sleeps at access n while
 * the arena is reset k times, k beyond what the narrow tags can count; in a fourth one the process forks there, and its
 * child goes on without that actor. After each, the arena must be sound: the actors
 * fill it without an overlap, the accounts are exact, deferred calls have run once, and a reset makes it whole.
 *
 * With STEPS_WEAK the actors see each other's stores as late as C11 allows: see weak.h. */
#include "steps.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#ifdef STEPS_DEFER
#define DEFERS true
#else
#define DEFERS false
#endif
#define ACTORS 3u
#define BUFFER_BYTES (((size_t)1 << 20) + ((size_t)64 << 10))
#define CALLS_MAX 64
#define FILLER ((size_t)32 << 10)
#define LARGE ((size_t)700 << 10) /* more than a shard or the frontier */

static _Alignas(128) char buffer[BUFFER_BYTES];
static memarena *arena;
static actor actors[ACTORS];
static test_log blocks; /* of the generation that is under way */
/* Those that the only one who resets has got after that: nobody else can end their generation. */
static test_log renewed;
static const actor *renewed_by;
static bool one_resets;
static bool reset_raced, reset_refused;
static size_t unreturned_max;
static size_t raced_bytes; /* at most this much went to blocks of which we cannot know the generation */
static size_t allocated_before, counted_max;

static unsigned trims; /* begun in this play */
/* Of what may belong to nobody for a while: others may find no room then. */
static unsigned claims_begun, claims_under_way;
static unsigned long schedules;

/* A deferred call. */
static struct call {
    bool accepted;
    unsigned runs;
} calls[CALLS_MAX];
static unsigned call_count;

/* ---- Threads that end -------------------------------------------------------------------------------------------- */

static void (*thread_ends)(void);

bool __real_ma_os_watch_thread(void (*ended)(void));
bool __wrap_ma_os_watch_thread(void (*ended)(void));
bool __wrap_ma_os_watch_thread(void (*ended)(void))
{
    thread_ends = ended;
    return __real_ma_os_watch_thread(ended);
}

/* ---- Acts ------------------------------------------------------------------------------------------------------- */

static void note(const void *block, size_t size)
{
    if (!block) return;
    raced_bytes += test_rounded(size);
    if (reset_raced && on_stage != renewed_by) return;
    test_record(reset_raced ? &renewed : &blocks, 1, block, size);
    STEPS_KNOW(weak_use(block, test_rounded(size)));
}

/* No arena here is so full, unless resets were refused. */
static void act_small(void)
{
    unsigned before = claims_begun;
    bool may_fail = claims_under_way > 0;
    void *block = memarena_alloc_aligned(arena, 40, 8);
    CHECK(block || may_fail || claims_begun != before || reset_refused);
    note(block, 40);
}

static void act_direct(void) /* too large for a TLAB */
{
    note(memarena_alloc_aligned(arena, 20000, 8), 20000);
}

static void act_run(void) /* over several sources */
{
    claims_begun++, claims_under_way++;
    note(memarena_alloc_aligned(arena, LARGE, 8), LARGE);
    claims_under_way--;
}

static void act_grow(void)
{
    void *old = memarena_alloc_aligned(arena, 0, 8), *block = old ? memarena_realloc(arena, old, 0, 3000) : NULL;
    if (block != old) note(old, 0);
    note(block, 3000);
    unreturned_max += 8; /* the padding of memarena_alloc */
}

static void act_shrink(void)
{
    void *block = memarena_alloc_aligned(arena, 20000, 8);
    if (!block) return;
    CHECK(memarena_realloc(arena, block, 20000, 5000) == block);
    note(block, 5000);
    unreturned_max += 15000; /* unless it was a tip */
}

static void act_reset(void)
{
    /* A reset that meets a call in the making or a trim is refused, and nothing else may refuse one. */
    if (memarena_reset(arena)) return;
    CHECK((DEFERS || trims > 0) && errno == EBUSY);
    reset_refused = true;
}

static void count_run(void *argument)
{
    uint64_t generation = memarena_generation(arena);
    ((struct call *)argument)->runs++;
    test_yield();
    CHECK_EQ(memarena_generation(arena), generation); /* blocks are still alive */
}

static void act_defer(void)
{
    CHECK(call_count < CALLS_MAX);
    struct call *call = &calls[call_count++];
    call->accepted = memarena_defer(arena, count_run, call);
    raced_bytes += 24;
}

/* Enough that both have to refill. */
static void act_some(void)
{
    for (size_t size = 8; size < 2000; size += 200) note(memarena_alloc_aligned(arena, size, 8), size);
}

static void act_fill(void)
{
    (void)test_fill(arena, FILLER, &blocks, 1);
}

static void act_check_whole(void)
{
    size_t capacity = memarena_capacity(arena);
    CHECK(memarena_reset(arena));
    CHECK_EQ(memarena_allocated_bytes(arena), 0);
    CHECK_EQ(test_fill(arena, FILLER, NULL, 1), capacity);
    CHECK_EQ(memarena_allocated_bytes(arena), capacity);
}

static void act_reset_and_use(void)
{
    act_reset();
    if (one_resets && !reset_refused) renewed_by = on_stage;
    act_some();
}

static void act_reset_and_defer(void)
{
    act_reset();
    act_defer();
}

/* What is to be seen is what may go, not that it goes. */
static void act_trim(void)
{
    trims++, claims_begun++, claims_under_way++;
    (void)memarena_trim(arena, 0);
    claims_under_way--;
}

int __wrap_mincore(void *address, size_t size, unsigned char *pages);
int __wrap_mincore(void *address, size_t size, unsigned char *pages)
{
    (void)address;
    test_yield(); /* a system call may take long */
    memset(pages, 1, size / 4096);
    return 0;
}

int __wrap_madvise(void *address, size_t size, int advice);
int __wrap_madvise(void *address, size_t size, int advice)
{
    uintptr_t begin = (uintptr_t)address, end = begin + size;
    (void)advice;
    test_yield();
    const test_log *live = reset_raced ? &renewed : &blocks;
    for (size_t i = 0; i < live->count; i++) CHECK(live->blocks[i].end <= begin || live->blocks[i].begin >= end);
    return 0;
}

/* (Nobody else gets the CPU by it.) */
int __wrap_nanosleep(const struct timespec *time, struct timespec *left);
int __wrap_nanosleep(const struct timespec *time, struct timespec *left)
{
    (void)time, (void)left;
    STEPS_KNOW(weak_time_passes());
    return 0;
}

/* From now on every block is reported, to `report`. */
static unsigned reports;
static bool all_reported;

static void report(void *context, memarena *handle, void *block, size_t size, size_t weight)
{
    test_sampled(arena, handle, block, size, weight);
    CHECK(context == &reports);
    reports++;
}

static void act_sample(void)
{
    CHECK(memarena_sample(arena, 8, report, &reports));
    all_reported = true;
}

/* Never less than the caller knows of, and never more than there is. */
static void act_count(void)
{
    size_t bytes = test_stats(arena).allocated_bytes;
    CHECK(bytes <= memarena_capacity(arena) && (reset_raced || bytes >= allocated_before));
    if (bytes > counted_max) counted_max = bytes;
}

typedef struct act {
    const char *name;
    void (*act)(void);
    bool resets, in_plays_with_deferred_calls, in_plays_without;
    bool holds; /* the generation, while it is stopped: no sleeper */
} act;

/* The actor's thread ends, and another one begins, which leases what is free. */
static void act_leave_and_come_back(void)
{
    act_some(); /* so that the lane is as only this thread knows it */
    thread_ends();
    ma_lane_thread_ = (ma_lane_thread){0};
    act_some();
}

static const act acts[] = {
    {"small", act_small, false, true, true, false},
    {"some", act_some, false, false, true, false},
    {"direct", act_direct, false, false, true, false},
    {"run", act_run, false, false, true, false},
    {"grow", act_grow, false, false, true, false},
    {"shrink", act_shrink, false, false, true, false},
    {"reset and use", act_reset_and_use, true, true, true, false},
    {"trim", act_trim, false, false, true, true},
    {"leave and come back", act_leave_and_come_back, false, false, true, false},
    {"count", act_count, false, true, true, false},
    {"sample", act_sample, false, false, TEST_SAMPLE, false},
    {"defer", act_defer, false, true, false, false},
    {"reset and defer", act_reset_and_defer, true, true, false, false},
    {"reset", act_reset, true, true, true, false},
};
#define ACTS (sizeof acts / sizeof *acts)
static const act *const reset = &acts[ACTS - 1];

static bool plays(const act *one)
{
    return DEFERS ? one->in_plays_with_deferred_calls : one->in_plays_without;
}

/* ---- Scenes: how the arena was used before ---------------------------------------------------------------------- */

static void scene_fresh(void)
{
}

static void scene_used(void)
{
    actor_do(&actors[0], act_some);
    actor_do(&actors[1], act_some);
    if (DEFERS) actor_do(&actors[0], act_defer);
}

static void scene_used_before_a_reset(void)
{
    scene_used();
    actor_do(&actors[1], act_direct);
    actor_do(&actors[1], act_reset);
    blocks.count = 0;
}

static void scene_used_after_a_reset(void)
{
    scene_used_before_a_reset();
    scene_used();
}

static void scene_almost_full(void)
{
    void *block = memarena_alloc_aligned(arena, memarena_capacity(arena) / 2 - 8192, 8);
    note(block, memarena_capacity(arena) / 2 - 8192);
    actor_do(&actors[0], act_fill);
    CHECK(blocks.count > 2);
    actor_do(&actors[0], act_reset);
    blocks.count = 0;
    for (int i = 0; i < 30; i++) note(memarena_alloc_aligned(arena, FILLER, 8), FILLER); /* by a lane of its own */
}

static void (*const scenes[])(void) = {scene_fresh, scene_used, scene_used_before_a_reset, scene_used_after_a_reset,
                                       scene_almost_full};
static const char *const scene_names[] = {"fresh", "used", "used before a reset", "used after a reset", "almost full"};
#define SCENES (sizeof scenes / sizeof *scenes)

static void begin(unsigned scene)
{
    schedules++;
    STEPS_KNOW(weak_begin(test_seed(schedules), buffer, sizeof buffer));
    memarena_options options = {.buffer = buffer, .capacity = sizeof buffer};
    arena = memarena_create_with(&options);
    CHECK(arena != NULL);
    ma_arena_of(arena)->mapping = buffer; /* as if it had come from the system, so that it can be trimmed */
    if (TEST_SAMPLE) CHECK(memarena_sample(arena, TEST_SAMPLE, test_sampled, arena));
    call_count = trims = reports = claims_begun = claims_under_way = 0;
    all_reported = false;
    memset(calls, 0, sizeof calls);
    blocks.count = renewed.count = 0;
    renewed_by = NULL;
    reset_raced = reset_refused = false;
    scenes[scene]();
    raced_bytes = unreturned_max = counted_max = 0;
    allocated_before = memarena_allocated_bytes(arena);
}

static void destroy(void)
{
    ma_arena_of(arena)->mapping = NULL;
    memarena_destroy(arena);
}

static void end(void)
{
    size_t capacity = memarena_capacity(arena), lost_max = reset_raced ? raced_bytes : 0;
    CHECK(reset_raced || counted_max <= allocated_before + raced_bytes + unreturned_max);
    if (reset_raced) blocks.count = 0, test_append(&blocks, &renewed);
    reset_raced = false;
    actors_meet(actors, ACTORS);
    reports = 0;
    for (unsigned i = 0; i < ACTORS; i++) actor_do(&actors[i], act_small);
    CHECK_EQ(reports, all_reported ? ACTORS : 0);
    for (unsigned i = 1; i < ACTORS; i++) /* each has a lane, of its own */
        CHECK(actors[i].lane_offset && actors[i].lane_offset != actors[i - 1].lane_offset &&
              actors[i].lane_offset != actors[0].lane_offset);
    for (unsigned i = 0; i < ACTORS; i++) actor_do(&actors[i], act_some);
    for (unsigned i = 0; i < ACTORS; i++) actor_do(&actors[i], act_fill);
    actor_do(&actors[0], act_fill); /* the last one may have given some back */
    size_t sum = test_check_blocks(arena, &blocks), allocated = memarena_allocated_bytes(arena);
    /* (After a reset that was refused the scene's own blocks, which are in no record, are still there.) */
    CHECK(reset_refused || sum + lost_max + unreturned_max + 24 * call_count >= allocated);
    CHECK(allocated >= sum && allocated <= capacity);
    CHECK(allocated + capacity / 32 + lost_max >= capacity); /* a few TLAB tails may have been left behind */
    actor_do(&actors[1], act_check_whole);
    destroy();
    for (unsigned i = 0; i < call_count; i++) CHECK_EQ(calls[i].runs, calls[i].accepted);
}

/* Which of the acts may end the generation. */
static void expect_resets(bool one, bool two, bool three)
{
    reset_raced = one || two || three;
    one_resets = one + two + three == 1;
}

/* ---- Plays ------------------------------------------------------------------------------------------------------ */

/* Named when a check fails, since the stack does not say. */
static char now_playing[200];

/* How much is played: see is_played. */
#define PAIRS_ONE_IN 24
#define ENOUGH 512u       /* accesses: more only waits for a deferred call that is being pushed */
#define THIRDS_ONE_IN 384 /* of the third stops of such a pair */
#define THREES_ONE_IN 48
#define SLEEPERS_ONE_IN 12
#define FORKS_ONE_IN 2

static void say_what_was_played(int signal)
{
    (void)signal;
    fprintf(stderr, "while playing: %s\n", now_playing);
}

/* No call waits for another, except that nobody may end a generation whose deferred calls are running. */
static void go_on(actor *first, actor *second)
{
    if (!DEFERS) CHECK(actor_go(first, STEPS_ALL) && actor_go(second, STEPS_ALL));
    for (unsigned turns = 0; !first->finished || !second->finished; turns++) {
        CHECK(turns < 1000);
        (void)actor_go(first, 64);
        (void)actor_go(second, 64);
    }
}

/* `one` stops at n, `two` at m, `one` again k accesses later, `two` goes on, then `one`. True: there is no such k. */
static bool play_pair_once(unsigned scene, const act *one, const act *two, unsigned n, unsigned m, unsigned k,
                           bool *finished, bool *other_finished)
{
    snprintf(now_playing, sizeof now_playing, "%s: %s to %u, %s to %u, %s by %d", scene_names[scene], one->name, n,
             two->name, m, one->name, (int)k);
    begin(scene);
    expect_resets(one->resets, two->resets, false);
    *finished = actor_begin(&actors[0], one->act, n);
    *other_finished = actor_begin(&actors[1], two->act, m);
    bool through = *finished || *other_finished || k == STEPS_ALL || actor_go(&actors[0], k);
    if (k == STEPS_ALL)
        go_on(&actors[0], &actors[1]);
    else
        go_on(&actors[1], &actors[0]);
    end();
    return through;
}

/* Two calls of memarena_sample do wait for each other. (Where fewer are played the others meet without samples.) */
static bool may_meet(const act *one, const act *two)
{
    if (TEST_SAMPLE && !STEPS_SEEN_AT_ONCE) return (one->act == act_sample) != (two->act == act_sample);
    return one->act != act_sample || two->act != act_sample;
}

static void play_pair(unsigned scene, const act *one, const act *two)
{
    bool finished = false;
    for (unsigned n = 0; !finished; n++) {
        if (!is_stop_played(n)) continue;
        bool other_finished = false;
        for (unsigned m = 0; !other_finished; m++) {
            if (m > 0 && !is_played(PAIRS_ONE_IN)) continue;
            (void)play_pair_once(scene, one, two, n, m, STEPS_ALL, &finished, &other_finished);
            bool through = finished || other_finished;
            for (unsigned k = 1; !through && k < ENOUGH; k++)
                if (is_played(THIRDS_ONE_IN))
                    through = play_pair_once(scene, one, two, n, m, k, &finished, &other_finished);
        }
    }
}

static void every_pair_of_calls_at_every_pair_of_accesses(void)
{
    for (unsigned scene = 0; scene < SCENES; scene++)
        for (size_t one = 0; one < ACTS; one++)
            for (size_t two = 0; two < ACTS; two++)
                if (plays(&acts[one]) && plays(&acts[two]) && may_meet(&acts[one], &acts[two]))
                    play_pair(scene, &acts[one], &acts[two]);
}

/* `one` stops, `two` stops, `three` acts; then they go on in this order or the other. */
static void play_three(unsigned scene, const act *one, const act *two, const act *three, bool first_one)
{
    bool finished = false;
    for (unsigned n = 0; !finished; n++) {
        if (!is_stop_played(n)) continue;
        bool other_finished = false;
        for (unsigned m = 0; !other_finished; m++) {
            if (m > 0 && !is_played(THREES_ONE_IN)) continue;
            snprintf(now_playing, sizeof now_playing, "%s: %s to %u, %s to %u, %s; %s goes on", scene_names[scene],
                     one->name, n, two->name, m, three->name, first_one ? one->name : two->name);
            begin(scene);
            expect_resets(one->resets, two->resets, three->resets);
            finished = actor_begin(&actors[0], one->act, n);
            other_finished = actor_begin(&actors[1], two->act, m);
            if (!actor_begin(&actors[2], three->act, DEFERS ? 256 : STEPS_ALL)) go_on(&actors[0], &actors[2]);
            go_on(&actors[!first_one], &actors[first_one]);
            end();
        }
    }
}

static void two_calls_are_stopped_while_a_third_is_made(void)
{
    for (unsigned scene = 0; scene < SCENES; scene++)
        for (size_t one = 0; one < ACTS; one++)
            for (size_t three = 0; three < ACTS; three++) {
                if (!plays(&acts[one]) || !plays(&acts[three]) || !may_meet(&acts[one], &acts[three])) continue;
                play_three(scene, &acts[one], reset, &acts[three], true);
                play_three(scene, &acts[one], reset, &acts[three], false);
            }
}

/* k resets and some use of each generation while `sleeper` is stopped. */
static void play_sleeper(unsigned scene, const act *sleeper, unsigned k)
{
    bool finished = false;
    for (unsigned n = 0; !finished; n++) {
        if (n > 0 && !is_played(SLEEPERS_ONE_IN)) continue;
        snprintf(now_playing, sizeof now_playing, "%s: %s sleeps at %u for %u resets", scene_names[scene],
                 sleeper->name, n, k);
        begin(scene);
        uint64_t first = memarena_generation(arena);
        expect_resets(true, true, true);
        finished = actor_begin(&actors[0], sleeper->act, n);
        for (unsigned i = 0; i < k; i++) {
            if (!actor_begin(&actors[1], act_reset, DEFERS ? 256 : STEPS_ALL)) go_on(&actors[0], &actors[1]);
            if (i % 3 == 0) actor_do(&actors[1], act_some);
        }
        actor_do(&actors[1], act_some);
        if (DEFERS) actor_do(&actors[1], act_defer);
        blocks.count = 0;
        (void)actor_go(&actors[0], STEPS_ALL);
        if (!DEFERS) CHECK_EQ(memarena_generation(arena), first + k + sleeper->resets);
        end();
    }
}

static void a_call_sleeps_while_the_arena_is_reset_many_times(void)
{
    unsigned tag_space = 1u << MA_TAG_BITS;
    for (unsigned scene = 0; scene < SCENES; scene++)
        for (size_t sleeper = 0; sleeper < ACTS; sleeper++)
            for (unsigned k = 1; plays(&acts[sleeper]) && !acts[sleeper].holds && k <= 2 * tag_space + 2; k++)
                play_sleeper(scene, &acts[sleeper], k);
}

/* In a child of fork, which has lost the threads that were stopped: the arena goes on, in one generation. */
static void go_on_in_the_child(bool may_have_been_reset)
{
    if (may_have_been_reset) blocks.count = 0;
    reset_raced = false;
    act_small();
    uint64_t generation = memarena_generation(arena);
    act_defer();
    act_some();
    CHECK_EQ(memarena_generation(arena), generation);
    (void)test_check_blocks(arena, &blocks);
    act_check_whole();
    destroy();
}

static void play_fork(unsigned scene, const act *one)
{
    bool finished = false;
    for (unsigned n = 0; !finished; n++) {
        if (n > 0 && !is_played(FORKS_ONE_IN)) continue;
        snprintf(now_playing, sizeof now_playing, "%s: %s to %u, fork", scene_names[scene], one->name, n);
        begin(scene);
        expect_resets(one->resets, false, false);
        finished = actor_begin(&actors[0], one->act, n);
        pid_t child = fork();
        CHECK(child >= 0);
        if (child == 0) {
            go_on_in_the_child(one->resets);
            _exit(0);
        }
        int status = 0;
        CHECK(waitpid(child, &status, 0) == child);
        CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
        (void)actor_go(&actors[0], STEPS_ALL);
        end();
    }
}

static void a_process_forks_in_the_middle_of_a_call(void)
{
    if (!STEPS_SEEN_AT_ONCE) return; /* in a child whatever the parent's threads did has happened before */
    for (unsigned scene = 0; scene < SCENES; scene++)
        for (size_t one = 0; one < ACTS; one++)
            if (plays(&acts[one])) play_fork(scene, &acts[one]);
}

int main(void)
{
    if (TEST_TSAN) SKIP("one actor at a time: nothing here is a race to ThreadSanitizer");
    signal(SIGABRT, say_what_was_played);
    begin(0);
    if (test_watched(arena)) SKIP("a watched arena has no lanes");
    destroy();
    actors_enter(actors, ACTORS);
    RUN(every_pair_of_calls_at_every_pair_of_accesses);
    RUN(two_calls_are_stopped_while_a_third_is_made);
    RUN(a_call_sleeps_while_the_arena_is_reset_many_times);
    RUN(a_process_forks_in_the_middle_of_a_call);
    actors_leave(actors, ACTORS);
    test_forget(&blocks);
    test_forget(&renewed);
    printf("%lu schedules\n", schedules);
    return test_done();
}
