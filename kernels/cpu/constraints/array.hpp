// Arrays: what arrays look like under a goal: rows, interned. A row is to arrays what a shape is to
// objects (object.hpp).
//
// Spans say what the items of some positions meet, or that one of them does; counts, how many items
// meet a goal; clauses are disjunctions of rows. Where items are compared with each other
// (unique_items.hpp) a row knows the values written. Positions count from the item that is due, so
// that the residual of a row is a row. Guarded by the isolate's lock; references stay valid.
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
  auto operator<=>(const Span&) const = default;
};
struct Counted {  // lo to hi items meet the goal
  Id goal;
  std::int32_t lo, hi;
  auto operator<=>(const Counted&) const = default;
};
struct Row {  // the shape of arrays; positions count from the item that is due, lo and hi from the
              // first
  std::vector<Span> rules, some;
  std::vector<Counted> counts;
  std::int32_t lo = 0, hi = kInf;
  Id unique = -1;  // items differ from each other and from what meets this goal: the values
                   // written. -1: they may be equal
  Id repeat = -1;  // owed: an item that meets this goal (the values written), or two that are
                   // equal. -1: nothing is
  std::vector<Clause> clauses;
  bool operator==(const Row&) const = default;
  std::size_t hash() const;
};

class Arrays {
 public:
  explicit Arrays(Constraints& all);
  const Row& operator[](Id id) const { return rows_[id]; }
  Id of(Id goal);  // a Row. Throws Missing and Limit, and so do all that look into goals
  Id of_node(Id literal);
  Id intern(Row row) { return rows_.intern(std::move(row)); }

  Id span(std::int32_t from, std::int32_t to, Id goal,
          bool every);  // every item of [from, to) meets the goal; or some does
  Id conjunction(const std::vector<Id>& rows);
  Id disjunction(std::vector<Id> rows);
  bool merge(Row* into, const Row& from);  // false: there are too few and too many items
  Id settle(Row row);
  bool weaker(Id a, const Row& b) const;

  // `at` is the number of items written.
  bool viable(Id row, std::int32_t at);
  bool done(Id row, std::int32_t at) const;
  bool is_plain(Id row) const;                  // all items alike: writing one never changes it
  Id base_of(const Row& row, std::int32_t at);  // what every value at this position must meet
  // The obligations of a row that asks the same of every item, as counts; nothing where it is
  // another one.
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
  PairMap<bool> row_viable_;
};

}  // namespace guard
