// memarena for C++17: arenas and scopes that end themselves, objects whose destructors run with them, and the standard
// library's containers in an arena. Everything is inline, on top of memarena.h, which is the manual: what is said there of
// threads, cost and life holds here, too. What fails there with NULL throws here: std::bad_alloc for ENOMEM,
// std::system_error for the rest.
//
//     marena::arena arena;                                       // up to the machine's memory
//     marena::scope request(arena);                              // given back at the end of the block
//     auto *order = request.make<Order>(7, "tea");               // ~Order runs when the scope ends
//     std::pmr::vector<int> numbers(request.resource());         // grows in the scope, frees nothing
//     std::map<int, int, std::less<>, marena::allocator<std::pair<const int, int>>> index(request.get());
//
// The namespace is not `memarena`, which is the name of a type.
#ifndef MEMARENA_HPP
#define MEMARENA_HPP

#include "memarena.h"

#include <cerrno>
#include <cstddef>
#include <limits>
#include <memory>
#include <memory_resource>
#include <new>
#include <system_error>
#include <type_traits>
#include <utility>

namespace marena
{

namespace detail
{

[[noreturn]] inline void fail()
{
    if (errno == ENOMEM) throw std::bad_alloc();
    throw std::system_error(errno, std::generic_category(), "memarena");
}

template <typename T> T *check(T *pointer)
{
    if (!pointer) fail();
    return pointer;
}

template <typename T> struct row { // of objects to destroy, the last one first
    T *first;
    std::size_t count;
};

template <typename T> void destroy_one(void *object) noexcept
{
    static_cast<T *>(object)->~T();
}

template <typename T> void destroy_row(void *of) noexcept
{
    auto *objects = static_cast<row<T> *>(of);
    for (std::size_t i = objects->count; i-- > 0;) objects->first[i].~T();
}

} // namespace detail

// An object in the arena or scope. Its destructor, unless that does nothing, is deferred: it runs when the arena is reset
// or the scope ends, is reset or rewound to before here, in the reverse order of making.
template <typename T, typename... Arguments> T *make(memarena *in, Arguments &&...arguments)
{
    void *memory = detail::check(memarena_alloc_aligned(in, sizeof(T), alignof(T)));
    T *object = ::new (memory) T(std::forward<Arguments>(arguments)...);
    if constexpr (!std::is_trivially_destructible_v<T>) {
        if (!memarena_defer(in, detail::destroy_one<T>, object)) {
            int error = errno;
            object->~T();
            errno = error;
            detail::fail();
        }
    }
    return object;
}

// So many of them, value-initialised, in a row.
template <typename T> T *make_array(memarena *in, std::size_t count)
{
    if (count > std::numeric_limits<std::size_t>::max() / sizeof(T)) throw std::bad_alloc();
    void *memory = detail::check(memarena_alloc_aligned(in, count * sizeof(T), alignof(T)));
    T *first = static_cast<T *>(memory);
    if constexpr (std::is_trivially_destructible_v<T>) {
        std::uninitialized_value_construct_n(first, count);
    } else {
        auto *objects = make<detail::row<T>>(in, detail::row<T>{first, count});
        std::uninitialized_value_construct_n(first, count);
        if (!memarena_defer(in, detail::destroy_row<T>, objects)) {
            int error = errno;
            detail::destroy_row<T>(objects);
            errno = error;
            detail::fail();
        }
    }
    return first;
}

// For the std::pmr containers. Allocates from the arena; to give one block back does nothing. As free of locks and as
// shared between threads as what it allocates from.
class resource : public std::pmr::memory_resource
{
  public:
    explicit resource(memarena *in) noexcept : in_(in)
    {
    }
    memarena *get() const noexcept
    {
        return in_;
    }

