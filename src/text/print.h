/* Text into a file. Whoever prints a page asks for errors once, at its end. */
#ifndef MA_PRINT_H
#define MA_PRINT_H

#include "../../include/memarena.h"
#include "../platform/os.h"

#include <stdarg.h>
#include <stdio.h>

static inline MEMARENA_PRINTF_(2, 3) void ma_print(FILE *file, const char *format, ...)
{
    va_list args;
    int state = ma_os_cancel_off();
    va_start(args, format);
    (void)vfprintf(file, format, args);
    va_end(args);
    ma_os_cancel_as_before(state);
}

/* Text that may hold what SVG and HTML take for a tag. `as`: what stands for "<". */
static inline void ma_print_text(FILE *file, const char *text, const char *as)
{
    for (; *text; text++) {
        if (*text == '<')
            ma_print(file, "%s", as);
        else if (*text == '&' && *as == '&')
            ma_print(file, "&amp;");
        else
            ma_print(file, "%c", (unsigned char)*text < ' ' && *text != '\n' ? '?' : *text);
    }
}

/* memarena_report, with `as` for "<" in the arena's name. */
bool ma_report(const memarena *handle, FILE *file, const char *as);

#endif
