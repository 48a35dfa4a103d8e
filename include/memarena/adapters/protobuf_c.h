/* protobuf-c in an arena or a scope: messages that are unpacked with this allocator live there, and so do buffers.
 *
 *     ProtobufCAllocator allocator = memarena_protobuf_c(scope);
 *     Order *order = order__unpack(&allocator, size, bytes);   // NULL: malformed, or there is no room
 *
 * order__free_unpacked need not be called. A ProtobufCBufferSimple, too, takes it as its `allocator`, and leaves its old
 * bytes behind when it grows; where there is no room it drops bytes without a word, so pack into a block of
 * order__get_packed_size bytes where that matters. */
#ifndef MEMARENA_ADAPTERS_PROTOBUF_C_H
#define MEMARENA_ADAPTERS_PROTOBUF_C_H

#include <memarena.h>
#include <protobuf-c/protobuf-c.h>

static inline void *memarena_protobuf_c_alloc(void *arena, size_t size)
{
    return memarena_alloc(MEMARENA_CAST_(memarena *, arena), size);
}

static inline void memarena_protobuf_c_free(void *arena, void *block)
{
    (void)arena, (void)block;
}

static inline ProtobufCAllocator memarena_protobuf_c(memarena *arena)
{
    ProtobufCAllocator allocator = {memarena_protobuf_c_alloc, memarena_protobuf_c_free, arena};
    return allocator;
}

#endif
