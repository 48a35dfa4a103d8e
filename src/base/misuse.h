/* The debug build, -DMEMARENA_DEBUG: misuse for which there is no answer ends the program, with a line that says what it
 * was. In other builds the compiler sees that MA_DEBUG is false, and nothing is left of the checks. */
#ifndef MA_MISUSE_H
#define MA_MISUSE_H

#include "../../include/memarena.h"

#include <stdbool.h>

#ifdef MEMARENA_DEBUG
#define MA_DEBUG true
/* Prints "memarena: " and the message to stderr, and aborts. */
_Noreturn MEMARENA_PRINTF_(1, 2) void ma_misuse(const char *format, ...);
#else
#define MA_DEBUG false
#define ma_misuse(...) ((void)0)
#endif

#endif
