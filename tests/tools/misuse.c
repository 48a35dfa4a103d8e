/* Misuse that a sanitizer must report, and use that it must not.
 *
 * usage: misuse PROBE           runs one; a probe of misuse prints "touching" just before its only bad access
 *        misuse --group GROUP   runs each of the group in a child: "== probe NAME", its output, "== exit STATUS"
 *        misuse --list GROUP    names the probes of the group: misuse, uninitialised, clean */
#include <memarena.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#define LARGE ((size_t)200 << 10)

/* ---- The bad access ---------------------------------------------------------------------------------------------- */

static volatile unsigned char seen;

__attribute__((noinline)) static void read_at(const char *address)
{
    puts("touching");
    fflush(stdout);
    seen = *(const volatile unsigned char *)address;
}

__attribute__((noinline)) static void write_at(char *address)
{
    puts("touching");
    fflush(stdout);
    *(volatile char *)address = 1;
}

static void must(int condition, const char *what)
{
    if (condition) return;
    fprintf(stderr, "this probe could not be tried: %s\n", what);
    exit(3);
}

static void *must_have(void *pointer, const char *what)
{
    must(pointer != NULL, what);
    return pointer;
}

static memarena *arena(void)
{
    return must_have(memarena_create((size_t)16 << 20), "memarena_create");
}

static char *filled(memarena *from, size_t size)
{
    return memset(must_have(memarena_alloc(from, size), "memarena_alloc"), 7, size);
}

static char callers_buffer[64 << 10];

static memarena *arena_in_buffer(void)
{
    memarena_options options = {.buffer = callers_buffer, .capacity = sizeof callers_buffer};
    return must_have(memarena_create_with(&options), "memarena_create_with");
}

/* ---- Misuse ------------------------------------------------------------------------------------------------------ */

static void overrun_of_13_bytes_by_1(void)
{
    write_at(filled(arena(), 13) + 13);
}

static void overrun_of_8_bytes_by_8(void)
{
    memarena *a = arena();
    filled(a, 8);
    char *block = filled(a, 8);
    filled(a, 8);
    write_at(block + 8 + 7);
}

static void underrun_of_the_first_block(void)
{
    read_at(filled(arena(), 24) - 1);
}

static void underrun_of_a_later_block(void)
{
    memarena *a = arena();
    filled(a, 24);
    write_at(filled(a, 24) - 1);
}

static void underrun_of_a_large_block(void)
{
    memarena *a = arena();
    filled(a, 16);
    write_at(filled(a, LARGE) - 1);
}

static void underrun_of_a_block_behind_a_large_one(void)
{
    memarena *a = arena();
    filled(a, LARGE);
    read_at(filled(a, 16) - 1);
}

static void underrun_of_an_aligned_block(void)
{
    memarena *a = arena();
    filled(a, 16);
    write_at((char *)must_have(memarena_alloc_aligned(a, 100, 4096), "memarena_alloc_aligned") - 1);
}

static void underrun_of_the_second_of_two_aligned_blocks(void)
{
    memarena *a = arena();
    must_have(memarena_alloc_aligned(a, 64, 64), "memarena_alloc_aligned");
    read_at((char *)must_have(memarena_alloc_aligned(a, 64, 64), "memarena_alloc_aligned") - 1);
}

static void read_past_a_large_block(void)
{
    memarena *a = arena();
    char *block = filled(a, LARGE);
    filled(a, 16);
    read_at(block + LARGE);
}

static void read_past_an_array(void)
{
    int *array = must_have(memarena_new_array(arena(), int, 5), "memarena_new_array");
    read_at((char *)(array + 5));
}

static void read_past_an_aligned_block(void)
{
    read_at((char *)must_have(memarena_alloc_aligned(arena(), 4096, 4096), "memarena_alloc_aligned") + 4096);
}

static void read_past_a_strdup(void)
{
    read_at((char *)must_have(memarena_strdup(arena(), "twelve chars"), "memarena_strdup") + 13);
}

