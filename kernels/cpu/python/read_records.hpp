// Records: the front end's nodes, read with the GIL into plain C++ values, and added to the
// engine's tables without it.
//
// A record is validated as it is read; a wrong structure raises TypeError. A large one is read in
// slices, with the GIL released for a moment in between, since an enum of an untrusted schema may
// have any number of values. No isolate's lock is held meanwhile, so nothing here is in a table
// yet.
#pragma once
#include <nanobind/nanobind.h>

#include <atomic>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "runtime/tables.hpp"

namespace guard {

// A Python object that tables own. Tables may be freed where no thread may wait for the GIL, so the
// reference is released in the next call.
class Kept {
 public:
  static std::shared_ptr<void> hold(nanobind::handle object);  // with the GIL
  static void give_back();                                     // with the GIL

 private:
  struct Node {
    void* object;
    Node* next;
  };
  static void put(void* object);
  static inline std::atomic<Node*> waiting = nullptr;
};

// Reads the front end's format; requires the GIL. Points are lists of the arcs that leave them;
// arcs (tree, to); exits (kind, what, next); then whether it is to be checked.
std::shared_ptr<const FormatSource> source_of(nanobind::handle given);

// A constant of JSON.
struct Literal {
  Value::Kind kind = Value::Null;
  std::string text;  // String
  Decimal number;
  struct Inside;
  std::shared_ptr<Inside>
      inside;  // of an array or an object; a pointer, since an enum's million numbers have none
};
struct Literal::Inside {
  std::vector<Literal> items;      // of an object, the values of its members
  std::vector<std::string> names;  // of an object
};

class Records {
 public:
  Records(const std::vector<Id>& nodes, const nanobind::list& records);  // with the GIL
  // Whether the atoms can be made. If not, read_trees() must read the patterns that the tables
  // lack. Requires the isolate's lock.
  bool are_whole(const Tables& tables);
  void read_trees();  // with the GIL
  // The atoms of each node. Requires the isolate's lock, and that are_whole() was true since the
  // last flush.
  std::vector<std::vector<Atom>> atoms(Tables& tables);

 private:
  struct Pattern {
    std::shared_ptr<void> object;  // its syntax tree, a Python object
    bool whole;                    // if false, it is searched for
    bool is_lacking = false, is_read = false;
    Tree tree = {};
  };
  struct Draft {  // an atom whose names, values and languages are not in the tables yet
    Atom atom;
    std::vector<std::string> names;
    std::vector<Literal> values;
    std::vector<std::vector<std::string>> lists;
    std::vector<Pattern> patterns;
  };
  Draft draft_of(nanobind::handle entry);
  Literal literal_of(nanobind::handle value, int depth);
  std::string text_of(nanobind::handle text);
  void part(std::size_t count = 1);
  template <class F>
  void each(F f);  // calls f(draft); a limit gets the draft's node and opcode

  const std::vector<Id>& nodes_;
  std::vector<std::vector<Draft>> drafts_;  // by node
  std::size_t parts_ = 0;                   // parts read since the GIL was last released
};

}  // namespace guard
