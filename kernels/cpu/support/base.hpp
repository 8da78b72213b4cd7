// Base: ids, hashing, interning, and the two ways in which an engine call can end early.
//
// Values that are compared by meaning are interned: equal values have equal ids, ids are indices,
// and no value is freed by itself. A look-up in an Interner is O(1). Not thread-safe: the lock of
// an isolate (runtime/isolate.hpp) guards all tables.
#pragma once
#include <algorithm>
#include <array>
#include <bit>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <deque>
#include <limits>
#include <memory>
#include <random>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "support/allocator.hpp"
#include "support/opcodes.hpp"
#include "support/slots.hpp"

namespace guard {

using Id = std::int32_t;
constexpr std::int32_t kInf =
    std::numeric_limits<std::int32_t>::max();  // "no upper bound", in counts and lengths

// A budget was exhausted. The binding turns it into a SchemaError(limit, pointer of node).
struct Limit {
  std::string name;    // the field of guard.Limits to raise, or what no limit bounds
  Id node = -1;        // the front end's node at which it happened, -1 when unknown
  std::string detail;  // a clause for people
  Op op = Op{};  // the keyword in which it happened, if known; Pattern stands for any keyword with
                 // a language
};

// A callback from a long call to its caller, with the current time. May throw, which ends the call.
// See Turn (runtime/isolate.hpp).
struct Watch {
  virtual void look(std::chrono::steady_clock::time_point now) = 0;

 protected:
  ~Watch() = default;
};

// The budget of the engine call on this thread: processor time (Limits.seconds; the time of other
// threads does not count), memory (Limits.memory), and states (Limits.states), of which one search
// in a language may take a part. Every loop that may run long calls tick(); every kEvery ticks the
// clock is read. O(1). Each thread has its own.
class Clock {
 public:
  using Time = std::chrono::steady_clock::time_point;
  static constexpr unsigned kEvery = 256;
  static constexpr std::size_t kStates = 2000000;
  static constexpr std::int64_t kNoMemory = std::numeric_limits<std::int64_t>::max();
  struct Limits {
    Time deadline{};  // unset before the first look; extended while the thread has used less than
                      // `seconds` of processor time
    double seconds = 1e9, begun = -1;  // processor seconds since `begun`, the first look; the time
                                       // before is negligible. -1: it took too little to be read
    std::size_t states = kStates;
    std::int64_t memory = kNoMemory;  // the value of held() (allocator.hpp) that is the limit
    Watch* watch = nullptr;
  };
  class Running {  // sets the budget until its destruction, which restores the one before
   public:
    // `used` has the processor seconds of the same call's earlier turns, and is increased by those
    // of this one; null: there are none. It must outlive this object.
    Running(double seconds, double* used, std::size_t states, std::int64_t memory, Watch* watch);
    ~Running();
    Running(const Running&) = delete;

   private:
    Limits before_;
    double* used_;
  };
  static Time after(double seconds) {
    return std::chrono::steady_clock::now() +
           std::chrono::microseconds(static_cast<std::int64_t>(seconds * 1e6));
  }
  std::size_t states() const { return now_.states; }
  Watch* watch() const { return now_.watch; }
  void tick(Op op = Op{}) {
    if (--left_ == 0) look(op);
  }
  // For tests: makes the n-th tick from now on throw a Limit. 0: none. Returns whether the Limit
  // that the previous call asked for was thrown.
  bool fail_at(unsigned n);
  // For tests: the longest processor time, in seconds, between two looks of one call on this thread
  // since the last call of longest(), which starts a new measurement.
  double longest();

