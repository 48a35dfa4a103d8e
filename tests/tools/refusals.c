/* The system refuses: each call that the library makes of it fails in turn (linked with --wrap for each), and the
 * address space is small. (Of prctl, whose refusal changes nothing, see map_name.c.) Every case runs in a child of its own:
 * keys are made once in a process. */
#include "../children.h"

#include <sys/mman.h>
#include <sys/resource.h>

/* ---- The system ---------------------------------------------------------------------------------------------------
 */

typedef enum call { MMAP, MADVISE, MUNMAP, MPROTECT, MREMAP, MINCORE, KEY_CREATE, SETSPECIFIC, ATFORK, CALLS } call;

static struct {
    int made;      /* calls so far */
    int fail_from; /* the first one that fails, counted from 1; 0: none */
    int fail_to;   /* the last one */
    int error;
} calls[CALLS];

static int total_made, fail_at;   /* over all kinds of call: which one fails */
static size_t not_unmapped_bytes; /* what munmap was asked for and refused */
static bool atfork_was_refused;

static bool refused(call which)
{
    int n = __atomic_add_fetch(&calls[which].made, 1, __ATOMIC_RELAXED);
    bool by_kind = calls[which].fail_from && n >= calls[which].fail_from && n <= calls[which].fail_to;
    return __atomic_add_fetch(&total_made, 1, __ATOMIC_RELAXED) == fail_at || by_kind;
}

static int error_of(call which, int otherwise)
{
    return calls[which].error ? calls[which].error : otherwise;
}

static void fail_every(call which, int error)
{
    calls[which].fail_from = 1;
    calls[which].fail_to = 1000000;
    calls[which].error = error;
}

static void fail_none(call which)
{
    calls[which].fail_from = 0;
}

static void fail_one(call which, int number, int error)
{
    calls[which].fail_from = calls[which].made + number;
    calls[which].fail_to = calls[which].fail_from;
    calls[which].error = error;
}

void *__real_mmap(void *address, size_t bytes, int protection, int flags, int file, off_t offset);
void *__wrap_mmap(void *address, size_t bytes, int protection, int flags, int file, off_t offset);
int __real_madvise(void *address, size_t bytes, int advice);
int __wrap_madvise(void *address, size_t bytes, int advice);
int __real_munmap(void *address, size_t bytes);
int __wrap_munmap(void *address, size_t bytes);
int __real_mprotect(void *address, size_t bytes, int protection);
int __wrap_mprotect(void *address, size_t bytes, int protection);
void *__real_mremap(void *from, size_t old_bytes, size_t bytes, int flags, ...);
void *__wrap_mremap(void *from, size_t old_bytes, size_t bytes, int flags, void *to);
int __real_mincore(void *address, size_t bytes, unsigned char *states);
int __wrap_mincore(void *address, size_t bytes, unsigned char *states);
int __real_pthread_key_create(pthread_key_t *key, void (*destructor)(void *));
int __wrap_pthread_key_create(pthread_key_t *key, void (*destructor)(void *));
int __real_pthread_setspecific(pthread_key_t key, const void *value);
int __wrap_pthread_setspecific(pthread_key_t key, const void *value);
int __real_pthread_atfork(void (*prepare)(void), void (*parent)(void), void (*child)(void));
int __wrap_pthread_atfork(void (*prepare)(void), void (*parent)(void), void (*child)(void));

void *__wrap_mmap(void *address, size_t bytes, int protection, int flags, int file, off_t offset)
{
    if (!refused(MMAP)) return __real_mmap(address, bytes, protection, flags, file, offset);
    errno = error_of(MMAP, ENOMEM);
    return MAP_FAILED;
}

int __wrap_madvise(void *address, size_t bytes, int advice)
{
    if (!refused(MADVISE)) return __real_madvise(address, bytes, advice);
    errno = error_of(MADVISE, ENOMEM);
    return -1;
}

int __wrap_munmap(void *address, size_t bytes)
{
    if (!refused(MUNMAP)) return __real_munmap(address, bytes);
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    not_unmapped_bytes += (bytes + page - 1) & ~(page - 1);
    errno = error_of(MUNMAP, ENOMEM);
    return -1;
}

