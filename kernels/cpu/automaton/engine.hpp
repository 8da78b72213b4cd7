// Engine: one compiled schema as a lazy automaton over bytes with a stack.
//
// The engine is the sum of its parts, each of which knows only those above it:
// - constraints: what values meet the schema (constraints/constraints.hpp)
// - orders: in which order keys come
// - levels: the alternatives of one open container, and what follows from them alone
// - viability: what may come next in a frame such that a completion remains
// - frames: makes frames
// - keys: reads a key
// - stepper: a configuration and a byte lead to a configuration
// - distances: the bytes of a shortest completion
// - state_keys: which configurations go on alike
//
// Masks are made from outside: masks/mask_filler.hpp. All of it is guarded by the lock of the
// isolate that its lexicon lies in (runtime/isolate.hpp); frames live in the arena of the matcher
// that made them. Calls throw Missing and Limit (support/base.hpp).
#pragma once
#include <atomic>
#include <optional>

#include "automaton/distance.hpp"
#include "automaton/state_key.hpp"

namespace guard {

class Engine {
 public:
  // `format`: what is around values; null: the engine reads one value, of the node `root`.
  Engine(Lexicon& lexicon, const Options& options, Id root,
         std::shared_ptr<const FormatSource> format);
  Engine(const Engine&) = delete;  // its parts refer to each other

  const std::uint64_t number = ++made;  // of no other engine of the process
  const Options options;
  const Id root;  // the front end's node
  const std::optional<Format> format;
  Constraints constraints;
  KeyOrder orders;
  Levels levels;
  Viability viability;
  FrameMaker frames;
  KeyReader keys;
  Stepper stepper;
  Distances distances;
  StateKeys state_keys;

  Lexicon& lexicon() { return constraints.lexicon; }
  Config start(Arena& arena) {
    return stepper.start(arena);
  }  // top is null when the schema has no instance
  // One byte further. Where values nest deeper than Limits.nesting only what brings the end nearer
  // is let through.
  bool step(const Config& from, std::uint8_t byte, Config* to, Arena& arena);
  // One symbol further: a token that stands for itself.
  bool step_symbol(const Config& from, Id symbol, Config* to, Arena& arena);
  bool can_stop(const Config& at) { return stepper.can_stop(at); }
  // See Distances::exactly.
  std::int64_t distance(const Config& at, std::int64_t limit = kNoLimit) {
    return distances.exactly(at, limit);
  }
  bool is_too_deep(const Config& at) const { return guard::is_too_deep(options, at); }
  // The nodes that a mask would miss at the value that is due, as far as that is known: to end in
  // Missing is far dearer.
  std::vector<Id> look_ahead(const Config& at);
  // The bytes that alone may come, at most `cap`; frames are made in the scratch.
  std::string forced(const Config& at, Arena& scratch, std::size_t cap);
  Id node_at(const Config& at)
      const;  // a schema node that the innermost value under way must meet; -1 when unknown
  bool counts(const Config& at);  // does the number of characters matter?
  std::size_t nbytes() const {
    return sizeof *this + constraints.nbytes() + levels.nbytes() + viability.nbytes() +
           stepper.nbytes();
  }
  std::size_t states() const { return levels.size() + constraints.size(); }

 private:
  static inline std::atomic<std::uint64_t> made = 0;
};

}  // namespace guard
