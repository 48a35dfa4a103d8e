/* One thread, a tree of scopes in a small arena, every call in random order, against a model: which bytes are whose,
 * what each scope holds, and which calls are still to run.
 *
 * Each block is filled with a byte of its own. After each operation every account must be what the model says: of a
 * scope to the byte what it handed out, of the arena that nothing is lost when scopes give back. The arena is small,
 * so that much is refused; a refusal must change nothing, and must be deserved. At the end of each play a reset makes
 * the arena whole.
 *
 * usage: scope_model [SEED]: that seed alone, in all arenas. A failure names its arena, seed and operation. */
#include "scope_model.h"
#ifdef WITH_YIELD
#include "yield.h"
#endif

#include <signal.h>

#define STALE 64u

static memarena_position stale[STALE];
static unsigned stale_count, block_number;
static uintptr_t call_number;
static enum { NOTHING, GOING_BACK, RESETTING, ENDING } doing; /* why calls are running */
static node *doing_it;

static unsigned long long seed, now_seed;
static unsigned long now_operation;
static const char *now_arena = "";

static void say_what_was_played(int signal)
{
    (void)signal;
    fprintf(stderr, "arena %s, seed %llu, operation %lu\n", now_arena, now_seed, now_operation);
}

static unsigned choose(unsigned limit)
{
    return (unsigned)(test_random(&seed) >> 16) % limit;
}

/* ---- Blocks ------------------------------------------------------------------------------------------------------ */

static size_t random_size(void)
{
    switch (choose(16)) {
    case 0:
        return choose(100001);
    case 1:
    case 2:
        return choose(10000);
    case 3:
    case 4:
        return choose(1200);
    case 5:
        return 0;
    default:
        return choose(120);
    }
}

static void add_block(node *self, unsigned char *at, size_t size)
{
    CHECK(self->block_count < BLOCKS);
    check_place(self, at, size);
    block *added = &self->blocks[self->block_count++];
    *added = (block){at, size, (unsigned char)(++block_number * 37 + 11)};
    if (size) memset(at, added->filling, size);
    self->marked = false;
}

static void allocate_one(node *self)
{
    if (self->block_count == BLOCKS) return;
    size_t size = random_size(), alignment = test_alignment(size), aligned = (size_t)1 << choose(13);
    size_t most = test_rounded(size) + (aligned > alignment ? aligned : alignment);
    bool zeroed = false, fits = fits_surely(self, most);
    unsigned char *at = NULL;
    errno = 0;
    switch (choose(6)) {
    case 0:
    case 1:
        at = memarena_alloc(self->arena, size);
        break;
    case 2:
        at = memarena_zalloc(self->arena, size), zeroed = true;
        break;
    case 3:
        at = memarena_calloc(self->arena, size, 1), zeroed = true;
        break;
    default:
        at = memarena_alloc_aligned(self->arena, size, aligned), alignment = aligned;
    }
    if (!at) {
        CHECK(!fits);
        CHECK_EQ(stats_of(root).last_failed_bytes, size);
        was_refused(self, test_rounded(size) + alignment);
        return;
    }
    CHECK_EQ((uintptr_t)at % alignment, 0);
    for (size_t byte = 0; zeroed && byte < size; byte++) CHECK_EQ(at[byte], 0);
    add_block(self, at, size);
    was_given(self, test_rounded(size), test_rounded(size) + alignment - 1, fits);
}

