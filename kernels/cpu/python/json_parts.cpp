// Counts the parts of a JSON value, which say how long it takes to look at it. The sidecar asks
// several times a request. guard/support/json_pieces.py has the slow equivalent.
#include "python/json_parts.hpp"

#include <cstdint>
#include <vector>

namespace nb = nanobind;
using namespace nb::literals;

namespace {

constexpr Py_ssize_t kPart = 64;  // characters of a text that count as one part
constexpr std::int64_t kNotPlain = -1;

// A container that no other thread changes while it is walked over.
nb::object held(PyObject* container) {
#ifdef Py_GIL_DISABLED
  PyObject* copy = PyDict_CheckExact(container) ? PyDict_Copy(container)
                                                : PySequence_GetSlice(container, 0, PY_SSIZE_T_MAX);
  if (!copy) throw nb::python_error();
  return nb::steal(copy);
#else
  return nb::borrow(container);  // no Python code runs below, and the GIL is held
#endif
}

bool is_scalar(PyObject* value) {
  return value == Py_None || PyLong_CheckExact(value) || PyFloat_CheckExact(value) ||
         PyBool_Check(value);
}

std::int64_t parts_of(nb::handle value, std::int64_t most) {
  std::int64_t total = 1;
  std::vector<nb::object> waiting;
  bool is_plain = true;
  const auto add = [&](PyObject* item) {
    if (PyUnicode_CheckExact(item))
      total += PyUnicode_GetLength(item) / kPart;
    else if (PyDict_CheckExact(item) || PyList_CheckExact(item) || PyTuple_CheckExact(item))
      waiting.push_back(nb::borrow(item));
    else
      is_plain = is_plain && is_scalar(item);
  };
  add(value.ptr());
  while (is_plain && total <= most && !waiting.empty()) {
    const nb::object part = held(waiting.back().ptr());
    waiting.pop_back();
    if (PyDict_CheckExact(part.ptr())) {
      total += 2 * PyDict_Size(part.ptr());
      Py_ssize_t at = 0;
      PyObject *key = nullptr, *item = nullptr;
      while (is_plain && total <= most && PyDict_Next(part.ptr(), &at, &key, &item)) {
        is_plain = PyUnicode_CheckExact(key);
        if (is_plain) total += PyUnicode_GetLength(key) / kPart;
        add(item);
      }
      continue;
    }
    const bool is_list = PyList_CheckExact(part.ptr());
    const Py_ssize_t size = is_list ? PyList_Size(part.ptr()) : PyTuple_Size(part.ptr());
    total += size;
    for (Py_ssize_t i = 0; is_plain && total <= most && i < size; ++i)
      add(is_list ? PyList_GetItem(part.ptr(), i) : PyTuple_GetItem(part.ptr(), i));
  }
  return is_plain ? total : kNotPlain;
}

}  // namespace

void bind_parts(nb::module_& module) {
  module.def("json_parts", &parts_of, "value"_a.none(), "most"_a);
}
