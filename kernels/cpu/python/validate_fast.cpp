// Is a schema plainly valid? One walk, with one rule for each keyword. True for most real schemas,
// and never for one that its metaschema rejects. metaschemas.py defines the rules. A schema that is
// not plain is left to a validator, which also words the errors.
#include "python/validate_fast.hpp"

#include <cstring>
#include <string_view>

#include "python/give_way.hpp"
#include "python/text.hpp"

namespace nb = nanobind;
using namespace nb::literals;

namespace {

enum Rule {  // metaschemas.Rule has the same numbers
  kAsk = 0,
  kText = 1,
  kFlag = 2,
  kCount = 3,
  kNumber = 4,
  kPositive = 5,
  kList = 6,
  kNames = 7,
  kType = 8,
  kSchema = 9,
  kSchemas = 10,
  kEither = 11,
  kMap = 12,
  kPattern = 13,
  kPatterns = 14,
  kReference = 15,
  kIdentifier = 16,
  kUri = 17,
  kSchemaOrFlag = 18,
  kSomeNames = 19,
};

constexpr std::string_view kTypes[] = {"null",   "boolean", "integer", "number",
                                       "string", "array",   "object"};
constexpr Py_ssize_t kMostNames = 64;  // compared one by one

bool is_letter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

// The bytes of an ASCII text; for any other, an empty view, which no rule accepts.
std::string_view ascii(PyObject* text) {
  return PyUnicode_CheckExact(text) ? guard::ascii(text) : std::string_view();
}

// A URI or a relative reference of letters and "$-._~/", with a fragment of the same.
bool is_reference(std::string_view text, bool absolute, bool fragment) {
  bool has_scheme = false;
  for (const std::string_view scheme : {"http://", "https://"})
    if (!has_scheme && text.starts_with(scheme)) {
      text.remove_prefix(scheme.size());
      has_scheme = true;
    }
  if (text.empty() || (has_scheme ? !is_letter(text[0]) : absolute || text.starts_with("//")))
    return false;
  for (const char c : text) {
    if (c == '#' && fragment)
      fragment = false;
    else if (!is_letter(c) && !std::strchr("$-._~/", c))
      return false;
  }
  return true;
}

// Letters, "_" and "-", between anchors: the same in every dialect of regular expressions.
bool is_pattern(std::string_view text) {
  if (text.starts_with('^')) text.remove_prefix(1);
  if (text.ends_with('$')) text.remove_suffix(1);
  if (text.empty()) return false;
  for (const char c : text)
    if (!is_letter(c) && c != '_' && c != '-') return false;
  return true;
}

class Plain {
 public:
  Plain(PyObject* rules, bool booleans) : rules_(rules), booleans_(booleans) {}

  bool schema(PyObject* value) const {
    if (PyBool_Check(value)) return booleans_;
    if (!PyDict_CheckExact(value)) return false;
    Py_ssize_t at = 0;
    PyObject *key = nullptr, *item = nullptr;
    while (PyDict_Next(value, &at, &key, &item)) {
      PyObject* rule = PyDict_GetItemWithError(rules_, key);
      if (rule ? !holds(PyLong_AsLong(rule), item) : PyErr_Occurred() != nullptr) return false;
    }
    return true;
  }

 private:
  bool holds(long rule, PyObject* value) const {
    switch (rule) {
      case kText: return PyUnicode_CheckExact(value);
      case kFlag: return PyBool_Check(value);
      case kCount: return PyLong_CheckExact(value) && !is_negative(value);
      case kNumber: return PyLong_CheckExact(value) || PyFloat_CheckExact(value);
      case kPositive: return is_positive(value);
      case kList: return PyList_CheckExact(value);
      case kNames: return names(value, [](std::string_view) { return true; });
      case kSomeNames:
        return PyList_CheckExact(value) && PyList_Size(value) > 0 &&
               names(value, [](std::string_view) { return true; });
      case kType:
        return is_type(ascii(value)) ||
               (PyList_CheckExact(value) && PyList_Size(value) > 0 && names(value, is_type));
      case kSchema: return schema(value);
      case kSchemas: return schemas(value);
      case kEither: return schema(value) || schemas(value);
      case kMap: return map(value, [](PyObject*) { return true; });
      case kPattern: return is_pattern(ascii(value));
      case kPatterns: return map(value, [](PyObject* key) { return is_pattern(ascii(key)); });
      case kReference: return is_reference(ascii(value), false, true);
      case kIdentifier: return is_reference(ascii(value), false, false);
      case kUri: return is_reference(ascii(value), true, true);
      case kSchemaOrFlag: return PyBool_Check(value) || schema(value);
      default: return false;
    }
  }

  static bool is_negative(PyObject* number) {
    int overflow = 0;
    return PyLong_AsLongLongAndOverflow(number, &overflow) <
           0;  // -1 on overflow in either direction, and then the number is not plain
  }

  static bool is_positive(PyObject* value) {
    if (PyFloat_CheckExact(value)) return PyFloat_AsDouble(value) > 0;
    int overflow = 0;
    return PyLong_CheckExact(value) && PyLong_AsLongLongAndOverflow(value, &overflow) > 0;
  }

  static bool is_type(std::string_view name) {
    for (const std::string_view type : kTypes)
      if (type == name) return true;
    return false;
  }

  // Is it a list of distinct texts? Not inlined, because its array would take stack space at each
  // level of a schema.
  template <typename May>
  [[gnu::noinline]] static bool names(PyObject* value, May&& may) {
    if (!PyList_CheckExact(value)) return false;
    const Py_ssize_t size = PyList_Size(value);
    if (size > kMostNames) return false;
    std::string_view seen[kMostNames];
    for (Py_ssize_t i = 0; i < size; ++i) {
      const std::string_view name = ascii(PyList_GetItem(value, i));
      if (name.data() == nullptr || !may(name)) return false;
      for (Py_ssize_t other = 0; other < i; ++other)
        if (seen[other] == name) return false;
      seen[i] = name;
    }
    return true;
  }

  bool schemas(PyObject* value) const {
    if (!PyList_CheckExact(value) || PyList_Size(value) == 0) return false;
    for (Py_ssize_t i = 0; i < PyList_Size(value); ++i, guard::give_way())
      if (!schema(PyList_GetItem(value, i))) return false;
    return true;
  }

  template <typename May>
  bool map(PyObject* value, May&& may) const {
    if (!PyDict_CheckExact(value)) return false;
    Py_ssize_t at = 0;
    PyObject *key = nullptr, *item = nullptr;
    for (; PyDict_Next(value, &at, &key, &item); guard::give_way())
      if (!may(key) || !schema(item)) return false;
    return true;
  }

  PyObject* rules_;
  bool booleans_;
};

}  // namespace

void bind_plain(nb::module_& module) {
  module.def(
      "is_plainly_valid",
      [](nb::handle schema, const nb::dict& rules, bool booleans) {
        const bool valid = Plain(rules.ptr(), booleans).schema(schema.ptr());
        if (PyErr_Occurred()) throw nb::python_error();
        return valid;
      },
      "schema"_a.none(), "rules"_a, "booleans"_a);
}