int __wrap_mprotect(void *address, size_t bytes, int protection)
{
    if (!refused(MPROTECT)) return __real_mprotect(address, bytes, protection);
    errno = error_of(MPROTECT, ENOMEM);
    return -1;
}

void *__wrap_mremap(void *from, size_t old_bytes, size_t bytes, int flags, void *to)
{
    if (!refused(MREMAP)) return __real_mremap(from, old_bytes, bytes, flags, to);
    errno = error_of(MREMAP, ENOMEM);
    return MAP_FAILED;
}

int __wrap_mincore(void *address, size_t bytes, unsigned char *states)
{
    if (!refused(MINCORE)) return __real_mincore(address, bytes, states);
    errno = error_of(MINCORE, EAGAIN);
    return -1;
}

int __wrap_pthread_key_create(pthread_key_t *key, void (*destructor)(void *))
{
    return refused(KEY_CREATE) ? error_of(KEY_CREATE, EAGAIN) : __real_pthread_key_create(key, destructor);
}

int __wrap_pthread_setspecific(pthread_key_t key, const void *value)
{
    return refused(SETSPECIFIC) ? error_of(SETSPECIFIC, ENOMEM) : __real_pthread_setspecific(key, value);
}

int __wrap_pthread_atfork(void (*prepare)(void), void (*parent)(void), void (*child)(void))
{
    if (!refused(ATFORK)) return __real_pthread_atfork(prepare, parent, child);
    atfork_was_refused = true;
    return error_of(ATFORK, ENOMEM);
}

/* Address space in use, less the stack and the heap of malloc, which others move. */
static size_t mapped_bytes(void)
{
    char line[512];
    size_t sum = 0;
    FILE *maps = fopen("/proc/self/maps", "r");
    if (!maps) SKIP("there is no /proc/self/maps");
    while (fgets(line, sizeof line, maps)) {
        unsigned long begin, end;
        CHECK(sscanf(line, "%lx-%lx", &begin, &end) == 2);
        if (!strstr(line, "[heap]") && !strstr(line, "[stack]")) sum += end - begin;
    }
    fclose(maps);
    return sum;
}

/* ---- Helpers ------------------------------------------------------------------------------------------------------
 */

static memarena *create(size_t capacity, unsigned flags)
{
    memarena_options options = {.capacity = capacity, .flags = flags};
    errno = 0;
    return memarena_create_with(&options);
}

/* Where a reset makes system calls it is refused when these are, and then nothing has changed. */
static void reset(memarena *arena)
{
    uint64_t generation = memarena_generation(arena);
    if (!memarena_reset(arena)) {
        CHECK_EQ(errno, ENOMEM);
        CHECK_EQ(memarena_generation(arena), generation);
        CHECK(memarena_reset(arena));
    }
    CHECK_EQ(memarena_generation(arena), generation + 1);
}

/* Everything works, with or without lanes. */
static void use(memarena *arena)
{
    size_t capacity = memarena_capacity(arena) & ~(size_t)7, most = (size_t)1 << 30;
    for (int round = 0; round < 3; round++) {
        for (size_t size = 1; size < 3000; size += 7) {
            char *block = memarena_alloc(arena, size);
            CHECK(block != NULL);
            memset(block, round, size);
        }
        CHECK(memarena_allocated_bytes(arena) <= capacity);
        reset(arena);
        CHECK(memarena_alloc_aligned(arena, capacity < most ? capacity : most, 8) != NULL);
        reset(arena);
    }
}

static unsigned lanes_of(const memarena *arena)
{
    memarena_stats stats;
    memarena_get_stats(arena, &stats, sizeof stats);
    return stats.lanes;
}

static void *use_in_thread(void *arena)
{
    for (int i = 0; i < 5000; i++) CHECK(memarena_new_value(arena, int, i) != NULL);
    return NULL;
}

