/* Arenas whose threads allocate from the TLABs of CPUs: many threads, threads that are moved about, signal handlers, the
 * end of the arena, what is held back. Where the system has no restartable sequences the same holds; CMake runs this
 * test with them switched off, too. */
#include "grain_map.h"
#include "threads.h"

#include <platform/rseq.h>

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#define KIB ((size_t)1 << 10)
#define MIB ((size_t)1 << 20)

static memarena *create(size_t capacity, unsigned flags)
{
    memarena *arena = memarena_create_with(&(memarena_options){.capacity = capacity, .flags = flags});
    CHECK(arena != NULL);
    return arena;
}

/* Whether restartable sequences are in use for all threads of such an arena. */
static bool has_sequences(void)
{
    memarena *arena = create(MIB, MEMARENA_PER_CPU);
    bool has = test_stats(arena).per_cpu == 2;
    memarena_destroy(arena);
    return has;
}

/* Of the C library, where it registers threads; 0 where it is told not to. */
extern const unsigned __rseq_size __attribute__((weak));

static void sequences_are_in_use_wherever_there_are_some(void)
{
    memarena *arena = create(MIB, MEMARENA_PER_CPU);
    bool there_are = MA_RSEQ && &__rseq_size && __rseq_size != 0;
    CHECK_EQ(has_sequences(), there_are && !test_watched(arena));
    memarena_destroy(arena);
}

static cpu_set_t allowed; /* to this process */

/* To CPU n, of those that are allowed. */
static void move_to_cpu(unsigned n)
{
    n %= (unsigned)CPU_COUNT(&allowed);
    for (size_t cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (!CPU_ISSET(cpu, &allowed) || n-- > 0) continue;
        cpu_set_t one;
        CPU_ZERO(&one);
        CPU_SET(cpu, &one);
        CHECK(!sched_setaffinity(0, sizeof one, &one));
        return;
    }
}

/* ---- Threads -------------------------------------------------------------------------------------------------------- */

#define CREW 64
#define CREW_BLOCKS 20000

typedef struct member {
    memarena *arena;
    pthread_barrier_t *start;
    pthread_t thread;
    unsigned number;
    bool moves;
    size_t size; /* 0: random */
    test_log log;
} member;

static void *allocate(void *argument)
{
    member *self = argument;
    unsigned long long random = test_seed(self->number);
    long blocks = test_scaled(CREW_BLOCKS);
    test_meet(self->start);
    for (long i = 0; i < blocks; i++) {
        if (self->moves && i % 64 == 0) move_to_cpu((unsigned)test_random(&random) % 1024);
        size_t size = test_between(&random, 1, i % 100 ? 100 : 5000);
        void *block = memarena_alloc_aligned(self->arena, size, 8);
        CHECK(block != NULL);
        memset(block, (int)self->number, size);
        test_record(&self->log, 1, block, size);
    }
    return NULL;
}

static void run_crew(memarena *arena, bool moves, void *(*run)(void *))
{
    member crew[CREW];
    pthread_barrier_t start;
    test_log all = {0};
    CHECK(!pthread_barrier_init(&start, NULL, CREW));
    for (unsigned i = 0; i < CREW; i++) {
        crew[i] = (member){.arena = arena, .start = &start, .number = i, .moves = moves};
        crew[i].thread = test_start(run, &crew[i]);
    }
    for (unsigned i = 0; i < CREW; i++) {
        test_join(crew[i].thread);
        for (size_t k = 0; k < crew[i].log.count; k++) { /* nobody else wrote here */
            const unsigned char *block = (void *)crew[i].log.blocks[k].begin;
            CHECK(*block == i);
        }
        test_append(&all, &crew[i].log);
        test_forget(&crew[i].log);
    }
    CHECK_EQ(test_check_blocks(arena, &all), memarena_allocated_bytes(arena));
    test_forget(&all);
    CHECK(!pthread_barrier_destroy(&start));
}

static void sixty_four_threads_share_what_the_cpus_have(void)
{
    memarena *arena = create(256 * MIB, MEMARENA_PER_CPU);
    for (int round = 0; round < 3; round++) {
        run_crew(arena, false, allocate);
        memarena_stats stats = test_stats(arena);
        if (stats.per_cpu == 2) CHECK(stats.lanes == 0 && stats.cpu_lanes > 0 && stats.cpu_lanes <= CREW);
        CHECK(memarena_reset(arena));
    }
    test_check_whole(arena, 60000);
    memarena_destroy(arena);
}

static void threads_may_be_moved_at_any_time(void)
{
    memarena *arena = create(256 * MIB, MEMARENA_PER_CPU);
    run_crew(arena, true, allocate);
    memarena_destroy(arena);
}

/* ---- One thread ----------------------------------------------------------------------------------------------------- */

