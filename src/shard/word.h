/* The shared word: {generation tag, offset} in 64 bits, so that one compare-and-swap both checks the generation and
 * claims the bytes.
 *
 * The offset has the bits that the pool's capacity takes, the tag has all others: 40 in a pool of 64 MiB, 26 in one of
 * 1 TiB, never fewer than 20. (Account words are sums modulo that offset: exact, as the sum of all is never above the
 * capacity.)
 *
 * A word whose tag is older than the arena's generation counts as "at its start": that is how a reset forgets all
 * claims without visiting them. The tag is the low bits of the generation, compared as a signed distance, so it
 * may wrap as long as no word is half the tag space old: each reset refreshes one word in turn (ma_pool_refresh), which
 * keeps every word within MA_SHARDS + 1 resets, and as many more for each thread that sleeps in a reset before it comes
 * to its word: the next round makes up for that. (There is room for 8,000 such threads, where the tag is narrowest.)
 *
 * The order of a claim matters and is the same everywhere: load the word, then load the generation, then compare.
 * If the generation is still the claimant's after the word was read, no word newer than it can have been read; and
 * a claimant that sleeps through resets after that fails its compare-and-swap, as the word was refreshed. Only if it wakes
 * at the moment when the tags have come round (2^40 resets in 64 MiB, 2^20 at the narrowest) and the word is again as it
 * was, to the bit, it succeeds; the word is then newer than its generation, and nothing is given out from such a one
 * until its generation has come.
 *
 * A give-back (ma_pool_move_tip, roll_back) does not read the word first: it swaps the word that its own claim left, and
 * only the tag tells that from the same tip in a later generation. One that sleeps until the tags have come round, and
 * then finds the tip just there, takes back what others hold, and two live blocks overlap. Nothing but the width of the
 * tag is against it. (ma_pool_return cannot: its caller holds the generation open.)
 *
 * Free of libc, like all of shard/. */
#ifndef MA_WORD_H
#define MA_WORD_H

#include <stdint.h>

#define MA_GRAIN_BITS 3 /* offsets count 8-byte grains, the granularity of blocks */
#define MA_GRAIN ((uint64_t)1 << MA_GRAIN_BITS)
/* 128 TiB less a grain, so that the end of the last byte still fits: all that x86-64 and aarch64 give a process by
 * default. */
#define MA_CAPACITY_MAX (((uint64_t)1 << 47) - MA_GRAIN)

#ifdef MA_TAG_BITS /* exactly so many: tests want tags that wrap */
#define MA_TAG_BITS_LEAST MA_TAG_BITS
#define MA_OFFSET_BITS_LEAST (64 - MA_TAG_BITS)
#else
#define MA_TAG_BITS_LEAST 20   /* those that MA_CAPACITY_MAX leaves */
#define MA_OFFSET_BITS_LEAST 4 /* 2^60 generations never come round */
#endif
#define MA_OFFSET_BITS_MOST (64 - MA_TAG_BITS_LEAST)

/* How many bits an offset takes, the capacity itself included. All words of a pool are cut there. */
static inline unsigned ma_word_offset_bits(uint64_t capacity)
{
    uint64_t least = (uint64_t)1 << (MA_OFFSET_BITS_LEAST - 1);
    return 64 - (unsigned)__builtin_clzll(capacity >> MA_GRAIN_BITS | least);
}

static inline uint64_t ma_word_make(unsigned offset_bits, uint64_t generation, uint64_t offset)
{
    return generation << offset_bits | offset >> MA_GRAIN_BITS;
}

/* How many generations the word is older than `generation`: 0 it is of it, below 0 newer. */
static inline int64_t ma_word_age(unsigned offset_bits, uint64_t word, uint64_t generation)
{
    uint64_t distance = generation - (word >> offset_bits);
    return (int64_t)(distance << offset_bits) >> offset_bits;
}

/* So many bytes, modulo what fits into the offset: a sum that may be below zero meanwhile. */
static inline uint64_t ma_word_wrap(unsigned offset_bits, uint64_t bytes)
{
    return bytes & (((uint64_t)1 << offset_bits) - 1) << MA_GRAIN_BITS;
}

/* The offset in bytes, or `start` when the word is older than the generation. */
static inline uint64_t ma_word_offset(unsigned offset_bits, uint64_t word, uint64_t generation, uint64_t start)
{
    if (ma_word_age(offset_bits, word, generation) != 0) return start;
    return ma_word_wrap(offset_bits, word << MA_GRAIN_BITS);
}

#endif
