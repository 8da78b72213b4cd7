// Python's texts as bytes, by the stable ABI only, so that one wheel serves all versions from 3.12
// on. The GIL must be held.
#pragma once

#include <nanobind/nanobind.h>

#include <optional>
#include <string_view>

namespace guard {

// A text as UTF-8, valid as long as the Python object; nullopt for a text with a lone surrogate,
// which UTF-8 can't encode.
inline std::optional<std::string_view> utf8(PyObject* text) {
  Py_ssize_t size = 0;
  if (const char* bytes = PyUnicode_AsUTF8AndSize(text, &size))
    return std::string_view(bytes, static_cast<std::size_t>(size));
  if (PyErr_ExceptionMatches(PyExc_UnicodeEncodeError)) PyErr_Clear();
  return std::nullopt;
}

// An ASCII text; for any other, an empty view without data.
inline std::string_view ascii(PyObject* text) {
  const auto bytes = utf8(text);
  return bytes && static_cast<Py_ssize_t>(bytes->size()) == PyUnicode_GetLength(text)
             ? *bytes
             : std::string_view();
}

}  // namespace guard
