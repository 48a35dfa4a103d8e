/* Physical memory given back to the operating system: memarena_trim, and what a reset keeps with `retain_bytes`.
 *
 * Only memory that nobody else can claim meanwhile may be given back, or a block that another thread has just been given
 * would lose its bytes. So the rest of a source is borrowed (claimed, and returned), piece by piece, each for as long as
 * the system takes; likewise the free extents of scopes. A request that finds no room in such a moment looks again, and
 * makes us stop. The generation is held open as by a scope: a reset is refused until we are done.
 *
 * Likewise the table of their links, where it belongs to nothing but the rest of a source: no list of this generation has a link
 * there, and a reader that is late finds zeros, and fails its swap.
 *
 * The last pages go first, those of the frontier and of the last shards: the arena is walked from the front, so what is
 * kept is what will be used first. A reset first gives what its generation has not needed: the next one may well begin with
 * large blocks, in the frontier.
 *
 * With MEMARENA_RETAIN_AUTO each source keeps what one of the last 32 to 63 generations has claimed there: windows of 32
 * resets, of which the present one and the one before count. So what comes back within 32 resets is never given, a peak
 * that does not is given as a whole, and since sources are looked at one by one it makes no difference whether generations
 * need the same ones. The excess can grow only at the end of a window, so only then a reset looks. */
#include "trim.h"

#include "../generation/generation.h"
#include "../platform/os.h"
#include "../scope/extent.h"
#include "../scope/scope.h"

#define LOOK_BYTES ((uintptr_t)16 << 20) /* looked over at once */
#define PIECE_BYTES ((uintptr_t)1 << 20) /* borrowed at once: some 30 us */

/* What is given too early costs some three warm writes of it more when it is needed again: at most once in so many
 * generations. */
#define WINDOW 32u
/* Less than this above half as much as is needed is not worth a system call. */
#define SLACK_BYTES ((uint64_t)1 << 20)

typedef struct trimming {
    ma_arena *arena;
    uint64_t generation, hungry;
    uintptr_t page;
    uint64_t excess, given; /* bytes */
    uintptr_t refused;      /* of this source, where memory ends that the system did not take */
} trimming;

static uintptr_t address_at(const trimming *now, uint64_t offset)
{
    return ma_pool_base(&now->arena->pool, now->generation) + (uintptr_t)offset * now->arena->spread;
}

static bool goes_on(const trimming *now)
{
    return now->excess > 0 && ma_load_relaxed(&now->arena->hungry) == now->hungry;
}

static uintptr_t up(const trimming *now, uintptr_t address)
{
    return (address + now->page - 1) & ~(now->page - 1);
}

static uintptr_t down(const trimming *now, uintptr_t address)
{
    return address & ~(now->page - 1);
}

/* Gives pages of ours back. */
static void discard(trimming *now, uintptr_t begin, uintptr_t end)
{
    uint64_t resident = begin < end ? ma_os_resident((void *)begin, end - begin) : 0;
    if (resident == 0) return;
    if (!ma_os_discard((void *)begin, end - begin)) {
        if (now->refused < end) now->refused = end;
        return;
    }
    now->given += resident;
    now->excess -= resident < now->excess ? resident : now->excess;
}

/* ---- What this generation has not used ----------------------------------------------------------------------------- */

/* The pages from `end` down to the tip of the source, but none of its first `keep` bytes. Where it stopped: nothing from
 * there to `end` is in memory, but for what others have claimed meanwhile. */
static uintptr_t trim_source(trimming *now, unsigned source, uint64_t keep, uintptr_t end)
{
    ma_pool *pool = &now->arena->pool;
    uint64_t word = ma_load_acquire(&pool->sources[source].word);
    uint64_t tip = ma_source_tip(pool, source, word, now->generation), limit = ma_source_end(pool, source);
    uintptr_t least = up(now, address_at(now, ma_source_begin(pool, source) + keep));
    uintptr_t floor = up(now, address_at(now, tip < limit ? tip : limit));
    if (floor < least) floor = least;
    while (end > floor && goes_on(now)) {
        uintptr_t look = end - floor < LOOK_BYTES ? end - floor : LOOK_BYTES;
        if (ma_os_resident((void *)(end - look), look) == 0) {
            end -= look;
            continue;
        }
        for (uintptr_t stop = end - look; end > stop && goes_on(now);) {
            uintptr_t most = now->excess < PIECE_BYTES ? up(now, (uintptr_t)now->excess) : PIECE_BYTES;
            uintptr_t begin = end - stop < most ? stop : end - most;
            ma_span span;
            if (!ma_pool_borrow(pool, source, now->generation, &span)) return end;
            floor = up(now, address_at(now, span.begin));
            if (floor < least) floor = least;
            if (begin < floor) begin = floor;
            discard(now, begin, end);
            ma_pool_return(pool, now->generation, &span);
            if (begin >= end) return end;
            end = begin;
        }
    }
    return end;
}

