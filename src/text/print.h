/* Text into a file. Whoever prints a page asks for errors once, at its end. */
#ifndef MA_PRINT_H
#define MA_PRINT_H

#include <stdarg.h>
#include <stdio.h>

static inline __attribute__((format(printf, 2, 3))) void ma_print(FILE *file, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    (void)vfprintf(file, format, args);
    va_end(args);
}

#endif
