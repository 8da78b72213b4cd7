// Masks: the tokens from the end of a key to the end of its value. See mask_filler.hpp.

#include <algorithm>

#include "masks/mask_filler.hpp"

namespace guard {

// Appends all that decides which tokens end within a value of the goal, if it has scalars only:
// their languages and numbers, and how they are written. All schemas of the isolate share these
// ids.
bool MaskFiller::scalar_key(Id goal, std::vector<Id>* key) {
  if (constraints_.inhabitance.inhabited(goal, Type::Object) ||
      constraints_.inhabitance.inhabited(goal, Type::Array))
    return false;
  key->push_back(static_cast<Id>(options_.whitespace));
  key->push_back(static_cast<Id>(options_.spelling));
  key->push_back(options_.longest_run);
  key->push_back(constraints_.scalars.literals3(goal));
  for (Id piece : constraints_.scalars.numbers(goal)) key->push_back(piece);
  for (const StringPiece& piece :
       constraints_.scalars.string_set(constraints_.scalars.strings(goal)).pieces)
    for (Id part : {Id{-1}, piece.lang, piece.lo, piece.hi}) key->push_back(part);
  return true;
}

// Marks the tokens below the node, from after an object's key or from before its value. The tokens
// that end within the value are memoised for all members with the same goal. For budgets, the memo
// keeps a budget that suffices for all of these tokens, with the rest of the text subtracted. For
// up to kScarce smaller budgets it keeps the tokens that they allow. False: the case does not
// apply, and nothing was marked.
bool MaskFiller::fill_value(const Suffixes& among, std::int32_t node, const Config& at,
                            Sink& sink) {
  const Frame& f = *at.top;
  if (!sink.factors || sink.tokens || at.lex != Lex::None || f.kind != Kind::Object ||
      (f.phase != Phase::Colon && f.phase != Phase::Value))
    return false;
  // Compared values depend on the text written before, so members can't share a memo.
  if (f.records || is_compared(f)) return false;
  const Split& split = sink.masks.split(among, node, f.phase == Phase::Colon);
  if (f.depth + split.deepest >= options_.limits.nesting) return false;
  // Members whose values have the same goal share a memo, in whatever object they are.
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
    // The row is all zeros when it is taken and when it is given back, because only the set bits
    // are cleared. If something throws, it is lost.
    std::vector<std::uint32_t> row = sink.masks.take_clear_row();
    Sink own{sink.masks, sink.vocabulary, row.data(), budget, sink.arena, engine_};
    own.nested = sink.nested;
    go_on(*within, 0, at, own);
    if (budget >= 0) sink.suffices(enough = own.enough);
    reckons = own.reckons;
    sink.reckons = sink.reckons || reckons;
    std::vector<Id> tokens = take_tokens(row);
    sink.masks.give_clear_row(std::move(row));
    return tokens;
  };
  auto known = values_.find(std::span<const Id>(key));
  if (known == values_.end()) {
    Within made;
    // First without a budget, since this set contains that of every budget. insert_or_assign()
    // looks the key up again, since the fill may have added entries or cleared the table.
    std::vector<Id> shared{among.id, node, static_cast<Id>(f.phase), at.gap};
    const bool is_scalar = scalar_key(alike, &shared);
    if (is_scalar) made.tokens = sink.masks.scalar(shared);
    if (!made.tokens) {
      made.tokens = std::make_shared<const Tokens>(fill_within(-1), sink.vocabulary.words());
      if (is_scalar) sink.masks.keep_scalar(shared, made.tokens);
    }
    if (values_held_ > kMostValues) values_.clear(), values_held_ = 0;
    values_held_ += sizeof made + made.tokens->nbytes() + key.size() * sizeof(Id);
    known = values_.insert_or_assign({key.begin(), key.end()}, std::move(made)).first;
  }
  // The pointer is valid until the next fill_within(), which may clear values_.
  Within* value = &known->second;
  if (sink.budget < 0 || slack >= value->enough) {
    if (sink.budget >= 0) sink.suffices(value->enough + sink.budget - slack);
    sink.add(*value->tokens);
  } else if (slack < 1) {  // the rest of the text uses up the budget
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
    // Looked up again, because the fill may have cleared the table.
    if (const auto found = values_.find(std::span<const Id>(key)); found != values_.end()) {
      value = &found->second;
      value->reckons = value->reckons || reckons;
      if (tokens.size() == value->tokens->size()) {
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
