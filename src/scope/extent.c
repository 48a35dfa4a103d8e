/* Taking extents from an arena and giving them back: see extent.h. */
#include "extent.h"

#include "../lane/tlab.h"
#include "../supply/watch.h"

#include <string.h>

/* The head of a stack: {tag of the generation, count, the first free extent}. The extent takes the bits that the arena's units take,
 * the count has what is left: 37 bits in an arena of 64 MiB, 29 in one of 24 GiB, never fewer than 22. */
#define TAG_BITS 10
#define TAG_SHIFT (64 - TAG_BITS)

static_assert(2 * (MA_EXTENT_CLASSES_MAX + 2) < 1u << (TAG_BITS - 1),
              "no head may grow half the tag space old, even if one thread comes late to refresh it");
static_assert((MA_EXTENT_STRIPES & (MA_EXTENT_STRIPES - 1)) == 0, "lanes are dealt to stripes by a mask");

uint64_t ma_extent_index_mask(uint64_t units)
{
    return UINT64_MAX >> __builtin_clzll(units | 1);
}

static int64_t age(uint64_t head, uint64_t generation)
{
    uint64_t distance = generation - (head >> TAG_SHIFT);
    return (int64_t)(distance << TAG_SHIFT) >> TAG_SHIFT;
}

static uint32_t first_of(const ma_extents *extents, uint64_t head, uint64_t generation)
{
    return age(head, generation) == 0 ? (uint32_t)(head & extents->index_mask) : 0;
}

/* The head after a change: of this generation, with another first extent. It counts extents taken, and generations: an extent that
 * was the first can be so again only after one of these, so a thread that has slept since fails its swap until the count has come
 * round. */
static uint64_t changed(const ma_extents *extents, uint64_t head, uint64_t generation, uint64_t index, bool taken)
{
    uint64_t mask = extents->index_mask, below_tag = ((uint64_t)1 << TAG_SHIFT) - 1;
    uint64_t count = (head & ~mask) + (taken || age(head, generation) != 0 ? mask + 1 : 0);
    return generation << TAG_SHIFT | (count & below_tag) | index;
}

static uintptr_t origin(const ma_arena *arena, uint64_t generation)
{
    return arena->extents.origin + (ma_pool_base(&arena->pool, generation) - arena->pool.base);
}

static uint32_t index_of(const ma_arena *arena, uint64_t generation, uintptr_t begin)
{
    return (uint32_t)((begin - origin(arena, generation)) >> arena->extents.unit_shift) + 1;
}

static uintptr_t begin_of(const ma_arena *arena, uint64_t generation, uint32_t index)
{
    return origin(arena, generation) + ((uintptr_t)(index - 1) << arena->extents.unit_shift);
}

uintptr_t ma_extent_table_at(const ma_arena *arena, uint64_t generation, uintptr_t address)
{
    const ma_extents *extents = &arena->extents;
    uintptr_t unit = (uintptr_t)1 << extents->unit_shift, from = address - origin(arena, generation);
    return (uintptr_t)&extents->links[(from + unit - 1) >> extents->unit_shift];
}

uintptr_t ma_extent_of_table(const ma_arena *arena, uint64_t generation, uintptr_t place)
{
    uintptr_t from = place - (uintptr_t)arena->extents.links;
    uintptr_t links = (from + sizeof(ma_extent_link) - 1) / sizeof(ma_extent_link);
    return origin(arena, generation) + (links << arena->extents.unit_shift);
}

/* ---- Classes: 1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 20 ... units -------------------------------------------- */

/* The largest class of at most so many units, of which there is one at least. */
static unsigned class_within(uint64_t units)
{
    if (units < 4) return units ? (unsigned)units - 1 : 0;
    unsigned log = 63 - (unsigned)__builtin_clzll(units);
    return 4 * (log - 2) + (unsigned)(units >> (log - 2) & 3) + 3;
}

static uint64_t class_units(unsigned size_class)
{
    return size_class < 3 ? size_class + 1 : (uint64_t)(4 + ((size_class - 3) & 3)) << ((size_class - 3) >> 2);
}

/* The smallest class of at least so many units. */
static unsigned class_around(uint64_t units)
{
    unsigned size_class = class_within(units);
    return class_units(size_class) == units ? size_class : size_class + 1;
}

unsigned ma_extent_unit_shift(uint64_t bytes)
{
    unsigned shift = MA_UNIT_SHIFT;
    while (bytes >> shift > UINT32_MAX - 2) shift++;
    return shift;
}

