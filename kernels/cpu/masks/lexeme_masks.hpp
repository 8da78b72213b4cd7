// LexemeMasks: what one isolate remembers of a vocabulary's tokens and lexemes: which tokens stay
// inside of one.
//
// The mask of a position factors by lexeme: the tokens that stay inside of it, remembered for each
// (vocabulary, lexeme state) and shared by every schema; and those that leave it, grouped by the
// state in which they leave and kept as a trie of what is left of them. The schema then only walks
// what is left, where the same holds again: a lexeme that begins inside of a token has its mask
// over the tokens that begin so. Tries of equal content are one. Guarded by the isolate's lock.
#pragma once
#include <functional>
#include <memory>

#include "lexers/json_number.hpp"
#include "lexers/json_string.hpp"
#include "masks/mask_cache.hpp"
#include "masks/vocabulary.hpp"

namespace guard {

constexpr std::int32_t kItsOwn = -1;  // so many characters as each token has
struct Inside {                       // tokens that stay inside of a lexeme and end in one state
  Id state;
  std::int32_t
      chars;   // characters that they complete (texts); kItsOwn from where a whole token begins
  bool whole;  // do they end behind a whole character?
  Tokens tokens;
  Bytes lengths;  // with kItsOwn: how many characters some of them have; 255: or more
};
struct Exit {  // tokens that leave a lexeme from one state
  Id state;
  std::int32_t chars;
  std::shared_ptr<const Suffixes>
      rest;  // what follows: behind the closing quote; from the first byte behind a number
};
struct LexemeMask {
  std::shared_ptr<const Tokens> all;  // every token inside
  std::vector<Inside> inside;         // by (state, characters); only where it was asked for
  std::vector<Inside> by_state;       // the same, whatever the characters
  std::vector<Exit> exits;
  std::vector<Id> ends;  // the states in which they end, unless they are told apart
  std::int64_t rest =
      -2;  // of a text: characters that are enough from each of those; -1: not known, -2: not yet
  // Of keys only, from where the lexeme is: tokens that leave it and spell a whole further string
  // beyond its value, which are tried alone;
  std::vector<Spelled> odd;
  std::vector<Spelled> escaped,
      listed;  // those that spell an escape first, and those that have a comma behind the key
  std::deque<std::pair<std::int32_t, Tokens>>
      upto;  // texts whose length alone matters: tokens that need at most so many characters
  bool used = true;            // since the last look of trim()
  std::size_t nbytes() const;  // without what others may hold, too
};

struct GapMask {  // of white space between lexemes
  Tokens all;     // every token of nothing else
  std::shared_ptr<const Suffixes>
      rest;  // the others, as far as JSON may go on so, without the white space in front
};
struct Gap {
  struct Begun {
    std::int32_t space;  // bytes of white space
    Spelled rest;        // behind it
  };
  std::vector<Begun> tokens;
  std::int32_t longest = 0;                           // white space
  std::deque<std::pair<std::int32_t, GapMask>> upto;  // by how much of it may be written
  bool used = true;
  std::size_t nbytes() const;
};

struct Split {  // tokens between a key and the value's end: what they mean hangs on the value
                // alone; the others go on behind it
  std::shared_ptr<const Suffixes> within, beyond;
  std::int32_t deepest = 0;  // containers open at once, of those within
  bool used = true;
};

class LexemeMasks {
 public:
  // `part`: of what the vocabulary lets tables remember, one in so many.
  LexemeMasks(std::shared_ptr<const Vocabulary> vocabulary, std::size_t part);
  LexemeMasks(const LexemeMasks&) = delete;
  LexemeMasks& operator=(const LexemeMasks&) = delete;
  const Vocabulary& vocabulary() const { return v_; }
  bool is_abandoned() const {
    return held_by_.expired();
  }  // is the vocabulary gone? Then nobody asks any more
  // Of the tokens below a node, read on from there. `detailed` also tells them apart by where they
  // end and how many characters they have: for bounds and budgets.
  LexemeMask& text(Texts& texts, Id state, bool detailed, const Suffixes& among, std::int32_t node);
  LexemeMask& number(Numbers& numbers, Id state);
  // Of the tokens below a node, with at most so many bytes of white space; null: none begins with
  // any.
  const GapMask* gap(const Suffixes& among, std::int32_t node, std::int32_t room);
  // Of the tokens below a node, read on from behind a key (`colon`) or from before a value.
  const Split& split(const Suffixes& among, std::int32_t node, bool colon);
  std::int64_t rest(
      Texts& texts,
      LexemeMask& mask);  // characters that are enough behind each token inside; -1: not known
  const Tokens& at_most(LexemeMask& mask, std::int32_t chars);
  // Sets the bits of the tokens of a group with kItsOwn whose numbers of characters are as asked
  // for.
  void add_lengths(const Inside& group, const std::function<bool(std::int32_t)>& is_wanted,
                   std::uint32_t* row) const;
  const std::vector<Inside>& by_state(LexemeMask& mask);
  // Between fills: where the masks of lexemes hold more than the limit, those go that were not used
  // since the last look.
  void trim();
  MaskRows& rows() { return rows_; }
  std::size_t nbytes() const { return held_ + rows_.nbytes(); }