static void read_past_a_block_grown_in_place(void)
{
    memarena *a = arena();
    char *block = must_have(memarena_realloc(a, filled(a, 16), 16, 40), "memarena_realloc");
    read_at(block + 40);
}

static void read_past_a_block_shrunk_in_place(void)
{
    memarena *a = arena();
    char *block = must_have(memarena_realloc(a, filled(a, 40), 40, 16), "memarena_realloc");
    read_at(block + 16);
}

static void read_past_a_block_shrunk_behind_another(void)
{
    memarena *a = arena();
    char *block = filled(a, 40);
    filled(a, 8);
    block = must_have(memarena_realloc(a, block, 40, 16), "memarena_realloc");
    read_at(block + 16);
}

static void read_past_a_block_shrunk_by_three_bytes(void)
{
    memarena *a = arena();
    char *block = filled(a, 15);
    filled(a, 8);
    block = must_have(memarena_realloc(a, block, 15, 12), "memarena_realloc");
    read_at(block + 12);
}

static void use_after_it_was_dropped(void)
{
    memarena *a = arena();
    char *block = filled(a, 40);
    if (!memarena_drop_last(a, block, 40)) exit(1);
    read_at(block + 39);
}

static void use_after_it_was_dropped_from_a_scope(void)
{
    memarena *scope = must_have(memarena_scope(arena()), "memarena_scope");
    char *block = filled(scope, 5000);
    if (!memarena_drop_last(scope, block, 5000)) exit(1);
    read_at(block + 39);
}

static void use_in_what_a_scope_keeps_for_its_next_round(void)
{
    memarena *scope = must_have(memarena_scope(arena()), "memarena_scope");
    memarena_position mark = memarena_mark(scope);
    filled(scope, 3000);
    char *block = filled(scope, 3000);
    if (!memarena_rewind(scope, mark)) exit(1);
    read_at(block + 39);
}

static char *kept(memarena *parent)
{
    memarena *scope = must_have(memarena_scope(parent), "memarena_scope");
    filled(scope, 3000);
    char *block = filled(scope, 40);
    if (!memarena_keep(scope)) exit(1);
    filled(parent, 40);
    if (block[39] != filled(parent, 40)[39]) exit(1); /* that is no misuse */
    return block;
}

static void overrun_of_a_kept_block(void)
{
    write_at(kept(arena()) + 40);
}

static void use_of_a_kept_block_after_reset(void)
{
    memarena *a = arena();
    char *block = kept(a);
    memarena_reset(a);
    read_at(block);
}

static void use_of_a_kept_block_after_rewind(void)
{
    memarena *scope = must_have(memarena_scope(arena()), "memarena_scope");
    memarena_position mark = memarena_mark(scope);
    char *block = kept(scope);
    if (!memarena_rewind(scope, mark)) exit(1);
    read_at(block);
}

static void overrun_of_a_text(void)
{
    memarena *scope = must_have(memarena_scope(arena()), "memarena_scope");
    char *text = must_have(memarena_printf(scope, "%s", "0123456"), "memarena_printf");
    write_at(text + 8);
}

static void use_after_reset(void)
{
    memarena *a = arena();
    char *block = filled(a, 32);
    memarena_reset(a);
    write_at(block);
}

static void use_after_many_resets(void)
{
    memarena *a = arena();
    char *block = filled(a, 32);
    for (int i = 0; i < 1000; i++) memarena_reset(a);
    read_at(block);
}

static void use_after_a_reset_and_a_smaller_generation(void)
{
    memarena *a = arena();
    filled(a, 16);
    char *block = filled(a, 4096);
    memarena_reset(a);
    filled(a, 16);
    memarena_reset(a);
    filled(a, 16);
    read_at(block + 4095);
}

static void use_after_reset_of_a_large_block(void)
{
    memarena *a = arena();
    char *block = filled(a, LARGE);
    memarena_reset(a);
    read_at(block);
}

static void use_after_reset_of_the_last_byte_of_a_large_block(void)
{
    memarena *a = arena();
    char *block = filled(a, LARGE + 5);
    memarena_reset(a);
    read_at(block + LARGE + 4);
}

