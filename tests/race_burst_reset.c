/* bursts against reset: threads take blocks through bursts, and beside them, while another one resets as fast as it can, and no two
 * blocks of one generation overlap.
 *
 * Which blocks are compared: as in race_alloc_reset. Nothing is written to them. When the race is over the accounts are exact. */
#include "resets.h"
#include "threads.h"
#include "yield.h"

#define MEMBERS 3u
#define CAPACITY ((size_t)1 << 20)
#ifdef MA_TAG_BITS /* with yields */
#define BURSTS 60
#else
#define BURSTS 500
#endif

static struct {
    memarena *arena;
    pthread_barrier_t barrier;
    long episodes;
    unsigned racing; /* members that have not finished this episode */
    test_resets resets;
} race;

typedef struct member {
    pthread_t thread;
    unsigned number;
    unsigned long long random;
    test_log log;
} member;

static void take(member *self, memarena_burst *burst)
{
    uint64_t generation = test_quiet(&race.resets);
    size_t size =
        test_random(&self->random) % 32 ? test_between(&self->random, 8, 300) : test_between(&self->random, 300, 20000);
    void *block = burst ? memarena_burst_alloc(burst, size, 8) : memarena_alloc_aligned(race.arena, size, 8);
    if (!test_still_quiet(&race.resets, generation)) return;
    if (block) test_record(&self->log, generation, block, size);
}

static void take_some(member *self)
{
    memarena_burst burst = memarena_burst_begin(race.arena), inner;
    size_t count = test_between(&self->random, 1, 60);
    bool has_inner = test_random(&self->random) % 4 == 0;
    if (has_inner) inner = memarena_burst_begin(race.arena);
    for (size_t i = 0; i < count; i++) {
        unsigned which = (unsigned)(test_random(&self->random) % 16);
        take(self, which == 0 ? NULL : which == 1 && has_inner ? &inner : &burst);
    }
    if (has_inner) memarena_burst_end(&inner);
    memarena_burst_end(&burst);
}

static void *run(void *argument)
{
    member *self = argument;
    for (long episode = 0; episode < race.episodes; episode++) {
        test_meet(&race.barrier);
        for (int i = 0; i < BURSTS; i++) take_some(self);
        (void)__atomic_fetch_sub(&race.racing, 1, __ATOMIC_ACQ_REL);
        test_meet(&race.barrier);
    }
    return NULL;
}

static void referee(member *members)
{
    unsigned long long random = test_seed(99);
    test_log all = {0};
    unsigned long resets = 0;
    for (long episode = 0; episode < race.episodes; episode++) {
        __atomic_store_n(&race.racing, MEMBERS, __ATOMIC_RELEASE);
        test_meet(&race.barrier);
        while (__atomic_load_n(&race.racing, __ATOMIC_ACQUIRE) != 0) {
            for (size_t spin = test_between(&random, 0, 3000); spin > 0; spin--)
                (void)__atomic_load_n(&race.racing, __ATOMIC_RELAXED);
            test_reset(&race.resets, race.arena);
            resets++;
        }
        test_meet(&race.barrier);
        for (unsigned i = 0; i < MEMBERS; i++) test_append(&all, &members[i].log), members[i].log.count = 0;
        (void)test_check_blocks(race.arena, &all);
        all.count = 0;
        test_reset(&race.resets, race.arena);
        CHECK_EQ(memarena_allocated_bytes(race.arena), 0);
        size_t capacity = memarena_capacity(race.arena), filled = test_fill(race.arena, 30000, NULL, 1);
        CHECK(filled == capacity || (TEST_FLAGS && filled >= capacity - capacity / 16));
        CHECK_EQ(memarena_allocated_bytes(race.arena), filled);
        test_reset(&race.resets, race.arena);
    }
    printf("    %lu resets\n", resets);
    test_forget(&all);
}

static void bursts_race_resets(void)
{
    member members[MEMBERS];
    race.arena = test_create(CAPACITY);
    race.episodes = test_scaled(12);
    CHECK(race.arena);
    CHECK_EQ(pthread_barrier_init(&race.barrier, NULL, MEMBERS + 1), 0);
    for (unsigned i = 0; i < MEMBERS; i++) {
        members[i] = (member){.number = i, .random = test_seed(i)};
        members[i].thread = test_start(run, &members[i]);
    }
    referee(members);
    for (unsigned i = 0; i < MEMBERS; i++) {
        test_join(members[i].thread);
        test_forget(&members[i].log);
    }
    CHECK_EQ(pthread_barrier_destroy(&race.barrier), 0);
    memarena_destroy(race.arena);
}

int main(void)
{
    RUN(bursts_race_resets);
    return test_done();
}
