/* The shared words of an arena, for spin: see README.md for what is covered, and spin.sh for the sizes that are run.
 *
 * Each statement makes at most one access to memory that threads share; what is local is done in the same step.
 * Comments name the function of the C and what its line does. A block is one or two grains, an address is BASE + offset.
 *
 * Ghosts, which the C does not have: `taken`, the grains of live blocks of the generation; `finished`, the generation
 * begun by the last reset that has returned; `inside`, the generation for which a thread is working.
 *
 * BUG_... plants a bug. Each is found, or spin.sh fails. */

#ifndef TAG_BITS
#define TAG_BITS 3
#endif
#ifndef SOURCES
#define SOURCES 1 /* shards and the frontier */
#endif
#ifndef GRAINS
#define GRAINS 3 /* of each source */
#endif
#ifndef LANES
#define LANES 2 /* how many of the two threads have a lane; the others claim each block */
#endif
#ifndef BLOCKS
#define BLOCKS 2 /* of each thread */
#endif
#ifndef BLOCKS_0
#define BLOCKS_0 BLOCKS /* of the first */
#endif
#ifndef SIZE_MAX
#define SIZE_MAX 1
#endif
#ifndef TLAB
#define TLAB 2
#endif
#ifndef RESETTERS
#define RESETTERS 1
#endif
#ifndef RESETS
#define RESETS 2 /* of all resetters together, while the threads run */
#endif
#ifndef FIRST
#define FIRST 1 /* the generation at the start */
#endif
#ifndef LOST
#define LOST 0 /* how many owners vanish in the slow road; the lane's next owner goes on */
#endif
#ifndef CUT
#define CUT 0 /* whether a fork may lose a thread in the middle of a reset; what it left is repaired in the slow road */
#endif
#ifndef FILL
#define FILL 0 /* whether one thread fills the arena in the end */
#endif
#ifndef ONLY_BLOCKS
#define ONLY_BLOCKS 0 /* whether only blocks that overlap are looked for */
#endif
#ifndef AWAKE
#define AWAKE 255 /* no thread sleeps in the slow road while the arena is reset more often than this */
#endif

#define CAPACITY (SOURCES * GRAINS)
#define BASE 2
#define ARMED 1 /* below the end of any block */

#ifdef BUG_CARRY
#define OFFSET_BITS 2 /* the offset of the arena's end does not fit */
#else
#define OFFSET_BITS 3
#endif
#define TAG_MASK ((1 << TAG_BITS) - 1)
#define OFFSET_MASK ((1 << OFFSET_BITS) - 1)

/* word.h. A word has TAG_BITS + OFFSET_BITS bits, as it has 64 in the C. */
#define MAKE(generation, offset) ((((generation) << OFFSET_BITS) | (offset)) & ((1 << (TAG_BITS + OFFSET_BITS)) - 1))
#define DISTANCE(w, generation) (((generation) - ((w) >> OFFSET_BITS)) & TAG_MASK)
#define IS_NEWER(w, generation) (DISTANCE(w, generation) >> (TAG_BITS - 1))
#define IS_OLDER(w, generation) (DISTANCE(w, generation) != 0 && !IS_NEWER(w, generation))
#define OFFSET(w, generation, start) (DISTANCE(w, generation) == 0 -> ((w) & OFFSET_MASK) : (start))

/* pool.h */
#define BEGIN(s) ((s) * GRAINS)
#define END(s) (((s) + 1) * GRAINS)
#define SOURCE_OF(offset) ((offset) / GRAINS)
#define HOME(number) (SOURCES == 1 -> 0 : (number) % (SOURCES - 1)) /* a shard; the frontier is nobody's home */

byte generation = FIRST;
byte tag = FIRST; /* of the head of the deferred calls: the generation that it belongs to */
byte closing;     /* there, too: who is about to close that generation, from 1 on; 0: nobody */
bool cut;         /* a reset was lost on the way; nobody has repaired that yet */
byte word[SOURCES];
byte end[2];     /* of the lanes: tlab.end_ */
byte lanes_used; /* one bit for each lane */