static void use_in_threads(memarena *arena, int count)
{
    pthread_t threads[8];
    CHECK(count <= 8);
    for (int i = 0; i < count; i++) CHECK(pthread_create(&threads[i], NULL, use_in_thread, arena) == 0);
    for (int i = 0; i < count; i++) CHECK(pthread_join(threads[i], NULL) == 0);
}

/* ---- Mappings -----------------------------------------------------------------------------------------------------
 */

#define SIZE ((size_t)32 << 20)

static const unsigned every_flags[] = {0, MEMARENA_HUGE_PAGES, MEMARENA_PREFAULT,
                                       MEMARENA_HUGE_PAGES | MEMARENA_PREFAULT};

/* One arena's whole life, with the k-th call of it refused. Returns how many it made. */
static int one_life(unsigned flags, size_t capacity, int k)
{
    size_t before = mapped_bytes();
    total_made = 0;
    not_unmapped_bytes = 0;
    atfork_was_refused = false;
    fail_at = k;
    memarena *arena = create(capacity, flags);
    int error = errno;
    /* Without word of forks an arena is made all the same, and with room for fewer generations. */
    bool refused_in_create = k <= total_made && !atfork_was_refused;
    bool fewer_generations = flags & MEMARENA_TRAP_STALE && calls[MMAP].made > 1;
    CHECK(arena || error == ENOMEM);
    CHECK(arena || refused_in_create);
    if (arena && capacity) CHECK(!refused_in_create || fewer_generations); /* a fixed capacity is not bargained with */
    if (arena) {
        if (!(flags & MEMARENA_PREFAULT)) use(arena);
        errno = EDOM;
        memarena_destroy(arena);
        CHECK(errno == EDOM);
    }
    CHECK_EQ(mapped_bytes(), before + not_unmapped_bytes);
    int made = total_made;
    fail_at = 0;
    arena = create(capacity, flags); /* and the next one is made */
    CHECK(arena != NULL);
    memarena_destroy(arena);
    CHECK_EQ(mapped_bytes(), before + not_unmapped_bytes);
    return made;
}

static void check_every_life(unsigned flags)
{
    int k = 0, made;
    do {
        calls[MMAP].made = 0;
        made = one_life(flags, SIZE, ++k);
    } while (k <= made);
    CHECK(k > 2); /* there were calls to refuse */
}

static void the_kth_call_fails_for_every_k(void)
{
    for (size_t i = 0; i < sizeof every_flags / sizeof *every_flags; i++) check_every_life(every_flags[i]);
}

static void the_kth_call_fails_for_every_k_where_stale_pointers_are_trapped(void)
{
    unsigned traps = test_traps();
    if (!traps) return; /* this system cannot move pages */
    for (size_t i = 0; i < sizeof every_flags / sizeof *every_flags; i++) check_every_life(traps | every_flags[i]);
    CHECK(calls[MREMAP].made > 0 && calls[MPROTECT].made > 0);
}

/* Where there is no room for all of physical memory, creation asks again: those calls fail as well. */
static void the_kth_call_fails_for_every_k_where_memory_is_scarce(void)
{
    for (int refusals = 0; refusals < 3; refusals++) {
        int k = 0, made;
        do {
            fail_one(MMAP, 1, ENOMEM);
            calls[MMAP].fail_to += refusals - 1;
            made = one_life(0, 0, ++k);
        } while (k <= made);
        CHECK(k > 2 + refusals);
    }
}

static void without_a_capacity_creation_asks_for_less(void)
{
    fail_one(MMAP, 1, ENOMEM);
    memarena *arena = create(0, 0);
    CHECK(arena != NULL);
    CHECK(calls[MMAP].made >= 2);
    use(arena);
    memarena_destroy(arena);
}

static void without_any_memory_creation_gives_up(void)
{
    size_t before = mapped_bytes();
    fail_every(MMAP, ENOMEM);
    CHECK(create(0, 0) == NULL && errno == ENOMEM);
    CHECK(calls[MMAP].made < 64);
    CHECK(create(SIZE, 0) == NULL && errno == ENOMEM);
    CHECK(create(SIZE, MEMARENA_HUGE_PAGES) == NULL && errno == ENOMEM);
    CHECK_EQ(mapped_bytes(), before);
}

