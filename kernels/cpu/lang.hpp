// Lang: regular languages over code points, by derivatives of hash-consed expressions.
//
// A language is a set of texts, each followed by symbols END; so `$` is an ordinary symbol, a look-ahead is an
// intersection, and complement costs nothing (Brzozowski 1964; Owens, Reppy, Turon 2009). A state of the automaton is an
// expression; its row (which characters lead where) is computed once, all characters together, and kept.
// A finite set of words is one leaf over a sorted table: a derivative is a sub-range, so that an enum of 5,000
// strings costs what one string costs.
// Costs: a row is O(pieces x children); live() is a depth-first search, memoised for every state that it decides.
// Recursion is bounded by the depth of expressions (Limits.depth). Tested against a slow matcher in tests/kernels.
#pragma once
#include "base.hpp"

namespace guard {

constexpr std::uint32_t kMaxChar = 0x10FFFF, kBegin = 0x110000, kEnd = 0x110001;  // the two symbols beyond characters

struct Range {
  std::uint32_t lo, hi;  // closed
  bool operator==(const Range&) const = default;
};
using Ranges = std::vector<Range>;  // sorted, disjoint, not adjacent
Ranges normalised(Ranges ranges);
Ranges intersection(const Ranges& a, const Ranges& b);
const Ranges& writable_chars();  // what JSON text can carry: every code point but surrogates

// A regex syntax tree, as the front end hands it over.
struct Tree {
  enum Kind : std::uint8_t { Set, Cat, Alt, Repeat, Look, Start, Finish, WordBoundary, And, Not } kind = Cat;
  bool ahead = true, negative = false;
  std::int32_t lo = 0, hi = 0;
  Ranges ranges;
  std::vector<Tree> kids;
};

// The numbers n such that some text of n characters is in a language: a prefix, then a period for ever.
struct Lengths {
  std::vector<char> has;  // has[n] for n < prefix + period
  std::int32_t prefix = 0, period = 0;
  std::int32_t least = kInf;  // the smallest n
  bool simple = false;        // exactly the n >= least
  bool meets(std::int64_t lo, std::int64_t hi) const;  // some n in [lo, hi]?
};

struct LangRow {
  std::vector<std::uint32_t> upto;  // piece i ends at upto[i], inclusive; the last is kMaxChar
  std::vector<Id> next;
  Id at(std::uint32_t c) const;
  bool is_writable(std::size_t piece) const;  // not only surrogates, which a complement has and JSON text has not
};

class Langs {
 public:
  static constexpr Id kNone = 0, kEps = 1, kAll = 2;
  Langs();
  Id set(Ranges ranges);
  Id cat(Id a, Id b);
  Id alt(std::vector<Id> kids);
  Id both(std::vector<Id> kids);
  Id no(Id a);
  Id repeat(Id a, std::int32_t lo, std::int32_t hi);
  Id words(std::vector<std::u32string> words);  // exactly these texts
  Id search(const Tree& tree);                  // every text in which the pattern occurs
  Id whole(const Tree& tree);                   // every text that the pattern matches from end to end
  Id of_length(std::int32_t lo, std::int32_t hi);

  bool accepts(Id r);                       // the empty text
  bool contains(Id r, std::u32string_view text);
  bool live(Id r);                          // some text
  const LangRow& row(Id r);                 // derivatives; dead ones are kNone
  const Lengths& lengths(Id r);
  bool meets(Id r, std::int64_t lo, std::int64_t hi);  // some text of lo to hi characters?
  std::int64_t shortest(Id r);                         // characters of a shortest text; -1: there is none
  bool is_endless(Id r);  // does every text of which some continuation is in r have infinitely many of them?
  std::int64_t count(Id r, std::int64_t cap);                         // how many texts, at most cap
  bool list(Id r, std::size_t cap, std::vector<std::u32string>* out);  // all texts; false when more than cap
  // Bytes of a cheapest text of lo to hi characters (UTF-8; a control character costs its escape); -1: there is none.
  std::int64_t cheapest(Id r, std::int64_t lo, std::int64_t hi);
  std::size_t size() const { return nodes_.size(); }

 private:
  enum class Kind : std::uint8_t { None, Eps, Set, Cat, Alt, And, Not, Repeat, Words };
  struct Node {
    Kind kind = Kind::None;
    bool nullable = false;
    Id a = 0, b = 0;              // Cat: two languages; Not, Repeat: one; Set: ranges; Words: table, depth
    std::int32_t lo = 0, hi = 0;  // Repeat: times; Words: rows of the table
    std::vector<Id> kids;         // Alt, And: sorted
    bool operator==(const Node& o) const {
      return kind == o.kind && a == o.a && b == o.b && lo == o.lo && hi == o.hi && kids == o.kids;
    }
    std::size_t hash() const {
      std::size_t h = hash_of(kids);
      for (std::int32_t x : {static_cast<std::int32_t>(kind), a, b, lo, hi}) h = mix(h, static_cast<std::size_t>(x));
      return h;
    }
  };
  struct RangesValue {
    Ranges ranges;
    bool operator==(const RangesValue&) const = default;
    std::size_t hash() const {
      std::size_t h = ranges.size();
      for (const Range& r : ranges) h = mix(mix(h, r.lo), r.hi);
      return h;
    }
  };
  struct Table {
    std::vector<std::u32string> words;  // sorted, distinct
    bool operator==(const Table&) const = default;
    std::size_t hash() const {
      std::size_t h = words.size();
      for (const auto& w : words) h = mix(h, std::hash<std::u32string>{}(w));
      return h;
    }
  };
  Id make(Node node);
  Id derivative(Id r, std::uint32_t symbol);
  const LangRow& raw(Id r);
  LangRow combine(const std::vector<const LangRow*>& rows, bool any);
  Id build(const Tree& tree, Id then);
  Id ends(std::int32_t least);  // so many ENDs or more
  Id begins(Id then);
  Id without_begin(Id r, std::unordered_map<Id, Id>* memo);
  Id filtered(Id words, const std::vector<Id>& others);
  bool is_words(Id r) const { return nodes_[r].kind == Kind::Words; }

  Interner<Node> nodes_;
  Interner<RangesValue> sets_;
  Interner<Table> tables_;
  std::deque<LangRow> rows_;
  std::vector<std::int32_t> raw_of_, row_of_;  // index into rows_ + 1; 0: not yet
  std::vector<signed char> live_, accepts_;    // -1: not yet
  std::unordered_map<Id, Lengths> lengths_;
  std::unordered_map<Id, std::int64_t> shortest_;
  std::unordered_map<Id, bool> endless_;
  std::unordered_map<std::pair<Id, Id>, std::int64_t, PairHash> cheapest_;
  int depth_ = 0;
  bool skip_begins_ = false;
  int repeating_ = 0;
};

std::u32string decode_utf8(std::string_view bytes);  // requires valid UTF-8
std::string encode_utf8(std::u32string_view text);
std::int64_t spelled_bytes(std::uint32_t lo, std::uint32_t hi);  // of the cheapest character in [lo, hi] inside quotes; -1: none

}  // namespace guard
