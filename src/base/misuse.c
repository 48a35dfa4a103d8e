#include "misuse.h"

#include "../platform/os.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#ifdef MEMARENA_DEBUG
void ma_misuse(const char *format, ...)
{
    char message[256];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    (void)ma_os_cancel_off(); /* for good: it must come to the abort */
    (void)fprintf(stderr, "memarena: %s\n", message);
    abort();
}
#endif
