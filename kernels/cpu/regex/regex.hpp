// Lang: regular languages over code points, by derivatives of hash-consed expressions.
//
// A state of the automaton is an expression, the language of the rest of the text (Brzozowski 1964;
// Owens, Reppy, Turon 2009), so complement costs nothing. A state's row, which maps characters to
// states, is computed once, for all characters together, and kept. Patterns are built from right to
// left over their continuation, so a look-ahead is an intersection, and `$` is one with the empty
// text. A look-behind is an expression over the text before it that ends in HERE. Every character
// read before its position takes its derivative (Moseley et al. 2023 call this location-based); at
// its position it is decided. `^` is HERE alone. A quantifier around a look is a Loop, which keeps
// its body and its continuation, and unfolds once per character. A finite set of words is one leaf
// over a sorted table, and a derivative is a sub-range of it, so an enum of 5,000 strings costs as
// much as one string. Costs: a row is O(pieces x children); live() is a depth-first search,
// memoised for every state that it decides. The recursion is bounded (Deeper). Not thread-safe: the
// isolate's lock must be held for all methods. Ids stay valid as long as the Langs. Throws Limit.
// Tested against a slow matcher in tests/kernels and in tests/native/test_regex.cpp.
#pragma once
#include <algorithm>
#include <array>
#include <memory>
#include <optional>
#include <unordered_set>
#include <utility>

#include "regex/unicode.hpp"
#include "regex/word_list.hpp"
#include "support/base.hpp"
#include "support/flat_map.hpp"

namespace guard {

// A text with the positions at which a quotation may begin and end; it never crosses a line feed.
// The beginnings are sorted lazily by the text that follows, like a suffix tree that is built
// top-down as it is walked (Giegerich, Kurtz, Stoye 2003). A range of beginnings, with the number
// of characters that they share, is a state.
struct Quotable {
  std::u32string text;
  std::vector<std::uint8_t> ends;    // by position: may a quotation end there?
  std::vector<std::int32_t> places;  // beginnings, sorted as far as needed so far
  std::vector<std::int32_t> limits;  // by position: the last end in its line
};

// A regex syntax tree, as the front end hands it over.
struct Tree {
  enum Kind : std::uint8_t {
    Set,
    Cat,
    Alt,
    Repeat,
    Look,
    Start,
    Finish,
    And,
    Not,
    Maybe,
    Punycode,
    Quotes,
    Text
  } kind = Cat;  // numbered as Rx is
  bool ahead = true, negative = false;
  std::int32_t lo = 0, hi = 0;
  Ranges ranges;  // Text: its characters, one range each
  std::vector<Tree> kids;
  std::shared_ptr<Quotable> quotable;  // of Quotes
  bool operator==(const Tree&) const = default;
  std::size_t hash() const;
};

static_assert(Tree::Set == static_cast<int>(Rx::Set) &&
              Tree::Repeat == static_cast<int>(Rx::Repeat) &&
              Tree::Finish == static_cast<int>(Rx::End) &&
              Tree::Punycode == static_cast<int>(Rx::Punycode) &&
              Tree::Text == static_cast<int>(Rx::Text));

// Characters from kFrom on that no set of a tree tells apart (char_groups.cpp).
struct CharGroups {
  static constexpr std::uint32_t kFrom = 0x80;  // ASCII characters are read as they are
  std::vector<std::uint32_t> upto;              // piece i ends at upto[i], inclusive
  std::vector<std::int32_t> group;              // by piece
  std::vector<std::uint32_t> first;             // by group: its least character; ascending
  static std::optional<CharGroups> of(const Tree& tree);  // none: the tree's sets have few ranges
  std::uint32_t read(std::uint32_t c) const;              // the first character of c's group
  Ranges read(const Ranges& set) const;
  Tree read(const Tree& tree) const;
  bool operator==(const CharGroups&) const = default;
  std::size_t hash() const;
};

// The lengths of a language's texts: the numbers n such that some text has n characters, as a
// prefix and then a period that repeats for ever.
struct Lengths {        // computed as far as needed so far: see Langs::rest_behind
  std::vector<Id> now;  // the states after rest.size() characters; empty when all lengths are known
  std::vector<std::int64_t> rest;       // by n
  std::int32_t prefix = 0, period = 0;  // rest[n] for n >= prefix repeats so; 0: no text is longer
  std::unordered_map<std::vector<Id>, std::int32_t, VectorHash> seen;
  std::size_t work = 0;
};

// For each n, the bytes of a cheapest text of exactly n characters. Once the costs of all states
// exceed those of `period` characters before by the same `gain`, they do so for ever.
struct Costs {
  std::vector<std::int64_t> least,
      best;  // by n: to any state, and to an accepting one; -1: there is none
  std::vector<std::pair<Id, std::int64_t>> front,
      mark;  // the costs of states after the last n, and after `marked` characters
  std::size_t marked = 0;
  std::int32_t period = 0;  // 0: not known
  std::int64_t gain = 0;
  bool wide = false;  // whether too many states are reachable at once
};

struct LangRow {
  std::vector<std::uint32_t> upto;  // piece i ends at upto[i], inclusive; the last is kMaxChar
  std::vector<Id> next;
  // Adds the next piece, up to this character, or extends the last one if it leads there, too.
  void add(std::uint32_t to, Id state) {
    if (!next.empty() && next.back() == state)
      upto.back() = to;
    else
      upto.push_back(to), next.push_back(state);
  }
  std::size_t piece(std::uint32_t c) const;
  Id at(std::uint32_t c) const { return next[piece(c)]; }
  bool is_writable(std::size_t piece) const;  // whether the piece has more than surrogates, which
                                              // complements contain but JSON text can't
};

class Langs {
 public:
  static constexpr Id kNone = 0, kEps = 1, kAll = 2, kHere = 3;
  Langs();
  Id set(Ranges ranges);
  Id cat(Id a, Id b);
  Id alt(const std::vector<Id>& kids);
  Id both(const std::vector<Id>& kids);
  Id no(Id a);
  Id repeat(Id a, std::int32_t lo, std::int32_t hi);
  Id words(WordList words);                   // exactly these texts
  Id quotes(std::shared_ptr<Quotable> from);  // the parts of a text that may be quoted
  Id search(const Tree& tree);                // every text in which the pattern occurs
  Id whole(const Tree& tree);                 // every text that the pattern matches from end to end
  Id of_length(std::int32_t lo, std::int32_t hi);

