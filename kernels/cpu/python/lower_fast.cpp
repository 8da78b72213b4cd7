// Lowers nodes by the keywords of nearly all schemas, straight into drafts. Lowering._lower
// (schemas/lowering.py) does the same in Python for every keyword, as records;
// tests/schemas/test_lowering.py compares the two. Keywords that are unknown here are left to it.
#include "python/lower_fast.hpp"

#include <nanobind/stl/vector.h>

#include <algorithm>
#include <limits>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "constraints/goals.hpp"
#include "python/gil.hpp"
#include "python/give_way.hpp"
#include "python/read_records.hpp"
#include "python/text.hpp"

namespace nb = nanobind;
using namespace nb::literals;

namespace {

using guard::Draft;
using guard::Drafts;
using guard::give_way;
using guard::Id;
using guard::Op;
using Record = std::vector<Draft>;  // a node's drafts
namespace types = guard::types;

enum Kind { kScalar = 1, kPoints = 2, kHolds = 3 };  // lowering._KINDS has the same numbers
enum How {                                           // lowering._FAST has the same numbers
  kType = 1,
  kEnum,
  kConst,
  kAdditional,
  kItems,
  kAll,
  kAny,
  kOne,
  kLeast,
  kMost,
  kAbove,
  kBelow,
  kLength,
  kCount,
  kSize
};
constexpr long kTrue = 0, kFalse = 1;  // nodes
constexpr long kEverything = types::kNull | types::kBoolean | types::kNumber | types::kString |
                             types::kArray | types::kObject;

[[noreturn]] void raise() { throw nb::python_error(); }
nb::object made(PyObject* fresh) {
  if (!fresh) raise();
  return nb::steal(fresh);
}
nb::object number(long n) { return made(PyLong_FromLong(n)); }
nb::object attribute(PyObject* of, PyObject* name) {
  return made(guard::in_python([&] { return PyObject_GetAttr(of, name); }));
}
PyObject* found(PyObject* dict, PyObject* key) {  // borrowed, or null
  PyObject* value = PyDict_GetItemWithError(dict, key);
  if (!value && PyErr_Occurred()) raise();
  return value;
}
Draft& add(Record& record, Op op) { return record.emplace_back(Draft{.atom = {.op = op}}); }
void add_bounds(Record& record, Op op, long least, long most) {
  guard::Atom& a = add(record, op).atom;
  a.lo = static_cast<std::int32_t>(least),
  a.hi = most < 0 ? guard::kInf : static_cast<std::int32_t>(most);
}

// A text as UTF-8; nullopt for one of a lone surrogate, which JSON can't write.
std::optional<std::string_view> text_of(PyObject* text) {
  const auto out = guard::utf8(text);
  if (!out && PyErr_Occurred()) raise();
  return out;
}
// Adds the texts of a list, each once, in order. False: one of them is no text that JSON can write.
bool are_added(std::vector<std::string>& out, PyObject* list) {
  if (!PyList_CheckExact(list)) return false;
  constexpr std::size_t kFew = 8;  // texts that are compared one by one
  std::unordered_set<std::string_view> seen;
  const auto is_new = [&](std::string_view text) {
    if (out.size() < kFew) return std::find(out.begin(), out.end(), text) == out.end();
    if (seen.empty()) seen.insert(out.begin(), out.end());
    return seen.insert(text).second;
  };
  out.reserve(static_cast<std::size_t>(PyList_Size(list)));
  for (Py_ssize_t i = 0; i < PyList_Size(list); ++i, give_way()) {
    PyObject* item = PyList_GetItem(list, i);
    const auto text = PyUnicode_CheckExact(item) ? text_of(item) : std::nullopt;
    if (!text) return false;
    if (is_new(*text)) out.emplace_back(*text);
  }
  return true;
}

// The value of a Python integer that is neither negative nor beyond 32 bits; for anything else, a
// negative number.
long count_of(PyObject* value) {
  if (!PyLong_CheckExact(value)) return -1;
  int overflow = 0;
  const long long n = PyLong_AsLongLongAndOverflow(value, &overflow);
  return overflow || n < 0 || n >= guard::kInf ? -1 : static_cast<long>(n);
}

// The keywords and attributes that are looked up by name, as Python strings. They are never
// released.
struct Words {
  struct Range {
    PyObject *least, *most;
    Op op;
    long type;
  };
  PyObject* ref = PyUnicode_InternFromString("$ref");
  PyObject* nullable = PyUnicode_InternFromString("nullable");
  PyObject* prefix = PyUnicode_InternFromString("prefixItems");
  PyObject* patterns = PyUnicode_InternFromString("patternProperties");
  PyObject* properties = PyUnicode_InternFromString("properties");
  PyObject* required = PyUnicode_InternFromString("required");
  PyObject* dialect = PyUnicode_InternFromString("dialect");
  PyObject* document = PyUnicode_InternFromString("document");
  PyObject* places = PyUnicode_InternFromString("places");
  PyObject* keywords = PyUnicode_InternFromString("keywords");
  PyObject* ref_alone = PyUnicode_InternFromString("ref_alone");
  PyObject* boolean_bounds = PyUnicode_InternFromString("boolean_bounds");
  PyObject* integer = PyUnicode_InternFromString("integer");
  PyObject* position = PyUnicode_InternFromString("position");
  Range length{PyUnicode_InternFromString("minLength"), PyUnicode_InternFromString("maxLength"),
               Op::Length, types::kString};
  Range count{PyUnicode_InternFromString("minItems"), PyUnicode_InternFromString("maxItems"),
              Op::Count, types::kArray};
  Range size{PyUnicode_InternFromString("minProperties"),
             PyUnicode_InternFromString("maxProperties"), Op::Size, types::kObject};
};
const Words& words() {
  static const Words all;
  return all;
}

// Tables that all nodes of a compile share: Lowering._tables, and the module's own tables.
struct Tables {
  nb::list schemas, homes;
  nb::dict twins, plain, alike, targets;
  nb::object idle;
  nb::object given;  // nodes that were lowered before
  bool formats, annotate;
  nb::dict kinds, how, known;
};

class Nodes {
 public:
  Nodes(const Tables& tables, nb::handle lowering) : tables_(tables), lowering_(lowering) {}

