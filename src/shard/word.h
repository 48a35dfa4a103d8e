/* The shared word: {generation tag, offset} in 64 bits, so that one compare-and-swap both checks the generation and
 * claims the bytes.
 *
 * A word whose tag is older than the arena's generation counts as "at its start": that is how a reset forgets all
 * claims without visiting them. The tag is the low MA_TAG_BITS of the generation, compared as a signed distance, so it
 * may wrap as long as no word is half the tag space old: each reset refreshes one word in turn (ma_pool_refresh), which
 * keeps every word within MA_SHARDS + 1 resets, and as many more for each thread that sleeps in a reset before it comes
 * to its word: the next round makes up for that. (There is room for 8,000 such threads.)
 *
 * The order of a claim matters and is the same everywhere: load the word, then load the generation, then compare.
 * If the generation is still the claimant's after the word was read, no word newer than it can have been read; and
 * a claimant that sleeps through resets after that fails its compare-and-swap, as the word was refreshed. Only if it wakes
 * at the moment when the tags have come round (2^20 resets) and the word is again as it was, to the bit, it succeeds; the
 * word is then newer than its generation, and nothing is given out from such a one until its generation has come.
 *
 * Free of libc, like all of shard/. */
#ifndef MA_WORD_H
#define MA_WORD_H

#include <stdint.h>

#ifndef MA_TAG_BITS
#define MA_TAG_BITS 20
#endif

#define MA_OFFSET_BITS (64 - MA_TAG_BITS)
#define MA_GRAIN_BITS 3 /* offsets count 8-byte grains, the granularity of blocks */
#define MA_GRAIN ((uint64_t)1 << MA_GRAIN_BITS)
#define MA_OFFSET_MASK (((uint64_t)1 << MA_OFFSET_BITS) - 1)
/* 128 TiB less a grain, so that the end of the last byte still fits: all that x86-64 and aarch64 give a process by
 * default. */
#define MA_CAPACITY_MAX (((uint64_t)1 << 47) - MA_GRAIN)

static inline uint64_t ma_word_make(uint64_t generation, uint64_t offset)
{
    return generation << MA_OFFSET_BITS | offset >> MA_GRAIN_BITS;
}

/* How many generations the word is older than `generation`: 0 it is of it, below 0 newer. */
static inline int64_t ma_word_age(uint64_t word, uint64_t generation)
{
    uint64_t distance = generation - (word >> MA_OFFSET_BITS);
    return (int64_t)(distance << MA_OFFSET_BITS) >> MA_OFFSET_BITS;
}

/* The offset in bytes, or `start` when the word is older than the generation. */
static inline uint64_t ma_word_offset(uint64_t word, uint64_t generation, uint64_t start)
{
    return ma_word_age(word, generation) == 0 ? (word & MA_OFFSET_MASK) << MA_GRAIN_BITS : start;
}

#endif