short taken;
byte finished = FIRST;
byte inside[2];
byte at_work, resets_left, lost = 0;
bool fill, filled;

/* A reset may pass: nobody has slept too long in the slow road. */
#define SLEEPS_NOT(t) (inside[t] == 0 || generation - inside[t] < AWAKE)
#define MAY_RESET (SLEEPS_NOT(0) && SLEEPS_NOT(1))

/* The block [at, at + size) of generation g goes to a caller who came when `came` was finished. */
inline hand_out(at, g) {
    assert(g >= came); /* no block of a generation that had ended before the call began */
    assert(at >= BASE && at + size <= BASE + CAPACITY);
    if
    :: g == generation ->
        assert((taken & (((1 << size) - 1) << (at - BASE))) == 0);
        taken = taken | (((1 << size) - 1) << (at - BASE))
    :: else
    fi
}

/* Here the owner may vanish (fork): what it kept in registers is gone, and the next owner finds the lane as it is. */
#if LOST
#define MAY_VANISH if :: lost < LOST && !fill -> lost++; goto next :: true fi
#else
#define MAY_VANISH skip
#endif

proctype thread(byte me)
{
    /* the lane; only `end` is met by others */
    byte cursor, limit, lane_generation, source;
    bool moving; /* base is MA_BASE_MOVING */
    /* the call */
    byte blocks, size, came, request, start, n, s, w, begin, stop, old;
    bool direct, is_refill, near, came_cut;

next:
    inside[me] = 0;
    atomic {
        start = 0; n = 0; s = 0; w = 0; begin = 0; stop = 0; old = 0; request = 0; direct = false; is_refill = false;
        if
        :: fill || blocks < (me == 0 -> BLOCKS_0 : BLOCKS) -> blocks++; came = finished; came_cut = cut
        :: else -> goto done
        fi;
        size = 1;
        if :: SIZE_MAX > 1 && !fill -> size = 2 :: true fi
    }
    if :: me >= LANES -> direct = true; goto slow :: else fi;

    /* memarena_bump_ */
    start = cursor;
    atomic { if :: start + size <= end[me] :: else -> goto slow fi }
    assert(!(came_cut && cut && tag != generation)); /* the repair would end it, and this process has asked for no reset */
    atomic { cursor = start + size; hand_out(start, lane_generation); goto next }

slow: /* allocate */
#if CUT
    atomic { /* ma_fork_check, ma_fork_repair */
        if
        :: cut -> cut = false; closing = 0; if :: tag != generation -> generation = tag; taken = 0 :: else fi
        :: else
        fi
    }
#endif
    atomic { request = generation; inside[me] = request; n = 0 }
    if :: me >= LANES -> direct = true; source = HOME(me); goto claim :: else -> direct = false fi;
    /* ma_lane_alloc: ma_lane_enter, restart */
    if
    :: lane_generation != request || moving ->
        lanes_used = lanes_used | (1 << me); /* [empty-3] */
        begin = 0; stop = 0;
        is_refill = false;
        goto install
    :: else
    fi;

take:
    start = cursor;
    if :: start == 0 || start + size > limit -> goto refill :: else fi;
    if :: end[me] == limit -> goto bump :: else fi;
    /* publish */
#ifdef BUG_NO_ARM
    atomic { if :: generation != request -> goto slow :: else fi }
    end[me] = limit;
#else
    end[me] = ARMED; /* [empty-2] */
    MAY_VANISH;
#ifdef BUG_NO_LOOK
    near = false;
#else
    near = (closing != 0 || tag != request); /* ma_reset_is_near [empty-1] */
#endif
    atomic { if :: generation != request -> near = false; goto slow :: else fi }
    if
    :: near -> near = false; goto bump /* not published */
    :: else
    fi;
    atomic { if :: end[me] == ARMED -> end[me] = limit :: else -> goto slow fi } /* [empty-2] */
#endif
    MAY_VANISH;
bump:
    atomic { cursor = start + size; hand_out(start, request); goto next }

refill: /* ma_lane_refill, ma_pool_claim */
    n = 0;
claim: /* claim_from */
    atomic { s = (source + n) % SOURCES; w = word[s] }
look:
    atomic {
#ifndef BUG_EQUAL
        if :: generation != request -> goto slow :: else fi; /* MA_MOVED */
#endif
#ifdef BUG_LOOP
        if :: IS_NEWER(w, request) -> goto slow :: else fi; /* "it must be of a later generation" */
#endif
#if defined BUG_EQUAL || defined BUG_CARRY /* these need a second one: that newer words are not told from older ones */
        begin = OFFSET(w, request, BEGIN(s));
#else
        begin = (IS_NEWER(w, request) -> END(s) + 1 : OFFSET(w, request, BEGIN(s))); /* ma_source_tip */
        assert(IS_NEWER(w, request) || (begin >= BEGIN(s) && begin <= END(s)));
#endif
        if
        :: begin > END(s) || size > END(s) - begin ->
            n++;
            if :: n < SOURCES -> goto claim :: else -> goto no_room fi
        :: else
        fi;
        stop = begin + size;
        if :: !direct && TLAB > size -> stop = begin + TLAB :: else fi;
        if :: stop > END(s) -> stop = END(s) :: else fi
    }
    atomic { /* [claim-1] */
#ifdef BUG_STORE
        word[s] = MAKE(request, stop);
#else
        if :: word[s] == w -> word[s] = MAKE(request, stop) :: else -> w = word[s]; goto look fi;
#endif
        begin = BASE + begin; stop = BASE + stop;
        if :: direct -> hand_out(begin, request); goto next :: else -> source = s fi
    }
    MAY_VANISH;
    /* adopt */
    if :: begin == limit -> limit = stop; goto take :: else fi;
    is_refill = true;

retract: /* ma_lane_retract */
    if :: cursor == limit -> goto retracted :: else fi;
    end[me] = 0;
    MAY_VANISH;
    atomic { old = limit; limit = cursor }
    MAY_VANISH;
    atomic { /* ma_pool_move_tip */
        if
        :: cursor - BASE >= BEGIN(SOURCE_OF(old - BASE - 1)) &&
           word[SOURCE_OF(old - BASE - 1)] == MAKE(request, old - BASE) ->
            word[SOURCE_OF(old - BASE - 1)] = MAKE(request, cursor - BASE)
        :: else -> limit = old
        fi
    }
    MAY_VANISH;
retracted:
    if :: !is_refill -> direct = true; n = 0; goto claim :: else fi;

install: /* the old TLAB is gone; [begin, stop) is the new one */
    moving = true; /* base = MA_BASE_MOVING */
    MAY_VANISH;
#ifdef BUG_END_FIRST
    end[me] = stop;
#else
    end[me] = 0;
#endif
    MAY_VANISH;
    limit = stop;
    MAY_VANISH;
    cursor = begin;
    MAY_VANISH;
    moving = false;
    MAY_VANISH;
    if
    :: !is_refill -> source = HOME(me); lane_generation = request /* the rest of restart */
    :: else -> is_refill = false
    fi;
    goto take;

no_room:
    if :: !direct -> is_refill = false; goto retract :: else fi; /* then ma_claim_block */
    if /* NULL */
    :: fill -> atomic { filled = true; fill = false; goto next }
    :: else -> goto next
    fi;

done:
    atomic { at_work--; if :: me == 0 :: else -> goto end_thread fi }
end_wait:
    (fill);
    at_work++;
    goto next;
end_thread:
    skip
}

