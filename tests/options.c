/* Creation: what each option does, and which are refused. */
#include "internals.h"
#include "test.h"

#include <errno.h>
#include <unistd.h>

#define KIB ((size_t)1 << 10)
#define MIB ((size_t)1 << 20)

static unsigned char memory[MIB + 1024];

static memarena *create(memarena_options options)
{
    memarena *arena = memarena_create_with(&options);
    CHECK(arena);
    return arena;
}

static void check_refused(memarena_options options, int reason)
{
    errno = 0;
    CHECK(!memarena_create_with(&options));
    CHECK_EQ(errno, reason);
}

static memarena_stats stats_of(const memarena *arena)
{
    memarena_stats stats;
    memarena_get_stats(arena, &stats, sizeof stats);
    return stats;
}

/* From /proc/self/statm: pages of address space, or resident ones. 0 where there is no such file. */
static size_t pages(bool resident)
{
    unsigned long total = 0, present = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    if (!file) return 0;
    if (fscanf(file, "%lu %lu", &total, &present) != 2) total = present = 0;
    fclose(file);
    return resident ? present : total;
}

/* ---- What is refused -------------------------------------------------------------------------------------------- */

static void no_options_are_refused(void)
{
    errno = 0;
    CHECK(!memarena_create_with(NULL));
    CHECK_EQ(errno, EINVAL);
}

static void unknown_flags_are_refused(void)
{
    for (unsigned bit = 4; bit < sizeof(unsigned) * 8; bit++) {
        check_refused((memarena_options){.capacity = MIB, .flags = 1u << bit}, EINVAL);
        check_refused((memarena_options){.capacity = MIB, .flags = 1u << bit | MEMARENA_PREFAULT}, EINVAL);
    }
    check_refused((memarena_options){.capacity = MIB, .flags = ~0u}, EINVAL);
}

static void members_of_later_versions_are_refused(void)
{
    for (size_t i = 0; i < 4; i++) {
        memarena_options options = {.capacity = MIB};
        options.reserved[i] = memory;
        check_refused(options, EINVAL);
    }
}

static void tlab_sizes_other_than_powers_of_two_in_range_are_refused(void)
{
    static const size_t wrong[] = {1,
                                   2,
                                   8,
                                   32,
                                   63,
                                   65,
                                   96,
                                   100,
                                   MIB + 1,
                                   3 * MIB,
                                   64 * MIB - 1,
                                   64 * MIB + 1,
                                   128 * MIB,
                                   SIZE_MAX,
                                   SIZE_MAX / 2 + 1};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        check_refused((memarena_options){.capacity = MIB, .tlab_bytes = wrong[i]}, EINVAL);
        check_refused((memarena_options){.buffer = memory, .capacity = MIB, .tlab_bytes = wrong[i]}, EINVAL);
    }
    for (size_t right = 64; right <= 64 * MIB; right *= 2)
        memarena_destroy(create((memarena_options){.capacity = MIB, .tlab_bytes = right}));
}

static void a_buffer_asks_nothing_of_the_os(void)
{
    check_refused((memarena_options){.buffer = memory, .capacity = MIB, .flags = MEMARENA_HUGE_PAGES}, EINVAL);
    check_refused((memarena_options){.buffer = memory, .capacity = MIB, .flags = MEMARENA_PREFAULT}, EINVAL);
    check_refused((memarena_options){.buffer = memory, .capacity = MIB, .flags = MEMARENA_TRAP_STALE}, EINVAL);
    check_refused((memarena_options){.buffer = memory, .capacity = MIB, .retain_bytes = 1}, EINVAL);
    check_refused((memarena_options){.buffer = memory}, EINVAL);
    check_refused((memarena_options){.buffer = memory, .capacity = SIZE_MAX}, EINVAL);
    check_refused((memarena_options){.buffer = memory, .capacity = SIZE_MAX - 4096}, EINVAL);
    void *last = (void *)(UINTPTR_MAX - (MIB - 1)); /* the last MiB of the address space */
    check_refused((memarena_options){.buffer = last, .capacity = MIB + 64}, EINVAL);
    check_refused((memarena_options){.buffer = last, .capacity = 2 * MIB}, EINVAL);
}

