/* The table of what is compared, and how each variant gets its memory and gives it back. None of this is timed but
 * `release` and `reset`. */
#define _GNU_SOURCE
#include "peers.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* An arena has so many batches of room per thread, and no less than so many bytes: what is measured is the road that
 * nearly every block takes, not the end of an arena, nor one so small that it has to be stingy with its TLABs. */
#define ARENA_BATCHES 16u
#define ARENA_BYTES_MIN ((size_t)16 << 20)

size_t peer_batch_blocks(block_kind kind, size_t bytes)
{
    static const size_t bytes_per_block[BLOCK_KINDS] = {8, 16, 64, 128};
    return bytes / bytes_per_block[kind];
}

static char *map_touched(size_t bytes)
{
    char *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) measure_die("no memory for %zu bytes", bytes);
    memset(memory, 1, bytes);
    return memory;
}

/* ---- The limit: every thread has memory of its own --------------------------------------------------------------- */

static const char *open_own(const struct peer *self, place *places, unsigned threads, block_kind kind, size_t blocks)
{
    (void)self;
    size_t bytes = loops_bytes(kind, blocks);
    for (unsigned i = 0; i < threads; i++) {
        places[i].start = map_touched(bytes);
        places[i].end = places[i].start + bytes;
    }
    return NULL;
}

static void close_own(place *places, unsigned threads)
{
    for (unsigned i = 0; i < threads; i++) munmap(places[i].start, (size_t)(places[i].end - places[i].start));
}

#define LIMIT_BATCH_BYTES ((size_t)1 << 20)

double peer_limit_ns(void)
{
    enum { SAMPLES = 51 };
    size_t blocks = peer_batch_blocks(BLOCKS_8, LIMIT_BATCH_BYTES);
    double ns[SAMPLES];
    place own;
    (void)open_own(&peers[PEER_LIMIT], &own, 1, BLOCKS_8, blocks);
    for (size_t i = 0; i < SAMPLES; i++) {
        uint64_t begin = measure_now_ns();
        loops_limit[BLOCKS_8](&own, blocks);
        ns[i] = (double)(measure_now_ns() - begin) / (double)blocks;
    }
    close_own(&own, 1);
    return measure_spread(ns, SAMPLES).median;
}

/* ---- memarena: one arena ----------------------------------------------------------------------------------------- */

static const char *open_arena(const struct peer *self, place *places, unsigned threads, block_kind kind, size_t blocks)
{
    size_t each = ARENA_BATCHES * loops_bytes(kind, blocks);
    size_t capacity = threads * (each > ARENA_BYTES_MIN ? each : ARENA_BYTES_MIN);
    memarena *arena = memarena_create_with(&(memarena_options){.capacity = capacity, .flags = self->flags});
    if (!arena) measure_die("memarena_create_with(%zu) failed", capacity);
    memarena_stats stats;
    memarena_get_stats(arena, &stats, sizeof stats);
    if (self->flags & MEMARENA_PER_CPU && stats.per_cpu != 2) {
        memarena_destroy(arena);
        return "this system has no restartable sequences";
    }
    /* Touch whatever a batch may land on. The last bytes of the arena may be out of reach of blocks of this size. */
    for (char *block; (block = memarena_alloc(arena, 4096)) != NULL;) memset(block, 1, 4096);
    memarena_reset(arena);
    for (unsigned i = 0; i < threads; i++) places[i].arena = arena;
    return NULL;
}

static void reset_arena(place *at)
{
    memarena_reset(at->arena);
}

static void close_arena(place *places, unsigned threads)
{
    (void)threads;
    memarena_destroy(places[0].arena);
}

/* ---- memarena: a scope for each thread in one arena ---------------------------------------------------------------- */

static void begin_scope(place *at)
{
    at->arena = memarena_scope(at->parent);
    if (!at->arena) measure_die("memarena_scope failed");
}

static const char *open_scopes(const struct peer *self, place *places, unsigned threads, block_kind kind, size_t blocks)
{
    (void)open_arena(self, places, threads, kind, blocks);
    for (unsigned i = 0; i < threads; i++) {
        places[i].parent = places[i].arena;
        begin_scope(&places[i]);
    }
    return NULL;
}

static void release_scope(place *at)
{
    memarena_destroy(at->arena);
    begin_scope(at);
}

static void close_scopes(place *places, unsigned threads)
{
    for (unsigned i = 0; i < threads; i++) memarena_destroy(places[i].arena);
    memarena_destroy(places[0].parent);
}

/* ---- Malloc of libc, or of a library that is loaded beside it ---------------------------------------------------- */

/* A freed block still holds the address of the one before it until the next allocation, but that is not ours to use:
 * read first, then free. */
static void free_all(place *at)
{
    void (*give_back)(void *) = at->free;
    for (void *block = at->last; block;) {
        void *before = *(void **)block;
        give_back(block);
        block = before;
    }
    at->last = NULL;
}

static const char *open_libc(const struct peer *self, place *places, unsigned threads, block_kind kind, size_t blocks)
{
    (void)self, (void)kind, (void)blocks;
    for (unsigned i = 0; i < threads; i++) {
        places[i].malloc = malloc;
        places[i].free = free;
    }
    return NULL;
}

