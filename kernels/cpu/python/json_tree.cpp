// Reads JSON made of plain Python types in one walk. jsontext.py has the slow equivalent for other
// types, which also words the errors.
#include "python/json_tree.hpp"

#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string_view.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <memory>
#include <optional>
#include <utility>

#include "python/give_way.hpp"
#include "python/objects.hpp"
#include "python/text.hpp"

namespace nb = nanobind;
using namespace nb::literals;

namespace guard {

namespace {

constexpr std::size_t kFirstBytes = 2'000, kFirstNodes = 64;  // enough for most schemas
constexpr std::size_t kFew = 2'000;  // values that are read in one go, and bytes 16 times as many
constexpr Py_ssize_t kLongestInteger =
    3'000;  // hexadecimal digits: validators take longer ones for null

nb::object text_of(std::string_view bytes, bool is_odd) {
  return owned(PyUnicode_DecodeUTF8(bytes.data(), static_cast<Py_ssize_t>(bytes.size()),
                                    is_odd ? "surrogatepass" : nullptr));
}

}  // namespace

// Reads a value. No Python code runs in here: every type is exact. Few values are read in one go,
// with the GIL held. Of more, a container is copied as a whole before it is read, since other
// threads get turns meanwhile and may change the caller's; without a GIL, every one.
class TreeReader {
 public:
  struct Bounds {
    std::int64_t depth, most;  // levels, and characters
    bool others;               // whether a scalar of any other type is taken as it is
  };
  enum class End { Read, NotPlain, TooMany };

  TreeReader(const Bounds& bounds, bool copies, JsonTree& tree)
      : bounds_(bounds),
        left_(bounds.most),
        containers_(bounds.most >> 3),
        copies_(copies),
        tree_(tree) {
    tree_.written_.grow(kFirstBytes);
    tree_.written_.size = 0;
    tree_.nodes_.reserve(kFirstNodes);
  }

  End read(PyObject* value) {
    add(value, 0);
    return end_;
  }

  // Null where the value is not plain or is beyond a limit.
  static std::shared_ptr<JsonTree> tree_of(PyObject* value, const Bounds& bounds) {
#ifdef NB_FREE_THREADED
    bool copies = true;
#else
    bool copies = false;
#endif
    while (true) {
      auto tree = std::make_shared<JsonTree>();
      const End end = TreeReader(bounds, copies, *tree).read(value);
      if (PyErr_Occurred()) throw nb::python_error();
      if (end == End::Read) return tree;
      if (end == End::NotPlain) return nullptr;
      copies = true;
    }
  }

 private:
  using Kind = JsonTree::Kind;
  using Index = JsonTree::Index;

