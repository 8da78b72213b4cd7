// Gives every schema that a root can reach its position, by the keywords of nearly all schemas.
// scan.look (schemas/scan.py) does the same in Python for every keyword; tests/schemas/test_scan.py
// compares the two. What is not plain here, and all that may be refused, is left to it.
#include "python/scan_fast.hpp"

#include <nanobind/stl/shared_ptr.h>

#include <algorithm>
#include <map>
#include <memory>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "python/gil.hpp"
#include "python/give_way.hpp"
#include "python/objects.hpp"
#include "python/schema_positions.hpp"
#include "python/usual_pattern.hpp"
#include "support/base.hpp"

namespace nb = nanobind;
using namespace nb::literals;

namespace {

enum Holds {  // keywords.Holds has the same numbers
  kChild = 2,
  kList = 3,
  kMap = 4,
  kDefs = 5,
  kEither = 6,
  kDependencies = 7,
  kReference = 8,
  kNumber = 9,
  kValues = 10,
  kPattern = 11,
  kPatterns = 12,
  kFormat = 13,
  kContent = 14
};
constexpr std::int32_t kSlice = 500;  // schemas that are scanned before others may have the GIL
constexpr std::int64_t kSmall = 999'999'999'999'999;  // integers up to it have few digits

using guard::JsonTree;
using guard::SchemaPositions;
using Index = JsonTree::Index;
using Kind = JsonTree::Kind;

// The names that are looked up, as Python strings. They are never released.
struct Words {
  guard::Keyword ref = guard::keyword_of("$ref");
  PyObject* dialect = PyUnicode_InternFromString("dialect");
  PyObject* document = PyUnicode_InternFromString("document");
  PyObject* homes = PyUnicode_InternFromString("homes");
};
const Words& words() {
  static const Words all;
  return all;
}

// The members of objects by name. Those of a wide one are indexed once, so that many references
// into it take linear time.
class Members {
 public:
  // The member of this name, or 0.
  Index find(const JsonTree& tree, Index object, std::string_view name) {
    if (tree[object].size > kWide) return found_in(indexed(tree, object), name);
    for (Index i = object + 1; i < tree[object].end; i = tree[i].end)
      if (!tree[i].has_odd_key && tree.key(i) == name) return i;
    return 0;
  }

 private:
  using Names = std::unordered_map<std::string_view, Index, guard::TextHash>;
  static constexpr std::uint32_t kWide = 32;

  static Index found_in(const Names& names, std::string_view name) {
    const auto found = names.find(name);
    return found == names.end() ? 0 : found->second;
  }
  const Names& indexed(const JsonTree& tree, Index object) {
    const auto [at, is_new] = wide_.try_emplace({&tree, object});
    if (is_new)
      for (Index i = object + 1; i < tree[object].end; i = tree[i].end, guard::give_way())
        if (!tree[i].has_odd_key) at->second.emplace(tree.key(i), i);
    return at->second;
  }

  std::map<std::pair<const JsonTree*, Index>, Names> wide_;
};

// What a scan is told of the words that it meets (schemas/scan.py).
struct Told {
  std::int64_t most;  // positions
  const guard::KeywordTable &plain, &slow_formats;
  nb::handle parse;  // reads a pattern, and remembers it
};

class Scanner {
 public:
  // Without `homes` and `look`, all positions are in one resource, the dialect of which
  // `positions.alone()` tells.
  Scanner(SchemaPositions& positions, const Told& told, nb::handle homes = {}, nb::handle look = {})
      : positions_(positions), told_(told), homes_(homes), look_(look) {}

  // Positions are given in the order of discovery, so they are the queue. Returns the first that
  // has a keyword at which Python must look where nobody can be asked; -1: there is none.
  std::int32_t run(std::int32_t from) {
    for (std::int32_t at = from; at < positions_.size(); ++at) {
      if (at % kSlice == 0) let_others_in();
      enter(at);
      const Index self = positions_[at].node, end = (*tree_)[self].end;
      const Index leads = tables_->ref_alone ? tree_->member(self, words().ref) : 0;
      for (Index i = leads ? leads : self + 1; i < end; i = leads ? end : (*tree_)[i].end) {
        const int holds = leads ? kReference : tables_->looked_into[(*tree_)[i].word];
        if (holds < 0 || is_placed(holds, at, i)) continue;
        if (!look_.is_valid()) return at;
        look(at, i);
      }
    }
    return guard::kNoPosition;
  }

