/* What the files of test_adapters_current share. Each of them includes memarena/adapters/current.h. */
#ifndef ADAPTERS_CURRENT_H
#define ADAPTERS_CURRENT_H

#include "test.h"

#include <memarena.h>

#define KIB ((size_t)1 << 10)
#define MIB ((size_t)1 << 20)

/* Does its work on `text` with what is current, and gives a text that says what came out, by the hooks' malloc; NULL: it
 * was told that there is no room. `frees`: nothing else is left behind. */
typedef char *library_job(const char *text, size_t bytes, bool frees);

#ifdef __cplusplus
extern "C" {
#endif
extern memarena *shared; /* registered */

/* A file, `times` times, between `before` and `after`, with `between` between. */
char *read_repeated(const char *path, const char *before, const char *between, const char *after, size_t times);
/* Many rounds in a scope each, with the result that malloc gives; and, if it `survives` that, with too little room. */
void try_library(const char *name, library_job *does, const char *text, bool survives);
/* Makes sure that what was freed in the shared arena is not what it was. */
void scribble(void);

/* Makes `scope` current; what was is the result. */
memarena *begin(memarena *scope);

void hooked_libraries(const char *markdown_path, const char *json_path, const char *svg_path);
void libxml2_rounds(const char *svg_path);
memarena *current_seen_from_cpp(memarena *pushed);
#ifdef __cplusplus
}
#endif

#endif
