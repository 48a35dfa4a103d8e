/* The numbers of memarena_stats for machines: JSON, and the text format of Prometheus. */
#include "../arena/account.h"
#include "print.h"

#include <inttypes.h>
#include <stdio.h>

typedef struct number {
    const char *name;
    const char *help;
    const char *kind; /* for Prometheus */
    size_t offset;
    size_t bytes;
} number;

#define NUMBER(name, kind, help) \
    { \
#name, help, kind, offsetof(memarena_stats, name), sizeof((memarena_stats){0}.name) \
    }

static const number numbers[] = {
    NUMBER(capacity_bytes, "gauge", "What blocks can take"),
    NUMBER(reserved_bytes, "gauge", "Address space"),
    NUMBER(allocated_bytes, "gauge", "Handed to callers in this generation"),
    NUMBER(claimed_bytes, "gauge", "Taken from the shards in this generation"),
    NUMBER(peak_bytes, "gauge", "The most that was ever claimed"),
    NUMBER(largest_free_bytes, "gauge", "The largest block that there would be room for"),
    NUMBER(tlab_bytes, "gauge", "In TLABs, waiting for their threads"),
    NUMBER(tail_bytes, "gauge", "Ends of TLABs left behind"),
    NUMBER(padding_bytes, "counter", "Before large blocks, for their alignment"),
    NUMBER(free_extent_bytes, "gauge", "Given back by scopes, for the next ones"),
    NUMBER(held_bytes, "gauge", "Held by the scope in its own extents"),
    NUMBER(open_scopes, "gauge", "Scopes that are open"),
    NUMBER(lanes, "gauge", "Lanes of threads that have been used"),
    NUMBER(cpu_lanes, "gauge", "Lanes of CPUs that have been used"),
    NUMBER(per_cpu, "gauge", "Who uses the lanes of CPUs: 0 nobody, 1 threads without a lane, 2 all"),
    NUMBER(watched, "gauge", "1 while a sanitizer watches"),
    NUMBER(generation, "counter", "The generation; one more with each reset"),
    NUMBER(refills, "counter", "TLABs handed to lanes"),
    NUMBER(probes, "counter", "Shards found spent on the way"),
    NUMBER(direct_blocks, "counter", "Blocks that bypassed the TLABs"),
    NUMBER(failed_requests, "counter", "Requests refused for want of memory"),
    NUMBER(last_failed_bytes, "gauge", "The size that found no room last"),
    NUMBER(bookkeeping_bytes, "gauge", "Address space that is not for blocks"),
    NUMBER(bookkeeping_resident_bytes, "gauge", "Of the bookkeeping, in physical memory"),
};
#define NUMBERS (sizeof numbers / sizeof *numbers)

static uint64_t value_of(const memarena_stats *stats, const number *is)
{
    const char *at = (const char *)stats + is->offset;
    unsigned narrow;
    size_t size;
    uint64_t wide;
    if (is->bytes == sizeof narrow) return memcpy(&narrow, at, sizeof narrow), narrow;
    if (is->bytes == sizeof size) return memcpy(&size, at, sizeof size), size;
    return memcpy(&wide, at, sizeof wide), wide;
}

/* A text that may not fit. */
typedef struct sink {
    char *text;
    size_t size, length;
} sink;

static MEMARENA_PRINTF_(2, 3) void add(sink *to, const char *format, ...)
{
    size_t room = to->length < to->size ? to->size - to->length : 0;
    va_list args;
    va_start(args, format);
    int length = vsnprintf(room ? to->text + to->length : NULL, room, format, args);
    va_end(args);
    if (length > 0) to->length += (size_t)length;
}

/* Between quotes, in JSON and in a label of Prometheus alike. */
static void add_name(sink *to, const ma_arena *arena)
{
    if (!arena->name[0]) add(to, "%p", (const void *)arena);
    int length;
    for (const char *at = arena->name; *at; at += length ? length : 1) {
        length = ma_print_length(at);
        add(to, "%s%.*s", *at == '"' || *at == '\\' ? "\\" : "", length ? length : 1, length ? at : "?");
    }
}

static memarena_stats look(const memarena *handle)
{
    memarena_stats stats;
    memarena_get_stats(handle, &stats, sizeof stats);
    return stats;
}

size_t memarena_stats_json(const memarena *handle, char *text, size_t size)
{
    sink to = {text, size, 0};
    memarena_stats stats = look(handle);
    add(&to, "{\"arena\":\"");
    add_name(&to, ma_root_of(handle));
    add(&to, "\",\"kind\":\"%s\"", ma_is_scope(handle) ? "scope" : "arena");
    for (size_t i = 0; i < NUMBERS; i++) add(&to, ",\"%s\":%" PRIu64, numbers[i].name, value_of(&stats, &numbers[i]));
    add(&to, ",\"resident_bytes\":%zu,\"free_bytes_by_size\":[", memarena_resident_bytes(handle));
    for (size_t i = 0; i < MEMARENA_STATS_SIZES; i++) add(&to, i ? ",%zu" : "%zu", stats.free_bytes_by_size[i]);
    add(&to, "]}");
    return to.length;
}

static void add_sample(sink *to, const char *name, const memarena *handle, uint64_t value, const char *suffix)
{
    add(to, "memarena_%s%s{arena=\"", name, suffix);
    add_name(to, ma_root_of(handle));
    add(to, "\"} %" PRIu64 "\n", value);
}

size_t memarena_stats_prometheus(const memarena *const *arenas, size_t count, char *text, size_t size)
{
    sink to = {text, size, 0};
    if (size) *text = '\0';
    for (size_t i = 0; i < NUMBERS; i++) {
        const char *suffix = numbers[i].kind[0] == 'c' ? "_total" : "";
        add(&to, "# HELP memarena_%s%s %s\n# TYPE memarena_%s%s %s\n", numbers[i].name, suffix, numbers[i].help,
            numbers[i].name, suffix, numbers[i].kind);
        for (size_t arena = 0; arena < count; arena++) {
            memarena_stats stats = look(arenas[arena]);
            add_sample(&to, numbers[i].name, arenas[arena], value_of(&stats, &numbers[i]), suffix);
        }
    }
    add(&to,
        "# HELP memarena_resident_bytes Of the blocks, in physical memory\n# TYPE memarena_resident_bytes gauge\n");
    for (size_t arena = 0; arena < count; arena++)
        add_sample(&to, "resident_bytes", arenas[arena], memarena_resident_bytes(arenas[arena]), "");
    return to.length;
}