static void a_capacity_that_no_address_space_holds_is_out_of_memory(void)
{
    static const size_t wrong[] = {SIZE_MAX, SIZE_MAX - 1, SIZE_MAX - 4096, SIZE_MAX / 2 + 1, SIZE_MAX / 3 + 4096};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        if (sizeof(size_t) < 8 && wrong[i] < SIZE_MAX - 4096) continue; /* may be there */
        errno = 0;
        CHECK(!memarena_create(wrong[i]));
        CHECK_EQ(errno, ENOMEM);
        check_refused((memarena_options){.capacity = wrong[i], .flags = MEMARENA_HUGE_PAGES}, ENOMEM);
        check_refused((memarena_options){.capacity = wrong[i], .flags = MEMARENA_PREFAULT}, ENOMEM);
    }
}

/* ---- Memory from the OS ----------------------------------------------------------------------------------------- */

static void the_default_capacity_is_the_physical_memory(void)
{
    uint64_t physical = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
    memarena *arenas[] = {memarena_create(0), create((memarena_options){.capacity = 0})};
    for (size_t i = 0; i < 2; i++) {
        CHECK(arenas[i]);
        if (physical < SIZE_MAX / 8)
            CHECK_EQ(memarena_capacity(arenas[i]), physical);
        else /* more than the address space has to spare */
            CHECK(memarena_capacity(arenas[i]) >= 64 * MIB);
        CHECK(memarena_zalloc(arenas[i], MIB));
        memarena_destroy(arenas[i]);
    }
}

/* In whole blocks: of 1001 bytes 1000 can be had. */
static void the_capacity_is_what_was_asked_for_and_can_be_had(void)
{
    for (size_t capacity = 1; capacity < 200 * MIB; capacity = capacity * 3 / 2 + 1) {
        memarena *arena = memarena_create(capacity);
        CHECK(arena);
        CHECK_EQ(memarena_capacity(arena), capacity / 8 * 8);
        CHECK_EQ(stats_of(arena).capacity_bytes, capacity / 8 * 8);
        CHECK(capacity < 8 || memarena_alloc_aligned(arena, memarena_capacity(arena), 8));
        CHECK_EQ(memarena_allocated_bytes(arena), capacity / 8 * 8);
        CHECK(!memarena_alloc(arena, 1));
        CHECK(memarena_reset(arena));
        CHECK_EQ(memarena_allocated_bytes(arena), 0);
        CHECK_EQ(memarena_generation(arena), 2);
        memarena_destroy(arena);
    }
}

/* They work, or are refused with the reason of the system and without a leak. */
static void flags_work_or_are_refused_without_a_leak(unsigned flags)
{
    size_t before = pages(false);
    for (int i = 0; i < 40; i++) {
        errno = 0;
        memarena *arena = memarena_create_with(&(memarena_options){.capacity = 8 * MIB, .flags = flags});
        if (!arena) {
            CHECK(errno != 0);
            continue;
        }
        CHECK_EQ(memarena_capacity(arena), 8 * MIB);
        char *block = memarena_alloc_aligned(arena, 8 * MIB, 8);
        CHECK(block);
        if (i == 0) memset(block, 1, 8 * MIB);
        CHECK(!memarena_alloc_aligned(arena, 8, 8));
        memarena_reset(arena);
        CHECK(memarena_zalloc(arena, 1000));
        memarena_destroy(arena);
    }
    CHECK(pages(false) <= before + 16 * MIB / 4096); /* less than two of the forty */
}

static void huge_pages_work_or_are_refused_without_a_leak(void)
{
    flags_work_or_are_refused_without_a_leak(MEMARENA_HUGE_PAGES);
    flags_work_or_are_refused_without_a_leak(MEMARENA_HUGE_PAGES | MEMARENA_PREFAULT);
}

static void prefaulting_works_or_is_refused_without_a_leak(void)
{
    flags_work_or_are_refused_without_a_leak(MEMARENA_PREFAULT);
}