static void resize_one(node *self)
{
    if (self->block_count == 0 || self->block_count == BLOCKS) return;
    unsigned index = choose(3) ? self->block_count - 1 : choose(self->block_count);
    block *old = &self->blocks[index];
    size_t size = choose(2) ? random_size() : choose((unsigned)old->size + 1),
           kept = size < old->size ? size : old->size;
    size_t new_bytes = test_rounded(size), old_bytes = test_rounded(old->size);
    errno = 0;
    unsigned char *at = memarena_realloc(self->arena, old->at, old->size, size);
    check_filling(&(block){old->at, kept, old->filling});
    if (!at) {
        check_filling(old);
        was_refused(self, new_bytes + test_alignment(size));
    } else if (at != old->at) { /* the old one stays as it was */
        CHECK(size > old->size);
        check_filling(old);
        check_filling(&(block){at, kept, old->filling});
        add_block(self, at, size);
        was_given(self, new_bytes, new_bytes + test_alignment(size) - 1, false);
    } else {
        check_place(self, at, size);
        old->size = size;
        if (size) memset(at, old->filling, size);
        size_t own = memarena_allocated_bytes(self->arena) - held_below(self), grown = own - self->own;
        CHECK(grown == new_bytes - old_bytes || (grown == 0 && new_bytes <= old_bytes));
        self->own = own;
        if (self == root) claimed += grown;
        check_accounts();
    }
}

/* The newest block goes if nothing was taken behind it, such as a mark; then another one is the newest. */
static void drop_one(node *self)
{
    if (self->block_count == 0) return;
    block *last = &self->blocks[self->block_count - 1];
    size_t bytes = test_rounded(last->size), held = stats_of(self).held_bytes - held_below(self);
    check_filling(last);
    if (self->mark_count && self->marks[self->mark_count - 1].blocks == self->block_count) {
        CHECK(self == root || !memarena_drop_last(self->arena, last->at, last->size));
    } else if (memarena_drop_last(self->arena, last->at, last->size)) {
        self->block_count--;
        size_t own = memarena_allocated_bytes(self->arena) - held_below(self), gone = self->own - own;
        CHECK(gone == bytes || (gone > bytes && held > stats_of(self).held_bytes - held_below(self)));
        self->own = own;
        self->held = self == root ? 0 : stats_of(self).held_bytes - held_below(self);
        if (self == root) claimed -= gone;
    }
    check_accounts();
}

/* ---- Deferred calls ---------------------------------------------------------------------------------------------- */

static void open_one(node *parent);
static void run_call(void *argument);

static uintptr_t next_call(node *self)
{
    CHECK(self->call_count > 0);
    return self->calls[--self->call_count];
}

static void defer_one(node *self)
{
    if (self->call_count == CALLS) return;
    uintptr_t number = ++call_number;
    bool fits = fits_surely(self, 40);
    errno = 0;
    if (memarena_defer(self->arena, run_call, (void *)number)) {
        self->calls[self->call_count++] = number;
        self->marked = false;
        was_given(self, 8, 24 + 8, fits);
    } else {
        CHECK(!fits);
        was_refused(self, 24 + 8);
    }
}

/* Last in first out, once, while the blocks are alive. */
static void run_call(void *argument)
{
    node *self = doing_it;
    CHECK(doing != NOTHING);
    CHECK_EQ((uintptr_t)argument, next_call(self));
    check_blocks_of(self, 0);
    switch (choose(12)) {
    case 0:
        allocate_one(self);
        break;
    case 1:
        if (self->call_count < CALLS / 2) defer_one(self);
        break;
    case 2:
        errno = 0;
        CHECK(!memarena_reset(self->arena));
        CHECK_EQ(errno, EBUSY);
        break;
    case 3:
        errno = 0;
        CHECK(!memarena_keep(self->arena) && errno == (self == root ? EINVAL : EBUSY));
        errno = 0;
        if (self->mark_count) CHECK(!memarena_rewind(self->arena, self->marks[0].position) && errno == EBUSY);
        break;
    case 4:
        if (doing != ENDING) open_one(self);
        break;
    default:
        break;
    }
}

/* ---- Marks ------------------------------------------------------------------------------------------------------- */

static void cut_marks(node *self, unsigned count)
{
    while (self->mark_count > count) stale[stale_count++ % STALE] = self->marks[--self->mark_count].position;
}

