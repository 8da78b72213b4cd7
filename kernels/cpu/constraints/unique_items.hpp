// UniqueItems: arrays whose items are compared: uniqueItems, and its negation.
//
// A row knows the values written. Under `unique` an item must meet its goal and be none of them,
// which is a goal like any other (not a constant). Whether the items that still must come can all
// differ is judged before the value of the item at hand is known: goals that have a value for every
// position are never short of one, whatever the others take (Hall); the rest, small finite sets,
// are matched. The values that a matching needs are the only ones whose choice now could end badly:
// each is tried, and where it does the item's goal excludes it. Under `repeat` an item that equals
// an earlier one is owed: where the item at hand must be its partner, its goal is what a later item
// can meet. Guarded by the isolate's lock. Throws Missing and Limit.
#pragma once
#include "constraints/array.hpp"

namespace guard {

class Values;

class UniqueItems {
 public:
  explicit UniqueItems(Constraints& all);
  bool compares(Id row);  // does it know the values written, be it in a clause?
  bool repeats(Id row);   // is a repeat owed, be it in a clause?
  Id item_goal(
      Id row);  // what the value at hand must meet; under `unique` it is none of those written
  Id with_value(Id row, Id value);         // once this value has been written, too
  std::vector<Id> single_values(Id goal);  // all, when they are few; else one
  // The goal under which an item leaves the row viable, of all that meet `base`; `at` counts the
  // item.
  Id viable_after(Id row, std::int32_t at, Id base);
  struct Witness;  // a way to the end of a row
  // Can the row be met from here? `picks` are goals with few values, of items that the search has
  // written already; a goal with `room` values is not among them.
  bool plan_row(Id row, std::int32_t at, const std::vector<Id>& picks, std::int32_t room,
                Witness* found);
  bool match(const std::vector<Id>& picks, std::int32_t room, Id unique, Witness* found);
  Id with_pick(Id row, Id goal);
  Id compared_to(Id row, Id unique);

 private:
  Goals& goals_;
  Arrays& arrays_;
  PartialValues& partial_;
  Inhabitance& inhabitance_;
  Values& values_;
  const Limits& limits_;
  int& depth_;
  Memo<char> compares_;
};

}  // namespace guard
