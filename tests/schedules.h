/* Which schedules of two or three calls are played: all with up to three or two preemptions, as far as they can differ; or,
 * under the memory model (STEPS_WEAK), some, at those accesses where a stop can make a difference.
 *
 * Two accesses are independent if they are to different addresses or both only read. Schedules that differ in nothing but
 * the order of neighbours which are independent lead to the same end (they are the same trace, as Mazurkiewicz has it): to
 * stop a call before an access is worth a play only if that access conflicts with what the others do meanwhile. What that
 * is, the plays before have shown. Plain accesses need no look: that none of them race was seen under the memory model,
 * so what they depend on is ordered by atomic ones. */
#ifndef SCHEDULES_H
#define SCHEDULES_H

#include <string.h>

#define TRACE 4096u /* accesses of an act */
#define TABLE (4 * TRACE)

/* ---- What was done in a play ------------------------------------------------------------------------------------- */

typedef struct accesses {
    unsigned count;
    weak_access at[TRACE];
} accesses;

static bool is_traced;

/* What is the same for all schedules that differ only in the order of independent neighbours: a hash of which access came
 * after which others that conflict with it. */
static struct cause {
    unsigned play;
    const volatile void *address;
    uint64_t last_write, reads_since;
} causes[TABLE];
static uint64_t did[STEPS_CAST + 1]; /* of all that an actor did, by number */
static unsigned traced_plays;

static uint64_t mixed(uint64_t hash, uint64_t more)
{
    hash = (hash ^ more) * 0x9E3779B97F4A7C15u;
    return hash ^ hash >> 29;
}

/* For the states in which plays end. */
__attribute__((noinline, no_sanitize("thread"), unused)) static uint64_t mix(uint64_t hash, const void *memory,
                                                                             size_t bytes)
{
    const uint64_t *word = memory;
    for (size_t i = 0; i < bytes / 8; i++) hash = mixed(hash, word[i]);
    return hash;
}

static unsigned place_in_table(const volatile void *address)
{
    return (unsigned)((uintptr_t)address >> 2) * 2654435761u % TABLE;
}

static void trace_happens(const actor *self)
{
    if (!is_traced) return;
    weak_access access = self->trace[self->taken];
    unsigned i = place_in_table(access.address);
    while (causes[i].play == traced_plays && causes[i].address != access.address) i = (i + 1) % TABLE;
    if (causes[i].play != traced_plays) causes[i] = (struct cause){.play = traced_plays, .address = access.address};
    uint64_t *mine = &did[self->number];
    *mine = mixed(mixed(mixed(*mine, (uintptr_t)access.address), access.writes), causes[i].last_write);
    if (access.writes) {
        *mine = mixed(*mine, causes[i].reads_since);
        causes[i].last_write = *mine, causes[i].reads_since = 0;
    } else {
        causes[i].reads_since += mixed(*mine, 1);
    }
}

/* The traces of the plays of a pair, each with the state that it led to; and the states. */
#define ENDS ((size_t)1 << 17)
static struct end {
    unsigned cast; /* one of another cast is not there */
    uint64_t hash, leads_to;
} ends[2][ENDS];
static unsigned ends_cast;
static size_t ends_count[2];
static bool ends_are_noted, ends_are_known; /* all that there are */

static struct end *find_end(unsigned kind, uint64_t hash, bool *is_known)
{
    size_t at = hash % ENDS;
    while (ends[kind][at].cast == ends_cast && ends[kind][at].hash != hash) at = (at + 1) % ENDS;
    *is_known = ends[kind][at].cast == ends_cast;
    if (!*is_known) CHECK(++ends_count[kind] < ENDS * 3 / 4);
    if (!*is_known) ends[kind][at] = (struct end){ends_cast, hash, 0};
    return &ends[kind][at];
}

/* Around the part of a play in which the actors meet. */
static inline void trace_begins(actor *actors, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        if (!actors[i].trace) actors[i].trace = malloc(TRACE * sizeof *actors[i].trace);
        CHECK(actors[i].trace != NULL);
        actors[i].finished = true, actors[i].taken = 0;
    }
    goes_count = 0;
    memset(did, 0, sizeof did);
    traced_plays++;
    is_traced = true;
}

/* True: no need to look at what comes of this end. `says_all`: what comes depends on nothing but the state, so what it has
 * led to before was good. */
