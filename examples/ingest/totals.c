#include "totals.h"

#include <math.h>
#include <memarena.h>
#include <stdlib.h>

#define NUMBER_MAX 1e12 /* of a latency and of bytes */

/* ---- Latencies -------------------------------------------------------------------------------------------------- */

/* Row 0 counts the values below 64, one each; row r those of r + 6 bits, by the six bits behind the first. */
enum { COLUMNS = 64, ROWS = 35 }; /* 1e12 has 40 bits */

struct histogram {
    uint64_t *rows[ROWS]; /* NULL: nothing there yet */
};

static unsigned row_of(uint64_t value)
{
    return value < COLUMNS ? 0 : 58 - (unsigned)__builtin_clzll(value);
}

static uint64_t smallest_in(unsigned row, unsigned column)
{
    return row == 0 ? column : (uint64_t)(COLUMNS + column) << (row - 1);
}

static bool histogram_add(memarena *arena, struct histogram *histogram, uint64_t value)
{
    unsigned row = row_of(value);
    if (!histogram->rows[row]) histogram->rows[row] = memarena_new_array(arena, uint64_t, COLUMNS);
    if (!histogram->rows[row]) return false;
    histogram->rows[row][row == 0 ? value : value >> (row - 1) & (COLUMNS - 1)]++;
    return true;
}

uint64_t service_percentile_us(const struct service *service, unsigned percent)
{
    uint64_t rank = (service->records * percent + 99) / 100, seen = 0;
    for (unsigned row = 0; row < ROWS; row++) {
        const uint64_t *counts = service->latencies->rows[row];
        for (unsigned column = 0; counts && column < COLUMNS; column++) {
            seen += counts[column];
            if (seen >= rank) return smallest_in(row, column);
        }
    }
    return 0;
}

/* ---- Services --------------------------------------------------------------------------------------------------- */

/* Everything here lives to the end of the run, in one arena, whatever the records of a batch come from. */
struct totals {
    memarena *arena;
    struct service **buckets;
    size_t bucket_count, service_count; /* buckets: a power of two */
    uint64_t records, rejected;
    struct reject first[REJECTS_SHOWN]; /* by line */
};

struct totals *totals_create(void)
{
    memarena *arena = memarena_create(0);
    struct totals *totals = arena ? memarena_new(arena, struct totals) : NULL;
    struct service **buckets = totals ? memarena_new_array(arena, struct service *, 64) : NULL;
    if (!buckets) {
        memarena_destroy(arena);
        return NULL;
    }
    *totals = (struct totals){.arena = arena, .buckets = buckets, .bucket_count = 64};
    return totals;
}

void totals_destroy(struct totals *totals)
{
    if (totals) memarena_destroy(totals->arena); /* `totals` lies in it */
}

static uint64_t hash_name(const char *name) /* FNV-1a */
{
    uint64_t hash = 0xcbf29ce484222325;
    for (; *name; name++) hash = (hash ^ (unsigned char)*name) * 0x100000001b3;
    return hash;
}

static struct service **bucket_of(const struct totals *totals, uint64_t hash)
{
    return &totals->buckets[(hash ^ hash >> 32) & (totals->bucket_count - 1)];
}

/* Twice the buckets; where there is no room for them, the old ones still do. */
static void grow(struct totals *totals)
{
    struct service **old = totals->buckets;
    size_t old_count = totals->bucket_count;
    struct service **buckets = memarena_new_array(totals->arena, struct service *, old_count * 2);
    if (!buckets) return;
    totals->buckets = buckets;
    totals->bucket_count = old_count * 2;
    for (size_t i = 0; i < old_count; i++) {
        for (struct service *service = old[i], *next; service; service = next) {
            struct service **bucket = bucket_of(totals, service->hash);
            next = service->next;
            service->next = *bucket;
            *bucket = service;
        }
    }
}

static struct service *find_or_add(struct totals *totals, const char *name)
{
    uint64_t hash = hash_name(name);
    struct service **bucket = bucket_of(totals, hash);
    for (struct service *service = *bucket; service; service = service->next)
        if (service->hash == hash && strcmp(service->name, name) == 0) return service;
    const char *copy = memarena_strdup(totals->arena, name); /* the record's own dies with its batch */
    struct histogram *latencies = memarena_new(totals->arena, struct histogram);
    struct service *service = memarena_new_value(totals->arena, struct service, .next = *bucket, .name = copy,
                                                 .hash = hash, .latencies = latencies);
    if (!copy || !latencies || !service) return NULL;
    *bucket = service;
    if (++totals->service_count > totals->bucket_count) grow(totals);
    return service;
}

/* ---- Records ---------------------------------------------------------------------------------------------------- */

