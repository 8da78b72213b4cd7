// StateKeys: which configurations are equivalent, for the mask cache and for a GPU's tables
// (kernels/gpu/device_tables.py).
//
// A key has all parts of a configuration on which steps, masks and distances depend, as bytes.
// Equal keys mean equal futures, under the same engine and vocabulary; keys of different engines
// differ. Parts that no longer matter are left out: a free string has one key whatever its text,
// and an array without bounds has one whatever its length. O(open containers, and compared keys or
// items). The isolate's lock must be held. Tested in tests/kernels/test_tables.py.
#pragma once
#include <string>

#include "automaton/levels.hpp"

namespace guard {

// What a mask depends on beside the innermost frame.
struct LexemeKey {
  Lex lex = Lex::None;
  Id state = 0, spec = 0, decoder = 0;
  std::int32_t chars = 0, lo = 0, hi = 0, depth = 0;
  bool operator==(const LexemeKey&) const = default;
};

class StateKeys {
 public:
  StateKeys(Constraints& constraints, KeyOrder& orders, Levels& levels, const Options& options)
      : constraints_(constraints), orders_(orders), levels_(levels), options_(options) {}
  // Appends the key: "" where there is no instance, "." once finished. `engine` is the engine's
  // unique number.
  void add(const Config& at, std::uint64_t engine, std::string* out);
  // The key's part beside the frames, where these are kept (frame_store.hpp); false: it needs the
  // text. O(1).
  bool find(const Config& at, LexemeKey* out) const;
  // A number for the lexeme; configurations with the same one have the same classes of tokens. -1:
  // there is no lexeme.
  std::int64_t lexeme(const Config& at) const;

  // Parts of a key: of the lexeme; its characters so far, as far as they matter, of a text or key;
  // and of one frame. `completes`: equal parts need only mean equal completions. In an object with
  // independent members, these depend on the required names that were written, and, before its next
  // key, on the other keys.
  void add_lexeme(const Config& at, std::string* out);
  std::int32_t chars_of(const Config& at) const;
  void add_frame(const Frame& f, bool is_top, bool completes, std::string* out);

 private:
  Constraints& constraints_;
  KeyOrder& orders_;
  Levels& levels_;
  const Options& options_;
};

}  // namespace guard
