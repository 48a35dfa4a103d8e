/* crew: some threads that do one piece of work together.
 *
 *     struct deal deal = DEAL(file_count, 1);
 *     crew_run(threads, work, &context);          // work() calls deal_next until nothing is left
 *
 * Whatever the threads wrote is visible to the caller when crew_run returns: joining them orders it. */
#ifndef INDEX_CREW_H
#define INDEX_CREW_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

/* Calls work(context) in `threads` threads at once, one of them the caller's own, and returns when all are done.
 * Where the system refuses a thread, fewer do the work, and a message says so. */
void crew_run(unsigned threads, void (*work)(void *context), void *context);

/* Deals the numbers 0 .. total-1 out to a crew, `share` at a time: a thread that is done sooner takes more. */
struct deal {
    atomic_size_t next; /* every worker adds to it; relaxed, since it hands out numbers and publishes no data */
    size_t total;
    size_t share;
};

#define DEAL(total_, share_) ((struct deal){.next = 0, .total = (total_), .share = (share_)})

/* The next range [*begin, *end); false when all is dealt. */
static inline bool deal_next(struct deal *deal, size_t *begin, size_t *end)
{
    size_t at = atomic_fetch_add_explicit(&deal->next, deal->share, memory_order_relaxed);
    if (at >= deal->total) return false;
    *begin = at;
    *end = deal->total - at < deal->share ? deal->total : at + deal->share;
    return true;
}

#endif
