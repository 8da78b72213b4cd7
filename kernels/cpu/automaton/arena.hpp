// Arena: bump allocation for frames and their data, which are all freed at once.
//
// allocate() is O(1). Objects in an arena must be trivially destructible, and live until clear() or
// the arena's end. Not thread-safe: an arena belongs to one matcher, to one call, or to an
// engine. Its bytes are counted for the thread and for the process, with what else belongs to
// matchers (MatcherAllocator).
#pragma once
#include <atomic>
#include <memory>
#include <utility>

#include "support/allocator.hpp"
#include "support/base.hpp"

namespace guard {

class Arena {
 public:
  Arena() = default;
  Arena(Arena&&) = default;
  Arena& operator=(Arena&&) = default;
  template <class T>
  T* make(T value) {
    static_assert(std::is_trivially_destructible_v<T>);
    return new (allocate(sizeof(T))) T(std::move(value));
  }
  void* allocate(std::size_t bytes);
  void clear();
  std::size_t used() const { return block_ * kBlock; }  // an upper bound, without large pieces
  std::size_t size() const { return nbytes_; }          // its blocks, in bytes
  static std::int64_t nbytes() {
    return held_;
  }  // bytes that this thread allocated so, less those that it freed
  static std::int64_t all_nbytes() { return all_held_; }
  static void count(std::int64_t n) {
    held_ += n, all_held_.fetch_add(n, std::memory_order_relaxed);
  }

 private:
  static constexpr std::size_t kFirst = 1 << 11, kBlock = 1 << 14;
  static inline constinit thread_local std::int64_t held_ GUARD_TLS = 0;
  static inline std::atomic<std::int64_t> all_held_ = 0;
  struct Piece {  // counted while it lives
    explicit Piece(std::size_t size)
        : bytes(std::make_unique_for_overwrite<std::byte[]>(size)),
          n(static_cast<std::int64_t>(size)) {
      count(n);
    }
    Piece(Piece&& o) noexcept : bytes(std::move(o.bytes)), n(std::exchange(o.n, 0)) {}
    Piece& operator=(Piece&& o) noexcept {
      return std::swap(bytes, o.bytes), std::swap(n, o.n), *this;
    }
    ~Piece() { count(-n); }
    std::unique_ptr<std::byte[]> bytes;
    std::int64_t n;
  };
  std::vector<Piece> blocks_;
  std::vector<Piece> large_;
  std::byte* end_ = nullptr;                       // of the block before block_
  std::size_t nbytes_ = 0, left_ = 0, block_ = 0;  // bytes of that block; the next one
};

// Allocates what grows with a matcher's text: no flush of tables frees it, so it doesn't count as
// one of them.
template <class T>
struct MatcherAllocator {
  using value_type = T;
  MatcherAllocator() = default;
  template <class U>
  MatcherAllocator(const MatcherAllocator<U>&) {}
  T* allocate(std::size_t n) {
    const std::int64_t before = held();
    T* const out = std::allocator<T>().allocate(n);
    Arena::count(held() - before);
    return out;
  }
  void deallocate(T* at, std::size_t n) noexcept {
    const std::int64_t before = held();
    std::allocator<T>().deallocate(at, n);
    Arena::count(held() - before);
  }
  bool operator==(const MatcherAllocator&) const = default;
};
template <class T>
using MatcherVector = std::vector<T, MatcherAllocator<T>>;
using MatcherText = std::basic_string<char, std::char_traits<char>, MatcherAllocator<char>>;

}  // namespace guard
