// Vocabulary: tokens as bytes, their trie, and what is remembered of lexemes: which tokens stay inside of one.
//
// The mask of a position factors by lexeme: the tokens that stay inside of it, remembered for each (vocabulary, lexeme
// state) and shared by every schema; and those that leave it, grouped by the state in which they leave and kept as a
// trie of what is left of them. The schema then only walks what is left, where the same holds again: a lexeme that begins
// inside of a token has its mask over the tokens that begin so. Tries of equal content are one. Guarded by the kernel lock.
#pragma once
#include <functional>
#include <memory>

#include "text.hpp"
#include "number.hpp"
#include "rows.hpp"
#include "trie.hpp"

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
      for (std::uint32_t left = bits[i]; left; left &= left - 1) use(static_cast<Id>(i * 32 + static_cast<std::size_t>(std::countr_zero(left))));
  }
  std::size_t nbytes() const { return sizeof *this + few.capacity() * 4 + bits.size() * 4; }
};
struct Suffixes {  // tokens by what is left of them behind some point
  Id id;           // never used again
  Trie trie;
};
constexpr std::int32_t kItsOwn = -1;  // so many characters as each token has
struct Inside {  // tokens that stay inside of a lexeme and end in one state
  Id state;
  std::int32_t chars;  // characters that they complete (texts); kItsOwn from where a whole token begins
  bool whole;          // do they end behind a whole character?
  Tokens tokens;
  Bytes lengths;  // with kItsOwn: how many characters some of them have; 255: or more
};
struct Exit {  // tokens that leave a lexeme from one state
  Id state;
  std::int32_t chars;
  std::shared_ptr<const Suffixes> rest;  // what follows: behind the closing quote; from the first byte behind a number
};
struct LexemeMask {
  std::shared_ptr<const Tokens> all;  // every token inside
  std::vector<Inside> inside;         // by (state, characters); only where it was asked for
  std::vector<Inside> by_state;       // the same, whatever the characters
  std::vector<Exit> exits;
  std::vector<Id> ends;     // the states in which they end, unless they are told apart
  std::int64_t rest = -2;   // of a text: characters that are enough from each of those; -1: not known, -2: not yet
  // Of keys only, from where the lexeme is: tokens that leave it and spell a whole further string beyond its value, which are tried alone;
  std::vector<Spelled> odd;
  std::vector<Spelled> escaped, listed;  // those that spell an escape first, and those that have a comma behind the key
  std::deque<std::pair<std::int32_t, Tokens>> upto;  // texts whose length alone matters: tokens that need at most so many characters
  bool used = true;  // since the last look of trim()
  std::size_t nbytes() const;  // without what others may hold, too
};

struct GapMask {  // of white space between lexemes
  Tokens all;  // every token of nothing else
  std::shared_ptr<const Suffixes> rest;  // the others, as far as JSON may go on so, without the white space in front
};
struct Gap {
  struct Begun {
    std::int32_t space;  // bytes of white space
    Spelled rest;        // behind it
  };
  std::vector<Begun> tokens;
  std::int32_t longest = 0;                              // white space
  std::deque<std::pair<std::int32_t, GapMask>> upto;     // by how much of it may be written
  bool used = true;
  std::size_t nbytes() const;
};

struct Split {  // tokens between a key and the value's end: what they mean hangs on the value alone; the others go on behind it
  std::shared_ptr<const Suffixes> within, beyond;
  std::int32_t deepest = 0;  // containers open at once, of those within
  bool used = true;
};

class Vocabulary {
 public:
  // tokens[id]; the empty text: never allowed. ends: end-of-sequence tokens. `special` tokens are never allowed inside JSON.
  Vocabulary(std::vector<std::string> tokens, std::vector<Id> ends, const std::vector<Id>& special);
  Vocabulary(const Vocabulary&) = delete;
  Vocabulary& operator=(const Vocabulary&) = delete;
  std::int32_t size() const { return static_cast<std::int32_t>(tokens_.size()); }
  std::size_t words() const { return (tokens_.size() + 31) / 32; }
  const Suffixes& whole() const { return whole_; }
  const std::vector<Id>& ends() const { return ends_; }
  bool is_end(Id token) const;
  std::string_view bytes(Id token) const { return usable_[static_cast<std::size_t>(token)] ? std::string_view(tokens_[static_cast<std::size_t>(token)]) : std::string_view(); }
  std::string_view end_of(Id token, std::int32_t n) const {  // its last n bytes
    const std::string_view text = tokens_[static_cast<std::size_t>(token)];
    return text.substr(text.size() - static_cast<std::size_t>(n));
  }
  std::string_view raw_bytes(Id token) const { return tokens_[static_cast<std::size_t>(token)]; }
  bool is_allowed_somewhere(Id token) const { return usable_[static_cast<std::size_t>(token)] && !tokens_[static_cast<std::size_t>(token)].empty(); }
  std::vector<Id> greedy(std::string_view data) const;  // longest match; stops where no token fits
  // Of the tokens below a node, read on from there. `detailed` also tells them apart by where they end and how many characters they
  // have: for bounds and budgets.
  LexemeMask& text(Texts& texts, Id state, bool detailed, const Suffixes& among, std::int32_t node);
  LexemeMask& number(Numbers& numbers, Id state);
  // Of the tokens below a node, with at most so many bytes of white space; null: none begins with any.
  const GapMask* gap(const Suffixes& among, std::int32_t node, std::int32_t room);
  // Of the tokens below a node, read on from behind a key (`colon`) or from before a value.
  const Split& split(const Suffixes& among, std::int32_t node, bool colon);
  std::int64_t rest(Texts& texts, LexemeMask& mask);  // characters that are enough behind each token inside; -1: not known
  const Suffixes& quoted() const { return *quoted_; }  // tokens that end a text at once, behind the quote
  Id id() const { return id_; }  // never used again
  const Tokens& at_most(LexemeMask& mask, std::int32_t chars);
  // Sets the bits of the tokens of a group with kItsOwn whose numbers of characters are as asked for.
  void add_lengths(const Inside& group, const std::function<bool(std::int32_t)>& is_wanted, std::uint32_t* row) const;
  std::int32_t chars(Id token) const { return chars_[static_cast<std::size_t>(token)]; }  // that it completes, from where one begins
  const std::vector<Inside>& by_state(LexemeMask& mask);
  // Between fills: where the masks of lexemes hold more than the limit, those go that were not used since the last look.
  void trim();
  void limit(std::size_t nbytes) { most_ = nbytes; }
  MaskRows& rows() { return rows_; }
  std::size_t nbytes() const;

