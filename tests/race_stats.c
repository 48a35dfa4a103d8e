/* stats against allocate: while others allocate within one generation, the bytes that a reader sees never fall, never
 * exceed the capacity, and are at least what had been handed out before it looked and at most what was under way
 * after. */
#include "threads.h"
#include "yield.h"

#define CAPACITY ((size_t)8 << 20)
#define ALLOCATORS 3u
#define READERS 2u
#define BATCH 16

static struct {
    memarena *arena;
    pthread_barrier_t barrier;
    unsigned allocating;
    /* By each allocator: the bytes of its blocks so far, and what they may be after its next batch. */
    struct {
        _Alignas(128) uint64_t done;
        uint64_t announced;
    } sums[ALLOCATORS];
} race;

typedef struct member {
    pthread_t thread;
    unsigned number;
    unsigned long long random;
    unsigned long looks;
} member;

static bool is_racing(void)
{
    return __atomic_load_n(&race.allocating, __ATOMIC_ACQUIRE) != 0;
}

static void *run_allocator(void *argument)
{
    member *self = argument;
    uint64_t *done = &race.sums[self->number].done, *announced = &race.sums[self->number].announced;
    uint64_t sum = 0, padding = 0; /* at most so much, where memarena_realloc moved a block */
    test_meet(&race.barrier);
    for (;;) {
        size_t size = test_rounded(test_random(&self->random) % 64 ? test_between(&self->random, 8, 200)
                                                                   : test_between(&self->random, 200, 30000));
        uint64_t most = sum + padding + (size + 16) * BATCH;
        if (most > CAPACITY / 4) break; /* nobody is refused here */
        __atomic_store_n(announced, most, __ATOMIC_SEQ_CST);
        for (int i = 0; i < BATCH; i++) {
            bool grows = i % 8 == 7;
            void *block = memarena_alloc_aligned(race.arena, grows ? 0 : size, 8), *grown = block;
            if (grows) grown = memarena_realloc(race.arena, block, 0, size);
            CHECK(block != NULL && grown != NULL);
            sum += grown == block ? size : size + 8;
            padding += grown == block ? 0 : 8;
            __atomic_store_n(done, sum, __ATOMIC_SEQ_CST);
        }
    }
    __atomic_store_n(announced, sum + padding, __ATOMIC_SEQ_CST);
    (void)__atomic_fetch_sub(&race.allocating, 1, __ATOMIC_ACQ_REL);
    return NULL;
}

static uint64_t sum_of(bool announced)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < ALLOCATORS; i++)
        sum += __atomic_load_n(announced ? &race.sums[i].announced : &race.sums[i].done, __ATOMIC_SEQ_CST);
    return sum;
}

static void check_stats(const memarena_stats *now, const memarena_stats *before)
{
    CHECK_EQ(now->capacity_bytes, CAPACITY);
    CHECK_EQ(now->generation, 1);
    CHECK_EQ(now->failed_requests, 0);
    CHECK_EQ(now->last_failed_bytes, 0);
    CHECK(now->allocated_bytes >= before->allocated_bytes && now->allocated_bytes <= CAPACITY);
    /* What TLABs hold and have left behind. */
    CHECK(now->tlab_bytes <= CAPACITY / 8);
    CHECK(now->tail_bytes >= before->tail_bytes && now->tail_bytes <= CAPACITY / 8);
    CHECK(now->refills >= before->refills && now->refills <= CAPACITY / 8);
    CHECK(now->probes >= before->probes);
    CHECK(now->direct_blocks >= before->direct_blocks && now->direct_blocks <= CAPACITY / 8);
    CHECK(now->lanes >= before->lanes && now->lanes <= ALLOCATORS + 1);
}