  bool stop(End end) {
    end_ = end;
    return false;
  }
  bool write(char what, std::uint64_t number) { return write(what, number, {}); }
  bool write(char what, std::uint64_t number, std::string_view text) {
    if (tree_.written_.size + text.size() > 0xf000'0000) return stop(End::NotPlain);
    char* out = tree_.written_.grow(1 + sizeof number + text.size());
    *out = what;
    std::memcpy(out + 1, &number, sizeof number);
    if (!text.empty()) std::memcpy(out + 1 + sizeof number, text.data(), text.size());
    return true;
  }
  std::uint32_t here() const { return static_cast<std::uint32_t>(tree_.written_.size); }

  // Adds a value. False: the walk ends.
  bool add(PyObject* value, std::int64_t level) {
    if (PyDict_CheckExact(value)) return container(level) && object(value, level);
    if (PyList_CheckExact(value)) return container(level) && list(value, level);
    return scalar(value);
  }
  bool container(std::int64_t level) {
    return (level < bounds_.depth && --containers_ >= 0 && --left_ >= 0) || stop(End::NotPlain);
  }
  JsonTree::Node& node(Kind kind) {
    tree_.nodes_.push_back({.kind = kind, .end = tree_.size() + 1});
    return tree_.nodes_.back();
  }

  // Writes a text: where its bytes are, how many, and whether UTF-8 can encode it.
  struct Spelled {
    std::uint32_t at, size;
    bool is_odd;
  };
  std::optional<Spelled> spelled(PyObject* value) {
    if (const auto bytes = utf8(value)) {
      if (!copies_ && bytes->size() > 16 * kFew) return stop(End::TooMany), std::nullopt;
      if (!write('s', bytes->size(), *bytes)) return std::nullopt;
      const auto size = static_cast<std::uint32_t>(bytes->size());
      return Spelled{here() - size, size, false};
    }
    // The error that was raised may have run code of anybody's, and the walk is of borrowed values.
    if (!copies_) return PyErr_Clear(), stop(End::TooMany), std::nullopt;
    PyObject* halves =
        PyErr_Occurred() ? nullptr : PyUnicode_AsEncodedString(value, "utf-8", "surrogatepass");
    if (!halves) return stop(End::NotPlain), std::nullopt;
    const auto size = static_cast<std::size_t>(PyBytes_Size(halves));
    std::optional<Spelled> out;
    if (write('S', size, {PyBytes_AsString(halves), size}))
      out = {here() - static_cast<std::uint32_t>(size), static_cast<std::uint32_t>(size), true};
    Py_DECREF(halves);
    return out;
  }
  std::optional<Spelled> text(PyObject* value) {
    const auto out = spelled(value);
    if (out && (left_ -= out->size + 1) < 0) return stop(End::NotPlain), std::nullopt;
    return out;
  }

  bool integer(PyObject* value) {
    if (--left_ < 0) return stop(End::NotPlain);
    int overflow = 0;
    const long long small = PyLong_AsLongLongAndOverflow(value, &overflow);
    if (!overflow) {
      if (!write('i', static_cast<std::uint64_t>(small))) return false;
      node(Kind::Integer).at = here() - 8;
      return true;
    }
    PyObject* digits = PyNumber_ToBase(value, 16);
    if (!digits) return stop(End::NotPlain);
    const Py_ssize_t prefix = overflow < 0 ? 3 : 2;  // -0x
    const bool is_long = PyUnicode_GetLength(digits) - prefix > kLongestInteger;
    const auto out = is_long ? std::nullopt : spelled(digits);
    Py_DECREF(digits);
    if (is_long) return other(value);
    if (!out) return false;
    *tree_.written_.grow(1) = 'I';
    JsonTree::Node& made = node(Kind::Long);
    made.at = out->at, made.size = out->size;
    return true;
  }

  bool scalar(PyObject* value) {
    if (PyUnicode_CheckExact(value)) {
      const auto out = text(value);
      if (!out) return false;
      JsonTree::Node& made = node(out->is_odd ? Kind::OddText : Kind::Text);
      made.at = out->at, made.size = out->size;
      return true;
    }
    if (value == Py_None || value == Py_True || value == Py_False) {
      *tree_.written_.grow(1) = value == Py_None ? 'n' : value == Py_True ? 't' : 'f';
      node(value == Py_None   ? Kind::Null
           : value == Py_True ? Kind::True
                              : Kind::False)
          .at = here() - 1;
      return --left_ >= 0 || stop(End::NotPlain);
    }
    if (PyLong_CheckExact(value)) return integer(value);
    if (!PyFloat_CheckExact(value)) return other(value);
    const double real = PyFloat_AsDouble(value);
    if (!std::isfinite(real)) return other(value);
    if (!write('d', std::bit_cast<std::uint64_t>(real))) return false;
    node(Kind::Float).at = here() - 8;
    return --left_ >= 0 || stop(End::NotPlain);
  }
  bool other(PyObject* value) {
    if (!bounds_.others) return stop(End::NotPlain);
    node(Kind::Other).at = static_cast<std::uint32_t>(tree_.others_.size());
    tree_.others_.push_back(Py_NewRef(value));
    return true;
  }

  // Others get a turn now and then; a walk of borrowed values ends instead.
  bool may_go_on() {
    if (copies_) {
      give_way();
      return true;
    }
    return tree_.nodes_.size() <= kFew || stop(End::TooMany);
  }

  // Asks for the memory of what is read next. The caller's values were mostly made long ago.
  static constexpr int kAhead = 32;
  static void fetch(const PyObject* value) {
#ifdef __GNUC__
    __builtin_prefetch(value);
#else
    (void)value;
#endif
  }

  bool object(PyObject* given, std::int64_t level) {
    const nb::object copy = copies_ ? owned(PyDict_Copy(given)) : nb::object();
    PyObject* value = copies_ ? copy.ptr() : given;
    const Index self = tree_.size();
    node(Kind::Object).size = static_cast<std::uint32_t>(PyDict_Size(value));
    if (!write('{', static_cast<std::uint64_t>(PyDict_Size(value)))) return false;
    Py_ssize_t at = 0, ahead = 0;
    PyObject *key = nullptr, *item = nullptr;
    for (int i = 0; i < kAhead && PyDict_Next(value, &ahead, &key, &item); ++i) {
      fetch(key);
      fetch(item);
    }
    while (PyDict_Next(value, &at, &key, &item)) {
      if (!PyUnicode_CheckExact(key)) return stop(End::NotPlain);
      const auto name = text(key);
      if (!name) return false;
      const Index child = tree_.size();
      const std::string_view said = tree_.bytes_from(name->at, name->size);
      const Keyword word = name->is_odd ? Keyword(0) : keyword_of(said);
      note(said, item, level);
      if (!add(item, level + 1)) return false;
      JsonTree::Node& made = tree_.nodes_[child];
      made.word = word, made.has_odd_key = name->is_odd;
      made.key_at = name->at, made.key_size = name->size;
      if (!may_go_on()) return false;
    }
    tree_.nodes_[self].end = tree_.size();
    return true;
  }

  bool list(PyObject* given, std::int64_t level) {
    const nb::object copy =
        copies_ ? owned(PyList_GetSlice(given, 0, PY_SSIZE_T_MAX)) : nb::object();
    PyObject* value = copies_ ? copy.ptr() : given;
    const Py_ssize_t size = PyList_Size(value);
    const Index self = tree_.size();
    node(Kind::List).size = static_cast<std::uint32_t>(size);
    if (!write('[', static_cast<std::uint64_t>(size))) return false;
    for (Py_ssize_t i = 0; i < std::min<Py_ssize_t>(size, kAhead); ++i)
      fetch(PyList_GetItem(value, i));
    for (Py_ssize_t i = 0; i < size; ++i)
      if (!add(PyList_GetItem(value, i), level + 1) || !may_go_on()) return false;
    tree_.nodes_[self].end = tree_.size();
    return true;
  }

  // Notes keywords below the root that may begin a resource, and anchors anywhere. Most documents
  // have none, and need no walk.
  void note(std::string_view key, PyObject* item, std::int64_t level) {
    int& met = tree_.met_;
    if (key.empty() || (key[0] != '$' && key != "id")) return;
    if (key == "id" && (level == 0 || PyUnicode_CheckExact(item)))
      met |= level == 0 ? JsonTree::kRoot : JsonTree::kOldId;
    if (!key.starts_with('$')) return;
    if (key == "$id") met |= level == 0 ? JsonTree::kRoot : JsonTree::kId;
    if (key == "$schema") met |= level == 0 ? JsonTree::kRoot : JsonTree::kSchema;
    if (key == "$anchor" || key == "$dynamicAnchor" || key == "$recursiveAnchor")
      met |= JsonTree::kAnchor;
  }

  const Bounds bounds_;
  std::int64_t left_, containers_;
  const bool copies_;
  End end_ = End::Read;
  JsonTree& tree_;
};

JsonTree::~JsonTree() {
  for (PyObject* other : others_) Py_DECREF(other);
  delete objects_.load();
}

nb::object JsonTree::key_object(Index i) const {
  const Node& n = nodes_[i];
  return n.word ? nb::borrow(guard::text_of(n.word)) : text_of(key(i), n.has_odd_key);
}

nb::object JsonTree::scalar(Index i) const {
  switch (nodes_[i].kind) {
    case Kind::Null: return nb::none();
    case Kind::False: return nb::borrow(Py_False);
    case Kind::True: return nb::borrow(Py_True);
    case Kind::Integer: return owned(PyLong_FromLongLong(integer(i)));
    case Kind::Long: return owned(PyLong_FromString(std::string(bytes(i)).c_str(), nullptr, 16));
    case Kind::Float: return owned(PyFloat_FromDouble(real(i)));
    case Kind::Text: return text_of(bytes(i), false);
    case Kind::OddText: return text_of(bytes(i), true);
    case Kind::Other: return nb::borrow(others_[nodes_[i].at]);
    default: throw nb::value_error("a container is no scalar");
  }
}

nb::object JsonTree::made(Index i, Objects* out) const {
  const Node& n = nodes_[i];
  if (n.kind != Kind::List && n.kind != Kind::Object) return scalar(i);
  const nb::object self = owned(n.kind == Kind::Object ? PyDict_New() : PyList_New(0));
  if (out) out->add(i, self);
  for (Index child = i + 1; child < n.end; child = nodes_[child].end, give_way()) {
    const nb::object item = made(child, out);
    if (n.kind == Kind::Object ? PyDict_SetItem(self.ptr(), key_object(child).ptr(), item.ptr())
                               : PyList_Append(self.ptr(), item.ptr()))
      throw nb::python_error();
  }
  return self;
}

// Two threads may both make them; the objects of the one that ends later are dropped.
const JsonTree::Objects& JsonTree::objects() const {
  if (const Objects* known = objects_.load(std::memory_order_acquire)) return *known;
  auto fresh = std::make_unique<Objects>();
  fresh->by_node.resize(nodes_.size());
  made(0, fresh.get());
  std::sort(fresh->nodes.begin(), fresh->nodes.end());
  Objects* expected = nullptr;
  return objects_.compare_exchange_strong(expected, fresh.get()) ? *fresh.release() : *expected;
}

nb::object JsonTree::copy(Index i) const { return made(i, nullptr); }

nb::object JsonTree::value(Index i) const {
  return is_object(i) || is_list(i) ? objects().by_node[i] : scalar(i);
}

JsonTree::Index JsonTree::index_of(const void* object) const {
  const Objects* known = objects_.load(std::memory_order_acquire);
  if (!known) return kNone;
  const auto found = std::lower_bound(known->nodes.begin(), known->nodes.end(),
                                      std::pair<const void*, Index>(object, 0));
  return found == known->nodes.end() || found->first != object ? kNone : found->second;
}

std::size_t JsonTree::weight() const {
  constexpr std::size_t kPart = 64;
  std::size_t out = nodes_.size(), keys = 0;
  for (const Node& n : nodes_) {
    keys += n.key_size;
    if (n.kind == Kind::Text || n.kind == Kind::OddText) out += n.size / kPart;
  }
  return out + keys / kPart;
}

void bind_json_tree(nb::module_& module) {
  const auto index_of = [](const JsonTree& tree, std::string_view key) {
    if (tree.is_object(0))
      for (JsonTree::Index i = 1; i < tree[0].end; i = tree[i].end)
        if (tree.key(i) == key && !tree[i].has_odd_key) return i;
    return JsonTree::kNone;
  };
  nb::class_<JsonTree>(module, "JsonTree")
      .def_static(
          "of",
          [](nb::handle value, std::int64_t depth, std::int64_t most, bool others) {
            return TreeReader::tree_of(value.ptr(), {depth, most, others});
          },
          "value"_a.none(), "depth"_a, "most"_a, "others"_a = false)
      .def_prop_ro("met", &JsonTree::met)
      .def_prop_ro("weight", &JsonTree::weight)
      .def_prop_ro("written",
                   [](const JsonTree& tree) -> nb::object {
                     if (!tree.is_whole()) return nb::none();
                     return nb::bytes(tree.written().data(), tree.written().size());
                   })
      .def_prop_ro("contents", [](const JsonTree& tree) { return tree.value(0); })
      .def(
          "get",
          [index_of](const JsonTree& tree, std::string_view key) -> nb::object {
            const JsonTree::Index i = index_of(tree, key);
            return i == JsonTree::kNone ? nb::none() : tree.value(i);
          },
          "key"_a)
      .def("copy", [](const JsonTree& tree) { return tree.copy(0); })
      .def("__contains__", [index_of](const JsonTree& tree, std::string_view key) {
        return index_of(tree, key) != JsonTree::kNone;
      });
}

}  // namespace guard
