// PartialValues: a shape or a row while one of its values is being written.
//
// What the value must still decide stands in an Open: literals that it must meet, by disjunct; the
// rest is what is asked of the members or items after it. Once the value has ended it is known
// which literals it met, and fold() gives the residual. Until then vital() is the goal under which
// some completion remains, as a formula over the literals: a decision diagram over Opens (Bryant
// 1986), so that clauses which do not touch each other are not multiplied out. More literals met
// never ask more of the rest, which bounds both ends: with none met already viable, or with all met
// still not. Guarded by the isolate's lock; references stay valid. Throws Missing and Limit.
#pragma once
#include "constraints/array.hpp"

namespace guard {

struct Open {
  bool array = false;
  Id here = kTrue;              // a goal: literals that the value must meet
  Id rest = kAny;               // the shape or row of what comes after it
  std::vector<Clause> clauses;  // of Opens
  bool operator==(const Open&) const = default;
  std::size_t hash() const {
    std::size_t h = mix(mix(array, static_cast<std::size_t>(here)), static_cast<std::size_t>(rest));
    for (const Clause& c : clauses) h = mix(h, hash_of(c));
    return h;
  }
};

class PartialValues {
 public:
  explicit PartialValues(Constraints& all);
  // `top`: the value is known to meet base_of; else that is among what it decides.
  Id open_member(Id shape, const KeyClass& cls, bool top);
  Id open_item(Id row, bool top);
  Id open_both(const std::vector<Id>& opens, bool array);
  bool is_never(Id open) const { return opens_[open].rest == kNever; }
  Id settled(Id open, Type type);  // literals decided that values of this type always or never meet
  const std::vector<Id>& undecided(Id open);  // literals
  Id decide(Id open, const std::vector<Id>&
                         literals);  // which the value meets; of one that it does not the negation
  Id fold(Id open, bool met) {
    return fold(open, met, true);
  }  // the residual, when all literals left are met, or none is
  Id residual(Id open, Id value);  // once this value has been written
  // The goal that the value must meet for a viable residual. `viable` tells under which goal a
  // residual is, kTrue or kFalse where the value itself does not matter; of a weaker residual it
  // must not ask more.
  Id vital(Id open, Id base, const std::function<Id(Id)>& viable);
  // Can a value of the goal, which is inhabited, lead to a viable residual?
  bool possible(Id open, Id goal, const std::function<bool(Id)>& viable);
  // Tries ways to decide everything, those with more literals met first, until a leaf (goal,
  // residual) says true. Goals are inhabited; with `apart` they have no value in common.
  bool ways(Id open, Id goal, const std::function<bool(Id, Id)>& leaf, bool apart = false);
  // Tells of choices of literals to meet, each with what the rest costs then: none at all, and
  // further ones that make it cheaper; of `most` or so. Returns whether there may be more.
  bool choices(Id open, Id base, std::size_t most, const std::function<std::int64_t(Id)>& rest,
               const std::function<void(const std::vector<Id>&, std::int64_t)>& choice);
  std::size_t nbytes() const { return opens_.size() * 200; }

 private:
  Id never_open(bool array) { return opens_.intern({array, kTrue, kNever, {}}); }
  Id make_open(Open open);
  Clause here_or(Id goal, Id rest, bool array);
  Id fold(Id open, bool met, bool top);
  bool is_ambiguous(Id residual, bool array) const;
  Id settled_by(Id open, Id known);
  Id decided_apart(Id open, Id literal);

  Goals& goals_;
  KeySets& key_sets_;
  Objects& objects_;
  Arrays& arrays_;
  UniqueItems& unique_;
  Inhabitance& inhabitance_;
  const Limits& limits_;
  int& depth_;
  Interner<Open> opens_;
  std::unordered_map<std::vector<Id>, Id, VectorHash> decided_;
  PairMap<Id> folded_, open_members_, open_items_;
  Memo<std::vector<Id>> undecided_;
};

}  // namespace guard
