/* allocate against allocate: threads share an arena until it is full, and no byte is handed out twice, counted twice or
 * lost beyond what TLABs may hold. */
#include "threads.h"
#include "yield.h"

#include <string.h>

#define THREADS_MAX 8
#define CAPACITY ((size_t)2 << 20)

typedef enum sizes { SIZES_MIXED, SIZES_SMALL, SIZES_LARGE, SIZES_TLAB_TAILS, SIZES_KINDS } sizes;

struct team {
    memarena *arena;
    pthread_barrier_t barrier;
    unsigned rounds;
};

typedef struct member {
    struct team *team;
    unsigned number;
    pthread_t thread;
    test_log log;
    size_t padding_max; /* what alignments above 8 may have cost */
} member;

static size_t choose(unsigned long long *random, sizes kind)
{
    switch (kind) {
    case SIZES_SMALL:
        return test_between(random, 0, 200);
    case SIZES_LARGE:
        return test_between(random, 8000, 300000);
    case SIZES_TLAB_TAILS:
        return test_between(random, 800, 1030); /* about 1/8 of a TLAB here: the worst tails */
    default:
        break;
    }
    size_t lottery = test_between(random, 0, 100);
    return lottery < 60   ? test_between(random, 8, 600)
           : lottery < 97 ? test_between(random, 8, 20000)
                          : test_between(random, 20000, 200000);
}

static void *allocate(member *self, size_t size, unsigned long long *random, sizes kind)
{
    memarena *arena = self->team->arena;
    if (kind != SIZES_MIXED || test_random(random) % 4) return memarena_alloc_aligned(arena, size, 8);
    if (test_random(random) % 8) {
        void *block = memarena_alloc(arena, size);
        if (block) self->padding_max += 8;
        return block;
    }
    size_t alignment = (size_t)1 << test_between(random, 4, 10);
    void *block = memarena_alloc_aligned(arena, size, alignment);
    CHECK((uintptr_t)block % alignment == 0);
    if (block) self->padding_max += alignment - 8;
    return block;
}

/* Takes blocks until there is no room for 8 bytes. */
static void fill(member *self, unsigned round)
{
    unsigned long long random = test_seed((unsigned long long)round << 8 | self->number);
    sizes kind = (sizes)(round % SIZES_KINDS);
    self->log.count = 0;
    self->padding_max = 0;
    for (size_t cap = SIZE_MAX; cap >= 8;) {
        size_t size = choose(&random, kind);
        if (size > cap) size = cap;
        unsigned char *block = allocate(self, size, &random, kind);
        if (block) {
            if (size) memset(block, (int)self->number, size < 64 ? size : 64);
            if (size) block[size - 1] = (unsigned char)self->number;
            test_record(&self->log, 1, block, size);
        } else {
            cap = size < 16 ? 0 : size / 2;
        }
    }
    test_fill(self->team->arena, 8, &self->log, 1);
}

static void *run(void *argument)
{
    member *self = argument;
    for (unsigned round = 0; round < self->team->rounds; round++) {
        test_meet(&self->team->barrier);
        fill(self, round);
        test_meet(&self->team->barrier);
    }
    return NULL;
}

static void check_round(memarena *arena, member *members, unsigned threads, test_log *all)
{
    size_t padding_max = 0, capacity = memarena_capacity(arena);
    all->count = 0;
    for (unsigned i = 0; i < threads; i++) {
        test_append(all, &members[i].log);
        padding_max += members[i].padding_max;
    }
    size_t handed_out = test_check_blocks(arena, all), allocated = memarena_allocated_bytes(arena);
    CHECK(allocated >= handed_out && allocated <= handed_out + padding_max);
    CHECK(allocated <= capacity);
    CHECK(allocated >= capacity - capacity / 8);
}

static void race(unsigned threads, unsigned rounds)
{
    struct team team = {.arena = test_create(CAPACITY), .rounds = rounds};
    member members[THREADS_MAX] = {0};
    test_log all = {0};
    CHECK(team.arena != NULL);
    CHECK_EQ(pthread_barrier_init(&team.barrier, NULL, threads + 1), 0);
    for (unsigned i = 0; i < threads; i++) {
        members[i].team = &team;
        members[i].number = i;
        members[i].thread = test_start(run, &members[i]);
    }
    for (unsigned round = 0; round < rounds; round++) {
        test_meet(&team.barrier);
        test_meet(&team.barrier);
        check_round(team.arena, members, threads, &all);
        CHECK(memarena_reset(team.arena));
        CHECK_EQ(memarena_allocated_bytes(team.arena), 0);
    }
    for (unsigned i = 0; i < threads; i++) {
        test_join(members[i].thread);
        test_forget(&members[i].log);
    }
    test_check_whole(team.arena, 4096);
    test_forget(&all);
    CHECK_EQ(pthread_barrier_destroy(&team.barrier), 0);
    memarena_destroy(team.arena);
}

static void two_threads_share_an_arena_without_overlap(void)
{
    race(2, (unsigned)test_scaled(150));
}

static void four_threads_share_an_arena_without_overlap(void)
{
    race(4, (unsigned)test_scaled(150));
}

static void eight_threads_share_an_arena_without_overlap(void)
{
    race(8, (unsigned)test_scaled(150));
}

int main(void)
{
    RUN(two_threads_share_an_arena_without_overlap);
    RUN(four_threads_share_an_arena_without_overlap);
    RUN(eight_threads_share_an_arena_without_overlap);
    return test_done();
}
