/* Strings and copies, on top of the allocation calls. */
#ifndef _POSIX_C_SOURCE
#define _POSIX_C_SOURCE 200809L /* strnlen, also with -std=c11 */
#endif
#include "../scope/scope.h"
#include "entry.h"

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

#define ROOM_LEAST 64u /* texts are rarely shorter, and formatting twice costs more than copying */

/* The text of `length` bytes that `format` makes, in a block of its own. */
static char *format_again(memarena *arena, int length, const char *format, va_list args)
{
    char *text = memarena_alloc_aligned(arena, (size_t)length + 1, 1);
    if (text) (void)vsnprintf(text, (size_t)length + 1, format, args);
    return text;
}

/* Where there is no room at the tip: most texts are short, so they are formatted once and copied. */
static char *format_and_copy(memarena *arena, const char *format, va_list args, va_list again)
{
    char first_try[256];
    int length = vsnprintf(first_try, sizeof first_try, format, args);
    if (length < 0) return NULL;
    if ((size_t)length < sizeof first_try) return dup_text(arena, first_try, (size_t)length);
    return format_again(arena, length, format, again);
}

/* Gives back what was taken behind the text, if that is still the end of what the caller bumps. */
static char *cut_text(memarena *arena, char *text, size_t taken, size_t size)
{
    struct memarena *range = ma_is_scope(arena) ? arena : &ma_lane_leased(ma_arena_of(arena))->tlab;
    if (ma_load_relaxed(&range->cursor_) == (uintptr_t)text + taken)
        ma_store_relaxed(&range->cursor_, (uintptr_t)text + (uintptr_t)ma_round_grain(size));
    return text;
}

/* Formats into the room at the tip, which is taken as a block first and then cut to the text. Of the room 8 bytes are left, so that
 * the block is not the last of its TLAB: of a full one only the inline code's mark tells whose the end is. */
static char *format_at_tip(memarena *arena, size_t room, const char *format, va_list args, va_list again)
{
    size_t taken = (room < MEMARENA_INLINE_MAX_ ? room : MEMARENA_INLINE_MAX_) - (size_t)MA_GRAIN;
    char *text = memarena_alloc_aligned(arena, taken, MA_GRAIN);
    if (!text) return format_and_copy(arena, format, args, again);
    int length = vsnprintf(text, taken, format, args), error = errno;
    if (length >= 0 && (size_t)length < taken) return cut_text(arena, text, taken, (size_t)length + 1);
    (void)memarena_drop_last(arena, text, taken);
    errno = error;
    return length < 0 ? NULL : format_again(arena, length, format, again);
}

char *memarena_vprintf(memarena *arena, const char *format, va_list args)
{
    size_t room = ma_room_own(arena);
    va_list again;
    va_copy(again, args);
    char *text = room < ROOM_LEAST ? format_and_copy(arena, format, args, again)
                                   : format_at_tip(arena, room, format, args, again);
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