/* But for the rests of TLABs that it has left behind and that have not been found again. */
static void *fill_while_moving(void *argument)
{
    memarena *arena = argument;
    unsigned long long random = test_seed(5);
    long rounds = test_scaled(200), lossy = 0;
    for (long round = 0; round < rounds; round++) {
        test_log log = {0};
        for (size_t most = 20000; most >= 8;) {
            size_t size = test_between(&random, 1, most + 1);
            if (test_random(&random) % 16 == 0) move_to_cpu((unsigned)test_random(&random) % 1024);
            void *block = memarena_alloc_aligned(arena, size, 8);
            if (block)
                test_record(&log, 1, block, size);
            else
                most = test_rounded(size) - 8 < most ? test_rounded(size) - 8 : most - 1;
        }
        size_t filled = test_check_blocks(arena, &log), tails = test_stats(arena).tail_bytes;
        CHECK_EQ(filled, memarena_allocated_bytes(arena));
        CHECK_EQ(filled + tails, memarena_capacity(arena));
        CHECK(tails <= MIB / 16);
        lossy += tails != 0;
        CHECK(memarena_alloc_aligned(arena, 1, 8) == NULL && errno == ENOMEM);
        CHECK(memarena_reset(arena));
        test_forget(&log);
    }
    CHECK(lossy <=
          2 + rounds / 50); /* a lane may have left two rests, and remembers one; otherwise it would be 1 in 30 */
    return NULL;
}

static void one_thread_fills_the_arena_to_the_last_bytes_wherever_it_runs(void)
{
    memarena *arena = create(4 * MIB, MEMARENA_PER_CPU);
    test_join(test_start(fill_while_moving, arena));
    memarena_destroy(arena);
}

static void the_newest_block_grows_in_place(void)
{
    memarena *arena = create(4 * MIB, MEMARENA_PER_CPU);
    unsigned in_place = 0, others = 0;
    for (unsigned i = 0; i < 100; i++) {
        char *block = memarena_alloc(arena, 16);
        CHECK(block != NULL);
        memset(block, 7, 16);
        size_t before = memarena_allocated_bytes(arena);
        char *grown = memarena_realloc(arena, block, 16, 48);
        CHECK(grown != NULL && grown[0] == 7 && grown[15] == 7);
        if (grown == block)
            in_place += memarena_allocated_bytes(arena) == before + 32;
        else
            others++;
    }
    CHECK_EQ(in_place + others, 100);
    CHECK(others < 20); /* where the TLAB ends, and where we were moved just then */
    memarena_destroy(arena);
}

/* ---- The end of the arena, and what is held back -------------------------------------------------------------------------- */

static void *fill_with_small_blocks(void *argument)
{
    member *self = argument;
    test_meet(self->start);
    for (size_t size = self->size; size >= 8; size /= 2)
        while (memarena_alloc_aligned(self->arena, size, 8)) continue;
    return NULL;
}

static unsigned run_many(memarena *arena, unsigned count, void *(*run)(void *), size_t size)
{
    member *crew = calloc(count, sizeof *crew);
    pthread_barrier_t start;
    CHECK(crew != NULL && !pthread_barrier_init(&start, NULL, count));
    for (unsigned i = 0; i < count; i++) {
        crew[i] = (member){.arena = arena, .start = &start, .number = i, .size = size};
        crew[i].thread = test_start(run, &crew[i]);
    }
    for (unsigned i = 0; i < count; i++) test_join(crew[i].thread);
    CHECK(!pthread_barrier_destroy(&start));
    free(crew);
    return count;
}

#define CROWD (TEST_TSAN ? 200u : sizeof(void *) == 4 ? 400u : 1000u)

static void a_thousand_threads_fill_it_to_the_last_hundredths(void)
{
    memarena *arena = create(32 * MIB, MEMARENA_PER_CPU);
    for (size_t size = 64; size <= 1024; size *= 4) {
        (void)run_many(arena, CROWD, fill_with_small_blocks, size);
        size_t given = memarena_allocated_bytes(arena);
        CHECK(given <= memarena_capacity(arena) && given >= memarena_capacity(arena) / 100 * 98);
        CHECK(memarena_reset(arena));
    }
    memarena_destroy(arena);
}

static void *allocate_once(void *argument)
{
    member *self = argument;
    CHECK(memarena_alloc_aligned(self->arena, 24, 8) != NULL);
    test_meet(self->start); /* all are alive, and each has allocated */
    if (self->number == 0) {
        memarena_stats stats = test_stats(self->arena);
        long cpus = sysconf(_SC_NPROCESSORS_CONF);
        CHECK(stats.tlab_bytes <= stats.capacity_bytes / 8);
        CHECK(stats.lanes <= 64 && stats.cpu_lanes <= (unsigned long)cpus);
    }
    test_meet(self->start);
    return NULL;
}

