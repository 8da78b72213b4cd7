#include "automaton/key_order.hpp"

#include <unordered_set>

namespace guard {

const std::vector<Id>& KeyOrder::in_place(Id order) {
  const auto found = in_place_.find(order);
  if (found != in_place_.end()) return found->second;
  // A stack with the first node on top, so that nodes are visited in the order written.
  std::vector<Id> out, todo(orders_[order].ids.rbegin(), orders_[order].ids.rend());
  std::unordered_set<Id> seen;
  // Reports all undefined nodes together, so that the front end is asked once rather than for each.
  goals_.need([&] {
    std::vector<Id> goals;
    for (Id n : todo) goals.push_back(goals_.goal_of(n));
    return goals;
  }());
  while (!todo.empty()) {
    const Id n = todo.back();
    todo.pop_back();
    // `true` and `false` name no keys. Each node is visited once, so reference cycles end.
    if (n < 2 || !seen.insert(n).second) continue;
    out.push_back(n);
    std::vector<Id> inner;
    for (const Atom& a : goals_.atoms(n)) {
      // A `not` says nothing about the order in which a person would write the keys.
      if (applies_in_place(a.op) && a.op != Op::Not)
        inner.insert(inner.end(), a.nodes.begin(), a.nodes.end());
    }
    todo.insert(todo.end(), inner.rbegin(), inner.rend());
  }
  return in_place_.emplace(order, std::move(out)).first->second;
}

const std::vector<Id>& KeyOrder::names(Id order) {
  const auto found = names_.find(order);
  if (found != names_.end()) return found->second;
  std::vector<Id> out;
  std::unordered_map<Id, bool> seen;
  for (const Op op : {Op::Properties, Op::Required})
    for (Id n : in_place(order))
      for (const Atom& a : goals_.atoms(n))
        if (a.op == op)
          for (Id name : a.names)
            if (seen.emplace(name, true).second) out.push_back(name);
  return names_.emplace(order, std::move(out)).first->second;
}

Id KeyOrder::of_member(Id order, Id name) {
  const auto found = members_.find({order, name});
  if (found != members_.end()) return found->second;
  std::vector<Id> out;
  for (Id n : in_place(order)) {
    std::vector<Id> hit, rest;
    for (const Atom& a : goals_.atoms(n)) {
      for (std::size_t i = 0; a.op == Op::Properties && i < a.names.size(); ++i)
        if (a.names[i] == name) hit.push_back(a.nodes[i]);
      for (std::size_t i = 0; a.op == Op::Patterns && i < a.langs.size(); ++i)
        if (constraints_.lexicon.in_lang(a.langs[i], name)) hit.push_back(a.nodes[i]);
      if (a.op == Op::Additional || a.op == Op::UnevaluatedProperties)
        rest.insert(rest.end(), a.nodes.begin(), a.nodes.end());
    }
    // A node's `additionalProperties` applies to keys that its other keywords do not name.
    if (hit.empty()) hit = rest;
    out.insert(out.end(), hit.begin(), hit.end());
  }
  return members_[{order, name}] = orders_.intern({std::move(out)});
}

Id KeyOrder::of_item(Id order, std::int32_t at) {
  // Very distant items are treated alike; the cap keeps the table finite.
  at = std::min(at, 1 << 20);
  const auto found = items_.find({order, at});
  if (found != items_.end()) return found->second;
  std::vector<Id> out;
  for (Id n : in_place(order))
    for (const Atom& a : goals_.atoms(n))
      if ((a.op == Op::Items && a.lo <= at && at < a.hi) || a.op == Op::Contains ||
          a.op == Op::UnevaluatedItems)
        out.push_back(a.nodes[0]);
  return items_[{order, at}] = orders_.intern({std::move(out)});
}

}  // namespace guard
