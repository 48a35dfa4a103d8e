/* Scopes: every two calls, in every schedule with up to three preemptions, and every three calls with two (see
 * race_steps.c); and an actor sleeps at access n while the arena is reset k times. The calls: a scope is opened, and grows
 * by extents from the shared stacks; one ends whose extents stay in the lane, or go to the stacks; the first extent of a
 * stack goes and comes back without the second; one is kept, with a deferred call; the arena's own block takes a free extent; a reset; a deferred call. With
 * lanes, and without (then every extent is on a shared stack); in an arena that is fresh, used, used before a reset, or
 * full but for what is free in extents.
 *
 * Throughout: a reset is refused when a scope was open all the while; it is not when no scope nor defer was in its way.
 * After each schedule: no block overlaps another one, as all that is free is taken while scopes are open; the number of
 * open scopes is exact; when they have ended the arena has what its own blocks take and no more; deferred calls have
 * run once; and a reset makes it whole. */
#define STOPS_ONE_IN 1
#include "steps.h"

#include <errno.h>
#include <signal.h>

#define KIB ((size_t)1 << 10)
enum { ACTORS = 3, SLOTS = 32, BLOCKS = 8, OWN_BLOCKS = 1024, CALLS = 64 };
#define LARGE ((size_t)9000) /* with its head in an extent too large for a lane's cache */
#define MOST_PER_EXTENT (64 * KIB)

static _Alignas(128) char buffer[(1 << 20) + (64 << 10)];
static memarena *arena;
static actor actors[ACTORS];
static test_log taken;
static unsigned long schedules;

/* A block with its own number in its first and last bytes. */
typedef struct block {
    uint32_t *at;
    size_t size;
    uint32_t number;
    uint64_t generation;
} block;

typedef struct slot {
    memarena *scope; /* NULL: has ended, or is about to */
    uint64_t generation;
    unsigned block_count;
    block blocks[BLOCKS];
} slot;

static slot slots[SLOTS];
static block own_blocks[OWN_BLOCKS]; /* the arena's */
static unsigned slot_count, own_count;
static uint32_t block_number;
static slot *prepared[ACTORS], *shared_parent, *to_end;
static unsigned prepared_for;
/* At most this much went to blocks of which we cannot know the generation, or to their rests. */
static size_t raced_bytes;
static unsigned under_way, activity; /* calls for which a reset may be refused */
static unsigned resets_under_way;
static uint64_t generation;
static bool is_full;
static struct call {
    unsigned accepted, runs;
} calls[CALLS];
static unsigned call_count;

static unsigned me(void)
{
    return (unsigned)(on_stage - actors);
}

/* ---- Blocks and scopes ------------------------------------------------------------------------------------------- */

/* (Not looked at by weak.c: a reset may come while the arena's own blocks are written.) */
__attribute__((noinline, no_sanitize("thread"))) static block fill_block(void *at, size_t size, uint64_t born)
{
    block filled = {at, size, ++block_number, born};
    filled.at[0] = filled.at[size / 4 - 1] = filled.number;
    return filled;
}

static void check_block(const block *self)
{
    CHECK(self->at[0] == self->number && self->at[self->size / 4 - 1] == self->number);
}

/* Whatever the one who asks has seen of it. */
__attribute__((noinline, no_sanitize("thread"))) static uint64_t generation_of_all(void)
{
    return ma_arena_of(arena)->pool.generation;
}

static bool take(slot *self, size_t size)
{
    void *at = memarena_alloc_aligned(self->scope, size, 8);
    if (!at) return false;
    CHECK(self->block_count < BLOCKS);
    self->blocks[self->block_count++] = fill_block(at, size, self->generation);
    STEPS_KNOW(weak_use(at, size));
    return true;
}

/* No generation ends under an open scope. */
static void check_slot(const slot *self)
{
    for (unsigned i = 0; i < self->block_count; i++) check_block(&self->blocks[i]);
    CHECK_EQ(memarena_generation(arena), self->generation);
}

static slot *open_in(memarena *parent)
{
    under_way++, activity++;
    memarena *scope = memarena_scope(parent);
    slot *self = scope ? &slots[slot_count++] : NULL;
    CHECK((scope || is_full) && slot_count <= SLOTS);
    if (scope) *self = (slot){.scope = scope, .generation = memarena_generation(arena)};
    under_way--;
    return self;
}

