/* Any sequence of calls, from one thread, on one arena and the scopes in it, against the model in model.h.
 *
 * The input is read byte by byte: first the options of the arena, then operations until it ends. The first byte of an
 * operation, modulo their number, names it (see `operations`), the second the arena or scope; the others are its
 * arguments. Behind its end an input reads as zeros, so that each one ends well. After each call the accounts of the
 * arena and of all scopes are compared with the model's; see README.md for all that is checked. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "call.h"
#include "options.h"

#include <wchar.h>

#define OPERATIONS_MAX 1000
#define SHORT_MAX 4096 /* what is copied from `source` */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
typedef struct wide {
    _Alignas(64) unsigned char bytes[128];
} wide;

static char source[SHORT_MAX + 1];

static uintptr_t call_number;
static node *running; /* whose deferred calls are running */
static bool running_to_the_end;

static memarena_position stale[8];
static unsigned stale_count;

/* ---- Blocks ------------------------------------------------------------------------------------------------------ */

typedef enum way { ALLOC, ZALLOC, CALLOC, CALLOC_OF_8, NEW, NEW_WIDE, NEW_VALUE, NEW_ARRAY, CONSTANT, ALIGNED } way;

static const size_t constants[] = {1, 2, 8, 32, 64, 512, 4096, 65536};

static void *aligned_by_constant(memarena *arena, size_t size, size_t alignment)
{
    switch (alignment) {
    case 1:
        return memarena_alloc_aligned(arena, size, 1);
    case 2:
        return memarena_alloc_aligned(arena, size, 2);
    case 8:
        return memarena_alloc_aligned(arena, size, 8);
    case 32:
        return memarena_alloc_aligned(arena, size, 32);
    case 64:
        return memarena_alloc_aligned(arena, 64, 64);
    case 512:
        return memarena_alloc_aligned(arena, 1024, 512);
    case 4096:
        return memarena_alloc_aligned(arena, size, 4096);
    default:
        return memarena_alloc_aligned(arena, size, 65536);
    }
}

static void *take(memarena *arena, way how, size_t size, size_t alignment)
{
    switch (how) {
    case ALLOC:
        return memarena_alloc(arena, size);
    case ZALLOC:
        return memarena_zalloc(arena, size);
    case CALLOC:
        return memarena_calloc(arena, size, 1);
    case CALLOC_OF_8:
        return memarena_calloc(arena, 8, size / 8);
    case NEW:
        return memarena_new(arena, uint64_t);
    case NEW_WIDE:
        return memarena_new(arena, wide);
    case NEW_VALUE:
        return memarena_new_value(arena, uint32_t, 0);
    case NEW_ARRAY:
        return memarena_new_array(arena, uint16_t, size / 2);
    case CONSTANT:
        return aligned_by_constant(arena, size, alignment);
    default:
        return memarena_alloc_aligned(arena, size, alignment);
    }
}

/* The outcome of a request, whatever the call was. */
static block *has_taken(node *self, unsigned char *at, size_t size, size_t alignment, bool fits, bool was_busy)
{
    size_t least = rounded(size), most = least + alignment - (alignment < GRAIN ? alignment : GRAIN);
    end_call(self, was_busy, !at);
    if (!at) {
        CHECK(!fits);
        was_refused(self, size, alignment, false);
        return NULL;
    }
    CHECK_EQ((uintptr_t)at % alignment, 0);
    was_given(self, least, most, fits);
    return add_block(self, at, size);
}

static size_t padded(size_t size, size_t alignment)
{
    return size > SIZE_MAX / 4 || alignment > SIZE_MAX / 4 ? SIZE_MAX : rounded(size) + alignment;
}

static void allocate(node *self, way how, size_t size, size_t alignment)
{
    if (block_count == BLOCKS) return;
    bool fits = fits_surely(self, padded(size, alignment)), was_busy = begin_call(self);
    unsigned char *at = take(self->arena, how, size, alignment);
    if (!is_power(alignment)) {
        CHECK(!at && errno == EINVAL && oom_calls == 0);
        self->busy = was_busy, asking = NULL;
        return;
    }
    bool zeroed = at && how != ALLOC && how != CONSTANT && how != ALIGNED;
    if (zeroed) check_zero(at, size);
    block *added = has_taken(self, at, size, alignment, fits, was_busy);
    if (added) fill(added);
}