static void mark_one(node *self)
{
    if (self->mark_count == MARKS) return;
    bool fits = fits_surely(self, 64);
    memarena_position position = memarena_mark(self->arena);
    if (self == root || position.scope_ == NULL) { /* not a scope, or full: a place that is refused */
        CHECK(!fits);
        spare_may_have_gone(self);
        stale[stale_count++ % STALE] = position;
        check_accounts();
        return;
    }
    /* A second mark at one place takes nothing, also where what was behind the first one has been dropped. */
    bool again = self->mark_count && self->marks[self->mark_count - 1].position.id_ == position.id_;
    CHECK(again || !self->marked);
    was_given(self, 0, 0, fits || again);
    self->marked = true;
    if (again) return;
    self->marks[self->mark_count++] = (mark){position, self->block_count, self->call_count, self->own, self->held};
}

static void rewind_one(node *self)
{
    if (self->mark_count == 0) return;
    unsigned index = choose(2) ? self->mark_count - 1 : choose(self->mark_count);
    mark *to = &self->marks[index];
    check_blocks_of(self, 0);
    doing = GOING_BACK, doing_it = self;
    CHECK(memarena_rewind(self->arena, to->position));
    doing = NOTHING;
    CHECK_EQ(self->call_count, to->calls);
    cut_marks(self, index + 1);
    self->block_count = to->blocks;
    self->own = to->own;
    spare_may_have_gone(self);
    self->marked = true;
    check_blocks_of(self, 0);
    check_accounts();
}

/* What a block leaves behind when the scope goes back is there for the next one like it. */
static void allocate_again(node *self)
{
    mark_one(self);
    if (!self->marked) return;
    size_t size = random_size(), alignment = (size_t)1 << choose(13), rest = memarena_capacity(root->arena) - claimed;
    if (choose(2) && rest > 4 * KIB && rest < 100 * KIB) size = rest - choose(4 * KIB), alignment = 8;
    const mark *to = &self->marks[self->mark_count - 1];
    for (int i = 0; i < 3; i++) {
        errno = 0;
        if (!memarena_alloc_aligned(self->arena, size, alignment)) {
            CHECK(i == 0);
            was_refused(self, test_rounded(size) + alignment);
            return;
        }
        CHECK(memarena_rewind(self->arena, to->position));
        memarena_stats stats = stats_of(root);
        CHECK(i == 0 || stats.allocated_bytes + stats.free_extent_bytes == claimed);
        claimed = stats.allocated_bytes + stats.free_extent_bytes;
        self->held = self == root ? 0 : stats_of(self).held_bytes;
        check_accounts();
    }
}

static void rewind_wrongly(node *self)
{
    memarena_position position = stale[choose(STALE)];
    node *other = &nodes[choose(NODES)];
    if (other->arena && other != self && other->mark_count && choose(2))
        position = other->marks[choose(other->mark_count)].position;
    errno = 0;
    CHECK(!memarena_rewind(self->arena, position));
    CHECK_EQ(errno, EINVAL);
    check_accounts();
}

/* ---- Beginning and end ------------------------------------------------------------------------------------------- */

static void open_one(node *parent)
{
    node *self = root + 1;
    while (self < nodes + NODES && self->arena) self++;
    if (parent->depth == DEPTH || self == nodes + NODES) return;
    size_t before = memarena_allocated_bytes(root->arena);
    errno = 0;
    memarena *arena = memarena_scope(parent->arena);
    if (!arena) {
        was_refused(parent, KIB - EXTENT_HEAD);
        return;
    }
    memset(self, 0, sizeof *self);
    self->arena = arena;
    self->parent = parent;
    self->depth = parent->depth + 1;
    self->generation = 1;
    parent->children++;
    was_given(self, 0, 0, false);
    CHECK(self->held >= KIB && memarena_allocated_bytes(root->arena) == before + self->held);
}

static void end_one(node *self)
{
    if (!self->arena || self == root || self->children) return;
    check_blocks_of(self, 0);
    doing = ENDING, doing_it = self;
    memarena_destroy(self->arena);
    doing = NOTHING;
    CHECK_EQ(self->call_count, 0);
    cut_marks(self, 0);
    self->parent->children--;
    self->arena = NULL;
    check_accounts();
}

