#include "weak.h"

#include "test.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

void test_yield(void);

/* ---- What is known ---------------------------------------------------------------------------------------------- */

#define LOCATIONS 1024u
#define TABLE (4 * LOCATIONS)
#define STORES 12u /* that a location remembers; older ones are found by nobody any more */
#define STEP ((uint64_t)1 << 32)

/* For each location the oldest store that may still be found, by its place in the modification order; for each thread how
 * much of what it did happened before. */
typedef struct view {
    uint32_t clock[WEAK_THREADS];
    unsigned known; /* locations from here on: any store */
    uint64_t seen[LOCATIONS];
} view;

typedef struct store {
    uint64_t place, value;
    view *released; /* what an acquire load of it gets to know; NULL: nothing */
    unsigned by;    /* WEAK_THREADS: nobody, or a read-modify-write */
    bool taken;     /* the next one is a read-modify-write of this one: nothing comes between */
} store;

typedef struct location {
    void *address;
    uint64_t seq_cst; /* the place that sequentially consistent accesses have come to */
    unsigned size, count;
    store stores[STORES]; /* in modification order; memory holds the last */
} location;

unsigned weak_thread;
static view threads[WEAK_THREADS];
static location locations[LOCATIONS];
static unsigned location_count;
static uint16_t table[TABLE]; /* of numbers of locations, from 1 */
static unsigned long long random_state = 1;

/* One choice in `of`. The director makes none. */
static bool chance(unsigned of)
{
    return weak_thread != 0 && (test_random(&random_state) >> 32) % of == 0;
}

static void know_all(view *one)
{
    memset(one->seen + one->known, 0, (location_count - one->known) * sizeof *one->seen);
    one->known = location_count;
}

static void learn(view *into, const view *from)
{
    know_all(into);
    for (unsigned i = 0; i < from->known; i++)
        if (into->seen[i] < from->seen[i]) into->seen[i] = from->seen[i];
    for (unsigned i = 0; i < WEAK_THREADS; i++)
        if (into->clock[i] < from->clock[i]) into->clock[i] = from->clock[i];
}

static bool is_on; /* between weak_begin and weak_end */

void weak_join(unsigned into, unsigned from)
{
    if (!is_on) return;
    learn(&threads[into], &threads[from]);
    threads[from].clock[from]++;
}

void weak_time_passes(void)
{
    if (!is_on) return;
    know_all(&threads[weak_thread]);
    for (unsigned i = 0; i < location_count; i++)
        threads[weak_thread].seen[i] = locations[i].stores[locations[i].count - 1].place;
}

/* ---- Races ------------------------------------------------------------------------------------------------------ */

/* Of each fourth byte that an access has, in this play: when each thread last read and wrote it, by its own clock. */
typedef struct byte {
    unsigned play;
    uint32_t at[4][WEAK_THREADS]; /* by kind of access */
} byte;

static unsigned play;
static uintptr_t watched_begin, watched_bytes;
static byte *watched; /* one for each byte from begin to end */

enum { READS = 0, WRITES = 1, ATOMICALLY = 2 };
static const char *const kinds[] = {"read", "write", "atomic load", "atomic store"};

/* Two accesses race if neither happens before the other, one of them writes and one is plain. */
static void check_race(const byte *one, unsigned earlier, unsigned kind, const void *address)
{
    if (!((earlier | kind) & WRITES) || earlier & kind & ATOMICALLY) return;
    for (unsigned i = 0; i < WEAK_THREADS; i++) {
        if (i == weak_thread || one->at[earlier][i] <= threads[weak_thread].clock[i]) continue;
        fprintf(stderr, "weak: a race at %p: %s by thread %u, %s by thread %u\n", address, kinds[earlier], i,
                kinds[kind], weak_thread);
        abort();
    }
}

__attribute__((noinline)) static void look_for_races(uintptr_t begin, size_t size, unsigned kind)
{
    uint32_t now = threads[weak_thread].clock[weak_thread];
    for (size_t i = 0; i < size; i += 4) {
        byte *one = &watched[begin - watched_begin + i];
        if (one->play != play) *one = (byte){.play = play};
        if (one->at[kind][weak_thread] == now) continue; /* who came since then has looked */
        for (unsigned earlier = 0; earlier < 4; earlier++) check_race(one, earlier, kind, (const void *)(begin + i));
        one->at[kind][weak_thread] = now;
    }
}

