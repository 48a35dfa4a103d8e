/* Every two calls, in every schedule with up to three preemptions, and every three calls with two: of schedules that must
 * end alike one (schedules.h), or with STEPS_WEAK a sample under the memory model of C11 (weak.h).
 *
 * In a third round an actor sleeps at access n while the arena is reset k times, k beyond what the narrow tags can
 * count; in a fourth one the process forks there, and its child goes on without that actor. After each, the arena must be
 * sound: the actors fill it without an overlap, the accounts are exact, deferred calls have run once, and a reset makes it
 * whole. */
#ifdef STEPS_DEFER
#define DEFERS true
#else
#define DEFERS false
#endif
#define STOPS_ONE_IN (DEFERS ? 8 : TEST_SAMPLE ? 30 : 12)
#include "steps.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define ACTORS 3u
#define BUFFER_BYTES (((size_t)1 << 20) + ((size_t)64 << 10))
#define CALLS_MAX 64
#define FILLER ((size_t)32 << 10)
#define LEFT_MAX ((size_t)8 << 10) /* of a TLAB here */
#define LARGE ((size_t)700 << 10)  /* more than a shard or the frontier */

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
static size_t held_max;    /* by bursts: counted as long as they are open */
static size_t raced_bytes; /* at most this much went to blocks of which we cannot know the generation */
static size_t allocated_before, counted_max;

static unsigned trims; /* begun in this play */
/* Of what may belong to nobody for a while: others may find no room then. */
static unsigned claims_begun, claims_under_way;
static unsigned long schedules;

/* A deferred call. */
static struct call {
    bool accepted;
    unsigned runs, undone;
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
    step(&blocks, false); /* for madvise; their order among themselves does not matter */
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
    /* A reset that meets a trim is refused, or another one that runs calls, and nothing else refuses one. (Who does not see
     * that a call was pushed takes it for half pushed.) */
    if (memarena_reset(arena)) return;
    CHECK(((DEFERS && (!one_resets || !STEPS_SEEN_AT_ONCE)) || trims > 0) && errno == EBUSY);
    reset_refused = true;
}

static void count_run(void *argument)
{
    uint64_t generation = memarena_generation(arena);
    ((struct call *)argument)->runs++;
    CHECK_EQ(memarena_generation(arena), generation); /* blocks are still alive */
}

static void act_defer(void)
{
    CHECK(call_count < CALLS_MAX);
    struct call *call = &calls[call_count++];
    call->accepted = memarena_defer(arena, count_run, call);
    raced_bytes += 24 * ACTORS; /* (taken again where a reset came between) */
}

/* The scene's call, which every actor of this kind wants; or one of his own. */
static void act_undefer(void)
{
    if (call_count == 0) act_defer();
    struct call *call = &calls[0];
    if (memarena_undefer(arena, count_run, call)) call->undone++;
}

static void act_defer_and_undefer(void)
{
    struct call *call = &calls[call_count];
    act_defer();
    if (memarena_undefer(arena, count_run, call)) call->undone++;
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
    memset(pages, 1, size / 4096);
    return 0;
}

int __wrap_madvise(void *address, size_t size, int advice);
int __wrap_madvise(void *address, size_t size, int advice)
{
    uintptr_t begin = (uintptr_t)address, end = begin + size;
    (void)advice;
    step(&blocks, true);
    const test_log *live = reset_raced ? &renewed : &blocks;
    for (size_t i = 0; i < live->count; i++) CHECK(live->blocks[i].end <= begin || live->blocks[i].begin >= end);
    return 0;
}

