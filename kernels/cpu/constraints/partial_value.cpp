#include "constraints/algebra.hpp"
#include "constraints/constraints.hpp"

namespace guard {

namespace {
constexpr std::size_t kLeastChoices = 4;  // tries of each disjunct in choices()
constexpr std::size_t kMaxAbsorbed = 16;  // disjuncts that are compared with each other
constexpr std::size_t kFewLiterals =
    4;  // with negations; deciding so few is cheaper than trying each disjunct of a clause
}  // namespace

namespace {
// Drops disjuncts that are at least as strict as another one. For example, once it is decided
// whether an item counts, one of "it counts" and "assume that it does not" is dropped.
template <class AsksLess>
void absorb(Clause* clause, const AsksLess& asks_less) {
  for (std::size_t i = 0; i < clause->size() && clause->size() <= kMaxAbsorbed; ++i)
    for (std::size_t j = 0; j < clause->size();) {
      if (i == j || !asks_less((*clause)[i], (*clause)[j])) {
        ++j;
        continue;
      }
      clause->erase(clause->begin() + static_cast<std::ptrdiff_t>(j));
      i -= j < i;
    }
}
}  // namespace

namespace {
// Whether its one clause is tried disjunct by disjunct, instead of deciding its literals.
bool is_wide(const Open& x, const std::vector<Id>& literals) {
  return x.clauses.size() == 1 && literals.size() > kFewLiterals;
}
}  // namespace

PartialValues::PartialValues(Constraints& all)
    : goals_(all.goals),
      key_sets_(all.key_sets),
      objects_(all.objects),
      arrays_(all.arrays),
      unique_(all.unique),
      inhabitance_(all.inhabitance),
      limits_(all.limits),
      depth_(all.depth) {}

Id PartialValues::make_open(Open open) {
  std::vector<Clause> todo = std::move(open.clauses);
  open.clauses.clear();
  std::reverse(todo.begin(), todo.end());
  std::vector<Id> rests{open.rest};
  Distinct distinct(&open.clauses);
  while (!todo.empty()) {
    if (open.here == kFalse) return never_open(open.array);
    Clause alive;
    Met met;
    bool holds = false;
    for (Id d : todo.back()) {
      const Open& x = opens_[d];
      holds = holds || (x.here == kTrue && x.rest == kAny && x.clauses.empty());
      if (!is_never(d) && met.insert(d)) alive.push_back(d);
    }
    todo.pop_back();
    if (holds) continue;
    if (open.array)
      absorb(&alive, [this](Id a, Id b) {
        const Open &x = opens_[a], &y = opens_[b];
        const auto &less = goals_.literals(x.here), &more = goals_.literals(y.here);
        return x.clauses.empty() &&
               std::includes(more.begin(), more.end(), less.begin(), less.end()) &&
               arrays_.weaker(x.rest, arrays_[y.rest]);
      });
    if (alive.empty()) return never_open(open.array);
    if (alive.size() > 1) {
      if (distinct.is_new(alive)) open.clauses.push_back(std::move(alive));
      continue;
    }
    const Open only = opens_[alive[0]];
    open.here = goals_.conj(open.here, only.here);
    rests.push_back(only.rest);
    todo.insert(todo.end(), only.clauses.rbegin(), only.clauses.rend());
  }
  if (rests.size() > 1)
    open.rest = open.array ? arrays_.conjunction(rests)
                           : objects_.conjunction(rests);  // all at once, because each conjunction
                                                           // settles all clauses
  if (open.here == kFalse || open.rest == kNever) return never_open(open.array);
  if (opens_.size() > limits_.states) throw Limit{"states", -1, "too many residuals of values"};
  return opens_.intern(std::move(open));
}

// Either the value meets the goal, or the members or items after it must meet `rest`.
Clause PartialValues::here_or(Id goal, Id rest, bool array) {
  Clause out{make_open({array, goal, kAny, {}})};
  if (rest != kNever) out.push_back(make_open({array, kTrue, rest, {}}));
  return out;
}

Id PartialValues::open_member(Id id, const KeyClass& cls, bool top) {
  const std::pair<Id, Id> key{id, cls.id << 1 | top};
  const auto found = open_members_.find(key);
  if (found != open_members_.end()) return found->second;
  if (top && objects_.is_plain(id)) return open_members_[key] = make_open({false, kTrue, id, {}});
  const Shape& s = objects_[id];
  Open out{false, kTrue, kAny, {}};
  const auto in_class = [&](const Rule& r) { return cls.in(r.keys); };
  const auto named = [&](const Rule& r) { return key_sets_[r.keys].kind == KeySet::One; };
  if (!top) {
    for (const Rule& r : s.rules)
      if (in_class(r)) out.here = goals_.conj(out.here, r.goal);
    for (const Rule& r : s.some)
      if (in_class(r) && named(r)) out.here = goals_.conj(out.here, r.goal);
    if (out.here == kFalse) return open_members_[key] = never_open(false);
  }
  Shape rest = s;
  rest.clauses.clear();
  if (!top) {
    std::erase_if(rest.rules, [&](const Rule& r) { return in_class(r) && named(r); });
    std::erase_if(rest.some, [&](const Rule& r) { return in_class(r) && named(r); });
  }
  for (const Rule& r : s.some)
    if (in_class(r) && !named(r) && r.goal != kTrue)
      out.clauses.push_back(here_or(r.goal, objects_.some(r.keys, r.goal), false));
  std::erase_if(rest.some, [&](const Rule& r) { return in_class(r) && !named(r); });
  for (const Clause& c : s.clauses) {
    Clause choices, others;  // disjuncts that do not mention the class stay together, unopened
    for (Id d : c)
      objects_.speaks_of(d, cls) ? choices.push_back(open_member(d, cls, false))
                                 : others.push_back(d);
    if (choices.empty()) {
      rest.clauses.push_back(c);
      continue;
    }
    if (!others.empty())
      choices.push_back(make_open({false, kTrue, objects_.disjunction(std::move(others)), {}}));
    out.clauses.push_back(std::move(choices));
  }
  out.rest =
      out.clauses.empty() && out.here == kTrue && rest == s ? id : objects_.intern(std::move(rest));
  return open_members_[key] = make_open(std::move(out));
}

Id PartialValues::open_item(Id id, bool top) {
  const auto found = open_items_.find({id, top});
  if (found != open_items_.end()) return found->second;
  const Row s = arrays_[id];
  Open out{true, kTrue, kAny, {}};
  Row rest = s;
  rest.rules.clear(), rest.some.clear(), rest.counts.clear(), rest.clauses.clear();
  const auto later = [](Span s) {
    s.from = std::max(s.from - 1, 0);
    if (s.to != kInf) --s.to;
    return s;
  };
  for (const Span& r : s.rules) {
    if (!top && r.from == 0) out.here = goals_.conj(out.here, r.goal);
    if (const Span next = later(r); next.to > 0) rest.rules.push_back(next);
  }
  for (const Span& r : s.some) {
    const Span next = later(r);
    if (r.from > 0)
      rest.some.push_back(next);
    else if (r.goal != kTrue)
      out.clauses.push_back(here_or(r.goal, arrays_.span(next.from, next.to, r.goal, false), true));
  }
  for (const Counted& c : s.counts) {
    const auto counted = [&](std::int32_t lo, std::int32_t hi) {
      if (hi < 0) return kNever;
      if (lo <= 0 && hi == kInf) return kAny;
      return arrays_.intern(
          {.rules = {}, .some = {}, .counts = {{c.goal, std::max(lo, 0), hi}}, .clauses = {}});
    };
    // The item counts, or it does not. If there is only a maximum, it may be assumed to count, and
    // if there is only a minimum, not to count: both only make the rest stricter.
    Clause choices{make_open(
        {true, c.lo > 0 ? c.goal : kTrue, counted(c.lo - 1, c.hi == kInf ? kInf : c.hi - 1), {}})};
    const Id uncounted = counted(c.lo, c.hi);
    if (c.hi == kInf)
      choices.push_back(make_open({true, kTrue, uncounted, {}}));
    else
      for (Id literal : std::vector<Id>(goals_.literals(c.goal)))
        choices.push_back(make_open({true, goals_.goal({literal ^ 1}), uncounted, {}}));
    out.clauses.push_back(std::move(choices));
  }
  if (!top && s.unique >= 0) out.here = goals_.conj(out.here, goals_.negate(s.unique));
  if (s.repeat >= 0) {
    rest.repeat = -1;
    Row owed;
    owed.repeat = s.repeat;
    out.clauses.push_back(here_or(s.repeat, arrays_.intern(std::move(owed)), true));
  }
  for (const Clause& c : s.clauses) {
    Clause choices;
    for (Id d : c) choices.push_back(open_item(d, false));
    out.clauses.push_back(std::move(choices));
  }
  sort_unique(&rest.rules);
  sort_unique(&rest.some);
  out.rest = arrays_.intern(std::move(rest));
  return open_items_[{id, top}] = make_open(std::move(out));
}

Id PartialValues::open_both(const std::vector<Id>& list, bool array) {
  Open out{array, kTrue, kAny, {}};
  for (Id o : list) out.clauses.push_back({o});
  return make_open(std::move(out));
}

const std::vector<Id>& PartialValues::undecided(Id open) {
  const auto found = undecided_.find(open);
  if (found != undecided_.end()) return found->second;
  const Open& x = opens_[open];
  std::vector<Id> out;
  Met met;
  const auto add = [&](Id l) {
    if (met.insert(l)) out.push_back(l);
  };
  for (Id l : goals_.literals(x.here)) add(l);
  for (const Clause& c : x.clauses)
    for (Id d : c) std::for_each(undecided(d).begin(), undecided(d).end(), add);
  return undecided_.emplace(open, std::move(out)).first->second;
}

Id PartialValues::decide(Id open, const std::vector<Id>& literals) {
  if (literals.empty()) return open;
  std::vector<Id> key = literals;
  sort_unique(&key);
  key.push_back(open);
  if (const auto found = decided_.find(key); found != decided_.end()) return found->second;
  Memo<Id> memo;
  const std::function<Id(Id)> search = [&](Id o) {
    const auto found = memo.find(o);
    if (found != memo.end()) return found->second;
    tick();
    Open x = opens_[o];
    std::vector<Id> here;
    // `key` is sorted except for its last entry, which is the Open itself.
    for (Id l : goals_.literals(x.here)) {
      const auto decides = [&](Id literal) {
        return std::binary_search(key.begin(), key.end() - 1, literal);
      };
      if (decides(l ^ 1)) return memo[o] = never_open(x.array);
      if (!decides(l)) here.push_back(l);
    }
    x.here = goals_.goal(std::move(here));
    for (Clause& c : x.clauses)
      for (Id& d : c) d = search(d);
    const Id out = make_open(std::move(x));
    return memo[o] = out;
  };
  const Id out = search(open);
  return decided_[std::move(key)] = out;
}

// Without `top`, the residual stays without unit propagation, which members_.viable() does not
// need.
Id PartialValues::fold(Id open, bool met, bool top) {
  const std::pair<Id, Id> key{open, met << 1 | top};
  const auto found = folded_.find(key);
  if (found != folded_.end()) return found->second;
  const Open x = opens_[open];
  if (x.rest == kNever || (x.here != kTrue && !met)) return folded_[key] = kNever;
  // A residual that is asked about is tidied once; those inside of clauses only become parts of it.
  if (x.clauses.empty()) return folded_[key] = top && !x.array ? objects_.tidy(x.rest) : x.rest;
  std::vector<Clause> clauses;
  for (const Clause& c : x.clauses) {
    Clause alive;
    bool holds = false;
    for (Id d : c) {
      const Id s = fold(d, met, false);
      holds = holds || s == kAny;
      const bool choice = !x.array && objects_.is_choice(objects_[s]);
      for (Id each : choice ? objects_[s].clauses[0] : Clause{s})
        if (each != kNever && std::find(alive.begin(), alive.end(), each) == alive.end())
          alive.push_back(each);
    }
    if (holds) continue;
    if (x.array) absorb(&alive, [this](Id a, Id b) { return arrays_.weaker(a, arrays_[b]); });
    if (alive.empty()) return folded_[key] = kNever;
    clauses.push_back(std::move(alive));
  }
  const auto finish = [&](auto shape, auto settled, auto interned, auto either) {
    if (!top && clauses.size() == 1 && x.rest == kAny) return either(clauses[0]);
    shape.clauses.insert(shape.clauses.end(), clauses.begin(), clauses.end());
    return top ? settled(std::move(shape)) : interned(std::move(shape));
  };
  const Id out =
      x.array ? finish(
                    Row(arrays_[x.rest]), [this](Row r) { return arrays_.settle(std::move(r)); },
                    [this](Row r) { return arrays_.intern(std::move(r)); },
                    [this](const Clause& c) { return arrays_.disjunction(c); })
              : finish(
                    Shape(objects_[x.rest]),
                    [this](Shape s) { return objects_.tidy(objects_.settle(std::move(s))); },
                    [this](Shape s) { return objects_.intern(std::move(s)); },
                    [this](const Clause& c) { return objects_.disjunction(c); });
  return folded_[key] = out;
}

// If literals and their negations are all met, a row may both have counted an item and not have
// counted it. If such a residual is not viable, that proves nothing.
bool PartialValues::is_ambiguous(Id residual, bool array) const {
  return array && !arrays_[residual].clauses.empty();
}

Id PartialValues::vital(Id open, Id base, const std::function<Id(Id)>& viable) {
  PairMap<Id> memo;
  const std::function<Id(Id, Id)> search = [&](Id o, Id known) {
    // The memo belongs to this call, because its entries depend on `viable`.
    if (is_never(o)) return kFalse;
    const auto found = memo.find({o, known});
    if (found != memo.end()) return found->second;
    tick();
    if (memo.size() > limits_.alternatives)
      throw Limit{"alternatives", -1, "a value decides between too many alternatives"};
    const Recursion deeper(&depth_, limits_.depth);
    // References into the memo stay valid while the search below adds to it. Nobody reads an entry
    // before it is set: the successors of an Open have fewer literals, so the search never meets
    // one of its own callers.
    Id& out = memo[{o, known}];
    Open x = opens_[o];
    if (x.here != kTrue) {
      const Id here = std::exchange(x.here, kTrue), more = goals_.conj(known, here);
      return out = inhabitance_.empty_on_sight(more)
                       ? kFalse
                       : goals_.conj(here, search(settled_by(make_open(std::move(x)), more), more));
    }
    // Viable even with no literal met: any value will do.
    const Id least = fold(o, false, x.array), enough = least == kNever ? kFalse : viable(least);
    if (enough == kTrue || x.clauses.empty()) return out = enough;
    // Not viable even with all literals met: no value will do.
    const Id most = fold(o, true, x.array);
    if (most == kNever || (!is_ambiguous(most, x.array) && viable(most) == kFalse))
      return out = kFalse;
    std::vector<Id> choices{enough};
    const std::vector<Id>& literals = undecided(o);
    if (literals.empty()) return out = enough;
    if (is_wide(x, literals)) {
      for (Id d : x.clauses[0])
        choices.push_back(
            search(open_both({make_open({x.array, kTrue, x.rest, {}}), d}, x.array), known));
      return out = goals_.any_goal(std::move(choices));
    }
    const Id l = literals[0];
    // Both branches of the diagram. `no` requires the negation only if it is among the literals
    // itself: meeting more literals never makes the rest stricter.
    const Id yes = search(decide(o, apart(o, l)), known),
             no = search(decide(o, apart(o, l ^ 1)), known);
    const bool both_signs = std::find(literals.begin(), literals.end(), l ^ 1) != literals.end();
    choices.push_back(goals_.conj(goals_.goal({l}), yes));
    choices.push_back(both_signs ? goals_.conj(goals_.goal({l ^ 1}), no) : no);
    return out = goals_.any_goal(std::move(choices));
  };
  return search(settled_by(open, base), base);
}

bool PartialValues::possible(Id open, Id goal, const std::function<bool(Id)>& viable) {
  if (is_never(open)) return false;
  tick();
  const Recursion deeper(&depth_, limits_.depth);
  Open x = opens_[open];
  if (x.here != kTrue) {
    goal = goals_.conj(goal, std::exchange(x.here, kTrue));
    return inhabitance_.inhabited(goal) &&
           possible(settled_by(make_open(std::move(x)), goal), goal, viable);
  }
  const Id least = fold(open, false, x.array);
  if (least != kNever && viable(least)) return true;
  if (x.clauses.empty()) return false;
  const Id most = fold(open, true, x.array);
  if (most == kNever || (!is_ambiguous(most, x.array) && !viable(most))) return false;
  const std::vector<Id>& literals = undecided(open);
  if (literals.empty()) return false;
  if (is_wide(x, literals))
    return std::any_of(x.clauses[0].begin(), x.clauses[0].end(), [&](Id d) {
      return possible(open_both({make_open({x.array, kTrue, x.rest, {}}), d}, x.array), goal,
                      viable);
    });
  // The same search as in vital(), but for one way instead of a formula, so it stops at the first.
  const Id l = literals[0], with = goals_.conj(goal, goals_.goal({l}));
  if (inhabitance_.inhabited(with) && possible(decide(open, apart(open, l)), with, viable))
    return true;
  const bool both_signs = std::find(literals.begin(), literals.end(), l ^ 1) != literals.end();
  const Id without = both_signs ? goals_.conj(goal, goals_.goal({l ^ 1})) : goal;
  return inhabitance_.inhabited(without) &&
         possible(decide(open, apart(open, l ^ 1)), without, viable);
}

bool PartialValues::ways(Id open, Id goal, const std::function<bool(Id, Id)>& leaf, bool apart) {
  if (is_never(open)) return false;
  tick();
  const Recursion deeper(&depth_, limits_.depth);
  const std::vector<Id>& literals = undecided(open);
  if (literals.empty()) return leaf(goal, fold(open, false));
  const Id l = literals[0], yes = decide(open, {l}), no = decide(open, {l ^ 1});
  if (yes != no) {
    const Id with = goals_.conj(goal, goals_.goal({l}));
    if (!is_never(yes) && inhabitance_.inhabited(with) && ways(yes, with, leaf, apart)) return true;
  }
  const bool both_signs =
      apart || std::find(literals.begin(), literals.end(), l ^ 1) != literals.end();
  const Id without = both_signs ? goals_.conj(goal, goals_.goal({l ^ 1})) : goal;
  return !is_never(no) && inhabitance_.inhabited(without) && ways(no, without, leaf, apart);
}

bool PartialValues::choices(
    Id open, Id base, std::size_t most, const std::function<std::int64_t(Id)>& rest,
    const std::function<void(const std::vector<Id>&, std::int64_t)>& choice) {
  std::size_t left = most;
  bool is_cut = false;
  bool inside = false;  // inside a clause that is tried disjunct by disjunct
  std::vector<Id> literals;
  const std::function<void(Id, Id)> search = [&](Id o, Id known) {
    if (is_never(o)) return;
    if (left == 0) return void(is_cut = true);
    tick();
    const Recursion deeper(&depth_, limits_.depth);
    Open x = opens_[o];
    const std::size_t given = literals.size();
    if (x.here != kTrue) {
      const Id here = std::exchange(x.here, kTrue);
      for (Id l : goals_.literals(here)) literals.push_back(l);
      known = goals_.conj(known, here);
      if (inhabitance_.inhabited(known)) search(settled_by(make_open(std::move(x)), known), known);
      return literals.resize(given);
    }
    // Costs bound the search as viability does in vital(): `dearest` is the cost with no literal
    // met, `least` with all of them.
    const std::int64_t dearest = rest(fold(o, false));
    if (dearest >= 0) choice(literals, dearest), --left;
    if (x.clauses.empty()) return;
    const std::int64_t least = rest(fold(o, true));
    if (least < 0 || (dearest >= 0 && least >= dearest)) return;
    const std::vector<Id>& all = undecided(o);
    if (all.empty()) return;
    if (is_wide(x, all)) {
      const bool outermost = !std::exchange(inside, true);
      for (Id d : x.clauses[0]) {
        // Each disjunct of the outermost clause gets a few tries, however many came before it: it
        // may be the only cheap one of thousands of tags.
        if (outermost) left = std::max(left, kLeastChoices);
        search(open_both({make_open({x.array, kTrue, x.rest, {}}), d}, x.array), known);
      }
      if (outermost) inside = false;
      return;
    }
    // Where a literal fails since the value is one of a list, the value is none of another list,
    // and is asked for that: otherwise there were a way for each set of dozens of tags.
    const auto take = [&](Id literal, bool asked) {
      std::vector<Id> holding = asked ? std::vector<Id>{literal} : apart(o, literal);
      std::erase_if(holding, [&](Id l) {
        return l != literal && std::find(all.begin(), all.end(), l) == all.end();
      });
      Id more = known;
      // `literals` is a stack that the whole search shares; it is cut back after each branch.
      for (Id l : holding)
        if (asked || l != literal)
          more = goals_.conj(more, goals_.goal({l})), literals.push_back(l);
      const Id next = decide(o, holding);
      if (inhabitance_.inhabited(more)) search(more == known ? next : settled_by(next, more), more);
      literals.resize(given);
    };
    take(all[0], true);
    take(all[0] ^ 1, std::find(all.begin(), all.end(), all[0] ^ 1) != all.end());
  };
  search(open, base);
  return is_cut;
}

Id PartialValues::residual(Id open, Id value) {
  std::vector<Id> literals = undecided(open);
  for (Id& l : literals)
    // The value is known, so each literal is decided: it holds if the value meets it.
    l ^= !inhabitance_.inhabited(goals_.conj(goals_.goal({l}), goals_.among({value})));
  const Id out = fold(decide(open, literals), false);
  return opens_[open].array ? unique_.with_value(out, value) : out;
}

// The literal, and with it that those fail which list other values. Of dozens of tags only one
// holds, so there is no way for each set of them.
std::vector<Id> PartialValues::apart(Id open, Id literal) {
  std::vector<Id> holding{literal};
  if (const std::vector<Id>* some = goals_.listed(literal)) {
    Met nodes;
    nodes.insert(literal >> 1);
    for (Id l : undecided(open))
      if (nodes.insert(l >> 1) && goals_.are_apart(*some, l & ~1)) holding.push_back(l | 1);
  }
  return holding;
}

// Decides the literals that follow from the goal on sight.
Id PartialValues::settled_by(Id open, Id known) {
  const std::vector<Id>& literals = undecided(open);
  std::vector<Id> goals{known};
  for (Id l : literals) goals.push_back(goals_.goal({l}));
  // Requests all nodes that the checks below need, at once.
  goals_.need(goals);
  std::vector<Id> holding;
  const auto is_apart = [&](Id literal) {
    const std::vector<Id>& ids = goals_.literals(known);
    return std::any_of(ids.begin(), ids.end(), [&](Id l) {
      return goals_.listed(l) && goals_.are_apart(*goals_.listed(l), literal);
    });
  };
  Met nodes;
  for (Id l : literals) {
    tick();
    if (nodes.contains(l >> 1)) continue;
    const Id asked = l & ~1;
    if (is_apart(asked))
      holding.push_back(asked ^ 1);
    else if (inhabitance_.empty_on_sight(goals_.conj(known, goals_.goal({l}))))
      holding.push_back(l ^ 1);
    else if (inhabitance_.empty_on_sight(goals_.conj(known, goals_.goal({l ^ 1}))))
      holding.push_back(l);
    else
      continue;
    nodes.insert(l >> 1);
  }
  return decide(open, holding);
}

Id PartialValues::settled(Id open, Type type) {
  const std::vector<Id>& literals = undecided(open);
  std::vector<Id> goals;
  for (Id l : literals) goals.push_back(goals_.goal({l}));
  goals_.need(goals);
  std::vector<Id> holding;
  Met nodes;
  for (Id l : literals) {
    tick();
    if (const int known = inhabitance_.constant_for(goals_.goal({l}), type);
        known >= 0 && nodes.insert(l >> 1))
      holding.push_back(known ? l : l ^ 1);
  }
  return decide(open, holding);
}

}  // namespace guard