  // Lowers these nodes, and of those that they lead to and that were never lowered, what
  // Goals::lacking would ask for next: each call of Python takes as long as a few nodes.
  Drafts lower(const std::vector<Id>& nodes) {
    Drafts out;
    try {
      lower(nodes, out);
    } catch (const guard::Limit& limit) {
      out.limit = limit;  // thrown again where the engine takes the drafts
    }
    return out;
  }

 private:
  void lower(const std::vector<Id>& nodes, Drafts& out) {
    // By node: where its record is, and how far it was followed.
    std::unordered_map<Id, std::pair<std::size_t, int>> seen;
    std::vector<std::pair<Id, int>> todo;
    for (Id node : nodes) todo.push_back({node, guard::Goals::Ahead::kDeepest});
    const std::size_t asked = nodes.size();
    for (std::size_t at = 0; at < todo.size(); ++at, give_way()) {
      const auto [node, depth] = todo[at];
      const auto [known, is_new] = seen.try_emplace(node, out.nodes.size(), depth);
      if (is_new) {
        if (is_given(node) && at >= asked) {
          seen.erase(known);
          continue;
        }
        out.each.push_back(record(node));  // before the node, so that an error leaves them alike
        out.nodes.push_back(node);
      } else if (known->second.second >= depth) {
        continue;
      }
      known->second.second = depth;
      follow(out.each[known->second.first], depth, &todo);
    }
  }

  // Was the node lowered before? From now on it was.
  bool is_given(Id node) {
    const nb::object one = number(node);
    const int given = PySet_Contains(tables_.given.ptr(), one.ptr());
    if (given < 0 || (!given && PySet_Add(tables_.given.ptr(), one.ptr()))) raise();
    return given;
  }