static void use_after_destroy(void)
{
    memarena *a = arena();
    char *block = filled(a, 32);
    memarena_destroy(a);
    read_at(block);
}

static void overrun_of_the_last_block_in_a_buffer(void)
{
    memarena *a = arena_in_buffer();
    filled(a, 24);
    write_at(filled(a, 24) + 24);
}

static memarena *scope_of(memarena *parent)
{
    return must_have(memarena_scope(parent), "memarena_scope");
}

static void overrun_of_a_block_of_a_scope(void)
{
    memarena *scope = scope_of(arena());
    char *block = filled(scope, 13);
    filled(scope, 8);
    write_at(block + 13);
}

static void underrun_of_the_first_block_of_a_scope(void)
{
    read_at(filled(scope_of(arena()), 24) - 1);
}

static void underrun_of_a_later_block_of_a_scope(void)
{
    memarena *scope = scope_of(arena());
    filled(scope, 24);
    write_at(filled(scope, 24) - 1);
}

static void underrun_of_an_aligned_block_of_a_scope(void)
{
    memarena *scope = scope_of(arena());
    filled(scope, 8);
    read_at((char *)must_have(memarena_alloc_aligned(scope, 64, 256), "memarena_alloc_aligned") - 1);
}

static void underrun_of_a_large_block_of_a_scope(void)
{
    memarena *scope = scope_of(arena());
    filled(scope, 8);
    write_at(filled(scope, LARGE) - 1);
}

static void use_after_the_end_of_a_scope(void)
{
    memarena *scope = scope_of(arena());
    char *block = filled(scope, 32);
    memarena_destroy(scope);
    read_at(block);
}

static void use_after_the_end_of_a_scope_of_a_large_block(void)
{
    memarena *scope = scope_of(arena());
    char *block = filled(scope, LARGE);
    memarena_destroy(scope);
    read_at(block + LARGE - 1);
}

static void use_of_a_scope_after_its_end(void)
{
    memarena *scope = scope_of(arena());
    memarena_destroy(scope);
    read_at((const char *)scope);
}

static void use_after_rewind(void)
{
    memarena *scope = scope_of(arena());
    filled(scope, 8);
    memarena_position mark = memarena_mark(scope);
    char *block = filled(scope, 32);
    must(memarena_rewind(scope, mark), "memarena_rewind");
    write_at(block);
}

static void use_after_rewind_of_a_large_block(void)
{
    memarena *scope = scope_of(arena());
    memarena_position mark = memarena_mark(scope);
    char *block = filled(scope, LARGE);
    must(memarena_rewind(scope, mark), "memarena_rewind");
    read_at(block);
}

static void use_after_reset_of_a_scope(void)
{
    memarena *scope = scope_of(arena());
    char *block = filled(scope, 32);
    must(memarena_reset(scope), "memarena_reset");
    read_at(block);
}

static void use_after_reset_in_a_buffer(void)
{
    memarena *a = arena_in_buffer();
    char *block = filled(a, 24);
    memarena_reset(a);
    read_at(block);
}

static void use_of_a_buffer_before_it_is_handed_out(void)
{
    arena_in_buffer();
    write_at(callers_buffer + sizeof callers_buffer - 8);
}

static void *allocate_in_thread(void *a)
{
    return filled(a, 100);
}

static void overrun_of_a_block_of_another_thread(void)
{
    memarena *a = arena();
    pthread_t thread;
    void *block;
    must(pthread_create(&thread, NULL, allocate_in_thread, a) == 0, "pthread_create");
    must(pthread_join(thread, &block) == 0, "pthread_join");
    read_at((char *)block + 100);
}

/* ---- Misuse that only memcheck can see --------------------------------------------------------------------------- */

static void branch_on(const char *byte)
{
    puts("touching");
    fflush(stdout);
    if (*(const volatile char *)byte == 42) puts("42");
}

