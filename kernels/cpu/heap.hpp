// The module's own memory (heap.cpp): what its operators new and delete have given out, counted.
#pragma once
#include <cstdint>

namespace guard {

std::int64_t held();        // bytes given out to this thread, less those that it gave back: differences count
std::int64_t total_held();  // bytes given out and not given back, of all threads; of small objects as large as their blocks are
// For tests: the n-th allocation in turns of this thread (isolate.hpp) from here on fails; the binding's own don't. 0: none. Returns whether the one
// asked for before has come.
bool fail_allocation_at(std::int64_t n);
void let_allocations_fail(bool yes);

}  // namespace guard