static void end_slot(slot *self)
{
    memarena *scope = self->scope;
    check_slot(self);
    under_way++, activity++;
    self->scope = NULL;
    memarena_destroy(scope);
    under_way--;
}

static uint64_t open_slots(void)
{
    uint64_t mask = 0;
    for (unsigned i = 0; i < slot_count; i++) mask |= (uint64_t)(slots[i].scope != NULL) << i;
    return mask;
}

/* ---- Acts -------------------------------------------------------------------------------------------------------- */

static void act_open(void)
{
    slot *self = open_in(arena);
    if (self) (void)take(self, 100);
}

static void act_open_and_grow(void)
{
    slot *self = open_in(arena);
    if (self && take(self, LARGE) && take(self, LARGE)) check_slot(self);
}

static void act_open_grow_and_end(void)
{
    slot *self = open_in(arena);
    if (!self) return;
    if (take(self, 2000)) (void)take(self, LARGE);
    end_slot(self);
}

/* Two extents leave the stack, and the one that was first there comes back alone. */
static void act_swap_extents(void)
{
    slot *one = open_in(arena), *two = one && take(one, LARGE) ? open_in(arena) : NULL;
    if (two) (void)take(two, LARGE);
    if (one) end_slot(one);
}

static void act_open_in_scope(void)
{
    slot *self = open_in(shared_parent ? shared_parent->scope : arena);
    if (!self) return;
    (void)take(self, LARGE);
    end_slot(self);
}

static void prepare_small(void)
{
    prepared[prepared_for] = open_in(arena);
    CHECK(take(prepared[prepared_for], 200));
}

static void prepare_large(void)
{
    prepare_small();
    CHECK(take(prepared[prepared_for], LARGE) && take(prepared[prepared_for], LARGE));
}

static void count_run(void *argument);

static void prepare_to_keep(void)
{
    prepare_small();
    slot *self = prepared[prepared_for];
    CHECK(take(self, 3000) && call_count < CALLS);
    struct call *call = &calls[call_count++];
    may_wait = true;
    call->accepted = memarena_defer(self->scope, count_run, call);
    CHECK(call->accepted);
}

static void prepare_parent(void)
{
    if (!shared_parent) shared_parent = open_in(arena);
}

static void act_end(void)
{
    end_slot(prepared[me()]);
}

static void act_end_this(void)
{
    end_slot(to_end);
}

/* A scope with blocks and a deferred call, which are all to live on. */
static void act_keep(void)
{
    slot *self = prepared[me()];
    memarena *scope = self->scope;
    check_slot(self);
    under_way++, activity++;
    self->scope = NULL;
    CHECK(memarena_keep(scope));
    under_way--;
    for (unsigned i = 0; i < self->block_count; i++) {
        CHECK(own_count < OWN_BLOCKS);
        own_blocks[own_count++] = self->blocks[i];
    }
    raced_bytes += 2 * MOST_PER_EXTENT; /* (extents count whole) */
}

/* A block of the arena itself; from a free extent if the arena is full. */
static void take_own(size_t size)
{
    uint64_t before = memarena_generation(arena);
    void *at = memarena_alloc_aligned(arena, size, 8);
    if (!at) return;
    if (is_full) raced_bytes += MOST_PER_EXTENT;
    step(&ma_arena_of(arena)->pool.generation, false);
    if (generation_of_all() == before) {
        CHECK(own_count < OWN_BLOCKS);
        own_blocks[own_count++] = fill_block(at, size, before);
    } else {
        raced_bytes += size;
    }
}

static void act_take(void)
{
    take_own(LARGE);
}

static void act_reset(void)
{
    uint64_t open = open_slots();
    bool is_alone = call_count == 0 || resets_under_way == 0; /* else that one may be running deferred calls */
    bool is_quiet = STEPS_SEEN_AT_ONCE && under_way == 0 && is_alone && open == 0;
    unsigned before = activity += call_count != 0;
    resets_under_way++;
    bool done = memarena_reset(arena);
    int error = errno;
    resets_under_way--;
    if (done) {
        generation++;
        CHECK_EQ(open & open_slots(), 0);
    } else {
        CHECK_EQ(error, EBUSY);
        CHECK(!is_quiet || activity != before);
    }
}