  static void follow(const Record& record, int depth, std::vector<std::pair<Id, int>>* todo) {
    std::unordered_set<std::string_view> required;
    if (depth == 0)
      for (const Draft& d : record)
        if (d.atom.op == Op::Required) required.insert(d.names.begin(), d.names.end());
    for (const Draft& d : record) {
      const Op op = d.atom.op;
      const bool is_open =
          depth > 0 && (op == Op::Properties || op == Op::Patterns || op == Op::Additional);
      for (std::size_t i = 0; i < d.atom.nodes.size(); ++i) {
        const Id node = d.atom.nodes[i];
        if (node <= kFalse) continue;
        if (guard::applies_in_place(op))
          todo->push_back({node, depth});
        else if (depth > 0 && op == Op::Items)
          todo->push_back({node, depth - 1});
        else if (is_open || (op == Op::Properties && required.contains(d.names[i])))
          todo->push_back({node, 0});
      }
    }
  }

  Record record(Id node) {
    const nb::object id = number(node);
    if (node <= kFalse || node >= PyList_Size(tables_.schemas.ptr())) return in_full(id, node);
    const nb::object said =
        nb::borrow(found(tables_.plain.ptr(), id.ptr()));  // null: no plain scalar
    Record out;
    if (!is_lowered(id, node, said.is_valid(), out)) return kept(id, node, said);
    return out;
  }

  Record in_full(const nb::object& id, Id node) {
    return guard::read_record(guard::in_python([&] { return lowering_.attr("_lower")(id); }), node);
  }

  // The record of a plain scalar that only Python can lower: the same in every schema.
  Record kept(const nb::object& id, Id node, const nb::object& said) {
    const nb::object key = made(PyTuple_Pack(2, said.ptr(), tables_.formats ? Py_True : Py_False));
    if (PyObject* known = found(tables_.known.ptr(), key.ptr()))
      return guard::read_record(known, node);
    const nb::object record = guard::in_python([&] { return lowering_.attr("_lower")(id); });
    guard::in_python([&] { return lowering_.attr("_keep")(key, record); });
    return guard::read_record(record, node);
  }

  // False: it is plain, and Python must lower it.
  bool is_lowered(const nb::object& id, Id node, bool is_plain, Record& record) {
    enter(PyList_GetItem(tables_.homes.ptr(), node));
    PyObject* schema = PyList_GetItem(tables_.schemas.ptr(), node);
    if (ref_alone_ && PyDict_Contains(schema, words().ref)) {
      record = in_full(id, node);
      return true;
    }
    if (PyObject* value = found(schema, words().properties);
        value && is_keyword(words().properties))
      properties(record, value);
    if (PyObject* value = found(schema, words().required);
        value && is_keyword(words().required) && !required(record, value))
      entry(record, id, node, words().required, value);
    Py_ssize_t at = 0;
    PyObject *keyword = nullptr, *value = nullptr;
    while (PyDict_Next(schema, &at, &keyword, &value)) {
      PyObject* how = found(tables_.how.ptr(), keyword);
      if (!how || !is_keyword(keyword)) continue;
      if (PyLong_CheckExact(how) &&
          is_added(record, static_cast<How>(PyLong_AsLong(how)), schema, keyword, value))
        continue;
      if (is_plain) return false;
      entry(record, id, node, keyword, value);
    }
    return true;
  }

  bool is_keyword(PyObject* keyword) const { return found(keywords_.ptr(), keyword) != nullptr; }

  // Enters the resource of a schema: its dialect, and its document's places. Most nodes are in the
  // same resource as the previous one.
  void enter(PyObject* home) {
    if (home == home_) return;
    const Words& w = words();
    dialect_ = attribute(home, w.dialect);
    places_ = attribute(attribute(home, w.document).ptr(), w.places);
    keywords_ = attribute(dialect_.ptr(), w.keywords);
    ref_alone_ = attribute(dialect_.ptr(), w.ref_alone).is(Py_True);
    boolean_bounds_ = attribute(dialect_.ptr(), w.boolean_bounds).is(Py_True);
    integer_ = PyLong_AsLong(attribute(dialect_.ptr(), w.integer).ptr());
    home_ = home;
  }

  void entry(Record& record, const nb::object& id, Id node, PyObject* keyword, PyObject* value) {
    const nb::list entries;
    guard::in_python([&] {
      return lowering_.attr("_entry")(entries, id, nb::handle(keyword), nb::handle(value));
    });
    Record more = guard::read_record(entries, node);
    std::move(more.begin(), more.end(), std::back_inserter(record));
  }

