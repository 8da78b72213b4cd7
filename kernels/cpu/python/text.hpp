// Python's texts as bytes, through the stable ABI alone: a wheel is made once for all versions
// from 3.12 on.
#pragma once

#include <nanobind/nanobind.h>

#include <optional>
#include <string_view>

namespace guard {

// A text as UTF-8, which Python keeps with it; none of one that UTF-8 has no bytes for: half of a
// surrogate pair is in it.
inline std::optional<std::string_view> utf8(PyObject* text) {
  Py_ssize_t size = 0;
  if (const char* bytes = PyUnicode_AsUTF8AndSize(text, &size))
    return std::string_view(bytes, static_cast<std::size_t>(size));
  if (PyErr_ExceptionMatches(PyExc_UnicodeEncodeError)) PyErr_Clear();
  return std::nullopt;
}

// A text that is ASCII alone; any other is empty, with no data.
inline std::string_view ascii(PyObject* text) {
  const auto bytes = utf8(text);
  return bytes && static_cast<Py_ssize_t>(bytes->size()) == PyUnicode_GetLength(text)
             ? *bytes
             : std::string_view();
}

}  // namespace guard
