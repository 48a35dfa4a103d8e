/* The exported twins of the header's inline functions: what other languages bind to, and what a C compiler calls where
 * it does not inline. */
#include "../../include/memarena.h"

extern inline void *memarena_bump_(memarena *arena, size_t size, size_t alignment);
extern inline void *memarena_bump_zero_(memarena *arena, size_t size, size_t alignment);
extern inline void *memarena_bump_copy_(memarena *arena, const void *value, size_t size, size_t alignment);
extern inline void *memarena_bump_array_(memarena *arena, size_t count, size_t size, size_t alignment);
extern inline void *memarena_alloc(memarena *arena, size_t size);
extern inline void *memarena_alloc_aligned(memarena *arena, size_t size, size_t alignment);
extern inline void *memarena_zalloc(memarena *arena, size_t size);
extern inline void memarena_scoped_end_(memarena **scope);

extern inline memarena_burst memarena_burst_begin(memarena *arena);
extern inline void *memarena_burst_bump_(memarena_burst *burst, size_t size, size_t alignment);
extern inline void *memarena_burst_zero_(memarena_burst *burst, size_t size, size_t alignment);
extern inline void *memarena_burst_alloc(memarena_burst *burst, size_t size, size_t alignment);
extern inline void memarena_burst_end(memarena_burst *burst);