static void do_alloc(node *self)
{
    size_t size = next_size();
    SAY("alloc(%s, %zu)\n", name_of(self), size);
    allocate(self, ALLOC, size, test_alignment(size));
}

static void do_small(node *self)
{
    size_t size = next() % 64;
    SAY("alloc(%s, %zu)\n", name_of(self), size);
    allocate(self, ALLOC, size, test_alignment(size));
}

static void do_aligned(node *self)
{
    size_t size = next_size(), alignment = next_alignment();
    SAY("alloc_aligned(%s, %zu, %zu)\n", name_of(self), size, alignment);
    allocate(self, ALIGNED, size, alignment);
}

static void do_constant(node *self)
{
    size_t size = next_size(), alignment = constants[next() % 8];
    if (alignment == 64 || alignment == 512) size = alignment == 64 ? 64 : 1024;
    SAY("alloc_aligned(%s, %zu, constant %zu)\n", name_of(self), size, alignment);
    allocate(self, CONSTANT, size, alignment);
}

static void do_zalloc(node *self)
{
    size_t size = next_size();
    bool by_calloc = next() % 2;
    SAY("%s(%s, %zu)\n", by_calloc ? "calloc of bytes" : "zalloc", name_of(self), size);
    allocate(self, by_calloc ? CALLOC : ZALLOC, size, test_alignment(size));
}

static void do_calloc(node *self)
{
    size_t size = next_size() & ~(size_t)7;
    SAY("calloc(%s, 8, %zu)\n", name_of(self), size / 8);
    allocate(self, CALLOC_OF_8, size, test_alignment(size));
}

static void do_new(node *self)
{
    unsigned kind = next() % 4;
    size_t size = kind == 3 ? next_size() & ~(size_t)1 : 0;
    SAY("new(%s, kind %u, %zu)\n", name_of(self), kind, size);
    if (kind == 0) allocate(self, NEW, sizeof(uint64_t), _Alignof(uint64_t));
    if (kind == 1) allocate(self, NEW_WIDE, sizeof(wide), _Alignof(wide));
    if (kind == 2) allocate(self, NEW_VALUE, sizeof(uint32_t), _Alignof(uint32_t));
    if (kind == 3) allocate(self, NEW_ARRAY, size, _Alignof(uint16_t));
}

/* A product that does not fit. */
static void do_overflow(node *self)
{
    size_t size = (size_t)next_word() + 2, count = SIZE_MAX / size + 1 + next();
    bool as_array = next() % 2;
    if (as_array) size = sizeof(wide), count = SIZE_MAX / size + 1 + next();
    SAY("%s(%s, %zu, %zu)\n", as_array ? "new_array" : "calloc", name_of(self), count, size);
    bool was_busy = begin_call(self);
    void *at =
        as_array ? (void *)memarena_new_array(self->arena, wide, count) : memarena_calloc(self->arena, count, size);
    end_call(self, was_busy, true);
    CHECK(!at && errno == ENOMEM);
    failures++;
    last_failed = stats_of(root).last_failed_bytes;
    check_all_accounts();
}

/* ---- Resizing ---------------------------------------------------------------------------------------------------- */

static block *choose_block(const node *self)
{
    unsigned byte = next();
    block *chosen = NULL;
    for (unsigned i = 0; i < block_count; i++) {
        block *each = &blocks[(byte / 2 + i) % block_count];
        if (each->owner != self) continue;
        if (byte % 2 == 0 && chosen) break;
        if (!chosen || each->number > chosen->number) chosen = each;
    }
    return chosen;
}

