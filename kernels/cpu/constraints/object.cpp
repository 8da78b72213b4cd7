#include "constraints/algebra.hpp"
#include "constraints/constraints.hpp"

namespace guard {

namespace {

std::size_t hash_rules(std::size_t h, const std::vector<Rule>& rules) {
  for (const Rule& r : rules)
    h = mix(mix(h, static_cast<std::size_t>(r.keys)), static_cast<std::size_t>(r.goal));
  return mix(h, rules.size());
}
}  // namespace

std::size_t Shape::hash() const {
  std::size_t h = hash_rules(
      hash_rules(mix(static_cast<std::size_t>(lo), static_cast<std::size_t>(hi)), rules), some);
  for (const Clause& c : clauses) h = mix(h, hash_of(c));
  return h;
}

Objects::Objects(Constraints& all)
    : goals_(all.goals),
      scalars_(all.scalars),
      key_sets_(all.key_sets),
      inhabitance_(all.inhabitance),
      lexicon_(all.lexicon),
      limits_(all.limits),
      depth_(all.depth) {
  shapes_.intern({.rules = {}, .some = {}, .lo = 1, .hi = 0, .clauses = {}});  // kNever
  shapes_.intern({});                                                          // kAny
}

Id Objects::every(Id keys, Id goal) {
  if (goal == kTrue) return kAny;
  return shapes_.intern({.rules = {{keys, goal}}, .some = {}, .clauses = {}});
}
Id Objects::some(Id keys, Id goal) {
  if (goal == kFalse) return kNever;
  return shapes_.intern({.rules = {}, .some = {{keys, goal}}, .clauses = {}});
}
Id Objects::sized(std::int32_t lo, std::int32_t hi) {
  if (lo > hi) return kNever;
  return shapes_.intern({.rules = {}, .some = {}, .lo = lo, .hi = hi, .clauses = {}});
}

void Objects::merge_bare(Shape* into, const Shape& from) {
  constexpr std::size_t kFew = 8;
  const auto unite = [this](std::vector<Rule>* a, const std::vector<Rule>& b, bool names_only) {
    // A few rules are inserted into many one by one; otherwise both lists are merged in one pass.
    // Both ways keep `a` sorted and join the goals of one name.
    if (b.size() <= kFew &&
        b.size() < a->size() / kFew) {  // as when each of thousands of shapes adds a rule
      for (const Rule& r : b) {
        const bool joins = !names_only || key_sets_[r.keys].kind == KeySet::One;
        const auto at = std::lower_bound(a->begin(), a->end(), joins ? Rule{r.keys, -1} : r);
        if (at == a->end() || (joins ? at->keys != r.keys : *at != r))
          a->insert(at, r);
        else
          at->goal = goals_.conj(at->goal, r.goal);
      }
      return;
    }
    if (b.empty()) return;
    std::vector<Rule> out;
    out.reserve(a->size() + b.size());
    std::merge(a->begin(), a->end(), b.begin(), b.end(), std::back_inserter(out));
    // In place: out[0, n) is what is kept.
    std::size_t n = 0;
    for (const Rule& r : out) {
      if (n > 0 && out[n - 1] == r) continue;
      if (n > 0 && out[n - 1].keys == r.keys &&
          (!names_only || key_sets_[r.keys].kind == KeySet::One))
        out[n - 1].goal = goals_.conj(out[n - 1].goal, r.goal);
      else
        out[n++] = r;
    }
    out.resize(n);
    *a = std::move(out);
  };
  unite(&into->rules, from.rules, false);
  unite(&into->some, from.some, true);
  into->lo = std::max(into->lo, from.lo);
  into->hi = std::min(into->hi, from.hi);
}

bool Objects::merge(Shape* into, const Shape& from) {
  merge_bare(into, from);
  Distinct distinct(&into->clauses);
  for (const Clause& c : from.clauses)
    if (distinct.is_new(c)) into->clauses.push_back(c);
  return into->lo <= into->hi;
}

Id Objects::conjunction(const std::vector<Id>& list) {
  if (list.size() == 1) return list[0];
  Shape out;
  Distinct distinct(&out.clauses);
  // The conjunction of copies of one shape is that shape, which needs no settling.
  bool only = true;
  Id single = kAny;
  for (Id s : list) {
    tick();
    if (s == kNever) return kNever;
    if (s == kAny) continue;
    if (single == kAny || single == s)
      single = s;
    else
      only = false;
    merge_bare(&out, shapes_[s]);
    if (out.lo > out.hi) return kNever;
    for (const Clause& c : shapes_[s].clauses)
      if (distinct.is_new(c)) out.clauses.push_back(c);
  }
  return only ? single : settle(std::move(out));
}

Id Objects::disjunction(std::vector<Id> list) {
  std::vector<Id> kept;
  std::unordered_set<Id> known;
  for (Id s : list) {
    if (s == kAny) return kAny;
    if (s == kNever) continue;
    for (Id d : is_choice(shapes_[s]) ? Clause(shapes_[s].clauses[0]) : Clause{s})
      if (known.insert(d).second) kept.push_back(d);
  }
  if (kept.empty()) return kNever;
  if (kept.size() == 1) return kept[0];
  // Disjuncts stay a clause. They are never multiplied out with those of other clauses; searches
  // take one clause after another.
  if (kept.size() > limits_.alternatives)
    throw Limit{"alternatives", -1, "a choice between too many shapes of objects"};
  return shapes_.intern({.rules = {}, .some = {}, .clauses = {std::move(kept)}});
}

bool Objects::weaker(Id id, const Shape& b) const {
  const Shape& a = shapes_[id];
  if (a.lo > b.lo || a.hi < b.hi) return false;
  const auto within = [this](const std::vector<Rule>& x, const std::vector<Rule>& y) {
    return std::all_of(x.begin(), x.end(), [&](const Rule& r) {
      for (auto at = std::lower_bound(y.begin(), y.end(), Rule{r.keys, -1});
           at != y.end() && at->keys == r.keys; ++at) {
        const auto &want = goals_.literals(r.goal), &got = goals_.literals(at->goal);
        if (r.goal == at->goal || at->goal == kFalse ||
            std::includes(got.begin(), got.end(), want.begin(), want.end()))
          return true;
      }
      return false;
    });
  };
  return within(a.rules, b.rules) && within(a.some, b.some) &&
         std::all_of(a.clauses.begin(), a.clauses.end(), [&](const Clause& c) {
           return std::find(b.clauses.begin(), b.clauses.end(), c) != b.clauses.end();
         });
}

bool Objects::forbids(const Shape& a, Id name) {
  for (const Rule& r : a.rules)
    if (r.goal == kFalse && key_sets_.holds(r.keys, name)) return true;
  return false;
}

bool Objects::clash(const Shape& a, const Shape& b) {
  if (std::max(a.lo, b.lo) > std::min(a.hi, b.hi)) return true;
  for (const Shape* x : {&a, &b}) {
    const Shape& y = x == &a ? b : a;
    for (const Rule& r : x->some)
      if (key_sets_[r.keys].kind == KeySet::One && forbids(y, key_sets_[r.keys].id)) return true;
  }
  return false;
}

// Unit propagation over the clauses of a shape.
Id Objects::settle(Shape s) {
  tick();
  while (true) {
    if (s.lo > s.hi) return kNever;
    for (const Rule& r : s.some)
      if (r.goal == kFalse ||
          (key_sets_[r.keys].kind == KeySet::One && forbids(s, key_sets_[r.keys].id)))
        return kNever;
    bool changed = false;
    for (std::size_t i = 0; i < s.clauses.size();) {
      Clause alive;
      bool entailed = false;
      Shape flat = std::move(s);  // without copying: the clauses do not matter to clash and weaker
      for (Id d : flat.clauses[i]) {
        if (clash(flat, shapes_[d])) continue;
        if (weaker(d, flat)) {
          entailed = true;
          break;
        }
        alive.push_back(d);
      }
      s = std::move(flat);
      if (!entailed && alive.empty()) return kNever;
      if (!entailed && alive.size() > 1) {
        s.clauses[i++] = std::move(alive);
        continue;
      }
      s.clauses.erase(s.clauses.begin() + static_cast<std::ptrdiff_t>(i));
      if (entailed) continue;
      if (!merge(&s, Shape(shapes_[alive[0]]))) return kNever;
      changed = true;
    }
    if (!changed) break;
  }
  if (goals_.size() + shapes_.size() > limits_.states)
    throw Limit{"states", -1, "too many goals and shapes"};
  return shapes_.intern(std::move(s));
}

Id Objects::goal_at(Id name, const Shape& a, const Shape* b) {
  Id out = kTrue;
  for (const Shape* s : {&a, b}) {
    if (!s) continue;
    for (const Rule& r : s->rules)
      if (key_sets_.holds(r.keys, name)) out = goals_.conj(out, r.goal);
    for (const Rule& r : s->some)
      if (key_sets_[r.keys].kind == KeySet::One && key_sets_[r.keys].id == name)
        out = goals_.conj(out, r.goal);
  }
  return out;
}

// Requests all nodes that a search through the clauses will need at once: a search that ends in
// Missing starts again from the beginning.
void Objects::need_choices(Id id) {
  // Only reads atoms that are defined already, so that nothing is thrown before all missing nodes
  // are listed.
  std::vector<Id> goals, todo{id};
  std::unordered_set<Id> seen{id};
  while (!todo.empty()) {
    const Shape& s = shapes_[todo.back()];
    todo.pop_back();
    for (const auto* rules : {&s.rules, &s.some})
      for (const Rule& r : *rules) goals.push_back(r.goal);
    for (const Clause& c : s.clauses)
      for (Id d : c)
        if (seen.insert(d).second) todo.push_back(d);
  }
  goals_.need(goals);
}

// Unit propagation with the goals of required keys, which refute some disjuncts and entail others.
Id Objects::tidy(Id id) try {
  if (shapes_[id].clauses.empty()) return id;
  const auto found = tidied_.find(id);
  if (found != tidied_.end()) return found->second;
  const Recursion deeper(&depth_, limits_.depth);
  // `needed`: the names that are required whichever disjuncts hold. A disjunct that leaves one of
  // them without a value is refuted.
  const Shape s = shapes_[id];
  std::vector<Id> needed;
  for (const Rule& r : s.some)
    if (key_sets_[r.keys].kind == KeySet::One) needed.push_back(key_sets_[r.keys].id);
  Shape out = s;
  out.clauses.clear();
  bool changed = false;
  for (const Clause& c : s.clauses) {
    Clause alive;
    bool entailed = false;
    for (Id d : c) {
      const Shape disjunct = shapes_[d];
      std::vector<Id> names = needed;
      for (const Rule& r : disjunct.some)
        if (key_sets_[r.keys].kind == KeySet::One) names.push_back(key_sets_[r.keys].id);
      sort_unique(&names);
      bool dead = false;
      for (Id n : names) {
        // With many rules, first checks whether any is about this name: goal_at goes through all of
        // them.
        bool speaks = disjunct.rules.size() < 8;
        for (const Rule& r : disjunct.rules) speaks = speaks || key_sets_.holds(r.keys, n);
        if ((speaks || !disjunct.some.empty()) &&
            inhabitance_.empty_on_sight(goal_at(n, s, &disjunct))) {
          dead = true;
          break;
        }
      }
      if (dead) {
        changed = true;
        continue;
      }
      alive.push_back(d);
      // A disjunct that the rest of the shape implies makes its whole clause true.
      if (!disjunct.clauses.empty() || disjunct.lo > s.lo || disjunct.hi < s.hi) continue;
      const auto entails = [&](const Rule& r, bool existential) {
        const auto& list = existential ? s.some : s.rules;
        if (std::find(list.begin(), list.end(), r) != list.end()) return true;
        const KeySet& k = key_sets_[r.keys];
        if (k.kind != KeySet::One || std::find(needed.begin(), needed.end(), k.id) == needed.end())
          return false;
        return r.goal == kTrue || inhabitance_.empty_on_sight(goals_.conj(goal_at(k.id, s, nullptr),
                                                                          goals_.negate(r.goal)));
      };
      if (std::all_of(disjunct.rules.begin(), disjunct.rules.end(),
                      [&](const Rule& r) { return entails(r, false); }) &&
          std::all_of(disjunct.some.begin(), disjunct.some.end(),
                      [&](const Rule& r) { return entails(r, true); })) {
        entailed = true;
        break;
      }
    }
    if (entailed) {
      changed = true;
      continue;
    }
    if (alive.empty()) return tidied_[id] = kNever;
    out.clauses.push_back(std::move(alive));
  }
  if (!changed) return tidied_[id] = id;
  // With fewer disjuncts, more may be refuted, so this is repeated. It ends, since the disjuncts
  // get fewer each time.
  const Id next = settle(std::move(out));
  return tidied_[id] = next == kNever ? kNever : tidy(next);
} catch (Missing&) {
  // Requests all missing nodes at once: need_choices throws if there are any.
  need_choices(id);
  throw;
}

// The algebra of shapes: see algebra.hpp.
struct Objects::ShapeAlgebra {
  Objects* g;
  Id top() const { return kAny; }
  Id bottom() const { return kNever; }
  Id all(const std::vector<Id>& list) const { return g->conjunction(list); }
  Id any(std::vector<Id> list) const { return g->disjunction(std::move(list)); }
  Id exactly_one(const std::vector<Id>& yes, const std::vector<Id>& no, bool sign) const {
    return one_shape_of(*this, yes, no, sign, g->rivals(yes));
  }

