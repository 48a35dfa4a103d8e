/* Several copies of the library in one process, on one arena: the test that copies.sh builds in each mix.
 *
 * usage: copies mix SIDE...              threads that work through all copies at once
 *        copies few SIDE...              the same in short, whoever has lanes
 *        copies circle ROUNDS SIDE...    and while they live copies come and go
 *        copies fork SIDE...             and children of fork go on
 *
 * SIDE is a plug-in made of side.c: PATH, or global:PATH, deep:PATH (RTLD_DEEPBIND), new:PATH (another namespace), alone:PATH; through
 * the last two threads have no lanes. child:SIDE: opened in children only. What is linked into this program is used first: side_host, side_second.
 *
 * The oracle: every block is filled with a stamp of its own, and looked at before it dies. Two owners of one byte leave one of them
 * with a stamp that is not its own. */
#include "side.h"

#include "threads.h"

#include <dlfcn.h>
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef RTLD_DEEPBIND
#define RTLD_DEEPBIND 0
#endif
#ifdef LM_ID_NEWLM
#define OPEN_IN_NEW_NAMESPACE(path) dlmopen(LM_ID_NEWLM, path, RTLD_NOW)
#else
#define OPEN_IN_NEW_NAMESPACE(path) NULL
#endif

#define SIDES 12
#define LANES 64
#define WORKERS 4
#define CAPACITY ((size_t)256 << 20 >> (sizeof(void *) == 4 ? 2 : 0))

extern side_get side_host __attribute__((weak)), side_second __attribute__((weak));

static const side *sides[SIDES];
static bool goes_without[SIDES]; /* lanes */
static unsigned side_count;
static memarena *arena;
static unsigned long overlaps; /* atomic, as all that follow */
static unsigned long deferred, called;

static unsigned long long seed_of(unsigned long long number)
{
    unsigned long long state = (number + 1) * 0x9E3779B97F4A7C15u;
    for (int i = 0; i < 8; i++) (void)test_random(&state);
    return state;
}

static __thread const side *only; /* through which this thread works for a while; NULL: through all */

static const side *any_side(unsigned long long *state)
{
    if (only) return only;
    return sides[(test_random(state) >> 8) % side_count];
}

/* ---- The oracle -------------------------------------------------------------------------------------------------- */

typedef struct block {
    unsigned char *at;
    size_t size;
    uint64_t stamp;
} block;

typedef struct log {
    block *blocks;
    size_t count, room;
} log;

static void fill(const block *of)
{
    size_t done = 0;
    for (; done + 8 <= of->size; done += 8) memcpy(of->at + done, &of->stamp, 8);
    memcpy(of->at + done, &of->stamp, of->size - done);
}

static bool is_intact(const block *of)
{
    size_t done = 0;
    for (; done + 8 <= of->size; done += 8)
        if (memcmp(of->at + done, &of->stamp, 8) != 0) return false;
    return memcmp(of->at + done, &of->stamp, of->size - done) == 0;
}

static void count_overlap(void)
{
    (void)__atomic_fetch_add(&overlaps, 1, __ATOMIC_RELAXED);
}

static void stamp(log *into, void *at, size_t size)
{
    static uint64_t last;
    CHECK(at != NULL);
    if (into->count == into->room) {
        into->room = into->room ? into->room * 2 : 256;
        into->blocks = realloc(into->blocks, into->room * sizeof *into->blocks);
        CHECK(into->blocks != NULL);
    }
    block *of = &into->blocks[into->count++];
    *of = (block){at, size, __atomic_add_fetch(&last, 1, __ATOMIC_RELAXED) * 0x9E3779B97F4A7C15u};
    fill(of);
}

/* Looks at all blocks from the `first` on, and forgets them. */
static void look(log *at, size_t first)
{
    for (size_t i = first; i < at->count; i++)
        if (!is_intact(&at->blocks[i])) count_overlap();
    at->count = first;
}

static void discard(log *of)
{
    look(of, 0);
    free(of->blocks);
    *of = (log){0};
}

/* ---- What a worker does ------------------------------------------------------------------------------------------- */

typedef struct worker {
    pthread_t thread;
    unsigned number;
    unsigned long long random;
    log blocks;
} worker;

static void count_call(void *unused)
{
    (void)unused;
    (void)__atomic_fetch_add(&called, 1, __ATOMIC_RELAXED);
}

static void defer_one(const side *by, memarena *handle)
{
    CHECK(by->defer(handle, count_call, NULL));
    (void)__atomic_fetch_add(&deferred, 1, __ATOMIC_RELAXED);
}