static void count_run(void *argument)
{
    uint64_t now = memarena_generation(arena);
    ((struct call *)argument)->runs++;
    CHECK_EQ(memarena_generation(arena), now); /* blocks are still alive */
}

static void act_defer(void)
{
    CHECK(call_count < CALLS);
    struct call *call = &calls[call_count++];
    under_way++, activity++;
    may_wait = true; /* nobody may end a generation whose deferred calls are running */
    call->accepted = memarena_defer(arena, count_run, call);
    under_way--;
    raced_bytes += is_full ? MOST_PER_EXTENT : 24 * ACTORS; /* (taken again where a reset came between) */
}

typedef struct act {
    const char *name;
    void (*act)(void), (*prepare)(void);
    bool by_another; /* it is another actor who prepares this */
} act;

static const act acts[] = {
    {"open", act_open, NULL, false},
    {"open and grow", act_open_and_grow, NULL, false},
    {"open, grow and end", act_open_grow_and_end, NULL, false},
    {"swap extents", act_swap_extents, NULL, false},
    {"open in a scope", act_open_in_scope, prepare_parent, true},
    {"end small", act_end, prepare_small, false},
    {"end another's", act_end, prepare_small, true},
    {"end large", act_end, prepare_large, false},
    {"keep", act_keep, prepare_to_keep, false},
    {"keep another's", act_keep, prepare_to_keep, true},
    {"take", act_take, NULL, false},
    {"defer", act_defer, NULL, false},
    {"reset", act_reset, NULL, false},
};
#define ACTS (sizeof acts / sizeof *acts)
static const act *const taker = &acts[ACTS - 3];

/* ---- Scenes: how the arena was used before ----------------------------------------------------------------------- */

static void act_fill_own(void)
{
    for (size_t size = 64 * KIB; size >= 8; size = size / 2 & ~(size_t)7) {
        unsigned before;
        do {
            before = own_count;
            take_own(size);
        } while (own_count > before);
    }
}

static void end_by(unsigned number, slot *self)
{
    to_end = self;
    actor_do(&actors[number], act_end_this);
}

/* Several extents of each size lie on the stacks, and one scope is ready in each lane. */
static void scene_used(void)
{
    unsigned first = slot_count;
    for (unsigned i = 0; i < ACTORS; i++) actor_do(&actors[i], act_open_and_grow);
    for (unsigned i = 0; i < ACTORS; i++) end_by(i, &slots[first + i]);
}

static void scene_used_before_a_reset(void)
{
    scene_used();
    actor_do(&actors[0], act_open);
    end_by(1, &slots[slot_count - 1]); /* so that no scope is ready in the first lane */
    actor_do(&actors[2], act_reset);
}

/* Only what this scope gives back is free. */
static void scene_full(void)
{
    slot *last = &slots[slot_count];
    actor_do(&actors[2], act_open_and_grow);
    actor_do(&actors[2], act_fill_own);
    is_full = true;
    end_by(2, last);
}

static const struct scene {
    const char *name;
    void (*set)(void);
    size_t bytes;
} scenes[] = {
    {"fresh", NULL, sizeof buffer},
    {"used", scene_used, sizeof buffer},
    {"used before a reset", scene_used_before_a_reset, sizeof buffer},
    {"full", scene_full, sizeof buffer},
    {"used, without lanes", scene_used, 160 * KIB},
    {"full, without lanes", scene_full, 160 * KIB},
};
#define SCENES (sizeof scenes / sizeof *scenes)

static void begin(const struct scene *scene, const act *const *played)
{
    schedules++;
    actors_lease(actors, ACTORS);
    memarena_options options = {.buffer = buffer, .capacity = scene->bytes};
    arena = memarena_create_with(&options);
    CHECK(arena != NULL);
    memset(calls, 0, sizeof calls);
    slot_count = own_count = call_count = under_way = resets_under_way = activity = 0;
    shared_parent = NULL;
    is_full = false;
    generation = 1;
    may_wait = false;
    if (scene->set && scene->set != scene_full) scene->set();
    for (unsigned i = 0; i < ACTORS; i++) {
        prepared_for = i;
        if (!played[i] || !played[i]->prepare) continue;
        actor_do(&actors[played[i]->by_another ? (i + 1) % ACTORS : i], played[i]->prepare);
    }
    if (scene->set == scene_full) scene->set();
    raced_bytes = 0;
    trace_begins(actors, ACTORS);
    STEPS_KNOW(weak_begin(test_seed(schedules), buffer, sizeof buffer));
}