static void do_realloc(node *self)
{
    static bool resizing; /* on_oom may run a call that would resize the same block */
    block *chosen = choose_block(self);
    size_t size = next_size();
    bool shrink = next() % 4 == 1;
    if (block_count == BLOCKS || resizing) return;
    if (!chosen) {
        SAY("realloc(%s, NULL, 0, %zu)\n", name_of(self), size);
        bool fits = fits_surely(self, padded(size, test_alignment(size))), was_busy = begin_call(self);
        unsigned char *at = memarena_realloc(self->arena, NULL, 0, size);
        chosen = has_taken(self, at, size, test_alignment(size), fits, was_busy);
        if (chosen) fill(chosen);
        return;
    }
    block old = *chosen;
    if (shrink && old.size) size %= old.size + 1;
    size_t kept = size < old.size ? size : old.size, new_bytes = size > SIZE_MAX - 7 ? 0 : rounded(size);
    SAY("realloc(%s, block %u, %zu, %zu)\n", name_of(self), old.number, old.size, size);
    bool was_busy = begin_call(self);
    resizing = true;
    unsigned char *at = memarena_realloc(self->arena, old.at, old.size, size);
    resizing = false;
    if (!at || at != old.at) { /* then the old one stays as it was */
        CHECK(size > old.size);
        check_filling(&old);
        if (at) check_copy(at, &old, kept);
        chosen = has_taken(self, at, size, test_alignment(size), false, was_busy);
        if (chosen) fill(chosen);
        return;
    }
    end_call(self, was_busy, false);
    check_copy(at, &old, kept);
    check_place(self, at, size);
    chosen = &blocks[find_block(at)]; /* on_oom may have moved it */
    CHECK(chosen->at == at);
    chosen->size = size;
    size_t own = memarena_allocated_bytes(self->arena) - held_below(self), grown = own - self->own;
    CHECK(grown == new_bytes - rounded(old.size) || (grown == 0 && new_bytes <= rounded(old.size)));
    self->own = own;
    self->marked = self->marked && grown == 0;
    if (self == root) claimed += grown;
    fill(chosen);
}

/* The newest block, if nothing has been taken behind it. */
static void do_drop(node *self)
{
    unsigned place = block_count;
    for (unsigned i = 0; i < block_count; i++)
        if (blocks[i].owner == self && (place == block_count || blocks[i].number > blocks[place].number)) place = i;
    if (place == block_count) return;
    block last = blocks[place];
    SAY("drop_last(%s, block %u, %zu)\n", name_of(self), last.number, last.size);
    check_filling(&last);
    size_t held = self == root ? 0 : stats_of(self).held_bytes - held_below(self);
    if (!memarena_drop_last(self->arena, last.at, last.size)) return;
    CHECK(self->mark_count == 0 || last.number > self->marks[self->mark_count - 1].number);
    memmove(&blocks[place], &blocks[place + 1], (--block_count - place) * sizeof *blocks);
    size_t gone = self->own - (memarena_allocated_bytes(self->arena) - held_below(self));
    self->own -= gone;
    if (self != root) self->held = stats_of(self).held_bytes - held_below(self);
    CHECK(gone == rounded(last.size) || (gone > rounded(last.size) && held > self->held)); /* with all of its extent */
    if (self == root) claimed -= gone;
}

/* ---- Texts ------------------------------------------------------------------------------------------------------- */

static void do_text(node *self)
{
    if (block_count == BLOCKS) return;
    unsigned kind = next() % 6;
    size_t length = next() % 4 ? next() : next_word() % SHORT_MAX, max = kind == 2 ? next_word() % SHORT_MAX : length;
    size_t size = (max < length ? max : length) + 1, alignment = kind == 0 ? test_alignment(length) : 1;
    if (kind == 0) size = length;
    const char *text = source + (SHORT_MAX - length); /* so long */
    SAY("text(%s, kind %u, length %zu, at most %zu)\n", name_of(self), kind, length, max);
    bool fits = fits_surely(self, rounded(size) + alignment), was_busy = begin_call(self);
    char *at = NULL;
    if (kind == 5) { /* a character that there is not */
        at = memarena_printf(self->arena, "%*c%lc", (int)length, 'x', (wint_t)0x7fffffff);
        CHECK(!at && errno == EILSEQ && oom_calls == 0);
        self->busy = was_busy, asking = NULL;
        return;
    }
    if (kind == 0) at = memarena_memdup(self->arena, text, length);
    if (kind == 1) at = memarena_strdup(self->arena, text);
    if (kind == 2) at = memarena_strndup(self->arena, text, max);
    if (kind == 3) at = memarena_printf(self->arena, "%s", text);
    if (kind == 4) at = memarena_printf(self->arena, "%.*s%s", (int)(length / 2), text, text + length / 2);
    if (at) CHECK(memcmp(at, text, kind == 0 ? size : size - 1) == 0 && (kind == 0 || at[size - 1] == '\0'));
    block *added = has_taken(self, (unsigned char *)at, size, alignment, fits, was_busy);
    if (added) fill(added);
}