  // Adds a keyword's drafts to the record. False: the keyword needs the Python version, and nothing
  // was added.
  bool is_added(Record& record, How how, PyObject* schema, PyObject* keyword, PyObject* value) {
    switch (how) {
      case kType: return type(record, schema, value);
      case kEnum: {
        std::vector<std::string> texts;
        if (!are_added(texts, value)) return false;
        std::vector<guard::Literal>& values = add(record, Op::Enum).values;
        values.reserve(texts.size());
        for (std::string& text : texts) values.push_back(literal(std::move(text))), give_way();
        return true;
      }
      case kConst: {
        const auto text = PyUnicode_CheckExact(value) ? text_of(value) : std::nullopt;
        if (text) add(record, Op::Const).values.push_back(literal(std::string(*text)));
        return text.has_value();
      }
      case kAdditional: return additional(record, schema, value);
      case kItems: {
        if (PyList_CheckExact(value) || PyDict_Contains(schema, words().prefix)) return false;
        const Id below = node(value);
        if (below == kTrue && !tables_.annotate) return true;
        add_bounds(record, Op::Items, 0, -1);
        record.back().atom.nodes.push_back(below);
        return true;
      }
      case kAll: return several(record, Op::All, value);
      case kAny: return several(record, Op::Any, value);
      case kOne: return several(record, Op::One, value);
      case kLeast:
      case kAbove: return bound(record, Op::Min, value, how == kAbove);
      case kMost:
      case kBelow: return bound(record, Op::Max, value, how == kBelow);
      case kLength: return range(record, words().length, schema, keyword);
      case kCount: return range(record, words().count, schema, keyword);
      case kSize: return range(record, words().size, schema, keyword);
    }
    throw nb::value_error("an unknown way to lower a keyword");
  }

  static guard::Literal literal(std::string text) {
    return {.kind = guard::Value::String, .text = std::move(text)};
  }

  bool type(Record& record, PyObject* schema, PyObject* value) const {
    if (PyDict_Contains(schema, words().nullable)) return false;
    long mask = 0;
    if (PyList_CheckExact(value))
      for (Py_ssize_t i = 0; i < PyList_Size(value); ++i) mask |= type_of(PyList_GetItem(value, i));
    else
      mask = type_of(value);
    if (mask & types::kNumber) mask &= ~(types::kInteger | types::kIntegerText);
    if ((mask & kEverything) != kEverything)
      add(record, Op::Type).atom.lo = static_cast<std::int32_t>(mask);
    return true;
  }
  long type_of(PyObject* name) const {
    static constexpr std::pair<const char*, long> kBits[] = {
        {"string", types::kString}, {"object", types::kObject},   {"array", types::kArray},
        {"number", types::kNumber}, {"boolean", types::kBoolean}, {"null", types::kNull}};
    for (const auto& [known, bit] : kBits)
      if (PyUnicode_CompareWithASCIIString(name, known) == 0) return bit;
    return integer_;
  }

  // Adds a bound that is a 64-bit integer, as digits without trailing zeros and the number of these
  // zeros. False: the bound is something else.
  bool bound(Record& record, Op op, PyObject* value, bool open) const {
    int overflow = 0;
    if (boolean_bounds_ || !PyLong_CheckExact(value)) return false;
    const long long n = PyLong_AsLongLongAndOverflow(value, &overflow);
    if (overflow || n == std::numeric_limits<long long>::min()) return false;
    guard::Atom& a = add(record, op).atom;
    a.open = open;
    if (n != 0) a.number = {.negative = n < 0, .digits = std::to_string(n < 0 ? -n : n), .exp = 0};
    for (std::string& digits = a.number.digits; !digits.empty() && digits.back() == '0';
         digits.pop_back())
      ++a.number.exp;
    return true;
  }

