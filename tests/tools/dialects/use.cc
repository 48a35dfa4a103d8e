// A program for dialects.sh, in every dialect of C++17 and later: all of memarena.hpp that there is, and what fails as that
// dialect has it fail.
#include <memarena.hpp>
#include <memarena/adapters/current.h>

#include "../../test.h"

#include <functional>
#include <list>
#include <map>
#include <string>
#include <sys/wait.h>
#include <unistd.h>
#include <vector>

namespace
{

unsigned died;

struct mortal {
    mortal(int one, int two) : sum(one + two)
    {
    }
    mortal() : sum(0)
    {
    }
    mortal(const mortal &) = delete;
    mortal &operator=(const mortal &) = delete;
    ~mortal()
    {
        died++;
    }
    int sum;
};

struct large {
    char bytes[1 << 21];
};

template <typename T> using in_arena = marena::allocator<T>;

void objects_containers_and_scopes_work()
{
    marena::arena arena(std::size_t(1) << 20);
    {
        marena::scope scope(arena);
        marena::scope inner(scope);
        marena::rewinder back(inner);
        CHECK_EQ(inner.make<mortal>(1, 2)->sum, 3);
        CHECK_EQ(inner.make_array<mortal>(4)[3].sum, 0);
        std::map<int, int, std::less<>, in_arena<std::pair<const int, int>>> squares(inner.get());
        std::list<int, in_arena<int>> list(inner.get());
        std::basic_string<char, std::char_traits<char>, in_arena<char>> text(inner.get());
        for (int i = 0; i < 100; i++) {
            squares[i] = i * i;
            list.push_front(i);
            text += 'x';
        }
        CHECK(squares.at(9) == 81 && list.size() == 100 && memarena_owns(inner, text.data()));
#if MEMARENA_HAS_MEMORY_RESOURCE
        std::pmr::vector<std::pmr::string> words(inner.resource());
        words.emplace_back("a word that does not fit into the string itself");
        CHECK(memarena_owns(inner, words[0].data()));
        marena::resource same(inner.get()), other(arena.get());
        CHECK(*inner.resource() == same && !(other == same) && !(same == *std::pmr::new_delete_resource()));
#endif
    }
    CHECK_EQ(died, 5);
    CHECK(memarena_current_register(arena));
    {
        marena::current here(arena);
        marena::scope scope(arena);
        marena::current inside(scope.get());
        CHECK(memarena_current_get() == scope.get());
    }
    CHECK(memarena_current_get() == nullptr);
    memarena_current_unregister(arena);
}

// How a call of `fail` ends: it threw, returned what is no object, or aborted.
template <typename Function> char ends_by(Function fail)
{
#ifdef __cpp_exceptions
    try {
        return fail() ? '?' : '0';
    } catch (const std::exception &) {
        return 't';
    }
#else
    std::fflush(stdout);
    pid_t child = fork();
    if (child == 0) _exit(fail() ? 1 : 0);
    int status = 0;
    CHECK(waitpid(child, &status, 0) == child);
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT ? 'a' : WEXITSTATUS(status) == 0 ? '0' : '?';
#endif
}

#ifdef __cpp_exceptions
const char null = 't', aborts = 't';
#else
const char null = '0', aborts = 'a';
#endif

void what_fails_does_so_as_the_manual_says()
{
    marena::arena arena(std::size_t(1) << 20);
    marena::scope scope(arena);
    CHECK_EQ(ends_by([&] { return arena.make<large>() != nullptr; }), null);
    CHECK_EQ(ends_by([&] { return arena.make_array<mortal>(SIZE_MAX / 8) != nullptr; }), null);
    CHECK_EQ(ends_by([&] { return arena.make_array<int>(SIZE_MAX / 2) != nullptr; }), null);
    memarena_options wrong = {};
    wrong.tlab_bytes = 3;
    CHECK_EQ(ends_by([&] { return marena::arena(wrong).get() != nullptr; }), null);
    while (memarena_alloc_aligned(arena, 8, 8)) continue;
    while (memarena_alloc_aligned(scope, 8, 8)) continue;
    CHECK_EQ(ends_by([&] { return marena::scope(arena).get() != nullptr; }), null);
    CHECK_EQ(ends_by([&] { return marena::scope(scope).get() != nullptr; }), null);
    CHECK_EQ(ends_by([&] { return marena::allocator<int>(scope.get()).allocate(100) != nullptr; }), aborts);
    CHECK_EQ(ends_by([&] { return marena::rewinder(scope), true; }), aborts);
    CHECK_EQ(ends_by([&] { return marena::rewinder(arena.get()), true; }), aborts);
    CHECK_EQ(ends_by([&] { return marena::current<>(scope), true; }), aborts);
#if MEMARENA_HAS_MEMORY_RESOURCE
    CHECK_EQ(ends_by([&] { return (void)scope.resource()->allocate(100), true; }), aborts);
#endif
}

} // namespace

int main()
{
    RUN(objects_containers_and_scopes_work);
    RUN(what_fails_does_so_as_the_manual_says);
    return test_done();
}