static void windows_are_released(void)
{
    flags_work_or_are_refused_without_a_leak(MEMARENA_TRAP_STALE);
    flags_work_or_are_refused_without_a_leak(MEMARENA_TRAP_STALE | MEMARENA_HUGE_PAGES | MEMARENA_PREFAULT);
}

static void prefaulted_memory_is_resident(void)
{
    size_t before = pages(true), page = (size_t)sysconf(_SC_PAGESIZE);
    if (before == 0) return;
    memarena *arena = memarena_create_with(&(memarena_options){.capacity = 32 * MIB, .flags = MEMARENA_PREFAULT});
    if (!arena) return;
    size_t after = pages(true);
    CHECK(after > before && (after - before) * page >= 30 * MIB);
    memarena_destroy(arena);
}

/* The system can only back whole huge pages, so the blocks must start at one. */
static void huge_pages_start_where_the_blocks_do(void)
{
    memarena *arena = memarena_create_with(&(memarena_options){.capacity = 8 * MIB, .flags = MEMARENA_HUGE_PAGES});
    if (!arena) return;
    CHECK_EQ(ma_arena_of(arena)->pool.base % (2 * MIB), 0);
    memarena_destroy(arena);
}

static void the_largest_tlab_is_as_asked(void)
{
    for (size_t tlab_bytes = 64; tlab_bytes <= MIB; tlab_bytes *= 4) {
        memarena *arena = create((memarena_options){.capacity = 400 * MIB, .tlab_bytes = tlab_bytes});
        size_t most = 0;
        for (int i = 0; i < 400000; i++) {
            CHECK(memarena_alloc_aligned(arena, 8, 8));
            memarena_stats stats = stats_of(arena);
            if (stats.tlab_bytes > most) most = stats.tlab_bytes;
        }
        if (stats_of(arena).watched)
            CHECK_EQ(most, 0);
        else
            CHECK(most <= tlab_bytes && most > tlab_bytes / 2 - 8);
        memarena_destroy(arena);
    }
}

static void the_default_tlab_is_64_kib(void)
{
    memarena *arena = memarena_create(400 * MIB);
    CHECK(arena);
    size_t most = 0;
    for (int i = 0; i < 100000; i++) {
        CHECK(memarena_alloc_aligned(arena, 8, 8));
        memarena_stats stats = stats_of(arena);
        if (stats.tlab_bytes > most) most = stats.tlab_bytes;
    }
    if (!stats_of(arena).watched) CHECK_EQ(most, 64 * KIB - 8);
    memarena_destroy(arena);
}

static void the_name_is_copied_and_cut(void)
{
    char name[] = "0123456789012345678901234567890123456789";
    memarena *arena = create((memarena_options){.capacity = MIB, .name = name});
    memset(name, 'x', sizeof name - 1);
    CHECK(strcmp(ma_arena_of(arena)->name, "0123456789012345678901234567890") == 0);
    CHECK(memarena_alloc(arena, 8));
    memarena_destroy(arena);
    arena = create((memarena_options){.buffer = memory, .capacity = 4096, .name = "short"});
    CHECK(strcmp(ma_arena_of(arena)->name, "short") == 0);
    memarena_destroy(arena);
    arena = create((memarena_options){.capacity = MIB});
    CHECK(strcmp(ma_arena_of(arena)->name, "") == 0);
    memarena_destroy(arena);
}

/* ---- Out of memory ---------------------------------------------------------------------------------------------- */

typedef struct oom_handler {
    memarena *arena;
    int calls;
    size_t size;
    bool reset, answer;
} oom_handler;

static bool on_oom(void *context, memarena *arena, size_t size)
{
    oom_handler *handler = context;
    CHECK(handler->arena == NULL || arena == handler->arena);
    handler->calls++;
    handler->size = size;
    if (handler->reset) memarena_reset(arena);
    return handler->answer;
}

static memarena *create_handled(oom_handler *handler, bool in_buffer)
{
    *handler = (oom_handler){.calls = 0};
    memarena_options options = {.capacity = 64 * KIB, .on_oom = on_oom, .on_oom_context = handler};
    if (in_buffer) options.buffer = memory;
    handler->arena = create(options);
    return handler->arena;
}

