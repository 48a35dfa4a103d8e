/* The beginning and the end of an arena: options, geometry, memory. */
#include "../feature/trim.h"
#include "../platform/os.h"
#include "../scope/extent.h"
#include "../scope/scope.h"
#include "../supply/watch.h"
#include "entry.h"

#include <errno.h>
#include <string.h>

#define FLAGS_KNOWN (MEMARENA_HUGE_PAGES | MEMARENA_PREFAULT | MEMARENA_PER_CPU | MEMARENA_TRAP_STALE)

/* With lanes: below this a TLAB would be under MA_TLAB_MIN even for a favoured lane. */
#define LANES_MIN_CAPACITY ((uint64_t)MA_FAVOURED_SHARE * MA_TLAB_MIN)
/* A caller's buffer gives at most 1/8 of itself, or 1 KiB where that is more, to bookkeeping. */
#define BUFFER_SHARE 8u
#define BUFFER_LEAST 1024u

/* The default capacity, at least: where the address space does not hold the machine's memory it is halved down to this. */
#define LEAST_BY_DEFAULT ((size_t)1 << 20)

/* All arenas of capacity 0 together leave the rest of the program half of the address space: the n-th that lives reserves at
 * most 1/8n of what the others leave of the other half. */
#define DEFAULTS_SPACE ((uint64_t)1 << 46)
#define DEFAULTS_SHARE 8u
static _Alignas(8) uint64_t defaults_count, defaults_bytes; /* those that live; only estimates hang on them */

/* How far behind the start of a page an arena from the OS lies, at least. glibc puts what a sequence of the main thread
 * writes to 0x60 to 0x7f bytes behind one; in 1 of 20 processes a CPU then took the arena's words at the same distance
 * for these, and each block cost twice as much. */
#define OFF_THE_PAGE (2 * (uintptr_t)MA_CACHE_PAIR)

/* Of an arena without lanes: the only source, and the only cache of extents in the room that the source leaves of its lines. */
#define SOURCE_OFFSET (4 * (size_t)MA_CACHE_PAIR)
#define CACHE_OFFSET (SOURCE_OFFSET + sizeof(ma_source) / 2)
static_assert(sizeof(ma_arena) <= SOURCE_OFFSET, "they lie behind the arena");
static_assert(offsetof(ma_source, place) + 2 * sizeof(void *) <= sizeof(ma_source) / 2, "it fits");
static_assert(sizeof(ma_extent_cache) <= sizeof(ma_source) / 2, "it fits");

/* Where everything goes, as distances from the start of the memory. */
typedef struct layout {
    bool has_lanes;
    unsigned cpu_lanes, unit_shift, class_count, stripes;
    uint64_t units;
    size_t arena, sources, cpus, caches, stacks, links, blocks;
} layout;

/* Lays out an arena that may start at `address` and has at most `capacity` bytes for blocks, `spread` as far apart as
 * that. Lanes are wanted at multiples of 128, the arena with bit 6 set or
 * clear, the blocks at a multiple of `block_alignment`. */
static layout lay_out(uintptr_t address, bool has_lanes, unsigned cpu_lanes, size_t block_alignment, uint64_t capacity,
                      unsigned spread)
{
    uintptr_t pair = MA_CACHE_PAIR - 1, half = MA_CACHE_PAIR / 2, block_slack = block_alignment - 1;
    uintptr_t arena = (address & ~pair) + (has_lanes ? half : 0);
    if (arena < address) arena += MA_CACHE_PAIR;
    if (has_lanes && block_alignment > MA_GRAIN) arena += OFF_THE_PAGE;
    uintptr_t sources = arena + (has_lanes ? MA_SOURCES_OFFSET : SOURCE_OFFSET);
    uintptr_t cpus = sources + sizeof(ma_source) * (has_lanes ? MA_SHARDS + 1 : 1);
    uintptr_t caches = cpus + (has_lanes ? cpu_lanes * (uintptr_t)MA_LANE_BYTES : 0);
    uintptr_t stacks = caches + (has_lanes ? sizeof(ma_extent_cache) * (MA_LANES + 1) : 0);
    if (!has_lanes) caches = arena + CACHE_OFFSET;
    layout at = {.has_lanes = has_lanes,
                 .cpu_lanes = has_lanes ? cpu_lanes : 0,
                 .stripes = has_lanes && block_alignment > MA_GRAIN ? MA_EXTENT_STRIPES : 1,
                 .unit_shift = ma_extent_unit_shift(capacity * spread)};
    at.class_count = ma_extent_class_count(capacity, at.unit_shift);
    uintptr_t links = stacks + sizeof(uint64_t) * at.class_count * at.stripes;
    /* One link for each unit of the blocks; they may start and end within one. */
    uint64_t units = (capacity * spread >> at.unit_shift) + 2;
    at.units = units;
    uintptr_t blocks = (links + (uintptr_t)(sizeof(ma_extent_link) * units) + block_slack) & ~block_slack;
    at.arena = arena - address, at.sources = sources - address, at.cpus = cpus - address, at.caches = caches - address;
    at.stacks = stacks - address, at.links = links - address, at.blocks = blocks - address;
    return at;
}

