// Gives every schema that a root can reach its position, by the keywords of nearly all schemas.
// scan.look (schemas/scan.py) does the same in Python for every keyword; tests/schemas/test_scan.py
// compares the two. What is not plain here, and all that may be refused, is left to it.
#include "python/scan_fast.hpp"

#include "python/gil.hpp"
#include "python/give_way.hpp"

namespace nb = nanobind;
using namespace nb::literals;

namespace {

enum Holds {  // keywords.Holds has the same numbers
  kChild = 2,
  kList = 3,
  kMap = 4,
  kDefs = 5,
  kEither = 6,
  kNumber = 9,
  kValues = 10
};
constexpr Py_ssize_t kFirst = 2;    // position of the first schema that is neither true nor false
constexpr Py_ssize_t kSlice = 500;  // schemas that are scanned before others may have the GIL
constexpr long long kSmall = 999'999'999'999'999;  // integers up to it have few digits

[[noreturn]] void raise() { throw nb::python_error(); }
nb::object made(PyObject* fresh) {
  if (!fresh) raise();
  return nb::steal(fresh);
}
nb::object attribute(PyObject* of, PyObject* name) {
  return made(guard::in_python([&] { return PyObject_GetAttr(of, name); }));
}
PyObject* found(PyObject* dict, PyObject* key) {  // borrowed, or null
  PyObject* value = PyDict_GetItemWithError(dict, key);
  if (!value && PyErr_Occurred()) raise();
  return value;
}

// The names that are looked up, as Python strings. They are never released.
struct Words {
  PyObject* ref = PyUnicode_InternFromString("$ref");
  PyObject* dialect = PyUnicode_InternFromString("dialect");
  PyObject* document = PyUnicode_InternFromString("document");
  PyObject* looked_into = PyUnicode_InternFromString("looked_into");
  PyObject* ref_alone = PyUnicode_InternFromString("ref_alone");
  PyObject* places = PyUnicode_InternFromString("places");
  PyObject* homes = PyUnicode_InternFromString("homes");
};
const Words& words() {
  static const Words all;
  return all;
}

bool is_small(PyObject* value) {
  int overflow = 0;
  const long long n =
      PyLong_CheckExact(value) ? PyLong_AsLongLongAndOverflow(value, &overflow) : kSmall + 1;
  return !overflow && n >= -kSmall && n <= kSmall;
}
// Is it a value without members, and if it is a number, one of few digits?
bool is_short(PyObject* value) {
  return PyUnicode_CheckExact(value) || PyBool_Check(value) || value == Py_None || is_small(value);
}

class Scanner {
 public:
  Scanner(const nb::list& schemas, const nb::list& homes, const nb::list& trail, Py_ssize_t most,
          nb::handle plain, const nb::callable& look)
      : schemas_(schemas), homes_(homes), trail_(trail), most_(most), plain_(plain), look_(look) {}

  // Positions are given in the order of discovery, so the list of schemas is the queue.
  void run() {
    for (Py_ssize_t at = kFirst; at < PyList_Size(schemas_.ptr()); ++at) {
      if (at % kSlice == 0) let_others_in();
      enter(PyList_GetItem(homes_.ptr(), at));
      const nb::object position = made(PyLong_FromSsize_t(at));
      PyObject* schema = PyList_GetItem(schemas_.ptr(), at);
      if (PyObject* leads = ref_alone_ ? found(schema, words().ref) : nullptr) {
        look(position, words().ref, leads);
        continue;
      }
      Py_ssize_t next = 0;
      PyObject *keyword = nullptr, *value = nullptr;
      while (PyDict_Next(schema, &next, &keyword, &value)) {
        PyObject* holds = found(table_.ptr(), keyword);
        if (holds && !is_placed(PyLong_AsLong(holds), position, keyword, value))
          look(position, keyword, value);
      }
    }
  }

 private:
  void look(const nb::object& position, PyObject* keyword, PyObject* value) {
    guard::in_python([&] { return look_(position, nb::handle(keyword), nb::handle(value)); });
  }

  static void let_others_in() {
    if (PyErr_CheckSignals()) raise();
    const guard::WithoutGil others;  // safe: nobody else has what is scanned
  }

