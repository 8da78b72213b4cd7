// Engine: one compiled schema as a lazy automaton over bytes with a stack.
//
// The engine consists of these parts. Each part uses only those above it:
// - constraints: what values meet the schema (constraints/constraints.hpp)
// - orders: the order of keys
// - levels: the alternatives of one open container, and facts that depend on them alone
// - viability: the members, items and values that leave a completion
// - frames: makes frames
// - keys: reads a key
// - stepper: the transitions: a configuration and a byte lead to a configuration
// - distances: the bytes of a shortest completion
// - state_keys: which configurations are equivalent
//
// masks/mask_filler.hpp makes masks from it. The lock of the isolate that owns its lexicon must be
// held for all calls (runtime/isolate.hpp). Frames live in the arena of the matcher that made them;
// the engine owns no frames. Calls throw Missing and Limit (support/base.hpp).
#pragma once
#include <atomic>
#include <optional>

#include "automaton/distance.hpp"
#include "automaton/state_key.hpp"

namespace guard {

class Engine {
 public:
  // `format` is the text around values; null: the engine reads one value, of the node `root`. The
  // lexicon must outlive the engine.
  Engine(Lexicon& lexicon, const Options& options, Id root,
         std::shared_ptr<const FormatSource> format);
  Engine(const Engine&) = delete;  // its parts refer to each other

  const std::uint64_t number = ++made;  // unique in the process
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
  // The transition by one byte; false: it is not allowed. Beyond a depth of Limits.nesting, only
  // bytes that reduce the distance are allowed.
  bool step(const Config& from, std::uint8_t byte, Config* to, Arena& arena);
  // The transition by one symbol, a token that stands for itself.
  bool step_symbol(const Config& from, Id symbol, Config* to, Arena& arena);
  bool can_stop(const Config& at) { return stepper.can_stop(at); }
  // See Distances::exactly.
  std::int64_t distance(const Config& at, std::int64_t limit = kNoLimit) {
    return distances.exactly(at, limit);
  }
  bool is_too_deep(const Config& at) const { return guard::is_too_deep(options, at); }
  // The undefined nodes that a mask before the due value will need, as far as known: throwing
  // Missing for each is far slower.
  std::vector<Id> look_ahead(const Config& at);
  // The bytes that every completion begins with, at most kForced; with `except`, every completion
  // that begins with none of these bytes. Frames are allocated in `scratch`. What was found is kept
  // by state key: then O(open containers), else up to 256 steps for each byte.
  std::string forced(const Config& at, Arena& scratch, std::string_view except = {});
  Id node_at(
      const Config& at) const;    // a schema node of the innermost unfinished value; -1: unknown
  bool counts(const Config& at);  // does the number of characters matter?
  std::size_t nbytes() const {
    return sizeof *this + constraints.nbytes() + levels.nbytes() + viability.nbytes() +
           stepper.nbytes() + forced_nbytes_;
  }
  std::size_t states() const { return levels.size() + constraints.size(); }

 private:
  static constexpr std::size_t kForced = 4096;         // bytes of one answer
  static constexpr std::size_t kMostForced = 200'000;  // bytes of all that is kept
  int choices(const Config& at, std::string_view among, std::string_view except, char* byte,
              Config* to, Arena& scratch);
  std::vector<Id> values_ahead(const Config& at);
  std::unordered_map<std::string, std::string> forced_;  // by state key
  std::size_t forced_nbytes_ = 0;
  static inline std::atomic<std::uint64_t> made = 0;
};

}  // namespace guard