  bool accepts(Id r) const { return nodes_[r].nullable; }  // does it contain the empty text?
  bool is_over(Id r) const;  // does it contain the empty text and nothing else?
  bool contains(Id r, std::u32string_view text);
  // The table of a finite set of plain ASCII texts, and the number of characters already read of
  // each; `words` is null where r is not such a set. Valid as long as the Langs.
  struct Listed {
    const WordList* words = nullptr;
    std::size_t begin = 0, end = 0;  // which of them
    std::size_t depth = 0;
  };
  Listed listed(Id r) const;
  // A language of quotations, intersected with another language: the beginnings [lo, hi) with
  // `depth` characters read, and the other language's state.
  struct Quoting {
    Quotable* from = nullptr;
    std::int32_t depth = 0, lo = 0, hi = 0;
    Id others = kAll;
  };
  bool quoting(Id r, Quoting* out);                         // is the language of this form?
  bool has_quotes(Id r) const { return nodes_[r].quotes; }  // does a part of it have this form?
  // Sorts the beginnings by the next character, and calls use(c, lo, hi) for each one that exists.
  template <class F>
  static void split(const Quoting& q, F use);
  // Fewest characters to an end from any of the beginnings; -1: there is none.
  std::int32_t to_an_end(const Quoting& q);
  bool may_end(const Quoting& q) const;  // may a quotation end here?
  bool live(Id r);                       // does it contain a text?
  const LangRow& raw(Id r);              // the derivatives, dead states among them
  Id after(Id r, std::uint32_t c);       // raw(r).at(c), by the parts if there is no row yet
  const LangRow& row(Id r);              // the same with kNone for dead states: asks for each
  bool meets(Id r, std::int64_t lo, std::int64_t hi);  // is there a text of lo to hi characters?
  Id goes_on(Id r);  // a language, of nearly all texts, whose every text is a prefix of one in r,
                     // as a leading `.*` proves; kNone: none is known
  std::int64_t enough(Id r)
      const;  // bytes that suffice after any further text, as a leading `.*` proves; -1: unknown
  std::int64_t some_text(
      Id r) const;  // bytes of one of its texts, from its parts without a search; -1: unknown
  std::int64_t shortest(Id r);  // characters of a shortest text; -1: there is none
  // The same language without upper bounds of kFar and more on repetitions; *most is set to the
  // least of those. The two languages have the same texts of at most *most characters, and so the
  // same prefixes of such texts.
  static constexpr std::int32_t kFar = 32;
  Id relaxed(Id r, std::int32_t* most);
  // A language that includes this one, and tells only the next characters apart: of the texts of at
  // most `chars` characters, it has the same, and it continues the same. All counts of what is far
  // away are one count.
  struct Cut {
    bool counts = false;     // was a number of repetitions cut short?
    std::int32_t left = 40;  // parts that may still be looked at; the others stay as they are
  };
  Id cut(Id r, std::int32_t chars, Cut* how);
  std::int64_t near(
      Id r);  // characters of a shortest text, if a search of few states finds one; -1: unknown
  bool is_endless(
      Id r);  // does every prefix of a text in r have infinitely many continuations in r?
  std::int64_t count(Id r, std::int64_t cap);  // how many texts, at most cap
  bool list(Id r, std::size_t cap,
            std::vector<std::u32string>* out);  // all texts; false when more than cap
  // n texts of lo to hi characters, short ones of cheap characters first; all of them if there are
  // fewer.
  void some(Id r, std::int32_t lo, std::int32_t hi, std::size_t n,
            std::vector<std::u32string>* out);
  // Bytes of a cheapest text of lo to hi characters (UTF-8; a control character costs its escape);
  // -1: there is none.
  std::int64_t cheapest(Id r, std::int64_t lo, std::int64_t hi);
  std::size_t size() const { return nodes_.size(); }
  void seal() { nodes_.seal(), sets_.seal(), tables_.seal(); }

