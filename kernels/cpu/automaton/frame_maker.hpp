// FrameMaker: makes frames; during a mask, equal frames only once.
//
// Many tokens of one mask lead to the same frame, and a frame's cache is expensive. So a mask's
// frames are kept in a Scratch, keyed by their origin, until the frame on top changes: for all
// masks inside of one lexeme. Where values are recorded, frames depend on the text written, and
// none is shared. The isolate's lock must be held.
#pragma once
#include <unordered_map>

#include "automaton/frames.hpp"

namespace guard {

struct Scratch {
  struct Key {  // the origin of a frame: its predecessor, phase, level or name, and order
    const Frame* from;
    Phase phase;
    Id what, order;
    bool operator==(const Key&) const = default;
  };
  struct Hash {
    std::size_t operator()(const Key& k) const {
      return mix(mix(mix(std::hash<const Frame*>{}(k.from), static_cast<std::size_t>(k.phase)),
                     static_cast<std::size_t>(k.what)),
                 static_cast<std::size_t>(k.order));
    }
  };
  static constexpr std::size_t kFew = 12, kMost = 1 << 16;
  void begin(const Frame* on_top) {  // begins a mask; drops the frames of another top
    if (on_top != top || arena.used() > kMost) clear();
    top = on_top;
  }
  void clear() {
    top = nullptr;
    few.clear();
    many.clear();
    arena.clear();
  }
  const Frame* top = nullptr;
  Arena arena;
  Few<std::pair<Key, const Frame*>, kFew> few;
  std::unordered_map<Key, const Frame*, Hash> many;
};

class FrameMaker {
 public:
  // The frame, allocated in the arena; or, if a scratch is in use, one with the same key.
  const Frame* make(const Scratch::Key& key, const Frame& frame, Arena& arena) {
    if (!scratch_ || frame.records) return arena.make(frame);
    for (const auto& [known, made] : scratch_->few)
      if (known == key) return made;
    if (scratch_->few.size() < Scratch::kFew) {
      scratch_->few.push_back({key, arena.make(frame)});
      return scratch_->few[scratch_->few.size() - 1].second;
    }
    return remember(scratch_->many, key, [&]() -> const Frame* { return arena.make(frame); });
  }
  // While it lives, frames are shared by a scratch (null: not shared). A nested one replaces the
  // outer one. The scratch must outlive it.
  class Sharing {
   public:
    Sharing(FrameMaker& maker, Scratch* scratch)
        : maker_(maker), before_(std::exchange(maker.scratch_, scratch)) {}
    ~Sharing() { maker_.scratch_ = before_; }
    Sharing(const Sharing&) = delete;

   private:
    FrameMaker& maker_;
    Scratch* before_;
  };

 private:
  Scratch* scratch_ = nullptr;
};

}  // namespace guard