 private:
  void look(std::int32_t at, Index i) {
    const nb::object keyword = tree_->key_object(i), value = tree_->value(i);
    guard::in_python([&] { return look_(at, keyword, value); });
  }

  static void let_others_in() {
    if (PyErr_CheckSignals()) throw nb::python_error();
    const guard::WithoutGil others;  // safe: nobody else has what is scanned
  }

  // Enters the resource of a schema. Most schemas are in the same resource as the previous one.
  void enter(std::int32_t at) {
    document_ = positions_[at].document;
    tree_ = &positions_.tree(document_);
    if (!homes_.is_valid()) {
      tables_ = positions_.alone();
      return;
    }
    PyObject* home = PyList_GetItem(homes_.ptr(), at);
    if (home == home_) return;
    const Words& w = words();
    tables_ = &guard::tables_of(guard::attribute(home, w.dialect).ptr());
    resources_ = guard::attribute(guard::attribute(home, w.document).ptr(), w.homes);
    home_ = home;
  }

  // Gives what a keyword holds its positions. False: Python must look at it, again from its begin.
  bool is_placed(int holds, std::int32_t parent, Index at) {
    if (holds == kDefs) return true;
    if (told_.plain[(*tree_)[at].word] < 0) return false;
    switch (holds) {
      case kChild: return child({document_, at, parent, at});
      case kEither:
        return tree_->is_list(at) ? children(parent, at) : child({document_, at, parent, at});
      case kList: return tree_->is_list(at) && children(parent, at);
      case kMap: return tree_->is_object(at) && children(parent, at);
      case kReference: return (*tree_)[at].word == words().ref && is_led(parent, at);
      case kFormat:
        return (*tree_)[at].kind == Kind::Text &&
               told_.slow_formats[guard::keyword_of(tree_->bytes(at))] < 0;
      case kPattern: return is_read(at);
      case kNumber: return is_small(at);
      case kValues: return values(at);
      default: return false;
    }
  }

  bool children(std::int32_t parent, Index at) {
    std::uint32_t index = 0;
    for (Index i = at + 1; i < (*tree_)[at].end; i = (*tree_)[i].end, ++index, guard::give_way())
      if (!child({document_, i, parent, at, index})) return false;
    return true;
  }
  // Reads a usual pattern, which lowering will ask for. False: it is not usual.
  bool is_read(Index at) const {
    if ((*tree_)[at].kind != Kind::Text || !guard::is_usual_pattern(tree_->bytes(at))) return false;
    guard::in_python([&] { return told_.parse(tree_->value(at)); });
    return true;
  }
  bool is_small(Index at) const {
    return (*tree_)[at].kind == Kind::Integer && tree_->integer(at) >= -kSmall &&
           tree_->integer(at) <= kSmall;
  }
  // Is it a value without members, and if it is a number, one of few digits?
  bool is_short(Index at) const {
    const Kind kind = (*tree_)[at].kind;
    return kind == Kind::Text || kind == Kind::OddText || kind == Kind::Null ||
           tree_->is_boolean(at) || is_small(at);
  }
  bool values(Index at) const {
    if (!tree_->is_list(at)) return is_short(at);
    for (Index i = at + 1; i < (*tree_)[at].end; i = (*tree_)[i].end)
      if (!is_short(i)) return false;
    return true;
  }

