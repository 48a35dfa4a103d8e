// Exceptions out of the user's functions: the arena stays usable, and deferred calls that have not run stay deferred.
#include <memarena.h>

#include "test.h"

#include <cerrno>
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

} // namespace

int main()
{
    RUN(a_deferred_call_that_throws_leaves_the_others_deferred);
    RUN(in_a_scope_too);
    RUN(an_exception_out_of_on_oom_leaves_the_arena_usable);
    RUN(an_exception_out_of_a_sample_leaves_the_arena_usable);
    return test_done();
}