/* As many as CPUs; 0 where threads cannot bump them, or a tool that looks for races is not told when they do. */
static unsigned cpu_lanes(void)
{
    unsigned numbers = !ma_race_tool_is_there() && ma_rseq_is_there() ? ma_rseq_numbers() : 0;
    return numbers < MA_CPU_LANES_MAX ? numbers : MA_CPU_LANES_MAX;
}

static uint32_t tlab_limit(uint64_t capacity, size_t tlab_bytes, unsigned share)
{
    uint64_t limit = capacity / share < tlab_bytes ? capacity / share & ~(uint64_t)(MA_TLAB_MIN - 1) : tlab_bytes;
    return (uint32_t)(limit < MA_TLAB_MIN ? 0 : limit);
}

/* Fills in an arena in zeroed memory at `memory`, with room for `capacity` bytes of blocks (spread, if watched). */
static ma_arena *set_up(char *memory, const layout *at, size_t capacity, unsigned spread,
                        const memarena_options *options)
{
    ma_arena *arena = (ma_arena *)(void *)(memory + at->arena);
    ma_source *sources = (ma_source *)(void *)(memory + at->sources);
    size_t tlab_bytes = options->tlab_bytes ? options->tlab_bytes : MA_TLAB_DEFAULT;
    ma_pool_init(&arena->pool, sources, at->has_lanes, (uintptr_t)memory + at->blocks, capacity);
    arena->kind = MA_KIND_ARENA;
    arena->extents = (ma_extents){.caches = (void *)(memory + at->caches),
                                  .stacks = (void *)(memory + at->stacks),
                                  .links = (void *)(memory + at->links),
                                  .origin = arena->pool.base & ~(((uintptr_t)1 << at->unit_shift) - 1),
                                  .unit_shift = at->unit_shift,
                                  .class_count = at->class_count,
                                  .stripes = at->stripes,
                                  .index_mask = ma_extent_index_mask(at->units)};
    arena->deferred = ma_deferred_start(arena->pool.generation);
    arena->shared = ma_process();
    arena->number = arena->shared->number;
    arena->process = ma_process_number(arena->shared);
    arena->pins = arena->process << MA_PIN_PROCESS_SHIFT;
    arena->capacity = (size_t)arena->pool.capacity;
    arena->has_lanes = at->has_lanes;
    arena->tlab_limit[0] = tlab_limit(capacity, tlab_bytes, MA_FAVOURED_SHARE);
    arena->tlab_limit[1] = tlab_limit(capacity, tlab_bytes, MA_COMMON_SHARE);
    arena->cpus = (ma_rseq_cpus){.first = memory + at->cpus, .count = at->cpu_lanes};
    if (at->cpu_lanes) ma_rseq_find(&arena->cpus);
    if (at->cpu_lanes) arena->tlab_limit[2] = tlab_limit(capacity, tlab_bytes, MA_CPU_SHARE * at->cpu_lanes);
    if (arena->tlab_limit[2] == 0) arena->cpus.count = 0;
    if (options->flags & MEMARENA_PER_CPU && arena->cpus.count) arena->kind = MA_KIND_PER_CPU;
    arena->spread = spread;
    arena->watch = ma_watch_find();
    arena->on_oom = options->on_oom;
    arena->on_oom_context = options->on_oom_context;
    if (options->name) strncpy(arena->name, options->name, sizeof arena->name - 1);
    if (arena->pool.told) ma_race_tell_ours(arena, arena->pool.base - (uintptr_t)arena, true);
    ma_fork_watch(arena);
    return arena;
}

