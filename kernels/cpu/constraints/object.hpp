// Objects: what objects look like under a goal: shapes, interned.
//
// A shape is a conjunction of universals (every member whose key is in K meets G), existentials
// (some member does), count bounds, and clauses: disjunctions of shapes that are never multiplied
// out. Unit propagation settles clauses (settle); a required key's goal refutes or entails
// disjuncts (tidy). When a member has been written the shape is replaced by its residual
// (partial_value.hpp), which depends only on which watched goals the value meets. object.cpp has
// the algebra, unevaluated.cpp the keyword, rivals.cpp oneOf. Guarded by the isolate's lock;
// references stay valid.
#pragma once
#include <optional>

#include "constraints/key_sets.hpp"

namespace guard {

class Inhabitance;
class Scalars;

using Clause = std::vector<Id>;  // shapes, of which one must hold, in the order written

struct Shape {
  std::vector<Rule> rules;  // sorted; one for each key set
  std::vector<Rule> some;   // sorted; one for each name
  std::int32_t lo = 0, hi = kInf;
  std::vector<Clause> clauses;
  bool operator==(const Shape&) const = default;
  std::size_t hash() const;
};

// Of some shapes by number, which others an object could meet beside one.
struct Rivals {
  std::vector<std::optional<std::vector<std::size_t>>> told =
      {};  // sorted; nothing: all that is not told, and those that list it
  std::vector<std::size_t> untold = {};
  template <class F>
  void each(std::size_t i, F f) const {
    if (told[i])
      for (std::size_t j : *told[i]) f(j);
    else
      for (std::size_t j : untold)
        if (i != j) f(j);
  }
};

class Objects {
 public:
  explicit Objects(Constraints& all);
  const Shape& operator[](Id id) const { return shapes_[id]; }
  Id of(Id goal);  // a Shape. Throws Missing and Limit, and so do all that look into goals
  Id of_node(Id literal);
  Id intern(Shape shape) { return shapes_.intern(std::move(shape)); }

  Id every(Id keys, Id goal);  // every member with such a key meets the goal
  Id some(Id keys, Id goal);   // some member does
  Id sized(std::int32_t lo, std::int32_t hi);
  Id conjunction(const std::vector<Id>& shapes);
  Id disjunction(std::vector<Id> shapes);
  bool merge(Shape* into, const Shape& from);       // false: there are too few and too many members
  void merge_bare(Shape* into, const Shape& from);  // but for the clauses
  Id settle(Shape shape);                           // unit propagation over its clauses
  Id tidy(Id shape);  // the same, with the goals of the keys that must come
  void need_choices(
      Id shape);  // throws Missing for all that a search through the clauses will look into
  bool weaker(Id a, const Shape& b) const;     // does a surely ask no more?
  bool clash(const Shape& a, const Shape& b);  // can surely no object meet both?
  Rivals rivals(const std::vector<Id>& shapes);

  const std::vector<KeyClass>& classes(
      std::span<const Id> shapes);  // of the keys that these shapes speak of
  const std::vector<KeyClass>& own_classes(Id shape) { return classes({&shape, 1}); }
  Id base_of(const Shape& shape,
             const KeyClass& cls);  // what the class's values must meet, disjuncts aside
  Id rules_goal(const Shape& shape,
                const KeyClass& cls);  // the same without what a name that must come asks
  Id goal_at(Id name, const Shape& a,
             const Shape* b);             // what a member of this name must meet under both
  const std::vector<Id>& must(Id shape);  // names that must come, whichever disjuncts hold; sorted
  bool speaks_of(Id shape, const KeyClass& cls) const;
  // A shape that asks no less, and in which of each wide clause a few disjuncts are left, which a
  // member of this name may meet. `exact`: with such a member none of the others can hold.
  struct Narrowed {
    Id shape;
    bool exact;
  };
  Narrowed narrowed(Id shape, Id name);
  bool is_plain(
      Id shape);  // only named existentials, no clauses, no maximum: writing a key never changes it
  bool counts(Id shape);  // do the numbers of members matter?
  static bool is_choice(const Shape& s) {
    return s.clauses.size() == 1 && s.rules.empty() && s.some.empty() && s.lo == 0 && s.hi == kInf;
  }

  std::size_t size() const { return shapes_.size(); }
  std::size_t nbytes() const { return shapes_.size() * 240; }

 private:
  struct ShapeAlgebra;
  bool forbids(const Shape& a, Id name);
  Id unevaluated_properties(const Atom& atom, Id node, bool sign);

  Goals& goals_;
  Scalars& scalars_;
  KeySets& key_sets_;
  Inhabitance& inhabitance_;
  Lexicon& lexicon_;
  const Limits& limits_;
  int& depth_;
  Interner<Shape> shapes_;
  Memo<Id> object_memo_, goal_object_;  // by literal, by goal
  Memo<Id> tidied_;
  ListMap<std::vector<KeyClass>> classes_;
  Memo<char> plain_, counts_;
  Memo<std::vector<Id>> must_;
  struct ByName {                                   // of a wide clause
    std::unordered_map<Id, std::vector<Id>> named;  // disjuncts that speak of a name
    std::vector<Id> open;  // those that don't rule out all others, or the first of them
    std::size_t size = 0;  // how many there are
  };
  Memo<std::vector<ByName>> by_name_;
};

// The existential of a name that must come; null: it need not.
inline const Rule* named_some(const Shape& s, const KeyClass& cls) {
  if (cls.own < 0) return nullptr;
  const auto at = std::lower_bound(s.some.begin(), s.some.end(), Rule{cls.own, -1});
  return at != s.some.end() && at->keys == cls.own ? &*at : nullptr;
}

}  // namespace guard
