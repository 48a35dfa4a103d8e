/* input: a file or a pipe, cut into pieces of whole lines for several threads.
 *
 * Threads: input_take, input_stop and the looks from any thread; open and close before and after all others. */
#ifndef INGEST_INPUT_H
#define INGEST_INPUT_H

#include <stdbool.h>
#include <stddef.h>

struct input;

/* Some whole lines; kept by its owner and filled anew, so that its buffer is allocated once. Zeroed to begin with. */
struct text {
    char *bytes;       /* one more than `length` may be written to: room for a terminator */
    size_t length;     /* of the lines, their newlines included; the last line of all may lack one */
    size_t first_line; /* its number, from 1 */
    size_t capacity;   /* of `bytes` */
};

/* NULL as `path`: standard input. A piece has about `piece_bytes`, and more where one line is longer.
 * Fails: NULL; errno. */
struct input *input_open(const char *path, size_t piece_bytes);
void input_close(struct input *input); /* NULL is fine */

/* The next piece. False: there is none, or input_error says what went wrong. */
bool input_take(struct input *input, struct text *text);
/* No more pieces, for anybody. */
void input_stop(struct input *input);

/* An errno of the first read that failed, or ENOMEM; 0: none did. */
int input_error(struct input *input);
/* Of all pieces so far. */
size_t input_bytes(struct input *input);

#endif
