// apply: a token mask applied to logits, in place: -infinity where a token is not allowed.
//
// Elements are unsigned words of 2, 4 or 8 bytes, so that one loop serves every float type; only
// the pattern of -infinity differs. A word of the mask that allows all its 32 tokens touches no
// logit, one that allows none is a fill, others blend, with AVX2 where the processor has it. A row
// costs about a memcpy of itself at worst. Strides are in elements and may be negative. Many rows
// are shared among threads (support/thread_pool.hpp). Thread-safe on disjoint logits. Tested
// against a NumPy twin in tests/kernels/test_apply.py.
#pragma once
#include <cstdint>

namespace guard {

enum class Float : std::uint8_t { f16, bf16, f32, f64 };

struct Logits {
  void* data;
  Float type;
  std::int64_t rows;
  std::int64_t width;  // tokens in a row, by the model, which may be padded beyond the vocabulary
  std::int64_t row_stride;     // in elements
  std::int64_t column_stride;  // in elements
};

struct Bitmask {
  const std::int32_t* words;  // bit t % 32 of word t / 32 is 1 when token t is allowed
  std::int64_t width;         // words a row
  std::int64_t row_stride;    // in words
};

// Requires logits.rows rows in both. Tokens beyond the mask's last bit are not allowed; bits beyond
// the logits are not read. O(rows x width).
void apply_bitmask(const Logits& logits, const Bitmask& bitmask);

}  // namespace guard
