/* A scope whose owner changes at every turn: what one thread writes, marks, defers and opens there, the other finds, goes
 * back to, runs and ends, with the extents of its own lane. */
#include "threads.h"
#include "yield.h"

#include <errno.h>
#include <string.h>

#define OWNERS 2u
#define BLOCKS_MAX 300u
#define PLACES_MAX 8u
#define CAPACITY ((size_t)32 << 20)

typedef struct piece {
    unsigned char *bytes;
    size_t size;
    unsigned char value;
} piece;

/* A mark, who took it, and what there was then. */
typedef struct place {
    memarena_position mark;
    unsigned taker, blocks, waiting;
    size_t allocated;
} place;

static struct {
    pthread_barrier_t barrier;
    memarena *arena, *scope;
    memarena *child; /* opened by the last owner, for the next one; NULL: none */
    piece blocks[BLOCKS_MAX], of_child;
    place places[PLACES_MAX]; /* oldest first */
    unsigned block_count, place_count;
    unsigned waiting; /* deferred calls that have not run, numbered from 0 */
    pthread_t owner;
    unsigned long deferred, ran, gone_back, resets, turns;
} hand;

/* ---- Blocks ----------------------------------------------------------------------------------------------------- */

static void check(const piece *block)
{
    CHECK(block->bytes[0] == block->value && memcmp(block->bytes, block->bytes + 1, block->size - 1) == 0);
}

static void check_blocks(void)
{
    for (unsigned i = 0; i < hand.block_count; i++) check(&hand.blocks[i]);
}

static piece fill(void *bytes, size_t size, unsigned long long *random)
{
    CHECK(bytes != NULL);
    piece block = {bytes, size, (unsigned char)test_random(random)};
    memset(bytes, block.value, size);
    return block;
}

/* Also larger than any extent that is taken for more than one block. */
static void add_blocks(unsigned count, unsigned long long *random)
{
    while (count-- > 0 && hand.block_count < BLOCKS_MAX) {
        unsigned kind = (unsigned)test_random(random) % 32;
        size_t size = test_between(random, 1, kind == 0 ? 100000 : kind < 8 ? 3000 : 200);
        hand.blocks[hand.block_count++] = fill(memarena_alloc_aligned(hand.scope, size, 8), size, random);
    }
}

/* A block that has moved stays where it was, too. */
static void change_size(unsigned long long *random)
{
    if (hand.block_count == 0 || hand.block_count == BLOCKS_MAX) return;
    unsigned newest = hand.block_count - 1;
    piece *old = &hand.blocks[test_random(random) % 2 ? newest : test_random(random) % hand.block_count];
    size_t size = test_between(random, 1, 4000);
    piece moved = {memarena_realloc(hand.scope, old->bytes, old->size, size), old->size, old->value};
    CHECK(moved.bytes != NULL);
    if (size < moved.size) moved.size = size;
    check(&moved);
    if (moved.bytes != old->bytes) old = &hand.blocks[hand.block_count++];
    *old = fill(moved.bytes, size, random);
}

/* ---- Deferred calls ----------------------------------------------------------------------------------------------- */

static void run_newest(void *number)
{
    hand.waiting--;
    hand.ran++;
    CHECK_EQ((uintptr_t)number, hand.waiting); /* last in, first out, and each once */
    CHECK(pthread_equal(pthread_self(), hand.owner));
}

static void defer(unsigned count)
{
    for (; count > 0; count--, hand.deferred++)
        CHECK(memarena_defer(hand.scope, run_newest, (void *)(uintptr_t)hand.waiting++));
}

/* ---- Children ----------------------------------------------------------------------------------------------------- */

static void open_child(unsigned long long *random)
{
    size_t before = memarena_allocated_bytes(hand.scope), size = test_between(random, 1, 5000);
    CHECK((hand.child = memarena_scope(hand.scope)) != NULL);
    hand.of_child = fill(memarena_alloc(hand.child, size), size, random);
    CHECK(memarena_allocated_bytes(hand.scope) == before && memarena_allocated_bytes(hand.child) >= size);
    errno = 0;
    CHECK(!memarena_reset(hand.scope) && errno == EBUSY);
}

static void end_child(void)
{
    if (!hand.child) return;
    check(&hand.of_child);
    memarena_destroy(hand.child);
    hand.child = NULL;
}

/* ---- Going back --------------------------------------------------------------------------------------------------- */

/* Of each turn at most one: two in the same place would be one mark. */
static void take_mark(unsigned number)
{
    if (hand.place_count == PLACES_MAX) return;
    place here = {.mark = memarena_mark(hand.scope),
                  .taker = number,
                  .blocks = hand.block_count,
                  .waiting = hand.waiting,
                  .allocated = memarena_allocated_bytes(hand.scope)};
    CHECK(here.mark.scope_ == hand.scope);
    hand.places[hand.place_count++] = here;
}

static void forget_places(unsigned from)
{
    for (unsigned i = from; i < hand.place_count; i++) {
        errno = 0;
        CHECK(!memarena_rewind(hand.scope, hand.places[i].mark) && errno == EINVAL);
    }
    hand.place_count = from;
}

