// memarena for C++17: arenas and scopes that end themselves, objects whose destructors run with them, and the standard
// library's containers in an arena. Everything is inline, on top of memarena.h, which is the manual: what is said there of
// threads, cost and life holds here, too.
//
//     marena::arena arena;                                       // up to the machine's memory
//     marena::scope request(arena);                              // given back at the end of the block
//     auto *order = request.make<Order>(7, "tea");               // ~Order runs when the scope ends
//     std::pmr::vector<int> numbers(request.resource());         // grows in the scope, frees nothing
//     std::map<int, int, std::less<>, marena::allocator<std::pair<const int, int>>> index(request.get());
//
// Errors      What fails in memarena.h with NULL or false throws here: std::bad_alloc for ENOMEM, std::system_error for the
//             rest. Without exceptions (-fno-exceptions) make and make_array return nullptr, an arena or scope that could not
//             be had is empty (get() is nullptr), and everything else that fails calls abort: what containers take,
//             rewinder, current. Units with and without exceptions may meet in one program, but not share these types.
// Language    RTTI is not needed. Without <memory_resource> (libc++ before 16) there is no `resource`, and
//             MEMARENA_HAS_MEMORY_RESOURCE is 0; all else is there.
//
// The namespace is not `memarena`, which is the name of a type.
#ifndef MEMARENA_HPP
#define MEMARENA_HPP

#include "memarena.h"

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <new>
#include <system_error>
#include <type_traits>
#include <utility>

#if __has_include(<memory_resource>)
#define MEMARENA_HAS_MEMORY_RESOURCE 1
#include <memory_resource>
#else
#define MEMARENA_HAS_MEMORY_RESOURCE 0
#endif

#pragma push_macro("new") // some debuggers of memory have one
#undef new

