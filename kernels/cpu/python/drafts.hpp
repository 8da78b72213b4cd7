// Drafts: nodes of the front end as plain C++ values, before their names, values and languages are
// in the tables. Made with the GIL (read_records.hpp, lower_fast.hpp), used without it.
#pragma once
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "constraints/nodes.hpp"
#include "regex/regex.hpp"

namespace guard {

// A constant of JSON.
struct Literal {
  Value::Kind kind = Value::Null;
  std::string text = {};  // String
  Decimal number = {};
  struct Inside;
  std::shared_ptr<Inside> inside =
      {};  // of an array or an object; a pointer, since an enum's million numbers have none
};
struct Literal::Inside {
  std::vector<Literal> items;      // of an object, the values of its members
  std::vector<std::string> names;  // of an object
};

struct Pattern {
  std::shared_ptr<void> object;  // its syntax tree, a Python object
  bool whole;                    // if false, it is searched for
  bool is_lacking = false, is_read = false;
  Tree tree = {};
};

struct Draft {  // an atom without what is to be interned
  Atom atom;
  std::vector<std::string> names = {};
  std::vector<Literal> values = {};
  std::vector<std::vector<std::string>> lists = {};
  std::vector<Pattern> patterns = {};
};

struct Drafts {
  std::vector<Id> nodes;
  std::vector<std::vector<Draft>> each;  // by node
  std::optional<Limit> limit;            // the one that ended it
};

}  // namespace guard
