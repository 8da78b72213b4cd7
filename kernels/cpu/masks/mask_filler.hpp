// MaskFiller: computes masks: which tokens may come next in a configuration.
//
// A mask is computed by a walk over the token trie, in step with the automaton. It factors by
// lexeme: the tokens that stay inside of one, and the states in which others leave it, are cached
// (lexeme_masks.hpp). Only the remaining bytes are walked, where the same factoring applies again.
// Under a budget, each token must leave a completion that is short enough. fill_mask.cpp has the
// walk and the lexemes; fill_value.cpp members' values, which many members share; fill_keys.cpp
// keys, where names and written keys correct the mask of a class. Each engine has one. The
// isolate's lock must be held. Throws Missing and Limit. Tested against masks made byte by byte in
// tests/kernels/test_factoring.py.
#pragma once
#include <cstring>

#include "automaton/engine.hpp"
#include "masks/lexeme_masks.hpp"
#include "masks/token_distance.hpp"

namespace guard {

class MaskFiller {
 public:
  explicit MaskFiller(Engine& engine)
      : engine_(engine),
        options_(engine.options),
        constraints_(engine.constraints),
        levels_(engine.levels),
        texts_(engine.lexicon().texts),
        distances_(engine) {}
  // Writes the bits of the allowed tokens into `row`. budget < 0: no budget; else only tokens t
  // with 1 + distance(after t) <= budget. `symbols`: see TokenDistances. Without `factors` no cache
  // of tokens is used and each token is read byte by byte, which is the judge in tests. Returns a
  // budget from which the mask is the same as without one; kNoLimit: unknown, or above this budget.
  std::int64_t fill(const Config& at, LexemeMasks& masks, std::int64_t budget, std::uint32_t* row,
                    Scratch& scratch, const Symbols* symbols, bool factors = true);
  // Checks that a filled row, named tokens included, is no silent dead end
  // (docs/explanation/engine.md, "Known faults"). Throws Limit{"distance"}.
  void check_end(const Config& at, const Vocabulary& vocabulary, std::int64_t budget,
                 const std::uint32_t* row, const Symbols* symbols);
  // Tokens to the end; see TokenDistances.
  std::int64_t distance(const Config& at, const Vocabulary& vocabulary, const Symbols* symbols) {
    return distances_(at, vocabulary, symbols);
  }
  // Writes the class of each token inside of the lexeme, by its final state; 0: no class. Returns
  // the number of classes. Allowed tokens of one class lead to the same key of StateKeys. O(tokens
  // inside).
  int classes(const Config& at, LexemeMasks& masks, std::uint8_t* of);
  std::size_t nbytes() const { return values_held_ + distances_.nbytes(); }

 private:
  struct Sink;
  // The position of a walk over a trie, one place for each byte. Nested walks share one stack, to
  // avoid allocations.
  struct Place {
    Config config;
    Children children;
    Id link = -1;  // of its completion, where tokens are counted; -1: not known
  };
  class Path {
   public:
    explicit Path(std::vector<Place>* places) : places_(places), base_(places->size()) {}
    ~Path() {
      places_->erase(places_->begin() + static_cast<std::ptrdiff_t>(base_), places_->end());
    }
    Path(const Path&) = delete;
    void push_back(const Place& place) { places_->push_back(place); }
    void pop_back() { places_->pop_back(); }
    Place& back() { return places_->back(); }
    bool empty() const { return places_->size() == base_; }

   private:
    std::vector<Place>* places_;
    std::size_t base_;
  };
  // Each of these marks the tokens below a node of `among` that may follow the configuration.
  void below(const Suffixes& among, std::int32_t node, const Config& from, Sink& sink);
  void go_on(const Suffixes& among, std::int32_t node, const Config& from, Sink& sink);
  void walk(const Suffixes& among, std::int32_t node, const Config& from, Sink& sink);
  bool fill_lexeme(const Suffixes& among, std::int32_t node, const Config& at,
                   Sink& sink);  // false: there is no lexeme, and nothing was marked
  bool fill_gap(const Suffixes& among, std::int32_t node, const Config& at, Sink& sink);
  void fill_text(const Suffixes& among, std::int32_t node, const Config& at, Sink& sink);
  void fill_raw(const Suffixes& among, std::int32_t node, const Config& at, Sink& sink);
  void fill_number(const Suffixes& among, std::int32_t node, const Config& at, Sink& sink);
  void add_alone(const Config& at, const Spelled& token, Sink& sink);
  bool affords_like(const Config& at, std::string_view bytes, Sink& sink);
  static std::string_view rest_of(const Suffixes& among, std::int32_t node, Id token,
                                  const Vocabulary& vocabulary);
  static Id next_link(const Place& from, std::uint8_t byte, const Sink& sink);
  bool is_near(const Config& at, LexemeMasks& masks);
  bool has_most(const Config& at);
  void add_inside(const Suffixes& among, std::int32_t node, const Config& at, LexemeMask& mask,
                  bool bounded, bool ample, Sink& sink);
  void add_exits(const Config& at, const LexemeMask& mask, Sink& sink);
  bool affords_any(const Suffixes& among, std::int32_t node, const Config& at, bool bounded,
                   Sink& sink);

  // Values of members (fill_value.cpp).
  struct Within {  // tokens that end within a value
    std::shared_ptr<const Tokens> tokens;
    std::int64_t enough = kNoLimit;  // bytes, without the rest of the text, that suffice for all
  };
  bool fill_value(const Suffixes& among, std::int32_t node, const Config& at, Sink& sink);
  bool scalar_key(Id goal, std::vector<Id>* key);

