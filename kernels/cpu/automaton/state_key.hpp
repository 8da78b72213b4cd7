// StateKeys: which configurations go on alike, for tables outside of the engine such as a GPU's
// (kernels/gpu/device_tables.py).
//
// A key is everything of a configuration on which step, masks and distances depend, as bytes: equal
// keys, equal futures, under the same engine and vocabulary; two engines never have one. What no
// longer matters is left out, so that a free string is one key whatever was written in it, and an
// array without bounds one however many items it has. O(open containers, and keys or items that are
// compared). Guarded by the isolate's lock. Tested in tests/kernels/test_tables.py.
#pragma once
#include <string>

#include "automaton/levels.hpp"

namespace guard {

class StateKeys {
 public:
  StateKeys(Constraints& constraints, KeyOrder& orders, Levels& levels, const Options& options)
      : constraints_(constraints),
        goals_(constraints.goals),
        orders_(orders),
        levels_(levels),
        options_(options) {}
  // Appends the key. "": there is no instance; ".": finished. `engine`: a number that no other
  // engine has. `completes`: equal keys need only have equal completions, in which no object that
  // asks for no undeclared key gets one; which were written is left out there.
  void add(const Config& at, std::uint64_t engine, std::string* out, bool completes = false);
  // Two configurations of one lexeme have the same classes of tokens; -1: it has none.
  std::int64_t lexeme(const Config& at) const;

 private:
  std::int32_t last_count(const Frame& f);
  Constraints& constraints_;
  Goals& goals_;
  KeyOrder& orders_;
  Levels& levels_;
  const Options& options_;
  PairMap<std::int32_t> last_counts_;  // by level and order
};

}  // namespace guard
