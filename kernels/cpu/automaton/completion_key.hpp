// CompletionKeys: which configurations have the same completion, in one engine.
//
// More do than have the same future (state_key.hpp). In an object with independent members, a
// completion depends on the required names that were written, and on the written keys that an
// unfinished key may still become. The containers around the innermost one are one number, which
// their frames keep. Inside of most lexemes a key is a few numbers; elsewhere it is text. The
// isolate's lock must be held.
#pragma once
#include "automaton/state_key.hpp"

namespace guard {

struct CompletionKey {
  std::int64_t stack = -1;
  Lex lex = Lex::None;
  Id state = 0, spec = 0, decoder = 0;
  std::int32_t chars = 0, lo = 0, hi = 0, depth = 0;
  bool operator==(const CompletionKey&) const = default;
};
struct CompletionHash {
  std::size_t operator()(const CompletionKey& k) const {
    std::size_t h = static_cast<std::size_t>(k.stack);
    for (Id id : {static_cast<Id>(k.lex), k.state, k.spec, k.decoder, k.chars, k.lo, k.hi, k.depth})
      h = mix(h, static_cast<std::size_t>(id));
    return h;
  }
};

class CompletionKeys {
 public:
  CompletionKeys(Levels& levels, StateKeys& keys) : levels_(levels), keys_(keys) {}
  // The key inside of a lexeme; false: it has to be text. O(1) once the frame is known, and
  // O(names / 64) in a key.
  bool find(const Config& at, CompletionKey* out);
  // Appends the key as text. O(the innermost container).
  void add(const Config& at, std::string* out);
  void forget() { stacks_.clear(), held_ = 0; }  // numbers are never used again
  std::size_t nbytes() const { return held_; }

 private:
  std::int64_t stack(const Frame* f);
  Levels& levels_;
  StateKeys& keys_;
  std::unordered_map<std::string, std::int64_t> stacks_;
  std::int64_t made_ = 0;
  std::size_t held_ = 0;
};

}  // namespace guard
