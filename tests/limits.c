/* Limits, one too few and one too many: what a lane keeps, how long a call waits, where a picture, a table or a list ends. Some
 * are asked of the parts themselves, since a program would see them only by chance. */
#include "threads.h"

#include "internals.h"
#include "platform/os.h"

#include <sched.h>
#include <string.h>

#define KIB ((size_t)1 << 10)
#define MIB ((size_t)1 << 20)

void test_yield(void); /* of a library that is built with it */
void test_yield(void)
{
}

/* ---- Stand-ins --------------------------------------------------------------------------------------------------------- */

static unsigned naps, yields;
static unsigned yields_before_it_is_numbered; /* the process; 0: it has a number */
static uint64_t own_number;
static void (*at_nap)(void);

void __real_ma_os_nap(long nanoseconds);
void __wrap_ma_os_nap(long nanoseconds);
void __wrap_ma_os_nap(long nanoseconds)
{
    (void)nanoseconds;
    naps++;
    if (at_nap) at_nap();
}

int __real_sched_yield(void);
int __wrap_sched_yield(void);
int __wrap_sched_yield(void)
{
    yields++;
    if (yields_before_it_is_numbered == yields) ma_store_release(ma_process()->number, own_number);
    return __real_sched_yield();
}

static bool refuses_fence;

bool __real_ma_rseq_fence(void);
bool __wrap_ma_rseq_fence(void);
bool __wrap_ma_rseq_fence(void)
{
    return !refuses_fence && __real_ma_rseq_fence();
}

static memarena *create(size_t capacity, unsigned flags)
{
    memarena *arena = memarena_create_with(&(memarena_options){.capacity = capacity, .flags = flags});
    CHECK(arena != NULL);
    naps = yields = 0;
    at_nap = NULL;
    return arena;
}

/* ---- Samples ------------------------------------------------------------------------------------------------------------- */

static void only_a_block_with_the_chosen_byte_is_reported(void)
{
    memarena *handle = create(MIB, 0);
    const ma_arena *arena = ma_arena_of(handle);
    CHECK(memarena_sample(handle, 1000, test_sampled, handle));
    uintptr_t chosen = 4096;
    for (uintptr_t begin = chosen - 64; begin <= chosen; begin += 8) {
        for (uintptr_t end = begin + 8; end <= chosen + 64; end += 8) {
            uintptr_t at = chosen;
            uint16_t round = (uint16_t)arena->sampling.round;
            uint64_t weight = ma_sample_pass(arena, &at, &round, begin, end);
            CHECK_EQ(weight, end > chosen ? 1000 + (end - chosen - 1) : 0);
            CHECK(end > chosen ? at >= end : at == chosen);
        }
    }
    memarena_destroy(handle);
}

/* ---- Extents ------------------------------------------------------------------------------------------------------------- */

/* All that its stacks count are free, and there are no others. */
static void check_cache(const ma_arena *arena)
{
    const ma_extent_cache *cache = ma_lane_cache(arena);
    uint32_t units = 0;
    for (unsigned i = 0; i < MA_CACHED_CLASSES; i++) units += (i + 1) * cache->counts[i];
    CHECK_EQ(units, cache->units);
    CHECK(units + (cache->ready != 0) <= cache->units_max);
}

static void end_scopes(memarena *arena)
{
    enum { SCOPES = 200 };
    memarena *scopes[SCOPES];
    for (size_t size = 100; size < 4 * KIB; size += 900) {
        unsigned count = 0;
        for (; count < SCOPES && (scopes[count] = memarena_scope(arena)) != NULL; count++)
            (void)memarena_alloc(scopes[count], size);
        for (unsigned i = 0; i < count; i++) {
            memarena_destroy(scopes[i]);
            check_cache(ma_arena_of(arena));
        }
        const ma_extent_cache *cache = ma_lane_cache(ma_arena_of(arena));
        CHECK(cache->units_max < 4 || cache->units + 4 > cache->units_max); /* nearly full: it is of use */
    }
}

static void a_lane_keeps_no_more_free_extents_than_it_may(void)
{
    for (size_t capacity = 64 * KIB; capacity <= 4 * MIB; capacity *= 4) {
        memarena *arena = create(capacity, 0);
        end_scopes(arena);
        memarena_destroy(arena);
    }
}

/* ---- CPU lanes ------------------------------------------------------------------------------------------------------------- */

