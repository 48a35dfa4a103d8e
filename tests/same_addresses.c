/* After a reset each thread meets the same addresses again, in its own core's cache: its home shard, walked from the
 * front, and the shards after it in the same order. */
#include "lanes.h"
#include "yield.h"

#define CAPACITY ((size_t)64 << 20)
#define THREADS 4u
#define BLOCK 512u
#define GENERATIONS 20

static struct {
    memarena *arena;
    pthread_barrier_t barrier;
    size_t blocks; /* that fit a home */
} team;

typedef struct member {
    pthread_t thread;
    unsigned home;
    uintptr_t *addresses; /* of the first generation */
} member;

static const ma_pool *pool(void)
{
    return &ma_arena_of(team.arena)->pool;
}

static void walk_home(member *self, int generation)
{
    for (size_t i = 0; i < team.blocks; i++) {
        uintptr_t block = (uintptr_t)memarena_alloc_aligned(team.arena, BLOCK, 8);
        CHECK(block != 0);
        if (generation == 0) self->addresses[i] = block;
        CHECK_EQ(block, self->addresses[i]);
        CHECK_EQ(ma_source_of(pool(), block - pool()->base), self->home);
    }
}

static void *run(void *argument)
{
    member *self = argument;
    CHECK(memarena_alloc_aligned(team.arena, 8, 8) != NULL);
    self->home = ma_pool_home(pool(), test_lane());
    test_meet(&team.barrier);
    for (int generation = 0; generation < GENERATIONS; generation++) {
        test_meet(&team.barrier);
        walk_home(self, generation);
        test_meet(&team.barrier);
    }
    return NULL;
}

static void each_thread_walks_its_home_again_after_a_reset(void)
{
    member members[THREADS] = {0};
    team.blocks = (size_t)(pool()->shard_bytes / BLOCK);
    CHECK(team.blocks * BLOCK >= (size_t)4 * MA_TLAB_DEFAULT); /* several TLABs */
    CHECK_EQ(pthread_barrier_init(&team.barrier, NULL, THREADS + 1), 0);
    for (unsigned i = 0; i < THREADS; i++) {
        members[i].addresses = malloc(team.blocks * sizeof(uintptr_t));
        CHECK(members[i].addresses != NULL);
        members[i].thread = test_start(run, &members[i]);
    }
    test_meet(&team.barrier);
    for (unsigned i = 0; i < THREADS; i++)
        for (unsigned other = 0; other < i; other++) CHECK(members[i].home != members[other].home);
    for (int generation = 0; generation < GENERATIONS; generation++) {
        CHECK(memarena_reset(team.arena));
        test_meet(&team.barrier);
        test_meet(&team.barrier);
    }
    for (unsigned i = 0; i < THREADS; i++) {
        test_join(members[i].thread);
        CHECK_EQ(members[i].addresses[0], pool()->base + members[i].home * pool()->shard_bytes);
        free(members[i].addresses);
    }
    CHECK_EQ(pthread_barrier_destroy(&team.barrier), 0);
}

static void one_thread_walks_the_whole_arena_again_after_a_reset(void)
{
    size_t blocks = memarena_capacity(team.arena) / 4096;
    uintptr_t *addresses = malloc(blocks * sizeof *addresses);
    CHECK(addresses != NULL);
    for (int generation = 0; generation < 5; generation++) {
        CHECK(memarena_reset(team.arena));
        for (size_t i = 0; i < blocks; i++) {
            uintptr_t block = (uintptr_t)memarena_alloc_aligned(team.arena, 4096, 8);
            CHECK(block != 0);
            if (generation == 0) addresses[i] = block;
            CHECK_EQ(block, addresses[i]);
        }
        CHECK(memarena_alloc_aligned(team.arena, 8, 8) == NULL);
    }
    free(addresses);
}

/* The next owner of a lane goes on where the last one was. */
static void *take_one(void *argument)
{
    *(uintptr_t *)argument = (uintptr_t)memarena_alloc_aligned(team.arena, BLOCK, 8);
    CHECK(*(uintptr_t *)argument != 0);
    return NULL;
}

static void threads_in_turn_share_one_tlab(void)
{
    uintptr_t first, next;
    CHECK(memarena_reset(team.arena));
    test_join(test_start(take_one, &first));
    for (uintptr_t n = 1; n < MA_TLAB_DEFAULT / BLOCK; n++) {
        test_join(test_start(take_one, &next));
        CHECK_EQ(next, first + n * BLOCK);
    }
}

#define LARGE ((size_t)200 << 10) /* not in a lane's cache */

static void *take_in_a_scope(void *argument)
{
    memarena *scope = memarena_scope(team.arena);
    CHECK(scope != NULL);
    *(void **)argument = memarena_alloc(scope, LARGE);
    test_meet(&team.barrier);
    test_meet(&team.barrier);
    memarena_destroy(scope);
    test_meet(&team.barrier);
    return NULL;
}

/* Though another thread's scope has given back as much since. */
static void a_threads_scopes_get_its_own_memory_back(void)
{
    void *mine = NULL, *others = NULL;
    memarena *scope = memarena_scope(team.arena);
    CHECK(scope != NULL && (mine = memarena_alloc(scope, LARGE)) != NULL);
    CHECK_EQ(pthread_barrier_init(&team.barrier, NULL, 2), 0);
    pthread_t thread = test_start(take_in_a_scope, &others);
    test_meet(&team.barrier);
    memarena_destroy(scope);
    test_meet(&team.barrier);
    test_meet(&team.barrier);
    CHECK(others != NULL && others != mine);
    CHECK((scope = memarena_scope(team.arena)) != NULL);
    CHECK(memarena_alloc(scope, LARGE) == mine);
    memarena_destroy(scope);
    test_join(thread);
    CHECK_EQ(pthread_barrier_destroy(&team.barrier), 0);
}

int main(void)
{
    team.arena = memarena_create(CAPACITY);
    CHECK(team.arena != NULL);
    if (test_watched(team.arena)) SKIP("a watched arena has no homes");
    RUN(each_thread_walks_its_home_again_after_a_reset);
    RUN(threads_in_turn_share_one_tlab);
    RUN(a_threads_scopes_get_its_own_memory_back);
    RUN(one_thread_walks_the_whole_arena_again_after_a_reset);
    memarena_destroy(team.arena);
    return test_done();
}