unsigned ma_extent_class_count(uint64_t bytes, unsigned unit_shift)
{
    return bytes >> unit_shift ? class_within(bytes >> unit_shift) + 1 : 1;
}

uint64_t ma_extent_size_within(const ma_arena *arena, uint64_t bytes)
{
    return class_units(class_within(bytes >> arena->extents.unit_shift)) << arena->extents.unit_shift;
}

uint64_t ma_extent_size_around(const ma_arena *arena, uint64_t bytes)
{
    unsigned shift = arena->extents.unit_shift;
    return class_units(class_around((bytes + ((uint64_t)1 << shift) - 1) >> shift)) << shift;
}

/* ---- The cache of a lane --------------------------------------------------------------------------------------- */

/* This thread's, brought into the generation; NULL without a lane. */
static ma_extent_cache *my_cache(ma_arena *arena, uint64_t generation)
{
    ma_extent_cache *cache = ma_lane_cache(arena);
    if (!cache || cache->generation == generation) return cache;
    unsigned number = ma_lane_number(arena);
    ma_lane_enlist(&arena->scope_lanes, number); /* [open-2] */
    uint32_t most = arena->tlab_limit[number >= MA_FAVOURED_LANES] >> arena->extents.unit_shift;
    memset(cache->heads, 0, sizeof cache->heads);
    for (unsigned i = 0; i < MA_CACHED_CLASSES; i++) ma_store_relaxed(&cache->counts[i], 0);
    ma_store_relaxed(&cache->ready, 0);
    cache->units_max = most < UINT16_MAX ? most : UINT16_MAX;
    cache->units = 0;
    ma_store_release(&cache->generation, generation);
    return cache;
}

/* Cached classes are so small that all extents of one have the same size. */
static bool pop_cached(const ma_arena *arena, ma_extent_cache *cache, unsigned size_class, ma_extent_span *extent)
{
    const ma_extents *extents = &arena->extents;
    uint32_t index = cache->heads[size_class];
    if (index == 0) return false;
    uint64_t link = ma_load_relaxed(&ma_extent_link_of(extents, index)->next_and_units);
    *extent = (ma_extent_span){begin_of(arena, cache->generation, index), ma_extent_units_of(link)};
    cache->heads[size_class] = (uint32_t)link;
    cache->units -= extent->units;
    ma_count(&cache->counts[size_class], (uint16_t)-1);
    return true;
}

static void push_cached(const ma_arena *arena, ma_extent_cache *cache, unsigned size_class, ma_extent_span extent)
{
    uint32_t index = index_of(arena, cache->generation, extent.begin);
    ma_store_relaxed(&ma_extent_link_of(&arena->extents, index)->next_and_units,
                     (uint64_t)extent.units << 32 | cache->heads[size_class]);
    ma_store_release(&cache->heads[size_class], index); /* (a fork may lose this thread here) */
    cache->units += extent.units;
    ma_count(&cache->counts[size_class], 1);
}

/* ---- The stacks ------------------------------------------------------------------------------------------------- */

static unsigned stack_count(const ma_extents *extents)
{
    return extents->class_count * extents->stripes;
}

/* That of the n-th stripe from this thread's own. */
static uint64_t *stack_of(const ma_arena *arena, unsigned n, unsigned size_class)
{
    unsigned stripe = (ma_lane_number(arena) + n) & (arena->extents.stripes - 1);
    return &arena->extents.stacks[stripe * arena->extents.class_count + size_class];
}

static bool pop(ma_arena *arena, uint64_t generation, uint64_t *stack, uint64_t least, ma_extent_span *extent)
{
    const ma_extents *extents = &arena->extents;
    uint64_t head = ma_load_acquire(stack); /* [extent-1] */
    for (;;) {
        uint32_t index = first_of(extents, head, generation);
        if (index == 0 || ma_load_acquire(&arena->pool.generation) != generation) return false;
        uint64_t link = ma_load_relaxed(&ma_extent_link_of(extents, index)->next_and_units);
        if (ma_extent_units_of(link) < least && ma_load_acquire(stack) == head)
            return false; /* (else the link may be another's) */
        if (!ma_swap_acq_rel(stack, &head, changed(extents, head, generation, (uint32_t)link, true)))
            continue; /* [extent-1] */
        *extent = (ma_extent_span){begin_of(arena, generation, index), ma_extent_units_of(link)};
        ma_receive(arena->pool.told, ma_extent_link_of(extents, index));
        return true;
    }
}

