// LexemeMasks: one isolate's cache of lexeme masks for one vocabulary: which tokens stay inside of
// a lexeme.
//
// The mask of a position factors by lexeme. The tokens that stay inside of the lexeme are cached by
// (vocabulary, lexeme state), and shared by every schema. The tokens that leave it are grouped by
// the state in which they leave, as a trie of their remaining bytes. A schema walks only the
// remaining bytes, where the same factoring applies again: a lexeme that begins inside of a token
// has a mask over the tokens with this beginning. Equal tries are shared. The isolate's lock must
// be held. References to masks stay valid until trim().
#pragma once
#include <functional>
#include <memory>

#include "lexers/json_number.hpp"
#include "lexers/json_string.hpp"
#include "masks/mask_cache.hpp"
#include "masks/vocabulary.hpp"
#include "support/flat_map.hpp"

namespace guard {

constexpr std::int32_t kItsOwn =
    -1;          // marks a group whose tokens differ in their number of characters
struct Inside {  // tokens that stay inside of a lexeme and end in the same state
  Id state;
  std::int32_t chars;  // characters that they complete (texts); kItsOwn: each has its own number
  bool whole;          // whether they end at a complete character
  Tokens tokens;
  Bytes lengths;  // with kItsOwn: the numbers of characters that occur; 255 stands for all from 255
};
struct Exit {  // tokens that leave a lexeme from the same state
  Id state;
  std::int32_t chars;
  std::shared_ptr<const Suffixes> rest;  // their remaining bytes: after the closing quote, or from
                                         // the first byte after a number
};
struct LexemeMask {
  std::shared_ptr<const Tokens> all;  // every token inside
  std::vector<Inside> inside;         // by (state, characters); filled on demand
  std::vector<Inside> by_state;       // the same, grouped by state only
  std::vector<Exit> exits;
  std::vector<Id> ends;      // the states in which they end, where `inside` is not filled
  Id unread = Texts::kDead;  // the state of this mask, if `ends` is still to be read from there
  std::int64_t rest =
      -2;  // of a text: characters that suffice from each of those; -1: unknown, -2: not computed
  // For keys only: tokens that leave the key and contain a whole further string beyond its value,
  // which are read byte by byte from the key on; null: none
  std::shared_ptr<const Suffixes> odd;
  std::vector<Spelled> escaped,
      listed;  // those with an escape first, and those with a comma after the key
  std::vector<std::pair<std::int32_t, std::shared_ptr<const Tokens>>>
      upto;  // for texts of which only the length matters: the tokens of at most so many characters
  std::int32_t exit_bytes = 0;  // before the closing quote, at most, of tokens in `exits`
  struct Long {                 // tokens inside of more than kCut characters
    bool are_few = false;
    std::vector<Id> tokens;  // if they are few
  };
  std::unique_ptr<Long> longer;  // null: not looked for yet
  bool used = true;              // since trim() last came by
  std::size_t nbytes() const;    // without shared parts
};

struct GapMask {                      // of white space between lexemes
  std::shared_ptr<const Tokens> all;  // the tokens of white space only
  std::shared_ptr<const Suffixes>
      rest;  // the other tokens that may continue JSON, without their leading white space
};
struct Gap {
  struct Begun {
    std::int32_t space;  // bytes of white space
    Spelled rest;        // the bytes after it
  };
  std::vector<Begun> tokens;
  std::int32_t longest = 0;                           // white space
  std::deque<std::pair<std::int32_t, GapMask>> upto;  // by the white space that is still allowed
  bool used = true;
  std::size_t nbytes() const;
};

struct Split {  // tokens after a key or before a value: those that end within the value depend on
                // the value alone; the others go beyond it
  std::shared_ptr<const Suffixes> within, beyond;
  std::int32_t deepest = 0;  // the deepest nesting of those within
  bool used = true;
};

class JointStates;
class LexemeMasks {
 public:
  // Takes 1/`part` of the bytes that the vocabulary allows for caches. Keeps a reference to the
  // vocabulary, but does not own it: see is_abandoned().
  LexemeMasks(std::shared_ptr<const Vocabulary> vocabulary, std::size_t part);
  LexemeMasks(const LexemeMasks&) = delete;
  LexemeMasks& operator=(const LexemeMasks&) = delete;
  const Vocabulary& vocabulary() const { return v_; }
  bool is_abandoned() const {
    return held_by_.expired();
  }  // whether the vocabulary was destroyed; then no mask may be asked for
  // The mask over the tokens below a node, whose bytes are read from there. `detailed` also groups
  // them by final state and number of characters, for bounds and budgets.
  LexemeMask& text(Texts& texts, Id state, bool detailed, const Suffixes& among, std::int32_t node);
  // Whether that mask without details was made.
  bool has_text(Id state, const Suffixes& among, std::int32_t node) {
    return slot(&texts_, among, state, node) != nullptr;
  }
  LexemeMask& number(Numbers& numbers, Id state);
  // The mask over the tokens below a node, with at most `room` bytes of white space; null: no token
  // begins with any.
  const GapMask* gap(const Suffixes& among, std::int32_t node, std::int32_t room);
  // The tokens that end within a scalar value. `key` has all that they depend on, in no schema's
  // own ids (fill_value.cpp). Null: not known yet.
  std::shared_ptr<const Tokens> scalar(std::span<const Id> key);
  void keep_scalar(std::span<const Id> key, std::shared_ptr<const Tokens> tokens);
  // The split of the tokens below a node, read from after a key (`colon`) or from before a value.
  const Split& split(const Suffixes& among, std::int32_t node, bool colon);
  std::int64_t rest(
      Texts& texts,
      LexemeMask& mask);  // characters that suffice after each token inside; -1: unknown
  std::shared_ptr<const Tokens> at_most(LexemeMask& mask, std::int32_t chars);
  // Sets the bits of a kItsOwn group's tokens whose number of characters is wanted.
  void add_lengths(const Inside& group, const std::function<bool(std::int32_t)>& is_wanted,
                   std::uint32_t* row) const;
  const std::vector<Inside>& by_state(LexemeMask& mask);
  // To be called between fills: while the masks exceed their limit, frees some of those that were
  // not used for long.
  void trim();
  // A row of zeros, in which a part of a mask is made; to be given back as such.
  std::vector<std::uint32_t> take_clear_row() {
    if (clear_rows_.empty()) return std::vector<std::uint32_t>(words());
    std::vector<std::uint32_t> row = std::move(clear_rows_.back());
    clear_rows_.pop_back();
    return row;
  }
  void give_clear_row(std::vector<std::uint32_t> row) { clear_rows_.push_back(std::move(row)); }
  std::size_t nbytes() const { return held_; }
  RowLog log;  // of the mask that was made last

