// Distances: the fewest bytes or tokens to an end, where -1 is infinity.
#pragma once
#include <algorithm>
#include <cstdint>

namespace guard {

inline std::int64_t sum(std::int64_t a, std::int64_t b) { return a < 0 || b < 0 ? -1 : a + b; }
inline std::int64_t least(std::int64_t a, std::int64_t b) {
  return a < 0 ? b : b < 0 ? a : std::min(a, b);
}

}  // namespace guard