/* The scope ends, and all that is in it is the parent's from now on. */
static void keep_one(node *self)
{
    node *parent = self->parent;
    errno = 0;
    if (self == root || self->children) {
        CHECK(!memarena_keep(self->arena));
        CHECK_EQ(errno, self == root ? EINVAL : EBUSY);
        check_accounts();
        return;
    }
    if (parent->block_count + self->block_count > BLOCKS || parent->call_count + self->call_count > CALLS) return;
    check_blocks_of(self, 0);
    CHECK(memarena_keep(self->arena));
    cut_marks(self, 0);
    parent->children--;
    parent->marked = false;
    self->arena = NULL;
    if (parent == root) { /* extents count whole */
        size_t grown = memarena_allocated_bytes(root->arena) - held_below(root) - root->own;
        CHECK(grown > self->own && grown <= self->held && grown % KIB == 0);
        root->own += grown;
    } else {
        size_t grown = stats_of(parent).held_bytes - parent->held;
        CHECK(grown > self->own && grown <= self->held && grown % KIB == 0);
        parent->own += self->own;
        parent->held += grown;
    }
    for (unsigned i = 0; i < self->block_count; i++) parent->blocks[parent->block_count++] = self->blocks[i];
    for (unsigned i = 0; i < self->call_count; i++) parent->calls[parent->call_count++] = self->calls[i];
    for (unsigned i = 0; i < parent->block_count; i++)
        check_place(parent, parent->blocks[i].at, parent->blocks[i].size);
    check_blocks_of(parent, 0);
    check_accounts();
}

static void undefer_one(node *self)
{
    CHECK(!memarena_undefer(self->arena, run_call, &seed)); /* that is nobody's */
    if (self->call_count == 0) return;
    unsigned index = choose(self->call_count);
    CHECK(memarena_undefer(self->arena, run_call, (void *)self->calls[index]));
    self->call_count--;
    memmove(&self->calls[index], &self->calls[index + 1], (self->call_count - index) * sizeof *self->calls);
    for (unsigned i = 0; i < self->mark_count; i++) self->marks[i].calls -= self->marks[i].calls > index;
    check_accounts();
}

static void reset_one(node *self)
{
    unsigned calls = self->call_count, open = self == root ? count_open() : self->children;
    check_blocks_of(self, 0);
    errno = 0;
    doing = RESETTING, doing_it = self;
    bool done = memarena_reset(self->arena);
    doing = NOTHING;
    if (open) { /* refused before anything happened; or after its calls had run, one of which opened a scope */
        CHECK(!done && errno == EBUSY && self->call_count == calls);
    } else if ((self == root ? count_open() : self->children) != 0) {
        CHECK(!done && errno == EBUSY && self->call_count == 0);
        for (unsigned i = 0; i < self->mark_count; i++) self->marks[i].calls = 0;
        self->marked = false;
    } else {
        CHECK(done && self->call_count == 0);
        cut_marks(self, 0);
        self->block_count = 0;
        self->own = 0;
        spare_may_have_gone(self);
        self->generation++;
        self->marked = false;
        if (self == root) claimed = 0;
    }
    check_blocks_of(self, 0);
    check_accounts();
}

static void end_all(void)
{
    while (root->children) end_one(&nodes[1 + choose(NODES - 1)]);
    CHECK_EQ(memarena_allocated_bytes(root->arena), root->own);
    check_accounts();
}

/* ---- Plays ------------------------------------------------------------------------------------------------------- */

static node *choose_node(void)
{
    for (;;) {
        node *self = &nodes[choose(NODES)];
        if (self->arena) return self;
    }
}

