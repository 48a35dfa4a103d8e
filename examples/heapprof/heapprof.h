/* heapprof: who takes the memory of an arena. Samples its blocks with memarena_sample, keeps a backtrace of each, and writes
 * them as folded stacks, one line for each way to a block:
 *
 *     main;serve;parse 917504
 *
 * for flamegraph.pl, speedscope and the like. Take these two files into a program of your own and link it with -rdynamic
 * (or the functions of the program itself have no names), -fno-optimize-sibling-calls (or a function whose last
 * call is the allocation is not on the stack any more), and the shared library, whose frames are left out. */
#ifndef HEAPPROF_H
#define HEAPPROF_H

#include <memarena.h>

typedef struct heapprof heapprof;

/* One profile for each arena at a time. Fails: NULL, ENOMEM, or the errno of memarena_sample. */
heapprof *heapprof_start(memarena *arena, size_t bytes);
/* No more samples. Then, when the threads that allocated have been joined: */
void heapprof_stop(heapprof *profile);
/* Fails: false; ENOMEM, or the errno of fprintf. */
bool heapprof_write(heapprof *profile, FILE *file);
/* Bytes taken by this function itself, as estimated. */
uint64_t heapprof_taken_by(const heapprof *profile, const char *function);
size_t heapprof_samples(const heapprof *profile);
/* Samples for which there was no memory; they are missing in all the rest. */
size_t heapprof_lost(const heapprof *profile);
void heapprof_free(heapprof *profile);

#endif