static void a_new_block_is_undefined(void)
{
    branch_on(must_have(memarena_alloc(arena(), 64), "memarena_alloc"));
}

static void a_reused_block_is_undefined(void)
{
    memarena *a = arena();
    filled(a, 64);
    memarena_reset(a);
    branch_on(must_have(memarena_alloc(a, 64), "memarena_alloc"));
}

/* ---- Clean ------------------------------------------------------------------------------------------------------- */

struct pair {
    int left;
    double right;
};

static void count_call(void *counter)
{
    ++*(int *)counter;
}

static void use_every_call(memarena *a, int rounds)
{
    int calls = 0;
    for (int round = 0; round < rounds; round++) {
        for (size_t size = 0; size < 300; size += 13) filled(a, size);
        for (size_t alignment = 1; alignment <= 1024; alignment *= 2)
            memset(must_have(memarena_alloc_aligned(a, 40, alignment), "memarena_alloc_aligned"), 1, 40);
        char *zeroed = must_have(memarena_zalloc(a, 100), "memarena_zalloc");
        char *array = must_have(memarena_calloc(a, 10, 10), "memarena_calloc");
        must(memcmp(zeroed, array, 100) == 0, "both are zero");
        struct pair *pair = must_have(memarena_new(a, struct pair), "memarena_new");
        pair->left = 1;
        pair = must_have(memarena_new_value(a, struct pair, 1, 2.0), "memarena_new_value");
        must(pair->left == 1 && pair->right > 1, "the value is there");
        int *numbers = must_have(memarena_new_array(a, int, 33), "memarena_new_array");
        numbers[32] = numbers[31];
        memset(must_have(memarena_memdup(a, numbers, 33 * sizeof *numbers), "memarena_memdup"), 1, 33);
        char *text = must_have(memarena_strdup(a, "text"), "memarena_strdup");
        text[4] = '\0';
        must(strcmp(must_have(memarena_strndup(a, text, 2), "memarena_strndup"), "te") == 0, "cut text");
        text = must_have(memarena_printf(a, "%0300d", 1), "memarena_printf");
        must(strlen(text) == 300, "long text");
        char *block = filled(a, 20);
        block = must_have(memarena_realloc(a, block, 20, 90), "memarena_realloc in place");
        memset(block + 20, 7, 70);
        filled(a, 8);
        block = must_have(memarena_realloc(a, block, 90, 200), "memarena_realloc that moves");
        must(block[89] == 7, "the old contents");
        block[199] = 7;
        block = must_have(memarena_realloc(a, block, 200, 10), "memarena_realloc that shrinks");
        must(block[9] == 7, "the old contents");
        block = filled(a, 50);
        must(memarena_drop_last(a, block, 50) && filled(a, 60) == block, "the place of a dropped block");
        must(memarena_defer(a, count_call, &calls), "memarena_defer");
        memarena_stats stats;
        memarena_get_stats(a, &stats, sizeof stats);
        must(stats.watched == 1, "a sanitizer is recognised");
        must(stats.allocated_bytes == memarena_allocated_bytes(a), "the accounts agree");
        must(memarena_owns(a, block) && !memarena_owns(a, &stats), "memarena_owns");
        must(memarena_reset(a) && memarena_generation(a) == (unsigned)round + 2, "memarena_reset");
    }
    memarena_destroy(a);
    must(calls == rounds, "each deferred call ran");
}

static void every_call(void)
{
    use_every_call(arena(), 20);
}

static void every_call_in_a_buffer(void)
{
    use_every_call(arena_in_buffer(), 20);
}

static void a_full_arena(void)
{
    memarena *a = must_have(memarena_create(100000), "memarena_create");
    for (int round = 0; round < 3; round++) {
        size_t filled_bytes = 0;
        for (char *block; (block = memarena_alloc_aligned(a, 8, 8)) != NULL; filled_bytes += 8) memset(block, 7, 8);
        must(filled_bytes == 100000, "full to the last byte");
        memarena_reset(a);
        memset(must_have(memarena_alloc_aligned(a, 100000, 8), "one block of all"), 7, 100000);
        memarena_reset(a);
    }
    memarena_destroy(a);
}