/* A fork loses the thread that resets here. */
#if CUT
#define MAY_CUT atomic { if :: !cut -> cut = true; at_work--; goto end_resets :: true fi }
#else
#define MAY_CUT skip
#endif

proctype resetter(byte me)
{
    byte mine, s, w, g, i;
next:
    atomic {
        if :: resets_left == 0 -> at_work--; goto end_resets :: else fi;
        MAY_RESET; /* stops here until it is true */
        resets_left--
    }
again: /* close_generation */
    atomic { if :: tag != generation -> generation = tag; taken = 0 :: else fi } /* ma_step_look */
    atomic { if :: tag != generation -> goto again :: else -> closing = me; mine = tag + 1 fi } /* [empty-1] */
    MAY_CUT;
#ifndef BUG_EMPTIED_LATE
    w = lanes_used; /* ma_lane_empty_all [empty-3] */
    i = 0;
    do
    :: i == 2 -> break
    :: i < 2 && !(w & (1 << i)) -> i++
    :: i < 2 && (w & (1 << i)) ->
#ifndef BUG_NOT_EMPTIED
        if :: end[i] != 0 -> end[i] = 0 :: else fi; /* [empty-2] */
#endif
        i++
    od;
    i = 0; w = 0;
    MAY_CUT;
#endif
    atomic { if :: closing == me && tag + 1 == mine -> tag = mine; closing = 0 :: else -> goto again fi } /* [defer-1] */
    MAY_CUT;
    atomic { if :: generation < mine -> generation = mine; taken = 0 :: else fi } /* ma_step_end */
    MAY_CUT;
    /* ma_pool_refresh, refresh_word */
#ifndef NO_REFRESH
    atomic { s = mine % SOURCES; w = word[s] }
look:
    atomic {
#ifdef BUG_REFRESH
        g = mine;
        if :: DISTANCE(w, g) == 0 -> goto ended :: else fi
#else
        g = generation;
        if :: !IS_OLDER(w, g) -> goto ended :: else fi
#endif
    }
    atomic { if :: word[s] == w -> word[s] = MAKE(g, BEGIN(s)) :: else -> w = word[s]; goto look fi }
#endif
ended:
#ifdef BUG_EMPTIED_LATE
    end[0] = 0;
    end[1] = 0;
#endif
    atomic {
        if :: finished < mine -> finished = mine :: else fi;
        s = 0; w = 0; g = 0; i = 0; mine = 0;
        goto next
    }
end_resets:
    skip
}