  // Adds one entry for a pair of counting keywords, such as minLength and maxLength, at the
  // position of the first.
  bool range(Record& record, const Words::Range& range, PyObject* schema, PyObject* keyword) const {
    PyObject *low = found(schema, range.least), *high = found(schema, range.most);
    if (low && PyUnicode_Compare(keyword, range.most) == 0) return true;
    const long least = low ? count_of(low) : 0, most = high ? count_of(high) : -1;
    if (least < 0 || (high && most < 0)) return false;
    if (high && most < least)
      add(record, Op::Type).atom.lo = static_cast<std::int32_t>(kEverything & ~range.type);
    else if (least || high)
      add_bounds(record, range.op, least, most);
    return true;
  }

  void properties(Record& record, PyObject* schemas) {
    Draft d{.atom = {.op = Op::Properties}};
    Py_ssize_t at = 0;
    PyObject *name = nullptr, *schema = nullptr;
    d.names.reserve(static_cast<std::size_t>(PyDict_Size(schemas)));
    d.atom.nodes.reserve(static_cast<std::size_t>(PyDict_Size(schemas)));
    for (; PyDict_Next(schemas, &at, &name, &schema); give_way())
      if (const auto text = text_of(name)) {
        d.names.emplace_back(*text);
        d.atom.nodes.push_back(node(schema));
      }
    if (!d.names.empty()) record.push_back(std::move(d));
  }

  bool required(Record& record, PyObject* names) const {
    Draft d{.atom = {.op = Op::Required}};
    if (!are_added(d.names, names)) return false;
    if (!d.names.empty()) record.push_back(std::move(d));
    return true;
  }

  bool additional(Record& record, PyObject* schema, PyObject* value) {
    if (PyDict_Contains(schema, words().patterns)) return false;
    const Id below = node(value);
    if (below == kTrue && !tables_.annotate) return true;
    Draft& d = add(record, Op::Additional);
    d.atom.nodes.push_back(below);
    if (PyObject* declared = found(schema, words().properties);
        declared && is_keyword(words().properties)) {
      Py_ssize_t at = 0;
      PyObject* name = nullptr;
      for (; PyDict_Next(declared, &at, &name, nullptr); give_way())
        if (const auto text = text_of(name)) d.names.emplace_back(*text);
    }
    return true;
  }

  bool several(Record& record, Op op, PyObject* schemas) {
    std::vector<Id>& nodes = add(record, op).atom.nodes;
    for (Py_ssize_t i = 0; i < PyList_Size(schemas); ++i, give_way())
      nodes.push_back(node(PyList_GetItem(schemas, i)));
    return true;
  }

  // The node of a direct subschema (Lowering.child). Most are plain scalars. Equal ones share a
  // node, since a schema may repeat one hundreds of times.
  Id node(PyObject* schema) {
    if (!PyDict_CheckExact(schema)) return schema == Py_True ? kTrue : kFalse;
    if (PyDict_Size(schema) == 0) return kTrue;
    PyObject* place = found(places_.ptr(), made(PyLong_FromVoidPtr(schema)).ptr());
    if (!place) throw nb::value_error("a schema has no place");
    const Id position = id_of(place);
    std::size_t says = 0;
    const Kind kind = kind_of(schema, &says);
    if (kind == kHolds) return position;
    if (kind == kPoints) return says == 0 ? target(place) : position;
    const nb::object key = said(schema, says);
    PyObject* known = PyDict_GetItemWithError(tables_.twins.ptr(), key.ptr());
    if (!known && PyErr_Occurred()) {
      if (!PyErr_ExceptionMatches(PyExc_TypeError)) raise();
      PyErr_Clear();  // a value is unhashable, such as a list of types
      return position;
    }
    if (!known) {
      if (PyDict_SetItem(tables_.twins.ptr(), key.ptr(), place) ||
          PyDict_SetItem(tables_.plain.ptr(), place, key.ptr()))
        raise();
      return position;
    }
    const Id first = id_of(known);
    if (first != position) {
      PyObject* others = found(tables_.alike.ptr(), known);
      const nb::object fresh = others ? nb::object() : made(PyDict_New());
      if (!others && PyDict_SetItem(tables_.alike.ptr(), known, others = fresh.ptr())) raise();
      if (PyDict_SetItem(others, place, Py_None)) raise();
    }
    return first;
  }
  static Id id_of(PyObject* position) {
    const long id = PyLong_AsLong(position);
    if (id == -1 && PyErr_Occurred()) raise();
    return static_cast<Id>(id);
  }