static bool pop_shared(ma_arena *arena, uint64_t generation, unsigned size_class, uint64_t least,
                       ma_extent_span *extent)
{
    for (unsigned n = 0; n < arena->extents.stripes; n++)
        if (pop(arena, generation, stack_of(arena, n, size_class), least, extent)) return true;
    return false;
}

static void push_shared(ma_arena *arena, uint64_t generation, unsigned size_class, ma_extent_span extent)
{
    const ma_extents *extents = &arena->extents;
    uint64_t *stack = stack_of(arena, 0, size_class), head = ma_load_acquire(stack); /* [extent-1] */
    uint32_t index = index_of(arena, generation, extent.begin);
    ma_extent_link *link = ma_extent_link_of(extents, index);
    ma_hand_over(arena->pool.told, link);
    do {
        uint32_t next = first_of(extents, head, generation);
        uint64_t below = 0;
        if (next)
            below = ma_load_relaxed(&ma_extent_link_of(extents, next)->units_below) +
                    ma_extent_units_of(ma_load_relaxed(&ma_extent_link_of(extents, next)->next_and_units));
        ma_store_relaxed(&link->units_below, below);
        ma_store_relaxed(&link->next_and_units, (uint64_t)extent.units << 32 | next);
    } while (!ma_swap_acq_rel(stack, &head, changed(extents, head, generation, index, false))); /* [extent-1] */
}

bool ma_extent_any(const ma_arena *arena)
{
    return ma_load_relaxed(&arena->scope_lanes) != 0 || ma_load_relaxed(&ma_arena_counts(arena, MA_LANES)->opened) != 0;
}

static void refresh(const ma_arena *arena, uint64_t *stack)
{
    uint64_t head = ma_load_acquire(stack), generation;
    do {
        generation = ma_load_acquire(&arena->pool.generation); /* after the head: see word.h */
        if (age(head, generation) <= 0) return;
    } while (!ma_swap_acq_rel(stack, &head, changed(&arena->extents, head, generation, 0, false)));
}

void ma_extent_refresh(ma_arena *arena, uint64_t generation)
{
    const ma_extents *extents = &arena->extents;
    unsigned size_class = (unsigned)(generation % extents->class_count);
    if (!ma_extent_any(arena)) return; /* all are empty, whatever their tags say */
    for (unsigned stripe = 0; stripe < extents->stripes; stripe++)
        refresh(arena, &extents->stacks[stripe * extents->class_count + size_class]);
}

/* ---- Take and give ------------------------------------------------------------------------------------------------ */

static bool take_class(ma_arena *arena, uint64_t generation, ma_extent_cache *cache, unsigned size_class,
                       uint64_t least, ma_extent_span *extent)
{
    if (size_class >= arena->extents.class_count) return false;
    if (cache && size_class < MA_CACHED_CLASSES && pop_cached(arena, cache, size_class, extent)) return true;
    if (cache && size_class == 0 && least <= 1 && cache->ready) {
        *extent = (ma_extent_span){cache->ready, 1};
        ma_store_relaxed(&cache->ready, 0);
        return true;
    }
    return pop_shared(arena, generation, size_class, least, extent);
}

static uint64_t to_units(const ma_extents *extents, uint64_t bytes)
{
    uint64_t unit = (uint64_t)1 << extents->unit_shift;
    return bytes == 0 ? 1 : (bytes + unit - 1) >> extents->unit_shift;
}

/* When nothing else is left: from what waits in the thread's own TLAB. What lies before it is left behind, too. */
static bool claim_waiting(ma_arena *arena, ma_lane *lane, const ma_request *request, ma_extent_span *extent)
{
    uintptr_t cursor = ma_load_relaxed(&lane->tlab.cursor_);
    ma_block block;
    if (ma_lane_take(arena, lane, request, &block) != MA_CLAIMED) return false;
    extent->begin = block.address;                 /* (no block of a caller's: what is sampled is what lies in it) */
    ma_count(&lane->base, cursor - extent->begin); /* [account-1] */
    ma_count(&lane->tail_bytes, extent->begin - cursor);
    return true;
}

typedef struct extent_search {
    ma_request request;
    ma_lane *lane;
    bool large, is_waiting; /* what was found had waited in the lane's TLAB, and is accounted */
    ma_span span;
    ma_extent_span *extent;
} extent_search;

