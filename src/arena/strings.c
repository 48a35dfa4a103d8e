/* Strings and copies, on top of the allocation calls. */
#ifndef _POSIX_C_SOURCE
#define _POSIX_C_SOURCE 200809L /* strnlen, also with -std=c11 */
#endif
#include "../../include/memarena.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define TEXT_OF(number) #number
#define DOTTED(major, minor, patch) TEXT_OF(major) "." TEXT_OF(minor) "." TEXT_OF(patch)

const char *memarena_version(void)
{
    return DOTTED(MEMARENA_VERSION_MAJOR, MEMARENA_VERSION_MINOR, MEMARENA_VERSION_PATCH);
}

void *memarena_memdup(memarena *arena, const void *bytes, size_t size)
{
    void *copy = memarena_alloc(arena, size);
    if (copy && size) memcpy(copy, bytes, size);
    return copy;
}

/* `length` bytes and a terminator. */
static char *dup_text(memarena *arena, const char *text, size_t length)
{
    char *copy = memarena_alloc_aligned(arena, length + 1, 1);
    if (!copy) return NULL;
    memcpy(copy, text, length);
    copy[length] = '\0';
    return copy;
}

char *memarena_strdup(memarena *arena, const char *string)
{
    return dup_text(arena, string, strlen(string));
}

char *memarena_strndup(memarena *arena, const char *string, size_t max)
{
    return dup_text(arena, string, strnlen(string, max));
}

char *memarena_vprintf(memarena *arena, const char *format, va_list args)
{
    char first_try[256]; /* most texts are short: format once, copy */
    va_list again;
    va_copy(again, args);
    int length = vsnprintf(first_try, sizeof first_try, format, args);
    char *text = NULL;
    if (length >= 0 && (size_t)length < sizeof first_try) {
        text = dup_text(arena, first_try, (size_t)length);
    } else if (length >= 0) {
        text = memarena_alloc_aligned(arena, (size_t)length + 1, 1);
        if (text) (void)vsnprintf(text, (size_t)length + 1, format, again);
    }
    va_end(again);
    return text;
}

char *memarena_printf(memarena *arena, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    char *text = memarena_vprintf(arena, format, args);
    va_end(args);
    return text;
}
