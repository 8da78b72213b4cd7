// Values: the values of a goal, listed until there are enough of them.
//
// Strings, arrays and objects come by their size, at each step never more beginnings than values
// are wanted, for each of them leads to another one. A goal inside of itself is listed by rounds:
// what is known of it so far, until nothing new is found. Guarded by the isolate's lock. Throws
// Missing and Limit; a reference to a list stays valid until the same goal is listed again.
#pragma once
#include "constraints/array.hpp"

namespace guard {

class MinCosts;
class ObjectViability;

class Values {
 public:
  explicit Values(Constraints& all);
  const std::vector<Id>& of(Id goal, std::size_t n);  // n of them, or all when there are fewer.
                                                      // Short ones first, where that is easy
  bool has_values(Id goal, std::size_t n);
  // How many there are, at most so many: of one type; of an object's shape.
  std::size_t count(Id goal, Type type, std::size_t most);
  std::size_t count_objects(Id shape, std::size_t most);
  std::int64_t value_bytes(Id value);
  std::int64_t bytes_among(Id goal,
                           std::int32_t n);  // that surely suffice for a value unlike n - 1 others;
                                             // or for its dearest; -1. Rises with n
  bool leans() const {
    return leans_ != kInf;
  }  // was what is known so far of a listing under way used?

 private:
  struct Listing;
  void list(Id goal, Listing* out);
  void list_literals(Id goal, Listing* out);
  void list_numbers(Id goal, Listing* out);
  void list_strings(Id goal, Listing* out);
  void list_arrays(Id row, Listing* out);
  void list_objects(Id shape, Listing* out);

  Goals& goals_;
  Scalars& scalars_;
  Objects& objects_;
  ObjectViability& members_;
  Arrays& arrays_;
  UniqueItems& unique_;
  PartialValues& partial_;
  Inhabitance& inhabitance_;
  MinCosts& costs_;
  Lexicon& lexicon_;
  const Spelling spelling_;
  const std::int32_t gap_;
  const Limits& limits_;
  int& depth_;
  struct Listed {
    std::vector<Id> values;
    std::size_t asked = 0;  // more values than listed only where so many were asked for
    int level = 0;          // of the listing that is under way
  };
  Memo<Listed> listed_;
  int listing_ = 0, leans_ = kInf;  // listings under way, inside of each other; the outermost of
                                    // which what is known so far was used
  PairMap<std::int64_t> bytes_among_;
};

}  // namespace guard