/* ---- Deferred calls ---------------------------------------------------------------------------------------------- */

static void do_defer(node *self);
static void do_open(node *parent);

static void run_call(void *argument)
{
    node *self = running;
    CHECK(self != NULL);
    CHECK(self->call_count > 0);
    CHECK_EQ((uintptr_t)argument, self->calls[--self->call_count]);
    check_all_blocks();
    node *other = self->parent && next() % 2 ? self->parent : self;
    unsigned what = next() % 8;
    SAY("    call %u of %s\n", (unsigned)(uintptr_t)argument, name_of(self));
    errno = 0;
    if (what == 1) do_small(other);
    if (what == 2) do_alloc(other);
    if (what == 3) do_defer(other);
    if (what == 4) CHECK(!memarena_reset(self->arena) && errno == EBUSY);
    if (what == 5 && self->mark_count) CHECK(!memarena_rewind(self->arena, self->marks[0].position) && errno == EBUSY);
    if (what == 6 && !running_to_the_end) do_open(other);
    if (what == 7) do_realloc(other);
}

static void do_defer(node *self)
{
    if (self->call_count == CALLS) return;
    uintptr_t number = ++call_number;
    SAY("defer(%s, call %u)\n", name_of(self), (unsigned)number);
    bool fits = fits_surely(self, 24 + GRAIN), was_busy = begin_call(self);
    bool done = memarena_defer(self->arena, run_call, (void *)number);
    end_call(self, was_busy, !done);
    if (!done) {
        size_t size = stats_of(root).last_failed_bytes;
        CHECK(!fits && size <= 24);
        was_refused(self, size, GRAIN, false);
        return;
    }
    self->calls[self->call_count++] = number;
    self->marked = false;
    was_given(self, GRAIN, 24, fits);
}

/* A call that runs what was deferred in the node. */
typedef enum ending { GO_BACK, RESET, END } ending;

static bool run_calls(node *self, ending how, memarena_position position)
{
    node *outer = running;
    bool outer_to_the_end = running_to_the_end, was_busy = self->busy, done = true;
    running = self, running_to_the_end = how == END;
    self->busy = self->runs = true;
    errno = 0;
    if (how == GO_BACK) done = memarena_rewind(self->arena, position);
    if (how == RESET) done = memarena_reset(self->arena);
    if (how == END) memarena_destroy(self->arena);
    self->runs = false, self->busy = was_busy;
    running = outer, running_to_the_end = outer_to_the_end;
    return done;
}

/* ---- Marks ------------------------------------------------------------------------------------------------------- */

static void cut_marks(node *self, unsigned count)
{
    while (self->mark_count > count) stale[stale_count++ % 8] = self->marks[--self->mark_count].position;
}

static void do_mark(node *self)
{
    if (self->mark_count == MARKS) return;
    SAY("mark(%s)\n", name_of(self));
    bool fits = fits_surely(self, 64);
    memarena_position position = memarena_mark(self->arena);
    if (self == root || position.scope_ == NULL) { /* not a scope, or full: a place that is refused */
        CHECK(!fits);
        spare_may_have_gone(self);
        CHECK(!memarena_rewind(self->arena, position) && errno == EINVAL);
        return;
    }
    /* A second mark at one place takes nothing, also where what was behind the first one has been dropped. */
    bool again = self->mark_count && self->marks[self->mark_count - 1].position.id_ == position.id_;
    CHECK(again || !self->marked);
    was_given(self, 0, 0, fits || again);
    self->marked = true;
    if (again) return;
    self->marks[self->mark_count++] = (mark){position, self->call_count, block_number, self->own, self->held};
}