static bool is_whole(const cJSON *number, double min, double max)
{
    return cJSON_IsNumber(number) && number->valuedouble >= min && number->valuedouble <= max &&
           number->valuedouble == floor(number->valuedouble);
}

bool totals_add(struct totals *totals, const cJSON *record, size_t line)
{
    const cJSON *name = cJSON_GetObjectItemCaseSensitive(record, "service");
    const cJSON *status = cJSON_GetObjectItemCaseSensitive(record, "status");
    const cJSON *latency = cJSON_GetObjectItemCaseSensitive(record, "latency_us");
    const cJSON *bytes = cJSON_GetObjectItemCaseSensitive(record, "bytes");
    const char *reason = NULL;
    if (!cJSON_IsObject(record))
        reason = "not an object";
    else if (!cJSON_IsString(name))
        reason = "service: not a string";
    else if (!is_whole(status, 100, 599))
        reason = "status: not a whole number from 100 to 599";
    else if (!is_whole(latency, 0, NUMBER_MAX))
        reason = "latency_us: not a whole number from 0 to 1000000000000";
    else if (!is_whole(bytes, 0, NUMBER_MAX))
        reason = "bytes: not a whole number from 0 to 1000000000000";
    if (reason) {
        totals_reject(totals, (struct reject){.line = line, .reason = reason});
        return true;
    }

    uint64_t latency_us = (uint64_t)latency->valuedouble;
    struct service *service = find_or_add(totals, name->valuestring);
    if (!service || !histogram_add(totals->arena, service->latencies, latency_us)) return false;
    service->records++;
    service->errors += status->valuedouble >= 500;
    service->bytes += (uint64_t)bytes->valuedouble;
    if (service->max_us < latency_us) service->max_us = latency_us;
    totals->records++;
    return true;
}

/* Batches come in any order, so a later reject may be of an earlier line. */
void totals_reject(struct totals *totals, struct reject reject)
{
    size_t kept = totals->rejected < REJECTS_SHOWN ? (size_t)totals->rejected : REJECTS_SHOWN;
    totals->rejected++;
    size_t at = kept;
    while (at > 0 && totals->first[at - 1].line > reject.line) at--;
    if (at == REJECTS_SHOWN) return;
    size_t moved = (kept < REJECTS_SHOWN ? kept : REJECTS_SHOWN - 1) - at;
    memmove(&totals->first[at + 1], &totals->first[at], moved * sizeof reject);
    totals->first[at] = reject;
}

/* ---- Look ------------------------------------------------------------------------------------------------------- */

uint64_t totals_records(const struct totals *totals)
{
    return totals->records;
}

size_t totals_services(const struct totals *totals)
{
    return totals->service_count;
}

uint64_t totals_rejected(const struct totals *totals, const struct reject **first)
{
    *first = totals->first;
    return totals->rejected;
}

static int compare_services(const void *left, const void *right)
{
    const struct service *a = *(const struct service *const *)left, *b = *(const struct service *const *)right;
    if (a->records != b->records) return a->records < b->records ? 1 : -1;
    return strcmp(a->name, b->name);
}

const struct service *const *totals_sorted(struct totals *totals)
{
    const struct service **sorted = memarena_new_array(totals->arena, const struct service *, totals->service_count);
    if (!sorted) return NULL;
    size_t count = 0;
    for (size_t i = 0; i < totals->bucket_count; i++)
        for (const struct service *service = totals->buckets[i]; service; service = service->next)
            sorted[count++] = service;
    qsort(sorted, count, sizeof *sorted, compare_services);
    return sorted;
}

static uint64_t mix(uint64_t sum, uint64_t value) /* of the 64-bit finalizer of MurmurHash3 */
{
    sum = (sum ^ value) * 0xff51afd7ed558ccd;
    return sum ^ sum >> 32;
}

static uint64_t checksum_of(const struct service *service)
{
    uint64_t sum = mix(service->hash, service->records);
    sum = mix(mix(mix(sum, service->errors), service->bytes), service->max_us);
    for (unsigned row = 0; row < ROWS; row++) {
        const uint64_t *counts = service->latencies->rows[row];
        for (unsigned column = 0; counts && column < COLUMNS; column++)
            if (counts[column] > 0) sum = mix(mix(sum, smallest_in(row, column)), counts[column]);
    }
    return sum;
}

uint64_t totals_checksum(const struct totals *totals)
{
    uint64_t sum = mix(mix(1, totals->records), totals->rejected);
    for (size_t i = 0; i < totals->bucket_count; i++)
        for (const struct service *service = totals->buckets[i]; service; service = service->next)
            sum += checksum_of(service);
    return sum;
}