/* Maps the same addresses again, as the system may at any time, and writes all over them. */
static void write_all_over(char *begin, size_t bytes)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE), lead = (size_t)begin & (page - 1);
    char *again =
        mmap(begin - lead, bytes + lead, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    must(again == begin - lead, "the same addresses are mapped again");
    memset(again, 1, bytes + lead);
    munmap(again, bytes + lead);
}

static void memory_of_a_destroyed_arena(void)
{
    memarena *a = arena();
    char *block = filled(a, LARGE);
    filled(a, 13);
    memarena_reset(a);
    filled(a, 13);
    memarena_destroy(a);
    write_all_over(block, LARGE * 3 + 64);
}

static void memory_of_an_arena_destroyed_after_a_shrink(void)
{
    memarena *a = arena();
    char *block = filled(a, LARGE);
    must_have(memarena_realloc(a, block, LARGE, 16), "memarena_realloc");
    memarena_destroy(a);
    write_all_over(block, LARGE * 3);
}

static void memory_of_an_arena_reset_after_a_shrink(void)
{
    memarena *a = arena();
    char *block = filled(a, LARGE);
    must_have(memarena_realloc(a, block, LARGE, 16), "memarena_realloc");
    memarena_reset(a);
    memarena_destroy(a);
    write_all_over(block, LARGE * 3);
}

static void use_a_scope(memarena *scope)
{
    memarena_position mark = memarena_mark(scope);
    for (int round = 0; round < 3; round++) {
        for (size_t size = 1; size < LARGE; size = size * 3 + 1) filled(scope, size);
        char *block = must_have(memarena_realloc(scope, filled(scope, 20), 20, 50), "memarena_realloc");
        memset(block, 1, 50);
        must(memarena_defer(scope, free, NULL), "memarena_defer");
        must(memarena_rewind(scope, mark), "memarena_rewind");
        must(memarena_reset(scope), "memarena_reset");
        mark = memarena_mark(scope);
    }
}

static void scopes(void)
{
    memarena *a = arena(), *buffered = arena_in_buffer();
    for (int round = 0; round < 20; round++) {
        memarena *outer = scope_of(a), *inner = scope_of(outer), *other = scope_of(buffered);
        use_a_scope(inner);
        filled(other, 100);
        memarena_destroy(inner);
        use_a_scope(outer);
        memarena_destroy(outer);
        memarena_destroy(other);
        must(memarena_reset(a) && memarena_reset(buffered), "memarena_reset");
        filled(a, LARGE);
        filled(buffered, 5000);
    }
    memarena_destroy(a);
    memarena_destroy(buffered);
}

static void a_buffer_after_destroy(void)
{
    memarena *a = arena_in_buffer();
    filled(a, 1000);
    memarena_reset(a);
    filled(a, 10);
    memarena_destroy(a);
    memset(callers_buffer, 1, sizeof callers_buffer);
    filled(arena_in_buffer(), 100);
}

static __attribute__((noinline)) void use_a_frame_as_buffer(void)
{
    char frame[8192];
    memarena_options options = {.buffer = frame, .capacity = sizeof frame};
    memarena *a = must_have(memarena_create_with(&options), "memarena_create_with");
    filled(a, 100);
    memarena_destroy(a); /* without it the next frame there is reported */
}

static __attribute__((noinline)) void use_a_frame(void)
{
    volatile char frame[8000];
    for (size_t i = 0; i < sizeof frame; i++) frame[i] = 1;
}

static void a_frame_where_a_buffer_was(void)
{
    use_a_frame_as_buffer();
    use_a_frame();
}