static inline void watch(const volatile void *address, size_t size, unsigned kind)
{
    if (is_on && (uintptr_t)address - watched_begin < watched_bytes) look_for_races((uintptr_t)address, size, kind);
}

#define USED ((size_t)2048)

void weak_use(const void *block, size_t size)
{
    watch(block, size < USED ? size : USED, WRITES);
    watch((const char *)block + size - 8, 8, WRITES);
}

/* ---- Locations -------------------------------------------------------------------------------------------------- */

static view *view_pool[LOCATIONS * STORES];
static unsigned views_free, views_made;

static view *view_new(const view *original)
{
    view *copy = views_free > 0 ? view_pool[--views_free] : NULL;
    if (!copy) {
        copy = malloc(sizeof *copy);
        CHECK(copy != NULL && views_made++ < LOCATIONS * STORES);
    }
    memcpy(copy, original, offsetof(view, seen) + original->known * sizeof *original->seen);
    return copy;
}

static void drop(view *released)
{
    if (released) view_pool[views_free++] = released;
}

void weak_end(void)
{
    is_on = false;
}

void weak_begin(unsigned long long seed, const void *begin, size_t size)
{
    for (unsigned i = 0; i < location_count; i++)
        for (unsigned k = 0; k < locations[i].count; k++) drop(locations[i].stores[k].released);
    location_count = 0;
    memset(table, 0, sizeof table);
    for (unsigned i = 0; i < WEAK_THREADS; i++) {
        memset(&threads[i], 0, offsetof(view, seen));
        threads[i].clock[i] = 1;
    }
    random_state = seed;
    play++;
    is_on = true;
    if (!watched) {
        watched = calloc(size, sizeof *watched);
        watched_begin = (uintptr_t)begin, watched_bytes = size;
    }
    CHECK(watched != NULL);
    CHECK(watched_begin == (uintptr_t)begin && watched_bytes == size); /* the same in every play */
}

static uint64_t memory_of(const void *address, unsigned size)
{
    uint64_t value = 0;
    _Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "here the first bytes of a value are its lowest");
    memcpy(&value, address, size);
    return value;
}

/* Only what is in memory can be found. */
static void start_anew(location *at, uint64_t place)
{
    for (unsigned i = 0; i < at->count; i++) drop(at->stores[i].released);
    at->count = 1;
    at->stores[0] = (store){.place = place, .by = WEAK_THREADS, .value = memory_of(at->address, at->size)};
}

/* NULL, unless `make`: nothing was stored there. */
static location *find(void *address, unsigned size, bool make)
{
    unsigned slot = (unsigned)((uintptr_t)address >> 2) * 2654435761u % TABLE;
    while (table[slot] != 0 && locations[table[slot] - 1].address != address) slot = (slot + 1) % TABLE;
    location *at = NULL;
    if (table[slot] != 0) {
        at = &locations[table[slot] - 1];
        CHECK_EQ(at->size, size);
        const store *last = &at->stores[at->count - 1];
        if (last->value != memory_of(address, size)) start_anew(at, last->place + STEP); /* a plain store */
    } else if (make) {
        CHECK(location_count < LOCATIONS);
        table[slot] = (uint16_t)(location_count + 1);
        at = &locations[location_count++];
        *at = (location){.address = address, .size = size};
        start_anew(at, 0);
    }
    if (make && at->count == STORES) { /* room for one more */
        drop(at->stores[0].released);
        at->count--;
        memmove(at->stores, at->stores + 1, at->count * sizeof *at->stores);
    }
    return at;
}

/* ---- Accesses --------------------------------------------------------------------------------------------------- */

static bool acquires(int order)
{
    return order == __ATOMIC_ACQUIRE || order == __ATOMIC_CONSUME || order == __ATOMIC_ACQ_REL ||
           order == __ATOMIC_SEQ_CST;
}

static bool releases(int order)
{
    return order == __ATOMIC_RELEASE || order == __ATOMIC_ACQ_REL || order == __ATOMIC_SEQ_CST;
}

