/* Jobs that libraries do in memory of glibc's or in an arena. A file for each library (zlib.c is the shortest) defines
 * its jobs, LIBRARY_jobs, and CMakeLists.txt lists it; main.c does the rest. */
#ifndef BENCH_ADAPTERS_JOBS_H
#define BENCH_ADAPTERS_JOBS_H

#include "../measure.h"

#include <memarena.h>

/* Where a job has its memory from. */
struct memory {
    enum { FROM_MALLOC, FROM_ARENA, FROM_COUNTED } from;
    bool clean_up; /* the job calls the library's own clean-up; false only in a scope */
    memarena
        *scope; /* FROM_ARENA: of this job alone, ended after it; in a registered arena (memarena/adapters/current.h) */
};

struct job {
    const char *name, *work; /* in the command line; what one job does, for the table */
    void (*prepare)(void);   /* makes what the job reads, once; NULL: nothing */
    void (*work_in)(const struct memory *memory);
    bool (*is_right)(void); /* looks at what the last job made, and clears it; not timed */
};

/* FROM_COUNTED: hooks on malloc that add up what is asked for. Growing by realloc counts as a new block, for that is what
 * it mostly is in an arena. */
void *counted_alloc(size_t size);
void *counted_realloc(void *block, size_t size);
char *counted_strdup(const char *string);
void counted_free(void *block);

struct count {
    size_t blocks, asked, live, peak; /* `asked`, `live` and `peak` in bytes */
};

extern struct count counted;

/* Records as a service logs them, one JSON object a line; the same in every run. Ends with a zero. */
#define TEXT_BYTES ((size_t)64 << 10)
#define MESSAGE_BYTES ((size_t)3 << 10) /* one message of it */
extern char text[TEXT_BYTES + 1];

/* Of the records that are whole in the message: how many, and price times count of all, added up in this order. */
struct sum {
    unsigned records;
    double total;
};

struct sum sum_of_message(void);

/* All of them in one document, of 60 to 75 KB; Markdown has a section for each. */
struct document {
    char at[2 * TEXT_BYTES];
    size_t bytes;
    unsigned records;
    double total; /* price times count, of all, added up in this order */
};

extern struct document json, xml, markdown;

/* Ends the program with a line that names the call. Jobs fail so: there is always room. */
_Noreturn void job_failed(const char *call);

#endif