/* To one that the other owner took, if there is one. A child that is open stays so. */
static void go_back(unsigned number, unsigned long long *random)
{
    unsigned first = (unsigned)test_random(random) % PLACES_MAX, chosen = PLACES_MAX;
    for (unsigned n = 0; n < PLACES_MAX && chosen == PLACES_MAX; n++) {
        unsigned i = (first + n) % PLACES_MAX;
        if (i < hand.place_count && hand.places[i].taker != number) chosen = i;
    }
    if (chosen == PLACES_MAX) return;
    const place *to = &hand.places[chosen];
    CHECK(memarena_rewind(hand.scope, to->mark));
    CHECK_EQ(hand.waiting, to->waiting);
    hand.block_count = to->blocks;
    forget_places(chosen + 1);
    check_blocks();
    end_child();
    CHECK_EQ(memarena_allocated_bytes(hand.scope), to->allocated);
    hand.gone_back++;
}

static void reset(void)
{
    uint64_t generation = memarena_generation(hand.scope);
    end_child();
    CHECK(memarena_reset(hand.scope));
    CHECK_EQ(memarena_generation(hand.scope), generation + 1);
    CHECK_EQ(memarena_allocated_bytes(hand.scope), 0);
    CHECK_EQ(hand.waiting, 0);
    hand.block_count = 0;
    forget_places(0);
    hand.resets++;
}

/* The next one is perhaps where this was. */
static void begin_anew(void)
{
    end_child();
    memarena_destroy(hand.scope);
    CHECK_EQ(hand.waiting, 0);
    hand.block_count = 0;
    CHECK((hand.scope = memarena_scope(hand.arena)) != NULL);
    forget_places(0);
}

/* ---- Turns -------------------------------------------------------------------------------------------------------- */

static void take_turn(unsigned number, unsigned long long *random)
{
    unsigned chance = (unsigned)test_random(random) % 32;
    hand.owner = pthread_self();
    check_blocks();
    if (chance == 0 || hand.block_count == BLOCKS_MAX)
        reset();
    else if (chance == 1)
        begin_anew();
    else if (chance < 10)
        go_back(number, random);
    end_child();
    add_blocks(1 + (unsigned)test_random(random) % 4, random);
    change_size(random);
    defer((unsigned)test_random(random) % 3);
    if (test_random(random) % 2) take_mark(number);
    open_child(random);
    if (test_random(random) % 2) end_child();
}

/* Meanwhile, with the extents of the other lane. */
static void use_scopes_of_its_own(unsigned long long *random)
{
    for (int i = 0; i < 4; i++) {
        piece blocks[4];
        memarena *own = memarena_scope(hand.arena);
        CHECK(own != NULL);
        for (int n = 0; n < 4; n++) {
            size_t size = test_between(random, 1, 2000);
            blocks[n] = fill(memarena_alloc(own, size), size, random);
        }
        for (int n = 0; n < 4; n++) check(&blocks[n]);
        memarena_destroy(own);
    }
}

static void *own_in_turn(void *argument)
{
    unsigned number = (unsigned)(uintptr_t)argument;
    unsigned long long random = test_seed(800 + number);
    for (unsigned long turn = 0; turn < hand.turns; turn++) {
        if (turn % OWNERS == number)
            take_turn(number, &random);
        else
            use_scopes_of_its_own(&random);
        test_meet(&hand.barrier);
    }
    return NULL;
}

static void check_the_end(void)
{
    hand.owner = pthread_self();
    check_blocks();
    end_child();
    memarena_destroy(hand.scope);
    CHECK_EQ(hand.waiting, 0);
    CHECK_EQ(hand.ran, hand.deferred);
    CHECK_EQ(memarena_allocated_bytes(hand.arena), 0);
    memarena_stats stats = test_stats(hand.arena);
    CHECK_EQ(stats.open_scopes, 0);
    if (!stats.watched) CHECK_EQ(stats.claimed_bytes, stats.tlab_bytes + stats.tail_bytes + stats.free_extent_bytes);
    printf("    gone back %lu times, reset %lu times\n", hand.gone_back, hand.resets);
    CHECK(hand.turns < 200 || (hand.gone_back > 0 && hand.resets > 0));
}

static void a_scope_changes_hands_at_every_turn(void)
{
    pthread_t owners[OWNERS];
    hand.arena = test_create(CAPACITY);
    CHECK(hand.arena != NULL);
    CHECK((hand.scope = memarena_scope(hand.arena)) != NULL);
    hand.turns = (unsigned long)test_scaled(8000);
    CHECK_EQ(pthread_barrier_init(&hand.barrier, NULL, OWNERS), 0);
    for (unsigned i = 0; i < OWNERS; i++) owners[i] = test_start(own_in_turn, (void *)(uintptr_t)i);
    for (unsigned i = 0; i < OWNERS; i++) test_join(owners[i]);
    CHECK_EQ(pthread_barrier_destroy(&hand.barrier), 0);
    check_the_end();
    test_check_whole(hand.arena, 4096);
    memarena_destroy(hand.arena);
}

int main(void)
{
    RUN(a_scope_changes_hands_at_every_turn);
    return test_done();
}