/* The inline code adds up to 128 KiB to a cursor before it compares: no lane may lie where that wraps. */
static bool near_the_end(uintptr_t memory, size_t bytes)
{
    return memory + bytes > UINTPTR_MAX - ((uintptr_t)1 << 20);
}

/* ---- In a caller's buffer ------------------------------------------------------------------------------------- */

static memarena *create_in_buffer(const memarena_options *options)
{
    char *memory = options->buffer;
    size_t bytes = options->capacity, budget = bytes / BUFFER_SHARE;
    if (budget < BUFFER_LEAST) budget = BUFFER_LEAST;
    budget -= (size_t)MA_GRAIN - 1; /* capacities are whole grains */
    /* Only if they are asked for: how many there are the system has to be asked. */
    unsigned cpus = options->flags & MEMARENA_PER_CPU ? cpu_lanes() : 0;
    layout at = lay_out((uintptr_t)memory, true, cpus, MA_GRAIN, bytes, 1);
    if (at.blocks > budget) at = lay_out((uintptr_t)memory, true, 0, MA_GRAIN, bytes, 1);
    if (at.blocks > budget || ma_watch_find() != MA_WATCH_NONE || near_the_end((uintptr_t)memory, bytes))
        at = lay_out((uintptr_t)memory, false, 0, MA_GRAIN, bytes, 1);
    if (at.blocks > bytes || bytes - at.blocks < MA_GRAIN || bytes > UINTPTR_MAX - (uintptr_t)memory) {
        errno = EINVAL;
        return NULL;
    }
    memset(memory, 0, at.blocks);
    ma_arena *arena = set_up(memory, &at, bytes - at.blocks, 1, options);
    ma_watch_begin(arena);
    return &arena->tlab;
}

/* ---- In memory from the OS ------------------------------------------------------------------------------------- */

/* What is reserved. */
typedef struct plan {
    bool has_lanes;
    unsigned spread, windows; /* 1 unless stale pointers are trapped */
    size_t block_alignment;
    size_t slack; /* huge pages need some to move the blocks to one of theirs, a watched arena a guard before them */
} plan;

static uint64_t window_bytes(const plan *as, size_t capacity)
{
    uint64_t align = as->block_alignment - 1, bytes = (uint64_t)capacity * as->spread;
    return as->windows > 1 ? (bytes + align) & ~align : bytes;
}

/* Reserves room for the layout and the blocks. The layout is computed for a page boundary, where the memory will lie. */
static char *reserve(const plan *as, size_t capacity, size_t *mapped)
{
    uint64_t blocks = capacity;
    if (blocks > MA_CAPACITY_MAX || blocks * as->spread > SIZE_MAX / 2) return NULL;
    uint64_t bytes = window_bytes(as, capacity) * as->windows + as->slack +
                     lay_out(0, as->has_lanes, cpu_lanes(), as->block_alignment, blocks, as->spread).blocks;
    if (bytes > SIZE_MAX) return NULL;
    *mapped = (size_t)bytes;
    return ma_os_reserve(*mapped);
}

/* In the system's list of mappings, which anybody may read who looks at the process. */
static void show_name(const ma_arena *arena)
{
    char name[10 + sizeof arena->name] = "memarena: ";
    if (arena->name[0])
        memcpy(name + 10, arena->name, sizeof arena->name);
    else
        name[8] = 0;
    ma_os_name(arena->mapping, arena->mapping_bytes, name);
}

