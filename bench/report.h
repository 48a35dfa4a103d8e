/* What a run leaves behind: tables for people on stdout, and raw CSV for plots. */
#ifndef BENCH_REPORT_H
#define BENCH_REPORT_H

#include "measure.h"

#include <stdio.h>

/* One line: what ran where. Machine, kernel, compiler, date, command. */
void report_origin(FILE *out, int argc, char **argv);

/* Opens `csv_path` (NULL: no CSV), with the origin on both. */
void report_open(const char *csv_path, int argc, char **argv);

typedef struct figure {
    const char *measure, *unit;
    spread value;
    double x_limit; /* to the limit loop of the same rounds; 0: there is none */
    double x_glibc; /* how many times glibc's malloc takes; likewise */
} figure;

/* Starts a table, or goes on with the one of this name. `name` is the case in the CSV. */
void report_case(const char *name, const char *title);

/* One line of the table, and one of the CSV for each figure. The first one of a table prints what the columns are. */
void report_figures(const char *peer, unsigned threads, const figure *figures, size_t count);

/* A time of the library's own, in ns; and a number that is none. */
void report_time(const char *what, unsigned threads, spread ns);
void report_value(const char *what, unsigned threads, double value, const char *unit);

/* A line for people: a peer that is missing, what a column means. */
void report_note(const char *format, ...) __attribute__((format(printf, 1, 2)));

void report_close(void);

#endif
