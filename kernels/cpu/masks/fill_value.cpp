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
// that end within the value are memoised for all members with the same goal. The memo also keeps a
// budget in bytes, without the rest of the text, that suffices for all of them. False: the case
// does not apply, and nothing was marked.
bool MaskFiller::fill_value(const Suffixes& among, std::int32_t node, const Config& at,
                            Sink& sink) {
  const Frame& f = *at.top;
  if (!sink.factors || sink.needs_tokens(at) || at.lex != Lex::None || f.kind != Kind::Object ||
      (f.phase != Phase::Colon && f.phase != Phase::Value))
    return false;
  // Compared values depend on the text written before, so members can't share a memo.
  if (f.records || is_compared(f)) return false;
  const Split& split = sink.masks.split(among, node, f.phase == Phase::Colon);
  if (f.depth + split.deepest >= options_.limits.nesting) return false;
  // Members whose values have the same goal share a memo, in whatever object they are.
  const Id alike = levels_.value_goal(f.due);
  if (alike < 0) return false;
  std::int64_t tail = 0;  // bytes of the budget that the rest of the text takes
  if (sink.budget >= 0 && (tail = engine_.distances.tail(f)) < 0) return false;
  const Id order = options_.schema_order ? engine_.orders.of_member(f.order, f.key) : -1;
  const std::shared_ptr<const Suffixes> within = split.within, beyond = split.beyond;
  const std::array key{
      sink.vocabulary.id(), among.id, node, static_cast<Id>(f.phase), at.gap, order, alike};
  auto known = values_.find(std::span<const Id>(key));
  if (known == values_.end()) {
    Within made;
    // Without a budget, since this set contains that of every budget. insert_or_assign() looks the
    // key up again, since the fill may have added entries or cleared the table.
    std::vector<Id> shared{among.id, node, static_cast<Id>(f.phase), at.gap};
    const bool is_scalar = scalar_key(alike, &shared);
    if (is_scalar) made.tokens = sink.masks.scalar(shared);
    if (!made.tokens) {
      // The row is all zeros when it is taken and when it is given back, because only the set bits
      // are cleared. If something throws, it is lost.
      std::vector<std::uint32_t> row = sink.masks.take_clear_row();
      Sink own{sink.masks, sink.vocabulary, row.data(), -1, sink.arena, engine_};
      own.nested = sink.nested;
      go_on(*within, 0, at, own);
      made.tokens =
          part_of_rows({take_tokens(row), sink.vocabulary.words()}, sink.vocabulary.words());
      sink.masks.give_clear_row(std::move(row));
      if (is_scalar) sink.masks.keep_scalar(shared, made.tokens);
    }
    if (values_held_ > kMostValues) values_.clear(), values_held_ = 0;
    values_held_ += sizeof made + made.tokens->nbytes() + key.size() * sizeof(Id);
    known = values_.insert_or_assign({key.begin(), key.end()}, std::move(made)).first;
  }
  const std::int64_t left = sink.budget - tail;
  if (sink.budget < 0 || left >= known->second.enough) {
    if (sink.budget >= 0) sink.suffices(known->second.enough + tail);
    sink.add(known->second.tokens);
  } else {
    const std::int64_t enough = std::exchange(sink.enough, 1);
    const bool counted = std::exchange(sink.counted, false);
    go_on(*within, 0, at, sink);
    // Looked up again, because the fill may have cleared the table.
    if (const auto found = values_.find(std::span<const Id>(key));
        found != values_.end() && !sink.counted && sink.enough != kNoLimit)
      found->second.enough = std::min(left, sink.enough - tail);
    sink.suffices(enough);
    sink.counted = sink.counted || counted;
  }
  if (beyond->trie.size() > 1) go_on(*beyond, 0, at, sink);
  return true;
}

}  // namespace guard
