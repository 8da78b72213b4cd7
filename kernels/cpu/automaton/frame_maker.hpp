// FrameMaker: makes frames, equal ones mostly only once.
//
// Frames of accepted text are kept in a store, for all matchers. Many tokens of one mask lead to
// the same frame, too, and a frame's cache is expensive. But most of these frames are never needed
// again, so they are kept in a Scratch, keyed by their origin, until the frame on top changes: for
// all masks inside of one lexeme. Where values are recorded, frames depend on the text written, and
// none is shared. The isolate's lock must be held.
#pragma once
#include <memory>
#include <unordered_map>

#include "automaton/frame_store.hpp"

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
  // The frame: one of the store, if it is in use; or, if a scratch is in use, one with the same
  // key; else one that is allocated in the arena.
  const Frame* make(const Scratch::Key& key, const Frame& frame, Arena& arena) {
    if (const Frame* kept = keeps_ ? keeps_->keep(frame) : nullptr) return kept;
    if (!scratch_ || frame.records) return arena.make(frame);
    for (const auto& [known, made] : scratch_->few)
      if (known == key) return made;
    if (scratch_->few.size() < Scratch::kFew) {
      scratch_->few.push_back({key, arena.make(frame)});
      return scratch_->few[scratch_->few.size() - 1].second;
    }
    return remember(scratch_->many, key, [&]() -> const Frame* { return arena.make(frame); });
  }
  // While it lives, frames are shared by a scratch (null: not shared), and none is kept. A nested
  // one replaces the outer one. The scratch must outlive it.
  class Sharing {
   public:
    Sharing(FrameMaker& maker, Scratch* scratch)
        : maker_(maker),
          before_(std::exchange(maker.scratch_, scratch)),
          kept_(std::exchange(maker.keeps_, nullptr)) {}
    ~Sharing() { maker_.scratch_ = before_, maker_.keeps_ = kept_; }
    Sharing(const Sharing&) = delete;

   private:
    FrameMaker& maker_;
    Scratch* before_;
    FrameStore* kept_;
  };

  FrameMaker() = default;
  ~FrameMaker() { leave(); }
  FrameMaker(const FrameMaker&) = delete;
  // The store for texts that begin now. Each matcher owns the one in which its text began, too.
  const std::shared_ptr<FrameStore>& store() {
    if (!store_ || store_->is_full()) {
      auto made = std::make_shared<FrameStore>();
      leave();
      store_ = std::move(made);
    }
    return store_;
  }
  void leave() {  // the store no longer counts as the engine's
    if (store_) store_->leave();
  }
  // While it lives, frames are kept in the store. Not to be nested.
  class Keeping {
   public:
    Keeping(FrameMaker& maker, FrameStore& store) : maker_(maker) { maker_.keeps_ = &store; }
    ~Keeping() { maker_.keeps_ = nullptr; }
    Keeping(const Keeping&) = delete;

   private:
    FrameMaker& maker_;
  };

 private:
  Scratch* scratch_ = nullptr;
  FrameStore* keeps_ = nullptr;
  std::shared_ptr<FrameStore> store_;
};

}  // namespace guard
