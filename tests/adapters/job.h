/* What the jobs of the adapters' test share. */
#ifndef JOB_H
#define JOB_H

#include "../test.h"

#include <memarena.h>

#include <string.h>

#define KIB ((size_t)1 << 10)
#define MIB ((size_t)1 << 20)
#define TEXT_MAX (4 * MIB)

extern char *text; /* the file that the test is given, a few times over */
extern size_t text_bytes;
extern char packed[TEXT_MAX], unpacked[TEXT_MAX];

/* That `unpacked` is the text; then clears it. */
void check_unpacked(size_t bytes);

/* The next word, a run of letters, of the text from `*at` on; `*at` is then behind it. NULL: there is none. */
const char *next_word(const char **at, size_t *length);
/* How often the text has a word. */
size_t count_word(const char *word, size_t length);

/* What a library does in `where`, which may have no room for it. False: the library said so. */
typedef bool job(memarena *where);
job zlib_job, zstd_job, brotli_job, lzma_job;    /* compressors.c */
job png_job, protobuf_c_job, freetype_job;       /* formats.c */
job pcre2_job, lua_job, duktape_job, uthash_job; /* engines.c */

#endif
