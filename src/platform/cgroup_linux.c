/* What a Linux process may have of the machine's memory: the limits of its memory cgroup and of those above it.
 *
 * Where the limit is reached the kernel ends a process of the group; no call that brings pages in is refused instead, nor is
 * MADV_POPULATE_WRITE. So who brings in much at once looks here first. Cgroups are looked for where they usually are, below
 * /sys/fs/cgroup; in a container, which sees the upper part of its path only as that directory, what is missing is left out.
 * What cannot be read limits nothing.
 *
 * Files are read by the numbers of the system calls: the C library's calls are cancellation points. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "os.h"

#ifdef __linux__
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define TEXT_BYTES 4096 /* memory.stat has some 2,000 */
#define PATH_BYTES 1024
#define KIB 1024
#define UNLIMITED ((uint64_t)1 << 62) /* version 1 has numbers a little below 2^63 for it */
#define LONGEST_NAME sizeof "/memory.limit_in_bytes"

/* What the two versions of cgroups call it. */
typedef struct version {
    const char *root, *limit, *usage, *first_reclaimable, *second_reclaimable;
} version;

static const version versions[] = {
    {"/sys/fs/cgroup/memory", "/memory.limit_in_bytes", "/memory.usage_in_bytes", "\ntotal_inactive_file ",
     "\ntotal_active_file "},
    {"/sys/fs/cgroup", "/memory.max", "/memory.current", "\ninactive_file ", "\nactive_file "},
};

/* Up to TEXT_BYTES less one of a file. False: it is not there. */
static bool read_file(const char *path, char *text)
{
    int saved = errno;
    long file = syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0);
    long length = file >= 0 ? syscall(SYS_read, file, text, TEXT_BYTES - 1) : -1;
    if (file >= 0) (void)syscall(SYS_close, file);
    text[length > 0 ? length : 0] = 0;
    errno = saved;
    return length > 0;
}

/* The number behind `key`; `otherwise` where there is none ("max"). */
static uint64_t number_in(const char *text, const char *key, uint64_t otherwise)
{
    const char *at = strstr(text, key);
    if (!at) return otherwise;
    at += strlen(key) + strspn(at + strlen(key), " ");
    if (*at < '0' || *at > '9') return otherwise;
    uint64_t number = 0;
    for (; *at >= '0' && *at <= '9'; at++)
        number = number > UINT64_MAX / 10 - 1 ? UINT64_MAX / 10 : number * 10 + (uint64_t)(*at - '0');
    return number;
}

/* Of a file in the directory whose name is the first `length` bytes of `path`. */
static bool read_in(char *path, size_t length, const char *name, char *text)
{
    memcpy(path + length, name, strlen(name) + 1);
    return read_file(path, text);
}

/* Whether a line of /proc/self/cgroup, "4:memory,hugetlb:/path" or "0::/path", names the memory cgroup of this version. */
static const char *path_in(const char *line, bool second)
{
    const char *controllers = strchr(line, ':');
    const char *path = controllers ? strchr(controllers + 1, ':') : NULL;
    if (!path) return NULL;
    if (second) return path == controllers + 1 ? path + 1 : NULL;
    for (const char *at = controllers; at < path; at++)
        if (strncmp(at + 1, "memory", 6) == 0 && (at[7] == ':' || at[7] == ',')) return path + 1;
    return NULL;
}

/* Writes the directory of this process's memory cgroup to `path`. NULL: there is none. */
static const version *find_own(char *path, char *text)
{
    if (!read_file("/proc/self/cgroup", text)) return NULL;
    for (int i = 0; i < 2; i++) {
        for (const char *line = text; line; line = strchr(line, '\n'), line += line != NULL) {
            const char *own = path_in(line, i);
            size_t length = own ? strcspn(own, "\n") : 0, root = strlen(versions[i].root);
            if (!own || root + length + LONGEST_NAME > PATH_BYTES) continue;
            memcpy(path, versions[i].root, root);
            memcpy(path + root, own, length);
            path[root + (length == 1 ? 0 : length)] = 0; /* "/": the root */
            return &versions[i];
        }
    }
    return NULL;
}

/* What a cgroup with this limit has left. What it holds of files the kernel can drop. */
static uint64_t left_in(const version *as, char *path, size_t length, uint64_t limit, char *text)
{
    uint64_t used = read_in(path, length, as->usage, text) ? number_in(text, "", 0) : 0, files = 0;
    if (read_in(path, length, "/memory.stat", text))
        files = number_in(text, as->first_reclaimable, 0) + number_in(text, as->second_reclaimable, 0);
    used = used > files ? used - files : 0;
    return limit > used ? limit - used : 0;
}

/* The least that one of the cgroups allows, or (`left`) still has. */
static uint64_t least_of_cgroups(bool left)
{
    char path[PATH_BYTES], text[TEXT_BYTES];
    const version *as = find_own(path, text);
    uint64_t least = UINT64_MAX;
    if (!as) return least;
    for (size_t length = strlen(path), root = strlen(as->root);;) {
        uint64_t limit = read_in(path, length, as->limit, text) ? number_in(text, "", UINT64_MAX) : UINT64_MAX;
        if (left && limit < UNLIMITED) limit = left_in(as, path, length, limit, text);
        if (limit < least) least = limit;
        if (length <= root) return least;
        do length--;
        while (path[length] != '/');
    }
}

uint64_t ma_os_allowed_bytes(void)
{
    return least_of_cgroups(false);
}

uint64_t ma_os_left_bytes(void)
{
    char text[TEXT_BYTES];
    uint64_t machine = UINT64_MAX, cgroups = least_of_cgroups(true);
    if (read_file("/proc/meminfo", text)) machine = number_in(text, "\nMemAvailable:", UINT64_MAX / KIB) * KIB;
    return machine < cgroups ? machine : cgroups;
}
#else
uint64_t ma_os_allowed_bytes(void)
{
    return UINT64_MAX;
}

uint64_t ma_os_left_bytes(void)
{
    return UINT64_MAX;
}
#endif