  // Follows a reference within a document that is one resource, by names: "#/$defs/a". False: it
  // is of another kind, or leads to what Python must look at first.
  bool is_led(std::int32_t from, Index at) {
    if ((*tree_)[at].kind != Kind::Text || has_resources()) return false;
    std::string_view path = tree_->bytes(at);
    if (!path.starts_with('#') || path.find_first_of("%~") != path.npos) return false;
    path.remove_prefix(1);
    Index to = 0;
    std::vector<Index> way;
    bool is_schema = true;     // is `to` a schema, by the keywords on the way?
    bool is_in_place = false;  // or does it hold schemas by name?
    while (!path.empty()) {
      if (!path.starts_with('/') || !tree_->is_object(to)) return false;
      path.remove_prefix(1);
      const std::string_view name = path.substr(0, path.find('/'));
      path.remove_prefix(name.size());
      to = members_.find(*tree_, to, name);
      if (to == 0) return false;
      way.push_back(to);
      const int holds = is_schema ? tables_->keywords[(*tree_)[to].word] : -1;
      if (!is_schema && !is_in_place) return false;
      is_schema = is_in_place || holds == kChild || holds == kEither || holds == kContent;
      is_in_place = holds == kMap || holds == kDefs || holds == kPatterns || holds == kDependencies;
      if (!is_schema && !is_in_place) return false;
    }
    const std::int32_t next = positions_.size();
    if (!is_schema || !child({document_, to, guard::kNoPosition})) return false;
    if (positions_.size() > next) positions_.set_way(next, std::move(way));
    positions_.lead(from, position_of(to));
    return true;
  }
  std::int32_t position_of(Index schema) const {
    if ((*tree_)[schema].kind == Kind::False) return guard::kFalsePosition;
    const std::int32_t known = positions_.at(document_, schema);
    return known >= 0 ? known : guard::kTruePosition;
  }

  // Gives a schema its position if it has none (Documents.place).
  bool child(const SchemaPositions::Place& place) {
    const Index at = place.node;
    if (tree_->is_boolean(at)) return true;
    if (!tree_->is_object(at)) return false;
    if ((*tree_)[at].size == 0 || positions_.at(document_, at) >= 0) return true;
    if (positions_.size() > told_.most) return false;
    if (homes_.is_valid()) {
      PyObject* own = has_resources() ? own_home(at) : nullptr;
      if (PyList_Append(homes_.ptr(), own ? own : home_)) throw nb::python_error();
    }
    positions_.place(place);
    return true;
  }
  // Does a resource begin below the document's root?
  bool has_resources() const { return resources_.is_valid() && PyDict_Size(resources_.ptr()) > 0; }
  // The resource that begins at a schema, borrowed, or null.
  PyObject* own_home(Index at) const {
    const nb::object address = guard::owned(PyLong_FromVoidPtr(tree_->value(at).ptr()));
    return guard::found(resources_.ptr(), address.ptr());
  }

  SchemaPositions& positions_;
  const Told told_;
  nb::handle homes_, look_;
  PyObject* home_ = nullptr;  // borrowed from homes
  const guard::DialectTables* tables_ = nullptr;
  nb::object resources_;
  Members members_;
  std::uint32_t document_ = 0;
  const JsonTree* tree_ = nullptr;
};

}  // namespace

void bind_scan(nb::module_& module) {
  module.def(
      "scanned",
      [](SchemaPositions& positions, const nb::list& homes, std::int64_t most,
         const guard::KeywordTable& plain, const guard::KeywordTable& slow_formats,
         const nb::callable& parse, const nb::callable& look, std::int32_t from) {
        positions.set_alone(nb::none());
        Scanner(positions, {most, plain, slow_formats, parse}, homes, look)
            .run(std::max(from, guard::kFirstPosition));
      },
      "positions"_a, "homes"_a, "most"_a, "plain"_a, "slow_formats"_a, "parse"_a, "look"_a,
      "from_"_a);
  module.def(
      "scanned_alone",
      [](SchemaPositions& positions, const std::shared_ptr<JsonTree>& tree,
         const nb::object& dialect, std::int64_t most, const guard::KeywordTable& plain,
         const guard::KeywordTable& slow_formats, const nb::callable& parse) {
        if (!tree->is_object(0) || (*tree)[0].size == 0) return guard::kTruePosition;
        positions.set_alone(dialect);
        positions.place({positions.add(tree), 0, guard::kNoPosition});
        return Scanner(positions, {most, plain, slow_formats, parse}).run(guard::kFirstPosition);
      },
      "positions"_a, "tree"_a, "dialect"_a, "most"_a, "plain"_a, "slow_formats"_a, "parse"_a);
}
