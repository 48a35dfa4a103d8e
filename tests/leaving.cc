// Exceptions out of the user's functions: the arena stays usable, and deferred calls that have not run stay deferred.
#include <memarena.h>

#include "test.h"

#include <cerrno>
#include <cstring>
#include <stdexcept>

namespace
{

struct left : std::runtime_error {
    left() : std::runtime_error("left")
    {
    }
};

unsigned ran;

void count(void *)
{
    ran++;
}

void throws(void *)
{
    throw left();
}

bool on_oom_throws(void *asked, memarena *, size_t)
{
    ++*static_cast<unsigned *>(asked);
    throw left();
}

void sample_throws(void *asked, memarena *, void *, size_t, size_t)
{
    ++*static_cast<unsigned *>(asked);
    throw left();
}

template <typename Call> bool is_left(Call call)
{
    try {
        call();
    } catch (const left &) {
        return true;
    }
    return false;
}

void a_deferred_call_that_throws_leaves_the_others_deferred()
{
    memarena *arena = memarena_create(1 << 20);
    CHECK(arena != nullptr);
    ran = 0;
    CHECK(memarena_defer(arena, count, nullptr) && memarena_defer(arena, throws, nullptr) &&
          memarena_defer(arena, count, nullptr));
    CHECK(is_left([&] { (void)memarena_reset(arena); }));
    CHECK_EQ(ran, 1);
    CHECK_EQ(memarena_generation(arena), 1);
    CHECK(memarena_new(arena, int) != nullptr && memarena_defer(arena, count, nullptr));
    CHECK(memarena_reset(arena));
    CHECK_EQ(ran, 3);
    CHECK_EQ(memarena_generation(arena), 2);
    CHECK(memarena_defer(arena, count, nullptr) && memarena_defer(arena, throws, nullptr));
    CHECK(is_left([&] { memarena_destroy(arena); })); /* it is not destroyed then */
    CHECK(memarena_new(arena, int) != nullptr);
    memarena_destroy(arena);
    CHECK_EQ(ran, 4);
}

void in_a_scope_too()
{
    memarena *arena = memarena_create(1 << 20), *scope = memarena_scope(arena);
    CHECK(scope != nullptr);
    ran = 0;
    memarena_position mark = memarena_mark(scope);
    CHECK(memarena_defer(scope, count, nullptr) && memarena_defer(scope, throws, nullptr));
    CHECK(is_left([&] { (void)memarena_rewind(scope, mark); }));
    CHECK_EQ(ran, 0);
    CHECK(memarena_rewind(scope, mark));
    CHECK_EQ(ran, 1);
    CHECK(memarena_defer(scope, count, nullptr) && memarena_defer(scope, throws, nullptr));
    CHECK(is_left([&] { (void)memarena_reset(scope); }));
    CHECK(memarena_reset(scope));
    CHECK_EQ(ran, 2);
    CHECK(memarena_defer(scope, count, nullptr) && memarena_defer(scope, throws, nullptr));
    CHECK(is_left([&] { memarena_destroy(scope); }));
    CHECK(!memarena_reset(arena) && errno == EBUSY); /* it is still open */
    memarena_destroy(scope);
    CHECK_EQ(ran, 3);
    CHECK(memarena_reset(arena));
    memarena_destroy(arena);
}

void an_exception_out_of_on_oom_leaves_the_arena_usable()
{
    unsigned asked = 0;
    memarena_options options = {};
    options.capacity = 1 << 16;
    options.on_oom = on_oom_throws;
    options.on_oom_context = &asked;
    memarena *arena = memarena_create_with(&options);
    CHECK(arena != nullptr);
    for (unsigned i = 1; i < 5; i++) {
        CHECK(is_left([&] { (void)memarena_alloc(arena, 1 << 20); }));
        CHECK_EQ(asked, i); /* each time anew */
    }
    while (!is_left([&] { (void)memarena_alloc_aligned(arena, 8, 8); })) continue;
    CHECK(is_left([&] { (void)memarena_scope(arena); }));
    CHECK(is_left([&] { (void)memarena_defer(arena, count, nullptr); }));
    CHECK(memarena_reset(arena));
    memarena *scope = memarena_scope(arena);
    CHECK(scope != nullptr);
    CHECK(is_left([&] { (void)memarena_alloc(scope, 1 << 20); }));
    memarena_destroy(scope);
    CHECK(memarena_reset(arena));
    memarena_destroy(arena);
}

void an_exception_out_of_a_sample_leaves_the_arena_usable()
{
    unsigned asked = 0;
    memarena *arena = memarena_create(1 << 20);
    CHECK(arena != nullptr && memarena_sample(arena, 1, sample_throws, &asked));
    for (unsigned i = 1; i < 5; i++) {
        CHECK(is_left([&] { (void)memarena_alloc(arena, 64); }));
        CHECK_EQ(asked, i);
    }
    CHECK(is_left([&] { (void)memarena_defer(arena, count, nullptr); }));
    CHECK(memarena_sample(arena, 0, nullptr, nullptr));
    ran = 0;
    CHECK(memarena_reset(arena));
    CHECK_EQ(ran, 0);
    memarena_destroy(arena);
}

/* The blocks of a burst that goes on, and of other calls, lie apart as ever. `in`: the arena, or a scope of it. */
void go_on(memarena *in, memarena_burst &burst)
{
    static char *blocks[200];
    unsigned taken = 0;
    for (unsigned i = 0; i < 200; i++) {
        void *block = i % 3 ? memarena_burst_alloc(&burst, 24, 8) : memarena_alloc_aligned(in, 24, 8);
        if (!block) break;
        std::memset(block, static_cast<int>(i), 24);
        blocks[taken++] = static_cast<char *>(block);
    }
    CHECK_EQ(taken, 200);
    for (unsigned i = 0; i < taken; i++)
        for (unsigned k = 0; k < 24; k++) CHECK(blocks[i][k] == static_cast<char>(i));
}

void an_exception_leaves_a_burst_usable()
{
    for (unsigned kind = 0; kind < 8; kind++) {
        unsigned asked = 0;
        bool by_sample = kind & 1, in_scope = kind & 2;
        if (by_sample && in_scope) continue; /* a scope that is open need not notice at once */
        memarena_options options = {};
        options.capacity = 1 << 20;
        options.flags = kind & 4 ? MEMARENA_PER_CPU : 0;
        options.on_oom = on_oom_throws;
        options.on_oom_context = &asked;
        memarena *arena = memarena_create_with(&options), *in = in_scope ? memarena_scope(arena) : arena;
        CHECK(in != nullptr);
        memarena_burst burst = memarena_burst_begin(in);
        for (unsigned i = 0; i < 5; i++) {
            CHECK(memarena_burst_alloc(&burst, 40, 8) != nullptr);
            if (by_sample) CHECK(memarena_sample(arena, 1, sample_throws, &asked));
            CHECK(is_left([&] { (void)memarena_burst_alloc(&burst, by_sample ? 8000 : 2 << 20, 8); }));
            if (by_sample) CHECK(memarena_sample(arena, 0, nullptr, nullptr));
            go_on(in, burst);
            if (i == 3) memarena_burst_end(&burst), burst = memarena_burst_begin(in);
        }
        memarena_burst_end(&burst);
        size_t before = memarena_allocated_bytes(in);
        burst = memarena_burst_begin(in);
        if (by_sample) CHECK(memarena_sample(arena, 1, sample_throws, &asked));
        CHECK(is_left([&] { (void)memarena_burst_alloc(&burst, by_sample ? 8000 : 2 << 20, 8); }));
        if (by_sample) CHECK(memarena_sample(arena, 0, nullptr, nullptr));
        memarena_burst_end(&burst); /* by whoever catches it */
        CHECK_EQ(memarena_allocated_bytes(in), before + (by_sample ? 8000 : 0));
        CHECK(memarena_alloc_aligned(in, 8, 8) != nullptr);
        if (in_scope) { /* left open, and the scope ends: the next one in its place is whole */
            burst = memarena_burst_begin(in);
            CHECK(is_left([&] { (void)memarena_burst_alloc(&burst, 2 << 20, 8); }));
            memarena_destroy(in);
            in = memarena_scope(arena);
            CHECK(in != nullptr);
            memarena_burst next = memarena_burst_begin(in);
            go_on(in, next);
            memarena_burst_end(&next);
            CHECK(memarena_reset(in));
            memarena_destroy(in);
        }
        CHECK(memarena_reset(arena));
        memarena_destroy(arena);
    }
}

} // namespace

int main()
{
    RUN(a_deferred_call_that_throws_leaves_the_others_deferred);
    RUN(in_a_scope_too);
    RUN(an_exception_out_of_on_oom_leaves_the_arena_usable);
    RUN(an_exception_out_of_a_sample_leaves_the_arena_usable);
    RUN(an_exception_leaves_a_burst_usable);
    return test_done();
}
