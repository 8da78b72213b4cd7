// Inhabitance: whether a goal has a value.
//
// A least fixpoint by rounds. Goals in progress count as empty. True is final at once. False is
// final only after a round that found nothing new: before that, it may become true in the next
// round, and callers must not memoise it (is_tentative()). A Missing or a Limit ends the round and
// drops its results of false. The isolate's lock must be held.
#pragma once
#include <unordered_set>

#include "constraints/array.hpp"

namespace guard {

class ObjectViability;
class Values;

class Inhabitance {
 public:
  explicit Inhabitance(Constraints& all);
  bool inhabited(Id goal);
  bool inhabited(Id goal, Type type);
  bool empty_on_sight(
      Id goal);  // whether it is certainly empty, without the viability of objects; false: unknown
  int constant_for(Id goal,
                   Type type);  // 1: all values of the type meet it; 0: none do; -1: otherwise

  bool in_round() const { return in_round_; }
  bool is_tentative() const;  // whether a result of false may become true in the next round
  // Shapes and rows that this round has found empty.
  bool is_found_empty(Id shape) const { return round_shapes_.contains(shape); }
  void note_empty(Id shape) { round_shapes_.insert(shape); }
  bool is_found_empty(Id row, std::int32_t at) const { return round_rows_.contains({row, at}); }
  void note_empty(Id row, std::int32_t at) { round_rows_.insert({row, at}); }

 private:
  bool inhabited_on_sight(Id goal) const;
  bool try_key(Id key);
  bool fixpoint(Id key);
  void new_round() { round_.clear(), round_shapes_.clear(), round_rows_.clear(); }

  Goals& goals_;
  Scalars& scalars_;
  Objects& objects_;
  ObjectViability& members_;
  Arrays& arrays_;
  const Values& values_;
  Lexicon& lexicon_;
  const Limits& limits_;
  int& depth_;
  // Keys: a goal (times 8), or a goal for arrays or objects alone (and the type + 1).
  Memo<char> sure_;
  StableMemo<char> round_;
  std::unordered_set<Id> round_shapes_;
  std::unordered_set<std::pair<Id, Id>, PairHash> round_rows_;
  bool found_ = false, in_round_ = false;
  Memo<char> dull_;  // see empty_on_sight
  int sight_ = 0;    // depth of nested objects that it is expanding
};

}  // namespace guard
