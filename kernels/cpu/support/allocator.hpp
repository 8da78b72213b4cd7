// The module's own memory (allocator.cpp): what its operators new and delete have given out,
// counted.
#pragma once
#include <atomic>
#include <cstdint>

#if defined(__linux__)
#define GUARD_TLS \
  __attribute__((tls_model("initial-exec")))  // one load; of the static room that libraries loaded
                                              // late share, a few words
#else
#define GUARD_TLS
#endif

namespace guard {

inline constinit thread_local const std::atomic<std::int64_t>* held_here GUARD_TLS =
    nullptr;  // null: nothing yet
inline constinit thread_local bool allocations_may_fail GUARD_TLS = false;
inline std::int64_t held() {
  return held_here ? held_here->load(std::memory_order_relaxed) : 0;
}  // bytes given out to this thread, less those that it gave back: differences count
std::int64_t total_held();  // bytes given out and not given back, of all threads; of small objects
                            // as large as their blocks are
// For tests: the n-th allocation in turns of this thread (runtime/isolate.hpp) from here on fails;
// the binding's own don't. 0: none. Returns whether the one asked for before has come.
bool fail_allocation_at(std::int64_t n);
inline void let_allocations_fail(bool yes) { allocations_may_fail = yes; }

}  // namespace guard
