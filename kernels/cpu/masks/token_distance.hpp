// TokenDistances: how many tokens the completion of a configuration takes.
//
// Of each completion (automaton/completion.hpp) the least number of tokens that spell it, the
// end-of-sequence token among them, found from its end on: D(end) = 1, D(i) = 1 + the least D
// behind a token that matches there. So behind the first of these tokens D is less by one, and a
// budget of D tokens is always enough. Where no completion is spelled D counts bytes, each of which
// lessens it, too. One for each engine; counts are kept for each vocabulary. Guarded by the
// isolate's lock.
#pragma once
#include "automaton/completion.hpp"
#include "masks/vocabulary.hpp"

namespace guard {

// Tokens of a vocabulary that a format names: each stands for itself, and is never read as its
// bytes. A symbol that stands for any token names those that it does not stand for.
struct Symbols {
  Symbols(std::vector<std::vector<Id>> by_symbol, const std::vector<Id>& any,
          const std::vector<Id>& special, const Vocabulary& vocabulary);
  bool is_any(Id symbol, Id token) const {
    const auto found = any_tokens.find(symbol);
    return found != any_tokens.end() &&
           (found->second[static_cast<std::size_t>(token) >> 5] >> (token & 31) & 1u) != 0;
  }
  std::vector<std::vector<Id>> tokens;         // by symbol
  std::unordered_map<Id, std::vector<Id>> of;  // symbols of each named token
  std::unordered_map<Id, std::vector<std::uint32_t>>
      any_tokens;  // of symbols that stand for any token, the row of those
};

class TokenDistances {
 public:
  explicit TokenDistances(Engine& engine) : completions_(engine) {}
  bool counts(const Config& at) { return completions_.counts(at); }  // does it count tokens there?
  // Tokens to the end, the end-of-sequence token among them; 0: finished; -1: nothing leads there.
  // `symbols`: the named tokens, null: none is; the same for all calls with this vocabulary.
  std::int64_t operator()(const Config& at, const Vocabulary& vocabulary, const Symbols* symbols);
  void trim();  // between calls
  std::size_t nbytes() const;

 private:
  std::int64_t behind(Id link, const std::vector<std::int64_t>& counts,
                      const Vocabulary& vocabulary, const Symbols* symbols) const;
  Completions completions_;
  std::unordered_map<Id, std::vector<std::int64_t>> counts_;  // by vocabulary, by link
};

}  // namespace guard
