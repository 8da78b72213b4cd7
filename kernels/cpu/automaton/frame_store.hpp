// FrameStore: the frames that accepted texts have led to, each once, for all matchers of an engine.
//
// Where two texts lead to equal frames, the second one finds the frame of the first, with all that
// it remembers: its cache, and its masks (masks/mask_cache.hpp). Frames that depend on the text
// itself are not kept: with compared items, with forbidden values, or with undeclared keys written.
// A store only grows. Once it is full, an engine begins a new one for later texts, and the old one
// lives as long as matchers are in it. The isolate's lock must be held.
#pragma once
#include <memory>
#include <unordered_set>

#include "automaton/frames.hpp"

namespace guard {

class FrameStore {
 public:
  FrameStore() = default;
  FrameStore(const FrameStore&) = delete;
  // The frame's only copy; null: it is not kept. The frames around it must be in this store.
  // O(names / 64).
  const Frame* keep(const Frame& frame);
  bool has(const Frame& frame) const { return frame.arena == &arena; }
  std::size_t nbytes() const { return arena.size() + held_; }
  bool is_full() const { return nbytes() > kMost; }
  // Keeps what masks in the arena refer to, of so many bytes.
  void own(std::shared_ptr<const void> what, std::size_t nbytes);
  Arena arena{true};

 private:
  static constexpr std::size_t kMost = 4'000'000;  // bytes, with what the frames remember
  struct Kept {
    const Frame* frame;
    std::size_t hash() const;
    bool operator==(const Kept& other) const;
  };
  Interner<Kept> kept_;
  std::unordered_set<std::shared_ptr<const void>> owned_;
  std::size_t held_ = 0;  // bytes of those
};

}  // namespace guard
