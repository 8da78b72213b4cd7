// FlatMap: a hash table for memo tables of small values.
//
// Entries are not nodes of their own, so a lookup reads one cache line, and no insertion moves many
// (support/slots.hpp): the doubling of a table of nodes takes milliseconds, for which one mask
// would have to wait. The price: what find() and try_emplace() return is valid only until the next
// insertion or erasure, so values are copied.
#pragma once
#include <cstddef>
#include <type_traits>
#include <utility>

#include "support/base.hpp"
#include "support/slots.hpp"

namespace guard {

struct IdHash {  // ids are counted, so they lie apart
  std::size_t operator()(Id id) const { return static_cast<std::size_t>(id); }
};

template <class Key, class Value, class Hash>
class FlatMap {
  static_assert(std::is_trivially_copyable_v<Value>);

 public:
  struct Entry {
    Key first{};
    Value second{};
    bool used = false;
    bool is_used() const { return used; }
    std::size_t hash() const { return Hash{}(first); }
  };
  // Null: there is none.
  const Entry* find(const Key& key) const { return slots_.find(Hash{}(key), Is{key}); }
  static constexpr const Entry* end() { return nullptr; }
  bool contains(const Key& key) const { return find(key) != nullptr; }
  // The entry, and whether it is new.
  std::pair<Entry*, bool> try_emplace(const Key& key, Value value) {
    return slots_.try_emplace(Hash{}(key), Is{key}, [&] { return Entry{key, value, true}; });
  }
  Value& operator[](const Key& key) { return try_emplace(key, {}).first->second; }
  void erase(const Key& key) {
    if (Entry* const entry = slots_.find(Hash{}(key), Is{key})) slots_.erase(entry);
  }
  void clear() { slots_.clear(); }
  std::size_t size() const { return slots_.size(); }

 private:
  struct Is {
    const Key& key;
    bool operator()(const Entry& entry) const { return entry.first == key; }
  };
  Slots<Entry> slots_;
};

// A memo table by one id, or by two.
template <class T>
using Memo = FlatMap<Id, T, IdHash>;
template <class T>
using PairMemo = FlatMap<std::pair<Id, Id>, T, PairHash>;

}  // namespace guard
