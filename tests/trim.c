/* Physical memory given back: what stays in memory, what is kept, and that no live block loses a byte, whoever allocates,
 * resets or opens scopes meanwhile. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* mincore */
#endif
#include "threads.h"
#include "yield.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define MIB ((size_t)1 << 20)
#define CAPACITY (64 * MIB)

static size_t page;

/* Bytes of [begin, begin + size) that are in memory, from whole pages. */
static size_t resident(const void *begin, size_t size)
{
    uintptr_t first = (uintptr_t)begin & ~(page - 1), end = (uintptr_t)begin + size;
    size_t pages = (end - first + page - 1) / page, found = 0;
    unsigned char *states = calloc(pages, 1);
    CHECK(states != NULL);
    CHECK_EQ(mincore((void *)first, pages * page, (void *)states), 0);
    for (size_t i = 0; i < pages; i++) found += states[i] & 1 ? page : 0;
    free(states);
    return found;
}

/* The blocks of an arena that is not watched lie in one stretch: here it begins. */
static char *first_address(memarena *arena)
{
    char *whole = memarena_alloc_aligned(arena, memarena_capacity(arena), 8);
    CHECK(whole != NULL);
    CHECK(memarena_reset(arena));
    return whole;
}

static char *fill(memarena *arena, size_t size, int byte)
{
    char *block = memarena_alloc(arena, size);
    CHECK(block != NULL);
    return memset(block, byte, size);
}

static void check_filled(const char *block, size_t size, int byte)
{
    for (size_t i = 0; i < size; i++)
        if (block[i] != (char)byte) CHECK(block[i] == (char)byte);
}

static void dead_memory_goes_back_but_what_is_to_be_kept(void)
{
    memarena *arena = memarena_create(CAPACITY);
    CHECK(arena != NULL);
    char *start = first_address(arena);
    for (int i = 0; i < 300; i++) (void)fill(arena, 100000, 1);
    CHECK(memarena_reset(arena));
    size_t before = resident(start, CAPACITY);
    CHECK(before >= 30000000);
    CHECK_EQ(memarena_trim(arena, SIZE_MAX), 0);
    CHECK_EQ(memarena_trim(arena, before), 0);
    CHECK_EQ(memarena_trim(arena, 8 * MIB), before - 8 * MIB);
    CHECK_EQ(resident(start, CAPACITY), 8 * MIB);
    CHECK_EQ(memarena_trim(arena, 8 * MIB - 1), page);
    CHECK_EQ(memarena_trim(arena, 0), 8 * MIB - page);
    CHECK_EQ(resident(start, CAPACITY), 0);
    CHECK_EQ(memarena_trim(arena, 0), 0);
    for (int i = 0; i < 300; i++) check_filled(memset(memarena_zalloc(arena, 100000), 0, 1), 100000, 0);
    memarena_stats stats;
    memarena_get_stats(arena, &stats, sizeof stats);
    CHECK_EQ(stats.open_scopes, 0);
    CHECK_EQ(stats.failed_requests, 0);
    memarena_destroy(arena);
}

static void the_first_addresses_are_kept(void)
{
    memarena *arena = memarena_create(CAPACITY);
    for (int i = 0; i < 3000; i++) (void)fill(arena, 8000, 1);
    CHECK(memarena_reset(arena));
    CHECK(memarena_trim(arena, 4 * MIB) > 0);
    for (int i = 0; i < 300; i++) CHECK_EQ(resident(memarena_alloc(arena, 8000), 8000) > 0, 1);
    memarena_destroy(arena);
}

