#include "constraints/algebra.hpp"
#include "constraints/constraints.hpp"

namespace guard {

namespace {
constexpr std::size_t kMaxEasy =
    10000;  // clauses of which easiest() chooses a disjunct before it gives up
}  // namespace

ObjectViability::ObjectViability(Constraints& all)
    : goals_(all.goals),
      key_sets_(all.key_sets),
      objects_(all.objects),
      inhabitance_(all.inhabitance),
      costs_(all.costs),
      limits_(all.limits),
      depth_(all.depth) {}

bool ObjectViability::viable(Id id, const Keys& keys) try {
  if (id == kNever) return false;
  if (id == kAny) return true;
  if (keys.fresh()) {
    const auto found = fresh_.find(id);
    if (found != fresh_.end()) return found->second;
    if (inhabitance_.in_round() && inhabitance_.is_found_empty(id)) return false;
  } else if (!keys.answers && !objects_[id].clauses.empty()) {
    return found_.get(
        id, keys, objects_.counts(id), [&](const Keys& asked) { return viable(id, asked); },
        [this] { return !inhabitance_.is_tentative() && !costs_.is_under_way(); });
  }
  const Recursion deeper(&depth_, limits_.depth);
  const Shape& s = objects_[id];
  bool ok = false;
  if (s.clauses.empty()) {
    ok = plan(id, keys);
  } else if (is_closed(s, keys)) {
    ok = false;
  } else if (const Id easy = easiest(s, keys); easy != kNever && plan(easy, keys)) {
    ok = true;
  } else if (is_stuck(s, keys)) {
    ok = false;
  } else if (const Id tagged = with_tags(id); tagged != id) {
    ok = viable(tagged, keys);
  } else {  // choose a disjunct of the smallest clause; first success ends it
    Shape rest = s;
    for (Clause& c : rest.clauses)
      std::erase_if(c, [&](Id d) { return d == kNever || is_closed(objects_[d], keys); });
    // A tag comes first, because its value settles what the other clauses say of it. Otherwise they
    // would be tried in all their combinations.
    const auto lists = [this](Id d) {
      const Shape& x = objects_[d];
      return std::any_of(x.rules.begin(), x.rules.end(), [&](const Rule& r) {
        const auto at = std::lower_bound(x.some.begin(), x.some.end(), Rule{r.keys, -1});
        const std::vector<Id>& ids = goals_.literals(r.goal);
        return at != x.some.end() && at->keys == r.keys &&
               std::any_of(ids.begin(), ids.end(), [this](Id l) { return goals_.listed(l); });
      });
    };
    const auto is_tag = [&](const Clause& c) {
      constexpr std::ptrdiff_t kMost = 64;
      const std::ptrdiff_t size = static_cast<std::ptrdiff_t>(c.size());
      return size > 1 && size <= kMost && std::count_if(c.begin(), c.end(), lists) + 1 >= size;
    };
    const bool stuck = std::any_of(rest.clauses.begin(), rest.clauses.end(),
                                   [](const Clause& c) { return c.empty(); });
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
      if (!objects_.merge(&with, Shape(objects_[d]))) continue;
      // A written name met its goals when it was written, so what the rest says of it is settled.
      const Id next = objects_.tidy(objects_.settle(std::move(with)));
      if (viable(next, keys)) {
        ok = true;
        break;
      }
    }
  }
  if (keys.fresh() && (ok || !inhabitance_.is_tentative())) fresh_[id] = ok;
  if (keys.fresh() && !ok && inhabitance_.in_round()) inhabitance_.note_empty(id);
  return ok;
} catch (Missing&) {
  if (!objects_[id].clauses.empty()) objects_.need_choices(id);
  throw;
}

// Whether the shape requires a name that can no longer be written.
bool ObjectViability::is_closed(const Shape& s, const Keys& keys) const {
  return keys.is_open && std::any_of(s.some.begin(), s.some.end(), [&](const Rule& r) {
           const KeySet& k = key_sets_[r.keys];
           return k.kind == KeySet::One && !keys.seen(k.id) && !keys.open(k.id);
         });
}

// Whether the shape requires a name for which no value is left, whatever its clauses say. Otherwise
// a search through them would find that out once for each of their combinations.
bool ObjectViability::is_stuck(const Shape& s, const Keys& keys) {
  std::vector<Id> wanted;
  for (const Rule& r : s.some)
    if (const KeySet& k = key_sets_[r.keys]; k.kind == KeySet::One && !keys.seen(k.id))
      wanted.push_back(objects_.goal_at(k.id, s, nullptr));
  goals_.need(wanted);
  return std::any_of(wanted.begin(), wanted.end(),
                     [this](Id goal) { return !inhabitance_.inhabited(goal); });
}

