/* What a memory cgroup allows: the default capacity is no more, and MEMARENA_PREFAULT fails instead of being killed. First with
 * files of our own in place of the system's (linked with --wrap=syscall, by which the library opens them), then, with the
 * argument `real`, in a cgroup that is made for it. */
#include <memarena.h>

#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define MIB ((size_t)1 << 20)

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

/* ---- Files of our own ---------------------------------------------------------------------------------------------- */

typedef struct fake {
    const char *path, *text;
} fake;

static const fake *fakes; /* the last has no path; NULL: the system's own */
static int opened, populated;
static bool is_old_kernel;

long __real_syscall(long number, ...);
long __wrap_syscall(long number, ...);
int __real_madvise(void *address, size_t bytes, int advice);
int __wrap_madvise(void *address, size_t bytes, int advice);

static long open_fake(const char *path)
{
    opened++;
    for (const fake *at = fakes; at->path; at++) {
        int ends[2];
        if (strcmp(at->path, path) != 0) continue;
        CHECK(pipe(ends) == 0);
        CHECK(write(ends[1], at->text, strlen(at->text)) == (ssize_t)strlen(at->text));
        close(ends[1]);
        return ends[0];
    }
    errno = ENOENT;
    return -1;
}

long __wrap_syscall(long number, ...)
{
    long a[6];
    va_list arguments;
    va_start(arguments, number);
    for (int i = 0; i < 6; i++) a[i] = va_arg(arguments, long);
    va_end(arguments);
    if (number == SYS_openat && fakes) return open_fake((const char *)a[1]); /* NOLINT */
    return __real_syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

int __wrap_madvise(void *address, size_t bytes, int advice)
{
    if (advice == MADV_POPULATE_WRITE) populated++;
    if (advice != MADV_POPULATE_WRITE || !is_old_kernel) return __real_madvise(address, bytes, advice);
    errno = EINVAL;
    return -1;
}

static size_t default_capacity(const fake *files)
{
    fakes = files;
    errno = EDOM;
    memarena *arena = memarena_create(0);
    CHECK(arena && errno == EDOM);
    fakes = NULL;
    CHECK(memarena_alloc(arena, 1000) != NULL);
    size_t capacity = memarena_capacity(arena);
    memarena_destroy(arena);
    return capacity;
}

#define DEFAULT_CAPACITY(...) default_capacity((fake[]){__VA_ARGS__, {NULL, NULL}})
#define SELF "/proc/self/cgroup"
#define TOP "/sys/fs/cgroup"
#define V1 TOP "/memory"

static void the_default_capacity_is_no_more_than_a_cgroup_of_the_second_version_allows(void)
{
    fake own = {SELF, "0::/a/b\n"};
    CHECK_EQ(DEFAULT_CAPACITY(own, {TOP "/a/b/memory.max", "104857600\n"}), 100 * MIB);
    CHECK_EQ(DEFAULT_CAPACITY(own, {TOP "/a/b/memory.max", "104861000\n"}), 100 * MIB); /* whole pages */
    CHECK_EQ(DEFAULT_CAPACITY(own, {TOP "/a/b/memory.max", "max\n"}, {TOP "/a/memory.max", "52428800\n"}), 50 * MIB);
    CHECK_EQ(DEFAULT_CAPACITY(own, {TOP "/a/b/memory.max", "20971520\n"}, {TOP "/a/memory.max", "52428800\n"}),
             20 * MIB);
    CHECK_EQ(DEFAULT_CAPACITY({SELF, "0::/\n"}, {TOP "/memory.max", "20971520\n"}), 20 * MIB);
    /* A container that sees its own path from outside. */
    CHECK_EQ(DEFAULT_CAPACITY(own, {TOP "/memory.max", "20971520\n"}), 20 * MIB);
}

static void likewise_of_the_first_version(void)
{
    fake own = {SELF, "12:cpu,cpuacct:/x\n4:hugetlb,memory:/a/b\n1:name=systemd:/memory\n0::/other\n"};
    CHECK_EQ(DEFAULT_CAPACITY(own, {V1 "/a/b/memory.limit_in_bytes", "104857600\n"}), 100 * MIB);
    CHECK_EQ(DEFAULT_CAPACITY(own, {V1 "/a/b/memory.limit_in_bytes", "9223372036854771712\n"},
                              {V1 "/a/memory.limit_in_bytes", "31457280\n"}, {TOP "/other/memory.max", "4096\n"}),
             30 * MIB);
    CHECK_EQ(DEFAULT_CAPACITY({SELF, "3:memory:/docker/1\n"}, {V1 "/memory.limit_in_bytes", "31457280\n"}), 30 * MIB);
}

static void what_cannot_be_read_limits_nothing(void)
{
    static char long_path[3000] = "0::/";
    memset(long_path + 4, 'x', sizeof long_path - 5);
    size_t physical = DEFAULT_CAPACITY({"", ""});
    CHECK(physical > 200 * MIB);
    fake limit = {TOP "/a/memory.max", "20971520\n"};
    static const char *const odd[] = {"",         "\n",         "0",      "0:", "0::", "x:memorys:/a\n",
                                      "3:mem:/a", "0:memory\n", long_path};
    for (size_t i = 0; i < sizeof odd / sizeof *odd; i++) CHECK_EQ(DEFAULT_CAPACITY({SELF, odd[i]}, limit), physical);
    static const char *const numbers[] = {"", "max", "-1\n", "99999999999999999999999999\n", "18446744073709551615"};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        CHECK_EQ(DEFAULT_CAPACITY({SELF, "0::/a\n"}, {TOP "/a/memory.max", numbers[i]}), physical);
    CHECK(DEFAULT_CAPACITY({SELF, "0::/a\n"}, {TOP "/a/memory.max", "0\n"}) > 0); /* an arena all the same */
}

static void a_capacity_that_is_given_asks_nothing(void)
{
    fakes = (fake[]){{SELF, "0::/a\n"}, {TOP "/a/memory.max", "20971520\n"}, {NULL, NULL}};
    opened = 0;
    memarena *arena = memarena_create(100 * MIB);
    CHECK(arena && memarena_capacity(arena) == 100 * MIB);
    CHECK_EQ(opened, 0);
    fakes = NULL;
    memarena_destroy(arena);
}

/* ---- Prefaulting ----------------------------------------------------------------------------------------------------- */

static memarena *create_prefaulted(size_t bytes)
{
    errno = 0;
    return memarena_create_with(&(memarena_options){.capacity = bytes, .flags = MEMARENA_PREFAULT});
}

static bool is_prefaulted(size_t bytes, const fake *files)
{
    fakes = files;
    populated = 0;
    memarena *arena = create_prefaulted(bytes);
    fakes = NULL;
    CHECK(arena || errno == ENOMEM);
    if (arena) CHECK(memarena_resident_bytes(arena) >= bytes);
    memarena_destroy(arena);
    return arena != NULL;
}

#define IS_PREFAULTED(bytes, ...) is_prefaulted(bytes, (fake[]){__VA_ARGS__, {NULL, NULL}})

static void prefaulting_looks_at_what_the_cgroups_have_left(void)
{
    fake own = {SELF, "0::/a/b\n"}, limit = {TOP "/a/b/memory.max", "67108864\n"};
    size_t spread = 1;
    memarena_stats stats;
    memarena *arena = memarena_create(MIB);
    memarena_get_stats(arena, &stats, sizeof stats);
    if (stats.watched) spread = 3; /* red zones are brought in, too */
    memarena_destroy(arena);
    for (int i = 0; i < 2; i++) {
        is_old_kernel = i;
        fake used = {TOP "/a/b/memory.current", "50331648\n"};
        CHECK(IS_PREFAULTED(10 * MIB / spread, own, limit));
        CHECK(IS_PREFAULTED(10 * MIB / spread, own, limit, used));
        CHECK(i || populated > 1); /* in steps */
        CHECK(!IS_PREFAULTED(17 * MIB / spread, own, limit, used));
        CHECK_EQ(populated, 0);
        CHECK(!IS_PREFAULTED(70 * MIB / spread, own, limit));
        fake files = {TOP "/a/b/memory.stat", "anon 33554432\ninactive_file 9437184\nactive_file 7340032\n"};
        CHECK(IS_PREFAULTED(28 * MIB / spread, own, limit, used, files));
        CHECK(!IS_PREFAULTED(33 * MIB / spread, own, limit, used, files));
        CHECK(!IS_PREFAULTED(20 * MIB / spread, own, {TOP "/a/memory.max", "20971520\n"}));
    }
    is_old_kernel = false;
}

static void prefaulting_looks_at_the_first_version_and_at_the_machine(void)
{
    fake own = {SELF, "4:memory:/a\n"}, limit = {V1 "/a/memory.limit_in_bytes", "33554432\n"};
    CHECK(IS_PREFAULTED(5 * MIB, own, limit));
    CHECK(!IS_PREFAULTED(5 * MIB, own, limit, {V1 "/a/memory.usage_in_bytes", "31457280\n"}));
    CHECK(IS_PREFAULTED(
        5 * MIB, own, limit, {V1 "/a/memory.usage_in_bytes", "31457280\n"},
        {V1 "/a/memory.stat", "cache 1\ntotal_cache 9\ntotal_inactive_file 20971520\ntotal_active_file 0\n"}));
    CHECK(
        !IS_PREFAULTED(5 * MIB, {"/proc/meminfo", "MemTotal:   9999999 kB\nMemFree: 3 kB\nMemAvailable:   4096 kB\n"}));
    CHECK(
        IS_PREFAULTED(5 * MIB, {"/proc/meminfo", "MemTotal:   9999999 kB\nMemFree: 3 kB\nMemAvailable:   65536 kB\n"}));
}

/* ---- A real one -------------------------------------------------------------------------------------------------------- */

#define LIMIT (256 * MIB)

static char group[4096];

static bool write_to(const char *name, const char *text)
{
    char path[5000];
    snprintf(path, sizeof path, "%s/%s", group, name);
    int file = open(path, O_WRONLY);
    bool done = file >= 0 && write(file, text, strlen(text)) == (ssize_t)strlen(text);
    if (file >= 0) close(file);
    return done;
}

/* Below that of this process, as far as it may. */
static bool make_group(void)
{
    char line[2048], limit[32];
    bool second = true;
    group[0] = 0;
    FILE *file = fopen(SELF, "r");
    while (file && fgets(line, sizeof line, file)) {
        char *path = strrchr(line, ':') + 1;
        line[strcspn(line, "\n")] = 0;
        bool first = strstr(line, ":memory:") != NULL;
        if (first || (strncmp(line, "0::", 3) == 0 && second))
            snprintf(group, sizeof group, "%s%s/memarena-%ld", first ? V1 : TOP, path, (long)getpid());
        second = second && !first;
    }
    if (file) fclose(file);
    if (!group[0] || mkdir(group, 0700) != 0) return false;
    snprintf(limit, sizeof limit, "%zu", LIMIT);
    return write_to(second ? "memory.max" : "memory.limit_in_bytes", limit);
}

/* A process in it; its exit status, or less than 0: the signal that ended it. */
static pid_t start(int (*run)(void))
{
    fflush(stdout);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) _exit(write_to("cgroup.procs", "0") ? run() : 77);
    return child;
}

