// Goals, of objects: shapes, classes of keys, cases and residuals, viability. See constraint.hpp.
#include "constraints/algebra.hpp"

namespace guard {

namespace {
constexpr std::size_t kMaxClasses = 500;    // of keys in one shape
constexpr std::size_t kMaxListed = 4096;    // keys of a finite class, listed as names
constexpr std::size_t kMaxFew = 64, kMaxTags = 3;  // values of a tag, and tags, by which alternatives are told apart
constexpr std::size_t kMaxOthers = 4;                // alternatives that may have any tag
constexpr std::size_t kMaxEasy = 10000;  // clauses for which the disjunct that asks least is tried first
constexpr int kMaxSight = 3;        // objects inside of objects that unit propagation expands to refute a disjunct

std::size_t hash_rules(std::size_t h, const std::vector<Rule>& rules) {
  for (const Rule& r : rules) h = mix(mix(h, static_cast<std::size_t>(r.keys)), static_cast<std::size_t>(r.goal));
  return mix(h, rules.size());
}
}  // namespace

std::size_t Shape::hash() const {
  std::size_t h = hash_rules(hash_rules(mix(static_cast<std::size_t>(lo), static_cast<std::size_t>(hi)), rules), some);
  for (const Clause& c : clauses) h = mix(h, hash_of(c));
  return h;
}

// ---- objects: shapes ------------------------------------------------------------------------------------------------

bool Goals::holds(Id keys, Id name) {
  const KeySet& k = key_sets_[keys];
  if (k.kind == KeySet::One) return k.id == name;
  if (k.kind == KeySet::Lang) return lexicon_.in_lang(k.id, name);
  const auto found = holds_.find({keys, name});
  if (found != holds_.end()) return found->second;
  bool yes = !has(k.names, name);
  for (Id lang : k.langs) yes = yes && !lexicon_.in_lang(lang, name);
  return holds_[{keys, name}] = yes;
}

Id Goals::key_rest(std::vector<Id> names, std::vector<Id> langs) {
  if (names.empty() && langs.empty()) return key_lang(Langs::kAll);
  sort_unique(&names);
  sort_unique(&langs);
  return key_sets_.intern({KeySet::Rest, -1, std::move(names), std::move(langs)});
}

Id Goals::rule_shape(Id keys, Id goal) {
  if (goal == kTrue) return kAny;
  return shapes_.intern({.rules = {{keys, goal}}, .some = {}, .clauses = {}});
}
Id Goals::some_shape(Id keys, Id goal) {
  if (goal == kFalse) return kNever;
  return shapes_.intern({.rules = {}, .some = {{keys, goal}}, .clauses = {}});
}
Id Goals::size_shape(std::int32_t lo, std::int32_t hi) {
  if (lo > hi) return kNever;
  return shapes_.intern({.rules = {}, .some = {}, .lo = lo, .hi = hi, .clauses = {}});
}

void Goals::merge_bare(Shape* into, const Shape& from) {
  constexpr std::size_t kFew = 8;
  const auto unite = [this](std::vector<Rule>* a, const std::vector<Rule>& b, bool names_only) {
    if (b.size() <= kFew && b.size() < a->size() / kFew) {  // of thousands of shapes each adds a rule
      for (const Rule& r : b) {
        const bool joins = !names_only || key_sets_[r.keys].kind == KeySet::One;
        const auto at = std::lower_bound(a->begin(), a->end(), joins ? Rule{r.keys, -1} : r);
        if (at == a->end() || (joins ? at->keys != r.keys : *at != r))
          a->insert(at, r);
        else
          at->goal = conj(at->goal, r.goal);
      }
      return;
    }
    if (b.empty()) return;
    std::vector<Rule> out;
    out.reserve(a->size() + b.size());
    std::merge(a->begin(), a->end(), b.begin(), b.end(), std::back_inserter(out));
    std::size_t n = 0;
    for (const Rule& r : out) {
      if (n > 0 && out[n - 1] == r) continue;
      if (n > 0 && out[n - 1].keys == r.keys && (!names_only || key_sets_[r.keys].kind == KeySet::One))
        out[n - 1].goal = conj(out[n - 1].goal, r.goal);
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

bool Goals::merge_into(Shape* into, const Shape& from) {
  merge_bare(into, from);
  Distinct distinct(&into->clauses);
  for (const Clause& c : from.clauses)
    if (distinct.is_new(c)) into->clauses.push_back(c);
  return into->lo <= into->hi;
}

Id Goals::shapes_and(const std::vector<Id>& list) {
  if (list.size() == 1) return list[0];
  Shape out;
  Distinct distinct(&out.clauses);
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

Id Goals::shapes_or(std::vector<Id> list) {
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
  if (kept.size() > limits_.alternatives) throw Limit{"alternatives", -1, "a choice between too many shapes of objects"};
  return shapes_.intern({.rules = {}, .some = {}, .clauses = {std::move(kept)}});
}

bool Goals::weaker(Id id, const Shape& b) const {
  const Shape& a = shapes_[id];
  if (a.lo > b.lo || a.hi < b.hi) return false;
  const auto within = [this](const std::vector<Rule>& x, const std::vector<Rule>& y) {
    return std::all_of(x.begin(), x.end(), [&](const Rule& r) {
      for (auto at = std::lower_bound(y.begin(), y.end(), Rule{r.keys, -1}); at != y.end() && at->keys == r.keys; ++at) {
        const auto &want = goals_[r.goal].ids, &got = goals_[at->goal].ids;
        if (r.goal == at->goal || at->goal == kFalse || std::includes(got.begin(), got.end(), want.begin(), want.end())) return true;
      }
      return false;
    });
  };
  return within(a.rules, b.rules) && within(a.some, b.some) && std::all_of(a.clauses.begin(), a.clauses.end(), [&](const Clause& c) {
           return std::find(b.clauses.begin(), b.clauses.end(), c) != b.clauses.end();
         });
}

bool Goals::forbids(const Shape& a, Id name) {
  for (const Rule& r : a.rules)
    if (r.goal == kFalse && holds(r.keys, name)) return true;
  return false;
}

bool Goals::clash(const Shape& a, const Shape& b) {
  if (std::max(a.lo, b.lo) > std::min(a.hi, b.hi)) return true;
  for (const Shape* x : {&a, &b}) {
    const Shape& y = x == &a ? b : a;
    for (const Rule& r : x->some)
      if (key_sets_[r.keys].kind == KeySet::One && forbids(y, key_sets_[r.keys].id)) return true;
  }
  return false;
}

// Unit propagation over the clauses of a shape.
Id Goals::settle(Shape s) {
  tick();
  while (true) {
    if (s.lo > s.hi) return kNever;
    for (const Rule& r : s.some)
      if (r.goal == kFalse || (key_sets_[r.keys].kind == KeySet::One && forbids(s, key_sets_[r.keys].id))) return kNever;
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
      if (!merge_into(&s, Shape(shapes_[alive[0]]))) return kNever;
      changed = true;
    }
    if (!changed) break;
  }
  if (goals_.size() + shapes_.size() > limits_.states) throw Limit{"states", -1, "too many goals and shapes"};
  return shapes_.intern(std::move(s));
}

Goals::Told Goals::told(Id literal, Id id, int depth) const {
  constexpr int kDeepest = 8;
  const auto both = [](Told a, Told b) { return a == Told::No || b == Told::No ? Told::No : a == Told::Yes ? b : a; };
  const auto negated = [](Told a) { return a == Told::Open ? a : a == Told::No ? Told::Yes : Told::No; };
  if (literal & 1) return negated(told(literal ^ 1, id, depth));
  const Id node = literal >> 1;
  if (node < 2) return node == 0 ? Told::Yes : Told::No;
  const Value& v = lexicon_.values[id];
  const auto is_a = [](bool yes) { return yes ? Told::Yes : Told::No; };
  if (node >= kInternal) {
    const Internal& internal = internals_[node - kInternal];
    if (!internal.values.empty()) return is_a(has(internal.values, id));
    if (internal.types || depth == kDeepest) return Told::Open;
    Told any = Told::No;
    for (Id g : internal.any_of) {
      Told all = Told::Yes;
      for (Id l : goals_[g].ids) all = both(all, told(l, id, depth + 1));
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
      case Op::Enum: out = both(out, is_a(std::find(a.values.begin(), a.values.end(), id) != a.values.end())); break;
      case Op::Type:
        if (v.kind == Value::String)
          out = both(out, is_a(a.lo & types::kString));
        else
          out = both(out, v.kind == Value::Number && a.lo & types::kNumber ? Told::Yes : Told::Open);
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
      case Op::Properties: case Op::Patterns: case Op::Additional: case Op::Required: case Op::Size: case Op::Names: case Op::DependentRequired:
      case Op::DependentSchemas: case Op::Items: case Op::Count: case Op::Contains: case Op::Unique: case Op::UnevaluatedProperties: case Op::UnevaluatedItems:
        if (v.kind == Value::Array || v.kind == Value::Object) out = both(out, Told::Open);
        break;
      default: out = both(out, Told::Open);
    }
  }
  return out;
}

// Where one of dozens of tags is excluded from all of them no language is made for what is left.
Goals::Told Goals::has_listed(Id g) const {
  constexpr std::size_t kMost = 64;
  constexpr std::int32_t kShort = 15;  // digits, that any spelling of numbers has
  const std::vector<Id>& literals = goals_[g].ids;
  const std::vector<Id>* values = nullptr;
  for (Id l : literals)
    if (const std::vector<Id>* some = listed(l); some && (!values || some->size() < values->size())) values = some;
  if (!values) return Told::Open;
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
    const bool is_short = static_cast<std::int32_t>(v.number.digits.size()) <= kShort && std::abs(v.number.exp) <= kShort;
    if (all == Told::Yes && (v.kind == Value::String || (v.kind == Value::Number && is_short))) return Told::Yes;
  }
  return none ? Told::No : Told::Open;
}

bool Goals::empty_on_sight(Id g) {
  if (g == kTrue) return false;
  if (g == kFalse) return true;
  const auto found = dull_.find(g);
  if (found != dull_.end()) return found->second;
  if (const Told known = has_listed(g); known != Told::Open) return (dull_[g] = known == Told::No);
  if (literals3(g) || !string_sets_[strings(g)].pieces.empty() || !numbers(g).empty()) {
    dull_[g] = 0;
    return false;
  }
  if (sight_ == kMaxSight) return false;  // discriminators stand near the top; deeper, viability decides
  const Recursion farther(&sight_, kMaxSight);
  dull_[g] = 0;  // in progress: assume nothing
  try {
    const bool empty = array(g) == kNever && object(g) == kNever;
    dull_[g] = empty;
    return empty;
  } catch (...) {
    dull_.erase(g);
    throw;
  }
}

Id Goals::goal_at(Id name, const Shape& a, const Shape* b) {
  Id out = kTrue;
  for (const Shape* s : {&a, b}) {
    if (!s) continue;
    for (const Rule& r : s->rules)
      if (holds(r.keys, name)) out = conj(out, r.goal);
    for (const Rule& r : s->some)
      if (key_sets_[r.keys].kind == KeySet::One && key_sets_[r.keys].id == name) out = conj(out, r.goal);
  }
  return out;
}

// What a search through the clauses will look into, all at once: one that ends in Missing is made again from its beginning.
void Goals::need_choices(Id id) {
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
  need(goals);
}

// Unit propagation with the goals of the keys that must come: they refute disjuncts and entail others.
Id Goals::tidy(Id id) try {
  if (shapes_[id].clauses.empty()) return id;
  const auto found = tidied_.find(id);
  if (found != tidied_.end()) return found->second;
  const Recursion deeper(&depth_, limits_.depth);
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
        bool speaks = disjunct.rules.size() < 8;
        for (const Rule& r : disjunct.rules) speaks = speaks || holds(r.keys, n);
        if ((speaks || !disjunct.some.empty()) && empty_on_sight(goal_at(n, s, &disjunct))) {
          dead = true;
          break;
        }
      }
      if (dead) {
        changed = true;
        continue;
      }
      alive.push_back(d);
      if (!disjunct.clauses.empty() || disjunct.lo > s.lo || disjunct.hi < s.hi) continue;
      const auto entails = [&](const Rule& r, bool existential) {
        const auto& list = existential ? s.some : s.rules;
        if (std::find(list.begin(), list.end(), r) != list.end()) return true;
        const KeySet& k = key_sets_[r.keys];
        if (k.kind != KeySet::One || std::find(needed.begin(), needed.end(), k.id) == needed.end()) return false;
        return r.goal == kTrue || empty_on_sight(conj(goal_at(k.id, s, nullptr), negate(r.goal)));
      };
      if (std::all_of(disjunct.rules.begin(), disjunct.rules.end(), [&](const Rule& r) { return entails(r, false); }) &&
          std::all_of(disjunct.some.begin(), disjunct.some.end(), [&](const Rule& r) { return entails(r, true); })) {
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
  const Id next = settle(std::move(out));
  return tidied_[id] = next == kNever ? kNever : tidy(next);
} catch (Missing&) {
  need_choices(id);
  throw;
}

// The algebra of shapes: see algebra.hpp.
struct Goals::ShapeAlgebra {
  Goals* g;
  Id top() const { return kAny; }
  Id bottom() const { return kNever; }
  Id all(const std::vector<Id>& list) const { return g->shapes_and(list); }
  Id any(std::vector<Id> list) const { return g->shapes_or(std::move(list)); }
  Id exactly_one(const std::vector<Id>& yes, const std::vector<Id>& no, bool sign) const { return one_shape_of(*this, yes, no, sign, g->rivals(yes)); }

  Id join(std::vector<Id> list, bool sign) const { return sign ? all(list) : any(std::move(list)); }
  Id each(Id keys, Id node, bool sign) const {  // every member with such a key meets the node; or some does not
    const Id goal = g->goal({node << 1 | !sign});
    return sign ? g->rule_shape(keys, goal) : g->some_shape(keys, goal);
  }
  Id present(Id name, bool sign) const { return sign ? g->some_shape(g->key_name(name), kTrue) : g->rule_shape(g->key_name(name), kFalse); }

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
    const Id others = g->key_rest(names, {});
    parts.push_back(sign ? g->rule_shape(others, kFalse) : g->some_shape(others, kTrue));
    for (const auto& [k, x] : val.members) {
      const Id goal = g->goal({g->constant(x) << 1 | !sign});
      parts.push_back(present(k, sign));
      parts.push_back(sign ? g->rule_shape(g->key_name(k), goal) : g->some_shape(g->key_name(k), goal));
    }
    return join(std::move(parts), sign);
  }

  Id leaf(const Atom& a, Id node, bool sign) const {
    std::vector<Id> parts;
    switch (a.op) {
      case Op::Type: return ((a.lo & types::kObject) != 0) == sign ? kAny : kNever;
      case Op::Properties: {
        if (!sign) {
          for (std::size_t i = 0; i < a.names.size(); ++i) parts.push_back(each(g->key_name(a.names[i]), a.nodes[i], false));
          return any(std::move(parts));
        }
        Shape s;  // at once: there may be thousands
        for (std::size_t i = 0; i < a.names.size(); ++i)
          if (const Id goal = g->goal_of(a.nodes[i]); goal != kTrue) s.rules.push_back({g->key_name(a.names[i]), goal});
        sort_unique(&s.rules);
        return g->shapes_.intern(std::move(s));
      }
      case Op::Patterns:
        for (std::size_t i = 0; i < a.langs.size(); ++i) parts.push_back(each(g->key_lang(a.langs[i]), a.nodes[i], sign));
        return join(std::move(parts), sign);
      case Op::Additional: return each(g->key_rest(a.names, a.langs), a.nodes[0], sign);
      case Op::Required: {
        if (!sign) {
          for (Id n : a.names) parts.push_back(present(n, false));
          return any(std::move(parts));
        }
        Shape s;
        for (Id n : a.names) s.some.push_back({g->key_name(n), kTrue});
        sort_unique(&s.some);
        return g->shapes_.intern(std::move(s));
      }
      case Op::Size:
        if (sign) return g->size_shape(a.lo, a.hi);
        return any({a.lo > 0 ? g->size_shape(0, a.lo - 1) : kNever, a.hi < kInf ? g->size_shape(a.hi + 1, kInf) : kNever});
      case Op::Names: {
        const Id keys = g->key_lang(g->lexicon_.langs.no(g->keys_lang(g->goal_of(a.nodes[0]))));
        return sign ? g->rule_shape(keys, kFalse) : g->some_shape(keys, kTrue);
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
          const Id with = all({present(a.names[i], true), g->node_object(a.nodes[i] << 1 | !sign)});
          parts.push_back(sign ? any({present(a.names[i], false), with}) : with);
        }
        return join(std::move(parts), sign);
      case Op::UnevaluatedProperties: return g->unevaluated_properties(a, node, sign);
      default: return sign ? kAny : kNever;
    }
  }
};

// Can a value of the goal be no array and no object? As far as its own keywords say.
bool Goals::is_scalar(Id g) {
  const std::function<bool(Id)> scalar = [&](Id node) {
    if (node < 2) return node == 1;
    if (node >= kInternal) return false;
    for (const Atom& a : atoms(node)) {
      if (a.op == Op::Type && !(a.lo & (types::kArray | types::kObject))) return true;
      const auto plain = [this](Id v) { return lexicon_.values[v].kind != Value::Array && lexicon_.values[v].kind != Value::Object; };
      if ((a.op == Op::Const || a.op == Op::Enum) && std::all_of(a.values.begin(), a.values.end(), plain)) return true;
      if ((a.op == Op::Ref || a.op == Op::All) && std::any_of(a.nodes.begin(), a.nodes.end(), scalar)) return true;
    }
    return false;
  };
  const std::vector<Id> literals = goals_[g].ids;
  return std::any_of(literals.begin(), literals.end(), [&](Id l) { return !(l & 1) && scalar(l >> 1); });
}

// All values of the goal when it has few, all of them scalars: one id for each.
bool Goals::few_values(Id g, std::vector<std::int64_t>* values) {
  if (!is_scalar(g)) return false;
  const std::uint8_t literals = literals3(g);
  for (int i = 0; i < 3; ++i)
    if (literals >> i & 1) values->push_back(-1 - i);
  std::vector<std::u32string> words;
  for (const StringPiece& p : std::vector<StringPiece>(string_sets_[strings(g)].pieces))
    if (!lexicon_.langs.list(p.lang, kMaxFew, &words)) return false;
  for (const auto& w : words) values->push_back(std::int64_t{2} * lexicon_.name(encode_utf8(w)));
  for (Id id : std::vector<Id>(numbers(g))) {
    const Piece& p = lexicon_.numbers.piece(id);
    if (!p.has_lo || !p.has_hi || !(p.lo == p.hi)) return false;
    Piece point;
    point.has_lo = point.has_hi = true;
    point.lo = point.hi = p.lo;
    values->push_back(std::int64_t{2} * lexicon_.numbers.piece(std::move(point)) + 1);
  }
  return true;
}

// As far as required names with few values tell.
Rivals Goals::rivals(const std::vector<Id>& shapes) {
  Rivals out = all_rivals(shapes, kNever);
  std::unordered_map<Id, std::size_t> required;
  for (Id s : shapes)
    for (Id name : must(s)) ++required[name];
  std::vector<std::pair<std::size_t, Id>> names;
  for (const auto& [name, times] : required)
    if (times > 1) names.push_back({times, name});
  std::sort(names.rbegin(), names.rend());
  if (names.size() > kMaxTags) names.resize(kMaxTags);
  for (const auto& [_, name] : names) {
    // The tag's goal: of the shape itself, or of each disjunct of a clause, which may be alternatives by the same tag.
    const Rule own{key_name(name), -1};
    const std::function<bool(Id, int, std::vector<Id>*)> tags_of = [&](Id id, int depth, std::vector<Id>* all) {
      const Shape& s = shapes_[id];
      if (const auto at = std::lower_bound(s.some.begin(), s.some.end(), own); at != s.some.end() && at->keys == own.keys) {
        all->push_back(goal_at(name, s, nullptr));
        return true;
      }
      return depth < kMaxSight && std::any_of(s.clauses.begin(), s.clauses.end(), [&](const Clause& c) {
               const std::size_t before = all->size();
               if (std::all_of(c.begin(), c.end(), [&](Id d) { return d == kNever || tags_of(d, depth + 1, all); })) return true;
               all->resize(before);
               return false;
             });
    };
    std::vector<std::vector<Id>> goals(shapes.size());
    for (std::size_t i : out.untold) {
      if (!tags_of(shapes[i], 0, &goals[i])) goals[i].assign(1, kTrue);
      need(goals[i]);
    }
    std::unordered_map<std::int64_t, std::vector<std::size_t>> by_value;
    std::vector<std::size_t> others;  // which may have any value
    std::vector<std::vector<std::int64_t>> values(shapes.size());
    std::vector<char> few(shapes.size());
    for (std::size_t i : out.untold) {
      tick();
      few[i] = std::all_of(goals[i].begin(), goals[i].end(), [&](Id g) { return few_values(g, &values[i]); });
      sort_unique(&values[i]);
      if (!few[i]) others.push_back(i);
      for (std::int64_t v : few[i] ? values[i] : std::vector<std::int64_t>{}) by_value[v].push_back(i);
    }
    const bool looks = others.size() <= kMaxOthers;  // into each of them: often one has any tag that no other has
    for (std::size_t i : out.untold) {
      if (!few[i]) continue;
      std::vector<std::size_t> meets = others;
      if (looks)
        std::erase_if(meets, [&](std::size_t j) {  // the few are scalars: no shape is asked for while this one is made
          const auto apart = [&](Id a, Id b) {
            const Id both = conj(a, b);
            const Told known = has_listed(both);
            return known == Told::No || (known == Told::Open && !literals3(both) && string_sets_[strings(both)].pieces.empty() && numbers(both).empty());
          };
          return std::all_of(goals[i].begin(), goals[i].end(), [&](Id a) { return std::all_of(goals[j].begin(), goals[j].end(), [&](Id b) { return apart(a, b); }); });
        });
      for (std::int64_t v : values[i]) meets.insert(meets.end(), by_value[v].begin(), by_value[v].end());
      sort_unique(&meets);
      tick();
      std::erase_if(meets, [&](std::size_t j) { return i == j || (out.told[i] && !has(*out.told[i], j)); });
      out.told[i] = std::move(meets);
    }
  }
  // Where one of two is told apart from the other, so is the other from it.
  std::vector<std::vector<std::size_t>> listing(shapes.size());
  for (std::size_t i : out.untold)
    if (out.told[i])
      for (std::size_t j : *out.told[i]) listing[j].push_back(i);
  std::vector<std::size_t> all;
  std::swap(all, out.untold);
  for (std::size_t i : all)
    if (!out.told[i]) out.untold.push_back(i);
  if (out.untold.size() == all.size()) return out;
  for (std::size_t i : all) {
    tick();
    if (out.told[i]) {
      std::erase_if(*out.told[i], [&](std::size_t j) { return out.told[j] ? !has(*out.told[j], i) : false; });
    } else {
      listing[i].insert(listing[i].end(), out.untold.begin(), out.untold.end());
      std::erase(listing[i], i);
      sort_unique(&listing[i]);
    }
  }
  for (std::size_t i : std::exchange(out.untold, {})) out.told[i] = std::move(listing[i]);
  return out;
}

Id Goals::node_object(Id literal) { return walk(ShapeAlgebra{this}, &object_memo_, literal); }

Id Goals::object(Id g) {
  if (excludes(g, types::kObject)) return kNever;
  const auto found = goal_object_.find(g);
  if (found != goal_object_.end()) return found->second;
  std::vector<Id> parts{kAny};
  for (Id l : std::vector<Id>(goals_[g].ids)) parts.push_back(node_object(l));
  const Id out = tidy(shapes_and(parts));
  return goal_object_[g] = out;
}

// ---- objects: classes of keys, cases, residuals -----------------------------------------------------------------------

const std::vector<KeyClass>& Goals::classes(std::span<const Id> list) {
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
  return classes_.emplace(std::vector<Id>(list.begin(), list.end()), partition(std::move(sets))).first->second;
}

// The classes of keys that these key sets tell apart.
std::vector<KeyClass> Goals::partition(std::vector<Id> sets) {
  sort_unique(&sets);
  std::vector<Id> names, langs, wide;
  for (Id k : sets) {
    const KeySet& set = key_sets_[k];
    if (set.kind == KeySet::One) names.push_back(set.id);
    if (set.kind != KeySet::One) wide.push_back(k);
    if (set.kind == KeySet::Lang && set.id != Langs::kAll) langs.push_back(set.id);
    names.insert(names.end(), set.names.begin(), set.names.end());
    langs.insert(langs.end(), set.langs.begin(), set.langs.end());
  }
  sort_unique(&names);
  sort_unique(&langs);
  Langs& l = lexicon_.langs;
  std::vector<std::pair<Id, std::vector<Id>>> parts{{Langs::kAll, {}}};  // language, which of langs hold it
  for (Id lang : langs) {
    std::vector<std::pair<Id, std::vector<Id>>> next;
    for (auto& [r, in] : parts) {
      const Id yes = l.both({r, lang}), no = l.both({r, l.no(lang)});
      if (l.live(yes)) {
        next.push_back({yes, in});
        next.back().second.push_back(lang);
      }
      if (l.live(no)) next.push_back({no, std::move(in)});
    }
    parts = std::move(next);
    if (parts.size() > kMaxClasses) throw Limit{"alternatives", -1, "patterns divide keys into more than " + std::to_string(kMaxClasses) + " classes"};
  }
  // Of the key sets that are no name, those that hold what these languages hold, names aside: most classes have it alike.
  std::unordered_map<Id, std::vector<Id>> naming;  // of each name the sets that hold all but some names, and not this one
  for (Id k : wide)
    for (Id n : key_sets_[k].names) naming[n].push_back(k);
  ListMap<const std::vector<Id>*> kinds;
  const auto wide_of = [&](const std::vector<Id>& in) {
    if (const auto at = kinds.find(in); at != kinds.end()) return at->second;
    std::vector<Id> held;
    for (Id k : wide) {
      tick();
      const KeySet& set = key_sets_[k];
      bool in_set = set.kind == KeySet::Lang ? set.id == Langs::kAll || has(in, set.id) : true;
      if (set.kind == KeySet::Rest)
        for (Id lang : set.langs) in_set = in_set && !has(in, lang);
      if (in_set) held.push_back(k);
    }
    return kinds.emplace(in, &wide_[wide_.intern({std::move(held)})].ids).first->second;
  };
  std::vector<KeyClass> out;
  std::vector<const std::vector<Id>*> of_listed;   // what holds the texts of a class that is listed
  std::vector<std::pair<Id, std::ptrdiff_t>> all;  // names, each with which of those hold it; -1: one that a key set names
  for (Id n : names) all.push_back({n, -1});
  for (const auto& [r, in] : parts) {
    std::vector<std::u32string> words;
    if (r == Langs::kAll || !l.list(r, kMaxListed, &words)) {
      out.push_back({-1, r, -1, wide_of(in), {}, -1});
      continue;
    }
    for (const auto& w : words)
      if (const Id n = lexicon_.name(encode_utf8(w)); !has(names, n)) all.push_back({n, static_cast<std::ptrdiff_t>(of_listed.size())});
    of_listed.push_back(wide_of(in));
  }
  std::sort(all.begin(), all.end());
  out.reserve(out.size() + all.size());
  std::vector<Id> in;
  for (const auto& [n, listed] : all) {
    tick();
    KeyClass cls{n, Langs::kNone, -1, nullptr, {}, -1};
    if (listed >= 0) {
      cls.wide = of_listed[static_cast<std::size_t>(listed)];
    } else {
      if (const Id own = key_sets_.find(KeySet{KeySet::One, n, {}, {}}); own >= 0 && has(sets, own)) cls.own = own;
      in.clear();
      for (Id lang : langs)
        if (lexicon_.in_lang(lang, n)) in.push_back(lang);
      cls.wide = wide_of(in);
      if (const auto at = naming.find(n); at != naming.end()) cls.except = at->second;
    }
    out.push_back(std::move(cls));
  }
  std::vector<Id> said;
  for (KeyClass& cls : out) {
    said = {cls.name, cls.own, wide_.find(IdSpan{*cls.wide})};
    said.insert(said.end(), cls.except.begin(), cls.except.end());
    cls.id = interned(&class_ids_, said);
  }
  return out;
}

// The key set of a class that is no name, when these are the names of its partition.
Id Goals::key_class(const KeyClass& cls, const std::vector<Id>& names) {
  if (cls.lang == Langs::kAll) return key_rest(names, {});
  std::vector<std::u32string> words;
  for (Id n : names) words.push_back(decode_utf8(lexicon_.names[n].text));
  return key_lang(lexicon_.langs.both({cls.lang, lexicon_.langs.no(lexicon_.langs.words(std::move(words)))}));
}

namespace {
Id base_goal(Goals& goals, const Shape& s, const KeyClass& cls) {
  Id out = Goals::kTrue;
  cls.each(s.rules, [&](const Rule& r) { out = goals.conj(out, r.goal); });
  return out;
}
// The existential of a name that must come; null: it need not.
const Rule* named_some(const Shape& s, const KeyClass& cls) {
  if (cls.own < 0) return nullptr;
  const auto at = std::lower_bound(s.some.begin(), s.some.end(), Rule{cls.own, -1});
  return at != s.some.end() && at->keys == cls.own ? &*at : nullptr;
}
}  // namespace

Id Goals::base_of(const Shape& s, const KeyClass& cls) {
  const Rule* some = named_some(s, cls);
  return some ? conj(base_goal(*this, s, cls), some->goal) : base_goal(*this, s, cls);
}

int Goals::constant_for(Id g, Type type) {
  if (g == kTrue) return 1;
  switch (type) {
    case Type::Null: return literals3(g) & 1;
    case Type::Boolean: return (literals3(g) & 6) == 6 ? 1 : (literals3(g) & 6) == 0 ? 0 : -1;
    case Type::String: {
      const auto& p = string_sets_[strings(g)].pieces;
      return p.empty() ? 0 : p.size() == 1 && p[0] == StringPiece{0, kInf, Langs::kAll} ? 1 : -1;
    }
    case Type::Number: {
      const auto& p = numbers(g);
      return p.empty() ? 0 : p.size() == 1 && lexicon_.numbers.piece(p[0]).is_free() ? 1 : -1;
    }
    case Type::Object: return object(g) == kNever ? 0 : object(g) == kAny ? 1 : -1;
    case Type::Array: return array(g) == kNever ? 0 : array(g) == kAny ? 1 : -1;
  }
  return -1;
}

const std::vector<Id>& Goals::must(Id id) {
  if (const auto found = must_.find(id); found != must_.end()) return found->second;
  const Recursion deeper(&depth_, limits_.depth);
  tick();
  const Shape& s = shapes_[id];
  std::vector<Id> out, common, both;
  for (const Rule& r : s.some)
    if (key_sets_[r.keys].kind == KeySet::One) out.push_back(key_sets_[r.keys].id);
  for (const Clause& c : s.clauses) {
    bool first = true;
    for (Id d : c) {
      if (d == kNever) continue;
      const std::vector<Id>& names = must(d);
      both.clear();
      if (!first) std::set_intersection(common.begin(), common.end(), names.begin(), names.end(), std::back_inserter(both));
      common = first ? names : both;
      first = false;
      if (common.empty()) break;
    }
    if (!first) out.insert(out.end(), common.begin(), common.end());
  }
  sort_unique(&out);
  return must_.emplace(id, std::move(out)).first->second;
}

// To hold each of thousands of alternatives against each of their names would be a million looks.
Goals::Narrowed Goals::narrowed(Id id, Id name) {
  constexpr std::size_t kWide = 16, kFew = 8;
  const Shape& s = shapes_[id];
  if (std::none_of(s.clauses.begin(), s.clauses.end(), [](const Clause& c) { return c.size() > kWide; })) return {id, false};
  auto found = by_name_.find(id);
  if (found == by_name_.end()) {
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
            if (k.langs.empty()) is_open = false;
          }
        if (!is_open) continue;
        if (++out.size <= kFew) out.open.push_back(d);
      }
    }
    found = by_name_.emplace(id, std::move(list)).first;
  }
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
      kept.insert(kept.end(), named->second.begin(), named->second.begin() + static_cast<std::ptrdiff_t>(std::min(kFew, named->second.size())));
      sort_unique(&kept);
    }
    if (kept.empty()) return {kNever, exact};
    c = std::move(kept);
  }
  return {settle(std::move(few)), exact};
}

