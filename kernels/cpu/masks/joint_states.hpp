// JointStates: states of a text that are followed together, one class of characters at a time.
//
// Where the characters of a class lead to many states, as after `[` in a regular expression, whose
// states know the last character, tokens are not read byte by byte as long as all of these states
// go on alike: a token is inside, or is not, whichever of them it leads to. What they have in
// common is found once for each set of states (a subset construction). Requires the isolate's lock.
#pragma once
#include <algorithm>
#include <unordered_set>

#include "lexers/json_string.hpp"

namespace guard {

class JointStates {
 public:
  static constexpr Id kNowhere = -1;  // no character of the class may follow any of the states
  static constexpr Id kApart = -2;    // it may follow some of them only, or that is not known
  explicit JointStates(Texts& texts) : texts_(texts) {}
  // The set of the states that a class leads to from one state; kApart where more of the class
  // leads to further states, as while several words are looked for: tokens meet few of these.
  Id after_one(Id state, std::uint8_t cls) {
    const Id set = after(sets_.intern({{state}}), cls);
    if (set < 0) return set;
    most_ = std::max(most_, kTimes * states(set).size());
    const Id next = after(set, cls);
    return next >= 0 && std::ranges::includes(states(set), states(next)) ? set : kApart;
  }
  // The same from a set: another one, kNowhere or kApart. O(states, characters of the class), once.
  Id after(Id set, std::uint8_t cls) {
    return remember(after_, std::pair{set, Id{cls}}, [&] { return find(set, cls); });
  }
  const std::vector<Id>& states(Id set) const { return sets_[set].ids; }

 private:
  // Nothing more is known once there are so many times the states of the first set.
  static constexpr std::size_t kTimes = 6;
  Id find(Id set, std::uint8_t cls) {
    if (most_ > 0 && seen_.size() > most_) return kApart;
    const Range chars = classes()[cls].front();
    const bool is_ascii = chars.hi < 0x80;
    std::vector<Id> to;
    bool ends = false;
    const auto add = [&](Id next) {
      next == Texts::kDead ? void(ends = true) : to.push_back(next);
    };
    for (const Id state : std::vector<Id>(sets_[set].ids)) {
      kernel_clock.tick(Op::Pattern);
      for (std::uint32_t c = chars.lo; is_ascii && c <= chars.hi; ++c)
        add(texts_.step(state, static_cast<std::uint8_t>(c)));
      if (!is_ascii) {
        const Id next = texts_.step_class(state, cls);
        if (next == Texts::kSplit) return kApart;
        add(next);
      }
      if (ends && !to.empty()) return kApart;
    }
    if (to.empty()) return kNowhere;
    sort_unique(&to);
    seen_.insert(to.begin(), to.end());
    return sets_.intern({std::move(to)});
  }
  Texts& texts_;
  Interner<IdSet> sets_;
  std::unordered_map<std::pair<Id, Id>, Id, PairHash> after_;
  std::unordered_set<Id> seen_;  // states
  std::size_t most_ = 0;         // of them; 0: not known yet
};

}  // namespace guard
