/* One side of the test of several copies: see side.h. Compiled with -DSIDE=NAME, under which the test finds it. */
#include "side.h"

static void *alloc(memarena *arena, size_t size)
{
    return memarena_alloc(arena, size);
}

static void *zalloc(memarena *arena, size_t size)
{
    return memarena_zalloc(arena, size);
}

static uintptr_t lane(void)
{
    return memarena_lane_offset_;
}

__attribute__((visibility("default"))) side_get SIDE;

const side *SIDE(void)
{
    static const side this_copy = {
        .create_with = memarena_create_with,
        .destroy = memarena_destroy,
        .reset = memarena_reset,
        .scope = memarena_scope,
        .alloc = alloc,
        .alloc_aligned = memarena_alloc_aligned,
        .zalloc = zalloc,
        .strdup = memarena_strdup,
        .realloc = memarena_realloc,
        .defer = memarena_defer,
        .mark = memarena_mark,
        .rewind = memarena_rewind,
        .trim = memarena_trim,
        .get_stats = memarena_get_stats,
        .allocated_bytes = memarena_allocated_bytes,
        .lane = lane,
    };
    return &this_copy;
}