 private:
  using Run = Tokens::Run;
  struct Draft;
  struct Reading;
  void match_plain();
  std::shared_ptr<const Tokens> inside_like(Texts& texts, Id state, Id other);
  void read_plain(Reading& reading, Id state);
  bool read_listed(Reading& reading, Id state, const Trie& trie, std::int32_t node);
  bool read_relaxed(Texts& texts, Id state, const Suffixes& among, std::int32_t node, Draft* draft);
  struct Loop {  // plain tokens of nothing but some classes
    Tokens tokens;
    Bytes lengths;                                        // how many characters some of them have
    std::vector<std::pair<std::uint8_t, std::int32_t>> leaving;  // nodes of plain_ behind such a text, of another class; by class
    bool used = true;
  };
  const Loop& loop(const std::vector<std::uint8_t>& classes);
  void read_split(Reading& reading, std::int32_t node, std::pair<Id, std::int32_t> from, const Bytes* among);
  Run run_of(std::int32_t i) const {  // the tokens that end at a node of plain_
    const std::int32_t many = many_at_[static_cast<std::size_t>(i)];
    return {plain_.begin(i), plain_.end(i), many < 0 ? nullptr : many_[static_cast<std::size_t>(many)].data()};
  }
  bool is_plain(Id token) const { return is_plain_[static_cast<std::size_t>(token)]; }
  struct Place {
    Id suffixes, state;
    std::int32_t node;
    bool operator==(const Place&) const = default;
    std::size_t hash() const { return mix(mix(static_cast<std::size_t>(suffixes), static_cast<std::size_t>(state)), static_cast<std::size_t>(node)); }
  };
  struct PlaceHash {
    std::size_t operator()(const Place& p) const { return p.hash(); }
  };
  using Slot = std::unique_ptr<LexemeMask>;
  struct Masks {
    Blocks<Slot> whole;  // of all tokens, by state; in detail they are asked for too seldom for that
    std::unordered_map<Place, Slot, PlaceHash> others;
  };
  Slot& slot(Masks* masks, const Suffixes& among, Id state, std::int32_t node);
  using Gaps = std::unordered_map<std::pair<Id, Id>, Gap, PairHash>;
  LexemeMask& keep(Slot& slot, Draft draft);
  std::shared_ptr<const Suffixes> suffixes(std::vector<Spelled> list);
  std::size_t count_suffixes();
  std::vector<std::string> tokens_;
  std::vector<char> usable_;
  std::vector<Id> ends_;
  Suffixes whole_;
  Trie plain_, other_;  // the tokens of whole characters that have classes, by class; the others, by bytes
  Trie closing_;        // tokens in which a string may end
  std::shared_ptr<const Suffixes> quoted_;
  std::int32_t before_quote_ = 0;  // the most characters that one has in front of a quote
  std::vector<char> is_plain_;
  static constexpr std::int32_t kShort = 24;
  std::unordered_map<std::vector<std::uint8_t>, Loop, VectorHash> loops_;
  std::vector<std::uint16_t> chars_;
  std::vector<std::vector<std::uint32_t>> short_;  // bits of the tokens of at most i characters
  std::vector<Id> long_;                           // those of more than kShort
  std::vector<std::int32_t> spelled_first_, spelled_;  // of each node of plain_ those of the whole trie that spell it
  static constexpr std::ptrdiff_t kMany = 500;
  std::vector<std::int32_t> many_at_;  // by node of plain_: where that many tokens end, the index of their bits; -1
  std::deque<std::vector<std::uint32_t>> many_;
  Masks texts_, detailed_, numbers_;
  Gaps gaps_;
  std::unordered_map<std::pair<Id, Id>, Split, PairHash> splits_;
  using Content = std::vector<std::uint64_t>;  // tokens, and how many bytes of them are left
  std::unordered_map<Content, std::weak_ptr<const Suffixes>, VectorHash> suffixes_;
  Id made_ = 0;  // suffixes so far
  Id id_;
  std::size_t held_ = 0;  // bytes of masks and suffixes
  std::size_t most_ = 36'000'000;
  MaskRows rows_;
};

}  // namespace guard
