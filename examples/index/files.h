/* files: which files there are below a directory, and what is in them.
 *
 * The walk takes every regular file, hidden ones too. A link to a file is read like a file; a link to a directory is
 * counted and not followed, so the walk ends. Everything else that cannot be read (a directory without permission, a
 * dangling link, a FIFO, a socket, a device) gets one message and is counted. Lack of memory ends the process. */
#ifndef INDEX_FILES_H
#define INDEX_FILES_H

#include <stdbool.h>
#include <stddef.h>

struct file_list {
    char **paths; /* as to open; sorted bytewise, so that every run goes in the same order */
    size_t count;
    size_t prefix_length; /* paths[i] + prefix_length is relative to the directory */
    size_t total_bytes;   /* as the directories say; a file may have grown since */
    size_t unreadable;
    size_t linked_dirs; /* links to directories, not followed */
};

/* Lists the files below `directory`. Fails: false, with errno, when the directory itself cannot be opened. */
bool files_list(struct file_list *list, const char *directory);
void files_release(struct file_list *list);

/* A buffer that one thread reads all its files into, one after the other; starts zeroed. */
struct file_text {
    char *bytes; /* `size` bytes of the file, then a zero byte */
    size_t size;
    size_t allocated;
};

/* Reads a whole file of less than 4 GiB. Fails: false, with errno. */
bool file_text_read(struct file_text *text, const char *path);
void file_text_release(struct file_text *text);

#endif