static void buffers_of_every_alignment(void)
{
    for (size_t lead = 0; lead < 16; lead++) {
        for (size_t bytes = 4096; bytes < 4096 + 8; bytes++) {
            char *buffer = must_have(malloc(lead + bytes), "malloc"); /* ends exactly where the arena's ends */
            memarena_options options = {.buffer = buffer + lead, .capacity = bytes};
            memarena *a = must_have(memarena_create_with(&options), "memarena_create_with");
            memset(buffer, 1, lead);
            for (char *block; (block = memarena_alloc(a, 24)) != NULL;) memset(block, 7, 24);
            memarena_destroy(a);
            memset(buffer, 1, lead + bytes);
            free(buffer);
        }
    }
}

static void *churn(void *a)
{
    for (int i = 0; i < 2000; i++) {
        size_t size = (size_t)(i % 61) * 7;
        char *block = filled(a, size);
        if (size && block[size - 1] != 7) return NULL;
    }
    return a;
}

static void threads(void)
{
    memarena *a = arena();
    for (int round = 0; round < 3; round++) {
        pthread_t thread[4];
        for (int i = 0; i < 4; i++) must(pthread_create(&thread[i], NULL, churn, a) == 0, "pthread_create");
        for (int i = 0; i < 4; i++) {
            void *result;
            must(pthread_join(thread[i], &result) == 0 && result == a, "the blocks kept their contents");
        }
        memarena_reset(a);
    }
    memarena_destroy(a);
}

static void a_block_moved_by_realloc(void)
{
    memarena *a = arena();
    char *old = filled(a, 100);
    filled(a, 8);
    char *block = must_have(memarena_realloc(a, old, 100, 300), "memarena_realloc");
    must(old != block, "the block moved");
    must(old[99] == 7 && block[99] == 7, "both hold the contents");
}

/* Where three times the capacity does not fit the address space. What is reserved must not be written to. */
static void an_arena_of_most_of_the_address_space(void)
{
    struct itimerval second = {.it_value = {.tv_sec = 1}};
    must(setitimer(ITIMER_PROF, &second, NULL) == 0, "setitimer"); /* dies rather than fill the machine's memory */
    memarena *a = memarena_create(SIZE_MAX >> 18);
    if (!a) return; /* Valgrind has less than that */
    filled(a, LARGE);
    memarena_reset(a);
    memarena_destroy(a);
}

static void a_block_grown_by_three_bytes(void)
{
    memarena *a = arena();
    char *block = filled(a, 12);
    filled(a, 8);
    block = must_have(memarena_realloc(a, block, 12, 15), "memarena_realloc");
    block[14] = block[11];
    must(block[14] == 7, "the contents");
    block = must_have(memarena_realloc(a, block, 15, 15), "memarena_realloc to the same size");
    must(block[14] == 7, "the contents");
}

static void an_arena_of_the_whole_machine(void)
{
    memarena *a = must_have(memarena_create(0), "memarena_create");
    filled(a, LARGE);
    memarena_reset(a);
    memarena_destroy(a);
}

/* ---- The list ---------------------------------------------------------------------------------------------------- */

typedef struct probe {
    const char *group, *name;
    void (*run)(void);
} probe;

#define PROBE(group, name) \
    { \
#group, #name, name \
    }