/* (Nobody else gets the CPU by it.) */
void __wrap_ma_os_nap(uint32_t nanoseconds);
void __wrap_ma_os_nap(uint32_t nanoseconds)
{
    (void)nanoseconds;
    STEPS_KNOW(weak_time_passes());
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

/* Beside the burst goes what else the thread takes. */
static void act_burst(void)
{
    held_max += LEFT_MAX;
    memarena_burst burst = memarena_burst_begin(arena);
    for (size_t size = 8; size < 1600; size += 500) note(memarena_burst_alloc(&burst, size, 8), size);
    note(memarena_alloc_aligned(arena, 40, 8), 40);
    note(memarena_burst_alloc(&burst, 40, 8), 40);
    memarena_burst_end(&burst);
    note(memarena_alloc_aligned(arena, 40, 8), 40);
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
    ma_lane_thread_ = (ma_lane_thread){.random = on_stage->random};
    act_some();
}

/* And the burst was never ended. Its rest, and what else the thread took beside it, is lost until the next reset. */
static void act_leave_in_a_burst(void)
{
    held_max += LEFT_MAX;
    memarena_burst burst = memarena_burst_begin(arena);
    note(memarena_burst_alloc(&burst, 40, 8), 40);
    note(memarena_alloc_aligned(arena, 40, 8), 40);
    thread_ends();
    ma_lane_thread_ = (ma_lane_thread){.random = on_stage->random};
    act_burst();
    unreturned_max += LEFT_MAX; /* (counted from its begin on) */
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
    {"burst", act_burst, false, true, true, false},
    {"leave in a burst", act_leave_in_a_burst, false, false, true, false},
    {"count", act_count, false, true, true, false},
    {"sample", act_sample, false, false, TEST_SAMPLE, false},
    {"defer", act_defer, false, true, false, false},
    {"undefer", act_undefer, false, true, false, false},
    {"defer and undefer", act_defer_and_undefer, false, true, false, false},
    {"reset and defer", act_reset_and_defer, true, true, false, false},
    {"reset", act_reset, true, true, true, false},
};
#define ACTS (sizeof acts / sizeof *acts)

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
    actors_lease(actors, ACTORS);
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
    may_wait = DEFERS; /* nobody may end a generation whose deferred calls are running */
    scenes[scene]();
    raced_bytes = unreturned_max = counted_max = held_max = 0;
    allocated_before = memarena_allocated_bytes(arena);
    trace_begins(actors, ACTORS);
    STEPS_KNOW(weak_begin(test_seed(schedules), buffer, sizeof buffer));
}

static void destroy(void)
{
    ma_arena_of(arena)->mapping = NULL;
    memarena_destroy(arena);
}

/* What all that comes depends on. The order in which blocks were noted does not matter. */
static uint64_t state(void)
{
    uint64_t hash = mix(ma_process()->leased, buffer, ma_pool_base(&ma_arena_of(arena)->pool, 0) - (uintptr_t)buffer);
    for (unsigned i = 0; i < ACTORS; i++)
        hash = mix(hash, &(uint64_t[]){actors[i].lane_offset, actors[i].lane_thread.random, actors[i].held}, 24);
    hash = mix(hash, &(uint64_t[]){reset_refused, all_reported, raced_bytes, unreturned_max, counted_max}, 40);
    for (size_t i = 0; i < blocks.count; i++) hash += mix(1, &blocks.blocks[i], sizeof *blocks.blocks);
    for (size_t i = 0; i < renewed.count; i++) hash += mix(2, &renewed.blocks[i], sizeof *renewed.blocks);
    return hash;
}

