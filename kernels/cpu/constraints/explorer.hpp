// Explorer: computes all expansions of goals that decoding may need in advance, so that `guard
// check` finds limits.
//
// A breadth-first search over goals, shapes and rows, their residuals after each kind of member or
// item, and the automata of strings and keys. Each is expanded once. States that depend on more
// than ids (written keys, counts, nesting) are not explored. A run ends when nothing is left or the
// time is up, and the next one continues. After a Missing, the next run repeats the current item;
// after a Limit, it skips that item. The cost is that of the expansions, and a set entry for each.
// Not thread-safe: the isolate's lock must be held. Tested in tests/kernels/test_explorer.py.
#pragma once
#include <array>
#include <unordered_set>

#include "constraints/constraints.hpp"

namespace guard {

class Explorer {
 public:
  // Languages with more than `most` states are noted in large(), and not followed further.
  Explorer(Constraints& constraints, std::size_t most) : constraints_(constraints), most_(most) {}

  void add(Id node) {
    push({Kind::Goal, constraints_.goals.goal_of(node), node});
  }  // requires a front end's node
  bool run(std::chrono::steady_clock::time_point until);  // returns whether nothing is left
  std::size_t expanded(int kind) const {
    return expanded_[static_cast<std::size_t>(kind)];
  }  // goals, objects, arrays, languages
  std::size_t waiting() const {
    return queue_.size() + cut_;
  }  // found but not expanded, and values with too many residuals
  std::size_t states() const { return states_; }  // of all languages
  const std::vector<Id>& large() const {
    return large_;
  }  // nodes whose strings or keys need more than `most` states
  const std::vector<Id>& empty() const {
    return empty_;
  }  // nodes without any value that a member, an item or the root must satisfy

 private:
  enum class Kind : std::uint8_t { Goal, Object, Array, Language };
  struct Item {
    Kind kind;
    Id id, node;  // the node that is to blame for a limit
  };
  void push(Item item);
  void expand(Item item);
  void expand_language(Item item);

  Constraints& constraints_;
  std::size_t most_;
  std::deque<Item> queue_;
  std::array<std::unordered_set<Id>, 4> seen_;
  std::unordered_set<Id> states_seen_;
  std::array<std::size_t, 4> expanded_{};
  std::size_t states_ = 0, cut_ = 0;
  std::vector<Id> large_, empty_;
};

}  // namespace guard