static void live_blocks_keep_their_bytes(void)
{
    enum { BLOCKS = 400 };
    static char *blocks[BLOCKS];
    memarena *arena = memarena_create(CAPACITY);
    for (int i = 0; i < 500; i++) (void)fill(arena, 100000, 1);
    CHECK(memarena_reset(arena));
    unsigned long long random = test_seed(1);
    for (int i = 0; i < BLOCKS; i++) {
        size_t size = test_between(&random, 1, 50000);
        blocks[i] = fill(arena, size, i);
        if (i % 16 == 0) (void)memarena_trim(arena, test_between(&random, 0, 20 * MIB));
        size_t allocated = memarena_allocated_bytes(arena);
        if (i % 50 == 0) CHECK(memarena_trim(arena, 0) <= CAPACITY - allocated);
    }
    random = test_seed(1);
    for (int i = 0; i < BLOCKS; i++) {
        check_filled(blocks[i], test_between(&random, 1, 50000), i);
        if (i % 16 == 0) (void)test_random(&random);
    }
    while (memarena_alloc(arena, 4096)) continue; /* nothing is missing */
    CHECK(memarena_allocated_bytes(arena) > CAPACITY - MIB);
    memarena_destroy(arena);
}

static void what_scopes_gave_back_goes_back(void)
{
    memarena *arena = memarena_create(CAPACITY);
    char *start = first_address(arena), *kept = fill(arena, 1000, 7);
    memarena *scope = memarena_scope(arena);
    for (int i = 0; i < 400; i++) (void)fill(scope, 50000, 2);
    memarena *other = memarena_scope(arena);
    char *alive = fill(other, 300000, 3);
    memarena_destroy(scope);
    CHECK(resident(start, CAPACITY) > 20000000);
    CHECK(memarena_trim(other, 0) > 19000000); /* a scope stands for its arena */
    CHECK(resident(start, CAPACITY) < 2 * MIB);
    check_filled(kept, 1000, 7);
    check_filled(alive, 300000, 3);
    memarena_stats stats;
    memarena_get_stats(arena, &stats, sizeof stats);
    CHECK(stats.free_extent_bytes > 19000000); /* and waits for the next scope */
    scope = memarena_scope(arena);
    for (int i = 0; i < 400; i++) (void)fill(scope, 50000, 4);
    check_filled(alive, 300000, 3);
    memarena_destroy(scope);
    memarena_destroy(other);
    CHECK(memarena_reset(arena));
    memarena_destroy(arena);
}

static void a_reset_keeps_no_more_than_it_is_told(void)
{
    memarena *arena = memarena_create_with(&(memarena_options){.capacity = CAPACITY, .retain_bytes = 4 * MIB});
    CHECK(arena != NULL);
    char *start = first_address(arena);
    for (int generation = 0; generation < 20; generation++) {
        size_t size = generation % 3 == 0 ? 30 * MIB : 3 * MIB;
        for (size_t done = 0; done < size; done += 50000) (void)fill(arena, 50000, generation);
        size_t used = resident(start, CAPACITY);
        CHECK(used >= size);
        CHECK(memarena_reset(arena));
        size_t now = resident(start, CAPACITY);
        CHECK(now <= 4 * MIB + page);
        CHECK(now >= 3 * MIB);
    }
    memarena_destroy(arena);
}

static void fill_five(void *arena)
{
    (void)fill(arena, 5 * MIB, 1);
}

static void what_deferred_calls_have_touched_counts_too(void)
{
    memarena *arena = memarena_create_with(&(memarena_options){.capacity = CAPACITY, .retain_bytes = MIB});
    CHECK(arena != NULL);
    for (int i = 0; i < 2; i++) {
        CHECK(memarena_defer(arena, fill_five, arena));
        CHECK(memarena_reset(arena));
        CHECK(memarena_resident_bytes(arena) <= MIB + page);
    }
    memarena_destroy(arena);
}