static void end(void)
{
    size_t capacity = memarena_capacity(arena), lost_max = reset_raced ? raced_bytes : 0;
    CHECK(reset_raced || counted_max <= allocated_before + raced_bytes + unreturned_max + held_max);
    if (is_known_end(state, !DEFERS)) {
        destroy();
        return;
    }
    if (reset_raced) blocks.count = 0, test_append(&blocks, &renewed);
    reset_raced = false;
    actors_meet(actors, ACTORS);
    STEPS_KNOW(weak_end());
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
    for (unsigned i = 0; i < call_count; i++) CHECK_EQ(calls[i].runs + calls[i].undone, calls[i].accepted);
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
#define CASTS_ONE_IN ((STEPS_SEEN_AT_ONCE ? 64 : 16) * (TEST_SAMPLE ? 2 : 1))
#define SLEEPERS_ONE_IN (TEST_SAMPLE ? 48 : 24)
#define FORKS_ONE_IN 4

static void say_what_was_played(int signal)
{
    (void)signal;
    fprintf(stderr, "while playing: %s\n", now_playing);
}

/* What is played. */
static struct {
    unsigned scene;
    const act *acts[ACTORS];
    const steps_shape *shape;
} playing;

/* `one` stops at n, `two` at m, `one` again k accesses later, `two` goes on, then `one`. */
static void play_two(unsigned n, unsigned m, unsigned k)
{
    const act *one = playing.acts[0], *two = playing.acts[1];
    snprintf(now_playing, sizeof now_playing, "%s: %s to %d, %s to %d, %s by %d", scene_names[playing.scene], one->name,
             (int)n, two->name, (int)m, one->name, (int)k);
    begin(playing.scene);
    expect_resets(one->resets, two->resets, false);
    (void)actor_begin(&actors[0], one->act, n);
    (void)actor_begin(&actors[1], two->act, m);
    (void)actor_go(&actors[0], k);
    go_on(&actors[1], &actors[0]);
    end();
}

static void play_three(unsigned n, unsigned m)
{
    const act *const *cast = playing.acts;
    void (*const played[])(void) = {cast[0]->act, cast[1]->act, cast[2]->act};
    snprintf(now_playing, sizeof now_playing, "%s: %s, %s and %s in shape %d, the first to %d, then to %d",
             scene_names[playing.scene], cast[0]->name, cast[1]->name, cast[2]->name,
             (int)(playing.shape - steps_shapes), (int)n, (int)m);
    begin(playing.scene);
    expect_resets(cast[0]->resets, cast[1]->resets, cast[2]->resets);
    actors_play(actors, played, playing.shape, n, m);
    end();
}

/* Two calls of memarena_sample do wait for each other. */
static bool may_meet(const act *one, const act *two)
{
    if (!plays(one) || !plays(two)) return false;
    return one->act != act_sample || two->act != act_sample;
}

static void every_two_calls_with_three_preemptions(void)
{
    for (unsigned scene = 0; scene < SCENES; scene++)
        for (size_t one = 0; one < ACTS; one++)
            for (size_t two = 0; two < ACTS; two++) {
                if (!may_meet(&acts[one], &acts[two])) continue;
                playing.scene = scene, playing.acts[0] = &acts[one], playing.acts[1] = &acts[two];
                schedules_of_two(actors, play_two);
            }
}

static bool may_be_cast(size_t number)
{
    const act *one = &acts[number / ACTS / ACTS], *two = &acts[number / ACTS % ACTS], *three = &acts[number % ACTS];
    playing.acts[0] = one, playing.acts[1] = two, playing.acts[2] = three;
    return may_meet(one, two) && may_meet(one, three) && may_meet(two, three);
}

static void every_three_calls_with_two_preemptions(void)
{
    for (size_t cast = 0; cast < ACTS * ACTS * ACTS; cast++) {
        if (!may_be_cast(cast)) continue;
        for (playing.scene = 0; playing.scene < SCENES; playing.scene++)
            for (playing.shape = steps_shapes; playing.shape < steps_shapes + STEPS_SHAPES; playing.shape++)
                if (is_played(CASTS_ONE_IN)) schedules_of_three(actors, playing.shape, play_three);
    }
}

#ifndef STEPS_WEAK
static void schedules_that_are_left_out_end_like_others(void)
{
    playing.scene = 1;
    for (size_t one = 0; one < ACTS; one++)
        for (size_t two = 0; two < ACTS; two++) {
            if (!may_meet(&acts[one], &acts[two]) || !is_drawn(4)) continue;
            playing.acts[0] = &acts[one], playing.acts[1] = &acts[two];
            left_out_of_two(actors, play_two);
        }
    for (size_t cast = 0; cast < ACTS * ACTS * ACTS; cast++) {
        if (!may_be_cast(cast)) continue;
        for (playing.shape = steps_shapes; playing.shape < steps_shapes + STEPS_SHAPES; playing.shape++)
            if (is_drawn(4 * CASTS_ONE_IN)) left_out_of_three(actors, playing.shape, play_three);
    }
}
#endif

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
            if (!actor_begin(&actors[1], act_reset, STEPS_ALL)) go_on(&actors[0], &actors[1]);
            if (i % 3 == 0) actor_do(&actors[1], act_some);
        }
        actor_do(&actors[1], act_some);
        if (DEFERS) actor_do(&actors[1], act_defer);
        blocks.count = 0;
        go_on(&actors[0], &actors[0]);
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
    for (unsigned i = 0; i < call_count; i++) CHECK(calls[i].runs + calls[i].undone <= 1);
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
        go_on(&actors[0], &actors[0]);
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
    memarena *first = memarena_create(0);
    CHECK(first && memarena_alloc(first, 8) && thread_ends); /* the last when the lane is leased */
    memarena_destroy(first);
    begin(0);
    if (test_watched(arena)) SKIP("a watched arena has no lanes");
    destroy();
    actors_enter(actors, ACTORS);
#ifndef STEPS_WEAK
    RUN(schedules_that_are_left_out_end_like_others);
#endif
    RUN(every_two_calls_with_three_preemptions);
    RUN(every_three_calls_with_two_preemptions);
    RUN(a_call_sleeps_while_the_arena_is_reset_many_times);
    RUN(a_process_forks_in_the_middle_of_a_call);
    actors_leave(actors, ACTORS);
    test_forget(&blocks);
    test_forget(&renewed);
    printf("%lu schedules\n", schedules);
    return test_done();
}
