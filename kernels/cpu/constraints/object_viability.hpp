// ObjectViability: whether an object under construction can still be completed under a shape.
//
// Without clauses the answer is a plan: which members meet which obligations, and whether their
// number is allowed. With clauses, the least strict disjuncts are tried first, then the
// consequences of tags, then a search over all disjuncts. Takes part in the fixpoint of Inhabitance
// and its rounds. The isolate's lock must be held. Throws Missing and Limit.
#pragma once
#include "constraints/object.hpp"
#include "constraints/written_keys.hpp"

namespace guard {

class MinCosts;

class ObjectViability {
 public:
  explicit ObjectViability(Constraints& all);
  bool viable(Id shape, const Keys& keys);
  bool done(Id shape, const Keys& keys);  // whether the object may end here
  // The shape with the least strict disjunct of each clause, chosen greedily, which mostly
  // suffices. kNever: some clause has none.
  Id easiest(Shape shape, const Keys& keys);

 private:
  bool is_closed(const Shape& shape, const Keys& keys) const;
  bool is_stuck(const Shape& shape, const Keys& keys);
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
  Memo<char> fresh_;  // results for objects without any key
  Memo<Id> tagged_;
  AnswerMemo found_;
};

}  // namespace guard
