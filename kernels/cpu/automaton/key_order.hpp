// KeyOrder: the order of an object's keys, for Options::schema_order.
//
// It depends only on the path: on the schemas that apply in place, in the order written, whichever
// of them hold. An order is the interned list of those nodes; a member's or an item's order follows
// from its container's. Everything is memoised. The isolate's lock must be held; references stay
// valid as long as the engine.
#pragma once
#include "constraints/constraints.hpp"

namespace guard {

class KeyOrder {
 public:
  explicit KeyOrder(Constraints& constraints)
      : constraints_(constraints), goals_(constraints.goals) {}
  Id of_root(Id node) { return orders_.intern({{node}}); }
  Id of_member(Id order, Id name);
  Id of_item(Id order, std::int32_t at);
  const std::vector<Id>& names(Id order);  // the names of `properties` and `required`, in order
  const std::vector<Id>& in_place(
      Id order);  // the order's nodes, with all nodes that they apply in place. Throws Missing

 private:
  Constraints& constraints_;
  Goals& goals_;
  Interner<IdSet> orders_;  // lists of nodes, in the order written
  std::unordered_map<Id, std::vector<Id>> in_place_, names_;
  PairMemo<Id> members_, items_;
};

}  // namespace guard
