// Masks: the tokens from behind a key to the end of its value. See mask_filler.hpp.

#include <algorithm>

#include "masks/mask_filler.hpp"

namespace guard {

// Marks the tokens from behind an object's key, or from before the value: those that end within the
// value are remembered for all members whose values are alike. Under a budget it is remembered what
// suffices for all of them, beside what follows the value, and of a few budgets that don't which
// they leave.
bool MaskFiller::fill_value(const Suffixes& among, std::int32_t node, const Config& at,
                            Sink& sink) {
  const Frame& f = *at.top;
  if (!sink.factors || sink.tokens || at.lex != Lex::None || f.kind != Kind::Object ||
      (f.phase != Phase::Colon && f.phase != Phase::Value))
    return false;
  // Compared values hang on what was written before, so no two members are alike.
  if (f.records || is_compared(f)) return false;
  const Split& split = sink.masks.split(among, node, f.phase == Phase::Colon);
  if (f.depth + split.deepest >= options_.limits.nesting) return false;
  // Members whose values meet one goal are alike, whatever object they stand in.
  const Id alike = levels_.value_goal(f.due);
  if (alike < 0) return false;
  std::int64_t slack = 0;
  if (sink.budget >= 0) {
    const std::int64_t tail = engine_.distances.tail(f);
    if (tail < 0) return false;
    slack = sink.budget - tail;
  }
  const Id order = options_.schema_order ? engine_.orders.of_member(f.order, f.key) : -1;
  const std::shared_ptr<const Suffixes> within = split.within, beyond = split.beyond;
  const std::array key{
      sink.vocabulary.id(), among.id, node, static_cast<Id>(f.phase), at.gap, order, alike};
  std::int64_t enough = 0;
  bool reckons = false;
  const auto fill_within = [&](std::int64_t budget) {
    // The row is all zeros on entry, and again on the way out: only the bits that were set are
    // cleared. Where something throws it goes, and the next call makes one.
    std::vector<std::uint32_t> row =
        std::move(clear_row_);  // a call inside of this one makes its own
    row.resize(sink.vocabulary.words());
    Sink own{sink.masks, sink.vocabulary, row.data(), budget, sink.arena, engine_};
    own.nested = sink.nested;
    go_on(*within, 0, at, own);
    if (budget >= 0) sink.suffices(enough = own.enough);
    reckons = own.reckons;
    sink.reckons = sink.reckons || reckons;
    std::vector<Id> tokens;
    for (const Id* t = within->trie.begin(0); t != within->trie.subtree_end(0); ++t) {
      std::uint32_t& word = row[static_cast<std::size_t>(*t >> 5)];
      if (!(word >> (*t & 31) & 1)) continue;
      tokens.push_back(*t);
      word &= ~(1u << (*t & 31));
    }
    clear_row_ = std::move(row);
    return tokens;
  };
  auto known = values_.find(std::span<const Id>(key));
  if (known == values_.end()) {
    Within made;
    // Without a budget first: that is what all budgets are a part of. `known` is looked up again by
    // insert_or_assign, since the fill may have added entries, or thrown all away.
    std::vector<Id> tokens = fill_within(-1);
    made.size = tokens.size();
    made.tokens = Tokens(std::move(tokens), sink.vocabulary.words());
    if (values_held_ > kMostValues) values_.clear(), values_held_ = 0;
    values_held_ += sizeof made + made.tokens.nbytes() + key.size() * sizeof(Id);
    known = values_.insert_or_assign({key.begin(), key.end()}, std::move(made)).first;
  }
  // The reference is good until the next fill_within(), which may clear values_.
  Within* value = &known->second;
  if (sink.budget < 0 || slack >= value->enough) {
    if (sink.budget >= 0) sink.suffices(value->enough + sink.budget - slack);
    sink.add(value->tokens);
  } else if (slack < 1) {  // what is behind the value takes it all
    sink.suffices(kNoLimit);
  } else if (const auto left = std::find_if(value->scarce.begin(), value->scarce.end(),
                                            [slack](const auto& s) { return s.first == slack; });
             left != value->scarce.end()) {
    sink.suffices(kNoLimit);
    sink.add(left->second);
  } else if (slack <= value->lacking &&
             (value->reckons || value->scarce.size() == Within::kScarce)) {
    go_on(*within, 0, at, sink);
  } else {
    std::vector<Id> tokens = fill_within(sink.budget);
    for (Id t : tokens) sink.set(t);
    // Looked up again: the fill may have made room.
    if (const auto found = values_.find(std::span<const Id>(key)); found != values_.end()) {
      value = &found->second;
      value->reckons = value->reckons || reckons;
      if (tokens.size() == value->size) {
        value->enough = std::min(slack, enough - (sink.budget - slack));
      } else {
        value->lacking = std::max(value->lacking, slack);
        if (!reckons && value->scarce.size() < Within::kScarce) {
          value->scarce.push_back({slack, Tokens(std::move(tokens), sink.vocabulary.words())});
          values_held_ += value->scarce.back().second.nbytes();
        }
      }
    }
  }
  if (beyond->trie.size() > 1) go_on(*beyond, 0, at, sink);
  return true;
}

}  // namespace guard
