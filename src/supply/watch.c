/* Watched arenas: every block takes the slow road, lies alone, and dies visibly.
 *
 * A watched arena has no lanes and one source. Its accounts run over offsets exactly as in an unwatched one, but offset
 * n lies at address base + 3 n: each block is followed by a red zone of twice its size, whatever its size, and the
 * capacity in bytes, the fill to the last byte and the accounts stay what they are without a sanitizer. Memory from the
 * OS is reserved threefold for this. A caller's buffer has no room: there the distance is 1, without red zones.
 *
 * All memory below a mark is forbidden before a block is claimed there, and again by each reset; an allocation only
 * permits its own block. So one that is late, because a reset passed between its claim and its marks, can hide an error
 * in the next generation, but cannot make a sound program look wrong.
 *
 * Given up: speed, and the constant-time reset (the shadow of the used part is written). And an allocation that needs
 * memory beyond the mark waits a while for another thread that is moving it. */
#include "watch.h"

#include "../base/lease.h"
#include "../platform/os.h"

#include <sched.h>

static_assert(MA_WATCH_SPREAD * MA_WATCH_INVERSE == 1, "not the inverse");

/* How far the mark moves at least, and how often a thread looks whether another has moved it. */
#define MARK_STEP ((uint64_t)64 << 10)
#define YIELDS 1000
#define NAPS 50
#define NAP_NS 1000000

static ma_source *only_source(const ma_arena *arena)
{
    return &arena->pool.sources[0];
}

static uintptr_t watched_address(const ma_arena *arena, uint64_t offset)
{
    return arena->pool.base + (uintptr_t)(offset * arena->spread);
}

static void forbid(const ma_arena *arena, uintptr_t begin, uintptr_t end)
{
    if (arena->watch == MA_WATCH_ASAN) __asan_poison_memory_region((void *)begin, end - begin);
    if (arena->watch == MA_WATCH_MEMCHECK) (void)VALGRIND_MAKE_MEM_NOACCESS(begin, end - begin);
}

/* Memcheck then also reports a read before the first write. */
static void permit(const ma_arena *arena, uintptr_t begin, uintptr_t end)
{
    if (arena->watch == MA_WATCH_ASAN) __asan_unpoison_memory_region((void *)begin, end - begin);
    if (arena->watch == MA_WATCH_MEMCHECK) (void)VALGRIND_MAKE_MEM_UNDEFINED(begin, end - begin);
}

/* As it was before it was forbidden. What had not been written yet then passes for written. */
static void define(const ma_arena *arena, uintptr_t begin, uintptr_t end)
{
    permit(arena, begin, end);
    if (arena->watch == MA_WATCH_MEMCHECK) (void)VALGRIND_MAKE_MEM_DEFINED(begin, end - begin);
}

ma_watch ma_watch_find(void)
{
    return MA_HAVE_ASAN ? MA_WATCH_ASAN : MA_HAVE_MEMCHECK ? MA_WATCH_MEMCHECK : MA_WATCH_NONE;
}

bool ma_watch_simulates(void)
{
    return MA_HAVE_VALGRIND;
}

void ma_watch_begin(ma_arena *arena)
{
    if (arena->watch == MA_WATCH_NONE) return;
    /* The first guard, or all of a caller's buffer: its size bounds the cost, unlike that of a reserved range. */
    if (arena->mapping) {
        forbid(arena, arena->pool.base - MA_WATCH_GUARD, arena->pool.base);
    } else {
        forbid(arena, arena->pool.base, watched_address(arena, arena->pool.capacity));
        arena->watch_claimed = arena->watch_mark = arena->pool.capacity;
    }
}

static void wait_for_mark(const ma_arena *arena, uint64_t end)
{
    for (int n = 0; n < YIELDS + NAPS && ma_load_acquire(&arena->watch_mark) < end; n++) {
        if (n < YIELDS)
            (void)sched_yield();
        else
            ma_os_nap(NAP_NS);
    }
}

/* In a child of fork nobody finishes the stretches that lost threads were at: blocks there go without waiting, and what is not
 * forbidden yet is at the next reset. */
void ma_watch_repair(ma_arena *arena)
{
    uint64_t claimed = ma_load_acquire(&arena->watch_claimed), mark = ma_load_acquire(&arena->watch_mark);
    while (mark < claimed && !ma_swap_acq_rel(&arena->watch_mark, &mark, claimed)) continue;
}

/* Forbids all up to `end` that has never been. Each stretch by one thread, before any block is claimed in it. */
static void move_mark(ma_arena *arena, uint64_t end)
{
    uint64_t begin = ma_load_acquire(&arena->watch_claimed);
    while (begin < end) {
        uint64_t step = begin + MARK_STEP > end ? begin + MARK_STEP : end;
        if (step > arena->pool.capacity) step = arena->pool.capacity;
        if (!ma_swap_acq_rel(&arena->watch_claimed, &begin, step)) continue;
        forbid(arena, watched_address(arena, begin), watched_address(arena, step));
        wait_for_mark(arena, begin);
        ma_store_release(&arena->watch_mark, step);
        return;
    }
    wait_for_mark(arena, end);
}

