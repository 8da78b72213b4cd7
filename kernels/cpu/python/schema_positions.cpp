#include "python/schema_positions.hpp"

#include <nanobind/stl/shared_ptr.h>

#include <algorithm>
#include <iterator>
#include <utility>

#include "python/give_way.hpp"

namespace nb = nanobind;
using namespace nb::literals;

namespace guard {

std::uint32_t SchemaPositions::add(std::shared_ptr<const JsonTree> tree) {
  if (!documents_.empty() && documents_[0].tree == tree) return 0;  // it was scanned alone
  std::vector<std::int32_t> positions(tree->size(), kNoPosition);
  documents_.push_back({std::move(tree), std::move(positions)});
  return static_cast<std::uint32_t>(documents_.size() - 1);
}

std::int32_t SchemaPositions::place(const Place& place) {
  const std::int32_t at = size();
  places_.push_back(place);
  documents_[place.document].positions[place.node] = at;
  return at;
}

SchemaPositions::Where SchemaPositions::where(std::int32_t at) const {
  const Place place = (*this)[at];
  if (at < kFirstPosition) return {nullptr, place, {}, {}};
  const auto said = paths_.find(at);
  const auto way = ways_.find(at);
  return {documents_[place.document].tree, place,
          way == ways_.end() ? std::vector<Index>() : way->second,
          said == paths_.end() ? nb::object() : said->second};
}

nb::object SchemaPositions::Where::schema() const { return tree->value(place.node); }

nb::object SchemaPositions::Where::steps() const {
  if (path.is_valid()) return path;
  nb::list out;
  for (const Index member : way) out.append(tree->key_object(member));
  if (tree && place.keyword) {
    out.append(tree->key_object(place.keyword));
    if (tree->is_list(place.keyword))
      out.append(place.index);
    else if (place.keyword != place.node)
      out.append(tree->key_object(place.node));
  }
  return nb::tuple(out);
}

bool SchemaPositions::may_loop() const {
  static const Keyword in_place[] = {keyword_of("allOf"),       keyword_of("anyOf"),
                                     keyword_of("oneOf"),       keyword_of("not"),
                                     keyword_of("if"),          keyword_of("then"),
                                     keyword_of("else"),        keyword_of("dependentSchemas"),
                                     keyword_of("dependencies")};
  struct Step {
    std::int32_t at;
    std::vector<std::int32_t> next;
  };
  const auto step_to = [&](std::int32_t at) {
    Step out{at, {}};
    const Place& place = (*this)[at];
    const JsonTree& tree = this->tree(place.document);
    const auto add = [&](Index child) {
      if (tree.is_object(child) && tree[child].size > 0)
        if (const std::int32_t below = this->at(place.document, child); below >= 0)
          out.next.push_back(below);
    };
    for (Index i = place.node + 1; i < tree[place.node].end; i = tree[i].end) {
      if (!tree[i].word ||
          std::find(std::begin(in_place), std::end(in_place), tree[i].word) == std::end(in_place))
        continue;
      add(i);
      for (Index child = i + 1; child < tree[i].end; child = tree[child].end) add(child);
    }
    if (const std::int32_t to = led_to(at); to >= kFirstPosition) out.next.push_back(to);
    return out;
  };
  enum : std::uint8_t { kNew, kOnTheWay, kDone };
  std::vector<std::uint8_t> state(places_.size(), kNew);
  const auto state_of = [&](std::int32_t at) -> std::uint8_t& {
    return state[static_cast<std::size_t>(at)];
  };
  std::vector<Step> way;
  const auto enter = [&](std::int32_t at) {
    state_of(at) = kOnTheWay;
    way.push_back(step_to(at));
  };
  for (const auto& [from, to] : leads_) {
    if (to < kFirstPosition || state_of(to) != kNew) continue;
    enter(to);
    while (!way.empty()) {
      give_way();
      Step& last = way.back();
      if (last.next.empty()) {
        state_of(last.at) = kDone;
        way.pop_back();
        continue;
      }
      const std::int32_t next = last.next.back();
      last.next.pop_back();
      if (state_of(next) == kOnTheWay) return true;
      if (state_of(next) == kNew) enter(next);
    }
  }
  return false;
}

namespace {

using Positions = std::shared_ptr<SchemaPositions>;

std::pair<std::int32_t, SchemaPositions::Where> found_at(const SchemaPositions& all,
                                                         Py_ssize_t at) {
  const std::lock_guard held(all.lock);
  if (at < 0) at += all.size();
  if (at < 0 || at >= all.size()) throw nb::index_error("there is no such position");
  const auto position = static_cast<std::int32_t>(at);
  return {position, all.where(position)};
}

// Of one document, from the addresses of its objects to their positions.
struct Places {
  Positions all;
  std::uint32_t document;

