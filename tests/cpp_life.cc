// memarena.hpp: where things live. Containers stay where they were made, resources move with what they belong to, scopes
// open in scopes, and what throws in the making leaves nothing behind.
#include <memarena.hpp>

#include <memarena/adapters/current.h>

#include "test.h"

#include <atomic>
#include <cstdint>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace
{

template <typename T> using in_arena = marena::allocator<T>;
template <typename T> using vec = std::vector<T, in_arena<T>>;
using text = std::basic_string<char, std::char_traits<char>, in_arena<char>>;

const char long_text[] = "a text that does not fit into the string itself";

// ---- Containers -------------------------------------------------------------------------------------------------------

template <typename Container, typename Make> void check_that_it_stays(Make make)
{
    marena::arena arena(1 << 24);
    marena::scope session(arena);
    Container copied = make(session.get()), moved = make(session.get()), same = make(session.get());
    {
        marena::scope request(arena);
        Container local = make(request.get()), other = make(request.get());
        local.insert(local.end(), {'b', 'c', 'd'});
        other = local;
        copied = local;
        moved = std::move(other);
        CHECK(copied == local && moved == local);
        CHECK(local.get_allocator().get() == request.get());
    }
    marena::scope next(arena); // takes the memory of `request`
    std::memset(next.make_array<char>(512), 'x', 512);
    for (const Container *kept : {&copied, &moved}) {
        CHECK(kept->get_allocator().get() == session.get());
        for (const auto &element : *kept) CHECK(memarena_owns(session, &element));
        CHECK(kept->size() == make(session.get()).size() + 3);
    }
    same = std::move(moved); // within one arena nothing is copied
    CHECK(same == copied && same.get_allocator().get() == session.get());
}

void containers_stay_where_they_were_made()
{
    check_that_it_stays<vec<char>>([](memarena *in) { return vec<char>({'a'}, in); });
    check_that_it_stays<text>([](memarena *in) { return text(long_text, in); });
    check_that_it_stays<std::list<char, in_arena<char>>>(
        [](memarena *in) { return std::list<char, in_arena<char>>({'a'}, in); });
    static_assert(!std::allocator_traits<in_arena<int>>::propagate_on_container_copy_assignment::value);
    static_assert(!std::allocator_traits<in_arena<int>>::propagate_on_container_move_assignment::value);
    static_assert(!std::allocator_traits<in_arena<int>>::propagate_on_container_swap::value);
    static_assert(!std::allocator_traits<in_arena<int>>::is_always_equal::value);
}

// Elements are moved one by one, and those that take an allocator are made with that of where they go.
void elements_are_moved_between_arenas()
{
    marena::arena arena(1 << 24);
    marena::scope one(arena), other(arena);
    vec<std::unique_ptr<int>> from(one.get()), to(other.get());
    from.push_back(std::make_unique<int>(7));
    to = std::move(from);
    CHECK(to.size() == 1 && *to[0] == 7 && memarena_owns(other, to.data()));
    vec<int> first({1, 2}, one.get()), second({3}, one.get());
    const int *data = first.data();
    swap(first, second);
    CHECK(second.data() == data && first[0] == 3);
    vec<int> copy(first), elsewhere(first, other.get()), moved(std::move(second), other.get());
    CHECK(copy.get_allocator() == first.get_allocator());
    CHECK(memarena_owns(other, elsewhere.data()) && memarena_owns(other, moved.data()) && moved[1] == 2);
}

// ---- Moved owners -----------------------------------------------------------------------------------------------------

#if MEMARENA_HAS_MEMORY_RESOURCE
template <typename Owner> struct job {
    Owner owner;
    std::pmr::vector<std::pmr::string> lines;
    template <typename From> explicit job(const From &from) : owner(from), lines(owner.resource())
    {
        lines.emplace_back(long_text);
    }
};

template <typename Owner, typename From> void check_that_it_moves(const From &from)
{
    std::vector<job<Owner>> jobs;
    for (int i = 0; i < 20; i++) jobs.emplace_back(from); // the vector grows, and moves those that it has
    for (job<Owner> &each : jobs) {
        CHECK(each.lines.get_allocator().resource() == each.owner.resource());
        for (int i = 0; i < 100; i++) each.lines.emplace_back(long_text);
        CHECK(each.lines[0] == long_text && each.lines[100] == long_text);
        CHECK(memarena_owns(each.owner, each.lines[100].data()));
    }
    job<Owner> last = std::move(jobs.back());
    jobs.pop_back();
    last.lines[0] += long_text;
    CHECK(memarena_owns(last.owner, last.lines[0].data()));
}

void resources_move_with_what_they_belong_to()
{
    marena::arena arena(1 << 24);
    check_that_it_moves<marena::scope>(arena.get());
    check_that_it_moves<marena::arena>(std::size_t(1) << 20);
    alignas(64) static char buffer[1 << 22];
    memarena_options options = {};
    options.buffer = buffer;
    options.capacity = sizeof buffer;
    marena::arena small(options), moved(std::move(small));
    check_that_it_moves<marena::scope>(moved.get());
}

// And it takes no room of the blocks.
template <typename Owner> void check_that_it_stays_valid(Owner &owner)
{
    CHECK_EQ(memarena_allocated_bytes(owner), 0);
    std::pmr::memory_resource *resource = owner.resource();
    for (int i = 0; i < 3; i++) {
        std::memset(owner.template make_array<char>(5000), 0xff, 5000);
        {
            std::pmr::string line(long_text, resource);
            line += line;
            CHECK(memarena_owns(owner, line.data()));
        }
        CHECK(owner.reset());
        CHECK(owner.resource() == resource);
        CHECK_EQ(memarena_allocated_bytes(owner), 0);
    }
}

void a_resource_outlives_resets_and_rewinds()
{
    marena::arena arena(1 << 20);
    check_that_it_stays_valid(arena);
    marena::scope scope(arena);
    {
        marena::rewinder back(scope);
        std::memset(scope.make_array<char>(5000), 0xff, 5000);
    }
    check_that_it_stays_valid(scope);
}

// As large as ours, and of the same arena, but another class.
class foreign : public std::pmr::memory_resource
{
  public:
    explicit foreign(memarena *in) : in_(in)
    {
    }

  private:
    void *do_allocate(std::size_t size, std::size_t) override
    {
        return memarena_alloc(in_, size);
    }
    void do_deallocate(void *, std::size_t, std::size_t) override
    {
    }
    bool do_is_equal(const std::pmr::memory_resource &other) const noexcept override
    {
        return this == &other;
    }
    memarena *in_;
};

void resources_are_equal_if_their_arenas_are()
{
    marena::arena arena(1 << 20);
    marena::scope one(arena), other(arena);
    marena::resource same(one.get());
    CHECK(*one.resource() == same && same == *one.resource() && same.get() == one.get());
    CHECK(*one.resource() != *other.resource() && *one.resource() != *arena.resource());
    CHECK(*one.resource() != *std::pmr::new_delete_resource() && *std::pmr::new_delete_resource() != same);
    CHECK(same != foreign(one.get()));
}
#endif

// ---- Scopes in scopes -------------------------------------------------------------------------------------------------

struct kept_object {
    explicit kept_object(int &live) : live_(live)
    {
        live_++;
    }
    ~kept_object()
    {
        live_--;
    }
    int &live_;
};

void what_is_kept_lives_with_the_parent()
{
    int live = 0;
    {
        marena::arena arena(1 << 20);
        marena::scope outer(arena), inner(outer);
        kept_object *object = inner.make<kept_object>(live);
        {
            marena::scope innermost(inner);
            CHECK(!inner.keep()); // a scope of it is open
            innermost.make<kept_object>(live);
            CHECK(innermost.keep() && innermost.get() == nullptr && live == 2);
        }
        CHECK(inner.keep() && inner.get() == nullptr && live == 2 && memarena_owns(outer, object));
        CHECK(outer.claimed_bytes() >= memarena_allocated_bytes(outer) &&
              arena.claimed_bytes() >= outer.claimed_bytes());
        CHECK(outer.reset() && live == 0);
        outer.make<kept_object>(live);
        CHECK(outer.keep() && live == 1);
        CHECK(arena.reset() && live == 0);
        marena::scope last(arena);
        last.make<kept_object>(live);
        CHECK(last.keep());
    }
    CHECK(live == 0);
}

struct request : marena::scope {
    explicit request(memarena *parent) : marena::scope(parent)
    {
    }
};

void scopes_open_in_scopes_and_move_only_when_told()
{
    marena::arena arena(1 << 20);
    marena::scope outer(arena);
    marena::scope inner(outer), innermost(inner), beside(outer.get());
    CHECK(!outer.reset() && !inner.reset() && innermost.reset());
    innermost.make<int>(1);
    marena::scope moved(std::move(innermost));
    CHECK(innermost.get() == nullptr && memarena_allocated_bytes(moved) == 8);
    auto child = marena::scope(moved);
    std::optional<marena::scope> perhaps(std::in_place, child);
    marena::owner &any = *perhaps;
    marena::scope of_any(any);
    request derived(arena);
    marena::scope in_derived(derived);
    CHECK(!derived.reset() && !perhaps->reset() && !child.reset() && !moved.reset());
    const marena::scope constant(arena);
    marena::scope in_constant(constant.get());
    CHECK(memarena_owns(arena, in_constant.get()));
    // Nothing that holds a scope can be copied by mistake.
    static_assert(!std::is_copy_constructible_v<marena::scope> && !std::is_copy_assignable_v<marena::scope>);
    static_assert(!std::is_convertible_v<marena::scope &, marena::scope>);
    static_assert(std::is_nothrow_move_constructible_v<marena::scope> &&
                  std::is_nothrow_move_assignable_v<marena::scope>);
    static_assert(!std::is_copy_constructible_v<request> && !std::is_constructible_v<request, request &>);
    static_assert(std::is_nothrow_move_constructible_v<request>);
    static_assert(!std::is_constructible_v<marena::scope, const marena::scope &>);
    static_assert(!std::is_constructible_v<marena::scope, const request &>);
    static_assert(!std::is_constructible_v<marena::arena, marena::arena &>);
}

// ---- What throws ------------------------------------------------------------------------------------------------------

struct counted {
    static unsigned alive, made, throws_at;
    static std::vector<unsigned> died;
    unsigned number;
    char bytes[1000] = {};
    counted() : number(made)
    {
        if (made == throws_at) throw std::runtime_error("no");
        made++, alive++;
    }
    counted(const counted &) = delete;
    counted &operator=(const counted &) = delete;
    ~counted()
    {
        alive--;
        died.push_back(number);
    }
};
unsigned counted::alive, counted::made, counted::throws_at;
std::vector<unsigned> counted::died;

struct alignas(256) trivial { // no destructor, but a constructor that throws
    trivial()
    {
        throw std::runtime_error("no");
    }
    char bytes[300];
};

template <typename Make> bool throws(Make make)
{
    try {
        make();
    } catch (const std::runtime_error &) {
        return true;
    }
    return false;
}

// `padding` where the last block may not end on its own: a block with a large alignment is given back, what lies before it is not.
void what_throws_keeps_nothing()
{
    for (unsigned flags : {0u, unsigned(MEMARENA_PER_CPU)}) {
        memarena_options options = {};
        options.capacity = 1 << 24;
        options.flags = flags;
        marena::arena arena(options);
        marena::scope scope(arena);
        for (memarena *in : {arena.get(), scope.get()}) {
            for (unsigned count = 0; count < 4; count++) {
                (void)memarena_alloc(in, 1);
                std::size_t before = memarena_allocated_bytes(in);
                for (int i = 0; i < 100; i++) {
                    counted::made = 0, counted::throws_at = count;
                    counted::died.clear();
                    CHECK(throws([&] { (void)marena::make_array<counted>(in, 4); }));
                    CHECK_EQ(counted::alive, 0);
                    CHECK_EQ(counted::died.size(), count);
                    for (unsigned k = 0; k < count; k++) CHECK_EQ(counted::died[k], count - 1 - k);
                    if (count == 0) CHECK(throws([&] { (void)marena::make<counted>(in); }));
                }
                CHECK_EQ(memarena_allocated_bytes(in), before);
            }
            std::size_t before = memarena_allocated_bytes(in);
            for (int i = 0; i < 100; i++) CHECK(throws([&] { (void)marena::make<trivial>(in); }));
            CHECK(memarena_allocated_bytes(in) < before + 512);
        }
        counted::died.clear();
        scope = marena::scope(arena);
        counted::throws_at = 1000;
        (void)arena.make<counted>();
        CHECK_EQ(counted::alive, 1);
    }
    CHECK_EQ(counted::alive, 0);
    CHECK_EQ(counted::died.size(), 1); // of what threw no call was deferred
}

// It takes from the arena, too, and lives as long as its owner needs it.
struct holder {
    counted *held;
    explicit holder(memarena *in, bool throws) : held(marena::make<counted>(in))
    {
        if (throws) throw std::runtime_error("no");
    }
    ~holder()
    {
        CHECK_EQ(counted::alive, 1);
        CHECK(held->number == 0);
    }
};

void what_a_constructor_makes_dies_after_its_object()
{
    counted::made = 0, counted::throws_at = 1000;
    {
        marena::arena arena(1 << 20);
        marena::scope scope(arena);
        (void)scope.make<holder>(scope, false);
        CHECK_EQ(counted::alive, 1);
    }
    CHECK_EQ(counted::alive, 0);
    marena::arena arena(1 << 20);
    CHECK(throws([&] { (void)arena.make<holder>(arena, true); }));
    CHECK_EQ(counted::alive, 1); // it is the arena's
    CHECK(arena.reset());
    CHECK_EQ(counted::alive, 0);
}

// Where there is no room for the deferred call no constructor is run.
void there_is_an_object_only_where_there_is_room_for_its_end()
{
    for (std::size_t room = 0; room < 1200; room += 8) {
        marena::arena arena(4096);
        CHECK(memarena_alloc_aligned(arena, 4096 - room, 8) != nullptr);
        counted::made = 0, counted::throws_at = 1000;
        bool threw = false;
        try {
            (void)arena.make<counted>();
        } catch (const std::bad_alloc &) {
            threw = true;
        }
        CHECK_EQ(counted::made, threw ? 0 : 1);
        CHECK_EQ(counted::alive, counted::made);
    }
    CHECK_EQ(counted::alive, 0);
}

template <typename Fail> int error_of(Fail fail)
{
    try {
        fail();
    } catch (const std::bad_alloc &) {
        return ENOMEM;
    } catch (const std::system_error &error) {
        return error.code().value();
    }
    return 0;
}

struct resetter {
    explicit resetter(marena::owner &owner)
    {
        CHECK(owner.reset());
    }
    ~resetter()
    {
        died++;
    }
    static unsigned died;
};
unsigned resetter::died;

// A reset in the middle: its memory is no longer the caller's, so no call is kept in it.
void an_object_that_a_reset_meets_is_not_kept()
{
    marena::arena arena(1 << 20);
    CHECK_EQ(error_of([&] { (void)arena.make<resetter>(arena); }), EBUSY);
    CHECK_EQ(resetter::died, 1);
    marena::scope scope(arena);
    CHECK_EQ(error_of([&] { (void)scope.make<resetter>(scope); }), EBUSY);
    CHECK_EQ(resetter::died, 2);
    CHECK(scope.reset());
    CHECK_EQ(resetter::died, 2);
}

// It touches none of its memory, which may be somebody else's when a reset was faster.
struct ghost {
    static std::atomic<unsigned> born, died;
    char bytes[40];
    ghost() // NOLINT: see above
    {
        born++;
    }
    ~ghost()
    {
        died++;
    }
};
std::atomic<unsigned> ghost::born, ghost::died;

void objects_made_while_others_reset_die_once()
{
    for (unsigned flags : {0u, unsigned(MEMARENA_PER_CPU)}) {
        ghost::born = ghost::died = 0;
        std::atomic<unsigned> working{3}, refused{0};
        {
            memarena_options options = {};
            options.capacity = 1 << 20;
            options.flags = flags;
            marena::arena arena(options);
            std::vector<std::thread> threads;
            for (unsigned i = 0; i < 3; i++)
                threads.emplace_back([&] {
                    for (int k = 0; k < 20000; k++) refused += error_of([&] { (void)arena.make<ghost>(); }) != 0;
                    working--;
                });
            while (working) (void)arena.reset();
            for (std::thread &thread : threads) thread.join();
        }
        CHECK(ghost::born > 0);
        CHECK_EQ(ghost::born, ghost::died);
        CHECK(ghost::born + refused >= 60000);
    }
}

// ---- Guards -----------------------------------------------------------------------------------------------------------

void a_rewinder_goes_back_or_says_that_it_cannot()
{
    static_assert(!std::is_constructible_v<marena::rewinder, marena::arena &>);
    static_assert(!std::is_constructible_v<marena::rewinder, const marena::arena &>);
    static_assert(!std::is_constructible_v<marena::rewinder, marena::arena>);
    static_assert(std::is_constructible_v<marena::rewinder, marena::scope &>);
    marena::arena arena(1 << 16);
    marena::scope scope(arena);
    marena::owner &any = arena;
    CHECK_EQ(error_of([&] { marena::rewinder back(arena.get()); }), EINVAL);
    CHECK_EQ(error_of([&] { marena::rewinder back(any); }), EINVAL);
    {
        marena::rewinder back(scope);
        while (memarena_alloc_aligned(scope, 8, 8)) continue;
        CHECK_EQ(error_of([&] { marena::rewinder further(scope); }), ENOMEM);
    }
    CHECK_EQ(memarena_allocated_bytes(scope), 0);
}

void a_guard_makes_an_arena_the_current_one()
{
    marena::arena arena(1 << 20);
    CHECK_EQ(error_of([&] { marena::current here(arena); }), EINVAL);
    CHECK(memarena_current_register(arena));
    {
        marena::current here(arena);
        CHECK(memarena_current_get() == arena.get());
        marena::scope scope(arena);
        {
            marena::current inside(scope);
            CHECK(memarena_current_get() == scope.get());
            void *block = memarena_current_malloc(100);
            CHECK(memarena_owns(scope, block));
            marena::current outside(arena.get());
            CHECK(memarena_current_get() == arena.get());
        }
        CHECK(memarena_current_get() == arena.get());
        CHECK(throws([&] {
            marena::current inside(scope);
            throw std::runtime_error("no");
        }));
        CHECK(memarena_current_get() == arena.get());
    }
    CHECK(memarena_current_get() == nullptr);
    memarena_current_unregister(arena);
    static_assert(!std::is_copy_constructible_v<marena::current<>>);
}

} // namespace

int main()
{
    RUN(containers_stay_where_they_were_made);
    RUN(elements_are_moved_between_arenas);
#if MEMARENA_HAS_MEMORY_RESOURCE
    RUN(resources_move_with_what_they_belong_to);
    RUN(a_resource_outlives_resets_and_rewinds);
    RUN(resources_are_equal_if_their_arenas_are);
#endif
    RUN(scopes_open_in_scopes_and_move_only_when_told);
    RUN(what_is_kept_lives_with_the_parent);
    RUN(what_throws_keeps_nothing);
    RUN(what_a_constructor_makes_dies_after_its_object);
    RUN(there_is_an_object_only_where_there_is_room_for_its_end);
    RUN(an_object_that_a_reset_meets_is_not_kept);
    RUN(objects_made_while_others_reset_die_once);
    RUN(a_rewinder_goes_back_or_says_that_it_cannot);
    RUN(a_guard_makes_an_arena_the_current_one);
    return test_done();
}