static void take(const side *by, memarena *handle, unsigned long long *state, log *into)
{
    unsigned long long kind = test_random(state) % 100;
    size_t size = 1 + (size_t)(test_random(state) % (kind < 80 ? 200 : 4000));
    if (kind == 99 && test_random(state) % 8 == 0) size += (size_t)100 << 10;
    if (kind < 70) {
        stamp(into, by->alloc(handle, size), size);
    } else if (kind < 75) {
        unsigned char *zeroed = by->zalloc(handle, size);
        CHECK(zeroed != NULL);
        for (size_t i = 0; i < size; i++)
            if (zeroed[i]) size = i, count_overlap();
        stamp(into, zeroed, size);
    } else if (kind < 80) {
        char *text = by->strdup(handle, "some text");
        CHECK(text != NULL);
        if (strcmp(text, "some text") != 0) count_overlap();
        stamp(into, text, sizeof "some text");
    } else {
        stamp(into, by->alloc_aligned(handle, size, (size_t)8 << test_random(state) % 5), size);
    }
}

static void grow_last(const side *by, memarena *handle, log *in)
{
    if (in->count == 0) return;
    block *last = &in->blocks[in->count - 1];
    size_t size = last->size + 100;
    unsigned char *grown = by->realloc(handle, last->at, last->size, size);
    CHECK(grown != NULL);
    block copy = {grown, last->size, last->stamp};
    if (!is_intact(&copy)) count_overlap();
    if (grown == last->at) in->count--;
    stamp(in, grown, size);
}

typedef struct open_scope {
    memarena *scope;
    log blocks;
} open_scope;

static open_scope *handed_over;

static void fill_scope(open_scope *here, unsigned long long *state, unsigned depth)
{
    memarena_position mark = any_side(state)->mark(here->scope);
    size_t marked = here->blocks.count;
    for (unsigned i = 0; i < 12; i++) take(any_side(state), here->scope, state, &here->blocks);
    if (test_random(state) % 4 == 0) defer_one(any_side(state), here->scope);
    if (test_random(state) % 4 == 0) grow_last(any_side(state), here->scope, &here->blocks);
    if (depth && test_random(state) % 2) {
        open_scope inner = {.scope = any_side(state)->scope(here->scope)};
        CHECK(inner.scope != NULL);
        fill_scope(&inner, state, depth - 1);
        discard(&inner.blocks);
        any_side(state)->destroy(inner.scope);
    }
    if (test_random(state) % 2) {
        look(&here->blocks, marked);
        CHECK(any_side(state)->rewind(here->scope, mark));
    }
    if (test_random(state) % 8 == 0) {
        look(&here->blocks, 0);
        CHECK(any_side(state)->reset(here->scope));
    }
    for (unsigned i = 0; i < 4; i++) take(any_side(state), here->scope, state, &here->blocks);
}

static void end(open_scope *of, const side *by)
{
    if (!of) return;
    discard(&of->blocks);
    by->destroy(of->scope);
    free(of);
}

/* Ends its scope, or hands it over to the next worker that comes and ends the one that waits there. */
static void use_scope(unsigned long long *state)
{
    open_scope *mine = calloc(1, sizeof *mine);
    CHECK(mine != NULL);
    mine->scope = any_side(state)->scope(arena);
    CHECK(mine->scope != NULL);
    fill_scope(mine, state, 2);
    if (test_random(state) % 2) mine = __atomic_exchange_n(&handed_over, mine, __ATOMIC_ACQ_REL);
    end(mine, any_side(state));
}

static void work(worker *self, unsigned steps)
{
    unsigned long long *state = &self->random;
    for (unsigned i = 0; i < steps; i++) {
        unsigned kind = (unsigned)(test_random(state) % 64);
        if (kind == 0)
            use_scope(state);
        else if (kind == 1)
            defer_one(any_side(state), arena);
        else if (kind == 2)
            grow_last(any_side(state), arena, &self->blocks);
        else if (kind == 3 && test_random(state) % 32 == 0)
            (void)any_side(state)->trim(arena, 1 << 20);
        else
            take(any_side(state), arena, state, &self->blocks);
    }
}

static pthread_barrier_t all;
static unsigned long generations, steps_each;

static void end_generation(const side *by)
{
    end(handed_over, by);
    handed_over = NULL;
    CHECK(by->reset(arena));
    CHECK_EQ(called, deferred);
    CHECK_EQ(by->allocated_bytes(arena), 0);
}

static void *work_generations(void *argument)
{
    worker *self = argument;
    for (unsigned long i = 0; i < generations; i++) {
        only = i < generations / 2 ? sides[self->number % side_count] : NULL;
        work(self, (unsigned)steps_each);
        pthread_barrier_wait(&all);
        look(&self->blocks, 0);
        pthread_barrier_wait(&all);
        if (self->number == i % WORKERS) end_generation(any_side(&self->random));
        pthread_barrier_wait(&all);
    }
    discard(&self->blocks);
    return NULL;
}