/* Never used, or used and huge: no less than other memory. */
static void memory_that_came_by_a_flag_goes_back(void)
{
    const size_t capacity = 32 * MIB;
    const unsigned flags[] = {MEMARENA_PREFAULT, MEMARENA_HUGE_PAGES, MEMARENA_HUGE_PAGES | MEMARENA_PREFAULT,
                              MEMARENA_PREFAULT | test_traps()};
    for (size_t i = 0; i < sizeof flags / sizeof *flags; i++) {
        bool unused = flags[i] & MEMARENA_PREFAULT;
        memarena *arena = memarena_create_with(&(memarena_options){.capacity = capacity, .flags = flags[i]});
        CHECK(arena || flags[i] & MEMARENA_HUGE_PAGES); /* a kernel may have none */
        if (!arena) continue;
        for (size_t done = 0; !unused && done < capacity * 7 / 8; done += 100000) (void)fill(arena, 100000, 1);
        CHECK(memarena_reset(arena));
        char *block = fill(arena, 1000, 7);
        size_t before = memarena_resident_bytes(arena);
        CHECK(before >= (unused ? capacity : capacity * 7 / 8));
        CHECK_EQ(memarena_trim(arena, before), 0);
        CHECK_EQ(memarena_trim(arena, 8 * MIB), before - 8 * MIB);
        CHECK_EQ(memarena_resident_bytes(arena), 8 * MIB);
        CHECK(memarena_trim(arena, 0) > 7 * MIB);
        CHECK(memarena_resident_bytes(arena) < MIB);
        check_filled(block, 1000, 7);
        CHECK(memarena_reset(arena));
        (void)memarena_trim(arena, 0);
        char *whole = memarena_alloc_aligned(arena, capacity, 8);
        CHECK(whole != NULL);
        CHECK_EQ(resident(whole, capacity), 0);
        memset(whole, 1, capacity);
        CHECK_EQ(memarena_resident_bytes(arena), capacity);
        memarena_destroy(arena);
    }
}

static void a_buffer_is_left_alone(void)
{
    static _Alignas(4096) char buffer[1 << 20];
    CHECK(!memarena_create_with(&(memarena_options){.buffer = buffer, .capacity = sizeof buffer, .retain_bytes = 1}));
    CHECK_EQ(errno, EINVAL);
    memarena *arena = memarena_create_with(&(memarena_options){.buffer = buffer, .capacity = sizeof buffer});
    (void)fill(arena, 500000, 1);
    CHECK(memarena_reset(arena));
    size_t before = resident(buffer, sizeof buffer);
    CHECK_EQ(memarena_trim(arena, 0), 0);
    CHECK_EQ(resident(buffer, sizeof buffer), before);
    memarena_destroy(arena);
}

/* ---- In the middle of it --------------------------------------------------------------------------------------------- */

/* What happens at each look at pages, and at each piece that goes back. */
static void (*at_look)(void), (*at_discard)(void);
static int small_pages;              /* how often they were asked for */
static uintptr_t locked, locked_end; /* what the system does not take */

int __wrap_madvise(void *address, size_t length, int advice);
int __real_madvise(void *address, size_t length, int advice);
int __wrap_madvise(void *address, size_t length, int advice)
{
    if (at_discard && advice == MADV_DONTNEED) at_discard();
    small_pages += advice == MADV_NOHUGEPAGE;
    if (advice == MADV_DONTNEED && (uintptr_t)address < locked_end && locked < (uintptr_t)address + length) {
        errno = EINVAL;
        return -1;
    }
    return __real_madvise(address, length, advice);
}

int __wrap_mincore(void *address, size_t length, unsigned char *states);
int __real_mincore(void *address, size_t length, unsigned char *states);
int __wrap_mincore(void *address, size_t length, unsigned char *states)
{
    if (at_look) at_look();
    return __real_mincore(address, length, states);
}

/* Where huge pages come unasked a reset that is to keep 1 MiB would otherwise keep two or more. */
static void an_arena_that_counts_its_bytes_has_small_pages(void)
{
    static const struct {
        size_t retain_bytes;
        unsigned flags;
        int asked;
    } of[] = {{MIB, 0, 1}, {0, 0, 0}, {MEMARENA_RETAIN_AUTO, 0, 0}, {MIB, MEMARENA_HUGE_PAGES, 0}};
    for (int i = 0; i < 4; i++) {
        small_pages = 0;
        memarena *arena = memarena_create_with(
            &(memarena_options){.capacity = CAPACITY, .retain_bytes = of[i].retain_bytes, .flags = of[i].flags});
        CHECK(arena || of[i].flags); /* a kernel may have no huge pages */
        CHECK(!arena || small_pages == of[i].asked);
        memarena_destroy(arena);
    }
}

