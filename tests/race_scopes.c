/* Scopes against each other, against resets, and handed from thread to thread: nobody writes into another one's blocks, no
 * generation ends under an open scope, and what was given back is whole in the end. */
#include "threads.h"
#include "yield.h"

#include <errno.h>
#include <string.h>

#define THREADS 4u
#define BLOCKS_MAX 40u
#define CAPACITY ((size_t)8 << 20)

typedef struct request {
    memarena *scope;
    uint64_t generation; /* of the arena when the scope was open */
    unsigned count;
    struct {
        unsigned char *bytes;
        size_t size;
        unsigned char value;
    } blocks[BLOCKS_MAX];
} request;

static struct {
    memarena *arena;
    request *handed_over[8]; /* from one thread to whoever comes */
    bool resets;
    long rounds;
    unsigned long refused_resets, resets_done;
} race;

static void add_blocks(request *self, unsigned count, size_t most, unsigned long long *random)
{
    while (count-- > 0 && self->count < BLOCKS_MAX) {
        size_t size = test_between(random, 1, test_random(random) % 16 ? 200 : most);
        unsigned char *bytes = memarena_alloc_aligned(self->scope, size, 8);
        if (!bytes) return; /* full just now */
        unsigned char value = (unsigned char)test_random(random);
        memset(bytes, value, size);
        self->blocks[self->count].bytes = bytes;
        self->blocks[self->count].size = size;
        self->blocks[self->count++].value = value;
    }
}

static void check_blocks(const request *self)
{
    for (unsigned i = 0; i < self->count; i++) {
        const unsigned char *bytes = self->blocks[i].bytes;
        size_t size = self->blocks[i].size;
        CHECK(bytes[0] == self->blocks[i].value && memcmp(bytes, bytes + 1, size - 1) == 0);
    }
}

static request *begin(void)
{
    request *self = calloc(1, sizeof *self);
    CHECK(self != NULL);
    self->scope = memarena_scope(race.arena);
    if (!self->scope) {
        free(self);
        return NULL;
    }
    self->generation = memarena_generation(race.arena);
    return self;
}

static void end(request *self)
{
    if (!self) return;
    check_blocks(self);
    CHECK_EQ(memarena_generation(race.arena), self->generation);
    memarena_destroy(self->scope);
    free(self);
}

static void go_back(request *self, unsigned long long *random)
{
    memarena_position mark = memarena_mark(self->scope);
    size_t before = memarena_allocated_bytes(self->scope);
    unsigned count = self->count;
    if (mark.scope_ == NULL) return; /* full */
    add_blocks(self, 10, 20000, random);
    check_blocks(self);
    self->count = count;
    CHECK(memarena_rewind(self->scope, mark));
    CHECK_EQ(memarena_allocated_bytes(self->scope), before);
}

static void *serve(void *argument)
{
    unsigned long long random = test_seed((unsigned long long)(uintptr_t)argument);
    for (long round = 0; round < race.rounds; round++) {
        request *self = begin();
        if (!self) continue;
        add_blocks(self, 1 + (unsigned)(test_random(&random) % 20), 100000, &random);
        if (test_random(&random) % 4 == 0) go_back(self, &random);
        if (test_random(&random) % 4 == 0) {
            memarena *inner = memarena_scope(self->scope);
            if (inner && memarena_alloc(inner, 3000)) CHECK(memarena_allocated_bytes(inner) >= 3000);
            if (inner) memarena_destroy(inner);
        }
        if (test_random(&random) % 4 == 0)
            self = __atomic_exchange_n(&race.handed_over[test_random(&random) % 8], self, __ATOMIC_ACQ_REL);
        end(self);
    }
    return NULL;
}

static void *reset_often(void *argument)
{
    (void)argument;
    for (long round = 0; round < 4 * race.rounds; round++) {
        if (memarena_reset(race.arena))
            __atomic_fetch_add(&race.resets_done, 1, __ATOMIC_RELAXED);
        else
            __atomic_fetch_add(&race.refused_resets, errno == EBUSY, __ATOMIC_RELAXED);
        if (round % 16 == 0) (void)test_give_way();
    }
    return NULL;
}