static void any_error_of_mmap_is_enomem(void)
{
    fail_every(MMAP, EPERM);
    CHECK(create(SIZE, 0) == NULL && errno == ENOMEM);
    fail_every(MMAP, EAGAIN);
    CHECK(create(SIZE, 0) == NULL && errno == ENOMEM);
}

static void refused_huge_pages_tell_the_systems_errno(void)
{
    size_t before = mapped_bytes();
    fail_every(MADVISE, EINVAL); /* a kernel without them */
    CHECK(create(SIZE, MEMARENA_HUGE_PAGES) == NULL && errno == EINVAL);
    fail_every(MADVISE, EACCES);
    CHECK(create(SIZE, MEMARENA_HUGE_PAGES) == NULL && errno == EACCES);
    CHECK_EQ(mapped_bytes(), before);
}

static void a_refused_unmap_does_not_hide_the_errno(void)
{
    fail_every(MADVISE, EACCES);
    fail_every(MUNMAP, EINVAL);
    CHECK(create(SIZE, MEMARENA_HUGE_PAGES) == NULL && errno == EACCES);
}

static void refused_pages_are_enomem(void)
{
    size_t before = mapped_bytes();
    fail_every(MADVISE, EFAULT);
    CHECK(create(SIZE, MEMARENA_PREFAULT) == NULL && errno == ENOMEM);
    CHECK_EQ(mapped_bytes(), before);
}

static void an_old_kernel_has_its_pages_touched(void)
{
    fail_every(MADVISE, EINVAL); /* it does not know MADV_POPULATE_WRITE */
    memarena *arena = create(SIZE, MEMARENA_PREFAULT);
    CHECK(arena != NULL);
    unsigned char resident[2] = {0};
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    char *block = memarena_alloc(arena, SIZE / 2);
    CHECK(mincore((void *)(((uintptr_t)block + SIZE / 4) & ~(page - 1)), page, resident) == 0);
    CHECK_EQ(resident[0] & 1, 1);
    use(arena);
    memarena_destroy(arena);
}

static void a_system_that_cannot_move_pages_is_einval(void)
{
    static const int errors[] = {EINVAL, EFAULT, ENOSYS};
    if (!test_traps()) return;
    size_t before = mapped_bytes();
    for (size_t i = 0; i < sizeof errors / sizeof *errors; i++) {
        fail_every(MREMAP, errors[i]);
        CHECK(create(SIZE, MEMARENA_TRAP_STALE) == NULL && errno == EINVAL);
    }
    fail_every(MREMAP, ENOMEM); /* it can, but not now */
    CHECK(create(SIZE, MEMARENA_TRAP_STALE) == NULL && errno == ENOMEM);
    CHECK_EQ(mapped_bytes(), before);
    fail_none(MREMAP);
    memarena *arena = create(SIZE, MEMARENA_TRAP_STALE);
    CHECK(arena != NULL);
    use(arena);
    memarena_destroy(arena);
}

static void leave_well(int signal)
{
    (void)signal;
    _exit(0);
}

/* Else a fault would be looked for in memory that is no longer mapped. */
static void an_arena_whose_pages_are_refused_explains_no_fault(void)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    if (!test_traps()) return;
    CHECK(signal(SIGSEGV, leave_well) != SIG_ERR);
    CHECK(memarena_explain_faults());
    fail_every(MADVISE, EFAULT);
    CHECK(create(SIZE, MEMARENA_TRAP_STALE | MEMARENA_PREFAULT) == NULL && errno == ENOMEM);
    volatile char *closed = __real_mmap(NULL, page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(closed != MAP_FAILED);
    *closed = 1;
    CHECK(false && "it faults");
}

/* ---- Memory that cannot be given back ----------------------------------------------------------------------------- */

#define DEAD ((size_t)8 << 20)

