// TokenDistances: the number of tokens of a configuration's completion.
//
// For each completion (automaton/completion.hpp), D is the least number of tokens that spell it,
// the end-of-sequence token included. It is computed backwards: D(end) = 1, D(i) = 1 + the least D
// after a token that matches at i. So the first of these tokens lowers D by one, and a budget of D
// tokens always suffices. Where there is no completion, D counts bytes, each of which lowers it
// too. Each engine has one; counts are kept by vocabulary. The isolate's lock must be held.
#pragma once
#include "automaton/completion.hpp"
#include "masks/vocabulary.hpp"

namespace guard {

// The tokens that a format names. Each stands for itself, and is never read as its bytes. For a
// symbol that stands for any token, the list has the exceptions.
struct Symbols {
  Symbols(std::vector<std::vector<Id>> by_symbol, const std::vector<Id>& any,
          const std::vector<Id>& special, const Vocabulary& vocabulary);
  bool is_any(Id symbol, Id token) const {
    const auto found = any_tokens.find(symbol);
    return found != any_tokens.end() &&
           (found->second[static_cast<std::size_t>(token) >> 5] >> (token & 31) & 1u) != 0;
  }
  std::vector<std::vector<Id>> tokens;         // by symbol
  std::unordered_map<Id, std::vector<Id>> of;  // by named token, its symbols
  std::unordered_map<Id, std::vector<std::uint32_t>>
      any_tokens;  // by symbol that stands for any token, the row of its tokens
};

class TokenDistances {
 public:
  explicit TokenDistances(Engine& engine) : completions_(engine) {}
  bool counts(const Config& at) {
    return completions_.counts(at);
  }  // whether D counts tokens there, rather than bytes
  // D of a configuration; 0: it is finished; -1: there is no completion. `symbols` are the named
  // tokens (null: there are none); they must be the same in all calls with this vocabulary.
  std::int64_t operator()(const Config& at, const Vocabulary& vocabulary, const Symbols* symbols) {
    return at.finished ? 0 : of(link(at), vocabulary, symbols);
  }
  // The same by the link of a configuration that is not finished. known(): -1 unless it was made
  // before. Links are valid until trim().
  Id link(const Config& at) { return completions_.find(at); }
  Id known(const Config& at) { return completions_.known(at); }
  std::int64_t of(Id link, const Vocabulary& vocabulary, const Symbols* symbols);
  // The link after the byte, if the completion goes on with it, without a search; -1: unknown.
  Id next(Id link, std::uint8_t byte) const {
    const Completions::Link& from = completions_[link];
    return from.kind == Completions::Link::Byte && from.byte == byte ? from.next : -1;
  }
  void trim();  // between calls
  std::size_t nbytes() const;

 private:
  std::int64_t behind(Id link, const std::vector<std::int64_t>& counts,
                      const Vocabulary& vocabulary, const Symbols* symbols) const;
  Completions completions_;
  std::unordered_map<Id, std::vector<std::int64_t>> counts_;  // by vocabulary, by link
};

}  // namespace guard