bool Goals::is_plain(Id shape) {
  const auto [at, fresh] = plain_.try_emplace(shape, 0);
  if (fresh) {
    const Shape& s = shapes_[shape];
    at->second = s.clauses.empty() && s.hi == kInf &&
                 std::all_of(s.some.begin(), s.some.end(), [this](const Rule& r) { return key_sets_[r.keys].kind == KeySet::One; });
  }
  return at->second;
}

bool Goals::viable(Id id, const Keys& keys) try {
  if (id == kNever) return false;
  if (id == kAny) return true;
  if (keys.fresh()) {
    const auto found = fresh_.find(id);
    if (found != fresh_.end()) return found->second;
    if (in_round_ && round_shapes_.contains(id)) return false;
  } else if (!keys.answers && !shapes_[id].clauses.empty()) {
    return remembered(&found_viable_, id, keys, [&](const Keys& asked) { return viable(id, asked); });
  }
  const Recursion deeper(&depth_, limits_.depth);
  const Shape s = shapes_[id];
  bool ok = false;
  if (s.clauses.empty()) {
    ok = plan(id, keys);
  } else if (is_closed(s, keys)) {
    ok = false;
  } else if (const Id easy = easiest(s, keys); easy != kNever && plan(easy, keys)) {
    ok = true;
  } else if (const Id tagged = with_tags(id); tagged != id) {
    ok = viable(tagged, keys);
  } else {  // choose a disjunct of the smallest clause; first success ends it
    Shape rest = s;
    for (Clause& c : rest.clauses) std::erase_if(c, [&](Id d) { return d == kNever || is_closed(shapes_[d], keys); });
    // A tag first: its value settles what each of the others says of it. One by one they would be tried in all their combinations.
    const auto lists = [this](Id d) {
      const Shape& x = shapes_[d];
      return std::any_of(x.rules.begin(), x.rules.end(), [&](const Rule& r) {
        const auto at = std::lower_bound(x.some.begin(), x.some.end(), Rule{r.keys, -1});
        const std::vector<Id>& ids = goals_[r.goal].ids;
        return at != x.some.end() && at->keys == r.keys && std::any_of(ids.begin(), ids.end(), [this](Id l) { return listed(l); });
      });
    };
    const auto is_tag = [&](const Clause& c) {
      constexpr std::ptrdiff_t kMost = 64;
      const std::ptrdiff_t size = static_cast<std::ptrdiff_t>(c.size());
      return size > 1 && size <= kMost && std::count_if(c.begin(), c.end(), lists) + 1 >= size;
    };
    const bool stuck = std::any_of(rest.clauses.begin(), rest.clauses.end(), [](const Clause& c) { return c.empty(); });
    auto tag = rest.clauses.end();
    for (auto c = rest.clauses.begin(); c != rest.clauses.end() && !stuck; ++c)
      if ((tag == rest.clauses.end() || c->size() < tag->size()) && is_tag(*c)) tag = c;
    Clause choices;
    if (tag == rest.clauses.end()) {
      choices = take_smallest(&rest.clauses);
    } else {
      choices = std::move(*tag);
      rest.clauses.erase(tag);
    }
    for (Id d : choices) {
      Shape with = rest;
      if (!merge_into(&with, Shape(shapes_[d]))) continue;
      // A name that was written already met its goals when it was written: what the rest still says of it is settled.
      const Id next = tidy(settle(std::move(with)));
      if (viable(next, keys)) {
        ok = true;
        break;
      }
    }
  }
  if (keys.fresh() && (ok || !is_tentative())) fresh_[id] = ok;
  if (keys.fresh() && !ok && in_round_) round_shapes_.insert(id);
  return ok;
} catch (Missing&) {
  if (!shapes_[id].clauses.empty()) need_choices(id);
  throw;
}

