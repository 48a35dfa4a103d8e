/* MEMARENA_TRAP_STALE: after a reset the old addresses fault.
 *
 * The arena has reserved its blocks' addresses several times over, as *windows*, of which only that of the present
 * generation can be touched:
 *
 *     | bookkeeping | window 0 | window 1 | window 2 | ... |       generation g: window g modulo their number
 *                     ------- pages ---->                           a reset moves them on to the next window
 *
 * So a stale pointer faults until its window comes round again, some 60 resets later. Memory stays as warm as it was: pages
 * are moved, not copied, and by whole page tables at that. Nothing is added to an allocation: offsets are those of any
 * arena, and each generation has its own base.
 *
 * The pages must have moved before anybody is given a block of the next generation, so here others wait for a reset
 * that has closed a generation (see step.c). A fork may lose its thread half way; the child then takes new pages. */
#include "generation.h"

#include "../platform/os.h"

/* The arenas that a fault may be in are named in the register, for all copies of the library; more than these are trapped, too, but
 * not named. [trap-1] */
#define NAMED_MAX MA_PROCESS_NAMED

static void *window_of(const ma_arena *arena, uint64_t generation)
{
    return (void *)ma_pool_base(&arena->pool, generation);
}

/* Of a window, those that have blocks. */
static size_t moved_bytes(const ma_arena *arena)
{
    size_t page = ma_os_page_bytes();
    return (arena->capacity + page - 1) & ~(page - 1);
}

/* Only the first window can be touched so far. */
bool ma_trap_begin(ma_arena *arena, unsigned windows, size_t window_bytes)
{
    size_t bytes = moved_bytes(arena);
    arena->pool.window_mask = windows - 1;
    arena->pool.window_bytes = window_bytes;
    /* Rather here than at the first reset: whether pages can be moved. */
    if (!ma_os_move(window_of(arena, 0), window_of(arena, 1), bytes) || !ma_os_forbid(window_of(arena, 0), bytes)) {
        errno = errno == ENOMEM ? ENOMEM : EINVAL;
        return false;
    }
    for (unsigned i = 0; i < NAMED_MAX; i++) {
        if (ma_swap_address_seq_cst(&ma_process()->named[i], 0, (uintptr_t)arena)) break; /* [trap-1] */
    }
    return true;
}

void ma_trap_end(const ma_arena *arena)
{
    for (unsigned i = 0; i < NAMED_MAX && ma_traps(arena); i++)
        if (ma_swap_address_seq_cst(&ma_process()->named[i], (uintptr_t)arena, 0)) break; /* [trap-1] */
}

/* Without room in the system's tables for the move: new pages. */
void ma_trap_move(const ma_arena *arena, uint64_t generation, bool lost)
{
    void *from = window_of(arena, generation), *to = window_of(arena, generation + 1);
    size_t bytes = moved_bytes(arena);
    if (lost || !ma_os_move(from, to, bytes)) {
        (void)ma_os_permit(to, bytes); /* as it is, but for what a lost thread has left */
        (void)ma_os_discard(from, bytes);
    }
    if (!ma_os_renew(from, bytes, false)) (void)ma_os_forbid(from, bytes);
}

bool ma_trap_prepare(const ma_arena *arena, uint64_t generation)
{
    return ma_os_renew(window_of(arena, generation + 1), moved_bytes(arena), true);
}

/* ---- The report of a fault --------------------------------------------------------------------------------------- */

static char *put(char *at, char *end, const char *text)
{
    while (*text && at < end) *at++ = *text++;
    return at;
}

static char *put_number(char *at, char *end, uint64_t number, unsigned base)
{
    char digits[24], *first = digits + sizeof digits;
    *--first = 0;
    do *--first = "0123456789abcdef"[number % base];
    while ((number /= base) != 0);
    return put(at, end, first);
}

/* Async-signal-safe. */
static void say(const ma_arena *arena, uintptr_t address, uint64_t died, uint64_t now)
{
    char line[256], *at = line, *end = line + sizeof line - 1;
    at = put_number(put(at, end, "memarena: stale pointer 0x"), end, address, 16);
    at = put(put(at, end, ": arena "), end, arena->name[0] ? arena->name : "without a name");
    at = put_number(put(at, end, ", generation "), end, died, 10);
    at = put_number(put(at, end, " was reset; it is in generation "), end, now, 10);
    *at++ = '\n';
    ma_os_say(line, (size_t)(at - line));
}

static void explain(uintptr_t address)
{
    for (unsigned i = 0; i < NAMED_MAX; i++) {
        const ma_arena *arena = (const ma_arena *)ma_load_acquire(&ma_process()->named[i]); /* [trap-1] */
        if (!arena) continue;
        uintptr_t offset = address - arena->pool.base, window = offset / arena->pool.window_bytes;
        uint64_t now = ma_load_acquire(&arena->pool.generation);
        uint64_t back = (now - window) & arena->pool.window_mask;
        if (window <= arena->pool.window_mask && back != 0 && back < now) say(arena, address, now - back, now);
    }
}

bool memarena_explain_faults(void)
{
    return ma_os_watch_faults(explain);
}
