#define _POSIX_C_SOURCE 200809L /* not _GNU_SOURCE: that has another strerror_r */
#include "console.h"

#include "clock.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* guards all below, and whole lines on stderr */
static bool is_terminal;
static bool progress_shown;
static double last_progress;

static void erase_progress(void)
{
    if (progress_shown) fprintf(stderr, "\r%60s\r", ""); /* no escape sequences: works on any terminal */
    progress_shown = false;
}

void console_open(void)
{
    is_terminal = isatty(STDERR_FILENO) == 1;
    last_progress = clock_seconds(); /* a run that is over at once shows none */
}

void console_message(const char *subject, const char *reason)
{
    pthread_mutex_lock(&lock);
    erase_progress();
    fprintf(stderr, "memarena-index: %s: %s\n", subject, reason);
    pthread_mutex_unlock(&lock);
}

void console_error(const char *subject, int error)
{
    char reason[128]; /* strerror is for one thread at a time */
    if (strerror_r(error, reason, sizeof reason) != 0) snprintf(reason, sizeof reason, "error %d", error);
    console_message(subject, reason);
}

void console_progress(size_t done, size_t total)
{
    if (!is_terminal || pthread_mutex_trylock(&lock) != 0) return;
    double now = clock_seconds();
    if (now - last_progress >= 0.1) {
        last_progress = now;
        progress_shown = true;
        fprintf(stderr, "\rindexing: %zu of %zu files (%zu%%)", done, total, done * 100 / total);
    }
    pthread_mutex_unlock(&lock);
}

void console_end_progress(void)
{
    pthread_mutex_lock(&lock);
    erase_progress();
    pthread_mutex_unlock(&lock);
}

_Noreturn void console_out_of_memory(void)
{
    console_message("out of memory", "the index does not fit; give less to index or raise the limit");
    _Exit(EXIT_FAILURE); /* not exit(): other threads are still at work, and two may get here at once */
}