/* The inline code at its fastest, two threads side by side, each in a copy of its own: the moment in which both could bump one lane is
 * short. */
#define SMALL 200000

static void run_side_by_side(unsigned long round)
{
    static unsigned long here;
    (void)__atomic_fetch_add(&here, 1, __ATOMIC_RELAXED);
    for (unsigned spins = 0; __atomic_load_n(&here, __ATOMIC_RELAXED) < 2 * (round + 1);)
        if (++spins % 4096 == 0) (void)sched_yield();
}

static void *take_small(void *argument)
{
    const worker *self = argument;
    const side *by = sides[self->number % side_count];
    const uintptr_t mine = self->number + 1;
    const unsigned count = self->number < 2 ? SMALL : 0;
    uintptr_t **blocks = malloc(SMALL * sizeof *blocks);
    CHECK(blocks != NULL);
    for (unsigned long i = 0; i < generations; i++) {
        if (count) run_side_by_side(i);
        for (unsigned k = 0; k < count; k++) *(blocks[k] = by->alloc(arena, 16)) = mine;
        pthread_barrier_wait(&all);
        for (unsigned k = 0; k < count; k++)
            if (*blocks[k] != mine) count_overlap();
        pthread_barrier_wait(&all);
        if (self->number == 0) CHECK(by->reset(arena));
        pthread_barrier_wait(&all);
    }
    free(blocks);
    return NULL;
}

static void run_threads(void *(*run)(void *), unsigned long rounds, unsigned long steps)
{
    worker workers[WORKERS];
    generations = rounds, steps_each = steps;
    CHECK_EQ(pthread_barrier_init(&all, NULL, WORKERS), 0);
    for (unsigned i = 0; i < WORKERS; i++) {
        workers[i] = (worker){.number = i, .random = seed_of(i)};
        workers[i].thread = test_start(run, &workers[i]);
    }
    for (unsigned i = 0; i < WORKERS; i++) CHECK_EQ(pthread_join(workers[i].thread, NULL), 0);
    CHECK_EQ(pthread_barrier_destroy(&all), 0);
}

static void run_workers(unsigned long rounds, unsigned long steps)
{
    run_threads(work_generations, rounds, steps);
}

static void create(unsigned flags)
{
    arena = sides[side_count - 1]->create_with(&(memarena_options){.capacity = CAPACITY, .flags = flags});
    CHECK(arena != NULL);
}

static void destroy(void)
{
    sides[0]->destroy(arena);
    arena = NULL;
}

static void the_blocks_of_all_copies_are_apart(void)
{
    create(0);
    run_workers(12, 1500);
    CHECK_EQ(overlaps, 0);
    destroy();
}

static void small_blocks_of_each_copy_are_apart(void)
{
    create(0);
    run_threads(take_small, 20, 0);
    CHECK_EQ(overlaps, 0);
    destroy();
}

static void and_so_they_are_per_cpu(void)
{
    create(MEMARENA_PER_CPU);
    run_workers(8, 1500);
    CHECK_EQ(overlaps, 0);
    destroy();
}

/* ---- Lanes ----------------------------------------------------------------------------------------------------------- */

static bool goes_without_lane(const side *by)
{
    for (unsigned i = 0; i < side_count; i++)
        if (sides[i] == by) return goes_without[i];
    return false;
}

static unsigned lanes_expected(void)
{
    for (unsigned i = 0; i < side_count; i++)
        if (!goes_without[i]) return LANES;
    return 0;
}

/* The lane of this thread in a copy, which asks for one now if it has not. (A scope does; a small block may come from a CPU's TLAB.) */
static uintptr_t lane_by(const side *by)
{
    memarena *scope = by->scope(arena);
    CHECK(scope != NULL && by->alloc(arena, 8) != NULL);
    by->destroy(scope);
    return by->lane();
}

/* Of this thread in all copies it is the same; 0 where there is none. */
static uintptr_t use_all_sides(unsigned first)
{
    uintptr_t lane = 0;
    for (unsigned i = 0; i < side_count; i++) (void)lane_by(sides[(first + i) % side_count]);
    for (unsigned i = 0; i < side_count; i++)
        if (!goes_without[i]) lane = sides[i]->lane();
    for (unsigned i = 0; i < side_count; i++) CHECK_EQ(sides[i]->lane(), goes_without[i] ? 0 : lane);
    return lane;
}

typedef struct lessee {
    pthread_t thread;
    unsigned number;
    uintptr_t lane;
    pthread_barrier_t *have, *go;
} lessee;

