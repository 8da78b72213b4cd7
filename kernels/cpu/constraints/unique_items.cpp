// Goals: arrays whose items are compared: uniqueItems, and its negation. See constraint.hpp.
//
// A row knows the values written. Under `unique` an item must meet its goal and be none of them, which is a goal like any other
// (not a constant). Whether the items that still must come can all differ is judged before the value of the item at hand is known:
// goals that have a value for every position are never short of one, whatever the others take (Hall); the rest, small
// finite sets, are matched. The values that a matching needs are the only ones whose choice now could end badly: each is
// tried, and where it does the item's goal excludes it. Under `repeat` an item that equals an earlier one is owed: where the
// item at hand must be its partner, its goal is what a later item can meet.
#include "constraints/algebra.hpp"

namespace guard {

namespace {
constexpr std::size_t kSingle = 16;  // values of one goal, each followed on its own
constexpr std::int32_t kAhead = 64;  // items that a search for what is owed may write before it is given up
}  // namespace

struct Goals::Witness {
  std::vector<Id> used;  // the values that items still to come need, when their goals have few
  Id twin = kTrue;       // the goal of the item that repeats an earlier one
};

bool Goals::compares(Id id) {
  const Row& row = rows_[id];
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

std::vector<Id> Goals::single_values(Id g) {
  std::vector<Id> list = values(g, kSingle + 1);
  if (list.size() > kSingle) list.resize(1);
  return list;
}

Id Goals::item_goal(Id row) {
  const Id base = base_of(rows_[row], 0);
  return rows_[row].unique < 0 ? base : conj(base, negate(rows_[row].unique));
}

bool Goals::repeats(Id id) {
  const Row& row = rows_[id];
  return row.repeat >= 0 || std::any_of(row.clauses.begin(), row.clauses.end(), [&](const Clause& c) {
           return std::any_of(c.begin(), c.end(), [&](Id d) { return repeats(d); });
         });
}

const std::vector<Id>& Goals::values_in(Id among) const {
  static const std::vector<Id> none;
  return among == kFalse ? none : internals_[(goals_[among].ids[0] >> 1) - kInternal].values;
}

Id Goals::with_value(Id id, Id value) {
  if (!compares(id)) return id;
  Row row = rows_[id];
  for (Id* known : {&row.unique, &row.repeat}) {
    if (*known < 0) continue;
    std::vector<Id> values = values_in(*known);
    values.insert(std::upper_bound(values.begin(), values.end(), value), value);
    sort_unique(&values);
    *known = among(std::move(values));
  }
  for (Clause& c : row.clauses)
    for (Id& d : c) d = with_value(d, value);
  return rows_.intern(std::move(row));
}

// The row as if an item of this goal, of which no more is known, were one of the values written.
Id Goals::with_pick(Id id, Id pick) {
  if (!compares(id)) return id;
  Row row = rows_[id];
  if (row.repeat >= 0) row.repeat = any_goal({row.repeat, pick});
  for (Clause& c : row.clauses)
    for (Id& d : c) d = with_pick(d, pick);
  return rows_.intern(std::move(row));
}

// The row with another set of values that its items must not be; what a clause says stays.
Id Goals::compared_to(Id id, Id unique) {
  if (id == kNever || rows_[id].unique < 0) return id;
  Row row = rows_[id];
  row.unique = unique;
  return rows_.intern(std::move(row));
}

// Distinct representatives, none of them in `unique`, for goals that have few values.
bool Goals::match(const std::vector<Id>& picks, std::int32_t room, Id unique, Witness* found) {
  std::vector<std::vector<Id>> lists;
  for (Id p : picks) {
    lists.push_back(values(p, static_cast<std::size_t>(room)));
    std::erase_if(lists.back(), [&](Id v) { return has(values_in(unique), v); });
  }
  std::unordered_map<Id, std::size_t> taken;  // value -> index into picks
  std::unordered_set<Id> seen;
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

// Can the row be met from here? `picks` are goals with few values, of items that the search has written already; a goal with
// `room` values is not among them.
bool Goals::plan_row(Id id, std::int32_t at, const std::vector<Id>& picks, std::int32_t room, Witness* found) {
  if (id == kNever) return false;
  if (picks.empty() && (!compares(id) || done_row(id, at))) return viable_row(id, at);
  tick();
  const Recursion deeper(&depth_, limits_.depth);
  const Row row = rows_[id];
  if (!row.clauses.empty()) {
    Row rest = row;
    for (Id d : take_smallest(&rest.clauses)) {
      Row with = rest;
      if (merge_rows(&with, Row(rows_[d])) && plan_row(settle_row(std::move(with)), at, picks, room, found)) return true;
    }
    return false;
  }
  if (done_row(id, at)) return match(picks, room, row.unique, found);
  if (at >= row.hi) return false;
  if (room == 0) room = std::max(at + kAhead, row.lo);
  const auto is_roomy = [&](Id g) { return row.unique < 0 || has_values(g, static_cast<std::size_t>(room)); };
  if (row.some.empty() && row.counts.empty() && row.repeat < 0) {  // only the minimum is owed
    std::vector<Id> all = picks;
    std::int32_t edge = 0;
    for (const Span& s : row.rules) edge = std::max({edge, s.from, s.to == kInf ? 0 : s.to});
    for (std::int32_t i = 0; at + i < row.lo; ++i) {
      const Id g = base_of(row, i);
      if (!inhabited(g)) return false;
      const bool roomy = is_roomy(g);
      if (!roomy) all.push_back(g);
      if (i < edge) continue;
      if (roomy) break;  // so are all the others
      if (all.size() > values(g, static_cast<std::size_t>(room)).size() + static_cast<std::size_t>(edge) + picks.size()) return false;
    }
    return match(all, room, row.unique, found);
  }
  if (row.unique >= 0 && at >= room) throw Limit{"alternatives", -1, "uniqueItems beside obligations that take too many items"};
  const Id base = base_of(row, 0);
  if (!inhabited(base)) return false;
  return ways(open_item(compared_to(id, kFalse), true), base, [&](Id goal, Id after) {
    const bool roomy = is_roomy(goal);
    std::vector<Id> more = picks;
    if (!roomy) {
      more.insert(std::upper_bound(more.begin(), more.end(), goal), goal);
      if (!match(more, room, row.unique, nullptr)) return false;
    }
    Id next = compared_to(after, row.unique);
    if (row.repeat >= 0 && rows_[next].repeat >= 0) next = with_pick(next, goal);
    std::int32_t to = at + 1;
    if (next == id) {  // brings no completion nearer, save that it counts
      if (at >= row.lo) return false;
      if (roomy) to = at + 1 < row.lo ? row.lo - 1 : row.lo;
    }
    if (!plan_row(next, to, more, room, found)) return false;
    if (found && row.repeat >= 0 && rows_[next].repeat < 0) found->twin = goal;
    return true;
  });
}

Id Goals::viable_after(Id row, std::int32_t at, Id base) {
  if (!compares(row)) return viable_row(row, at) ? kTrue : kFalse;
  std::vector<Id> good;
  while (inhabited(base)) {
    Witness found;
    const bool alone = plan_row(row, at, {}, 0, &found);  // whatever the value is, save those that are used
    if (!alone) {
      found = {};
      if (!plan_row(with_pick(row, base), at, {}, 0, &found)) break;
    }
    std::vector<Id> bad;
    for (Id v : found.used)
      if (inhabited(conj(base, among({v}))) && !viable_row(with_value(row, v), at)) bad.push_back(v);
    sort_unique(&bad);
    const Id rest = negate(among(std::move(bad)));
    good.push_back(alone ? rest : conj(found.twin, rest));
    if (alone) break;
    base = conj(base, negate(found.twin));
  }
  return any_goal(std::move(good));
}

}  // namespace guard
