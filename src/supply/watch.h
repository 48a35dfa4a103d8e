/* Under the microscope: AddressSanitizer and Valgrind memcheck. Both are recognised at run time, so that one build of
 * the library serves both and a watched program need not rebuild it. Valgrind's other tools watch nothing: under them an
 * arena is what it is without. */
#ifndef MA_WATCH_H
#define MA_WATCH_H

#include "../base/arena.h"

/* How far apart a watched arena lays its blocks: each is followed by twice its size of red zone. */
#define MA_WATCH_SPREAD 3u
/* Its inverse modulo 2^64, to solve base + 3 n = 0 (mod alignment) for n. */
#define MA_WATCH_INVERSE UINT64_C(0xAAAAAAAAAAAAAAAB)
/* Red zone before the first block. */
#define MA_WATCH_GUARD 64u

/* The least offset from `offset` on whose address, `start` + `spread` times that, is aligned; may wrap. */
static inline uint64_t ma_watch_align(uint64_t start, unsigned spread, uint64_t offset, uint64_t alignment)
{
    uint64_t aligned = (0 - start) * (spread > 1 ? MA_WATCH_INVERSE : 1);
    return offset + ((aligned - offset) & (alignment - 1));
}

/* Which sanitizer is watching this process. */
ma_watch ma_watch_find(void);
/* Whether this process runs under Valgrind, whatever the tool: pages cannot be moved there. */
bool ma_watch_simulates(void);
/* A watched arena begins, with its blocks at pool.base. */
void ma_watch_begin(ma_arena *arena);
/* As ma_pool_claim and the rest of an allocation; the bytes that it took, 0: no room. Sizes and alignments as in
 * ma_request. */
uint64_t ma_watch_alloc(ma_arena *arena, size_t size, uint64_t alignment, uintptr_t *block);
/* Bytes for an extent, still forbidden, aligned as an address; false: no room. */
bool ma_watch_claim(ma_arena *arena, uint64_t bytes, uint64_t alignment, uintptr_t *begin);
/* So many bytes, as blocks lie, with what lies between them, are forbidden. */
void ma_watch_forbid(const ma_arena *arena, uintptr_t begin, uint64_t bytes);
/* A part of one block is forbidden; may be used. */
void ma_watch_forbid_part(const ma_arena *arena, uintptr_t begin, size_t size);
void ma_watch_permit(const ma_arena *arena, uintptr_t begin, size_t size);
/* Resizes the newest block in place; false: it is not, or there is no room. */
bool ma_watch_resize(ma_arena *arena, uintptr_t block, size_t old_size, size_t new_size);
/* Frees the newest block; false: it is not, and nothing has changed. */
bool ma_watch_drop(ma_arena *arena, uintptr_t block, size_t size);
/* All blocks of the generation die. */
void ma_watch_reset(ma_arena *arena);
/* In a child of fork. */
void ma_watch_repair(ma_arena *arena);
/* The memory goes back to where it came from. */
void ma_watch_end(ma_arena *arena);

#endif
