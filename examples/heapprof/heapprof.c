#define _GNU_SOURCE /* dladdr */
#include "heapprof.h"

#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <stdatomic.h>
#include <stdlib.h>

#define MOST_FRAMES 64

typedef struct sample {
    struct sample *older;
    size_t weight;
    int depth;
    void *frames[]; /* the innermost first, the callback's own and the library's included */
} sample;

struct heapprof {
    memarena *arena;
    memarena *notes; /* where the samples are, and all the rest */
    _Atomic(sample *) newest;
    atomic_size_t count, lost;
};

/* ---- Samples ------------------------------------------------------------------------------------------------------ */

/* In the thread that allocates; what this allocates itself is not sampled. */
static void note(void *context, memarena *arena, void *block, size_t size, size_t weight)
{
    heapprof *profile = context;
    void *frames[MOST_FRAMES];
    int depth = backtrace(frames, MOST_FRAMES);
    size_t bytes = sizeof(void *) * (size_t)depth;
    (void)arena, (void)block, (void)size;
    sample *mine = memarena_alloc(profile->notes, sizeof *mine + bytes);
    if (!mine) {
        atomic_fetch_add_explicit(&profile->lost, 1, memory_order_relaxed);
        return;
    }
    mine->weight = weight;
    mine->depth = depth;
    memcpy(mine->frames, frames, bytes);
    mine->older = atomic_load_explicit(&profile->newest, memory_order_relaxed);
    while (!atomic_compare_exchange_weak_explicit(&profile->newest, &mine->older, mine, memory_order_release,
                                                  memory_order_relaxed))
        continue;
    atomic_fetch_add_explicit(&profile->count, 1, memory_order_relaxed);
}

heapprof *heapprof_start(memarena *arena, size_t bytes)
{
    void *frame;
    memarena *notes = memarena_create(0);
    heapprof *profile = notes ? memarena_new(notes, heapprof) : NULL;
    (void)backtrace(&frame, 1); /* the first call loads the unwinder, with malloc: not in somebody's allocation */
    if (profile) {
        profile->arena = arena;
        profile->notes = notes;
        if (memarena_sample(arena, bytes, note, profile)) return profile;
    }
    int error = errno;
    memarena_destroy(notes);
    errno = error;
    return NULL;
}

void heapprof_stop(heapprof *profile)
{
    (void)memarena_sample(profile->arena, 0, NULL, NULL);
}

size_t heapprof_samples(const heapprof *profile)
{
    return atomic_load_explicit(&profile->count, memory_order_relaxed);
}

size_t heapprof_lost(const heapprof *profile)
{
    return atomic_load_explicit(&profile->lost, memory_order_relaxed);
}

void heapprof_free(heapprof *profile)
{
    if (profile) memarena_destroy(profile->notes);
}

/* ---- Frames -------------------------------------------------------------------------------------------------------- */

typedef struct place {
    const char *function, *file; /* NULL: not known */
    const void *file_base;
    uintptr_t offset; /* in the file */
} place;

/* Of a return address, which may be that of the next function. */
static place find_place(const void *frame)
{
    Dl_info info;
    uintptr_t address = (uintptr_t)frame - 1;
    if (!dladdr((void *)address, &info)) return (place){.offset = address};
    const char *slash = info.dli_fname ? strrchr(info.dli_fname, '/') : NULL;
    return (place){.function = info.dli_sname,
                   .file = slash ? slash + 1 : info.dli_fname,
                   .file_base = info.dli_fbase,
                   .offset = address - (uintptr_t)info.dli_fbase};
}

static const void *base_of(void *symbol)
{
    Dl_info info;
    return symbol && dladdr(symbol, &info) ? info.dli_fbase : NULL;
}

/* The frames between the program's first function and the allocation. */
static void trim(const sample *of, int *first, int *last)
{
    const void *library = base_of(dlsym(RTLD_DEFAULT, "memarena_version"));
    static char here;
    const void *program = base_of(&here);
    *first = 0;
    for (int i = 0; i < of->depth; i++)
        if (find_place(of->frames[i]).file_base == library) *first = i + 1;
    *last = of->depth;
    for (int i = of->depth - 1; i >= *first; i--) {
        place at = find_place(of->frames[i]);
        if (at.file_base != program || (at.function && strcmp(at.function, "_start") == 0)) continue;
        *last = i + 1;
        break;
    }
}

static char *name_of(memarena *notes, const void *frame)
{
    place at = find_place(frame);
    return at.function ? memarena_strdup(notes, at.function)
                       : memarena_printf(notes, "%s+%#zx", at.file ? at.file : "?", (size_t)at.offset);
}

uint64_t heapprof_taken_by(const heapprof *profile, const char *function)
{
    uint64_t sum = 0;
    const sample *at = atomic_load_explicit(&profile->newest, memory_order_acquire);
    for (; at; at = at->older) {
        int first, last;
        trim(at, &first, &last);
        const char *name = first < last ? find_place(at->frames[first]).function : NULL;
        if (name && strcmp(name, function) == 0) sum += at->weight;
    }
    return sum;
}

/* ---- Folded stacks -------------------------------------------------------------------------------------------------- */

typedef struct line {
    char *stack;
    uint64_t weight;
} line;

/* The outermost function first. */
static char *fold(memarena *notes, const sample *of)
{
    int first, last;
    trim(of, &first, &last);
    char *stack = first < last ? name_of(notes, of->frames[last - 1]) : memarena_strdup(notes, "?");
    for (int i = last - 2; stack && i >= first; i--) {
        char *name = name_of(notes, of->frames[i]);
        stack = name ? memarena_printf(notes, "%s;%s", stack, name) : NULL;
    }
    return stack;
}

static int compare_lines(const void *left, const void *right)
{
    return strcmp(((const line *)left)->stack, ((const line *)right)->stack);
}

bool heapprof_write(heapprof *profile, FILE *file)
{
    size_t room = heapprof_samples(profile), count = 0;
    if (room == 0) return true;
    line *lines = memarena_new_array(profile->notes, line, room);
    if (!lines) return false;
    const sample *at = atomic_load_explicit(&profile->newest, memory_order_acquire);
    for (; at && count < room; at = at->older, count++) {
        lines[count] = (line){fold(profile->notes, at), at->weight};
        if (!lines[count].stack) return false;
    }
    qsort(lines, count, sizeof *lines, compare_lines);
    for (size_t i = 0; i < count; i++) {
        if (i + 1 < count && strcmp(lines[i].stack, lines[i + 1].stack) == 0)
            lines[i + 1].weight += lines[i].weight;
        else if (fprintf(file, "%s %llu\n", lines[i].stack, (unsigned long long)lines[i].weight) < 0)
            return false;
    }
    return true;
}
