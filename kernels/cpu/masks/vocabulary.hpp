// Vocabulary: tokens as bytes, and their tries. Nothing of it changes once it is made, so that any
// number of threads may read it.
//
// What is remembered of lexemes, which of the tokens stay inside of one, is in lexeme_masks.hpp.
#pragma once
#include <atomic>
#include <functional>
#include <memory>

#include "lexers/char_classes.hpp"
#include "masks/token_trie.hpp"

namespace guard {

struct Tokens {  // a set of them; by bits where they are many: bit t % 32 of word t / 32 is token t
  std::vector<Id> few;
  std::vector<std::uint32_t> bits;
  struct Run {  // of tokens; with their bits where those are at hand
    const Id *begin, *end;
    const std::uint32_t* bits;
  };
  Tokens() = default;
  Tokens(std::vector<Id> list, std::size_t words);
  void to_bits(std::size_t words);
  void add(const Run& run, std::size_t words);
  void add(const Tokens& other, std::size_t words);
  void add_to(std::uint32_t* row) const {
    for (Id t : few) row[t >> 5] |= 1u << (t & 31);
    for (std::size_t i = 0; i < bits.size(); ++i) row[i] |= bits[i];
  }
  template <class F>
  void each(F use) const {
    for (Id t : few) use(t);
    for (std::size_t i = 0; i < bits.size(); ++i)
      for (std::uint32_t left = bits[i]; left; left &= left - 1)
        use(static_cast<Id>(i * 32 + static_cast<std::size_t>(std::countr_zero(left))));
  }
  Id first() const {  // any one; there must be one
    if (!few.empty()) return few[0];
    std::size_t i = 0;
    while (!bits[i]) ++i;
    return static_cast<Id>(i * 32 + static_cast<std::size_t>(std::countr_zero(bits[i])));
  }
  std::size_t nbytes() const { return sizeof *this + few.capacity() * 4 + bits.size() * 4; }
};
struct Suffixes {  // tokens by what is left of them behind some point
  Id id;           // never used again
  Trie trie;
};

class Vocabulary : public std::enable_shared_from_this<Vocabulary> {
 public:
  // tokens[id]; the empty text: never allowed. ends: end-of-sequence tokens. `special` tokens are
  // never allowed inside JSON.
  Vocabulary(std::vector<std::string> tokens, std::vector<Id> ends, const std::vector<Id>& special);
  Vocabulary(const Vocabulary&) = delete;
  Vocabulary& operator=(const Vocabulary&) = delete;
  std::int32_t size() const { return static_cast<std::int32_t>(tokens_.size()); }
  std::size_t words() const { return (tokens_.size() + 31) / 32; }
  const Suffixes& whole() const { return whole_; }
  const std::vector<Id>& ends() const { return ends_; }
  bool is_end(Id token) const;
  std::string_view bytes(Id token) const {
    return usable_[static_cast<std::size_t>(token)]
               ? std::string_view(tokens_[static_cast<std::size_t>(token)])
               : std::string_view();
  }
  std::string_view end_of(Id token, std::int32_t n) const {  // its last n bytes
    const std::string_view text = tokens_[static_cast<std::size_t>(token)];
    return text.substr(text.size() - static_cast<std::size_t>(n));
  }
  std::string_view raw_bytes(Id token) const { return tokens_[static_cast<std::size_t>(token)]; }
  bool is_allowed_somewhere(Id token) const {
    return usable_[static_cast<std::size_t>(token)] &&
           !tokens_[static_cast<std::size_t>(token)].empty();
  }
  bool spells_bytes() const { return spells_bytes_; }   // is each byte of UTF-8 a token?
  std::vector<Id> greedy(std::string_view data) const;  // longest match; stops where no token fits
  const Suffixes& holding_quotes() const {
    return holding_quotes_;
  }  // tokens with a quote anywhere
  const Suffixes& quoted() const {
    return quoted_;
  }  // tokens that end a text at once, behind the quote
  Id id() const { return id_; }  // never used again
  std::int32_t chars(Id token) const {
    return chars_[static_cast<std::size_t>(token)];
  }  // that it completes, from where one begins
  std::size_t nbytes() const;
  // What the tables of one isolate may remember of lexemes, and of whole rows, in bytes.
  std::atomic<std::size_t> most_masks{36'000'000}, most_rows{8'000'000};

 private:
  friend class LexemeMasks;              // which reads them in all the ways below
  static constexpr Id kOwnSuffixes = 3;  // whole_, quoted_, holding_quotes_
  void match_plain();
  Tokens::Run run_of(std::int32_t i) const {  // the tokens that end at a node of plain_
    const std::int32_t many = many_at_[static_cast<std::size_t>(i)];
    return {plain_.begin(i), plain_.end(i),
            many < 0 ? nullptr : many_[static_cast<std::size_t>(many)].data()};
  }
  bool is_plain(Id token) const { return is_plain_[static_cast<std::size_t>(token)]; }
  std::vector<std::string> tokens_;
  std::vector<char> usable_;
  std::vector<Id> ends_;
  Suffixes whole_;
  Trie plain_,
      other_;  // the tokens of whole characters that have classes, by class; the others, by bytes
  Trie closing_;  // tokens in which a string may end
  Suffixes quoted_, holding_quotes_;
  bool spells_bytes_ = true;
  std::int32_t before_quote_ = 0;  // the most characters that one has in front of a quote
  std::vector<char> is_plain_;
  static constexpr std::int32_t kShort = 24;
  std::vector<std::uint16_t> chars_;
  std::vector<std::vector<std::uint32_t>> short_;  // bits of the tokens of at most i characters
  std::vector<Id> long_;                           // those of more than kShort
  std::vector<std::int32_t> spelled_first_,
      spelled_;  // of each node of plain_ those of the whole trie that spell it
  static constexpr std::ptrdiff_t kMany = 500;
  std::vector<std::int32_t>
      many_at_;  // by node of plain_: where that many tokens end, the index of their bits; -1
  std::deque<std::vector<std::uint32_t>> many_;
  Id id_;
};

}  // namespace guard
