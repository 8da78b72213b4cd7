// Objects and Arrays: unevaluatedProperties and unevaluatedItems, as clauses.
//
// Applicators in place are walked for what they evaluate, together with the conditions under which
// that counts: the branches that must hold. What nothing evaluates must meet S. What is evaluated
// under conditions must meet S unless one of the conditions holds. Classes of keys (spans of
// positions) with the same conditions share one clause, so the result is linear in the annotations.
// The negation is the dual. A `contains` evaluates the items that meet its goal C: for them S
// becomes S or C.
#include <set>

#include "constraints/algebra.hpp"
#include "constraints/constraints.hpp"

namespace guard {

namespace {
constexpr std::size_t kMaxContains =
    8;  // conditional `contains`: every subset of them is a disjunct

struct Condition {  // a shape or a row, and its negation
  Id holds, fails;
  auto operator<=>(const Condition&) const = default;
};
using Conditions = std::vector<Condition>;  // a conjunction

struct Applied {  // an atom that applies in place, when all conditions hold
  const Atom* atom;
  Id node;
  Conditions when;
};

// Parts that may be evaluated, grouped by the ways in which they may be.
template <class Part>
struct Groups {
  std::vector<std::pair<std::vector<Conditions>, std::vector<Part>>> list;
  // `ways` are the conditions of all that evaluates the part. A part that one of them always
  // evaluates is not added, since it need not meet anything.
  void add(std::vector<Conditions> ways, Part part) {
    if (std::any_of(ways.begin(), ways.end(), [](const Conditions& when) { return when.empty(); }))
      return;
    sort_unique(&ways);
    for (auto& [known, parts] : list)
      if (known == ways) return parts.push_back(part);
    list.push_back({std::move(ways), {part}});
  }
};
}  // namespace

namespace {
// `of` returns the shape or row of a node, by sign. `present` returns the condition that a name is
// there, false if it never is.
struct InPlace {
  Goals& goals;
  int& depth;
  std::int32_t deepest;
  std::function<Id(Id, bool)> of;
  std::function<bool(Id, Conditions*)> present;
  std::vector<Applied> out = {};
  std::set<std::pair<Id, Conditions>> walked =
      {};  // a node that is met again under the same conditions evaluates nothing new