static inline bool is_known_end(uint64_t (*state)(void), bool says_all)
{
    is_traced = false;
    if (!ends_are_noted) return false;
    uint64_t played = 1, end = state();
    for (unsigned i = 0; i <= STEPS_CAST; i++) played = mixed(played, did[i]);
    bool trace_is_known, end_is_known;
    struct end *trace = find_end(0, played, &trace_is_known);
    if (trace_is_known)
        CHECK_EQ(trace->leads_to, end);
    else
        CHECK(!ends_are_known);
    trace->leads_to = end;
    (void)find_end(1, end, &end_is_known);
    return end_is_known && (says_all || ends_are_known);
}

static inline void note_ends(void)
{
    ends_cast++;
    ends_count[0] = ends_count[1] = 0;
    ends_are_noted = true;
}

static void trace_access(actor *self)
{
    if (!is_traced) return;
    CHECK(self->taken < TRACE);
    self->trace[self->taken] = weak_next;
}

/* ---- Conflicts --------------------------------------------------------------------------------------------------- */

/* A set of accesses. */
typedef struct footprint {
    unsigned number; /* of this content: what has another one in the table is not there */
    bool has_any, has_everything;
    struct place {
        unsigned number;
        weak_access access;
    } table[TABLE];
} footprint;

static struct place *place_of(footprint *self, const volatile void *address)
{
    unsigned i = place_in_table(address);
    while (self->table[i].number == self->number && self->table[i].access.address != address) i = (i + 1) % TABLE;
    return &self->table[i];
}

static void leave_nothing(footprint *self)
{
    self->number++;
    self->has_any = self->has_everything = false;
}

static void leave(footprint *self, const weak_access *at, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        struct place *place = place_of(self, at[i].address);
        bool written = place->number == self->number && place->access.writes;
        *place = (struct place){self->number, {at[i].address, written || at[i].writes}};
        self->has_any = true;
        if (!at[i].address) self->has_everything = true;
    }
}

static bool conflicts(footprint *self, weak_access access)
{
    if (!access.address || self->has_everything) return self->has_any;
    const struct place *at = place_of(self, access.address);
    return at->number == self->number && (at->access.writes || access.writes);
}

static accesses all_of_one, all_of_two;
static footprint by_one, by_two;

/* Of one go, from `begin` on. If it ended in waiting, looking again is no access but may find something else. */
static void copy_trace(accesses *to, const actor *from, unsigned begin, unsigned go)
{
    to->count = goes[go].taken - begin;
    memcpy(to->at, from->trace + begin, to->count * sizeof *to->at);
    if (goes[go].waits && to->count > 0) to->at[to->count - 1] = (weak_access){NULL, true};
}

static void note_trace(accesses *to, footprint *by, const actor *from, unsigned begin, unsigned go)
{
    copy_trace(to, from, begin, go);
    leave_nothing(by);
    leave(by, to->at, to->count);
}

#ifndef STEPS_WEAK

/* ---- All schedules ----------------------------------------------------------------------------------------------- */

static bool all_are_played;
static unsigned most_of_two; /* accesses of the second one, while the first is stopped */
static accesses rest_of_one;

/* The first of `them` that conflicts with this access, or their count. */
static unsigned first_conflict(const accesses *them, weak_access access)
{
    unsigned i = 0;
    while (i < them->count && access.address && them->at[i].address &&
           (access.address != them->at[i].address || !(access.writes || them->at[i].writes)))
        i++;
    return i;
}

/* What has come again must have come in the same way: the accesses from `begin` on. */
static void check_repeats(const actor *self, unsigned begin, const accesses *before, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        const weak_access *now = &self->trace[begin + i];
        if (before->at[i].address) CHECK(now->address == before->at[i].address && now->writes == before->at[i].writes);
    }
}

/* The first one is stopped before its access n, the second one before its access m, m > 0; nothing is worth a third stop but
 * where the rest of the first conflicts with the rest of the second, and a second stop only if what comes next conflicts
 * with something before the third. */
static void third_stops(const actor *actors, void (*play)(unsigned n, unsigned m, unsigned k), unsigned n, unsigned m,
                        bool waits)
{
    static accesses rest_of_two;
    static footprint by_rest_of_two;
    unsigned least = 1 + first_conflict(&rest_of_one, waits ? (weak_access){NULL, true} : all_of_two.at[m]);
    for (unsigned k = least; k <= rest_of_one.count; k++) {
        if (k > least && !conflicts(&by_rest_of_two, rest_of_one.at[k - 1])) continue; /* ends like k - 1 */
        play(n, m, k);
        check_repeats(&actors[0], 0, &all_of_one, n);
        check_repeats(&actors[1], 0, &all_of_two, m);
        note_trace(&rest_of_two, &by_rest_of_two, &actors[1], m, 3);
    }
}

