// Lowers nodes by the keywords of nearly all schemas. Lowering._lower (schemas/lowering.py) does
// the same in Python for every keyword; tests/schemas/test_lowering.py compares the two. Keywords
// that are unknown here are left to it.
#include "python/lower_fast.hpp"

#include <utility>

#include "constraints/nodes.hpp"
#include "python/gil.hpp"
#include "python/give_way.hpp"
#include "python/text.hpp"

namespace nb = nanobind;
using namespace nb::literals;

namespace {

using guard::give_way;
using guard::Op;
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
void append(const nb::list& list, nb::handle item) {
  if (PyList_Append(list.ptr(), item.ptr())) raise();
}
template <class... Operands>
void add(const nb::list& record, Op op, const Operands&... operands) {
  append(record, made(PyTuple_Pack(1 + sizeof...(operands), number(static_cast<long>(op)).ptr(),
                                   operands.ptr()...)));
}

bool is_writable(PyObject* text) {
  const bool out = guard::utf8(text).has_value();  // not of a lone surrogate
  if (!out && PyErr_Occurred()) raise();
  return out;
}
// Is it a list of texts that JSON can write?
bool are_writable(PyObject* list) {
  if (!PyList_CheckExact(list)) return false;
  for (Py_ssize_t i = 0; i < PyList_Size(list); ++i, give_way()) {
    PyObject* text = PyList_GetItem(list, i);
    if (!PyUnicode_CheckExact(text) || !is_writable(text)) return false;
  }
  return true;
}
constexpr Py_ssize_t kFew = 8;  // texts that are compared one by one
bool are_distinct(PyObject* list) {
  for (Py_ssize_t i = 0; i < PyList_Size(list); ++i)
    for (Py_ssize_t j = 0; j < i; ++j)
      if (PyUnicode_Compare(PyList_GetItem(list, i), PyList_GetItem(list, j)) == 0) return false;
  return true;
}
// A list of texts, each once, in order: the list itself where none stands twice.
nb::object each_once(PyObject* list) {
  if (PyList_Size(list) <= kFew && are_distinct(list)) return nb::borrow(list);
  const nb::object seen = made(PyDict_New());
  for (Py_ssize_t i = 0; i < PyList_Size(list); ++i, give_way())
    if (PyDict_SetItem(seen.ptr(), PyList_GetItem(list, i), Py_None)) raise();
  return made(PyDict_Keys(seen.ptr()));
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
  bool formats, annotate;
  nb::dict kinds, how, known;
};

class Nodes {
 public:
  Nodes(const Tables& tables, nb::handle lowering) : tables_(tables), lowering_(lowering) {}

  nb::object lower(nb::handle node) {
    const Py_ssize_t position = PyLong_AsSsize_t(node.ptr());
    if (position == -1 && PyErr_Occurred()) raise();
    if (position <= kFalse || position >= PyList_Size(tables_.schemas.ptr())) return in_full(node);
    PyObject* said = found(tables_.plain.ptr(), node.ptr());
    if (!said) return record_of(node, position);
    const nb::object key = made(PyTuple_Pack(2, said, tables_.formats ? Py_True : Py_False));
    if (PyObject* record = found(tables_.known.ptr(), key.ptr())) return nb::borrow(record);
    nb::object record = record_of(node, position);
    guard::in_python([&] { return lowering_.attr("_keep")(key, record); });
    return record;
  }

 private:
  nb::object in_full(nb::handle node) {
    return guard::in_python([&] { return lowering_.attr("_lower")(node); });
  }