 private:
  [[gnu::noinline]] void look(Op op);
  unsigned left_ = kEvery;
  bool failing_ = false, failed_ = false;
  bool measures_ = false;
  double last_ = -1, longest_ = 0;  // processor seconds
  Limits now_;
};
inline constinit thread_local Clock kernel_clock GUARD_TLS;

// Thrown if a call needs nodes that the front end has not lowered yet. The binding lowers them and
// repeats the call. No table holds a partial result.
struct Missing {
  std::vector<Id> nodes;
};

inline std::size_t mix(std::size_t seed, std::size_t value) {
  value *= 0x9E3779B97F4A7C15ull;
  seed ^= value ^ (value >> 32);
  return (seed << 7 | seed >> 57) * 0xD6E8FEB86659FD93ull;
}

// SipHash-1-3 (Aumasson, Bernstein 2012) under a random key of the process. An attacker can't
// choose texts that collide, which is possible with std::hash whatever its seed. O(bytes).
inline std::size_t hash_of(std::string_view text) {
  static const std::array<std::uint64_t, 2> key = [] {
    std::random_device device;
    const auto word = [&] { return std::uint64_t{device()} << 32 | device(); };
    return std::array{word(), word()};
  }();
  std::uint64_t a = key[0] ^ 0x736F6D6570736575, b = key[1] ^ 0x646F72616E646F6D,
                c = key[0] ^ 0x6C7967656E657261, d = key[1] ^ 0x7465646279746573;
  const auto round = [&] {
    a += b, b = std::rotl(b, 13) ^ a, a = std::rotl(a, 32);
    c += d, d = std::rotl(d, 16) ^ c;
    a += d, d = std::rotl(d, 21) ^ a;
    c += b, b = std::rotl(b, 17) ^ c, c = std::rotl(c, 32);
  };
  const auto take = [&](std::uint64_t word) { d ^= word, round(), a ^= word; };
  std::size_t at = 0;
  for (std::uint64_t word; at + 8 <= text.size(); at += 8)
    std::memcpy(&word, text.data() + at, 8), take(word);
  std::uint64_t last = std::uint64_t{text.size()} << 56;
  for (int shift = 0; at < text.size(); ++at, shift += 8)
    last |= std::uint64_t{static_cast<std::uint8_t>(text[at])} << shift;
  take(last);
  c ^= 0xFF, round(), round(), round();
  return a ^ b ^ c ^ d;
}
struct TextHash {
  using is_transparent = void;
  std::size_t operator()(std::string_view text) const { return hash_of(text); }
};

template <class T>
std::size_t hash_of(std::span<const T> items) {
  std::size_t h = items.size() + 0x51ED;
  for (const T& item : items) h = mix(h, static_cast<std::size_t>(item));
  return h;
}
template <class T>
std::size_t hash_of(const std::vector<T>& items) {
  return hash_of(std::span<const T>(items));
}

template <class T>
void sort_unique(std::vector<T>* v) {
  std::sort(v->begin(), v->end());
  v->erase(std::unique(v->begin(), v->end()), v->end());
}

// A vector that does not allocate while it holds at most N items.
template <class T, std::size_t N>
class Few {
 public:
  Few() = default;
  Few(std::initializer_list<T> items) {
    for (const T& item : items) push_back(item);
  }
  void push_back(T item) {
    if (size_ == N) many_.assign(few_.begin(), few_.end());
    if (size_ >= N)
      many_.push_back(item);
    else
      few_[size_] = item;
    ++size_;
  }
  void truncate(std::size_t size) {
    if (size_ > N && size <= N)
      std::copy(many_.begin(), many_.begin() + static_cast<std::ptrdiff_t>(size), few_.begin());
    if (size_ > N) many_.resize(size <= N ? 0 : size);
    size_ = size;
  }
  void clear() { truncate(0); }
  void sort_unique() {
    std::sort(begin(), end());
    truncate(static_cast<std::size_t>(std::unique(begin(), end()) - begin()));
  }
  T* begin() { return size_ > N ? many_.data() : few_.data(); }
  T* end() { return begin() + size_; }
  const T* begin() const { return size_ > N ? many_.data() : few_.data(); }
  const T* end() const { return begin() + size_; }
  const T& operator[](std::size_t i) const { return begin()[i]; }
  std::size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  operator std::span<const T>() const { return {begin(), size_}; }