/* ---- What scopes have given back ------------------------------------------------------------------------------------- */

static bool trim_extent(void *context, uintptr_t begin, uint64_t bytes)
{
    trimming *now = context;
    discard(now, up(now, begin), down(now, begin + (uintptr_t)bytes * now->arena->spread));
    return goes_on(now);
}

static void trim_extents(trimming *now)
{
    ma_pool *pool = &now->arena->pool;
    if (!goes_on(now) || !ma_extent_any(now->arena)) return;
    (void)ma_add_acq_rel(&pool->runs, MA_RUN_BEGINS); /* [run-1] */
    ma_extent_visit_free(now->arena, now->generation, now->page, trim_extent, now);
    ma_pool_end_run(pool);
}

/* Up to where a source may be in memory. `all`: whatever; otherwise only what was noted as touched. (A touch may bring in a
 * huge page.) */
static uint64_t end_of(const trimming *now, unsigned source, bool all)
{
    const ma_pool *pool = &now->arena->pool;
    uint64_t begin = ma_source_begin(pool, source), end = ma_source_end(pool, source);
    uint64_t reached =
        all ? ma_pool_reached(pool, source, now->generation) : ma_load_relaxed(&pool->sources[source].touched);
    uint64_t most = begin + reached + (all || !ma_counts_kept_bytes(now->arena) ? MA_OS_HUGE_PAGE : 0);
    return (all && now->arena->prefaulted) || end < most ? end : most;
}

/* ---- The table of free extents ------------------------------------------------------------------------------------ */

#define TABLE_BYTES ((uintptr_t)64 << 10) /* looked over, and borrowed for, at once: of 4 MiB of blocks */

/* Whether blocks are in memory to which this part of the table belongs. */
static bool has_blocks(const trimming *now, uintptr_t place, uintptr_t last)
{
    uintptr_t begin = up(now, ma_extent_of_table(now->arena, now->generation, place));
    uintptr_t end = down(now, ma_extent_of_table(now->arena, now->generation, last));
    return begin < end && ma_os_resident((void *)begin, end - begin) != 0;
}

/* Of what nobody has claimed in this generation, as far as the blocks are not in memory either: a link is written for what was
 * claimed only, and those of earlier generations are dead. */
static void trim_table(const trimming *now, unsigned source, uint64_t end)
{
    ma_arena *arena = now->arena;
    uintptr_t begin = address_at(now, ma_source_begin(&arena->pool, source));
    uintptr_t first = up(now, ma_extent_table_at(arena, now->generation, begin));
    uintptr_t last = down(now, ma_extent_table_at(arena, now->generation, address_at(now, end)));
    while (last > first && ma_load_relaxed(&arena->hungry) == now->hungry) {
        uintptr_t place = last - first < TABLE_BYTES ? first : last - TABLE_BYTES;
        ma_span span;
        if (ma_os_resident((void *)place, last - place) != 0 && !has_blocks(now, place, last)) {
            if (!ma_pool_borrow(&arena->pool, source, now->generation, &span)) return;
            uintptr_t tip = up(now, ma_extent_table_at(arena, now->generation, address_at(now, span.begin)));
            if (place < tip) place = first = tip < last ? tip : last;
            if (place < last) (void)ma_os_discard((void *)place, last - place);
            ma_pool_return(&arena->pool, now->generation, &span);
        }
        last = place;
    }
}

static void trim_tables(const trimming *now)
{
    for (unsigned source = 0; source <= now->arena->pool.shard_count; source++)
        trim_table(now, source, end_of(now, source, true));
}

