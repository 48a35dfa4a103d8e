/* Hooks without a context: whose block it is that is asked for, moved or freed, and by whom. Then the libraries with them,
 * as far as CMake found them: see adapters_hooked.c and adapters_libxml2.c. */
#include "adapters_current.h"
#include "threads.h"

/* What reaches libc from the hooks in this file is counted. */
static unsigned long libc_blocks, libc_moves, libc_frees;

static void *counted_malloc(size_t size)
{
    __atomic_fetch_add(&libc_blocks, 1, __ATOMIC_RELAXED);
    return malloc(size);
}

static void *counted_realloc(void *block, size_t size)
{
    __atomic_fetch_add(&libc_moves, 1, __ATOMIC_RELAXED);
    return realloc(block, size);
}

static void counted_free(void *block)
{
    __atomic_fetch_add(&libc_frees, 1, __ATOMIC_RELAXED);
    free(block);
}

#define malloc counted_malloc
#define realloc counted_realloc
#define free counted_free
#include <memarena/adapters/current.h>
#undef malloc
#undef realloc
#undef free

#include <string.h>

memarena *shared;

memarena *begin(memarena *arena)
{
    memarena *before = arena;
    CHECK(memarena_current_push(arena, &before));
    CHECK(memarena_current_get() == arena);
    return before;
}

static bool refused(memarena *arena)
{
    memarena *was = memarena_current_get(), *before = arena;
    errno = 0;
    bool pushed = memarena_current_push(arena, &before);
    CHECK(before == was && (pushed || (errno == EINVAL && memarena_current_get() == was)));
    memarena_current_pop(before);
    return !pushed;
}

static void *filled(size_t size, int byte)
{
    void *block = memarena_current_malloc(size);
    CHECK(block != NULL && (uintptr_t)block % MEMARENA_MAX_ALIGNMENT_ == 0);
    return memset(block, byte, size);
}

static bool holds(const void *block, size_t size, int byte)
{
    const unsigned char *bytes = block;
    for (size_t i = 0; i < size; i++)
        if (bytes[i] != byte) return false;
    return true;
}

/* ---- The register ------------------------------------------------------------------------------------------------- */

static void only_registered_arenas_can_be_pushed(void)
{
    memarena *arena = memarena_create(MIB), *scope = memarena_scope(arena), *inner = memarena_scope(scope);
    CHECK(refused(arena) && refused(scope) && refused(inner) && refused(NULL));
    errno = 0;
    CHECK(!memarena_current_register(scope) && errno == EINVAL);
    CHECK(memarena_current_register(arena));
    CHECK(memarena_current_register(arena)); /* again */
    CHECK(!refused(arena) && !refused(scope) && !refused(inner) && refused(NULL));
    for (unsigned i = 0; i < MEMARENA_CURRENT_MAX; i++) { /* one that comes or goes just now is not there */
        __atomic_fetch_add(&memarena_current_ranges_[i].version, 1, __ATOMIC_RELAXED);
        CHECK_EQ(refused(arena), memarena_current_ranges_[i].arena == arena);
        __atomic_fetch_add(&memarena_current_ranges_[i].version, 1, __ATOMIC_RELAXED);
    }
    memarena_current_unregister(arena);
    CHECK(refused(arena) && refused(scope) && refused(inner));
    memarena_destroy(inner);
    memarena_destroy(scope);
    CHECK_EQ(memarena_allocated_bytes(arena), 0);
    memarena_destroy(arena);
}

static void the_register_is_bounded_and_its_places_are_used_again(void)
{
    static memarena *arenas[MEMARENA_CURRENT_MAX];
    for (int round = 0; round < 3; round++) {
        unsigned count = 0;
        errno = 0;
        for (; count < MEMARENA_CURRENT_MAX; count++) { /* one less fits: `shared` is there */
            arenas[count] = memarena_create(64 * KIB);
            CHECK(arenas[count] != NULL);
            if (!memarena_current_register(arenas[count])) break;
            CHECK(!refused(arenas[count]));
        }
        CHECK_EQ(count, MEMARENA_CURRENT_MAX - 1);
        CHECK_EQ(errno, ENOMEM);
        CHECK(!refused(arenas[0]) && !refused(arenas[count - 1]) && refused(arenas[count]));
        for (unsigned i = 0; i <= count; i++) {
            memarena_current_unregister(arenas[i]);
            memarena_destroy(arenas[i]);
        }
    }
}

