// Arrays: array constraints under a goal, as interned rows. A row is to arrays what a shape is to
// objects (object.hpp).
//
// A span requires that all items at some positions meet a goal, or that one of them does. A count
// bounds how many items meet a goal. Clauses are disjunctions of rows. Where items are compared
// with each other (unique_items.hpp), a row has the values written so far. Positions count from the
// next item, so the residual of a row is a row. The isolate's lock must be held; references stay
// valid as long as the engine.
#pragma once
#include <functional>
#include <optional>

#include "constraints/object.hpp"

namespace guard {

class PartialValues;
class UniqueItems;

struct Span {  // positions [from, to)
  std::int32_t from, to;
  Id goal;
  bool is_everywhere() const { return from == 0 && to == kInf; }
  auto operator<=>(const Span&) const = default;
};
struct Counted {  // the number of items that meet the goal is in [lo, hi]
  Id goal;
  std::int32_t lo, hi;
  auto operator<=>(const Counted&) const = default;
};
struct Row {  // an array constraint; positions count from the next item, lo and hi from the first
  std::vector<Span> rules, some;
  std::vector<Counted> counts;
  std::int32_t lo = 0, hi = kInf;
  Id unique = -1;  // items must differ from each other and from the values of this goal, which are
                   // the items written. -1: items may be equal
  Id repeat = -1;  // some item must meet this goal (equal a written one), or two further items must
                   // be equal. -1: no such condition
  std::vector<Clause> clauses;
  bool operator==(const Row&) const = default;
  std::size_t hash() const;
};

class Arrays {
 public:
  explicit Arrays(Constraints& all);
  const Row& operator[](Id id) const { return rows_[id]; }
  Id of(Id goal);  // a Row. Throws Missing and Limit, as do all functions that evaluate goals
  Id of_node(Id literal);
  Id intern(Row row) { return rows_.intern(std::move(row)); }

  Id span(std::int32_t from, std::int32_t to, Id goal,
          bool every);  // every item of [from, to) meets the goal, or some item does
  Id conjunction(const std::vector<Id>& rows);
  Id disjunction(std::vector<Id> rows);
  bool merge(Row* into, const Row& from);  // false: the bounds on the number of items contradict
  Id settle(Row row);
  bool weaker(Id a, const Row& b) const;

  // `at` is the number of items written.
  bool viable(Id row, std::int32_t at);
  bool done(Id row, std::int32_t at) const;
  bool is_plain(Id row) const;  // whether all items have the same constraint, so that writing one
                                // never changes the row
  Id base_of(const Row& row, std::int32_t at);  // what every value at this position must meet
  // The existential conditions of a row whose positions are all alike, as counts; nothing for any
  // other row.
  static std::optional<std::vector<Counted>> steady_counts(const Row& row);

  std::size_t size() const { return rows_.size(); }
  std::size_t nbytes() const { return rows_.size() * 240; }

 private:
  struct RowAlgebra;
  Id unevaluated_items(const Atom& atom, Id node, bool sign);
  std::optional<bool> viable_counts(const Row& row, std::int32_t at);

  Goals& goals_;
  Inhabitance& inhabitance_;
  PartialValues& partial_;
  UniqueItems& unique_;
  Lexicon& lexicon_;
  const Limits& limits_;
  int& depth_;
  Interner<Row> rows_;
  Memo<Id> array_memo_, goal_array_;  // by literal, by goal
  PairMemo<bool> row_viable_;
};

}  // namespace guard
