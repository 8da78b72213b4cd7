// Allocator: the module's own operators new and delete (allocator.cpp), which count the bytes in
// use. Counters may be read from any thread; held() is O(1).
#pragma once
#include <atomic>
#include <cstdint>

#if defined(__linux__)
#define GUARD_TLS \
  __attribute__((tls_model("initial-exec")))  // one load instead of a call; takes a few words of
                                              // the static TLS that late libraries share
#else
#define GUARD_TLS
#endif

namespace guard {

inline constinit thread_local const std::atomic<std::int64_t>* held_here GUARD_TLS =
    nullptr;  // null until this thread allocates
inline constinit thread_local bool allocations_may_fail GUARD_TLS = false;
inline std::int64_t held() {
  return held_here ? held_here->load(std::memory_order_relaxed) : 0;
}  // bytes that this thread allocated, less those that it freed; only differences are meaningful
// Has the system provide memory for the heap's next pages, if there is little (0.5 MB) of it; then
// 1 MB is ready, which took some 50 us.
void prepare_heap();
std::int64_t total_held();  // bytes in use, over all threads; small objects count as the blocks
                            // that hold them
// For tests: makes the n-th allocation from now on fail, counted within this thread's turns
// (runtime/isolate.hpp); allocations of the binding don't count. 0: none. Returns whether the
// failure that the previous call asked for has happened.
bool fail_allocation_at(std::int64_t n);
inline void let_allocations_fail(bool yes) { allocations_may_fail = yes; }

}  // namespace guard
