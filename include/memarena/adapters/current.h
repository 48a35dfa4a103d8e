/* The thread's current arena, for libraries whose allocation hooks are told nothing but a size: cJSON, jansson, libxml2,
 * expat, cmark (their headers are beside this one).
 *
 *     memarena *server = memarena_create(0);
 *     memarena_current_register(server);                    // once, before the first push
 *     memarena_cjson_install();                             // or another library's
 *     ...
 *     memarena *scope = memarena_scope(server), *before;
 *     if (!memarena_current_push(scope, &before)) refuse(); // from here on this thread's hooks take from the scope
 *     cJSON *request = cJSON_Parse(text);
 *     ...
 *     memarena_current_pop(before);                         // as it was before; pushes may nest
 *     memarena_destroy(scope);                              // the document goes with it, no cJSON_Delete needed
 *
 * In C++ marena::current of memarena.hpp pushes, and pops at the end of the block.
 *
 * Where no arena is current, the hooks are malloc and free. So what is to outlive the scope is made before the push, or
 * between memarena_current_suspend and memarena_current_pop, and given back with the library's own call. Nothing that
 * was made there may be made larger while a scope is current: its new parts would go with the scope.
 *
 * A free or realloc may meet any block in any thread at any time. Whose block it is follows from its address: it lies in
 * a registered arena, or it is malloc's. A block in an arena is not freed, whether it is alive or dead, of this scope
 * or another, with the arena current or not; a block of malloc goes to free or realloc, whoever made it. A realloc of an
 * arena's block stays in place where it can, if its own arena is current, and otherwise makes a copy in what is current.
 *
 * An arena is registered before its first push and unregistered before it is destroyed. After that the blocks that it
 * had must not reach a hook any more: nobody would know them. So the shape to prefer is one long-lived arena, registered
 * once, and a scope of it for each job.
 *
 * Each block has 16 bytes before it. There is one current arena for each thread of a program and one register, however
 * many files include this header: both are weak definitions. Plugins that are opened by dlopen share them if the program
 * is linked with -rdynamic. */
#ifndef MEMARENA_ADAPTERS_CURRENT_H
#define MEMARENA_ADAPTERS_CURRENT_H

#include <memarena.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define MEMARENA_CURRENT_MAX 64u /* arenas that can be registered at the same time */

/* ---- State ------------------------------------------------------------------------------------------------------- */

/* Addresses [begin, end) are in `arena`. Whoever changes them makes `version` odd first, by compare-and-swap, and even
 * again at the end; a reader that has seen two versions, or an odd one, passes on: the block that it asks about cannot
 * be in an arena that comes or goes at this moment. */
struct memarena_current_range_ {
    uintptr_t version, begin, end;
    memarena *arena;
};

/* In front of each block. The size, since nobody else tells it to a realloc. */
struct memarena_current_prefix_ {
    size_t size;
    memarena *arena;
};

#ifdef __cplusplus
extern "C" {
#endif
MEMARENA_API __attribute__((__weak__)) __thread memarena *memarena_current_ = NULL;
MEMARENA_API __attribute__((__weak__)) struct memarena_current_range_ memarena_current_ranges_[MEMARENA_CURRENT_MAX] = {
    {0, 0, 0, NULL}};
MEMARENA_API __attribute__((__weak__)) unsigned memarena_current_used_ = 0; /* ranges from here on were never used */
#ifdef __cplusplus
}
#endif

#define MEMARENA_CURRENT_PREFIX_ (MEMARENA_MAX_ALIGNMENT_ > 16 ? MEMARENA_MAX_ALIGNMENT_ : 16)

/* ---- The register ------------------------------------------------------------------------------------------------ */

/* A copy of what range `i` was at some moment; false: nothing, or it is being changed. */
static inline bool memarena_current_read_(unsigned i, struct memarena_current_range_ *copy)
{
    const struct memarena_current_range_ *range = &memarena_current_ranges_[i];
    copy->version = __atomic_load_n(&range->version, __ATOMIC_ACQUIRE);
    copy->begin = __atomic_load_n(&range->begin, __ATOMIC_ACQUIRE);
    copy->end = __atomic_load_n(&range->end, __ATOMIC_ACQUIRE);
    copy->arena = __atomic_load_n(&range->arena, __ATOMIC_ACQUIRE);
    return copy->end != 0 && copy->version % 2 == 0 &&
           __atomic_load_n(&range->version, __ATOMIC_ACQUIRE) == copy->version;
}

