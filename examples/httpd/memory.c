#include "memory.h"

#include <cjson/cJSON.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

static memarena *shared; /* NULL: malloc */
static size_t limit_bytes;

/* ---- malloc, for comparison: each block is in the list of its request, or in one of its own --------------------- */

struct block {
    _Alignas(max_align_t) struct block *next;
    struct block *previous;
};

static void *list_alloc(struct block *list, size_t size)
{
    struct block *block = malloc(sizeof *block + size);
    if (!block) return NULL;
    block->next = block->previous = block;
    if (list) {
        block->next = list->next;
        block->previous = list;
        block->next->previous = list->next = block;
    }
    return block + 1;
}

static void list_free(struct block *block)
{
    block->next->previous = block->previous;
    block->previous->next = block->next;
    free(block);
}

/* ---- One request ------------------------------------------------------------------------------------------------ */

struct memory {
    memarena *scope;     /* NULL: malloc */
    struct block blocks; /* of malloc */
    size_t asked;        /* of malloc: never less */
    enum refusal refusal;
};

struct memory *memory_begin(void)
{
    memarena *scope = shared ? memarena_scope(shared) : NULL;
    if (shared && !scope) return NULL;
    struct memory *memory = scope ? memarena_new(scope, struct memory) : calloc(1, sizeof *memory);
    if (!memory) {
        memarena_destroy(scope);
        return NULL;
    }
    memory->scope = scope;
    memory->blocks.next = memory->blocks.previous = &memory->blocks;
    return memory;
}

void memory_end(struct memory *memory)
{
    if (memory->scope) {
        memarena_destroy(memory->scope); /* `memory` lies in it */
        return;
    }
    while (memory->blocks.next != &memory->blocks) list_free(memory->blocks.next);
    free(memory);
}

static bool is_within_limit(struct memory *memory, size_t size)
{
    size_t used = memory->scope ? memarena_allocated_bytes(memory->scope) : memory->asked;
    if (used <= limit_bytes && size <= limit_bytes - used) return true;
    if (memory->refusal == REFUSED_NOTHING) memory->refusal = REFUSED_BY_LIMIT;
    return false;
}

static void *note_refusal(struct memory *memory, void *block)
{
    if (!block && memory->refusal == REFUSED_NOTHING) memory->refusal = REFUSED_BY_ARENA;
    return block;
}

void *memory_alloc(struct memory *memory, size_t size)
{
    if (!is_within_limit(memory, size)) return NULL;
    memory->asked += size;
    void *block = memory->scope ? memarena_alloc(memory->scope, size) : list_alloc(&memory->blocks, size);
    return note_refusal(memory, block);
}

void *memory_realloc(struct memory *memory, void *block, size_t old_size, size_t new_size)
{
    if (!memory->scope) {
        void *copy = memory_alloc(memory, new_size);
        if (copy && block) memcpy(copy, block, old_size < new_size ? old_size : new_size);
        return copy;
    }
    if (!is_within_limit(memory, new_size)) return NULL; /* as if it had to move: whether it will, nobody knows yet */
    return note_refusal(memory, memarena_realloc(memory->scope, block, old_size, new_size));
}

char *memory_vprintf(struct memory *memory, const char *format, va_list args)
{
    va_list again;
    va_copy(again, args);
    int length = vsnprintf(NULL, 0, format, args);
    char *text = length < 0 ? NULL : memory_alloc(memory, (size_t)length + 1);
    if (text) vsnprintf(text, (size_t)length + 1, format, again);
    va_end(again);
    return text;
}

char *memory_printf(struct memory *memory, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    char *text = memory_vprintf(memory, format, args);
    va_end(args);
    return text;
}

enum refusal memory_refusal(const struct memory *memory)
{
    return memory->refusal;
}

/* ---- cJSON ------------------------------------------------------------------------------------------------------ */

static _Thread_local struct memory *for_json;

static void *json_alloc(size_t size)
{
    if (for_json) return memory_alloc(for_json, size);
    return shared ? malloc(size) : list_alloc(NULL, size);
}

/* Whatever is current: a block may come back after its request, or one from outside during it. */
static void json_free(void *block)
{
    if (!block) return;
    if (!shared)
        list_free((struct block *)block - 1);
    else if (!memarena_owns(shared, block))
        free(block);
}

void memory_install(memarena *arena, size_t limit)
{
    shared = arena;
    limit_bytes = limit;
    cJSON_InitHooks(&(cJSON_Hooks){.malloc_fn = json_alloc, .free_fn = json_free});
}

struct memory *memory_for_json(struct memory *memory)
{
    struct memory *before = for_json;
    for_json = memory;
    return before;
}
