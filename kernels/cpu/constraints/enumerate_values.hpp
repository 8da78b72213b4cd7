// Values: the values of a goal, listed until there are enough of them.
//
// Strings, arrays and objects are listed by size. Each step keeps at most as many prefixes as
// values are wanted, since every prefix leads to another value. A recursive goal is listed by
// rounds, each of which uses the values known so far, until a round finds nothing new. The
// isolate's lock must be held. Throws Missing and Limit. A reference to a list stays valid until
// the same goal is listed again.
#pragma once
#include "constraints/array.hpp"

namespace guard {

class MinCosts;
class ObjectViability;

class Values {
 public:
  explicit Values(Constraints& all);
  const std::vector<Id>& of(
      Id goal, std::size_t n);  // n of them, or all if there are fewer; mostly short ones first
  bool has_values(Id goal, std::size_t n);
  // The number of values of one type, or of an object's shape, at most `most`.
  std::size_t count(Id goal, Type type, std::size_t most);
  std::size_t count_objects(Id shape, std::size_t most);
  std::int64_t value_bytes(Id value);
  std::int64_t bytes_among(
      Id goal,
      std::int32_t n);  // bytes that suffice for a value other than n - 1 given ones, or for the
                        // longest value; -1: there is no value. Monotone in n
  // whether the last result used an unfinished listing
  bool leans() const { return leans_ != kInf; }

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
    std::size_t asked = 0;  // the list may be incomplete beyond this number of values
    int level = 0;          // depth of this listing while it is unfinished, else 0
  };
  StableMemo<Listed> listed_;
  int listing_ = 0,
      leans_ =
          kInf;  // nested unfinished listings, and the outermost one whose values so far were used
  PairMemo<std::int64_t> bytes_among_;
};

}  // namespace guard