/* A lane of which nobody is the CPU: as if its CPU did nothing just now. With `bytes` left in its TLAB. */
static ma_lane *fill_another_lane(ma_arena *arena, ma_request *request, size_t bytes)
{
    ma_lane *lane = ma_arena_cpu_lane(arena, 1);
    request->generation = arena->pool.generation;
    request->alignment = 8, request->size = bytes;
    lane->holder = 1;
    ma_lane_enter(arena, lane, request->generation);
    lane->tlab_bytes = (uint32_t)bytes;
    CHECK_EQ(ma_lane_refill(arena, lane, request), MA_CLAIMED);
    CHECK_EQ(ma_account_waiting(lane), bytes);
    return lane;
}

static void open_lane(ma_lane *lane)
{
    ma_store_release(&lane->tlab.end_, lane->limit);
    lane->holder = 0;
}

/* Of blocks of `size` bytes. */
static size_t fill(memarena *arena, size_t size)
{
    size_t sum = 0;
    while (memarena_alloc_aligned(arena, size, 8)) sum += size;
    return sum;
}

/* An arena that is full but for what waits in that lane: in its TLAB, and (`tail`) in a rest that it has left behind. NULL: there is
 * none of that here. `shift`: how far from where it would be. */
static memarena *create_full(size_t shift, size_t waiting, size_t tail, ma_lane **lane)
{
    memarena *arena = create(4 * MIB, MEMARENA_PER_CPU);
    ma_arena *root = ma_arena_of(arena);
    if (root->cpus.count < 2) {
        memarena_destroy(arena);
        return NULL;
    }
    ma_request request = {0};
    ma_span span;
    uint64_t probes = 0;
    for (unsigned i = 0; i <= root->pool.shard_count && shift; i++) {
        request = (ma_request){.generation = 1, .size = shift, .alignment = 8};
        CHECK_EQ(ma_pool_claim(&root->pool, i, &request, &span, &probes), MA_CLAIMED);
    }
    for (size_t bytes = tail ? tail : waiting; bytes; bytes = bytes == tail && tail != waiting ? waiting : 0) {
        *lane = fill_another_lane(root, &request, bytes);
        request.size = 8, request.want = 0; /* somebody claims right behind it */
        CHECK_EQ(ma_pool_claim(&root->pool, (*lane)->source, &request, &span, &probes), MA_CLAIMED);
    }
    CHECK_EQ((*lane)->tail_bytes, tail);
    (void)fill(arena, 20 * KIB);
    while (root->tlab_limit[2] && (probes = 0, request.size = 8, request.want = MIB,
                                   ma_pool_claim(&root->pool, 0, &request, &span, &probes) == MA_CLAIMED))
        continue;
    for (unsigned number = 0; number < root->cpus.count; number++) {
        ma_lane *other = ma_arena_cpu_lane(root, number);
        if (other != *lane && other->generation) ma_lane_abandon(other);
    }
    open_lane(*lane);
    return arena;
}

static void what_waits_in_another_cpus_lane_is_taken_only_behind_a_barrier(void)
{
    ma_lane *lane;
    memarena *arena = create_full(0, 1024, 0, &lane);
    if (!arena) return;
    uintptr_t cursor = lane->tlab.cursor_, limit = lane->limit;
    refuses_fence = true;
    CHECK(memarena_alloc_aligned(arena, 64, 8) == NULL && errno == ENOMEM);
    refuses_fence = false;
    CHECK(lane->tlab.cursor_ == cursor && lane->tlab.end_ == limit && lane->limit == limit && lane->holder == 0);
    CHECK_EQ(fill(arena, 64), 1024);
    memarena_destroy(arena);
}

static void a_rest_that_a_cpu_has_left_behind_is_taken_to_its_last_bytes(void)
{
    static const size_t sizes[] = {8, 24, 64, 200, 1024};
    for (unsigned i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        ma_lane *lane;
        memarena *arena = create_full(0, 512, 1024, &lane);
        if (!arena) return;
        size_t sum = fill(arena, sizes[i]);
        CHECK_EQ(lane->tail_bytes + sum + ma_account_waiting(lane), 1024 + 512);
        sum += fill(arena, 8);
        CHECK_EQ(sum, 1024 + 512);
        CHECK_EQ(lane->tail_bytes, 0);
        memarena_destroy(arena);
    }
}