/* ---- What must hold at the end ----------------------------------------------------------------------------------- */

/* Scopes that take all there is, first what lies on the stacks where the acts have been. */
static memarena *takers[ACTORS];

static void record(void *at, size_t size)
{
    *(uint32_t *)at = 0; /* over the number of a block that lies there, if one does */
    test_record(&taken, 1, at, size);
}

static void act_take_some(void)
{
    memarena *scope = takers[me()] = memarena_scope(arena);
    void *at;
    for (unsigned i = 0; scope && i < 4 && (at = memarena_alloc_aligned(scope, LARGE, 8)) != NULL; i++)
        record(at, LARGE);
}

static void act_take_all(void)
{
    static const size_t sizes[] = {500000, 100000, 30000, LARGE, 3000, 1000 - 16};
    memarena *scope = takers[me()];
    for (unsigned i = me() == 0 ? 0 : 4; scope && i < sizeof sizes / sizeof *sizes; i++) /* others: from their caches */
        for (void *at; (at = memarena_alloc_aligned(scope, sizes[i], 8)) != NULL;) record(at, sizes[i]);
    CHECK(scope || memarena_scope(arena) == NULL);
}

static void act_end_taker(void)
{
    if (takers[me()]) memarena_destroy(takers[me()]);
}

static void act_check_whole(void)
{
    size_t capacity = memarena_capacity(arena) & ~(size_t)7;
    CHECK(memarena_reset(arena));
    CHECK_EQ(memarena_allocated_bytes(arena), 0);
    CHECK(memarena_alloc_aligned(arena, capacity, 8) != NULL);
    CHECK_EQ(memarena_allocated_bytes(arena), capacity);
}

static void check_no_overlap(void)
{
    for (unsigned i = 0; i < own_count; i++) {
        if (own_blocks[i].generation != generation) continue;
        check_block(&own_blocks[i]);
        test_record(&taken, 1, own_blocks[i].at, own_blocks[i].size);
    }
    for (unsigned i = 0; i < slot_count; i++) {
        if (!slots[i].scope) continue;
        check_slot(&slots[i]);
        for (unsigned j = 0; j < slots[i].block_count; j++)
            test_record(&taken, 1, slots[i].blocks[j].at, slots[i].blocks[j].size);
    }
    (void)test_check_blocks(arena, &taken);
}

static uint64_t of_block(const block *self)
{
    return mix(self->size, &(uint64_t[]){(uintptr_t)self->at, self->generation}, 16);
}

/* What all that comes depends on. Who was first does not matter. */
static uint64_t state(void)
{
    uint64_t hash = mix(ma_process()->leased, buffer, ma_pool_base(&ma_arena_of(arena)->pool, 0) - (uintptr_t)buffer);
    for (unsigned i = 0; i < ACTORS; i++) hash = mix(hash, &actors[i].lane_offset, sizeof actors[i].lane_offset);
    hash = mix(hash, &(uint64_t[]){generation, raced_bytes}, 16);
    for (unsigned i = 0; i < slot_count; i++) {
        hash += mix(1, &(uint64_t[]){(uintptr_t)slots[i].scope, slots[i].generation}, 16);
        for (unsigned j = 0; slots[i].scope && j < slots[i].block_count; j++) hash += of_block(&slots[i].blocks[j]);
    }
    for (unsigned i = 0; i < own_count; i++) hash += of_block(&own_blocks[i]);
    for (unsigned i = 0; i < call_count; i++) hash += mix(2, &calls[i], sizeof calls[i]);
    return hash;
}

