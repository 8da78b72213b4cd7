// Other threads of Python get a turn in the middle of a walk over a schema, which may have a
// hundred thousand parts: 20 ms in which an event loop would stand still.
#pragma once

#include "python/gil.hpp"
#include "support/allocator.hpp"

namespace guard {

// Lets them run, every so many steps. What is walked over must be the compile's own copy, which
// nobody else changes. The GIL must be held.
inline void give_way() {
  static constinit thread_local unsigned steps GUARD_TLS = 0;
  if (++steps % 512 == 0) {
    const WithoutGil meanwhile;
  }
}

}  // namespace guard