static void every_byte_of_an_arena_is_known_and_none_beside_it(void)
{
    static char around[64 * 1024 + 16], *buffer = around + 8;
    const size_t capacity = sizeof around - 16;
    memarena *arena = memarena_create_with(&(memarena_options){.buffer = buffer, .capacity = capacity});
    struct memarena_current_range_ range;
    CHECK(memarena_current_register(arena));
    for (size_t i = 0; i < capacity; i++)
        CHECK_EQ(memarena_current_find_(buffer + i, &range), memarena_owns(arena, buffer + i));
    CHECK(!memarena_current_find_(buffer - 1, &range) && !memarena_current_find_(buffer + capacity, &range));
    memarena_destroy(arena); /* not unregistered, which its successor at this address makes good */
    arena = memarena_create_with(&(memarena_options){.buffer = buffer, .capacity = capacity / 2});
    CHECK(memarena_current_register(arena));
    CHECK(memarena_current_find_(buffer + capacity / 2 - 1, &range));
    CHECK(!memarena_current_find_(buffer + capacity / 2, &range));
    memarena_current_unregister(arena);
    CHECK(refused(arena));
    memarena_destroy(arena);
}

/* ---- One thread --------------------------------------------------------------------------------------------------- */

static void blocks_come_from_what_is_current(void)
{
    memarena *outer = memarena_scope(shared), *inner = memarena_scope(shared);
    void *outside = filled(100, 1);
    memarena *before = begin(outer);
    CHECK(before == NULL);
    void *first = filled(1, 2);
    memarena *between = begin(inner);
    CHECK(between == outer);
    void *second = filled(100, 3);
    memarena *suspended = memarena_current_suspend();
    CHECK(suspended == inner && memarena_current_get() == NULL);
    void *third = filled(100, 4);
    memarena_current_pop(suspended);
    char *text = memarena_current_strdup("text");
    CHECK(strcmp(text, "text") == 0 && memarena_owns(inner, text));
    memarena_current_pop(between);
    void *zeroed = memarena_current_calloc(7, 9), *none = memarena_current_malloc(0),
         *other = memarena_current_malloc(0);
    CHECK(holds(zeroed, 63, 0) && none != NULL && none != other);
    memarena_current_pop(before);
    CHECK(memarena_owns(outer, first) && memarena_owns(outer, zeroed) && memarena_owns(outer, none));
    CHECK(memarena_owns(inner, second) && !memarena_owns(outer, second));
    CHECK(!memarena_owns(shared, outside) && !memarena_owns(shared, third));
    CHECK(holds(first, 1, 2) && holds(second, 100, 3) && holds(third, 100, 4));
    memarena_current_free(third);
    memarena_current_free(outside);
    memarena_destroy(inner);
    memarena_destroy(outer);
    void *plain = memarena_current_calloc(3, 3);
    CHECK(holds(plain, 9, 0) && !memarena_owns(shared, plain));
    memarena_current_free(plain);
}

static void a_full_arena_is_not_malloc(void)
{
    memarena *small = memarena_create(8 * KIB);
    CHECK(memarena_current_register(small));
    memarena *before = begin(small);
    unsigned long libc_before = libc_blocks + libc_moves;
    void *block = filled(KIB, 5);
    const size_t too_large[] = {8 * KIB, SIZE_MAX, SIZE_MAX - 15, SIZE_MAX - 16};
    for (size_t i = 0; i < sizeof too_large / sizeof *too_large; i++) {
        errno = 0;
        CHECK(memarena_current_malloc(too_large[i]) == NULL && errno == ENOMEM);
        errno = 0;
        CHECK(memarena_current_realloc(block, too_large[i]) == NULL && errno == ENOMEM);
        CHECK(holds(block, KIB, 5));
    }
    CHECK(memarena_current_calloc(SIZE_MAX / 2 + 1, 2) == NULL && memarena_current_calloc(1, 8 * KIB) == NULL);
    CHECK_EQ(libc_blocks + libc_moves, libc_before);
    memarena_current_pop(before);
    memarena_current_unregister(small);
    memarena_destroy(small);
}

