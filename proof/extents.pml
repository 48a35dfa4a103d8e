/* One stack of free extents (src/scope/extent.c), for spin: see README.md.
 *
 * Holders take extents and give them back while their scope holds the generation open; that it does is taken for
 * granted here. A plain block (take_extent in alloc.c) takes an extent without holding anything and keeps it. One
 * reset follows the other. Each statement makes at most one access to shared memory.
 *
 * BUG_... plants a bug. */

#ifndef HOLDERS
#define HOLDERS 1
#endif
#ifndef OPERATIONS
#define OPERATIONS 7 /* of each holder */
#endif
#ifndef PLAINS
#define PLAINS 1
#endif
#ifndef RESETS
#define RESETS 1
#endif
#define UNITS 3
#define TAG_BITS 2
#define COUNT_BITS 4
#define TAG_MASK ((1 << TAG_BITS) - 1)
#define COUNT_MASK ((1 << COUNT_BITS) - 1)

#define DISTANCE(h, g) (((g) - ((h) >> (COUNT_BITS + 2))) & TAG_MASK)
#define IS_OLDER(h, g) (DISTANCE(h, g) == 1)
#define FIRST_OF(h, g) (DISTANCE(h, g) == 0 -> ((h) & 3) : 0)
#ifdef BUG_NO_COUNT
#define COUNT_OF(h, g, taken) 0
#else
#define COUNT_OF(h, g, taken) ((((h) >> 2) + ((taken) || DISTANCE(h, g) != 0 -> 1 : 0)) & COUNT_MASK)
#endif
#define CHANGED(h, g, index, taken) ((((g) & TAG_MASK) << (COUNT_BITS + 2)) | (COUNT_OF(h, g, taken) << 2) | (index))

byte generation = 1;
short stack = 1 << (COUNT_BITS + 2); /* {tag, count, the first free extent, or 0} */
byte next_of[UNITS + 1];             /* the links */
byte open, at_work;
byte fresh, used; /* ghosts: extents claimed in this generation, and those that have an owner */

inline own(index) {
    assert(index <= fresh); /* of this generation */
    assert((used & (1 << index)) == 0);
    used = used | (1 << index)
}

/* pop_shared. `index` 0: there is none. */
inline pop() {
    h = stack;
    do
    :: atomic {
        index = FIRST_OF(h, g);
        if :: index == 0 || generation != g -> index = 0; break :: else fi }
       link = next_of[index];
       atomic {
        if
        :: stack == h -> stack = CHANGED(h, g, link, true);
            if :: g == generation -> own(index) :: else fi;
            break
        :: else -> h = stack
        fi }
    od
}

/* push_shared */
inline push() {
    h = stack;
    do
    :: next_of[index] = FIRST_OF(h, g);
       atomic { if :: stack == h -> stack = CHANGED(h, g, index, false); break :: else -> h = stack fi }
    od
}

proctype holder()
{
    byte operations, g, index, link, held;
    short h;
    atomic { open++; g = generation }
    do
    :: operations == OPERATIONS -> break
    :: operations < OPERATIONS -> /* ma_extent_take */
        operations++;
        pop();
        if
        :: index != 0
        :: else -> atomic { if :: fresh < UNITS -> fresh++; index = fresh; own(index) :: else fi }
        fi;
        atomic {
            if :: index != 0 -> held = held | (1 << index) :: else fi;
            index = 0; link = 0; h = 0
        }
    :: operations < OPERATIONS && held != 0 -> /* ma_extent_give */
        atomic {
            operations++;
            if :: held & 2 -> index = 1 :: held & 4 -> index = 2 :: held & 8 -> index = 3 fi;
            held = held & ~(1 << index);
            used = used & ~(1 << index)
        }
        push();
#ifdef BUG_TWICE
        push();
#endif
        atomic { index = 0; h = 0 }
    od;
    atomic { open--; at_work--; held = 0; g = 0 }
}

proctype plain()
{
    byte g, index, link;
    short h;
    g = generation;
    pop();
    atomic { at_work--; g = 0; index = 0; link = 0; h = 0 }
}

proctype resetter()
{
    byte resets, g;
    short h;
    do
    :: resets == RESETS -> break
    :: resets < RESETS ->
        atomic { (open == 0); generation++; resets++; used = 0; fresh = 0 }
#ifndef NO_REFRESH
        h = stack; /* ma_extent_refresh */
        do
        :: atomic { g = generation; if :: !IS_OLDER(h, g) -> break :: else fi }
           atomic { if :: stack == h -> stack = CHANGED(h, g, 0, false); break :: else -> h = stack fi }
        od
#endif
    od;
    at_work--
}

init {
    byte i, free;
    atomic {
        at_work = HOLDERS + PLAINS + 1;
        i = 0;
        do :: i < HOLDERS -> run holder(); i++ :: else -> break od;
        i = 0;
        do :: i < PLAINS -> run plain(); i++ :: else -> break od;
        run resetter()
    }
    d_step {
        (at_work == 0);
        /* Each free extent is in the stack once, and nobody has it. */
        i = FIRST_OF(stack, generation);
        do
        :: i == 0 -> break
        :: else ->
            assert((free & (1 << i)) == 0 && (used & (1 << i)) == 0);
            free = free | (1 << i);
            i = next_of[i]
        od
    }
}