static int end_of(pid_t child)
{
    int status = 0;
    CHECK(waitpid(child, &status, 0) == child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

static int ask_for_the_default(void)
{
    memarena *arena = memarena_create(0);
    return arena && memarena_capacity(arena) <= LIMIT && memarena_capacity(arena) > LIMIT / 2 ? 0 : 1;
}

static int prefault_too_much(void)
{
    return !create_prefaulted(2 * LIMIT) && errno == ENOMEM ? 0 : 1;
}

static int prefault_an_eighth(void)
{
    return create_prefaulted(LIMIT / 8) ? 0 : 1;
}

static int prefault_most(void)
{
    return create_prefaulted(LIMIT / 5 * 3) || errno == ENOMEM ? 0 : 1;
}

static void in_a_real_cgroup_nobody_is_killed(void)
{
    bool is_made = make_group();
    int outcome = is_made ? end_of(start(ask_for_the_default)) : 77;
    if (outcome == 77) {
        (void)rmdir(group);
        SKIP("no memory cgroup can be made here");
    }
    int too_much = end_of(start(prefault_too_much)), some = end_of(start(prefault_an_eighth)), both = 0;
    for (int i = 0; i < 5; i++) {
        pid_t first = start(prefault_most), second = start(prefault_most);
        if (end_of(first) != 0 || end_of(second) != 0) both++;
    }
    CHECK(rmdir(group) == 0);
    CHECK_EQ(outcome, 0);
    CHECK_EQ(too_much, 0);
    CHECK_EQ(some, 0);
    CHECK_EQ(both, 0);
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "real") == 0) {
        RUN(in_a_real_cgroup_nobody_is_killed);
        return test_done();
    }
    RUN(the_default_capacity_is_no_more_than_a_cgroup_of_the_second_version_allows);
    RUN(likewise_of_the_first_version);
    RUN(what_cannot_be_read_limits_nothing);
    RUN(a_capacity_that_is_given_asks_nothing);
    RUN(prefaulting_looks_at_what_the_cgroups_have_left);
    RUN(prefaulting_looks_at_the_first_version_and_at_the_machine);
    return test_done();
}