  // The target's position if a schema that is only a reference asks for something new; else its
  // own.
  Id target(PyObject* position) const {
    const nb::object key = made(PyTuple_Pack(2, position, words().ref));
    const int idle = PySet_Contains(tables_.idle.ptr(), key.ptr());
    if (idle < 0) raise();
    PyObject* leads = idle ? nullptr : found(tables_.targets.ptr(), key.ptr());
    return id_of(leads ? attribute(leads, words().position).ptr() : position);
  }

  // Classifies a schema: a plain scalar, a reference, or one with subschemas or with keywords that
  // are looked up elsewhere. Counts a scalar's keywords.
  Kind kind_of(PyObject* schema, std::size_t* says) const {
    Kind out = kScalar;
    Py_ssize_t at = 0;
    PyObject* keyword = nullptr;
    while (PyDict_Next(schema, &at, &keyword, nullptr)) {
      PyObject* kind = found(tables_.kinds.ptr(), keyword);
      const long what = kind ? PyLong_AsLong(kind) : 0;
      if (what == kScalar)
        ++*says;
      else if (what == kPoints)
        out = kPoints;
      else if (what == kHolds ||
               (PyUnicode_GetLength(keyword) > 0 && PyUnicode_ReadChar(keyword, 0) == '$'))
        return kHolds;
    }
    return out;
  }

  // What a plain scalar says: the dialect, then each of its keywords with the value and its type.
  nb::object said(PyObject* schema, std::size_t says) const {
    const nb::object out = made(PyTuple_New(static_cast<Py_ssize_t>(1 + 3 * says)));
    Py_ssize_t at = 0, put = 0;
    const auto add_next = [&](PyObject* word) {
      PyTuple_SetItem(out.ptr(), put++, Py_NewRef(word));
    };
    add_next(dialect_.ptr());
    PyObject *keyword = nullptr, *value = nullptr;
    while (PyDict_Next(schema, &at, &keyword, &value)) {
      PyObject* kind = found(tables_.kinds.ptr(), keyword);
      if (!kind || PyLong_AsLong(kind) != kScalar) continue;
      add_next(keyword);
      add_next(reinterpret_cast<PyObject*>(Py_TYPE(value)));
      add_next(value);
    }
    return out;
  }

  const Tables& tables_;
  nb::handle lowering_;
  PyObject* home_ = nullptr;  // borrowed from homes
  nb::object dialect_, places_, keywords_;
  bool ref_alone_ = false, boolean_bounds_ = false;
  long integer_ = 0;
};

}  // namespace

void bind_lower(nb::module_& module) {
  nb::class_<Drafts>(module, "Drafts")
      .def_ro("nodes", &Drafts::nodes)
      .def("__eq__", &guard::are_equal);
  module.def(
      "read_records",
      [](const std::vector<Id>& nodes, const nb::list& records) {
        return guard::drafts_of(nodes, records);
      },
      "nodes"_a, "records"_a);
  module.def(
      "lowered",
      [](nb::handle lowering, const std::vector<Id>& nodes, const nb::tuple& tables,
         const nb::dict& kinds, const nb::dict& how, const nb::dict& known) {
        const Tables all{.schemas = nb::borrow<nb::list>(tables[0]),
                         .homes = nb::borrow<nb::list>(tables[1]),
                         .twins = nb::borrow<nb::dict>(tables[2]),
                         .plain = nb::borrow<nb::dict>(tables[3]),
                         .alike = nb::borrow<nb::dict>(tables[4]),
                         .targets = nb::borrow<nb::dict>(tables[5]),
                         .idle = tables[6],
                         .given = tables[7],
                         .formats = nb::cast<bool>(tables[8]),
                         .annotate = nb::cast<bool>(tables[9]),
                         .kinds = kinds,
                         .how = how,
                         .known = known};
        return Nodes(all, lowering).lower(nodes);
      },
      "lowering"_a, "nodes"_a, "tables"_a, "kinds"_a, "how"_a, "known"_a);
}
