/* A fork at every access of every call: the library is built with a hook before each access to what threads share, and there
 *
 *     another thread stops in the middle of a call, and the fork loses it;
 *     the thread that forks is itself in the middle of a call, as in a signal handler: in the child the handler uses the
 *         arena, if it is one for handlers, and then the call goes on to its end; so it does in the parent;
 *     or both; or the child forks again, soon, and goes on in that child; or two threads of the child come first, and each
 *         stops on its way.
 *
 * The child is made by fork, by _Fork, or by clone. There no block overlaps a living one, whichever threads take all that is
 * left; what is alive is as it was; the accounts hold what is alive, and no more than the capacity; a reset is one generation,
 * and refused only because of a scope that the lost thread was about to open or to end; deferred calls run once; and
 * after a reset the arena is whole.
 *
 * MEMARENA_TEST_SCALE 8: at every access indeed; less: at some, others for each MEMARENA_TEST_SEED. */
#include "children.h"

#include "internals.h"

#include <sched.h>
#include <semaphore.h>
#include <string.h>

#define CAPACITY ((size_t)512 << 10)
enum { LOST, OWN, FIRST, SECOND, ACTORS, BLOCKS = 64, CALLS = 16, HANDLERS_BLOCKS = 20, FILLERS = 3 };

/* ---- Who stops where ------------------------------------------------------------------------------------------------ */

static __thread unsigned left; /* accesses before this thread stops; 0: it does not */
static __thread void (*stop)(void);

void test_yield(void);
void test_yield(void)
{
    if (left != 0 && --left == 0) stop();
}

static sem_t is_prepared, may_begin, has_stopped, may_go_on, may_inherit[2];

static void wait_for(sem_t *event)
{
    while (sem_wait(event) != 0) CHECK_EQ(errno, EINTR);
}

static void stop_and_wait(void)
{
    CHECK_EQ(sem_post(&has_stopped), 0);
    wait_for(&may_go_on);
}

/* ---- The calls ------------------------------------------------------------------------------------------------------ */

typedef struct actor {
    uint64_t generation; /* when its call began */
    test_block blocks[BLOCKS];
    unsigned block_count;
    void *last;
    memarena *scope; /* open */
    bool refused, finished;
} actor;

typedef struct call {
    const char *name;
    void (*prepare)(actor *self);
    void (*act)(actor *self);
    unsigned does;
} call;

/* OPENS, ENDS: a scope, which a fork in between leaves to nobody. COPIES: blocks, which a reset must not come into.
 * ANNOUNCES: that it is in the middle of something. */
enum { OPENS = 1, ENDS = 2, RESETS = 4, COPIES = 8, ANNOUNCES = 16 };

static struct play {
    unsigned flags;
    const call *calls[ACTORS]; /* NULL: none */
    unsigned at[ACTORS];       /* the access before which it stops */
    bool full, sampled, threads;
    unsigned again; /* after so many accesses the child forks; 0: it does not */
    test_way way;
} play;

static memarena *arena;
static actor actors[ACTORS];
static pid_t child; /* 0: this is it; -1: there is none yet */
static struct {
    unsigned accepted, most, runs;
} calls[CALLS];
static unsigned call_count;

static void keep(actor *self, void *block, size_t size)
{
    self->last = block;
    if (!block) return;
    CHECK(self->block_count < BLOCKS);
    uintptr_t begin = (uintptr_t)block;
    self->blocks[self->block_count++] = (test_block){self->generation, begin, begin + test_rounded(size)};
}

/* Before the first fork: what must stay as it is. */
static void keep_stamped(actor *self, memarena *handle, size_t size)
{
    void *block = memarena_alloc_aligned(handle, size, 8);
    CHECK(block != NULL);
    memset(block, (unsigned char)(self->block_count + 1), size);
    keep(self, block, size);
}

static void run(void *number)
{
    (void)__atomic_fetch_add(&calls[(uintptr_t)number].runs, 1, __ATOMIC_RELAXED); /* two threads may share one */
    (void)memarena_alloc_aligned(arena, 24, 8);                                    /* so that it may be stopped there */
}