  std::int32_t find(nb::handle address) const {
    const void* object = PyLong_AsVoidPtr(address.ptr());
    if (!object && PyErr_Occurred()) throw nb::python_error();
    const std::lock_guard held(all->lock);
    const JsonTree::Index node = all->tree(document).index_of(object);
    return node == JsonTree::kNone ? kNoPosition : all->at(document, node);
  }
};

}  // namespace

void bind_schema_positions(nb::module_& module) {
  nb::class_<Places>(module, "Places")
      .def("__contains__",
           [](const Places& self, nb::handle address) { return self.find(address) != kNoPosition; })
      .def("__getitem__",
           [](const Places& self, nb::handle address) {
             const std::int32_t at = self.find(address);
             if (at == kNoPosition) throw nb::key_error("it has no position");
             return at;
           })
      .def(
          "get",
          [](const Places& self, nb::handle address, nb::handle otherwise) -> nb::object {
            const std::int32_t at = self.find(address);
            return at == kNoPosition ? nb::borrow(otherwise) : nb::cast(at);
          },
          "address"_a, "otherwise"_a.none() = nb::none());

  nb::class_<SchemaPositions>(module, "SchemaPositions")
      .def(nb::init<>())
      .def("__len__",
           [](const SchemaPositions& self) {
             const std::lock_guard held(self.lock);
             return self.size();
           })
      .def("__getitem__",
           [](const SchemaPositions& self, Py_ssize_t at) {
             const auto [position, where] = found_at(self, at);
             return position < kFirstPosition ? nb::object(nb::bool_(position == kTruePosition))
                                              : where.schema();
           })
      .def(
          "add",
          [](const Positions& self, const std::shared_ptr<JsonTree>& tree) {
            const std::lock_guard held(self->lock);
            return Places{self, self->add(tree)};
          },
          "tree"_a)
      .def(
          "begin",
          [](SchemaPositions& self, const Places& places) -> std::int32_t {
            const JsonTree& tree = self.tree(places.document);
            if (tree.is_boolean(0))
              return tree[0].kind == JsonTree::Kind::True ? kTruePosition : kFalsePosition;
            if (!tree.is_object(0)) return kNoPosition;
            if (tree[0].size == 0) return kTruePosition;
            const std::lock_guard held(self.lock);
            const std::int32_t known = self.at(places.document, 0);
            return known != kNoPosition ? known : self.place({places.document, 0, kNoPosition});
          },
          "places"_a)
      .def(
          "place",
          [](SchemaPositions& self, const Places& places, nb::handle address, std::int32_t parent,
             const nb::tuple& path) {
            const void* object = PyLong_AsVoidPtr(address.ptr());
            if (!object && PyErr_Occurred()) throw nb::python_error();
            const JsonTree::Index node = self.tree(places.document).index_of(object);
            if (node == JsonTree::kNone) throw nb::key_error("it is no object of the document");
            const std::lock_guard held(self.lock);
            const std::int32_t at = self.place({places.document, node, parent});
            self.set_path(at, path);
            return at;
          },
          "places"_a, "address"_a, "parent"_a, "path"_a)
      .def("may_loop", &SchemaPositions::may_loop)
      .def("leads",
           [](const SchemaPositions& self) {
             nb::dict out;
             for (const auto& [from, to] : self.leads()) out[nb::int_(from)] = to;
             return out;
           })
      .def(
          "trail",
          [](const SchemaPositions& self, Py_ssize_t at) {
            const auto [position, where] = found_at(self, at);
            return nb::make_tuple(where.place.parent, where.steps());
          },
          "position"_a);
}

}  // namespace guard
