// Vocabulary: tokens as bytes, and their tries. Immutable, so thread-safe.
//
// The cache of lexeme masks is in lexeme_masks.hpp. A Vocabulary has shared owners: matchers, and
// the Python object.
#pragma once
#include <atomic>
#include <functional>
#include <memory>

#include "lexers/char_classes.hpp"
#include "masks/token_trie.hpp"

namespace guard {

struct Tokens {  // a set of tokens: a list, or if they are many, bits: bit t % 32 of word t / 32 is
                 // token t
  std::vector<Id> few;
  std::vector<std::uint32_t> bits;
  struct Run {  // a range of tokens; also their bits, if known
    const Id *begin, *end;
    const std::uint32_t* bits;
  };
  Tokens() = default;
  Tokens(std::vector<Id> list, std::size_t words);
  void to_bits(std::size_t words);
  void add(const Run& run, std::size_t words);
  void add(const Tokens& other, std::size_t words);
  // These two require bits.
  void remove(Id token) { bits[static_cast<std::size_t>(token) / 32] &= ~(1u << (token % 32)); }
  bool has(Id token) const {
    return bits[static_cast<std::size_t>(token) / 32] >> (token % 32) & 1;
  }
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
  std::size_t size() const {
    std::size_t n = few.size();
    for (std::uint32_t word : bits) n += static_cast<std::size_t>(std::popcount(word));
    return n;
  }
  Id first() const {  // any one of them; -1: the set is empty
    if (!few.empty()) return few[0];
    for (std::size_t i = 0; i < bits.size(); ++i)
      if (bits[i]) return static_cast<Id>(i * 32) + std::countr_zero(bits[i]);
    return -1;
  }
  std::size_t nbytes() const { return sizeof *this + few.capacity() * 4 + bits.size() * 4; }
};
// Lists the tokens of a row of bits, and clears them. In no order. O(words + tokens).
std::vector<Id> take_tokens(std::span<std::uint32_t> row);

// Does setting so many tokens one by one take longer than joining all words of a row? Where these
// fill more than two pages, new memory for them takes longer than some sets.
inline bool are_many(std::size_t tokens, std::size_t words) {
  constexpr std::size_t kTwoPages = 2048;
  return tokens > words / (words > kTwoPages ? 2 : 8);
}

// A set that many rows are made of, as bits where that is faster.
inline std::shared_ptr<const Tokens> part_of_rows(Tokens tokens, std::size_t words) {
  if (are_many(tokens.few.size(), words)) tokens.to_bits(words);
  return std::make_shared<const Tokens>(std::move(tokens));
}

struct Suffixes {  // tokens by their remaining bytes after some point
  Id id;           // never used again
  Trie trie;
};

class Vocabulary : public std::enable_shared_from_this<Vocabulary> {
 public:
  // tokens[id] are a token's bytes; an empty one is never allowed. `ends` are the end-of-sequence
  // tokens. `special` tokens are never allowed inside of JSON. O(total bytes).
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
  std::string_view end_of(Id token,
                          std::int32_t n) const {  // its last n bytes; requires n <= its length
    const std::string_view text = tokens_[static_cast<std::size_t>(token)];
    return text.substr(text.size() - static_cast<std::size_t>(n));
  }
  std::string_view raw_bytes(Id token) const { return tokens_[static_cast<std::size_t>(token)]; }
  bool is_allowed_somewhere(Id token) const {
    return usable_[static_cast<std::size_t>(token)] &&
           !tokens_[static_cast<std::size_t>(token)].empty();
  }
  bool spells_bytes() const {
    return spells_bytes_;
  }  // whether each byte of UTF-8 has a token of its own
  std::vector<Id> greedy(
      std::string_view data) const;  // tokenizes by longest match; stops where no token fits
  const Suffixes& holding_quotes() const { return holding_quotes_; }  // tokens that contain a quote
  const Suffixes& quoted() const {
    return quoted_;
  }  // tokens that begin with a closing quote, by the bytes after it
  // Those of them that begin another item, or end an object.
  const std::vector<Spelled>& quoted_beyond() const { return quoted_beyond_; }
  Id id() const { return id_; }  // never used again
  std::int32_t chars(Id token) const {
    return chars_[static_cast<std::size_t>(token)];
  }  // the characters that it completes, if it begins at a character
  std::size_t nbytes() const;
  // Bytes that one isolate's cache of lexeme masks, and the frames of one engine with their whole
  // masks, may take.
  std::atomic<std::size_t> most_masks{36'000'000}, most_rows{4'000'000};

 private:
  friend class LexemeMasks;              // which uses all tables below
  static constexpr Id kOwnSuffixes = 3;  // whole_, quoted_, holding_quotes_
  void note_below();
  void match_plain();
  Tokens::Run run_of(std::int32_t i) const {  // the tokens at a node of plain_
    const std::int32_t many = many_at_[static_cast<std::size_t>(i)];
    return {plain_.begin(i), plain_.end(i),
            many < 0 ? nullptr : many_[static_cast<std::size_t>(many)].data()};
  }
  // The classes that follow a node of plain_, if so many tokens share its characters that those of
  // some classes are worth remembering; else null. Never null for the root.
  const Bytes* below(std::int32_t i) const {
    const std::int32_t at = below_at_[static_cast<std::size_t>(i)];
    return at < 0 ? nullptr : &below_[static_cast<std::size_t>(at)];
  }
  bool is_plain(Id token) const { return is_plain_[static_cast<std::size_t>(token)]; }
  std::vector<std::string> tokens_;
  std::vector<char> usable_;
  std::vector<Id> ends_;
  Suffixes whole_;
  Trie plain_,
      other_;     // tokens of complete characters with classes, by class; and all others, by bytes
  Trie closing_;  // tokens inside of which a string may end
  Suffixes quoted_, holding_quotes_;
  std::vector<Spelled> quoted_beyond_;
  bool spells_bytes_ = true;
  std::int32_t before_quote_ = 0;  // the most characters of a token before a quote
  std::vector<char> is_plain_;
  static constexpr std::int32_t kShort = 24;
  std::vector<std::uint16_t> chars_;
  std::vector<std::vector<std::uint32_t>>
      short_;             // by i, the bits of the tokens of at most i characters
  std::vector<Id> long_;  // tokens of more than kShort characters
  std::vector<std::int32_t> spelled_first_,
      spelled_;  // by node of plain_, the nodes of the whole trie with these classes, ordered by
                 // the last character
  std::vector<char32_t> spelled_last_;  // the last character of each
  std::vector<std::int32_t> below_at_;  // by node of plain_: the index of its classes; -1: none
  std::vector<Bytes> below_;
  static constexpr std::ptrdiff_t kMany = 500;
  std::vector<std::int32_t> many_at_;  // by node of plain_: the index of the bits of its tokens, if
                                       // they are at least kMany, else -1
  std::deque<std::vector<std::uint32_t>> many_;
  Id id_;
};

}  // namespace guard