  // Enters the resource of a schema. Most schemas are in the same resource as the previous one.
  void enter(PyObject* home) {
    if (home == home_) return;
    const Words& w = words();
    const nb::object dialect = attribute(home, w.dialect), document = attribute(home, w.document);
    table_ = attribute(dialect.ptr(), w.looked_into);
    ref_alone_ = attribute(dialect.ptr(), w.ref_alone).is(Py_True);
    places_ = attribute(document.ptr(), w.places);
    resources_ = attribute(document.ptr(), w.homes);
    home_ = home;
  }

  // Gives what a keyword holds its positions. False: Python must look at it, again from its begin.
  bool is_placed(long holds, const nb::object& position, PyObject* keyword, PyObject* value) {
    if (holds == kDefs) return true;
    const int plain = PySet_Contains(plain_.ptr(), keyword);
    if (plain < 0) raise();
    if (!plain) return false;
    switch (holds) {
      case kChild: return child(position, keyword, nullptr, value);
      case kEither:
        return PyList_CheckExact(value) ? list(position, keyword, value)
                                        : child(position, keyword, nullptr, value);
      case kList: return PyList_CheckExact(value) && list(position, keyword, value);
      case kMap: return PyDict_CheckExact(value) && map(position, keyword, value);
      case kNumber: return is_small(value);
      case kValues: return values(value);
      default: return false;
    }
  }

  bool list(const nb::object& position, PyObject* keyword, PyObject* value) {
    for (Py_ssize_t i = 0; i < PyList_Size(value); ++i, guard::give_way())
      if (!child(position, keyword, made(PyLong_FromSsize_t(i)).ptr(), PyList_GetItem(value, i)))
        return false;
    return true;
  }
  bool map(const nb::object& position, PyObject* keyword, PyObject* value) {
    Py_ssize_t at = 0;
    PyObject *name = nullptr, *schema = nullptr;
    for (; PyDict_Next(value, &at, &name, &schema); guard::give_way())
      if (!child(position, keyword, name, schema)) return false;
    return true;
  }
  static bool values(PyObject* value) {
    if (!PyList_CheckExact(value)) return is_short(value);
    for (Py_ssize_t i = 0; i < PyList_Size(value); ++i)
      if (!is_short(PyList_GetItem(value, i))) return false;
    return true;
  }

  // Gives a schema its position if it has none (Documents.place). `step` is null where the schema
  // is the keyword's own value.
  bool child(const nb::object& parent, PyObject* keyword, PyObject* step, PyObject* schema) {
    if (PyBool_Check(schema)) return true;
    if (!PyDict_CheckExact(schema)) return false;
    if (PyDict_Size(schema) == 0) return true;
    const nb::object key = made(PyLong_FromVoidPtr(schema));
    if (found(places_.ptr(), key.ptr())) return true;
    const Py_ssize_t place = PyList_Size(schemas_.ptr());
    if (place > most_) return false;
    const nb::object path = made(step ? PyTuple_Pack(2, keyword, step) : PyTuple_Pack(1, keyword));
    const nb::object above = made(PyTuple_Pack(2, parent.ptr(), path.ptr()));
    PyObject* own = found(resources_.ptr(), key.ptr());
    if (PyDict_SetItem(places_.ptr(), key.ptr(), made(PyLong_FromSsize_t(place)).ptr()) ||
        PyList_Append(schemas_.ptr(), schema) || PyList_Append(homes_.ptr(), own ? own : home_) ||
        PyList_Append(trail_.ptr(), above.ptr()))
      raise();
    return true;
  }

  nb::list schemas_, homes_, trail_;
  Py_ssize_t most_;
  nb::handle plain_;
  nb::callable look_;
  PyObject* home_ = nullptr;  // borrowed from homes
  nb::object table_, places_, resources_;
  bool ref_alone_ = false;
};

}  // namespace

void bind_scan(nb::module_& module) {
  module.def(
      "scanned",
      [](const nb::list& schemas, const nb::list& homes, const nb::list& trail, Py_ssize_t most,
         nb::handle plain,
         const nb::callable& look) { Scanner(schemas, homes, trail, most, plain, look).run(); },
      "schemas"_a, "homes"_a, "trail"_a, "most"_a, "plain"_a, "look"_a);
}