static ma_claim look_for_extent(ma_arena *arena, void *context)
{
    extent_search *now = context;
    ma_claim outcome = ma_claim_apart(arena, now->lane, &now->request, now->large, &now->span);
    now->is_waiting = outcome == MA_NO_ROOM && now->lane && claim_waiting(arena, now->lane, &now->request, now->extent);
    return now->is_waiting ? MA_CLAIMED : outcome;
}

static ma_claim look_for_watched_extent(ma_arena *arena, void *context)
{
    extent_search *now = context;
    bool found = ma_watch_claim(arena, now->request.size, now->request.alignment, &now->extent->begin);
    return found ? MA_CLAIMED : MA_NO_ROOM;
}

/* From memory that has not been used in this generation. What lies before it, for its alignment, is left behind. */
static bool claim(ma_arena *arena, uint64_t generation, uint64_t units, ma_extent_span *extent)
{
    uint64_t bytes = units << arena->extents.unit_shift;
    extent_search now = {
        .request = {.generation = generation, .size = bytes, .alignment = (uint64_t)1 << arena->extents.unit_shift},
        .lane = ma_lane_mine(arena),
        .large = bytes > arena->tlab_limit[0],
        .extent = extent};
    extent->units = (uint32_t)units;
    if (arena->watch != MA_WATCH_NONE) return ma_supply(arena, look_for_watched_extent, &now) == MA_CLAIMED;
    if (now.lane) (void)ma_lane_enter(arena, now.lane, generation);
    if (ma_supply(arena, look_for_extent, &now) != MA_CLAIMED) return false;
    if (now.is_waiting) return true;
    if (now.lane) {
        ma_count(&now.lane->base, (uintptr_t)bytes); /* [account-1] */
        ma_count(&now.lane->tail_bytes, (uintptr_t)(now.span.block - now.span.begin));
        if (!now.large) now.lane->source = now.span.source;
    } else {
        ma_pool_account(&arena->pool, now.span.source, generation, bytes);
    }
    extent->begin = ma_pool_base(&arena->pool, generation) + (uintptr_t)now.span.block;
    return true;
}

static bool take_free(ma_arena *arena, uint64_t generation, ma_extent_cache *cache, uint64_t least,
                      ma_extent_span *extent)
{
    uint64_t units = to_units(&arena->extents, least);
    /* From the class that may have one just large enough, if only as its first. */
    for (unsigned size_class = class_within(units); size_class < arena->extents.class_count; size_class++)
        if (take_class(arena, generation, cache, size_class, units, extent)) return true;
    return false;
}

bool ma_extent_take_free(ma_arena *arena, uint64_t generation, uint64_t least, ma_extent_span *extent)
{
    /* Of an arena that signal handlers may use this may be one that interrupted its thread inside its cache. */
    return take_free(arena, generation, arena->kind == MA_KIND_PER_CPU ? NULL : my_cache(arena, generation), least,
                     extent);
}

bool ma_extent_take(ma_arena *arena, uint64_t generation, uint64_t least, uint64_t want, ma_extent_span *extent)
{
    ma_extent_cache *cache = my_cache(arena, generation);
    uint64_t exact = to_units(&arena->extents, least), units = to_units(&arena->extents, want);
    unsigned size_class = class_around(units > exact ? units : exact);
    uint64_t rounded = class_units(size_class);
    return take_class(arena, generation, cache, size_class, rounded, extent) ||
           claim(arena, generation, rounded, extent) || take_free(arena, generation, cache, least, extent) ||
           (exact < rounded && claim(arena, generation, exact, extent));
}

void ma_extent_give(ma_arena *arena, uint64_t generation, ma_extent_span extent)
{
    ma_extent_cache *cache = my_cache(arena, generation);
    unsigned size_class = class_within(extent.units);
    if (arena->watch != MA_WATCH_NONE)
        ma_watch_forbid(arena, extent.begin, (uintptr_t)extent.units << arena->extents.unit_shift);
    if (size_class < MA_CACHED_CLASSES && cache && cache->units + extent.units < cache->units_max)
        push_cached(arena, cache, size_class, extent);
    else
        push_shared(arena, generation, size_class, extent);
}