/* Of what lies before a block, for its alignment, and behind it. */
static void the_larger_part_of_a_rest_is_remembered(void)
{
    for (size_t shift = 0; shift < 2048; shift += 256) {
        ma_lane *lane;
        memarena *arena = create_full(shift, 8, 2048, &lane);
        if (!arena) return;
        uintptr_t place = (uintptr_t)(lane->tail << MA_GRAIN_BITS & MA_CAPACITY_MAX);
        uintptr_t begin = ma_arena_of(arena)->pool.base + place, at = (begin + 2047) & ~(uintptr_t)2047;
        uintptr_t before = at - begin, behind = 2048 - before - 8;
        if (before <= 2040) {
            CHECK_EQ((uintptr_t)memarena_alloc_aligned(arena, 8, 2048), at);
            CHECK_EQ(fill(arena, 8), 8 + (before > behind ? before : behind));
        }
        memarena_destroy(arena);
    }
}

static unsigned reports;

static void count_report(void *unused, memarena *handle, void *block, size_t size, size_t weight)
{
    (void)unused, (void)handle, (void)block, (void)size, (void)weight;
    reports++;
}

static void a_sample_holds_for_the_next_block_of_a_cpu(void)
{
    memarena *arena = create(4 * MIB, MEMARENA_PER_CPU);
    for (int i = 0; i < 10; i++) CHECK(memarena_alloc_aligned(arena, 24, 8) != NULL);
    CHECK(memarena_sample(arena, 1, count_report, NULL));
    for (reports = 0; reports < 5;) {
        unsigned before = reports;
        CHECK(memarena_alloc_aligned(arena, 24, 8) != NULL);
        CHECK_EQ(reports, before + 1);
    }
    memarena_destroy(arena);
}

/* ---- Patience --------------------------------------------------------------------------------------------------------------- */

static memarena *patient;
static ma_pin pin;
static unsigned naps_before_it_ends;

/* A thread that is in the middle of memarena_defer, and has lost its processor. */
static void begin_to_defer(void *unused)
{
    (void)unused;
    (void)ma_pin_begin(ma_arena_of(patient), &pin, MA_PIN_DEFER);
}

static void end_to_defer(void)
{
    if (naps == naps_before_it_ends) ma_pin_end(&pin);
}

/* Such a reset has changed something already, and is patient: it is refused only after MA_YIELDS naps. */
static void a_reset_that_has_run_calls_lets_one_that_defers_go_on(void)
{
    for (naps_before_it_ends = 1; naps_before_it_ends <= MA_YIELDS; naps_before_it_ends += (MA_YIELDS - 1) / 3) {
        patient = create(MIB, 0);
        CHECK(memarena_defer(patient, begin_to_defer, NULL));
        at_nap = end_to_defer;
        CHECK(memarena_reset(patient));
        CHECK_EQ(naps, naps_before_it_ends);
        memarena_destroy(patient);
    }
}

/* One that has run none is refused soon. */
static void a_reset_that_meets_one_that_defers_is_refused_after_some_yields(void)
{
    patient = create(MIB, 0);
    begin_to_defer(NULL);
    yields = 0;
    CHECK(!memarena_reset(patient) && errno == EBUSY);
    CHECK(yields == 16 && naps == 0);
    ma_pin_end(&pin);
    CHECK(memarena_reset(patient));
    memarena_destroy(patient);
}

/* A trim may take long: nobody waits for it. */
static void a_reset_does_not_wait_for_a_trim(void)
{
    memarena *arena = create(MIB, 0);
    (void)ma_pin_begin(ma_arena_of(arena), &pin, MA_PIN_TRIM);
    CHECK(!memarena_reset(arena) && errno == EBUSY);
    CHECK(yields == 0 && naps == 0);
    ma_pin_end(&pin);
    memarena_destroy(arena);
}

/* A call that defers another does not wait for the reset in which it runs. */
static void defer_another(void *unused)
{
    (void)unused;
    CHECK(memarena_defer(patient, free, NULL));
}

static void a_deferred_call_does_not_wait_for_itself(void)
{
    patient = create(MIB, 0);
    for (int i = 0; i < 5; i++) CHECK(memarena_defer(patient, defer_another, NULL));
    CHECK(memarena_reset(patient));
    CHECK(yields == 0 && naps == 0);
    memarena_destroy(patient);
}

