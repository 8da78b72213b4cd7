#include "constraints/algebra.hpp"
#include "constraints/constraints.hpp"

namespace guard {

namespace {
std::size_t hash_spans(std::size_t h, const std::vector<Span>& spans) {
  for (const Span& s : spans)
    h = mix(mix(mix(h, static_cast<std::size_t>(s.from)), static_cast<std::size_t>(s.to)),
            static_cast<std::size_t>(s.goal));
  return mix(h, spans.size());
}
bool is_one_clause(const Row& row) {
  return row.clauses.size() == 1 && row.rules.empty() && row.some.empty() && row.counts.empty() &&
         row.lo == 0 && row.hi == kInf && row.unique < 0 && row.repeat < 0;
}
}  // namespace

std::size_t Row::hash() const {
  std::size_t h = hash_spans(
      hash_spans(mix(static_cast<std::size_t>(lo), static_cast<std::size_t>(hi)), rules), some);
  h = mix(h, static_cast<std::size_t>(unique + 1) << 32 | static_cast<std::size_t>(repeat + 1));
  for (const Counted& c : counts)
    h = mix(mix(mix(h, static_cast<std::size_t>(c.goal)), static_cast<std::size_t>(c.lo)),
            static_cast<std::size_t>(c.hi));
  for (const Clause& c : clauses) h = mix(h, hash_of(c));
  return h;
}

Arrays::Arrays(Constraints& all)
    : goals_(all.goals),
      inhabitance_(all.inhabitance),
      partial_(all.partial),
      unique_(all.unique),
      lexicon_(all.lexicon),
      limits_(all.limits),
      depth_(all.depth) {
  rows_.intern({.rules = {}, .some = {}, .counts = {}, .lo = 1, .hi = 0, .clauses = {}});  // kNever
  rows_.intern({});                                                                        // kAny
}

Id Arrays::span(std::int32_t from, std::int32_t to, Id goal, bool every) {
  // Without positions, "every item" holds of any array and "some item" of none.
  if (from >= to || (every ? goal == kTrue : false)) return every ? kAny : kNever;
  if (!every && goal == kFalse) return kNever;
  Row r;
  (every ? r.rules : r.some).push_back({from, to, goal});
  return rows_.intern(std::move(r));
}

bool Arrays::merge(Row* into, const Row& from) {
  const auto unite = [](auto* a, const auto& b) {
    a->insert(a->end(), b.begin(), b.end());
    sort_unique(a);
  };
  unite(&into->rules, from.rules);
  unite(&into->some, from.some);
  unite(&into->counts, from.counts);
  into->lo = std::max(into->lo, from.lo);
  into->hi = std::min(into->hi, from.hi);
  into->unique =
      // of one array: both have the same values, or one has -1
      std::max(into->unique, from.unique);
  // The same goes for `repeat`.
  into->repeat = std::max(into->repeat, from.repeat);
  for (const Clause& c : from.clauses)
    if (std::find(into->clauses.begin(), into->clauses.end(), c) == into->clauses.end())
      into->clauses.push_back(c);
  return into->lo <= into->hi;
}

Id Arrays::conjunction(const std::vector<Id>& list) {
  Row out;
  for (Id r : list) {
    if (r == kNever) return kNever;
    if (r != kAny && !merge(&out, rows_[r])) return kNever;
  }
  return settle(std::move(out));
}

Id Arrays::disjunction(std::vector<Id> list) {
  std::vector<Id> kept;
  for (Id s : list) {
    if (s == kAny) return kAny;
    if (s == kNever) continue;
    const Row& row = rows_[s];
    // A disjunct that is itself one clause contributes its disjuncts.
    for (Id d : is_one_clause(row) ? Clause(row.clauses[0]) : Clause{s})
      if (std::find(kept.begin(), kept.end(), d) == kept.end()) kept.push_back(d);
  }
  if (kept.empty()) return kNever;
  if (kept.size() == 1) return kept[0];
  if (kept.size() > limits_.alternatives)
    throw Limit{"alternatives", -1, "a choice between too many shapes of arrays"};
  return rows_.intern({.rules = {}, .some = {}, .counts = {}, .clauses = {std::move(kept)}});
}

bool Arrays::weaker(Id id, const Row& b) const {
  const Row& a = rows_[id];
  const auto within = [](const auto& x, const auto& y) {
    return std::all_of(x.begin(), x.end(), [&](const auto& item) { return has(y, item); });
  };
  return a.lo <= b.lo && a.hi >= b.hi && (a.unique < 0 || b.unique >= 0) &&
         (a.repeat < 0 || b.repeat >= 0) && within(a.rules, b.rules) && within(a.some, b.some) &&
         std::all_of(a.counts.begin(), a.counts.end(),
                     [&](const Counted& x) {
                       return std::any_of(b.counts.begin(), b.counts.end(), [&](const Counted& y) {
                         return x.goal == y.goal && x.lo <= y.lo && x.hi >= y.hi;
                       });
                     }) &&
         std::all_of(a.clauses.begin(), a.clauses.end(), [&](const Clause& c) {
           return std::find(b.clauses.begin(), b.clauses.end(), c) != b.clauses.end();
         });
}

Id Arrays::settle(Row s) {
  tick();
  // Unit propagation. A disjunct that contradicts the rest of the row is dropped. A disjunct that
  // the rest implies satisfies its clause, which is dropped. A clause with one disjunct left is
  // merged into the row, after which all clauses are looked at again. This ends, because each round
  // resolves a clause or drops a disjunct.
  while (true) {
    if (s.lo > s.hi || (s.unique >= 0 && s.repeat >= 0)) return kNever;
    bool changed = false;
    for (std::size_t i = 0; i < s.clauses.size() && !changed; ++i) {
      Clause alive;
      bool entailed = false;
      for (Id d : s.clauses[i]) {
        if (std::max(rows_[d].lo, s.lo) > std::min(rows_[d].hi, s.hi)) continue;
        if ((s.unique >= 0 && rows_[d].repeat >= 0) || (s.repeat >= 0 && rows_[d].unique >= 0))
          continue;
        // The row implies the disjunct.
        if (weaker(d, s)) {
          entailed = true;
          break;
        }
        alive.push_back(d);
      }
      if (!entailed && alive.empty()) return kNever;
      if (!entailed && alive.size() > 1) {
        s.clauses[i] = std::move(alive);
        continue;
      }
      s.clauses.erase(s.clauses.begin() + static_cast<std::ptrdiff_t>(i));
      if (!entailed && !merge(&s, Row(rows_[alive[0]]))) return kNever;
      changed = true;
    }
    if (!changed) break;
  }
  if (goals_.size() + rows_.size() > limits_.states)
    throw Limit{"states", -1, "too many goals and shapes"};
  return rows_.intern(std::move(s));
}

// The algebra of rows: see algebra.hpp.
struct Arrays::RowAlgebra {
  Arrays* g;
  Id top() const { return kAny; }
  Id bottom() const { return kNever; }
  Id all(const std::vector<Id>& list) const { return g->conjunction(list); }
  Id any(std::vector<Id> list) const { return g->disjunction(std::move(list)); }
  Id exactly_one(const std::vector<Id>& yes, const std::vector<Id>& no, bool sign) const {
    return one_shape_of(*this, yes, no, sign, all_rivals(yes, kNever));
  }