static void *lease(void *argument)
{
    lessee *self = argument;
    (void)lane_by(sides[self->number % side_count]);
    pthread_barrier_wait(self->have);
    self->lane = use_all_sides(self->number);
    pthread_barrier_wait(self->have);
    pthread_barrier_wait(self->go);
    return NULL;
}

static void start_lessees(lessee *lessees, unsigned count, pthread_barrier_t *barriers)
{
    CHECK_EQ(pthread_barrier_init(&barriers[0], NULL, count + 1), 0);
    CHECK_EQ(pthread_barrier_init(&barriers[1], NULL, count + 1), 0);
    for (unsigned i = 0; i < count; i++) {
        lessees[i] = (lessee){.number = i, .have = &barriers[0], .go = &barriers[1]};
        lessees[i].thread = test_start(lease, &lessees[i]);
    }
    pthread_barrier_wait(&barriers[0]);
    pthread_barrier_wait(&barriers[0]);
}

static void join_lessees(lessee *lessees, unsigned count, pthread_barrier_t *barriers)
{
    pthread_barrier_wait(&barriers[1]);
    for (unsigned i = 0; i < count; i++) CHECK_EQ(pthread_join(lessees[i].thread, NULL), 0);
    CHECK_EQ(pthread_barrier_destroy(&barriers[0]), 0);
    CHECK_EQ(pthread_barrier_destroy(&barriers[1]), 0);
}

static unsigned count_lanes(const lessee *lessees, unsigned count)
{
    unsigned distinct = 0;
    for (unsigned i = 0; i < count; i++) {
        for (unsigned j = 0; j < i; j++) CHECK(!lessees[i].lane || lessees[i].lane != lessees[j].lane);
        distinct += lessees[i].lane != 0;
    }
    return distinct;
}

/* This thread has none. */
static void every_number_can_be_leased(unsigned taken)
{
    lessee lessees[LANES + 1];
    pthread_barrier_t barriers[2];
    start_lessees(lessees, LANES + 1, barriers);
    CHECK_EQ(count_lanes(lessees, LANES + 1), lanes_expected() ? lanes_expected() - taken : 0);
    join_lessees(lessees, LANES + 1, barriers);
}

static void a_thread_has_one_lane_in_all_copies(void)
{
    create(0);
    every_number_can_be_leased(0);
    memarena_stats stats;
    sides[0]->get_stats(arena, &stats, sizeof stats);
    CHECK_EQ(stats.lanes, lanes_expected());
    destroy();
}

static void its_end_gives_the_number_back_once(void)
{
    create(0);
    for (int i = 0; i < 4; i++) every_number_can_be_leased(0);
    destroy();
}

/* Destructors of a thread before, between and after those of the copies, which are called in the order in which their keys were made. */
static pthread_key_t keys[SIDES + 1];
static void (*at_the_end)(void *argument);

static void call_at_the_end(void *argument)
{
    at_the_end(argument);
}

static void *make_keys(void *unused)
{
    create(0);
    for (unsigned i = 0; i <= side_count; i++) {
        CHECK_EQ(pthread_key_create(&keys[i], call_at_the_end), 0);
        if (i < side_count) CHECK(sides[i]->alloc(arena, 8) != NULL);
    }
    destroy();
    return unused;
}

typedef struct ending {
    log blocks;
    unsigned rounds;
} ending;

static void use_at_the_end(void *argument)
{
    ending *of = argument;
    for (unsigned i = 0; i < 200; i++) stamp(&of->blocks, sides[i % side_count]->alloc(arena, 64), 64);
    for (unsigned i = 0; i < 50; i++) (void)sched_yield();
}

static void *end_in_use(void *argument)
{
    ending *of = argument;
    for (unsigned i = 0; i <= side_count; i++) {
        CHECK_EQ(pthread_setspecific(keys[i], of), 0);
        unsigned number = (i + of->rounds) % side_count;
        stamp(&of->blocks, sides[number]->alloc(arena, 64), 64);
    }
    return NULL;
}

static void destructors_use_a_copy_whose_end_is_to_come(void)
{
    ending endings[40] = {{.rounds = 0}};
    at_the_end = use_at_the_end;
    pthread_t threads[40];
    create(0);
    for (unsigned i = 0; i < 40; i++) {
        endings[i].rounds = i;
        threads[i] = test_start(end_in_use, &endings[i]);
        if (i >= 6) CHECK_EQ(pthread_join(threads[i - 6], NULL), 0);
    }
    for (unsigned i = 34; i < 40; i++) CHECK_EQ(pthread_join(threads[i], NULL), 0);
    for (unsigned i = 0; i < 40; i++) discard(&endings[i].blocks);
    CHECK_EQ(overlaps, 0);
    destroy();
}

