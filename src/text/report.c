/* memarena_report: an arena on one page, for people. */
#include "../arena/account.h"
#include "../platform/os.h"
#include "print.h"

#include <inttypes.h>
#include <stdio.h>

static void print_bytes(FILE *file, const char *what, uint64_t bytes, const char *remark)
{
    static const char *const units[] = {"bytes", "KiB", "MiB", "GiB", "TiB"};
    double amount = (double)bytes;
    size_t unit = 0;
    while (amount >= 1024 && unit + 1 < sizeof units / sizeof *units) amount /= 1024, unit++;
    ma_print(file, "  %-22s %16" PRIu64, what, bytes);
    ma_print(file, unit ? "  %8.1f %s" : "  %8.0f %s", amount, units[unit]);
    ma_print(file, "%s%s\n", *remark ? ", " : "", remark);
}

static void print_lane(FILE *file, const char *kind, unsigned number, const ma_lane *lane, uint64_t generation)
{
    bool present = ma_load_acquire(&lane->generation) == generation;
    uint64_t handed_out = ma_account_lane(lane, generation);
    ma_print(file, "  %s %4u %16" PRIu64 " %12zu %12zu %12zu %14zu\n", kind, number, handed_out,
             present ? (size_t)ma_account_waiting(lane) : 0, present ? (size_t)ma_load_relaxed(&lane->tail_bytes) : 0,
             (size_t)ma_load_relaxed(&lane->refills), (size_t)ma_load_relaxed(&lane->direct_blocks));
}

static void print_lanes(FILE *file, const ma_arena *arena, uint64_t generation)
{
    uint64_t lanes = ma_load_relaxed(&arena->lanes_used), cpus = ma_load_relaxed(&arena->cpus_used);
    if (lanes == 0 && cpus == 0) return;
    ma_print(file, "  who holds what  handed out      in TLAB    in tails      refills  direct blocks\n");
    for (; lanes; lanes &= lanes - 1) {
        unsigned number = (unsigned)__builtin_ctzll(lanes);
        print_lane(file, "lane", number, ma_arena_lane(arena, number), generation);
    }
    for (unsigned cpu = 0; cpu < cpus; cpu++) print_lane(file, " cpu", cpu, ma_arena_cpu_lane(arena, cpu), generation);
}

static void print_scopes(FILE *file, const memarena_stats *now)
{
    ma_print(file, "  %-22s %16" PRIu64 "\n", "open scopes", now->open_scopes);
    if (now->free_extent_bytes == 0) return;
    print_bytes(file, "given back by scopes", now->free_extent_bytes, "for the next ones, in extents of");
    for (unsigned size = 0; size < MEMARENA_STATS_SIZES; size++)
        if (now->free_bytes_by_size[size])
            ma_print(file, "    %10" PRIu64 " KiB and more %8zu bytes\n", (uint64_t)1 << size,
                     now->free_bytes_by_size[size]);
}

static void print_failures(FILE *file, const memarena_stats *now)
{
    ma_print(file, "  %-22s %16" PRIu64 "\n", "requests refused", now->failed_requests);
    if (now->last_failed_bytes) print_bytes(file, "the last without room", now->last_failed_bytes, "");
    print_bytes(file, "the largest that fits", now->largest_free_bytes, "free extents aside");
}

/* Each limit that holds for the scope, the nearest first, and what is charged to it. */
static void print_limits(FILE *file, const ma_scope *scope)
{
    for (const ma_tenant *tenant = scope->tenant; tenant; tenant = tenant->above) {
        if (tenant->limit == 0) continue;
        ma_print(file, "  limit ");
        ma_print_text(file, tenant->name, "<");
        ma_print(file, "%s\n", tenant == ma_scope_own_tenant(scope) ? "" : *tenant->name ? ", above it" : "above it");
        print_bytes(file, "  at most", tenant->limit, "");
        print_bytes(file, "  held", ma_load_relaxed(&tenant->charged), "with all scopes below");
    }
}

/* What a scope holds, and what it may. For its owner. */
static void print_scope(FILE *file, const ma_scope *scope)
{
    const ma_tenant *own = ma_scope_own_tenant(scope);
    ma_print(file, "memarena scope ");
    if (own && *own->name) {
        ma_print_text(file, own->name, "<");
        ma_print(file, " at ");
    }
    ma_print(file, "%p, in its generation %" PRIu64 "\n", (const void *)scope, scope->generation);
    print_bytes(file, "allocated", ma_scope_allocated(scope), "");
    print_limits(file, scope);
    print_bytes(file, "held", scope->held, "of its arena:");
}

bool memarena_report(const memarena *handle, FILE *file)
{
    const ma_arena *arena = ma_root_of(handle);
    memarena_stats now;
    memarena_get_stats(&arena->tlab, &now, sizeof now);
    int state = ma_os_cancel_off();
    errno = 0;
    if (ma_is_scope(handle)) print_scope(file, (const ma_scope *)handle);
    ma_print(file, "memarena ");
    ma_print_text(file, arena->name, "<");
    ma_print(file, "%s%p, generation %" PRIu64 "%s\n", *arena->name ? " at " : "", (const void *)arena, now.generation,
             now.watched ? ", a sanitizer is watching" : "");
    print_bytes(file, "capacity", now.capacity_bytes, "");
    print_bytes(file, "address space", now.reserved_bytes, "");
    print_bytes(file, "in physical memory", memarena_resident_bytes(&arena->tlab),
                arena->mapping ? "" : "a caller's buffer");
    print_bytes(file, "bookkeeping", now.bookkeeping_resident_bytes, "in physical memory, too");
    print_bytes(file, "claimed", now.claimed_bytes, "namely:");
    print_bytes(file, "  allocated", now.allocated_bytes, "");
    print_bytes(file, "  in TLABs", now.tlab_bytes, "");
    print_bytes(file, "  in tails", now.tail_bytes, "");
    print_bytes(file, "  in free extents", now.free_extent_bytes, "");
    print_bytes(file, "claimed at most", now.peak_bytes, "since creation");
    print_scopes(file, &now);
    print_failures(file, &now);
    print_lanes(file, arena, now.generation);
    ma_os_cancel_as_before(state);
    return !ferror(file);
}
