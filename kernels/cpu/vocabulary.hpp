// Vocabulary: tokens as bytes, their trie, and what is remembered of lexemes: which tokens stay inside of one.
//
// The mask of a position factors by lexeme: the tokens that stay inside of it, remembered for each (vocabulary, lexeme
// state) and shared by every schema; and those that leave it, grouped by the state in which they leave and kept as a
// trie of what is left of them. The schema then only walks what is left. Guarded by the kernel lock.
#pragma once
#include <memory>

#include "text.hpp"
#include "number.hpp"
#include "trie.hpp"

namespace guard {

using Bits = std::vector<std::uint32_t>;  // bit t % 32 of word t / 32: token t

struct Inside {  // tokens that stay inside of a lexeme and end in one state
  Id state;
  std::int32_t chars;  // characters that they complete (texts)
  std::int32_t needs;  // and one more where they end inside of a character
  std::vector<Id> tokens;  // empty when `bits` holds them
  Bits bits;
};
struct Exit {  // tokens that leave a lexeme from one state
  Id state;
  std::int32_t chars;
  Trie rest;  // what follows: behind the closing quote; from the first byte behind a number
};
struct LexemeMask {
  Bits all;  // every token inside
  std::vector<Inside> inside;  // by (needs, state); only where it was asked for
  std::vector<Exit> exits;
  std::vector<Id> odd;         // tokens that leave it and spell a whole further string: each is tried alone
  std::deque<std::pair<std::int32_t, Bits>> upto;  // texts whose length alone matters: tokens that need at most so many characters
  bool used = true;  // since the last look of trim()
  std::size_t nbytes() const;
};

class Vocabulary {
 public:
  // tokens[id]; the empty text: never allowed. ends: end-of-sequence tokens. `special` tokens are never allowed inside JSON.
  Vocabulary(std::vector<std::string> tokens, std::vector<Id> ends, const std::vector<Id>& special);
  Vocabulary(const Vocabulary&) = delete;
  Vocabulary& operator=(const Vocabulary&) = delete;
  std::int32_t size() const { return static_cast<std::int32_t>(tokens_.size()); }
  std::size_t words() const { return (tokens_.size() + 31) / 32; }
  const Trie& trie() const { return trie_; }
  const std::vector<Id>& ends() const { return ends_; }
  bool is_end(Id token) const;
  std::string_view bytes(Id token) const { return usable_[static_cast<std::size_t>(token)] ? std::string_view(tokens_[static_cast<std::size_t>(token)]) : std::string_view(); }
  std::string_view raw_bytes(Id token) const { return tokens_[static_cast<std::size_t>(token)]; }
  bool is_allowed_somewhere(Id token) const { return usable_[static_cast<std::size_t>(token)] && !tokens_[static_cast<std::size_t>(token)].empty(); }
  std::vector<Id> greedy(std::string_view data) const;  // longest match; stops where no token fits
  // `detailed` also tells the tokens apart by where they end and how many characters they have: for bounds and budgets.
  LexemeMask& text(Texts& texts, Id state, bool detailed);
  LexemeMask& number(Numbers& numbers, Id state);
  const Bits& at_most(LexemeMask& mask, std::int32_t chars);
  // Between fills: where the masks of lexemes hold more than kMost, those go that were not used since the last look.
  void trim();
  std::size_t nbytes() const;

 private:
  struct Draft;
  using Masks = std::unordered_map<Id, std::unique_ptr<LexemeMask>>;
  static constexpr std::size_t kMost = 40'000'000;
  LexemeMask& keep(std::unique_ptr<LexemeMask>& slot, LexemeMask mask);
  const Trie& closing();
  std::vector<std::string> tokens_;
  std::vector<char> usable_;
  std::vector<Id> ends_;
  Trie trie_;
  std::unique_ptr<Trie> closing_;
  Masks texts_, detailed_, numbers_;
  std::size_t held_ = 0;  // bytes of them
};

}  // namespace guard