 private:
  std::size_t size_ = 0;
  std::array<T, N> few_;
  std::vector<T> many_;
};
using Labels = Few<Id, 8>;

// An append-only sequence. References stay valid, as with std::deque; access by index takes a shift
// and a mask.
template <class T>
class Blocks {
 public:
  Blocks() = default;
  Blocks(Blocks&& other) noexcept
      : blocks_(std::move(other.blocks_)), size_(std::exchange(other.size_, 0)) {}
  Blocks& operator=(Blocks&& other) noexcept {
    std::swap(blocks_, other.blocks_), std::swap(size_, other.size_);
    return *this;
  }
  ~Blocks() {
    for (std::size_t i = 0; i < size_; ++i) std::destroy_at(&(*this)[i]);
    for (T* block : blocks_)
      if (block) std::allocator<T>().deallocate(block, kBlock);
  }
  void push_back(T value) {
    if (size_ == kBlock * blocks_.size()) blocks_.push_back(nullptr);
    if (!blocks_.back()) blocks_.back() = std::allocator<T>().allocate(kBlock);
    std::construct_at(&(*this)[size_], std::move(value));
    ++size_;
  }
  T& operator[](std::size_t i) { return blocks_[i / kBlock][i % kBlock]; }
  const T& operator[](std::size_t i) const { return blocks_[i / kBlock][i % kBlock]; }
  T& back() { return (*this)[size_ - 1]; }
  std::size_t size() const { return size_; }

 private:
  static constexpr std::size_t kBlock = 8;
  std::vector<T*> blocks_;  // the last one may be null: there was no memory for it
  std::size_t size_ = 0;
};

// Maps equal values to equal ids, counted from 0. T needs operator== and a member hash().
// References stay valid as long as the interner.
template <class T>
class Interner {
 public:
  Id intern(T value) {
    const bool few = sealed_.empty() && table_.empty();
    std::size_t h = few ? 0 : value.hash();
    if (const Slot* const known = sealed_.find(h, Is<T>{this, h, value})) return known->id;
    if (table_.empty()) {
      if (const Id known = among_few(value); known >= 0) return known;
      if (items_.size() - before_ < kFew) {
        items_.push_back(std::move(value));
        return static_cast<Id>(items_.size() - 1);
      }
      table_ = table_of_few();
      if (few) h = value.hash();
    }
    const auto make = [&] {
      items_.push_back(std::move(value));
      return Slot{h, static_cast<Id>(items_.size() - 1)};
    };
    return table_.try_emplace(h, Is<T>{this, h, value}, make).first->id;
  }
  // The id of the value that equals `like`, or -1. Equal values must have equal hashes.
  template <class Like>
  Id find(const Like& like) const {
    if (sealed_.empty() && table_.empty()) return among_few(like);
    const std::size_t h = like.hash();
    const Is<Like> is{this, h, like};
    if (const Slot* const known = sealed_.find(h, is)) return known->id;
    if (table_.empty()) return among_few(like);
    const Slot* const known = table_.find(h, is);
    return known ? known->id : -1;
  }
  // Later values go into a table of their own. In the large one, each would dirty another page,
  // which a child of fork() has to copy.
  void seal() {
    for (std::size_t i = before_; i < items_.size(); ++i) put(&sealed_, i);
    table_.clear(), before_ = items_.size();
  }
  T& operator[](Id id) { return items_[static_cast<std::size_t>(id)]; }
  const T& operator[](Id id) const { return items_[static_cast<std::size_t>(id)]; }
  std::size_t size() const { return items_.size(); }