/* play(n, m, k): actors[0] goes on for n accesses, actors[1] for m, the first for k more, the second to its end or until it
 * waits, then the others. */
static inline void schedules_of_two(const actor *actors, void (*play)(unsigned n, unsigned m, unsigned k))
{
    const actor *one = &actors[0], *two = &actors[1];
    bool twos_is_known = false, two_waits = false;
    note_ends();
    play(STEPS_ALL, STEPS_ALL, STEPS_ALL);
    note_trace(&all_of_one, &by_one, one, 0, 0);
    most_of_two = 0;
    for (unsigned n = 0; n < all_of_one.count; n++) {
        twos_is_known &= n > 0 && !conflicts(&by_two, all_of_one.at[n - 1]);
        if (!all_are_played && !is_played(STOPS_ONE_IN)) continue;
        if (!twos_is_known) {
            play(n, STEPS_ALL, STEPS_ALL);
            check_repeats(one, 0, &all_of_one, n);
            note_trace(&all_of_two, &by_two, two, 0, 1);
            if (most_of_two < all_of_two.count) most_of_two = all_of_two.count;
            two_waits = goes[1].waits;
            twos_is_known = true;
        }
        /* Before that the second has done nothing for which the first has to be stopped here, not later. */
        unsigned least = 1 + first_conflict(&all_of_two, all_of_one.at[n]);
        for (unsigned m = least; m < all_of_two.count + two_waits; m++) {
            if (m == least || conflicts(&by_one, all_of_two.at[m - 1])) {
                play(n, m, STEPS_ALL);
                check_repeats(one, 0, &all_of_one, n);
                check_repeats(two, 0, &all_of_two, m);
                note_trace(&rest_of_one, &by_one, one, n, 2);
            }
            third_stops(actors, play, n, m, m == all_of_two.count);
        }
    }
    ends_are_noted = false;
}

/* Adds what was done between the end of a segment and the next one of its actor. */
static void leave_between(footprint *to, const actor *actors, const steps_shape *shape, unsigned segment)
{
    unsigned came[STEPS_CAST] = {0};
    for (unsigned i = 0; i < STEPS_SEGMENTS; i++) {
        unsigned number = shape->cast[i];
        if (i > segment && number == shape->cast[segment]) return;
        if (i > segment) leave(to, actors[number].trace + came[number], goes[i].taken - came[number]);
        came[number] = goes[i].taken;
        if (!goes[i].waits) continue;
        leave(to, &(weak_access){NULL, true}, 1); /* others have gone on then: we look no further */
        return;
    }
}

/* play(n, m): the first segment is of n accesses, the other one that is stopped of m. */
static inline void schedules_of_three(const actor *actors, const steps_shape *shape,
                                      void (*play)(unsigned n, unsigned m))
{
    static footprint while_first, while_second;
    const unsigned second = shape->stopped, who = shape->cast[second];
    bool is_known = false; /* what the others do while the first is stopped before n - 1 */
    most_of_two = 0;
    note_ends();
    play(STEPS_ALL, STEPS_ALL);
    copy_trace(&all_of_one, &actors[0], 0, 0);
    for (unsigned n = 0; n <= all_of_one.count; n++) {
        if (is_known && !conflicts(&while_first, all_of_one.at[n - 1])) continue; /* all end like those of n - 1 */
        is_known = all_are_played || is_played(STOPS_ONE_IN);
        if (!is_known) continue;
        play(n, STEPS_ALL);
        check_repeats(&actors[0], 0, &all_of_one, n);
        const unsigned begin = who == 0 ? n : 0, count = goes[second].taken - begin + goes[second].waits;
        copy_trace(&all_of_two, &actors[who], begin, second);
        if (most_of_two < count) most_of_two = count;
        leave_nothing(&while_first);
        leave_between(&while_first, actors, shape, 0);
        for (unsigned m = 0; m < count; m++) { /* (if the second waits: up to there) */
            if (m > 0 && !conflicts(&while_second, all_of_two.at[m - 1])) continue; /* ends like m - 1 */
            play(n, m);
            check_repeats(&actors[0], 0, &all_of_one, n);
            check_repeats(&actors[who], begin, &all_of_two, m);
            leave_between(&while_first, actors, shape, 0);
            leave_nothing(&while_second);
            leave_between(&while_second, actors, shape, second);
        }
    }
    ends_are_noted = false;
}