/* As by mlock. */
static void what_could_not_be_given_is_given_later(void)
{
    memarena *arena = memarena_create_with(&(memarena_options){.capacity = CAPACITY, .retain_bytes = MIB});
    CHECK(arena != NULL);
    char *block = fill(arena, 8 * MIB, 1);
    locked = (uintptr_t)block + 3 * MIB;
    locked_end = locked + 2 * MIB;
    for (int i = 0; i < 3; i++) { /* what lies around it goes at once */
        CHECK(memarena_reset(arena));
        CHECK(memarena_resident_bytes(arena) >= 2 * MIB && memarena_resident_bytes(arena) <= 5 * MIB);
    }
    locked = locked_end = 0;
    CHECK(memarena_reset(arena));
    CHECK(memarena_resident_bytes(arena) <= MIB + page);
    memarena_destroy(arena);
}

enum { TAKEN_MAX = 4000, TAKEN_BYTES = 5000 };

static struct {
    memarena *arena;
    char *blocks[TAKEN_MAX];
    int count, scopes, pieces;
    bool refused;
} middle;

/* One block directly from a source, one from a TLAB. */
static void take_blocks(void)
{
    for (int i = 0; i < 2 && middle.count < TAKEN_MAX; i++) {
        char *block = memarena_alloc(middle.arena, TAKEN_BYTES);
        if (block) middle.blocks[middle.count++] = memset(block, 5, TAKEN_BYTES);
    }
}

/* A scope is refused nothing that blocks are not, and ends meanwhile, too. */
static void take_in_scopes(void)
{
    memarena *scope = memarena_scope(middle.arena);
    CHECK(scope != NULL);
    char *block = fill(scope, 20000, 6);
    check_filled(block, 20000, 6);
    memarena_destroy(scope);
    middle.scopes++;
    take_blocks();
}

static void reset_in_vain(void)
{
    errno = 0;
    CHECK(!memarena_reset(middle.arena) && errno == EBUSY);
    middle.pieces++;
}

static void ask_in_vain(void)
{
    middle.refused = memarena_alloc(middle.arena, 5 * MIB) == NULL;
    middle.pieces++;
}

static void begin_middle(size_t capacity)
{
    middle.arena = test_create(capacity);
    CHECK(middle.arena != NULL);
    middle.count = middle.scopes = middle.pieces = 0;
    middle.refused = false;
}

static void touch_all(void)
{
    for (char *block; (block = memarena_alloc(middle.arena, 8000)) != NULL;) memset(block, 1, 8000);
    CHECK(memarena_reset(middle.arena));
}

static void what_is_taken_meanwhile_keeps_its_bytes(void)
{
    static void (*const actions[])(void) = {take_blocks, take_in_scopes};
    for (int round = 0; round < 4; round++) {
        begin_middle(8 * MIB);
        touch_all();
        memarena *open = memarena_scope(middle.arena);
        (void)fill(open, MIB, 4);
        memarena_destroy(open);
        *(round & 1 ? &at_look : &at_discard) = actions[round / 2];
        CHECK(memarena_trim(middle.arena, 0) > MIB);
        at_look = at_discard = NULL;
        CHECK(middle.count > 0);
        for (int i = 0; i < middle.count; i++) check_filled(middle.blocks[i], TAKEN_BYTES, 5);
        CHECK(memarena_reset(middle.arena));
        memarena_destroy(middle.arena);
    }
}

static int looks;

static void count_look(void)
{
    looks++;
}

/* Else the frontier, whose addresses are the last, would go and come back with each generation. */
static void what_the_last_generation_needed_goes_last(void)
{
    memarena *arena = memarena_create_with(&(memarena_options){.capacity = CAPACITY, .retain_bytes = 4 * MIB});
    for (int n = 0; n < 5000; n++) (void)fill(arena, 5000, 1);
    CHECK(memarena_reset(arena));
    for (int n = 0; n < 20; n++) {
        (void)fill(arena, MIB, 1);
        for (int blocks = 0; blocks < 200; blocks++) (void)fill(arena, 5000, 1);
        looks = 0;
        at_discard = count_look;
        CHECK(memarena_reset(arena));
        at_discard = NULL;
        CHECK(looks > 0 ? n == 0 : n > 0);
    }
    memarena_destroy(arena);
}

