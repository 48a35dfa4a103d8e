#define _POSIX_C_SOURCE 200809L
#include "files.h"

#include "console.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- The walk ------------------------------------------------------------------------------------------------- */

/* A growing list of paths. The directories still to be read are one too: a list instead of recursion keeps a single
 * directory open at a time, however deep the tree. */
struct paths {
    char **items;
    size_t count, allocated;
};

static void paths_add(struct paths *paths, char *path)
{
    if (paths->count == paths->allocated) {
        paths->allocated = paths->allocated ? paths->allocated * 2 : 256;
        paths->items = realloc(paths->items, paths->allocated * sizeof *paths->items);
        if (!paths->items) console_out_of_memory();
    }
    paths->items[paths->count++] = path;
}

static char *join(const char *directory, const char *name)
{
    size_t directory_length = strlen(directory), name_length = strlen(name);
    bool needs_slash = directory_length == 0 || directory[directory_length - 1] != '/';
    char *path = malloc(directory_length + needs_slash + name_length + 1);
    if (!path) console_out_of_memory();
    memcpy(path, directory, directory_length);
    if (needs_slash) path[directory_length] = '/';
    memcpy(path + directory_length + needs_slash, name, name_length + 1);
    return path;
}

static void unreadable(struct file_list *list, const char *path, const char *reason)
{
    console_message(path, reason);
    list->unreadable++;
}

/* Decides what becomes of one directory entry; takes `path` over. */
static void sort_entry(struct file_list *list, struct paths *files, struct paths *pending, char *path)
{
    struct stat status;
    bool known = lstat(path, &status) == 0;
    bool is_link = known && S_ISLNK(status.st_mode);
    if (is_link) known = stat(path, &status) == 0; /* ENOENT here is a dangling link */
    if (known && S_ISREG(status.st_mode)) {
        list->total_bytes += (size_t)status.st_size;
        paths_add(files, path);
        return;
    }
    if (known && S_ISDIR(status.st_mode) && !is_link) {
        paths_add(pending, path);
        return;
    }
    if (!known) {
        unreadable(list, path, is_link && errno == ENOENT ? "dangling link" : strerror(errno));
    } else if (S_ISDIR(status.st_mode)) {
        list->linked_dirs++;
    } else {
        unreadable(list, path, "not a regular file");
    }
    free(path);
}

static void read_directory(struct file_list *list, struct paths *files, struct paths *pending, DIR *open,
                           const char *at)
{
    for (;;) {
        errno = 0; /* readdir returns NULL at the end, too */
        struct dirent *entry = readdir(open);
        if (!entry) break;
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
        sort_entry(list, files, pending, join(at, entry->d_name));
    }
    if (errno != 0) unreadable(list, at, strerror(errno));
    closedir(open);
}

static int compare_paths(const void *left, const void *right)
{
    return strcmp(*(char *const *)left, *(char *const *)right);
}

bool files_list(struct file_list *list, const char *directory)
{
    *list = (struct file_list){0};
    DIR *open = opendir(directory);
    if (!open) return false;
    struct paths files = {0}, pending = {0};
    read_directory(list, &files, &pending, open, directory);
    while (pending.count > 0) {
        char *at = pending.items[--pending.count];
        open = opendir(at);
        if (open)
            read_directory(list, &files, &pending, open, at);
        else
            unreadable(list, at, strerror(errno));
        free(at);
    }
    free(pending.items);
    if (files.count > 0) qsort(files.items, files.count, sizeof *files.items, compare_paths);
    list->paths = files.items;
    list->count = files.count;
    list->prefix_length = strlen(directory) + (directory[strlen(directory) - 1] != '/');
    return true;
}

void files_release(struct file_list *list)
{
    for (size_t i = 0; i < list->count; i++) free(list->paths[i]);
    free(list->paths);
    *list = (struct file_list){0};
}

/* ---- The text ------------------------------------------------------------------------------------------------- */

static void reserve(struct file_text *text, size_t bytes)
{
    if (bytes <= text->allocated) return;
    size_t allocated = text->allocated * 2 > bytes ? text->allocated * 2 : bytes;
    text->bytes = realloc(text->bytes, allocated);
    if (!text->bytes) console_out_of_memory();
    text->allocated = allocated;
}

/* Reads to the end, whatever size the file was said to have: files in /proc say 0, and others grow. */
static bool read_all(struct file_text *text, int file, size_t expected_bytes)
{
    reserve(text, expected_bytes + 2); /* one to see the end, one for the zero */
    for (text->size = 0;;) {
        if (text->size + 1 == text->allocated) reserve(text, text->allocated * 2);
        ssize_t got = read(file, text->bytes + text->size, text->allocated - 1 - text->size);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return false;
        if (got == 0) break;
        text->size += (size_t)got;
        if (text->size >= UINT32_MAX) { /* lines and columns are 32 bits wide */
            errno = EFBIG;
            return false;
        }
    }
    text->bytes[text->size] = '\0';
    return true;
}

bool file_text_read(struct file_text *text, const char *path)
{
    /* O_NONBLOCK: should the file have become a FIFO since the walk, opening it must not wait for a writer. */
    int file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (file < 0) return false;
    struct stat status;
    bool ok = fstat(file, &status) == 0;
    if (ok && (uint64_t)status.st_size >= UINT32_MAX) {
        errno = EFBIG;
        ok = false;
    }
    ok = ok && read_all(text, file, (size_t)status.st_size);
    int error = errno;
    close(file);
    errno = error;
    return ok;
}

void file_text_release(struct file_text *text)
{
    free(text->bytes);
    *text = (struct file_text){0};
}