static void many_threads_hold_back_little(void)
{
    for (unsigned flags = 0; flags <= MEMARENA_PER_CPU; flags += MEMARENA_PER_CPU) {
        for (size_t capacity = 64 * KIB; capacity <= 64 * MIB; capacity *= 32) {
            memarena *arena = create(capacity, flags);
            unsigned threads = run_many(arena, CROWD, allocate_once, 0);
            if (!test_stats(arena).watched) CHECK_EQ(memarena_allocated_bytes(arena), threads * 24);
            memarena_destroy(arena);
        }
    }
}

/* ---- Caches ----------------------------------------------------------------------------------------------------------------- */

#define MEETINGS 3000u

static unsigned same_generations[2]; /* generations, for each member */

typedef struct pinned {
    memarena *arena;
    pthread_barrier_t *turn;
    unsigned number;
    uintptr_t before[MEETINGS], now[MEETINGS];
} pinned;

/* Two threads, each on a CPU of its own, allocate in turn; a reset; again. Memory that is in a CPU's cache, and on its
 * node, must come back to it. */
static void *meet_again(void *argument)
{
    pinned *self = argument;
    move_to_cpu(self->number);
    for (unsigned generation = 0; generation < 40; generation++) {
        unsigned long long random = test_seed(self->number);
        for (unsigned turn = 0; turn < 2; turn++) {
            test_meet(self->turn);
            if (turn == 0 && self->number == 0) CHECK(memarena_reset(self->arena));
            test_meet(self->turn);
            for (unsigned i = 0; turn == self->number && i < MEETINGS; i++)
                self->now[i] = (uintptr_t)memarena_alloc_aligned(self->arena, test_between(&random, 1, 400), 8);
        }
        unsigned same = 0;
        for (unsigned i = 0; i < MEETINGS; i++) same += self->now[i] == self->before[i];
        /* TLABs grow in the first generations, and the kernel may have to give a thread another number once. */
        same_generations[self->number] += generation >= 10 && same == MEETINGS;
        memcpy(self->before, self->now, sizeof self->before);
    }
    return NULL;
}

static void a_thread_on_its_cpu_meets_the_same_addresses_after_a_reset(void)
{
    for (unsigned flags = 0; flags <= MEMARENA_PER_CPU; flags += MEMARENA_PER_CPU) {
        static pinned members[2];
        pthread_barrier_t turn;
        pthread_t threads[2];
        memarena *arena = create(64 * MIB, flags);
        CHECK(!pthread_barrier_init(&turn, NULL, 2));
        memset(same_generations, 0, sizeof same_generations);
        for (unsigned i = 0; i < 2; i++) {
            members[i] = (pinned){.arena = arena, .turn = &turn, .number = i};
            threads[i] = test_start(meet_again, &members[i]);
        }
        for (unsigned i = 0; i < 2; i++) test_join(threads[i]);
        CHECK(!pthread_barrier_destroy(&turn));
        printf("    %u and %u of 30 generations\n", same_generations[0], same_generations[1]);
        CHECK(same_generations[0] >= 25 && same_generations[1] >= 25);
        memarena_destroy(arena);
    }
}

/* ---- Signals --------------------------------------------------------------------------------------------------------------- */

#define HANDLED_MAX 400000u

static memarena *interrupted;
static void *handled[HANDLED_MAX];
static volatile unsigned handled_count, ticks;
static bool has_enough;

static void allocate_in_handler(int signal)
{
    (void)signal;
    int saved = errno;
    ticks = ticks + 1;
    for (unsigned i = 0; i < 3 && handled_count < HANDLED_MAX; i++) {
        void *block = memarena_alloc_aligned(interrupted, 24, 8);
        if (!block) break;
        memset(block, 0xEE, 24);
        handled[handled_count] = block;
        handled_count = handled_count + 1;
    }
    errno = saved;
}

/* Interrupts the thread to whom `argument` points, as often as the machine lets it: 10,000 times a second on a quiet one. */
static void *keep_interrupting(void *argument)
{
    const struct timespec pause = {.tv_nsec = 45000};
    (void)prctl(PR_SET_TIMERSLACK, 1uL);
    while (!__atomic_load_n(&has_enough, __ATOMIC_RELAXED)) {
        CHECK(!pthread_kill(*(pthread_t *)argument, SIGALRM));
        (void)clock_nanosleep(CLOCK_MONOTONIC, 0, &pause, NULL);
    }
    return NULL;
}

static void check_round(grain_map *map, test_log *log)
{
    size_t sum = 0;
    for (unsigned i = 0; i < handled_count; i++) test_record(log, 1, handled[i], 24);
    map_clear(map);
    for (size_t i = 0; i < log->count; i++) {
        const unsigned char *block = (void *)log->blocks[i].begin;
        size_t bytes = log->blocks[i].end - log->blocks[i].begin;
        unsigned char mark = bytes == 24 ? 0xEE : 0x11;
        map_add(map, block, bytes);
        CHECK(block[0] == mark && block[23] == mark);
        sum += bytes;
    }
    CHECK_EQ(sum, memarena_allocated_bytes(interrupted));
    log->count = 0;
}