bool Goals::counts(Id id) {
  const auto found = counts_.find(id);
  if (found != counts_.end()) return found->second;
  const Shape s = shapes_[id];
  bool out = s.lo > 0 || s.hi < kInf;
  for (const Clause& c : s.clauses)
    for (Id d : c) out = out || counts(d);
  counts_[id] = out;
  return out;
}

// Does it ask for a name that can no longer be written?
bool Goals::is_closed(const Shape& s, const Keys& keys) const {
  return keys.is_open && std::any_of(s.some.begin(), s.some.end(), [&](const Rule& r) {
    const KeySet& k = key_sets_[r.keys];
    return k.kind == KeySet::One && !keys.seen(k.id) && !keys.open(k.id);
  });
}

// Does a name that the disjunct asks for have no value left, as far as can be seen?
bool Goals::contradicts(const Shape& s, const Shape& disjunct) {
  return std::any_of(disjunct.some.begin(), disjunct.some.end(), [&](const Rule& r) {
    const KeySet& k = key_sets_[r.keys];
    return k.kind == KeySet::One && empty_on_sight(goal_at(k.id, s, &disjunct));
  });
}

// What follows from all disjuncts of a clause: names that must come, and the values that a name may have. Where a key of some tags alone was written and another
// of others is to come, nothing is left, and no search finds that out by trying what each tag implies.
Id Goals::with_tags(Id id) {
  constexpr std::size_t kMost = 64;  // values
  if (shapes_[id].clauses.size() < 2) return id;  // one is tried disjunct by disjunct
  if (const auto found = tagged_.find(id); found != tagged_.end()) return found->second;
  Shape s = shapes_[id];
  std::unordered_map<Id, std::vector<Id>> tags;  // by key set
  for (const Clause& c : s.clauses) {
    tick();
    // Each disjunct must have the name, and list its values.
    const auto values_of = [this](const Shape& d, Id keys) -> const std::vector<Id>* {
      const auto some = std::lower_bound(d.some.begin(), d.some.end(), Rule{keys, -1});
      if (some == d.some.end() || some->keys != keys) return nullptr;
      const auto rule = std::lower_bound(d.rules.begin(), d.rules.end(), Rule{keys, -1});
      for (const Id g : {some->goal, rule != d.rules.end() && rule->keys == keys ? rule->goal : kTrue})
        for (Id l : goals_[g].ids)
          if (const std::vector<Id>* values = listed(l)) return values;
      return nullptr;
    };
    if (c.size() < 2 || c.size() > kMost || c[0] == kNever) continue;
    for (const Rule& r : shapes_[c[0]].some) {
      if (key_sets_[r.keys].kind != KeySet::One) continue;
      std::vector<Id> all;
      bool is_tag = true;
      for (Id d : c) {
        const std::vector<Id>* values = d == kNever ? nullptr : values_of(shapes_[d], r.keys);
        is_tag = is_tag && values && all.size() + values->size() <= kMost;
        if (!is_tag) break;
        all.insert(all.end(), values->begin(), values->end());
      }
      if (!is_tag) continue;
      sort_unique(&all);
      const auto [known, fresh] = tags.try_emplace(r.keys, all);
      if (!fresh) std::erase_if(known->second, [&](Id v) { return !has(all, v); });
    }
  }
  for (auto& [keys, values] : tags) merge_bare(&s, shapes_[rule_shape(keys, among(std::move(values)))]);
  for (Id name : must(id)) merge_bare(&s, shapes_[some_shape(key_name(name), kTrue)]);
  const Id out = s == shapes_[id] ? id : tidy(settle(std::move(s)));
  return tagged_[id] = out;
}