/* Is it true that they end alike? After all schedules of a cast some of those that may have been left out are played, by
 * chance: each is the same trace as one of the first, and leads to the same state. */
static void left_out(void (*play_two)(unsigned n, unsigned m, unsigned k), void (*play_three)(unsigned n, unsigned m))
{
    static unsigned long long random;
    if (random == 0) random = test_seed(1);
    unsigned ones = all_of_one.count + 1, twos = most_of_two + 1;
    ends_are_noted = ends_are_known = true;
    for (unsigned i = 0; i < 500; i++) {
        unsigned n = (unsigned)test_random(&random) % ones, m = (unsigned)test_random(&random) % twos;
        if (play_two)
            play_two(n, m, 1 + (unsigned)test_random(&random) % ones);
        else
            play_three(n, m);
    }
    ends_are_noted = ends_are_known = false;
}

static inline void left_out_of_two(const actor *actors, void (*play)(unsigned n, unsigned m, unsigned k))
{
    all_are_played = true;
    schedules_of_two(actors, play);
    all_are_played = false;
    left_out(play, NULL);
}

static inline void left_out_of_three(const actor *actors, const steps_shape *shape,
                                     void (*play)(unsigned n, unsigned m))
{
    all_are_played = true;
    schedules_of_three(actors, shape, play);
    all_are_played = false;
    left_out(NULL, play);
}

#else

/* ---- Some schedules ---------------------------------------------------------------------------------------------- */

/* How many are drawn for each two calls in each scene, and for three in each shape. */
#define TWO_DRAWN (48 * steps_scale() / 64)
#define THREE_DRAWN (8 * steps_scale() / 64 + 1)

/* Before which access to stop, from `begin` on: one that conflicts with what the others do. Or none. */
static unsigned draw_stop(const accesses *own, unsigned begin, footprint *others)
{
    static unsigned long long random;
    if (random == 0) random = test_seed(1);
    if (begin >= own->count || (test_random(&random) >> 32) % 8 == 0) return STEPS_ALL;
    unsigned i = begin + (unsigned)(test_random(&random) >> 32) % (own->count - begin);
    while (i < own->count && !conflicts(others, own->at[i])) i++;
    return i < own->count ? i : STEPS_ALL;
}

static inline void schedules_of_two(const actor *actors, void (*play)(unsigned n, unsigned m, unsigned k))
{
    play(STEPS_ALL, STEPS_ALL, STEPS_ALL);
    note_trace(&all_of_one, &by_one, &actors[0], 0, 0);
    note_trace(&all_of_two, &by_two, &actors[1], 0, 1);
    for (unsigned long long left = TWO_DRAWN; left > 0; left--) {
        unsigned n = draw_stop(&all_of_one, 0, &by_two), m = draw_stop(&all_of_two, 0, &by_one);
        unsigned again = n == STEPS_ALL ? STEPS_ALL : draw_stop(&all_of_one, n + 1, &by_two);
        play(n, m, again == STEPS_ALL ? STEPS_ALL : again - n);
    }
}

/* A trace of its own for who is stopped in that segment, and what the others did. */
static void note_cast(const actor *actors, const steps_shape *shape, unsigned segment, accesses *own, footprint *others)
{
    leave_nothing(others);
    for (unsigned i = 0; i < STEPS_SEGMENTS; i++) {
        const actor *self = &actors[shape->cast[i]];
        if (shape->cast[i] == shape->cast[segment])
            copy_trace(own, self, 0, i);
        else
            leave(others, self->trace, goes[i].taken);
    }
}

static inline void schedules_of_three(const actor *actors, const steps_shape *shape,
                                      void (*play)(unsigned n, unsigned m))
{
    play(STEPS_ALL, STEPS_ALL);
    note_cast(actors, shape, 0, &all_of_one, &by_two);
    note_cast(actors, shape, shape->stopped, &all_of_two, &by_one);
    for (unsigned long long left = THREE_DRAWN; left > 0; left--) {
        unsigned n = draw_stop(&all_of_one, 0, &by_two), begin = shape->cast[shape->stopped] == 0 ? n : 0;
        unsigned m = n == STEPS_ALL ? STEPS_ALL : draw_stop(&all_of_two, begin, &by_one);
        play(n, m == STEPS_ALL ? STEPS_ALL : m - begin);
    }
}

#endif

#endif