/* While destructors of a thread run, some before those of the copies and some after, nobody else has the lane that it still has in one
 * of them. `early` has used its number first, or has found none. */
static const side *early, *late;
static uintptr_t lane_at_the_end;
static pthread_barrier_t in_between;

static void tell_lane(void *unused)
{
    (void)unused;
    lane_at_the_end = lane_by(late);
    pthread_barrier_wait(&in_between);
    pthread_barrier_wait(&in_between);
}

static void *use_two_copies(void *unused)
{
    (void)lane_by(early);
    pthread_barrier_wait(&in_between);
    pthread_barrier_wait(&in_between);
    CHECK(goes_without_lane(late) || lane_by(late) != 0);
    for (unsigned i = 0; i <= side_count; i++) CHECK_EQ(pthread_setspecific(keys[i], &keys[i]), 0);
    return unused;
}

static void *lease_by(void *by)
{
    return (void *)lane_by(by);
}

static void end_with_two_copies(bool finds_none_at_first)
{
    lessee lessees[LANES];
    pthread_barrier_t barriers[2];
    const unsigned count = finds_none_at_first ? LANES : 0;
    CHECK_EQ(pthread_barrier_init(&in_between, NULL, 2), 0);
    start_lessees(lessees, count, barriers);
    pthread_t thread = test_start(use_two_copies, NULL);
    pthread_barrier_wait(&in_between);
    join_lessees(lessees, count, barriers);
    pthread_barrier_wait(&in_between);
    for (unsigned i = 0; i <= side_count; i++) {
        pthread_barrier_wait(&in_between);
        void *lane;
        CHECK_EQ(pthread_join(test_start(lease_by, (void *)(uintptr_t)sides[i % side_count]), &lane), 0);
        CHECK(!lane || (uintptr_t)lane != lane_at_the_end);
        pthread_barrier_wait(&in_between);
    }
    CHECK_EQ(pthread_join(thread, NULL), 0);
    CHECK_EQ(pthread_barrier_destroy(&in_between), 0);
}

static void end_with_each_pair(bool finds_none_at_first)
{
    create(0);
    at_the_end = tell_lane;
    for (unsigned i = 0; i < side_count; i++) {
        early = sides[i], late = sides[(i + 1) % side_count];
        end_with_two_copies(finds_none_at_first);
    }
    every_number_can_be_leased(0);
    destroy();
}

static void the_last_copy_of_a_thread_gives_its_number_back(void)
{
    end_with_each_pair(false);
}

static void a_copy_without_a_lane_gives_back_no_other_copys(void)
{
    end_with_each_pair(true);
}

/* ---- Deferred calls --------------------------------------------------------------------------------------------------- */

/* The reset that runs this call is known to each copy; none repairs what no fork has cut. */
static void try_to_reset(void *unused)
{
    (void)unused;
    for (unsigned i = 0; i < side_count; i++) {
        (void)lane_by(sides[i]);
        CHECK(!sides[i]->reset(arena));
    }
    called++;
}

static void use_scope_in_call(void *scope)
{
    for (unsigned i = 0; i < side_count; i++) CHECK(sides[i]->alloc(scope, 100) != NULL);
}

static void *run_resetting_calls(void *unused)
{
    called = 0;
    for (unsigned i = 0; i < side_count; i++) {
        memarena *scope = sides[i]->scope(arena);
        CHECK(scope && sides[(i + 1) % side_count]->defer(scope, use_scope_in_call, scope));
        sides[(i + side_count - 1) % side_count]->destroy(scope);
        CHECK(sides[i]->defer(arena, try_to_reset, NULL));
        CHECK(sides[(i + 1) % side_count]->reset(arena));
    }
    CHECK_EQ(called, side_count);
    called = deferred = 0;
    return unused;
}

/* ---- Marks ----------------------------------------------------------------------------------------------------------- */

#define MARKS 300

static void *mark_through_both(void *unused)
{
    for (unsigned i = 0; i < side_count; i++) {
        for (unsigned j = 0; j < side_count; j++) {
            memarena *scope = sides[i]->scope(arena);
            memarena_position stale[MARKS], first = sides[j]->mark(scope);
            for (unsigned k = 0; k < MARKS; k++) {
                CHECK(sides[i]->alloc(scope, 8) != NULL);
                stale[k] = sides[i]->mark(scope);
            }
            CHECK(sides[j]->rewind(scope, first));
            for (unsigned k = 0; k < MARKS * 2; k++) {
                CHECK(sides[j]->alloc(scope, 8) != NULL);
                CHECK(sides[j]->rewind(scope, sides[j]->mark(scope)));
            }
            for (unsigned k = 0; k < MARKS; k++) CHECK(!sides[(j + k) % side_count]->rewind(scope, stale[k]));
            CHECK(sides[i]->rewind(scope, first));
            sides[j]->destroy(scope);
        }
    }
    return unused;
}

