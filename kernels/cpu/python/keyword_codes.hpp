// Keywords as small numbers. A schema's keys are looked up once, when it is read (json_tree.hpp);
// what a table says of a keyword is an array access from then on.
#pragma once
#include <nanobind/nanobind.h>

#include <array>
#include <cstdint>
#include <string_view>

namespace guard {

using Keyword = std::uint8_t;  // 0: a key that no table knows

// The number of a key that some table knows, or 0. Lock-free.
Keyword keyword_of(std::string_view key);
// The keyword of a number as an interned Python string, borrowed. Null for 0.
PyObject* text_of(Keyword word);

// A table from keywords to small numbers.
class KeywordTable {
 public:
  // Reads a mapping from str to numbers from 0 to 254. Requires the GIL.
  explicit KeywordTable(nanobind::handle given);
  int operator[](Keyword word) const { return values_[word] - 1; }  // -1: not in the table

 private:
  std::array<std::uint8_t, 256> values_{};
};

// What the walks over a schema must know of a draft (keywords.Dialect).
struct DialectTables {
  KeywordTable keywords, looked_into;
  long integer;  // the type bit of "integer"
  bool ref_alone, boolean_bounds;
  std::uint32_t number;  // one of its own, in the order of making
  nanobind::str name;
};

// The tables of a keywords.Dialect, which keeps them in its attribute `tables`. With the GIL.
const DialectTables& tables_of(PyObject* dialect);

void bind_keyword_codes(nanobind::module_& module);  // adds KeywordTable and DialectTables

}  // namespace guard