/* An arena with so many bytes in memory that no block uses, some given back by a scope, and with one block that lives. */
static memarena *create_with_dead_memory(char **block)
{
    memarena *arena = create(SIZE, 0);
    CHECK(arena != NULL);
    char *dead = memarena_alloc(arena, DEAD);
    CHECK(dead != NULL);
    memset(dead, 1, DEAD);
    CHECK(memarena_reset(arena));
    memarena *scope = memarena_scope(arena);
    CHECK(scope != NULL);
    dead = memarena_alloc(scope, DEAD / 2);
    CHECK(dead != NULL);
    memset(dead, 2, DEAD / 2);
    memarena_destroy(scope);
    *block = memarena_alloc(arena, 1000);
    CHECK(*block != NULL);
    memset(*block, 3, 1000);
    return arena;
}

static void check_trim(memarena *arena, size_t least, size_t most)
{
    errno = EDOM;
    size_t given = memarena_trim(arena, 0);
    CHECK_EQ(errno, EDOM);
    CHECK(given >= least && given <= most);
}

static void refused_advice_gives_nothing_back_and_loses_nothing(void)
{
    static const int errors[] = {EINVAL, EAGAIN, ENOMEM};
    for (size_t i = 0; i < sizeof errors / sizeof *errors; i++) {
        char *block;
        memarena *arena = create_with_dead_memory(&block);
        int made = calls[MADVISE].made;
        fail_every(MADVISE, errors[i]);
        check_trim(arena, 0, 0);
        CHECK(calls[MADVISE].made > made); /* it was asked */
        CHECK(memarena_resident_bytes(arena) >= DEAD);
        CHECK(block[0] == 3 && block[999] == 3);
        use(arena);
        fail_one(MADVISE, 1, errors[i]); /* of several pieces one stays */
        size_t resident = memarena_resident_bytes(arena);
        check_trim(arena, DEAD / 2, resident - 1);
        check_trim(arena, 1, resident);
        CHECK_EQ(memarena_resident_bytes(arena), 0);
        fail_none(MADVISE);
        use(arena);
        memarena_destroy(arena);
    }
}

static void what_cannot_be_looked_at_is_not_given_back(void)
{
    char *block;
    memarena *arena = create_with_dead_memory(&block);
    fail_every(MINCORE, EAGAIN);
    errno = EDOM;
    CHECK_EQ(memarena_resident_bytes(arena), 0);
    CHECK_EQ(errno, EDOM);
    check_trim(arena, 0, 0);
    CHECK(block[0] == 3 && block[999] == 3);
    use(arena);
    fail_none(MINCORE);
    check_trim(arena, DEAD, SIZE);
    CHECK_EQ(memarena_resident_bytes(arena), 0);
    use(arena);
    memarena_destroy(arena);
}

static void a_reset_whose_advice_is_refused_is_a_reset(void)
{
    size_t keep = (size_t)1 << 20, page = (size_t)sysconf(_SC_PAGESIZE);
    for (int looks = 0; looks < 2; looks++) {
        call refusing = looks ? MINCORE : MADVISE;
        memarena *arena = memarena_create_with(&(memarena_options){.capacity = SIZE, .retain_bytes = keep});
        CHECK(arena != NULL);
        for (int round = 0; round < 6; round++) {
            char *dead = memarena_alloc(arena, DEAD);
            CHECK(dead != NULL);
            memset(dead, round, DEAD);
            round % 2 ? fail_none(refusing) : fail_every(refusing, EINVAL);
            errno = EDOM;
            CHECK(memarena_reset(arena));
            CHECK_EQ(errno, EDOM);
            fail_none(refusing);
            size_t resident = memarena_resident_bytes(arena);
            CHECK(round % 2 ? resident <= keep + page : resident >= DEAD);
        }
        use(arena);
        memarena_destroy(arena);
    }
}

static void destroy_survives_a_refused_unmap(void)
{
    fail_every(MUNMAP, ENOMEM);
    for (int i = 0; i < 3; i++) {
        memarena *arena = create(SIZE, 0);
        CHECK(arena != NULL);
        use(arena);
        errno = EDOM;
        memarena_destroy(arena);
        CHECK(errno == EDOM);
    }
    CHECK_EQ(calls[MUNMAP].made, 3);
}

/* ---- Threads ------------------------------------------------------------------------------------------------------
 */

