// Lexicon: the interned languages, texts, numbers, names and values that all schemas of an isolate
// share. Also the limits of a schema.
//
// The isolate's lock must be held. The isolate's tables own the lexicon; ids and references stay
// valid as long as it lives.
#pragma once
#include <atomic>

#include "constraints/nodes.hpp"
#include "regex/words.hpp"

namespace guard {

struct Limits {
  std::size_t alternatives = 10000;  // shapes in one clause, cases of one value
  std::size_t states = 1000000;      // interned shapes and goals
  std::int32_t depth = 2000;         // recursion of the algebra
  std::int32_t nesting = 100;  // open containers beyond which only a shortest completion is allowed
  double seconds = 10;         // of processor time, for one call
  std::int64_t memory = 384'000'000;  // bytes of one call, and of a schema with its own isolate
};

struct Lexicon {
  const std::uint64_t number = ++made;  // unique in the process
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
  Id parse(std::string_view
               text);  // the value of a JSON text. Requires valid JSON without duplicate keys

 private:
  static inline std::atomic<std::uint64_t> made = 0;
};

// Counts the depth of recursion while it lives. Throws Limit if the recursion is too deep.
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
