/* An arena is destroyed, and the next one made at its address, while threads live on that had lanes in it: neither what
 * was left of their TLABs nor what waited in their caches of extents is found in the new one. */
#include "lanes.h"
#include "yield.h"

#include <string.h>

#define MEMBERS 2u
#define BLOCKS 300u
#define SCOPES 8u
#define CALLS 2u
#define BYTES ((size_t)1 << 20)

/* What differs from round to round: all combinations, and those in a buffer several times in a row. */
typedef struct plan {
    unsigned destroyer, maker, flags;
    bool scribbles; /* over the dead arena; else its last words are what the next one finds */
    bool in_buffer;
} plan;

typedef struct member {
    unsigned number;
    pthread_t thread;
    unsigned long long random;
    test_log log;
} member;

static struct {
    pthread_barrier_t barrier;
    memarena *arena;
    size_t calls_to_come;
    unsigned rounds;
    member members[MEMBERS];
    unsigned char buffer[BYTES];
} team;

static plan plan_of(unsigned round)
{
    return (plan){.destroyer = round % 2,
                  .maker = round / 2 % 2,
                  .flags = round / 4 % 2 ? MEMARENA_PER_CPU : 0,
                  .scribbles = round / 8 % 4 == 3,
                  .in_buffer = round / 16 % 2 == 0};
}

static void run_in_order(void *number)
{
    team.calls_to_come--;
    CHECK_EQ((uintptr_t)number, team.calls_to_come); /* last in, first out */
}

static void make(const plan *as)
{
    memarena_options options = {.capacity = BYTES, .flags = as->flags};
    if (as->in_buffer) options.buffer = team.buffer;
    team.arena = memarena_create_with(&options);
    CHECK(team.arena != NULL);
    memarena_stats stats = test_stats(team.arena);
    CHECK_EQ(stats.generation, 1);
    CHECK_EQ(stats.allocated_bytes + stats.tlab_bytes + stats.tail_bytes + stats.claimed_bytes, 0);
    CHECK_EQ(stats.lanes + stats.cpu_lanes + stats.open_scopes + stats.free_extent_bytes, 0);
    CHECK_EQ(stats.refills + stats.probes + stats.direct_blocks + stats.failed_requests, 0);
    while (team.calls_to_come < CALLS)
        CHECK(memarena_defer(team.arena, run_in_order, (void *)(uintptr_t)team.calls_to_come++));
}

static unsigned char value_of(const member *self, size_t i)
{
    return (unsigned char)(i * MEMBERS + self->number);
}

static void take(member *self, memarena *handle, size_t size)
{
    void *block = memarena_alloc_aligned(handle, size, 8);
    CHECK(block != NULL);
    memset(block, value_of(self, self->log.count), size);
    test_record(&self->log, 1, block, size);
}

/* Before the log is sorted. */
static void check_contents(const member *self)
{
    for (size_t i = 0; i < self->log.count; i++) {
        const unsigned char *bytes = (const unsigned char *)self->log.blocks[i].begin;
        size_t size = self->log.blocks[i].end - self->log.blocks[i].begin;
        CHECK(bytes[0] == value_of(self, i) && memcmp(bytes, bytes + 1, size - 1) == 0);
    }
}

/* Leaves a TLAB that is partly used, and in the cache an ended scope and what others had grown by. */
static void use(member *self)
{
    memarena *scopes[SCOPES];
    for (unsigned i = 0; i < SCOPES; i++) {
        CHECK((scopes[i] = memarena_scope(team.arena)) != NULL);
        for (unsigned grown = 0; grown <= i % 4; grown++) take(self, scopes[i], 600);
    }
    for (unsigned i = 0; i < BLOCKS; i++) take(self, team.arena, 8 * test_between(&self->random, 1, 30));
    test_meet(&team.barrier); /* until here all live at once */
    check_contents(self);
    for (unsigned i = 0; i < SCOPES; i++) memarena_destroy(scopes[i]);
    CHECK(test_watched(team.arena) || test_lane() != LANE_NONE);
}

static void check_all(void)
{
    test_log all = {0};
    for (unsigned i = 0; i < MEMBERS; i++) test_append(&all, &team.members[i].log);
    (void)test_check_blocks(team.arena, &all);
    test_forget(&all);
    CHECK_EQ(test_stats(team.arena).open_scopes, 0);
}

static void destroy(const plan *as)
{
    check_all();
    memarena_destroy(team.arena);
    CHECK_EQ(team.calls_to_come, 0);
    if (as->in_buffer && as->scribbles) memset(team.buffer, 0xA5, sizeof team.buffer);
}

static void *live_on(void *argument)
{
    member *self = argument;
    for (unsigned round = 0; round < team.rounds; round++) {
        plan as = plan_of(round);
        if (as.maker == self->number) make(&as);
        test_meet(&team.barrier);
        self->log.count = 0;
        use(self);
        test_meet(&team.barrier);
        if (as.destroyer == self->number) destroy(&as);
        test_meet(&team.barrier);
    }
    return NULL;
}

static void threads_outlive_the_arenas_that_they_had_lanes_in(void)
{
    unsigned before = test_free_lanes();
    team.rounds = (unsigned)test_scaled(200);
    CHECK_EQ(pthread_barrier_init(&team.barrier, NULL, MEMBERS), 0);
    for (unsigned i = 0; i < MEMBERS; i++) {
        team.members[i] = (member){.number = i, .random = test_seed(700 + i)};
        team.members[i].thread = test_start(live_on, &team.members[i]);
    }
    for (unsigned i = 0; i < MEMBERS; i++) {
        test_join(team.members[i].thread);
        test_forget(&team.members[i].log);
    }
    CHECK_EQ(pthread_barrier_destroy(&team.barrier), 0);
    CHECK_EQ(test_free_lanes(), before);
}

int main(void)
{
    RUN(threads_outlive_the_arenas_that_they_had_lanes_in);
    return test_done();
}
