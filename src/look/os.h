/* What the pictures need of the system beyond C: no cancellation, and the report as a text. */
#ifndef LOOK_OS_H
#define LOOK_OS_H

#include "../../include/memarena.h"

#include <stdlib.h>

#ifdef _WIN32 /* which has no cancellation points among the calls of stdio, and no files in memory */

static inline int look_cancel_off(void)
{
    return 0;
}

static inline void look_cancel_as_before(int state)
{
    (void)state;
}

/* What memarena_report prints, to be freed. Fails: NULL, with the errno of tmpfile, malloc or stdio. */
static inline char *look_report(const memarena *arena)
{
    FILE *file = tmpfile();
    if (!file) return NULL;
    long length = memarena_report(arena, file) ? ftell(file) : -1;
    char *text = length < 0 ? NULL : calloc((size_t)length + 1, 1);
    rewind(file);
    if (text && fread(text, 1, (size_t)length, file) != (size_t)length) free(text), text = NULL;
    (void)fclose(file);
    return text;
}

#else
#include <pthread.h>

/* Between the two calls nothing that this thread does is a cancellation point. The second call takes what the first one
 * returned. */
static inline int look_cancel_off(void)
{
    int before;
    (void)pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &before);
    return before;
}

static inline void look_cancel_as_before(int state)
{
    (void)pthread_setcancelstate(state, &state);
}

/* What memarena_report prints, to be freed. Fails: NULL, with the errno of malloc. */
static inline char *look_report(const memarena *arena)
{
    char *text = NULL;
    size_t size = 0;
    FILE *file = open_memstream(&text, &size);
    if (!file) return NULL;
    bool printed = memarena_report(arena, file);
    if (fclose(file) == 0 && printed) return text;
    free(text);
    return NULL;
}
#endif

#endif
