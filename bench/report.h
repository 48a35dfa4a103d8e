/* What a run leaves behind: tables for people on stdout, and raw CSV for plots. */
#ifndef BENCH_REPORT_H
#define BENCH_REPORT_H

#include "measure.h"

/* Opens `csv_path` (NULL: no CSV) and says on both what ran where: machine, kernel, compiler, date, command. */
void report_open(const char *csv_path, int argc, char **argv);

/* Starts a table, or goes on with the one of this name. `name` is the case in the CSV, `unit` what a time is for:
 * "block", "call", or "" where there are no times. */
void report_case(const char *name, const char *title, const char *unit);

typedef struct timing {
    const char *variant;
    unsigned threads;
    spread ns;            /* for one block, or one call */
    double ratio;         /* to the limit loop of the same rounds */
    double release_ns;    /* what giving everything back costs, for one block; below 0: not part of this case */
    double release_ratio; /* of allocating and giving back together, to the limit loop */
} timing;

void report_timing(timing row);

/* A number that is not a time: bytes, percent, times. */
void report_value(const char *variant, unsigned threads, double value, const char *unit);

/* A line for people: a peer that is missing, what a column means. */
void report_note(const char *format, ...) __attribute__((format(printf, 1, 2)));

void report_close(void);

#endif
