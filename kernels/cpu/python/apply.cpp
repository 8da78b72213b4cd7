// Binds masks/apply_mask.hpp: arrays come in through DLPack or the buffer protocol and are written
// in place, without the GIL.
#include "python/apply.hpp"

#include <nanobind/ndarray.h>

#include <stdexcept>

#include "attention/attend.hpp"
#include "masks/apply_mask.hpp"
#include "python/gil.hpp"

namespace nb = nanobind;

namespace {

using LogitsArray = nb::ndarray<nb::device::cpu>;
using BitmaskArray = nb::ndarray<const std::int32_t, nb::device::cpu>;

guard::Float type_of(nb::dlpack::dtype type) {
  const auto code = static_cast<nb::dlpack::dtype_code>(type.code);
  if (type.lanes == 1) {
    if (code == nb::dlpack::dtype_code::Bfloat && type.bits == 16) return guard::Float::bf16;
    if (code == nb::dlpack::dtype_code::Float) {
      if (type.bits == 16) return guard::Float::f16;
      if (type.bits == 32) return guard::Float::f32;
      if (type.bits == 64) return guard::Float::f64;
    }
  }
  throw std::invalid_argument("logits must be of a float type of 16, 32 or 64 bits");
}

void apply_bitmask(LogitsArray logits, BitmaskArray bitmask) {
  const guard::Float type = type_of(logits.dtype());
  if (logits.ndim() != bitmask.ndim() || (logits.ndim() != 1 && logits.ndim() != 2))
    throw std::invalid_argument(
        "logits and bitmask must both be rows (2-d) or both be one row (1-d)");
  const bool many = logits.ndim() == 2;
  if (many && logits.shape(0) != bitmask.shape(0))
    throw std::invalid_argument("logits and bitmask must have equally many rows");
  const std::size_t columns = many ? 1 : 0;
  if (bitmask.shape(columns) > 1 && bitmask.stride(columns) != 1)
    throw std::invalid_argument("the words of a bitmask's row must lie side by side");
  const guard::Logits target{
      .data = logits.data(),
      .type = type,
      .rows = many ? static_cast<std::int64_t>(logits.shape(0)) : 1,
      .width = static_cast<std::int64_t>(logits.shape(columns)),
      .row_stride = many ? logits.stride(0) : 0,
      .column_stride = logits.stride(columns),
  };
  const guard::Bitmask mask{
      .words = bitmask.data(),
      .width = static_cast<std::int64_t>(bitmask.shape(columns)),
      .row_stride = many ? bitmask.stride(0) : 0,
  };
  const guard::WithoutGil release;
  guard::apply_bitmask(target, mask);
}

// Takes addresses, because describing the arrays would take longer than the attention itself.
void attend(std::uintptr_t queries, std::int64_t query_stride, std::uintptr_t cache,
            std::int64_t cache_stride, std::uintptr_t found, std::int64_t rows, std::int64_t past,
            std::int64_t heads, std::int64_t groups, std::int64_t size) {
  if (rows < 0 || past < 0 || groups < 1 || heads < 1 || heads % groups || size < 16 || size % 16 ||
      (past + rows) * size > cache_stride)
    throw std::invalid_argument("attend: sizes that no attention has");
  const guard::WithoutGil release;
  guard::attend({reinterpret_cast<const std::uint16_t*>(queries), query_stride,
                 reinterpret_cast<const std::uint16_t*>(cache), cache_stride,
                 reinterpret_cast<std::uint16_t*>(found), rows, past, heads, groups, size});
}

}  // namespace

void bind_apply(nb::module_& module) {
  module.def(
      "apply_bitmask", &apply_bitmask, nb::arg("logits").noconvert(),
      nb::arg("bitmask").noconvert(),
      "Write -infinity over the logits of tokens that the bitmask does not allow, in place.");
  module.def("attend", &attend, nb::arg("queries"), nb::arg("query_stride"), nb::arg("cache"),
             nb::arg("cache_stride"), nb::arg("found"), nb::arg("rows"), nb::arg("past"),
             nb::arg("heads"), nb::arg("groups"), nb::arg("size"),
             "Attend for a few rows of bfloat16, given by addresses.");
}