/* What is announced is taken back, or each request that finds no room would wait. */
static void nobody_waits_for_a_run_that_is_over(void)
{
    memarena *arena = create(4 * MIB, 0);
    void *block;
    memarena *scope = memarena_scope(arena);
    CHECK(scope && memarena_alloc(scope, 100 * KIB) && memarena_alloc(scope, 100 * KIB));
    memarena_destroy(scope);
    (void)memarena_trim(arena, 0);
    while ((block = memarena_alloc_aligned(arena, 3 * MIB, 8)) != NULL) continue;
    (void)memarena_trim(arena, 0);
    (void)fill(arena, 100 * KIB), (void)fill(arena, 8);
    (void)memarena_trim(arena, 0);
    yields = naps = 0;
    CHECK(memarena_alloc_aligned(arena, 8, 8) == NULL && memarena_scope(arena) == NULL);
    CHECK(yields == 0 && naps == 0);
    CHECK_EQ(ma_arena_of(arena)->pool.runs & MA_RUNS_MASK, 0);
    CHECK(memarena_reset(arena)); /* the scope that was refused is not open */
    memarena_destroy(arena);
}

/* A reset that was refused when it had run its calls, since one of them has opened a scope. */
static memarena *opened;

static void open_a_scope(void *unused)
{
    (void)unused;
    CHECK((opened = memarena_scope(patient)) != NULL);
}

static void a_reset_that_is_refused_keeps_no_other_out(void)
{
    patient = create(MIB, 0);
    for (int i = 0; i < 3; i++) {
        CHECK(memarena_defer(patient, open_a_scope, NULL));
        CHECK(!memarena_reset(patient) && errno == EBUSY);
        memarena_destroy(opened);
        CHECK(memarena_defer(patient, free, NULL));
        CHECK(memarena_reset(patient));
    }
    memarena_destroy(patient);
}

/* A thread that finds another one about to number the process waits for it. */
static void a_process_that_is_being_numbered_has_no_number_yet(void)
{
    own_number = ma_process_number(ma_process());
    ma_store_release(ma_process()->number, MA_PROCESS_BEGINS);
    yields = 0;
    yields_before_it_is_numbered = 3;
    CHECK_EQ(ma_process_number(ma_process()), own_number);
    CHECK_EQ(yields, 3);
    yields_before_it_is_numbered = 0;
}

/* Naps are no places where a thread can be cancelled: it would leave its call in the middle. */
static bool has_napped;

static void *nap_though_cancelled(void *unused)
{
    CHECK_EQ(pthread_cancel(pthread_self()), 0);
    __real_ma_os_nap(1000);
    has_napped = true;
    pthread_testcancel();
    return unused;
}

static void a_nap_is_no_cancellation_point(void)
{
    void *result = NULL;
    has_napped = false;
    CHECK_EQ(pthread_join(test_start(nap_though_cancelled, NULL), &result), 0);
    CHECK(has_napped && result == PTHREAD_CANCELED);
}

/* ---- Marks -------------------------------------------------------------------------------------------------------------------- */

static void *take_a_mark(void *id)
{
    memarena *arena = create(MIB, 0), *scope = memarena_scope(arena);
    CHECK(scope != NULL);
    *(uint64_t *)id = memarena_mark(scope).id_;
    memarena_destroy(scope);
    memarena_destroy(arena);
    return NULL;
}

/* A thread fetches 65,536 numbers at a time. */
static void no_two_marks_have_the_same_number(void)
{
    memarena *arena = create(MIB, 0), *scope = memarena_scope(arena);
    uint64_t of_another = 0, before = 0;
    CHECK(scope != NULL);
    memarena_position start = memarena_mark(scope);
    test_join(test_start(take_a_mark, &of_another));
    CHECK(of_another != start.id_);
    for (int i = 0; i < 65536 + 10; i++) {
        CHECK(memarena_alloc_aligned(scope, 8, 8) != NULL);
        uint64_t id = memarena_mark(scope).id_;
        CHECK(id != of_another && id != before && id != start.id_);
        CHECK(memarena_rewind(scope, start));
        before = id;
    }
    memarena_destroy(scope);
    memarena_destroy(arena);
}

/* ---- Names of arenas -------------------------------------------------------------------------------------------------------- */

static unsigned count_named(void)
{
    unsigned count = 0;
    for (unsigned i = 0; i < MA_PROCESS_NAMED; i++) count += ma_process()->named[i] != 0;
    return count;
}