uint64_t ma_extent_cut(ma_arena *arena, uint64_t generation, ma_extent_span extent, uint32_t units)
{
    unsigned shift = arena->extents.unit_shift;
    uintptr_t kept = ((uintptr_t)units << shift) * arena->spread;
    ma_extent_span rest = {extent.begin + kept, extent.units - units};
    ma_extent_give(arena, generation, rest);
    return (uint64_t)rest.units << shift;
}

void ma_extent_visit_free(ma_arena *arena, uint64_t generation, uint64_t least,
                          bool (*visit)(void *context, uintptr_t begin, uint64_t bytes), void *context)
{
    const ma_extents *extents = &arena->extents;
    unsigned smallest = class_within(to_units(extents, least));
    uint32_t taken = 0; /* a chain through their own links */
    bool goes_on = true;
    ma_extent_span extent;
    for (unsigned size_class = extents->class_count; goes_on && size_class-- > smallest;) {
        while (goes_on && pop_shared(arena, generation, size_class, 0, &extent)) {
            uint32_t index = index_of(arena, generation, extent.begin);
            ma_store_relaxed(&ma_extent_link_of(extents, index)->next_and_units, (uint64_t)extent.units << 32 | taken);
            taken = index;
            goes_on = visit(context, extent.begin, (uint64_t)extent.units << extents->unit_shift);
        }
    }
    while (taken) {
        uint64_t link = ma_load_relaxed(&ma_extent_link_of(extents, taken)->next_and_units);
        extent = (ma_extent_span){begin_of(arena, generation, taken), ma_extent_units_of(link)};
        taken = (uint32_t)link;
        push_shared(arena, generation, class_within(extent.units), extent);
    }
}

void ma_extent_look(const ma_arena *arena, uint64_t generation,
                    void (*see)(void *context, uint64_t begin, uint64_t bytes), void *context)
{
    const ma_extents *extents = &arena->extents;
    uint64_t spread = arena->spread, units = (arena->pool.capacity * spread >> extents->unit_shift) + 2, left = units;
    for (unsigned i = 0; i < stack_count(extents); i++) {
        uint32_t index = first_of(extents, ma_load_acquire(&extents->stacks[i]), generation);
        for (; index != 0 && index <= units && left > 0;
             left--) { /* (a list that changes may lead anywhere, or round) */
            uint64_t link = ma_load_relaxed(&ma_extent_link_of(extents, index)->next_and_units);
            uint64_t begin = begin_of(arena, generation, index) - ma_pool_base(&arena->pool, generation);
            see(context, begin / spread, (uint64_t)ma_extent_units_of(link) << extents->unit_shift);
            index = (uint32_t)link;
        }
    }
}

/* Bytes of free extents of one class, also entered into `by_size`. */
static uint64_t add_free(const ma_extents *extents, unsigned size_class, uint64_t units, size_t *by_size)
{
    uint64_t bytes = units << extents->unit_shift;
    unsigned size = 63 - (unsigned)__builtin_clzll(class_units(size_class) << (extents->unit_shift - MA_UNIT_SHIFT));
    if (by_size) by_size[size < MEMARENA_STATS_SIZES ? size : MEMARENA_STATS_SIZES - 1] += (size_t)bytes;
    return bytes;
}

uint64_t ma_extent_free_bytes(const ma_arena *arena, uint64_t generation, size_t *by_size)
{
    const ma_extents *extents = &arena->extents;
    uint64_t bytes = 0;
    for (uint64_t lanes = ma_load_relaxed(&arena->scope_lanes); lanes; lanes &= lanes - 1) {
        const ma_extent_cache *cache = &extents->caches[__builtin_ctzll(lanes)];
        if (ma_load_acquire(&cache->generation) != generation) continue;
        bytes += add_free(extents, 0, ma_load_relaxed(&cache->ready) != 0, by_size);
        for (unsigned i = 0; i < MA_CACHED_CLASSES; i++)
            bytes += add_free(extents, i, class_units(i) * ma_load_relaxed(&cache->counts[i]), by_size);
    }
    for (unsigned i = 0; i < stack_count(extents); i++) {
        uint32_t index = first_of(extents, ma_load_acquire(&extents->stacks[i]), generation);
        if (index == 0) continue;
        const ma_extent_link *link = ma_extent_link_of(extents, index);
        uint64_t units = ma_extent_units_of(ma_load_relaxed(&link->next_and_units));
        bytes += add_free(extents, i % extents->class_count, units + ma_load_relaxed(&link->units_below), by_size);
    }
    return bytes;
}
