// Records: what the front end says of nodes, read with the GIL into values of our own, and made the
// engine's without it.
//
// A record is checked as it is read: a wrong shape is a TypeError. A large one is read in slices,
// between which the GIL is given back for a moment: a stranger's enum has as many values as he
// likes. No isolate's lock is held meanwhile, so nothing read here is a table's yet.
#pragma once
#include <nanobind/nanobind.h>

#include <atomic>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "runtime/tables.hpp"

namespace guard {

// An object of Python's that tables hold. They may go where the GIL must not be waited for: it is
// given back in the next call.
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

// What a front end says of the text around values, with the GIL: points, each the arcs that leave
// it; arcs, (tree, to); exits, (kind, what, next); whether it is to be checked.
std::shared_ptr<const FormatSource> source_of(nanobind::handle given);

// A constant of JSON.
struct Literal {
  Value::Kind kind = Value::Null;
  std::string text;  // String
  Decimal number;
  struct Inside;
  std::shared_ptr<Inside> inside;  // of an array or an object: an enum's million numbers have none
};
struct Literal::Inside {
  std::vector<Literal> items;      // of an object the values of its members
  std::vector<std::string> names;  // of an object
};

class Records {
 public:
  Records(const std::vector<Id>& nodes, const nanobind::list& records);  // with the GIL
  // Whether all is there to make the atoms. If not, the trees of the patterns that the tables don't
  // know are to be read. Under their lock.
  bool are_whole(const Tables& tables);
  void read_trees();  // with the GIL
  // The atoms of each node. Under the lock of the tables, and once `are_whole` of them, with no
  // flush since.
  std::vector<std::vector<Atom>> atoms(Tables& tables);

 private:
  struct Pattern {
    std::shared_ptr<void> object;  // its tree, as Python holds it
    bool whole;                    // else it is searched for
    bool is_lacking = false, is_read = false;
    Tree tree = {};
  };
  struct Draft {  // an atom whose names, values and languages are not the tables' yet
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
  void each(F f);  // f(draft), with the node and the opcode for a limit

  const std::vector<Id>& nodes_;
  std::vector<std::vector<Draft>> drafts_;  // by node
  std::size_t parts_ = 0;                   // read since the GIL was given back
};

}  // namespace guard
