/* An arena's memory goes by the arena's name in the system's list of mappings: what the kernel is asked, on any kernel; and
 * with the argument `maps` what /proc/self/maps then shows, where the kernel keeps names. */
#include <memarena.h>

#include "platform/os.h"
#include "test.h"

#include <errno.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <sys/prctl.h>

#ifndef PR_SET_VMA
#define PR_SET_VMA 0x53564d41
#define PR_SET_VMA_ANON_NAME 0
#endif

#define MIB ((size_t)1 << 20)

/* ---- Linked with --wrap=prctl: the library calls ours ---------------------------------------------------------- */

static struct {
    int calls;
    unsigned long option, address, bytes;
    char name[128];
    bool refuses;
} asked;

int __real_prctl(int option, ...);
int __wrap_prctl(int option, ...);

int __wrap_prctl(int option, ...)
{
    va_list arguments;
    va_start(arguments, option);
    /* (Not in an array: gcc 15 and 16 take its size for a bound of the text that a number in it points to.) */
    unsigned long first = va_arg(arguments, unsigned long), address = va_arg(arguments, unsigned long);
    unsigned long bytes = va_arg(arguments, unsigned long), text = va_arg(arguments, unsigned long);
    va_end(arguments);
    if (option != PR_SET_VMA) return __real_prctl(option, first, address, bytes, text);
    const char *name = (const char *)text; /* NOLINT */
    asked.calls++;
    asked.option = first, asked.address = address, asked.bytes = bytes;
    CHECK(strlen(name) < sizeof asked.name);
    memcpy(asked.name, name, strlen(name) + 1);
    if (!asked.refuses) return __real_prctl(option, first, address, bytes, text);
    errno = EINVAL;
    return -1;
}

/* ---- What is asked ---------------------------------------------------------------------------------------------- */

/* As the kernel sees to it: mm/madvise.c. */
static bool kernel_takes(const char *name)
{
    for (const char *c = name; *c; c++)
        if (*c < ' ' || *c > '~' || strchr("\\`$[]", *c)) return false;
    return strlen(name) < 80;
}

static void check_named(const char *name, const char *shown)
{
    memset(&asked, 0, sizeof asked);
    errno = 4711;
    memarena *arena = memarena_create_with(&(memarena_options){.capacity = MIB, .name = name});
    CHECK(arena);
    CHECK_EQ(errno, 4711);
    CHECK_EQ(asked.calls, 1);
    CHECK_EQ(asked.option, PR_SET_VMA_ANON_NAME);
    if (strcmp(asked.name, shown) != 0) fprintf(stderr, "'%s' instead of '%s'\n", asked.name, shown);
    CHECK(strcmp(asked.name, shown) == 0);
    CHECK(kernel_takes(asked.name));
    const char *block = memarena_alloc(arena, 8); /* all of the memory: blocks and bookkeeping */
    CHECK((uintptr_t)arena >= asked.address && (uintptr_t)arena < asked.address + asked.bytes);
    CHECK((uintptr_t)block >= asked.address && (uintptr_t)block + MIB - 8 <= asked.address + asked.bytes);
    CHECK_EQ(asked.address % ma_os_page_bytes(), 0);
    memarena_destroy(arena);
    CHECK_EQ(asked.calls, 1);
}

static void the_memory_goes_by_the_arenas_name(void)
{
    check_named("requests", "memarena: requests");
    check_named("r", "memarena: r");
    check_named("a b/c-d.e:f", "memarena: a b/c-d.e:f");
    check_named(NULL, "memarena");
    check_named("", "memarena");
}

static void what_the_kernel_refuses_is_replaced(void)
{
    check_named("a[1]", "memarena: a_1_");
    check_named("\\`$[]", "memarena: _____");
    check_named("tab\there\x7f", "memarena: tab_here_");
    check_named("na\xc3\xafve", "memarena: na__ve");
    check_named("~ !", "memarena: ~ !");
}

