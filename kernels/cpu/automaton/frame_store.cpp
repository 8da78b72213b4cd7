#include "automaton/frame_store.hpp"

#include <algorithm>
#include <array>

namespace guard {

namespace {
std::array<Id, 7> ids_of(const Frame& f) {
  return {f.level, f.cls, f.count, f.rank, f.key, f.order, f.due};
}
std::size_t words_of(const Frame& f) { return f.seen ? words_for(f.names->texts.size()) : 0; }
}  // namespace

std::size_t FrameStore::Kept::hash() const {
  const Frame& f = *frame;
  std::size_t h = mix(reinterpret_cast<std::uintptr_t>(f.parent),
                      static_cast<std::size_t>(f.kind) << 8 | static_cast<std::size_t>(f.phase));
  for (const Id id : ids_of(f)) h = mix(h, static_cast<std::size_t>(id));
  for (std::size_t i = 0; i < words_of(f); ++i) h = mix(h, f.seen[i]);
  return h;
}

bool FrameStore::Kept::operator==(const Kept& other) const {
  const Frame &a = *frame, &b = *other.frame;
  return a.parent == b.parent && a.names == b.names && a.kind == b.kind && a.phase == b.phase &&
         ids_of(a) == ids_of(b) && words_of(a) == words_of(b) &&
         std::equal(a.seen, a.seen + words_of(a), b.seen);
}

const Frame* FrameStore::keep(const Frame& frame) {
  const bool is_plain = !frame.records && !frame.barred && !frame.waits && !frame.extras &&
                        !frame.mark && !frame.begun;
  if (!is_plain || (frame.parent && frame.parent->arena != &arena)) return nullptr;
  if (const Id known = kept_.find(Kept{&frame}); known >= 0) return kept_[known].frame;
  if (is_full()) return nullptr;
  Frame* const made = arena.make(frame.next(arena));
  if (const std::size_t words = words_of(frame)) {
    auto* seen = static_cast<std::uint64_t*>(arena.allocate(words * sizeof(std::uint64_t)));
    std::copy(frame.seen, frame.seen + words, seen);
    made->seen = seen;
  }
  kept_.intern(Kept{made});
  return made;
}

void FrameStore::own(std::shared_ptr<const void> what, std::size_t nbytes) {
  if (owned_.insert(std::move(what)).second) held_ += nbytes;
}

}  // namespace guard