static void defer(bool prepared)
{
    unsigned number = call_count++;
    calls[number].most = 1;
    bool accepted = memarena_defer(arena, run, (void *)(uintptr_t)number);
    CHECK(accepted || (!prepared && errno == ENOMEM)); /* (a trim that has stopped may hide all room) */
    calls[number].accepted = calls[number].most = accepted;
}

/* What is left of the TLAB in which this block is the last one. */
static size_t rest_behind(uintptr_t end)
{
    const ma_arena *root = ma_arena_of(arena);
    for (unsigned i = 0; i < (root->has_lanes ? MA_LANES : 0) + root->cpus.count; i++) {
        const ma_lane *lane =
            i < root->cpus.count ? ma_arena_cpu_lane(root, i) : ma_arena_lane(root, i - (unsigned)root->cpus.count);
        if (lane->tlab.cursor_ == end) return lane->limit - end;
    }
    return 0;
}

/* The TLAB is nearly spent. What comes later may lie behind it. (The thread may move to another CPU, with another TLAB, each time.) */
static void prepare_blocks(actor *self)
{
    static const size_t sizes[] = {64, 5000, 104, 104, 104, 5000, 104, 40};
    size_t rest;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) keep_stamped(self, arena, sizes[i]);
    while ((rest = rest_behind(self->blocks[self->block_count - 1].end)) >= 200 && self->block_count < BLOCKS / 2)
        keep_stamped(self, arena, rest < 1000 ? 168 : rest - 500);
}

static void prepare_calls(actor *self)
{
    prepare_blocks(self);
    for (int i = 0; i < 3; i++) defer(true);
}

static void prepare_scope(actor *self)
{
    prepare_blocks(self);
    CHECK((self->scope = memarena_scope(arena)) != NULL);
    keep_stamped(self, self->scope, 200);
    keep_stamped(self, self->scope, 3000);
    keep_stamped(self, self->scope, 9000);
}

/* The next one to be opened is ready. */
static void prepare_ended_scope(actor *self)
{
    prepare_blocks(self);
    memarena_destroy(memarena_scope(arena));
}

static void act_alloc_8(actor *self)
{
    keep(self, memarena_alloc_aligned(arena, 8, 8), 8);
}

static void act_alloc_200(actor *self)
{
    keep(self, memarena_alloc_aligned(arena, 200, 8), 200);
}

static void act_alloc_large(actor *self)
{
    keep(self, memarena_alloc_aligned(arena, 70000, 8), 70000);
}

static void act_alloc_aligned(actor *self)
{
    keep(self, memarena_alloc_aligned(arena, 300, 8192), 300);
}

static void act_realloc(actor *self)
{
    test_block *block = &self->blocks[self->block_count - 1];
    size_t size = block->end - block->begin;
    void *moved = memarena_realloc(arena, (void *)block->begin, size, size + 64);
    if ((uintptr_t)moved == block->begin)
        block->end += 64;
    else
        keep(self, moved, size + 64);
}

static void act_open(actor *self)
{
    self->scope = memarena_scope(arena);
}

static void act_open_grow_and_end(actor *self)
{
    memarena *scope = memarena_scope(arena);
    if (!scope) return;
    (void)memarena_alloc_aligned(scope, 3000, 8);
    (void)memarena_defer(scope, run, (void *)(uintptr_t)(CALLS - 1));
    memarena_destroy(scope);
    (void)self;
}

static void act_alloc_in_scope(actor *self)
{
    keep(self, memarena_alloc_aligned(self->scope, 3000, 8), 3000);
}

static void act_end(actor *self)
{
    memarena *scope = self->scope;
    self->scope = NULL;
    self->block_count -= 3; /* those in it */
    memarena_destroy(scope);
}

static void act_defer(actor *self)
{
    (void)self;
    defer(false);
}

static void act_reset(actor *self)
{
    self->refused = !memarena_reset(arena);
    if (self->refused) CHECK_EQ(errno, EBUSY);
}

