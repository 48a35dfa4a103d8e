/* totals: what is known of each service when all records have been added; the order in which they are does not matter.
 *
 * Threads: one at a time. */
#ifndef INGEST_TOTALS_H
#define INGEST_TOTALS_H

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define REJECTS_SHOWN 5u

struct service {
    struct service *next; /* in its bucket */
    const char *name;
    uint64_t hash; /* of the name */
    uint64_t records, errors, bytes, max_us;
    struct histogram *latencies;
};

/* A line that was not added, and why. */
struct reject {
    size_t line;
    const char *reason; /* NULL: it is not JSON ... */
    size_t byte;        /* ... from this byte on */
};

struct totals;

/* NULL: no memory. */
struct totals *totals_create(void);
void totals_destroy(struct totals *totals); /* NULL is fine */

/* Adds the record of a line, or counts it as rejected when a field is not what it should be; keeps nothing of the tree.
 * Fails: false; no memory. */
bool totals_add(struct totals *totals, const cJSON *record, size_t line);
void totals_reject(struct totals *totals, struct reject reject);

uint64_t totals_records(const struct totals *totals);
size_t totals_services(const struct totals *totals);

/* How many lines were rejected, and in `first` those with the smallest numbers, REJECTS_SHOWN at most. */
uint64_t totals_rejected(const struct totals *totals, const struct reject **first);

/* All services, the most records first, then by name; NULL: no memory. Lives as long as the totals. */
const struct service *const *totals_sorted(struct totals *totals);

/* The smallest latency that `percent` of the records do not exceed, rounded down to seven significant bits: less than
 * 1.6 % below the exact one. */
uint64_t service_percentile_us(const struct service *service, unsigned percent);

/* Of everything above, whatever the order. */
uint64_t totals_checksum(const struct totals *totals);

#endif