/* The oldest store that an access of this order may find, or come behind. */
static unsigned oldest(const location *at, int order)
{
    const view *mine = &threads[weak_thread];
    uint64_t place = at - locations < mine->known ? mine->seen[at - locations] : 0;
    if (order == __ATOMIC_SEQ_CST && place < at->seq_cst) place = at->seq_cst;
    unsigned i = 0;
    while (at->stores[i].place < place) i++; /* (the last one is not older) */
    return i;
}

/* Which one this access finds: often the oldest or the newest. */
static unsigned choose(const location *at, int order)
{
    unsigned least = oldest(at, order), last = at->count - 1;
    if (least == last || !chance(2)) return last;
    if (chance(2)) return least;
    while (least < last && chance(2)) least++;
    return least;
}

/* The thread has come to that place. */
static void note(location *at, uint64_t place, int order)
{
    know_all(&threads[weak_thread]);
    threads[weak_thread].seen[at - locations] = place;
    if (order == __ATOMIC_SEQ_CST && at->seq_cst < place) at->seq_cst = place;
}

static uint64_t found(location *at, unsigned i, int order)
{
    note(at, at->stores[i].place, order);
    if (acquires(order) && at->stores[i].released) learn(&threads[weak_thread], at->stores[i].released);
    return at->stores[i].value;
}

/* Puts `value` behind store i. `modifies`: it read that one. What that one releases is passed on by a read-modify-write and by
 * another store of the same thread (C11 7.17.3; C++20 has dropped the second). */
static void put_behind(location *at, unsigned i, uint64_t value, int order, bool modifies)
{
    const view *passed_on = modifies || at->stores[i].by == weak_thread ? at->stores[i].released : NULL;
    uint64_t place =
        i + 1 == at->count ? at->stores[i].place + STEP : at->stores[i].place / 2 + at->stores[i + 1].place / 2;
    note(at, place, order);
    store new = {.place = place, .by = modifies ? WEAK_THREADS : weak_thread, .value = value};
    if (releases(order)) {
        new.released = view_new(&threads[weak_thread]);
        if (passed_on) learn(new.released, passed_on);
        threads[weak_thread].clock[weak_thread]++;
    } else if (passed_on) {
        new.released = view_new(passed_on);
    }
    at->stores[i].taken |= modifies;
    memmove(at->stores + i + 2, at->stores + i + 1, (at->count - i - 1) * sizeof *at->stores);
    at->stores[i + 1] = new;
    at->count++;
    if (i + 2 == at->count) memcpy(at->address, &value, at->size);
}

static bool has_room_behind(const location *at, unsigned i)
{
    if (i + 1 == at->count) return true;
    return !at->stores[i].taken && at->stores[i + 1].place - at->stores[i].place >= 4;
}

/* Behind which store a new one may come: as a rule the last. */
static unsigned choose_place(const location *at, int order)
{
    unsigned last = at->count - 1, i = last;
    if (chance(8)) i = oldest(at, order);
    while (i < last && !has_room_behind(at, i)) i++;
    return i;
}

weak_access weak_next;

static void next(const volatile void *address, bool writes)
{
    weak_next = (weak_access){address, writes};
    test_yield();
}

static uint64_t weak_load(const volatile void *address, unsigned size, int order)
{
    next(address, false);
    if (!is_on) return memory_of((const void *)(uintptr_t)address, size);
    watch(address, 1, READS | ATOMICALLY);
    location *at = find((void *)(uintptr_t)address, size, false);
    return at ? found(at, choose(at, order), order) : memory_of((const void *)(uintptr_t)address, size);
}

static void weak_store(volatile void *address, unsigned size, uint64_t value, int order)
{
    next(address, true);
    if (!is_on) {
        memcpy((void *)(uintptr_t)address, &value, size);
        return;
    }
    watch(address, 1, WRITES | ATOMICALLY);
    location *at = find((void *)(uintptr_t)address, size, true);
    put_behind(at, choose_place(at, order), value, order, false);
}

enum change { EXCHANGE, ADD, AND, OR };

static uint64_t change(uint64_t old, unsigned size, enum change how, uint64_t operand)
{
    uint64_t changed = old;
    if (how == EXCHANGE) changed = operand;
    if (how == ADD) changed += operand;
    if (how == AND) changed &= operand;
    if (how == OR) changed |= operand;
    return size < 8 ? changed & (((uint64_t)1 << size * 8) - 1) : changed;
}