static void end(void)
{
    if (is_known_end(state, false)) {
        memarena_destroy(arena);
        return;
    }
    actors_meet(actors, ACTORS);
    STEPS_KNOW(weak_end());
    CHECK_EQ(memarena_generation(arena), generation);
    CHECK_EQ(test_stats(arena).open_scopes, __builtin_popcountll(open_slots()));
    if (shared_parent) {
        memarena_stats stats = test_stats(shared_parent->scope);
        CHECK(stats.open_scopes == 0 && stats.allocated_bytes == 0 && stats.held_bytes == KIB);
    }
    taken.count = 0;
    for (unsigned i = 0; i < ACTORS; i++) actor_do(&actors[i], act_take_some);
    for (unsigned i = 0; i < ACTORS; i++) actor_do(&actors[i], act_take_all);
    CHECK_EQ(test_stats(arena).free_extent_bytes, 0);
    check_no_overlap();
    for (unsigned i = 0; i < ACTORS; i++) actor_do(&actors[i], act_end_taker);
    for (unsigned i = slot_count; i-- > 0;) {
        if (slots[i].scope) end_by(i % ACTORS, &slots[i]);
    }
    memarena_stats stats = test_stats(arena);
    CHECK_EQ(stats.open_scopes, 0);
    size_t own = 0;
    for (unsigned i = 0; i < own_count; i++)
        if (own_blocks[i].generation == generation) own += test_rounded(own_blocks[i].size);
    CHECK(stats.allocated_bytes >= own && stats.allocated_bytes <= own + raced_bytes);
    actor_do(&actors[1], act_check_whole);
    memarena_destroy(arena);
    for (unsigned i = 0; i < call_count; i++) CHECK_EQ(calls[i].runs, calls[i].accepted);
}

#define CASTS_ONE_IN 16

/* ---- Plays ------------------------------------------------------------------------------------------------------- */

/* Named when a check fails, since the stack does not say. */
static struct {
    const struct scene *scene;
    const act *acts[ACTORS];
    const steps_shape *shape;
    unsigned stops[2], again, resets;
} playing;
static void say_what_was_played(int signal)
{
    (void)signal;
    fprintf(stderr, "while playing: %s: %s to %d", playing.scene->name, playing.acts[0]->name, (int)playing.stops[0]);
    if (playing.acts[1]) fprintf(stderr, ", %s to %d", playing.acts[1]->name, (int)playing.stops[1]);
    if (playing.acts[2])
        fprintf(stderr, ", %s, in shape %d", playing.acts[2]->name, (int)(playing.shape - steps_shapes));
    fprintf(stderr, ", %s by %d, %u resets\n", playing.acts[0]->name, (int)playing.again, playing.resets);
}

/* `one` stops at n, `two` at m, `one` again k accesses later, `two` goes on, then `one`. */
static void play_two(unsigned n, unsigned m, unsigned k)
{
    playing.stops[0] = n, playing.stops[1] = m, playing.again = k;
    begin(playing.scene, playing.acts);
    (void)actor_begin(&actors[0], playing.acts[0]->act, n);
    (void)actor_begin(&actors[1], playing.acts[1]->act, m);
    (void)actor_go(&actors[0], k);
    go_on(&actors[1], &actors[0]);
    end();
}

static void play_three(unsigned n, unsigned m)
{
    void (*const played[])(void) = {playing.acts[0]->act, playing.acts[1]->act, playing.acts[2]->act};
    playing.stops[0] = n, playing.stops[1] = m, playing.again = STEPS_ALL;
    begin(playing.scene, playing.acts);
    actors_play(actors, played, playing.shape, n, m);
    end();
}

static void every_two_calls_with_three_preemptions(void)
{
    for (size_t one = 0; one < ACTS; one++)
        for (size_t two = 0; two < ACTS; two++) {
            playing.acts[0] = &acts[one], playing.acts[1] = &acts[two], playing.acts[2] = NULL;
            for (playing.scene = scenes; playing.scene < scenes + SCENES; playing.scene++)
                schedules_of_two(actors, play_two);
        }
}

static void set_cast(size_t number)
{
    playing.acts[0] = &acts[number / ACTS / ACTS];
    playing.acts[1] = &acts[number / ACTS % ACTS];
    playing.acts[2] = &acts[number % ACTS];
}

static void every_three_calls_with_two_preemptions(void)
{
    for (size_t cast = 0; cast < ACTS * ACTS * ACTS; cast++) {
        set_cast(cast);
        for (playing.scene = scenes; playing.scene < scenes + SCENES; playing.scene++)
            for (playing.shape = steps_shapes; playing.shape < steps_shapes + STEPS_SHAPES; playing.shape++)
                if (is_played(CASTS_ONE_IN)) schedules_of_three(actors, playing.shape, play_three);
    }
}