  private:
    void *do_allocate(std::size_t size, std::size_t alignment) override
    {
        return detail::check(memarena_alloc_aligned(in_, size, alignment));
    }
    void do_deallocate(void *, std::size_t, std::size_t) override
    {
    }
    bool do_is_equal(const std::pmr::memory_resource &other) const noexcept override
    {
        auto *same = dynamic_cast<const resource *>(&other);
        return same && same->in_ == in_;
    }

    memarena *in_;
};

// For containers that take an allocator: a pointer, and no virtual call.
template <typename T> class allocator
{
  public:
    using value_type = T;
    using propagate_on_container_copy_assignment = std::true_type;
    using propagate_on_container_move_assignment = std::true_type;
    using propagate_on_container_swap = std::true_type;

    allocator(memarena *in) noexcept : in_(in)
    {
    } // NOLINT: a container is to be made from an arena
    template <typename U> allocator(const allocator<U> &other) noexcept : in_(other.get())
    {
    } // NOLINT: likewise

    T *allocate(std::size_t count)
    {
        if (count > std::numeric_limits<std::size_t>::max() / sizeof(T)) throw std::bad_alloc();
        return static_cast<T *>(detail::check(memarena_alloc_aligned(in_, count * sizeof(T), alignof(T))));
    }
    void deallocate(T *, std::size_t) noexcept
    {
    }
    memarena *get() const noexcept
    {
        return in_;
    }

    template <typename U> friend bool operator==(const allocator &one, const allocator<U> &other) noexcept
    {
        return one.get() == other.get();
    }
    template <typename U> friend bool operator!=(const allocator &one, const allocator<U> &other) noexcept
    {
        return one.get() != other.get();
    }

  private:
    memarena *in_;
};

// What an arena and a scope have in common: one owner, who ends it.
class owner
{
  public:
    owner(const owner &) = delete;
    owner &operator=(const owner &) = delete;
    owner(owner &&other) noexcept : resource_(other.resource_.get())
    {
        other.resource_ = marena::resource(nullptr);
    }
    owner &operator=(owner &&other) noexcept
    {
        if (this == &other) return *this;
        memarena_destroy(get());
        resource_ = marena::resource(other.get());
        other.resource_ = marena::resource(nullptr);
        return *this;
    }
    ~owner()
    {
        memarena_destroy(get());
    }

    memarena *get() const noexcept
    {
        return resource_.get();
    }
    operator memarena *() const noexcept
    {
        return get();
    } // NOLINT: every call of memarena.h takes it

    template <typename T, typename... Arguments> T *make(Arguments &&...arguments)
    {
        return marena::make<T>(get(), std::forward<Arguments>(arguments)...);
    }
    template <typename T> T *make_array(std::size_t count)
    {
        return marena::make_array<T>(get(), count);
    }

    // Destroys what was made in it. False: a scope of it is open.
    [[nodiscard]] bool reset() noexcept
    {
        return memarena_reset(get());
    }
    // It is as long-lived as this object, and moves with nobody.
    std::pmr::memory_resource *resource() noexcept
    {
        return &resource_;
    }

  protected:
    explicit owner(memarena *owned) : resource_(detail::check(owned))
    {
    }

  private:
    marena::resource resource_;
};

class arena : public owner
{
  public:
    explicit arena(std::size_t capacity = 0) : owner(memarena_create(capacity))
    {
    }
    explicit arena(const memarena_options &options) : owner(memarena_create_with(&options))
    {
    }
};

class scope : public owner
{
  public:
    explicit scope(memarena *parent) : owner(memarena_scope(parent))
    {
    }
};

// Goes back, at its end, to where the scope was at its beginning.
class rewinder
{
  public:
    explicit rewinder(memarena *scope) noexcept : scope_(scope), mark_(memarena_mark(scope))
    {
    }
    rewinder(const rewinder &) = delete;
    rewinder &operator=(const rewinder &) = delete;
    ~rewinder()
    {
        (void)memarena_rewind(scope_, mark_);
    }

  private:
    memarena *scope_;
    memarena_position mark_;
};

} // namespace marena

#endif
