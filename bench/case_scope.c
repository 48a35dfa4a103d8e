/* A request: a private arena, ten blocks of 64 bytes, and the end of it; beside what other libraries have for that, and
 * beside malloc and free of the same blocks. Two threads: one scope each at a time, in one arena; the others, which no
 * two threads can share or which lock, each have their own. */
#define _GNU_SOURCE
#include "cases.h"
#include "report.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define BLOCKS 10u
#define BLOCK_BYTES 64u
#define REQUESTS 500u /* in one turn */

/* Where one thread serves requests. */
typedef struct site {
    _Alignas(MEASURE_APART) memarena *arena; /* of all threads */
    memarena *scope;                         /* of mark and rewind */
    void *pool, *heap;
    struct obstack obstack;
    void *obstack_first;
    void *(*malloc)(size_t size);
    void (*free)(void *block);
} site;

typedef struct server {
    const char *name;
    void (*serve)(site *at);
    const char *(*open)(const struct server *server, site *at, unsigned member); /* NULL, or why it cannot */
    void (*close)(site *at, unsigned member);
    const char *library, *malloc_name, *free_name;
} server;

static inline void use(void *block)
{
    if (!block) measure_die("memory ran out");
    *(void **)block = block;
    MEASURE_BARRIER();
}

/* ---- memarena ------------------------------------------------------------------------------------------------------ */

static const char *open_arena(const server *self, site *at, unsigned member)
{
    (void)self;
    at->arena = member == 0 ? memarena_create((size_t)64 << 20) : at[-1].arena;
    if (!at->arena) measure_die("memarena_create failed");
    return NULL;
}

static void close_arena(site *at, unsigned member)
{
    if (member == 0) memarena_destroy(at->arena);
}

static void serve_scope(site *at)
{
    memarena *scope = memarena_scope(at->arena);
    if (!scope) measure_die("memarena_scope failed");
    for (unsigned i = 0; i < BLOCKS; i++) use(memarena_alloc(scope, BLOCK_BYTES));
    memarena_destroy(scope);
}

static const char *open_scope(const server *self, site *at, unsigned member)
{
    (void)open_arena(self, at, member);
    at->scope = memarena_scope(at->arena);
    if (!at->scope) measure_die("memarena_scope failed");
    return NULL;
}

static void close_scope(site *at, unsigned member)
{
    memarena_destroy(at->scope);
    close_arena(at, member);
}

static void serve_mark(site *at)
{
    memarena_position mark = memarena_mark(at->scope);
    for (unsigned i = 0; i < BLOCKS; i++) use(memarena_alloc(at->scope, BLOCK_BYTES));
    if (!memarena_rewind(at->scope, mark)) measure_die("memarena_rewind failed");
}

/* Nothing but the mark and the rewind, with a block between them to go back from. */
static void serve_mark_one(site *at)
{
    memarena_position mark = memarena_mark(at->scope);
    use(memarena_alloc(at->scope, BLOCK_BYTES));
    if (!memarena_rewind(at->scope, mark)) measure_die("memarena_rewind failed");
}

/* ---- malloc -------------------------------------------------------------------------------------------------------- */

static void serve_malloc(site *at)
{
    void *blocks[BLOCKS];
    for (unsigned i = 0; i < BLOCKS; i++) use(blocks[i] = at->malloc(BLOCK_BYTES));
    for (unsigned i = 0; i < BLOCKS; i++) at->free(blocks[i]);
}

static const char *open_libc(const server *self, site *at, unsigned member)
{
    (void)self, (void)member;
    at->malloc = malloc;
    at->free = free;
    return NULL;
}

static const char *open_malloc(const server *self, site *at, unsigned member)
{
    (void)member;
    void *library = dlopen(self->library, RTLD_NOW | RTLD_LOCAL);
    if (!library || !peer_find_function(library, self->malloc_name, &at->malloc) ||
        !peer_find_function(library, self->free_name, &at->free))
        return dlerror();
    return at->malloc == malloc ? "its malloc has another name here" : NULL;
}

/* ---- obstack, by each thread ------------------------------------------------------------------------------------------ */

#define obstack_chunk_alloc malloc
#define obstack_chunk_free free