static void a_handler_that_gives_up_is_asked_once(void)
{
    for (int in_buffer = 0; in_buffer < 2; in_buffer++) {
        oom_handler handler;
        memarena *arena = create_handled(&handler, in_buffer);
        CHECK(memarena_alloc(arena, 30000));
        CHECK_EQ(handler.calls, 0);
        static const size_t sizes[] = {40000, 64 * KIB, 64 * KIB + 1, MIB, SIZE_MAX};
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
            handler.calls = 0;
            errno = 0;
            CHECK(!memarena_alloc(arena, sizes[i]));
            CHECK_EQ(errno, ENOMEM);
            CHECK_EQ(handler.calls, 1);
            CHECK_EQ(handler.size, sizes[i]);
            CHECK_EQ(stats_of(arena).failed_requests, i + 1);
            CHECK_EQ(stats_of(arena).last_failed_bytes, sizes[i]);
        }
        handler.calls = 0;
        CHECK(memarena_alloc(arena, 1000));
        CHECK_EQ(handler.calls, 0);
        memarena_destroy(arena);
    }
}

static void a_handler_that_promises_in_vain_is_asked_once(void)
{
    oom_handler handler;
    memarena *arena = create_handled(&handler, false);
    handler.answer = true;
    CHECK(memarena_alloc(arena, 30000));
    errno = 0;
    CHECK(!memarena_alloc(arena, 40000));
    CHECK_EQ(errno, ENOMEM);
    CHECK_EQ(handler.calls, 1);
    CHECK_EQ(handler.size, 40000);
    CHECK_EQ(stats_of(arena).failed_requests, 1);
    memarena_destroy(arena);
}

static void a_handler_that_resets_the_arena_makes_room(void)
{
    for (int in_buffer = 0; in_buffer < 2; in_buffer++) {
        oom_handler handler;
        memarena *arena = create_handled(&handler, in_buffer);
        handler.answer = handler.reset = true;
        for (int i = 1; i < 100; i++) {
            size_t size = i % 3 ? 40000 : 64;
            void *block;
            do {
                block = memarena_alloc_aligned(arena, size, 64);
                CHECK(block);
                memset(block, 1, size);
            } while (handler.calls < i);
            CHECK_EQ(handler.calls, i);
            CHECK_EQ(handler.size, size);
            CHECK_EQ(memarena_generation(arena), i + 1);
            size_t padding = memarena_allocated_bytes(arena) - size; /* the retried block is alone */
            CHECK(padding < 64);
        }
        CHECK_EQ(stats_of(arena).failed_requests, 0);
        CHECK_EQ(stats_of(arena).last_failed_bytes, 99 % 3 ? 40000 : 64); /* the last that it made room for */
        memarena_destroy(arena);
    }
}

struct three {
    int32_t a, b, c;
};

/* memarena_vprintf. */
__attribute__((format(printf, 2, 3))) static char *print(memarena *arena, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    char *text = memarena_vprintf(arena, format, args);
    va_end(args);
    return text;
}

