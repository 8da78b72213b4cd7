// KeyOrder: in which order the keys of an object come, when they come in the schema's order.
//
// It depends on the path alone: on the schemas that apply in place, as they are written, whichever
// of them hold. An order is the list of those nodes, interned; that of a member or an item follows
// from that of its container. Everything is memoised. Guarded by the isolate's lock; references
// stay valid as long as the engine.
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
  const std::vector<Id>& names(Id order);  // of `properties` and `required`, the first one first
  const std::vector<Id>& in_place(
      Id order);  // the nodes, with those that they apply in place. Throws Missing

 private:
  Constraints& constraints_;
  Goals& goals_;
  Interner<IdSet> orders_;  // lists of nodes, in the order written
  std::unordered_map<Id, std::vector<Id>> in_place_, names_;
  PairMap<Id> members_, items_;
};

}  // namespace guard