static const char *open_obstack(const server *self, site *at, unsigned member)
{
    (void)self, (void)member;
    obstack_init(&at->obstack);
    at->obstack_first = obstack_alloc(&at->obstack, 0);
    return NULL;
}

static void close_obstack(site *at, unsigned member)
{
    (void)member;
    obstack_free(&at->obstack, NULL);
}

static void serve_obstack(site *at)
{
    void *first = obstack_alloc(&at->obstack, BLOCK_BYTES);
    use(first);
    for (unsigned i = 1; i < BLOCKS; i++) use(obstack_alloc(&at->obstack, BLOCK_BYTES));
    obstack_free(&at->obstack, first);
}

/* ---- Apache's pools: each thread has a parent with an allocator of its own, without a lock ------------------------------- */

static struct {
    int (*initialize)(void);
    int (*create_allocator)(void **allocator);
    int (*create)(void **pool, void *parent, void *abort, void *allocator);
    void *(*alloc)(void *pool, size_t size);
    void (*destroy)(void *pool);
} apr;

static const char *open_apr(const server *self, site *at, unsigned member)
{
    (void)member;
    void *library = dlopen(self->library, RTLD_NOW | RTLD_LOCAL), *allocator;
    if (!library || !peer_find_function(library, "apr_initialize", &apr.initialize) ||
        !peer_find_function(library, "apr_allocator_create", &apr.create_allocator) ||
        !peer_find_function(library, "apr_pool_create_ex", &apr.create) ||
        !peer_find_function(library, "apr_palloc", &apr.alloc) ||
        !peer_find_function(library, "apr_pool_destroy", &apr.destroy))
        return dlerror();
    if (apr.initialize() || apr.create_allocator(&allocator) || apr.create(&at->pool, NULL, NULL, allocator))
        return "it does not start";
    return NULL;
}

static void serve_apr(site *at)
{
    void *pool;
    if (apr.create(&pool, at->pool, NULL, NULL)) measure_die("apr_pool_create failed");
    for (unsigned i = 0; i < BLOCKS; i++) use(apr.alloc(pool, BLOCK_BYTES));
    apr.destroy(pool);
}

/* ---- talloc ------------------------------------------------------------------------------------------------------------ */

static struct {
    void *(*named)(const void *context, size_t size, const char *name);
    int (*release)(void *pointer, const char *location);
} tallocs;

static const char *open_talloc(const server *self, site *at, unsigned member)
{
    (void)at, (void)member;
    void *library = dlopen(self->library, RTLD_NOW | RTLD_LOCAL);
    if (!library || !peer_find_function(library, "talloc_named_const", &tallocs.named) ||
        !peer_find_function(library, "_talloc_free", &tallocs.release))
        return dlerror();
    return NULL;
}

static void serve_talloc(site *at)
{
    (void)at;
    void *context = tallocs.named(NULL, 0, "request");
    for (unsigned i = 0; i < BLOCKS; i++) use(tallocs.named(context, BLOCK_BYTES, "block"));
    tallocs.release(context, "bench");
}

/* ---- mimalloc's heaps ----------------------------------------------------------------------------------------------------- */

static struct {
    void *(*create)(void);
    void *(*alloc)(void *heap, size_t size);
    void (*destroy)(void *heap);
} heaps;

static const char *open_heap(const server *self, site *at, unsigned member)
{
    (void)at, (void)member;
    void *library = dlopen(self->library, RTLD_NOW | RTLD_LOCAL);
    if (!library || !peer_find_function(library, "mi_heap_new", &heaps.create) ||
        !peer_find_function(library, "mi_heap_malloc", &heaps.alloc) ||
        !peer_find_function(library, "mi_heap_destroy", &heaps.destroy))
        return dlerror();
    return NULL;
}

static void serve_heap(site *at)
{
    (void)at;
    void *heap = heaps.create();
    for (unsigned i = 0; i < BLOCKS; i++) use(heaps.alloc(heap, BLOCK_BYTES));
    heaps.destroy(heap);
}

/* ---- The case ------------------------------------------------------------------------------------------------------------- */