bool peer_find_function(void *library, const char *name, void *function)
{
    void *symbol = dlsym(library, name);
    memcpy(function, &symbol, sizeof symbol);
    return symbol != NULL;
}

/* The library stays loaded: threads that have used it still hold its thread-locals. RTLD_LOCAL keeps its malloc from
 * becoming everybody's. */
static const char *open_library(const struct peer *self, place *places, unsigned threads, block_kind kind,
                                size_t blocks)
{
    (void)kind, (void)blocks;
    void *library = dlopen(self->library, RTLD_NOW | RTLD_LOCAL);
    if (!library) return dlerror();
    place found = {0};
    if (!peer_find_function(library, self->malloc_name, &found.malloc)) return dlerror();
    if (!peer_find_function(library, self->free_name, &found.free)) return dlerror();
    /* dlsym also looks into what the library itself depends on, libc among them. */
    if (found.malloc == malloc) return "its malloc has another name here";
    for (unsigned i = 0; i < threads; i++) {
        places[i].malloc = found.malloc;
        places[i].free = found.free;
    }
    return NULL;
}

static void close_nothing(place *places, unsigned threads)
{
    (void)places, (void)threads;
}

/* ---- One cursor for all ------------------------------------------------------------------------------------------ */

static const char *open_shared(const struct peer *self, place *places, unsigned threads, block_kind kind, size_t blocks)
{
    (void)self;
    size_t bytes = threads * loops_bytes(kind, blocks);
    shared_bump *shared = aligned_alloc(MEASURE_APART, sizeof *shared);
    if (!shared) measure_die("no memory");
    uintptr_t start = (uintptr_t)map_touched(bytes);
    *shared = (shared_bump){.cursor = start, .start = start, .end = start + bytes};
    pthread_mutex_init(&shared->mutex, NULL);
    for (unsigned i = 0; i < threads; i++) places[i].shared = shared;
    return NULL;
}

static void reset_shared(place *at)
{
    atomic_store_explicit(&at->shared->cursor, at->shared->start, memory_order_relaxed);
}

static void close_shared(place *places, unsigned threads)
{
    (void)threads;
    shared_bump *shared = places[0].shared;
    munmap((void *)shared->start, shared->end - shared->start);
    pthread_mutex_destroy(&shared->mutex);
    free(shared);
}

/* ---- obstack: each thread has its own, for it has no lock -------------------------------------------------------- */

#define obstack_chunk_alloc malloc
#define obstack_chunk_free free

static const char *open_obstack(const struct peer *self, place *places, unsigned threads, block_kind kind,
                                size_t blocks)
{
    (void)self, (void)blocks;
    for (unsigned i = 0; i < threads; i++) {
        obstack_init(&places[i].obstack);
        obstack_alignment_mask(&places[i].obstack) = kind == BLOCKS_8 ? 7 : 15;
        places[i].obstack_first = obstack_alloc(&places[i].obstack, 0); /* freeing it frees what came after */
    }
    return NULL;
}

static void release_obstack(place *at)
{
    obstack_free(&at->obstack, at->obstack_first);
}

static void close_obstack(place *places, unsigned threads)
{
    for (unsigned i = 0; i < threads; i++) obstack_free(&places[i].obstack, NULL);
}

/* ---- The table --------------------------------------------------------------------------------------------------- */

#define IN_LIBRARY .loops = loops_malloc, .open = open_library, .release = free_all, .close = close_nothing

const struct peer peers[] = {
    [PEER_LIMIT] = {.name = "limit loop", .loops = loops_limit, .open = open_own, .close = close_own},
    [PEER_MEMARENA] =
        {.name = "memarena", .loops = loops_memarena, .open = open_arena, .reset = reset_arena, .close = close_arena},
    {.name = "memarena, per CPU",
     .loops = loops_memarena,
     .open = open_arena,
     .reset = reset_arena,
     .close = close_arena,
     .flags = MEMARENA_PER_CPU},
    {.name = "memarena, a scope per thread",
     .loops = loops_memarena,
     .open = open_scopes,
     .release = release_scope,
     .close = close_scopes},
    {.name = "fetch_add on one cursor",
     .loops = loops_fetch_add,
     .open = open_shared,
     .reset = reset_shared,
     .close = close_shared},
    {.name = "mutex around one cursor",
     .loops = loops_mutex,
     .open = open_shared,
     .reset = reset_shared,
     .close = close_shared},
    {.name = "obstack, one per thread",
     .loops = loops_obstack,
     .open = open_obstack,
     .release = release_obstack,
     .close = close_obstack},
    {.name = "glibc malloc", .loops = loops_malloc, .open = open_libc, .release = free_all, .close = close_nothing},
    {.name = "mimalloc", .library = "libmimalloc.so.2", .malloc_name = "mi_malloc", .free_name = "mi_free", IN_LIBRARY},
    {.name = "jemalloc", .library = "libjemalloc.so.2", .malloc_name = "malloc", .free_name = "free", IN_LIBRARY},
    {.name = "tcmalloc",
     .library = "libtcmalloc_minimal.so.4",
     .malloc_name = "tc_malloc",
     .free_name = "tc_free",
     IN_LIBRARY},
};
const size_t peer_count = sizeof peers / sizeof peers[0];