static uint64_t weak_modify(volatile void *address, unsigned size, enum change how, uint64_t operand, int order)
{
    next(address, true);
    if (!is_on) {
        uint64_t old = memory_of((void *)(uintptr_t)address, size), changed = change(old, size, how, operand);
        memcpy((void *)(uintptr_t)address, &changed, size);
        return old;
    }
    watch(address, 1, WRITES | ATOMICALLY);
    location *at = find((void *)(uintptr_t)address, size, true);
    unsigned i = choose_place(at, order);
    uint64_t old = found(at, i, order);
    put_behind(at, i, change(old, size, how, operand), order, true);
    return old;
}

/* Returns what it found, which is `expected` exactly if it has swapped. */
static uint64_t weak_swap(volatile void *address, unsigned size, uint64_t expected, uint64_t desired, int order,
                          int failure)
{
    next(address, true);
    if (!is_on) {
        uint64_t was = memory_of((void *)(uintptr_t)address, size);
        if (was == expected) memcpy((void *)(uintptr_t)address, &desired, size);
        return was;
    }
    location *at = find((void *)(uintptr_t)address, size, true);
    unsigned i = choose(at, failure);
    while (at->stores[i].value == expected && (i < oldest(at, order) || !has_room_behind(at, i))) i++;
    watch(address, 1, (at->stores[i].value == expected ? WRITES : READS) | ATOMICALLY);
    if (at->stores[i].value != expected) return found(at, i, failure);
    (void)found(at, i, order);
    put_behind(at, i, desired, order, true);
    return expected;
}

/* ---- What the compiler calls ------------------------------------------------------------------------------------ */

#define DEFINE(result, name, parameters, ...) \
    result __tsan_##name parameters; \
    result __tsan_##name parameters \
    { \
        __VA_ARGS__; \
    }

/* (gcc calls the first kind of compare and swap, clang the second.) */
#define ATOMIC(bits, type) \
    DEFINE(type, atomic##bits##_load, (const volatile type *address, int order), \
           return (type)weak_load(address, sizeof(type), order)) \
    DEFINE(void, atomic##bits##_store, (volatile type * address, type value, int order), \
           weak_store(address, sizeof(type), value, order)) \
    DEFINE(int, atomic##bits##_compare_exchange_strong, \
           (volatile type * address, type * expected, type desired, int order, int failure), type was = *expected; \
           *expected = (type)weak_swap(address, sizeof(type), was, desired, order, failure); return *expected == was) \
    DEFINE(type, atomic##bits##_compare_exchange_val, \
           (volatile type * address, type expected, type desired, int order, int failure), \
           return (type)weak_swap(address, sizeof(type), expected, desired, order, failure)) \
    MODIFICATION(bits, type, exchange, EXCHANGE) \
    MODIFICATION(bits, type, fetch_add, ADD) \
    MODIFICATION(bits, type, fetch_and, AND) \
    MODIFICATION(bits, type, fetch_or, OR)
#define MODIFICATION(bits, type, name, how) \
    DEFINE(type, atomic##bits##_##name, (volatile type * address, type operand, int order), \
           return (type)weak_modify(address, sizeof(type), how, operand, order))
ATOMIC(8, uint8_t)
ATOMIC(16, uint16_t)
ATOMIC(32, uint32_t)
ATOMIC(64, uint64_t)

#define PLAIN(bytes) \
    DEFINE(void, read##bytes, (void *address), watch(address, bytes, READS)) \
    DEFINE(void, write##bytes, (void *address), watch(address, bytes, WRITES)) \
    DEFINE(void, unaligned_read##bytes, (void *address), watch(address, bytes, READS)) \
    DEFINE(void, unaligned_write##bytes, (void *address), watch(address, bytes, WRITES))
PLAIN(1)
PLAIN(2)
PLAIN(4)
PLAIN(8)
PLAIN(16)
DEFINE(void, read_range, (void *address, size_t size), watch(address, size, READS))
DEFINE(void, write_range, (void *address, size_t size), watch(address, size, WRITES))
DEFINE(void, func_entry, (void *caller), (void)caller)
DEFINE(void, func_exit, (void), (void)0)
DEFINE(void, init, (void), (void)0)