static void a_stale_mark_of_one_copy_is_none_of_anothers(void)
{
    create(0);
    CHECK_EQ(pthread_join(test_start(mark_through_both, NULL), NULL), 0);
    destroy();
}

/* ---- Plug-ins ---------------------------------------------------------------------------------------------------------- */

typedef struct plugin {
    const char *path;
    int flags;
    bool is_new, is_apart, is_for_child;
    void *handle;
} plugin;

static plugin parse(const char *text)
{
    if (strncmp(text, "child:", 6) == 0) {
        plugin later = parse(text + 6);
        later.is_for_child = true;
        return later;
    }
    static const struct {
        const char *prefix;
        int flags;
        bool is_new, is_apart;
    } ways[] = {{"global:", RTLD_GLOBAL, false, false},
                {"deep:", RTLD_DEEPBIND, false, false},
                {"new:", 0, true, true},
                {"alone:", 0, false, true}};
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        size_t length = strlen(ways[i].prefix);
        if (strncmp(text, ways[i].prefix, length) == 0)
            return (plugin){
                .path = text + length, .flags = ways[i].flags, .is_new = ways[i].is_new, .is_apart = ways[i].is_apart};
    }
    return (plugin){.path = text};
}

static plugin plugins[SIDES];
static unsigned plugin_count;

static const side *open_plugin(plugin *of)
{
    side_get *get;
    of->handle = of->is_new ? OPEN_IN_NEW_NAMESPACE(of->path) : dlopen(of->path, RTLD_NOW | of->flags);
    if (!of->handle) {
        const char *why = dlerror();
        fprintf(stderr, "%s\n", why ? why : of->path);
    }
    CHECK(of->handle != NULL);
    *(void **)&get = dlsym(of->handle, "side_plugin");
    CHECK(get != NULL);
    return get();
}

static bool unload(plugin *of)
{
    CHECK_EQ(dlclose(of->handle), 0);
    of->handle = dlopen(of->path, RTLD_NOW | RTLD_NOLOAD);
    bool is_gone = of->handle == NULL;
    if (!is_gone) CHECK_EQ(dlclose(of->handle), 0);
    of->handle = NULL;
    return is_gone;
}

static void add_side(const side *one, bool is_apart)
{
    CHECK(side_count < SIDES);
    goes_without[side_count] = is_apart;
    sides[side_count++] = one;
}

/* What marks need, of a plug-in that is there for the moment. */
static memarena *marked_scope;
static memarena_position old_marks[MARKS], first_mark;

static void *mark_in_old_copy(void *by)
{
    const side *old = by;
    arena = old->create_with(&(memarena_options){.capacity = CAPACITY});
    marked_scope = old->scope(arena);
    first_mark = old->mark(marked_scope);
    for (unsigned i = 0; i < MARKS; i++) {
        CHECK(old->alloc(marked_scope, 8) != NULL);
        old_marks[i] = old->mark(marked_scope);
    }
    CHECK(old->rewind(marked_scope, first_mark));
    return NULL;
}

static void *mark_in_new_copy(void *by)
{
    const side *new = by;
    for (unsigned i = 0; i < MARKS * 2; i++) CHECK(new->alloc(marked_scope, 8) && new->mark(marked_scope).scope_);
    for (unsigned i = 0; i < MARKS; i++) CHECK(!new->rewind(marked_scope, old_marks[i]));
    CHECK(new->rewind(marked_scope, first_mark));
    new->destroy(marked_scope);
    new->destroy(arena);
    arena = NULL;
    return NULL;
}

static void a_stale_mark_is_one_after_the_last_copy_went(plugin *of)
{
    CHECK_EQ(pthread_join(test_start(mark_in_old_copy, (void *)(uintptr_t)open_plugin(of)), NULL), 0);
    CHECK(unload(of));
    CHECK_EQ(pthread_join(test_start(mark_in_new_copy, (void *)(uintptr_t)open_plugin(of)), NULL), 0);
    CHECK(unload(of));
}

/* ---- The circle -------------------------------------------------------------------------------------------------------- */

#define LIVING 70
/* In so many rounds at first a copy goes only after the next one has come. glibc does not get back the static TLS of a library that
 * is not the last one loaded, and has room for some forty. */
#define OVERLAPS 24

static const side *loaded; /* the plug-in of now */
static const side *host;   /* or NULL */