static void act_trim(actor *self)
{
    (void)self;
    (void)memarena_trim(arena, 0);
}

static void see_sample(void *context, memarena *handle, void *block, size_t size, size_t weight)
{
    CHECK(context == &play && memarena_owns(handle, block) && size > 0 && weight > 0);
}

static void act_sample(actor *self)
{
    (void)self;
    (void)memarena_sample(arena, 300, see_sample, &play); /* (another one may be at it) */
}

static const call all_calls[] = {
    {"alloc 8", prepare_blocks, act_alloc_8, 0},
    {"alloc 200", prepare_blocks, act_alloc_200, ANNOUNCES},
    {"alloc 70000", prepare_blocks, act_alloc_large, 0},
    {"alloc at 8192", prepare_blocks, act_alloc_aligned, 0},
    {"realloc", prepare_blocks, act_realloc, COPIES},
    {"open", prepare_blocks, act_open, OPENS},
    {"open again", prepare_ended_scope, act_open, OPENS},
    {"open, grow, end", prepare_blocks, act_open_grow_and_end, OPENS | ENDS},
    {"alloc in a scope", prepare_scope, act_alloc_in_scope, 0},
    {"end", prepare_scope, act_end, ENDS},
    {"defer", prepare_blocks, act_defer, ANNOUNCES},
    {"reset", prepare_blocks, act_reset, RESETS},
    {"reset with calls", prepare_calls, act_reset, RESETS | ANNOUNCES},
    {"trim", prepare_ended_scope, act_trim, ANNOUNCES},
    {"sample", prepare_blocks, act_sample, ANNOUNCES},
};
enum { CALL_COUNT = sizeof all_calls / sizeof *all_calls };

static void begin(actor *self, const call *its, unsigned at, void (*stops)(void))
{
    self->generation = memarena_generation(arena);
    stop = stops;
    left = at;
    its->act(self);
}

/* ---- The child ------------------------------------------------------------------------------------------------------- */

static void *fill(void *argument)
{
    test_log *log = argument;
    unsigned long long random = test_seed(log->count);
    log->count = 0;
    for (size_t most = 20000; most >= 8;) {
        size_t size =
            log->count < 4 ? 8 : test_rounded(test_between(&random, 1, most)); /* first from the TLAB of now */
        unsigned char *block = memarena_alloc_aligned(arena, size, 8);
        if (block) {
            block[0] = block[size - 1] = 255;
            test_record(log, 0, block, size);
        } else {
            most = size > 16 ? size / 2 : size - 8;
        }
    }
    return NULL;
}

/* By several threads, perhaps. Returns the bytes. */
static size_t fill_all(test_log *log, bool with_threads)
{
    test_log logs[FILLERS] = {0};
    pthread_t threads[FILLERS];
    size_t sum = 0;
    for (unsigned i = 0; i < FILLERS; i++) logs[i].count = i;
    for (unsigned i = 1; i < FILLERS && with_threads; i++) threads[i] = test_start(fill, &logs[i]);
    (void)fill(&logs[0]);
    for (unsigned i = 1; i < FILLERS && with_threads; i++) test_join(threads[i]);
    uint64_t now = memarena_generation(arena);
    for (unsigned i = 0; i < FILLERS && (i == 0 || with_threads); i++) {
        for (size_t n = 0; n < logs[i].count; n++) logs[i].blocks[n].generation = now;
        for (size_t n = 0; n < logs[i].count; n++) sum += logs[i].blocks[n].end - logs[i].blocks[n].begin;
        test_append(log, &logs[i]);
        test_forget(&logs[i]);
    }
    return sum;
}

static test_block handlers_blocks[HANDLERS_BLOCKS];
static unsigned handlers_count;

static void allocate_in_the_handler(void)
{
    for (handlers_count = 0; handlers_count < HANDLERS_BLOCKS; handlers_count++) {
        uint64_t generation = memarena_generation(arena);
        uintptr_t begin = (uintptr_t)memarena_alloc_aligned(arena, 64, 8);
        if (!begin) return;
        handlers_blocks[handlers_count] = (test_block){generation, begin, begin + 64};
    }
}

