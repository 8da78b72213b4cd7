// Objects: object constraints under a goal, as interned shapes.
//
// A shape is a conjunction of universals (every member whose key is in K meets G), existentials
// (some member does), count bounds, and clauses: disjunctions of shapes that are never multiplied
// out. Unit propagation simplifies clauses (settle); a required key's goal refutes or entails
// disjuncts (tidy). After a member, the shape is replaced by its residual (partial_value.hpp),
// which depends only on which watched goals the value meets. object.cpp has the algebra,
// unevaluated.cpp the keyword, rivals.cpp oneOf. The isolate's lock must be held; references stay
// valid as long as the engine.
#pragma once
#include <optional>

#include "constraints/key_sets.hpp"

namespace guard {

class Inhabitance;
class Scalars;

using Clause = std::vector<Id>;  // shapes of which at least one must hold, in the schema's order

struct Shape {
  std::vector<Rule> rules;  // sorted; one for each key set
  std::vector<Rule> some;   // sorted; one for each name
  std::int32_t lo = 0, hi = kInf;
  std::vector<Clause> clauses;
  bool operator==(const Shape&) const = default;
  std::size_t hash() const;
};

// For each of some shapes, by index, the others that an object could meet at the same time.
struct Rivals {
  std::vector<std::optional<std::vector<std::size_t>>> told =
      {};  // sorted; nullopt: all of `untold`, and those that list it
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
  Id of(Id goal);  // a Shape. Throws Missing and Limit, as do all functions that evaluate goals
  Id of_node(Id literal);
  Id intern(Shape shape) { return shapes_.intern(std::move(shape)); }

  Id every(Id keys, Id goal);  // every member with a key in the set meets the goal
  Id some(Id keys, Id goal);   // some member with a key in the set meets the goal
  Id sized(std::int32_t lo, std::int32_t hi);
  Id conjunction(const std::vector<Id>& shapes);
  Id disjunction(std::vector<Id> shapes);
  bool merge(Shape* into,
             const Shape& from);  // false: the bounds on the number of members contradict
  void merge_bare(Shape* into, const Shape& from);  // the same without the clauses
  Id settle(Shape shape);                           // unit propagation over its clauses
  Id tidy(Id shape);                                // the same, and propagation of the goals of
                                                    // required keys
  void need_choices(
      Id shape);  // throws Missing for all nodes that a search through the clauses will need
  bool weaker(Id a, const Shape& b) const;     // whether b is certainly at least as strict as a
  bool clash(const Shape& a, const Shape& b);  // whether certainly no object meets both
  Rivals rivals(const std::vector<Id>& shapes);

  const std::vector<KeyClass>& classes(
      std::span<const Id> shapes);  // the classes of keys that these shapes distinguish
  const std::vector<KeyClass>& own_classes(Id shape) { return classes({&shape, 1}); }
  Id base_of(const Shape& shape,
             const KeyClass& cls);  // the goal of the class's values, without clauses
  Id rules_goal(const Shape& shape,
                const KeyClass& cls);  // the same without the goals of required names
  Id goal_at(Id name, const Shape& a,
             const Shape* b);  // the goal of a member of this name under both
  const std::vector<Id>& must(
      Id shape);  // names that are required whichever disjuncts hold; sorted
  bool speaks_of(Id shape, const KeyClass& cls) const;
  // A shape that is at least as strict, and keeps only a few disjuncts of each wide clause: those
  // that a member of this name may meet. `exact`: with such a member, no other disjunct can hold.
  struct Narrowed {
    Id shape;
    bool exact;
  };
  Narrowed narrowed(Id shape, Id name);
  bool is_plain(Id shape);  // whether it has only named existentials, no clauses and no maximum, so
                            // that a key never changes it
  bool counts(Id shape);    // whether the number of members matters
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
  StableMemo<std::vector<Id>> must_;
  struct ByName {                                   // of a wide clause
    std::unordered_map<Id, std::vector<Id>> named;  // by name, the disjuncts that mention it
    std::vector<Id> open;  // disjuncts that don't exclude all other names, or the first of these
    std::size_t size = 0;  // the number of such disjuncts
  };
  StableMemo<std::vector<ByName>> by_name_;
};

// The existential of a required name; null: it is not required.
inline const Rule* named_some(const Shape& s, const KeyClass& cls) {
  if (cls.own < 0) return nullptr;
  const auto at = std::lower_bound(s.some.begin(), s.some.end(), Rule{cls.own, -1});
  return at != s.some.end() && at->keys == cls.own ? &*at : nullptr;
}

}  // namespace guard