static void blocks_that_are_freed_go_where_they_came_from(void)
{
    memarena *scope = memarena_scope(shared), *other = memarena_scope(shared);
    void *libc_block = malloc(100);
    memarena *before = begin(scope);
    unsigned long frees = libc_frees;
    void *block = filled(100, 6), *block_for_other = filled(100, 6), *late = filled(100, 6), *dead = filled(100, 6);
    char *own = memarena_strdup(scope, "not made by a hook");
    memarena_current_free(block);
    memarena_current_free(own);
    CHECK_EQ(libc_frees, frees);
    memarena_current_free(libc_block); /* malloc's, while an arena is current */
    CHECK_EQ(libc_frees, frees + 1);
    memarena_current_free(NULL);
    frees = libc_frees;
    memarena *between = begin(other);
    memarena_current_free(block_for_other);
    memarena_current_pop(between);
    memarena_current_pop(before);
    memarena_current_free(late); /* while none is */
    memarena_destroy(scope);
    memarena_current_free(dead);
    scribble();
    memarena_current_free(dead);
    CHECK_EQ(libc_frees, frees);
    memarena_destroy(other);
}

static void a_realloc_keeps_the_owner_or_moves_to_what_is_current(void)
{
    memarena *scope = memarena_scope(shared), *other = memarena_scope(shared), *before = begin(scope);
    char *block = filled(100, 7), *moved = memarena_current_realloc(block, 200);
    CHECK(moved == block || test_watched(shared)); /* the last one grows in place */
    CHECK(holds(moved, 100, 7));
    memset(moved, 8, 200);
    char *behind = filled(8, 9);
    block = memarena_current_realloc(moved, 300);
    CHECK(block != moved && holds(block, 200, 8) && holds(behind, 8, 9));
    memset(block, 8, 300);
    CHECK(memarena_current_realloc(block, 50) == block);
    moved = memarena_current_realloc(block, 60); /* its new size was noted */
    CHECK(memarena_owns(scope, moved) && holds(moved, 50, 8));

    const size_t sizes[] = {0, 20, 60, 5000};
    for (int i = 0; i < 4; i++) { /* smaller, too: its old place dies with its own scope */
        size_t kept = sizes[i] < 60 ? sizes[i] : 60;
        memset(moved, 10 + i, 60);
        memarena *between = begin(i % 2 ? other : shared);
        block = memarena_current_realloc(moved, sizes[i]);
        CHECK(block != NULL && block != moved && !memarena_owns(scope, block) && holds(block, kept, 10 + i));
        CHECK(memarena_owns(i % 2 ? other : shared, block));
        memarena_current_pop(between);
        unsigned long libc_before = libc_blocks;
        memarena *suspended = memarena_current_suspend();
        block = memarena_current_realloc(moved, sizes[i]);
        memarena_current_pop(suspended);
        CHECK(block != NULL && libc_blocks == libc_before + 1 && !memarena_owns(shared, block) &&
              holds(block, kept, 10 + i));
        char *grown = memarena_current_realloc(block, 10000); /* malloc's stays malloc's */
        CHECK(grown != NULL && !memarena_owns(shared, grown) && holds(grown, kept, 10 + i));
        memarena_current_free(grown);
    }
    CHECK(memarena_owns(scope, memarena_current_realloc(NULL, 10)));
    if (!test_watched(shared)) { /* a sanitizer reports it */
        char *own = memarena_alloc(scope, 64);
        const struct memarena_current_prefix_ nonsense[] = {
            {8, NULL}, {8, MEMARENA_POINTER_(memarena *, 8)}, {MIB * KIB, scope}};
        for (size_t i = 0; i < sizeof nonsense / sizeof *nonsense; i++) {
            memcpy(own, &nonsense[i], sizeof nonsense[i]);
            errno = 0;
            CHECK(memarena_current_realloc(own + MEMARENA_CURRENT_PREFIX_, 10) == NULL && errno == EINVAL);
        }
    }
    memarena_current_pop(before);
    memarena_destroy(other);
    memarena_destroy(scope);
    CHECK(memarena_reset(shared)); /* i % 2 == 0 took from it */
}

static void all_files_of_a_program_share_the_state(void)
{
#ifdef HAVE_CPP
    memarena *scope = memarena_scope(shared), *before = begin(scope);
    CHECK(current_seen_from_cpp(shared) == scope);
    CHECK(memarena_current_get() == shared);
    memarena_current_pop(before);
    memarena_destroy(scope);
    CHECK(memarena_reset(shared));
#endif
}

