#include "masks/apply_mask.hpp"

#include "support/thread_pool.hpp"

#include <algorithm>
#include <bit>
#include <cstring>

#if defined(__x86_64__) && defined(__GNUC__)
#define GUARD_AVX2 __attribute__((target("avx2")))
#endif

namespace guard {
namespace {

// The tokens of one mask word, 32 bytes at a time: each lane tests its own bit. Uses vector
// extensions, because the compilers do not vectorise 16-bit and 64-bit types by themselves.
template <class T>
[[gnu::always_inline]] inline void blend(T* logits, std::uint32_t word, T infinity) {
  constexpr int lanes = 32 / sizeof(T);
  typedef T Vector __attribute__((vector_size(32)));
  Vector bits;
  for (int lane = 0; lane < lanes; ++lane) bits[lane] = static_cast<T>(T{1} << lane);
  for (int step = 0; step < 32; step += lanes) {
    const T part = static_cast<T>(word >> step);
    Vector values;
    std::memcpy(&values, logits + step, sizeof values);
    const Vector allowed = (part & bits) == bits;  // each lane is all ones or all zeros
    values = (values & allowed) | (infinity & ~allowed);
    std::memcpy(logits + step, &values, sizeof values);
  }
}

template <class T>
[[gnu::always_inline]] inline void apply_row(T* logits, std::int64_t width,
                                             const std::int32_t* words, std::int64_t masked,
                                             T infinity) {
  const std::int64_t whole = std::min(width / 32, masked);
  for (std::int64_t w = 0; w < whole; ++w) {
    const std::uint32_t word = static_cast<std::uint32_t>(words[w]);
    if (word == 0xFFFFFFFFu) continue;
    T* const at = logits + w * 32;
    if (word == 0)
      std::fill_n(at, 32, infinity);
    else
      blend(at, word, infinity);
  }
  std::int64_t token = whole * 32;
  if (whole < masked) {  // the logits end inside of this word
    const std::uint32_t word = static_cast<std::uint32_t>(words[whole]);
    for (; token < width; ++token)
      if (!(word >> (token - whole * 32) & 1u)) logits[token] = infinity;
  }
  std::fill(logits + token, logits + width, infinity);
}

template <class T>
using RowKernel = void (*)(T*, std::int64_t, const std::int32_t*, std::int64_t, T);

template <class T>
void row_portable(T* logits, std::int64_t width, const std::int32_t* words, std::int64_t masked,
                  T infinity) {
  apply_row(logits, width, words, masked, infinity);
}

#ifdef GUARD_AVX2
template <class T>
GUARD_AVX2 void row_avx2(T* logits, std::int64_t width, const std::int32_t* words,
                         std::int64_t masked, T infinity) {
  apply_row(logits, width, words, masked, infinity);
}
#endif

template <class T>
RowKernel<T> row_kernel() {
#ifdef GUARD_AVX2
  if (__builtin_cpu_supports("avx2")) return row_avx2<T>;
#endif
  return row_portable<T>;
}

template <class T>
void apply_rows(const Logits& logits, const Bitmask& bitmask, T infinity) {
  static const RowKernel<T> kernel = row_kernel<T>();
  const std::int64_t rows = std::max<std::int64_t>(logits.rows, 0),
                     words = (logits.width + 31) / 32;
  const std::size_t nbytes = static_cast<std::size_t>(rows * logits.width) * sizeof(T);
  if (logits.column_stride == 1) {
    share_out(static_cast<std::size_t>(rows), nbytes, [&](std::size_t row) {
      const auto n = static_cast<std::int64_t>(row);
      kernel(static_cast<T*>(logits.data) + n * logits.row_stride, logits.width,
             bitmask.words + n * bitmask.row_stride, bitmask.width, infinity);
    });
    return;
  }
  // Applies one word of tokens to all rows before the next word: if tokens are strided, rows may be
  // adjacent in memory.
  share_out(static_cast<std::size_t>(words), nbytes, [&](std::size_t w) {
    const auto first = static_cast<std::int64_t>(w) * 32, end = std::min(first + 32, logits.width);
    for (std::int64_t row = 0; row < rows; ++row) {
      std::uint32_t left = end - first < 32 ? (1u << (end - first)) - 1 : 0xFFFFFFFFu;
      if (first / 32 < bitmask.width)
        left &= ~static_cast<std::uint32_t>(bitmask.words[row * bitmask.row_stride + first / 32]);
      T* const at =
          static_cast<T*>(logits.data) + row * logits.row_stride + first * logits.column_stride;
      for (; left; left &= left - 1) at[std::countr_zero(left) * logits.column_stride] = infinity;
    }
  });
}

}  // namespace

void apply_bitmask(const Logits& logits, const Bitmask& bitmask) {
  switch (logits.type) {
    case Float::f16: return apply_rows<std::uint16_t>(logits, bitmask, 0xFC00);
    case Float::bf16: return apply_rows<std::uint16_t>(logits, bitmask, 0xFF80);
    case Float::f32: return apply_rows<std::uint32_t>(logits, bitmask, 0xFF800000u);
    case Float::f64: return apply_rows<std::uint64_t>(logits, bitmask, 0xFFF0000000000000ull);
  }
}

}  // namespace guard
