// Python objects from C++, by the stable ABI only. The GIL must be held. An error that Python
// raises is thrown on.
#pragma once

#include <nanobind/nanobind.h>

#include "python/gil.hpp"

namespace guard {

inline nanobind::object owned(PyObject* fresh) {
  if (!fresh) throw nanobind::python_error();
  return nanobind::steal(fresh);
}

inline nanobind::object attribute(PyObject* of, PyObject* name) {
  return owned(in_python([&] { return PyObject_GetAttr(of, name); }));
}

// A value of a dictionary, borrowed, or null.
inline PyObject* found(PyObject* dict, PyObject* key) {
  PyObject* value = PyDict_GetItemWithError(dict, key);
  if (!value && PyErr_Occurred()) throw nanobind::python_error();
  return value;
}

}  // namespace guard
