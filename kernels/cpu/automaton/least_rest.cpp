// Distances: the least that the members or items to come must take.

#include "automaton/distance.hpp"

namespace guard {

std::int64_t Distances::least_rest(const Frame& f) {
  std::int64_t& slot = f.cache().rest;
  if (slot != -2) return slot;
  if (is_even(f)) {
    const Targets& targets = this->targets(f);
    return slot = targets.size == 0 ? -1 : sum(least_members(f), targets.list[0].tail);
  }
  std::int64_t out = -1;
  for (std::int32_t i = 0; i < targets(f).size; ++i) {
    const Target& target = targets(f).list[i];
    const Id shape = left_of(f, target);
    const std::int64_t rest = f.kind == Kind::Object
                                  ? constraints_.costs.of_object(shape, viability_.keys_of(f))
                                  : constraints_.costs.of_array(shape, f.count);
    out = least(out, sum(rest, target.tail));
  }
  return slot = out;
}

// What a target asks of the members or items to come, and `beside`.
Id Distances::left_of(const Frame& f, const Target& target, std::optional<Id> beside) {
  std::vector<Id> shapes;
  if (beside) shapes.push_back(*beside);
  for (std::int32_t j = 0; j < target.size; ++j)
    shapes.push_back(levels_[f.level].alternatives[static_cast<std::size_t>(target.ids[j])].shape);
  return constraints_.conjunction(shapes, f.kind == Kind::Array);
}

// Does every rest of an object that has a member of this name (an index) certainly take more bytes?
bool Distances::exceeds_with(const Frame& f, std::int32_t name, std::int64_t most) {
  const Id key = levels_.names(f.level).names[static_cast<std::size_t>(name)],
           member = constraints_.objects.some(constraints_.key_sets.key_name(key), kTrue);
  for (std::int32_t i = 0; i < targets(f).size; ++i) {
    const Target& target = targets(f).list[i];
    if (target.tail < most &&
        !constraints_.costs.exceeds(left_of(f, target, member), viability_.keys_of(f),
                                    most - target.tail))
      return false;
  }
  return true;
}

}  // namespace guard