 private:
  enum class Kind : std::uint8_t {
    None,
    Eps,
    Here,
    Set,
    Cat,
    Alt,
    And,
    Not,
    Repeat,
    Words,
    Behind,
    Loop,
    Maybe,
    Coded,
    Quotes,
    Grouped
  };
  struct Node {
    Kind kind = Kind::None;
    Id a = 0, b = 0;  // Cat: two languages; Not, Repeat, Behind, Maybe, Coded: one; Set: ranges;
                      // Words: table, depth; Loop: body, rest;
                      // Quotes: text, depth; Grouped: a language of first characters, groups
    std::int32_t lo = 0, hi = 0;  // Repeat, Loop: times; Words, Quotes: rows of the table
    std::vector<Id> kids;  // Alt, And: sorted; Loop: its body's look-behinds, each where it began
                           // and where it is
    // Derived, and not compared:
    bool nullable = false;  // contains the empty text
    bool possible = false;  // may contain it; differs from nullable under Maybe only
    bool moves = false;     // contains a look-behind, so each character read changes it
    bool here = false;      // is the inside of a look-behind
    bool loops = false;     // holds a Loop: kept as alternatives of conjunctions, so that there are
                            // finitely many
    bool unsure = false;    // holds a Maybe
    bool alive = false;     // the parts prove that it has a text; false: unknown
    bool quotes = false;    // holds a Quotes
    std::int32_t least =
        -1;  // characters of a shortest text, and bytes of a cheapest, by the parts; -1: unknown
    std::int64_t bytes = -1;
    std::int64_t floor = 0;  // a lower bound of any text's bytes
    // Memoised:
    std::int32_t raw = 0, row = 0, moved = 0;  // index into rows_ + 1; 0: not yet
    signed char live = -1;                     // -1: not yet
    Id relaxed = -1;                           // -1: not yet
    std::int32_t most = kInf;                  // see relaxed()
    std::int64_t near = -2;                    // -2: not yet
    bool operator==(const Node& o) const {
      return kind == o.kind && a == o.a && b == o.b && lo == o.lo && hi == o.hi && kids == o.kids;
    }
    std::size_t hash() const {
      std::size_t h = hash_of(kids);
      for (std::int32_t x : {static_cast<std::int32_t>(kind), a, b, lo, hi})
        h = mix(h, static_cast<std::size_t>(x));
      return h;
    }
  };
  struct Body {  // of a Loop: a round that consumes text, and the assertions of a round that
                 // consumes none
    Tree some, none;
    bool may_be_none = false;
    bool operator==(const Body&) const = default;
    std::size_t hash() const { return mix(some.hash(), none.hash()); }
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
    WordList words;
    bool plain = false;  // nothing but ASCII that JSON writes as it is; derived
    bool operator==(const Table& o) const { return words == o.words; }
    std::size_t hash() const { return words.hash(); }
  };
  using Places = std::vector<Id>;  // look-behinds: where each began and where it is now, in pairs
  Id make(Node node);
  Id behind(Id place);
  Id maybe(Id a);
  Id loop(Id body, std::int32_t lo, std::int32_t hi, Id rest, Places places);
  Id round(const Node& node, bool none);  // a Loop's next round, and what follows it
  Id now(Id place);  // the condition of a reached look-behind on the text that follows
  Id reached(Id r);  // the same language here, with the look-behinds at its front decided
  Id each_then(Id a, Id b);
  void join_alike(std::vector<Id>* kids);
  void drop_covered(std::vector<Id>* kids);
  Id distributed(const std::vector<Id>& kids);
  Id build(const Tree& tree, Id then, const Places& places);
  Id searched(const Tree& tree);
  template <class Build>
  Id by_groups(const Tree& tree, Build build);
  Id grouped(Id a, Id groups);
  LangRow grouped_row(Id a, Id groups);
  std::pair<std::int64_t, std::int64_t> left_to_write(Id r) const;
  std::int64_t longest(Id r);  // an upper bound of any text's characters, by the parts
  bool learn_least(Id r);      // fills least_from_ for r and all that it leads to; false: too many
  signed char live_apart(Id r);  // live() of a conjunction with parts of bounded length, as a
                                 // search of few states tells; -1: unknown
  bool is_grouped(Id r) const { return nodes_[r].kind == Kind::Grouped; }
  void look_behinds(const Tree& tree, const Places& places, Places* out);
  Id place_of(const Tree& look);
  std::int64_t cheapest(Id r);                                               // of any length
  std::int64_t cheapest_word(Id r, std::int64_t lo, std::int64_t hi) const;  // of Words
  std::int64_t cheapest_long(Id r, std::int64_t lo, std::int64_t hi);
  bool reckon(Costs* costs);   // computes the costs for one more character
  const LangRow& moved(Id r);  // the same expression, one character later
  template <class F>
  LangRow combine(const std::vector<const LangRow*>& rows, F join);
  Id filtered(Id words, const std::vector<Id>& others);
  std::u32string_view word_of(const Node& node, std::int32_t i) const {  // what is left of it
    return tables_[node.a].words[static_cast<std::size_t>(i)].substr(
        static_cast<std::size_t>(node.b));
  }
  bool is_words(Id r) const { return nodes_[r].kind == Kind::Words; }
  template <class F>
  void each_word(Id r, F use) const {  // of Words
    const Node& node = nodes_[r];
    for (std::int32_t i = node.lo; i < node.hi; ++i) use(word_of(node, i));
  }