static void every_call_that_allocates_asks_the_handler(void)
{
    oom_handler handler;
    memarena *arena = create_handled(&handler, false);
    char *block = memarena_alloc_aligned(arena, 64 * KIB, 8);
    CHECK(block);
    block[0] = '\0';
    int calls = 0;
#define CHECK_ASKED(call, bytes) (CHECK(!(call)), CHECK_EQ(handler.calls, ++calls), CHECK_EQ(handler.size, (bytes)))
    CHECK_ASKED(memarena_alloc(arena, 10), 10);
    CHECK_ASKED(memarena_alloc(arena, 0), 0);
    CHECK_ASKED(memarena_alloc_aligned(arena, 11, 4096), 11);
    CHECK_ASKED(memarena_zalloc(arena, 12), 12);
    CHECK_ASKED(memarena_calloc(arena, 13, 3), 39);
    CHECK_ASKED(memarena_new_array(arena, int32_t, (size_t)calls), 20);
    CHECK_ASKED(memarena_strdup(arena, "12345"), 6);
    CHECK_ASKED(memarena_strndup(arena, "12345", 3), 4);
    CHECK_ASKED(memarena_memdup(arena, "1234567", 7), 7);
    CHECK_ASKED(memarena_printf(arena, "%d-%s", 12, "3456"), 8);
    CHECK_ASKED(print(arena, "%s%s", "123456", "78"), 9);
    CHECK_ASKED(memarena_new(arena, int64_t), 8);
    CHECK_ASKED(memarena_new_value(arena, struct three, 1, 2, 3), 12);
    CHECK_ASKED(memarena_realloc(arena, block, 64 * KIB, 64 * KIB + 1), 64 * KIB + 1);
    CHECK_ASKED(memarena_realloc(arena, block, 10, 64 * KIB), 64 * KIB);
    CHECK_ASKED(memarena_realloc(arena, NULL, 0, 14), 14);
    CHECK(!memarena_defer(arena, free, NULL)); /* of a size of its own */
    CHECK(handler.calls == ++calls && handler.size > 0 && handler.size <= 24);
    CHECK(!memarena_scope(arena));
    CHECK(handler.calls == ++calls && handler.size > 0 && handler.size <= KIB);
    CHECK_EQ(stats_of(arena).failed_requests, calls);
    CHECK(memarena_reset(arena)); /* no defer and no scope was left half made */
    memarena_destroy(arena);
}

static void a_wrong_alignment_is_no_lack_of_memory(void)
{
    oom_handler handler;
    memarena *arena = create_handled(&handler, false);
    handler.answer = true;
    CHECK(!memarena_alloc_aligned(arena, 8, 24));
    CHECK_EQ(handler.calls, 0);
    CHECK_EQ(stats_of(arena).failed_requests, 0);
    memarena_destroy(arena);
}

/* ---- In a buffer --------------------------------------------------------------------------------------------------
 */

static void bookkeeping_in_a_buffer_stays_within_its_share(void)
{
    for (size_t size = KIB; size <= MIB; size += size < 3 * KIB ? 8 : size / 16 + 8) {
        for (size_t shift = 0; shift < 128; shift += size < 300 * KIB ? 1 : 9) {
            memarena *arena = create((memarena_options){.buffer = memory + shift, .capacity = size});
            size_t share = size / 8 > KIB ? size / 8 : KIB;
            CHECK(memarena_capacity(arena) <= size && size - memarena_capacity(arena) <= share);
            memarena_destroy(arena);
        }
    }
}

static void four_kibibytes_are_enough_to_work(void)
{
    for (size_t shift = 0; shift < 128; shift++) {
        memarena *arena = create((memarena_options){.buffer = memory + shift, .capacity = 4 * KIB});
        CHECK(memarena_capacity(arena) >= 3 * KIB);
        for (int generation = 0; generation < 2; generation++) {
            for (size_t i = 0; i < 3 * KIB / 8; i++) CHECK(memarena_new_value(arena, int64_t, 1));
            memarena_reset(arena);
        }
        memarena_destroy(arena);
    }
}

static void a_buffer_is_too_small_or_works(void)
{
    for (size_t shift = 0; shift < 128; shift += 3) {
        bool worked = false;
        for (size_t size = 1; size <= 1100; size++) {
            errno = 0;
            memarena *arena = memarena_create_with(&(memarena_options){.buffer = memory + shift, .capacity = size});
            if (!arena) {
                CHECK_EQ(errno, EINVAL);
                CHECK(!worked && size < KIB);
                continue;
            }
            worked = true;
            CHECK(size > 128);
            CHECK(memarena_capacity(arena) >= 8);
            char *block = memarena_alloc_aligned(arena, 8, 8);
            CHECK(block);
            memset(block, 1, 8);
            CHECK(block >= (char *)memory + shift && block + 8 <= (char *)memory + shift + size);
            memarena_destroy(arena);
        }
        CHECK(worked);
    }
}

