// A private copy of JSON that is made of Python's plain types, in one walk; jsontext.py has its slow twin, which also words what is wrong.
#include "bind_copy.hpp"

#include <cmath>
#include <cstring>

namespace nb = nanobind;
using namespace nb::literals;

namespace {

constexpr std::size_t kLongestInteger = 12'000;  // bits: validators take longer ones for null

enum Met { kId = 1, kOldId = 2, kSchema = 4, kAnchor = 8 };

class Copier {
 public:
  Copier(std::int64_t depth, std::int64_t most) : depth_(depth), left_(most), containers_(most >> 3) {}

  // A new reference, or null where the value is not plain or is beyond a limit. No Python code runs in here: every type is exact.
  PyObject* copy(PyObject* value, std::int64_t level) {
    if (PyDict_CheckExact(value)) return container(level) ? dict(value, level) : nullptr;
    if (PyList_CheckExact(value)) return container(level) ? list(value, level) : nullptr;
    return scalar(value) ? Py_NewRef(value) : nullptr;
  }
  int met() const { return met_; }

 private:
  bool container(std::int64_t level) { return level < depth_ && --containers_ >= 0 && --left_ >= 0; }

  bool scalar(PyObject* value) {
    if (PyUnicode_CheckExact(value)) return (left_ -= PyUnicode_GET_LENGTH(value) + 1) >= 0;
    if (value == Py_None || value == Py_True || value == Py_False) return --left_ >= 0;
    if (PyLong_CheckExact(value)) return --left_ >= 0 && _PyLong_NumBits(value) <= kLongestInteger;
    return PyFloat_CheckExact(value) && --left_ >= 0 && std::isfinite(PyFloat_AS_DOUBLE(value));
  }

  PyObject* dict(PyObject* value, std::int64_t level) {
    PyObject* out = PyDict_Copy(value);
    Py_ssize_t at = 0;
    PyObject *key = nullptr, *item = nullptr;
    while (out && PyDict_Next(out, &at, &key, &item)) {
      if (!PyUnicode_CheckExact(key) || (left_ -= PyUnicode_GET_LENGTH(key) + 1) < 0) return drop(out);
      note(key, item, level);
      if (!PyDict_CheckExact(item) && !PyList_CheckExact(item)) {
        if (!scalar(item)) return drop(out);
        continue;
      }
      PyObject* inner = copy(item, level + 1);
      if (!inner) return drop(out);
      const int failed = PyDict_SetItem(out, key, inner);  // of a key that is there, which PyDict_Next allows
      Py_DECREF(inner);
      if (failed) return drop(out);
    }
    return out;
  }

  PyObject* list(PyObject* value, std::int64_t level) {
    const Py_ssize_t size = PyList_GET_SIZE(value);
    PyObject* out = PyList_New(size);
    for (Py_ssize_t i = 0; out && i < size; ++i) {
      PyObject* inner = copy(PyList_GET_ITEM(value, i), level + 1);
      if (!inner) return drop(out);
      PyList_SET_ITEM(out, i, inner);
    }
    return out;
  }

  // Words below the root that may begin a resource, and anchors anywhere: most documents have none, and need no walk.
  void note(PyObject* key, PyObject* item, std::int64_t level) {
    if (!PyUnicode_IS_COMPACT_ASCII(key)) return;
    const char* text = reinterpret_cast<const char*>(PyUnicode_1BYTE_DATA(key));
    const auto is = [&](const char* word) { return std::strcmp(text, word) == 0; };
    if (text[0] == 'i' && level > 0 && is("id") && PyUnicode_CheckExact(item)) met_ |= kOldId;
    if (text[0] != '$') return;
    if (level > 0 && is("$id")) met_ |= kId;
    if (level > 0 && is("$schema")) met_ |= kSchema;
    if (is("$anchor") || is("$dynamicAnchor") || is("$recursiveAnchor")) met_ |= kAnchor;
  }

  static PyObject* drop(PyObject* made) {
    Py_DECREF(made);
    return nullptr;
  }

  const std::int64_t depth_;
  std::int64_t left_, containers_;
  int met_ = 0;
};

}  // namespace

void bind_copy(nb::module_& module) {
  module.def(
      "copy_json",
      [](nb::handle value, std::int64_t depth, std::int64_t most) -> nb::object {
        Copier copier(depth, most);
        PyObject* made = copier.copy(value.ptr(), 0);
        if (PyErr_Occurred()) {
          Py_XDECREF(made);
          throw nb::python_error();
        }
        if (!made) return nb::none();
        return nb::make_tuple(nb::steal(made), copier.met());
      },
      "value"_a.none(), "depth"_a, "most"_a);
}
