/* The C11 memory model, played: an atomic load finds any of the stores that the model lets it find, not only the last.
 *
 * For builds whose sources are compiled with -fsanitize=thread but linked with weak.c instead of ThreadSanitizer's own
 * library: so each access of the shipped code, as the compiler understood it, comes here. Before each atomic one the
 * actor may be stopped (steps.h). What is played are the executions of RC11 in which the order of the acts' steps agrees
 * with "sequenced before" and "reads from" (so none in which a value comes out of thin air), without fences, which the
 * library does not use. */
#ifndef WEAK_H
#define WEAK_H

#include <stdbool.h>
#include <stddef.h>

#define WEAK_THREADS 5u /* the director, number 0, and up to four actors */

/* Who acts. The director always finds the last store. */
extern unsigned weak_thread;
/* What comes next, when the hook is called. For a failing compare and swap, too, `writes` is true. */
typedef struct weak_access {
    const volatile void *address;
    bool writes;
} weak_access;
extern weak_access weak_next;

/* Forgets all stores: every thread knows what is in memory now. Plain accesses to [begin, begin + size) are looked at. */
void weak_begin(unsigned long long seed, const void *begin, size_t size);
/* From here to the next begin, and before the first, every load finds the last store, and nothing is looked at. */
void weak_end(void);
/* What `from` has done and knows happens before what `into` does next. */
void weak_join(unsigned into, unsigned from);
/* The caller writes into his block: its begin, and its end. */
void weak_use(const void *block, size_t size);
/* Long enough for every store to be seen, though not to happen before anything. */
void weak_time_passes(void);

#endif
