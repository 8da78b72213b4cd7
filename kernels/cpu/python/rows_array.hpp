// RowsArray: an argument of 32-bit integers, the array into which masks are written.
//
// A usual array of NumPy's own type is read by its C struct, whose layout belongs to NumPy's stable
// ABI. All others come by DLPack, an exchange that takes as long as a short mask. Valid during the
// call to which it is an argument. The GIL must be held for the conversion.
#pragma once
#define NPY_NO_DEPRECATED_API NPY_2_0_API_VERSION
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <numpy/ndarraytypes.h>

#include <atomic>
#include <cstdint>

namespace guard {

struct RowsView {
  std::uint32_t* data;
  std::size_t rows, words;
  std::ptrdiff_t stride;  // in words
};

// NumPy's type of arrays, which is never unloaded; null: nobody imported it. A class of Python that
// stands in for it is none.
inline const PyTypeObject* numpy_array_type() noexcept {
  static constinit std::atomic<const PyTypeObject*> known = nullptr;
  if (const PyTypeObject* type = known.load(std::memory_order_relaxed)) return type;
  PyObject* numpy = PyDict_GetItemString(PyImport_GetModuleDict(), "numpy");
  const auto found = nanobind::steal(numpy ? PyObject_GetAttrString(numpy, "ndarray") : nullptr);
  if (!found) PyErr_Clear();
  if (!found || !PyType_Check(found.ptr())) return nullptr;
  auto* type = reinterpret_cast<PyTypeObject*>(found.ptr());
  if (PyType_GetFlags(type) & Py_TPFLAGS_HEAPTYPE) return nullptr;
  known.store(type, std::memory_order_relaxed);
  return type;
}

class RowsArray {
 public:
  using Exchanged = nanobind::ndarray<nanobind::device::cpu>;
  RowsArray() = default;
  explicit RowsArray(Exchanged from) : exchanged_(std::move(from)) {}
  // Of rows of contiguous 32-bit integers that may be written; false: the array has to be
  // exchanged.
  bool read(PyObject* from) noexcept {
    if (Py_TYPE(from) != numpy_array_type()) return false;
    const auto* array = reinterpret_cast<const PyArrayObject*>(from);
    constexpr int kNeeded = NPY_ARRAY_WRITEABLE | NPY_ARRAY_ALIGNED;
    constexpr npy_intp kItem = sizeof(std::uint32_t);
    const int type = PyArray_DESCR(array)->type_num, ndim = PyArray_NDIM(array);
    if ((type != NPY_INT32 && type != NPY_UINT32) || (ndim != 1 && ndim != 2) ||
        (PyArray_FLAGS(array) & kNeeded) != kNeeded ||
        !PyArray_ISNBO(PyArray_DESCR(array)->byteorder))
      return false;
    const npy_intp *shape = PyArray_DIMS(array), *strides = PyArray_STRIDES(array);
    if (strides[ndim - 1] != kItem || (ndim == 2 && strides[0] % kItem != 0)) return false;
    view_ = {static_cast<std::uint32_t*>(PyArray_DATA(const_cast<PyArrayObject*>(array))),
             ndim == 2 ? static_cast<std::size_t>(shape[0]) : 1,
             static_cast<std::size_t>(shape[ndim - 1]), ndim == 2 ? strides[0] / kItem : 0};
    return is_read_ = true;
  }
  // The rows, of at least so many words.
  RowsView view(std::size_t words) const {
    const RowsView out = is_read_ ? view_ : exchanged_view();
    if (out.words < words)
      throw nanobind::value_error(("a row of bitmask has " + std::to_string(out.words) +
                                   " words; the vocabulary needs " + std::to_string(words))
                                      .c_str());
    return out;
  }

 private:
  RowsView exchanged_view() const {
    const nanobind::dlpack::dtype type = exchanged_.dtype();
    const auto is = [&](nanobind::dlpack::dtype_code code) {
      return type.code == static_cast<std::uint8_t>(code);
    };
    if (type.bits != 32 || type.lanes != 1 ||
        !(is(nanobind::dlpack::dtype_code::Int) || is(nanobind::dlpack::dtype_code::UInt)))
      throw nanobind::type_error("bitmask must be int32");
    const std::size_t ndim = exchanged_.ndim();
    if (ndim != 1 && ndim != 2)
      throw nanobind::value_error("bitmask must have one or two dimensions");
    if (exchanged_.stride(ndim - 1) != 1)
      throw nanobind::value_error("the rows of bitmask must be contiguous");
    return {static_cast<std::uint32_t*>(exchanged_.data()), ndim == 2 ? exchanged_.shape(0) : 1,
            exchanged_.shape(ndim - 1),
            ndim == 2 ? static_cast<std::ptrdiff_t>(exchanged_.stride(0)) : 0};
  }
  bool is_read_ = false;  // else the array was exchanged
  RowsView view_{};
  Exchanged exchanged_;
};

}  // namespace guard

template <>
struct nanobind::detail::type_caster<guard::RowsArray> {
  NB_TYPE_CASTER(guard::RowsArray, const_name("numpy.ndarray"))
  bool from_python(handle from, std::uint8_t flags, cleanup_list* cleanup) noexcept {
    if (value.read(from.ptr())) return true;
    make_caster<guard::RowsArray::Exchanged> other;
    if (!other.from_python(from, flags, cleanup)) return false;
    value = guard::RowsArray(std::move(other.value));
    return true;
  }
};
