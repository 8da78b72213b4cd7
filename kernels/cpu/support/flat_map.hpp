// FlatMap: a hash table for memo tables of small values, in one array.
//
// Open addressing with linear probing; at most half of the slots are used. Entries are not nodes of
// their own, so a lookup reads one cache line, and growing moves a block of memory: the doubling of
// a table of nodes takes milliseconds, for which one mask would have to wait. The price: what
// find() and try_emplace() return is valid only until the next insertion or erasure, so values are
// copied.
#pragma once
#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <utility>
#include <vector>

#include "support/base.hpp"

namespace guard {

struct IdHash {  // ids are counted, so they lie apart
  std::size_t operator()(Id id) const { return static_cast<std::size_t>(id); }
};

template <class Key, class Value, class Hash>
class FlatMap {
  static_assert(std::is_trivially_copyable_v<Value>);
  struct Slot {
    Key first{};
    Value second{};
    bool used = false;
  };

 public:
  using Entry = Slot;
  // Null: there is none.
  const Entry* find(const Key& key) const {
    if (slots_.empty()) return nullptr;
    const Slot& slot = slots_[place_of(slots_, key)];
    return slot.used ? &slot : nullptr;
  }
  static constexpr const Entry* end() { return nullptr; }
  bool contains(const Key& key) const { return find(key) != nullptr; }
  // The entry, and whether it is new.
  std::pair<Entry*, bool> try_emplace(const Key& key, Value value) {
    if (2 * (size_ + 1) > slots_.size()) grow();
    Slot& slot = slots_[place_of(slots_, key)];
    const bool is_new = !slot.used;
    if (is_new) slot = {key, value, true}, ++size_;
    return {&slot, is_new};
  }
  Value& operator[](const Key& key) { return try_emplace(key, {}).first->second; }
  // Later entries of the same run move up, so that no probe ends too early (Knuth 6.4, algorithm
  // R).
  void erase(const Key& key) {
    if (!contains(key)) return;
    const std::size_t mask = slots_.size() - 1;
    std::size_t hole = place_of(slots_, key);
    for (std::size_t at = (hole + 1) & mask; slots_[at].used; at = (at + 1) & mask) {
      const std::size_t home = Hash{}(slots_[at].first) & mask;
      if (((at - home) & mask) >= ((at - hole) & mask)) slots_[hole] = slots_[at], hole = at;
    }
    slots_[hole] = {};
    --size_;
  }
  void clear() { slots_.clear(), size_ = 0; }
  std::size_t size() const { return size_; }

 private:
  using Slots = std::vector<Slot>;
  // The slot of a key, or the free one in which it belongs.
  static std::size_t place_of(const Slots& slots, const Key& key) {
    const std::size_t mask = slots.size() - 1;
    std::size_t at = Hash{}(key)&mask;
    while (slots[at].used && !(slots[at].first == key)) at = (at + 1) & mask;
    return at;
  }
  void grow() {
    constexpr std::size_t kLeast = 8;
    Slots larger(slots_.empty() ? kLeast : 2 * slots_.size());
    for (const Slot& slot : slots_)
      if (slot.used) larger[place_of(larger, slot.first)] = slot;
    slots_ = std::move(larger);
  }
  Slots slots_;
  std::size_t size_ = 0;
};

// A memo table by one id, or by two.
template <class T>
using Memo = FlatMap<Id, T, IdHash>;
template <class T>
using PairMemo = FlatMap<std::pair<Id, Id>, T, PairHash>;

}  // namespace guard