/* ---- An arena -------------------------------------------------------------------------------------------------------- */

static uint64_t resident_bytes(const trimming *now, bool all)
{
    const ma_pool *pool = &now->arena->pool;
    uint64_t sum = 0;
    for (unsigned source = 0; source <= pool->shard_count; source++) {
        uint64_t begin = ma_source_begin(pool, source), end = end_of(now, source, all);
        uintptr_t first = down(now, address_at(now, begin));
        sum += ma_os_resident((void *)first, down(now, address_at(now, end)) - first);
    }
    return sum;
}

uint64_t ma_trim_bookkeeping(const ma_arena *arena)
{
    trimming now = {.arena = (ma_arena *)(uintptr_t)arena,
                    .generation = ma_load_acquire(&arena->pool.generation),
                    .page = ma_os_page_bytes()};
    uintptr_t seen = up(&now, (uintptr_t)arena->extents.links);
    uint64_t sum = seen - (uintptr_t)arena->mapping;
    for (unsigned source = 0; source <= arena->pool.shard_count && ma_extent_any(arena); source++) {
        uintptr_t begin = address_at(&now, ma_source_begin(&arena->pool, source)),
                  end = address_at(&now, end_of(&now, source, true));
        uintptr_t first = down(&now, ma_extent_table_at(arena, now.generation, begin));
        uintptr_t last = up(&now, ma_extent_table_at(arena, now.generation, end));
        if (first < seen) first = seen;
        if (first < last) sum += ma_os_resident((void *)first, last - first);
        if (first < last) seen = last;
    }
    return sum;
}

/* What was noted as touched, in whole pages. */
static uint64_t touched_bytes(const ma_arena *arena)
{
    uint64_t sum = 0, page = ma_os_page_bytes();
    for (unsigned source = 0; source <= arena->pool.shard_count; source++)
        sum += ma_load_relaxed(&arena->pool.sources[source].touched) & ~(page - 1);
    return sum * arena->spread;
}

/* What is noted as touched and yet not in memory: a TLAB that was not filled, say. That much more is given, or the next
 * reset would take it for an excess and look again; but not much of what is to be kept, for somebody whose blocks are hardly
 * written. */
static uint64_t untouched_bytes(const ma_arena *arena, uint64_t resident, uint64_t keep)
{
    uint64_t touched = touched_bytes(arena), gap = touched > resident ? touched - resident : 0;
    return gap < keep / 8 ? gap : keep / 8;
}

/* Of this source. */
static uint64_t needed_of(const ma_source *source)
{
    uint64_t now = ma_load_relaxed(&source->needed[0]), before = ma_load_relaxed(&source->needed[1]);
    return now > before ? now : before;
}

static void trim_sources(trimming *now, bool spare_needed, bool all)
{
    ma_pool *pool = &now->arena->pool;
    for (unsigned source = pool->shard_count + 1; source-- > 0 && goes_on(now);) {
        uint64_t begin = ma_source_begin(pool, source), end = end_of(now, source, all);
        uint64_t *touched = &pool->sources[source].touched, before = ma_load_relaxed(touched);
        uint64_t least = spare_needed ? needed_of(&pool->sources[source]) : 0;
        now->refused = 0;
        uintptr_t stopped = trim_source(now, source, least, down(now, address_at(now, end)));
        if (stopped < now->refused) stopped = now->refused; /* (somebody has locked it, say: to be tried again) */
        uint64_t left = (stopped - address_at(now, begin)) / now->arena->spread;
        if (left < before) (void)ma_swap_acq_rel(touched, &before, left); /* (or somebody has noted more) */
    }
}

