#include <bit>

#include "constraints/algebra.hpp"
#include "constraints/constraints.hpp"

namespace guard {

namespace {
constexpr std::size_t kSingle = 16;  // values of one goal that are followed one by one
constexpr std::int32_t kAhead =
    64;  // items that a search for what is owed may place before it gives up
}  // namespace

struct UniqueItems::Witness {
  std::vector<Id> used;  // values that later items need, because their goals have few
  Id twin = kTrue;       // the goal of the item that repeats an earlier one
};

UniqueItems::UniqueItems(Constraints& all)
    : goals_(all.goals),
      arrays_(all.arrays),
      partial_(all.partial),
      inhabitance_(all.inhabitance),
      values_(all.values),
      limits_(all.limits),
      depth_(all.depth) {}

bool UniqueItems::compares(Id id) {
  const Row& row = arrays_[id];
  if (row.unique >= 0 || row.repeat >= 0) return true;
  if (row.clauses.empty()) return false;
  const auto found = compares_.find(id);
  if (found != compares_.end()) return found->second;
  bool any = false;
  for (const Clause& c : row.clauses)
    for (Id d : c) any = any || compares(d);
  compares_[id] = any;
  return any;
}

std::vector<Id> UniqueItems::single_values(Id g) {
  std::vector<Id> list = values_.of(g, kSingle + 1);
  // Returns a copy, because the list behind it changes with the next listing.
  if (list.size() > kSingle) list.erase(list.begin() + 1, list.end());
  return list;
}

Id UniqueItems::item_goal(Id row) {
  const Id base = arrays_.base_of(arrays_[row], 0);
  return arrays_[row].unique < 0 ? base : goals_.conj(base, goals_.negate(arrays_[row].unique));
}

bool UniqueItems::repeats(Id id) {
  const Row& row = arrays_[id];
  return row.repeat >= 0 ||
         std::any_of(row.clauses.begin(), row.clauses.end(), [&](const Clause& c) {
           return std::any_of(c.begin(), c.end(), [&](Id d) { return repeats(d); });
         });
}

Id UniqueItems::with_value(Id id, Id value) {
  if (!compares(id)) return id;
  Row row = arrays_[id];
  for (Id* known : {&row.unique, &row.repeat}) {
    if (*known < 0) continue;
    std::vector<Id> values = goals_.values_in(*known);
    values.insert(std::upper_bound(values.begin(), values.end(), value), value);
    sort_unique(&values);
    *known = goals_.among(std::move(values));
  }
  for (Clause& c : row.clauses)
    for (Id& d : c) d = with_value(d, value);
  return arrays_.intern(std::move(row));
}

// The row as if an item of this goal, of which nothing more is known, were one of the values
// written.
Id UniqueItems::with_pick(Id id, Id pick) {
  if (!compares(id)) return id;
  Row row = arrays_[id];
  if (row.repeat >= 0) row.repeat = goals_.any_goal({row.repeat, pick});
  for (Clause& c : row.clauses)
    for (Id& d : c) d = with_pick(d, pick);
  return arrays_.intern(std::move(row));
}

// The row with another set of values that its items must differ from. Clauses stay as they are.
Id UniqueItems::compared_to(Id id, Id unique) {
  if (id == kNever || arrays_[id].unique < 0) return id;
  Row row = arrays_[id];
  row.unique = unique;
  return arrays_.intern(std::move(row));
}

// Finds distinct representatives, none of them in `unique`, for goals that have few values.
bool UniqueItems::match(const std::vector<Id>& picks, std::int32_t room, Id unique,
                        Witness* found) {
  std::vector<std::vector<Id>> lists;
  for (Id p : picks) {
    lists.push_back(values_.of(p, static_cast<std::size_t>(room)));
    std::erase_if(lists.back(), [&](Id v) { return has(goals_.values_in(unique), v); });
  }
  std::unordered_map<Id, std::size_t> taken;  // value -> index into picks
  std::unordered_set<Id> seen;
  // Bipartite matching by augmenting paths (Kuhn 1955): a taken value is given up if the goal that
  // took it finds another one.
  const std::function<bool(std::size_t)> place = [&](std::size_t i) {
    for (Id v : lists[i]) {
      if (!seen.insert(v).second) continue;
      const auto at = taken.find(v);
      if (at != taken.end() && !place(at->second)) continue;
      taken[v] = i;
      return true;
    }
    return false;
  };
  for (std::size_t i = 0; i < picks.size(); ++i) {
    seen.clear();
    if (!place(i)) return false;
  }
  if (found)
    for (const auto& [v, _] : taken) found->used.push_back(v);
  return true;
}

// Whether the row can be completed. `picks` are goals with few values, of items that the search has
// placed; goals with at least `room` values are not among them.
bool UniqueItems::plan_row(Id id, std::int32_t at, const std::vector<Id>& picks, std::int32_t room,
                           Witness* found) {
  if (id == kNever) return false;
  // Nothing is compared, so Arrays decides.
  if (picks.empty() && (!compares(id) || arrays_.done(id, at))) return arrays_.viable(id, at);
  tick();
  const Recursion deeper(&depth_, limits_.depth);
  const Row row = arrays_[id];
  if (!row.clauses.empty()) {
    Row rest = row;
    for (Id d : take_smallest(&rest.clauses)) {
      Row with = rest;
      if (arrays_.merge(&with, Row(arrays_[d])) &&
          plan_row(arrays_.settle(std::move(with)), at, picks, room, found))
        return true;
    }
    return false;
  }
  if (arrays_.done(id, at)) return match(picks, room, row.unique, found);
  if (at >= row.hi) return false;
  // More positions than the search will ever fill. A goal with that many values always has one
  // left, whatever the other items take.
  if (room == 0) room = std::max(at + kAhead, row.lo);
  const auto is_roomy = [&](Id g) {
    return row.unique < 0 || values_.has_values(g, static_cast<std::size_t>(room));
  };
  if (row.some.empty() && row.counts.empty() && row.repeat < 0) {  // only the minimum is owed
    // From `edge` on, all positions have the same goal; before it, each has its own.
    std::vector<Id> all = picks;
    std::int32_t edge = 0;
    for (const Span& s : row.rules) edge = std::max({edge, s.from, s.to == kInf ? 0 : s.to});
    for (std::int32_t i = 0; at + i < row.lo; ++i) {
      const Id g = arrays_.base_of(row, i);
      if (!inhabitance_.inhabited(g)) return false;
      const bool roomy = is_roomy(g);
      if (!roomy) all.push_back(g);
      if (i < edge) continue;
      if (roomy) break;  // so are all the others
      // Pigeonhole principle: this goal has fewer values than positions, those of other goals
      // aside.
      if (all.size() > values_.of(g, static_cast<std::size_t>(room)).size() +
                           static_cast<std::size_t>(edge) + picks.size())
        return false;
    }
    return match(all, room, row.unique, found);
  }
  if (row.unique >= 0 && at >= room)
    throw Limit{"items", -1, "uniqueItems beside obligations that take too many items", Op::Unique};
  const Id base = arrays_.base_of(row, 0);
  if (!inhabitance_.inhabited(base)) return false;
  return partial_.ways(partial_.open_item(compared_to(id, kFalse), true), base,
                       [&](Id goal, Id after) {
                         const bool roomy = is_roomy(goal);
                         std::vector<Id> more = picks;
                         if (!roomy) {
                           more.insert(std::upper_bound(more.begin(), more.end(), goal), goal);
                           // If the picks can't be matched already, there is no need to go on.
                           if (!match(more, room, row.unique, nullptr)) return false;
                         }
                         Id next = compared_to(after, row.unique);
                         if (row.repeat >= 0 && arrays_[next].repeat >= 0)
                           next = with_pick(next, goal);
                         std::int32_t to = at + 1;
                         if (next == id) {  // the item only adds to the count
                           if (at >= row.lo) return false;
                           if (roomy) to = at + 1 < row.lo ? row.lo - 1 : row.lo;
                         }
                         if (!plan_row(next, to, more, room, found)) return false;
                         if (found && row.repeat >= 0 && arrays_[next].repeat < 0)
                           found->twin = goal;
                         return true;
                       });
}

bool UniqueItems::has_room(Id id, std::int32_t at, std::size_t spare, Id within) {
  const Row& row = arrays_[id];
  const bool steady = row.some.empty() && row.counts.empty() && row.clauses.empty() &&
                      row.repeat < 0 && std::ranges::all_of(row.rules, &Span::is_everywhere);
  if (!steady || row.unique < 0 || at >= row.hi) return false;
  const Id base = goals_.conj(arrays_.base_of(row, 0), within);
  goals_.need({base});
  const std::size_t taken = goals_.values_in(row.unique).size(),
                    owed = static_cast<std::size_t>(std::max(row.lo - at, 1));
  // Rounded up, so that few numbers are asked for.
  return values_.has_values(base, std::bit_ceil(taken + owed + spare));
}

Id UniqueItems::viable_after(Id row, std::int32_t at, Id base) {
  if (!compares(row)) return arrays_.viable(row, at) ? kTrue : kFalse;
  std::vector<Id> good;
  while (inhabitance_.inhabited(base)) {
    Witness found;
    // First looks for a completion that holds for all values of the item but a few, then for one in
    // which a later item repeats the item. Each turn covers a part of `base`, and the next one
    // continues with the rest.
    const bool alone =
        // for any value but those in found.used
        plan_row(row, at, {}, 0, &found);
    if (!alone) {
      found = {};
      if (!plan_row(with_pick(row, base), at, {}, 0, &found)) break;
    }
    std::vector<Id> bad;
    // Only values that the matching needs can make it fail, so only those are tried one by one.
    for (Id v : found.used)
      if (inhabitance_.inhabited(goals_.conj(base, goals_.among({v}))) &&
          !arrays_.viable(with_value(row, v), at))
        bad.push_back(v);
    sort_unique(&bad);
    const Id rest = goals_.negate(goals_.among(std::move(bad)));
    good.push_back(alone ? rest : goals_.conj(found.twin, rest));
    if (alone) break;
    base = goals_.conj(base, goals_.negate(found.twin));
  }
  return goals_.any_goal(std::move(good));
}

}  // namespace guard
