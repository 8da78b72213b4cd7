// The module's own memory for small objects (heap.cpp), where it has some.
#pragma once
#include <cstdint>

namespace guard {

#ifdef GUARD_HEAP
std::int64_t small_bytes();  // given out and not given back
#else
inline std::int64_t small_bytes() { return 0; }
#endif

}  // namespace guard