/* Claims so many bytes and accounts them, with (`whole`) or without what lies before them for their alignment: how many
 * are accounted, 0: no room. */
static uint64_t claim_watched(ma_arena *arena, uint64_t bytes, uint64_t alignment, bool whole, uintptr_t *address)
{
    uint64_t *field = &only_source(arena)->word, word = ma_load_acquire(field);
    unsigned offset_bits = arena->pool.offset_bits;
    for (;;) {
        uint64_t generation = ma_load_acquire(&arena->pool.generation);
        uint64_t begin = ma_word_offset(offset_bits, word, generation, 0);
        uint64_t offset = ma_watch_align(arena->pool.base, arena->spread, begin, alignment);
        if (offset < begin || offset > arena->pool.capacity || bytes > arena->pool.capacity - offset) return 0;
        if (ma_load_acquire(&arena->watch_mark) < offset + bytes) move_mark(arena, offset + bytes);
        if (!ma_swap_acq_rel(field, &word, ma_word_make(offset_bits, generation, offset + bytes))) continue;
        *address = watched_address(arena, offset);
        uint64_t taken = offset + bytes - (whole ? begin : offset);
        ma_pool_account(&arena->pool, 0, generation, taken);
        return taken;
    }
}

uint64_t ma_watch_alloc(ma_arena *arena, size_t size, uint64_t alignment, uintptr_t *block)
{
    uint64_t taken = claim_watched(arena, ma_round_grain(size), alignment, true, block);
    if (taken) permit(arena, *block, *block + size);
    return taken;
}

bool ma_watch_claim(ma_arena *arena, uint64_t bytes, uint64_t alignment, uintptr_t *begin)
{
    return claim_watched(arena, bytes, alignment, false, begin) != 0;
}

void ma_watch_forbid(const ma_arena *arena, uintptr_t begin, uint64_t bytes)
{
    if (arena->watch != MA_WATCH_NONE) forbid(arena, begin, begin + (uintptr_t)bytes * arena->spread);
}

void ma_watch_forbid_part(const ma_arena *arena, uintptr_t begin, size_t size)
{
    if (arena->watch != MA_WATCH_NONE) forbid(arena, begin, begin + size);
}

void ma_watch_permit(const ma_arena *arena, uintptr_t begin, size_t size)
{
    if (arena->watch != MA_WATCH_NONE) permit(arena, begin, begin + size);
}

/* Frees [to, from), which is forbidden already, if that is the end of what has been claimed. */
static bool cut(ma_arena *arena, uint64_t from, uint64_t to)
{
    uint64_t generation = ma_load_acquire(&arena->pool.generation);
    if (!ma_lane_has_seen(arena, generation) || !ma_pool_move_tip(&arena->pool, generation, from, to)) return false;
    ma_pool_account(&arena->pool, 0, generation, to - from);
    return true;
}

bool ma_watch_drop(ma_arena *arena, uintptr_t block, size_t size)
{
    uint64_t offset = (block - arena->pool.base) / arena->spread, end = offset + ma_round_grain(size);
    uint64_t generation = ma_load_acquire(&arena->pool.generation), word = ma_load_acquire(&only_source(arena)->word);
    if (ma_word_offset(arena->pool.offset_bits, word, generation, 0) != end) return false;
    forbid(arena, block, block + size);
    if (cut(arena, end, offset)) return true;
    define(arena, block, block + size);
    return false;
}

bool ma_watch_resize(ma_arena *arena, uintptr_t block, size_t old_size, size_t new_size)
{
    uint64_t offset = (block - arena->pool.base) / arena->spread;
    uint64_t from = offset + ma_round_grain(old_size), to = offset + ma_round_grain(new_size);
    uint64_t generation = ma_load_acquire(&arena->pool.generation);
    if (to <= from) {
        if (new_size > old_size) permit(arena, block + old_size, block + new_size);
        forbid(arena, block + new_size, watched_address(arena, from));
        if (to < from) (void)cut(arena, from, to);
        return true;
    }
    if (ma_load_acquire(&arena->watch_mark) < to) move_mark(arena, to);
    if (!ma_pool_move_tip(&arena->pool, generation, from, to)) return false;
    ma_pool_account(&arena->pool, 0, generation, to - from);
    permit(arena, block + old_size, block + new_size); /* what stays must stay as it is: only what is new */
    forbid(arena, block + new_size, watched_address(arena, to));
    return true;
}

void ma_watch_reset(ma_arena *arena)
{
    if (arena->watch == MA_WATCH_NONE) return;
    uint64_t generation = ma_load_acquire(&arena->pool.generation);
    uint64_t used = ma_word_offset(arena->pool.offset_bits, ma_load_acquire(&only_source(arena)->word), generation, 0);
    forbid(arena, arena->pool.base, watched_address(arena, used));
}

void ma_watch_end(ma_arena *arena)
{
    if (arena->watch == MA_WATCH_NONE) return;
    /* AddressSanitizer keeps the shadow of unmapped memory: it must be clean for whoever is given the range next. */
    permit(arena, arena->pool.base - (arena->mapping ? MA_WATCH_GUARD : 0),
           watched_address(arena, arena->watch_claimed));
}