 private:
  struct Slot {
    std::size_t full = 0;  // the hash
    Id id = -1;
    bool is_used() const { return id >= 0; }
    std::size_t hash() const { return full; }
  };
  template <class Like>
  struct Is {
    const Interner* among;
    std::size_t hash;
    const Like& like;
    bool operator()(const Slot& slot) const {
      return slot.full == hash && (*among)[slot.id] == like;
    }
  };
  // So few values are compared one by one, without a table: most engines have no more of a kind.
  static constexpr std::size_t kFew = 4;
  template <class Like>
  Id among_few(const Like& like) const {
    for (std::size_t i = before_; i < items_.size(); ++i)
      if (items_[i] == like) return static_cast<Id>(i);
    return -1;
  }
  void put(Slots<Slot>* table, std::size_t i) const {
    const std::size_t h = items_[i].hash();
    table->try_emplace(
        h, [](const Slot&) { return false; }, [&] { return Slot{h, static_cast<Id>(i)}; });
  }
  Slots<Slot> table_of_few() const {
    Slots<Slot> out;
    for (std::size_t i = before_; i < items_.size(); ++i) put(&out, i);
    return out;
  }
  Blocks<T> items_;
  Slots<Slot> sealed_, table_;
  std::size_t before_ = 0;  // values in the sealed table
};

// A vector of ids as a value, mostly a sorted set (labels, goals' literals).
struct IdSet {
  std::vector<Id> ids;
  bool operator==(const IdSet&) const = default;
  std::size_t hash() const { return hash_of(ids); }
};
struct IdSpan {  // a view to look up such a set
  std::span<const Id> ids;
  std::size_t hash() const { return hash_of(ids); }
  friend bool operator==(const IdSet& set, const IdSpan& like) {
    return std::ranges::equal(set.ids, like.ids);
  }
};

inline Id interned(Interner<IdSet>* among,
                   std::span<const Id> ids) {  // copies only an unknown set
  const Id known = among->find(IdSpan{ids});
  return known >= 0 ? known : among->intern({{ids.begin(), ids.end()}});
}

struct PairHash {
  std::size_t operator()(const std::pair<Id, Id>& p) const {
    return mix(mix(7, static_cast<std::size_t>(p.first)), static_cast<std::size_t>(p.second));
  }
};
template <class V>
using PairMap = std::unordered_map<std::pair<Id, Id>, V, PairHash>;

struct VectorHash {
  template <class T>
  std::size_t operator()(const std::vector<T>& v) const {
    return hash_of(v);
  }
};
// Hash and equality for maps from lists of ids, which any span of ids can look up.
struct ListHash {
  using is_transparent = void;
  std::size_t operator()(std::span<const Id> ids) const { return hash_of(ids); }
};
struct ListEqual {
  using is_transparent = void;
  bool operator()(std::span<const Id> a, std::span<const Id> b) const {
    return std::ranges::equal(a, b);
  }
};
template <class V>
using ListMap = std::unordered_map<std::vector<Id>, V, ListHash, ListEqual>;

// Memoisation: returns the value of a key in a table. If there is none, calls `make`, which may
// throw and may fill other entries of the table, and inserts its complete value. No table of the
// engine ever holds an unfinished entry: a call for another schema would take it for an answer. The
// reference stays valid as long as references into the map do.
template <class Map, class Key, class Make>
auto& remember(Map& map, const Key& key, Make make) {
  if (const auto known = map.find(key); known != map.end()) return known->second;
  typename Map::mapped_type value = make();
  return map.insert_or_assign(typename Map::key_type(key), std::move(value)).first->second;
}

// A map from ids to values. References stay valid until the same id is put again.
template <class T>
class ById {
 public:
  T* find(Id id) const {
    return static_cast<std::size_t>(id) < list_.size() ? list_[static_cast<std::size_t>(id)].get()
                                                       : nullptr;
  }
  T& put(Id id, T what) {
    if (list_.size() <= static_cast<std::size_t>(id))
      list_.resize(static_cast<std::size_t>(id) + 1);
    auto& slot = list_[static_cast<std::size_t>(id)];
    size_ += slot == nullptr;
    slot = std::make_unique<T>(std::move(what));
    return *slot;
  }
  std::size_t size() const { return size_; }

 private:
  std::vector<std::unique_ptr<T>> list_;
  std::size_t size_ = 0;
};

}  // namespace guard
