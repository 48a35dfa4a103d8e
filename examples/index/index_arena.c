/* The index on an arena: a block is a few instructions, to discard one is nothing, and the release is one call. */
#include "index.h"

static bool heap_open(struct index *index)
{
    index->arena = memarena_create(0);
    return index->arena != NULL;
}

#define heap_new(index, T, ...) memarena_new_value((index)->arena, T, __VA_ARGS__)
#define heap_new_array(index, T, count) memarena_new_array((index)->arena, T, (count))
#define heap_new_name(index, text, size) memarena_strndup((index)->arena, (text), (size))
#define heap_discard(index, block) ((void)(index), (void)(block)) /* it dies with the rest */

#include "index_build.h"

static void index_release(struct index *index, unsigned threads)
{
    (void)threads; /* one call; nothing to share out */
    memarena_destroy(index->arena);
    *index = (struct index){0};
}

const struct index_kind index_arena = {"arena", index_build, index_release};
