// FrameStore: the frames that accepted texts have led to, each once, for all matchers of an engine.
//
// Where two texts lead to equal frames, the second one finds the frame of the first, with all that
// it remembers: its cache, and its masks (masks/mask_cache.hpp). Frames that depend on the text
// itself are not kept: with compared items, with forbidden values, or with undeclared keys written.
// A store only grows. Once it is full, an engine begins a new one for later texts, and the old one
// lives as long as matchers are in it. The isolate's lock must be held.
#pragma once
#include <atomic>
#include <memory>
#include <unordered_set>
#include <utility>

#include "automaton/frames.hpp"

namespace guard {

class FrameStore {
 public:
  FrameStore() = default;
  ~FrameStore() { leave(); }
  FrameStore(const FrameStore&) = delete;
  // The frame's only copy; null: it is not kept. The frames around it must be in this store.
  // O(names / 64).
  const Frame* keep(const Frame& frame);
  bool has(const Frame& frame) const { return frame.arena == &arena; }
  std::size_t nbytes() const { return arena.size() + held_; }
  bool is_full() {
    count();
    return nbytes() > kMost;
  }
  // Of all stores that engines have, in bytes, without what they share with tables. No isolate
  // counts them: those that engines have left are matchers', as arenas are.
  static std::int64_t all_nbytes() { return all_held_; }
  void leave() {
    all_held_ -= std::exchange(counted_, 0);
    has_engine_ = false;
  }
  // Keeps what masks in the arena refer to, of so many bytes.
  void own(std::shared_ptr<const void> what, std::size_t nbytes);
  Arena arena;

 private:
  void count() {
    const auto now = static_cast<std::int64_t>(arena.size());
    if (has_engine_) all_held_ += now - std::exchange(counted_, now);
  }
  static inline std::atomic<std::int64_t> all_held_ = 0;
  static constexpr std::size_t kMost = 4'000'000;  // bytes, with what the frames remember
  struct Kept {
    const Frame* frame;
    std::size_t hash() const;
    bool operator==(const Kept& other) const;
  };
  Interner<Kept> kept_;
  std::unordered_set<std::shared_ptr<const void>> owned_;
  std::size_t held_ = 0;  // bytes of those
  bool has_engine_ = true;
  std::int64_t counted_ = 0;  // bytes of the arena, of which all_held_ knows
};

}  // namespace guard
