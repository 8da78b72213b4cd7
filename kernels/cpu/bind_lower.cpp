// The nodes of an object's properties, in one walk: most are plain scalars, of which a schema says the same hundreds of times.
// Lowering.child (schemas/lowering.py) says it in Python, schema by schema, with which this is compared in tests/schemas/test_lowering.py.
#include "bind_lower.hpp"

namespace nb = nanobind;
using namespace nb::literals;

namespace {

enum Kind { kScalar = 1, kPoints = 2, kHolds = 3 };  // lowering._KINDS has the same numbers
constexpr long kTrue = 0, kFalse = 1;                // nodes

[[noreturn]] void raise() { throw nb::python_error(); }

class Members {
 public:
  Members(nb::handle places, nb::handle kinds, nb::handle dialect, nb::handle twins, nb::handle plain, nb::handle alike, nb::handle other)
      : places_(places), kinds_(kinds), dialect_(dialect), twins_(twins), plain_(plain), alike_(alike), other_(other) {}

  nb::object node(PyObject* schema) {
    if (!PyDict_CheckExact(schema)) return number(schema == Py_True ? kTrue : kFalse);
    if (PyDict_GET_SIZE(schema) == 0) return number(kTrue);
    const nb::object id = nb::steal(PyLong_FromVoidPtr(schema));
    PyObject* place = PyDict_GetItemWithError(places_.ptr(), id.ptr());
    if (!place) PyErr_Occurred() ? raise() : throw nb::value_error("a schema has no place");
    const nb::object position = nb::borrow(place);
    const nb::list said;
    const Kind kind = kind_of(schema, said);
    if (kind == kHolds) return position;
    if (kind == kPoints) return other_(nb::handle(schema), position);
    const nb::object words = nb::steal(PyList_AsTuple(said.ptr()));
    PyObject* found = PyDict_SetDefault(twins_.ptr(), words.ptr(), place);
    if (!found) {
      if (!PyErr_ExceptionMatches(PyExc_TypeError)) raise();
      PyErr_Clear();  // a list among the values: of types, say
      return position;
    }
    const nb::object first = nb::borrow(found);
    if (first.equal(position)) {
      if (PyDict_SetItem(plain_.ptr(), place, words.ptr())) raise();
    } else {
      const nb::object fresh = nb::steal(PyDict_New());
      PyObject* others = PyDict_SetDefault(alike_.ptr(), found, fresh.ptr());
      if (!others || PyDict_SetItem(others, place, Py_None)) raise();
    }
    return first;
  }

 private:
  static nb::object number(long n) { return nb::steal(PyLong_FromLong(n)); }

  // Whether it is a plain scalar, refers to another, or holds something or says what is looked up elsewhere; and what a scalar says.
  Kind kind_of(PyObject* schema, const nb::list& said) {
    const auto say = [&](PyObject* word) {
      if (PyList_Append(said.ptr(), word)) raise();
    };
    say(dialect_.ptr());
    Kind out = kScalar;
    Py_ssize_t at = 0;
    PyObject *keyword = nullptr, *value = nullptr;
    while (PyDict_Next(schema, &at, &keyword, &value)) {
      PyObject* kind = PyDict_GetItemWithError(kinds_.ptr(), keyword);
      if (!kind && PyErr_Occurred()) raise();
      const long what = kind ? PyLong_AsLong(kind) : 0;
      if (what == kScalar)
        say(keyword), say(reinterpret_cast<PyObject*>(Py_TYPE(value))), say(value);
      else if (what == kPoints)
        out = kPoints;
      else if (what == kHolds || (PyUnicode_GET_LENGTH(keyword) > 0 && PyUnicode_READ_CHAR(keyword, 0) == '$'))
        return kHolds;
    }
    return out;
  }

  nb::handle places_, kinds_, dialect_, twins_, plain_, alike_, other_;
};

bool is_writable(PyObject* name) {
  if (PyUnicode_IS_ASCII(name)) return true;
  if (PyUnicode_AsUTF8AndSize(name, nullptr)) return true;
  PyErr_Clear();  // a lone surrogate
  return false;
}

}  // namespace

void bind_lower(nb::module_& module) {
  module.def(
      "named_nodes",
      [](const nb::dict& schemas, const nb::dict& places, const nb::dict& kinds, nb::handle dialect, const nb::dict& twins, const nb::dict& plain, const nb::dict& alike, nb::handle other) {
        Members members(places, kinds, dialect, twins, plain, alike, other);
        nb::list out;
        for (const auto& [name, schema] : schemas)
          if (is_writable(name.ptr())) out.append(nb::make_tuple(name, members.node(schema.ptr())));
        return out;
      },
      "schemas"_a, "places"_a, "kinds"_a, "dialect"_a, "twins"_a, "plain"_a, "alike"_a, "other"_a);
}
