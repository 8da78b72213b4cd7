// Records: the front end's nodes as Python writes them, read with the GIL into drafts (drafts.hpp),
// and added to the engine's tables without it.
//
// A record is validated as it is read; a wrong structure raises TypeError. A large one is read in
// slices, with the GIL released for a moment in between, since an enum of an untrusted schema may
// have any number of values. No isolate's lock is held meanwhile, so nothing here is in a table
// yet.
#pragma once
#include <nanobind/nanobind.h>

#include <atomic>
#include <memory>
#include <utility>
#include <vector>

#include "python/drafts.hpp"
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

// The drafts of a record, a list of tuples, or of what `lowered` made. Raises TypeError for a wrong
// structure, and throws Limit. With the GIL.
std::vector<Draft> read_record(nanobind::handle record, Id node);
// What a front end's `lower` returned for these nodes: a list of their records, or Drafts, which
// are moved out of their object and may be of more nodes. Throws Limit.
Drafts drafts_of(std::vector<Id> nodes, nanobind::handle given);
bool are_equal(const Drafts& a, const Drafts& b);  // with the GIL

// Drafts on their way into the tables of an engine.
class Definitions {
 public:
  explicit Definitions(Drafts drafts) : drafts_(std::move(drafts)) {}
  // Whether they can be made. If not, read_trees() must read the patterns that the tables lack.
  // Requires the isolate's lock.
  bool are_whole(const Tables& tables);
  void read_trees();  // with the GIL
  // Defines the nodes that the engine does not have yet. Requires the isolate's lock, and that
  // are_whole() was true since the last flush.
  void define(Compiled& engine) const;

 private:
  template <class Drafted, class F>
  static void each(Drafted& drafts,
                   F f);  // calls f(i, draft); a limit gets the draft's node and opcode

  Drafts drafts_;
};

}  // namespace guard