static void *run_reader(void *argument)
{
    member *self = argument;
    size_t before = 0;
    memarena_stats stats, stats_before = {0};
    test_meet(&race.barrier);
    do {
        uint64_t least = sum_of(false);
        size_t now = memarena_allocated_bytes(race.arena);
        uint64_t most = sum_of(true);
        CHECK(now >= before && now <= CAPACITY);
        if (now < least || now > most)
            fprintf(stderr, "%zu bytes, not between %llu and %llu\n", now, (unsigned long long)least,
                    (unsigned long long)most);
        CHECK(now >= least && now <= most);
        before = now;
        memarena_get_stats(race.arena, &stats, sizeof stats);
        check_stats(&stats, &stats_before);
        CHECK(stats.allocated_bytes >= before);
        stats_before = stats;
        self->looks++;
    } while (is_racing());
    size_t last = memarena_allocated_bytes(race.arena);
    CHECK(last >= sum_of(false) && last <= sum_of(true));
    return NULL;
}

static void what_a_reader_sees_never_falls_and_is_never_wrong(void)
{
    unsigned long looks = 0;
    for (long round = 0; round < test_scaled(60); round++) {
        member members[ALLOCATORS + READERS] = {0};
        race.arena = test_create(CAPACITY);
        CHECK(race.arena != NULL);
        race.allocating = ALLOCATORS;
        __atomic_store_n(&test_yield_chance, 16 << round % 4, __ATOMIC_RELAXED);
        for (unsigned i = 0; i < ALLOCATORS; i++) race.sums[i].done = race.sums[i].announced = 0;
        CHECK_EQ(pthread_barrier_init(&race.barrier, NULL, ALLOCATORS + READERS), 0);
        for (unsigned i = 0; i < ALLOCATORS + READERS; i++) {
            members[i].number = i;
            members[i].random = test_seed((unsigned long long)round * 64 + i);
            members[i].thread = test_start(i < ALLOCATORS ? run_allocator : run_reader, &members[i]);
        }
        for (unsigned i = 0; i < ALLOCATORS + READERS; i++) {
            test_join(members[i].thread);
            looks += members[i].looks;
        }
        CHECK_EQ(pthread_barrier_destroy(&race.barrier), 0);
        memarena_destroy(race.arena);
    }
    printf("    %lu looks\n", looks);
}

/* ---- Scopes that come and go ------------------------------------------------------------------------------------------ */

#define SIZES 10 /* of scopes: 1 KiB to 512 KiB, an eighth of the capacity in all */

static void *run_scopes(void *argument)
{
    (void)argument;
    test_meet(&race.barrier);
    for (long round = test_scaled(3000); round > 0; round--) {
        for (int size = 0; size < SIZES; size++) { /* fresh memory for each, which then waits in a free extent */
            memarena *scope = memarena_scope(race.arena);
            CHECK(scope != NULL && memarena_alloc(scope, (size_t)800 << size) != NULL);
            memarena_destroy(scope);
        }
        CHECK(memarena_reset(race.arena));
    }
    (void)__atomic_fetch_sub(&race.allocating, 1, __ATOMIC_ACQ_REL);
    return NULL;
}

/* What is given back between two looks of the reader's is not more than what it has seen taken. */
static void scopes_that_come_and_go_are_never_seen_to_fill_the_arena(void)
{
    race.arena = test_create(CAPACITY);
    CHECK(race.arena != NULL);
    race.allocating = 1;
    CHECK_EQ(pthread_barrier_init(&race.barrier, NULL, 2), 0);
    pthread_t thread = test_start(run_scopes, NULL);
    test_meet(&race.barrier);
    while (is_racing()) CHECK(memarena_allocated_bytes(race.arena) <= CAPACITY / 2);
    test_join(thread);
    CHECK_EQ(memarena_allocated_bytes(race.arena), 0);
    CHECK_EQ(pthread_barrier_destroy(&race.barrier), 0);
    memarena_destroy(race.arena);
}

int main(void)
{
    RUN(what_a_reader_sees_never_falls_and_is_never_wrong);
    RUN(scopes_that_come_and_go_are_never_seen_to_fill_the_arena);
    return test_done();
}