  Id join(std::vector<Id> list, bool sign) const { return sign ? all(list) : any(std::move(list)); }
  Id each(Id keys, Id node,
          bool sign) const {  // every member with such a key meets the node; or some does not
    const Id goal = g->goals_.goal({node << 1 | !sign});
    return sign ? g->every(keys, goal) : g->some(keys, goal);
  }
  Id present(Id name, bool sign) const {
    return sign ? g->some(g->key_sets_.key_name(name), kTrue)
                : g->every(g->key_sets_.key_name(name), kFalse);
  }

  Id values(const std::vector<Id>& list, bool sign) const {
    std::vector<Id> out;
    for (Id v : list) out.push_back(value(v, sign));
    return join(std::move(out), !sign);
  }
  Id value(Id v, bool sign) const {
    const Value val = g->lexicon_.values[v];
    if (val.kind != Value::Object) return sign ? kNever : kAny;
    std::vector<Id> names, parts;
    for (const auto& [k, _] : val.members) names.push_back(k);
    const Id others = g->key_sets_.key_rest(names, {});
    parts.push_back(sign ? g->every(others, kFalse) : g->some(others, kTrue));
    for (const auto& [k, x] : val.members) {
      // Equal to a value: exactly these members. Not equal: a member is missing or differs, or
      // there is another one.
      const Id goal = g->goals_.goal({g->goals_.constant(x) << 1 | !sign});
      parts.push_back(present(k, sign));
      parts.push_back(sign ? g->every(g->key_sets_.key_name(k), goal)
                           : g->some(g->key_sets_.key_name(k), goal));
    }
    return join(std::move(parts), sign);
  }