// Of each clause the disjunct that asks least, without a second thought: mostly that is enough. kNever: some clause has none.
// Last come clauses that are met where a key does not come: others may yet ask for it.
Id Goals::easiest(Shape s, const Keys& keys) {
  const auto asks = [this](const Shape& d) {
    const auto hard = [this](const Rule& r) { return r.goal != kTrue || key_sets_[r.keys].kind != KeySet::One; };
    return d.clauses.size() * 4 + (d.lo > 0 || d.hi < kInf) * 4 + static_cast<std::size_t>(std::count_if(d.some.begin(), d.some.end(), hard)) * 4 + d.rules.size() * 2 + d.some.size();
  };
  const auto forbids_alone = [this](Id d) {
    const Shape& x = shapes_[d];
    return d != kNever && x.some.empty() && x.clauses.empty() && x.lo == 0 && x.hi == kInf && std::all_of(x.rules.begin(), x.rules.end(), [](const Rule& r) { return r.goal == kFalse; });
  };
  std::stable_partition(s.clauses.begin(), s.clauses.end(), [&](const Clause& c) { return std::any_of(c.begin(), c.end(), forbids_alone); });  // the last is the first
  for (std::size_t steps = 0; !s.clauses.empty(); ++steps) {
    tick();
    if (steps == kMaxEasy) return kNever;
    const Clause clause = std::move(s.clauses.back());
    s.clauses.pop_back();
    if (std::any_of(clause.begin(), clause.end(), [&](Id d) { return weaker(d, s); })) continue;
    Id best = kNever;
    std::size_t least = 0;
    for (Id d : clause) {
      if (d == kNever) continue;
      const std::size_t asked = asks(shapes_[d]);
      if ((best == kNever || asked < least) && !clash(s, shapes_[d]) && !is_closed(shapes_[d], keys) && !contradicts(s, shapes_[d])) best = d, least = asked;
    }
    if (best == kNever || !merge_into(&s, Shape(shapes_[best]))) return kNever;
  }
  return settle(std::move(s));
}