typedef struct living {
    pthread_t thread;
    unsigned number;
    bool ends; /* after this round */
} living;

static void *live(void *argument)
{
    living *self = argument;
    while (!self->ends) {
        log blocks = {0};
        pthread_barrier_wait(&all); /* the plug-in is there */
        for (unsigned i = 0; i < 20; i++) {
            const side *by = host && (i + self->number) % 2 ? host : loaded;
            size_t size = 16 + (i + self->number) % 5 * 24;
            stamp(&blocks, by->alloc(arena, size), size);
        }
        memarena *scope = loaded->scope(arena);
        CHECK(scope != NULL);
        stamp(&blocks, (host ? host : loaded)->alloc(scope, 100), 100);
        for (int i = 0; i < 2; i++) (void)sched_yield();
        discard(&blocks);
        (host ? host : loaded)->destroy(scope);
        pthread_barrier_wait(&all); /* all are done with it */
        pthread_barrier_wait(&all); /* it is gone */
    }
    return NULL;
}

static unsigned long pages_of_process(void)
{
    unsigned long pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    CHECK(file != NULL && fscanf(file, "%lu", &pages) == 1 && fclose(file) == 0);
    return pages;
}

static void wait_for(pid_t child)
{
    int status = -1;
    CHECK(child > 0);
    CHECK_EQ(waitpid(child, &status, 0), child);
    CHECK_EQ(status, 0);
}

/* The copy that made the arena is gone, and with it its handler of forks. The lane of this thread is its own in the child, too. */
static void the_program_alone_forks(plugin *last)
{
    side_count = 1;
    CHECK(sides[0] == host && unload(last) && lane_by(host) != 0);
    pid_t child = fork();
    if (child == 0) {
        every_number_can_be_leased(1);
        _exit(0);
    }
    wait_for(child);
}

static void copies_come_and_go_while_threads_live(unsigned long rounds)
{
    living threads[LIVING];
    unsigned long warm = 0, last_ones = 0;
    const unsigned long warm_after = rounds / 5;
    CHECK_EQ(pthread_barrier_init(&all, NULL, LIVING + 1), 0);
    for (unsigned i = 0; i < LIVING; i++) {
        threads[i] = (living){.number = i};
        threads[i].thread = test_start(live, &threads[i]);
    }
    for (unsigned long round = 0; round < rounds; round++) {
        const bool is_over = round + 1 == rounds;
        plugin *now = &plugins[round % plugin_count], *before = &plugins[(round + plugin_count - 1) % plugin_count];
        loaded = open_plugin(now);
        if (before->handle && before != now) CHECK(unload(before));
        if (!arena) {
            arena = loaded->create_with(&(memarena_options){.capacity = CAPACITY});
            CHECK(arena != NULL);
        }
        pthread_barrier_wait(&all);
        pthread_barrier_wait(&all);
        CHECK((host ? host : loaded)->reset(arena));
        if ((round % 3 == 0 || round > OVERLAPS) && !is_over) { /* else only when the next one is there */
            CHECK(unload(now));
            last_ones += !host;
        }
        if (round == warm_after) warm = pages_of_process(), last_ones = 0;
        for (unsigned i = 0; i < LIVING; i++) threads[i].ends = is_over || (round + i) % 23 == 0;
        pthread_barrier_wait(&all);
        for (unsigned i = 0; i < LIVING; i++) {
            if (!threads[i].ends) continue;
            CHECK_EQ(pthread_join(threads[i].thread, NULL), 0);
            threads[i].ends = false;
            if (!is_over) threads[i].thread = test_start(live, &threads[i]);
        }
    }
    CHECK_EQ(overlaps, 0);
    unsigned long grown = pages_of_process() - warm;
    printf("  %lu pages more after %lu rounds, %lu times the last copy went\n", (long)grown > 0 ? grown : 0,
           rounds - warm_after, last_ones);
    CHECK((long)grown <= (long)(2 * last_ones + 64));
    CHECK_EQ(pthread_barrier_destroy(&all), 0);
    add_side(loaded, false);
    every_number_can_be_leased(0);
    if (host) the_program_alone_forks(&plugins[(rounds - 1) % plugin_count]);
    exit(test_done());
}

/* ---- Fork ---------------------------------------------------------------------------------------------------------------- */

static bool may_stop;

static void *disturb(void *argument)
{
    unsigned long long state = seed_of((uintptr_t)argument);
    log blocks = {0};
    while (!__atomic_load_n(&may_stop, __ATOMIC_RELAXED)) {
        bool is_full = sides[0]->allocated_bytes(arena) > CAPACITY / 4;
        for (unsigned i = 0; i < 20 && !is_full; i++) take(any_side(&state), arena, &state, &blocks);
        use_scope(&state);
        look(&blocks, 0);
    }
    discard(&blocks);
    return NULL;
}