static void do_rewind(node *self)
{
    if (self->mark_count == 0 || self->runs) return;
    unsigned index = self->mark_count - 1 - next() % self->mark_count;
    mark to = self->marks[index];
    SAY("rewind(%s, mark %u)\n", name_of(self), index);
    check_all_blocks();
    CHECK(run_calls(self, GO_BACK, to.position));
    CHECK_EQ(self->call_count, to.calls);
    cut_marks(self, index + 1);
    drop_blocks(self, to.number);
    self->own = to.own;
    spare_may_have_gone(self);
    self->marked = true;
    check_all_accounts();
}

static void do_rewind_wrongly(node *self)
{
    unsigned which = next();
    memarena_position position = stale[which % 8];
    const node *other = &nodes[which % NODES];
    if (which & 128 && other->arena && other != self && other->mark_count) position = other->marks[0].position;
    SAY("rewind(%s, a mark that is not valid)\n", name_of(self));
    errno = 0;
    CHECK(!memarena_rewind(self->arena, position) && errno == EINVAL);
}

/* ---- Beginning and end ------------------------------------------------------------------------------------------- */

static void do_open(node *parent)
{
    node *self = root + 1;
    while (self < nodes + NODES && self->arena) self++;
    if (parent->depth == DEPTH || self == nodes + NODES) return;
    SAY("scope(%s): scope%u\n", name_of(parent), (unsigned)(self - nodes));
    size_t free_before = stats_of(root).free_extent_bytes;
    bool was_busy = begin_call(parent);
    memarena *arena = memarena_scope(parent->arena);
    end_call(parent, was_busy, !arena);
    if (!arena) {
        size_t size = stats_of(root).last_failed_bytes;
        CHECK(size <= KIB && (oom_mode == 3 || free_before == 0));
        was_refused(parent, size, 2 * KIB, true);
        return;
    }
    scopes_came_by = true;
    memset(self, 0, sizeof *self);
    self->arena = arena;
    self->parent = parent;
    self->depth = parent->depth + 1;
    self->generation = 1;
    parent->children++;
    was_given(self, 0, 0, false);
    CHECK(self->held >= KIB);
}

/* Of a scope without scopes in it, or of the arena. */
static void end_one(node *self)
{
    SAY("destroy(%s)\n", name_of(self));
    check_all_blocks();
    (void)run_calls(self, END, (memarena_position){NULL, 0});
    CHECK_EQ(self->call_count, 0);
    drop_blocks(self, 0);
    cut_marks(self, 0);
    self->arena = NULL;
    if (self == root) return;
    self->parent->children--;
    check_all_accounts();
}

static void do_end(node *self)
{
    if (self != root && self->children == 0 && !self->busy) end_one(self);
}

static void end_scopes(void)
{
    while (root->children)
        for (node *each = nodes + NODES - 1; each > root; each--)
            if (each->arena) do_end(each);
}

static void do_reset(node *self)
{
    unsigned calls = self->call_count, open = self == root ? count_open() : self->children;
    SAY("reset(%s)\n", name_of(self));
    check_all_blocks();
    bool done = run_calls(self, RESET, (memarena_position){NULL, 0});
    unsigned open_now = self == root ? count_open() : self->children;
    CHECK(done || errno == EBUSY);
    CHECK_EQ(done, open == 0 && open_now == 0);
    if (open) { /* refused before anything happened */
        CHECK_EQ(self->call_count, calls);
    } else if (open_now) { /* or after its calls had run, one of which opened a scope */
        CHECK_EQ(self->call_count, 0);
        for (unsigned i = 0; i < self->mark_count; i++) self->marks[i].calls = 0;
        self->marked = false;
    } else {
        CHECK_EQ(self->call_count, 0);
        cut_marks(self, 0);
        drop_blocks(self, 0);
        self->own = 0;
        spare_may_have_gone(self);
        self->generation++;
        self->marked = false;
        if (self == root) claimed = 0, scopes_came_by = false;
    }
    check_all_accounts();
    check_all_blocks();
}

