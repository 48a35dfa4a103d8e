/* The arena that an input asks for: its options, and what must come of them. */
#ifndef FUZZ_OPTIONS_H
#define FUZZ_OPTIONS_H

#include "input.h"

#define CANARY 64u
#define BUFFER_ENOUGH (4 * KIB)

static unsigned char buffer[((size_t)4 << 20) + 4096];

static size_t next_capacity(void)
{
    switch (next() % 8) {
    case 0:
        return 1 + next() * 8 + next() % 8;
    case 1:
        return 4 * KIB + next() * 8;
    case 2:
        return 16 * KIB + next_word();
    case 3:
        return 192 * KIB - 128 + next();
    case 4:
        return 256 * KIB;
    case 5:
        return 1024 * KIB - 128 + next();
    case 6:
        return 1024 * KIB + (size_t)next_word() * 16;
    default:
        return 4096 * KIB - 8 + next() % 16;
    }
}

/* One thing that is refused, or that is asked of the system. */
static bool spoil(memarena_options *options, unsigned how)
{
    switch (how % 8) {
    case 0:
        options->flags |= 16u << how / 8 % 28;
        return true;
    case 1:
        options->reserved[how / 8 % 4] = options;
        return true;
    case 2:
        options->retain_bytes = how & 8 ? MEMARENA_RETAIN_AUTO : (size_t)how << 12;
        return options->buffer != NULL;
    case 3:
        options->tlab_bytes = 48;
        return true;
    case 4:
        options->tlab_bytes = (size_t)128 << 20;
        return true;
    case 5:
        options->buffer = buffer;
        options->flags |= how & 8 ? MEMARENA_HUGE_PAGES : how & 16 ? MEMARENA_PREFAULT : MEMARENA_TRAP_STALE;
        return true;
    case 6:
        options->flags |= options->capacity <= 256 * KIB && !options->buffer ? MEMARENA_PREFAULT : 0;
        return false;
    default:
        options->flags |= options->buffer ? 0 : how & 8 ? MEMARENA_HUGE_PAGES : MEMARENA_TRAP_STALE;
        return false;
    }
}

static void check_canaries(const memarena_options *options)
{
    const unsigned char *at = options->buffer;
    for (size_t i = 1; at && i <= CANARY; i++) CHECK(*(at - i) == 0xc5 && at[options->capacity + i - 1] == 0xc5);
}

/* NULL: refused, as it should be. */
static memarena *create(memarena_options *options)
{
    unsigned flags = next();
    options->capacity = next_capacity();
    size_t shift = flags & 1 ? next() : 0;
    if (flags & 1) options->buffer = buffer + CANARY + shift;
    if (flags & 2) options->flags |= MEMARENA_PER_CPU;
    if (flags & 4) options->tlab_bytes = (size_t)64 << next() % 21;
    if (flags & 8) options->name = "a name that is longer than what is kept of it";
    bool bad = (flags & 0xc0) == 0xc0 && spoil(options, next());
    if (flags & 1) { /* what was there must not show */
        memset(buffer, 0xc5, CANARY + shift + (options->capacity < 64 * KIB ? options->capacity : 64 * KIB));
        memset(buffer + CANARY + shift + options->capacity, 0xc5, CANARY);
    }
    SAY("create(capacity %zu, %s, flags %u, TLAB %zu, on_oom %s)%s\n", options->capacity,
        options->buffer ? "buffer" : "from the system", options->flags, options->tlab_bytes,
        options->on_oom ? "yes" : "no", bad ? ", wrongly" : "");
    errno = 0;
    memarena *arena = memarena_create_with(options);
    if (bad || !arena) {
        CHECK(!arena);
        bool small = options->buffer && options->capacity < BUFFER_ENOUGH;
        CHECK(bad || small ? errno == EINVAL
                           : (options->flags & (MEMARENA_HUGE_PAGES | MEMARENA_TRAP_STALE)) != 0 && errno != 0);
        return NULL;
    }
    size_t bytes = options->capacity, most = bytes / 8 < KIB ? KIB : bytes / 8, capacity = memarena_capacity(arena);
    CHECK(options->buffer ? capacity < bytes && capacity + 8 > bytes - (most < bytes ? most : bytes)
                          : capacity == bytes / 8 * 8);
    return arena;
}

#endif