static void without_a_key_there_are_no_lanes(void)
{
    pthread_key_t others; /* the program has its own, the first of all: it must not be taken for ours */
    CHECK(__real_pthread_key_create(&others, NULL) == 0);
    CHECK(__real_pthread_setspecific(others, &others) == 0);
    fail_every(KEY_CREATE, EAGAIN);
    memarena *arena = create(SIZE, 0);
    CHECK(arena != NULL);
    use(arena);
    use_in_threads(arena, 4);
    CHECK_EQ(lanes_of(arena), 0);
    memarena_destroy(arena);
    CHECK(calls[KEY_CREATE].made >= 1);
    CHECK(pthread_getspecific(others) == &others);
}

static void a_thread_that_cannot_be_watched_has_no_lane(void)
{
    fail_one(SETSPECIFIC, 1, ENOMEM);
    memarena *arena = create(SIZE, 0);
    CHECK(arena != NULL);
    use(arena);
    CHECK_EQ(lanes_of(arena), 0);
    use_in_threads(arena, 3); /* the others can */
    CHECK(lanes_of(arena) >= 1 && lanes_of(arena) <= 3);
    memarena_destroy(arena);
}

static void no_thread_can_be_watched(void)
{
    fail_every(SETSPECIFIC, ENOMEM);
    memarena *arena = create(SIZE, 0);
    CHECK(arena != NULL);
    use(arena);
    use_in_threads(arena, 4);
    CHECK_EQ(lanes_of(arena), 0);
    memarena_destroy(arena);
}

static memarena *inherited;

static void go_on_in_the_child(void)
{
    use(inherited);
    use_in_threads(inherited, 2);
}

static void without_atfork_a_child_goes_on(void)
{
    fail_every(ATFORK, ENOMEM);
    inherited = create(SIZE, 0);
    CHECK(inherited != NULL);
    use(inherited);
    CHECK(calls[ATFORK].made >= 1);
    test_apart(go_on_in_the_child);
    use(inherited);
    memarena_destroy(inherited);
}

static void in_a_buffer_nothing_is_mapped(void)
{
    static char buffer[(size_t)1 << 20];
    calls[MMAP].made = calls[MADVISE].made = calls[MUNMAP].made = 0; /* (the library has made some before main) */
    fail_every(MMAP, ENOMEM);
    fail_every(MADVISE, ENOMEM);
    memarena_options options = {.buffer = buffer, .capacity = sizeof buffer};
    memarena *arena = memarena_create_with(&options);
    CHECK(arena != NULL);
    use(arena);
    memarena_destroy(arena);
    CHECK_EQ(calls[MMAP].made + calls[MADVISE].made + calls[MUNMAP].made, 0);
}

/* ---- A small address space ----------------------------------------------------------------------------------------
 */

/* As `ulimit -v`: so much more than what is in use. */
static void limit_address_space(size_t more)
{
    size_t pages = 0;
    FILE *statm = fopen("/proc/self/statm", "r");
    if (!statm) SKIP("there is no /proc/self/statm");
    CHECK(fscanf(statm, "%zu", &pages) == 1);
    fclose(statm);
    rlim_t bytes = pages * (size_t)sysconf(_SC_PAGESIZE) + more;
    struct rlimit limit = {.rlim_cur = bytes, .rlim_max = bytes};
    CHECK(setrlimit(RLIMIT_AS, &limit) == 0);
}

static void a_small_address_space_gives_a_small_arena(void)
{
    limit_address_space((size_t)64 << 20);
    memarena *arena = create(0, 0);
    CHECK(arena != NULL);
    CHECK(memarena_capacity(arena) >= (size_t)1 << 20 && memarena_capacity(arena) <= (size_t)64 << 20);
    use(arena);
    memarena_destroy(arena);
}