#define INTERRUPTIONS 15000

/* The same arena in the handler and in what it interrupts: promised where there are sequences. Until there were so many
 * interruptions, however long that takes. */
static void a_handler_may_use_the_arena_that_it_interrupted(void)
{
    if (!has_sequences()) return;
    struct sigaction action = {.sa_handler = allocate_in_handler, .sa_flags = SA_RESTART}, before;
    pthread_t self = pthread_self();
    sigset_t alarms;
    interrupted = create(64 * MIB, MEMARENA_PER_CPU);
    CHECK(!sigemptyset(&alarms) && !sigaddset(&alarms, SIGALRM) && !sigaction(SIGALRM, &action, &before));
    pthread_t interrupter = test_start(keep_interrupting, &self);
    grain_map map = map_make(interrupted);
    test_log log = {0};
    long enough = test_scaled(INTERRUPTIONS);
    unsigned rounds = 0;
    for (; rounds < 3 || (long)ticks < enough; rounds++) {
        for (unsigned i = 0; i < 200000; i++) {
            void *block = memarena_alloc_aligned(interrupted, i % 512 ? 40 : 9000, 8);
            CHECK(block != NULL);
            memset(block, 0x11, 40);
            test_record(&log, 1, block, i % 512 ? 40 : 9000);
        }
        CHECK(!pthread_sigmask(SIG_BLOCK, &alarms, NULL)); /* one may be pending, for the next round */
        check_round(&map, &log);
        CHECK(memarena_reset(interrupted));
        handled_count = 0;
        CHECK(!pthread_sigmask(SIG_UNBLOCK, &alarms, NULL));
    }
    __atomic_store_n(&has_enough, true, __ATOMIC_RELAXED);
    test_join(interrupter);
    CHECK(!sigaction(SIGALRM, &before, NULL));
    printf("    %u signals in %u rounds\n", ticks, rounds);
    free(map.taken);
    test_forget(&log);
    memarena_destroy(interrupted);
}

/* ---- Options ---------------------------------------------------------------------------------------------------------------- */

static void a_buffer_has_room_for_it_or_does_without(void)
{
    static _Alignas(64) char buffer[MIB];
    for (size_t bytes = 8 * KIB; bytes <= sizeof buffer; bytes *= 2) {
        memarena_options options = {.buffer = buffer, .capacity = bytes, .flags = MEMARENA_PER_CPU};
        memarena *arena = memarena_create_with(&options);
        CHECK(arena != NULL);
        size_t capacity = memarena_capacity(arena);
        CHECK(capacity >= bytes - bytes / 8);
        if (bytes == MIB && has_sequences() && sysconf(_SC_NPROCESSORS_CONF) < 500)
            CHECK_EQ(test_stats(arena).per_cpu, 2);
        test_check_whole(arena, 3000);
        memarena_destroy(arena);
    }
}

/* ---- Before main ------------------------------------------------------------------------------------------------------------ */

static struct {
    memarena *arena;
    int *block;
} early[2];

__attribute__((constructor)) static void allocate_before_main(void)
{
    for (unsigned i = 0; i < 2; i++) {
        early[i].arena = create(MIB, i * MEMARENA_PER_CPU);
        early[i].block = memarena_new_value(early[i].arena, int, 42);
    }
}

static void a_constructor_before_main_may_allocate(void)
{
    for (unsigned i = 0; i < 2; i++) {
        CHECK(early[i].block != NULL && *early[i].block == 42);
        test_check_whole(early[i].arena, 3000);
        memarena_destroy(early[i].arena);
    }
}

int main(void)
{
    CHECK(!sched_getaffinity(0, sizeof allowed, &allowed));
    printf("restartable sequences: %s\n", has_sequences() ? "yes" : "no");
    RUN(sequences_are_in_use_wherever_there_are_some);
    RUN(a_constructor_before_main_may_allocate);
    RUN(sixty_four_threads_share_what_the_cpus_have);
    RUN(threads_may_be_moved_at_any_time);
    RUN(one_thread_fills_the_arena_to_the_last_bytes_wherever_it_runs);
    RUN(the_newest_block_grows_in_place);
    RUN(a_thousand_threads_fill_it_to_the_last_hundredths);
    RUN(many_threads_hold_back_little);
    RUN(a_thread_on_its_cpu_meets_the_same_addresses_after_a_reset);
    RUN(a_handler_may_use_the_arena_that_it_interrupted);
    RUN(a_buffer_has_room_for_it_or_does_without);
    return test_done();
}
