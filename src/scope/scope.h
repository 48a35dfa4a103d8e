/* A scope: a private child of an arena, in extents that it takes from there and gives back at its end.
 *
 *     extent (at a multiple of 1 KiB)
 *     | ma_scope (its first member is what the inline code bumps) | blocks ...
 *     | ma_extent | blocks ...        further extents, twice as large each, or as large as a block needs
 *
 * Bit 6 of its address is clear, so the inline code bumps the scope's own range: as for an arena without lanes. It has
 * one owner at a time and touches nothing shared but the arena's extents, and those only when it needs one. */
#ifndef MA_SCOPE_H
#define MA_SCOPE_H

#include "../base/lease.h"

/* The head of an extent of a scope. */
typedef struct ma_extent {
    _Alignas(8) struct ma_extent *older;
    uint32_t units;
    union {
        uint32_t stamp; /* of a spare one: in which mark's round, or the scope's, it was put aside */
        /* Of one in use: grains taken of it beside a burst; or MA_EXTENT_KEPT, or MA_EXTENT_OWN. */
        uint32_t beside;
    };
} ma_extent;

#define MA_EXTENT_OWN 0u
#define MA_EXTENT_KEPT 1u    /* it came from a scope that was kept: none of its blocks is the last one here */
#define MA_STAMP_OF_RESET 2u /* it was put aside by a reset of the scope. Those of marks are odd */

/* A place to go back to; lies among the blocks of the scope, and leaves the alignment of the next one as it was. */
typedef struct ma_mark {
    _Alignas(MEMARENA_MAX_ALIGNMENT_) struct ma_mark *older;
    uint64_t id; /* never the same in this process */
    ma_extent *newest, *bumped;
    uintptr_t cursor, settled;
    uint64_t deferred;
} ma_mark;

typedef struct ma_scope ma_scope;

/* What memarena_scope_with has asked for: a limit, a name. Lies behind the words of its scope, as long as the scope is open. */
typedef struct ma_tenant {
    _Alignas(
        MEMARENA_MAX_ALIGNMENT_) struct ma_tenant *above; /* of the nearest scope above that has a limit; or NULL */
    uint64_t limit;                                       /* 0: none */
    _Alignas(8) uint64_t charged; /* bytes of extents of this scope and of all below it: see limit.c. [limit-1] */
    char name[32];
} ma_tenant;

struct ma_scope {
    _Alignas(MEMARENA_MAX_ALIGNMENT_) struct memarena
        tlab; /* cursor_ and end_; under a sanitizer, and in the debug build, end_ stays 0 */
    ma_kind kind;
    bool ending;           /* deferred calls are running */
    uint16_t sample_round; /* see sample.c */
    uintptr_t burst;       /* see burst.c */
    union {
        uintptr_t user;    /* whoever is inside a call; the debug build's, where no burst holds anything */
        ma_extent *beside; /* where blocks are taken beside a burst; NULL: nowhere yet */
    };
    ma_arena *root;
    ma_scope *parent; /* NULL: the arena itself */
    uintptr_t limit;  /* where the extent that is being bumped ends */
    uintptr_t base;   /* base + cursor_: bytes handed out in this generation */
    uint64_t generation, root_generation;
    ma_extent *newest;   /* all extents in use */
    ma_extent *spare;    /* extents that the last round used, for the next one: see round.c */
    ma_extent *bumped;   /* the one that is being bumped */
    ma_mark *marks;      /* newest first */
    uint64_t deferred;   /* address of the newest deferred call */
    uintptr_t held;      /* bytes of its own extents, spare ones too */
    uintptr_t children;  /* scopes of this one that are open. Written by their owners. [open-4] */
    uintptr_t sample_at; /* see sample.c: a position */
    void *place[2];      /* what memarena_place_ answers */
    ma_tenant *tenant;   /* its own, or that of the nearest scope above that has a limit; NULL: there is none */
    ma_extent first;
};

/* Whether an open burst holds what the scope bumps. */
static inline bool ma_scope_is_held(const ma_scope *scope)
{
    return ma_load_relaxed(&scope->tlab.cursor_) & 1;
}

/* The scope's own tenant, if it has one. */
static inline ma_tenant *ma_scope_own_tenant(const ma_scope *scope)
{
    return scope->tenant == (const ma_tenant *)(scope + 1) ? scope->tenant : NULL;
}

/* Where the scope's first block may lie. */
static inline uintptr_t ma_scope_first_place(const ma_scope *scope)
{
    return (uintptr_t)(scope + 1) + (ma_scope_own_tenant(scope) ? sizeof(ma_tenant) : 0);
}

/* Up to where what is bumped has been handed out. What a burst holds has. */
static inline uintptr_t ma_scope_counted_to(const ma_scope *scope)
{
    return ma_scope_is_held(scope) ? scope->limit : ma_load_relaxed(&scope->tlab.cursor_);
}

static inline bool ma_is_scope(const memarena *handle)
{
    ma_kind kind = ma_arena_of(handle)->kind;
    if (MA_DEBUG && kind != MA_KIND_ARENA && kind != MA_KIND_PER_CPU && kind != MA_KIND_SCOPE)
        ma_misuse("%p is not an arena or an open scope%s", (const void *)handle,
                  kind == MA_KIND_ENDED ? ": it was ended before" : "");
    return kind == MA_KIND_SCOPE;
}

/* The scope; NULL: the handle is an arena's. */
static inline ma_scope *ma_scope_of(const memarena *handle)
{
    return ma_is_scope(handle) ? (ma_scope *)(uintptr_t)handle : NULL;
}

static inline ma_arena *ma_root_of(const memarena *handle)
{
    const ma_scope *scope = ma_scope_of(handle);
    return scope ? scope->root : ma_arena_of(handle);
}

void *ma_scope_alloc(ma_scope *scope, size_t size, size_t alignment);
void ma_scope_open_range(ma_scope *scope);
bool ma_scope_find_block(ma_scope *scope, size_t size, size_t alignment, ma_block *block); /* calls nobody back */
bool ma_scope_resize(ma_scope *scope, uintptr_t block, size_t old_size, size_t new_size);
bool ma_scope_drop(ma_scope *scope, uintptr_t block, size_t size); /* as memarena_drop_last */
void ma_scope_defer_at(ma_scope *scope, ma_deferred_call *call, void (*fn)(void *), void *arg); /* never fails */
bool ma_scope_undefer(ma_scope *scope, void (*fn)(void *), void *arg);
bool ma_scope_reset(ma_scope *scope);
void ma_scope_end(ma_scope *scope);
/* Before anything that a reset must not come into, and after it. */
void ma_scope_count(ma_arena *root, bool ended);
uint64_t ma_scope_allocated(const ma_scope *scope);
uintptr_t ma_scope_held(const ma_scope *scope); /* bytes of its own extents, whole */
bool ma_scope_owns(const ma_scope *scope, uintptr_t address);

#endif