  Id leaf(const Atom& a, Id node, bool sign) const {
    std::vector<Id> parts;
    switch (a.op) {
      case Op::Type: return ((a.lo & types::kObject) != 0) == sign ? kAny : kNever;
      case Op::Properties: {
        if (!sign) {
          for (std::size_t i = 0; i < a.names.size(); ++i)
            parts.push_back(each(g->key_sets_.key_name(a.names[i]), a.nodes[i], false));
          return any(std::move(parts));
        }
        Shape s;  // one shape for all: there may be thousands
        s.rules.reserve(a.names.size());
        for (std::size_t i = 0; i < a.names.size(); ++i)
          if (const Id goal = g->goals_.goal_of(a.nodes[i]); goal != kTrue)
            s.rules.push_back({g->key_sets_.key_name(a.names[i]), goal});
        sort_unique(&s.rules);
        return g->shapes_.intern(std::move(s));
      }
      case Op::Patterns:
        for (std::size_t i = 0; i < a.langs.size(); ++i)
          parts.push_back(each(g->key_sets_.key_lang(a.langs[i]), a.nodes[i], sign));
        return join(std::move(parts), sign);
      case Op::Additional: return each(g->key_sets_.key_rest(a.names, a.langs), a.nodes[0], sign);
      case Op::Required: {
        if (!sign) {
          for (Id n : a.names) parts.push_back(present(n, false));
          return any(std::move(parts));
        }
        Shape s;
        s.some.reserve(a.names.size());
        for (Id n : a.names) s.some.push_back({g->key_sets_.key_name(n), kTrue});
        sort_unique(&s.some);
        return g->shapes_.intern(std::move(s));
      }
      case Op::Size:
        if (sign) return g->sized(a.lo, a.hi);
        return any({a.lo > 0 ? g->sized(0, a.lo - 1) : kNever,
                    a.hi < kInf ? g->sized(a.hi + 1, kInf) : kNever});
      case Op::Names: {
        const Id keys = g->key_sets_.key_lang(
            g->lexicon_.langs.no(g->scalars_.keys_lang(g->goals_.goal_of(a.nodes[0]))));
        return sign ? g->every(keys, kFalse) : g->some(keys, kTrue);
      }
      case Op::DependentRequired:
        for (std::size_t i = 0; i < a.names.size(); ++i) {
          std::vector<Id> needs;
          for (Id q : a.lists[i]) needs.push_back(present(q, sign));
          parts.push_back(join({present(a.names[i], !sign), join(std::move(needs), sign)}, !sign));
        }
        return join(std::move(parts), sign);
      case Op::DependentSchemas:
        for (std::size_t i = 0; i < a.names.size(); ++i) {
          const Id with = all({present(a.names[i], true), g->of_node(a.nodes[i] << 1 | !sign)});
          parts.push_back(sign ? any({present(a.names[i], false), with}) : with);
        }
        return join(std::move(parts), sign);
      case Op::UnevaluatedProperties: return g->unevaluated_properties(a, node, sign);
      default: return sign ? kAny : kNever;
    }
  }
};

Id Objects::of_node(Id literal) { return goals_.walk(ShapeAlgebra{this}, &object_memo_, literal); }

Id Objects::of(Id g) {
  if (goals_.excludes(g, types::kObject)) return kNever;
  const auto found = goal_object_.find(g);
  if (found != goal_object_.end()) return found->second;
  std::vector<Id> parts{kAny};
  for (Id l : std::vector<Id>(goals_.literals(g))) parts.push_back(of_node(l));
  const Id out = tidy(conjunction(parts));
  return goal_object_[g] = out;
}

Id Objects::rules_goal(const Shape& s, const KeyClass& cls) {
  Id out = kTrue;
  kernel_clock.tick();  // of a class of keys that hundreds of rules bind
  cls.each(s.rules, [&](const Rule& r) { out = goals_.conj(out, r.goal); });
  return out;
}

Id Objects::base_of(const Shape& s, const KeyClass& cls) {
  const Rule* some = named_some(s, cls);
  return some ? goals_.conj(rules_goal(s, cls), some->goal) : rules_goal(s, cls);
}

const std::vector<KeyClass>& Objects::classes(std::span<const Id> list) {
  // Considers all shapes below, disjuncts included, so that the classes are right whichever
  // disjuncts hold.
  const auto found = classes_.find(list);
  if (found != classes_.end()) return found->second;
  std::vector<Id> sets, todo(list.begin(), list.end());
  std::unordered_set<Id> seen;
  while (!todo.empty()) {
    const Id s = todo.back();
    todo.pop_back();
    if (!seen.insert(s).second) continue;
    tick();
    for (const Rule& r : shapes_[s].rules) sets.push_back(r.keys);
    for (const Rule& r : shapes_[s].some) sets.push_back(r.keys);
    for (const Clause& c : shapes_[s].clauses) todo.insert(todo.end(), c.begin(), c.end());
  }
  return classes_
      .emplace(std::vector<Id>(list.begin(), list.end()), key_sets_.partition(std::move(sets)))
      .first->second;
}

bool Objects::counts(Id id) {
  const auto found = counts_.find(id);
  if (found != counts_.end()) return found->second;
  const Shape s = shapes_[id];
  bool out = s.lo > 0 || s.hi < kInf;
  for (const Clause& c : s.clauses)
    // The recursion is as deep as clauses are nested.
    for (Id d : c) out = out || counts(d);
  counts_[id] = out;
  return out;
}

bool Objects::is_plain(Id shape) {
  const auto [at, fresh] = plain_.try_emplace(shape, 0);
  if (fresh) {
    const Shape& s = shapes_[shape];
    at->second = s.clauses.empty() && s.hi == kInf &&
                 std::all_of(s.some.begin(), s.some.end(), [this](const Rule& r) {
                   return key_sets_[r.keys].kind == KeySet::One;
                 });
  }
  return at->second;
}

bool Objects::speaks_of(Id id, const KeyClass& cls) const {
  const Shape& s = shapes_[id];
  const auto in_class = [&](const Rule& r) { return cls.in(r.keys); };
  return std::any_of(s.rules.begin(), s.rules.end(), in_class) ||
         std::any_of(s.some.begin(), s.some.end(), in_class) ||
         std::any_of(s.clauses.begin(), s.clauses.end(), [&](const Clause& c) {
           return std::any_of(c.begin(), c.end(), [&](Id d) { return speaks_of(d, cls); });
         });
}

const std::vector<Id>& Objects::must(Id id) {
  if (const auto found = must_.find(id); found != must_.end()) return found->second;
  const Recursion deeper(&depth_, limits_.depth);
  tick();
  const Shape& s = shapes_[id];
  std::vector<Id> out, common, both;
  for (const Rule& r : s.some)
    if (key_sets_[r.keys].kind == KeySet::One) out.push_back(key_sets_[r.keys].id);
  for (const Clause& c : s.clauses) {
    // A clause requires the names that all its disjuncts require.
    bool first = true;
    for (Id d : c) {
      if (d == kNever) continue;
      const std::vector<Id>& names = must(d);
      both.clear();
      if (!first)
        std::set_intersection(common.begin(), common.end(), names.begin(), names.end(),
                              std::back_inserter(both));
      common = first ? names : both;
      first = false;
      if (common.empty()) break;
    }
    if (!first) out.insert(out.end(), common.begin(), common.end());
  }
  sort_unique(&out);
  return must_.emplace(id, std::move(out)).first->second;
}

// Uses an index by name: to compare thousands of alternatives with all their names would take
// millions of checks.
Objects::Narrowed Objects::narrowed(Id id, Id name) {
  constexpr std::size_t kWide = 16, kFew = 8;
  const Shape& s = shapes_[id];
  if (std::none_of(s.clauses.begin(), s.clauses.end(),
                   [](const Clause& c) { return c.size() > kWide; }))
    return {id, false};
  auto found = by_name_.find(id);
  if (found == by_name_.end()) {
    // By name, once for each shape: which disjuncts mention it, and which allow any name.
    std::vector<ByName> list;
    for (const Clause& c : s.clauses) {
      ByName& out = list.emplace_back();
      if (c.size() <= kWide) continue;
      for (Id d : c) {
        tick();
        bool is_open = true;
        const auto speaks = [&](Id n) {
          std::vector<Id>& all = out.named[n];
          if (all.empty() || all.back() != d) all.push_back(d);
        };
        for (const auto* rules : {&shapes_[d].rules, &shapes_[d].some})
          for (const Rule& r : *rules) {
            const KeySet& k = key_sets_[r.keys];
            if (k.kind == KeySet::One) speaks(k.id);
            if (k.kind != KeySet::Rest || r.goal != kFalse || rules == &shapes_[d].some) continue;
            for (Id n : k.names) speaks(n);
            // The disjunct forbids every name that it does not list, so a member of another name
            // refutes it.
            if (k.langs.empty()) is_open = false;
          }
        if (!is_open) continue;
        if (++out.size <= kFew) out.open.push_back(d);
      }
    }
    found = by_name_.emplace(id, std::move(list)).first;
  }
  // Keeps a few disjuncts of each wide clause. `exact` stays true while none is left out that such
  // a member could meet.
  Shape few = s;
  bool exact = true;
  for (std::size_t i = 0; i < few.clauses.size(); ++i) {
    Clause& c = few.clauses[i];
    if (c.size() <= kWide) continue;
    const ByName& by_name = found->second[i];
    Clause kept = by_name.open;
    exact = exact && by_name.size <= kFew;
    if (const auto named = by_name.named.find(name); named != by_name.named.end()) {
      exact = exact && named->second.size() <= kFew;
      kept.insert(kept.end(), named->second.begin(),
                  named->second.begin() +
                      static_cast<std::ptrdiff_t>(std::min(kFew, named->second.size())));
      sort_unique(&kept);
    }
    if (kept.empty()) return {kNever, exact};
    c = std::move(kept);
  }
  return {settle(std::move(few)), exact};
}

}  // namespace guard
