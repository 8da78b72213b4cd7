// UniqueItems: arrays whose items are compared with each other: uniqueItems, and its negation.
//
// A row has the values written so far. Under `unique`, an item must meet its goal and differ from
// these values, which is again a goal. Whether all remaining items can differ is decided before the
// next value is known. A goal with at least as many values as there are positions always has one
// left (Hall's theorem); goals with fewer values are matched. Only values that a matching needs can
// be a bad choice now: each is tried, and the item's goal excludes those that fail. Under `repeat`,
// some item must equal an earlier one; if the next item is to be that earlier one, a later item
// must be able to equal it. The isolate's lock must be held. Throws Missing and Limit.
#pragma once
#include "constraints/array.hpp"

namespace guard {

class Values;

class UniqueItems {
 public:
  explicit UniqueItems(Constraints& all);
  bool compares(Id row);  // whether the row, or a clause of it, has the values written
  bool repeats(Id row);   // whether the row, or a clause of it, requires a repeat
  Id item_goal(
      Id row);  // the goal of the next item's value; under `unique` it excludes the values written
  Id with_value(Id row, Id value);         // the row after this value
  std::vector<Id> single_values(Id goal);  // all values if they are few, else one of them
  // Is there certainly a value for one more item, and for all that the row owes? Decided without
  // the values written, by how many they are. `at` is the number of items written, `spare` a number
  // of further values that must be there, all of them of the goal `within`.
  bool has_room(Id row, std::int32_t at, std::size_t spare = 0, Id within = kTrue);
  // The goal, within `base`, under which an item leaves the row viable. `at` includes this item.
  Id viable_after(Id row, std::int32_t at, Id base);
  struct Witness;  // a plan for the rest of a row
  // Whether the row can be completed. `picks` are the goals of items that the search has placed,
  // each with fewer than `room` values.
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