static void a_capacity_above_the_address_space_is_refused(void)
{
    limit_address_space((size_t)64 << 20);
    size_t before = mapped_bytes();
    CHECK(create(sizeof(size_t) > 4 ? (size_t)1 << 20 << 20 : (size_t)1 << 30, 0) == NULL && errno == ENOMEM);
    CHECK(create(SIZE_MAX, 0) == NULL && errno == ENOMEM);
    CHECK(create(SIZE_MAX / 2, MEMARENA_HUGE_PAGES) == NULL && errno == ENOMEM);
    CHECK(create((size_t)128 << 20, 0) == NULL && errno == ENOMEM);
    CHECK_EQ(mapped_bytes(), before);
    memarena *arena = create(SIZE, 0);
    CHECK(arena != NULL);
    use(arena);
    memarena_destroy(arena);
    CHECK_EQ(mapped_bytes(), before);
}

static void arenas_come_and_go_in_a_small_address_space(void)
{
    limit_address_space((size_t)64 << 20);
    for (int i = 0; i < 100; i++) {
        memarena *arena = create(SIZE, every_flags[i % 2]); /* one that leaked would leave no room for the next */
        CHECK(arena != NULL);
        CHECK(memarena_alloc(arena, 100) != NULL);
        memarena_destroy(arena);
    }
}

/* Mappings are counted, too (vm.max_map_count): pages that cannot merge, until there may be no more. */
static void when_the_mappings_have_run_out_creation_fails_and_then_recovers(void)
{
    enum { MOST = 1 << 18, SPARE = 16 };
    static void *pages[MOST];
    size_t page = (size_t)sysconf(_SC_PAGESIZE), count = 0;
    memarena *before = create(SIZE, 0);
    CHECK(before != NULL);
    while (count < MOST) {
        int protection = count % 2 ? PROT_READ : PROT_NONE;
        void *one = __real_mmap(NULL, page, protection, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (one == MAP_FAILED) break;
        pages[count++] = one;
    }
    if (count == MOST) return; /* the limit is far */
    CHECK(create(SIZE, 0) == NULL && errno == ENOMEM);
    CHECK(create(0, 0) == NULL && errno == ENOMEM);
    CHECK(create(SIZE, MEMARENA_HUGE_PAGES) == NULL && errno == ENOMEM);
    use(before); /* needs none */
    for (int i = 0; i < SPARE; i++) CHECK(__real_munmap(pages[--count], page) == 0);
    memarena *after = create(SIZE, 0);
    CHECK(after != NULL);
    use(after);
    memarena_destroy(after);
    memarena_destroy(before);
}

int main(void)
{
    RUN_APART(the_kth_call_fails_for_every_k);
    RUN_APART(the_kth_call_fails_for_every_k_where_stale_pointers_are_trapped);
    RUN_APART(the_kth_call_fails_for_every_k_where_memory_is_scarce);
    RUN_APART(without_a_capacity_creation_asks_for_less);
    RUN_APART(without_any_memory_creation_gives_up);
    RUN_APART(any_error_of_mmap_is_enomem);
    RUN_APART(refused_huge_pages_tell_the_systems_errno);
    RUN_APART(a_refused_unmap_does_not_hide_the_errno);
    RUN_APART(refused_pages_are_enomem);
    RUN_APART(an_old_kernel_has_its_pages_touched);
    RUN_APART(a_system_that_cannot_move_pages_is_einval);
    RUN_APART(an_arena_whose_pages_are_refused_explains_no_fault);
    RUN_APART(refused_advice_gives_nothing_back_and_loses_nothing);
    RUN_APART(what_cannot_be_looked_at_is_not_given_back);
    RUN_APART(a_reset_whose_advice_is_refused_is_a_reset);
    RUN_APART(destroy_survives_a_refused_unmap);
    RUN_APART(without_a_key_there_are_no_lanes);
    RUN_APART(a_thread_that_cannot_be_watched_has_no_lane);
    RUN_APART(no_thread_can_be_watched);
    RUN_APART(without_atfork_a_child_goes_on);
    RUN_APART(in_a_buffer_nothing_is_mapped);
    RUN_APART(a_small_address_space_gives_a_small_arena);
    RUN_APART(a_capacity_above_the_address_space_is_refused);
    RUN_APART(arenas_come_and_go_in_a_small_address_space);
    RUN_APART(when_the_mappings_have_run_out_creation_fails_and_then_recovers);
    return test_done();
}
