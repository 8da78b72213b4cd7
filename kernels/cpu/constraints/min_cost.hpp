// MinCosts: the fewest bytes of a value, and of the rest of a value that was begun.
//
// A fixpoint by rounds, as in Inhabitance: a cost in progress counts with its latest bound, until
// no cost falls any more. For arrays with distinct items it is an upper bound that falls with every
// token of some continuation; min_cost.cpp has the argument. -1: there is no value. The isolate's
// lock must be held. Throws Missing and Limit.
#pragma once
#include "constraints/array.hpp"
#include "constraints/written_keys.hpp"

namespace guard {

class ObjectViability;
class Values;

class MinCosts {
 public:
  explicit MinCosts(Constraints& all);
  std::int64_t of(Id goal);  // bytes of a shortest value
  std::int64_t of(Id goal, Type type);
  std::int64_t of_object(Id shape,
                         const Keys& keys);  // from behind a member to the end, the brace included
  // Does such a rest certainly take more than `most` bytes? Much faster than its cost, where it
  // does. Never true where the costs that it is made of may be more than the least.
  bool exceeds(Id shape, const Keys& keys, std::int64_t most);
  std::int64_t of_array(Id row, std::int32_t at);
  std::int64_t key_bytes(Id name);  // with quotes, in the cheapest spelling
  bool may_get_dearer(Id row);  // whether an item's value can raise the cost of the rest: only in
                                // rows with distinct items and more than a minimum length
  std::vector<Id> reserved(Id row,
                           std::int32_t at);  // values that raise the cost of the rest of a row
                                              // with compared items once one of them is written
  bool is_under_way() const { return in_cost_; }

 private:
  std::int64_t try_cost(Id key);
  std::int64_t least_cost(Id key);
  void keep(Id key, std::int64_t bytes);
  std::int64_t cost_of_strings(Id set);
  // With `most` (-1: none) the search ends early: more bytes are any number above it.
  std::int64_t cost_members(Id shape, const Keys& keys, std::int64_t most = -1);
  std::int64_t cost_choices(Id shape, const Keys& keys, std::int64_t most = -1);
  std::optional<std::int64_t> cost_counts(const Row& row, std::int32_t at);
  struct Plan;  // of the items that are counted so far
  std::int64_t cost_row(Id row, std::int32_t at, const Plan& plan);

  Goals& goals_;
  Scalars& scalars_;
  KeySets& key_sets_;
  Objects& objects_;
  ObjectViability& members_;
  Arrays& arrays_;
  UniqueItems& unique_;
  PartialValues& partial_;
  Inhabitance& inhabitance_;
  Values& values_;
  Lexicon& lexicon_;
  const Spelling spelling_;
  const std::int32_t gap_;
  const Limits& limits_;
  int& depth_;
  // The keys are those of Inhabitance.
  Memo<std::int64_t> cost_, name_bytes_;
  StableMemo<std::int64_t> cost_round_;
  AnswerMemo found_;
  bool in_cost_ = false, cheaper_ = false, cost_leans_ = false;
  // Is every cost since this was last set the least? Not where a search settled for the best of
  // many combinations, or an item that must be distinct was charged with a longer value.
  bool are_least_ = true;
  std::unordered_set<Id> above_least_;  // keys of cost_ that may be above it
};

}  // namespace guard