/* False: it is no longer as it was at `version`. */
static inline bool memarena_current_write_(unsigned i, uintptr_t version, uintptr_t begin, uintptr_t end,
                                           memarena *arena)
{
    struct memarena_current_range_ *range = &memarena_current_ranges_[i];
    if (version % 2 != 0 ||
        !__atomic_compare_exchange_n(&range->version, &version, version + 1, false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
        return false;
    __atomic_store_n(&range->begin, begin, __ATOMIC_RELEASE);
    __atomic_store_n(&range->end, end, __ATOMIC_RELEASE);
    __atomic_store_n(&range->arena, arena, __ATOMIC_RELEASE);
    __atomic_store_n(&range->version, version + 2, __ATOMIC_RELEASE);
    return true;
}

/* The registered arena in which the address lies. */
static inline bool memarena_current_find_(const void *address, struct memarena_current_range_ *found)
{
    unsigned used = __atomic_load_n(&memarena_current_used_, __ATOMIC_ACQUIRE);
    uintptr_t at = MEMARENA_ADDRESS_(address);
    for (unsigned i = 0; i < used; i++)
        if (memarena_current_read_(i, found) && at - found->begin < found->end - found->begin) return true;
    return false;
}

/* A registered arena, or a scope in one. */
static inline bool memarena_current_knows_(const memarena *arena)
{
    struct memarena_current_range_ range;
    unsigned used = __atomic_load_n(&memarena_current_used_, __ATOMIC_ACQUIRE);
    for (unsigned i = 0; i < used; i++)
        if (memarena_current_read_(i, &range) && range.arena == arena) return true;
    return memarena_current_find_(arena, &range); /* a scope lies in its arena */
}

/* The last address from `owned` towards `other`, which is not the arena's, that is; an arena is one range of addresses. */
static inline uintptr_t memarena_current_edge_(const memarena *arena, uintptr_t owned, uintptr_t other)
{
    bool upward = owned < other;
    uintptr_t distance = upward ? other - owned : owned - other;
    while (distance > 1) {
        uintptr_t half = distance / 2, middle = upward ? owned + half : owned - half;
        if (memarena_owns(arena, MEMARENA_POINTER_(const void *, middle)))
            owned = middle, distance -= half;
        else
            distance = half;
    }
    return owned;
}

/* Has the hooks know the blocks of an arena, from now until memarena_current_unregister. Again: nothing happens.
 * Fails: false; EINVAL: it is a scope; ENOMEM: the arena is full, or there are MEMARENA_CURRENT_MAX of them.
 * Threads: any, at any time. A reset of the arena at the same moment may be refused (EBUSY). */
static inline bool memarena_current_register(memarena *arena)
{
    memarena *inside = memarena_scope(arena);
    if (!inside) return false;
    bool is_arena = memarena_owns(arena, inside);
    uintptr_t begin = is_arena ? memarena_current_edge_(arena, MEMARENA_ADDRESS_(inside), 0) : 0;
    uintptr_t end = is_arena ? memarena_current_edge_(arena, MEMARENA_ADDRESS_(inside), UINTPTR_MAX) + 1 : 0;
    memarena_destroy(inside);
    if (!is_arena) {
        errno = EINVAL;
        return false;
    }
    struct memarena_current_range_ range;
    for (unsigned i = 0; i < MEMARENA_CURRENT_MAX; i++) {
        if (!memarena_current_read_(i, &range) || range.end <= begin || end <= range.begin) continue;
        if (range.arena == arena && range.begin == begin && range.end == end) return true;
        (void)memarena_current_write_(i, range.version, 0, 0, NULL); /* it was destroyed, and not unregistered */
    }
    for (unsigned i = 0; i < MEMARENA_CURRENT_MAX; i++) {
        if (memarena_current_read_(i, &range) || range.end != 0) continue;
        unsigned used = __atomic_load_n(&memarena_current_used_, __ATOMIC_RELAXED);
        while (used <= i && !__atomic_compare_exchange_n(&memarena_current_used_, &used, i + 1, true, __ATOMIC_RELEASE,
                                                         __ATOMIC_RELAXED)) {
        }
        if (memarena_current_write_(i, range.version, begin, end, arena)) return true;
    }
    errno = ENOMEM;
    return false;
}

/* Before memarena_destroy(arena), and after the last hook's call for one of its blocks. */
static inline void memarena_current_unregister(memarena *arena)
{
    struct memarena_current_range_ range;
    for (unsigned i = 0; i < MEMARENA_CURRENT_MAX; i++)
        if (memarena_current_read_(i, &range) && range.arena == arena)
            (void)memarena_current_write_(i, range.version, 0, 0, NULL);
}

/* ---- Current ----------------------------------------------------------------------------------------------------- */

/* NULL: none, the hooks are malloc and free. */
static inline memarena *memarena_current_get(void)
{
    return memarena_current_;
}

/* Makes an arena or a scope the current one of this thread. `*before` is what memarena_current_pop needs.
 * Fails: false, all is as it was; EINVAL: NULL, or neither registered nor a scope of an arena that is. */
__attribute__((__warn_unused_result__)) static inline bool memarena_current_push(memarena *arena, memarena **before)
{
    *before = memarena_current_;
    if (!memarena_current_knows_(arena)) {
        errno = EINVAL;
        return false;
    }
    memarena_current_ = arena;
    return true;
}

/* malloc and free again, until memarena_current_pop with the value that it returns. */
__attribute__((__warn_unused_result__)) static inline memarena *memarena_current_suspend(void)
{
    memarena *before = memarena_current_;
    memarena_current_ = NULL;
    return before;
}

/* Goes back to what was current at the push, whatever was pushed since. */
static inline void memarena_current_pop(memarena *before)
{
    memarena_current_ = before;
}

/* ---- The hooks --------------------------------------------------------------------------------------------------- */

static inline void *memarena_current_begin_(memarena *arena, void *place, size_t size)
{
    struct memarena_current_prefix_ prefix = {size, arena};
    if (!place) return NULL;
    memcpy(place, &prefix, sizeof prefix);
    return MEMARENA_CAST_(char *, place) + MEMARENA_CURRENT_PREFIX_;
}

/* With its prefix; what is too large for that is too large for any arena. */
static inline size_t memarena_current_total_(size_t size)
{
    return size > SIZE_MAX - MEMARENA_CURRENT_PREFIX_ ? SIZE_MAX : size + MEMARENA_CURRENT_PREFIX_;
}

/* As malloc. A full arena is a full arena: NULL, and not malloc. */
static inline void *memarena_current_malloc(size_t size)
{
    memarena *arena = memarena_current_;
    if (!arena) return malloc(size);
    return memarena_current_begin_(arena, memarena_alloc(arena, memarena_current_total_(size)), size);
}

static inline void *memarena_current_calloc(size_t count, size_t size)
{
    if (!memarena_current_) return calloc(count, size);
    size_t bytes = size != 0 && count > SIZE_MAX / size ? SIZE_MAX : count * size;
    void *block = memarena_current_malloc(bytes);
    return block ? memset(block, 0, bytes) : NULL;
}

static inline void memarena_current_free(void *block)
{
    struct memarena_current_range_ range;
    if (!memarena_current_find_(block, &range)) free(block);
}

/* As realloc. Fails also: NULL, EINVAL; a block in a registered arena that no hook made. */
static inline void *memarena_current_realloc(void *block, size_t size)
{
    struct memarena_current_range_ range;
    struct memarena_current_prefix_ prefix;
    if (!block) return memarena_current_malloc(size);
    if (!memarena_current_find_(block, &range)) return realloc(block, size);
    memarena *arena = memarena_current_;
    void *place = MEMARENA_CAST_(char *, block) - MEMARENA_CURRENT_PREFIX_;
    memcpy(&prefix, place, sizeof prefix);
    uintptr_t owner = MEMARENA_ADDRESS_(prefix.arena);
    if ((prefix.arena != range.arena && owner - range.begin >= range.end - range.begin) ||
        prefix.size > range.end - MEMARENA_ADDRESS_(block)) {
        errno = EINVAL;
        return NULL;
    }
    if (prefix.arena == arena) {
        size_t old_total = memarena_current_total_(prefix.size), total = memarena_current_total_(size);
        return memarena_current_begin_(arena, memarena_realloc(arena, place, old_total, total), size);
    }
    void *copy = memarena_current_malloc(size);
    return copy ? memcpy(copy, block, size < prefix.size ? size : prefix.size) : NULL;
}

static inline char *memarena_current_strdup(const char *string)
{
    size_t bytes = strlen(string) + 1;
    void *copy = memarena_current_malloc(bytes);
    return copy ? MEMARENA_CAST_(char *, memcpy(copy, string, bytes)) : NULL;
}

#endif
