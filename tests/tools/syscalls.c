/* Calls of the library between two getppid(), which strace shows.
 *
 * usage: syscalls CASE      runs one
 *        syscalls --list    names the cases, each with the fewest and the most system calls that it may make */
#include <memarena.h>

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

static char large_buffer[(size_t)16 << 20], small_buffer[32 << 10];

static void must(bool condition, const char *what)
{
    if (condition) return;
    fprintf(stderr, "syscalls: %s\n", what);
    exit(1);
}

static void mark(void)
{
    (void)getppid();
}

static void create(size_t capacity, unsigned flags)
{
    memarena_options options = {.capacity = capacity, .flags = flags, .name = "counted"};
    mark();
    memarena *arena = memarena_create_with(&options);
    mark();
    must(arena != NULL, "create");
}

static void create_the_machine(void)
{
    create(0, 0);
}

static void create_a_gibibyte(void)
{
    create((size_t)1 << 30, 0);
}

static void create_prefaulted(void)
{
    create((size_t)4 << 20, MEMARENA_PREFAULT);
}

static void create_with_huge_pages(void)
{
    create((size_t)8 << 20, MEMARENA_HUGE_PAGES);
}

/* A million blocks, whether there is room for them or not. */
static void allocate_a_million(memarena *arena)
{
    for (int i = 0; i < 1000000; i++) {
        int64_t *block = memarena_new_value(arena, int64_t, i);
        must(i > 0 || block != NULL, "the first block");
    }
}

static void live_in(char *buffer, size_t bytes)
{
    memarena_options options = {.buffer = buffer, .capacity = bytes, .name = "in a buffer"};
    mark();
    memarena *arena = memarena_create_with(&options);
    must(arena != NULL, "create in a buffer");
    for (int round = 0; round < 2; round++) {
        allocate_a_million(arena);
        memarena_reset(arena);
        must(memarena_printf(arena, "%d", round) != NULL, "a text");
        must(memarena_alloc(arena, 9000) != NULL, "a large block");
    }
    memarena_destroy(arena);
    mark();
}

static void live_in_a_large_buffer(void)
{
    live_in(large_buffer, sizeof large_buffer);
}

static void live_in_a_small_buffer(void)
{
    live_in(small_buffer, sizeof small_buffer);
}

static void allocate_and_reset(void)
{
    memarena *arena = memarena_create((size_t)1 << 30);
    must(arena != NULL, "create");
    mark();
    for (int round = 0; round < 3; round++) {
        allocate_a_million(arena);
        must(memarena_alloc(arena, (size_t)100 << 20) != NULL, "a large block");
        memarena_reset(arena);
    }
    mark();
}

static void destroy(void)
{
    memarena *arena = memarena_create((size_t)1 << 30);
    must(arena != NULL, "create");
    allocate_a_million(arena);
    mark();
    memarena_destroy(arena);
    mark();
}

static void control(void) /* that the counting counts: one call */
{
    mark();
    (void)munmap(small_buffer, 0);
    mark();
}

static const struct {
    const char *name;
    void (*run)(void);
    int least, most;
} cases[] = {
    /* to ask for the number of CPUs takes three, once in a process; one names the mapping */
    {"control", control, 1, 1},
    {"create_the_machine", create_the_machine, 1, 7},
    {"create_a_gibibyte", create_a_gibibyte, 1, 7},
    {"create_prefaulted", create_prefaulted, 1, 7},
    {"create_with_huge_pages", create_with_huge_pages, 1, 7},
    {"live_in_a_large_buffer", live_in_a_large_buffer, 0, 0},
    {"live_in_a_small_buffer", live_in_a_small_buffer, 0, 0},
    {"allocate_and_reset", allocate_and_reset, 0, 0},
    {"destroy", destroy, 1, 1},
};

int main(int argc, char **argv)
{
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        if (argc == 2 && strcmp(argv[1], "--list") == 0) {
            printf("%s %d %d\n", cases[i].name, cases[i].least, cases[i].most);
        } else if (argc == 2 && strcmp(argv[1], cases[i].name) == 0) {
            cases[i].run();
            return 0;
        }
    }
    return argc == 2 && strcmp(argv[1], "--list") == 0 ? 0 : 2;
}
