#include <optional>
#include <queue>
#include <tuple>

#include "constraints/algebra.hpp"
#include "constraints/constraints.hpp"
#include "support/distances.hpp"

namespace guard {

namespace {
constexpr int kMaxChoices =
    256;  // combinations that a search compares before it settles for the best so far
}  // namespace

MinCosts::MinCosts(Constraints& all)
    : goals_(all.goals),
      scalars_(all.scalars),
      key_sets_(all.key_sets),
      objects_(all.objects),
      members_(all.members),
      arrays_(all.arrays),
      unique_(all.unique),
      partial_(all.partial),
      inhabitance_(all.inhabitance),
      values_(all.values),
      lexicon_(all.lexicon),
      spelling_(all.spelling),
      gap_(all.gap),
      limits_(all.limits),
      depth_(all.depth) {}

std::int64_t MinCosts::key_bytes(Id name) {
  const auto found = name_bytes_.find(name);
  if (found != name_bytes_.end()) return found->second;
  return name_bytes_[name] = 2 + spelled_bytes(lexicon_.names[name].text);
}

std::int64_t MinCosts::cost_of_strings(Id set) {
  std::int64_t best = -1;
  for (const StringPiece& p : std::vector<StringPiece>(scalars_.string_set(set).pieces))
    best = least(best, lexicon_.langs.cheapest(p.lang, p.lo, p.hi));
  return sum(best, 2);
}

std::int64_t MinCosts::of(Id g, Type type) {
  switch (type) {
    case Type::Null: return scalars_.literals3(g) & 1 ? 4 : -1;
    case Type::Boolean: return scalars_.literals3(g) & 2 ? 4 : scalars_.literals3(g) & 4 ? 5 : -1;
    case Type::String: return cost_of_strings(scalars_.strings(g));
    case Type::Number: {
      std::vector<NumberComponent> list;
      for (Id p : scalars_.numbers(g)) list.push_back({p, 0});
      if (list.empty()) return -1;
      std::int64_t best = -1;
      lexicon_.numbers.cheapest(lexicon_.numbers.start(list, spelling_),
                                [&](Id, std::int64_t n) { best = least(best, n); });
      return best;
    }
    default: return least_cost(g * 8 + static_cast<Id>(type) + 1);
  }
}

std::int64_t MinCosts::of(Id g) { return g == kFalse ? -1 : g == kTrue ? 1 : least_cost(g * 8); }

// Computes the cost of a key of the fixpoint once more (see Inhabitance). A cost in progress counts
// with its last value.
std::int64_t MinCosts::try_cost(Id key) {
  const Recursion deeper(&depth_, limits_.depth);
  const std::int64_t before = cost_round_.try_emplace(key, -1).first->second;
  const bool outer_leans = std::exchange(cost_leans_, false),
             outer_least = std::exchange(are_least_, true);
  std::int64_t best = before;
  const Id g = key / 8;
  try {
    switch (key % 8) {
      case 0:
        for (int t = 0; t < kTypes; ++t) best = least(best, of(g, static_cast<Type>(t)));
        break;
      case static_cast<int>(Type::Array) + 1:
        best = least(best, arrays_.of(g) == kNever ? -1 : sum(1, of_array(arrays_.of(g), 0)));
        break;
      default:
        best = least(best, objects_.of(g) == kNever ? -1 : sum(1, of_object(objects_.of(g), {})));
    }
  } catch (Limit& limit) {
    goals_.blame(&limit, node_of(goals_.literals(g)));
    throw;
  }
  if (!cost_leans_) {  // it depends on nothing that may still get cheaper
    cost_round_.erase(key);
    keep(key, best);
  } else if (best != before) {
    cheaper_ = true;
    cost_round_[key] = best;
  }
  cost_leans_ = cost_leans_ || outer_leans;
  are_least_ = are_least_ && outer_least;
  return best;
}

void MinCosts::keep(Id key, std::int64_t bytes) {
  if (!are_least_) above_least_.insert(key);  // first: an entry of cost_ is whole, whatever throws
  cost_[key] = bytes;
}

std::int64_t MinCosts::least_cost(Id key) {
  const auto sure = cost_.find(key);
  if (sure != cost_.end()) {
    if (!above_least_.empty() && above_least_.contains(key)) are_least_ = false;
    return sure->second;
  }
  if (in_cost_) {
    const auto now = cost_round_.find(key);
    if (now == cost_round_.end()) return try_cost(key);
    cost_leans_ = true;
    return now->second;
  }
  struct Reset {
    MinCosts* goals;
    ~Reset() { goals->in_cost_ = goals->cost_leans_ = false, goals->cost_round_.clear(); }
  } reset{this};
  in_cost_ = true;
  std::vector<Id> known{key};
  do {  // until nothing gets cheaper: costs only fall
    cheaper_ = false;
    for (Id k : known)
      if (!cost_.contains(k)) try_cost(k);
    known.clear();
    for (const auto& [k, _] : cost_round_) known.push_back(k);
  } while (cheaper_);
  for (const auto& [k, c] : cost_round_) keep(k, c);
  return cost_[key];
}

std::int64_t MinCosts::of_object(Id id, const Keys& keys) {
  if (id == kNever) return -1;
  if (objects_[id].clauses.empty()) return cost_members(id, keys);
  if (keys.fresh()) return cost_choices(id, keys);
  return found_.get(
      id, keys, objects_.counts(id), [&](const Keys& asked) { return cost_choices(id, asked); },
      [this] { return !inhabitance_.is_tentative() && !in_cost_; });
}

bool MinCosts::exceeds(Id shape, const Keys& keys, std::int64_t most) {
  if (shape == kNever) return true;
  struct Reset {
    bool* are_least;
    bool outer = std::exchange(*are_least, true);
    ~Reset() { *are_least = *are_least && outer; }
  } reset{&are_least_};
  const std::int64_t bytes = objects_[shape].clauses.empty() ? cost_members(shape, keys, most)
                                                             : cost_choices(shape, keys, most);
  return are_least_ && (bytes < 0 || bytes > most);
}

// The cheapest way through the clauses, by best-first search (Hart, Nilsson, Raphael 1968). Of
// nodes with equal bounds, the one with the fewest clauses left comes first. Clauses only add
// conditions, so the cost of the shape without its remaining clauses is a lower bound. Different
// orders of choices lead to the same shape, which is added once.
std::int64_t MinCosts::cost_choices(Id id, const Keys& keys, std::int64_t most) try {
  struct Node {
    std::int64_t bound;
    std::size_t clauses, age;
    Id shape;
    bool operator<(const Node& o) const {
      return std::tuple(bound, clauses, age) > std::tuple(o.bound, o.clauses, o.age);
    }  // the least on top
  };
  std::priority_queue<Node> open;
  std::unordered_set<Id> known;
  std::int64_t best = most < 0 ? -1 : most + 1;
  // A lower bound on the bytes of members that a disjunct requires and `s` does not. Only valid
  // where these members can't meet any other condition of `s`.
  const auto named = [this](const Rule& r) { return key_sets_[r.keys].kind == KeySet::One; };
  const auto added = [&](const Shape& s, const Shape& disjunct) {
    std::int64_t out = 0;
    for (const Rule& r : disjunct.some) {
      if (!named(r) || keys.seen(key_sets_[r.keys].id)) continue;
      const auto at = std::lower_bound(s.some.begin(), s.some.end(), Rule{r.keys, -1});
      if (at == s.some.end() || at->keys != r.keys)
        out += key_bytes(key_sets_[r.keys].id) + 2 + gap_;
    }
    return out;
  };
  const auto add = [&](Id at) {
    if (at == kNever || !known.insert(at).second) return;
    const Shape& s = objects_[at];
    Shape bare = s;
    bare.clauses.clear();
    std::int64_t bound = cost_members(objects_.intern(std::move(bare)), keys, most), more = 0;
    if (bound < 0 || (best >= 0 && bound >= best)) return;
    if (s.lo == 0 && std::all_of(s.some.begin(), s.some.end(), named))
      for (const Clause& c : s.clauses) {
        std::int64_t fewest = -1;
        for (Id d : c)
          if (fewest != 0) fewest = least(fewest, added(s, objects_[d]));
        more = std::max(more, fewest);
      }
    bound += more;
    if (best < 0 || bound < best) open.push({bound, s.clauses.size(), known.size(), at});
  };
  if (const Id easy = members_.easiest(objects_[id], keys); easy != kNever)
    best = least(best, cost_members(easy, keys, most));  // mostly nothing is cheaper
  if (most >= 0 && best <= most) return best;
  add(id);
  for (int left = kMaxChoices; !open.empty(); --left) {
    tick();
    const Node node = open.top();
    open.pop();
    if (best >= 0 && node.bound >= best) return best;
    if (best >= 0 && left <= 0) {
      are_least_ = false;
      return best;
    }
    if (const Id known_better = objects_.tidy(node.shape);
        known_better != node.shape) {  // only for nodes that are expanded: it is expensive
      add(known_better);
      continue;
    }
    Shape s = objects_[node.shape];
    if (s.clauses.empty()) return node.bound;
    for (Id d : take_smallest(&s.clauses)) {
      Shape with = s;
      if (d != kNever && !objects_.clash(s, objects_[d]) &&
          objects_.merge(&with, Shape(objects_[d])))
        add(objects_.settle(std::move(with)));
    }
  }
  return best;
} catch (Missing&) {
  objects_.need_choices(id);
  throw;
}

// The cost under a shape without clauses.
std::int64_t MinCosts::cost_members(Id id, const Keys& keys, std::int64_t most) {
  if (id == kNever) return -1;
  const Shape s = objects_[id];
  int choices = 0;
  const std::vector<KeyClass>& all = objects_.own_classes(id);
  struct Member {
    std::size_t cls;
    Id goal;
    std::int64_t cost;  // of the value
  };
  std::vector<Member> members;
  std::vector<Rule> todo;
  std::vector<std::optional<Id>> bases(all.size());
  const auto base_of = [&](std::size_t i) {
    if (!bases[i]) bases[i] = objects_.base_of(s, all[i]);
    return *bases[i];
  };
  for (std::size_t i = 0; i < all.size(); ++i) {
    if (all[i].own < 0) continue;
    const auto due = std::lower_bound(s.some.begin(), s.some.end(), Rule{all[i].own, -1});
    if (due == s.some.end() || due->keys != all[i].own || keys.seen(all[i].name)) continue;
    if (!keys.open(all[i].name)) return -1;
    const std::int64_t cost = of(base_of(i));
    if (cost < 0) return -1;
    members.push_back({i, base_of(i), cost});
  }
  for (const Rule& r : s.some)
    if (key_sets_[r.keys].kind != KeySet::One) todo.push_back(r);
  const auto open = [&](std::size_t i) {
    return all[i].name < 0 || (!keys.seen(all[i].name) && keys.open(all[i].name));
  };
  const auto taken = [&](std::size_t i) {
    return all[i].name >= 0 &&
           std::any_of(members.begin(), members.end(), [i](const Member& m) { return m.cls == i; });
  };
  // The members that may be added for a rule. They do not depend on the others, so they are made
  // once: the search asks for them again under each choice for the rules before.
  std::vector<std::optional<std::vector<Member>>> additions(todo.size());
  const auto additions_for = [&](std::size_t which) -> const std::vector<Member>& {
    if (additions[which]) return *additions[which];
    std::vector<Member> found;
    for (std::size_t i = 0; i < all.size(); ++i) {
      if (!all[i].in(todo[which].keys) || !open(i)) continue;
      const Id g = goals_.conj(base_of(i), todo[which].goal);
      if (const std::int64_t cost = g == kFalse ? -1 : of(g); cost >= 0)
        found.push_back({i, g, cost});
    }
    return additions[which].emplace(std::move(found));
  };
  const auto total =
      // bytes of these members, and of the cheapest ones that fill up to the minimum
      [&]() -> std::int64_t {
    std::vector<std::size_t> next(all.size(), 0);          // how many words of each class are used
    std::size_t listed = 0;                                // what they count as states
    const auto key = [&](std::size_t i) -> std::int64_t {  // bytes of the cheapest new key
      if (all[i].name >= 0) return key_bytes(all[i].name);
      while (true) {
        const Word* word = lexicon_.words.at(all[i].lang, next[i]);
        if (!word) return -1;
        if (!keys.taken(word->text) && std::none_of(all.begin(), all.end(), [&](const KeyClass& c) {
              return c.name >= 0 && lexicon_.names[c.name].text == word->text;
            }))
          return word->bytes + 2;
        ++next[i];
      }
    };
    std::int64_t bytes = 0, count = keys.count;
    const auto add = [&](std::size_t i, std::int64_t value) {
      const std::int64_t name = value < 0 ? -1 : key(i);
      if (name < 0) return false;
      bytes += name + 1 + gap_ + value;
      ++next[i];
      tick();
      if ((listed += 1 + static_cast<std::size_t>(name) / 16) > limits_.states)
        throw Limit{"states", -1,
                    "minProperties asks for " + std::to_string(s.lo) +
                        " members, whose shortest keys are too many",
                    Op::Size};
      ++count;
      return true;
    };
    for (const Member& m : members)
      if (!add(m.cls, m.cost)) return -1;
    while (count < s.lo) {
      std::int64_t best = -1;
      std::size_t which = 0;
      for (std::size_t i = 0; i < all.size(); ++i) {
        if (!open(i) || taken(i) || (all[i].name >= 0 && next[i])) continue;
        const std::int64_t value = of(base_of(i)), name = value < 0 ? -1 : key(i);
        if (name >= 0 && (best < 0 || name + value < best)) best = name + value, which = i;
      }
      if (best < 0 || !add(which, of(base_of(which)))) return -1;
    }
    if (count > s.hi) return -1;
    const std::int64_t written = count - keys.count;
    return bytes + (written - (keys.count == 0 && written > 0 ? 1 : 0)) * (1 + gap_) + 1;
  };
  std::int64_t best = most < 0 ? -1 : most + 1;
  // At least the bytes of a member beside its value, and of the comma that every further one has.
  const auto around = [&](std::size_t i) {
    return (all[i].name < 0 ? 2 : key_bytes(all[i].name)) + 2 * (1 + gap_);
  };
  // `spent`: at least the bytes of the members so far, which no further choice makes fewer.
  const std::function<void(std::size_t, std::int64_t)> assign = [&](std::size_t next,
                                                                    std::int64_t spent) {
    if (best >= 0 && spent >= best) return;
    if (best >= 0 && choices > kMaxChoices) {
      are_least_ = false;
      return;
    }
    if (next == todo.size()) {
      ++choices;
      best = least(best, total());
      return;
    }
    const Rule& r = todo[next];
    for (std::size_t j = 0; j < members.size(); ++j) {
      if (!all[members[j].cls].in(r.keys)) continue;
      const Member before = members[j];
      const Id goal = goals_.conj(before.goal, r.goal);
      const std::int64_t cost = goal == kFalse ? -1 : of(goal);
      if (cost < 0) continue;
      members[j] = {before.cls, goal, cost};
      assign(next + 1, spent - before.cost + cost);
      members[j] = before;
    }
    for (const Member& added : additions_for(next)) {
      if (taken(added.cls)) continue;
      tick();
      members.push_back(added);
      assign(next + 1, spent + added.cost + around(added.cls));
      members.pop_back();
    }
  };
  std::int64_t spent = 1 - (keys.count == 0 ? 1 + gap_ : 0);  // the brace, and no first comma
  for (const Member& m : members) spent += m.cost + around(m.cls);
  assign(0, spent);
  return best;
}

// Where items must differ, the cost must fall with every token of some continuation. So each owed
// item is charged with what suffices whatever the other items are: the bytes of the longest of the
// first `among` values of its goal. `among` is the largest number of items that the array can have
// along a plan. Along a plan that number never rises: an item meets a condition that is owed,
// brings a position nearer, or fills up to the minimum. The written values decide only whether a
// plan can be followed, and only values of goals that have fewer than `among` values matter: see
// reserved().
//
// Why the cost falls: take the cheapest plan, with goals g1, g2, …, and distinct representatives,
// none of them written, of the goals that have few values. If g1 has few, write its representative.
// It is one of reserved(), and for each of these the cost of the rest is computed with it written.
// Otherwise, fewer than `among` values are written or represent other goals, so one of the values
// that g1 is charged with is free. Either that one is in reserved() too, or no plan depends on it.
// The rest of the plan can still be followed, at no higher cost.
struct MinCosts::Plan {
  std::vector<Id> picks = {};  // as in plan_row
  // If a repeat is owed: one item has a known value, which a later item will equal.
  bool paired = false;
  std::vector<Id>* reserved = nullptr;  // if not null, collects the values of reserved()
};

// Computes the cost of counts by arithmetic (see viable_counts). Exact for one count. Of several
// large minima, each is met by items of its own, which never costs less. Nothing if that takes a
// search.
std::optional<std::int64_t> MinCosts::cost_counts(const Row& row, std::int32_t at) {
  const auto counts = arrays_.steady_counts(row);
  if (!counts) return std::nullopt;
  const Id base = arrays_.base_of(row, 0);
  const std::int64_t room = row.hi == kInf ? kInf : row.hi - at, due = std::max(row.lo - at, 0);
  std::int64_t items = 0, bytes = 0;
  const auto add = [&](std::int64_t n, std::int64_t each) {
    if (n > 0) items += n, bytes = sum(bytes, each < 0 ? -1 : n * each);
  };
  if (counts->size() == 1) {
    const Counted& c = (*counts)[0];
    const std::int64_t hit = of(goals_.conj(base, c.goal)),
                       miss = of(goals_.conj(base, goals_.negate(c.goal)));
    add(c.lo, hit);
    const std::int64_t hits = hit < 0 || (miss >= 0 && miss < hit)
                                  ? 0
                                  : std::clamp<std::int64_t>(due - c.lo, 0, c.hi - c.lo);
    add(hits, hit);
    add(due - c.lo - hits, miss);
  } else {
    std::int64_t total = 0;
    for (const Counted& c : *counts) {
      if (c.hi != kInf) return std::nullopt;
      total += c.lo;
    }
    if (total <= kMaxChoices || total > room) return std::nullopt;
    are_least_ = false;  // one item may count for several
    for (const Counted& c : *counts) add(c.lo, of(goals_.conj(base, c.goal)));
    add(due - items, of(base));
  }
  if (bytes < 0 || items > room) return -1;
  return bytes + 1 + (items - (at == 0 && items > 0 ? 1 : 0)) * (1 + gap_);
}

std::int64_t MinCosts::of_array(Id id, std::int32_t at) { return cost_row(id, at, {}); }

bool MinCosts::may_get_dearer(Id id) {
  const Row& row = arrays_[id];
  const std::function<bool(const Row&)> differs = [&](const Row& r) {
    return r.unique >= 0 || std::any_of(r.clauses.begin(), r.clauses.end(), [&](const Clause& c) {
             return std::any_of(c.begin(), c.end(), [&](Id d) { return differs(arrays_[d]); });
           });
  };
  return !(row.some.empty() && row.counts.empty() && row.clauses.empty()) && differs(row);
}

std::vector<Id> MinCosts::reserved(Id id, std::int32_t at) {
  std::vector<Id> out;
  if (!may_get_dearer(id)) return out;  // there is one plan, which every valid item leaves possible
  cost_row(id, at, {.reserved = &out});
  sort_unique(&out);
  return out;
}

std::int64_t MinCosts::cost_row(Id id, std::int32_t at, const Plan& plan) {
  if (id == kNever) return -1;
  const Recursion deeper(&depth_, limits_.depth);
  tick();
  if (arrays_.done(id, at)) return 1;
  const Row row = arrays_[id];
  if (at >= row.hi) return -1;
  const auto comma = [&](std::int32_t n) { return n > 0 ? 1 + gap_ : 0; };
  if (!row.clauses.empty()) {
    std::int64_t best = -1;
    Row rest = row;
    for (Id d : take_smallest(&rest.clauses)) {
      Row with = rest;
      if (arrays_.merge(&with, Row(arrays_[d])))
        best = least(best, cost_row(arrays_.settle(std::move(with)), at, plan));
    }
    return best;
  }
  std::int32_t edge = 0;
  for (const Span& s : row.rules) edge = std::max({edge, s.from, s.to == kInf ? 0 : s.to});
  const bool fills =
      row.some.empty() && row.counts.empty() && row.repeat < 0;  // only the minimum is owed
  std::int64_t owed = edge;
  for (const Span& s : row.some) owed = std::max<std::int64_t>(owed, s.from);
  owed += static_cast<std::int64_t>(row.some.size());
  for (const Counted& c : row.counts) owed += c.lo;
  const std::int32_t among = fills ? row.lo
                                   : static_cast<std::int32_t>(std::min<std::int64_t>(
                                         std::max(row.lo, at + 1) + owed, kInf));
  const auto is_roomy = [&](Id goal) {
    if (row.unique < 0 || values_.has_values(goal, static_cast<std::size_t>(among))) return true;
    if (plan.reserved) {
      const std::vector<Id>& few = values_.of(goal, static_cast<std::size_t>(among));
      plan.reserved->insert(plan.reserved->end(), few.begin(), few.end());
    }
    return false;
  };
  const auto charged = [&](Id goal) {
    if (row.unique < 0) return of(goal);
    are_least_ = false;
    return values_.bytes_among(goal, among);
  };
  if (fills) {
    if (row.unique >= 0 && !unique_.plan_row(id, at, plan.picks, among, nullptr)) return -1;
    std::int64_t bytes = 1;
    for (std::int32_t i = at; i < row.lo; ++i) {
      const Id base = arrays_.base_of(row, i - at);
      if (plan.reserved) is_roomy(base);
      const std::int64_t item = charged(base);
      if (item < 0 && !plan.reserved) return -1;
      if (i - at >= edge) {  // all further items are alike
        bytes += (row.lo - i) * (item + comma(1)) - (i == 0 ? comma(1) : 0);
        break;
      }
      bytes += item + comma(i);
    }
    return bytes;
  }
  if (const auto counted = cost_counts(row, at)) return *counted;
  struct Way {
    Id next;
    Plan plan;
    std::int64_t item;
  };
  std::vector<Way> ways;  // for each residual and plan, the cheapest item
  const auto add = [&](Way way) {
    for (Way& w : ways)
      if (w.next == way.next && w.plan.paired == way.plan.paired && w.plan.picks == way.plan.picks)
        return void(w.item = std::min(w.item, way.item));
    ways.push_back(std::move(way));
  };
  const Id base = arrays_.base_of(row, 0),
           open = partial_.open_item(unique_.compared_to(id, kFalse), true);
  int choices = 0;
  const bool is_cut = partial_.ways(
      open, base,
      [&](Id goal, Id after) {
        const std::int64_t item = charged(goal);
        if (item < 0 && !plan.reserved) return false;
        Plan next = plan;
        if (!is_roomy(goal)) {
          next.picks.insert(std::upper_bound(next.picks.begin(), next.picks.end(), goal), goal);
          if (!unique_.match(next.picks, among, row.unique, nullptr)) return false;
        }
        add({unique_.compared_to(after, row.unique), std::move(next), item});
        return ++choices >= kMaxChoices;
      },
      row.unique >= 0);
  if (row.repeat >= 0 && !plan.paired) {  // a value that a later item will equal
    are_least_ = false;                   // of many values one is tried
    const Id goal = goals_.conj(base, partial_.vital(open, base, [&](Id after) {
      return unique_.viable_after(after, at + 1, base);
    }));
    for (Id v : unique_.single_values(goal))
      add({partial_.residual(open, v), {{}, true, plan.reserved}, values_.value_bytes(v)});
  }
  std::int64_t best = -1;
  for (const Way& w : ways) {
    std::int64_t rest = -1;
    if (w.next == id && w.plan.picks.size() == plan.picks.size()) {
      if (at < row.lo && row.repeat < 0)
        rest = sum(cost_row(id, row.lo, w.plan), (row.lo - at - 1) * (w.item + comma(1)));
    } else if (w.next != id || at < row.lo) {
      rest = cost_row(w.next, at + 1, w.plan);
    }
    best = least(best, sum(sum(w.item, comma(at)), rest));
  }
  if (is_cut) are_least_ = false;
  if (best < 0 && is_cut)  // a way that was cut off may have a cost
    throw Limit{"items", -1, "an item decides in too many ways what the next ones take"};
  return best;
}

}  // namespace guard