 private:
  struct Draft;
  struct Reading;
  std::shared_ptr<const Tokens> inside_like(Texts& texts, Id state, Id other);
  void read_plain(Reading& reading, Id state);
  bool read_listed(Reading& reading, Id state, const Trie& trie, std::int32_t node);
  bool read_quoted(Reading& reading, Id state, const Trie& trie, std::int32_t node);
  bool read_relaxed(Texts& texts, Id state, const Suffixes& among, std::int32_t node, Draft* draft);
  struct Loop {  // plain tokens of nothing but some classes
    Tokens tokens;
    Bytes lengths;  // how many characters some of them have
    std::vector<std::pair<std::uint8_t, std::int32_t>>
        leaving;  // nodes of plain_ behind such a text, of another class; by class
    bool used = true;
  };
  const Loop& loop(const std::vector<std::uint8_t>& classes);
  Gap read_gap(const Trie& trie, std::int32_t node) const;
  Split read_split(const Trie& trie, std::int32_t node, bool colon);
  void read_parted(Reading& reading, std::int32_t node, std::pair<Id, std::int32_t> from,
                   const Bytes* among);
  struct Place {
    Id suffixes, state;
    std::int32_t node;
    bool operator==(const Place&) const = default;
    std::size_t hash() const {
      return mix(mix(static_cast<std::size_t>(suffixes), static_cast<std::size_t>(state)),
                 static_cast<std::size_t>(node));
    }
  };
  struct PlaceHash {
    std::size_t operator()(const Place& p) const { return p.hash(); }
  };
  using Slot = std::unique_ptr<LexemeMask>;
  struct Masks {
    Blocks<Slot>
        whole;  // of all tokens, by state; in detail they are asked for too seldom for that
    std::unordered_map<Place, Slot, PlaceHash> others;
  };
  Slot& slot(Masks* masks, const Suffixes& among, Id state, std::int32_t node);
  using Gaps = std::unordered_map<std::pair<Id, Id>, Gap, PairHash>;
  LexemeMask& keep(Slot& slot, Draft draft);
  std::shared_ptr<const Suffixes> suffixes(std::vector<Spelled> list);
  std::size_t count_suffixes();
  std::size_t words() const { return v_.words(); }
  const Vocabulary& v_;
  std::weak_ptr<const Vocabulary> held_by_;
  std::size_t part_;
  Masks texts_, detailed_, numbers_;
  Gaps gaps_;
  std::unordered_map<std::pair<Id, Id>, Split, PairHash> splits_;
  std::unordered_map<std::vector<std::uint8_t>, Loop, VectorHash> loops_;
  using Content = std::vector<std::uint64_t>;  // tokens, and how many bytes of them are left
  std::unordered_map<Content, std::weak_ptr<const Suffixes>, VectorHash> suffixes_;
  Id made_ = Vocabulary::kOwnSuffixes;  // suffixes so far
  std::size_t held_ = 0;                // bytes of masks and suffixes
  MaskRows rows_;
};

}  // namespace guard
