/* Text into a file, for the report and for the library of pictures (src/look). A caller looks for errors once, at the end,
 * and sees to it that it cannot be cancelled. */
#ifndef MA_PRINT_H
#define MA_PRINT_H

#include "../../include/memarena.h"

#include <stdarg.h>
#include <stdio.h>

static inline MEMARENA_PRINTF_(2, 3) void ma_print(FILE *file, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    (void)vfprintf(file, format, args);
    va_end(args);
}

/* How many bytes the character at `text` has; 0: it is none that all formats can show. Those are well-formed UTF-8, and neither
 * controls nor what XML leaves out. */
static inline int ma_print_length(const char *text)
{
    static const uint32_t least[] = {0x20, 0xa0, 0x800, 0x10000};
    const unsigned char *at = (const unsigned char *)text;
    if ((*at >= 0x7f && *at < 0xc0) || *at > 0xf4) return 0;
    int length = *at < 0xc0 ? 1 : *at < 0xe0 ? 2 : *at < 0xf0 ? 3 : 4;
    uint32_t code = length == 1 ? *at : *at & (0x7fu >> length);
    for (int i = 1; i < length; i++) {
        if (at[i] >> 6 != 2) return 0; /* the end of the text, too */
        code = code << 6 | (at[i] & 0x3f);
    }
    bool is_left_out = code > 0x10ffff || (code >= 0xd800 && code < 0xe000) || (code & 0xfffe) == 0xfffe;
    return code < least[length - 1] || is_left_out ? 0 : length;
}

/* Text that may hold anything. `as`: what stands for "<"; where that is an entity of XML the others are used, too. */
static inline void ma_print_text(FILE *file, const char *text, const char *as)
{
    for (int length; *text; text += length ? length : 1) {
        length = ma_print_length(text);
        if (*text == '<')
            ma_print(file, "%s", as);
        else if (*as == '&' && (*text == '&' || *text == '>'))
            ma_print(file, *text == '&' ? "&amp;" : "&gt;");
        else
            ma_print(file, "%.*s", length ? length : 1, length ? text : "?");
    }
}

#endif
