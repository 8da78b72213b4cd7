// ObjectViability: can an object under construction still be finished under a shape?
//
// Without clauses that is a plan: which members meet which obligations, and whether there is room.
// With clauses the easiest disjuncts are tried first, then what tags imply, then one disjunct after
// the other. A part of the fixpoint of Inhabitance, whose rounds it counts on. Guarded by the
// isolate's lock. Throws Missing and Limit.
#pragma once
#include "constraints/object.hpp"
#include "constraints/written_keys.hpp"

namespace guard {

class MinCosts;

class ObjectViability {
 public:
  explicit ObjectViability(Constraints& all);
  bool viable(Id shape, const Keys& keys);
  bool done(Id shape, const Keys& keys);  // may it end here?
  // Of each clause the disjunct that asks least, without a second thought: mostly that is enough.
  // kNever: some clause has none.
  Id easiest(Shape shape, const Keys& keys);

 private:
  bool is_closed(const Shape& shape, const Keys& keys) const;
  bool contradicts(const Shape& s, const Shape& disjunct);
  Id with_tags(Id shape);
  bool plan(Id shape, const Keys& keys);

  Goals& goals_;
  KeySets& key_sets_;
  Objects& objects_;
  Inhabitance& inhabitance_;
  MinCosts& costs_;
  const Limits& limits_;
  int& depth_;
  Memo<char> fresh_;  // of objects not begun
  Memo<Id> tagged_;
  AnswerMemo found_;
};

}  // namespace guard