static bool apply_flags(const ma_arena *arena, unsigned flags)
{
    void *blocks = (void *)ma_pool_base(&arena->pool, 1);
    size_t bytes = arena->capacity * arena->spread;
    if (flags & MEMARENA_HUGE_PAGES && !ma_os_use_huge_pages(blocks, bytes)) return false;
    /* A touch may bring in a huge page where that is the system's default. */
    if (ma_counts_kept_bytes(arena) && !(flags & MEMARENA_HUGE_PAGES)) ma_os_use_small_pages(blocks, bytes);
    return !(flags & MEMARENA_PREFAULT) || ma_os_commit(blocks, bytes);
}

/* What may be touched: all of it, or of several windows the first, and what lies before it. */
static bool open_memory(const plan *as, size_t capacity, char *memory, size_t mapped)
{
    if (as->windows > 1)
        mapped =
            lay_out((uintptr_t)memory, as->has_lanes, cpu_lanes(), as->block_alignment, capacity, 1).blocks + capacity;
    return ma_os_open(memory, mapped);
}

/* Of reservations that might succeed the one to try next: what is a luxury goes first. False: there is none. */
static bool ask_for_less(plan *as, const memarena_options *options, size_t *capacity, bool has_space)
{
    if (as->windows > 2 && !has_space) {
        as->windows /= 2;
    } else if (as->spread > 1) {
        as->spread = 1; /* no red zones */
    } else if (options->capacity == 0 && *capacity > LEAST_BY_DEFAULT) {
        *capacity = *capacity / 2 & ~(size_t)4095;
    } else {
        return false;
    }
    return true;
}

static char *reserve_what_there_is(plan *as, const memarena_options *options, size_t *capacity, size_t *mapped)
{
    size_t wanted = *capacity;
    for (bool leaves_half = false;;) {
        char *memory = reserve(as, *capacity, mapped);
        bool is_open = memory && open_memory(as, *capacity, memory, *mapped);
        if (is_open && (*capacity == wanted || leaves_half)) return memory;
        if (memory) ma_os_release(memory, *mapped);
        if (leaves_half || (!is_open && !ask_for_less(as, options, capacity, memory != NULL))) return NULL;
        if (!is_open) continue;
        leaves_half = true; /* the rest of the program needs address space, too: half of what there was */
        *capacity = *capacity / 2 & ~(size_t)4095;
    }
}

/* What an arena of capacity 0 may reserve. The first gets the machine's memory, and where addresses have 32 bits each asks for
 * what there is. */
static uint64_t default_space(void)
{
    uint64_t count = ma_load_relaxed(&defaults_count), taken = ma_load_relaxed(&defaults_bytes);
    if (sizeof(void *) < 8 || count == 0) return UINT64_MAX;
    return taken < DEFAULTS_SPACE ? (DEFAULTS_SPACE - taken) / (DEFAULTS_SHARE * (count + 1)) : 0;
}

static size_t default_capacity(uint64_t space)
{
    uint64_t physical = ma_os_physical_bytes(), most = physical < MA_CAPACITY_MAX ? physical : MA_CAPACITY_MAX;
    if (most > space) most = space;
    return (size_t)(most > LEAST_BY_DEFAULT ? most : LEAST_BY_DEFAULT) & ~(size_t)4095;
}

static void count_default(const ma_arena *arena, uint64_t one, uint64_t bytes)
{
    if (!arena->by_default) return;
    ma_count_shared(&defaults_count, one);
    ma_count_shared(&defaults_bytes, bytes);
}