/* After a reset the whole capacity is there, in one piece. */
static void do_whole(node *self)
{
    (void)self;
    uint64_t generation = root->generation;
    SAY("(is the arena whole?)\n");
    while (root->generation == generation) {
        end_scopes();
        do_reset(root);
    }
    size_t whole = memarena_capacity(root->arena) & ~(GRAIN - 1);
    allocate(root, ALIGNED, whole, GRAIN);
    CHECK_EQ(memarena_allocated_bytes(root->arena), whole);
    allocate(root, ALIGNED, 1, 1);
    CHECK_EQ(memarena_allocated_bytes(root->arena), whole);
    while (root->generation == generation + 1) do_reset(root);
}

static void do_reset_all(node *self)
{
    (void)self;
    end_scopes();
    do_reset(root);
}

/* ---- Looking ----------------------------------------------------------------------------------------------------- */

static void do_look(node *self)
{
    unsigned char room[2 * sizeof(memarena_stats)], full[sizeof(memarena_stats)];
    size_t size = (size_t)next_word() % sizeof room;
    memarena_stats stats = stats_of(self);
    if (size < sizeof stats) stats.size = size < sizeof stats.size ? 0 : size;
    memcpy(full, &stats, sizeof full);
    memset(room, 0xa5, sizeof room);
    SAY("get_stats(%s, %zu)\n", name_of(self), size);
    memarena_stats *into = (memarena_stats *)(void *)room;
    memarena_get_stats(self->arena, into, size);
    for (size_t i = 0; i < sizeof room; i++) CHECK_EQ(room[i], i >= size ? 0xa5 : i < sizeof full ? full[i] : 0);
    CHECK(!memarena_owns(self->arena, room) && !memarena_owns(self->arena, NULL));
    memarena_destroy(NULL);
    check_all_blocks();
}

static void do_trim(node *self)
{
    unsigned word = next_word();
    size_t keep = word % 256 == 255 ? MEMARENA_RETAIN_AUTO : (size_t)word << 8, given;
    SAY("trim(%s, %zu)\n", name_of(self), keep);
    given = memarena_trim(self->arena, keep);
    CHECK(given <= memarena_capacity(root->arena) * 4 + 4096); /* (a watched arena spreads its blocks) */
    check_all_accounts();
    check_all_blocks();
}

/* ---- Plays ------------------------------------------------------------------------------------------------------- */

/* A new operation goes to the end: then the inputs in corpus/ mean nearly what they meant. Some are there twice, since
 * they are worth it. */
#define SLOTS 32u
static const struct operation {
    void (*run)(node *self);
} operations[] = {
    {do_alloc},    {do_small},   {do_aligned}, {do_constant}, {do_zalloc},    {do_calloc}, {do_new},
    {do_overflow}, {do_realloc}, {do_text},    {do_defer},    {do_mark},      {do_rewind}, {do_rewind_wrongly},
    {do_open},     {do_end},     {do_reset},   {do_whole},    {do_reset_all}, {do_look},   {do_small},
    {do_realloc},  {do_alloc},   {do_open},    {do_trim},     {do_drop},
};

static void begin(memarena *arena)
{
    memset(nodes, 0, sizeof nodes);
    memset(stale, 0, sizeof stale);
    root->arena = arena;
    root->generation = 1;
    block_count = stale_count = 0;
    block_number = 0;
    claimed = last_failed = 0;
    scopes_came_by = false;
    failures = 0;
    call_number = 0;
    check_all_accounts();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    memset(source, 'a', SHORT_MAX);
    input = data, input_end = data + size;
    memarena_options options = {.on_oom_context = &oom_calls};
    oom_mode = next() % 4;
    if (oom_mode) options.on_oom = on_oom;
    memarena *arena = create(&options);
    if (!arena) return 0;
    begin(arena);
    for (unsigned i = 0; i < OPERATIONS_MAX && input < input_end; i++) {
        const struct operation *operation = &operations[next() % SLOTS % (sizeof operations / sizeof *operations)];
        operation->run(next_node());
        check_all_accounts();
    }
    end_scopes();
    check_all_accounts();
    if (size % 2) do_whole(root);
    end_one(root); /* what is deferred runs now */
    check_canaries(&options);
    return 0;
}