static bool does(unsigned who, unsigned what)
{
    return play.calls[who] && (play.calls[who]->does & what) != 0;
}

/* Those of this generation: none overlaps another one, and the accounts know them. */
static void check_blocks(void)
{
    test_log log = {0};
    (void)fill_all(&log, play.threads);
    uint64_t now = memarena_generation(arena);
    for (unsigned i = 0; i < handlers_count; i++)
        if (handlers_blocks[i].generation == now) test_record(&log, now, (void *)handlers_blocks[i].begin, 64);
    for (unsigned who = 0; who < ACTORS; who++) {
        for (unsigned i = 0; i < actors[who].block_count; i++) {
            const test_block *block = &actors[who].blocks[i];
            if (block->generation == now) test_record(&log, now, (void *)block->begin, block->end - block->begin);
        }
    }
    size_t sum = test_check_blocks(arena, &log), allocated = memarena_allocated_bytes(arena);
    CHECK(sum <= allocated && allocated <= CAPACITY);
    test_forget(&log);
}

static void check_stamps(void)
{
    for (unsigned who = 0; who < ACTORS; who++) {
        for (unsigned i = 0; i < actors[who].block_count && i < 8; i++) {
            const test_block *block = &actors[who].blocks[i];
            const unsigned char *first = (unsigned char *)block->begin;
            if (block->generation != memarena_generation(arena)) continue;
            CHECK(first[0] == i + 1 && first[40 - 1] == i + 1);
        }
    }
}

/* In the child a lost thread may have been about to run one of them: nobody can tell whether it had begun. */
static void check_calls(void)
{
    unsigned begun = child == 0 && does(LOST, RESETS);
    for (unsigned i = 0; i < call_count; i++) {
        unsigned lost = calls[i].runs < calls[i].accepted && begun != 0;
        begun -= lost;
        CHECK(calls[i].accepted <= calls[i].runs + lost && calls[i].runs <= calls[i].most);
    }
}

/* As of an arena that nothing has ever happened to. */
static void check_whole(void)
{
    CHECK(memarena_sample(arena, 0, NULL, NULL));
    for (int round = 0; round < 2; round++) {
        test_log log = {0};
        uint64_t generation = memarena_generation(arena);
        size_t sum = fill_all(&log, false);
        CHECK_EQ(sum + (play.flags & MEMARENA_PER_CPU ? test_stats(arena).tail_bytes : 0), CAPACITY);
        CHECK_EQ(test_check_blocks(arena, &log), sum);
        CHECK_EQ(memarena_allocated_bytes(arena), sum);
        test_forget(&log);
        CHECK(memarena_reset(arena));
        CHECK_EQ(memarena_generation(arena), generation + 1);
        memarena *scope = memarena_scope(arena);
        defer(true);
        CHECK(scope && memarena_alloc_aligned(scope, 3000, 8));
        CHECK(!memarena_reset(arena) && errno == EBUSY);
        memarena_destroy(scope);
        CHECK(memarena_reset(arena));
        check_calls();
        CHECK_EQ(memarena_allocated_bytes(arena), 0);
    }
}

#define LONG 3000 /* accesses that no call makes, unless it waits */

static __thread actor *heir;
static __thread bool has_come_far;

static void stop_as_heir(void)
{
    CHECK_EQ(sem_post(&has_stopped), 0);
    wait_for(&may_inherit[heir - &actors[FIRST]]);
    left = has_come_far ? 0 : LONG;
    has_come_far = true;
}

static void *be_heir(void *argument)
{
    heir = argument;
    begin(heir, play.calls[heir - actors], play.at[heir - actors], stop_as_heir);
    left = 0;
    heir->finished = true;
    CHECK_EQ(sem_post(&has_stopped), 0);
    return NULL;
}