/* Down to `keep` bytes in all; MEMARENA_RETAIN_AUTO: in each source to what is needed there. */
static size_t trim(ma_arena *arena, size_t keep, bool all)
{
    ma_pool *pool = &arena->pool;
    trimming now = {.arena = arena,
                    .generation = ma_load_acquire(&pool->generation),
                    .hungry = ma_load_relaxed(&arena->hungry),
                    .page = ma_os_page_bytes()};
    bool as_needed = keep == MEMARENA_RETAIN_AUTO, has_table = ma_extent_any(arena);
    uint64_t resident = as_needed ? 0 : resident_bytes(&now, all);
    if (resident <= keep && !as_needed && !has_table) return 0;
    now.excess = as_needed ? UINT64_MAX : resident > keep ? resident - keep : 0;
    if (now.excess != 0 && !as_needed && !all) now.excess += untouched_bytes(arena, resident, keep);
    ma_pin pin;
    now.generation = ma_pin_begin(arena, &pin, MA_PIN_TRIM);
    if (!all) trim_sources(&now, true, false); /* what the last generation has needed the next one will */
    if (!as_needed) trim_sources(&now, false, all);
    if (!as_needed) trim_extents(&now); /* (what they are in was claimed in this generation) */
    if (has_table) trim_tables(&now);
    ma_pin_end(&pin);
    return (size_t)now.given;
}

/* ---- What is needed -------------------------------------------------------------------------------------------------- */

/* Counts one generation more. True: another window begins, and what only the one before the last has needed is excess. */
static bool window_ends(ma_arena *arena)
{
    const ma_pool *pool = &arena->pool;
    if ((ma_add_acq_rel(&arena->looks, 1) + 1) % WINDOW != 0) return false;
    for (unsigned source = 0; source <= pool->shard_count; source++) {
        uint64_t *needed = pool->sources[source].needed, last = ma_load_relaxed(&needed[0]);
        while (!ma_swap_acq_rel(&needed[0], &last, 0)) continue; /* (somebody notes a generation) */
        ma_store_relaxed(&needed[1], last);
    }
    return true;
}

static bool has_excess(const ma_arena *arena)
{
    uint64_t touched = 0, needed = 0;
    for (unsigned source = 0; source <= arena->pool.shard_count; source++) {
        touched += ma_load_relaxed(&arena->pool.sources[source].touched);
        needed += needed_of(&arena->pool.sources[source]);
    }
    return touched * arena->spread > (needed + needed / 2) * arena->spread + SLACK_BYTES;
}

/* At least so much has been claimed in the source, less its begin. */
static void note(uint64_t *most, uint64_t bytes)
{
    uint64_t before = ma_load_relaxed(most);
    while (before < bytes && !ma_swap_acq_rel(most, &before, bytes)) continue;
}

void ma_trim_note(ma_arena *arena)
{
    ma_pool *pool = &arena->pool;
    uint64_t generation = ma_load_acquire(&pool->generation);
    for (unsigned index = 0; index <= pool->shard_count; index++) {
        ma_source *source = &pool->sources[index];
        uint64_t begin = ma_source_begin(pool, index);
        uint64_t tip = ma_word_offset(pool->offset_bits, ma_load_acquire(&source->word), generation, begin);
        note(&source->touched, tip - begin);
        if (arena->retain_bytes == MEMARENA_RETAIN_AUTO)
            note(&source->needed[0], tip - begin);
        else
            ma_store_relaxed(&source->needed[0], tip - begin);
    }
}

/* ---- Entry points --------------------------------------------------------------------------------------------------- */

size_t memarena_trim(memarena *handle, size_t keep)
{
    ma_arena *arena = ma_root_of(handle);
    if (!arena->mapping) return 0; /* in a caller's buffer the pages are the caller's */
    (void)ma_fork_check(arena);
    if (keep != MEMARENA_RETAIN_AUTO) return trim(arena, keep, true);
    if (arena->retain_bytes != MEMARENA_RETAIN_AUTO) return 0;
    ma_trim_note(arena);
    (void)window_ends(arena);
    return has_excess(arena) ? trim(arena, keep, false) : 0;
}

size_t memarena_resident_bytes(const memarena *handle)
{
    ma_arena *arena = ma_root_of(handle);
    trimming now = {.arena = arena, .generation = ma_load_acquire(&arena->pool.generation), .page = ma_os_page_bytes()};
    return arena->mapping ? (size_t)resident_bytes(&now, true) : 0;
}

void ma_trim_after(ma_arena *arena)
{
    if (arena->retain_bytes == MEMARENA_RETAIN_AUTO) {
        if (window_ends(arena) && has_excess(arena)) (void)trim(arena, MEMARENA_RETAIN_AUTO, false);
    } else if (touched_bytes(arena) > arena->retain_bytes) {
        (void)trim(arena, arena->retain_bytes, false);
    }
}