/* Fills the arena with blocks, each written from its first to its last byte. */
static void fill_and_write(memarena *arena, unsigned char value)
{
    for (size_t size = memarena_capacity(arena); size >= 8; size = size / 2 & ~(size_t)7)
        for (void *block; (block = memarena_alloc_aligned(arena, size, 8)) != NULL;) memset(block, value, size);
    CHECK(memarena_allocated_bytes(arena) + 8 > memarena_capacity(arena));
}

static void memory_around_the_buffer_is_untouched(void)
{
    static const size_t sizes[] = {KIB, KIB + 1, 2 * KIB + 7, 4 * KIB, 100 * KIB + 3, 144 * KIB, 200 * KIB + 5, MIB};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        for (size_t shift = 256; shift < 256 + 128; shift += 5) {
            size_t end = shift + sizes[i];
            memset(memory, 0xC5, sizeof memory);
            memarena *arena =
                create((memarena_options){.buffer = memory + shift, .capacity = sizes[i], .name = "here"});
            fill_and_write(arena, 1);
            memarena_reset(arena);
            fill_and_write(arena, 2);
            memarena_destroy(arena);
            for (size_t byte = 0; byte < shift; byte++) CHECK_EQ(memory[byte], 0xC5);
            for (size_t byte = end; byte < end + 512 && byte < sizeof memory; byte++) CHECK_EQ(memory[byte], 0xC5);
        }
    }
}

static void after_destroy_the_buffer_is_the_callers_again(void)
{
    for (size_t size = KIB; size <= MIB; size *= 4) {
        unsigned char *buffer = malloc(size);
        CHECK(buffer);
        for (int round = 0; round < 3; round++) {
            memset(buffer, 0xA5 + round, size); /* whatever is in it, an arena starts afresh */
            memarena *arena = create((memarena_options){.buffer = buffer, .capacity = size});
            CHECK_EQ(memarena_generation(arena), 1);
            CHECK_EQ(memarena_allocated_bytes(arena), 0);
            fill_and_write(arena, 3);
            if (round % 2) memarena_reset(arena);
            memarena_destroy(arena);
        }
        memset(buffer, 0, size);
        size_t sum = 0;
        for (size_t byte = 0; byte < size; byte++) sum += buffer[byte];
        CHECK_EQ(sum, 0);
        free(buffer);
    }
}

static void destroying_nothing_is_fine(void)
{
    errno = 0;
    memarena_destroy(NULL);
    CHECK_EQ(errno, 0);
}

int main(void)
{
    RUN(no_options_are_refused);
    RUN(unknown_flags_are_refused);
    RUN(windows_are_released);
    RUN(members_of_later_versions_are_refused);
    RUN(tlab_sizes_other_than_powers_of_two_in_range_are_refused);
    RUN(a_buffer_asks_nothing_of_the_os);
    RUN(a_capacity_that_no_address_space_holds_is_out_of_memory);
    RUN(the_default_capacity_is_the_physical_memory);
    RUN(the_capacity_is_what_was_asked_for_and_can_be_had);
    RUN(huge_pages_work_or_are_refused_without_a_leak);
    RUN(prefaulting_works_or_is_refused_without_a_leak);
    RUN(prefaulted_memory_is_resident);
    RUN(huge_pages_start_where_the_blocks_do);
    RUN(the_largest_tlab_is_as_asked);
    RUN(the_default_tlab_is_64_kib);
    RUN(the_name_is_copied_and_cut);
    RUN(a_handler_that_gives_up_is_asked_once);
    RUN(a_handler_that_promises_in_vain_is_asked_once);
    RUN(a_handler_that_resets_the_arena_makes_room);
    RUN(every_call_that_allocates_asks_the_handler);
    RUN(a_wrong_alignment_is_no_lack_of_memory);
    RUN(bookkeeping_in_a_buffer_stays_within_its_share);
    RUN(four_kibibytes_are_enough_to_work);
    RUN(a_buffer_is_too_small_or_works);
    RUN(memory_around_the_buffer_is_untouched);
    RUN(after_destroy_the_buffer_is_the_callers_again);
    RUN(destroying_nothing_is_fine);
    return test_done();
}