/* The second one comes while the first one has stopped, and stops; the first one goes on to its end, unless it waits for the second. */
static void inherit(void)
{
    uint64_t generation = memarena_generation(arena);
    pthread_t threads[2];
    for (int i = 0; i < 2; i++) threads[i] = test_start(be_heir, &actors[FIRST + i]), wait_for(&has_stopped);
    if (!actors[FIRST].finished) CHECK_EQ(sem_post(&may_inherit[0]), 0), wait_for(&has_stopped);
    for (int i = 0; i < 4; i++) CHECK_EQ(sem_post(&may_inherit[i % 2]), 0);
    for (int i = 0; i < 2; i++) test_join(threads[i]);
    uint64_t ended = memarena_generation(arena) - generation, resets = 0;
    for (int i = FIRST; i <= SECOND; i++) resets += does((unsigned)i, RESETS) && !actors[i].refused;
    CHECK(ended == resets || (ended == resets + 1 && does(LOST, RESETS)));
}

static void live_as_child(void)
{
    if (play.calls[FIRST] && !play.calls[OWN]) inherit();
    bool half = does(LOST, OPENS | ENDS); /* a scope is opened, or ended */
    check_blocks();
    check_stamps();
    uint64_t generation = memarena_generation(arena);
    for (unsigned who = 0; who < ACTORS; who++)
        if (actors[who].scope) memarena_destroy(actors[who].scope);
    bool done = memarena_reset(arena);
    CHECK(done || (half && errno == EBUSY));
    CHECK_EQ(memarena_generation(arena), generation + done);
    if (!done && MA_DEBUG) return; /* it would say that a scope is open */
    if (done) {
        check_calls();
        check_whole();
    }
    memarena_destroy(arena);
    check_calls();
}

/* ---- The fork -------------------------------------------------------------------------------------------------------- */

static void fork_again(void)
{
    pid_t grandchild = test_make_child(play.way);
    if (grandchild > 0) _exit(test_status_of(grandchild) != 0);
}

static void fork_here(void)
{
    child = test_make_child(play.way);
    if (child > 0) {
        CHECK_EQ(sem_post(&may_go_on), 0);
    } else {
        if (does(LOST, OPENS | ENDS)) actors[LOST].scope = NULL;
        stop = fork_again;
        left = play.again;
        if (test_stats(arena).per_cpu == 2) allocate_in_the_handler();
        if (play.calls[FIRST] && play.calls[OWN]) inherit();
    }
}

static unsigned taken; /* accesses of the last act that came to its end */

static void *be_lost(void *unused)
{
    actor *self = &actors[LOST];
    self->generation = memarena_generation(arena);
    play.calls[LOST]->prepare(self);
    CHECK_EQ(sem_post(&is_prepared), 0);
    wait_for(&may_begin);
    begin(self, play.calls[LOST], play.at[LOST], stop_and_wait);
    if (left) taken = play.at[LOST] - left;
    self->finished = left != 0;
    if (left) left = 0, CHECK_EQ(sem_post(&has_stopped), 0);
    return unused;
}

/* Leaves free extents, and then nothing else. */
static void use_and_fill(void)
{
    memarena *scope = memarena_scope(arena);
    CHECK(scope && memarena_alloc_aligned(scope, 9000, 8) && memarena_alloc_aligned(scope, 9000, 8));
    if (play.full) {
        for (size_t size = 30000; size >= 8; size /= 2)
            while (memarena_alloc_aligned(arena, size, 8)) continue;
    }
    memarena_destroy(scope);
}

static void check_status(int status)
{
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return;
    static const char *const names[] = {"the lost thread", "the forking one", "the first one", "the second one"};
    fprintf(stderr, "flags %u, full %d, sampled %d, way %d, threads %d, again %u: ", play.flags, play.full,
            play.sampled, (int)play.way, play.threads, play.again);
    for (unsigned who = 0; who < ACTORS; who++)
        if (play.calls[who]) fprintf(stderr, "%s is in '%s' at %u, ", names[who], play.calls[who]->name, play.at[who]);
    fprintf(stderr, "the child's status is %#x\n", (unsigned)status);
    CHECK_EQ(status, 0);
}