  // Keys (fill_keys.cpp).
  void fill_key(const Suffixes& among, std::int32_t node, const Config& at, Sink& sink);
  template <class F>
  static void each_next(const Frame& f, const KeyRanges& at, F use);
  static Bytes bytes_among(const Frame& f, const KeyRanges& at);
  void overlay(const Suffixes& among, std::int32_t node, const Config& from, bool ample,
               Sink& sink);
  void overlay_known(const Suffixes& among, std::int32_t node, const Config& from, Sink& sink);
  void overlay_all(const Suffixes& among, std::int32_t node, const Config& from, Sink& sink);
  void exit_key(const Suffixes& among, std::int32_t node, const Config& at, const LexemeMask& mask,
                Sink& sink);
  bool leave_key(const Suffixes& among, std::int32_t node, const Config& at, const Suffixes& rest,
                 Config* after, Sink& sink);
  bool affords_keys(const Config& at, Sink& sink);

  Engine& engine_;
  const Options& options_;
  Constraints& constraints_;
  Levels& levels_;
  Texts& texts_;
  TokenDistances distances_;
  std::vector<Place> places_;
  static constexpr std::size_t kMostValues = 500'000;  // bytes
  ListMap<Within> values_;                             // see fill_value
  std::size_t values_held_ = 0;
};

// The target of a mask under construction, and the conditions of its tokens.
struct MaskFiller::Sink {
  LexemeMasks& masks;
  const Vocabulary& vocabulary;
  std::uint32_t* row;
  std::int64_t budget;
  Arena& arena;
  Engine& engine;
  bool factors = true;               // false: each token is read byte by byte
  TokenDistances* tokens = nullptr;  // counts the budget's tokens; null: there is no budget
  const Symbols* symbols = nullptr;
  int nested = 0;  // the present depth of lexemes in what follows other lexemes
  std::int64_t enough =
      1;  // a budget that suffices for all tokens; kNoLimit: this one does not suffice
  bool reckons = false;    // did some distance need a search?
  bool counted = false;    // did some distance need tokens?
  bool is_scarce = false;  // the same, in any part of the mask: tokens are then looked at first
  static constexpr int kMostNested =
      16;  // most lexemes nested in one token; deeper ones are walked byte by byte

  RowLog* log = nullptr;  // of the row; null: nobody needs it

  bool is_blank = true;  // is the row still empty?

  void set(Id token) {
    if (log && !has(token)) log->add(token);
    row[token >> 5] |= 1u << (token & 31);
    is_blank = false;
  }
  void clear(Id token) {
    if (log && has(token)) log->add(token);
    row[token >> 5] &= ~(1u << (token & 31));
  }
  bool has(Id token) const { return row[token >> 5] >> (token & 31) & 1; }
  // Bytes first, which are often known on sight, and tokens only where the bytes don't fit. `link`:
  // of its completion, -1: not known; it is kept there where it is found. Tokens are counted in
  // objects with independent members only, so nothing is reckoned there: which keys were written
  // before does not matter.
  bool affords(const Config& after, Id* link = nullptr) {
    if (budget < 0) return true;
    if (after.finished) return is_enough(0);
    Id at = link ? *link : -1;
    if (at < 0 && is_scarce && counts(after)) at = tokens->known(after);
    if (at < 0 && !needs_tokens(after)) {
      const auto [sight, is_exact] = engine.distances.on_sight(after);
      if (fits(sight)) return is_enough(sight);
      const bool in_bytes = !counts(after);
      const bool is_open = sight < 0 || (in_bytes && !is_exact);
      reckons = reckons || is_open;
      const std::int64_t bytes = is_open ? engine.distance(after, budget - 1) : sight;
      if (in_bytes || fits(bytes)) return is_enough(bytes);
    }
    is_scarce = counted = true;
    if (at < 0) at = tokens->link(after);
    if (link) *link = at;
    return is_enough(tokens->of(at, vocabulary, symbols));
  }
  // Is that known on sight?
  bool affords_bytes(const Config& after) {
    const std::int64_t bytes = needs_tokens(after) ? -1 : engine.distances.on_sight(after).bytes;
    return fits(bytes) && is_enough(bytes);
  }
  bool fits(std::int64_t left) const { return left >= 0 && 1 + left <= budget; }
  bool is_enough(std::int64_t left) {
    const bool yes = fits(left);
    suffices(yes ? 1 + left : kNoLimit);
    return yes;
  }
  bool counts(const Config& at) { return tokens && tokens->counts(at); }
  // Can no bound in bytes be used there?
  bool needs_tokens(const Config& at) { return !vocabulary.spells_bytes() && counts(at); }
  void suffices(std::int64_t bytes) { enough = std::max(enough, bytes); }
  void add(const Id* begin, const Id* end, const Config& after, Id* link = nullptr) {
    if (begin == end || !affords(after, link)) return;
    for (; begin != end; ++begin) set(*begin);
  }
  void add(const Tokens& tokens) {
    join(tokens);
    if (log) log->add(tokens);
  }
  void add(const TokensOwner& tokens) {
    join(*tokens);
    if (log) log->add(tokens);
  }
  void join(const Tokens& tokens) {
    // Copying takes a quarter of the time of joining.
    if (is_blank && tokens.few.empty() && !tokens.bits.empty())
      std::memcpy(row, tokens.bits.data(), tokens.bits.size() * 4);
    else
      tokens.add_to(row);
    is_blank = is_blank && tokens.few.empty() && tokens.bits.empty();
  }
  void add_lengths(const Inside& group, const std::function<bool(std::int32_t)>& is_wanted) {
    masks.add_lengths(group, is_wanted, row);
    is_blank = false;
    if (log) log->is_whole = false;
  }
};

}  // namespace guard