  Id sized(std::int32_t lo, std::int32_t hi) const {
    if (lo > hi) return kNever;
    return g->rows_.intern(
        {.rules = {}, .some = {}, .counts = {}, .lo = lo, .hi = hi, .clauses = {}});
  }
  Id counted(Id goal, std::int32_t lo, std::int32_t hi) const {
    if (lo > hi) return kNever;
    if (lo == 0 && hi == kInf) return kAny;
    return g->rows_.intern({.rules = {}, .some = {}, .counts = {{goal, lo, hi}}, .clauses = {}});
  }
  Id outside(std::int32_t lo, std::int32_t hi,
             const std::function<Id(std::int32_t, std::int32_t)>& within) const {
    return any({lo > 0 ? within(0, lo - 1) : kNever, hi < kInf ? within(hi + 1, kInf) : kNever});
  }

  Id values(const std::vector<Id>& list, bool sign) const {
    std::vector<Id> out;
    for (Id v : list) out.push_back(value(v, sign));
    return sign ? any(std::move(out)) : all(out);
  }
  Id value(Id v, bool sign) const {
    const Value val = g->lexicon_.values[v];
    if (val.kind != Value::Array) return sign ? kNever : kAny;
    const std::int32_t n = static_cast<std::int32_t>(val.items.size());
    // Equal to a value: the same length and equal items. Not equal: another length, or some item
    // that differs.
    std::vector<Id> parts{sign ? sized(n, n)
                               : any({n > 0 ? sized(0, n - 1) : kNever, sized(n + 1, kInf)})};
    for (std::int32_t i = 0; i < n; ++i)
      parts.push_back(g->span(
          i, i + 1,
          g->goals_.goal({g->goals_.constant(val.items[static_cast<std::size_t>(i)]) << 1 | !sign}),
          sign));
    return sign ? all(parts) : any(std::move(parts));
  }

