// MinCosts: the least number of bytes of a value, and of the rest of one that was begun.
//
// A fixpoint by rounds, as Inhabitance's: what is in progress counts with what it cost at last,
// until nothing gets cheaper. Of arrays whose items must differ it is a bound that falls with every
// token of some way on; min_cost.cpp has the argument. -1: there is no value. Guarded by the
// isolate's lock. Throws Missing and Limit.
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
                         const Keys& keys);  // to the end, the brace included, from behind a member
  std::int64_t of_array(Id row, std::int32_t at);
  std::int64_t key_bytes(Id name);  // with quotes, in the cheapest spelling
  bool may_get_dearer(
      Id row);  // by what an item meets: a row whose items differ, and more is owed than a minimum
  std::vector<Id> reserved(Id row,
                           std::int32_t at);  // values of which writing one may make the rest of a
                                              // row whose items are compared dearer
  bool is_under_way() const { return in_cost_; }

 private:
  std::int64_t try_cost(Id key);
  std::int64_t least_cost(Id key);
  std::int64_t cost_of_strings(Id set);
  std::int64_t cost_members(Id shape, const Keys& keys);
  std::int64_t cost_choices(Id shape, const Keys& keys);
  std::optional<std::int64_t> cost_counts(const Row& row, std::int32_t at);
  struct Plan;  // of the items that are charged so far
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
  // Keys as Inhabitance's.
  Memo<std::int64_t> cost_, cost_round_, name_bytes_;
  AnswerMemo found_;
  bool in_cost_ = false, cheaper_ = false, cost_leans_ = false;
};

}  // namespace guard