static void sixty_four_arenas_are_named_and_the_others_do_without(void)
{
    memarena *arenas[MA_PROCESS_NAMED + 3];
    unsigned count = sizeof(void *) == 8 && test_traps() ? MA_PROCESS_NAMED + 3 : 0;
    for (unsigned i = 0; i < count; i++) {
        arenas[i] = create(64 * KIB, MEMARENA_TRAP_STALE);
        CHECK_EQ(count_named(), i < MA_PROCESS_NAMED ? i + 1 : MA_PROCESS_NAMED);
    }
    for (unsigned i = 0; i < count; i++) memarena_destroy(arenas[i]);
    CHECK_EQ(count_named(), 0);
}

/* ---- Faults -------------------------------------------------------------------------------------------------------------------- */

static void (*explains)(uintptr_t address);
static char said[300];

bool __wrap_ma_os_watch_faults(void (*at_fault)(uintptr_t address));
bool __wrap_ma_os_watch_faults(void (*at_fault)(uintptr_t address))
{
    explains = at_fault;
    return true;
}

void __wrap_ma_os_say(const char *text, size_t bytes);
void __wrap_ma_os_say(const char *text, size_t bytes)
{
    CHECK(said[0] == 0 && bytes < sizeof said);
    memcpy(said, text, bytes);
    said[bytes] = 0;
}

#define NOTHING UINT64_MAX

/* The generation of which a fault at the address is said to be. */
static uint64_t generation_of_fault(uintptr_t address)
{
    said[0] = 0;
    explains(address);
    if (!said[0]) return NOTHING;
    const char *number = strstr(said, "generation ");
    CHECK(number != NULL);
    return strtoull(number + strlen("generation "), NULL, 10);
}

static void a_fault_is_explained_where_a_generation_was_and_nowhere_else(void)
{
    if (!test_traps()) return;
    CHECK(memarena_explain_faults() && explains);
    memarena *handle = create(64 * KIB, MEMARENA_TRAP_STALE);
    const ma_pool *pool = &ma_arena_of(handle)->pool;
    uint64_t windows = (uint64_t)pool->window_mask + 1;
    for (uint64_t now = 1; now <= 2 * windows + 2; now++) {
        for (uint64_t window = 0; window < windows; window++) {
            uint64_t last = now - (now - window) % windows; /* the last generation there */
            bool was = last >= 1 && last < now && (now - window) % windows < now;
            for (uintptr_t offset = 0; offset < pool->window_bytes; offset += pool->window_bytes - 1)
                CHECK_EQ(generation_of_fault(pool->base + (uintptr_t)(window * pool->window_bytes + offset)),
                         was ? last : NOTHING);
        }
        CHECK_EQ(generation_of_fault(pool->base - 1), NOTHING);
        CHECK_EQ(generation_of_fault(pool->base + (uintptr_t)(windows * pool->window_bytes)), NOTHING);
        CHECK(memarena_reset(handle));
    }
    memarena_destroy(handle);
}

int main(void)
{
    memarena *probe = create(MIB, 0);
    bool watched = test_watched(probe);
    memarena_destroy(probe);
    if (watched) SKIP("a watched arena has neither lanes nor TLABs");
    RUN(only_a_block_with_the_chosen_byte_is_reported);
    RUN(a_lane_keeps_no_more_free_extents_than_it_may);
    RUN(what_waits_in_another_cpus_lane_is_taken_only_behind_a_barrier);
    RUN(a_rest_that_a_cpu_has_left_behind_is_taken_to_its_last_bytes);
    RUN(the_larger_part_of_a_rest_is_remembered);
    RUN(a_sample_holds_for_the_next_block_of_a_cpu);
    RUN(a_reset_that_has_run_calls_lets_one_that_defers_go_on);
    RUN(a_reset_that_meets_one_that_defers_is_refused_after_some_yields);
    RUN(a_reset_does_not_wait_for_a_trim);
    RUN(a_deferred_call_does_not_wait_for_itself);
    RUN(nobody_waits_for_a_run_that_is_over);
    RUN(a_reset_that_is_refused_keeps_no_other_out);
    RUN(a_process_that_is_being_numbered_has_no_number_yet);
    RUN(a_nap_is_no_cancellation_point);
    RUN(no_two_marks_have_the_same_number);
    RUN(a_fault_is_explained_where_a_generation_was_and_nowhere_else);
    RUN(sixty_four_arenas_are_named_and_the_others_do_without);
    return test_done();
}