/* In many shards, each with a last page that is begun. */
static void what_was_kept_is_not_looked_at_again(void)
{
    memarena *arena = memarena_create_with(&(memarena_options){.capacity = CAPACITY, .retain_bytes = 4 * MIB});
    for (int i = 0; i < 3; i++) {
        (void)fill(arena, 30 * MIB, 1); /* in the frontier */
        for (size_t n = 0; n < 400; n++) (void)fill(arena, 5000 + n, 1);
        CHECK(memarena_reset(arena));
        at_look = count_look;
        looks = 0;
        for (int n = 0; n < 20; n++) {
            for (size_t blocks = 0; blocks < 400; blocks++) (void)fill(arena, 5000 + blocks, 1);
            CHECK(memarena_reset(arena));
        }
        at_look = NULL;
        CHECK_EQ(looks, 0);
    }
    memarena_destroy(arena);
}

static void no_reset_comes_in_between(void)
{
    begin_middle(8 * MIB);
    touch_all();
    at_discard = reset_in_vain;
    CHECK(memarena_trim(middle.arena, 0) > 7 * MIB);
    at_discard = NULL;
    CHECK(middle.pieces > 1);
    CHECK(memarena_reset(middle.arena));
    memarena_destroy(middle.arena);
}

/* (One that is refused meanwhile has waited, and would have got what comes back if that were another thread's.) */
static void it_stops_when_a_request_finds_no_room(void)
{
    begin_middle(64 * MIB);
    memarena *scope = memarena_scope(middle.arena), *other = memarena_scope(middle.arena);
    (void)fill(scope, 6 * MIB, 1);
    (void)fill(other, 2 * MIB, 1);
    while (memarena_alloc(middle.arena, 64)) continue;
    memarena_destroy(scope);
    memarena_destroy(other); /* only what these give back is free now */
    at_discard = ask_in_vain;
    size_t given = memarena_trim(middle.arena, 0);
    at_discard = NULL;
    CHECK(middle.refused);
    CHECK_EQ(middle.pieces, 1);
    CHECK(given >= 6 * MIB && given < 8 * MIB);
    CHECK(memarena_alloc(middle.arena, 5 * MIB) != NULL); /* and it is back */
    memarena_destroy(middle.arena);
}

/* ---- With others at work --------------------------------------------------------------------------------------------- */

#define WORKERS 3u
#ifdef MA_TAG_BITS /* with yields */
#define ROUNDS 800
#else
#define ROUNDS 8000
#endif
#define SMALL (16 * MIB)

static struct {
    memarena *arena;
    bool over;
    long rounds; /* of all workers */
    size_t given;
} race;

#include "patience.h"

static void *keep_trimming(void *unused)
{
    (void)unused;
    while (!__atomic_load_n(&race.over, __ATOMIC_ACQUIRE)) {
        size_t given = memarena_trim(race.arena, 0);
        __atomic_store_n(&race.given, race.given + given, __ATOMIC_RELAXED);
        usleep(20); /* or a reset would hardly ever find a moment */
    }
    return NULL;
}

static bool is_over(void)
{
    return __atomic_load_n(&race.over, __ATOMIC_ACQUIRE);
}

/* Writes into blocks and looks again later. */
static void *write_and_look(void *argument)
{
    enum { BLOCKS = 64 };
    char *blocks[BLOCKS];
    size_t sizes[BLOCKS];
    unsigned long long random = test_seed((uintptr_t)argument);
    while (!is_over()) {
        memarena *scope = memarena_scope(race.arena);
        if (!scope) continue;
        for (int i = 0; i < BLOCKS; i++) {
            sizes[i] = test_between(&random, 1, 20000);
            blocks[i] = memarena_alloc(i % 16 ? scope : race.arena, sizes[i]); /* few, or it is full for long */
            if (blocks[i]) memset(blocks[i], i + 1, sizes[i]);
        }
        for (int i = 0; i < BLOCKS; i++)
            if (blocks[i]) check_filled(blocks[i], sizes[i], i + 1);
        memarena_destroy(scope);
        (void)memarena_reset(race.arena); /* whoever finds nothing open */
        (void)__atomic_fetch_add(&race.rounds, 1, __ATOMIC_RELAXED);
    }
    return NULL;
}