bool Goals::plan(Id id, const Keys& keys) {
  const Shape s = shapes_[id];
  if (keys.count > s.hi) return false;
  const std::vector<KeyClass>& all = own_classes(id);
  struct Member {
    std::size_t cls;
    Id goal;
  };
  std::vector<Member> members;
  std::vector<Rule> todo;
  std::vector<Id> wanted;
  std::vector<std::pair<std::size_t, Id>> named;
  for (std::size_t i = 0; i < all.size(); ++i) {
    const KeyClass& cls = all[i];
    const Rule* some = named_some(s, cls);
    if (!some || keys.seen(cls.name)) continue;
    if (!keys.open(cls.name)) return false;
    const Id g = conj(base_goal(*this, s, cls), some->goal);
    if (g == kFalse) return false;
    named.push_back({i, g});
    wanted.push_back(g);
  }
  need(wanted);
  for (const auto& [i, g] : named) {
    if (!inhabited(g)) return false;
    members.push_back({i, g});
  }
  for (const Rule& r : s.some)
    if (key_sets_[r.keys].kind != KeySet::One) todo.push_back(r);
  const auto count = [&] { return static_cast<std::int64_t>(keys.count) + static_cast<std::int64_t>(members.size()); };
  if (s.hi == kInf) {
    // Room for everyone: an obligation with an endless class to live in is met by itself, and so is one that asks nothing of its
    // value wherever it can live.
    std::vector<Rule> hard;
    for (const Rule& r : todo) {
      bool possible = false, alone = false;
      for (std::size_t i = 0; i < all.size() && !alone; ++i) {
        if (!all[i].in(r.keys) || (all[i].name >= 0 && (keys.seen(all[i].name) || !keys.open(all[i].name)))) continue;
        const bool ok = inhabited(conj(base_goal(*this, s, all[i]), r.goal));
        possible = possible || ok;
        alone = ok && (all[i].name < 0 || r.goal == kTrue);
      }
      if (!possible) return false;
      if (!alone) hard.push_back(r);
    }
    todo = std::move(hard);
  }
  if (todo.empty() && count() >= s.lo) return count() <= s.hi;
  // How many members could still fill up to the minimum.
  const auto fill = [&] {
    std::int64_t n = 0;
    for (std::size_t i = 0; i < all.size(); ++i) {
      if (all[i].name >= 0 && (keys.seen(all[i].name) || !keys.open(all[i].name))) continue;
      if (std::any_of(members.begin(), members.end(), [i](const Member& m) { return m.cls == i; }) && all[i].name >= 0) continue;
      if (!inhabited(base_goal(*this, s, all[i]))) continue;
      if (all[i].name < 0) return static_cast<std::int64_t>(kInf);
      ++n;
    }
    return n;
  };
  const std::function<bool(std::size_t)> search = [&](std::size_t next) {
    if (count() > s.hi) return false;
    if (next == todo.size()) return count() >= s.lo || count() + fill() >= s.lo;
    const Rule& r = todo[next];
    for (std::size_t j = 0; j < members.size(); ++j) {
      if (!all[members[j].cls].in(r.keys)) continue;
      const Id before = members[j].goal, g = conj(before, r.goal);
      if (!inhabited(g)) continue;
      members[j].goal = g;
      const bool ok = search(next + 1);
      members[j].goal = before;
      if (ok) return true;
    }
    for (std::size_t i = 0; i < all.size(); ++i) {
      if (!all[i].in(r.keys)) continue;
      if (all[i].name >= 0 && (keys.seen(all[i].name) || !keys.open(all[i].name) ||
                               std::any_of(members.begin(), members.end(), [i](const Member& m) { return m.cls == i; })))
        continue;
      const Id g = conj(base_goal(*this, s, all[i]), r.goal);
      if (!inhabited(g)) continue;
      members.push_back({i, g});
      const bool ok = search(next + 1);
      members.pop_back();
      if (ok) return true;
    }
    return false;
  };
  return search(0);
}

bool Goals::done(Id id, const Keys& keys) {
  const Shape& s = shapes_[id];
  if (keys.count < s.lo || keys.count > s.hi) return false;
  for (const Rule& r : s.some)
    if (key_sets_[r.keys].kind != KeySet::One || !keys.seen(key_sets_[r.keys].id)) return false;
  for (const Clause& c : s.clauses)
    if (std::none_of(c.begin(), c.end(), [&](Id d) { return done(d, keys); })) return false;
  return true;
}

}  // namespace guard
