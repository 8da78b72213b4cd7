#include "constraints/algebra.hpp"
#include "constraints/constraints.hpp"

namespace guard {

Goals::Goals(Constraints& all)
    : lexicon_(all.lexicon), limits_(all.limits), depth_(all.depth), objects_(all.objects) {
  goals_.intern({});     // kTrue
  goals_.intern({{2}});  // kFalse: +1, and node 1 is `false`
  nodes_.resize(2);
  nodes_[0].defined = nodes_[1].defined = true;
  Atom never{.op = Op::Type,
             .number = {},
             .nodes = {},
             .names = {},
             .langs = {},
             .values = {},
             .lists = {}};
  nodes_[1].atoms.push_back(never);
}

void Goals::define(Id node, std::vector<Atom> atoms) {
  // The only place where atoms move. The front end defines nodes between two calls of the engine,
  // when nobody holds a reference into them.
  if (node >= static_cast<Id>(nodes_.size())) nodes_.resize(static_cast<std::size_t>(node) + 1);
  nodes_[static_cast<std::size_t>(node)] = {true, std::move(atoms)};
}

const std::vector<Atom>& Goals::atoms(Id node) {
  if (!is_defined(node)) throw Missing{{node}};
  return nodes_[static_cast<std::size_t>(node)].atoms;
}

void Goals::need(const std::vector<Id>& goals) {
  Missing missing;
  for (Id g : goals)
    for (Id literal : goals_[g].ids)
      if ((literal >> 1) < kInternal && !is_defined(literal >> 1))
        missing.nodes.push_back(literal >> 1);
  if (missing.nodes.empty()) return;
  sort_unique(&missing.nodes);
  throw missing;
}

std::vector<Id> Goals::lacking(Ahead* ahead) const {
  std::vector<std::pair<Id, int>> todo;
  todo.swap(ahead->todo);
  const auto add = [&](Id node, int depth) {
    const auto [known, fresh] = ahead->seen.try_emplace(node, depth);
    // A node is visited again only if more of it is needed than before.
    if (!fresh && known->second >= depth) return;
    known->second = depth;
    todo.push_back({node, depth});
  };
  while (!todo.empty()) {
    const auto [node, depth] = todo.back();
    todo.pop_back();
    if (node >= kInternal) {
      for (Id goal : internals_[node - kInternal].any_of)
        for (Id literal : goals_[goal].ids) add(literal >> 1, depth);
      continue;
    }
    if (!is_defined(node)) {
      // A node that is not defined yet stays in `todo`, from which the next call continues.
      ahead->todo.push_back({node, depth});
      continue;
    }
    const std::vector<Atom>& atoms = nodes_[static_cast<std::size_t>(node)].atoms;
    std::vector<Id> required;
    if (depth == 0)
      for (const Atom& a : atoms)
        if (a.op == Op::Required) required = a.names;
    std::sort(required.begin(), required.end());
    for (const Atom& a : atoms)
      for (std::size_t i = 0; i < a.nodes.size(); ++i) {
        const bool named = a.op == Op::Properties;
        if (applies_in_place(a.op))
          add(a.nodes[i], depth);
        else if (depth > 0 && a.op == Op::Items)
          add(a.nodes[i], depth - 1);
        else if (depth > 0
                     ? named || a.op == Op::Patterns || a.op == Op::Additional
                     : named && std::binary_search(required.begin(), required.end(), a.names[i]))
          add(a.nodes[i], 0);
      }
  }
  std::vector<Id> out;
  for (const auto& [node, _] : ahead->todo) out.push_back(node);
  sort_unique(&out);
  return out;
}

void Goals::blame(Limit* limit, Id node) {
  if (limit->node >= 0 || node < 0) return;
  limit->node = node;
  // A language was too large. The pattern may belong to a schema beside the one that was being
  // evaluated, so it is looked for among those that apply in place.
  if (limit->op != Op::Pattern) return;
  std::vector<Id> todo{node}, seen;
  while (!todo.empty()) {
    const Id n = todo.back();
    todo.pop_back();
    if (!is_defined(n) || std::find(seen.begin(), seen.end(), n) != seen.end()) continue;
    seen.push_back(n);
    for (const Atom& a : nodes_[static_cast<std::size_t>(n)].atoms) {
      if (!a.langs.empty() || a.op == Op::Names) return void(limit->node = n);
      if (applies_in_place(a.op)) todo.insert(todo.end(), a.nodes.rbegin(), a.nodes.rend());
    }
  }
}

// ---- goals --------------------------------------------------------------------------------------

Id Goals::goal(std::vector<Id> literals) {
  std::erase_if(literals, [](Id l) { return l == 0 || l == 3; });  // +true, -false
  sort_unique(&literals);
  // A literal is a node and its sign in one number, so in sorted order it is next to its negation.
  for (std::size_t i = 0; i < literals.size(); ++i)
    if (literals[i] == 1 || literals[i] == 2 || (i > 0 && literals[i] == (literals[i - 1] ^ 1)))
      return kFalse;
  tick();
  if (goals_.size() + objects_.size() > limits_.states)
    throw Limit{"states", literals.empty() ? -1 : literals[0] >> 1, "too many goals and shapes"};
  return goals_.intern({std::move(literals)});
}

Id Goals::conj(Id a, Id b) {
  if (a == b || b == kTrue) return a;
  if (a == kTrue) return b;
  if (a == kFalse || b == kFalse) return kFalse;
  if (a > b) std::swap(a, b);
  const auto found = conj_.find({a, b});
  if (found != conj_.end()) return found->second;
  // Only unites the literals. What the goal means for a type is computed when that type is asked
  // for.
  std::vector<Id> all = goals_[a].ids;
  all.insert(all.end(), goals_[b].ids.begin(), goals_[b].ids.end());
  return conj_[{a, b}] = goal(std::move(all));
}

Id Goals::negate(Id g) {
  const std::vector<Id>& ids = goals_[g].ids;
  if (ids.empty()) return kFalse;
  if (ids.size() == 1) return goal({ids[0] ^ 1});
  const auto found = negated_.find(g);
  if (found != negated_.end()) return found->second;
  // The negation of one node of our own, `any of {g}`.
  return negated_[g] = goal({(kInternal + internals_.intern({0, {}, {g}})) << 1 | 1});
}

Id Goals::any_goal(std::vector<Id> list) {
  sort_unique(&list);
  std::erase(list, kFalse);
  if (list.empty()) return kFalse;
  // kTrue has the least id, so it comes first.
  if (list[0] == kTrue || list.size() == 1) return list[0];
  return goal({(kInternal + internals_.intern({0, {}, std::move(list)})) << 1});
}

const std::vector<Id>& Goals::values_in(Id among) const {
  static const std::vector<Id> none;
  return among == kFalse ? none : internals_[(goals_[among].ids[0] >> 1) - kInternal].values;
}

// ---- what constants and types tell --------------------------------------------------------------

bool Goals::excludes(Id g, std::int32_t bits) const {
  for (const Id literal : goals_[g].ids) {
    const Id node = literal >> 1;
    if (literal & 1 || !is_defined(node)) continue;
    for (const Atom& a : nodes_[static_cast<std::size_t>(node)].atoms)
      if (a.op == Op::Type && !(a.lo & bits)) return true;
  }
  return false;
}

const std::vector<Id>* Goals::listed(Id literal) const {
  const Id node = literal >> 1;
  if (literal & 1 || !is_defined(node)) return nullptr;
  for (const Atom& a : nodes_[static_cast<std::size_t>(node)].atoms)
    if (a.op == Op::Const || a.op == Op::Enum) return &a.values;
  return nullptr;
}

// Whether the literal lists values, none of which is one of these. Dozens of alternatives that
// differ by a tag are all compared with each other.
bool Goals::are_apart(const std::vector<Id>& values, Id literal) const {
  constexpr std::size_t kFew = 16;
  const std::vector<Id>* some = listed(literal);
  return some && some->size() <= kFew && values.size() <= kFew &&
         std::find_first_of(some->begin(), some->end(), values.begin(), values.end()) ==
             some->end();
}

Told Goals::told(Id literal, Id id, int depth) const {
  constexpr int kDeepest = 8;
  const auto both = [](Told a, Told b) {
    return a == Told::No || b == Told::No ? Told::No : a == Told::Yes ? b : a;
  };
  const auto negated = [](Told a) {
    return a == Told::Open ? a : a == Told::No ? Told::Yes : Told::No;
  };
  if (literal & 1) return negated(told(literal ^ 1, id, depth));
  const Id node = literal >> 1;
  if (node < 2) return node == 0 ? Told::Yes : Told::No;
  const Value& v = lexicon_.values[id];
  const auto is_a = [](bool yes) { return yes ? Told::Yes : Told::No; };
  if (node >= kInternal) {
    const Internal& internal = internals_[node - kInternal];
    // Three-valued from here on: Open wherever an answer would take a search.
    if (!internal.values.empty()) return is_a(has(internal.values, id));
    if (internal.types || depth == kDeepest) return Told::Open;
    Told any = Told::No;
    for (Id g : internal.any_of) {
      Told all = Told::Yes;
      for (Id l : goals_[g].ids) all = both(all, told(l, id, depth + 1));
      // `a or b` is `not (not a and not b)`.
      any = negated(both(negated(any), negated(all)));
    }
    return any;
  }
  if (!is_defined(node)) return Told::Open;
  Told out = Told::Yes;
  for (const Atom& a : nodes_[static_cast<std::size_t>(node)].atoms) {
    if (out == Told::No) return out;
    switch (a.op) {
      case Op::Const:
      case Op::Enum:
        out = both(out, is_a(std::find(a.values.begin(), a.values.end(), id) != a.values.end()));
        break;
      case Op::Type:
        if (v.kind == Value::String)
          out = both(out, is_a(a.lo & types::kString));
        else
          out =
              both(out, v.kind == Value::Number && a.lo & types::kNumber ? Told::Yes : Told::Open);
        break;
      case Op::Ref:
      case Op::All:
        if (depth == kDeepest) return Told::Open;
        for (Id n : a.nodes) out = both(out, told(n << 1, id, depth + 1));
        break;
      case Op::Not:
        if (depth == kDeepest) return Told::Open;
        out = both(out, told(a.nodes[0] << 1 | 1, id, depth + 1));
        break;
      case Op::Properties:
      case Op::Patterns:
      case Op::Additional:
      case Op::Required:
      case Op::Size:
      case Op::Names:
      case Op::DependentRequired:
      case Op::DependentSchemas:
      case Op::Items:
      case Op::Count:
      case Op::Contains:
      case Op::Unique:
      case Op::UnevaluatedProperties:
      case Op::UnevaluatedItems:
        if (v.kind == Value::Array || v.kind == Value::Object) out = both(out, Told::Open);
        break;
      default: out = both(out, Told::Open);
    }
  }
  return out;
}

// If one of dozens of tags is excluded, this saves making a language for the remaining ones.
Told Goals::has_listed(Id g) const {
  constexpr std::size_t kMost = 64;
  constexpr std::int32_t kShort = 15;  // digits that a number may have in any spelling
  const std::vector<Id>& literals = goals_[g].ids;
  const std::vector<Id>* values = nullptr;
  for (Id l : literals)
    if (const std::vector<Id>* some = listed(l); some && (!values || some->size() < values->size()))
      values = some;
  if (!values) return Told::Open;
  // The smallest list is searched, since the goal has no values outside it. Yes needs one value
  // that all literals accept; No needs, for each value, a literal that refuses it.
  bool none = values->size() <= kMost;
  for (std::size_t i = 0; i < values->size() && i < kMost; ++i) {
    Told all = Told::Yes;
    for (Id l : literals) {
      const Told one = told(l, (*values)[i], 0);
      all = one == Told::No || all == Told::Yes ? one : all;
      if (all == Told::No) break;
    }
    none = none && all == Told::No;
    const Value& v = lexicon_.values[(*values)[i]];
    const bool is_short = static_cast<std::int32_t>(v.number.digits.size()) <= kShort &&
                          std::abs(v.number.exp) <= kShort;
    if (all == Told::Yes && (v.kind == Value::String || (v.kind == Value::Number && is_short)))
      return Told::Yes;
  }
  return none ? Told::No : Told::Open;
}

}  // namespace guard