/* What threads of the parent had handed out is the child's to look at, too; what lost threads were in the middle of is not. */
static void live_as_child(log *blocks, memarena *scope, const side *by, unsigned taken)
{
    handed_over = NULL;
    deferred = called = 0;
    every_number_can_be_leased(taken);
    unsigned long long state = seed_of(77);
    for (unsigned i = 0; i < 500; i++) take(any_side(&state), arena, &state, blocks);
    discard(blocks);
    by->destroy(scope);
    CHECK_EQ(overlaps, 0);
    for (unsigned i = 0; i < plugin_count; i++)
        if (plugins[i].is_for_child) add_side(open_plugin(&plugins[i]), true);
    create(0);
    (void)run_resetting_calls(NULL);
    run_workers(2, 500);
    CHECK_EQ(overlaps, 0);
    _exit(0);
}

static void children_of_fork_go_on(void)
{
    pthread_t threads[WORKERS];
    unsigned long long state = seed_of(5);
    create(0);
    for (uintptr_t i = 0; i < WORKERS; i++) threads[i] = test_start(disturb, (void *)i);
    for (unsigned i = 0; i < 20; i++) {
        log blocks = {0};
        for (unsigned k = 0; k < 500; k++) take(any_side(&state), arena, &state, &blocks);
        const side *by = any_side(&state);
        memarena *scope = by->scope(arena);
        CHECK(scope != NULL);
        take(any_side(&state), scope, &state, &blocks);
        pid_t child = fork();
        if (child == 0) live_as_child(&blocks, scope, by, 1);
        for (unsigned k = 0; k < 500; k++) take(any_side(&state), arena, &state, &blocks);
        discard(&blocks);
        any_side(&state)->destroy(scope);
        wait_for(child);
    }
    __atomic_store_n(&may_stop, true, __ATOMIC_RELAXED);
    for (unsigned i = 0; i < WORKERS; i++) CHECK_EQ(pthread_join(threads[i], NULL), 0);
    CHECK_EQ(overlaps, 0);
}

/* ---- All of it ------------------------------------------------------------------------------------------------------------ */

static void deferred_calls_hold_up_every_copys_reset(void)
{
    create(0);
    CHECK_EQ(pthread_join(test_start(run_resetting_calls, NULL), NULL), 0);
    destroy();
}

static void a_few_blocks_are_apart(void)
{
    create(0);
    run_workers(2, 100);
    CHECK_EQ(overlaps, 0);
    destroy();
}

static void run_mix(void)
{
    CHECK_EQ(pthread_join(test_start(make_keys, NULL), NULL), 0);
    RUN(a_stale_mark_of_one_copy_is_none_of_anothers);
    RUN(small_blocks_of_each_copy_are_apart);
    RUN(the_blocks_of_all_copies_are_apart);
    RUN(and_so_they_are_per_cpu);
    RUN(a_thread_has_one_lane_in_all_copies);
    RUN(its_end_gives_the_number_back_once);
    RUN(deferred_calls_hold_up_every_copys_reset);
    RUN(destructors_use_a_copy_whose_end_is_to_come);
    RUN(the_last_copy_of_a_thread_gives_its_number_back);
    RUN(a_copy_without_a_lane_gives_back_no_other_copys);
}

int main(int argc, char **argv)
{
    if (argc < 2)
        return fputs("usage: copies mix SIDE... | few SIDE... | circle ROUNDS SIDE... | fork SIDE...\n", stderr), 2;
    bool is_circle = strcmp(argv[1], "circle") == 0;
    int first = is_circle ? 3 : 2, count = argc - first;
    CHECK(count >= 0 && count <= SIDES);
    for (int i = 0; i < count; i++) plugins[plugin_count++] = parse(argv[first + i]);
    if (side_host) add_side(side_host(), false);
    if (side_second) add_side(side_second(), false);
    if (is_circle) {
        host = side_host ? side_host() : NULL;
        a_stale_mark_is_one_after_the_last_copy_went(&plugins[0]);
        copies_come_and_go_while_threads_live(strtoul(argv[2], NULL, 10));
    }
    for (int i = 0; i < count; i++)
        if (!plugins[i].is_for_child) add_side(open_plugin(&plugins[i]), plugins[i].is_apart);
    if (strcmp(argv[1], "fork") == 0)
        RUN(children_of_fork_go_on);
    else if (strcmp(argv[1], "few") == 0)
        RUN(a_few_blocks_are_apart);
    else
        run_mix();
    return test_done();
}