#ifndef STEPS_WEAK
static void schedules_that_are_left_out_end_like_others(void)
{
    playing.scene = &scenes[1];
    for (size_t one = 0; one < ACTS; one++)
        for (size_t two = 0; two < ACTS; two++) {
            if (!is_drawn(4)) continue;
            playing.acts[0] = &acts[one], playing.acts[1] = &acts[two], playing.acts[2] = NULL;
            left_out_of_two(actors, play_two);
        }
    for (size_t cast = 0; cast < ACTS * ACTS * ACTS; cast++) {
        set_cast(cast);
        for (playing.shape = steps_shapes; playing.shape < steps_shapes + STEPS_SHAPES; playing.shape++)
            if (is_drawn(4 * CASTS_ONE_IN)) left_out_of_three(actors, playing.shape, play_three);
    }
}
#endif

/* So that no word of the pool is again as it was, to the bit, when its narrow tag has come round: that is given up. */
static void act_shift(void)
{
    take_own(20000);
    for (int i = 0; i < 10; i++) take_own(400);
}

#define SLEEPERS_ONE_IN 2

/* k resets while `sleeper` is stopped; in the last two generations the same extents are used as when it fell asleep. */
static void play_sleeper(const struct scene *scene, const act *sleeper, unsigned k)
{
    bool finished = false;
    for (unsigned n = 0; !finished; n++) {
        if (n > 0 && !is_played(SLEEPERS_ONE_IN)) continue;
        playing.scene = scene, playing.acts[0] = sleeper, playing.acts[1] = playing.acts[2] = NULL;
        playing.stops[0] = n, playing.again = STEPS_ALL, playing.resets = k;
        begin(scene, playing.acts);
        finished = actor_begin(&actors[0], sleeper->act, n);
        for (unsigned i = 0; i < k; i++) {
            if (!actor_begin(&actors[1], act_reset, STEPS_ALL)) go_on(&actors[0], &actors[1]);
            if (generation > 1) is_full = false;
            if (i + 2 < k) continue;
            if (generation > 1) actor_do(&actors[1], act_shift);
            actor_do(&actors[1], act_open_grow_and_end);
        }
        if (generation > 1) actor_do(&actors[1], act_open_and_grow);
        raced_bytes += MOST_PER_EXTENT;
        go_on(&actors[0], &actors[0]);
        end();
    }
    playing.resets = 0;
}

static void a_call_sleeps_while_the_arena_is_reset_many_times(void)
{
    static const unsigned counts[] = {1, 2, 3, 15, 16, 17, 33};
    for (unsigned scene = 0; scene < SCENES; scene++)
        for (size_t sleeper = 0; sleeper < ACTS; sleeper++)
            for (size_t i = 0; i < sizeof counts / sizeof *counts; i++)
                play_sleeper(&scenes[scene], &acts[sleeper], counts[i]);
}

/* As many as the tag of a stack can count. */
static void a_block_sleeps_until_the_tags_come_round(void)
{
    for (unsigned scene = 0; scene < SCENES; scene++)
        for (unsigned k = 4095; k <= 4097; k++) play_sleeper(&scenes[scene], taker, k);
}

int main(void)
{
    if (TEST_TSAN) SKIP("one actor at a time: nothing here is a race to ThreadSanitizer");
    signal(SIGABRT, say_what_was_played);
    actors_enter(actors, ACTORS);
    begin(&scenes[0], playing.acts);
    if (test_watched(arena)) SKIP("a watched arena has no lanes");
    memarena_destroy(arena);
#ifndef STEPS_WEAK
    RUN(schedules_that_are_left_out_end_like_others);
#endif
    RUN(every_two_calls_with_three_preemptions);
    RUN(every_three_calls_with_two_preemptions);
    RUN(a_call_sleeps_while_the_arena_is_reset_many_times);
    RUN(a_block_sleeps_until_the_tags_come_round);
    actors_leave(actors, ACTORS);
    test_forget(&taken);
    printf("%lu schedules\n", schedules);
    return test_done();
}
