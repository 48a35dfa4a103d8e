// memarena.hpp: objects die when their arena does, containers live in it, and what fails throws and leaves nothing behind.
#include <memarena.hpp>

#include "test.h"

#include <cstdint>
#include <functional>
#include <list>
#include <map>
#include <stdexcept>
#include <string>
#include <unordered_map>
#include <vector>

namespace
{

std::vector<int> died;
unsigned born;

struct mortal {
    explicit mortal(int number) : number_(number)
    {
        born++;
    }
    mortal() : number_(-1)
    {
        born++;
    }
    mortal(const mortal &) = delete;
    mortal &operator=(const mortal &) = delete;
    ~mortal()
    {
        died.push_back(number_);
    }
    int number_;
};

struct alignas(128) wide {
    char bytes[200];
};

struct refuser {
    explicit refuser(bool refuses)
    {
        if (refuses) throw std::runtime_error("no");
    }
    ~refuser()
    {
        died.push_back(99);
    }
};

void objects_die_with_their_arena_the_last_one_first()
{
    died.clear();
    {
        marena::arena arena(1 << 20);
        for (int i = 0; i < 3; i++) CHECK_EQ(arena.make<mortal>(i)->number_, i);
        CHECK(arena.reset());
        CHECK(died == (std::vector<int>{2, 1, 0}));
        arena.make<mortal>(3);
        CHECK_EQ(*arena.make<int>(7), 7);
        CHECK_EQ(reinterpret_cast<std::uintptr_t>(arena.make<wide>()) % 128, 0);
    }
    CHECK(died == (std::vector<int>{2, 1, 0, 3}));
}

void arrays_are_value_initialised_and_die_backwards()
{
    died.clear();
    {
        marena::arena arena(1 << 20);
        int *zeroes = arena.make_array<int>(1000);
        for (int i = 0; i < 1000; i++) CHECK(zeroes[i] == 0);
        mortal *row = arena.make_array<mortal>(3);
        for (int i = 0; i < 3; i++) row[i].number_ = i;
        bool threw = false;
        try {
            (void)arena.make_array<mortal>(SIZE_MAX / sizeof(mortal) + 2);
        } catch (const std::bad_alloc &) {
            threw = true;
        }
        CHECK(threw);
    }
    CHECK(died == (std::vector<int>{2, 1, 0}));
}

void scopes_and_rewinders_end_themselves()
{
    died.clear();
    marena::arena arena(1 << 20);
    arena.make<mortal>(1);
    {
        marena::scope scope(arena);
        scope.make<mortal>(2);
        CHECK(!arena.reset());
        {
            marena::rewinder back(scope);
            scope.make<mortal>(3);
        }
        CHECK(died == std::vector<int>{3});
        marena::scope moved(std::move(scope)), other(arena);
        CHECK(scope.get() == nullptr);
        other = std::move(moved); // ends the scope that it had
        other.make<mortal>(4);
    }
    CHECK(died == (std::vector<int>{3, 4, 2}));
    CHECK(arena.reset());
    CHECK_EQ(died.back(), 1);
}

void a_constructor_that_throws_leaves_nothing_to_destroy()
{
    died.clear();
    {
        marena::arena arena(1 << 20);
        bool threw = false;
        try {
            arena.make<refuser>(true);
        } catch (const std::runtime_error &) {
            threw = true;
        }
        CHECK(threw);
        arena.make<refuser>(false);
    }
    CHECK(died == std::vector<int>{99});
}

// Whether it is the memory of the object or that of its deferred destructor which is missing.
void a_full_arena_throws_and_destroys_what_it_made()
{
    for (std::size_t room = 0; room < 64; room += 8) {
        died.clear();
        born = 0;
        {
            marena::arena arena(4096);
            CHECK(memarena_alloc_aligned(arena, 4096 - room, 8) != nullptr);
            bool threw = false;
            try {
                while (true) arena.make<mortal>(5);
            } catch (const std::bad_alloc &) {
                threw = true;
            }
            CHECK(threw);
            CHECK(died.empty()); // none is made whose end could not be deferred
        }
        CHECK_EQ(died.size(), born);
    }
}

void bursts_end_themselves()
{
    struct point {
        int x, y;
    };
    marena::arena arena(1 << 20);
    died.clear();
    {
        marena::burst burst(arena);
        for (int i = 0; i < 100; i++) {
            auto *made = burst.make<point>(point{i, -i});
            CHECK(made && made->x == i && made->y == -i);
            CHECK(burst.make<mortal>(i) != nullptr);
            CHECK(burst.allocate(24, 8) && burst.allocate(16));
        }
    }
    CHECK(died.empty());
    size_t bytes = memarena_allocated_bytes(arena);
    CHECK(bytes >= 100 * (sizeof(point) + 24 + 16) && bytes < 100 * (sizeof(point) + 24 + 32 + 64));
    CHECK(arena.reset());
    CHECK_EQ(died.size(), 100);
    marena::burst burst(arena);
    bool thrown = false;
    try {
        (void)burst.allocate(2 << 20);
    } catch (const std::bad_alloc &) {
        thrown = true;
    }
    CHECK(thrown && burst.make<int>(7));
}

void wrong_options_throw_what_errno_says()
{
    memarena_options options = {};
    options.tlab_bytes = 3;
    int code = 0;
    try {
        marena::arena arena(options);
    } catch (const std::system_error &error) {
        code = error.code().value();
    }
    CHECK_EQ(code, EINVAL);
}

template <typename T> using in_arena = marena::allocator<T>;

void containers_live_in_it()
{
    marena::arena arena(64 << 20);
    marena::scope scope(arena);
    std::pmr::vector<std::pmr::string> names(scope.resource());
    std::pmr::unordered_map<int, std::pmr::string> by_number(scope.resource());
    std::map<int, int, std::less<>, in_arena<std::pair<const int, int>>> squares(scope.get());
    std::basic_string<char, std::char_traits<char>, in_arena<char>> text(scope.get());
    std::list<int, in_arena<int>> list(scope.get());
    for (int i = 0; i < 10000; i++) {
        names.emplace_back("a name that is too long to be kept in the string itself");
        by_number.emplace(i, std::to_string(i) + " is a number that has a long text beside it");
        squares.emplace(i, i * i);
        text += 'x';
        list.push_front(i);
    }
    CHECK_EQ(names.size(), 10000);
    for (int i = 0; i < 10000; i++) {
        CHECK(memarena_owns(scope, names[static_cast<std::size_t>(i)].data()));
        CHECK(by_number.at(i).compare(0, 1, std::to_string(i), 0, 1) == 0);
        CHECK(squares.at(i) == i * i);
    }
    CHECK(memarena_owns(scope, text.data()) && memarena_owns(scope, &list.front()));
    auto copy = squares;
    CHECK(copy.get_allocator() == squares.get_allocator() && copy == squares);
    marena::resource same(scope.get()), other(arena.get());
    CHECK(*scope.resource() == same && !(same == other));
    names.clear();
    bool threw = false;
    try {
        names.reserve(SIZE_MAX / sizeof names[0] / 2);
    } catch (const std::exception &) {
        threw = true;
    }
    CHECK(threw);
}

} // namespace

int main()
{
    RUN(objects_die_with_their_arena_the_last_one_first);
    RUN(arrays_are_value_initialised_and_die_backwards);
    RUN(scopes_and_rewinders_end_themselves);
    RUN(a_constructor_that_throws_leaves_nothing_to_destroy);
    RUN(a_full_arena_throws_and_destroys_what_it_made);
    RUN(bursts_end_themselves);
    RUN(wrong_options_throw_what_errno_says);
    RUN(containers_live_in_it);
    return test_done();
}
