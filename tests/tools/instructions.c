/* Loops whose instructions are counted, each a function that callgrind and objdump find by its name.
 *
 * usage: instructions LOOP BLOCKS */
#include <memarena.h>

#include <stdio.h>
#include <stdlib.h>

/* `used` and a declaration: the function stays one, under its name. */
#define LOOP __attribute__((noinline, used)) void

/* A block, the test of it, a store into it, the loop: what a program does. */
LOOP loop_new_value(memarena *arena, size_t blocks);
LOOP loop_new_value(memarena *arena, size_t blocks)
{
    for (size_t i = 0; i < blocks; i++)
        if (!memarena_new_value(arena, int64_t, (int64_t)i)) return;
}

/* As an int64_t, to the instruction. */
LOOP loop_alloc_8(memarena *arena, size_t blocks);
LOOP loop_alloc_8(memarena *arena, size_t blocks)
{
    for (size_t i = 0; i < blocks; i++) {
        size_t *block = memarena_alloc(arena, 8);
        if (!block) return;
        *block = i;
    }
}

LOOP loop_alloc_16(memarena *arena, size_t blocks);
LOOP loop_alloc_16(memarena *arena, size_t blocks)
{
    for (size_t i = 0; i < blocks; i++) {
        size_t *block = memarena_alloc(arena, 16);
        if (!block) return;
        *block = i;
    }
}

LOOP loop_alloc_64(memarena *arena, size_t blocks);
LOOP loop_alloc_64(memarena *arena, size_t blocks)
{
    for (size_t i = 0; i < blocks; i++) {
        size_t *block = memarena_alloc(arena, 64);
        if (!block) return;
        *block = i;
    }
}

/* Of sizes that the compiler does not know. */
LOOP loop_alloc_any(memarena *arena, size_t blocks);
LOOP loop_alloc_any(memarena *arena, size_t blocks)
{
    for (size_t i = 0; i < blocks; i++) {
        size_t *block = memarena_alloc(arena, 8 << (i & 1));
        if (!block) return;
        *block = i;
    }
}

static const struct {
    const char *name;
    void (*run)(memarena *arena, size_t blocks);
    size_t bytes;
} loops[] = {
    {"loop_new_value", loop_new_value, 8},  {"loop_alloc_8", loop_alloc_8, 8},
    {"loop_alloc_any", loop_alloc_any, 16}, /* with the padding of every second one */
    {"loop_alloc_16", loop_alloc_16, 16},   {"loop_alloc_64", loop_alloc_64, 64},
};

int main(int argc, char **argv)
{
    size_t blocks = argc == 3 ? (size_t)strtoull(argv[2], NULL, 10) : 0;
    for (size_t i = 0; blocks && i < sizeof loops / sizeof *loops; i++) {
        if (strcmp(argv[1], loops[i].name) != 0) continue;
        memarena *arena = memarena_create((size_t)1 << 30);
        if (!arena) return fputs("no memory\n", stderr), 1;
        loops[i].run(arena, blocks);
        memarena_stats stats;
        memarena_get_stats(arena, &stats, sizeof stats);
        if (stats.watched) return fputs("the library takes callgrind for memcheck\n", stderr), 1;
        if (stats.allocated_bytes != blocks * loops[i].bytes)
            return fputs("not all blocks were allocated\n", stderr), 1;
        memarena_destroy(arena);
        return 0;
    }
    fputs("usage: instructions LOOP BLOCKS\n", stderr);
    return 2;
}
