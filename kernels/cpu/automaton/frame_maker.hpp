// FrameMaker: makes frames; while a mask is made, each only once.
//
// Many tokens of one mask lead to the same frame, and what is cached in a frame is dear. So a
// mask's frames lie in a Scratch, by what led to them, and stay there as long as the frame on top
// does: for all tokens of one text. Where values are recorded frames differ by the text that was
// written, and none is shared. Guarded by the isolate's lock.
#pragma once
#include <unordered_map>

#include "automaton/frames.hpp"

namespace guard {

struct Scratch {
  struct Key {  // a frame that comes from this one, in a phase: with a level or a name, and an
                // order
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
  void begin(const Frame* on_top) {  // a mask; what is kept of another frame goes
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
  // The frame, in the arena; or one that was made of the same, where a scratch is in use.
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
  // Frames come from the scratch (null: from the arena that is at hand) as long as this lives; the
  // last one that was made counts.
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