  // Calls use(place, end) for each quotation, until it returns otherwise. O(beginnings + characters
  // that the other languages accept).
  enum class Then : std::uint8_t { GoOn, NextPlace, Stop };
  template <class F>
  void each_quoted(const Quoting& q, F use);
  std::int64_t cheapest_quoted(const Quoting& q, std::int64_t lo, std::int64_t hi);
  // Their texts of lo to hi characters, each once, at most `most`.
  std::vector<std::u32string> quoted(const Quoting& q, std::int64_t lo, std::int64_t hi,
                                     std::size_t most);

  Interner<Node> nodes_;
  std::vector<std::shared_ptr<Quotable>> quotables_;
  Interner<RangesValue> sets_;
  Interner<Table> tables_;
  Blocks<LangRow> rows_;
  Interner<Body> bodies_;
  Interner<CharGroups> char_groups_;
  ListMap<LangRow> merged_groups_;  // see grouped_row: pieces, with numbers in place of states
  std::int64_t rest_behind(Id r, std::int64_t n);
  bool is_steady(Id r);                  // has a part of it texts whatever came before?
  std::int64_t steady_text(Id r) const;  // some_text() of such a part; -1: unknown
  bool is_wide(Id r) const;              // any number of nearly any characters: `.*`
  bool knows_length(Id r, std::int64_t lo, std::int64_t hi) const {
    const auto known = a_length_.find(r);
    return known != a_length_.end() && known->second >= lo && known->second <= hi;
  }
  bool meets_on_sight(Id r, std::int64_t lo, std::int64_t hi);
  // Is there a text of lo to hi characters, or with `plain` one of lo characters of one byte each?
  // -1: unknown.
  signed char search_length(Id r, std::int64_t lo, std::int64_t hi, bool plain);
  std::unordered_map<Id, std::int64_t> a_length_;  // of some text
  std::unordered_set<std::pair<Id, Id>, PairHash>
      plain_;  // (language, characters): some text of so many, each of one byte
  std::unordered_map<Id, Lengths> lengths_;
  std::unordered_map<Id, std::int64_t> shortest_;
  std::unordered_map<Id, std::int64_t> longest_;
  // Characters of a shortest text, of each state and all that it leads to; kInf: there is none.
  using Triple = std::array<Id, 3>;
  struct TripleHash {
    std::size_t operator()(const Triple& t) const { return hash_of(std::span<const Id>(t)); }
  };
  // By triples of live_apart(): the length of a text; -1: there is none.
  FlatMap<Triple, std::int64_t, TripleHash> apart_;
  std::unordered_map<Id, std::int64_t> least_from_;
  std::unordered_map<Id, bool> endless_;
  std::unordered_map<Id, std::int64_t> cheapest_;
  std::unordered_map<Id, Costs> costs_;
  // Characters by which searches found a text lately; the next ones try them first.
  std::array<std::uint32_t, 4> likely_{'a', '0', ')', '.'};
  int depth_ = 0;
};

template <class F>
void Langs::split(const Quoting& q, F use) {
  const auto begin = q.from->places.begin() + q.lo, end = q.from->places.begin() + q.hi;
  const auto leads_on = [&](std::int32_t p) {
    return q.from->limits[static_cast<std::size_t>(p)] > p + q.depth;
  };
  const auto next = [&](std::int32_t p) {
    return q.from->text[static_cast<std::size_t>(p) + static_cast<std::size_t>(q.depth)];
  };
  // Stable, so that sorting again does not undo the order of later characters.
  constexpr std::ptrdiff_t kFew = 48;
  auto first = begin;
  if (end - begin <= kFew) {
    first = std::stable_partition(begin, end, [&](std::int32_t p) { return !leads_on(p); });
    std::stable_sort(first, end, [&](std::int32_t a, std::int32_t b) { return next(a) < next(b); });
  } else {
    constexpr std::size_t kPlain = 128;
    std::array<std::int32_t, kPlain + 2>
        at{};  // counts of beginnings that end here, by plain character, and with other characters
    const auto slot = [&](std::int32_t p) {
      return !leads_on(p) ? 0 : std::min<std::size_t>(next(p), kPlain) + 1;
    };
    for (auto i = begin; i != end; ++i) ++at[slot(*i)];
    std::int32_t sum = 0;
    for (std::int32_t& n : at) sum += std::exchange(n, sum);
    first = begin + at[1];
    const auto others = begin + at[kPlain + 1];
    std::vector<std::int32_t> sorted(static_cast<std::size_t>(end - begin));
    for (auto i = begin; i != end; ++i) sorted[static_cast<std::size_t>(at[slot(*i)]++)] = *i;
    std::copy(sorted.begin(), sorted.end(), begin);
    std::stable_sort(others, end,
                     [&](std::int32_t a, std::int32_t b) { return next(a) < next(b); });
  }
  while (first != end) {
    const char32_t c = next(*first);
    auto last = first;
    while (last != end && next(*last) == c) ++last;
    const auto index = [&](auto i) {
      return static_cast<std::int32_t>(i - q.from->places.begin());
    };
    use(c, index(first), index(last));
    first = last;
  }
}

// Throws Limit where n exceeds the part 1/`part` of Limits.states that one search may use.
void bounded(std::size_t n, std::size_t part, const char* what);
struct Deeper {  // a guard that bounds the recursion over an expression; throws Limit
  explicit Deeper(int* depth) : depth_(depth) {
    if (++*depth_ > kMostDepth) too_deep();
  }
  ~Deeper() { --*depth_; }
  Deeper(const Deeper&) = delete;
  [[noreturn]] void too_deep();
  static constexpr int kMostDepth = 3000;  // about 1 MB of stack
  int* depth_;
};

}  // namespace guard
