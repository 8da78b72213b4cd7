// The schemas that one compile can reach, by position: a number for each schema at one place of one
// document (schemas/documents.py). Where a schema stands is kept as a node of its document's tree;
// Python objects of it are made when somebody asks.
#pragma once
#include <nanobind/nanobind.h>

#include <memory>
#include <mutex>
#include <unordered_map>
#include <vector>

#include "python/json_tree.hpp"

namespace guard {

constexpr std::int32_t kTruePosition = 0, kFalsePosition = 1, kFirstPosition = 2, kNoPosition = -1;

// Grows in one thread at a time, which the front end sees to; other threads may read what is there.
class SchemaPositions {
 public:
  using Index = JsonTree::Index;
  struct Place {
    std::uint32_t document;
    Index node;
    std::int32_t parent;      // position of the schema around it; -1: a reference led to it
    Index keyword = 0;        // the member of its parent in which it stands
    std::uint32_t index = 0;  // there, if that is a list
  };

  // The dialect of all schemas where they are in one resource that Python was not asked about; null
  // where Documents.homes tells.
  const DialectTables* alone() const { return alone_; }
  void set_alone(nanobind::object tables) {
    alone_ = tables.is_none() ? nullptr : &nanobind::cast<const DialectTables&>(tables);
    kept_ = std::move(tables);
  }

  // Adds a document, unless it is there; its number.
  std::uint32_t add(std::shared_ptr<const JsonTree> tree);
  std::int32_t size() const { return static_cast<std::int32_t>(places_.size()); }
  const Place& operator[](std::int32_t at) const { return places_[static_cast<std::size_t>(at)]; }
  const JsonTree& tree(std::uint32_t document) const { return *documents_[document].tree; }
  // The position of a node, or -1.
  std::int32_t at(std::uint32_t document, Index node) const {
    return documents_[document].positions[node];
  }
  // Gives a node its position, the next one.
  std::int32_t place(const Place& place);
  // Says by which members a reference led from the document's root to a position.
  void set_way(std::int32_t at, std::vector<Index> way) { ways_[at] = std::move(way); }
  // Says that the `$ref` of a schema leads to a position.
  void lead(std::int32_t at, std::int32_t to) { leads_.emplace(at, to); }
  std::int32_t led_to(std::int32_t at) const {  // or -1
    const auto found = leads_.find(at);
    return found == leads_.end() ? kNoPosition : found->second;
  }
  const std::unordered_map<std::int32_t, std::int32_t>& leads() const { return leads_; }
  // May some schema lead to itself by what applies to the same value? Of references only those of
  // lead() are followed.
  bool may_loop() const;
  void set_path(std::int32_t at, nanobind::object path) { paths_[at] = std::move(path); }

  // All that tells where a schema stands, to be read after the lock was released.
  struct Where {
    std::shared_ptr<const JsonTree> tree;
    Place place;
    std::vector<Index> way;  // members, if a reference led to it
    nanobind::object path;   // if Python said it
    nanobind::object schema() const;
    // The steps from the parent, or from the document's root, as a tuple.
    nanobind::object steps() const;
  };
  Where where(std::int32_t at) const;

  // Held where Python reads or adds, which without a GIL happens at the same time. No Python object
  // is made under it: that may let other threads have the GIL, which then wait for the lock.
  mutable std::mutex lock;

 private:
  struct Document {
    std::shared_ptr<const JsonTree> tree;
    std::vector<std::int32_t> positions;  // by node
  };
  std::vector<Document> documents_;
  std::vector<Place> places_{{0, 0, -1}, {0, 0, -1}};         // `true` and `false` come first
  std::unordered_map<std::int32_t, nanobind::object> paths_;  // that Python said
  std::unordered_map<std::int32_t, std::vector<Index>> ways_;
  std::unordered_map<std::int32_t, std::int32_t> leads_;
  const DialectTables* alone_ = nullptr;
  nanobind::object kept_;  // what alone_ is of
};

void bind_schema_positions(nanobind::module_& module);  // adds SchemaPositions

}  // namespace guard