static void nobody_loses_a_byte_while_another_trims(void)
{
    pthread_t workers[WORKERS], trimmer;
    race.arena = test_create(SMALL);
    race.over = false;
    race.given = 0;
    race.rounds = 0;
    for (uintptr_t i = 0; i < WORKERS; i++) workers[i] = test_start(write_and_look, (void *)(i + 1));
    trimmer = test_start(keep_trimming, NULL);
    /* Until both have got on. */
    for (long rounds = 0, enough = test_scaled(ROUNDS); rounds < 50 * enough;) {
        rounds = __atomic_load_n(&race.rounds, __ATOMIC_RELAXED);
        if (rounds >= enough && __atomic_load_n(&race.given, __ATOMIC_RELAXED) > 0) break;
        usleep(1000);
    }
    __atomic_store_n(&race.over, true, __ATOMIC_RELEASE);
    for (unsigned i = 0; i < WORKERS; i++) test_join(workers[i]);
    test_join(trimmer);
    CHECK(race.given > 0);
    CHECK(memarena_reset(race.arena)); /* nothing is left open */
    memarena_destroy(race.arena);
}

static void *take_all(void *argument)
{
    size_t *taken = argument;
    for (char *block; (block = memarena_alloc(race.arena, 1024)) != NULL;) memset(block, 1, 1024), *taken += 1024;
    return NULL;
}

/* Trimming hides room for moments; no request may take that for the end. */
static void an_arena_is_filled_to_its_end_while_another_trims(void)
{
    race.arena = test_create(SMALL);
    race.over = false;
    pthread_t trimmer = test_start(keep_trimming, NULL);
    for (long round = 0; round < test_scaled(60); round++) {
        pthread_t workers[WORKERS];
        size_t taken[WORKERS] = {0}, sum = 0;
        while (!memarena_reset(race.arena)) continue;
        for (unsigned i = 0; i < WORKERS; i++) workers[i] = test_start(take_all, &taken[i]);
        for (unsigned i = 0; i < WORKERS; i++) {
            test_join(workers[i]);
            sum += taken[i];
        }
        CHECK(sum <= SMALL);
        CHECK(sum >= SMALL - WORKERS * ((size_t)64 << 10)); /* what is left in their TLABs */
    }
    __atomic_store_n(&race.over, true, __ATOMIC_RELEASE);
    test_join(trimmer);
    memarena_destroy(race.arena);
}

int main(void)
{
    page = (size_t)sysconf(_SC_PAGESIZE);
    memarena *arena = memarena_create(MIB);
    memarena_stats stats;
    memarena_get_stats(arena, &stats, sizeof stats);
    memarena_destroy(arena);
    if (!stats.watched) { /* a watched arena spreads its blocks */
        RUN(dead_memory_goes_back_but_what_is_to_be_kept);
        RUN(the_first_addresses_are_kept);
        RUN(what_scopes_gave_back_goes_back);
        RUN(memory_that_came_by_a_flag_goes_back);
        RUN(a_reset_keeps_no_more_than_it_is_told);
        RUN(what_deferred_calls_have_touched_counts_too);
        RUN(what_was_kept_is_not_looked_at_again);
        RUN(what_the_last_generation_needed_goes_last);
        RUN(what_is_taken_meanwhile_keeps_its_bytes); /* (a watched one has a single source, which is borrowed then) */
        RUN(it_stops_when_a_request_finds_no_room);
    }
    RUN(live_blocks_keep_their_bytes);
    RUN(an_arena_that_counts_its_bytes_has_small_pages);
    RUN(what_could_not_be_given_is_given_later);
    RUN(a_buffer_is_left_alone);
    RUN(no_reset_comes_in_between);
    RUN(nobody_loses_a_byte_while_another_trims);
    RUN(an_arena_is_filled_to_its_end_while_another_trims);
    return test_done();
}