static const server servers[] = {
    {"memarena: scope", serve_scope, open_arena, close_arena, NULL, NULL, NULL},
    {"memarena: mark and rewind", serve_mark, open_scope, close_scope, NULL, NULL, NULL},
    {"memarena: mark, one block, rewind", serve_mark_one, open_scope, close_scope, NULL, NULL, NULL},
    {"APR pool, unlocked allocator", serve_apr, open_apr, NULL, "libapr-1.so.0", NULL, NULL},
    {"obstack", serve_obstack, open_obstack, close_obstack, NULL, NULL, NULL},
    {"talloc", serve_talloc, open_talloc, NULL, "libtalloc.so.2", NULL, NULL},
    {"mimalloc heap", serve_heap, open_heap, NULL, "libmimalloc.so.2", NULL, NULL},
    {"mimalloc", serve_malloc, open_malloc, NULL, "libmimalloc.so.2", "mi_malloc", "mi_free"},
    {"jemalloc", serve_malloc, open_malloc, NULL, "libjemalloc.so.2", "malloc", "free"},
    {"glibc malloc", serve_malloc, open_libc, NULL, NULL, NULL, NULL},
};
#define SERVERS (sizeof servers / sizeof servers[0])
#define THREADS_MAX 16u

struct contest {
    unsigned rounds;
    site sites[SERVERS][THREADS_MAX];
    const char *missing[SERVERS]; /* why, or NULL */
    double *ns[SERVERS][THREADS_MAX];
};

static void compete(struct crew *crew, unsigned member)
{
    struct contest *contest = crew->context;
    for (unsigned round = 0; round < contest->rounds; round++) {
        for (size_t i = 0; i < SERVERS; i++) {
            if (contest->missing[i]) continue;
            site *at = &contest->sites[i][member];
            for (unsigned n = 0; n < REQUESTS; n++) servers[i].serve(at); /* the caches are this one's again */
            crew_meet(crew);
            uint64_t begin = measure_now_ns();
            for (unsigned n = 0; n < REQUESTS; n++) servers[i].serve(at);
            contest->ns[i][member][round] = (double)(measure_now_ns() - begin) / REQUESTS;
        }
    }
}

static void run_contest(const struct plan *plan, unsigned threads, double limit_ns)
{
    struct contest *contest = aligned_alloc(MEASURE_APART, sizeof *contest);
    if (!contest) measure_die("no memory");
    memset(contest, 0, sizeof *contest);
    contest->rounds = plan->rounds;
    for (size_t i = 0; i < SERVERS; i++) {
        for (unsigned member = 0; member < threads && !contest->missing[i]; member++) {
            contest->missing[i] = servers[i].open(&servers[i], &contest->sites[i][member], member);
            contest->ns[i][member] = measure_samples(plan->rounds);
        }
        if (contest->missing[i] && threads == 1)
            report_note("(%s is skipped: %s)", servers[i].name, contest->missing[i]);
    }
    crew_run(threads, compete, contest);
    for (size_t i = 0; i < SERVERS; i++) {
        for (unsigned member = 1; member < threads && !contest->missing[i]; member++)
            for (unsigned round = 0; round < plan->rounds; round++)
                contest->ns[i][0][round] += contest->ns[i][member][round];
        for (unsigned round = 0; round < plan->rounds && !contest->missing[i]; round++)
            contest->ns[i][0][round] /= threads;
        if (!contest->missing[i]) {
            spread cost = measure_spread(contest->ns[i][0], plan->rounds);
            report_timing((timing){servers[i].name, threads, cost, cost.median / limit_ns, -1, 0});
        }
        for (unsigned member = threads; member-- > 0;) {
            if (servers[i].close && !contest->missing[i]) servers[i].close(&contest->sites[i][member], member);
            free(contest->ns[i][member]);
        }
    }
    free(contest);
}

void case_scope(const struct plan *plan)
{
    double limit_ns = peer_limit_ns();
    unsigned most = measure_cpus() < THREADS_MAX ? measure_cpus() : THREADS_MAX;
    report_case("scope", "a private arena, ten blocks of 64 bytes, its end (x limit: of one block)", "request");
    for (unsigned threads = 1; threads <= most; threads *= 2) run_contest(plan, threads, limit_ns);
}
