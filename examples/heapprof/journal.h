/* journal: what is profiled here. Takes in a made-up log, line by line, and indexes its words, as a server might that
 * searches its logs: several functions take blocks of their own kinds, and count exactly what they take. */
#ifndef JOURNAL_H
#define JOURNAL_H

#include <memarena.h>

enum { SITE_KEEP_LINE, SITE_SPLIT_LINE, SITE_REMEMBER_WORD, SITE_ADD_POSTING, SITE_GROW_TABLE, SITES };
extern const char *const journal_sites[SITES]; /* names of the functions that take blocks */

typedef struct journal_counts {
    uint64_t bytes[SITES];
} journal_counts;

/* Takes in lines with these numbers. False: the arena is full. Any number of threads, each with lines of its own. */
bool journal_take_in(memarena *arena, size_t first_line, size_t line_count, journal_counts *counts);

#endif
