// Slots: the slots of a hash table, in parts that grow one at a time.
//
// A table of one array grows by moving all its entries into an array of twice the size. For
// 100,000 entries that is megabytes, which the system has to provide first: milliseconds, for which
// one mask waits. Here the entries lie in parts of some hundred entries. Linear hashing (Litwin
// 1980) chooses the part: when the parts have more than kMean entries on average, the next part in
// turn is split into two. So an insertion moves the entries of two parts at most, however large the
// table. Within a part there is open addressing with linear probing; at most half of its slots are
// used.
#pragma once
#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <type_traits>
#include <utility>
#include <vector>

namespace guard {

// A Slot is small, trivial to copy, has is_used() and hash(), and is unused when made.
template <class Slot>
class Slots {
  static_assert(std::is_trivially_copy_constructible_v<Slot>);

 public:
  std::size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  void clear() { *this = {}; }
  // The entry with this hash for which is_it(const Slot&) holds; null: there is none.
  template <class IsIt>
  Slot* find(std::size_t hash, IsIt is_it) {
    if (size_ == 0) return nullptr;
    Slot& slot = part_of(hash).slot_of(hash, is_it);
    return slot.is_used() ? &slot : nullptr;
  }
  template <class IsIt>
  const Slot* find(std::size_t hash, IsIt is_it) const {
    return const_cast<Slots*>(this)->find(hash, is_it);
  }
  // The same, and whether it is new: then it is what make() returned. The pointer is valid until
  // the next insertion or erasure. make() must not change the table. Where it throws, or where
  // memory is at an end, the entries are as before.
  template <class IsIt, class Make>
  std::pair<Slot*, bool> try_emplace(std::size_t hash, IsIt is_it, Make make) {
    if (size_ >= kMean * (1 + others_.size())) split();
    Part& part = part_of(hash);
    Slot* slot = part.size == 0 ? nullptr : &part.slot_of(hash, is_it);
    if (slot && slot->is_used()) return {slot, false};
    if (2 * (part.used + 1) > part.size) {
      part.grow();
      slot = &part.slot_of(hash, [](const Slot&) { return false; });
    }
    *slot = make();
    ++part.used, ++size_;
    return {slot, true};
  }
  // Takes an entry out that find() returned. Later entries of the same run move up, so that no
  // probe ends too early (Knuth 6.4, algorithm R).
  void erase(Slot* entry) {
    Part& part = part_of(entry->hash());
    const std::size_t mask = part.size - 1;
    auto hole = static_cast<std::size_t>(entry - part.slots.get());
    for (std::size_t at = (hole + 1) & mask; part.slots[at].is_used(); at = (at + 1) & mask) {
      const std::size_t home = part.slots[at].hash() & mask;
      if (((at - home) & mask) >= ((at - hole) & mask))
        part.slots[hole] = part.slots[at], hole = at;
    }
    part.slots[hole] = {};
    --part.used, --size_;
  }

 private:
  static constexpr std::size_t kMean = 256;  // entries of a part, on average
  static constexpr std::size_t kLeast = 8;   // slots of a part

  struct Part {
    std::unique_ptr<Slot[]> slots;
    std::uint32_t size = 0, used = 0;

    Part() = default;
    explicit Part(std::size_t entries)
        : slots(new Slot[std::max(kLeast, std::bit_ceil(2 * entries))]),
          size(static_cast<std::uint32_t>(std::max(kLeast, std::bit_ceil(2 * entries)))) {}
    // The slot of an entry, or the free one in which it belongs.
    template <class IsIt>
    Slot& slot_of(std::size_t hash, IsIt is_it) const {
      std::size_t at = hash & (size - 1);
      while (slots[at].is_used() && !is_it(slots[at])) at = (at + 1) & (size - 1);
      return slots[at];
    }
    void put(const Slot& slot) {
      slot_of(slot.hash(), [](const Slot&) { return false; }) = slot;
      ++used;
    }
    void grow() {
      Part larger(std::max<std::size_t>(size, 1));
      each([&](const Slot& slot) { larger.put(slot); });
      *this = std::move(larger);
    }
    template <class Use>
    void each(Use use) const {
      for (std::size_t i = 0; i < size; ++i)
        if (slots[i].is_used()) use(slots[i]);
    }
  };

  // The low bits of a hash choose the slot, others the part. (Multiplicative hashing, Knuth 6.4.)
  static std::size_t number_of(std::size_t hash, std::size_t mask) {
    return (hash * 0x9E3779B97F4A7C15u >> 32) & mask;
  }
  Part& part(std::size_t number) { return number == 0 ? first_ : others_[number - 1]; }
  Part& part_of(std::size_t hash) {
    if (mask_ == 0) return first_;
    const std::size_t number = number_of(hash, mask_);
    return part(number <= others_.size() ? number : number & (mask_ >> 1));
  }
  void split() {
    const std::size_t last = others_.size() + 1, mask = std::bit_ceil(last + 1) - 1;
    Part& all = part(last & (mask >> 1));
    const auto goes = [&](const Slot& slot) { return number_of(slot.hash(), mask) == last; };
    std::size_t n = 0;
    all.each([&](const Slot& slot) { n += goes(slot); });
    Part stay(all.used - n), go(n);
    all.each([&](const Slot& slot) { (goes(slot) ? go : stay).put(slot); });
    others_.push_back(std::move(go));
    part(last & (mask >> 1)) = std::move(stay), mask_ = mask;
  }

  Part first_;
  std::vector<Part> others_;
  std::size_t size_ = 0, mask_ = 0;  // mask_: 2^n - 1, the least that is no less than the last part
};

}  // namespace guard