/* False: a call came to its end before it stopped. */
static bool is_played(void)
{
    memarena_options options = {.capacity = CAPACITY, .flags = play.flags};
    pthread_t lost = 0;
    memset(actors, 0, sizeof actors);
    memset(calls, 0, sizeof calls);
    call_count = handlers_count = 0;
    child = -1;
    sem_t *const events[] = {&is_prepared, &may_begin, &has_stopped, &may_go_on, &may_inherit[0], &may_inherit[1]};
    for (unsigned i = 0; i < sizeof events / sizeof *events; i++) CHECK_EQ(sem_init(events[i], 0, 0), 0);
    CHECK((arena = memarena_create_with(&options)) != NULL);
    if (play.sampled) CHECK(memarena_sample(arena, 500, see_sample, &play));
    CHECK(memarena_alloc_aligned(arena, 500, 8) && memarena_reset(arena));
    if (play.calls[LOST]) lost = test_start(be_lost, NULL), wait_for(&is_prepared);
    for (unsigned who = OWN; who < ACTORS; who++) {
        actors[who].generation = memarena_generation(arena);
        if (play.calls[who]) play.calls[who]->prepare(&actors[who]);
        if (!play.calls[who] && who == OWN) prepare_blocks(&actors[who]);
    }
    use_and_fill();
    if (play.calls[LOST]) CHECK_EQ(sem_post(&may_begin), 0), wait_for(&has_stopped);
    bool in_time = !actors[LOST].finished;
    if (in_time && play.calls[OWN]) {
        begin(&actors[OWN], play.calls[OWN], play.at[OWN], fork_here);
        if (left) taken = play.at[OWN] - left;
        if (left && lost) CHECK_EQ(sem_post(&may_go_on), 0);
        in_time = left == 0;
        left = 0;
    } else if (in_time) {
        fork_here();
    }
    if (child == 0) {
        if (!play.calls[LOST]) CHECK(!actors[OWN].refused);
        live_as_child();
        _exit(0);
    }
    if (lost) test_join(lost);
    if (child > 0) check_status(test_status_of(child));
    for (unsigned who = 0; who < ACTORS; who++)
        if (actors[who].scope) memarena_destroy(actors[who].scope);
    memarena_destroy(arena);
    check_calls();
    return in_time;
}

/* ---- The plays ------------------------------------------------------------------------------------------------------- */

static unsigned long long chance;
static unsigned long played;

/* What the children differ in besides. */
static void draw_the_rest(void)
{
    play.way = (test_way)(test_random(&chance) % WAYS);
    play.again = test_random(&chance) % 4 ? 0 : 1 + (unsigned)(test_random(&chance) % 60);
    play.threads = play.again == 0 && !TEST_TSAN && play.way == BY_FORK && test_random(&chance) % 4 == 0;
}

static void draw_the_arena(void)
{
    play.full = test_random(&chance) % 3 == 0;
    play.sampled = test_random(&chance) % 4 == 0;
}

/* How many accesses the call makes when it is not stopped. */
static unsigned count_accesses(unsigned who)
{
    play.at[who] = 1u << 30;
    CHECK(!is_played());
    return taken;
}

/* MEMARENA_TEST_SCALE, in 64ths. */
static bool is_drawn(unsigned one_in)
{
    static long scale;
    if (scale == 0) scale = test_scaled(64);
    return scale >= 8 * 64 || (long)(test_random(&chance) % (one_in * 64u)) < scale;
}

static void stop_everywhere(unsigned flags, unsigned who)
{
    for (unsigned i = 0; i < 2 * CALL_COUNT; i++) {
        play = (struct play){.flags = flags};
        play.calls[who] = &all_calls[i / 2];
        draw_the_arena();
        play.full = i % 2;
        unsigned accesses = count_accesses(who);
        for (unsigned at = 1; at <= accesses; at++) {
            play.at[who] = at;
            draw_the_rest();
            if (is_drawn(3)) played += is_played();
        }
    }
}