/* Nobody is at work: each of many resets, until all tags have come round, makes every source whole. */
inline resets_restore_all() {
    d_step {
        round = 0;
        do
        :: round <= (1 << TAG_BITS) ->
            generation++; tag = generation;
#ifndef NO_REFRESH
            i = generation % SOURCES;
            if :: IS_OLDER(word[i], generation) -> word[i] = MAKE(generation, BEGIN(i)) :: else fi;
#endif
            i = 0;
            do
            :: i < SOURCES -> assert(ONLY_BLOCKS || OFFSET(word[i], generation, BEGIN(i)) == BEGIN(i)); i++
            :: else -> break
            od;
            round++
        :: else -> break
        od;
        taken = 0; finished = generation; i = 0; round = 0;
#ifndef BUG_NOT_EMPTIED
        end[0] = 0; end[1] = 0
#endif
    }
}

init {
    byte i, round;
    atomic {
        i = 0;
        do
        :: i < SOURCES -> word[i] = MAKE(FIRST, BEGIN(i)); i++
        :: else -> break
        od;
        i = 0;
        resets_left = RESETS;
        at_work = 2 + RESETTERS;
        run thread(0);
        run thread(1);
        run resetter(1);
        if :: RESETTERS > 1 -> run resetter(2) :: else fi
    }
    (at_work == 0);
    atomic { if :: tag != generation -> generation = tag :: else fi; closing = 0; cut = false }
    resets_restore_all();
#if FILL
    fill = true;
    atomic {
        (filled && at_work == 0);
        assert(taken == (1 << CAPACITY) - 1) /* one thread has filled the arena to its last grain */
    }
#endif
}