  void walk(Id node, const Conditions& under) {
    // A node that was walked under no conditions is always evaluated; then conditions add nothing.
    if (node < 2 || walked.contains({node, {}}) || !walked.emplace(node, under).second) return;
    kernel_clock.tick();
    const Recursion deeper(&depth, deepest);
    for (const Atom& a : goals.atoms(node)) {
      const auto branch = [&](Id child, Id decides, bool sign) {
        Conditions inner = under;
        inner.push_back({of(decides, sign), of(decides, !sign)});
        sort_unique(&inner);
        walk(child, inner);
      };
      switch (a.op) {
        case Op::Ref:
        case Op::All:
          for (Id n : a.nodes) walk(n, under);
          break;
        case Op::Any:
        case Op::One:
          for (Id n : a.nodes) branch(n, n, true);
          break;
        case Op::If:
          branch(a.nodes[0], a.nodes[0], true);
          branch(a.nodes[1], a.nodes[0], true);
          branch(a.nodes[2], a.nodes[0], false);
          break;
        case Op::DependentSchemas:
          for (std::size_t i = 0; i < a.nodes.size(); ++i) {
            Conditions inner = under;
            if (!present(a.names[i], &inner)) continue;
            sort_unique(&inner);
            walk(a.nodes[i], inner);
          }
          break;
        default: out.push_back({&a, node, under});
      }
    }
  }
};
}  // namespace

Id Objects::unevaluated_properties(const Atom& atom, Id node, bool sign) {
  InPlace in_place{goals_, depth_, limits_.depth,
                   [this](Id n, bool s) { return of_node(n << 1 | !s); },
                   [this](Id name, Conditions* when) {
                     when->push_back({some(key_sets_.key_name(name), kTrue),
                                      every(key_sets_.key_name(name), kFalse)});
                     return true;
                   }};
  in_place.walk(node, {});
  // By key set: the conditions under which its keys count as evaluated. The pointers point into
  // in_place.out, which no longer grows.
  std::unordered_map<Id, std::vector<const Conditions*>> evaluated;  // by key set
  std::vector<Id> sets{key_sets_.key_lang(Langs::kAll)}, names;
  for (const Applied& x : in_place.out) {
    const auto add = [&](Id keys) { evaluated[keys].push_back(&x.when), sets.push_back(keys); };
    if (x.atom->op == Op::Properties)
      for (Id n : x.atom->names) add(key_sets_.key_name(n));
    if (x.atom->op == Op::Patterns)
      for (Id l : x.atom->langs) add(key_sets_.key_lang(l));
    if (x.atom->op == Op::Additional) add(key_sets_.key_rest(x.atom->names, x.atom->langs));
    if (x.atom->op == Op::UnevaluatedProperties && x.node != node)
      add(key_sets_.key_lang(Langs::kAll));
  }
  const std::vector<KeyClass> classes = key_sets_.partition(std::move(sets));
  for (const KeyClass& cls : classes)
    if (cls.name >= 0) names.push_back(cls.name);
  Groups<Id> groups;
  for (const KeyClass& cls : classes) {
    std::vector<Conditions> ways;
    const auto add = [&](Id keys) {
      if (const auto at = evaluated.find(keys); at != evaluated.end())
        for (const Conditions* when : at->second) ways.push_back(*when);
    };
    if (cls.own >= 0) add(cls.own);
    for (Id keys : *cls.wide)
      if (!has(cls.except, keys)) add(keys);
    groups.add(std::move(ways),
               cls.name >= 0 ? key_sets_.key_name(cls.name) : key_sets_.key_class(cls, names));
  }
  const auto all = [&](const std::vector<Id>& list) {
    return sign ? conjunction(list) : disjunction(list);
  };
  const auto any = [&](const std::vector<Id>& list) {
    return sign ? disjunction(list) : conjunction(list);
  };
  const Id goal = goals_.goal({atom.nodes[0] << 1 | !sign});
  std::vector<Id> out;
  // For each group of keys: either they meet the goal, or one of the ways in which they are
  // evaluated holds. In the negation, `all` and `any` change places.
  for (const auto& [ways, key_sets] : groups.list) {
    std::vector<Id> members, choices;
    for (Id keys : key_sets) members.push_back(sign ? every(keys, goal) : some(keys, goal));
    choices.push_back(all(members));
    for (const Conditions& when : ways) {
      std::vector<Id> parts;
      for (const Condition& c : when) parts.push_back(sign ? c.holds : c.fails);
      choices.push_back(all(parts));
    }
    out.push_back(any(choices));
  }
  return all(out);
}

Id Arrays::unevaluated_items(const Atom& atom, Id node, bool sign) {
  InPlace in_place{goals_, depth_, limits_.depth,
                   [this](Id n, bool s) { return of_node(n << 1 | !s); },
                   [](Id, Conditions*) { return false; }};
  in_place.walk(node, {});
  struct Evaluated {
    std::int32_t from, to;
    const Conditions* when;
  };
  std::vector<Evaluated> evaluated;
  std::vector<std::pair<Id, const Conditions*>> contains;
  std::vector<Id> meets{
      goals_.goal_of(atom.nodes[0])};  // each of these goals makes an item evaluated
  // Between two edges all items are evaluated under the same conditions.
  std::vector<std::int32_t> edges{0, kInf};
  for (const Applied& x : in_place.out) {
    if (x.atom->op == Op::Contains && atom.lo && x.when.empty())
      meets.push_back(goals_.goal_of(x.atom->nodes[0]));
    if (x.atom->op == Op::Contains && atom.lo && !x.when.empty())
      contains.push_back({goals_.goal_of(x.atom->nodes[0]), &x.when});
    if (x.atom->op == Op::Items) evaluated.push_back({x.atom->lo, x.atom->hi, &x.when});
    if (x.atom->op == Op::UnevaluatedItems && x.node != node)
      evaluated.push_back({0, kInf, &x.when});
  }
  if (contains.size() > kMaxContains)
    throw Limit{"contains", node,
                "unevaluatedItems beside more than " + std::to_string(kMaxContains) +
                    " conditional contains"};
  for (const Evaluated& e : evaluated) edges.push_back(e.from), edges.push_back(e.to);
  sort_unique(&edges);
  Groups<std::pair<std::int32_t, std::int32_t>> groups;
  for (std::size_t i = 0; i + 1 < edges.size(); ++i) {
    std::vector<Conditions> ways;
    for (const Evaluated& e : evaluated)
      if (e.from <= edges[i] && e.to >= edges[i + 1]) ways.push_back(*e.when);
    groups.add(std::move(ways), {edges[i], edges[i + 1]});
  }
  const auto all = [&](const std::vector<Id>& list) {
    return sign ? conjunction(list) : disjunction(list);
  };
  const auto any = [&](const std::vector<Id>& list) {
    return sign ? disjunction(list) : conjunction(list);
  };
  std::vector<Id> out;
  for (const auto& [ways, spans] : groups.list) {
    std::vector<Id> choices;
    const auto holds = [&](const Conditions& when, std::vector<Id>* parts) {
      for (const Condition& c : when) parts->push_back(sign ? c.holds : c.fails);
    };
    // For each subset of the conditional `contains`: if its conditions hold, items that meet those
    // goals are evaluated too. kMaxContains limits the number of subsets.
    for (std::size_t subset = 0; subset < std::size_t{1} << contains.size(); ++subset) {
      std::vector<Id> goals = meets, parts;
      for (std::size_t i = 0; i < contains.size(); ++i) {
        if (!(subset >> i & 1)) continue;
        goals.push_back(contains[i].first);
        holds(*contains[i].second, &parts);
      }
      const Id goal = goals_.any_goal(std::move(goals));
      for (const auto& [from, to] : spans)
        parts.push_back(span(from, to, sign ? goal : goals_.negate(goal), sign));
      choices.push_back(all(parts));
    }
    for (const Conditions& when : ways) {
      std::vector<Id> parts;
      holds(when, &parts);
      choices.push_back(all(parts));
    }
    out.push_back(any(choices));
  }
  return all(out);
}

}  // namespace guard
