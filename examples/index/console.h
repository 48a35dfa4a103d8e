/* console: what the user reads on stderr while the program works.
 *
 * Messages are one line each, "memarena-index: SUBJECT: REASON". On a terminal a progress line is rewritten in place
 * below them; a message erases it first, and the next progress draws it anew.
 *
 * Threads: every call from any thread, but console_open, which comes first. */
#ifndef INDEX_CONSOLE_H
#define INDEX_CONSOLE_H

#include <stddef.h>

void console_open(void);
void console_message(const char *subject, const char *reason);
void console_error(const char *subject, int error); /* an errno as the reason */

/* Shows that `done` of `total` files are indexed: ten times a second at most, only on a terminal. Never waits for
 * another thread. */
void console_progress(size_t done, size_t total);
void console_end_progress(void);

/* Says so and ends the process with exit code 1. */
_Noreturn void console_out_of_memory(void);

#endif
