// Copies JSON made of plain Python types in one walk. jsontext.py has the slow equivalent, which
// also words the errors.
#include "python/copy_json.hpp"

#include <bit>
#include <cmath>
#include <cstring>
#include <string>

#include "python/give_way.hpp"
#include "python/text.hpp"

namespace nb = nanobind;
using namespace nb::literals;

namespace {

constexpr std::size_t kFirstBytes = 2'000;  // enough for most schemas
constexpr Py_ssize_t kLongestInteger =
    3'000;  // hexadecimal digits: validators take longer ones for null

enum Met { kId = 1, kOldId = 2, kSchema = 4, kAnchor = 8 };

class Copier {
 public:
  Copier(std::int64_t depth, std::int64_t most)
      : depth_(depth), left_(most), containers_(most >> 3) {
    written_.reserve(kFirstBytes);
  }

  // A new reference, or null where the value is not plain or is beyond a limit. No Python code runs
  // in here: every type is exact. A container is copied as a whole before it is read, since without
  // a GIL another thread may change the caller's meanwhile.
  PyObject* copy(PyObject* value, std::int64_t level) {
    if (PyDict_CheckExact(value)) return container(level) ? dict(value, level) : nullptr;
    if (PyList_CheckExact(value)) return container(level) ? list(value, level) : nullptr;
    return scalar(value) ? Py_NewRef(value) : nullptr;
  }
  int met() const { return met_; }
  const std::string& written() const { return written_; }

 private:
  bool container(std::int64_t level) {
    return level < depth_ && --containers_ >= 0 && --left_ >= 0;
  }

  // The encoding is self-delimiting: a letter, then a number of eight bytes, which is the size for
  // a text, then the text.
  void write(char what, std::uint64_t number) {
    written_ += what;
    char bytes[sizeof number];
    std::memcpy(bytes, &number, sizeof number);
    written_.append(bytes, sizeof number);
  }

  bool text(PyObject* value) {
    return (left_ -= PyUnicode_GetLength(value) + 1) >= 0 && spell(value);
  }

  bool spell(PyObject* value) {
    if (const auto bytes = guard::utf8(value)) {
      write('s', bytes->size());
      written_ += *bytes;
      return true;
    }
    PyObject* halves =
        PyErr_Occurred() ? nullptr : PyUnicode_AsEncodedString(value, "utf-8", "surrogatepass");
    if (!halves) return false;
    const auto size = static_cast<std::size_t>(PyBytes_Size(halves));
    write('S', size);
    written_.append(PyBytes_AsString(halves), size);
    Py_DECREF(halves);
    return true;
  }

  bool integer(PyObject* value) {
    if (--left_ < 0) return false;
    int overflow = 0;
    const long long small = PyLong_AsLongLongAndOverflow(value, &overflow);
    if (!overflow) {
      write('i', static_cast<std::uint64_t>(small));
      return true;
    }
    PyObject* digits = PyNumber_ToBase(value, 16);
    if (!digits) return false;
    const Py_ssize_t prefix = overflow < 0 ? 3 : 2;  // -0x
    const bool is_short = PyUnicode_GetLength(digits) - prefix <= kLongestInteger && spell(digits);
    Py_DECREF(digits);
    written_ += 'I';
    return is_short;
  }

  bool scalar(PyObject* value) {
    if (PyUnicode_CheckExact(value)) return text(value);
    if (value == Py_None || value == Py_True || value == Py_False) {
      written_ += value == Py_None ? 'n' : value == Py_True ? 't' : 'f';
      return --left_ >= 0;
    }
    if (PyLong_CheckExact(value)) return integer(value);
    if (!PyFloat_CheckExact(value)) return false;
    write('d', std::bit_cast<std::uint64_t>(PyFloat_AsDouble(value)));
    return --left_ >= 0 && std::isfinite(PyFloat_AsDouble(value));
  }

  PyObject* dict(PyObject* value, std::int64_t level) {
    PyObject* out = PyDict_Copy(value);
    Py_ssize_t at = 0;
    PyObject *key = nullptr, *item = nullptr;
    if (out) write('{', static_cast<std::uint64_t>(PyDict_Size(out)));
    for (; out && PyDict_Next(out, &at, &key, &item); guard::give_way()) {
      if (!PyUnicode_CheckExact(key) || !text(key)) return drop(out);
      note(key, item, level);
      if (!PyDict_CheckExact(item) && !PyList_CheckExact(item)) {
        if (!scalar(item)) return drop(out);
        continue;
      }
      PyObject* inner = copy(item, level + 1);
      if (!inner) return drop(out);
      const int failed =
          PyDict_SetItem(out, key, inner);  // the key exists, so PyDict_Next allows this change
      Py_DECREF(inner);
      if (failed) return drop(out);
    }
    return out;
  }

  PyObject* list(PyObject* value, std::int64_t level) {
    PyObject* out = PyList_GetSlice(value, 0, PY_SSIZE_T_MAX);
    const Py_ssize_t size = out ? PyList_Size(out) : 0;
    write('[', static_cast<std::uint64_t>(size));
    for (Py_ssize_t i = 0; i < size; ++i, guard::give_way()) {
      PyObject* inner = copy(PyList_GetItem(out, i), level + 1);
      if (!inner) return drop(out);
      PyList_SetItem(out, i, inner);
    }
    return out;
  }

  // Notes keywords below the root that may begin a resource, and anchors anywhere. Most documents
  // have none, and need no walk.
  void note(PyObject* key, PyObject* item, std::int64_t level) {
    const std::string_view text = guard::ascii(key);
    if (level > 0 && text == "id" && PyUnicode_CheckExact(item)) met_ |= kOldId;
    if (!text.starts_with('$')) return;
    if (level > 0 && text == "$id") met_ |= kId;
    if (level > 0 && text == "$schema") met_ |= kSchema;
    if (text == "$anchor" || text == "$dynamicAnchor" || text == "$recursiveAnchor")
      met_ |= kAnchor;
  }

  static PyObject* drop(PyObject* made) {
    Py_DECREF(made);
    return nullptr;
  }

  const std::int64_t depth_;
  std::int64_t left_, containers_;
  int met_ = 0;
  std::string written_;
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
        return nb::make_tuple(nb::steal(made), copier.met(),
                              nb::bytes(copier.written().data(), copier.written().size()));
      },
      "value"_a.none(), "depth"_a, "most"_a);
}