static void play_one(void)
{
    if (choose(600) == 0) {
        end_all();
        reset_one(root);
    }
    node *self = choose_node();
    unsigned what = choose(67);
    if (what < 30)
        allocate_one(self);
    else if (what < 36)
        resize_one(self);
    else if (what < 38)
        drop_one(self);
    else if (what < 43)
        defer_one(self);
    else if (what < 48)
        mark_one(self);
    else if (what < 51)
        rewind_one(self);
    else if (what < 52)
        rewind_wrongly(self);
    else if (what < 53)
        allocate_again(self);
    else if (what < 59)
        open_one(self);
    else if (what < 62)
        end_one(self);
    else if (what < 64)
        keep_one(self);
    else if (what < 65)
        undefer_one(self);
    else
        reset_one(choose(4) ? self : root);
}

static void begin(memarena *arena)
{
    CHECK(arena != NULL);
    memset(nodes, 0, sizeof nodes);
    root->arena = arena;
    root->generation = 1;
    claimed = 0;
    failures = 0;
    check_accounts();
}

/* The arena ends with its calls still to run; or it is made whole before. */
static void end(bool whole)
{
    memarena *arena = root->arena;
    end_all();
    if (whole) {
        for (uint64_t generation = root->generation; root->generation == generation; end_all()) reset_one(root);
        test_check_whole(arena, 4096);
    } else {
        (void)test_fill(arena, 4096, NULL, 1);
        CHECK_EQ(stats_of(root).free_extent_bytes, 0); /* the arena's own blocks find them all */
    }
    failures = stats_of(root).failed_requests;
    claimed = root->own = memarena_allocated_bytes(arena);
    root->generation = memarena_generation(arena);
    doing = ENDING, doing_it = root;
    memarena_destroy(arena);
    doing = NOTHING;
    CHECK_EQ(root->call_count, 0);
}

static void play(const char *name, const memarena_options *options, unsigned long long number)
{
    now_arena = name, now_seed = number, now_operation = 0;
    seed = number * 0x9E3779B97F4A7C15u | 1;
    for (int i = 0; i < 8; i++) (void)test_random(&seed);
    printf("    %s, seed %llu\n", name, number), fflush(stdout); /* for failures that do not come through abort */
    begin(memarena_create_with(options));
    long operations = test_scaled(4000);
    while (++now_operation <= (unsigned long)operations) {
        play_one();
        if (now_operation % 64 == 0) check_all_blocks();
    }
    end(choose(2));
}

static unsigned long long first_seed = 1, last_seed = 10;

static void arenas_of_all_sizes_keep_their_scopes_apart(void)
{
    for (unsigned long long number = first_seed; number <= last_seed; number++) {
        play("of 64 KiB", &(memarena_options){.capacity = 64 * KIB}, number);
        play("of 256 KiB", &(memarena_options){.capacity = 256 * KIB}, number);
        play("of 1000000 bytes", &(memarena_options){.capacity = 1000000}, number);
        play("of 2 MiB", &(memarena_options){.capacity = 2048 * KIB}, number);
        play("with small TLABs", &(memarena_options){.capacity = 1024 * KIB, .tlab_bytes = 64}, number);
    }
}

static void so_do_arenas_in_buffers(void)
{
    static unsigned char memory[(1400 << 10) + 128];
    for (unsigned long long number = first_seed; number <= last_seed; number++) {
        unsigned char *buffer = memory + number * 40 % 128;
        play("in 100 KiB", &(memarena_options){.buffer = buffer, .capacity = 100 * KIB}, number);
        play("in 400 KiB", &(memarena_options){.buffer = buffer, .capacity = 400 * KIB + 5}, number);
        play("in 1400 KiB", &(memarena_options){.buffer = buffer, .capacity = 1400 * KIB}, number);
    }
}

int main(int argc, char **argv)
{
#ifdef WITH_YIELD
    __atomic_store_n(&test_yield_chance, 0, __ATOMIC_RELAXED); /* there is nobody to yield to */
#endif
    if (argc > 1) first_seed = last_seed = strtoull(argv[1], NULL, 0);
    signal(SIGABRT, say_what_was_played);
    RUN(arenas_of_all_sizes_keep_their_scopes_apart);
    RUN(so_do_arenas_in_buffers);
    return test_done();
}