/* Of the first heir often a reset, of the second one what a reset has to look at. */
static const call *draw_call(unsigned who)
{
    unsigned wanted = who < FIRST || test_random(&chance) % 2 ? 0 : who == FIRST ? RESETS : ANNOUNCES;
    for (;;) {
        const call *drawn = &all_calls[test_random(&chance) % CALL_COUNT];
        if ((drawn->does & wanted) == wanted) return drawn;
    }
}

/* Two calls; two heirs may come into those of a thread that is lost and, now and then, of the one that forks. */
static void stop_in_both(unsigned flags, unsigned first)
{
    for (long n = test_scaled(first == FIRST ? 1200 : 400); n > 0; n--) {
        const call *drawn[ACTORS] = {NULL};
        unsigned at[ACTORS] = {0}, all = 0;
        play = (struct play){.flags = flags};
        draw_the_arena();
        for (unsigned who = 0; who < ACTORS; who++) {
            if (who >= FIRST && first == LOST) continue;
            if (who == OWN && first == FIRST && test_random(&chance) % 2) continue;
            memset(play.calls, 0, sizeof play.calls);
            drawn[who] = draw_call(who);
            play.calls[who < FIRST ? who : OWN] = drawn[who];
            at[who] = 1 + (unsigned)(test_random(&chance) % (count_accesses(who < FIRST ? who : OWN) + 1));
            if (who >= FIRST) at[who] += (unsigned)(test_random(&chance) % 20); /* they repair, or wait for it */
            if (who == FIRST && test_random(&chance) % 2) at[who] = 1 + at[who] % 40;
            all |= drawn[who]->does;
        }
        memcpy(play.calls, drawn, sizeof drawn);
        memcpy(play.at, at, sizeof at);
        draw_the_rest();
        if (first == FIRST) play.way = BY_FORK, play.again = 0;
        if (first == FIRST && does(OWN, RESETS)) continue; /* they would wait for it */
        if ((all & (RESETS | COPIES)) != (RESETS | COPIES)) played += is_played();
    }
}

static unsigned flags_now;

static void another_thread_is_lost_at_any_access(void)
{
    stop_everywhere(flags_now, LOST);
}

static void a_handler_forks_at_any_access(void)
{
    stop_everywhere(flags_now, OWN);
}

static void a_handler_forks_while_another_thread_is_stopped(void)
{
    stop_in_both(flags_now, LOST);
}

static void two_threads_come_first_in_the_child(void)
{
    if (!TEST_TSAN) stop_in_both(flags_now, FIRST);
}

/* So that all threads share one CPU lane. */
static void use_one_cpu(bool only)
{
    static cpu_set_t all;
    cpu_set_t one;
    CPU_ZERO(&one);
    if (CPU_COUNT(&all) == 0) CHECK_EQ(sched_getaffinity(0, sizeof all, &all), 0);
    for (size_t i = 0; i < CPU_SETSIZE && CPU_COUNT(&one) == 0; i++)
        if (CPU_ISSET(i, &all)) CPU_SET(i, &one);
    CHECK_EQ(sched_setaffinity(0, sizeof one, only ? &one : &all), 0);
}

int main(void)
{
    const struct {
        unsigned flags;
        bool has_lane; /* the thread that forks */
    } kinds[] = {{MEMARENA_PER_CPU, false}, {0, false},           {0, true},
                 {MEMARENA_PER_CPU, true},  {test_traps(), true}, {MEMARENA_PER_CPU | test_traps(), true}};
    for (unsigned i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        use_one_cpu(i == 0);
        flags_now = kinds[i].flags;
        ma_lane_thread_.may_not_lease = !kinds[i].has_lane;
        chance = test_seed(i);
        printf(" flags %u, %s lane\n", flags_now, kinds[i].has_lane ? "with a" : "without a");
        RUN(another_thread_is_lost_at_any_access);
        RUN(a_handler_forks_at_any_access);
        RUN(a_handler_forks_while_another_thread_is_stopped);
        RUN(two_threads_come_first_in_the_child);
    }
    printf("    %lu forks\n", played);
    return test_done();
}