static memarena *create_from_os(const memarena_options *options)
{
    bool watched = ma_watch_find() != MA_WATCH_NONE, huge = options->flags & MEMARENA_HUGE_PAGES;
    /* What is watched is reported anyway; and Valgrind cannot move pages. */
    bool traps = options->flags & MEMARENA_TRAP_STALE && !watched && !ma_watch_simulates();
    uint64_t space = options->capacity ? UINT64_MAX : default_space(),
             most = MA_TRAP_SPACE < space ? MA_TRAP_SPACE : space;
    size_t capacity = options->capacity ? options->capacity : default_capacity(space), mapped = 0;
    /* (Page tables move as a whole between addresses that are multiples of a huge page.) */
    size_t block_alignment = huge || traps ? MA_OS_HUGE_PAGE : ma_os_page_bytes(),
           guard = watched ? block_alignment : 0;
    plan as = {.has_lanes = !watched && capacity >= LANES_MIN_CAPACITY,
               .spread = watched ? MA_WATCH_SPREAD : 1,
               .windows = traps ? MA_TRAP_WINDOWS : 1,
               .block_alignment = block_alignment,
               .slack = guard + (huge || traps ? 2 * MA_OS_HUGE_PAGE : 0)};
    while (as.windows > 2 && window_bytes(&as, capacity) > most / as.windows) as.windows /= 2;
    char *memory = reserve_what_there_is(&as, options, &capacity, &mapped);
    if (!memory) {
        errno = ENOMEM;
        return NULL;
    }
    as.has_lanes = as.has_lanes && !near_the_end((uintptr_t)memory, mapped);
    layout at = lay_out((uintptr_t)memory, as.has_lanes, cpu_lanes(), block_alignment, capacity, as.spread);
    at.blocks += guard;
    ma_arena *arena = set_up(memory, &at, capacity, as.spread, options);
    arena->mapping = memory;
    arena->mapping_bytes = mapped;
    arena->retain_bytes = options->retain_bytes;
    arena->prefaulted = options->flags & MEMARENA_PREFAULT;
    arena->by_default = options->capacity == 0;
    show_name(arena);
    if ((traps && !ma_trap_begin(arena, as.windows, (size_t)window_bytes(&as, capacity))) ||
        !apply_flags(arena, options->flags)) {
        ma_trap_end(arena);
        ma_os_release(memory, mapped);
        return NULL;
    }
    ma_watch_begin(arena);
    count_default(arena, 1, mapped);
    return &arena->tlab;
}

/* ---- Entry points ------------------------------------------------------------------------------------------------ */

static bool is_sound(const memarena_options *options)
{
    if (!options || options->flags & ~FLAGS_KNOWN) return false;
    size_t tlab = options->tlab_bytes;
    if (tlab && (tlab < MA_TLAB_MIN || tlab > MA_TLAB_MAX || !ma_is_power_of_two(tlab))) return false;
    if (!ma_is_unused(options->reserved)) return false;
    /* A buffer makes no system call, so it cannot ask for pages; and its size must be given. */
    return !options->buffer ||
           ((options->flags & ~MEMARENA_PER_CPU) == 0 && options->capacity != 0 && options->retain_bytes == 0);
}

memarena *memarena_create_with(const memarena_options *options)
{
    if (!is_sound(options)) {
        errno = EINVAL;
        return NULL;
    }
    int saved = errno, state = ma_os_cancel_off(); /* the system is asked what there is, and may refuse some of it */
    memarena *arena = options->buffer ? create_in_buffer(options) : create_from_os(options);
    ma_os_cancel_as_before(state);
    if (arena) errno = saved;
    return arena;
}

memarena *memarena_create(size_t capacity)
{
    return memarena_create_with(&(memarena_options){.capacity = capacity});
}

static void destroy_arena(ma_arena *arena)
{
    uint64_t open = MA_DEBUG ? ma_open_scopes(arena) : 0;
    if (open)
        ma_misuse("arena %p (%s) is destroyed while %llu of its scopes are open; end them first", (void *)arena,
                  arena->name[0] ? arena->name : "without a name", (unsigned long long)open);
    (void)ma_fork_check(arena);
    ma_defer_run_all(arena);
    ma_watch_end(arena);
    if (arena->pool.told) ma_race_tell_ours(arena, arena->pool.base - (uintptr_t)arena, false);
    ma_trap_end(arena);
    count_default(arena, (uint64_t)-1, 0 - (uint64_t)arena->mapping_bytes);
    if (arena->mapping) ma_os_release(arena->mapping, arena->mapping_bytes);
}

void memarena_destroy(memarena *handle)
{
    if (!handle) return;
    if (ma_is_scope(handle))
        ma_scope_end((ma_scope *)handle);
    else if (ma_arena_of(handle)->kind != MA_KIND_ENDED)
        destroy_arena(ma_arena_of(handle));
}