/* ---- Threads ------------------------------------------------------------------------------------------------------ */

#define MAILBOXES 16
static void *mailbox[MAILBOXES]; /* from either thread to either thread; the first byte says what is in all 64 */
static pthread_barrier_t turn;
static bool quit;

static void post(unsigned long long *random, int byte)
{
    unsigned char *block = filled(64, byte);
    block = __atomic_exchange_n(&mailbox[test_random(random) % MAILBOXES], block, __ATOMIC_ACQ_REL);
    if (!block) return;
    CHECK(holds(block, 64, *block));
    if (test_random(random) % 2) {
        memarena_current_free(block);
        return;
    }
    block = memarena_current_realloc(block, 100);
    CHECK(block != NULL && holds(block, 64, *block));
    CHECK(memarena_current_get() ? memarena_owns(memarena_current_get(), block) || !memarena_owns(shared, block)
                                 : !memarena_owns(shared, block));
    memarena_current_free(block);
}

static void *exchange_blocks(void *argument)
{
    unsigned long long random = test_seed((unsigned long long)(uintptr_t)argument);
    for (long round = test_scaled(200); round > 0; round--) {
        memarena *scope = memarena_scope(shared), *before = begin(scope);
        CHECK(before == NULL);
        test_meet(&turn);
        CHECK(memarena_current_get() == scope);
        for (int i = 0; i < 300; i++) {
            post(&random, i % 200);
            if (i % 10) continue;
            memarena *suspended = memarena_current_suspend();
            post(&random, i % 200);
            memarena_current_pop(suspended);
        }
        memarena_current_pop(before);
        test_meet(&turn); /* both scopes are alive until here */
        for (int i = 0; i < MAILBOXES; i++)
            if (argument) memarena_current_free(__atomic_exchange_n(&mailbox[i], NULL, __ATOMIC_ACQ_REL));
        test_meet(&turn);
        memarena_destroy(scope);
    }
    return NULL;
}

static void *register_and_destroy(void *argument)
{
    while (!__atomic_load_n(&quit, __ATOMIC_RELAXED)) {
        memarena *arena = memarena_create(MIB);
        CHECK(arena != NULL && memarena_current_register(arena));
        memarena *scope = memarena_scope(arena), *before = begin(scope);
        void *block = filled(64, 1), *libc_block = malloc(64);
        CHECK(memarena_owns(scope, block));
        memarena_current_free(libc_block);
        memarena_current_free(block);
        memarena_current_pop(before);
        memarena_destroy(scope);
        memarena_current_unregister(arena);
        memarena_destroy(arena);
    }
    return argument;
}

static void threads_have_their_own_and_free_each_others(void)
{
    quit = false;
    CHECK_EQ(pthread_barrier_init(&turn, NULL, 2), 0);
    pthread_t registers = test_start(register_and_destroy, NULL);
    pthread_t one = test_start(exchange_blocks, NULL), two = test_start(exchange_blocks, &turn);
    test_join(one);
    test_join(two);
    __atomic_store_n(&quit, true, __ATOMIC_RELAXED);
    test_join(registers);
    CHECK_EQ(pthread_barrier_destroy(&turn), 0);
    CHECK_EQ(memarena_allocated_bytes(shared), 0);
}

int main(int argc, char **argv)
{
    CHECK_EQ(argc, 4);
    shared = memarena_create(512 * MIB);
    CHECK(shared != NULL && memarena_current_register(shared));
    RUN(only_registered_arenas_can_be_pushed);
    RUN(the_register_is_bounded_and_its_places_are_used_again);
    RUN(every_byte_of_an_arena_is_known_and_none_beside_it);
    RUN(blocks_come_from_what_is_current);
    RUN(a_full_arena_is_not_malloc);
    RUN(blocks_that_are_freed_go_where_they_came_from);
    RUN(a_realloc_keeps_the_owner_or_moves_to_what_is_current);
    RUN(all_files_of_a_program_share_the_state);
    RUN(threads_have_their_own_and_free_each_others);
    printf("  libraries\n");
    hooked_libraries(argv[1], argv[2], argv[3]);
#ifdef HAVE_XML2
    libxml2_rounds(argv[3]);
#endif
    memarena_current_unregister(shared);
    memarena_destroy(shared);
    return test_done();
}
