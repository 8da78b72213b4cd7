#pragma once
#include <nanobind/nanobind.h>

#include <vector>

#include "python/drafts.hpp"

namespace guard {

class Twins;
struct LoweringTables;

// A front end's lowering of nodes (FrontEnd.drafts), which an engine calls without Python in
// between. Holds a lock of Python meanwhile.
class NodeLowering {
 public:
  NodeLowering(nanobind::object front, nanobind::object tables, nanobind::object twins,
               nanobind::handle lock);
  static const NodeLowering* of(nanobind::handle lower);  // null: it is another callable
  Drafts lower(const std::vector<Id>& nodes) const;       // requires the GIL

 private:
  nanobind::object front_, tables_object_, twins_object_, acquire_, release_;
  const LoweringTables& tables_;
  Twins& twins_;
};

}  // namespace guard

// Adds lowering to the module.
void bind_lower(nanobind::module_& module);