static void run_race(unsigned threads, bool resets, long rounds)
{
    pthread_t members[THREADS + 1];
    race.arena = test_create(CAPACITY);
    CHECK(race.arena != NULL);
    race.rounds = rounds;
    race.refused_resets = race.resets_done = 0;
    for (unsigned i = 0; i < threads; i++) members[i] = test_start(serve, (void *)(uintptr_t)(i + 400));
    if (resets) members[threads] = test_start(reset_often, NULL);
    for (unsigned i = 0; i < threads + resets; i++) test_join(members[i]);
    for (unsigned i = 0; i < 8; i++) {
        end(race.handed_over[i]);
        race.handed_over[i] = NULL;
    }
    if (resets) CHECK_EQ(race.refused_resets + race.resets_done, 4 * rounds);
    memarena_stats stats;
    memarena_get_stats(race.arena, &stats, sizeof stats);
    CHECK_EQ(stats.open_scopes, 0);
    CHECK_EQ(stats.allocated_bytes, 0);
    test_check_whole(race.arena, 4096);
    memarena_destroy(race.arena);
}

static void threads_open_and_end_scopes(void)
{
    run_race(THREADS, false, test_scaled(4000));
}

static void a_reset_never_comes_under_an_open_scope(void)
{
    run_race(2, true, test_scaled(4000));
    run_race(1, true, test_scaled(4000));
}

/* Nothing but opening and ending against resets, so that both meet often and some resets come through. */
static void *open_and_end(void *argument)
{
    (void)argument;
    for (long round = 0; round < race.rounds; round++) {
        request *self = begin();
        CHECK(self != NULL);
        unsigned char *byte = memarena_alloc(self->scope, 1);
        CHECK(byte != NULL);
        *byte = 7;
        CHECK_EQ(memarena_generation(race.arena), self->generation);
        CHECK(*byte == 7);
        end(self);
        if (round % 3 == 0) (void)test_give_way();
    }
    return NULL;
}

/* Extents too large for a lane's cache: they come and go on the shared stacks, the same few all the time. */
static void *take_large_extents(void *argument)
{
    unsigned long long random = test_seed((unsigned long long)(uintptr_t)argument);
    for (long round = 0; round < race.rounds; round++) {
        request *self = begin();
        CHECK(self != NULL);
        for (unsigned i = 0; i < 1 + (unsigned)(test_random(&random) % 4); i++) {
            size_t size = 9000;
            unsigned char *bytes = memarena_alloc_aligned(self->scope, size, 8);
            CHECK(bytes != NULL);
            memset(bytes, (int)(random & 255), 64);
            self->blocks[self->count].bytes = bytes;
            self->blocks[self->count].size = 64;
            self->blocks[self->count++].value = (unsigned char)(random & 255);
        }
        end(self);
    }
    return NULL;
}

static void large_extents_come_and_go(void)
{
    pthread_t members[THREADS];
    race.arena = test_create(CAPACITY);
    race.rounds = test_scaled(10000);
    for (unsigned i = 0; i < THREADS; i++) members[i] = test_start(take_large_extents, (void *)(uintptr_t)(i + 500));
    for (unsigned i = 0; i < THREADS; i++) test_join(members[i]);
    CHECK_EQ(memarena_allocated_bytes(race.arena), 0);
    test_check_whole(race.arena, 4096);
    memarena_destroy(race.arena);
}

static void opening_races_resets(void)
{
    race.arena = test_create(CAPACITY);
    race.rounds = test_scaled(20000);
    race.refused_resets = race.resets_done = 0;
    pthread_t members[] = {test_start(open_and_end, NULL), test_start(open_and_end, NULL),
                           test_start(reset_often, NULL), test_start(reset_often, NULL)};
    for (size_t i = 0; i < sizeof members / sizeof *members; i++) test_join(members[i]);
    printf("    %lu resets came through, %lu were refused\n", race.resets_done, race.refused_resets);
    CHECK(race.resets_done > 0);
    test_check_whole(race.arena, 4096);
    memarena_destroy(race.arena);
}

int main(void)
{
    RUN(threads_open_and_end_scopes);
    RUN(a_reset_never_comes_under_an_open_scope);
    RUN(opening_races_resets);
    RUN(large_extents_come_and_go);
    return test_done();
}