 private:
  struct Draft;
  struct Reading;
  class PlainReading;
  Id after(Texts& texts, Id state, Id token) const;  // the state after a token's text
  std::shared_ptr<const Tokens> inside_like(Texts& texts, Id state, Id other);
  void read_plain(Reading& reading, Id state);
  bool read_listed(Reading& reading, Id state, const Trie& trie, std::int32_t node);
  bool read_quoted(Reading& reading, Id state, const Trie& trie, std::int32_t node);
  bool read_relaxed(Texts& texts, Id state, const Suffixes& among, std::int32_t node, Draft* draft);
  static constexpr std::int32_t kCut = 4;  // characters that read_cut() tells apart
  bool read_cut(Reading& reading, Id state);
  const LexemeMask::Long& longer(LexemeMask& mask);
  struct Loop {  // plain tokens below a node of plain_, behind which they consist of some classes
                 // only
    Tokens tokens;
    Bytes lengths;  // the numbers of characters that occur
    std::vector<std::pair<std::uint8_t, std::int32_t>>
        leaving;  // (class, node of plain_) where another class follows such a text; sorted by
                  // class
    bool used = true;
    std::size_t nbytes() const {
      return sizeof *this + tokens.nbytes() + leaving.capacity() * sizeof leaving[0];
    }
  };
  struct LoopKey {
    std::int32_t node;
    Bytes classes;
    bool operator==(const LoopKey&) const = default;
    std::size_t hash() const {
      return mix(hash_of(std::span<const std::uint64_t>(classes.words())),
                 static_cast<std::size_t>(node));
    }
  };
  const Loop& loop(std::int32_t node, const Bytes& classes);
  struct Around {             // of a raw text that all but a few ASCII characters lead back to
    Tokens all;               // the tokens without these characters
    std::vector<Id> partial;  // of them, those that end inside of a character
    Trie others;              // the others, from the first such character on
    std::vector<char> plain;  // by node of it, whether only ASCII without these characters follows
    std::vector<Id> more;     // of the others, those of the row that was made last, for the texts
    std::shared_ptr<const Tokens> row;  // with one trigger share it
    bool used = true;
    std::size_t nbytes() const {
      return sizeof *this + all.nbytes() * 2 + (partial.size() + more.size()) * sizeof(Id) +
             others.nbytes() + plain.size();
    }
  };
  Around& around(Texts& texts, Id state, const std::string& leaving, const std::string& apart);
  bool read_around(Reading& reading, Id state);
  Gap read_gap(const Trie& trie, std::int32_t node) const;
  Split read_split(const Trie& trie, std::int32_t node, bool colon);
  struct KeyHash {
    template <class Key>
    std::size_t operator()(const Key& key) const {
      return key.hash();
    }
  };
  struct Place {
    Id suffixes, state;
    std::int32_t node;
    bool operator==(const Place&) const = default;
    std::size_t hash() const {
      return mix(mix(static_cast<std::size_t>(suffixes), static_cast<std::size_t>(state)),
                 static_cast<std::size_t>(node));
    }
  };
  using Slot = std::unique_ptr<LexemeMask>;
  struct Masks {
    Blocks<Slot> whole;  // over all tokens, by state; detailed masks are too rare for this table
    std::unordered_map<Place, Slot, KeyHash> others;
  };
  Slot& slot(Masks* masks, const Suffixes& among, Id state, std::int32_t node);
  using Gaps = std::unordered_map<std::pair<Id, Id>, Gap, PairHash>;
  LexemeMask& keep(Slot& slot, Draft draft);
  std::shared_ptr<const Suffixes> suffixes(std::vector<Spelled> list);
  std::size_t words() const { return v_.words(); }
  const Vocabulary& v_;
  std::weak_ptr<const Vocabulary> held_by_;
  std::size_t part_;
  Masks texts_, detailed_, numbers_;
  Memo<bool> cuts_;  // states for which read_cut() was asked once
  Gaps gaps_;
  std::unordered_map<std::pair<Id, Id>, Split, PairHash> splits_;
  struct Scalar {
    std::shared_ptr<const Tokens> tokens;
    bool used = true;
  };
  ListMap<Scalar> scalars_;
  std::unordered_map<LoopKey, Loop, KeyHash> loops_;
  std::unordered_map<std::string, Around> arounds_;  // by these characters
  using Content =
      std::vector<std::uint64_t>;  // tokens, each with the number of its remaining bytes
  std::unordered_map<Content, std::weak_ptr<const Suffixes>, VectorHash> suffixes_;
  Id made_ = Vocabulary::kOwnSuffixes;  // number of suffixes so far
  std::size_t held_ = 0;                // bytes of all masks and suffixes
  struct Hand {                         // of trim()
    int table = -1;                     // -1: it rests
    std::size_t at = 0;                 // in the table
    std::size_t found = 0, before = 0;  // bytes of what it left; held_ when it set out
  };
  Hand hand_;
  std::vector<std::vector<std::uint32_t>> clear_rows_;  // as many as parts were nested at most
};

}  // namespace guard