// Whether the disjunct requires a name for which, on sight, no value is left.
bool ObjectViability::contradicts(const Shape& s, const Shape& disjunct) {
  return std::any_of(disjunct.some.begin(), disjunct.some.end(), [&](const Rule& r) {
    const KeySet& k = key_sets_[r.keys];
    return k.kind == KeySet::One &&
           inhabitance_.empty_on_sight(objects_.goal_at(k.id, s, &disjunct));
  });
}

// Adds what all disjuncts of a clause imply: names that are required, and the values that a name
// may have. If one key was written that only some tags allow, and another is required that only
// other tags allow, no completion exists. A search that tries the consequences of each tag does not
// find that out.
Id ObjectViability::with_tags(Id id) {
  constexpr std::size_t kMost = 64;                // values
  if (objects_[id].clauses.size() < 2) return id;  // a single one is tried disjunct by disjunct
  if (const auto found = tagged_.find(id); found != tagged_.end()) return found->second;
  Shape s = objects_[id];
  std::unordered_map<Id, std::vector<Id>> tags;  // by key set
  for (const Clause& c : s.clauses) {
    tick();
    // Each disjunct must require the name and list its values.
    const auto values_of = [this](const Shape& d, Id keys) -> const std::vector<Id>* {
      const auto some = std::lower_bound(d.some.begin(), d.some.end(), Rule{keys, -1});
      if (some == d.some.end() || some->keys != keys) return nullptr;
      const auto rule = std::lower_bound(d.rules.begin(), d.rules.end(), Rule{keys, -1});
      for (const Id g :
           {some->goal, rule != d.rules.end() && rule->keys == keys ? rule->goal : kTrue})
        for (Id l : goals_.literals(g))
          if (const std::vector<Id>* values = goals_.listed(l)) return values;
      return nullptr;
    };
    if (c.size() < 2 || c.size() > kMost || c[0] == kNever) continue;
    for (const Rule& r : objects_[c[0]].some) {
      if (key_sets_[r.keys].kind != KeySet::One) continue;
      std::vector<Id> all;
      bool is_tag = true;
      for (Id d : c) {
        const std::vector<Id>* values = d == kNever ? nullptr : values_of(objects_[d], r.keys);
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
  for (auto& [keys, values] : tags)
    objects_.merge_bare(&s, objects_[objects_.every(keys, goals_.among(std::move(values)))]);
  for (Id name : objects_.must(id))
    objects_.merge_bare(&s, objects_[objects_.some(key_sets_.key_name(name), kTrue)]);
  const Id out = s == objects_[id] ? id : objects_.tidy(objects_.settle(std::move(s)));
  return tagged_[id] = out;
}

// Chooses the least strict disjunct of each clause, without backtracking, which mostly suffices.
// kNever: some clause has none. Clauses that can be met by the absence of keys come last: other
// clauses may require these keys.
Id ObjectViability::easiest(Shape s, const Keys& keys) {
  const auto asks = [this](const Shape& d) {
    const auto hard = [this](const Rule& r) {
      return r.goal != kTrue || key_sets_[r.keys].kind != KeySet::One;
    };
    return d.clauses.size() * 4 + (d.lo > 0 || d.hi < kInf) * 4 +
           static_cast<std::size_t>(std::count_if(d.some.begin(), d.some.end(), hard)) * 4 +
           d.rules.size() * 2 + d.some.size();
  };
  const auto forbids_alone = [this](Id d) {
    const Shape& x = objects_[d];
    return d != kNever && x.some.empty() && x.clauses.empty() && x.lo == 0 && x.hi == kInf &&
           std::all_of(x.rules.begin(), x.rules.end(),
                       [](const Rule& r) { return r.goal == kFalse; });
  };
  std::stable_partition(s.clauses.begin(), s.clauses.end(), [&](const Clause& c) {
    return std::any_of(c.begin(), c.end(), forbids_alone);
  });  // clauses are taken from the back
  for (std::size_t steps = 0; !s.clauses.empty(); ++steps) {
    tick();
    if (steps == kMaxEasy) return kNever;
    const Clause clause = std::move(s.clauses.back());
    s.clauses.pop_back();
    if (std::any_of(clause.begin(), clause.end(), [&](Id d) { return objects_.weaker(d, s); }))
      continue;
    Id best = kNever;
    std::size_t least = 0;
    for (Id d : clause) {
      if (d == kNever) continue;
      const std::size_t asked = asks(objects_[d]);
      if ((best == kNever || asked < least) && !objects_.clash(s, objects_[d]) &&
          !is_closed(objects_[d], keys) && !contradicts(s, objects_[d]))
        best = d, least = asked;
    }
    if (best == kNever || !objects_.merge(&s, Shape(objects_[best]))) return kNever;
  }
  return objects_.settle(std::move(s));
}

bool ObjectViability::plan(Id id, const Keys& keys) {
  const Shape& s = objects_[id];
  if (keys.count > s.hi) return false;
  struct Member {
    Id name;  // -1: one of its class
    std::size_t cls;
    Id goal;
  };
  std::vector<Member> members;
  std::vector<Rule> todo;
  std::vector<Id> wanted;
  std::vector<Rule> wide;  // universals of more than one name
  for (const Rule& r : s.rules)
    if (key_sets_[r.keys].kind != KeySet::One) wide.push_back(r);
  // That patterns divide keys into too many classes shows here, before anything is decoded.
  if (std::any_of(wide.begin(), wide.end(),
                  [this](const Rule& r) { return key_sets_.has_patterns(r.keys); }))
    objects_.own_classes(id);
  for (const Rule& r : s.some) {
    const KeySet& k = key_sets_[r.keys];
    if (k.kind != KeySet::One) {
      todo.push_back(r);
      continue;
    }
    if (keys.seen(k.id)) continue;
    if (!keys.open(k.id)) return false;
    tick();
    Id g = r.goal;
    const auto own = std::lower_bound(s.rules.begin(), s.rules.end(), Rule{r.keys, -1});
    if (own != s.rules.end() && own->keys == r.keys) g = goals_.conj(g, own->goal);
    for (const Rule& rule : wide)
      if (key_sets_.holds(rule.keys, k.id)) g = goals_.conj(g, rule.goal);
    if (g == kFalse) return false;
    members.push_back({k.id, 0, g});
    wanted.push_back(g);
  }
  goals_.need(wanted);
  for (const Member& m : members)
    if (!inhabitance_.inhabited(m.goal)) return false;
  const auto count = [&] {
    return static_cast<std::int64_t>(keys.count) + static_cast<std::int64_t>(members.size());
  };
  const auto fits = [&] { return count() <= s.hi; };
  if (todo.empty() && count() >= s.lo) return fits();
  const std::vector<KeyClass>& all = objects_.own_classes(id);
  // Classes of one name come in the order of names.
  std::sort(members.begin(), members.end(),
            [](const Member& a, const Member& b) { return a.name < b.name; });
  std::size_t at = 0;
  for (Member& m : members) {
    while (all[at].name != m.name) ++at;
    m.cls = at;
  }
  if (s.hi == kInf) {
    // There is no maximum. So an obligation is met by itself if a class with any number of keys has
    // a value for it, or if it asks nothing of its value and some key for it is left.
    std::vector<Rule> hard;
    for (const Rule& r : todo) {
      bool possible = false, alone = false;
      for (std::size_t i = 0; i < all.size() && !alone; ++i) {
        if (!all[i].in(r.keys) ||
            (all[i].name >= 0 && (keys.seen(all[i].name) || !keys.open(all[i].name))))
          continue;
        const bool ok = inhabitance_.inhabited(goals_.conj(objects_.rules_goal(s, all[i]), r.goal));
        possible = possible || ok;
        alone = ok && (all[i].name < 0 || r.goal == kTrue);
      }
      if (!possible) return false;
      if (!alone) hard.push_back(r);
    }
    todo = std::move(hard);
  }
  if (todo.empty() && count() >= s.lo) return fits();
  // How many members can still be added to reach the minimum.
  const auto fill = [&] {
    std::int64_t n = 0;
    for (std::size_t i = 0; i < all.size(); ++i) {
      if (all[i].name >= 0 && (keys.seen(all[i].name) || !keys.open(all[i].name))) continue;
      if (std::any_of(members.begin(), members.end(),
                      [i](const Member& m) { return m.cls == i; }) &&
          all[i].name >= 0)
        continue;
      if (!inhabitance_.inhabited(objects_.rules_goal(s, all[i]))) continue;
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
      const Id before = members[j].goal, g = goals_.conj(before, r.goal);
      if (!inhabitance_.inhabited(g)) continue;
      members[j].goal = g;
      const bool ok = search(next + 1);
      members[j].goal = before;
      if (ok) return true;
    }
    for (std::size_t i = 0; i < all.size(); ++i) {
      if (!all[i].in(r.keys)) continue;
      if (all[i].name >= 0 && (keys.seen(all[i].name) || !keys.open(all[i].name) ||
                               std::any_of(members.begin(), members.end(),
                                           [i](const Member& m) { return m.cls == i; })))
        continue;
      const Id g = goals_.conj(objects_.rules_goal(s, all[i]), r.goal);
      if (!inhabitance_.inhabited(g)) continue;
      members.push_back({all[i].name, i, g});
      const bool ok = search(next + 1);
      members.pop_back();
      if (ok) return true;
    }
    return false;
  };
  return search(0);
}

bool ObjectViability::done(Id id, const Keys& keys) {
  const Shape& s = objects_[id];
  if (keys.count < s.lo || keys.count > s.hi) return false;
  for (const Rule& r : s.some)
    if (key_sets_[r.keys].kind != KeySet::One || !keys.seen(key_sets_[r.keys].id)) return false;
  for (const Clause& c : s.clauses)
    if (std::none_of(c.begin(), c.end(), [&](Id d) { return done(d, keys); })) return false;
  return true;
}

}  // namespace guard
