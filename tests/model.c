/* One thread, every call in random order, against a model: which bytes are whose.
 *
 * The model keeps all live blocks with their contents (a byte made from the block's number). After each call it checks
 * that the block lies inside the arena, is aligned, overlaps nothing, and that nobody else's bytes changed; and that
 * the accounts lie between the sum of the blocks and that sum plus their possible padding. A NULL must be deserved:
 * with one thread at work, 8 bytes are refused only when the accounts say that the arena is full. */
#include "memarena.h"
#include "test.h"
#ifdef WITH_YIELD
#include "yield.h"
#endif

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define BLOCKS 4096

typedef struct model_block {
    unsigned char *at;
    size_t size;
    size_t padding; /* at most this much before it */
} model_block;

static model_block blocks[BLOCKS];
static size_t block_count;
static unsigned long long seed;
static bool reallocated; /* a moved block leaves its old bytes counted */

static size_t rounded(size_t size)
{
    return size ? (size + 7) & ~(size_t)7 : 8;
}

static unsigned char mark_of(size_t index)
{
    return (unsigned char)(index * 37 + 11);
}

static void check_block(const memarena *arena, size_t index)
{
    const model_block *block = &blocks[index];
    CHECK(memarena_owns(arena, block->at));
    for (size_t other = 0; other < block_count; other++)
        if (other != index)
            CHECK(block->at + rounded(block->size) <= blocks[other].at ||
                  blocks[other].at + rounded(blocks[other].size) <= block->at);
}

static void check_contents(void)
{
    for (size_t index = 0; index < block_count; index++)
        for (size_t byte = 0; byte < blocks[index].size; byte += 1 + blocks[index].size / 61)
            CHECK_EQ(blocks[index].at[byte], mark_of(index));
}

static void check_accounts(const memarena *arena)
{
    size_t least = 0, most = 0, allocated = memarena_allocated_bytes(arena);
    for (size_t index = 0; index < block_count; index++) {
        least += rounded(blocks[index].size);
        most += rounded(blocks[index].size) + blocks[index].padding;
    }
    CHECK(allocated >= least);
    CHECK(allocated <= memarena_capacity(arena));
    memarena_stats stats;
    memarena_get_stats(arena, &stats, sizeof stats);
    CHECK(stats.allocated_bytes + stats.tlab_bytes <= memarena_capacity(arena));
    CHECK(block_count == 0 || reallocated || allocated <= most);
}

static size_t random_size(size_t capacity)
{
    unsigned long long random = test_random(&seed);
    switch (random % 16) {
    case 0:
        return (size_t)(random >> 8) % (capacity / 4 + 1);
    case 1:
        return (size_t)(random >> 8) % 20000;
    case 2:
    case 3:
        return (size_t)(random >> 8) % 2000;
    case 4:
        return 0;
    default:
        return (size_t)(random >> 8) % 100;
    }
}

static void add(const memarena *arena, void *at, size_t size, size_t alignment)
{
    CHECK_EQ((uintptr_t)at % alignment, 0);
    blocks[block_count] = (model_block){.at = at, .size = size, .padding = alignment};
    memset(at, mark_of(block_count), size);
    check_block(arena, block_count++);
}

static void refused(memarena *arena, size_t size)
{
    size_t before = memarena_allocated_bytes(arena);
    if (size <= 8 && before + 8 <= (memarena_capacity(arena) & ~(size_t)7)) {
        /* Only padding for the alignment can stand in the way of 8 bytes. */
        void *block = memarena_alloc_aligned(arena, 8, 8);
        CHECK(block != NULL);
        add(arena, block, 8, 8);
        return;
    }
    CHECK_EQ(memarena_allocated_bytes(arena), before);
}

static void allocate_one(memarena *arena)
{
    size_t size = random_size(memarena_capacity(arena));
    size_t alignment = (size_t)1 << test_random(&seed) % 13;
    void *block;
    switch (test_random(&seed) % 3) {
    case 0:
        block = memarena_alloc(arena, size), alignment = test_alignment(size);
        break;
    case 1:
        block = memarena_alloc_aligned(arena, size, alignment);
        break;
    default:
        block = memarena_calloc(arena, size, 1), alignment = test_alignment(size);
        for (size_t byte = 0; block && byte < size; byte++) CHECK_EQ(((unsigned char *)block)[byte], 0);
    }
    if (block)
        add(arena, block, size, alignment);
    else
        refused(arena, size);
}

static void resize_one(memarena *arena)
{
    if (block_count == 0) return;
    size_t index = test_random(&seed) % 4 ? block_count - 1 : (size_t)(test_random(&seed) % block_count);
    size_t size = random_size(memarena_capacity(arena)), old = blocks[index].size;
    unsigned char *block = memarena_realloc(arena, blocks[index].at, old, size);
    if (!block) return; /* the old one is still checked */
    reallocated = true;
    size_t kept = size < old ? size : old;
    for (size_t byte = 0; byte < kept; byte++) CHECK_EQ(block[byte], mark_of(index));
    blocks[index].at = block;
    blocks[index].size = size;
    memset(block, mark_of(index), size);
    check_block(arena, index);
}

static void run(memarena *arena, unsigned calls)
{
    CHECK(arena != NULL);
    for (unsigned call = 0; call < calls; call++) {
        unsigned long long random = test_random(&seed);
        if (block_count == BLOCKS || random % 509 == 0) {
            check_contents();
            CHECK(memarena_reset(arena));
            CHECK_EQ(memarena_allocated_bytes(arena), 0);
            block_count = 0;
            reallocated = false;
        } else if (random % 5 == 0) {
            resize_one(arena);
        } else {
            allocate_one(arena);
        }
        if (random % 31 == 0) check_accounts(arena);
        if (random % 127 == 0) check_contents();
    }
    check_contents();
    block_count = 0;
    reallocated = false;
    memarena_destroy(arena);
}

static void arenas_of_all_sizes_keep_every_block_apart(void)
{
    static const size_t capacities[] = {64, 1000, 4096, 65536, 100000, 1 << 20, (1 << 20) + 8, 5 << 20};
    for (size_t i = 0; i < sizeof capacities / sizeof *capacities; i++) run(memarena_create(capacities[i]), 6000);
}

static void so_do_arenas_in_buffers(void)
{
    static unsigned char memory[(1 << 20) + 128];
    for (size_t bytes = 2048; bytes <= 1 << 20; bytes *= 4) {
        size_t shift = test_random(&seed) % 128;
        run(memarena_create_with(&(memarena_options){.buffer = memory + shift, .capacity = bytes}), 3000);
    }
}

static void so_do_arenas_with_large_and_small_tlabs(void)
{
    for (size_t tlab_bytes = 64; tlab_bytes <= 1 << 20; tlab_bytes *= 8)
        run(memarena_create_with(&(memarena_options){.capacity = 8 << 20, .tlab_bytes = tlab_bytes}), 6000);
}

int main(int argc, char **argv)
{
#ifdef WITH_YIELD
    __atomic_store_n(&test_yield_chance, 0, __ATOMIC_RELAXED); /* there is nobody to yield to */
#endif
    seed = argc > 1 ? strtoull(argv[1], NULL, 0) | 1 : 88172645463325252u;
    printf("seed %llu\n", seed);
    RUN(arenas_of_all_sizes_keep_every_block_apart);
    RUN(so_do_arenas_in_buffers);
    RUN(so_do_arenas_with_large_and_small_tlabs);
    return test_done();
}
