// Twins: which schemas of a compile say the same, as far as they were met, and which nodes were
// lowered. A schema may repeat one hundreds of times; the engine then meets one node.
#pragma once

#include <nanobind/nanobind.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "python/schema_positions.hpp"
#include "support/base.hpp"

namespace guard {

class Twins {
 public:
  explicit Twins(std::shared_ptr<SchemaPositions> positions) : positions_(std::move(positions)) {}

  SchemaPositions& positions() const { return *positions_; }

  // The first position whose plain scalar says the same, in the dialect of the schema around it; a
  // scalar is told by the bytes of what it says.
  Id first_of(std::string_view said, Id position) {
    auto found = firsts_.find(said);
    if (found == firsts_.end()) found = firsts_.emplace(std::string(said), position).first;
    About& about = of(position);
    about.first = found->second;
    if (about.first == position) about.said = &found->first;
    return about.first;
  }
  // What a plain scalar says that is the first of its like; null for any other node.
  const std::string* said(Id position) const {
    return static_cast<std::size_t>(position) < about_.size()
               ? about_[static_cast<std::size_t>(position)].said
               : nullptr;
  }
  std::string& scratch() { return scratch_; }
  // The others whose first it is. Linear in the positions.
  std::vector<Id> alike(Id position) const {
    std::vector<Id> out;
    if (position < 0) return out;
    for (std::size_t at = 0; at < about_.size(); ++at)
      if (about_[at].first == position && static_cast<Id>(at) != position)
        out.push_back(static_cast<Id>(at));
    return out;
  }

  struct Visit {
    std::size_t record;  // where its record is among the drafts
    int depth;           // how far it was followed; -1: not in this call
  };
  void begin_call() { ++call_; }
  bool is_first_call() const { return call_ == 1; }
  // What this call knows of a node.
  Visit visit(Id node) {
    const About& about = of(node);
    return about.call == call_ ? Visit{about.record, about.depth} : Visit{0, -1};
  }
  void set_visit(Id node, Visit visit) {
    About& about = of(node);
    about.call = call_, about.record = visit.record, about.depth = visit.depth;
  }
  // Was the node lowered before? From now on it was.
  bool is_given(Id node) { return std::exchange(of(node).is_given, true); }

 private:
  struct About {
    Id first = -1;
    bool is_given = false;
    int depth = 0;
    std::uint64_t call = 0;  // the last that visited it
    std::size_t record = 0;
    const std::string* said = nullptr;
  };
  About& of(Id node) {
    if (node < 0 || node >= positions_->size())
      throw nanobind::index_error("there is no such node");
    const auto at = static_cast<std::size_t>(node);
    if (at >= about_.size()) about_.resize(static_cast<std::size_t>(positions_->size()));
    return about_[at];
  }

  std::shared_ptr<SchemaPositions> positions_;
  std::unordered_map<std::string, Id, TextHash, std::equal_to<>> firsts_;
  std::vector<About> about_;  // by node
  std::uint64_t call_ = 0;
  std::string scratch_;
};

}  // namespace guard
