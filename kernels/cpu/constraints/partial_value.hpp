// PartialValues: a shape or a row while one of its values is being written.
//
// An Open has the literals that the value may decide, by disjunct, and the constraint on the
// members or items after it. Once the value has ended, the literals that it meets are known, and
// fold() returns the residual. Until then vital() is the goal under which some completion remains,
// a formula over the literals. It is built as a decision diagram over Opens (Bryant 1986), so
// independent clauses are not multiplied out. Meeting more literals never makes the rest stricter,
// which gives two quick answers: viable with none met, or not viable with all met. The isolate's
// lock must be held; references stay valid as long as the engine. Throws Missing and Limit.
#pragma once
#include "constraints/array.hpp"

namespace guard {

struct Open {
  bool array = false;
  Id here = kTrue;              // a goal that the value must meet
  Id rest = kAny;               // the shape or row of the members or items after it
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
  // `top`: the value is known to meet base_of. Otherwise that goal is one of the literals.
  Id open_member(Id shape, const KeyClass& cls, bool top);
  Id open_item(Id row, bool top);
  Id open_both(const std::vector<Id>& opens, bool array);
  bool is_never(Id open) const { return opens_[open].rest == kNever; }
  Id settled(Id open, Type type);  // decides all literals that values of this type always or never
                                   // meet
  const std::vector<Id>& undecided(Id open);            // literals
  Id decide(Id open, const std::vector<Id>& literals);  // decides these literals: those that the
                                                        // value meets, and the negations of those
                                                        // that it does not
  Id fold(Id open, bool met) {
    return fold(open, met, true);
  }  // the residual if all remaining literals are met, or none is
  Id residual(Id open, Id value);  // the residual after this value
  // The goal that the value must meet to leave a viable residual. `viable` maps a residual to the
  // goal under which it is viable: kTrue or kFalse if that does not depend on the value. It must be
  // monotone: no stricter for a weaker residual.
  Id vital(Id open, Id base, const std::function<Id(Id)>& viable);
  // Whether a value of the goal can lead to a viable residual. Requires an inhabited goal.
  bool possible(Id open, Id goal, const std::function<bool(Id)>& viable);
  // Enumerates complete decisions, those with more literals met first, until leaf(goal, residual)
  // returns true. The goals are inhabited; with `apart`, also disjoint.
  bool ways(Id open, Id goal, const std::function<bool(Id, Id)>& leaf, bool apart = false);
  // Calls choice(literals, cost of the rest) for sets of literals to meet: for the empty set, and
  // for others that make the rest cheaper; about `most` of them. Returns whether there may be more.
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
  std::vector<Id> apart(Id open, Id literal);

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
  PairMemo<Id> folded_, open_members_, open_items_;
  StableMemo<std::vector<Id>> undecided_;
};

}  // namespace guard