namespace marena
{

#ifndef __cpp_exceptions
inline namespace without_exceptions // other functions than those of the same names that throw
{
#endif

namespace detail // (with names that nobody has macros of)
{

__attribute__((__noreturn__)) inline void throw_errno()
{
#ifdef __cpp_exceptions
    if (errno == ENOMEM) throw std::bad_alloc();
    throw std::system_error(errno, std::generic_category(), "memarena");
#else
    std::abort();
#endif
}

template <typename T> T *or_throw(T *pointer)
{
    if (!pointer) throw_errno();
    return pointer;
}

// nullptr only without exceptions.
template <typename T> T *or_null(T *pointer)
{
#ifdef __cpp_exceptions
    return or_throw(pointer);
#else
    return pointer;
#endif
}

// So many objects behind `before` bytes; what is too much for any arena stays that.
template <typename T> constexpr std::size_t bytes_of(std::size_t count, std::size_t before = 0)
{
    return count > (SIZE_MAX - before) / sizeof(T) ? SIZE_MAX : before + count * sizeof(T);
}

template <typename T> void destroy_one(void *object) noexcept
{
    static_cast<T *>(object)->~T();
}

// The last one first. How many there are lies before them.
template <typename T> void destroy_row(void *first) noexcept
{
    for (std::size_t i = static_cast<std::size_t *>(first)[-1]; i-- > 0;) static_cast<T *>(first)[i].~T();
}

// A block in which objects are being made. If one of them throws, those before it are destroyed, and the block is given
// back if it is still the last. Objects with a destructor have the record of its deferred call before them in the
// block: the call is deferred when they are there (so those that they made themselves die after them), and that
// cannot fail for want of memory.
template <typename T> class nursery
{
  public:
    nursery(memarena *in, std::size_t count, bool is_row) : in_(in)
    {
        std::size_t head = is_row ? MEMARENA_RECORD_BYTES_ + sizeof(std::size_t) : MEMARENA_RECORD_BYTES_;
        head = defers ? (head + alignment - 1) / alignment * alignment : 0;
        bytes_ = bytes_of<T>(count, head);
        if (bytes_ == SIZE_MAX) {
            errno = ENOMEM;
            return;
        }
        if (defers) generation_ = memarena_generation(in);
        block_ = defers ? memarena_alloc_slow_(in, bytes_, alignment) : memarena_alloc_aligned(in, bytes_, alignment);
        if (!block_) return;
        first_ = static_cast<char *>(block_) + head;
        if (defers && is_row) static_cast<std::size_t *>(first_)[-1] = count;
    }
    nursery(const nursery &) = delete;
    nursery &operator=(const nursery &) = delete;
    ~nursery()
    {
        if (!block_) return;
        if constexpr (defers)
            while (made_ > 0) static_cast<T *>(first_)[--made_].~T();
        (void)memarena_drop_last(in_, block_, bytes_);
    }

    bool is_there() const noexcept
    {
        return block_ != nullptr;
    }
    template <typename... Arguments> void add(Arguments &&...arguments)
    {
        ::new (static_cast<void *>(static_cast<T *>(first_) + made_)) T(std::forward<Arguments>(arguments)...);
        made_++;
    }
    // From now on they are the arena's. nullptr: it was reset meanwhile.
    T *keep(void (*destroy)(void *)) noexcept
    {
        if (defers && !memarena_defer_at_(in_, block_, generation_, destroy, first_)) return nullptr;
        block_ = nullptr;
        return static_cast<T *>(first_);
    }

  private:
    static constexpr bool defers = !std::is_trivially_destructible_v<T>;
    static constexpr std::size_t alignment = defers && alignof(T) < 8 ? 8 : alignof(T);

    memarena *in_;
    void *block_ = nullptr, *first_ = nullptr;
    std::size_t bytes_ = 0, made_ = 0;
    std::uint64_t generation_ = 0;
};

} // namespace detail

// An object in the arena or scope. Its destructor, unless that does nothing, is deferred: it runs when the arena is reset
// or the scope ends, is reset or rewound to before here, in the reverse order of making. If the constructor throws,
// nothing is left: no deferred call, and no memory unless more was taken in the meantime.
template <typename T, typename... Arguments> T *make(memarena *in, Arguments &&...arguments)
{
    detail::nursery<T> objects(in, 1, false);
    if (!objects.is_there()) return detail::or_null<T>(nullptr);
    objects.add(std::forward<Arguments>(arguments)...);
    return detail::or_null(objects.keep(detail::destroy_one<T>));
}

// So many of them, value-initialised, in a row. If a constructor throws, those before it are destroyed, the last one first.
template <typename T> T *make_array(memarena *in, std::size_t count)
{
    detail::nursery<T> objects(in, count, true);
    if (!objects.is_there()) return detail::or_null<T>(nullptr);
    for (std::size_t i = 0; i < count; i++) objects.add();
    return detail::or_null(objects.keep(detail::destroy_row<T>));
}

#if MEMARENA_HAS_MEMORY_RESOURCE
// For the std::pmr containers. Allocates from the arena; to give one block back does nothing. As free of locks and as
// shared between threads as what it allocates from. (A template so that no unit need have its virtual functions.)
template <typename = void> class basic_resource : public std::pmr::memory_resource
{
  public:
    explicit basic_resource(memarena *in) noexcept : in_(in)
    {
    }
    basic_resource(const basic_resource &) = default;
    basic_resource &operator=(const basic_resource &) = default;
    memarena *get() const noexcept
    {
        return in_;
    }

  private:
    void *do_allocate(std::size_t size, std::size_t alignment) override
    {
        return detail::or_throw(memarena_alloc_aligned(in_, size, alignment));
    }
    void do_deallocate(void *, std::size_t, std::size_t) override
    {
    }
    // Whether the other one is of this class its first word says, the address of its virtual functions, without RTTI, too.
    bool do_is_equal(const std::pmr::memory_resource &other) const noexcept override
    {
        const void *mine = this, *its = &other;
        return std::memcmp(mine, its, sizeof(void *)) == 0 && static_cast<const basic_resource &>(other).in_ == in_;
    }

    memarena *in_;
};
using resource = basic_resource<>;
#endif

// For containers that take an allocator: a pointer, and no virtual call. As with std::pmr::polymorphic_allocator a container
// stays where it was made: assigned to, it copies the elements, or moves them one by one from another arena; and only
// containers of one arena may be swapped. A copy that is constructed takes from the arena of the original unless it is told
// otherwise.
template <typename T> class allocator
{
  public:
    using value_type = T;
    using propagate_on_container_copy_assignment = std::false_type;
    using propagate_on_container_move_assignment = std::false_type;
    using propagate_on_container_swap = std::false_type;

    allocator(memarena *in) noexcept : in_(in)
    {
    } // NOLINT: a container is to be made from an arena
    template <typename Other> allocator(const allocator<Other> &other) noexcept : in_(other.get())
    {
    } // NOLINT: likewise

    T *allocate(std::size_t count)
    {
        return static_cast<T *>(detail::or_throw(memarena_alloc_aligned(in_, detail::bytes_of<T>(count), alignof(T))));
    }
    void deallocate(T *, std::size_t) noexcept
    {
    }
    memarena *get() const noexcept
    {
        return in_;
    }

    template <typename Other> friend bool operator==(const allocator &one, const allocator<Other> &other) noexcept
    {
        return one.get() == other.get();
    }
    template <typename Other> friend bool operator!=(const allocator &one, const allocator<Other> &other) noexcept
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
    owner(owner &&other) noexcept : in_(std::exchange(other.in_, nullptr))
    {
    }
    owner &operator=(owner &&other) noexcept
    {
        memarena *owned = std::exchange(other.in_, nullptr);
        memarena_destroy(std::exchange(in_, owned));
        return *this;
    }
    ~owner()
    {
        memarena_destroy(in_);
    }

    memarena *get() const noexcept
    {
        return in_;
    }
    operator memarena *() const noexcept
    {
        return in_;
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
    [[nodiscard]] bool reset()
    {
        return memarena_reset(get());
    }
    // What has been taken of it: memarena_claimed_bytes.
    std::size_t claimed_bytes() const noexcept
    {
        return memarena_claimed_bytes(get());
    }
#if MEMARENA_HAS_MEMORY_RESOURCE
    // It lies in the arena or scope, and lives as long: also when this object is moved, and after a reset.
    std::pmr::memory_resource *resource() noexcept
    {
        return std::launder(static_cast<marena::resource *>(memarena_place_(in_)));
    }
#endif

  protected:
    explicit owner(memarena *owned) : in_(detail::or_null(owned))
    {
#if MEMARENA_HAS_MEMORY_RESOURCE
        static_assert(sizeof(marena::resource) <= 2 * sizeof(void *), "what memarena_place_ has room for");
        if (in_) ::new (memarena_place_(in_)) marena::resource(in_);
#endif
    }
    // It has been ended otherwise.
    void let_go() noexcept
    {
        in_ = nullptr;
    }

  private:
    memarena *in_;
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
    // With a limit, a name or a size: see memarena_scope_with.
    explicit scope(memarena *parent, const memarena_scope_options &options)
        : owner(memarena_scope_with(parent, &options))
    {
    }
    // In a scope: a child of it, as in an arena. Not in a constant one, for that is how copies are made by mistake: there it is
    // scope(outer.get()).
    template <typename Scope, typename = std::enable_if_t<std::is_base_of_v<scope, Scope> && !std::is_const_v<Scope>>>
    explicit scope(Scope &parent) : scope(parent.get())
    {
    }
    // Ends it and lets what was made in it live on, as the parent's; destructors run when that ends. Then it is empty. Containers in it
    // can be read on, but not grow: their resource or allocator is the scope. False (EBUSY), and nothing has changed: a scope of it is
    // open.
    [[nodiscard]] bool keep() noexcept
    {
        if (!memarena_keep(get())) return false;
        let_go();
        return true;
    }
};

// Goes back, at its end, to where the scope was at its beginning. Fails also where the scope has no room for the mark, and
// (EINVAL) for an arena, which has no way back.
class rewinder
{
  public:
    explicit rewinder(memarena *scope) : scope_(scope), mark_(memarena_mark(scope))
    {
        if (!mark_.scope_) detail::throw_errno();
    }
    explicit rewinder(const arena &) = delete;
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

// A burst of memarena.h, for a loop that makes many objects. It ends itself, at the end of its block:
//
//     marena::burst nodes(arena);
//     for (auto &row : rows) list.push_front(*nodes.make<Node>(row));
//
// `make` as that of the arena, but memory stays taken when the constructor throws. An object with a destructor is deferred as ever,
// and so made beside the burst, at the cost of marena::make. Stays where it is, as the thread that made it does.
class burst
{
  public:
    explicit burst(memarena *in) noexcept : in_(in), burst_(memarena_burst_begin(in))
    {
    }
    burst(const burst &) = delete;
    burst &operator=(const burst &) = delete;
    ~burst()
    {
        memarena_burst_end(&burst_);
    }

    template <typename T, typename... Arguments> T *make(Arguments &&...arguments)
    {
        if constexpr (std::is_trivially_destructible_v<T>) {
            void *block = detail::or_null(memarena_burst_alloc(&burst_, sizeof(T), alignof(T)));
            return block ? ::new (block) T(std::forward<Arguments>(arguments)...) : nullptr;
        } else {
            return marena::make<T>(in_, std::forward<Arguments>(arguments)...);
        }
    }
    // Not zeroed.
    void *allocate(std::size_t size, std::size_t alignment = alignof(std::max_align_t))
    {
        return detail::or_null(memarena_burst_alloc(&burst_, size, alignment));
    }

  private:
    memarena *in_;
    memarena_burst burst_;
};

// Makes an arena or a scope the thread's current one until the end of the block, for the hooks of
// memarena/adapters/current.h. That header is to be included, too, before or after this one:
//
//     marena::current here(request);
//
// Fails as memarena_current_push does: EINVAL; neither registered nor a scope of an arena that is.
template <typename Arena = memarena> class current // (a template so that the functions are looked up where it is used)
{
  public:
    explicit current(Arena *in)
    {
        if (!memarena_current_push(in, &before_)) detail::throw_errno();
    }
    current(const current &) = delete;
    current &operator=(const current &) = delete;
    ~current()
    {
        memarena_current_pop(before_);
    }

  private:
    Arena *before_ = nullptr;
};
template <typename In> current(const In &) -> current<>;

#ifndef __cpp_exceptions
} // namespace without_exceptions
#endif

} // namespace marena

#pragma pop_macro("new")

#endif