  Id leaf(const Atom& a, Id node, bool sign) const {
    switch (a.op) {
      case Op::Type: return ((a.lo & types::kArray) != 0) == sign ? kAny : kNever;
      case Op::Items: return g->span(a.lo, a.hi, g->goals_.goal({a.nodes[0] << 1 | !sign}), sign);
      case Op::Count: {
        const auto within = [this](std::int32_t lo, std::int32_t hi) { return sized(lo, hi); };
        return sign ? within(a.lo, a.hi) : outside(a.lo, a.hi, within);
      }
      case Op::Contains: {
        const auto within = [this, goal = g->goals_.goal_of(a.nodes[0])](
                                std::int32_t lo, std::int32_t hi) { return counted(goal, lo, hi); };
        return sign ? within(a.lo, a.hi) : outside(a.lo, a.hi, within);
      }
      case Op::UnevaluatedItems: return g->unevaluated_items(a, node, sign);
      case Op::Unique: {
        Row r;
        if (sign)
          r.unique = kFalse;
        else
          // Nothing has been written that an item could repeat: kFalse, the set without values. Two
          // equal items are at least two items.
          r.repeat = kFalse, r.lo = 2;
        return g->rows_.intern(std::move(r));
      }
      default: return sign ? kAny : kNever;
    }
  }
};

Id Arrays::of_node(Id literal) { return goals_.walk(RowAlgebra{this}, &array_memo_, literal); }

Id Arrays::of(Id g) {
  if (goals_.excludes(g, types::kArray)) return kNever;
  const auto found = goal_array_.find(g);
  if (found != goal_array_.end()) return found->second;
  std::vector<Id> parts{kAny};
  for (Id l : std::vector<Id>(goals_.literals(g))) parts.push_back(of_node(l));
  const Id out = conjunction(parts);
  return goal_array_[g] = out;
}

Id Arrays::base_of(const Row& row, std::int32_t at) {
  std::vector<Id> all;
  for (const Span& s : row.rules)
    if (s.from <= at && at < s.to)
      all.insert(all.end(), goals_.literals(s.goal).begin(), goals_.literals(s.goal).end());
  return goals_.goal(std::move(all));
}

bool Arrays::done(Id id, std::int32_t at) const {
  const Row& row = rows_[id];
  // A row is a residual: it no longer contains the conditions that written items have met.
  if (at < row.lo || at > row.hi || !row.some.empty() || row.repeat >= 0) return false;
  for (const Counted& c : row.counts)
    if (c.lo > 0) return false;
  for (const Clause& c : row.clauses)
    if (std::none_of(c.begin(), c.end(), [&](Id d) { return done(d, at); })) return false;
  return true;
}

bool Arrays::is_plain(Id id) const {
  const Row& row = rows_[id];
  return row.some.empty() && row.counts.empty() && row.clauses.empty() && row.unique < 0 &&
         row.repeat < 0 && std::ranges::all_of(row.rules, &Span::is_everywhere);
}

// The existential conditions of a row whose positions are all alike, as counts; nothing for any
// other row.
std::optional<std::vector<Counted>> Arrays::steady_counts(const Row& row) {
  const bool steady = std::ranges::all_of(row.rules, &Span::is_everywhere) &&
                      std::ranges::all_of(row.some, &Span::is_everywhere);
  if (!steady || !row.clauses.empty() || row.unique >= 0 || row.repeat >= 0) return std::nullopt;
  std::vector<Counted> out = row.counts;
  for (const Span& s : row.some) out.push_back({s.goal, 1, kInf});
  return out;
}

// Decides counts by arithmetic, whatever their size: one count alone, or minima that can each be
// met by items of their own. Nothing if items must serve several counts at once, which takes a
// search.
std::optional<bool> Arrays::viable_counts(const Row& row, std::int32_t at) {
  const auto counts = steady_counts(row);
  if (!counts) return std::nullopt;
  const Id base = base_of(row, 0);
  // `room`: how many items may still come; `due`: how many must.
  const std::int64_t room = row.hi == kInf ? kInf : row.hi - at, due = std::max(row.lo - at, 0);
  if (counts->size() == 1) {
    const Counted& c = (*counts)[0];
    const bool hit = inhabitance_.inhabited(goals_.conj(base, c.goal)),
               miss = inhabitance_.inhabited(goals_.conj(base, goals_.negate(c.goal)));
    // Items of both kinds exist: c.lo items meet the goal, and others make up what else is due.
    if (hit && miss) return std::max<std::int64_t>(c.lo, due) <= room;
    if (hit) return std::max<std::int64_t>(c.lo, due) <= std::min<std::int64_t>(c.hi, room);
    return c.lo == 0 && due <= (miss ? room : 0);
  }
  std::int64_t total = 0;
  for (const Counted& c : *counts) {
    if (c.hi != kInf) return std::nullopt;
    if (!inhabitance_.inhabited(goals_.conj(base, c.goal))) return false;
    total += c.lo;
  }
  return total <= room ? std::optional(true) : std::nullopt;
}

bool Arrays::viable(Id id, std::int32_t at) {
  if (id == kNever) return false;
  // From the cheapest check to the most expensive: the row may end here; all items are alike; the
  // answer is memoised; the row was found empty in the current round (inhabitance.hpp); a search.
  if (done(id, at)) return true;
  if (is_plain(id))
    return at < rows_[id].hi &&
           (at >= rows_[id].lo || inhabitance_.inhabited(base_of(rows_[id], 0)));
  const auto found = row_viable_.find({id, at});
  if (found != row_viable_.end()) return found->second;
  if (inhabitance_.in_round() && inhabitance_.is_found_empty(id, at)) return false;
  const Recursion deeper(&depth_, limits_.depth);
  const Row row = rows_[id];
  bool ok = false;
  if (unique_.compares(id)) {
    ok = unique_.plan_row(id, at, {}, 0, nullptr);
  } else if (at < row.hi) {
    if (!row.clauses.empty()) {
      Row rest = row;
      // Depth first through the clauses, the smallest first. Each disjunct is merged into the row.
      const Clause choices = take_smallest(&rest.clauses);
      for (std::size_t i = 0; i < choices.size() && !ok; ++i) {
        Row with = rest;
        if (merge(&with, Row(rows_[choices[i]]))) ok = viable(settle(std::move(with)), at);
      }
    } else if (row.some.empty() && row.counts.empty()) {
      ok = true;
      std::int32_t edge = 0;
      for (const Span& s : row.rules) edge = std::max({edge, s.from, s.to == kInf ? 0 : s.to});
      // There are only rules: each required position needs a value. From `edge` on, all are alike.
      for (std::int32_t i = 0; i <= edge && at + i < row.lo && ok; ++i)
        ok = inhabitance_.inhabited(base_of(row, i));
    } else if (const auto counted = viable_counts(row, at)) {
      ok = *counted;
    } else {
      const Id base = base_of(row, 0);
      ok = inhabitance_.inhabited(base) &&
           partial_.possible(partial_.open_item(id, true), base, [&](Id after) {
             if (after != id) return viable(after, at + 1);
             // The item changed nothing: after one more such item the row is the same, with one
             // item more.
             // the item only adds to the count, and the minimum is met
             if (at >= row.lo) return false;
             return at + 1 < row.lo ? row.lo <= row.hi && viable(id, row.lo - 1)
                                    : viable(id, row.lo);
           });
    }
  }
  // True is final. False may depend on a goal that only counts as empty during the round.
  if (ok || !inhabitance_.is_tentative()) row_viable_[{id, at}] = ok;
  if (!ok && inhabitance_.in_round()) inhabitance_.note_empty(id, at);
  return ok;
}

}  // namespace guard
