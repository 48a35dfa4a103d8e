#define _GNU_SOURCE /* memrchr */
#include "input.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct input {
    pthread_mutex_t lock; /* guards all below */
    int fd;
    size_t piece_bytes;
    struct text rest; /* what was read behind the last whole line: less than a piece */
    size_t next_line, bytes;
    bool has_ended;
    int error;
};

struct input *input_open(const char *path, size_t piece_bytes)
{
    int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : STDIN_FILENO;
    if (fd < 0) return NULL;
    struct input *input = calloc(1, sizeof *input);
    if (!input) {
        if (path) close(fd);
        return NULL;
    }
    pthread_mutex_init(&input->lock, NULL);
    input->fd = fd;
    input->piece_bytes = piece_bytes;
    input->next_line = 1;
    return input;
}

void input_close(struct input *input)
{
    if (!input) return;
    if (input->fd != STDIN_FILENO) close(input->fd);
    pthread_mutex_destroy(&input->lock);
    free(input->rest.bytes);
    free(input);
}

/* ---- One piece, under the lock ---------------------------------------------------------------------------------- */

static bool fail(struct input *input, int error)
{
    input->error = error;
    input->has_ended = true;
    return false;
}

/* Room for `length` bytes and a terminator; twice what there was if that is more. */
static bool reserve(struct input *input, struct text *text, size_t length)
{
    if (length < text->capacity) return true;
    size_t capacity = length < text->capacity * 2 ? text->capacity * 2 : length + 1;
    char *bytes = realloc(text->bytes, capacity);
    if (!bytes) return fail(input, ENOMEM);
    text->bytes = bytes;
    text->capacity = capacity;
    return true;
}

/* Reads until the text has so many bytes or the input ends. */
static bool read_up_to(struct input *input, struct text *text, size_t length)
{
    if (!reserve(input, text, length)) return false;
    while (text->length < length) {
        ssize_t got = read(input->fd, text->bytes + text->length, length - text->length);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return fail(input, errno);
        if (got == 0) {
            input->has_ended = true;
            return true;
        }
        text->length += (size_t)got;
    }
    return true;
}

/* Reads a piece, and more of them until the end of a line is there. Returns how many bytes the whole lines have; 0: none,
 * or an error. */
static size_t read_whole_lines(struct input *input, struct text *text)
{
    size_t searched = 0;
    for (size_t length = input->piece_bytes; read_up_to(input, text, length); length += input->piece_bytes) {
        if (input->has_ended) return text->length;
        char *newline = memrchr(text->bytes + searched, '\n', text->length - searched);
        if (newline) return (size_t)(newline - text->bytes) + 1;
        searched = text->length;
    }
    return 0;
}

static size_t count_newlines(const struct text *text)
{
    size_t count = 0;
    const char *at = text->bytes, *end = at + text->length;
    while (at < end && (at = memchr(at, '\n', (size_t)(end - at))) != NULL) {
        count++;
        at++;
    }
    return count;
}

static bool take(struct input *input, struct text *text)
{
    struct text *rest = &input->rest;
    if (input->has_ended) return false; /* then nothing is in `rest`: the last piece had all */
    if (!reserve(input, text, rest->length)) return false;
    if (rest->length > 0) memcpy(text->bytes, rest->bytes, rest->length);
    text->length = rest->length;
    rest->length = 0;
    size_t whole = read_whole_lines(input, text);
    if (whole == 0) return false;
    if (!reserve(input, rest, text->length - whole)) return false;
    rest->length = text->length - whole;
    if (rest->length > 0) memcpy(rest->bytes, text->bytes + whole, rest->length);
    text->length = whole;
    text->first_line = input->next_line;
    input->next_line += count_newlines(text);
    input->bytes += whole;
    return true;
}

/* ---- Calls ------------------------------------------------------------------------------------------------------ */

bool input_take(struct input *input, struct text *text)
{
    pthread_mutex_lock(&input->lock);
    bool taken = take(input, text);
    pthread_mutex_unlock(&input->lock);
    return taken;
}

void input_stop(struct input *input)
{
    pthread_mutex_lock(&input->lock);
    input->has_ended = true;
    pthread_mutex_unlock(&input->lock);
}

int input_error(struct input *input)
{
    pthread_mutex_lock(&input->lock);
    int error = input->error;
    pthread_mutex_unlock(&input->lock);
    return error;
}

size_t input_bytes(struct input *input)
{
    pthread_mutex_lock(&input->lock);
    size_t bytes = input->bytes;
    pthread_mutex_unlock(&input->lock);
    return bytes;
}
