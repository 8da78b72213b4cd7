// Objects: which of the shapes of a oneOf can hold together. See object.hpp.
#include "constraints/algebra.hpp"
#include "constraints/constraints.hpp"

namespace guard {

namespace {
constexpr std::size_t kMaxTags = 3;    // tags by which alternatives are told apart
constexpr std::size_t kMaxOthers = 4;  // alternatives that may have any tag
constexpr int kDeepest = 3;            // nesting of the clauses in which a tag is looked for
}  // namespace

// Tells shapes apart by required names that have few values.
Rivals Objects::rivals(const std::vector<Id>& shapes) {
  Rivals out = all_rivals(shapes, kNever);
  std::unordered_map<Id, std::size_t> required;
  for (Id s : shapes)
    for (Id name : must(s)) ++required[name];
  std::vector<std::pair<std::size_t, Id>> names;
  for (const auto& [name, times] : required)
    if (times > 1) names.push_back({times, name});
  std::sort(names.rbegin(), names.rend());
  if (names.size() > kMaxTags) names.resize(kMaxTags);
  for (const auto& entry : names) {
    const Id name = entry.second;  // clang before 16 captures no structured bindings
    // The goals of the tag: that of the shape itself, or those of each disjunct of a clause, whose
    // disjuncts may be alternatives by the same tag.
    const Rule own{key_sets_.key_name(name), -1};
    const std::function<bool(Id, int, std::vector<Id>*)> tags_of = [&](Id id, int depth,
                                                                       std::vector<Id>* all) {
      const Shape& s = shapes_[id];
      if (const auto at = std::lower_bound(s.some.begin(), s.some.end(), own);
          at != s.some.end() && at->keys == own.keys) {
        all->push_back(goal_at(name, s, nullptr));
        return true;
      }
      return depth < kDeepest && std::any_of(
                                     s.clauses.begin(), s.clauses.end(),
                                     [&](const Clause& c) {
                                       const std::size_t before = all->size();
                                       if (std::all_of(c.begin(), c.end(), [&](Id d) {
                                             return d == kNever || tags_of(d, depth + 1, all);
                                           }))
                                         return true;
                                       all->resize(before);
                                       return false;
                                     });
    };
    std::vector<std::vector<Id>> goals(shapes.size());
    for (std::size_t i : out.untold) {
      if (!tags_of(shapes[i], 0, &goals[i])) goals[i].assign(1, kTrue);
      goals_.need(goals[i]);
    }
    std::unordered_map<std::int64_t, std::vector<std::size_t>> by_value;
    std::vector<std::size_t> others;  // shapes whose tag may have any value
    std::vector<std::vector<std::int64_t>> values(shapes.size());
    std::vector<char> few(shapes.size());
    for (std::size_t i : out.untold) {
      tick();
      few[i] = std::all_of(goals[i].begin(), goals[i].end(),
                           [&](Id g) { return scalars_.few_values(g, &values[i]); });
      sort_unique(&values[i]);
      if (!few[i]) others.push_back(i);
      for (std::int64_t v : few[i] ? values[i] : std::vector<std::int64_t>{})
        by_value[v].push_back(i);
    }
    const bool looks =
        // whether to look at each of them: often one has all tags that no other has
        others.size() <= kMaxOthers;
    for (std::size_t i : out.untold) {
      if (!few[i]) continue;
      std::vector<std::size_t> meets = others;
      if (looks)
        std::erase_if(meets, [&](std::size_t j) {  // few values are scalars, so no shape is
                                                   // computed while this one is
          const auto apart = [&](Id a, Id b) {
            const Id both = goals_.conj(a, b);
            const Told known = goals_.has_listed(both);
            return known == Told::No ||
                   (known == Told::Open && !scalars_.literals3(both) &&
                    scalars_.string_set(scalars_.strings(both)).pieces.empty() &&
                    scalars_.numbers(both).empty());
          };
          return std::all_of(goals[i].begin(), goals[i].end(), [&](Id a) {
            return std::all_of(goals[j].begin(), goals[j].end(), [&](Id b) { return apart(a, b); });
          });
        });
      for (std::int64_t v : values[i])
        meets.insert(meets.end(), by_value[v].begin(), by_value[v].end());
      sort_unique(&meets);
      tick();
      std::erase_if(
          meets, [&](std::size_t j) { return i == j || (out.told[i] && !has(*out.told[i], j)); });
      out.told[i] = std::move(meets);
    }
  }
  // The relation is symmetric: a shape that was told apart from another one also tells that one
  // apart.
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
      std::erase_if(*out.told[i],
                    [&](std::size_t j) { return out.told[j] ? !has(*out.told[j], i) : false; });
    } else {
      listing[i].insert(listing[i].end(), out.untold.begin(), out.untold.end());
      std::erase(listing[i], i);
      sort_unique(&listing[i]);
    }
  }
  for (std::size_t i : std::exchange(out.untold, {})) out.told[i] = std::move(listing[i]);
  return out;
}

}  // namespace guard