static const probe probes[] = {
    PROBE(misuse, overrun_of_13_bytes_by_1),
    PROBE(misuse, overrun_of_8_bytes_by_8),
    PROBE(misuse, underrun_of_the_first_block),
    PROBE(misuse, underrun_of_a_later_block),
    PROBE(misuse, underrun_of_a_large_block),
    PROBE(misuse, underrun_of_a_block_behind_a_large_one),
    PROBE(misuse, underrun_of_an_aligned_block),
    PROBE(misuse, underrun_of_the_second_of_two_aligned_blocks),
    PROBE(misuse, read_past_a_large_block),
    PROBE(misuse, read_past_an_array),
    PROBE(misuse, read_past_an_aligned_block),
    PROBE(misuse, read_past_a_strdup),
    PROBE(misuse, read_past_a_block_grown_in_place),
    PROBE(misuse, read_past_a_block_shrunk_in_place),
    PROBE(misuse, read_past_a_block_shrunk_behind_another),
    PROBE(misuse, read_past_a_block_shrunk_by_three_bytes),
    PROBE(misuse, use_after_it_was_dropped),
    PROBE(misuse, use_after_it_was_dropped_from_a_scope),
    PROBE(misuse, use_in_what_a_scope_keeps_for_its_next_round),
    PROBE(misuse, overrun_of_a_kept_block),
    PROBE(misuse, use_of_a_kept_block_after_reset),
    PROBE(misuse, use_of_a_kept_block_after_rewind),
    PROBE(misuse, overrun_of_a_text),
    PROBE(misuse, use_after_reset),
    PROBE(misuse, use_after_many_resets),
    PROBE(misuse, use_after_a_reset_and_a_smaller_generation),
    PROBE(misuse, use_after_reset_of_a_large_block),
    PROBE(misuse, use_after_reset_of_the_last_byte_of_a_large_block),
    PROBE(misuse, use_after_destroy),
    PROBE(misuse, overrun_of_the_last_block_in_a_buffer),
    PROBE(misuse, overrun_of_a_block_of_a_scope),
    PROBE(misuse, underrun_of_the_first_block_of_a_scope),
    PROBE(misuse, underrun_of_a_later_block_of_a_scope),
    PROBE(misuse, underrun_of_an_aligned_block_of_a_scope),
    PROBE(misuse, underrun_of_a_large_block_of_a_scope),
    PROBE(misuse, use_after_the_end_of_a_scope),
    PROBE(misuse, use_after_the_end_of_a_scope_of_a_large_block),
    PROBE(misuse, use_of_a_scope_after_its_end),
    PROBE(misuse, use_after_rewind),
    PROBE(misuse, use_after_rewind_of_a_large_block),
    PROBE(misuse, use_after_reset_of_a_scope),
    PROBE(misuse, use_after_reset_in_a_buffer),
    PROBE(misuse, use_of_a_buffer_before_it_is_handed_out),
    PROBE(misuse, overrun_of_a_block_of_another_thread),
    PROBE(uninitialised, a_new_block_is_undefined),
    PROBE(uninitialised, a_reused_block_is_undefined),
    PROBE(clean, every_call),
    PROBE(clean, every_call_in_a_buffer),
    PROBE(clean, scopes),
    PROBE(clean, a_full_arena),
    PROBE(clean, memory_of_a_destroyed_arena),
    PROBE(clean, memory_of_an_arena_destroyed_after_a_shrink),
    PROBE(clean, memory_of_an_arena_reset_after_a_shrink),
    PROBE(clean, a_buffer_after_destroy),
    PROBE(clean, a_frame_where_a_buffer_was),
    PROBE(clean, buffers_of_every_alignment),
    PROBE(clean, threads),
    PROBE(clean, a_block_moved_by_realloc),
    PROBE(clean, a_block_grown_by_three_bytes),
    PROBE(clean, an_arena_of_the_whole_machine),
    PROBE(clean, an_arena_of_most_of_the_address_space),
};

/* Children start faster than programs do under Valgrind. */
static void run_apart(const probe *one)
{
    printf("== probe %s\n", one->name);
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        one->run();
        exit(0);
    }
    int status = -1;
    must(child > 0 && waitpid(child, &status, 0) == child, "fork");
    printf("\n== exit %d\n", WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
    fflush(stdout);
}

int main(int argc, char **argv)
{
    bool list = argc == 3 && strcmp(argv[1], "--list") == 0, group = argc == 3 && strcmp(argv[1], "--group") == 0;
    for (size_t i = 0; i < sizeof probes / sizeof *probes; i++) {
        const probe *one = &probes[i];
        if ((list || group) && strcmp(one->group, argv[2]) == 0) {
            if (list)
                puts(one->name);
            else
                run_apart(one);
        } else if (argc == 2 && strcmp(one->name, argv[1]) == 0) {
            one->run();
            return 0;
        }
    }
    if (list || group) return 0;
    fputs("usage: misuse PROBE | --group GROUP | --list GROUP\n", stderr);
    return 2;
}