  nb::object record_of(nb::handle node, Py_ssize_t position) {
    enter(PyList_GetItem(tables_.homes.ptr(), position));
    PyObject* schema = PyList_GetItem(tables_.schemas.ptr(), position);
    if (ref_alone_ && PyDict_Contains(schema, words().ref)) return in_full(node);
    const nb::list record;
    if (PyObject* value = found(schema, words().properties);
        value && is_keyword(words().properties))
      properties(record, value);
    if (PyObject* value = found(schema, words().required);
        value && is_keyword(words().required) && !required(record, value))
      entry(record, node, words().required, value);
    Py_ssize_t at = 0;
    PyObject *keyword = nullptr, *value = nullptr;
    while (PyDict_Next(schema, &at, &keyword, &value)) {
      PyObject* how = found(tables_.how.ptr(), keyword);
      if (!how || !is_keyword(keyword)) continue;
      if (!PyLong_CheckExact(how) ||
          !is_added(record, static_cast<How>(PyLong_AsLong(how)), schema, keyword, value))
        entry(record, node, keyword, value);
    }
    return record;
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

  void entry(const nb::list& record, nb::handle node, PyObject* keyword, PyObject* value) {
    guard::in_python([&] {
      return lowering_.attr("_entry")(record, node, nb::handle(keyword), nb::handle(value));
    });
  }

  // Adds a keyword's entries to the record. False: the keyword needs the Python version.
  bool is_added(const nb::list& record, How how, PyObject* schema, PyObject* keyword,
                PyObject* value) {
    switch (how) {
      case kType: return type(record, schema, value);
      case kEnum:
        if (!are_writable(value)) return false;
        add(record, Op::Enum, each_once(value));
        return true;
      case kConst:
        if (!PyUnicode_CheckExact(value) || !is_writable(value)) return false;
        add(record, Op::Const, nb::handle(value));
        return true;
      case kAdditional: return additional(record, schema, value);
      case kItems: {
        if (PyList_CheckExact(value) || PyDict_Contains(schema, words().prefix)) return false;
        const nb::object below = node(value);
        if (!is_true(below) || tables_.annotate)
          add(record, Op::Items, number(0), number(-1), below);
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

  bool type(const nb::list& record, PyObject* schema, PyObject* value) const {
    if (PyDict_Contains(schema, words().nullable)) return false;
    long mask = 0;
    if (PyList_CheckExact(value))
      for (Py_ssize_t i = 0; i < PyList_Size(value); ++i) mask |= type_of(PyList_GetItem(value, i));
    else
      mask = type_of(value);
    if (mask & types::kNumber) mask &= ~(types::kInteger | types::kIntegerText);
    if ((mask & kEverything) != kEverything) add(record, Op::Type, number(mask));
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
  bool bound(const nb::list& record, Op op, PyObject* value, bool open) const {
    int overflow = 0;
    if (boolean_bounds_ || !PyLong_CheckExact(value)) return false;
    long long digits = PyLong_AsLongLongAndOverflow(value, &overflow);
    if (overflow) return false;
    long zeros = 0;
    for (; digits && digits % 10 == 0; digits /= 10) ++zeros;
    add(record, op, made(PyUnicode_FromFormat("%lld", digits)), number(zeros), nb::bool_(open));
    return true;
  }

  // Adds one entry for a pair of counting keywords, such as minLength and maxLength, at the
  // position of the first.
  bool range(const nb::list& record, const Words::Range& range, PyObject* schema,
             PyObject* keyword) const {
    PyObject *low = found(schema, range.least), *high = found(schema, range.most);
    if (low && PyUnicode_Compare(keyword, range.most) == 0) return true;
    const long least = low ? count_of(low) : 0, most = high ? count_of(high) : -1;
    if (least < 0 || (high && most < 0)) return false;
    if (high && most < least)
      add(record, Op::Type, number(kEverything & ~range.type));
    else if (least || high)
      add(record, range.op, number(least), number(most));
    return true;
  }

  void properties(const nb::list& record, PyObject* schemas) {
    const nb::list pairs;
    Py_ssize_t at = 0;
    PyObject *name = nullptr, *schema = nullptr;
    for (; PyDict_Next(schemas, &at, &name, &schema); give_way())
      if (is_writable(name)) append(pairs, made(PyTuple_Pack(2, name, node(schema).ptr())));
    if (PyList_Size(pairs.ptr()) > 0) add(record, Op::Properties, pairs);
  }

  bool required(const nb::list& record, PyObject* names) const {
    if (!are_writable(names)) return false;
    if (PyList_Size(names) > 0) add(record, Op::Required, each_once(names));
    return true;
  }

  bool additional(const nb::list& record, PyObject* schema, PyObject* value) {
    if (PyDict_Contains(schema, words().patterns)) return false;
    const nb::object below = node(value);
    if (is_true(below) && !tables_.annotate) return true;
    const nb::list names;
    if (PyObject* declared = found(schema, words().properties);
        declared && is_keyword(words().properties)) {
      Py_ssize_t at = 0;
      PyObject* name = nullptr;
      for (; PyDict_Next(declared, &at, &name, nullptr); give_way())
        if (is_writable(name)) append(names, name);
    }
    add(record, Op::Additional, below, names, nb::list());
    return true;
  }

  bool several(const nb::list& record, Op op, PyObject* schemas) {
    const nb::list below;
    for (Py_ssize_t i = 0; i < PyList_Size(schemas); ++i, give_way())
      append(below, node(PyList_GetItem(schemas, i)));
    add(record, op, below);
    return true;
  }

  static bool is_true(nb::handle node) { return PyLong_AsLong(node.ptr()) == kTrue; }

  // The node of a direct subschema (Lowering.child). Most are plain scalars. Equal ones share a
  // node, since a schema may repeat one hundreds of times.
  nb::object node(PyObject* schema) {
    if (!PyDict_CheckExact(schema)) return number(schema == Py_True ? kTrue : kFalse);
    if (PyDict_Size(schema) == 0) return number(kTrue);
    PyObject* place = found(places_.ptr(), made(PyLong_FromVoidPtr(schema)).ptr());
    if (!place) throw nb::value_error("a schema has no place");
    const nb::object position = nb::borrow(place);
    std::size_t says = 0;
    const Kind kind = kind_of(schema, &says);
    if (kind == kHolds) return position;
    if (kind == kPoints) return target(position, says == 0);
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
    const nb::object first = nb::borrow(known);
    if (!first.equal(position)) {
      PyObject* others = found(tables_.alike.ptr(), known);
      const nb::object fresh = others ? nb::object() : made(PyDict_New());
      if (!others && PyDict_SetItem(tables_.alike.ptr(), known, others = fresh.ptr())) raise();
      if (PyDict_SetItem(others, place, Py_None)) raise();
    }
    return first;
  }

  // The target's position if the schema is only a reference and asks for something new; else its
  // own position.
  nb::object target(const nb::object& position, bool lone) const {
    if (!lone) return position;
    const nb::object key = made(PyTuple_Pack(2, position.ptr(), words().ref));
    const int idle = PySet_Contains(tables_.idle.ptr(), key.ptr());
    if (idle < 0) raise();
    PyObject* leads = idle ? nullptr : found(tables_.targets.ptr(), key.ptr());
    return leads ? nb::object(nb::handle(leads).attr("position")) : position;
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
  module.def(
      "lowered",
      [](nb::handle lowering, const nb::list& nodes, const nb::tuple& tables, const nb::dict& kinds,
         const nb::dict& how, const nb::dict& known) {
        const Tables all{.schemas = nb::borrow<nb::list>(tables[0]),
                         .homes = nb::borrow<nb::list>(tables[1]),
                         .twins = nb::borrow<nb::dict>(tables[2]),
                         .plain = nb::borrow<nb::dict>(tables[3]),
                         .alike = nb::borrow<nb::dict>(tables[4]),
                         .targets = nb::borrow<nb::dict>(tables[5]),
                         .idle = tables[6],
                         .formats = nb::cast<bool>(tables[7]),
                         .annotate = nb::cast<bool>(tables[8]),
                         .kinds = kinds,
                         .how = how,
                         .known = known};
        Nodes each(all, lowering);
        nb::list out;
        for (nb::handle node : nodes) {
          out.append(each.lower(node));
          give_way();
        }
        return out;
      },
      "lowering"_a, "nodes"_a, "tables"_a, "kinds"_a, "how"_a, "known"_a);
}
