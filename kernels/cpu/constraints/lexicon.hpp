// Lexicon: what all schemas of an isolate share: languages, texts, numbers, names and values,
// interned. And the limits of a schema.
//
// Guarded by the isolate's lock; ids and references stay valid as long as the lexicon.
#pragma once
#include <atomic>

#include "constraints/nodes.hpp"
#include "regex/words.hpp"

namespace guard {

struct Limits {
  std::size_t alternatives = 10000;  // shapes in one clause, cases of one value
  std::size_t states = 1000000;      // interned shapes and goals
  std::int32_t depth = 2000;         // recursion of the algebra
  std::int32_t nesting = 100;  // open containers, beyond which only a shortest way out is left
  double seconds = 10;         // of a processor, for one call
  std::int64_t memory =
      384'000'000;  // bytes, of one call, and of a schema that has an isolate of its own
};

struct Lexicon {
  const std::uint64_t number = ++made;  // of no other lexicon of the process
  Langs langs;
  Texts texts{langs};
  Words words{langs};
  Numbers numbers;
  Interner<Name> names;
  Interner<Value> values;
  PairMap<bool> matches;  // (language, name)
  void seal() {
    langs.seal(), texts.seal(), numbers.seal(), names.seal(), values.seal();
  }  // see Interner
  Id name(std::string text) { return names.intern({std::move(text)}); }
  bool in_lang(Id lang, Id name);
  Id parse(std::string_view text);  // the value of a JSON text, which must be valid: no key twice

 private:
  static inline std::atomic<std::uint64_t> made = 0;
};

// Counts how deep the algebra recurses. Throws Limit where that is too deep.
struct Recursion {
  Recursion(int* depth, int limit) : depth_(depth) {
    if (*depth_ >= limit) too_deep(limit);
    ++*depth_;
  }
  ~Recursion() { --*depth_; }
  Recursion(const Recursion&) = delete;
  [[noreturn, gnu::noinline]] static void too_deep(int limit) {
    throw Limit{"depth", -1, "the schema's logic nests deeper than " + std::to_string(limit)};
  }
  int* depth_;
};
inline void tick() { kernel_clock.tick(); }

}  // namespace guard