static void a_long_name_is_cut(void)
{
    check_named("0123456789012345678901234567890123456789", "memarena: 0123456789012345678901234567890");
    char name[100]; /* longer than any that an arena keeps */
    memset(name, 'x', sizeof name);
    for (size_t length = 78; length <= 81; length++) {
        name[length] = 0;
        memset(&asked, 0, sizeof asked);
        ma_os_name(name, 0, name);
        CHECK_EQ(strlen(asked.name), length < 79 ? length : 79);
        name[length] = 'x';
    }
}

static void a_refusal_is_no_error(void)
{
    memset(&asked, 0, sizeof asked);
    asked.refuses = true;
    errno = 4711;
    memarena *arena = memarena_create_with(&(memarena_options){.capacity = MIB, .name = "refused"});
    CHECK(arena);
    CHECK_EQ(asked.calls, 1);
    CHECK_EQ(errno, 4711);
    CHECK(memarena_alloc(arena, 100));
    memarena_destroy(arena);
}

static void memory_of_the_caller_keeps_its_name(void)
{
    static char buffer[65536];
    memset(&asked, 0, sizeof asked);
    memarena *arena =
        memarena_create_with(&(memarena_options){.buffer = buffer, .capacity = sizeof buffer, .name = "mine"});
    CHECK(arena);
    memarena_destroy(arena);
    CHECK_EQ(asked.calls, 0);
}

/* ---- What is shown ---------------------------------------------------------------------------------------------- */

/* What /proc/self/maps says about an address, into `line`. */
static void find_mapping(const void *address, char *line, size_t bytes)
{
    FILE *maps = fopen("/proc/self/maps", "r");
    if (!maps) SKIP("there is no /proc/self/maps");
    unsigned long begin = 0, end = 0;
    do {
        CHECK(fgets(line, (int)bytes, maps));
        CHECK(sscanf(line, "%lx-%lx", &begin, &end) == 2);
    } while ((uintptr_t)address < begin || (uintptr_t)address >= end);
    fclose(maps);
}

static bool kernel_keeps_names(void)
{
    size_t page = ma_os_page_bytes();
    void *memory = mmap(NULL, page, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(memory != MAP_FAILED);
    bool keeps = __real_prctl(PR_SET_VMA, (unsigned long)PR_SET_VMA_ANON_NAME, (unsigned long)memory,
                              (unsigned long)page, (unsigned long)"x") == 0;
    CHECK(munmap(memory, page) == 0);
    return keeps;
}

static void maps_shows_the_name_of_every_page(void)
{
    static const struct {
        const char *name, *shown;
    } cases[] = {{"requests [1]", "[anon:memarena: requests _1_]\n"}, {NULL, "[anon:memarena]\n"}};
    char line[512];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        memarena *arena = memarena_create_with(&(memarena_options){.capacity = 4 * MIB, .name = cases[i].name});
        CHECK(arena);
        const char *block = memarena_alloc_aligned(arena, 4 * MIB - 8, 8);
        CHECK(block);
        find_mapping(arena, line, sizeof line);
        CHECK(strstr(line, cases[i].shown));
        find_mapping(block + 2 * MIB, line, sizeof line);
        CHECK(strstr(line, cases[i].shown));
        printf("    %s", line);
        memarena_destroy(arena);
    }
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "maps") == 0) {
        if (!kernel_keeps_names()) SKIP("this kernel keeps no names of mappings: CONFIG_ANON_VMA_NAME");
        RUN(maps_shows_the_name_of_every_page);
        return test_done();
    }
    RUN(the_memory_goes_by_the_arenas_name);
    RUN(what_the_kernel_refuses_is_replaced);
    RUN(a_long_name_is_cut);
    RUN(a_refusal_is_no_error);
    RUN(memory_of_the_caller_keeps_its_name);
    return test_done();
}
